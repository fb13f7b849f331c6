//! The HTTP surface: one pipeline for every Letta path, and two health checks of Gatelet's own.

mod activity;
mod app;
mod assemble;
mod backend;
mod control_plane;
mod cors;
mod framing;
mod head;
mod health;
mod lifeline;
mod pipeline;
mod record;
mod resident;
mod upgrade;

use std::sync::Arc;

use axum::{Router, routing::get};
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

pub(crate) use activity::Activity;
pub(crate) use app::{App, Readiness};
pub(crate) use assemble::{ApiKeys, Foundation};
pub(crate) use backend::Backend;
pub(crate) use control_plane::ControlPlane;
pub(crate) use head::HeadLimits;
pub(crate) use lifeline::ResponseLifetime;

use crate::{error::ApiError, request::body::Body, telemetry::access_log::AccessLog};

/// The whole service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Surface(Arc<Parts>);

struct Parts {
    /// The app of a server without namespaces, and of the namespace `default` at the start.
    app: Arc<App>,
    control: Option<Arc<dyn ControlPlane>>,
    log: AccessLog,
    /// Gatelet's own paths.
    own: Router,
}

impl Surface {
    /// The surface of a service, with its namespaces if it has any.
    #[must_use]
    pub(crate) fn new(app: Arc<App>, control: Option<Arc<dyn ControlPlane>>, log: AccessLog) -> Self {
        let own = Router::new()
            .route("/healthz", get(health::live))
            .route("/readyz", get(health::ready))
            .layer(CatchPanicLayer::new())
            .with_state(health::Source { app: Arc::clone(&app), control: control.clone() });
        Self(Arc::new(Parts { app, control, log, own }))
    }

    /// Responds to a request. With the response comes the [`ResponseLifetime`] that it must not outlast, if it has one. Letta
    /// paths are matched by the operation table, not by a router: a route that is not in the table cannot be written.
    pub(crate) async fn respond(&self, request: Request<Incoming>) -> (Response<Body>, Option<ResponseLifetime>) {
        let Parts { app, control, log, own } = &*self.0;
        if let Some(path) = upgrade::route(app, request.uri(), request.headers()) {
            return (Box::pin(upgrade::handle(app, control.as_deref(), log, request, path)).await, None);
        }
        let is_plain = || framing::check(request.uri(), request.version(), request.headers()).is_ok();
        match (request.uri().path(), control) {
            // The pipeline refuses an ambiguous head, with a JSON error and a line in the log.
            ("/healthz" | "/readyz", _) if is_plain() => {
                let Ok(response) = own.clone().oneshot(request).await;
                (response.map(Body::new), None)
            }
            (path, Some(control)) if control_plane::is_control_path(path) && is_plain() => {
                (control.respond(request).await, None)
            }
            (_, None) => pipeline::handle(app, log, request, None).await,
            (_, Some(control)) => {
                let (head, body) = request.into_parts();
                let (app, selected) = control.select(&head).await;
                let namespace = Namespace { app: &app, selected };
                let request = Request::from_parts(head, body);
                // Boxed, so that the futures of requests to a server without namespaces do not grow by its size.
                Box::pin(pipeline::handle(&app, log, request, Some(namespace))).await
            }
        }
    }

    /// Returns when the responses of this lifetime must end.
    pub(crate) fn lifetime_end(&self, lifetime: ResponseLifetime) -> impl Future<Output = ()> + Send + use<> {
        let app = Arc::clone(&self.0.app);
        async move { lifetime.end(&app).await }
    }

    /// Closes the sockets of clients, and waits until the turns that they began have ended.
    pub(crate) async fn drain_sockets(&self) {
        if let Some(servers) = &self.0.app.sockets {
            servers.drain().await;
        }
    }

    /// Whether the process accepts more requests.
    #[must_use]
    pub(crate) fn readiness(&self) -> &Readiness {
        &self.0.app.readiness
    }
}

/// The namespace that a request belongs to.
struct Namespace<'a> {
    app: &'a Arc<App>,
    /// Why it belongs to none, if so.
    selected: Result<(), ApiError>,
}
