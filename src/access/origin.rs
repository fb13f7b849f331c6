//! Whether a request comes from the origin that a client token is bound to.
//!
//! Browsers attach `Origin` to every cross-origin request and to every same-origin one but GET and HEAD (fetch standard,
//! section 3.2), always serialized the same way, so the comparison is of bytes. It stops other web sites, not other
//! programs: those set any header they like.

use http::{HeaderMap, Method, header};

use super::denial::Denial;
use crate::config::OriginMissing;

/// Checks the origin of a client token's request: the one that the token is bound to, or the same as its `hostname` spells
/// it.
pub(super) fn check(
    bound_to: &str,
    hostname: Option<&str>,
    method: &Method,
    headers: &HeaderMap,
    missing: OriginMissing,
) -> Result<(), Denial> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) if origin.as_bytes() == bound_to.as_bytes() => Ok(()),
        (Some(origin), None) if hostname.is_some_and(|hostname| origin.as_bytes() == hostname.as_bytes()) => Ok(()),
        (Some(origin), None) => Err(mismatch(bound_to, origin.as_bytes())),
        (Some(_), Some(_)) => Err(mismatch(bound_to, b"several Origin headers")),
        (None, _) => check_referer(bound_to, method, headers, missing),
    }
}

/// Checks the origin of a handshake. Browsers send `Origin` with each, also to their own origin, and never `Referer`.
pub(super) fn check_handshake(
    bound_to: &str,
    hostname: Option<&str>,
    headers: &HeaderMap,
    missing: OriginMissing,
) -> Result<(), Denial> {
    // Only reads may name their origin in `Referer` instead.
    let mut without_referer = HeaderMap::new();
    for origin in headers.get_all(header::ORIGIN) {
        without_referer.append(header::ORIGIN, origin.clone());
    }
    check(bound_to, hostname, &Method::GET, &without_referer, missing)
}

/// What was sent, and what the token is bound to, for a step.
pub(super) fn describe(
    bound_to: &str,
    hostname: Option<&str>,
    method: &Method,
    headers: &HeaderMap,
    missing: OriginMissing,
) -> String {
    let also = hostname.map(|hostname| format!(" (as {hostname})")).unwrap_or_default();
    if headers.contains_key(header::ORIGIN) {
        return format!("sent {}, bound to {bound_to}{also}", sent(headers));
    }
    let without = if missing == OriginMissing::Allow { "accepted" } else { "refused" };
    let referer = match headers.get(header::REFERER) {
        Some(referer) if matches!(*method, Method::GET | Method::HEAD) => {
            format!("a Referer from {}", readable(referer_origin(referer.as_bytes())))
        }
        Some(_) => "a Referer, which counts for reads only".into(),
        None => "no Referer".into(),
    };
    format!("sent no Origin and {referer}, bound to {bound_to}{also}; without either a request is {without}")
}

/// The origin that a request names, for a step.
pub(super) fn sent(headers: &HeaderMap) -> String {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => "no Origin".into(),
        (Some(origin), None) => readable(origin.as_bytes()),
        (Some(_), Some(_)) => "several Origin headers".into(),
    }
}

