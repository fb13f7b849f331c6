//! The four access words of Letta's policies, and sets of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One access word of a policy entry. No word implies another.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reading the agent's messages, runs and steps.
    ReadMessages,
    /// Sending, cancelling, and handling the agent's conversations.
    WriteMessages,
    /// Reading the agent's configuration and memory.
    ReadAgent,
    /// Changing what belongs to this agent alone.
    WriteAgent,
}

impl Access {
    /// All words, in the order of Letta's documentation.
    pub const ALL: [Self; 4] = [Self::ReadMessages, Self::WriteMessages, Self::ReadAgent, Self::WriteAgent];

    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ReadMessages => "read_messages",
            Self::WriteMessages => "write_messages",
            Self::ReadAgent => "read_agent",
            Self::WriteAgent => "write_agent",
        }
    }

    /// The access that a word names, if any.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.word() == word)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A set of access words; the compact form in a token's claims is its bits.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct AccessSet(u8);

impl AccessSet {
    /// The set of these words.
    #[must_use]
    pub const fn of(words: &[Access]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < words.len() {
            bits |= words[index].bit();
            index += 1;
        }
        Self(bits)
    }

    /// Whether every word of `needed` is in this set.
    #[must_use]
    pub const fn contains(self, needed: Self) -> bool {
        self.0 & needed.0 == needed.0
    }

    /// The words of this set that `held` lacks.
    #[must_use]
    pub(crate) const fn missing_from(self, held: Self) -> Self {
        Self(self.0 & !held.0)
    }

    /// Both sets together.
    #[must_use]
    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The words in this set.
    pub fn words(self) -> impl Iterator<Item = Access> {
        Access::ALL.into_iter().filter(move |access| self.0 & access.bit() != 0)
    }
}

impl fmt::Display for AccessSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words().enumerate() {
            if index > 0 {
                f.write_str(" and ")?;
            }
            f.write_str(word.word())?;
        }
        Ok(())
    }
}

impl TryFrom<u8> for AccessSet {
    type Error = &'static str;

    fn try_from(bits: u8) -> Result<Self, Self::Error> {
        if bits == 0 || bits > 0b1111 { Err("not a set of access words") } else { Ok(Self(bits)) }
    }
}

impl From<AccessSet> for u8 {
    fn from(set: AccessSet) -> Self {
        set.0
    }
}
