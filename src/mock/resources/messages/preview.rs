//! Previews of the request to a model provider.

use serde_json::Value;

use crate::{
    error::ApiError,
    mock::{
        agents::thread::Thread,
        records::{IncomingMessage, Message},
        responder::provider_request,
        state::State,
        storage::parse_message,
        tools::set::ToolSet,
        turn::SendRequest,
    },
    store::MessageFilter,
};

/// The request that a model provider would get if these messages were sent to a conversation.
pub(super) async fn model_request(state: &State, thread: &Thread, request: &SendRequest) -> Result<Value, ApiError> {
    let agent = &thread.agent.record;
    let tool_set = ToolSet::of(&state.store, agent, &request.request.client_tools).await?;
    let filter = MessageFilter::of_conversation(&agent.id, thread.id()).newest_first(true).limit(2_000);
    let stored = state.store.messages(&filter).await?;
    let stored = stored.iter().rev().map(parse_message).collect::<Result<Vec<_>, _>>()?;
    let is_in_context = |message: &&Message| thread.context().iter().any(|entry| entry.id == message.id);
    let mut messages: Vec<Message> = stored.iter().filter(is_in_context).cloned().collect();
    messages.extend(request.request.input.iter().cloned().map(IncomingMessage::into_initial));
    let model = request.request.model.as_deref().unwrap_or(&agent.model.handle);
    Ok(provider_request::request(agent, model, &messages, Some(&tool_set)))
}
