//! Writes a request to the upstream's socket.

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

/// The part of a request that is not sent yet.
#[derive(Debug)]
pub(in crate::gateway) struct RequestWriter {
    /// The head of the request, or the line with the size of a chunk.
    head: Vec<u8>,
    /// How many bytes of `head` are sent.
    head_sent: usize,
    /// The body, or one piece of it, which follows `head`.
    data: Bytes,
    /// The end of a chunk, which follows `data`.
    chunk_end: &'static [u8],
    /// The part of the body that has not been polled yet.
    remainder: Option<Remainder>,
    has_begun: bool,
}

/// A body that is sent while it arrives.
#[derive(Debug)]
struct Remainder {
    body: Body,
    /// How many bytes are still to come. `None` if the length is unknown: the body is sent in chunks then.
    length: Option<u64>,
}

impl RequestWriter {
    /// A writer of a request with additional header fields. The head is written to `buffer`, to reuse its memory.
    pub(in crate::gateway) fn new(request: &mut UpstreamRequest, common_fields: &[u8], mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        for part in
            [request.method.as_str().as_bytes(), b" ", request.target.as_bytes(), b" HTTP/1.1\r\n", common_fields]
        {
            buffer.extend_from_slice(part);
        }
        for (name, value) in request.headers.iter().filter(|(name, _)| !is_framing(name)) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                buffer.extend_from_slice(part);
            }
        }
        let length = request.body.size_hint().exact();
        match length {
            // RFC 9110, section 8.6: only methods that usually have content state that there is none.
            Some(0) if !matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {}
            // Writing to a vector cannot fail.
            Some(length) => drop(write!(buffer, "content-length: {length}\r\n")),
            None => buffer.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        buffer.extend_from_slice(b"\r\n");
        let (data, remainder) = match &request.body {
            Body::Empty => (Bytes::new(), None),
            Body::Whole(bytes) => (bytes.clone(), None),
            _ => (Bytes::new(), Some(Remainder { body: std::mem::take(&mut request.body), length })),
        };
        Self { head: buffer, head_sent: 0, data, chunk_end: b"", remainder, has_begun: false }
    }

    /// Whether any byte was sent.
    pub(in crate::gateway) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Moves the body back into the request, if nothing was sent.
    pub(in crate::gateway) fn restore_body(self, request: &mut UpstreamRequest) {
        if let Some(Remainder { body, .. }) = self.remainder {
            request.body = body;
        }
    }

    /// Returns the buffer for reuse, once everything is sent.
    pub(in crate::gateway) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head)
    }

    /// Sends as much as the socket takes and the body yields. Ready when everything is sent.
    ///
    /// # Errors
    /// When the connection or the body fails, or the body does not have its declared length.
    pub(in crate::gateway) fn poll(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ResponseError>> {
        loop {
            while self.head_sent < self.head.len() || self.data.has_remaining() || !self.chunk_end.is_empty() {
                let head = self.head.get(self.head_sent..).unwrap_or_default();
                let stream = Pin::new(&mut *stream);
                let written = ready!(if self.data.is_empty() && self.chunk_end.is_empty() {
                    stream.poll_write(context, head)
                } else {
                    let slices = [IoSlice::new(head), IoSlice::new(&self.data), IoSlice::new(self.chunk_end)];
                    stream.poll_write_vectored(context, &slices)
                });
                match written.map_err(ResponseError::Connection)? {
                    0 => return Poll::Ready(Err(ResponseError::Connection(io::ErrorKind::WriteZero.into()))),
                    count => self.advance(count),
                }
            }
            let Some(remainder) = &mut self.remainder else { return Poll::Ready(Ok(())) };
            let frame = ready!(Pin::new(&mut remainder.body).poll_frame(context));
            // Trailers are dropped: they are headers that no allow-list has checked.
            match frame.transpose().map_err(ResponseError::Body)?.map(http_body::Frame::into_data) {
                Some(Err(_)) => {}
                Some(Ok(data)) => match &mut remainder.length {
                    Some(length) => match length.checked_sub(data.len() as u64) {
                        Some(remaining) => {
                            *length = remaining;
                            self.data = data;
                        }
                        None => return Poll::Ready(Err(ResponseError::Body(wrong_length()))),
                    },
                    None if data.is_empty() => {}
                    None => {
                        self.begin_chunk(data.len());
                        self.data = data;
                        self.chunk_end = b"\r\n";
                    }
                },
                None => {
                    let length = remainder.length;
                    self.remainder = None;
                    match length {
                        Some(0) => {}
                        Some(_) => return Poll::Ready(Err(ResponseError::Body(wrong_length()))),
                        None => {
                            self.begin_chunk(0);
                            self.chunk_end = b"\r\n";
                        }
                    }
                }
            }
        }
    }

    fn begin_chunk(&mut self, size: usize) {
        self.head.clear();
        self.head_sent = 0;
        // Writing to a vector cannot fail.
        let _ = write!(self.head, "{size:x}\r\n");
    }

    fn advance(&mut self, mut count: usize) {
        self.has_begun = true;
        let head = count.min(self.head.len() - self.head_sent);
        self.head_sent += head;
        count -= head;
        let data = count.min(self.data.len());
        self.data.advance(data);
        self.chunk_end = self.chunk_end.get(count - data..).unwrap_or_default();
    }
}

/// Whether a header field frames the message or belongs to the connection: the writer sets those itself (RFC 9112,
/// section 6).
fn is_framing(name: &header::HeaderName) -> bool {
    matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION | header::HOST)
}

fn wrong_length() -> BodyError {
    "it does not have its declared length".into()
}
