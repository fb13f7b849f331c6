//! Decodes the body of a response as it arrives (RFC 9112, sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use memchr::memchr;

use super::ResponseError;

/// The longest line of a chunked body, in bytes: a chunk's size with its extensions, or a trailer.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// How many bytes the extensions and trailers of a chunked body may have in total. They are ignored.
const MAX_IGNORED_BYTES: usize = 8 * 1024;

/// How many trailers a body may have.
const MAX_TRAILERS: u8 = 100;

/// Decodes one body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) struct Decoder {
    state: DecoderState,
    /// How many bytes of extensions and trailers were read.
    ignored: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DecoderState {
    Ended,
    /// This many bytes remain.
    Length(u64),
    /// The body ends with the connection.
    UntilClose,
    /// The size of a chunk is next.
    ChunkSize,
    /// This many bytes of a chunk remain.
    Chunk(u64),
    /// The end of a chunk is next.
    ChunkEnd,
    /// This many trailers were read.
    Trailers(u8),
}

/// What a buffer contains of a body.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::gateway) enum Decoded {
    /// A piece of the body.
    Data(Bytes),
    /// Nothing that can be decoded until more is received.
    Incomplete,
    /// The end of the body.
    End,
}

impl Decoder {
    fn new(state: DecoderState) -> Self {
        Self { state, ignored: 0 }
    }

    /// For a response without a body.
    pub(in crate::gateway) fn empty() -> Self {
        Self::new(DecoderState::Ended)
    }

    /// For a body of known length in bytes.
    pub(in crate::gateway) fn of_length(length: u64) -> Self {
        Self::new(if length == 0 { DecoderState::Ended } else { DecoderState::Length(length) })
    }

    /// For a body in chunks.
    pub(in crate::gateway) fn chunked() -> Self {
        Self::new(DecoderState::ChunkSize)
    }

    /// For a body that ends with the connection.
    pub(in crate::gateway) fn until_close() -> Self {
        Self::new(DecoderState::UntilClose)
    }

    /// Whether the whole body was decoded.
    pub(in crate::gateway) fn has_ended(self) -> bool {
        self.state == DecoderState::Ended
    }

    /// Whether the body ends before the connection does.
    pub(in crate::gateway) fn is_self_delimiting(self) -> bool {
        self.state != DecoderState::UntilClose
    }

    /// How many bytes remain, if that is known.
    pub(in crate::gateway) fn remaining(self) -> Option<u64> {
        match self.state {
            DecoderState::Ended => Some(0),
            DecoderState::Length(remaining) => Some(remaining),
            _ => None,
        }
    }

    /// Ends the body when the connection is closed.
    ///
    /// # Errors
    /// When the body is incomplete.
    pub(in crate::gateway) fn close(&mut self) -> Result<(), ResponseError> {
        match self.state {
            DecoderState::Ended | DecoderState::UntilClose => {
                self.state = DecoderState::Ended;
                Ok(())
            }
            _ => Err(ResponseError::Closed),
        }
    }

