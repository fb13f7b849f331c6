//! CORS (fetch standard, section 3.3), open by design: whether a page may use a token is decided on the real request, and a
//! page that is refused must be able to read why. Credentials mode is never allowed, so cookies have no effect.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::request::body::Body;

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, x-should-retry, retry-after, retry-after-ms, www-authenticate, ratelimit-limit, ratelimit-remaining, ratelimit-reset",
);
/// The same where there is a journal.
const EXPOSED_WITH_ENTRY: HeaderValue = HeaderValue::from_static(
    "x-request-id, x-should-retry, retry-after, retry-after-ms, www-authenticate, ratelimit-limit, ratelimit-remaining, ratelimit-reset, x-gatelet-entry",
);
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const VARY_PREFLIGHT: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
const VARY: HeaderValue = HeaderValue::from_static("Origin");

/// Sent by browsers before a public page may reach a server in a private network or on this machine (Private Network
/// Access, section 3.1), and the header that allows it.
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// The response to a preflight; `None` if the request is not one. `from_public`: whether pages from the public Internet may
/// reach this server in a private network.
pub(super) fn preflight(method: &Method, headers: &HeaderMap, from_public: bool) -> Option<Response<Body>> {
    if method != Method::OPTIONS {
        return None;
    }
    let origin = origin(headers)?;
    let requested = sole(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let response_headers = response.headers_mut();
    response_headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    response_headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, requested.clone());
    if let Some(names) = sole(headers, &header::ACCESS_CONTROL_REQUEST_HEADERS) {
        response_headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if from_public && sole(headers, &REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
        response_headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    response_headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response_headers.insert(header::VARY, VARY_PREFLIGHT);
    Some(response)
}

/// The origin of a request that names exactly one.
pub(super) fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    sole(headers, &header::ORIGIN)
}

/// Lets a page from `origin` read the response, whatever its status. `has_entry`: whether a journal has an entry for it.
pub(super) fn expose(origin: Option<HeaderValue>, has_entry: bool, response_headers: &mut HeaderMap) {
    response_headers.entry(header::VARY).or_insert(VARY);
    if let Some(origin) = origin {
        response_headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response_headers
            .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, if has_entry { EXPOSED_WITH_ENTRY } else { EXPOSED });
    }
}

fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}
