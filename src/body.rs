//! HTTP bodies in both directions.
//!
//! What passes between a client and an upstream keeps hyper's own type: boxing every body costs a fifth of a proxy's
//! throughput.

mod received;

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

pub use self::received::{Fault, Received};

/// Why a body broke off.
pub type BodyError = Box<dyn Error + Send + Sync>;

/// A request's or an answer's body.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// All of it.
    Whole(Bytes),
    /// A request's.
    Received(Received),
    /// As it arrives on a connection, with a limit on its pauses.
    Paced(Paced<Incoming>),
    /// Anything else.
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
    pub fn from_stream<E: Into<BodyError> + 'static>(
        chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Self {
        Self::new(StreamBody::new(chunks.map_ok(Frame::data).map_err(Into::into)))
    }

    /// What arrives on a connection, with a limit on its pauses.
    #[must_use]
    pub fn paced(body: Incoming, longest_pause: Duration) -> Self {
        Self::Paced(Paced::new(body, longest_pause))
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
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Received(body) => Pin::new(body).poll_frame(context),
            Self::Paced(body) => Pin::new(body).poll_frame(context),
            Self::Boxed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Received(body) => body.is_end_stream(),
            Self::Paced(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Received(body) => body.size_hint(),
            Self::Paced(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

/// A body that breaks off after too long a pause. Its trailers are dropped: they are headers that no list has seen.
#[derive(Debug)]
pub struct Paced<B> {
    body: B,
    longest_pause: Duration,
    /// Made at the first pause: most bodies have none.
    pause: Option<Pin<Box<Sleep>>>,
    /// Whether it is the sender who is waited for. While nobody asks for more, it may rest.
    is_awaited: bool,
}

/// The sender paused for too long in the middle of a body.
#[derive(Debug, thiserror::Error)]
#[error("the sender paused for too long in the middle of a body")]
pub struct Paused;

impl<B> Paced<B> {
    /// Limits the pauses of a body.
    pub fn new(body: B, longest_pause: Duration) -> Self {
        Self { body, longest_pause, pause: None, is_awaited: false }
    }
}

impl<B> http_body::Body for Paced<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => Poll::Ready(None),
            Poll::Ready(frame) => {
                this.is_awaited = false;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let longest_pause = this.longest_pause;
                let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest_pause)));
                if !std::mem::replace(&mut this.is_awaited, true) {
                    pause.as_mut().reset(Instant::now() + longest_pause);
                }
                ready!(pause.as_mut().poll(context));
                Poll::Ready(Some(Err(Paused.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
