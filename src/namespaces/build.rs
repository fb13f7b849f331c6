//! Building a world aside: a store, an application on it, and the background work that begins once it is in place.

use std::sync::Arc;

use super::{DEFAULT, Injected, LimitOverrides, Refs, snapshot::SavedState};
use crate::{
    access::InstanceKeys,
    clock::Clock,
    config::Settings,
    credentials::{MasterKey, keyring::KeyringError},
    error::ApiError,
    faults::Faults,
    http::{Activity, ApiKeys, App, Backend, Foundation},
    journal::{self, Journal},
    mock::Mock,
    store::{Image, NewApiKey, Store, StoreError},
    verdicts::Ledger,
    world::{self, World},
};

/// How many verified client tokens a namespace remembers.
const TOKEN_CACHE: usize = 1_000;

/// What all namespaces of a process have in common.
pub(crate) struct Builder {
    settings: Arc<Settings>,
    /// Seals the signing keys of all namespaces. They never leave this process.
    master_key: MasterKey,
    /// The application of the instance: its API keys, its metrics.
    instance: Arc<App>,
    /// The mock that the others are like.
    mock: Mock,
    /// What the journals of all namespaces share.
    journals: journal::Process,
    /// What was found in all namespaces.
    ledger: Ledger,
}

/// The API key of a namespace, as its store has it.
#[derive(Clone, Debug)]
pub(super) struct StoredKey {
    pub(super) id: String,
    pub(super) hash: [u8; 32],
}

/// Whether the tokens and keys of a state live on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Credentials {
    Keep,
    Strip,
}

/// What a world is built from.
pub(super) struct Blueprint<'a> {
    pub(super) name: &'a str,
    pub(super) activity: Activity,
    pub(super) journal: Journal,
    pub(super) limits: LimitOverrides,
    pub(super) key: Option<&'a StoredKey>,
    /// The state; `None` for an empty world.
    pub(super) state: Option<&'a SavedState>,
    pub(super) credentials: Credentials,
    pub(super) injected: Injected,
}

/// An application and its world, in use.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) app: Arc<App>,
    pub(super) world: World,
}

/// An application that is not in use yet. Its world ends if it is dropped.
pub(super) struct Aside(Option<Live>);

impl Builder {
    /// Builds like the instance. `None` for a gateway, which has no namespaces.
    pub(crate) fn new(settings: &Settings, instance: Arc<App>) -> Option<Self> {
        let Backend::Mock(mock) = &instance.backend else { return None };
        let mock = mock.clone();
        let journals = instance.journal.as_ref().map(|journal| journal.process().clone()).unwrap_or_default();
        let settings = Arc::new(settings.clone());
        Some(Self { settings, master_key: MasterKey::generate(), instance, mock, journals, ledger: Ledger::default() })
    }

    /// The largest size of what is read together, in bytes.
    pub(super) fn most_read(&self) -> usize {
        self.settings.mock.answer_bytes
    }

    /// The empty journal of a namespace.
    pub(super) fn journal(&self, name: &str) -> Journal {
        self.journals.journal(name)
    }

    /// What was found in the namespaces that are gone.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The application of the instance.
    pub(super) fn instance(&self) -> &Arc<App> {
        &self.instance
    }

    /// Builds an application in `world`.
    pub(super) async fn build(&self, world: World, blueprint: Blueprint<'_>) -> Result<Aside, KeyringError> {
        let app = Arc::new(world.enter(self.assemble(&world, blueprint)).await?);
        Ok(Aside(Some(Live { app, world })))
    }

