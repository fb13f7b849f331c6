//! Parses the head of a response, which says how its body is framed.

use std::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use memchr::memchr_iter;

use super::{Decoder, ResponseError};
use crate::gateway::headers;

/// The largest head of a response, in bytes, including the informational responses before it.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// How many header fields a response may have.
const MAX_FIELDS: usize = 100;

/// How many informational responses may precede a response.
const MAX_INFORMATIONAL: u8 = 16;

/// Room for the header fields that Gatelet adds.
const OWN_FIELDS: usize = 8;

/// The head of a response.
#[derive(Debug)]
pub(in crate::gateway) struct Head {
    pub(in crate::gateway) status: StatusCode,
    /// The header fields that clients may receive.
    pub(in crate::gateway) headers: HeaderMap,
    /// Decodes the body.
    pub(in crate::gateway) decoder: Decoder,
    /// Whether the connection can be used again after the body.
    pub(in crate::gateway) keep_alive: bool,
    /// Its length in the buffer, including informational responses before it.
    pub(in crate::gateway) bytes: usize,
}

/// Reads the head of a response as it arrives, without parsing it again for every byte.
#[derive(Debug, Default)]
pub(in crate::gateway) struct HeadReader {
    /// Where the head begins, after informational responses.
    start: usize,
    /// How many informational responses were skipped.
    informational: u8,
    /// How many bytes of the buffer were searched for the end of the head.
    searched: usize,
    /// How many bytes of the buffer were parsed last, when the head was incomplete.
    parsed: usize,
}

impl HeadReader {
    /// Reads the head at the start of a buffer, or returns `None` if it is incomplete. Skips informational responses
    /// before it (RFC 9110, section 15.2), except 101, which ends HTTP on the connection.
    ///
    /// The buffer must begin with the bytes of the previous call.
    ///
    /// # Errors
    /// When the head is malformed or too large, or frames its body ambiguously.
    pub(in crate::gateway) fn read(&mut self, buffer: &[u8]) -> Result<Option<Head>, ResponseError> {
        while self.is_worth_parsing(buffer) {
            // The parser skips empty lines, but no server sends any before a response.
            if matches!(buffer[self.start], b'\r' | b'\n') {
                return Err(ResponseError::Malformed("it begins with an empty line"));
            }
            let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
            let mut response = httparse::Response::new(&mut []);
            let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
                &mut response,
                buffer.get(self.start..).unwrap_or_default(),
                &mut fields,
            );
            let length = match parsed {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) => {
                    (self.parsed, self.searched) = (buffer.len(), buffer.len());
                    break;
                }
                Err(httparse::Error::TooManyHeaders) => {
                    return Err(ResponseError::Malformed("it has too many header fields"));
                }
                Err(_) => return Err(ResponseError::Malformed("its head cannot be read")),
            };
            let end = self.start + length;
            if end > MAX_HEAD_BYTES {
                break;
            }
            let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
            let status = status.ok_or(ResponseError::Malformed("it has no status"))?;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Head::of(status, response.version == Some(1), response.headers, end).map(Some);
            }
            self.informational += 1;
            if self.informational > MAX_INFORMATIONAL {
                return Err(ResponseError::Malformed("too many informational responses precede it"));
            }
            *self = Self { start: end, informational: self.informational, searched: end, parsed: end };
        }
        if buffer.len() >= MAX_HEAD_BYTES { Err(ResponseError::Malformed("its head is too large")) } else { Ok(None) }
    }

    /// Whether parsing can tell more than the last time: when the end of the head has arrived, or when the buffer has
    /// doubled, so that malformed input is noticed early. A byte is thus parsed twice on average, however it arrives.
    fn is_worth_parsing(&mut self, buffer: &[u8]) -> bool {
        let parsed = self.parsed - self.start;
        if buffer.len() - self.start >= parsed * 2 && buffer.len() > self.start {
            return true;
        }
        // The line end before the empty line may have been searched already: it takes at most two bytes, LF and CR.
        let from = self.searched.saturating_sub(2).max(self.start);
        let has_end = memchr_iter(b'\n', &buffer[from..]).any(|line_end| {
            let next = &buffer[from + line_end + 1..];
            next.starts_with(b"\n") || next.starts_with(b"\r\n")
        });
        self.searched = buffer.len();
        has_end
    }
}

