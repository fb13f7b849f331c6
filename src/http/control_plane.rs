//! What the HTTP surface asks where there is a control API: it knows the namespaces.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{Request, Response, request::Parts};
use hyper::body::Incoming;

use super::{App, Surface};
use crate::{error::ApiError, request::body::Body};

/// The control API and its namespaces.
pub(crate) trait ControlPlane: Send + Sync {
    /// Responds to a request to the control API or to the console, on this surface. A response that must end with a client
    /// token or a namespace has its [`ResponseLifetime`](super::ResponseLifetime) in its extensions.
    fn respond(&self, request: Request<Incoming>, surface: &Surface) -> BoxFuture<'_, Response<Body>>;

    /// The app of the namespace that a request belongs to. A request that names none, wrongly, is refused in the app of
    /// `default`, with the error.
    fn select<'a>(&'a self, head: &'a Parts) -> BoxFuture<'a, (Arc<App>, Result<(), ApiError>)>;

    /// The app of the namespace `default`.
    fn default_app(&self) -> Arc<App>;
}

/// Whether a path is one of the control API.
pub(super) fn is_control_path(path: &str) -> bool {
    path.strip_prefix("/_gatelet").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
