//! A stream lives no longer than the token that opened it.
//!
//! It is broken off, not ended: the SDKs take the end of a body for the end of the answer, so a clean end would pass for
//! a whole one.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

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
    match end {
        Some(end) => Body::new(Tied { body, end: Box::pin(end), _held: held }),
        None if held.slot.is_none() && held.open.is_none() => body,
        None => Body::new(Tied { body, end: Box::pin(std::future::pending()), _held: held }),
    }
}

async fn expiry(token: &ClientToken) {
    let left = u64::try_from(token.expires_at - clock::now_millis()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
}

struct Tied {
    body: Body,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    _held: Held,
}

impl http_body::Body for Tied {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(TokenEnded.into())));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
