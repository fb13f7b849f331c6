//! Connections to an upstream without TLS, each driven by the request that uses it.
//!
//! The task that answers the client also reads and writes the upstream's socket: nothing is handed over, and when the
//! client leaves, the connection goes with the request.

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
    http1::{Decoded, Decoder, Head, Reader, ResponseError, Sending},
    upstream_request::UpstreamRequest,
};
use crate::request::body::{Body, BodyError};

/// How long an unused connection is kept: shorter than uvicorn and Node keep theirs, or requests would meet connections
/// that are just being closed.
pub(super) const LONGEST_IDLE: Duration = Duration::from_secs(4);

/// How much is read at once, in bytes: at first, and at most, where an answer fills what it is given.
const LEAST_READ: usize = 8 * 1024;
const MOST_READ: usize = 256 * 1024;

/// A body of known length that has no more bytes is handed on whole.
pub(super) const SMALL_BODY: u64 = 16 * 1024;

/// Limits further away than this are none.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// How long an upstream may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For the head of an answer.
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
    /// The header fields that are the same for all requests: host and credential.
    constant: Vec<u8>,
    patience: Timeouts,
    /// Unused connections, the one used last at the end.
    idle: Mutex<VecDeque<Idle>>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({}, {} idle)", self.base, self.idle().len())
    }
}

struct Idle {
    link: Box<PooledConnection>,
    since: Instant,
}

impl Connections {
    /// Connections to a host, with the gateway's credential there. None is opened yet.
    pub(super) fn new(
        connector: HttpConnector,
        authority: &Authority,
        credential: Option<&HeaderValue>,
        patience: Timeouts,
    ) -> Result<Self, http::Error> {
        let base = Uri::builder().scheme("http").authority(authority.clone()).path_and_query("/").build()?;
        let mut constant = format!("host: {authority}\r\n").into_bytes();
        if let Some(credential) = credential {
            constant.extend_from_slice(&[b"authorization: ", credential.as_bytes(), b"\r\n"].concat());
        }
        let pool = Arc::new(Pool { connector, base, constant, patience, idle: Mutex::default() });
        tokio::spawn(close_idle(Arc::downgrade(&pool)));
        Ok(Self(pool))
    }

