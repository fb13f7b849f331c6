//! What a connection is doing, since when, and until when it may.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use tokio::time::Instant as Moment;

use super::backlog::Backlog;
use crate::http::HeadLimits;

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

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Phase {
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
pub(super) enum Verdict {
    /// It is closed, for this reason.
    Close(&'static str),
    /// It is closed when what is under way has ended.
    Leave,
}

/// What a connection is doing, and since when. Only the connection's own task changes it.
#[derive(Debug)]
pub(super) struct Pulse {
    pub(super) limits: Limits,
    pub(super) opened: Instant,
    phase: AtomicU8,
    /// In microseconds after it was opened.
    since: AtomicU64,
    pub(super) backlog: Backlog,
    /// Whether the library has all of every response of HTTP/1.1.
    is_whole: AtomicBool,
    /// Whether it is closed in the middle of a response.
    is_cut: AtomicBool,
}

impl Pulse {
    pub(super) fn new(limits: Limits) -> Self {
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

    pub(super) fn is(&self, phase: Phase) -> bool {
        self.phase.load(Relaxed) == phase as u8
    }

    pub(super) fn enter(&self, phase: Phase, now: Instant) {
        let since = now.saturating_duration_since(self.opened).as_micros();
        self.since.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    pub(super) fn note_arrival(&self) {
        if self.is(Phase::Idle) {
            self.phase.store(Phase::Arriving as u8, Relaxed);
        }
    }

    /// A response of HTTP/1.1 is about to be handed to the library.
    pub(super) fn begin_response(&self) {
        self.is_whole.store(false, Relaxed);
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole.load(Relaxed)
    }

    pub(super) fn cut(&self) {
        self.is_cut.store(true, Relaxed);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Relaxed)
    }

    /// When the connection's time is over, and what happens then.
    pub(super) fn deadline(&self, is_leaving: bool) -> Option<(Moment, Verdict)> {
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
pub(super) struct HeadTimer(pub(super) Arc<Pulse>);

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
