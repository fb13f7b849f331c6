//! What is counted, for Prometheus.
//!
//! Labels are the operation, the status and the code, all from closed sets that are known beforehand. So every counter
//! has its place: counting finds it by index, takes no lock and builds no text. What an operation needs is made when it
//! is first asked for.

mod exposition;
mod histogram;
pub mod listener;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;

pub use self::exposition::{CONTENT_TYPE, Exposition};
use self::histogram::Histogram;
use crate::{
    access::Operation,
    clock::{self, Millis},
    error::Code,
    request::waits::Waits,
};

/// The smallest status that HTTP has, how many follow it, and the place of all others.
const FIRST_STATUS: u16 = 100;
const STATUSES: usize = 500;
const OTHER_STATUS: usize = STATUSES;

/// The upper bounds of what Gatelet itself takes, in seconds.
const OVERHEAD: &[f64] = &[0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 1.0];
/// The upper bounds of what an upstream takes, in seconds.
const UPSTREAM: &[f64] = &[0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// All that is counted. It is there only when someone may read it.
#[derive(Debug)]
pub struct Metrics {
    started_at: Millis,
    /// One place for each operation, and the last for requests that name none.
    operations: Box<[OnceLock<Box<Counters>>]>,
    open_streams: AtomicU64,
    token_hits: AtomicU64,
    token_misses: AtomicU64,
}

/// What is counted of one operation.
#[derive(Debug)]
struct Counters {
    /// Answers without a code of ours, by status.
    passed: [AtomicU64; STATUSES + 1],
    /// Refusals and failures of ours, by code.
    refused: [AtomicU64; Code::ALL.len()],
    overhead: Histogram,
    upstream: Histogram,
}

/// A request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// What was asked for.
    pub operation: Option<Operation>,
    /// The answer's status.
    pub status: StatusCode,
    /// Why it was refused, if it was.
    pub code: Option<Code>,
    /// Whether the client token was remembered, if there was one.
    pub remembered: Option<bool>,
    /// From the request's head to the answer's.
    pub duration: Duration,
    /// How much of it was spent waiting for others.
    pub waits: Waits,
}

/// A stream that is open; it is no longer when this is dropped.
#[derive(Debug)]
pub struct OpenStream(Arc<Metrics>);

impl Metrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            started_at: clock::now_millis(),
            operations: (0..=Operation::ALL.len()).map(|_| OnceLock::new()).collect(),
            open_streams: AtomicU64::new(0),
            token_hits: AtomicU64::new(0),
            token_misses: AtomicU64::new(0),
        })
    }

    /// Counts a request.
    pub fn count(&self, answered: &Answered) {
        let place = answered.operation.map_or(Operation::ALL.len(), |operation| operation as usize);
        let counters = self.operations[place].get_or_init(Counters::new);
        let outcome = match answered.code {
            Some(code) => &counters.refused[code as usize],
            None => {
                let status = usize::from(answered.status.as_u16().saturating_sub(FIRST_STATUS));
                &counters.passed[status.min(OTHER_STATUS)]
            }
        };
        outcome.fetch_add(1, Relaxed);
        counters.overhead.observe(answered.duration.saturating_sub(answered.waits.total));
        if let Some(duration) = answered.waits.first_byte {
            counters.upstream.observe(duration);
        }
        match answered.remembered {
            Some(true) => _ = self.token_hits.fetch_add(1, Relaxed),
            Some(false) => _ = self.token_misses.fetch_add(1, Relaxed),
            None => {}
        }
    }

    /// Counts a stream for as long as it is open.
    #[must_use]
    pub fn open_stream(self: &Arc<Self>) -> OpenStream {
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
