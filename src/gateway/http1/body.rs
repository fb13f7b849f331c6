//! The body of an answer: its pieces, as they arrive, and where it ends (RFC 9112, sections 6 and 7).

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, HeaderValue};
use memchr::memchr;

use super::ResponseError;

/// The longest line of a chunked body: a chunk's size with its extensions, or a trailer.
const MOST_LINE_BYTES: usize = 8 * 1024;

/// The most bytes that a chunked body may spend on extensions and trailers together, which nobody reads.
const MOST_UNREAD_BYTES: usize = 8 * 1024;

/// The most trailers.
const MOST_TRAILERS: u8 = 100;

/// Reads a body out of what arrives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) struct Decoder {
    state: DecoderState,
    /// How many bytes of extensions and trailers have come.
    unread: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DecoderState {
    Ended,
    /// So many bytes are still to come.
    Length(u64),
    /// All that comes.
    UntilClose,
    /// The size of a chunk comes next.
    Size,
    /// So many bytes of a chunk are still to come.
    Chunk(u64),
    /// The end of a chunk comes next.
    ChunkEnd,
    /// So many trailers have come.
    Trailers(u8),
}

/// What a buffer holds of a body.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::gateway) enum Decoded {
    /// A piece of it.
    Data(Bytes),
    /// Nothing: more has to arrive.
    Nothing,
    /// Its end.
    End,
}

impl Decoder {
    fn new(state: DecoderState) -> Self {
        Self { state, unread: 0 }
    }

    /// For an answer that has no body.
    pub(in crate::gateway) fn nothing() -> Self {
        Self::new(DecoderState::Ended)
    }

    /// For a body of so many bytes.
    pub(in crate::gateway) fn of_length(length: u64) -> Self {
        Self::new(if length == 0 { DecoderState::Ended } else { DecoderState::Length(length) })
    }

    /// For a body in chunks.
    pub(in crate::gateway) fn chunked() -> Self {
        Self::new(DecoderState::Size)
    }

    /// For a body that ends with the connection.
    pub(in crate::gateway) fn until_close() -> Self {
        Self::new(DecoderState::UntilClose)
    }

    /// Whether all of the body was read.
    pub(in crate::gateway) fn has_ended(self) -> bool {
        self.state == DecoderState::Ended
    }

    /// Whether the body ends by itself.
    pub(in crate::gateway) fn has_end(self) -> bool {
        self.state != DecoderState::UntilClose
    }

