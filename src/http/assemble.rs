//! Assembling an application on a store.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
};

use super::{App, Backend, HeadLimits, Readiness, activity::Activity};
use crate::{
    access::{Authenticator, Feed, Guard, InstanceKeys, Quotas, SocketQuotas, TestKeys},
    api::{Issuer, client_side_access_tokens::Endpoints},
    app_server::AppServers,
    clock::Clock,
    config::Settings,
    credentials::{Keyring, MasterKey, keyring::KeyringError},
    journal::Journal,
    request::body::Pace,
    store::Store,
    telemetry::metrics::Metrics,
    world::World,
};

/// What an application is assembled from, besides the settings.
pub(crate) struct Foundation {
    /// A migrated store.
    pub(crate) store: Store,
    /// The key under which its signing keys are sealed.
    pub(crate) master_key: MasterKey,
    /// Its clock.
    pub(crate) clock: Clock,
    /// Its world, if it is that of a namespace.
    pub(crate) world: Option<World>,
    /// Its journal, if it is that of a namespace.
    pub(crate) journal: Option<Journal>,
    /// What serves Letta's operations.
    pub(crate) backend: Backend,
    /// The App Servers, if any are behind it.
    pub(crate) app_servers: Option<AppServers>,
    /// The metrics, if they are served.
    pub(crate) metrics: Option<Arc<Metrics>>,
    /// Where its API keys are.
    pub(crate) keys: ApiKeys,
    /// How many verified tokens are remembered.
    pub(crate) token_cache: usize,
}

/// Where the API keys of an application are.
pub(crate) enum ApiKeys {
    /// In its store.
    Own(TestKeys),
    /// In its store and in that of the instance.
    Within(Authenticator, InstanceKeys),
}

impl App {
    /// Assembles an application, without its background work.
    ///
    /// # Errors
    /// When the master key is wrong or the database fails.
    pub(crate) async fn assemble(settings: &Settings, foundation: Foundation) -> Result<Self, KeyringError> {
        let Foundation { store, master_key, clock, world, journal, backend, app_servers, metrics, keys, token_cache } =
            foundation;
        let tokens = &settings.tokens;
        let keyring = Arc::new(Keyring::load(&store, master_key, clock.clone()).await?);
        let feed = Feed::load(store.clone(), Arc::clone(&keyring), tokens.max_staleness, clock.clone()).await?;
        let issuer = Issuer::new(store.clone(), Arc::clone(&keyring), clock.clone(), tokens.max_lifetime);
        let parts = (store.clone(), Arc::clone(&keyring), feed.clone(), clock.clone());
        let authenticator = match keys {
            ApiKeys::Own(test_keys) => {
                let (store, keyring, feed, clock) = parts;
                Authenticator::new(store, keyring, feed, clock, token_cache, test_keys)
            }
            ApiKeys::Within(instance, accepted) => {
                let (store, keyring, feed, clock) = parts;
                Authenticator::within((instance, accepted), store, keyring, feed, clock, token_cache)
            }
        };
        let app_servers = app_servers.or_else(|| super::resident::of(&backend, settings));
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
            socket_quotas: SocketQuotas::new(&settings.app_server, &clock),
        };
        Ok(Self {
            guard: Arc::new(guard),
            tokens: Endpoints {
                store: store.clone(),
                keyring: Arc::clone(&keyring),
                feed: feed.clone(),
                issuer,
                clock: clock.clone(),
            },
            backend,
            sockets: app_servers,
            store,
            feed,
            readiness: Readiness::default(),
            stream_at_expiry: tokens.stream_at_expiry,
            body_pace: Pace {
                longest_pause: limits.body_timeout,
                bytes_per_second: NonZeroU32::new(limits.body_bytes_per_second),
            },
            head_limits: HeadLimits::of(limits),
            // Lets a deployed page use a local mock.
            from_public: !is_gateway && settings.listen.ip().is_loopback(),
            activity: world.is_some().then(Activity::new),
            world,
            journal,
            metrics,
        })
    }
}
