//! Refuses a request whose head is ambiguous about its host or about where its body ends (RFC 9112, sections 3.2 and 6.1;
//! RFC 9113, section 8.3.1).
//!
//! Gatelet's decisions depend on neither, but a proxy on the way might read such a request differently. The HTTP library
//! refuses most ambiguous heads by itself; if a request has both a length and a transfer coding, it uses the coding and
//! closes the connection after the response.

use std::net::Ipv6Addr;

use http::{HeaderMap, HeaderValue, Uri, Version, header};

use crate::error::{ApiError, Code};

const HOST_RULE: &str = "Send one Host header, with the host and port of this server and nothing else.";
const AUTHORITY_RULE: &str = "Send one authority, with the host and port of this server and nothing else; a Host header \
                              must say the same.";
const CODING_RULE: &str =
    "Send the body with a Content-Length, or with `Transfer-Encoding: chunked` and no other coding.";

/// Refuses a head without exactly one host or with an ambiguous end of the body.
///
/// # Errors
/// 400, after which an HTTP/1.1 connection is closed.
pub(super) fn check(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    if version >= Version::HTTP_2 {
        // HTTP/2 has no transfer codings; the library refuses them.
        return if is_addressed_once(uri, headers) { Ok(()) } else { Err(refusal(AUTHORITY_RULE)) };
    }
    if !has_one_host(version, headers) {
        return Err(refusal(HOST_RULE).header(header::CONNECTION, CLOSE));
    }
    if !is_coded_once(headers) {
        return Err(refusal(CODING_RULE).header(header::CONNECTION, CLOSE));
    }
    Ok(())
}

const CLOSE: HeaderValue = HeaderValue::from_static("close");

fn refusal(rule: &'static str) -> ApiError {
    ApiError::new(Code::InvalidRequest, rule)
}

fn has_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_authority(host.as_bytes()),
        (Some(_), Some(_)) => false,
        // HTTP/1.0 does not have the field.
        (None, _) => version < Version::HTTP_11,
    }
}

fn is_addressed_once(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (uri.authority(), hosts.next()) {
        (Some(authority), None) => authority.as_str().as_bytes(),
        (Some(authority), Some(host)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            return false;
        }
        (_, Some(host)) => host.as_bytes(),
        (None, None) => return false,
    };
    hosts.next().is_none() && is_authority(host)
}

fn is_coded_once(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// `uri-host [ ":" port ]` (RFC 9110, section 7.2) with a host that is not empty (section 4.2.1).
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let address = std::str::from_utf8(&rest[..end]).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
            if !address {
                return false;
            }
            match &rest[end + 1..] {
                [] => return true,
                [b':', port @ ..] => return is_port(port),
                _ => return false,
            }
        }
        None => match text.iter().position(|byte| *byte == b':') {
            Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
            None => (text, None),
        },
    };
    !host.is_empty() && is_registered_name(host) && port.is_none_or(is_port)
}

/// RFC 3986, section 3.2.2.
fn is_registered_name(host: &[u8]) -> bool {
    let mut rest = host;
    while let [byte, after @ ..] = rest {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (b'-' | b'.' | b'_' | b'~', _) => after,
            (b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=', _) => after,
            _ if byte.is_ascii_alphanumeric() => after,
            _ => return false,
        };
    }
    true
}

/// A number, or nothing for the default port of the scheme (RFC 3986, section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    let is_number = || std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok());
    port.is_empty() || (port[0].is_ascii_digit() && is_number())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for text in [
            "localhost",
            "localhost:8283",
            "LETTA.example.",
            "letta_server:8283",
            "127.0.0.1",
            "127.0.0.1:",
            "[::1]",
            "[::1]:8283",
            "xn--bcher-kva.example",
            "a%20b",
            "a!$&'()*+,;=~-_.b",
            "1",
        ] {
            assert!(is_authority(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            ":",
            ":80",
            " ",
            "a b",
            "a/",
            "a/#@b",
            "a#b",
            "a?b",
            "a@b",
            "user:pw@a",
            "a:b",
            "a:80:80",
            "a:+80",
            "a:-1",
            "a:99999",
            "a:80 ",
            "[::1",
            "::1",
            "[::1]a",
            "[::1]:x",
            "[]",
            "[a]",
            "[fe80::1%25eth0]",
            "[::1]]",
            "a,b c",
            "a\\b",
            "a<b",
            "a|b",
            "a\"b",
            "a%",
            "a%2",
            "a%zz",
            "http://a",
            "bücher.example",
            "a\tb",
            "a\0",
        ] {
            assert!(!is_authority(text.as_bytes()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_an_authority_is_one_to_others_too(text in "[a-z0-9.:\\[\\]@/?#%_ -]{0,12}") {
            if is_authority(text.as_bytes()) {
                prop_assert!(!text.contains(['@', '/', '?', '#', ' ']));
                if let Ok(parsed) = text.parse::<http::uri::Authority>() {
                    prop_assert!(text.starts_with(parsed.host()));
                }
            }
        }
    }
}
