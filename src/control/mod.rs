//! The control API, under `/_gatelet/v1`: with it tests make namespaces, move their clocks and look into them.
//!
//! It exists on mocks only, and every call needs a credential: an API key of the server may do everything, a namespace's
//! key what concerns its namespace. Pages of other origins, and names that resolve to this machine by accident or attack,
//! are refused.

mod caller;
mod clock;
mod error;
mod explain;
mod faults;
mod input;
mod journal;
mod namespaces;
mod replies;
mod seed;
mod select;
mod snapshots;
mod tokens;
mod try_request;
mod unused;
mod verdicts;
mod verify;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    middleware,
    response::{IntoResponse, Redirect},
    routing::get,
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, Uri, request::Parts};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use self::caller::Caller;
use crate::{
    config::ControlSettings,
    console,
    error::ApiError,
    faults::MOST_FAULTS,
    http::{App, ControlPlane, Surface},
    journal::BOUNDS,
    namespaces::{Directory, MOST_BYTES, MOST_SNAPSHOTS},
    replies::{Limits, MOST_REPLIES},
    request::body::Body,
};

/// The control API of a server.
pub(crate) struct Control {
    state: Arc<ControlState>,
    router: Router,
}

/// What the handlers share.
pub(crate) struct ControlState {
    pub(super) directory: Directory,
    pub(super) settings: ControlSettings,
}

impl Control {
    /// The control API over these namespaces.
    #[must_use]
    pub(crate) fn new(directory: Directory, settings: ControlSettings) -> Self {
        let state = Arc::new(ControlState { directory, settings });
        let routes = Router::new()
            .route("/", get(about))
            .merge(namespaces::routes())
            .merge(snapshots::routes())
            .merge(clock::routes())
            .merge(seed::routes())
            .merge(tokens::routes())
            .merge(journal::routes())
            .merge(explain::routes())
            .merge(verify::routes())
            .merge(replies::routes())
            .merge(unused::routes())
            .merge(verdicts::routes())
            .merge(faults::routes())
            .merge(try_request::routes())
            .fallback(error::not_found)
            .method_not_allowed_fallback(error::method_not_allowed);
        let all = Router::new()
            .nest("/_gatelet/v1", routes)
            .route("/_gatelet", get(|| async { Redirect::permanent("/_gatelet/") }))
            .route("/_gatelet/", get(page))
            .route("/_gatelet/{*path}", get(page))
            .fallback(error::not_found)
            .layer(middleware::from_fn_with_state(Arc::clone(&state), caller::check_place))
            .layer(CatchPanicLayer::custom(error::panicked))
            .with_state(Arc::clone(&state));
        Self { state, router: all }
    }
}

impl ControlPlane for Control {
    fn respond(&self, request: Request<Incoming>, surface: &Surface) -> BoxFuture<'_, Response<Body>> {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(surface.clone());
        Box::pin(async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            response.map(Body::new)
        })
    }

    fn select<'a>(&'a self, head: &'a Parts) -> BoxFuture<'a, (Arc<App>, Result<(), ApiError>)> {
        Box::pin(select::select(&self.state, head))
    }

    fn default_app(&self) -> Arc<App> {
        self.state.directory.default().app()
    }
}

/// The files of the console.
async fn page(uri: Uri, headers: HeaderMap) -> impl IntoResponse {
    let path = uri.path().trim_start_matches("/_gatelet/");
    match console::respond(path, &headers) {
        Some(response) => response.into_response(),
        None => error::not_found(uri).await.into_response(),
    }
}

/// `GET /_gatelet/v1`: what this server can do, so that helpers can refuse one that is too old for them.
async fn about(State(control): State<Arc<ControlState>>, caller: Caller) -> impl IntoResponse {
    let namespace = match &caller {
        Caller::Instance => None,
        Caller::Namespace(name) => Some(name),
    };
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "api": 1,
        "namespace": namespace,
        "features": FEATURES,
        "limits": limits(&control.settings),
    }))
}

/// The parts of the control API that this version has.
const FEATURES: &[&str] = &[
    "namespaces",
    "snapshots",
    "seed",
    "clock",
    "tokens",
    "journal",
    "events",
    "verify",
    "explain",
    "replies",
    "faults",
    "verdicts",
    "try",
    "console",
];

/// The limits that a test can run into, by name.
fn limits(settings: &ControlSettings) -> Value {
    json!({
        "namespaces": settings.namespaces,
        "body_bytes": input::BODY_BYTES,
        "seed_bytes": input::SEED_BYTES,
        "snapshots": MOST_SNAPSHOTS,
        "snapshot_bytes": MOST_BYTES,
        "wait_seconds": journal::LONGEST_WAIT.as_secs(),
        "journal_entries": BOUNDS.entries,
        "journal_body_bytes": BOUNDS.body,
        "journal_frame_bytes": BOUNDS.frames,
        "journal_bytes": BOUNDS.namespace,
        "journals_bytes": BOUNDS.process,
        "listeners": BOUNDS.listeners,
        "replies": MOST_REPLIES,
        "reply_steps": Limits::HTTP.steps,
        "reply_regex_bytes": Limits::HTTP.regex_bytes,
        "faults": MOST_FAULTS,
    })
}
