//! What a provider would be sent.

use serde_json::Value;

use crate::{
    error::ApiError,
    mock::{
        agents::thread::Thread,
        records::Message,
        responder::provider_request,
        state::State,
        storage::documents::parse_message,
        tools::set::ToolSet,
        turn::{Incoming, SendRequest},
    },
    store::MessageFilter,
};

/// The request that a model would be sent about what is said in a conversation.
pub(super) async fn preview_of(state: &State, thread: &Thread, request: &SendRequest) -> Result<Value, ApiError> {
    let agent = &thread.agent.record;
    let tool_set = ToolSet::of(&state.store, agent, &request.request.client_tools).await?;
    let filter = MessageFilter::of_conversation(&agent.id, thread.id()).newest_first(true).limit(2_000);
    let stored = state.store.messages(&filter).await?;
    let stored = stored.iter().rev().map(parse_message).collect::<Result<Vec<_>, _>>()?;
    let is_seen = |message: &&Message| thread.context().iter().any(|entry| entry.id == message.id);
    let mut messages: Vec<Message> = stored.iter().filter(is_seen).cloned().collect();
    messages.extend(request.request.input.iter().cloned().map(Incoming::into_initial));
    let model = request.request.model.as_deref().unwrap_or(&agent.model.handle);
    Ok(provider_request::request(agent, model, &messages, Some(&tool_set)))
}
