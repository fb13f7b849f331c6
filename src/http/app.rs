//! What the handlers of every request share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Backend, HeadLimits, activity::Activity};
use crate::{
    access::{Feed, Guard},
    api::client_side_access_tokens::Endpoints,
    app_server::AppServers,
    config::StreamAtExpiry,
    journal::Journal,
    request::body::Pace,
    store::Store,
    telemetry::metrics::Metrics,
    world::World,
};

/// What the handlers of requests share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The guard.
    pub guard: Arc<Guard>,
    /// The operations that manage tokens.
    pub tokens: Endpoints,
    /// What serves Letta's operations.
    pub(crate) backend: Backend,
    /// The App Servers to which sockets lead, if any are behind Gatelet.
    pub(crate) sockets: Option<AppServers>,
    /// The database, for the readiness check.
    pub store: Store,
    /// The feed of revocations, for the readiness check.
    pub feed: Feed,
    /// Whether the process accepts more requests.
    pub(crate) readiness: Readiness,
    /// What happens to a response whose token expires.
    pub(crate) stream_at_expiry: StreamAtExpiry,
    /// How slowly a request's body may arrive.
    pub(crate) body_pace: Pace,
    /// How large a request's head may be.
    pub(crate) head_limits: HeadLimits,
    /// Whether pages from the public Internet may reach this server in a private network.
    pub(crate) from_public: bool,
    /// The world of the namespace; `None` where there is no control API.
    pub(crate) world: Option<World>,
    /// The journal of the namespace; `None` where there is no control API.
    pub(crate) journal: Option<Journal>,
    /// The use of the namespace; `None` where there is no control API.
    pub(crate) activity: Option<Activity>,
    /// The metrics, if they are served.
    pub metrics: Option<Arc<Metrics>>,
}

/// Whether the process accepts more requests. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Makes `/readyz` respond with 503 from now on.
    pub(crate) fn begin_stopping(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
