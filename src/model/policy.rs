//! What a client token may do: the agents that it may reach, each with its access words.

use serde::{Deserialize, Serialize};

use super::{Access, AccessSet, AgentId};

/// One agent of a policy, as Letta's API writes it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "type", rename = "agent", rename_all = "snake_case")]
pub struct PolicyEntry {
    /// The agent.
    pub id: AgentId,
    /// The words granted on it, in the order given, each once.
    pub access: Vec<Access>,
}

impl PolicyEntry {
    /// The words as a set.
    #[must_use]
    pub fn granted(&self) -> AccessSet {
        AccessSet::of(&self.access)
    }
}

/// The entries of a token, one for each agent.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Policy(Vec<PolicyEntry>);

impl Policy {
    /// The largest number of entries a token may carry.
    pub const MAX_ENTRIES: usize = 50;

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[PolicyEntry] {
        &self.0
    }

    /// Adds an entry; words for an agent that is already named join its entry.
    pub fn add(&mut self, entry: PolicyEntry) {
        if let Some(present) = self.0.iter_mut().find(|present| present.id == entry.id) {
            for word in entry.access {
                if !present.access.contains(&word) {
                    present.access.push(word);
                }
            }
        } else {
            self.0.push(entry);
        }
    }

    /// The form carried in claims.
    #[must_use]
    pub fn to_claims(&self) -> Vec<(AgentId, AccessSet)> {
        self.0.iter().map(|entry| (entry.id.clone(), entry.granted())).collect()
    }
}
