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
};

/// The token that opened the stream was revoked or has expired.
#[derive(Debug, thiserror::Error)]
#[error("the client token of this stream has ended")]
struct TokenEnded;

/// Ties a stream to a client token, and the token's right to the stream to the stream.
pub(super) fn tie(
    body: Body,
    token: Arc<ClientToken>,
    feed: Feed,
    at_expiry: StreamAtExpiry,
    slot: Option<Slot>,
) -> Body {
    let end = async move {
        tokio::select! {
            () = feed.until_revoked(&token) => {}
            () = expiry(&token), if at_expiry == StreamAtExpiry::Cut => {}
        }
    };
    Body::new(Tied { body, end: Box::pin(end), _slot: slot })
}

async fn expiry(token: &ClientToken) {
    let left = u64::try_from(token.expires_at - clock::now_millis()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
}

struct Tied {
    body: Body,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Given back with the stream.
    _slot: Option<Slot>,
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
