//! The steps of one decision, as people read them.

use serde::Serialize;

/// One step of a decision.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// What was asked, such as `origin`.
    pub asked: &'static str,
    /// The answer, with both values that were compared. It never has a credential.
    pub said: String,
}
