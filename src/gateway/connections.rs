//! Pooled HTTP/1.1 connections to an upstream without TLS.
//!
//! The task that serves the client also reads and writes the upstream's socket. No task or channel lies between the two,
//! and when the client disconnects, the upstream connection is closed with the request.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Method, Response, Uri, uri::Authority};
use http_body::{Frame, SizeHint};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::io::poll_read_buf;
use tower::ServiceExt;

use super::{
    http1::{Decoded, Decoder, Head, HeadReader, RequestWriter, ResponseError},
    upstream_request::UpstreamRequest,
};
use crate::request::body::{Body, BodyError};

/// How long an unused connection is kept. Uvicorn and Node keep theirs longer, so a request rarely finds one that is being
/// closed.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// How many bytes are read at once: at first, and at most, once a response has filled smaller reads.
const MIN_READ_SIZE: usize = 8 * 1024;
const MAX_READ_SIZE: usize = 256 * 1024;

/// A body of known length is passed on in one piece if it is no larger than this, in bytes.
pub(super) const SMALL_BODY: u64 = 16 * 1024;

/// Stands for "no deadline"; longer time limits are cut to it.
const FAR_FUTURE: Duration = Duration::from_hours(24 * 365);

/// How long an upstream may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For the head of a response.
    pub(super) first_byte: Duration,
    /// Between two pieces of its body.
    pub(super) idle: Duration,
}

/// The connections to one upstream. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Connections(Arc<Pool>);

struct Pool {
    connector: HttpConnector,
    base: Uri,
    /// The header fields that all requests share: host and credential.
    common_fields: Vec<u8>,
    timeouts: Timeouts,
    /// Unused connections, the most recently used one last.
    idle: Mutex<VecDeque<Idle>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({}, {} idle)", self.base, self.idle().len())
    }
}

struct Idle {
    connection: Box<PooledConnection>,
    since: Instant,
}

