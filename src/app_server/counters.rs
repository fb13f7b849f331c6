//! Metrics of the sockets.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{Command, frame::Close};

/// What became of a frame of a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ruling {
    /// It was rebuilt and sent to the App Server.
    Forwarded,
    /// The gate responded to it itself.
    Answered,
    /// It was refused.
    Refused,
    /// It had no effect, and nobody was told.
    Ignored,
}

impl Ruling {
    const ALL: [Self; 4] = [Self::Forwarded, Self::Answered, Self::Refused, Self::Ignored];

    /// Its name in metrics and log lines.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
        }
    }
}

/// The metrics of all sockets of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Counters(Arc<State>);

#[derive(Debug)]
struct State {
    /// By command, with a last row for types that are not in the table; and by ruling.
    frames: Box<[[AtomicU64; Ruling::ALL.len()]]>,
    open: AtomicU64,
    lingering: AtomicU64,
    sent: AtomicU64,
    /// Frames of the server that a page did not get, by reason.
    dropped: Mutex<BTreeMap<&'static str, u64>>,
    /// Closed sockets by code and reason.
    closed: Mutex<BTreeMap<(u16, &'static str), u64>>,
}

/// Counts something until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    counters: Counters,
    what: fn(&State) -> &AtomicU64,
}

impl Counters {
    pub(super) fn new() -> Self {
        let rows = (0..=Command::ALL.len()).map(|_| [const { AtomicU64::new(0) }; Ruling::ALL.len()]);
        Self(Arc::new(State {
            frames: rows.collect(),
            open: AtomicU64::new(0),
            lingering: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            dropped: Mutex::default(),
            closed: Mutex::default(),
        }))
    }

    pub(super) fn frame(&self, command: Option<Command>, ruling: Ruling) {
        let row = command.map_or(Command::ALL.len(), |command| command as usize);
        self.0.frames[row][ruling as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn sent(&self) {
        self.0.sent.fetch_add(1, Relaxed);
    }

    pub(super) fn dropped(&self, reason: &'static str) {
        *self.0.dropped.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub(super) fn closed(&self, close: Close) {
        let mut closed = self.0.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *closed.entry((close.code, close.reason)).or_default() += 1;
    }

    /// Counts an open socket until the result is dropped.
    pub(super) fn open(&self) -> Counted {
        self.count(|state| &state.open)
    }

    /// Counts a socket to the App Server whose page is gone.
    pub(super) fn lingering(&self) -> Counted {
        self.count(|state| &state.lingering)
    }

    fn count(&self, what: fn(&State) -> &AtomicU64) -> Counted {
        what(&self.0).fetch_add(1, Relaxed);
        Counted { counters: self.clone(), what }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.what)(&self.counters.0).fetch_sub(1, Relaxed);
    }
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let state = &*self.0;
        let help = "Sockets of clients that are open";
        family(encoder, "gatelet_app_server_sockets", help, MetricType::Gauge)?
            .encode_gauge(&state.open.load(Relaxed))?;
        let help = "Sockets to the App Server that stay for a turn whose page is gone";
        family(encoder, "gatelet_app_server_lingering_sockets", help, MetricType::Gauge)?
            .encode_gauge(&state.lingering.load(Relaxed))?;
        let help = "Frames of pages, by command and by what became of them";
        let mut frames = family(encoder, "gatelet_app_server_frames", help, MetricType::Counter)?;
        let commands = Command::ALL.iter().map(|command| command.name()).chain(["other"]);
        for (command, row) in commands.zip(&state.frames) {
            for (ruling, count) in Ruling::ALL.iter().zip(row) {
                let labels = [("command", command), ("ruling", ruling.word())];
                counter(&mut frames, &labels, count.load(Relaxed))?;
            }
        }
        let help = "Frames of App Servers that were sent to pages";
        let mut sent = family(encoder, "gatelet_app_server_events", help, MetricType::Counter)?;
        sent.encode_counter::<NoLabelSet, _, u64>(&state.sent.load(Relaxed), None)?;
        let help = "Frames of App Servers that pages do not get, by reason";
        let mut dropped = family(encoder, "gatelet_app_server_dropped_events", help, MetricType::Counter)?;
        for (reason, count) in &*state.dropped.lock().unwrap_or_else(PoisonError::into_inner) {
            counter(&mut dropped, &[("reason", *reason)], *count)?;
        }
        let help = "Sockets of clients that were closed, by close code and reason";
        let mut closed = family(encoder, "gatelet_app_server_closed_sockets", help, MetricType::Counter)?;
        for ((code, reason), count) in &*state.closed.lock().unwrap_or_else(PoisonError::into_inner) {
            counter(&mut closed, &[("code", code.to_string().as_str()), ("reason", *reason)], *count)?;
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

fn counter<const N: usize>(family: &mut MetricEncoder<'_>, labels: &[(&str, &str); N], count: u64) -> fmt::Result {
    if count == 0 {
        return Ok(());
    }
    family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}
