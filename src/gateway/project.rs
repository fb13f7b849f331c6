//! What a caller that is limited to a project reaches on an upstream that keeps several: what is proven to be of its
//! project, and nothing else.

use super::ownership_lookup::OwnershipLookup;
use crate::{
    access::{
        Caller, DEFAULT_CONVERSATION, Grant, Owned,
        grant::{FieldList, Rule},
        is_letta_id,
    },
    call::{Call, Payload},
    error::ApiError,
    model::Project,
};

/// What a call names that must be of the caller's project.
pub(super) struct NamedResources<'a> {
    agents: Vec<&'a str>,
    /// What leads to further agents.
    things: Vec<Owned<'a>>,
    /// Conversations that the query names for an operation of which the table lists no parameters. They must be the
    /// project's as well, but they are not what such an operation is about.
    conversations: Vec<&'a str>,
    /// What an API key's path names beside an agent. What a client token's does, the guard has seen to.
    seconds: Vec<(&'a str, &'a str)>,
}

/// Whether all that a call names is proven to be of a project, and it leads to an agent at all.
///
/// # Errors
/// 502 and 504 when the upstream fails.
pub(super) async fn admits(
    look: &OwnershipLookup,
    project: &Project,
    named: NamedResources<'_>,
) -> Result<bool, ApiError> {
    let mut agents: Vec<String> = named.agents.into_iter().map(str::to_owned).collect();
    for thing in named.things {
        match look.owner(thing).await? {
            Some(owner) => agents.push(owner.into()),
            None => return Ok(false),
        }
    }
    let leads_to_agents = !agents.is_empty();
    for id in named.conversations {
        match look.owner(Owned::Conversation(id)).await? {
            Some(owner) => agents.push(owner.into()),
            None => return Ok(false),
        }
    }
    for agent in &agents {
        if !look.is_agent_of(project, agent).await? {
            return Ok(false);
        }
    }
    for (name, id) in named.seconds {
        if !is_second_of(look, project, agents.first().map_or("", String::as_str), name, id).await? {
            return Ok(false);
        }
    }
    Ok(leads_to_agents)
}

/// Whether what a path parameter names is the agent's, or the project's.
async fn is_second_of(
    look: &OwnershipLookup,
    project: &Project,
    agent: &str,
    name: &str,
    id: &str,
) -> Result<bool, ApiError> {
    match name {
        // The agent, what leads to it, and names among what it has.
        "agent_id" | "run_id" | "step_id" | "conversation_id" | "block_label" | "tool_name" => Ok(true),
        "memory_id" => look.owns(agent, Owned::Passage(id)).await,
        "file_id" => look.owns(agent, Owned::File(id)).await,
        "scheduled_message_id" => look.owns(agent, Owned::ScheduledMessage(id)).await,
        "archive_id" => look.is_thing_of(project, "archives", id).await,
        "block_id" => look.is_thing_of(project, "blocks", id).await,
        "folder_id" | "source_id" => look.is_thing_of(project, "folders", id).await,
        "identity_id" => look.is_thing_of(project, "identities", id).await,
        "tool_id" => look.is_tool_of(project, id).await,
        _ => Ok(false),
    }
}

impl<'a> NamedResources<'a> {
    /// What the path names, and what the query names where the table says so: parameters that mean nothing to the
    /// operation prove nothing, and neither does an API key's body, which passes unread. None: the path names a `default`
    /// conversation, and nothing says whose.
    ///
    /// # Errors
    /// 400 when a parameter that names one thing is there more than once: which one counts, the upstream decides.
    pub(super) fn by(call: &'a Call) -> Result<Option<Self>, ApiError> {
        let is_key = matches!(call.permit.caller(), Caller::ApiKey { .. });
        let mut named = Self {
            agents: call.params.find("agent_id").into_iter().collect(),
            things: call.params.find("run_id").map(Owned::Run).into_iter().collect(),
            conversations: Vec::new(),
            seconds: call.params.iter().filter(|_| is_key).collect(),
        };
        named.things.extend(call.params.find("step_id").map(Owned::Step));
        let fields: FieldList = match call.operation.grant() {
            Grant::Client(grant) => grant.query,
            // Letta exports any conversation with an agent, and shows any in its context window.
            _ => {
                call.query.check_once("conversation_id")?;
                named.conversations =
                    call.query.all("conversation_id").filter(|id| *id != DEFAULT_CONVERSATION).collect();
                &[]
            }
        };
        for field in fields.iter().copied().flatten() {
            if matches!(field.rule, Rule::SameAgent | Rule::OwnRuns | Rule::OwnConversation) && !field.is_list {
                call.query.check_once(field.name)?;
            }
            for value in call.query.all(field.name) {
                match field.rule {
                    Rule::SameAgent => named.agents.push(value),
                    Rule::OwnRuns => named.things.push(Owned::Run(value)),
                    Rule::OwnConversation => named.conversation(value),
                    _ => {}
                }
            }
        }
        match call.params.find("conversation_id") {
            Some(DEFAULT_CONVERSATION) => match agent_of_default(call, fields) {
                Some(agent) => named.agents.push(agent),
                None => return Ok(None),
            },
            Some(id) => named.conversation(id),
            None => {}
        }
        Ok(Some(named))
    }

    /// An agent's id stands for its default conversation; `default` alone names none.
    fn conversation(&mut self, id: &'a str) {
        if is_letta_id(id, "agent") {
            self.agents.push(id);
        } else if id != DEFAULT_CONVERSATION {
            self.things.push(Owned::Conversation(id));
        }
    }
}

/// The agent of a `default` conversation: `agent_id` in the query or in the body, whichever the operation reads.
fn agent_of_default(call: &Call, fields: FieldList) -> Option<&str> {
    if fields.iter().copied().flatten().any(|field| field.name == "agent_id") {
        return call.query.first("agent_id");
    }
    match &call.payload {
        Payload::Checked(body) => body["agent_id"].as_str(),
        Payload::Unread(..) => None,
    }
}
