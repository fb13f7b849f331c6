//! What a connection has to write and its socket does not take: how long that may last.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How many bytes a client takes at least within `limits.write_timeout`, where so many wait for it. Less is no progress:
/// one byte now and then would hold a response for days.
pub(crate) const LEAST: usize = 64 * 1024;

/// The backlog of one connection. Only the connection's own task changes it.
#[derive(Debug)]
pub(crate) struct Backlog {
    opened: Instant,
    /// Whether the socket takes nothing for now.
    is_blocked: AtomicBool,
    /// When the client had last made progress, in microseconds after the connection was opened.
    since: AtomicU64,
    /// How much it has taken since then.
    taken: AtomicUsize,
    /// Whether there was something to read in the meantime.
    is_read_put_off: AtomicBool,
}

impl Backlog {
    pub(crate) fn new(opened: Instant) -> Self {
        Self {
            opened,
            is_blocked: AtomicBool::new(false),
            since: AtomicU64::new(0),
            taken: AtomicUsize::new(0),
            is_read_put_off: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Relaxed)
    }

    /// The socket takes no more.
    pub(crate) fn block(&self) {
        if !self.is_blocked.swap(true, Relaxed) {
            self.note_progress();
        }
    }

    /// The socket has taken so many bytes.
    pub(crate) fn take(&self, bytes: usize) {
        if self.is_blocked() && self.taken.fetch_add(bytes, Relaxed) + bytes >= LEAST {
            self.note_progress();
        }
    }

    /// The socket has taken everything. Returns whether reading was put off.
    pub(crate) fn clear(&self) -> bool {
        if !self.is_blocked() {
            return false;
        }
        self.is_blocked.store(false, Relaxed);
        self.note_progress();
        self.is_read_put_off.swap(false, Relaxed)
    }

    /// Reading waits until everything is written.
    pub(crate) fn put_off_reading(&self) {
        self.is_read_put_off.store(true, Relaxed);
    }

    fn note_progress(&self) {
        self.taken.store(0, Relaxed);
        let since = self.opened.elapsed().as_micros();
        self.since.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
    }

    /// Until when the client has to make progress; none: nothing waits for it.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        // Beyond what the clock can count there is no deadline.
        if self.is_blocked() { self.last_progress().checked_add(timeout) } else { None }
    }

    /// Until when it was the socket that kept a response waiting, if it was; now, if it is.
    pub(crate) fn last_blocked(&self) -> Instant {
        if self.is_blocked() { Instant::now() } else { self.last_progress() }
    }

    fn last_progress(&self) -> Instant {
        self.opened + Duration::from_micros(self.since.load(Relaxed))
    }
}
