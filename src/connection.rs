//! One client's connection: how large its requests' heads may be, how long they may take, and how long it may stand idle.
//!
//! The HTTP library limits how long it waits for a head, but it also waits for one on a connection that is merely idle, and
//! not at all for the first bytes, by which it tells HTTP/2 from HTTP/1.1. So it only tells here when it waits, and one
//! clock for each connection draws the consequences. HTTP/2 multiplexes: there a connection is idle when it has brought no
//! request for a while, and it may finish what it has.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::Version;
use hyper::{
    rt::{Sleep, Timer},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant as Moment, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::http::{HeadLimits, Surface};

/// How often HTTP/2 makes sure that the client is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How many requests an HTTP/2 connection may have under way. Streams that are opened only to be reset are limited by
/// the HTTP library itself.
const CONCURRENT_STREAMS: u32 = 200;

/// The smallest buffer that the HTTP library works with, in bytes.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// The limits on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How large a request's head may be.
    pub head: HeadLimits,
    /// How long it may take to arrive.
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
}

/// How connections are served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    builder: Builder<TokioExecutor>,
    limits: Limits,
}

impl Connections {
    /// Connections with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let bytes = limits.head.library_bytes().max(SMALLEST_BUFFER);
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().max_buf_size(bytes).header_read_timeout(limits.idle_timeout);
        if let Some(count) = limits.head.library_count() {
            builder.http1().max_headers(count);
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .max_concurrent_streams(CONCURRENT_STREAMS)
            .max_header_list_size(u32::try_from(bytes).unwrap_or(u32::MAX));
        Self { builder, limits }
    }

    /// Serves a connection to its end: the client's, one that its limits demand, or, after `stopping`, as soon as what is
    /// under way has finished.
    pub async fn serve(mut self, stream: TcpStream, surface: Surface, stopping: CancellationToken) {
        let pulse = Arc::new(Pulse::new(self.limits));
        self.builder.http1().timer(HeadTimer(Arc::clone(&pulse)));
        let noted = Arc::clone(&pulse);
        // Hyper's own function service: a router's boxed futures and bodies cost a fifth of a proxy's throughput.
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            if request.version() == Version::HTTP_2 {
                noted.enter(Phase::Multiplexed, Instant::now());
            }
            let surface = surface.clone();
            async move { Ok::<_, Infallible>(surface.answer(request).await) }
        });
        let io = TokioIo::new(Watched { stream, pulse: Arc::clone(&pulse) });
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let mut stopping = pin!(stopping.cancelled());
        let mut alarm = pin!(sleep_until(pulse.opened.into()));
        let mut is_leaving = false;
        let end = poll_fn(|context| {
            loop {
                if let Poll::Ready(end) = connection.as_mut().poll(context) {
                    return Poll::Ready(end);
                }
                if !is_leaving && stopping.as_mut().poll(context).is_ready() {
                    is_leaving = true;
                    connection.as_mut().graceful_shutdown();
                    continue;
                }
                let Some((deadline, verdict)) =
                    pulse.deadline().filter(|(_, verdict)| !is_leaving || verdict.is_final())
                else {
                    return Poll::Pending;
                };
                if alarm.is_elapsed() || alarm.deadline() > deadline {
                    alarm.as_mut().reset(deadline);
                }
                if alarm.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                match verdict {
                    // The alarm was set for something that has happened in time.
                    _ if Moment::now() < deadline => {}
                    Verdict::Close => return Poll::Ready(Err("a head did not arrive in time".into())),
                    Verdict::Leave => {
                        is_leaving = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        });
        if let Err(error) = end.await {
            debug!(%error, "A connection ended with an error");
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Phase {
    /// Nothing has been understood yet.
    Opening,
    /// No head has begun.
    Idle,
    /// A head has begun; when, is found out if it is not complete at once.
    Arriving,
    /// A head has begun.
    Head,
    /// A request is being answered.
    Busy,
    /// HTTP/2 has brought a request.
    Multiplexed,
}

/// What becomes of a connection whose time is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// It is closed.
    Close,
    /// It is closed when what is under way has ended.
    Leave,
}

impl Verdict {
    fn is_final(self) -> bool {
        self == Self::Close
    }
}

/// What a connection is doing, and since when. Only the connection's own task changes it.
#[derive(Debug)]
struct Pulse {
    limits: Limits,
    opened: Instant,
    phase: AtomicU8,
    /// In microseconds after it was opened.
    since: AtomicU64,
}

impl Pulse {
    fn new(limits: Limits) -> Self {
        Self { limits, opened: Instant::now(), phase: AtomicU8::new(Phase::Opening as u8), since: AtomicU64::new(0) }
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }

    fn enter(&self, phase: Phase, now: Instant) {
        let since = now.saturating_duration_since(self.opened).as_micros();
        self.since.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// When the present phase may last no longer, and what happens then.
    fn deadline(&self) -> Option<(Moment, Verdict)> {
        if self.is(Phase::Busy) {
            return None;
        }
        if self.is(Phase::Arriving) {
            self.enter(Phase::Head, Instant::now());
        }
        let (timeout, verdict) = if self.is(Phase::Idle) || self.is(Phase::Multiplexed) {
            (self.limits.idle_timeout, Verdict::Leave)
        } else {
            (self.limits.header_timeout, Verdict::Close)
        };
        let since = self.opened + Duration::from_micros(self.since.load(Relaxed));
        // Beyond what the clock can count there is no deadline.
        Some((since.checked_add(timeout)?.into(), verdict))
    }
}

/// Through this HTTP/1.1 tells that it waits for a head.
#[derive(Debug)]
struct HeadTimer(Arc<Pulse>);

/// The wait for a head. It never ends by itself; when the head is there it is dropped.
struct HeadWait(Arc<Pulse>);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        // Of the first head some bytes are there already.
        let phase = if self.0.is(Phase::Opening) { Phase::Head } else { Phase::Idle };
        self.0.enter(phase, deadline.checked_sub(self.0.limits.idle_timeout).unwrap_or(deadline));
        Box::pin(HeadWait(Arc::clone(&self.0)))
    }
}

impl Sleep for HeadWait {}

impl Future for HeadWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for HeadWait {
    fn drop(&mut self) {
        self.0.phase.store(Phase::Busy as u8, Relaxed);
    }
}

/// A socket that tells when something arrives.
#[derive(Debug)]
struct Watched {
    stream: TcpStream,
    pulse: Arc<Pulse>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.pulse.is(Phase::Idle) {
            self.pulse.phase.store(Phase::Arriving as u8, Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
