//! What the steps of a decision say about a token's policy, a request's fields and its body.

use http_body::Body as _;

use super::{
    Params,
    grant::{AgentSource, ClientGrant, FieldList, Rule},
    needs::agent_in_path,
    step::{is_needed, listed, shown, words},
};
use crate::{credentials::ClientToken, request::body::Body};

/// What the policy grants on the agent in the path or, where it names none, at all; and what is needed.
pub(super) fn policy(token: &ClientToken, grant: &ClientGrant, params: &Params) -> String {
    let needed = is_needed(grant.access);
    match agent_in_path(grant, params) {
        Some(agent) => format!("{}; {needed}", on_agent(token, agent)),
        None if grant.agent == AgentSource::Policy => entries(token),
        None => format!("{}; {needed} on the agent that it belongs to", entries(token)),
    }
}

/// What the policy grants on an agent.
pub(super) fn on_agent(token: &ClientToken, agent: &str) -> String {
    let entry = token.policy().iter().enumerate().find(|(_, (id, _))| id.as_str() == agent);
    match entry {
        Some((index, (_, held))) => format!("entry {} grants {} on {agent}", index + 1, words(*held)),
        None => {
            let named = listed(token.policy().iter().map(|(id, _)| id.as_str()));
            format!("sent {}, the policy names {named}", shown(agent))
        }
    }
}

/// What every entry of the policy grants.
fn entries(token: &ClientToken) -> String {
    let entries = token.policy().iter().enumerate();
    listed(entries.map(|(index, (agent, held))| format!("entry {} grants {} on {agent}", index + 1, words(*held))))
}

/// The fields that were sent, and those that may carry a value.
pub(super) fn fields(known: FieldList, sent: &str) -> String {
    let granted = known.iter().copied().flatten().filter(|field| !matches!(field.rule, Rule::Refuse | Rule::Ignore));
    let mut granted = granted.map(|field| field.name).peekable();
    if granted.peek().is_none() {
        return format!("fields sent: {sent}");
    }
    format!("fields sent: {sent}; accepted: {}", granted.collect::<Vec<_>>().join(", "))
}

/// How large a body is, as far as its head says.
pub(super) fn size(body: &Body) -> String {
    body.size_hint().exact().map_or_else(|| "a body of unknown size".into(), |bytes| format!("{bytes} bytes"))
}
