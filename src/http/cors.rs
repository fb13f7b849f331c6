//! CORS (fetch standard, section 3.3), open by design: which page may use a token is decided on the real request, and a
//! page that is refused must be able to read why. Credentials mode is never allowed, so cookies play no part.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::request::body::Body;

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, x-should-retry, retry-after, retry-after-ms, www-authenticate, ratelimit-limit, ratelimit-remaining, ratelimit-reset",
);
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const VARY_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
const VARY: HeaderValue = HeaderValue::from_static("Origin");

/// Asked by browsers before a public page may reach a server in a private network or on this machine
/// (Private Network Access, section 3.1), and the header that agrees.
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Answers a preflight; none when the request is something else. `from_public`: whether pages of the public Internet may
/// reach this server although it is in a private network.
pub(super) fn preflight(method: &Method, headers: &HeaderMap, from_public: bool) -> Option<Response<Body>> {
    if method != Method::OPTIONS {
        return None;
    }
    let origin = origin(headers)?;
    let requested = sole(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, requested.clone());
    if let Some(names) = sole(headers, &header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if from_public && sole(headers, &REQUEST_PRIVATE_NETWORK).is_some_and(|asked| asked == "true") {
        answer.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    answer.insert(header::VARY, VARY_PREFLIGHT);
    Some(response)
}

/// The one origin that a request names.
pub(super) fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    sole(headers, &header::ORIGIN)
}

/// Lets the page that asked, from `origin`, read the answer, whatever it says.
pub(super) fn expose(origin: Option<HeaderValue>, answer: &mut HeaderMap) {
    answer.entry(header::VARY).or_insert(VARY);
    if let Some(origin) = origin {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}
