//! The order in which a transaction locks documents. Two transactions that lock the same documents in different orders may
//! wait for each other; here no transaction can.
//!
//! - A transaction names all documents that it is going to change at once, as [`Locks`], and [`Tx::lock`] locks them in the
//!   order of `KINDS` and, within a kind, of their ids. It may lock more later, but only what comes later in that order.
//! - What is not in `KINDS` is changed only by who has locked the document that it belongs to.
//! - A link is made and removed only by who has locked the document that it starts from (that of a run that has not ended:
//!   or the run). Who makes one has locked both ends, so that none leads to nothing.
//! - Names come last, and a transaction takes one of them, or all that it takes after [`Tx::lock_names`].
//!
//! Debug builds, and so all tests, fail where a transaction does otherwise.

use std::collections::{BTreeSet, HashSet};

/// The kinds of documents that are locked, in this order. What agents share is locked before they are: who changes a block
/// locks it and then looks for the agents that show it.
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

/// Where links lead that are also changed by who has locked their target alone.
const RUN: &str = "run-";

/// A kind's position in `KINDS`.
pub(super) fn place(kind: &str) -> Option<usize> {
    KINDS.iter().position(|known| *known == kind)
}

/// What a transaction has locked. Only debug builds remember it.
#[derive(Debug, Default)]
pub(super) struct Order {
    locked: BTreeSet<(usize, String)>,
    /// The ids of what it has locked or made.
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
        // What it has made, nobody else sees.
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

    /// A document was made.
    pub(super) fn made(&mut self, id: &str) {
        if cfg!(debug_assertions) {
            self.ids.insert(id.to_owned());
        }
    }

    /// A document is changed or deleted.
    pub(super) fn changes(&self, kind: &str, id: &str) {
        debug_assert!(
            place(kind).is_none() || self.ids.contains(id),
            "{kind} {id} is changed by a transaction that has not locked it"
        );
    }

    /// A link is made or removed.
    pub(super) fn links(&self, kind: &str, source: &str, target: &str) {
        debug_assert!(
            self.ids.contains(source) || target.starts_with(RUN) && self.ids.contains(target),
            "a link {kind} from {source} to {target} is changed by a transaction that has not locked {source}"
        );
    }

    /// The links that start from a document are removed.
    pub(super) fn links_of(&self, source: &str) {
        debug_assert!(
            self.ids.contains(source),
            "the links from {source} are removed by a transaction that has not locked it"
        );
    }

    /// A name is taken that others may want.
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
