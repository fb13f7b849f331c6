//! Compares this parser of responses with hyper's client on the same bytes. It may refuse more than hyper does, by a named
//! rule, but it must not accept more, or read a response differently. For tests and the fuzz target.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{client::conn::http1, rt::ReadBufCursor};

use super::{Decoded, Head, HeadReader, ResponseError};
use crate::gateway::headers;

/// A response, read to its end.
#[derive(Debug, Eq, PartialEq)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// The header fields that clients may receive.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// Reads a response as a pooled connection does. It arrives in these pieces, and the connection is closed after it.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Response, ResponseError> {
    let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::new());
    let (mut head, mut body) = (None::<Head>, Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if head.is_none() {
            head = reader.read(&buffer)?;
            buffer.advance(head.as_ref().map_or(0, |head| head.bytes));
        }
        if let Some(head) = &mut head {
            while let Decoded::Data(data) = head.decoder.decode(&mut buffer)? {
                body.extend_from_slice(&data);
            }
        }
    }
    let mut head = head.ok_or(ResponseError::Closed)?;
    head.decoder.close()?;
    Ok(Response { status: head.status, headers: head.headers, body })
}

/// A response as hyper's client reads it.
struct HyperResponse {
    /// Its status.
    status: StatusCode,
    /// All its header fields.
    headers: HeaderMap,
    body: Bytes,
}

/// Reads a response with hyper's client; `None` if hyper refuses it.
fn read_with_hyper(bytes: &[u8]) -> Option<HyperResponse> {
    // More than any response of this length needs.
    let polls = 1_000 + 10 * bytes.len();
    let mut context = Context::from_waker(Waker::noop());
    let upstream = Upstream { response: Bytes::copy_from_slice(bytes), is_requested: false };
    let handshake = pin!(http1::handshake(upstream));
    let Poll::Ready(Ok((mut sender, connection))) = handshake.poll(&mut context) else { return None };
    let mut connection = Some(Box::pin(connection));
    let mut response = pin!(async {
        let request = Request::builder().uri("/").header(header::HOST, "x").body(Empty::<Bytes>::new()).ok()?;
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(HyperResponse { status: head.status, headers: head.headers, body })
    });
    for _ in 0..polls {
        if let Poll::Ready(response) = response.as_mut().poll(&mut context) {
            return response;
        }
        if connection.as_mut().is_some_and(|connection| connection.as_mut().poll(&mut context).is_ready()) {
            connection = None;
        }
    }
    None
}

/// A connection whose other end sends these bytes once it has received something, and closes.
struct Upstream {
    response: Bytes,
    is_requested: bool,
}

