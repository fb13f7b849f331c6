//! The messages of an agent: sending them in every way there is, and reading them again.

use std::sync::Arc;

use http::{HeaderValue, header};
use serde_json::{Map, Value, json};

use super::{Answer, Routes};
use crate::{
    access::Operation,
    call::{Call, Query, Reply},
    error::{ApiError, Code},
    mock::{
        client::is_current_client,
        documents::{Stored, View, is_plain, not_found, parse_message},
        fields::Fields,
        page::{Defaults, Page},
        records::{Agent, Message, MessageType, Record, Run, RunStatus, RunType, StopReason, WireMessage, links},
        state::State,
        turn::{Ended, SendRequest, Turn, cancel_elsewhere},
    },
    store::{DocumentFilter, MessageFilter},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListMessages, list)
        .on(Operation::SendMessage, send)
        .on(Operation::StreamMessage, stream)
        .on(Operation::SendMessageAsync, send_async)
        .on(Operation::CancelMessages, cancel)
        .on(Operation::ModifyMessage, modify)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };

/// Always oldest first; `order` only says which end of the history `limit` keeps, and cursors are absolute in time.
async fn list(state: Arc<State>, call: Call) -> Answer {
    let query = &call.query;
    let page = Page::read(query, LIST)?;
    let types = message_types(query)?;
    for flag in ["use_assistant_message", "include_err"] {
        query.boolean(flag)?;
    }
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let agent_id = &agent.record.id;
    let conversation = query.first("conversation_id");
    let mut filter = match conversation.filter(|conversation| is_plain(conversation)) {
        Some(conversation) => MessageFilter::of_conversation(agent_id, conversation),
        None => MessageFilter::of_agent(agent_id),
    };
    if let Some(cursor) = page.after {
        filter = filter.after(place(view, agent_id, cursor).await?);
    }
    if let Some(cursor) = page.before {
        filter = filter.before(place(view, agent_id, cursor).await?);
    }
    // No conversation has such a name, and there are no groups yet.
    let nothing = conversation.is_some_and(|conversation| !is_plain(conversation)) || query.first("group_id").is_some();
    let limit = if nothing { 0 } else { page.limit() };
    let mut stored = view.store().messages(&filter.newest_first(page.newest_first).limit(limit)).await?;
    if page.newest_first {
        stored.reverse();
    }
    let messages = stored.iter().map(parse_message).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::ok(json!(shown(&messages, types.as_deref()))))
}

/// The place of the message that a cursor names.
async fn place(view: View<'_>, agent_id: &str, cursor: &str) -> Result<i64, ApiError> {
    let found = if is_plain(cursor) { view.store().message(cursor).await? } else { None };
    found.filter(|message| message.agent_id == agent_id).map(|message| message.seq).ok_or_else(|| {
        let cursor: String = cursor.chars().take(100).collect();
        ApiError::letta(Code::NotFound, format!("Message with ID {cursor} not found"))
    })
}

fn message_types(query: &Query) -> Result<Option<Vec<MessageType>>, ApiError> {
    let name = "include_return_message_types";
    let read = |word: &str| {
        MessageType::from_word(word).ok_or_else(|| {
            let problem = format!("Input should be {}", MessageType::words());
            ApiError::validation("enum", &["query", name], &problem, &word.into())
        })
    };
    let types = query.all(name).map(read).collect::<Result<Vec<_>, _>>()?;
    Ok((!types.is_empty()).then_some(types))
}

fn shown(messages: &[Message], types: Option<&[MessageType]>) -> Vec<WireMessage> {
    let wanted = |message: &WireMessage| types.is_none_or(|types| types.contains(&message.message_type));
    messages.iter().flat_map(Message::expand).filter(wanted).collect()
}

async fn send(state: Arc<State>, mut call: Call) -> Answer {
    let request = SendRequest::read(&call.json().await?)?;
    if !request.delivery.streaming {
        request.check_plain()?;
    } else if !is_current_client(&call.headers) {
        return Err(ApiError::letta(
            Code::ValidationFailed,
            "streaming=true needs a client of the 1.x generation here; others use /messages/stream.",
        ));
    }
    let agent = addressed(state.view(&call.permit), call.param("agent_id"), &request).await?;
    let run = Run::begin(&agent.record.id, RunType::Plain, request.delivery.background, request.config);
    let turn = Turn::begin(&state, &agent, run, request.request, request.delivery.streaming).await?;
    if request.delivery.streaming {
        return Ok(Reply::Events(turn.stream(request.delivery)));
    }
    Ok(Reply::ok(response(&turn.answer().await?)))
}

