//! A request on its way to the upstream.

use std::{
    io::{self, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{Method, header};
use http_body::Body as _;
use tokio::{io::AsyncWrite, net::TcpStream};

use super::ResponseError;
use crate::{
    gateway::upstream_request::UpstreamRequest,
    request::body::{Body, BodyError},
};

/// A request's bytes, as far as they are not sent, and the body from which more may come.
#[derive(Debug)]
pub(in crate::gateway) struct Sending {
    head: Vec<u8>,
    /// How much of the head has been sent.
    sent: usize,
    /// What follows the head, or the size of a chunk.
    data: Bytes,
    /// What follows the data.
    tail: &'static [u8],
    rest: Option<Rest>,
    has_begun: bool,
}

/// A body that is not all there yet.
#[derive(Debug)]
struct Rest {
    body: Body,
    /// How many bytes are still to come; none: that is not known, so they are sent in chunks.
    left: Option<u64>,
}

impl Sending {
    /// A request with the header fields of `constant` beside its own. `buffer` is to hold its head.
    pub(in crate::gateway) fn new(outgoing: &mut UpstreamRequest, constant: &[u8], mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        for part in [outgoing.method.as_str().as_bytes(), b" ", outgoing.target.as_bytes(), b" HTTP/1.1\r\n", constant]
        {
            buffer.extend_from_slice(part);
        }
        for (name, value) in outgoing.headers.iter().filter(|(name, _)| !is_framing(name)) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                buffer.extend_from_slice(part);
            }
        }
        let length = outgoing.body.size_hint().exact();
        match length {
            // RFC 9110, section 8.6: a method that gives content a meaning says that there is none.
            Some(0) if !matches!(outgoing.method, Method::POST | Method::PUT | Method::PATCH) => {}
            // Writing to a vector cannot fail.
            Some(length) => drop(write!(buffer, "content-length: {length}\r\n")),
            None => buffer.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        buffer.extend_from_slice(b"\r\n");
        let (data, rest) = match &outgoing.body {
            Body::Empty => (Bytes::new(), None),
            Body::Whole(bytes) => (bytes.clone(), None),
            _ => (Bytes::new(), Some(Rest { body: std::mem::take(&mut outgoing.body), left: length })),
        };
        Self { head: buffer, sent: 0, data, tail: b"", rest, has_begun: false }
    }

    /// Whether any of it may have reached the upstream.
    pub(in crate::gateway) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Gives back a body of which nothing was sent.
    pub(in crate::gateway) fn give_back(self, outgoing: &mut UpstreamRequest) {
        if let Some(Rest { body, .. }) = self.rest {
            outgoing.body = body;
        }
    }

    /// The buffer, once all of it is sent.
    pub(in crate::gateway) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// Sends as much as the socket and the body allow; ready when all of it is sent.
    ///
    /// # Errors
    /// When the connection or the body fails, or the body has another length than was said.
    pub(in crate::gateway) fn poll(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ResponseError>> {
        loop {
            while self.sent < self.head.len() || self.data.has_remaining() || !self.tail.is_empty() {
                let head = self.head.get(self.sent..).unwrap_or_default();
                let stream = Pin::new(&mut *stream);
                let written = ready!(if self.data.is_empty() && self.tail.is_empty() {
                    stream.poll_write(context, head)
                } else {
                    let slices = [IoSlice::new(head), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                    stream.poll_write_vectored(context, &slices)
                });
                match written.map_err(ResponseError::Connection)? {
                    0 => return Poll::Ready(Err(ResponseError::Connection(io::ErrorKind::WriteZero.into()))),
                    count => self.advance(count),
                }
            }
            let Some(rest) = &mut self.rest else { return Poll::Ready(Ok(())) };
            let frame = ready!(Pin::new(&mut rest.body).poll_frame(context));
            // Trailers are headers that no list has seen.
            match frame.transpose().map_err(ResponseError::Body)?.map(http_body::Frame::into_data) {
                Some(Err(_)) => {}
                Some(Ok(data)) => match &mut rest.left {
                    Some(left) => match left.checked_sub(data.len() as u64) {
                        Some(less) => {
                            *left = less;
                            self.data = data;
                        }
                        None => return Poll::Ready(Err(ResponseError::Body(wrong_length()))),
                    },
                    None if data.is_empty() => {}
                    None => {
                        self.begin_chunk(data.len());
                        self.data = data;
                        self.tail = b"\r\n";
                    }
                },
                None => {
                    let left = rest.left;
                    self.rest = None;
                    match left {
                        Some(0) => {}
                        Some(_) => return Poll::Ready(Err(ResponseError::Body(wrong_length()))),
                        None => {
                            self.begin_chunk(0);
                            self.tail = b"\r\n";
                        }
                    }
                }
            }
        }
    }

    fn begin_chunk(&mut self, size: usize) {
        self.head.clear();
        self.sent = 0;
        // Writing to a vector cannot fail.
        let _ = write!(self.head, "{size:x}\r\n");
    }

    fn advance(&mut self, mut count: usize) {
        self.has_begun = true;
        let of_head = count.min(self.head.len() - self.sent);
        self.sent += of_head;
        count -= of_head;
        let of_data = count.min(self.data.len());
        self.data.advance(of_data);
        self.tail = self.tail.get(count - of_data..).unwrap_or_default();
    }
}

/// What says where a message ends is for us to say (RFC 9112, section 6).
fn is_framing(name: &header::HeaderName) -> bool {
    matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION | header::HOST)
}

fn wrong_length() -> BodyError {
    "it has another length than was said".into()
}
