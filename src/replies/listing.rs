//! The replies of a world in the order in which they are tried.

use std::{
    cmp::Reverse,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    criteria::Situation,
    definition::Reply,
    index::{Bits, Index},
};

/// What an agent says if no reply fits.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unmatched {
    /// What the mock says without replies.
    #[default]
    Echo,
    /// Nothing: the turn fails, and says which replies come nearest.
    Refuse,
}

/// Where a reply is from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// It was added at run time.
    RunTime,
    /// It is from a script.
    File,
}

/// A reply in a listing.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) reply: Arc<Reply>,
    pub(super) source: Source,
    /// The call that added it; replies of later calls come first.
    pub(super) batch: u64,
    hits: AtomicU64,
}

impl Entry {
    pub(super) fn new(reply: Arc<Reply>, source: Source, batch: u64, hits: u64) -> Self {
        Self { reply, source, batch, hits: AtomicU64::new(hits) }
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Relaxed)
    }

    /// Counts a use.
    pub(super) fn count_hit(&self) {
        self.hits.fetch_add(1, Relaxed);
    }

    /// Whether it was chosen as often as it may be.
    pub(super) fn is_used_up(&self) -> bool {
        self.reply.times.is_some_and(|times| self.hits() >= times)
    }

    pub(super) fn to_json(&self) -> Value {
        let hits = self.hits();
        json!({
            "id": self.reply.id,
            "source": self.source,
            "hits": hits,
            "left": self.reply.times.map(|times| times.saturating_sub(hits)),
            "priority": self.reply.priority,
            "definition": self.reply.definition,
        })
    }
}

/// Replies in the order in which they are tried.
#[derive(Debug, Default)]
pub(super) struct Listing {
    entries: Vec<Arc<Entry>>,
    index: Index,
    /// Whether one may take over from another within a turn.
    has_late: bool,
    pub(super) needs_turn: bool,
}

impl Listing {
    pub(super) fn new(mut entries: Vec<Arc<Entry>>) -> Self {
        // Stable: within a call and within a script the first comes first.
        entries.sort_by_key(|entry| (entry.source, entry.reply.priority, Reverse(entry.batch)));
        Self {
            index: Index::new(entries.iter().map(|entry| &*entry.reply.required)),
            has_late: entries.iter().any(|entry| entry.reply.is_late()),
            needs_turn: entries.iter().any(|entry| entry.reply.needs.turn_to_match || entry.reply.needs.turn_to_say),
            entries,
        }
    }

    pub(super) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The replies that a text may fit.
    pub(super) fn candidates(&self, text: &str) -> Bits {
        self.index.candidates(text)
    }

    /// The first reply that fits and has not been used up.
    pub(super) fn find(&self, situation: &Situation<'_>, only_late: bool) -> Option<&Arc<Entry>> {
        if self.entries.is_empty() || only_late && !self.has_late {
            return None;
        }
        let candidates = self.candidates(situation.facts.text);
        let mut entries = self.entries.iter().enumerate();
        let found = entries.find(|(position, entry)| {
            candidates.has(*position)
                && (!only_late || entry.reply.is_late())
                && !entry.is_used_up()
                // What was said to one agent is not said to those that think about it in the background.
                && (!situation.facts.is_sleeptime || entry.reply.names_agent())
                && entry.reply.criteria.iter().all(|criterion| criterion.fits(situation))
        });
        found.map(|(_, entry)| entry)
    }
}