async fn stream(state: Arc<State>, mut call: Call) -> Answer {
    let request = SendRequest::read(&call.json().await?)?;
    let agent = addressed(state.view(&call.permit), call.param("agent_id"), &request).await?;
    let background = request.delivery.background;
    let run = Run::begin(&agent.record.id, RunType::Streaming, background, request.config);
    let turn = Turn::begin(&state, &agent, run, request.request, true).await?;
    Ok(Reply::Events(turn.stream(request.delivery)))
}

/// The run is durable before this answers, with all that is needed to take it up again.
async fn send_async(state: Arc<State>, mut call: Call) -> Answer {
    let request = SendRequest::read(&call.json().await?)?;
    let agent = addressed(state.view(&call.permit), call.param("agent_id"), &request).await?;
    let mut run = Run::begin(&agent.record.id, RunType::Async, true, request.config);
    run.status = RunStatus::Created;
    run.callback_url = request.callback_url;
    run.request = Some(request.request.clone());
    let turn = Turn::begin(&state, &agent, run, request.request, false).await?;
    let run = turn.run().wire();
    turn.answer_later();
    Ok(Reply::ok(run))
}

/// The agent that a request speaks to.
async fn addressed(view: View<'_>, agent_id: &str, request: &SendRequest) -> Result<Stored<Agent>, ApiError> {
    let agent = view.get::<Agent>(agent_id).await?;
    if request.decides {
        return Err(ApiError::letta(
            Code::InvalidRequest,
            "Cannot process approval response: No tool call is currently awaiting approval. Please send a regular \
             message to interact with the agent.",
        ));
    }
    Ok(agent)
}

fn response(ended: &Ended) -> Value {
    let types = ended.run.request_config.include_return_message_types.as_deref();
    json!({
        "messages": shown(&ended.answers, types),
        "stop_reason": ended.run.stop_reason.unwrap_or(StopReason::Error).wire(),
        "usage": ended.run.usage.wire(false),
        "logprobs": null,
        "turns": null,
    })
}

/// Without ids: the runs that have not ended, or else the last one, which is then reported as cancelled although it is
/// left as it is.
async fn cancel(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let named = match Fields::of_optional_body(&body)? {
        Some(fields) => fields.optional::<Vec<String>>("run_ids")?.unwrap_or_default(),
        None => Vec::new(),
    };
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let agent_id = &agent.record.id;
    let mut runs = Vec::new();
    for id in &named {
        let run = view.get::<Run>(id).await?.record;
        if run.agent_id != *agent_id {
            return Err(not_found::<Run>(id));
        }
        runs.push(run);
    }
    if named.is_empty() {
        runs = unfinished(view, agent_id).await?;
    }
    if runs.is_empty() {
        let conflict = || ApiError::conflict(format!("CONFLICT: No active runs to cancel for agent {agent_id}"));
        runs.push(last(view, agent_id).await?.ok_or_else(conflict)?);
    }
    let mut cancelled = Map::new();
    for run in runs {
        if !run.has_ended() && !state.turns.cancel(&run.id).await {
            cancel_elsewhere(&state.store, &run).await?;
        }
        cancelled.insert(run.id, "cancelled".into());
    }
    Ok(Reply::ok(Value::Object(cancelled)))
}

async fn unfinished(view: View<'_>, agent_id: &str) -> Result<Vec<Run>, ApiError> {
    let linked = view.linked::<Run>(links::ACTIVE_RUN, &[agent_id]).await?;
    Ok(linked.into_iter().map(|(_, run)| run.record).filter(|run| !run.has_ended()).collect())
}

async fn last(view: View<'_>, agent_id: &str) -> Result<Option<Run>, ApiError> {
    let newest = DocumentFilter::of_parent(Run::KIND, agent_id).newest_first(true).limit(1);
    Ok(view.list::<Run>(&newest).await?.pop().map(|run| run.record))
}

async fn modify(_: Arc<State>, _: Call) -> Answer {
    Err(ApiError::letta(Code::MethodNotAllowed, "Messages cannot be edited any more.")
        .header(header::ALLOW, HeaderValue::from_static("")))
}
