//! When a namespace was last used, and how many streams of it are open.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use crate::world::{self, Micros};

/// The activity of a namespace. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    last_used: AtomicI64,
    streams: AtomicUsize,
}

/// An open stream of a namespace, until it is dropped.
#[derive(Debug)]
pub(crate) struct ActiveStream(Activity);

impl Activity {
    /// The activity of a namespace that is used now.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self(Arc::new(Counts { last_used: AtomicI64::new(world::real_now()), streams: AtomicUsize::new(0) }))
    }

    /// Notes that the namespace is used.
    pub(crate) fn touch(&self) {
        self.0.last_used.store(world::real_now(), Ordering::Relaxed);
    }

    /// When it was last used, by the real clock.
    #[must_use]
    pub(crate) fn last_used(&self) -> Micros {
        self.0.last_used.load(Ordering::Relaxed)
    }

    /// How many streams are open.
    #[must_use]
    pub(crate) fn streams(&self) -> usize {
        self.0.streams.load(Ordering::Relaxed)
    }

    pub(super) fn open_stream(&self) -> ActiveStream {
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        ActiveStream(self.clone())
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        self.0.0.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.touch();
    }
}
