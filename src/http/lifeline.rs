//! A response lives no longer than its client token and its namespace.
//!
//! It is broken off, not ended: to the SDKs a body that ends cleanly is complete. The HTTP library does not poll a body
//! while the client does not read, so a body cannot end itself; the code that serves the connection watches the
//! [`ResponseLifetime`] and drops the response when it ends.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{App, activity::ActiveStream};
use crate::{
    access::quota::ConcurrencyPermit,
    clock,
    config::StreamAtExpiry,
    credentials::ClientToken,
    request::body::{Body, BodyError},
    telemetry::metrics::OpenStream,
    world::World,
};

/// How long a response may live.
#[derive(Clone)]
pub(crate) struct ResponseLifetime {
    /// The client token to which it belongs.
    pub(super) token: Option<Arc<ClientToken>>,
    /// The namespace to which it belongs, if it is not the server's only one.
    pub(super) namespace: Option<Arc<App>>,
}

impl fmt::Debug for ResponseLifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseLifetime").field("token", &self.token).finish_non_exhaustive()
    }
}

impl ResponseLifetime {
    /// Returns when the response must end. `app` is that of a server without namespaces.
    pub(super) async fn end(self, app: &App) {
        let Self { token, namespace } = self;
        let App { feed, world, stream_at_expiry, .. } = namespace.as_deref().unwrap_or(app);
        let ended = async {
            match world {
                Some(world) => world.ended().await,
                None => std::future::pending().await,
            }
        };
        let Some(token) = token else { return ended.await };
        tokio::select! {
            () = feed.until_revoked(&token) => {}
            () = ended => {}
            () = expiry(&token, world.as_ref()), if *stream_at_expiry == StreamAtExpiry::Cut => {}
        }
    }
}

async fn expiry(token: &ClientToken, world: Option<&World>) {
    match world {
        Some(world) => {
            world.until_token_expires(token.expires_at.saturating_mul(1_000), &token.id.to_string()).await;
        }
        None => tokio::time::sleep(token.time_left(clock::now_millis())).await,
    }
}

/// What is released when a stream ends.
#[derive(Debug)]
pub(super) struct StreamResources {
    /// The client token's claim on the stream.
    pub(super) stream_permit: Option<ConcurrencyPermit>,
    /// Its place in the metric of open streams.
    pub(super) open: Option<OpenStream>,
    /// Its place among those of its namespace.
    pub(super) active: Option<ActiveStream>,
}

/// Ties to a stream's body what is released with it.
pub(super) fn attach(body: Body, resources: StreamResources) -> Body {
    if resources.stream_permit.is_none() && resources.open.is_none() && resources.active.is_none() {
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
