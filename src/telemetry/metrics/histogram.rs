//! A histogram of durations.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// A histogram of durations. Unlike the one of `prometheus_client`, it takes no lock.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The upper bounds of the buckets in seconds, ascending.
    bounds: &'static [f64],
    /// One count for each bound, and one for longer durations.
    counts: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// The sum of the durations, in seconds.
    pub(crate) sum: f64,
    pub(crate) count: u64,
    /// Each upper bound, with the count between the previous bound and this one.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_nanos: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The current values; `None` if nothing was observed.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<_> = self.bounds.iter().copied().chain([f64::INFINITY]).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.sum_nanos.load(Relaxed)).as_secs_f64();
        (count > 0).then_some(Snapshot { sum, count, buckets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::new(&[0.001, 0.01]);
        assert_eq!(histogram.snapshot(), None);
        for micros in [0, 1_000, 1_001, 10_000, 3_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let snapshot = histogram.snapshot().unwrap();
        assert_eq!(snapshot.buckets, [(0.001, 2), (0.01, 2), (f64::INFINITY, 1)]);
        assert_eq!(snapshot.count, 5);
        assert!((snapshot.sum - 3.012_001).abs() < 1e-9, "{}", snapshot.sum);
    }
}
