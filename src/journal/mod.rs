//! What happened to each request of a namespace.

mod entry;
mod scrub;

pub(crate) use entry::{
    Answer, By, CallerKind, Decision, Ended, Entry, Identified, Outcome, Phase, Preflight, Sent, SentBody,
};
