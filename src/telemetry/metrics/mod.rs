//! Metrics for Prometheus.
//!
//! The labels are operation, status and code, all from sets that are known at compile time. So a counter is found by its
//! index, and counting takes no lock and builds no text. An operation's counters are created with its first request.

mod exposition;
mod histogram;
pub(crate) mod listener;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;

pub(crate) use self::exposition::{CONTENT_TYPE, Exposition};
use self::histogram::Histogram;
use crate::{
    access::Operation,
    clock::{self, Millis},
    error::Code,
    request::waits::Waits,
};

/// The smallest status of HTTP.
const FIRST_STATUS: u16 = 100;
/// How many statuses have a counter of their own.
const STATUSES: usize = 500;
/// The index of the counter for all other statuses.
const OTHER_STATUS: usize = STATUSES;

/// The upper bounds of the buckets for Gatelet's own time, in seconds.
const OVERHEAD: &[f64] = &[0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 1.0];
/// The upper bounds of the buckets for an upstream's time, in seconds.
const UPSTREAM: &[f64] = &[0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// The metrics of a process. They exist only if they are served.
#[derive(Debug)]
pub struct Metrics {
    started_at: Millis,
    /// One entry for each operation, and a last one for requests without an operation.
    operations: Box<[OnceLock<Box<Counters>>]>,
    open_streams: AtomicU64,
    token_hits: AtomicU64,
    token_misses: AtomicU64,
}

/// The metrics of one operation.
#[derive(Debug)]
struct Counters {
    /// Responses without one of Gatelet's error codes, by status.
    passed: [AtomicU64; STATUSES + 1],
    /// Gatelet's own errors, by code.
    refused: [AtomicU64; Code::ALL.len()],
    overhead: Histogram,
    upstream: Histogram,
}

/// A handled request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestSample {
    /// The operation, if the request named one.
    pub(crate) operation: Option<Operation>,
    /// The status of the response.
    pub(crate) status: StatusCode,
    /// The error code, if it is one of Gatelet's errors.
    pub(crate) code: Option<Code>,
    /// Whether the client token was found in the cache, if there was one.
    pub(crate) remembered: Option<bool>,
    /// The time from the request's head to the response's head.
    pub(crate) duration: Duration,
    /// How much of the duration was spent waiting for the client and the upstream.
    pub(crate) waits: Waits,
}

/// How many requests were handled.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Totals {
    /// By the class of their status: 1xx first, 5xx last.
    pub(crate) classes: [u64; 5],
    /// Gatelet's own errors that occurred, by code.
    pub(crate) refused: Vec<(&'static str, u64)>,
}

/// Counts as one open stream until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<Metrics>);

impl Metrics {
    /// Metrics at zero.
    #[must_use]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            started_at: clock::real_now_millis(),
            operations: (0..=Operation::ALL.len()).map(|_| OnceLock::new()).collect(),
            open_streams: AtomicU64::new(0),
            token_hits: AtomicU64::new(0),
            token_misses: AtomicU64::new(0),
        })
    }

    /// Counts a request.
    pub(crate) fn count(&self, request: &RequestSample) {
        let index = request.operation.map_or(Operation::ALL.len(), |operation| operation as usize);
        let counters = self.operations[index].get_or_init(Counters::new);
        let counter = match request.code {
            Some(code) => &counters.refused[code as usize],
            None => {
                let status = usize::from(request.status.as_u16().saturating_sub(FIRST_STATUS));
                &counters.passed[status.min(OTHER_STATUS)]
            }
        };
        counter.fetch_add(1, Relaxed);
        counters.overhead.observe(request.duration.saturating_sub(request.waits.total));
        if let Some(duration) = request.waits.first_byte {
            counters.upstream.observe(duration);
        }
        match request.remembered {
            Some(true) => _ = self.token_hits.fetch_add(1, Relaxed),
            Some(false) => _ = self.token_misses.fetch_add(1, Relaxed),
            None => {}
        }
    }

    /// The requests of all operations.
    #[must_use]
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        let mut add = |status: usize, count: u64| {
            let class = (status / 100).clamp(1, totals.classes.len());
            totals.classes[class - 1] += count;
        };
        let operations: Vec<&Counters> = self.operations.iter().filter_map(OnceLock::get).map(AsRef::as_ref).collect();
        for counters in &operations {
            for (status, count) in (usize::from(FIRST_STATUS)..).zip(&counters.passed) {
                add(status, count.load(Relaxed));
            }
        }
        for code in Code::ALL {
            let count = operations.iter().map(|counters| counters.refused[*code as usize].load(Relaxed)).sum();
            add(usize::from(code.status().as_u16()), count);
            if count > 0 {
                totals.refused.push((code.word(), count));
            }
        }
        totals
    }

    /// Counts a stream until the result is dropped.
    #[must_use]
    pub(crate) fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.open_streams.fetch_add(1, Relaxed);
        OpenStream(Arc::clone(self))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open_streams.fetch_sub(1, Relaxed);
    }
}

impl Counters {
    fn new() -> Box<Self> {
        Box::new(Self {
            passed: [const { AtomicU64::new(0) }; STATUSES + 1],
            refused: [const { AtomicU64::new(0) }; Code::ALL.len()],
            overhead: Histogram::new(OVERHEAD),
            upstream: Histogram::new(UPSTREAM),
        })
    }
}
