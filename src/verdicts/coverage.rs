//! What client tokens were granted, and what of it was used.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::recent::Recent;
use crate::{
    access::{Operation, Outcome},
    credentials::ClientToken,
    journal::Entry,
    model::{Access, AccessSet, AgentId},
};

/// How many tokens are told apart, and how many agents are counted together.
const MOST_TOKENS: usize = 500;
const MOST_AGENTS: usize = 1_000;

/// What was granted on an agent, and what of it was used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Use {
    pub(crate) granted: AccessSet,
    pub(crate) used: AccessSet,
}

#[derive(Debug)]
pub(super) struct Coverage {
    tokens: Recent<Box<str>, Token>,
    /// All tokens together, by agent.
    agents: BTreeMap<AgentId, Use>,
    /// The refs of the seed, by agent.
    refs: BTreeMap<AgentId, Box<str>>,
}

#[derive(Debug)]
struct Token {
    claims: Arc<ClientToken>,
    used: BTreeMap<AgentId, AccessSet>,
    operations: BTreeMap<Operation, u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { tokens: Recent::of(MOST_TOKENS), agents: BTreeMap::new(), refs: BTreeMap::new() }
    }
}

impl Use {
    /// What was granted and not used.
    pub(crate) fn spare(self) -> AccessSet {
        self.granted.missing_from(self.used)
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.granted = self.granted.union(other.granted);
        self.used = self.used.union(other.used);
    }
}

impl Coverage {
    /// Counts a request that was decided about.
    pub(super) fn count(&mut self, entry: &Entry) {
        let (Some(claims), Some(jti)) = (&entry.caller.token, &entry.caller.jti) else { return };
        if self.tokens.get(jti).is_none() {
            self.begin(jti, claims);
        }
        self.note_ref(entry);
        if entry.decision.outcome != Some(Outcome::Admitted) {
            return;
        }
        let Some(token) = self.tokens.get_mut(jti) else { return };
        if let Some(operation) = entry.operation {
            *token.operations.entry(operation).or_default() += 1;
        }
        for (agent, needed) in &entry.decision.needed {
            let used = token.used.entry(agent.clone()).or_default();
            *used = used.union(*needed);
            if let Some(together) = self.agents.get_mut(agent) {
                together.used = together.used.union(*needed);
            }
        }
    }

    /// A token that was not seen before.
    fn begin(&mut self, jti: &str, claims: &Arc<ClientToken>) {
        let token = Token { claims: Arc::clone(claims), used: BTreeMap::new(), operations: BTreeMap::new() };
        self.tokens.insert(jti.into(), token);
        for (agent, granted) in claims.policy() {
            if self.agents.len() < MOST_AGENTS || self.agents.contains_key(agent) {
                self.agents.entry(agent.clone()).or_default().join(Use { granted: *granted, ..Use::default() });
            }
        }
    }

    /// Notes what the seed calls an agent.
    fn note_ref(&mut self, entry: &Entry) {
        let Some(of_seed) = entry.refs.get("agent") else { return };
        let agent = entry.agents.first().and_then(|id| id.parse::<AgentId>().ok());
        if let Some(agent) = agent.filter(|agent| self.agents.contains_key(agent)) {
            self.refs.entry(agent).or_insert_with(|| of_seed.clone());
        }
    }

    /// What was granted and used, by the agent's ref, or else its id.
    pub(super) fn by_name(&self) -> BTreeMap<String, Use> {
        let mut named: BTreeMap<String, Use> = BTreeMap::new();
        for (agent, used) in &self.agents {
            named.entry(self.name(agent)).or_default().join(*used);
        }
        named
    }

    fn name(&self, agent: &AgentId) -> String {
        self.refs.get(agent).map_or_else(|| agent.as_str().to_owned(), ToString::to_string)
    }

    pub(super) fn to_json(&self) -> Value {
        let tokens: Vec<Value> = self.tokens.values().map(|(jti, token)| token.to_json(jti)).collect();
        let mut all = Use::default();
        self.agents.values().for_each(|used| all.join(*used));
        json!({
            "tokens": tokens,
            "words_used": words(all.used),
            "over_granted": words(all.spare()),
            "smallest_policy": policy(self.agents.iter().map(|(agent, used)| (agent, used.used))),
            "text": text(&self.by_name()),
        })
    }
}

impl Token {
    fn to_json(&self, jti: &str) -> Value {
        let mut agents = Map::new();
        for (agent, granted) in self.claims.policy() {
            let used = self.used.get(agent).copied().unwrap_or_default();
            let spare = Use { granted: *granted, used }.spare();
            let described = json!({"granted": words(*granted), "used": words(used), "over_granted": words(spare)});
            agents.insert(agent.as_str().to_owned(), described);
        }
        let operations: Map<String, Value> =
            self.operations.iter().map(|(operation, count)| (operation.row().name.into(), (*count).into())).collect();
        json!({
            "jti": jti,
            "agents": agents,
            "operations": operations,
            "smallest_policy": policy(self.used.iter().map(|(agent, used)| (agent, *used))),
        })
    }
}

/// The words of a set.
pub(crate) fn words(set: AccessSet) -> Vec<&'static str> {
    set.words().map(Access::word).collect()
}

/// A policy as tokens are created with it.
fn policy<'a>(used: impl Iterator<Item = (&'a AgentId, AccessSet)>) -> Value {
    let used = used.filter(|(_, used)| *used != AccessSet::default());
    used.map(|(agent, used)| json!({"type": "agent", "id": agent.as_str(), "access": words(used)})).collect()
}

/// What was used and what more was granted, a line for each agent.
pub(crate) fn text(named: &BTreeMap<String, Use>) -> String {
    let line = |(name, used): (&String, &Use)| {
        let listed =
            |set: AccessSet| if set == AccessSet::default() { "nothing".into() } else { words(set).join(", ") };
        let more = match words(used.spare())[..] {
            [] => String::new(),
            ref spare => format!("; granted and not used: {}", spare.join(", ")),
        };
        format!("{name}: {}{more}", listed(used.used))
    };
    named.iter().map(line).collect::<Vec<_>>().join("\n")
}
