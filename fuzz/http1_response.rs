//! What an upstream sends: a response has one meaning, that which hyper's client finds in it, or none.

use gatelet::gateway::http1::against_hyper::{Verdict, compare};

pub(crate) fn is_accepted(bytes: &[u8]) -> bool {
    match compare(bytes) {
        Ok(verdict) => matches!(verdict, Verdict::Accepted(_)),
        Err(difference) => panic!("{}: {difference}", bytes.escape_ascii()),
    }
}
