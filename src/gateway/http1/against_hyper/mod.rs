//! The reader of responses held against hyper's client on the same bytes: it may refuse more, for reasons that have a
//! name, and never accepts more or reads anything else. For tests and the fuzz target.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{client::conn::http1, rt::ReadBufCursor};

use super::{Decoded, Head, Reader, ResponseError};
use crate::gateway::headers;

/// A response, read to its end.
#[derive(Debug, Eq, PartialEq)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// The header fields that are handed on.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

/// Reads a response that arrives in these pieces, after which the connection is closed, as a connection to an upstream
/// does.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Response, ResponseError> {
    let (mut reader, mut buffer) = (Reader::default(), BytesMut::new());
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
struct Hypers {
    /// Its status.
    status: StatusCode,
    /// All its header fields.
    headers: HeaderMap,
    body: Bytes,
}

/// Reads a response with hyper's client. None: it refuses it.
fn read_with_hyper(bytes: &[u8]) -> Option<Hypers> {
    // More often than any response needs of this length.
    let polls = 1_000 + 10 * bytes.len();
    let mut context = Context::from_waker(Waker::noop());
    let upstream = Upstream { response: Bytes::copy_from_slice(bytes), is_asked: false };
    let handshake = pin!(http1::handshake(upstream));
    let Poll::Ready(Ok((mut sender, connection))) = handshake.poll(&mut context) else { return None };
    let mut connection = Some(Box::pin(connection));
    let mut answer = pin!(async {
        let request = Request::builder().uri("/").header(header::HOST, "x").body(Empty::<Bytes>::new()).ok()?;
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Hypers { status: head.status, headers: head.headers, body })
    });
    for _ in 0..polls {
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut context) {
            return answer;
        }
        if connection.as_mut().is_some_and(|connection| connection.as_mut().poll(&mut context).is_ready()) {
            connection = None;
        }
    }
    None
}

/// A connection whose other end says these bytes when it is asked, and closes.
struct Upstream {
    response: Bytes,
    is_asked: bool,
}

