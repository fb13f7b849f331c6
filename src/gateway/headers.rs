//! An upstream's headers on their way to the client.
//!
//! They are an allow-list: browsers obey many of those that a server or a proxy before it may send, so what the list does
//! not name is not handed on. The list for the other direction is in `request::headers`.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Whether an upstream's header is passed on, unless `Connection` names it. All others are either set by Gatelet (`date`,
/// `vary`, `x-request-id`, the length, CORS), hop-by-hop, or commands to browsers and proxies that the upstream must not
/// give (`set-cookie`, `clear-site-data`, `refresh`, `link`, `x-accel-redirect`, ...).
pub(super) fn is_passed_on(name: &str) -> bool {
    matches!(
        name,
        // What the content is (RFC 9110, section 8).
        "content-disposition" | "content-encoding" | "content-language" | "content-type" | "etag" | "last-modified"
            // Whether it may be cached, and whether a proxy in front of Gatelet buffers a stream.
            | "cache-control" | "x-accel-buffering"
            // How to proceed after a refusal; the SDKs obey the last three.
            | "allow" | "retry-after" | "retry-after-ms" | "x-should-retry"
            // The upstream's rate limit, which a client token's own quota replaces.
            | "ratelimit"
            // Where a resource is; for API keys only (`KEYS_ONLY`).
            | "location"
            // Letta's own headers for uploads and sizes.
            | "storage-unit" | "x-upload-result"
    ) || name.starts_with("ratelimit-")
        || name.starts_with("x-ratelimit-")
}

/// Headers that are removed from responses to client tokens.
pub(super) const KEYS_ONLY: &[HeaderName] = &[header::LOCATION];

/// Removes a response's headers that must not reach the client.
pub(super) fn clean(headers: &mut HeaderMap) {
    let mut unwanted = named_by_connection(headers.get_all(header::CONNECTION).iter());
    unwanted.extend(headers.keys().filter(|name| !is_passed_on(name.as_str())).cloned());
    for name in unwanted {
        headers.remove(name);
    }
}

/// The headers that `Connection` makes hop-by-hop. `keep-alive` is left out: most messages name it without sending it.
pub(super) fn named_by_connection<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> Vec<HeaderName> {
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let names = names.filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"));
    names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}
