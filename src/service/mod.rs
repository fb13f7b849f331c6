//! Assembly: from settings to a store with its keys, and to the whole service with its background work.

pub mod upkeep;

use std::{
    fs, io,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;
use tracing::warn;

use self::upkeep::Upkeep;
use crate::{
    access::{Authenticator, Feed, Guard, Quotas, TestKeys},
    api::{Issuer, client_side_access_tokens::Endpoints},
    clock::{self, Clock, Millis},
    config::{ControlEnabled, McpToolSettings, MockModels, MockReasoning, MockSettings, Secret, Settings},
    control::Control,
    credentials::{Keyring, MasterKey, PlainApiKey, keyring::KeyringError},
    entropy,
    gateway::{Gateway, UpstreamError},
    http::{App, Backend, ControlPlane, HeadLimits, Readiness},
    journal,
    mock::{self, Mock, Script, ScriptError},
    namespaces::{Directory, Namespace},
    private_files,
    request::body::Pace,
    store::{IfMissing, Location, NewApiKey, OpenError, Store, StoreError, StoreOptions},
    telemetry::metrics::Metrics,
    world::{IdStyle, World},
};

/// The default database.
const DEFAULT_DATABASE: &str = "sqlite://gatelet.db";

/// Why the service cannot start, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signing keys cannot be used.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The master key is missing or malformed.
    #[error("{0}")]
    MasterKey(String),
    /// The upstream cannot be used.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The mock's script is invalid.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The bootstrap API key is malformed.
    #[error("bootstrap_api_key {0}")]
    BootstrapKey(&'static str),
    /// The control API cannot be had here.
    #[error("control.enabled is true, but {0}")]
    Control(&'static str),
}

/// Opens the store that the settings name. Does not migrate.
///
/// # Errors
/// When the URL is invalid, the database does not respond, or a required database is missing.
pub async fn open_store(settings: &Settings, if_missing: IfMissing) -> Result<Store, OpenError> {
    Store::open(&StoreOptions { if_missing, ..store_options(settings) }).await
}

fn store_options(settings: &Settings) -> StoreOptions {
    let url = settings.database_url.as_ref().map_or(DEFAULT_DATABASE, Secret::reveal).to_owned();
    StoreOptions {
        url: (!settings.ephemeral).then_some(url),
        max_connections: settings.store.max_connections,
        statement_timeout: settings.store.statement_timeout,
        if_missing: IfMissing::Create,
        most_read: settings.mock.answer_bytes,
    }
}

/// Loads the signing keys of a migrated store.
///
/// # Errors
/// When the master key is missing or wrong, or the database fails.
pub async fn load_keyring(settings: &Settings, store: &Store, clock: Clock) -> Result<Arc<Keyring>, StartError> {
    let master_key = master_key(settings, store).await?;
    Ok(Arc::new(Keyring::load(store, master_key, clock).await?))
}

/// Checks what settings refer to, without using it: the database's address, secrets, upstreams, the mock's script, and
/// the files that contain them.
///
/// # Errors
/// When one is malformed or its file cannot be read.
pub fn check(settings: &Settings) -> Result<(), StartError> {
    store_options(settings).check()?;
    control_is_on(settings)?;
    given_master_key(settings)?;
    if Gateway::from_settings(settings)?.is_none() {
        settings.mock.script.as_deref().map(Script::load).transpose()?;
    }
    if let Some(key) = &settings.bootstrap_api_key {
        PlainApiKey::parse_for_server(key.reveal()).map_err(StartError::BootstrapKey)?;
    }
    Ok(())
}

/// Whether there is to be a control API.
///
/// # Errors
/// When the settings demand it where it must not be: a gateway has somebody else's data, and a store on PostgreSQL has
/// other processes.
pub fn control_is_on(settings: &Settings) -> Result<bool, StartError> {
    let is_gateway = settings.upstream_url.is_some() || !settings.upstreams.is_empty();
    let is_postgres = settings
        .database_url
        .as_ref()
        .is_some_and(|url| ["postgres:", "postgresql:"].iter().any(|scheme| url.reveal().starts_with(scheme)));
    match settings.control.enabled {
        ControlEnabled::No => Ok(false),
        ControlEnabled::Auto => Ok(!is_gateway && !is_postgres && settings.listen.ip().is_loopback()),
        ControlEnabled::Yes if is_gateway => {
            Err(StartError::Control("the control API exists only on the mock: leave out either it or the upstream"))
        }
        ControlEnabled::Yes if is_postgres => Err(StartError::Control(
            "the control API does not exist on PostgreSQL: use --ephemeral or a SQLite database",
        )),
        ControlEnabled::Yes => Ok(true),
    }
}

/// The master key from the settings, if they have one.
fn given_master_key(settings: &Settings) -> Result<Option<MasterKey>, StartError> {
    match (&settings.master_key, &settings.master_key_file) {
        (Some(key), _) => parse_master_key(key.reveal(), "master_key").map(Some),
        (None, Some(path)) => parse_master_key(&read_key_file(path)?, &path.display().to_string()).map(Some),
        (None, None) => Ok(None),
    }
}

fn parse_master_key(text: &str, source: &str) -> Result<MasterKey, StartError> {
    MasterKey::parse(text).map_err(|rule| StartError::MasterKey(format!("the master key in {source} {rule}")))
}

/// The master key: from a setting, from a file, or, with SQLite, from a file next to the database that the first start
/// creates.
async fn master_key(settings: &Settings, store: &Store) -> Result<MasterKey, StartError> {
    if let Some(key) = given_master_key(settings)? {
        return Ok(key);
    }
    match store.sqlite_location() {
        Some(Location::Memory) => Ok(MasterKey::generate()),
        Some(Location::File(database)) => {
            let path = key_file_beside(database);
            if !path.exists() {
                // Another process may be at its first start as well: it creates the file before it becomes the issuer.
                if store.issuer().await?.is_some() && !path.exists() {
                    return Err(StartError::MasterKey(format!(
                        "the master key of this database is missing: restore {}, or give it as GATELET_MASTER_KEY",
                        path.display()
                    )));
                }
                make_key_file(&path)?;
            }
            private_files::tighten(&path);
            parse_master_key(&read_key_file(&path)?, &path.display().to_string())
        }
        None => Err(StartError::MasterKey(
            "a PostgreSQL store needs a master key: run `gatelet keygen` and give its output to every replica as \
             GATELET_MASTER_KEY or, in a file, as GATELET_MASTER_KEY_FILE"
                .into(),
        )),
    }
}

fn key_file_beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".key");
    path.into()
}

