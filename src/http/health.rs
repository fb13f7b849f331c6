//! Health checks: whether this process is up, and whether it should get requests.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, response::IntoResponse};
use http::StatusCode;
use serde_json::{Value, json};

use super::{App, Backend, ControlPlane};

/// The release of Letta that the mock follows. The SDKs' health calls parse it.
const LETTA_VERSION: &str = "0.16.8";

/// How long the check of the store may take. Requests wait longer for the store, but load balancers do not wait that long
/// for a readiness check.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the app is that is checked.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) app: Arc<App>,
    pub(super) control: Option<Arc<dyn ControlPlane>>,
}

/// The response to `GET /v1/health/` and `GET /v1/ready/`.
pub(super) fn letta() -> Value {
    json!({"version": LETTA_VERSION, "status": "ok"})
}

/// `GET /healthz`: the process is up.
pub(super) async fn live() -> impl IntoResponse {
    Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// `GET /readyz`: the store responds, its schema is up to date, and revocations are fresh.
pub(super) async fn ready(State(source): State<Source>) -> impl IntoResponse {
    let app = source.control.map_or(source.app, |control| control.default_app());
    let upstreams = async {
        match &app.backend {
            Backend::Gateway(gateway) => gateway.reachability().await,
            Backend::Mock(_) => Vec::new(),
        }
    };
    let app_servers = async {
        match &app.sockets {
            Some(servers) => servers.reachability().await,
            None => Vec::new(),
        }
    };
    let store = tokio::time::timeout(STORE_TIMEOUT, app.store.check_migrated());
    let (store, upstreams, app_servers) = tokio::join!(store, upstreams, app_servers);
    let store_is_ready = matches!(store, Ok(Ok(())));
    let mut checks = json!({
        "stopping": app.readiness.is_stopping(),
        "store": match &store {
            Ok(Ok(())) => "ok",
            Ok(Err(crate::store::OpenError::Pending(_))) => "migrations pending",
            Ok(Err(_)) | Err(_) => "unreachable",
        },
        "revocations": if app.feed.is_fresh() { "fresh" } else { "stale" },
    });
    // Reported only: taking every replica out of service would hide the reason from the pages.
    for (name, is_reachable) in upstreams {
        checks["upstreams"][name] = if is_reachable { "ok" } else { "unreachable" }.into();
    }
    for (name, is_reachable) in app_servers {
        checks["app_servers"][name] = if is_reachable { "ok" } else { "unreachable" }.into();
    }
    let ready = store_is_ready && app.feed.is_fresh() && !app.readiness.is_stopping();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"status": if ready { "ready" } else { "not ready" }, "checks": checks})))
}