/// A same-origin GET has no `Origin`, but it has a `Referer` unless the page forbids that.
fn check_referer(bound_to: &str, method: &Method, headers: &HeaderMap, missing: OriginMissing) -> Result<(), Denial> {
    let mut referers = headers.get_all(header::REFERER).iter();
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match (referers.next(), referers.next()) {
        (Some(referer), None) if is_read => {
            let referer = referer.as_bytes();
            let same = referer.strip_prefix(bound_to.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
            if same { Ok(()) } else { Err(mismatch(bound_to, referer_origin(referer))) }
        }
        (Some(_), Some(_)) => Err(mismatch(bound_to, b"several Referer headers")),
        _ if missing == OriginMissing::Allow => Ok(()),
        _ => Err(Denial::OriginMissing { bound_to: bound_to.into() }),
    }
}

/// The part of a referer before its path: a refusal need not repeat the rest of a URL.
fn referer_origin(referer: &[u8]) -> &[u8] {
    let mut slashes = referer.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    &referer[..slashes.nth(2).unwrap_or(referer.len())]
}

fn mismatch(bound_to: &str, sent: &[u8]) -> Denial {
    Denial::OriginMismatch { bound_to: bound_to.into(), sent: readable(sent).into() }
}

/// What a header says, short enough to be repeated in a sentence.
fn readable(sent: &[u8]) -> String {
    sent.iter()
        .take(200)
        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const BOUND: &str = "https://app.example";

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect::<Vec<_>>()
            .into_iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    fn outcome(method: &Method, pairs: &[(header::HeaderName, &str)], missing: OriginMissing) -> &'static str {
        match check(BOUND, None, method, &headers(pairs), missing) {
            Ok(()) => "passes",
            Err(Denial::OriginMissing { .. }) => "missing",
            Err(Denial::OriginMismatch { .. }) => "mismatch",
            Err(_) => "other",
        }
    }

    #[test]
    fn a_client_token_passes_from_its_own_origin_only() {
        let origin = header::ORIGIN;
        let referer = header::REFERER;
        let deny = OriginMissing::Deny;
        for (why, method, pairs, expected) in [
            ("the very origin", Method::POST, vec![(origin.clone(), BOUND)], "passes"),
            ("another host", Method::POST, vec![(origin.clone(), "https://evil.example")], "mismatch"),
            ("another scheme", Method::POST, vec![(origin.clone(), "http://app.example")], "mismatch"),
            ("a port more", Method::POST, vec![(origin.clone(), "https://app.example:8443")], "mismatch"),
            (
                "the default port written out",
                Method::POST,
                vec![(origin.clone(), "https://app.example:443")],
                "mismatch",
            ),
            ("another case", Method::POST, vec![(origin.clone(), "https://App.example")], "mismatch"),
            ("a trailing dot", Method::POST, vec![(origin.clone(), "https://app.example.")], "mismatch"),
            ("a trailing slash", Method::POST, vec![(origin.clone(), "https://app.example/")], "mismatch"),
            ("a longer host", Method::POST, vec![(origin.clone(), "https://app.example.evil.example")], "mismatch"),
            ("an opaque origin", Method::POST, vec![(origin.clone(), "null")], "mismatch"),
            ("an empty origin", Method::POST, vec![(origin.clone(), "")], "mismatch"),
            ("two origins, one right", Method::GET, vec![(origin.clone(), BOUND), (origin.clone(), BOUND)], "mismatch"),
            (
                "a list of origins",
                Method::GET,
                vec![(origin.clone(), "https://app.example https://app.example")],
                "mismatch",
            ),
            ("nothing", Method::GET, vec![], "missing"),
            ("a same-origin read", Method::GET, vec![(referer.clone(), "https://app.example/chat?x=1")], "passes"),
            ("its bare origin as referer", Method::HEAD, vec![(referer.clone(), BOUND)], "passes"),
            ("a foreign referer", Method::GET, vec![(referer.clone(), "https://evil.example/")], "mismatch"),
            (
                "a referer that only begins alike",
                Method::GET,
                vec![(referer.clone(), "https://app.example.evil.example/")],
                "mismatch",
            ),
            ("a referer with a port", Method::GET, vec![(referer.clone(), "https://app.example:1/")], "mismatch"),
            ("a referer on a write", Method::POST, vec![(referer.clone(), "https://app.example/")], "missing"),
            (
                "two referers",
                Method::GET,
                vec![(referer.clone(), "https://app.example/"), (referer.clone(), "https://app.example/")],
                "mismatch",
            ),
            (
                "a referer beside a wrong origin",
                Method::GET,
                vec![(origin.clone(), "null"), (referer.clone(), "https://app.example/")],
                "mismatch",
            ),
        ] {
            assert_eq!(outcome(&method, &pairs, deny), expected, "{why}");
        }
        let allow = OriginMissing::Allow;
        assert_eq!(outcome(&Method::POST, &[], allow), "passes");
        assert_eq!(outcome(&Method::POST, &[(header::ORIGIN, "https://evil.example")], allow), "mismatch");
        assert_eq!(outcome(&Method::GET, &[(header::REFERER, "https://evil.example/")], allow), "mismatch");
    }

    #[test]
    fn the_very_text_of_the_hostname_passes_and_no_third_spelling() {
        let sent = "https://App.Example:443";
        for (origin, passes) in
            [(BOUND, true), (sent, true), ("https://app.example:443", false), ("https://App.Example", false)]
        {
            let headers = headers(&[(header::ORIGIN, origin)]);
            let checked = check(BOUND, Some(sent), &Method::POST, &headers, OriginMissing::Deny);
            assert_eq!(checked.is_ok(), passes, "{origin}");
        }
    }

    proptest! {
        #[test]
        fn only_the_exact_bytes_pass(origin in "(https?://)?[a-zA-Z0-9.:/-]{0,24}") {
            let passes = outcome(&Method::GET, &[(header::ORIGIN, &origin)], OriginMissing::Allow) == "passes";
            prop_assert_eq!(passes, origin == BOUND);
        }
    }
}