impl Head {
    fn of(
        status: StatusCode,
        is_http_1_1: bool,
        fields: &[httparse::Header<'_>],
        bytes: usize,
    ) -> Result<Self, ResponseError> {
        let mut headers = HeaderMap::with_capacity(fields.len() + OWN_FIELDS);
        let mut framing = Framing { length: None, is_chunked: false };
        let mut hop_by_hop = Vec::new();
        let mut keep_alive = is_http_1_1;
        let has_body = !matches!(status.as_u16(), 100..=199 | 204 | 304);
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let name = name.map_err(|_| ResponseError::Malformed("a header field has no name"))?;
            match name.as_str() {
                "content-length" => framing.set_length(field.value)?,
                "transfer-encoding" => framing.set_encoding(field.value)?,
                "connection" => {
                    for option in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                        keep_alive &= !option.eq_ignore_ascii_case(b"close");
                        hop_by_hop.extend(HeaderName::from_bytes(option));
                    }
                }
                _ => {}
            }
            if headers::is_passed_on(name.as_str()) {
                let value = HeaderValue::from_bytes(field.value);
                headers.append(name, value.map_err(|_| ResponseError::Malformed("a header field has no value"))?);
            }
        }
        for name in hop_by_hop {
            headers.remove(name);
        }
        // RFC 9112, section 6.1: the framing of such a message is faulty.
        if framing.is_chunked && !is_http_1_1 {
            return Err(ResponseError::Malformed("it has a transfer coding, which HTTP/1.0 does not define"));
        }
        let decoder = framing.decoder()?;
        let decoder = if has_body { decoder } else { Decoder::empty() };
        keep_alive &= decoder.is_self_delimiting() && status != StatusCode::SWITCHING_PROTOCOLS;
        Ok(Self { status, headers, decoder, keep_alive, bytes })
    }
}

/// How the header fields frame the body (RFC 9112, section 6.3).
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
}