impl Connections {
    /// A pool for a host and the gateway's credential there. Opens no connection yet.
    pub(super) fn new(
        connector: HttpConnector,
        authority: &Authority,
        credential: Option<&HeaderValue>,
        timeouts: Timeouts,
    ) -> Result<Self, http::Error> {
        let base = Uri::builder().scheme("http").authority(authority.clone()).path_and_query("/").build()?;
        let mut common_fields = format!("host: {authority}\r\n").into_bytes();
        if let Some(credential) = credential {
            common_fields.extend_from_slice(&[b"authorization: ", credential.as_bytes(), b"\r\n"].concat());
        }
        let pool = Arc::new(Pool { connector, base, common_fields, timeouts, idle: Mutex::default() });
        tokio::spawn(close_idle(Arc::downgrade(&pool)));
        Ok(Self(pool))
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// A request on a reused connection is retried on another one if the upstream closed the connection before any byte
    /// was sent. A GET without a body is also retried if the connection was closed before a response began (RFC 9110,
    /// section 9.2.2).
    ///
    /// # Errors
    /// When connecting, sending or reading the head fails, or takes too long.
    pub(super) async fn send(&self, mut request: UpstreamRequest) -> Result<Response<Body>, ResponseError> {
        let pool = &self.0;
        let deadline = after(Instant::now(), pool.timeouts.first_byte);
        loop {
            let (mut connection, is_reused) = match pool.take() {
                Some(connection) => (connection, true),
                None => (pool.connect().await?, false),
            };
            let buffer = std::mem::take(&mut connection.spare_buffer);
            let mut writer = RequestWriter::new(&mut request, &pool.common_fields, buffer);
            let (mut is_sent, mut reader) = (false, HeadReader::default());
            let head =
                poll_fn(|context| connection.poll_head(&mut writer, &mut is_sent, &mut reader, deadline, context));
            match head.await {
                Ok(head) => return Ok(response(pool, connection, head, (!is_sent).then_some(writer))),
                Err(ResponseError::Connection(_) | ResponseError::Closed) if is_reused && !writer.has_begun() => {
                    writer.restore_body(&mut request);
                }
                Err(ResponseError::Connection(_) | ResponseError::Closed)
                    if is_reused
                        && connection.received.is_empty()
                        && request.method == Method::GET
                        && matches!(request.body, Body::Empty) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The response with this head. `writer` holds the rest of the request, if it is not all sent yet.
fn response(
    pool: &Arc<Pool>,
    mut connection: Box<PooledConnection>,
    head: Head,
    writer: Option<RequestWriter>,
) -> Response<Body> {
    let Head { status, headers, mut decoder, keep_alive, .. } = head;
    let received = connection.received.len() as u64;
    let is_small = decoder.remaining().is_some_and(|length| length <= SMALL_BODY && length <= received);
    let body = if is_small && writer.is_none() {
        let length = decoder.remaining().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        // A copy, so that the connection keeps its buffer.
        let bytes = Bytes::copy_from_slice(&connection.received[..length]);
        connection.received.advance(length);
        decoder = Decoder::empty();
        Body::from(bytes)
    } else {
        Body::Empty
    };
    let body = if decoder.has_ended() && writer.is_none() {
        if keep_alive {
            pool.put(connection);
        }
        body
    } else {
        let pool = Arc::clone(pool);
        let connection = Some(connection);
        Body::new(ResponseBody { decoder, writer, connection, keep_alive, waiting_since: None, pool })
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

impl Pool {
    async fn connect(&self) -> Result<Box<PooledConnection>, ResponseError> {
        let stream = self.connector.clone().oneshot(self.base.clone()).await;
        let stream = stream.map_err(|error| ResponseError::Connect(error.into()))?.into_inner();
        Ok(Box::new(PooledConnection {
            stream,
            received: BytesMut::new(),
            read_size: MIN_READ_SIZE,
            spare_buffer: Vec::new(),
            timer: Box::pin(sleep_until(Instant::now() + FAR_FUTURE)),
        }))
    }

    /// The most recently used of the unused connections that are still open.
    fn take(&self) -> Option<Box<PooledConnection>> {
        loop {
            let Idle { connection, since } = self.idle().pop_back()?;
            if since.elapsed() < IDLE_TIMEOUT && connection.is_open() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose response has ended. If more was received, the upstream frames its responses otherwise than
    /// they were read, and the connection is closed.
    fn put(&self, connection: Box<PooledConnection>) {
        if connection.received.is_empty() {
            self.idle().push_back(Idle { connection, since: Instant::now() });
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections that have been unused for too long.
async fn close_idle(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        let expired = idle.iter().take_while(|idle| idle.since.elapsed() >= IDLE_TIMEOUT).count();
        let expired = idle.drain(..expired).collect::<Vec<_>>();
        drop(idle);
        drop(expired);
    }
}

/// One connection. It has no `Debug`, because its buffer holds the credential.
struct PooledConnection {
    stream: TcpStream,
    /// Bytes that were received and not yet decoded.
    received: BytesMut,
    /// How many bytes to read at once.
    read_size: usize,
    /// A buffer for the next request.
    spare_buffer: Vec<u8>,
    /// Never set to later than the next deadline, and moved only when it fires, so that most requests leave it alone.
    timer: Pin<Box<Sleep>>,
}

impl PooledConnection {
    /// Whether the upstream has neither closed an unused connection nor sent anything.
    ///
    /// `try_read` makes a system call only if the socket is ready. Unlike `poll_read` it does not use up the task's
    /// cooperative budget: once that is spent, every closed connection would look open.
    fn is_open(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends as much of a request as possible until the head of its response has arrived.
    fn poll_head(
        &mut self,
        writer: &mut RequestWriter,
        is_sent: &mut bool,
        reader: &mut HeadReader,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Poll<Result<Head, ResponseError>> {
        let mut write_error = None;
        if !*is_sent {
            match writer.poll(&mut self.stream, context) {
                Poll::Ready(Ok(())) => {
                    *is_sent = true;
                    self.spare_buffer = writer.take_buffer();
                }
                // An upstream that stops reading may have sent a response that says why.
                Poll::Ready(Err(error @ ResponseError::Connection(_))) => write_error = Some(error),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        loop {
            match self.poll_read(context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(write_error.unwrap_or(ResponseError::Closed))),
                Poll::Ready(Ok(_)) => {
                    if let Some(head) = reader.read(&self.received)? {
                        self.received.advance(head.bytes);
                        return Poll::Ready(Ok(head));
                    }
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(write_error.unwrap_or(ResponseError::Connection(error))));
                }
                Poll::Pending => break,
            }
        }
        match write_error {
            Some(error) => Poll::Ready(Err(error)),
            None if self.has_passed(deadline, context) => Poll::Ready(Err(ResponseError::TimedOut)),
            None => Poll::Pending,
        }
    }

    /// Reads what has arrived, and returns how many bytes that is; 0 at the end of the stream.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.capacity() - self.received.len() < MIN_READ_SIZE / 2 {
            self.received.reserve(self.read_size);
        }
        let free = self.received.capacity() - self.received.len();
        let count = ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.received))?;
        if count == free {
            self.read_size = (self.read_size * 2).min(MAX_READ_SIZE);
        }
        Poll::Ready(Ok(count))
    }

    /// Whether a deadline has passed. If not, the task is woken when it does.
    fn has_passed(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        loop {
            if self.timer.is_elapsed() || self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return false;
            }
            if Instant::now() >= deadline {
                return true;
            }
        }
    }
}

fn after(instant: Instant, duration: Duration) -> Instant {
    instant + duration.min(FAR_FUTURE)
}

/// A response's body, which drives its connection. Read to its end, it returns the connection to the pool; dropped before,
/// it closes the connection.
struct ResponseBody {
    decoder: Decoder,
    /// The rest of the request, if the response began before it was all sent.
    writer: Option<RequestWriter>,
    /// `None` after the end of the body.
    connection: Option<Box<PooledConnection>>,
    keep_alive: bool,
    waiting_since: Option<Instant>,
    pool: Arc<Pool>,
}

impl ResponseBody {
    /// Gives up the connection, for reuse if possible, after the end of the body.
    fn finish(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.keep_alive && self.writer.is_none()) {
            self.pool.put(connection);
        }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ResponseError>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(None)) };
        if let Some(writer) = &mut self.writer
            && let Poll::Ready(written) = writer.poll(&mut connection.stream, context)
        {
            self.writer = None;
            match written {
                Ok(()) => {}
                // An upstream that stops reading may still send the rest of its response.
                Err(ResponseError::Connection(_)) => self.keep_alive = false,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        loop {
            match self.decoder.decode(&mut connection.received)? {
                Decoded::Data(data) => {
                    self.waiting_since = None;
                    // A caller that knows the length does not poll again for the end.
                    if self.decoder.has_ended() {
                        self.finish();
                    }
                    return Poll::Ready(Ok(Some(data)));
                }
                Decoded::End => {
                    self.finish();
                    return Poll::Ready(Ok(None));
                }
                Decoded::Incomplete => {}
            }
            match connection.poll_read(context) {
                Poll::Ready(Ok(0)) => self.decoder.close()?,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ResponseError::Connection(error))),
                Poll::Pending => {
                    let since = *self.waiting_since.get_or_insert_with(Instant::now);
                    let deadline = after(since, self.pool.timeouts.idle);
                    return if connection.has_passed(deadline, context) {
                        Poll::Ready(Err(ResponseError::TimedOut))
                    } else {
                        Poll::Pending
                    };
                }
            }
        }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let data = ready!(self.poll_data(context));
        if data.is_err() {
            self.connection = None;
        }
        Poll::Ready(data.transpose().map(|data| data.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder.remaining() {
            Some(length) => SizeHint::with_exact(length),
            None => SizeHint::default(),
        }
    }
}
