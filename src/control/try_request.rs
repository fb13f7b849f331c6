//! Trying a request: it passes the whole server as one that arrived would, with a token and an origin that are given. A page
//! cannot forge its origin, so this is how the console sends requests as another page would.

use std::{str::FromStr, sync::Arc};

use axum::{Extension, Router, routing::post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header, request::Parts};
use serde::Deserialize;
use serde_json::Value;

use super::{ControlState, caller::Ns, error::ControlResult, input::Input};
use crate::{
    error::{ApiError, Code},
    http::Surface,
    request::body::Body,
};

/// Tells a response that was tried from one of the control API itself.
const TRIED: HeaderName = HeaderName::from_static("x-gatelet-tried");

pub(super) fn routes() -> Router<Arc<ControlState>> {
    Router::new().route("/ns/{ns}/try", post(attempt))
}

/// A request to be tried.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attempt {
    /// The bearer; without one it is the caller's own.
    token: Option<String>,
    /// The `Origin` header; without one the request has none.
    origin: Option<String>,
    method: String,
    /// The path and query.
    path: String,
    /// The JSON body; without one the request has none.
    body: Option<Value>,
    /// Whether the journal is to have it.
    #[serde(default = "yes")]
    record: bool,
}

const fn yes() -> bool {
    true
}

/// Responds as the server responds to the request, streams included. There are no CORS headers: a page of another origin
/// cannot use the control API.
async fn attempt(
    Ns(namespace): Ns,
    Extension(surface): Extension<Surface>,
    own: HeaderMap,
    Input(attempt): Input<Attempt>,
) -> ControlResult<Response<Body>> {
    let is_recorded = attempt.record;
    let (head, body) = request(attempt, &own)?;
    let mut response = surface.attempt(&namespace.app(), head, body, is_recorded).await;
    let headers = response.headers_mut();
    let of_cors = headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned();
    for name in of_cors.collect::<Vec<_>>() {
        headers.remove(name);
    }
    headers.insert(TRIED, HeaderValue::from_static("1"));
    // What a tool or a file returns must not become a page of this origin.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    Ok(response)
}

fn request(attempt: Attempt, own: &HeaderMap) -> Result<(Parts, Body), ApiError> {
    let Attempt { token, origin, method, path, body, .. } = attempt;
    let method = Method::from_str(&method).map_err(|_| invalid("method", "must be a method such as GET"))?;
    let uri = Some(&path).filter(|path| path.starts_with('/')).and_then(|path| path.parse::<Uri>().ok());
    let uri = uri.ok_or_else(|| invalid("path", "must be a path with its query, such as /v1/agents/"))?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    let bearer = match token {
        Some(token) => Some(
            HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| invalid("token", "must be what follows Bearer in the header"))?,
        ),
        None => own.get(header::AUTHORIZATION).cloned(),
    };
    let origin = origin.map(|origin| {
        HeaderValue::try_from(origin).map_err(|_| invalid("origin", "must be an origin such as http://localhost:3000"))
    });
    let kept = [(header::HOST, own.get(header::HOST)), (header::USER_AGENT, own.get(header::USER_AGENT))];
    headers.extend(kept.into_iter().filter_map(|(name, value)| Some((name, value?.clone()))));
    headers.extend(bearer.map(|mut bearer| {
        bearer.set_sensitive(true);
        (header::AUTHORIZATION, bearer)
    }));
    headers.extend(origin.transpose()?.map(|origin| (header::ORIGIN, origin)));
    let body = match body {
        Some(body) => {
            let json = body.to_string();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(json.len()));
            Body::Whole(Bytes::from(json))
        }
        None => Body::Empty,
    };
    let (head, ()) = request.into_parts();
    Ok((head, body))
}

fn invalid(field: &str, problem: &str) -> ApiError {
    ApiError::new(Code::ControlInvalid, format!("{field} {problem}.")).at(format!("/{field}"))
}
