//! An upstream's headers on their way to the client.
//!
//! They are an allow-list: browsers obey many of those that a server or a proxy before it may send, so what the list does
//! not name is not handed on. The list for the other direction is in `request::headers`.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What an upstream may tell the client, unless `Connection` names it. Everything else is ours to say (`date`, `vary`,
/// `x-request-id`, the length, CORS), for one connection only, or a command to browsers and proxies (`set-cookie`,
/// `clear-site-data`, `refresh`, `link`, `x-accel-redirect`, ...) that is none of the upstream's affair.
pub(super) fn is_handed_on(name: &str) -> bool {
    matches!(
        name,
        // What the content is (RFC 9110, section 8).
        "content-disposition" | "content-encoding" | "content-language" | "content-type" | "etag" | "last-modified"
            // Whether it may be kept, and whether a proxy before us is to hold a stream back.
            | "cache-control" | "x-accel-buffering"
            // How to go on after a refusal; the SDKs obey the last three.
            | "allow" | "retry-after" | "retry-after-ms" | "x-should-retry"
            // How many requests are left. A token's own quota is said over it.
            | "ratelimit"
            // Where something is; for API keys alone (`KEYS_ONLY`).
            | "location"
            // What Letta says beside the content of an upload and of a size.
            | "storage-unit" | "x-upload-result"
    ) || name.starts_with("ratelimit-")
        || name.starts_with("x-ratelimit-")
}

/// What of this no client token is told.
pub(super) const KEYS_ONLY: &[HeaderName] = &[header::LOCATION];

/// Removes from an answer's headers what must not reach the client.
pub(super) fn clean(headers: &mut HeaderMap) {
    let mut unwanted = named_by_connection(headers.get_all(header::CONNECTION).iter());
    unwanted.extend(headers.keys().filter(|name| !is_handed_on(name.as_str())).cloned());
    for name in unwanted {
        headers.remove(name);
    }
}

/// The headers that `Connection` makes hop-by-hop, but for one that is not there, which most name.
pub(super) fn named_by_connection<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Vec<HeaderName> {
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let names = names.filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"));
    names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}
