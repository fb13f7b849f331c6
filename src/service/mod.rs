//! Assembly: from settings to a store with its keys, and to the whole service with its background work.

pub mod upkeep;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;
use tracing::warn;

use self::upkeep::Upkeep;
use crate::{
    access::TestKeys,
    app_server::{AppServerError, AppServers},
    clock::{self, Clock, Millis},
    config::{ControlEnabled, McpToolSettings, MockModels, MockReasoning, MockSettings, Secret, Settings},
    control::Control,
    credentials::{Keyring, MasterKey, PlainApiKey, keyring::KeyringError},
    entropy,
    faults::Faults,
    gateway::{Gateway, UpstreamError},
    http::{ApiKeys, App, Backend, ControlPlane, Foundation},
    journal,
    mock::{self, Mock, Script, ScriptError},
    namespaces::{self, Builder, DEFAULT, Directory},
    private_files,
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
    /// An App Server cannot be used.
    #[error(transparent)]
    AppServer(#[from] AppServerError),
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
    let app_servers = AppServers::from_settings(settings)?;
    if Gateway::from_settings(settings)?.is_none() && app_servers.is_none() {
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
    let is_gateway = settings.is_gateway();
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

/// The application on a migrated store, without background work, for a command that only asks it.
///
/// # Errors
/// When the master key is wrong, or the database fails.
pub(crate) async fn assemble(settings: &Settings, store: Store) -> Result<App, StartError> {
    let foundation = Foundation {
        master_key: master_key(settings, &store).await?,
        clock: Clock::system(),
        world: None,
        journal: None,
        faults: None,
        backend: backend(settings, &store)?,
        app_servers: AppServers::from_settings(settings)?,
        metrics: None,
        keys: ApiKeys::Own(TestKeys::Refused),
        token_cache: 1,
        store,
    };
    Ok(App::assemble(settings, foundation).await?)
}

/// A running service's parts.
pub struct Service {
    /// The HTTP application: without a control API the only one, else that of the namespace `default` at the start.
    pub app: Arc<App>,
    /// The namespaces, if there is a control API.
    pub(crate) directory: Option<Directory>,
    /// The control API, if there is one.
    pub(crate) control: Option<Arc<dyn ControlPlane>>,
    /// The background work.
    pub upkeep: Upkeep,
    background: JoinSet<()>,
}

impl Service {
    /// Assembles the service on a migrated store and starts its background work. Requests are counted in `metrics`.
    ///
    /// # Errors
    /// When the master key is wrong or the database fails.
    pub async fn start(
        settings: &Settings,
        store: Store,
        clock: Clock,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Self, StartError> {
        let has_control = control_is_on(settings)?;
        // A database on disk is the namespace `default` itself. In memory, it has a store of its own that can be reset, and
        // the instance's store has the API keys.
        let is_default = has_control && !store.is_ephemeral();
        // On a disk they would outlive the test that made them.
        let test_keys = if has_control && !is_default { TestKeys::Accepted } else { TestKeys::Refused };
        let foundation = Foundation {
            master_key: master_key(settings, &store).await?,
            backend: backend(settings, &store)?,
            app_servers: AppServers::from_settings(settings)?,
            metrics,
            keys: ApiKeys::Own(test_keys),
            token_cache: settings.tokens.cache_capacity,
            world: is_default.then(|| World::new(DEFAULT, IdStyle::Random)),
            journal: is_default.then(|| journal::Process::default().journal(DEFAULT)),
            faults: is_default.then(Faults::default),
            clock: clock.clone(),
            store,
        };
        let app = App::assemble(settings, foundation).await?;
        let keyring = Arc::clone(&app.tokens.keyring);
        let upkeep = Upkeep::begin(&app, keyring, clock, settings.tokens.retention).await?;
        let mut background = JoinSet::new();
        background.spawn(app.feed.clone().follow());
        background.spawn(upkeep.clone().run());
        if let Backend::Mock(mock) = app.backend.clone() {
            background.spawn(async move { mock.recover().await });
        }
        let app = Arc::new(app);
        let directory = match Builder::new(settings, Arc::clone(&app)) {
            Some(builder) if has_control => Some(namespaces::open(builder, settings.control.namespaces).await?),
            _ => None,
        };
        let control = directory
            .clone()
            .map(|directory| -> Arc<dyn ControlPlane> { Arc::new(Control::new(directory, settings.control.clone())) });
        Ok(Self { app, directory, control, upkeep, background })
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
    // Before an App Server nothing is mocked.
    if settings.has_app_server() {
        return Ok(Backend::Gateway(Gateway::without_upstream()));
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
