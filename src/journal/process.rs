//! What the journals of a process share: their bound, and preflights, which belong to no namespace.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};

use super::{entry::Preflight, scrub};
use crate::clock;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Entries of a namespace.
    pub(crate) entries: usize,
    /// Bytes of a request's body.
    pub(crate) body: usize,
    /// Bytes of the frames of one response.
    pub(crate) frames: usize,
    /// Bytes of a namespace.
    pub(crate) namespace: usize,
    /// Bytes of the process.
    pub(crate) process: usize,
    /// Listeners to the events of a namespace.
    pub(crate) listeners: usize,
}

/// The bounds of every process.
pub(crate) const BOUNDS: Bounds = Bounds {
    entries: 1_000,
    body: 64 * 1024,
    frames: 256 * 1024,
    namespace: 16 * 1024 * 1024,
    process: 256 * 1024 * 1024,
    listeners: 16,
};

/// How long a preflight waits for its request.
const PREFLIGHT_LIFE: Duration = Duration::from_mins(1);
/// How many preflights wait for their requests.
const MOST_PREFLIGHTS: usize = 256;

/// What the journals of a process share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Process(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    /// How many bytes all journals take.
    bytes: AtomicUsize,
    journals: Mutex<Vec<Weak<dyn Bounded>>>,
    preflights: Mutex<VecDeque<SeenPreflight>>,
}

/// A journal of which the oldest entries can be dropped.
pub(super) trait Bounded: fmt::Debug + Send + Sync {
    /// When the oldest entry arrived; `None` if there is at most one: the latest is never dropped.
    fn oldest(&self) -> Option<Instant>;

    /// Drops the oldest entry.
    fn drop_oldest(&self);
}

/// A preflight whose request has not arrived.
#[derive(Debug)]
pub(crate) struct SeenPreflight {
    arrived: Instant,
    real_at: DateTime<Utc>,
    origin: String,
    method: String,
    target: String,
    status: u16,
}

impl SeenPreflight {
    /// A preflight that has just arrived; `None` if the request is none.
    pub(crate) fn of(head: &Parts) -> Option<Self> {
        if head.method != Method::OPTIONS {
            return None;
        }
        Some(Self {
            arrived: Instant::now(),
            real_at: clock::real_now(),
            origin: text(&head.headers, header::ORIGIN)?.to_owned(),
            method: text(&head.headers, header::ACCESS_CONTROL_REQUEST_METHOD)?.to_owned(),
            target: target(head),
            status: 0,
        })
    }
}

impl Process {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self(Arc::new(Shared {
            bounds,
            bytes: AtomicUsize::new(0),
            journals: Mutex::default(),
            preflights: Mutex::default(),
        }))
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.0.bounds
    }

    pub(super) fn add(&self, journal: &Arc<dyn Bounded>) {
        let mut journals = lock(&self.0.journals);
        journals.retain(|journal| journal.strong_count() > 0);
        journals.push(Arc::downgrade(journal));
    }

    pub(super) fn grow(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Relaxed);
    }

    pub(super) fn shrink(&self, bytes: usize) {
        self.0.bytes.fetch_sub(bytes, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes.load(Relaxed)
    }

    /// Removes the oldest entries of all namespaces until the rest is within the bound. The caller holds no lock of a
    /// journal.
    pub(super) fn enforce(&self) {
        while self.0.bytes.load(Relaxed) > self.0.bounds.process {
            let journals: Vec<Arc<dyn Bounded>> = lock(&self.0.journals).iter().filter_map(Weak::upgrade).collect();
            let oldest = journals.iter().filter_map(|journal| Some((journal.oldest()?, journal)));
            let Some((_, journal)) = oldest.min_by_key(|(arrived, _)| *arrived) else { return };
            journal.drop_oldest();
        }
    }

    /// Notes a preflight and the status of its response, until its request arrives.
    pub(crate) fn note_preflight(&self, preflight: SeenPreflight, status: StatusCode) {
        let mut preflights = lock(&self.0.preflights);
        while preflights.len() >= MOST_PREFLIGHTS
            || preflights.front().is_some_and(|first| first.arrived.elapsed() > PREFLIGHT_LIFE)
        {
            preflights.pop_front();
        }
        preflights.push_back(SeenPreflight { status: status.as_u16(), ..preflight });
    }

    /// Takes the preflight that came before a request.
    pub(super) fn take_preflight(&self, origin: &str, method: &str, target: &str) -> Option<Preflight> {
        let mut preflights = lock(&self.0.preflights);
        let index = preflights.iter().rposition(|waiting| {
            waiting.origin == origin
                && waiting.method == method
                && waiting.target == target
                && waiting.arrived.elapsed() <= PREFLIGHT_LIFE
        })?;
        let found = preflights.remove(index)?;
        Some(Preflight { at: found.real_at, status: found.status })
    }
}

/// The longest target that is kept, in bytes.
const MOST_TARGET: usize = 8 * 1024;

/// The target of a request, without credentials.
pub(super) fn target(head: &Parts) -> String {
    let sent = head.uri.path_and_query().map_or_else(|| head.uri.path(), |target| target.as_str());
    let mut target = scrub::target(sent);
    if target.len() > MOST_TARGET {
        target.truncate(target.floor_char_boundary(MOST_TARGET));
    }
    target
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
