//! The conversation that a request is about.

use crate::{
    access::is_letta_id,
    error::{ApiError, Code},
    mock::{
        agents::thread::Thread,
        records::{Agent, Conversation},
        storage::documents::View,
    },
};

/// What a path or a query may put in the place of a conversation's id: the default conversation of the agent that is named
/// beside it.
const DEFAULT: &str = "default";

/// The conversation that a path names: by its own id, by its agent's, or as the default one of an agent named elsewhere.
pub(in crate::mock::resources) async fn named(
    view: View<'_>,
    id: &str,
    agent_id: Option<&str>,
) -> Result<Thread, ApiError> {
    if is_letta_id(id, "conv") {
        let conversation = view.get::<Conversation>(id).await?;
        let agent = view.get::<Agent>(&conversation.record.agent_id).await?;
        return Ok(Thread { agent, conversation: Some(conversation) });
    }
    let agent_id = if id == DEFAULT { agent_id } else { Some(id) };
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
pub(super) async fn addressed(view: View<'_>, agent_id: &str) -> Result<Thread, ApiError> {
    Ok(Thread::default_of(view.get::<Agent>(agent_id).await?))
}
