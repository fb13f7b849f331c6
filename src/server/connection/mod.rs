//! One client's connection: how large its requests' heads may be, how long they may take, how long the client may take to
//! read, and how long it may stand idle.
//!
//! The HTTP library limits how long it waits for a head, but it also waits for one on a connection that is merely idle, and
//! not at all for the first bytes, by which it tells HTTP/2 from HTTP/1.1. So it only tells here when it waits, and one
//! clock for each connection draws the consequences. HTTP/2 multiplexes: there a connection is idle when it has brought no
//! request for a while, and it may finish what it has.
//!
//! The same clock ends a connection whose client does not read what waits for it, and an HTTP/1.1 connection ends with the
//! life of the token that its response belongs to. Streams of HTTP/2 end one by one.

mod backlog;
mod lives;
mod socket;
mod streams;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
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
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::TcpStream,
    time::{Instant as Moment, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::{
    backlog::Backlog,
    lives::Lives,
    socket::Socket,
    streams::{MOST_BUFFERED, Outbound, Streams},
};
use crate::http::{HeadLimits, Life, Surface};

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
    /// How long the client may take to read the next 64 KiB of a response, or what is left of it.
    pub write_timeout: Duration,
}

/// A connection's library, with the limits that it enforces by itself.
fn library(limits: &Limits, served: &Arc<ServedConnection>) -> Builder<Streams> {
    let bytes = limits.head.library_bytes().max(SMALLEST_BUFFER);
    let mut builder = Builder::new(Streams(Arc::clone(served)));
    builder
        .http1()
        .timer(HeadTimer(Arc::clone(&served.pulse)))
        .max_buf_size(bytes)
        .header_read_timeout(limits.idle_timeout);
    if let Some(count) = limits.head.library_count() {
        builder.http1().max_headers(count);
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(CONCURRENT_STREAMS)
        .max_send_buf_size(MOST_BUFFERED)
        .max_header_list_size(u32::try_from(bytes).unwrap_or(u32::MAX));
    builder
}

/// Serves a connection to its end: the client's, one that its limits demand, or, after `stopping`, as soon as what is
/// under way has finished.
pub async fn serve(limits: Limits, stream: TcpStream, surface: Surface, stopping: CancellationToken) {
    let pulse = Arc::new(Pulse::new(limits));
    let served = Arc::new(ServedConnection { surface, pulse: Arc::clone(&pulse), under_way: Mutex::default() });
    let builder = library(&limits, &served);
    let answering = Arc::clone(&served);
    // Hyper's own function service: a router's boxed futures and bodies cost a fifth of a proxy's throughput.
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let is_stream = request.version() == Version::HTTP_2;
        if is_stream {
            answering.pulse.enter(Phase::Multiplexed, Instant::now());
        }
        let served = Arc::clone(&answering);
        async move {
            let (response, life) = served.surface.respond(request).await;
            Ok::<_, Infallible>(response.map(|body| {
                if is_stream {
                    return streams::show(body, life);
                }
                served.begin_response(life);
                Outbound::unwatched(body)
            }))
        }
    });
    let io = TokioIo::new(Socket::new(stream, Arc::clone(&pulse)));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut lives = Lives::default();
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
            if served.has_outlived(&mut lives, context) {
                pulse.cut();
                return Poll::Ready(Err("the client token of a response has ended".into()));
            }
            let Some((deadline, verdict)) = pulse.deadline(is_leaving) else { return Poll::Pending };
            if alarm.is_elapsed() || alarm.deadline() > deadline {
                alarm.as_mut().reset(deadline);
            }
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            match verdict {
                // The alarm was set for something that has happened in time.
                _ if Moment::now() < deadline => {}
                Verdict::Close(reason) => return Poll::Ready(Err(reason.into())),
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

/// What one connection serves, and its responses of HTTP/1.1.
struct ServedConnection {
    surface: Surface,
    pulse: Arc<Pulse>,
    under_way: Mutex<UnderWay>,
}

/// The responses of an HTTP/1.1 connection that have not left it. Pipelined ones wait for each other.
#[derive(Debug, Default)]
struct UnderWay {
    /// The lives of those that are not watched over yet.
    added: Vec<Life>,
    /// Whether all that were watched over have left.
    has_left: bool,
}

impl ServedConnection {
    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response of HTTP/1.1 begins, after whatever went before it.
    fn begin_response(&self, life: Option<Life>) {
        self.pulse.is_whole.store(false, Relaxed);
        let mut under_way = self.under_way();
        if !self.pulse.backlog.is_blocked() {
            under_way.added.clear();
            under_way.has_left = true;
        }
        under_way.added.extend(life);
    }

    /// Whether a response of HTTP/1.1 has outlived its token. Asked when the connection waits for something: most responses
    /// have left by then, and cost nothing.
    fn has_outlived(&self, lives: &mut Lives, context: &mut Context<'_>) -> bool {
        let mut under_way = self.under_way();
        let is_blocked = self.pulse.backlog.is_blocked();
        if mem::take(&mut under_way.has_left) {
            lives.clear();
        }
        if !is_blocked && self.pulse.is_whole.load(Relaxed) {
            under_way.added.clear();
            lives.clear();
        }
        for life in under_way.added.drain(..) {
            lives.add(life, &self.surface);
        }
        drop(under_way);
        lives.has_ended(context)
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
    /// It is closed, for this reason.
    Close(&'static str),
    /// It is closed when what is under way has ended.
    Leave,
}

/// What a connection is doing, and since when. Only the connection's own task changes it.
#[derive(Debug)]
struct Pulse {
    limits: Limits,
    opened: Instant,
    phase: AtomicU8,
    /// In microseconds after it was opened.
    since: AtomicU64,
    backlog: Backlog,
    /// Whether the library has all of every response of HTTP/1.1.
    is_whole: AtomicBool,
    /// Whether it is closed in the middle of a response.
    is_cut: AtomicBool,
}

impl Pulse {
    fn new(limits: Limits) -> Self {
        let opened = Instant::now();
        Self {
            limits,
            opened,
            phase: AtomicU8::new(Phase::Opening as u8),
            since: AtomicU64::new(0),
            backlog: Backlog::new(opened),
            is_whole: AtomicBool::new(true),
            is_cut: AtomicBool::new(false),
        }
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }

    fn enter(&self, phase: Phase, now: Instant) {
        let since = now.saturating_duration_since(self.opened).as_micros();
        self.since.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    fn note_arrival(&self) {
        if self.is(Phase::Idle) {
            self.phase.store(Phase::Arriving as u8, Relaxed);
        }
    }

    fn cut(&self) {
        self.is_cut.store(true, Relaxed);
    }

    fn is_cut(&self) -> bool {
        self.is_cut.load(Relaxed)
    }

    /// When the connection's time is over, and what happens then.
    fn deadline(&self, is_leaving: bool) -> Option<(Moment, Verdict)> {
        let of_phase = self.phase_deadline().filter(|(_, verdict)| !is_leaving || *verdict != Verdict::Leave);
        let Some(backlog) = self.backlog.deadline(self.limits.write_timeout) else { return of_phase };
        let of_backlog = (backlog.into(), Verdict::Close("the client did not read in time"));
        Some(of_phase.filter(|(deadline, _)| *deadline < of_backlog.0).unwrap_or(of_backlog))
    }

    /// When the present phase may last no longer, and what happens then.
    fn phase_deadline(&self) -> Option<(Moment, Verdict)> {
        if self.is(Phase::Busy) {
            return None;
        }
        if self.is(Phase::Arriving) {
            self.enter(Phase::Head, Instant::now());
        }
        let (timeout, verdict) = if self.is(Phase::Idle) || self.is(Phase::Multiplexed) {
            (self.limits.idle_timeout, Verdict::Leave)
        } else {
            (self.limits.header_timeout, Verdict::Close("a head did not arrive in time"))
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
        // The library waits for the next head when it has all of the response to the last one.
        self.0.is_whole.store(true, Relaxed);
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
