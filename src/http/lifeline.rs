//! A response lives no longer than its client token.
//!
//! It is broken off, not ended: to the SDKs a body that ends cleanly is complete. The HTTP library does not poll a body
//! while the client does not read, so a body cannot end itself; the code that serves the connection watches the token's
//! [`TokenLifetime`] and drops the response when it ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::{
    access::{Feed, quota::ConcurrencyPermit},
    clock,
    config::StreamAtExpiry,
    credentials::ClientToken,
    request::body::{Body, BodyError},
    telemetry::metrics::OpenStream,
};

/// The lifetime of the client token to which a response belongs.
#[derive(Clone, Debug)]
pub(crate) struct TokenLifetime(pub(super) Arc<ClientToken>);

impl TokenLifetime {
    /// Returns when the token's responses must end.
    pub(super) async fn end(self, feed: Feed, at_expiry: StreamAtExpiry) {
        let Self(token) = self;
        tokio::select! {
            () = feed.until_revoked(&token) => {}
            () = expiry(&token), if at_expiry == StreamAtExpiry::Cut => {}
        }
    }
}

async fn expiry(token: &ClientToken) {
    let left = u64::try_from(token.expires_at - clock::now_millis()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(left)).await;
}

/// What is released when a stream ends.
#[derive(Debug)]
pub(super) struct StreamResources {
    /// The client token's claim on the stream.
    pub(super) stream_permit: Option<ConcurrencyPermit>,
    /// Its place in the metric of open streams.
    pub(super) open: Option<OpenStream>,
}

/// Ties to a stream's body what is released with it.
pub(super) fn attach(body: Body, resources: StreamResources) -> Body {
    if resources.stream_permit.is_none() && resources.open.is_none() {
        return body;
    }
    Body::new(StreamBody { body, _resources: resources })
}

struct StreamBody {
    body: Body,
    _resources: StreamResources,
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
