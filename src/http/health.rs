//! Whether this process is up, and whether it should be sent requests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, extract::State, response::IntoResponse};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Backend, pipeline::App};

/// Whether the process wants more requests. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on `/readyz` answers 503.
    pub fn begin_stopping(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The release of Letta that the mock follows; the SDKs' health calls parse it.
const LETTA_VERSION: &str = "0.16.8";

/// `GET /v1/health/` and `GET /v1/ready/`, as Letta answers them.
pub(super) fn letta() -> Value {
    json!({"version": LETTA_VERSION, "status": "ok"})
}

/// `GET /healthz`: the process is up.
pub(super) async fn live() -> impl IntoResponse {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /readyz`: the store answers, its schema is up to date, and revocations are fresh.
pub(super) async fn ready(State(app): State<App>) -> impl IntoResponse {
    let store = app.store.check_migrated().await;
    let mut checks = json!({
        "stopping": app.readiness.is_stopping(),
        "store": match &store {
            Ok(()) => "ok",
            Err(crate::store::OpenError::Pending(_)) => "migrations pending",
            Err(_) => "unreachable",
        },
        "revocations": if app.feed.is_fresh() { "fresh" } else { "stale" },
    });
    // Reported, not counted: taking every replica out of service would hide the reason from the pages.
    if let Backend::Gateway(gateway) = &app.backend {
        for (name, is_reachable) in gateway.reachability().await {
            checks["upstreams"][name] = if is_reachable { "ok" } else { "unreachable" }.into();
        }
    }
    let ready = store.is_ok() && app.feed.is_fresh() && !app.readiness.is_stopping();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"status": if ready { "ready" } else { "not ready" }, "checks": checks})))
}
