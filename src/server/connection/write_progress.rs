//! How long a connection's socket may accept nothing of what is to be written.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How many bytes a client must read within `limits.write_timeout`, if that many wait for it. Fewer do not count
/// as progress: at one byte now and then, a response would last for days.
pub(crate) const MIN_PROGRESS: usize = 64 * 1024;

/// The write progress of one connection. Only the connection's own task changes it.
#[derive(Debug)]
pub(crate) struct WriteProgress {
    opened: Instant,
    /// Whether the socket accepts no more bytes for now.
    is_blocked: AtomicBool,
    /// When the client last made progress, in microseconds after the connection was opened.
    since: AtomicU64,
    /// How many bytes the socket has accepted since then.
    accepted: AtomicUsize,
    /// Whether a read was deferred because the socket is blocked.
    is_read_deferred: AtomicBool,
}

impl WriteProgress {
    pub(crate) fn new(opened: Instant) -> Self {
        Self {
            opened,
            is_blocked: AtomicBool::new(false),
            since: AtomicU64::new(0),
            accepted: AtomicUsize::new(0),
            is_read_deferred: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Relaxed)
    }

    /// The socket accepts no more bytes.
    pub(crate) fn block(&self) {
        if !self.is_blocked.swap(true, Relaxed) {
            self.record_progress();
        }
    }

    /// The socket has accepted bytes.
    pub(crate) fn accept(&self, bytes: usize) {
        if self.is_blocked() && self.accepted.fetch_add(bytes, Relaxed) + bytes >= MIN_PROGRESS {
            self.record_progress();
        }
    }

    /// The socket has accepted everything. Returns whether a read was deferred.
    pub(crate) fn unblock(&self) -> bool {
        if !self.is_blocked() {
            return false;
        }
        self.is_blocked.store(false, Relaxed);
        self.record_progress();
        self.is_read_deferred.swap(false, Relaxed)
    }

    /// Defers a read until everything is written.
    pub(crate) fn defer_read(&self) {
        self.is_read_deferred.store(true, Relaxed);
    }

    fn record_progress(&self) {
        self.accepted.store(0, Relaxed);
        let since = self.opened.elapsed().as_micros();
        self.since.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
    }

    /// When the client must have made progress; `None` while the socket is not blocked.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        // No deadline if the clock cannot represent it.
        if self.is_blocked() { self.last_progress().checked_add(timeout) } else { None }
    }

    /// When the socket was last blocked, or made progress while it was: now, if it is blocked.
    pub(crate) fn last_blocked(&self) -> Instant {
        if self.is_blocked() { Instant::now() } else { self.last_progress() }
    }

    fn last_progress(&self) -> Instant {
        self.opened + Duration::from_micros(self.since.load(Relaxed))
    }
}
