//! A stream lives no longer than the token that opened it.
//!
//! It is broken off, not ended: the SDKs take the end of a body for the end of the answer, so a clean end would pass for
//! a whole one. The HTTP library asks for no frame while the client reads none, so a stream is not ended by whoever asks
//! for its frames: what it holds, and what it holds up, is let go the moment its token ends, read or not.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    access::{Feed, quota::Slot},
    body::{Body, BodyError},
    clock,
    config::StreamAtExpiry,
    credentials::ClientToken,
    metrics::OpenStream,
};

/// The token that opened the stream was revoked or has expired.
#[derive(Debug, thiserror::Error)]
#[error("the client token of this stream has ended")]
struct TokenEnded;

/// What is given back when a stream ends.
#[derive(Debug)]
pub(super) struct Held {
    /// The client token's right to it.
    pub(super) slot: Option<Slot>,
    /// Its place among those that are counted.
    pub(super) open: Option<OpenStream>,
}

/// When a client token's streams end at the latest.
pub(super) async fn end(token: Arc<ClientToken>, feed: Feed, at_expiry: StreamAtExpiry) {
    tokio::select! {
        () = feed.until_revoked(&token) => {}
        () = expiry(&token), if at_expiry == StreamAtExpiry::Cut => {}
    }
}

/// Ties a stream to its end, if someone can end it, and what it holds to the stream.
pub(super) fn tie(body: Body, end: Option<impl Future<Output = ()> + Send + 'static>, held: Held) -> Body {
    if end.is_none() && held.slot.is_none() && held.open.is_none() {
        return body;
    }
    let stream = Arc::new(Stream(Mutex::new(State { lives: Some((body, held)), reader: None })));
    let end = end.map(|end| {
        let stream = Arc::downgrade(&stream);
        AbortOnDropHandle::new(tokio::spawn(async move {
            end.await;
            stream.upgrade().inspect(|stream| stream.cut());
        }))
    });
    Body::new(Tied { stream, _end: end })
}

async fn expiry(token: &ClientToken) {
    let left = u64::try_from(token.expires_at - clock::now_millis()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
}

/// A stream, as its reader and whatever waits for its end see it.
struct Stream(Mutex<State>);

struct State {
    /// None: it was cut.
    lives: Option<(Body, Held)>,
    reader: Option<Waker>,
}

impl Stream {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        let (lived, reader) = {
            let mut state = self.state();
            (state.lives.take(), state.reader.take())
        };
        drop(lived);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// The reader's side. Who lets go of it lets go of the stream.
struct Tied {
    stream: Arc<Stream>,
    _end: Option<AbortOnDropHandle<()>>,
}

impl http_body::Body for Tied {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.stream.state();
        let Some((body, _)) = &mut state.lives else { return Poll::Ready(Some(Err(TokenEnded.into()))) };
        let polled = Pin::new(body).poll_frame(context);
        if polled.is_pending() && !state.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
            state.reader = Some(context.waker().clone());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.stream.state().lives.as_ref().is_some_and(|(body, _)| http_body::Body::is_end_stream(body))
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.state().lives.as_ref().map_or_else(SizeHint::default, |(body, _)| http_body::Body::size_hint(body))
    }
}
