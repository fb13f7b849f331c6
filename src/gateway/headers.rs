//! Headers in both directions.
//!
//! Upstream: an allow-list, because Letta reads headers that change who acts (`user_id`) or how (`X-Experimental-*`), and
//! because what no list names cannot be smuggled. Back: everything but what belongs to one connection, to cookies, or to
//! the upstream's own view of CORS.

use http::{HeaderMap, HeaderName, header};

/// What a client may tell the upstream: what it reads, and which SDK it is, on which some answers depend.
pub(super) fn is_passed(name: &str) -> bool {
    matches!(name, "accept" | "accept-language" | "user-agent")
        || name.starts_with("x-stainless-")
        || name.starts_with("x-fern-")
}

/// Which project an API key's request is about, in either SDK generation.
pub(super) const PROJECT: &[&str] = &["x-project-id", "x-project"];

/// RFC 9110, section 7.6.1, with the older names that are still met.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What is the upstream's affair, or ours to say.
fn is_upstreams_own(name: &str) -> bool {
    matches!(
        name,
        "alt-svc"
            | "date"
            | "server"
            | "set-cookie"
            | "strict-transport-security"
            | "vary"
            | "www-authenticate"
            | "x-request-id"
    ) || name.starts_with("access-control-")
}

/// Whether a field of an answer may reach the client, unless `Connection` names it.
pub(super) fn is_handed_on(name: &str) -> bool {
    !is_hop_by_hop(name) && !is_upstreams_own(name)
}

/// Removes from an answer's headers what must not reach the client.
pub(super) fn clean(headers: &mut HeaderMap) {
    let mut unwanted = named_by_connection(headers);
    unwanted.extend(headers.keys().filter(|name| !is_handed_on(name.as_str())).cloned());
    for name in unwanted {
        headers.remove(name);
    }
}

/// The headers that `Connection` makes hop-by-hop, but for one that is not there, which most name.
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let names = names.filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"));
    names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}
