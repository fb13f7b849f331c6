//! The HTTP surface: one pipeline for every Letta path, and two health checks of Gatelet's own.

mod app;
mod backend;
mod cors;
mod framing;
mod head;
mod health;
mod lifeline;
mod pipeline;

use std::sync::Arc;

use axum::{Router, routing::get};
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use app::{App, Readiness};
pub(crate) use backend::Backend;
pub(crate) use head::HeadLimits;
pub(crate) use lifeline::TokenLifetime;

use crate::{request::body::Body, telemetry::access_log::AccessLog};

/// The whole service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Surface(Arc<Parts>);

struct Parts {
    app: App,
    log: AccessLog,
    /// Gatelet's own paths.
    own: Router,
}

impl Surface {
    /// The surface of a service.
    #[must_use]
    pub(crate) fn new(app: App, log: AccessLog) -> Self {
        let own = Router::new()
            .route("/healthz", get(health::live))
            .route("/readyz", get(health::ready))
            .layer(CatchPanicLayer::new())
            .with_state(app.clone());
        Self(Arc::new(Parts { app, log, own }))
    }

    /// Responds to a request. With the response comes the [`TokenLifetime`] that it must not outlast, if it has one. Letta
    /// paths are matched by the operation table, not by a router: a route that is not in the table cannot be written.
    pub(crate) async fn respond(&self, request: Request<Incoming>) -> (Response<Body>, Option<TokenLifetime>) {
        match request.uri().path() {
            // The pipeline refuses an ambiguous head, with a JSON error and a line in the log.
            "/healthz" | "/readyz" if framing::check(request.uri(), request.version(), request.headers()).is_ok() => {
                let Ok(response) = self.0.own.clone().oneshot(request).await;
                (response.map(Body::new), None)
            }
            _ => pipeline::handle(&self.0.app, &self.0.log, request).await,
        }
    }

    /// Returns when the responses of this lifetime must end.
    pub(crate) fn lifetime_end(&self, lifetime: TokenLifetime) -> impl Future<Output = ()> + Send + use<> {
        lifetime.end(self.0.app.feed.clone(), self.0.app.stream_at_expiry)
    }

    /// Whether the process accepts more requests.
    #[must_use]
    pub(crate) fn readiness(&self) -> &Readiness {
        &self.0.app.readiness
    }
}
