//! What the handlers of every request share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Backend, HeadLimits};
use crate::{
    access::{Feed, Guard},
    api::client_side_access_tokens::Endpoints,
    config::StreamAtExpiry,
    request::body::Pace,
    store::Store,
    telemetry::metrics::Metrics,
};

/// What answers requests. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The guard.
    pub guard: Arc<Guard>,
    /// Token management.
    pub tokens: Endpoints,
    /// What answers Letta's operations.
    pub backend: Backend,
    /// The database, for the readiness check.
    pub store: Store,
    /// The feed of revocations, for the readiness check.
    pub feed: Feed,
    /// Whether the process wants more requests.
    pub readiness: Readiness,
    /// What becomes of a response whose token expires.
    pub stream_at_expiry: StreamAtExpiry,
    /// How slowly a request's body may come.
    pub body_pace: Pace,
    /// How large a request's head may be.
    pub head_limits: HeadLimits,
    /// Whether pages of the public Internet may reach this server although it is in a private network.
    pub from_public: bool,
    /// What is counted, if someone may read it.
    pub metrics: Option<Arc<Metrics>>,
}

/// Whether the process wants more requests. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on `/readyz` answers 503.
    pub fn begin_stopping(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
