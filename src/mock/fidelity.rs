//! How true the mock is to Letta, operation by operation. Each resource says so where it is mounted.

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
}
