//! The head of an answer: what it says, and where its body will end.

use std::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Decoder, Failure};
use crate::gateway::headers;

/// The largest head of an answer, in bytes.
const MOST_HEAD_BYTES: usize = 256 * 1024;

/// The most header fields.
const MOST_FIELDS: usize = 100;

/// For how many more fields there is room than the answer has: our own are added.
const OWN_FIELDS: usize = 8;

/// The head of an answer.
#[derive(Debug)]
pub(in crate::gateway) struct Head {
    pub(in crate::gateway) status: StatusCode,
    /// Those that may be handed on.
    pub(in crate::gateway) headers: HeaderMap,
    /// What reads the body.
    pub(in crate::gateway) decoder: Decoder,
    /// Whether the connection can be used again.
    pub(in crate::gateway) stays_open: bool,
    /// Its length in the buffer, with that of informational answers before it.
    pub(in crate::gateway) bytes: usize,
}

impl Head {
    /// Reads the head at the start of a buffer; none: it is not all there. Informational answers before it are passed
    /// over (RFC 9110, section 15.2), but for a switch of protocols, for which nobody asked.
    ///
    /// # Errors
    /// When it is malformed, too large, or says in two ways where its body ends.
    pub(in crate::gateway) fn read(buffer: &[u8]) -> Result<Option<Self>, Failure> {
        let mut start = 0;
        loop {
            let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
            let mut response = httparse::Response::new(&mut []);
            let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
                &mut response,
                buffer.get(start..).unwrap_or_default(),
                &mut fields,
            );
            let length = match parsed {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) if buffer.len() < MOST_HEAD_BYTES => return Ok(None),
                Ok(httparse::Status::Partial) => return Err(Failure::Malformed("its head is too large")),
                Err(httparse::Error::TooManyHeaders) => {
                    return Err(Failure::Malformed("it has too many header fields"));
                }
                Err(_) => return Err(Failure::Malformed("its head cannot be read")),
            };
            start += length;
            // However much of it comes at once.
            if start > MOST_HEAD_BYTES {
                return Err(Failure::Malformed("its head is too large"));
            }
            let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
            let status = status.ok_or(Failure::Malformed("it has no status"))?;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Self::of(status, response.version == Some(1), response.headers, start).map(Some);
            }
        }
    }

    fn of(status: StatusCode, is_1_1: bool, fields: &[httparse::Header<'_>], bytes: usize) -> Result<Self, Failure> {
        let mut headers = HeaderMap::with_capacity(fields.len() + OWN_FIELDS);
        let mut framing = Framing { length: None, is_chunked: false };
        let mut hop = Vec::new();
        let mut stays_open = is_1_1;
        let has_body = !matches!(status.as_u16(), 100..=199 | 204 | 304);
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let name = name.map_err(|_| Failure::Malformed("a header field has no name"))?;
            match name.as_str() {
                "content-length" => {
                    framing.note_length(field.value)?;
                    if !has_body && status != StatusCode::NOT_MODIFIED {
                        continue;
                    }
                }
                "transfer-encoding" => framing.note_encoding(field.value)?,
                "connection" => {
                    for option in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                        stays_open &= !option.eq_ignore_ascii_case(b"close");
                        hop.extend(HeaderName::from_bytes(option));
                    }
                }
                _ => {}
            }
            if headers::is_handed_on(name.as_str()) {
                let value = HeaderValue::from_bytes(field.value);
                headers.append(name, value.map_err(|_| Failure::Malformed("a header field has no value"))?);
            }
        }
        for name in hop {
            headers.remove(name);
        }
        // RFC 9112, section 6.1: such a server does not know what it says.
        if framing.is_chunked && !is_1_1 {
            return Err(Failure::Malformed("it has a transfer coding, which HTTP/1.0 has not"));
        }
        let decoder = framing.decoder()?;
        let decoder = if has_body { decoder } else { Decoder::nothing() };
        stays_open &= decoder.has_end() && status != StatusCode::SWITCHING_PROTOCOLS;
        Ok(Self { status, headers, decoder, stays_open, bytes })
    }
}

/// What the header fields say about where the body ends (RFC 9112, section 6.3).
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
}