    /// Removes the next piece of the body from a buffer.
    ///
    /// # Errors
    /// When the body is malformed.
    pub(in crate::gateway) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, ResponseError> {
        loop {
            match &mut self.state {
                DecoderState::Ended => return Ok(Decoded::End),
                _ if buffer.is_empty() => return Ok(Decoded::Incomplete),
                DecoderState::UntilClose => return Ok(Decoded::Data(buffer.split().freeze())),
                DecoderState::Length(remaining) => {
                    let data = take(remaining, buffer);
                    if *remaining == 0 {
                        self.state = DecoderState::Ended;
                    }
                    return Ok(Decoded::Data(data));
                }
                DecoderState::ChunkSize => {
                    let Some(line) = line_length(buffer)? else { return Ok(Decoded::Incomplete) };
                    let (digits, size) =
                        chunk_size(&buffer[..line]).ok_or(ResponseError::Malformed("a chunk has no size"))?;
                    self.ignored = add_ignored(self.ignored, line - digits)?;
                    buffer.advance(line + CRLF.len());
                    self.state = if size == 0 { DecoderState::Trailers(0) } else { DecoderState::Chunk(size) };
                }
                DecoderState::Chunk(remaining) => {
                    let data = take(remaining, buffer);
                    if *remaining == 0 {
                        self.state = DecoderState::ChunkEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                DecoderState::ChunkEnd => {
                    let available = buffer.len().min(CRLF.len());
                    if buffer[..available] != CRLF[..available] {
                        return Err(ResponseError::Malformed("a chunk is longer than its size"));
                    }
                    if available < CRLF.len() {
                        return Ok(Decoded::Incomplete);
                    }
                    buffer.advance(CRLF.len());
                    self.state = DecoderState::ChunkSize;
                }
                // Dropped, because they are headers that no allow-list has checked.
                DecoderState::Trailers(count) => {
                    let Some(line) = line_length(buffer)? else { return Ok(Decoded::Incomplete) };
                    *count += 1;
                    if line == 0 {
                        self.state = DecoderState::Ended;
                    } else if *count > MAX_TRAILERS {
                        return Err(ResponseError::Malformed("it has too many trailers"));
                    } else if !is_field(&buffer[..line]) {
                        return Err(ResponseError::Malformed("a trailer is not a header field"));
                    } else {
                        self.ignored = add_ignored(self.ignored, line)?;
                    }
                    buffer.advance(line + CRLF.len());
                }
            }
        }
    }
}

const CRLF: &[u8] = b"\r\n";

/// Removes at most `remaining` bytes from a buffer.
fn take(remaining: &mut u64, buffer: &mut BytesMut) -> Bytes {
    let count = usize::try_from(*remaining).unwrap_or(usize::MAX).min(buffer.len());
    *remaining -= count as u64;
    buffer.split_to(count).freeze()
}

/// The sum of ignored bytes, within the limit.
fn add_ignored(before: usize, count: usize) -> Result<usize, ResponseError> {
    let sum = before + count;
    if sum > MAX_IGNORED_BYTES {
        return Err(ResponseError::Malformed("its chunks have too many extensions and trailers"));
    }
    Ok(sum)
}

/// The length of the line at the start of a buffer, or `None` if its end has not arrived. Only CRLF ends a line: a CR or LF
/// alone is refused, because another parser might take it for the end.
fn line_length(buffer: &[u8]) -> Result<Option<usize>, ResponseError> {
    match memchr(b'\n', &buffer[..buffer.len().min(MAX_LINE_BYTES)]) {
        Some(end) if end > 0 && memchr(b'\r', &buffer[..end]) == Some(end - 1) => Ok(Some(end - 1)),
        Some(_) => Err(ResponseError::Malformed("a line of its chunks does not end with CRLF")),
        None if buffer.len() < MAX_LINE_BYTES => Ok(None),
        None => Err(ResponseError::Malformed("a line of its chunks is too long")),
    }
}

/// The number of hexadecimal digits at the start of a chunk's first line, and the size they stand for. Extensions are
/// ignored.
fn chunk_size(line: &[u8]) -> Option<(usize, u64)> {
    let count = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(count);
    // RFC 9112, section 7.1.1: only white space may precede an extension.
    let after = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    if after.is_some_and(|byte| *byte != b';') {
        return None;
    }
    Some((count, u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?))
}

/// Whether a line is a header field, as trailers must be.
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = memchr(b':', line) else { return false };
    let (name, value) = line.split_at(colon);
    HeaderName::from_bytes(name).is_ok() && HeaderValue::from_bytes(&value[1..]).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A body that arrives in these pieces, and the bytes after it.
    fn decode<'a>(
        mut decoder: Decoder,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Vec<u8>, Vec<u8>), ResponseError> {
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Decoded::Data(data) = decoder.decode(&mut buffer)? {
                body.extend_from_slice(&data);
            }
        }
        decoder.close()?;
        Ok((body, buffer.to_vec()))
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        for (decoder, sent, body, rest) in [
            (Decoder::of_length(3), "abcHTTP", "abc", "HTTP"),
            (Decoder::empty(), "HTTP", "", "HTTP"),
            (Decoder::of_length(0), "", "", ""),
            (Decoder::until_close(), "abc", "abc", ""),
            (Decoder::chunked(), "3\r\nabc\r\n0\r\n\r\nHTTP", "abc", "HTTP"),
            (
                Decoder::chunked(),
                "3;x=\"y\"\r\nabc\r\nA \r\n0123456789\r\n00\r\nx: y\r\nz: \r\n\r\n",
                "abc0123456789",
                "",
            ),
        ] {
            assert_eq!(decode(decoder, [sent.as_bytes()]).unwrap(), (body.into(), rest.into()), "{sent}");
            let bytes = sent.as_bytes().chunks(1);
            assert_eq!(decode(decoder, bytes).unwrap(), (body.into(), rest.into()), "{sent}, byte by byte");
        }
    }

    #[test]
    fn a_malformed_body_is_refused() {
        for (decoder, sent) in [
            (Decoder::of_length(3), "ab"),
            (Decoder::chunked(), ""),
            (Decoder::chunked(), "3\r\nab"),
            (Decoder::chunked(), "3\r\nabc\r\n"),
            (Decoder::chunked(), "3\r\nabc\r\n0\r\n"),
            (Decoder::chunked(), "3\r\nabcd\r\n0\r\n\r\n"),
            (Decoder::chunked(), "3\nabc\r\n0\r\n\r\n"),
            (Decoder::chunked(), "\r\nabc"),
            (Decoder::chunked(), "-3\r\nabc\r\n0\r\n\r\n"),
            (Decoder::chunked(), "0x3\r\nabc\r\n0\r\n\r\n"),
            (Decoder::chunked(), " 3\r\nabc\r\n0\r\n\r\n"),
            (Decoder::chunked(), "ffffffffffffffff1\r\nabc"),
            (Decoder::chunked(), "3 x\r\nabc\r\n0\r\n\r\n"),
            (Decoder::chunked(), "3\x0c\r\nabc\r\n0\r\n\r\n"),
            (Decoder::chunked(), "3\r\r\nabc\r\n0\r\n\r\n"),
            (Decoder::chunked(), "3;x\ry\r\nabc\r\n0\r\n\r\n"),
            (Decoder::chunked(), "3\r\nabc\r\n0\r\nx\r\n\r\n"),
            (Decoder::chunked(), "3\r\nabc\r\n0\r\nx: a\rb\r\n\r\n"),
            (Decoder::chunked(), "3\r\nabc\r\n0\r\nx : y\r\n\r\n"),
            (Decoder::chunked(), "3\r\nabc\r\n0\r\n folded: y\r\n\r\n"),
        ] {
            assert!(decode(decoder, [sent.as_bytes()]).is_err(), "{sent}");
            assert!(decode(decoder, sent.as_bytes().chunks(1)).is_err(), "{sent}, byte by byte");
        }
        let endless = "x".repeat(MAX_LINE_BYTES);
        assert!(Decoder::chunked().decode(&mut BytesMut::from(&*endless)).is_err());
        let trailers = format!("0\r\n{}", "x: y\r\n".repeat(usize::from(MAX_TRAILERS) + 1));
        assert!(Decoder::chunked().decode(&mut BytesMut::from(&*trailers)).is_err());
        let extensions = format!("1;{}\r\na\r\n", "x".repeat(100)).repeat(MAX_IGNORED_BYTES / 100 + 1);
        let sent = extensions + "0\r\n\r\n";
        assert!(decode(Decoder::chunked(), [sent.as_bytes()]).is_err());
        let trailers = format!("0\r\n{}\r\n", format!("x: {}\r\n", "y".repeat(200)).repeat(90));
        assert!(decode(Decoder::chunked(), [trailers.as_bytes()]).is_err());
    }

    proptest! {
        #[test]
        fn a_chunked_body_is_the_same_however_it_is_split(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(1_usize..30, 1..20),
        ) {
            let mut sent = Vec::new();
            for chunk in &chunks {
                sent.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                sent.extend_from_slice(chunk);
                sent.extend_from_slice(CRLF);
            }
            sent.extend_from_slice(b"0\r\n\r\nrest");
            let mut pieces = Vec::new();
            let mut left = &sent[..];
            for cut in cuts.iter().cycle() {
                let (piece, rest) = left.split_at((*cut).min(left.len()));
                pieces.push(piece);
                left = rest;
                if left.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(decode(Decoder::chunked(), pieces).unwrap(), (chunks.concat(), b"rest".to_vec()));
        }

        #[test]
        fn nothing_makes_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for decoder in [Decoder::chunked(), Decoder::of_length(7), Decoder::until_close(), Decoder::empty()] {
                let _ = decode(decoder, [&bytes[..]]);
            }
        }
    }
}
