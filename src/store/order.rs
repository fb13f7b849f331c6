//! The order in which transactions lock documents, which keeps them from deadlocking.
//!
//! - A transaction names all documents that it is going to change at once, as [`super::Locks`], and [`super::Tx::lock`]
//!   locks them in the order of `KINDS` and, within a kind, of their ids. It may lock more later, but only what comes
//!   later in that order.
//! - A document whose kind is not in `KINDS` is changed only under a lock on the document that it belongs to.
//! - A link is made and removed only under a lock on the document that it starts from (or, for the link to an unfinished
//!   run, on the run). Making one takes a lock on both ends, so that no link leads to a deleted document.
//! - Names come last. A transaction takes one name, or calls [`super::Tx::lock_names`] before it takes several.
//!
//! Debug builds, and so all tests, panic where a transaction breaks a rule.

use std::collections::{BTreeSet, HashSet};

/// The kinds of documents that are locked, in this order. What agents share comes before agents: to change a block is
/// to lock it, and then the agents that show it.
pub(super) const KINDS: &[&str] = &[
    "template",
    "deployment",
    "project",
    "provider",
    "job",
    "batch",
    "mcp_server",
    "identity",
    "block",
    "source",
    "tool",
    "agent",
    "conversation",
    "scheduled_message",
    "run",
    "step",
    "group",
    "archive",
    "passage",
];

/// The prefix of targets whose links may be changed under a lock on the target alone.
const RUN: &str = "run-";

/// A kind's position in `KINDS`.
pub(super) fn place(kind: &str) -> Option<usize> {
    KINDS.iter().position(|known| *known == kind)
}

/// What a transaction has locked. Only debug builds keep track.
#[derive(Debug, Default)]
pub(super) struct Order {
    locked: BTreeSet<(usize, String)>,
    /// The ids of the documents that it has locked or made.
    ids: HashSet<String>,
    has_name: bool,
    pub(super) takes_several_names: bool,
}

impl Order {
    pub(super) fn lock(&mut self, kind: &str, id: &str) {
        if !cfg!(debug_assertions) {
            return;
        }
        let place = place(kind);
        debug_assert!(place.is_some(), "documents of the kind {kind} are not locked by themselves");
        // No other transaction sees what this one has made.
        if self.ids.contains(id) {
            return;
        }
        let lock = (place.unwrap_or(KINDS.len()), id.to_owned());
        let last = self.locked.last();
        debug_assert!(last.is_none_or(|last| *last < lock), "{lock:?} is locked after {last:?}");
        debug_assert!(!self.has_name, "{kind} {id} is locked after a name was taken");
        self.locked.insert(lock);
        self.ids.insert(id.to_owned());
    }

    /// Notes that a document was made.
    pub(super) fn made(&mut self, id: &str) {
        if cfg!(debug_assertions) {
            self.ids.insert(id.to_owned());
        }
    }

    /// Checks that a document may be changed or deleted.
    pub(super) fn changes(&self, kind: &str, id: &str) {
        debug_assert!(
            place(kind).is_none() || self.ids.contains(id),
            "{kind} {id} is changed by a transaction that has not locked it"
        );
    }

    /// Checks that a link may be made or removed.
    pub(super) fn links(&self, kind: &str, source: &str, target: &str) {
        debug_assert!(
            self.ids.contains(source) || target.starts_with(RUN) && self.ids.contains(target),
            "a link {kind} from {source} to {target} is changed by a transaction that has not locked {source}"
        );
    }

    /// Checks that the links from a document may be removed.
    pub(super) fn links_of(&self, source: &str) {
        debug_assert!(
            self.ids.contains(source),
            "the links from {source} are removed by a transaction that has not locked it"
        );
    }

    /// Notes that a name is taken, and checks that it may be.
    pub(super) fn name(&mut self, name: &str) {
        debug_assert!(
            self.takes_several_names || !self.has_name,
            "a second name, {name}, is taken without Tx::lock_names"
        );
        self.has_name = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_later_may_be_locked_later_and_anything_again() {
        let mut order = Order::default();
        for (kind, id) in [("block", "b"), ("agent", "a"), ("agent", "c"), ("block", "b"), ("run", "a-run")] {
            order.lock(kind, id);
        }
        order.made("made");
        order.lock("identity", "made");
    }

    #[test]
    #[should_panic(expected = "is locked after")]
    fn what_comes_earlier_may_not() {
        let mut order = Order::default();
        order.lock("agent", "b");
        order.lock("agent", "a");
    }

    #[test]
    #[should_panic(expected = "has not locked")]
    fn what_is_not_locked_may_not_be_changed() {
        Order::default().changes("agent", "a");
    }

    #[test]
    #[should_panic(expected = "without Tx::lock_names")]
    fn names_are_not_taken_one_by_one() {
        let mut order = Order::default();
        order.name("a");
        order.name("b");
    }
}
