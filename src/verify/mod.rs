//! Verifies that a namespace's journal shows what a test expects.
//!
//! An expectation is a set of criteria on one request, and how often such a request is expected. The criteria are those of
//! the journal's filter, and matchers on the body and the headers. Expectations are compared with all entries at once;
//! where they are not met, the report says which entries came near and which of their criteria failed.

mod expectation;
mod matcher;
mod placement;
mod plan;
mod report;
#[cfg(test)]
mod tests;

pub(crate) use plan::{Plan, Request, Verdict};
pub(crate) use report::verified;