    /// How many bytes are still to come, where that is known.
    pub(in crate::gateway) fn left(self) -> Option<u64> {
        match self.state {
            DecoderState::Ended => Some(0),
            DecoderState::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Notes that nothing more arrives.
    ///
    /// # Errors
    /// When something is missing.
    pub(in crate::gateway) fn close(&mut self) -> Result<(), ResponseError> {
        match self.state {
            DecoderState::Ended | DecoderState::UntilClose => {
                self.state = DecoderState::Ended;
                Ok(())
            }
            _ => Err(ResponseError::Closed),
        }
    }

    /// Takes the next piece out of a buffer.
    ///
    /// # Errors
    /// When the buffer does not hold what has to come next.
    pub(in crate::gateway) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, ResponseError> {
        loop {
            match &mut self.state {
                DecoderState::Ended => return Ok(Decoded::End),
                _ if buffer.is_empty() => return Ok(Decoded::Nothing),
                DecoderState::UntilClose => return Ok(Decoded::Data(buffer.split().freeze())),
                DecoderState::Length(left) => {
                    let data = take(left, buffer);
                    if *left == 0 {
                        self.state = DecoderState::Ended;
                    }
                    return Ok(Decoded::Data(data));
                }
                DecoderState::Size => {
                    let Some(line) = line(buffer)? else { return Ok(Decoded::Nothing) };
                    let (digits, size) =
                        size(&buffer[..line]).ok_or(ResponseError::Malformed("a chunk has no size"))?;
                    self.unread = unread(self.unread, line - digits)?;
                    buffer.advance(line + CRLF.len());
                    self.state = if size == 0 { DecoderState::Trailers(0) } else { DecoderState::Chunk(size) };
                }
                DecoderState::Chunk(left) => {
                    let data = take(left, buffer);
                    if *left == 0 {
                        self.state = DecoderState::ChunkEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                DecoderState::ChunkEnd => {
                    let known = buffer.len().min(CRLF.len());
                    if buffer[..known] != CRLF[..known] {
                        return Err(ResponseError::Malformed("a chunk is longer than it says"));
                    }
                    if known < CRLF.len() {
                        return Ok(Decoded::Nothing);
                    }
                    buffer.advance(CRLF.len());
                    self.state = DecoderState::Size;
                }
                // They are headers that no list has seen, so they are dropped.
                DecoderState::Trailers(count) => {
                    let Some(line) = line(buffer)? else { return Ok(Decoded::Nothing) };
                    *count += 1;
                    if line == 0 {
                        self.state = DecoderState::Ended;
                    } else if *count > MOST_TRAILERS {
                        return Err(ResponseError::Malformed("it has too many trailers"));
                    } else if !is_field(&buffer[..line]) {
                        return Err(ResponseError::Malformed("a trailer is no header field"));
                    } else {
                        self.unread = unread(self.unread, line)?;
                    }
                    buffer.advance(line + CRLF.len());
                }
            }
        }
    }
}

const CRLF: &[u8] = b"\r\n";

/// As much as there is, and as is wanted.
fn take(wanted: &mut u64, buffer: &mut BytesMut) -> Bytes {
    let count = usize::try_from(*wanted).unwrap_or(usize::MAX).min(buffer.len());
    *wanted -= count as u64;
    buffer.split_to(count).freeze()
}

/// The sum, where it is not too much.
fn unread(before: usize, more: usize) -> Result<usize, ResponseError> {
    let sum = before + more;
    if sum > MOST_UNREAD_BYTES {
        return Err(ResponseError::Malformed("its chunks come with too much that is no data"));
    }
    Ok(sum)
}

/// The length of the line at the start of a buffer; none: it is not all there. Only CRLF ends a line: what another reader
/// would take for an end must not stand in the middle of ours.
fn line(buffer: &[u8]) -> Result<Option<usize>, ResponseError> {
    match memchr(b'\n', &buffer[..buffer.len().min(MOST_LINE_BYTES)]) {
        Some(end) if end > 0 && memchr(b'\r', &buffer[..end]) == Some(end - 1) => Ok(Some(end - 1)),
        Some(_) => Err(ResponseError::Malformed("a line of its chunks ends in an unusual way")),
        None if buffer.len() < MOST_LINE_BYTES => Ok(None),
        None => Err(ResponseError::Malformed("a line of its chunks is too long")),
    }
}

/// The size at the start of a chunk's first line, and how many digits it has; extensions mean nothing here.
fn size(line: &[u8]) -> Option<(usize, u64)> {
    let count = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(count);
    // RFC 9112, section 7.1.1: bad white space may stand before an extension, and nothing else.
    let after = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    if after.is_some_and(|byte| *byte != b';') {
        return None;
    }
    Some((count, u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?))
}

/// Whether a line is a header field, which trailers are.
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = memchr(b':', line) else { return false };
    let (name, value) = line.split_at(colon);
    HeaderName::from_bytes(name).is_ok() && HeaderValue::from_bytes(&value[1..]).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All of a body that arrives in these pieces, and what is left over.
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
    fn bodies_end_where_they_say() {
        for (decoder, sent, body, rest) in [
            (Decoder::of_length(3), "abcHTTP", "abc", "HTTP"),
            (Decoder::nothing(), "HTTP", "", "HTTP"),
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
    fn a_body_that_is_not_as_it_says_is_none() {
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
        let endless = "x".repeat(MOST_LINE_BYTES);
        assert!(Decoder::chunked().decode(&mut BytesMut::from(&*endless)).is_err());
        let trailers = format!("0\r\n{}", "x: y\r\n".repeat(usize::from(MOST_TRAILERS) + 1));
        assert!(Decoder::chunked().decode(&mut BytesMut::from(&*trailers)).is_err());
        let extensions = format!("1;{}\r\na\r\n", "x".repeat(100)).repeat(MOST_UNREAD_BYTES / 100 + 1);
        let sent = extensions + "0\r\n\r\n";
        assert!(decode(Decoder::chunked(), [sent.as_bytes()]).is_err());
        let trailers = format!("0\r\n{}\r\n", format!("x: {}\r\n", "y".repeat(200)).repeat(90));
        assert!(decode(Decoder::chunked(), [trailers.as_bytes()]).is_err());
    }

    proptest! {
        #[test]
        fn chunks_come_whole_however_they_are_cut(
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
            for decoder in [Decoder::chunked(), Decoder::of_length(7), Decoder::until_close(), Decoder::nothing()] {
                let _ = decode(decoder, [&bytes[..]]);
            }
        }
    }
}
