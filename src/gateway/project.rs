//! What a caller that is limited to a project reaches on an upstream that keeps several: what is proven to belong to its
//! project, and nothing else.

use std::borrow::Cow;

use super::ownership_lookup::OwnershipLookup;
use crate::{
    access::{
        Call, Caller, DEFAULT_CONVERSATION, Grant, Owned, Params,
        grant::{FieldList, Rule},
        is_letta_id,
    },
    error::ApiError,
    model::{AgentId, Project},
};

/// What a call names that must belong to the caller's project.
pub(super) struct NamedResources<'a> {
    agents: Cow<'a, [AgentId]>,
    /// What belongs to further agents.
    things: Vec<Owned<'a>>,
    /// Conversations that the query names for an operation whose parameters the table does not list. They must belong to
    /// the project as well, but such an operation is not about them.
    conversations: Vec<&'a str>,
    /// What an API key's path names.
    params: Option<&'a Params>,
}

impl<'a> NamedResources<'a> {
    /// What a call names. `None` if it names an agent in a form that no agent's id has, or a `default` conversation
    /// without its agent.
    ///
    /// # Errors
    /// 400 when an API key's query repeats a parameter that names one thing.
    pub(super) fn by(call: &'a Call) -> Result<Option<Self>, ApiError> {
        match call.permit.caller() {
            // The guard has proven that everything else that a client token names belongs to these agents.
            Caller::ClientToken(_) => Ok(Some(Self {
                agents: Cow::Borrowed(&call.agents),
                things: Vec::new(),
                conversations: Vec::new(),
                params: None,
            })),
            Caller::ApiKey { .. } => Self::by_key(call),
        }
    }

    /// What the path names, and what the query names where the table says so: parameters that mean nothing to the
    /// operation prove nothing, and neither does the body, which passes unread. A parameter that names one
    /// thing must not be repeated: which value counts, the upstream decides.
    fn by_key(call: &'a Call) -> Result<Option<Self>, ApiError> {
        let mut things: Vec<Owned<'a>> = call.params.find("run_id").map(Owned::Run).into_iter().collect();
        things.extend(call.params.find("step_id").map(Owned::Step));
        let mut other_conversations = Vec::new();
        let mut agents: Vec<&str> = call.params.find("agent_id").into_iter().collect();
        let fields: FieldList = match call.operation.grant() {
            Grant::Client(grant) => grant.query,
            // Letta exports any conversation with an agent, and shows any in its context window.
            _ => {
                call.query.check_once("conversation_id")?;
                other_conversations.extend(call.query.all("conversation_id").filter(|id| *id != DEFAULT_CONVERSATION));
                &[]
            }
        };
        let mut conversations: Vec<&str> = Vec::new();
        for field in fields.iter().copied().flatten() {
            if matches!(field.rule, Rule::SameAgent | Rule::OwnRuns | Rule::OwnConversation) && !field.is_list {
                call.query.check_once(field.name)?;
            }
            for value in call.query.all(field.name) {
                match field.rule {
                    Rule::SameAgent => agents.push(value),
                    Rule::OwnRuns => things.push(Owned::Run(value)),
                    Rule::OwnConversation => conversations.push(value),
                    _ => {}
                }
            }
        }
        match call.params.find("conversation_id") {
            Some(DEFAULT_CONVERSATION) if agents.is_empty() => return Ok(None),
            conversation => conversations.extend(conversation),
        }
        for id in conversations {
            // An agent's id stands for its default conversation; `default` alone names none.
            if is_letta_id(id, "agent") {
                agents.push(id);
            } else if id != DEFAULT_CONVERSATION {
                things.push(Owned::Conversation(id));
            }
        }
        let agents: Result<Vec<AgentId>, _> = agents.into_iter().map(str::parse).collect();
        Ok(agents.ok().map(|agents| Self {
            agents: agents.into(),
            things,
            conversations: other_conversations,
            params: Some(&call.params),
        }))
    }

    /// Whether everything that is named is proven to belong to a project, and at least one agent is named.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub(super) async fn are_of(self, look: &OwnershipLookup, project: &Project) -> Result<bool, ApiError> {
        let mut agents = self.agents;
        for thing in self.things {
            match look.owner(thing).await? {
                Some(owner) => agents.to_mut().push(owner),
                None => return Ok(false),
            }
        }
        let names_agents = !agents.is_empty();
        for id in self.conversations {
            match look.owner(Owned::Conversation(id)).await? {
                Some(owner) => agents.to_mut().push(owner),
                None => return Ok(false),
            }
        }
        for agent in agents.iter() {
            if !look.is_agent_of(project, agent.as_str()).await? {
                return Ok(false);
            }
        }
        let Some(agent) = agents.first().filter(|_| names_agents) else { return Ok(false) };
        for (name, id) in self.params.into_iter().flat_map(Params::iter) {
            if !is_second_of(look, project, agent, name, id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether what a path parameter names belongs to the agent or the project.
async fn is_second_of(
    look: &OwnershipLookup,
    project: &Project,
    agent: &AgentId,
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