impl Framing {
    fn set_length(&mut self, value: &[u8]) -> Result<(), ResponseError> {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits
            .and_then(|digits| digits.parse().ok())
            .ok_or(ResponseError::Malformed("its length is not a number"))?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(ResponseError::Malformed("it has two lengths")),
            _ => Ok(()),
        }
    }

    fn set_encoding(&mut self, value: &[u8]) -> Result<(), ResponseError> {
        if !value.eq_ignore_ascii_case(b"chunked") || self.is_chunked {
            return Err(ResponseError::Malformed("it has an unknown transfer coding"));
        }
        self.is_chunked = true;
        Ok(())
    }

    fn decoder(&self) -> Result<Decoder, ResponseError> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(ResponseError::Malformed("it has both a length and a transfer coding")),
            (true, None) => Ok(Decoder::chunked()),
            (false, Some(length)) => Ok(Decoder::of_length(length)),
            (false, None) => Ok(Decoder::until_close()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, ResponseError> {
        HeadReader::default().read(text.as_bytes())
    }

    #[test]
    fn a_head_frames_its_body() {
        for (fields, decoder, keep_alive) in [
            ("content-length: 5", Decoder::of_length(5), true),
            ("Content-Length: 5\r\ncontent-length: 5", Decoder::of_length(5), true),
            ("transfer-encoding: Chunked", Decoder::chunked(), true),
            ("content-length: 5\r\nconnection: Close", Decoder::of_length(5), false),
            ("content-length: 5\r\nconnection: x, close", Decoder::of_length(5), false),
            ("server: x", Decoder::until_close(), false),
        ] {
            let head = read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).unwrap().unwrap();
            assert_eq!((head.decoder, head.keep_alive), (decoder, keep_alive), "{fields}");
        }
        for (line, keep_alive) in [("1.1 204 No Content", true), ("1.1 304 x", true), ("1.0 304 x", false)] {
            let head = read(&format!("HTTP/{line}\r\ncontent-length: 5\r\n\r\n")).unwrap().unwrap();
            assert_eq!((head.decoder, head.keep_alive), (Decoder::empty(), keep_alive), "{line}");
            assert!(!head.headers.contains_key("content-length"), "{line}: Gatelet sets the length itself");
        }
    }

    #[test]
    fn an_ambiguous_head_is_refused() {
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
    fn informational_responses_are_skipped() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n";
        let head = read(text).unwrap().unwrap();
        assert_eq!((head.status.as_u16(), head.bytes, head.headers.contains_key("link")), (200, text.len(), false));
        for end in 1..text.len() {
            assert!(read(&text[..end]).unwrap().is_none(), "{end}");
        }
        assert_eq!(read("HTTP/1.1 101 x\r\n\r\n").unwrap().unwrap().status.as_u16(), 101);
    }

    #[test]
    fn only_allowed_headers_are_kept() {
        let text = "HTTP/1.1 200 OK\r\ndate: now\r\nserver: x\r\nset-cookie: a=b\r\nconnection: x-hop, keep-alive\r\n\
            keep-alive: timeout=5\r\nx-hop: 1\r\nAllow: GET\r\nallow: PUT\r\naccess-control-allow-origin: *\r\n\
            content-length: 0\r\n\r\n";
        let head = read(text).unwrap().unwrap();
        let mut kept: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        kept.sort_unstable();
        assert_eq!(kept, [("allow", &b"GET"[..]), ("allow", b"PUT")]);
    }

    /// The result of reading a head in pieces of one length, and how often it was parsed.
    fn read_in_pieces(text: &str, length: usize) -> (Result<Option<Head>, ResponseError>, usize) {
        let (mut reader, mut parsed, mut arrived) = (HeadReader::default(), 0, 0);
        while arrived < text.len() {
            arrived = (arrived + length).min(text.len());
            let before = reader.parsed;
            let read = reader.read(&text.as_bytes()[..arrived]);
            parsed += usize::from(reader.parsed != before);
            if !matches!(read, Ok(None)) {
                return (read, parsed);
            }
        }
        (Ok(None), parsed)
    }

    #[test]
    fn a_head_is_the_same_however_it_arrives_and_is_not_parsed_again_for_every_byte() {
        let hints = "HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n".repeat(5);
        let fields = "x-filler: 0123456789\r\n".repeat(90);
        for text in [
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n".to_owned(),
            "HTTP/1.1 200 OK\n\n".to_owned(),
            format!("{hints}HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{fields}\r\n"),
        ] {
            let whole = read(&text).unwrap().unwrap();
            assert_eq!(whole.bytes, text.len());
            for length in 1..50 {
                let (read, parsed) = read_in_pieces(&text, length);
                let read = read.unwrap().unwrap();
                assert_eq!((read.bytes, read.decoder, &read.headers), (whole.bytes, whole.decoder, &whole.headers));
                assert!(parsed < 70, "{parsed} times, in pieces of {length}");
            }
        }
        // Malformed input is noticed before its end.
        let (read, _) = read_in_pieces("SSH-2.0-OpenSSH\r\n", 1);
        assert!(read.is_err());
    }

    #[test]
    fn informational_responses_are_limited() {
        let hint = "HTTP/1.1 103 Hints\r\n\r\n";
        let last = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let most = usize::from(MAX_INFORMATIONAL);
        assert!(read(&format!("{}{last}", hint.repeat(most))).unwrap().is_some());
        assert!(read(&format!("{}{last}", hint.repeat(most + 1))).is_err());
        let large = format!("HTTP/1.1 103 Hints\r\nlink: {}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES / 2));
        assert!(read(&format!("{large}{large}{last}")).is_err());
        assert!(read(&format!("\r\n{last}")).is_err());
        assert!(read(&format!("{hint}\r\n{last}")).is_err());
    }

    #[test]
    fn an_endless_head_is_refused() {
        let text = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(MAX_HEAD_BYTES));
        assert!(read(&text).is_err());
        // Also if its end has arrived.
        assert!(read(&(text + "\r\n\r\n")).is_err());
        let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MAX_FIELDS + 1));
        assert!(read(&text).is_err());
    }
}
