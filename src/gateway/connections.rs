//! HTTP/1.1 connections to a plain upstream, each driven by the request that uses it.
//!
//! The usual client gives every connection a task of its own, so that each head and each frame wakes two tasks. Here the
//! task that answers the client also reads and writes the upstream's socket: nothing is handed over, and when the client
//! leaves, the connection goes with the request. The connection's inner channels are polled in the same task, so what
//! they would wake is awake already and they are given a waker that does nothing; only the last poll before a pause
//! registers the real one.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::Authority};
use http_body::{Body as _, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tower::ServiceExt;

use crate::body::{Body, BodyError};

/// How long an unused connection is kept: shorter than uvicorn and Node keep theirs, or requests would meet connections
/// that are just being closed.
pub(super) const LONGEST_IDLE: Duration = Duration::from_secs(4);

/// The connections to one upstream. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    connector: HttpConnector,
    base: Uri,
    host: HeaderValue,
    /// Unused connections, the one used last at the end.
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    since: Instant,
}

/// One connection: what takes requests, and what reads and writes.
#[derive(Debug)]
struct Link {
    sender: SendRequest<Body>,
    connection: Driver,
}

#[derive(Debug)]
struct Driver {
    connection: http1::Connection<TokioIo<TcpStream>, Body>,
    /// It may not be polled again.
    has_ended: bool,
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// Connecting failed.
    #[error("cannot connect: {0}")]
    Connect(#[source] BodyError),
    /// The connection failed.
    #[error(transparent)]
    Exchange(#[from] hyper::Error),
}

impl Connections {
    /// Connections to a host. None is opened yet.
    pub(super) fn new(connector: HttpConnector, authority: &Authority) -> Result<Self, http::Error> {
        let host = HeaderValue::from_str(authority.as_str())?;
        let base = Uri::builder().scheme("http").authority(authority.clone()).path_and_query("/").build()?;
        let pool = Arc::new(Pool { connector, base, host, idle: Mutex::default() });
        tokio::spawn(close_idle(Arc::downgrade(&pool)));
        Ok(Self(pool))
    }

    /// Sends a request whose URI is in origin-form and waits for the head of its answer. One that was not sent, because
    /// an unused connection had been closed, is sent on another.
    pub(super) async fn send(&self, mut request: Request<Body>) -> Result<Response<Driven>, ConnectionError> {
        request.headers_mut().insert(header::HOST, self.0.host.clone());
        loop {
            let (mut link, is_used) = match self.0.take() {
                Some(link) => (link, true),
                None => (self.0.connect().await?, false),
            };
            let mut answer = pin!(link.sender.try_send_request(request));
            let answered = poll_fn(|context| {
                for waker in [Waker::noop(), context.waker()] {
                    link.connection.advance(&mut Context::from_waker(waker));
                    if let Poll::Ready(answered) = answer.as_mut().poll(&mut nobody()) {
                        return Poll::Ready(answered);
                    }
                }
                Poll::Pending
            });
            match answered.await {
                Ok(response) => {
                    let pool = Arc::clone(&self.0);
                    return Ok(response.map(|incoming| Driven { incoming, link: Some(link), pool }));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if is_used => request = unsent,
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }
}

impl Pool {
    async fn connect(&self) -> Result<Box<Link>, ConnectionError> {
        let stream = self.connector.clone().oneshot(self.base.clone()).await;
        let stream = stream.map_err(|error| ConnectionError::Connect(error.into()))?;
        let (sender, connection) = http1::handshake(stream).await?;
        Ok(Box::new(Link { sender, connection: Driver { connection, has_ended: false } }))
    }

    /// The unused connection that was used last, if it is still open.
    fn take(&self) -> Option<Box<Link>> {
        loop {
            let Idle { mut link, since } = self.idle().pop_back()?;
            if since.elapsed() < LONGEST_IDLE && link.is_ready() {
                return Some(link);
            }
        }
    }

    fn put(&self, mut link: Box<Link>) {
        if link.is_ready() {
            self.idle().push_back(Idle { link, since: Instant::now() });
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that nobody has used for long.
async fn close_idle(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(LONGEST_IDLE).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        let old = idle.iter().take_while(|idle| idle.since.elapsed() >= LONGEST_IDLE).count();
        let closed = idle.drain(..old).collect::<Vec<_>>();
        drop(idle);
        drop(closed);
    }
}

impl Link {
    /// Whether the connection is open and takes a request at once.
    fn is_ready(&mut self) -> bool {
        self.connection.advance(&mut nobody());
        !self.connection.has_ended && self.sender.is_ready()
    }
}

impl Driver {
    /// Reads and writes as far as the socket allows.
    fn advance(&mut self, context: &mut Context<'_>) {
        // What went wrong is told to whoever waits for the answer or its body.
        self.has_ended = self.has_ended || Pin::new(&mut self.connection).poll(context).is_ready();
    }
}

fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// An answer's body, which drives its connection. The connection can be used again when the body has been read to its
/// end; dropped before, it is closed.
#[derive(Debug)]
pub(super) struct Driven {
    incoming: Incoming,
    link: Option<Box<Link>>,
    pool: Arc<Pool>,
}

impl http_body::Body for Driven {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(link) = &mut this.link else { return Poll::Ready(None) };
        let mut polled = Pin::new(&mut this.incoming).poll_frame(&mut nobody());
        for waker in [Waker::noop(), context.waker()] {
            if polled.is_ready() {
                break;
            }
            link.connection.advance(&mut Context::from_waker(waker));
            polled = Pin::new(&mut this.incoming).poll_frame(&mut nobody());
        }
        if let Poll::Ready(frame) = &polled
            && (frame.is_none() || this.incoming.is_end_stream())
            && let Some(link) = this.link.take()
        {
            this.pool.put(link);
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Driven {
    /// A body without bytes is never polled.
    fn drop(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(link) = self.link.take()
        {
            self.pool.put(link);
        }
    }
}