    /// Sends a request and waits for the head of its answer. One that was not sent, because an unused connection had been
    /// closed, is sent on another; so is a question whose connection was closed without a word (RFC 9110, section 9.2.2).
    pub(super) async fn send(&self, mut outgoing: UpstreamRequest) -> Result<Response<Body>, ResponseError> {
        let pool = &self.0;
        let deadline = after(Instant::now(), pool.patience.first_byte);
        loop {
            let (mut link, is_used) = match pool.take() {
                Some(link) => (link, true),
                None => (pool.connect().await?, false),
            };
            let mut sending = Sending::new(&mut outgoing, &pool.constant, std::mem::take(&mut link.spare));
            let (mut is_sent, mut reader) = (false, Reader::default());
            match poll_fn(|context| link.poll_head(&mut sending, &mut is_sent, &mut reader, deadline, context)).await {
                Ok(head) => return Ok(answer(pool, link, head, (!is_sent).then_some(sending))),
                Err(ResponseError::Connection(_) | ResponseError::Closed) if is_used && !sending.has_begun() => {
                    sending.give_back(&mut outgoing);
                }
                Err(ResponseError::Connection(_) | ResponseError::Closed)
                    if is_used
                        && link.read.is_empty()
                        && outgoing.method == Method::GET
                        && matches!(outgoing.body, Body::Empty) => {}
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// An answer whose head is there.
fn answer(pool: &Arc<Pool>, mut link: Box<PooledConnection>, head: Head, sending: Option<Sending>) -> Response<Body> {
    let Head { status, headers, mut decoder, stays_open, .. } = head;
    let is_small = decoder.left().is_some_and(|left| left <= SMALL_BODY && left <= link.read.len() as u64);
    let body = if is_small && sending.is_none() {
        let length = decoder.left().and_then(|left| usize::try_from(left).ok()).unwrap_or_default();
        // A copy, so that the connection keeps its buffer.
        let bytes = Bytes::copy_from_slice(&link.read[..length]);
        link.read.advance(length);
        decoder = Decoder::nothing();
        Body::from(bytes)
    } else {
        Body::Empty
    };
    let body = if decoder.has_ended() && sending.is_none() {
        if stays_open {
            pool.put(link);
        }
        body
    } else {
        let pool = Arc::clone(pool);
        Body::new(ResponseBody { decoder, sending, link: Some(link), stays_open, waiting_since: None, pool })
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
            read: BytesMut::new(),
            read_size: LEAST_READ,
            spare: Vec::new(),
            alarm: Box::pin(sleep_until(Instant::now() + FOR_EVER)),
        }))
    }

    /// The unused connection that was used last, if it is still open.
    fn take(&self) -> Option<Box<PooledConnection>> {
        loop {
            let Idle { link, since } = self.idle().pop_back()?;
            if since.elapsed() < LONGEST_IDLE && link.is_open() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection whose answer has ended. One on which more has come was not what it seemed.
    fn put(&self, link: Box<PooledConnection>) {
        if link.read.is_empty() {
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

/// One connection. What it has sent holds the credential, so it is not shown.
struct PooledConnection {
    stream: TcpStream,
    /// What has arrived and was not used yet.
    read: BytesMut,
    /// How much to read at once.
    read_size: usize,
    /// A buffer for the next request.
    spare: Vec<u8>,
    /// Set to some moment before the next deadline, and only moved when it rings: most requests need not touch it.
    alarm: Pin<Box<Sleep>>,
}

impl PooledConnection {
    /// Whether the other end has neither closed an unused connection nor said anything. This asks the kernel only where
    /// something has happened, and is not counted against the task: after so many connections that were closed at once
    /// it would be told that nothing has happened.
    fn is_open(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends a request, as far as it can be sent, until the head of its answer is there.
    fn poll_head(
        &mut self,
        sending: &mut Sending,
        is_sent: &mut bool,
        reader: &mut Reader,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Poll<Result<Head, ResponseError>> {
        let mut unsent = None;
        if !*is_sent {
            match sending.poll(&mut self.stream, context) {
                Poll::Ready(Ok(())) => {
                    *is_sent = true;
                    self.spare = sending.take_buffer();
                }
                // Who takes no more may have said why.
                Poll::Ready(Err(failure @ ResponseError::Connection(_))) => unsent = Some(failure),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
        }
        loop {
            match self.poll_read(context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(unsent.unwrap_or(ResponseError::Closed))),
                Poll::Ready(Ok(_)) => {
                    if let Some(head) = reader.read(&self.read)? {
                        self.read.advance(head.bytes);
                        return Poll::Ready(Ok(head));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(unsent.unwrap_or(ResponseError::Connection(error)))),
                Poll::Pending => break,
            }
        }
        match unsent {
            Some(failure) => Poll::Ready(Err(failure)),
            None if self.is_late(deadline, context) => Poll::Ready(Err(ResponseError::TimedOut)),
            None => Poll::Pending,
        }
    }

    /// Reads what there is; 0: nothing more will come.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < LEAST_READ / 2 {
            self.read.reserve(self.read_size);
        }
        let room = self.read.capacity() - self.read.len();
        let count = ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.read))?;
        if count == room {
            self.read_size = (self.read_size * 2).min(MOST_READ);
        }
        Poll::Ready(Ok(count))
    }

    /// Whether a moment has come; if not, the task is woken when it does.
    fn is_late(&mut self, deadline: Instant, context: &mut Context<'_>) -> bool {
        loop {
            if self.alarm.is_elapsed() || self.alarm.deadline() > deadline {
                self.alarm.as_mut().reset(deadline);
            }
            if self.alarm.as_mut().poll(context).is_pending() {
                return false;
            }
            if Instant::now() >= deadline {
                return true;
            }
        }
    }
}

fn after(moment: Instant, duration: Duration) -> Instant {
    moment + duration.min(FOR_EVER)
}

/// An answer's body, which drives its connection. The connection can be used again when the body has been read to its
/// end; dropped before, it is closed.
struct ResponseBody {
    decoder: Decoder,
    /// The rest of the request, where the answer began before it was all sent.
    sending: Option<Sending>,
    /// None: nothing more will come.
    link: Option<Box<PooledConnection>>,
    stays_open: bool,
    waiting_since: Option<Instant>,
    pool: Arc<Pool>,
}

impl ResponseBody {
    /// The body has been read to its end.
    fn finish(&mut self) {
        if let Some(link) = self.link.take().filter(|_| self.stays_open && self.sending.is_none()) {
            self.pool.put(link);
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ResponseError>> {
        let Some(link) = &mut self.link else { return Poll::Ready(Ok(None)) };
        if let Some(sending) = &mut self.sending
            && let Poll::Ready(sent) = sending.poll(&mut link.stream, context)
        {
            self.sending = None;
            match sent {
                Ok(()) => {}
                // Who takes no more may still have something to say.
                Err(ResponseError::Connection(_)) => self.stays_open = false,
                Err(failure) => return Poll::Ready(Err(failure)),
            }
        }
        loop {
            match self.decoder.decode(&mut link.read)? {
                Decoded::Data(data) => {
                    self.waiting_since = None;
                    // Nobody asks for more than the length that was said.
                    if self.decoder.has_ended() {
                        self.finish();
                    }
                    return Poll::Ready(Ok(Some(data)));
                }
                Decoded::End => {
                    self.finish();
                    return Poll::Ready(Ok(None));
                }
                Decoded::Nothing => {}
            }
            match link.poll_read(context) {
                Poll::Ready(Ok(0)) => self.decoder.close()?,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ResponseError::Connection(error))),
                Poll::Pending => {
                    let since = *self.waiting_since.get_or_insert_with(Instant::now);
                    let is_late = link.is_late(after(since, self.pool.patience.idle), context);
                    return if is_late { Poll::Ready(Err(ResponseError::TimedOut)) } else { Poll::Pending };
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
        let piece = ready!(self.poll_piece(context));
        if piece.is_err() {
            self.link = None;
        }
        Poll::Ready(piece.transpose().map(|piece| piece.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.link.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder.left() {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
