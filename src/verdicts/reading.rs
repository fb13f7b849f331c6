//! Rules on reading: too little, and too often.

use super::{
    finding::Found,
    recent::Recent,
    rules::Rule,
    seen::{Key, SECOND, Seen, Threads, key},
    sends::Send,
};
use crate::{access::Operation, journal::Identified};

/// How many runs and addresses are remembered.
const MOST: usize = 256;
/// How long a run may wait for somebody to read it.
const PATIENCE: i64 = 2 * SECOND;
/// How many equal requests a second are not yet a storm.
const CALM: u32 = 5;
/// Into how many parts a second is divided, and how many there are in two.
const PARTS: i64 = 4;
const COUNTS: usize = 8;

#[derive(Debug)]
pub(super) struct Reading {
    /// By run: the background runs that nobody has read.
    unread: Recent<Key, Unread>,
    /// By caller and address: how often it is read.
    reads: Recent<Key, Reads>,
}

#[derive(Debug)]
struct Unread {
    id: u64,
    run: Box<str>,
    threads: Threads,
    began: i64,
    caller: Identified,
}

/// How often an address was read in the last two seconds.
#[derive(Debug, Default)]
struct Reads {
    /// The number of the latest part.
    part: i64,
    counts: [u32; COUNTS],
    first: u64,
}

impl Default for Reading {
    fn default() -> Self {
        Self { unread: Recent::of(MOST), reads: Recent::of(MOST) }
    }
}

impl Reading {
    /// A request that reads, or ends what is pending.
    pub(super) fn looked(&mut self, seen: &Seen<'_>) {
        if self.unread.is_empty() {
            return;
        }
        let path = seen.entry.target.split('?').next().unwrap_or_default();
        match path.split('/').find(|segment| segment.starts_with("run-")) {
            Some(run) => drop(self.unread.remove(&key(run))),
            None => self.unread.retain(|_, unread| !seen.threads.cover(unread.threads)),
        }
    }

    pub(super) fn read(&mut self, seen: &Seen<'_>, found: &mut Vec<Found>) {
        if seen.caller.is_none() {
            return;
        }
        let reads = self.reads.entry(seen.target(), Reads::default);
        if reads.is_storm_at(seen.arrived, seen.entry.id) {
            let evidence = [reads.first, seen.entry.id];
            // A storm that goes on counts again after two more seconds.
            *reads = Reads::default();
            let sentence = format!(
                "{} {} was read more than {CALM} times a second for two seconds.",
                seen.entry.method, seen.entry.target
            );
            found.push(Found::new(Rule::PollingStorm, seen, evidence, sentence));
        }
    }

    /// A run in the background was started.
    pub(super) fn ended(&mut self, seen: &Seen<'_>, send: &Send) {
        if seen.entry.operation != Some(Operation::SendMessageAsync) || send.has_callback {
            return;
        }
        let Some(run) = seen.entry.answer.as_ref().and_then(|answer| answer.run_id.clone()) else { return };
        let unread =
            Unread { id: send.id, threads: send.threads, began: send.arrived, caller: seen.entry.caller.clone(), run };
        self.unread.insert(key(&*unread.run), unread);
    }

    /// The runs that nobody has read. Before the end, one that began just now may still be read.
    pub(super) fn unread(&self, now: i64, is_over: bool) -> Vec<Found> {
        let late = self.unread.values().filter(|(_, unread)| is_over || now - unread.began > PATIENCE);
        let found = late.map(|(_, unread)| {
            let sentence = format!(
                "Entry {} starts {}, and nobody has read the run, its messages or the history.",
                unread.id, unread.run
            );
            Found::of(Rule::RunNeverRead, &unread.caller, [unread.id], sentence)
        });
        found.collect()
    }
}

impl Reads {
    /// Counts a request. Whether both of the last two seconds had too many.
    fn is_storm_at(&mut self, at: i64, id: u64) -> bool {
        let part = at.div_euclid(SECOND / PARTS);
        let passed = part - self.part;
        if (0..2 * PARTS).contains(&passed) {
            for passed in self.part + 1..=part {
                self.counts[place(passed)] = 0;
            }
        } else {
            (self.counts, self.first) = ([0; COUNTS], id);
        }
        self.part = part;
        self.counts[place(part)] += 1;
        let sum = |from: i64, to: i64| (from..to).map(|part| self.counts[place(part)]).sum::<u32>();
        sum(part - PARTS + 1, part + 1) > CALM && sum(part - 2 * PARTS + 1, part - PARTS + 1) > CALM
    }
}

fn place(part: i64) -> usize {
    usize::try_from(part.rem_euclid(2 * PARTS)).unwrap_or(0)
}
