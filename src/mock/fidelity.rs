//! How true the mock is to Letta, operation by operation. Each resource says so where it is mounted.

use super::resources::{self, Routes};
use crate::access::{Operation, ServedBy};

/// How true the mock is to Letta for an operation. Where it is less than full, a sentence says why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fidelity {
    /// It answers as Letta does: from state, with Letta's rules, shapes and refusals.
    Full,
    /// It keeps what it is told and shows it again, but what Letta would do with it does not happen.
    StateOnly(&'static str),
    /// It always answers the same, in the right shape.
    FixedShape(&'static str),
    /// It answers 501.
    NotMocked(&'static str),
}

/// What is said of an operation that no resource names.
const UNNAMED: &str = "No resource of the mock answers it yet.";

impl Fidelity {
    /// Every word, from the most to the least.
    pub const WORDS: [&'static str; 4] = ["full", "state only", "fixed shape", "not mocked"];

    /// The word for the table.
    #[must_use]
    pub fn word(self) -> &'static str {
        let [full, state_only, fixed_shape, not_mocked] = Self::WORDS;
        match self {
            Self::Full => full,
            Self::StateOnly(_) => state_only,
            Self::FixedShape(_) => fixed_shape,
            Self::NotMocked(_) => not_mocked,
        }
    }

    /// Why it is less than full; empty where it is full.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::StateOnly(reason) | Self::FixedShape(reason) | Self::NotMocked(reason) => reason,
        }
    }

    pub(super) fn of(routes: &Routes, operation: Operation) -> Self {
        if operation.row().served_by == ServedBy::Gatelet {
            return Self::Full;
        }
        routes.fidelity(operation).unwrap_or(Self::NotMocked(UNNAMED))
    }

    /// Every operation of the permission table, in its order, with how true the mock is to it.
    #[must_use]
    pub fn table() -> Vec<(Operation, Self)> {
        let routes = resources::routes();
        Operation::ALL.iter().map(|operation| (*operation, Self::of(&routes, *operation))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_less_than_full_says_why_in_a_sentence() {
        for (operation, fidelity) in Fidelity::table() {
            let reason = fidelity.reason();
            assert_eq!(reason.is_empty(), fidelity == Fidelity::Full, "{operation}");
            assert!(reason.is_empty() || reason.ends_with('.'), "{operation}: {reason}");
            // It becomes a cell of a Markdown table.
            assert!(!reason.contains(['|', '\n']), "{operation}: {reason}");
        }
    }
}