impl hyper::rt::Read for Upstream {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if !self.is_requested {
            return Poll::Pending;
        }
        let count = buffer.remaining().min(self.response.len());
        buffer.put_slice(&self.response.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Upstream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_requested = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A reason to refuse a response that hyper accepts.
struct Rule {
    name: &'static str,
    /// The message of the refusal.
    message: &'static str,
    /// Whether the rule applies to a response, as hyper read it from these bytes.
    applies: fn(&HyperResponse, &[u8]) -> bool,
}

const RULES: &[Rule] = &[
    Rule {
        name: "both a length and a transfer coding: RFC 9112, section 6.3, calls that an attack",
        message: "it has both a length and a transfer coding",
        applies: |read, _| {
            read.headers.contains_key(header::CONTENT_LENGTH) && read.headers.contains_key(header::TRANSFER_ENCODING)
        },
    },
    Rule {
        name: "a transfer coding other than chunked",
        message: "it has an unknown transfer coding",
        applies: |read, _| {
            let mut codings = read.headers.get_all(header::TRANSFER_ENCODING).iter();
            let first = codings.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
            !first || codings.next().is_some()
        },
    },
    Rule {
        name: "a transfer coding in HTTP/1.0, with a status that allows no body",
        message: "it has a transfer coding, which HTTP/1.0 does not define",
        applies: |read, _| !has_body(read.status),
    },
    Rule {
        name: "a length that is a list",
        message: "its length is not a number",
        applies: |read, _| {
            read.headers.get_all(header::CONTENT_LENGTH).iter().any(|value| value.as_bytes().contains(&b','))
        },
    },
    Rule {
        name: "a length that is not a number, in a response that is not framed by it",
        message: "its length is not a number",
        applies: |read, _| !ends_by_length(read),
    },
    Rule {
        name: "two lengths, in a response that is not framed by them",
        message: "it has two lengths",
        applies: |read, _| !ends_by_length(read),
    },
    Rule {
        name: "a head of more than 256 KiB",
        message: "its head is too large",
        applies: |_, bytes| bytes.len() > 256 * 1024,
    },
    Rule {
        name: "an empty line before it",
        message: "it begins with an empty line",
        applies: |_, bytes| {
            let ends = |at: usize| bytes[at..].starts_with(b"\n") || bytes[at..].starts_with(b"\r\n");
            ends(0) || (1..bytes.len()).any(|at| bytes[at - 1] == b'\n' && ends(at))
        },
    },
    Rule {
        name: "more than 16 informational responses before it",
        message: "too many informational responses precede it",
        applies: |_, bytes| bytes.windows(7).filter(|piece| piece.starts_with(b"HTTP/1.")).count() > 17,
    },
    Rule {
        name: "a line of more than 8 KiB before or after the chunks",
        message: "a line of its chunks is too long",
        applies: |_, bytes| bytes.len() > 8 * 1024,
    },
    Rule {
        name: "a trailer that ends with LF alone",
        message: "a line of its chunks does not end with CRLF",
        applies: |_, bytes| bytes.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n'),
    },
    Rule {
        name: "more than 8 KiB of extensions and trailers",
        message: "its chunks have too many extensions and trailers",
        applies: |_, bytes| bytes.len() > 8 * 1024,
    },
];

fn ends_by_length(read: &HyperResponse) -> bool {
    has_body(read.status) && !read.headers.contains_key(header::TRANSFER_ENCODING)
}

fn has_body(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 100..=199 | 204 | 304)
}

/// The result of a comparison.
#[derive(Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Both accept this response.
    Accepted(Response),
    /// Both refuse it.
    Refused,
    /// Hyper accepts it, and the rule with this name refuses it.
    RefusedBy(&'static str),
}

/// Reads a response with both parsers and compares the results.
///
/// # Errors
/// When the result depends on how the bytes are split, when hyper reads another response or refuses one that this crate
/// accepts, or when hyper accepts one that this crate refuses without a rule.
pub fn compare(bytes: &[u8]) -> Result<Verdict, String> {
    let ours = read([bytes]);
    // Byte by byte as well, unless that would take minutes.
    let least = 1 + bytes.len() / 8_192;
    for size in [least, 7 * least] {
        match (&ours, read(bytes.chunks(size))) {
            (Ok(whole), Ok(pieces)) if *whole == pieces => {}
            (Err(_), Err(_)) => {}
            (whole, pieces) => return Err(format!("whole: {whole:?}; in pieces of {size}: {pieces:?}")),
        }
    }
    match (ours, read_with_hyper(bytes)) {
        (Ok(ours), Some(hyper_response)) => {
            let hyper_response = as_passed_on(hyper_response);
            if ours == hyper_response {
                Ok(Verdict::Accepted(ours))
            } else {
                Err(format!("read as {ours:?}, by hyper as {hyper_response:?}"))
            }
        }
        (Ok(ours), None) => Err(format!("hyper refuses what is read as {ours:?}")),
        (Err(_), None) => Ok(Verdict::Refused),
        (Err(refusal), Some(hyper_response)) => {
            let refuses = |rule: &&Rule| {
                matches!(refusal, ResponseError::Malformed(message) if message == rule.message)
                    && (rule.applies)(&hyper_response, bytes)
            };
            match RULES.iter().find(refuses) {
                Some(rule) => Ok(Verdict::RefusedBy(rule.name)),
                None => Err(format!(
                    "refused without a rule: {refusal:?}; by hyper read as {:?}",
                    as_passed_on(hyper_response)
                )),
            }
        }
    }
}

/// The response that a client receives of one that hyper read, as responses over TLS are.
fn as_passed_on(mut hyper_response: HyperResponse) -> Response {
    headers::clean(&mut hyper_response.headers);
    // RFC 9110, section 8.6: such a response must not have a length.
    if !has_body(hyper_response.status) && hyper_response.status != StatusCode::NOT_MODIFIED {
        hyper_response.headers.remove(header::CONTENT_LENGTH);
    }
    Response { status: hyper_response.status, headers: hyper_response.headers, body: hyper_response.body.to_vec() }
}

#[cfg(test)]
mod tests;
