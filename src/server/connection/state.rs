//! The state of a connection and its deadlines.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use hyper::rt::{Sleep, Timer};
use tokio::time::Instant as TokioInstant;

use super::write_progress::WriteProgress;
use crate::{faults::wire::Edit, http::HeadLimits};

/// The limits on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// How large a request's head may be.
    pub(crate) head: HeadLimits,
    /// How long a request's head may take to arrive.
    pub(crate) header_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub(crate) idle_timeout: Duration,
    /// How long the client may take to read the next 64 KiB of a response, or what is left of it.
    pub(crate) write_timeout: Duration,
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The protocol is not known yet.
    Opening,
    /// Waiting for a request.
    Idle,
    /// The first bytes of a head have arrived. The clock is read only if the head is not complete at once.
    HeadStarted,
    /// Reading the rest of a head.
    ReadingHead,
    /// Handling a request.
    Busy,
    /// HTTP/2, after the first request.
    Multiplexed,
}

/// What happens to a connection at its deadline.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TimeoutAction {
    /// It is closed at once, for this reason.
    Close(&'static str),
    /// It is closed once its requests in flight have finished.
    Drain,
}

/// The state of a connection. Only the connection's own task changes it.
#[derive(Debug)]
pub(super) struct ConnectionState {
    pub(super) limits: ConnectionLimits,
    pub(super) opened: Instant,
    phase: AtomicU8,
    /// When the phase began, in microseconds after the connection was opened.
    since: AtomicU64,
    pub(super) write_progress: WriteProgress,
    /// Whether every response of HTTP/1.1 was handed over to the library completely.
    is_handed_over: AtomicBool,
    /// Whether the connection is closed in the middle of a response.
    is_aborted: AtomicBool,
    /// How often everything was written, since somebody wants to know.
    flushes: AtomicUsize,
    is_flush_awaited: AtomicBool,
    flushed: AtomicWaker,
    /// The change that a fault makes to the bytes of the next response.
    edit: Mutex<Option<Edit>>,
    has_edit: AtomicBool,
}

impl ConnectionState {
    pub(super) fn new(limits: ConnectionLimits) -> Self {
        let opened = Instant::now();
        Self {
            limits,
            opened,
            phase: AtomicU8::new(Phase::Opening as u8),
            since: AtomicU64::new(0),
            write_progress: WriteProgress::new(opened),
            is_handed_over: AtomicBool::new(true),
            is_aborted: AtomicBool::new(false),
            flushes: AtomicUsize::new(0),
            is_flush_awaited: AtomicBool::new(false),
            flushed: AtomicWaker::new(),
            edit: Mutex::default(),
            has_edit: AtomicBool::new(false),
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

    pub(super) fn record_arrival(&self) {
        if self.is(Phase::Idle) {
            self.phase.store(Phase::HeadStarted as u8, Relaxed);
        }
    }

    /// A response of HTTP/1.1 is about to be handed over to the library.
    pub(super) fn begin_response(&self) {
        self.is_handed_over.store(false, Relaxed);
    }

    pub(super) fn is_handed_over(&self) -> bool {
        self.is_handed_over.load(Relaxed)
    }

    pub(super) fn abort(&self) {
        self.is_aborted.store(true, Relaxed);
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.is_aborted.load(Relaxed)
    }

    /// How often everything was written so far. From now on that is counted.
    pub(super) fn flushes(&self) -> usize {
        self.is_flush_awaited.store(true, Relaxed);
        self.flushes.load(Relaxed)
    }

    /// Ready when everything was written more often than so many times.
    pub(super) fn poll_flushed(&self, flushes: usize, context: &mut Context<'_>) -> Poll<()> {
        self.flushed.register(context.waker());
        if self.flushes.load(Relaxed) == flushes { Poll::Pending } else { Poll::Ready(()) }
    }

    /// The socket has written everything.
    pub(super) fn note_flush(&self) {
        if self.is_flush_awaited.load(Relaxed) {
            self.flushes.fetch_add(1, Relaxed);
            self.flushed.wake();
        }
    }

    /// Sets the change to the bytes of the next response.
    pub(super) fn set_edit(&self, edit: Edit) {
        *self.edit.lock().unwrap_or_else(PoisonError::into_inner) = Some(edit);
        self.has_edit.store(true, Relaxed);
    }

    /// The change to the bytes of the next response, once.
    pub(super) fn take_edit(&self) -> Option<Edit> {
        if !self.has_edit.load(Relaxed) {
            return None;
        }
        self.has_edit.store(false, Relaxed);
        self.edit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The next deadline of the connection, and what happens then.
    pub(super) fn deadline(&self, is_draining: bool) -> Option<(TokioInstant, TimeoutAction)> {
        let phase = self.phase_deadline().filter(|(_, action)| !is_draining || *action != TimeoutAction::Drain);
        let Some(write_progress) = self.write_progress.deadline(self.limits.write_timeout) else { return phase };
        let write = (write_progress.into(), TimeoutAction::Close("the client did not read in time"));
        Some(phase.filter(|(deadline, _)| *deadline < write.0).unwrap_or(write))
    }

    /// When the current phase must end, and what happens then.
    fn phase_deadline(&self) -> Option<(TokioInstant, TimeoutAction)> {
        if self.is(Phase::Busy) {
            return None;
        }
        if self.is(Phase::HeadStarted) {
            self.enter(Phase::ReadingHead, Instant::now());
        }
        let (timeout, action) = if self.is(Phase::Idle) || self.is(Phase::Multiplexed) {
            (self.limits.idle_timeout, TimeoutAction::Drain)
        } else {
            (self.limits.header_timeout, TimeoutAction::Close("a head did not arrive in time"))
        };
        let since = self.opened + Duration::from_micros(self.since.load(Relaxed));
        // No deadline if the clock cannot represent it.
        Some((since.checked_add(timeout)?.into(), action))
    }
}

/// The timer of HTTP/1.1, which the library sets when it begins to wait for a head.
#[derive(Debug)]
pub(super) struct HeadTimer(pub(super) Arc<ConnectionState>);

/// The wait for a head. It never resolves; the library drops it when the head is complete.
struct HeadWait(Arc<ConnectionState>);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        // The first bytes of the first head were already read, to detect the protocol.
        let phase = if self.0.is(Phase::Opening) { Phase::ReadingHead } else { Phase::Idle };
        self.0.enter(phase, deadline.checked_sub(self.0.limits.idle_timeout).unwrap_or(deadline));
        // The library waits for the next head once the last response was handed over completely.
        self.0.is_handed_over.store(true, Relaxed);
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