impl Framing {
    fn note_length(&mut self, value: &[u8]) -> Result<(), Failure> {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length =
            digits.and_then(|digits| digits.parse().ok()).ok_or(Failure::Malformed("its length is no number"))?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(Failure::Malformed("it has two lengths")),
            _ => Ok(()),
        }
    }

    fn note_encoding(&mut self, value: &[u8]) -> Result<(), Failure> {
        if !value.eq_ignore_ascii_case(b"chunked") || self.is_chunked {
            return Err(Failure::Malformed("it has a transfer coding that was not asked for"));
        }
        self.is_chunked = true;
        Ok(())
    }

    fn decoder(&self) -> Result<Decoder, Failure> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(Failure::Malformed("it has a length and a transfer coding")),
            (true, None) => Ok(Decoder::chunked()),
            (false, Some(length)) => Ok(Decoder::of_length(length)),
            (false, None) => Ok(Decoder::until_close()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, Failure> {
        Head::read(text.as_bytes())
    }

    #[test]
    fn a_head_says_where_its_body_ends() {
        for (fields, decoder, stays_open) in [
            ("content-length: 5", Decoder::of_length(5), true),
            ("Content-Length: 5\r\ncontent-length: 5", Decoder::of_length(5), true),
            ("transfer-encoding: Chunked", Decoder::chunked(), true),
            ("content-length: 5\r\nconnection: Close", Decoder::of_length(5), false),
            ("content-length: 5\r\nconnection: x, close", Decoder::of_length(5), false),
            ("server: x", Decoder::until_close(), false),
        ] {
            let head = read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).unwrap().unwrap();
            assert_eq!((head.decoder, head.stays_open), (decoder, stays_open), "{fields}");
        }
        for (line, stays_open) in [("1.1 204 No Content", true), ("1.1 304 x", true), ("1.0 304 x", false)] {
            let head = read(&format!("HTTP/{line}\r\ncontent-length: 5\r\n\r\n")).unwrap().unwrap();
            assert_eq!((head.decoder, head.stays_open), (Decoder::nothing(), stays_open), "{line}");
            assert_eq!(head.headers.contains_key("content-length"), line.contains("304"), "{line}");
        }
    }

    #[test]
    fn a_head_with_two_meanings_is_none() {
        for fields in [
            "content-length: 5\r\ncontent-length: 6",
            "content-length: 5, 5",
            "content-length: +5",
            "content-length: -1",
            "content-length:",
            "content-length: 99999999999999999999",
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: chunked, identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding: \x0bchunked",
            "content-length : 5",
            "a\r\n b: c",
            "content-length: 5\r\n folded: 6",
        ] {
            assert!(read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).is_err(), "{fields}");
        }
        assert!(read("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        for line in ["HTTP/2 200 OK", "HTTP/1.1 99 x", "HTTP/1.1 20 OK", "ICY 200 OK", "HTTP/1.1"] {
            assert!(read(&format!("{line}\r\n\r\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn informational_answers_are_passed_over() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
        let head = read(text).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), head.bytes, head.headers.contains_key("link")), (200, text.len(), false));
        for end in 1..text.len() {
            assert!(read(&text[..end]).unwrap().is_none(), "{end}");
        }
        assert_eq!(read("HTTP/1.1 101 x\r\n\r\n").unwrap().unwrap().status.as_u16(), 101);
    }

    #[test]
    fn only_what_may_be_handed_on_is_kept() {
        let text = "HTTP/1.1 200 OK\r\ndate: now\r\nserver: x\r\nset-cookie: a=b\r\nconnection: x-hop, keep-alive\r\n\
            keep-alive: timeout=5\r\nx-hop: 1\r\nX-Kept: 1\r\nx-kept: 2\r\naccess-control-allow-origin: *\r\n\
            content-length: 0\r\n\r\n";
        let head = read(text).unwrap().unwrap();
        let mut kept: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        kept.sort_unstable();
        assert_eq!(kept, [("content-length", &b"0"[..]), ("x-kept", b"1"), ("x-kept", b"2")]);
    }

    #[test]
    fn a_head_without_end_is_too_large() {
        let text = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(MOST_HEAD_BYTES));
        assert!(read(&text).is_err());
        // Also where its end has come as well.
        assert!(read(&(text + "\r\n\r\n")).is_err());
        let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MOST_FIELDS + 1));
        assert!(read(&text).is_err());
    }
}