    async fn assemble(&self, world: &World, blueprint: Blueprint<'_>) -> Result<App, KeyringError> {
        let Blueprint { name, activity, journal, limits, key, state, credentials, injected } = blueprint;
        let most_read = self.most_read();
        let store = match state {
            Some(state) => Store::open_image(&state.image, most_read).await?,
            None => Store::open_image(&Image::template().await?, most_read).await?,
        };
        if state.is_some() && credentials == Credentials::Strip {
            store.strip_credentials().await?;
        }
        let clock = Clock::of(world.clone());
        if let Some(StoredKey { id, hash }) = key {
            let created_at = clock.now_millis();
            let key = NewApiKey { id, name, project: None, secret_sha256: hash, created_at, expires_at: None };
            store.insert_api_key(&key).await?;
        }
        let is_default = name == DEFAULT;
        let accepted = if is_default { InstanceKeys::All } else { InstanceKeys::Unlimited };
        let foundation = Foundation {
            master_key: self.master_key.clone(),
            clock,
            app_servers: None,
            backend: Backend::Mock(self.mock.on(store.clone(), &injected.replies)),
            metrics: self.instance.metrics.clone(),
            keys: ApiKeys::Within(self.instance.guard.authenticator.clone(), accepted),
            world: Some(world.clone()),
            journal: Some(journal),
            faults: Some(Faults::restore(&injected.faults)),
            token_cache: if is_default { self.settings.tokens.cache_capacity } else { TOKEN_CACHE },
            store,
        };
        let mut app = match limits.apply(&self.settings) {
            Some(settings) => App::assemble(&settings, foundation).await?,
            None => App::assemble(&self.settings, foundation).await?,
        };
        app.readiness = self.instance.readiness.clone();
        app.activity = Some(activity);
        Ok(app)
    }
}

impl LimitOverrides {
    /// The settings with these limits; `None` if they stay as they are.
    fn apply(self, settings: &Settings) -> Option<Settings> {
        let Self { requests_per_minute, streams_per_token, large_bodies_per_token } = self;
        let changes = requests_per_minute.or(streams_per_token).or(large_bodies_per_token);
        changes.map(|_| {
            let mut settings = settings.clone();
            let limits = &mut settings.limits;
            limits.requests_per_minute = requests_per_minute.or(limits.requests_per_minute);
            limits.streams_per_token = streams_per_token.or(limits.streams_per_token);
            limits.large_bodies_per_token = large_bodies_per_token.or(limits.large_bodies_per_token);
            settings
        })
    }
}

impl Aside {
    /// The application and its world.
    ///
    /// # Panics
    /// Never: it is there until [`Aside::go_live`] takes it.
    pub(super) fn live(&self) -> &Live {
        #[expect(clippy::expect_used, reason = "it is taken only where this is consumed")]
        self.0.as_ref().expect("an application that is not in use yet")
    }

    /// Takes it out, to be put into use, and starts its background work.
    pub(super) fn go_live(mut self) -> Live {
        #[expect(clippy::expect_used, reason = "it is taken only here")]
        let live = self.0.take().expect("an application that is not in use yet");
        live.start();
        live
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(live) = self.0.take() {
            live.end();
        }
    }
}

impl Live {
    fn start(&self) {
        if let Backend::Mock(mock) = self.app.backend.clone() {
            self.world.enter_sync(|| tokio::spawn(world::inherit(async move { mock.recover().await })));
        }
    }

    /// The state at this moment.
    pub(super) async fn save(&self, refs: Refs) -> Result<SavedState, StoreError> {
        let counts = self.app.store.row_counts().await?;
        let save = || (self.world.save(), Injected::of(&self.app));
        let (image, (world, injected)) = self.app.store.image(save).await?;
        Ok(SavedState { image, world, refs, injected, counts })
    }

    /// Ends the world: its tasks are dropped and its responses broken off. Who still reads its store reads what was there;
    /// its memory is freed with the last of them.
    pub(super) fn end(&self) {
        self.world.end();
    }
}

/// The refusal of a request whose application could not be built.
pub(super) fn failed(error: KeyringError) -> ApiError {
    match error {
        KeyringError::Store(error) => error.into(),
        error => ApiError::internal(error),
    }
}
