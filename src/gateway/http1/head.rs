//! The head of an answer: what it says, and where its body will end.

use std::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use memchr::memchr_iter;

use super::{Decoder, ResponseError};
use crate::gateway::headers;

/// The largest head of an answer, in bytes, with those of informational answers before it.
const MOST_HEAD_BYTES: usize = 256 * 1024;

/// The most header fields.
const MOST_FIELDS: usize = 100;

/// The most informational answers before the one that was asked for.
const MOST_INFORMATIONAL: u8 = 16;

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

/// Reads the head of an answer as it arrives. What is known not to hold its end is not read again with every byte.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Reader {
    /// Where the head begins: behind informational answers.
    start: usize,
    /// How many informational answers there were.
    informational: u8,
    /// How much of the buffer is known not to hold the end of the head.
    searched: usize,
    /// How much of the buffer was parsed last, without finding it.
    parsed: usize,
}

impl Reader {
    /// Reads the head at the start of a buffer; none: it is not all there. Informational answers before it are passed
    /// over (RFC 9110, section 15.2), but for a switch of protocols, for which nobody asked.
    ///
    /// The buffer is the same as at the last call, with more at its end.
    ///
    /// # Errors
    /// When it is malformed, too large, or says in two ways where its body ends.
    pub(in crate::gateway) fn read(&mut self, buffer: &[u8]) -> Result<Option<Head>, ResponseError> {
        while self.is_worth_parsing(buffer) {
            // The parser passes over empty lines, but no server sends any before its answer.
            if matches!(buffer[self.start], b'\r' | b'\n') {
                return Err(ResponseError::Malformed("it begins with an empty line"));
            }
            let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
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
            if end > MOST_HEAD_BYTES {
                break;
            }
            let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
            let status = status.ok_or(ResponseError::Malformed("it has no status"))?;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Head::of(status, response.version == Some(1), response.headers, end).map(Some);
            }
            self.informational += 1;
            if self.informational > MOST_INFORMATIONAL {
                return Err(ResponseError::Malformed("it has too many informational answers before it"));
            }
            *self = Self { start: end, informational: self.informational, searched: end, parsed: end };
        }
        if buffer.len() >= MOST_HEAD_BYTES { Err(ResponseError::Malformed("its head is too large")) } else { Ok(None) }
    }

    /// Whether to parse says more than it did the last time: when the end of the head has come, or at least as much again
    /// as there was, in which something malformed may show. So a byte is parsed twice on the average, however it comes.
    fn is_worth_parsing(&mut self, buffer: &[u8]) -> bool {
        let known = self.parsed - self.start;
        if buffer.len() - self.start >= known * 2 && buffer.len() > self.start {
            return true;
        }
        // The line end before an empty line may be known already: at most LF, CR.
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
        is_1_1: bool,
        fields: &[httparse::Header<'_>],
        bytes: usize,
    ) -> Result<Self, ResponseError> {
        let mut headers = HeaderMap::with_capacity(fields.len() + OWN_FIELDS);
        let mut framing = Framing { length: None, is_chunked: false };
        let mut hop = Vec::new();
        let mut stays_open = is_1_1;
        let has_body = !matches!(status.as_u16(), 100..=199 | 204 | 304);
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let name = name.map_err(|_| ResponseError::Malformed("a header field has no name"))?;
            match name.as_str() {
                "content-length" => framing.note_length(field.value)?,
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
                headers.append(name, value.map_err(|_| ResponseError::Malformed("a header field has no value"))?);
            }
        }
        for name in hop {
            headers.remove(name);
        }
        // RFC 9112, section 6.1: such a server does not know what it says.
        if framing.is_chunked && !is_1_1 {
            return Err(ResponseError::Malformed("it has a transfer coding, which HTTP/1.0 has not"));
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
    fn note_length(&mut self, value: &[u8]) -> Result<(), ResponseError> {
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length =
            digits.and_then(|digits| digits.parse().ok()).ok_or(ResponseError::Malformed("its length is no number"))?;
        match self.length.replace(length) {
            Some(other) if other != length => Err(ResponseError::Malformed("it has two lengths")),
            _ => Ok(()),
        }
    }

    fn note_encoding(&mut self, value: &[u8]) -> Result<(), ResponseError> {
        if !value.eq_ignore_ascii_case(b"chunked") || self.is_chunked {
            return Err(ResponseError::Malformed("it has a transfer coding that was not asked for"));
        }
        self.is_chunked = true;
        Ok(())
    }

    fn decoder(&self) -> Result<Decoder, ResponseError> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(ResponseError::Malformed("it has a length and a transfer coding")),
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
        Reader::default().read(text.as_bytes())
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
            assert!(!head.headers.contains_key("content-length"), "{line}: the length is for us to say");
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
            keep-alive: timeout=5\r\nx-hop: 1\r\nAllow: GET\r\nallow: PUT\r\naccess-control-allow-origin: *\r\n\
            content-length: 0\r\n\r\n";
        let head = read(text).unwrap().unwrap();
        let mut kept: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        kept.sort_unstable();
        assert_eq!(kept, [("allow", &b"GET"[..]), ("allow", b"PUT")]);
    }

    /// What comes of a head that arrives in pieces of one length, and how many of them were parsed.
    fn read_in_pieces(text: &str, length: usize) -> (Result<Option<Head>, ResponseError>, usize) {
        let (mut reader, mut parsed, mut arrived) = (Reader::default(), 0, 0);
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
    fn a_head_is_the_same_however_it_arrives_and_is_not_read_again_with_every_byte() {
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
        // What is malformed shows before its end has come.
        let (read, _) = read_in_pieces("SSH-2.0-OpenSSH\r\n", 1);
        assert!(read.is_err());
    }

    #[test]
    fn informational_answers_have_an_end() {
        let hint = "HTTP/1.1 103 Hints\r\n\r\n";
        let last = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let most = usize::from(MOST_INFORMATIONAL);
        assert!(read(&format!("{}{last}", hint.repeat(most))).unwrap().is_some());
        assert!(read(&format!("{}{last}", hint.repeat(most + 1))).is_err());
        let large = format!("HTTP/1.1 103 Hints\r\nlink: {}\r\n\r\n", "x".repeat(MOST_HEAD_BYTES / 2));
        assert!(read(&format!("{large}{large}{last}")).is_err());
        assert!(read(&format!("\r\n{last}")).is_err());
        assert!(read(&format!("{hint}\r\n{last}")).is_err());
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
