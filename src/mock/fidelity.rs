//! How true the mock is to Letta. Each resource declares it for its operations where it is mounted.

/// How true the mock is to Letta for one operation. Where it is less than full, a sentence says why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fidelity {
    /// It responds as Letta does: from state, with Letta's rules, shapes and errors.
    Full,
    /// It stores what it receives and shows it again, but does not do what Letta would do with it.
    StateOnly(&'static str),
    /// It always gives the same response, in the right shape.
    FixedShape(&'static str),
    /// It responds with 501.
    NotMocked(&'static str),
}

impl Fidelity {
    /// The words of all levels, from the most to the least true.
    pub const WORDS: [&'static str; 4] = ["full", "state only", "fixed shape", "not mocked"];

    /// The word for a level.
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