fn read_key_file(path: &Path) -> Result<String, StartError> {
    fs::read_to_string(path)
        .map_err(|error| StartError::MasterKey(format!("cannot read the master key file {}: {error}", path.display())))
}

/// The file is written under another name and then linked into place, so that two processes that start at the same time
/// use the same, complete file.
fn make_key_file(path: &Path) -> Result<(), StartError> {
    let aside = path.with_extension(format!("key.{}", std::process::id()));
    let make = || -> io::Result<()> {
        private_files::create(&aside, MasterKey::generate().reveal().as_bytes())?;
        match fs::hard_link(&aside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    };
    let outcome = make();
    let _ = fs::remove_file(&aside);
    outcome
        .map_err(|error| StartError::MasterKey(format!("cannot make the master key file {}: {error}", path.display())))
}

/// Stores a new API key.
///
/// # Errors
/// When the database fails.
pub async fn create_api_key(
    store: &Store,
    name: &str,
    project: Option<&str>,
    expires_at: Option<Millis>,
) -> Result<(String, PlainApiKey), StoreError> {
    let key = PlainApiKey::generate();
    let id = entropy::letta_id("key");
    let created_at = clock::now_millis();
    let row = NewApiKey { id: &id, name, project, secret_sha256: &key.hash(), created_at, expires_at };
    store.insert_api_key(&row).await?;
    Ok((id, key))
}

/// Makes sure that there is a first API key: the configured one, or a new one in an embedded store that has none.
/// Returns the key only if it was just generated.
///
/// # Errors
/// When the configured key is malformed or the database fails.
pub async fn bootstrap(settings: &Settings, store: &Store) -> Result<Option<PlainApiKey>, StartError> {
    if let Some(given) = &settings.bootstrap_api_key {
        let key = PlainApiKey::parse_for_server(given.reveal()).map_err(StartError::BootstrapKey)?;
        let hash = key.hash();
        let id = entropy::letta_id("key");
        let created_at = clock::now_millis();
        let row =
            NewApiKey { id: &id, name: "bootstrap", project: None, secret_sha256: &hash, created_at, expires_at: None };
        let is_new = store.insert_api_key(&row).await?;
        if !is_new && let Some(present) = store.api_key_by_secret(&hash).await? {
            if present.revoked_at.is_some() {
                warn!(key.id = present.id, "The bootstrap API key was revoked and stays revoked; choose another");
            } else if present.expires_at.is_some_and(|expires_at| expires_at <= created_at) {
                warn!(key.id = present.id, "The bootstrap API key has expired; choose another");
            }
        }
        return Ok(None);
    }
    if store.sqlite_location().is_none() || store.has_api_keys().await? {
        return Ok(None);
    }
    Ok(Some(create_api_key(store, "first", None, None).await?.1))
}

/// A running service's parts.
pub struct Service {
    /// The HTTP application: without a control API the only one, else that of the namespace `default` at the start.
    pub app: Arc<App>,
    /// The control API, if there is one.
    pub(crate) control: Option<Arc<dyn ControlPlane>>,
    /// The background work.
    pub upkeep: Upkeep,
    background: JoinSet<()>,
}

impl Service {
    /// Assembles the service on a migrated store and starts its background work.
    ///
    /// # Errors
    /// When the master key is wrong or the database fails.
    pub async fn start(settings: &Settings, store: Store, clock: Clock) -> Result<Self, StartError> {
        let metrics = settings.metrics_listen.map(|_| Metrics::new());
        Self::start_with(settings, store, clock, metrics).await
    }

    /// As [`Self::start`], with metrics that the caller reads.
    ///
    /// # Errors
    /// When the master key is wrong or the database fails.
    pub(crate) async fn start_with(
        settings: &Settings,
        store: Store,
        clock: Clock,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Self, StartError> {
        let tokens = &settings.tokens;
        let world = control_is_on(settings)?.then(|| World::new("default", IdStyle::Random));
        let clock = match &world {
            Some(world) if store.is_ephemeral() => Clock::of(world.clone()),
            _ => clock,
        };
        // On a disk they would outlive the test that made them.
        let is_testable = world.is_some() && store.is_ephemeral();
        let test_keys = if is_testable { TestKeys::Accepted } else { TestKeys::Refused };
        let keyring = load_keyring(settings, &store, clock.clone()).await?;
        let feed = Feed::load(store.clone(), Arc::clone(&keyring), tokens.max_staleness, clock.clone()).await?;
        let issuer = Issuer::new(store.clone(), Arc::clone(&keyring), clock.clone(), tokens.max_lifetime);
        let authenticator = Authenticator::new(
            store.clone(),
            Arc::clone(&keyring),
            feed.clone(),
            clock.clone(),
            tokens.cache_capacity,
            test_keys,
        );
        let backend = backend(settings, &store)?;
        let (limits, is_gateway) = (&settings.limits, matches!(backend, Backend::Gateway(_)));
        let guard = Guard {
            authenticator,
            origin_missing: settings.origin_missing,
            allow: settings.client_tokens.allow.clone(),
            api_keys_from_browsers: settings.api_keys.allow_browsers,
            body_bytes: limits.body_bytes,
            upload_bytes: limits.upload_bytes,
            quotas: Quotas::new(
                limits.requests_per_minute(is_gateway),
                limits.streams_per_token(is_gateway),
                limits.large_bodies_per_token(is_gateway),
                NonZeroUsize::new(limits.response_bytes_per_token),
                &clock,
            ),
        };
        let app = App {
            guard: Arc::new(guard),
            tokens: Endpoints {
                store: store.clone(),
                keyring: Arc::clone(&keyring),
                feed: feed.clone(),
                issuer,
                clock: clock.clone(),
            },
            backend,
            store,
            feed,
            readiness: Readiness::default(),
            stream_at_expiry: settings.tokens.stream_at_expiry,
            body_pace: Pace {
                longest_pause: limits.body_timeout,
                bytes_per_second: NonZeroU32::new(limits.body_bytes_per_second),
            },
            head_limits: HeadLimits::of(limits),
            // Lets a deployed page use a local mock.
            from_public: !is_gateway && settings.listen.ip().is_loopback(),
            journal: world.as_ref().map(|_| journal::Process::default().journal("default")),
            world,
            metrics,
        };
        let upkeep = Upkeep::begin(&app, keyring, clock, tokens.retention).await?;
        let mut background = JoinSet::new();
        background.spawn(app.feed.clone().follow());
        background.spawn(upkeep.clone().run());
        if let Backend::Mock(mock) = app.backend.clone() {
            background.spawn(async move { mock.recover().await });
        }
        let app = Arc::new(app);
        let control = app.world.is_some().then(|| -> Arc<dyn ControlPlane> {
            let directory = Directory(Arc::new(Namespace(Arc::clone(&app))));
            Arc::new(Control::new(directory, settings.control.clone()))
        });
        Ok(Self { app, control, upkeep, background })
    }

    /// Lets background turns finish within `grace`, then records what is pending and closes the store.
    pub async fn stop(mut self, grace: Duration) {
        if tokio::time::timeout(grace, self.app.backend.drain()).await.is_err() {
            warn!("Some turns did not finish in time; asynchronous ones are taken up at the next start");
        }
        self.background.shutdown().await;
        self.upkeep.stop().await;
        self.app.store.close().await;
    }
}

/// The gateway when there is an upstream, else the mock.
fn backend(settings: &Settings, store: &Store) -> Result<Backend, StartError> {
    if let Some(gateway) = Gateway::from_settings(settings)? {
        return Ok(Backend::Gateway(gateway));
    }
    let MockSettings {
        reasoning,
        models,
        first_token,
        token_interval,
        ping_interval,
        script,
        turn_bytes,
        mcp_tools,
        ..
    } = settings.mock.clone();
    let script = script.as_deref().map(Script::load).transpose()?;
    let mcp_tools = mcp_tools.into_iter().map(mcp_tool).collect();
    let models = match models {
        MockModels::Open => mock::Models::Open,
        MockModels::Closed => mock::Models::Closed,
    };
    let reasoning = match reasoning {
        MockReasoning::Auto => mock::Reasoning::Auto,
        MockReasoning::Always => mock::Reasoning::Always,
        MockReasoning::Never => mock::Reasoning::Never,
    };
    let latency = mock::ModelLatency { first_token, token_interval };
    let options = mock::MockOptions { reasoning, models, latency, ping_interval, script, turn_bytes, mcp_tools };
    Ok(Backend::Mock(Mock::new(store.clone(), options)))
}

fn mcp_tool(settings: McpToolSettings) -> mock::McpTool {
    let McpToolSettings { server, name, description, parameters, result } = settings;
    mock::McpTool { server, name, description, parameters, result }
}
