//! What the requests of a namespace were, and what became of each.
//!
//! An entry is written when its request arrives and completed while it is handled, so a request that hangs is visible. It
//! never has a credential: whatever is kept passes `scrub` first. Nothing here outlasts the process, and everything is
//! bounded; the oldest entries go first.

mod entry;
mod filter;
mod frames;
mod link;
mod process;
mod recording;
mod retries;
mod ring;
mod scrub;
mod turn;

#[cfg(test)]
pub(crate) use entry::{Answer, Decision, Sent};
pub(crate) use entry::{CallerKind, Ended, Entry, Identified, Phase, SentBody};
pub(crate) use filter::Filter;
pub(crate) use frames::{FrameView, Splitter};
pub(crate) use process::{BOUNDS, Process, SeenPreflight};
pub(crate) use recording::{BrokenOff, Decided, FaultNote, Recording, check_header};
pub(crate) use ring::{Event, Journal, Listener, Listing, Mark, Observer};
pub(crate) use scrub::token_id;
pub(crate) use turn::is_send;

impl Default for Process {
    fn default() -> Self {
        Self::new(BOUNDS)
    }
}

impl Process {
    /// The empty journal of a namespace.
    pub(crate) fn journal(&self, namespace: &str) -> Journal {
        Journal::new(namespace, self)
    }
}
