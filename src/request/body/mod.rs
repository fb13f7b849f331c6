//! HTTP bodies in both directions.
//!
//! Bodies between a client and an upstream keep hyper's own type: boxing each costs a fifth of a proxy's throughput.

mod paced;
mod received;

use std::{
    error::Error,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;

pub(crate) use self::{
    paced::{Pace, Paced, TooSlow},
    received::{Fault, Received, Tap},
};

/// Why a body broke off.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// The body of a request or a response.
#[derive(Debug, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// All bytes, in memory.
    Whole(Bytes),
    /// A request's, as it arrives.
    Received(Received),
    /// As it arrives on a connection, with a limit on pauses.
    Paced(Paced<Incoming>),
    /// A body whose first bytes have arrived.
    Begun(Bytes, Box<Body>),
    /// Any other.
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
}

impl Body {
    /// Any body.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
    {
        Self::Boxed(body.map_err(Into::into).boxed_unsync())
    }

    /// A body made of chunks.
    pub(crate) fn from_stream<E: Into<BodyError> + 'static>(
        chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Self {
        // The end may be asked for again, while what was sent before is still on its way.
        Self::new(StreamBody::new(chunks.fuse().map_ok(Frame::data).map_err(Into::into)))
    }

    /// A body that arrives on a connection, with a limit on pauses.
    #[must_use]
    pub(crate) fn paced(body: Incoming, longest_pause: Duration) -> Self {
        Self::Paced(Paced::new(body, Pace { longest_pause, bytes_per_second: None }))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(bytes.into())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Whole(text.into())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Received(body) => Pin::new(body).poll_frame(context),
            Self::Paced(body) => Pin::new(body).poll_frame(context),
            Self::Begun(bytes, rest) => {
                let bytes = mem::take(bytes);
                *self = mem::take(&mut **rest);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Boxed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Received(body) => body.is_end_stream(),
            Self::Paced(body) => body.is_end_stream(),
            Self::Begun(..) => false,
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Received(body) => body.size_hint(),
            Self::Paced(body) => body.size_hint(),
            Self::Begun(bytes, rest) => match rest.size_hint().exact() {
                Some(length) => SizeHint::with_exact(bytes.len() as u64 + length),
                None => SizeHint::default(),
            },
            Self::Boxed(body) => body.size_hint(),
        }
    }
}
