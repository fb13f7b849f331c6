//! The place of a request in the journal, as handlers see it.

use std::fmt;

use serde_json::Value;

/// One attempt to send a request. Clients send some requests again; what they repeat has the same first attempt.
pub(crate) trait Attempt: fmt::Debug + Send + Sync {
    /// The number of the first attempt's entry: its own, if it repeats none. Known once the body is read.
    fn first(&self) -> u64;

    /// Notes which reply it got.
    fn note_reply(&self, reply: Value);
}
