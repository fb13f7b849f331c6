//! The metrics in the text format of `OpenMetrics` 1.0, which Prometheus reads.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use super::{Counters, FIRST_STATUS, Histogram, Metrics, OTHER_STATUS};
use crate::{
    access::{Feed, Operation},
    error::Code,
};

/// The media type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of a process, ready to be encoded.
#[derive(Debug)]
pub(crate) struct Exposition(Registry);

#[derive(Debug)]
struct ProcessCollector {
    metrics: Arc<Metrics>,
    feed: Feed,
}

impl Exposition {
    /// The metrics of a process, the age of its revocation feed, and what `others` collect.
    #[must_use]
    pub(crate) fn new(metrics: Arc<Metrics>, feed: Feed, others: Vec<Box<dyn Collector>>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessCollector { metrics, feed }));
        for collector in others {
            registry.register_collector(collector);
        }
        Self(registry)
    }

    /// The current values as text.
    ///
    /// # Errors
    /// Never, because it is written to memory.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let metrics = &self.metrics;
        self.requests(family(encoder, "gatelet_requests", "Requests that were handled", MetricType::Counter)?)?;
        let help = "Requests that were refused because their client token exceeded its quota";
        let limited = self.used().map(|(_, counters)| counters.refused[Code::RateLimited as usize].load(Relaxed));
        counter(family(encoder, "gatelet_rate_limited", help, MetricType::Counter)?, limited.sum())?;
        let help = "From the head of a request to the head of its response, without the time spent waiting for the \
                    client's body and for the upstream";
        let overhead = family(encoder, "gatelet_overhead_seconds", help, MetricType::Histogram)?;
        self.histograms(overhead, |counters| &counters.overhead)?;
        let help = "From forwarding a request to the head of the upstream's response";
        let upstream = family(encoder, "gatelet_upstream_first_byte_seconds", help, MetricType::Histogram)?;
        self.histograms(upstream, |counters| &counters.upstream)?;
        let help = "Event streams that are open";
        let open = metrics.open_streams.load(Relaxed);
        family(encoder, "gatelet_open_streams", help, MetricType::Gauge)?.encode_gauge(&open)?;
        let help = "Client tokens that were found in the cache";
        let hits = family(encoder, "gatelet_token_cache_hits", help, MetricType::Counter)?;
        counter(hits, metrics.token_hits.load(Relaxed))?;
        let help = "Client tokens whose signature had to be verified";
        let misses = family(encoder, "gatelet_token_cache_misses", help, MetricType::Counter)?;
        counter(misses, metrics.token_misses.load(Relaxed))?;
        let help = "Time since the revocations of all processes were last read, in seconds";
        let age = self.feed.age().as_secs_f64();
        family(encoder, "gatelet_revocation_feed_age_seconds", help, MetricType::Gauge)?.encode_gauge(&age)?;
        let help = "When the process started, in seconds since 1970";
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 take 41 bits")]
        let started = metrics.started_at as f64 / 1_000.0;
        family(encoder, "process_start_time_seconds", help, MetricType::Gauge)?.encode_gauge(&started)
    }
}

impl ProcessCollector {
    /// The operations that have counters, and `None` for requests without an operation.
    fn used(&self) -> impl Iterator<Item = (Option<Operation>, &Counters)> {
        let operations = Operation::ALL.iter().copied().map(Some).chain([None]);
        let counters = self.metrics.operations.iter().map(|counters| counters.get());
        operations.zip(counters).filter_map(|(operation, counters)| Some((operation, &**counters?)))
    }

    fn requests(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (operation, counters) in self.used() {
            let operation = name(operation);
            let passed = counters.passed.iter().enumerate().map(|(index, count)| {
                let status =
                    if index == OTHER_STATUS { "other".into() } else { status(usize::from(FIRST_STATUS) + index) };
                (status, "", count)
            });
            let refused = Code::ALL
                .iter()
                .map(|code| (status(code.status().as_u16().into()), code.word(), &counters.refused[*code as usize]));
            for (status, code, count) in passed.chain(refused) {
                let count = count.load(Relaxed);
                if count > 0 {
                    let labels = [("operation", operation.as_str()), ("status", &status), ("code", code)];
                    counter(encoder.encode_family(&labels)?, count)?;
                }
            }
        }
        Ok(())
    }

    fn histograms(&self, mut encoder: MetricEncoder<'_>, histogram: fn(&Counters) -> &Histogram) -> fmt::Result {
        for (operation, counters) in self.used() {
            let Some(snapshot) = histogram(counters).snapshot() else { continue };
            let labels = [("operation", name(operation))];
            let mut encoder = encoder.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabelSet>(snapshot.sum, snapshot.count, &snapshot.buckets, None)?;
        }
        Ok(())
    }
}

fn family<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, kind)
}

fn counter(mut encoder: MetricEncoder<'_>, count: u64) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

fn name(operation: Option<Operation>) -> String {
    operation.map_or_else(|| "none".to_owned(), |operation| operation.to_string())
}

fn status(status: usize) -> String {
    status.to_string()
}