impl hyper::rt::Read for Upstream {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if !self.is_asked {
            return Poll::Pending;
        }
        let count = buffer.remaining().min(self.response.len());
        buffer.put_slice(&self.response.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Upstream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Why a response is refused that hyper accepts.
struct Rule {
    /// Its name.
    name: &'static str,
    /// What the refusal says.
    said: &'static str,
    /// Whether it holds for what hyper has read out of these bytes.
    holds: fn(&Hypers, &[u8]) -> bool,
}

const RULES: &[Rule] = &[
    Rule {
        name: "a length and a transfer coding beside it: RFC 9112, section 6.3, calls that an attack",
        said: "it has a length and a transfer coding",
        holds: |read, _| {
            read.headers.contains_key(header::CONTENT_LENGTH) && read.headers.contains_key(header::TRANSFER_ENCODING)
        },
    },
    Rule {
        name: "a transfer coding but chunked, for which nobody asked",
        said: "it has a transfer coding that was not asked for",
        holds: |read, _| {
            let mut codings = read.headers.get_all(header::TRANSFER_ENCODING).iter();
            let first = codings.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
            !first || codings.next().is_some()
        },
    },
    Rule {
        name: "a transfer coding in HTTP/1.0, where the status allows no body",
        said: "it has a transfer coding, which HTTP/1.0 has not",
        holds: |read, _| !has_body(read.status),
    },
    Rule {
        name: "a length that is a list",
        said: "its length is no number",
        holds: |read, _| {
            read.headers.get_all(header::CONTENT_LENGTH).iter().any(|value| value.as_bytes().contains(&b','))
        },
    },
    Rule {
        name: "a length that is no number, where something else says where the body ends",
        said: "its length is no number",
        holds: |read, _| !ends_by_length(read),
    },
    Rule {
        name: "two lengths, where something else says where the body ends",
        said: "it has two lengths",
        holds: |read, _| !ends_by_length(read),
    },
    Rule {
        name: "a head of more than 256 KiB",
        said: "its head is too large",
        holds: |_, bytes| bytes.len() > 256 * 1024,
    },
    Rule {
        name: "an empty line before it",
        said: "it begins with an empty line",
        holds: |_, bytes| {
            let ends = |at: usize| bytes[at..].starts_with(b"\n") || bytes[at..].starts_with(b"\r\n");
            ends(0) || (1..bytes.len()).any(|at| bytes[at - 1] == b'\n' && ends(at))
        },
    },
    Rule {
        name: "more than 16 informational responses before it",
        said: "it has too many informational answers before it",
        holds: |_, bytes| bytes.windows(7).filter(|piece| piece.starts_with(b"HTTP/1.")).count() > 17,
    },
    Rule {
        name: "a line of more than 8 KiB before or after the chunks",
        said: "a line of its chunks is too long",
        holds: |_, bytes| bytes.len() > 8 * 1024,
    },
    Rule {
        name: "a line feed alone that ends a trailer",
        said: "a line of its chunks ends in an unusual way",
        holds: |_, bytes| bytes.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n'),
    },
    Rule {
        name: "more than 8 KiB of extensions and trailers",
        said: "its chunks come with too much that is no data",
        holds: |_, bytes| bytes.len() > 8 * 1024,
    },
];

fn ends_by_length(read: &Hypers) -> bool {
    has_body(read.status) && !read.headers.contains_key(header::TRANSFER_ENCODING)
}

fn has_body(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 100..=199 | 204 | 304)
}

/// What came of a comparison.
#[derive(Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Both read this.
    Accepted(Response),
    /// Neither accepts it.
    Refused,
    /// Hyper accepts it, and the rule with this name does not.
    RefusedBy(&'static str),
}

/// Reads a response and compares.
///
/// # Errors
/// When the way in which the bytes arrive makes a difference, or hyper reads another response than this crate, refuses
/// one that it accepts, or accepts one that it refuses for no rule.
pub fn compare(bytes: &[u8]) -> Result<Verdict, String> {
    let ours = read([bytes]);
    // Byte by byte as well, but where that would take minutes.
    let least = 1 + bytes.len() / 8_192;
    for size in [least, 7 * least] {
        match (&ours, read(bytes.chunks(size))) {
            (Ok(whole), Ok(pieces)) if *whole == pieces => {}
            (Err(_), Err(_)) => {}
            (whole, pieces) => return Err(format!("whole: {whole:?}; in pieces of {size}: {pieces:?}")),
        }
    }
    match (ours, read_with_hyper(bytes)) {
        (Ok(ours), Some(hypers)) => {
            let hypers = as_handed_on(hypers);
            if ours == hypers {
                Ok(Verdict::Accepted(ours))
            } else {
                Err(format!("read as {ours:?}, by hyper as {hypers:?}"))
            }
        }
        (Ok(ours), None) => Err(format!("hyper refuses what is read as {ours:?}")),
        (Err(_), None) => Ok(Verdict::Refused),
        (Err(refusal), Some(hypers)) => {
            let refuses = |rule: &&Rule| {
                matches!(refusal, ResponseError::Malformed(said) if said == rule.said) && (rule.holds)(&hypers, bytes)
            };
            match RULES.iter().find(refuses) {
                Some(rule) => Ok(Verdict::RefusedBy(rule.name)),
                None => Err(format!("refused for no rule: {refusal:?}; by hyper read as {:?}", as_handed_on(hypers))),
            }
        }
    }
}

/// What is left of a response on its way to the client, by the rules for responses over TLS, which hyper reads.
fn as_handed_on(mut hypers: Hypers) -> Response {
    headers::clean(&mut hypers.headers);
    // RFC 9110, section 8.6: such a response must not have one.
    if !has_body(hypers.status) && hypers.status != StatusCode::NOT_MODIFIED {
        hypers.headers.remove(header::CONTENT_LENGTH);
    }
    Response { status: hypers.status, headers: hypers.headers, body: hypers.body.to_vec() }
}

#[cfg(test)]
mod tests;
