//! The conversation that a request is about.

use crate::{
    access::is_letta_id,
    error::{ApiError, Code},
    mock::{
        agents::thread::Thread,
        records::{Agent, Conversation, DEFAULT_CONVERSATION},
        storage::View,
    },
};

/// The conversation in a path: by its id, by the id of its agent, or as `default` with the agent in `agent_id`.
pub(in crate::mock::resources) async fn resolve(
    view: View<'_>,
    id: &str,
    agent_id: Option<&str>,
) -> Result<Thread, ApiError> {
    if is_letta_id(id, "conv") {
        let conversation = view.get::<Conversation>(id).await?;
        let agent = view.get::<Agent>(&conversation.record.agent_id).await?;
        return Ok(Thread { agent, conversation: Some(conversation) });
    }
    let agent_id = if id == DEFAULT_CONVERSATION { agent_id } else { Some(id) };
    let Some(agent_id) = agent_id else {
        return Err(ApiError::letta(
            Code::InvalidRequest,
            "INVALID_ARGUMENT: agent_id is required with the conversation 'default'",
        ));
    };
    let found = if is_letta_id(agent_id, "agent") { view.find::<Agent>(agent_id).await? } else { None };
    found.map(Thread::default_of).ok_or_else(|| ApiError::letta(Code::NotFound, "Agent not found"))
}

/// The default conversation of an agent.
pub(super) async fn default_thread(view: View<'_>, agent_id: &str) -> Result<Thread, ApiError> {
    Ok(Thread::default_of(view.get::<Agent>(agent_id).await?))
}
