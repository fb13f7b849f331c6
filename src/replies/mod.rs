//! Replies: what agents say in a test, and when.
//!
//! A reply has criteria and steps. A turn gets the first reply of which all criteria fit, and the same one again if a client
//! repeats the request. `book` has the replies of a world and chooses among them, `listing`, `criteria` and `index` find what fits,
//! `near_misses` tells why nothing does, `parse` reads definitions, and `template` the texts in them. What a snapshot keeps
//! is a [`SavedReplies`]. The mock does what the steps say.

mod book;
mod criteria;
mod definition;
mod index;
mod listing;
mod mistake;
mod near_misses;
mod parse;
mod saved;
mod template;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use definition::STOP_REASONS;
pub use parse::{Script, ScriptError};
pub(crate) use {
    book::{Chosen, Continues, PausedReply, Replies, TurnReplies},
    criteria::{After, Approved, Deliveries, DeliveryKind, Facts},
    definition::{MemoryChange, Reply, Step, UsageOverride},
    listing::{Source, Unmatched},
    mistake::Mistake,
    near_misses::NearMisses,
    parse::{Definitions, read_list, read_reply},
    saved::SavedReplies,
    template::{Part, Template, TemplateValue, Variable},
};

/// How many replies a namespace may have.
pub(crate) const MOST_REPLIES: usize = 1_000;

/// Limits on definitions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The steps of a reply.
    pub(crate) steps: usize,
    /// The bytes that a compiled regular expression takes.
    pub(crate) regex_bytes: usize,
}

impl Limits {
    /// Those of definitions that the control API is given.
    pub(crate) const HTTP: Self = Self { steps: 200, regex_bytes: 1024 * 1024 };
    /// Those of a script on disk.
    pub(crate) const FILE: Self = Self { steps: usize::MAX, regex_bytes: 10 * 1024 * 1024 };
}
