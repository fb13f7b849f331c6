//! The messages of an agent: sending them in every way there is, and reading them again.

use std::sync::Arc;

use http::{HeaderValue, header};
use serde_json::{Map, Value, json};

use super::{
    conversation::{preview_of, read_compaction},
    list::{self, NEWEST, message_view, written},
    send::{self, send, send_later},
};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        agents::{compaction::compact, thread::Thread},
        pagination::cursor::Page,
        records::{Agent, Record, Run, RunType, include::is_current_client, links},
        resources::{HandlerResult, Routes},
        state::State,
        storage::documents::{View, is_plain, not_found, parse},
        turn::{cancel_elsewhere, give_up_question},
        validation::body::Fields,
    },
    reply::Reply,
    request::input::Query,
    store::{DocumentFilter, MessageFilter},
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListMessages, list)
        .on(Operation::SendMessage, send_one)
        .on(Operation::StreamMessage, stream)
        .on(Operation::SendMessageAsync, send_async)
        .on(Operation::CancelMessages, cancel)
        .on(Operation::PreviewModelRequest, preview)
        .on(Operation::SummarizeMessages, summarize)
        .on(Operation::ModifyMessage, modify)
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let conversation = call.query.first("conversation_id");
    of_agent(state.view(&call.permit), &call.query, call.param("agent_id"), conversation).await
}

/// The messages of an agent, of one of its conversations or of all. Always oldest first; `order` only says which end of
/// the history `limit` keeps.
pub(in crate::mock) async fn of_agent(
    view: View<'_>,
    query: &Query,
    agent_id: &str,
    conversation: Option<&str>,
) -> HandlerResult {
    let page = Page::read(query, NEWEST)?;
    let message_view = message_view(query)?;
    query.boolean("include_err")?;
    let filter = match conversation {
        Some(conversation) if is_plain(conversation) => MessageFilter::of_conversation(agent_id, conversation),
        // No conversation has such a name.
        Some(_) => MessageFilter::of_agent(agent_id).limit(0),
        None => MessageFilter::of_agent(agent_id),
    };
    // Messages of groups are not filed under the agents that said them.
    let nothing = conversation.is_some_and(|conversation| !is_plain(conversation)) || query.first("group_id").is_some();
    let page = if nothing { Page { limit: 0, ..page } } else { page };
    let messages = list::page(view, filter, &page, |message| message.agent_id == agent_id).await;
    // A message shows that its agent is there. Where there is none, one has to look.
    if !messages.as_ref().is_ok_and(|messages| messages.first().is_some_and(|message| view.shows(message))) {
        view.get_stored::<Agent>(agent_id).await?;
    }
    let messages = messages?;
    if page.newest_first { written(messages.iter().rev(), &message_view) } else { written(&messages, &message_view) }
}

async fn send_one(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, false).await?;
    if !request.delivery.streaming {
        request.check_plain()?;
    } else if !is_current_client(&call.headers) {
        return Err(ApiError::letta(
            Code::ValidationFailed,
            "streaming=true needs a client of the 1.x generation here; others use /messages/stream.",
        ));
    }
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    send(&state, thread, request, RunType::Plain).await
}

async fn stream(state: Arc<State>, mut call: Call) -> HandlerResult {
    let mut request = send::read(&state, &mut call, true).await?;
    request.delivery.streaming = true;
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    send(&state, thread, request, RunType::Streaming).await
}

async fn send_async(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, false).await?;
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    send_later(&state, thread, request).await
}

async fn addressed(view: View<'_>, agent_id: &str) -> Result<Thread, ApiError> {
    Ok(Thread::default_of(view.get::<Agent>(agent_id).await?))
}

/// Without ids: the runs that have not ended, or else the question that the agent waits for an answer to, or else the
/// last run, which is then reported as cancelled although it is left as it is.
async fn cancel(state: Arc<State>, mut call: Call) -> HandlerResult {
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
        runs.push(run.id);
    }
    if named.is_empty() {
        runs = running(&state, agent_id, None).await?;
    }
    if runs.is_empty()
        && let Some(run) = give_up_question(&state.store, agent_id, None).await?
    {
        return Ok(Reply::ok(json!({run: "cancelled"})));
    }
    if runs.is_empty() {
        let conflict = || ApiError::conflict(format!("CONFLICT: No active runs to cancel for agent {agent_id}"));
        runs.push(last(view, agent_id).await?.ok_or_else(conflict)?);
    }
    cancel_all(&state, runs).await
}

/// The ids of an agent's runs that have not ended, in one of its conversations or in any.
pub(in crate::mock) async fn running(
    state: &State,
    agent_id: &str,
    conversation: Option<&str>,
) -> Result<Vec<String>, ApiError> {
    let mut running = state.turns.of_agent(agent_id, conversation);
    for (_, document) in state.store.linked_documents(links::ACTIVE_RUN, &[agent_id], Run::KIND).await? {
        let run = parse::<Run>(document)?.record;
        let is_there = conversation.is_none_or(|conversation| run.thread_id() == conversation);
        if is_there && !run.has_ended() && !running.contains(&run.id) {
            running.push(run.id);
        }
    }
    Ok(running)
}

/// Cancels runs, those that have ended excepted, and says so of all.
pub(in crate::mock) async fn cancel_all(state: &State, runs: Vec<String>) -> HandlerResult {
    let mut cancelled = Map::new();
    for id in runs {
        if !state.turns.cancel(&id).await
            && let Some(run) = state.store.document(Run::KIND, &id).await?
        {
            let run = parse::<Run>(run)?.record;
            if !run.has_ended() {
                cancel_elsewhere(&state.store, &run).await?;
            }
        }
        cancelled.insert(id, "cancelled".into());
    }
    Ok(Reply::ok(Value::Object(cancelled)))
}

async fn last(view: View<'_>, agent_id: &str) -> Result<Option<String>, ApiError> {
    let newest = DocumentFilter::of_parent(Run::KIND, agent_id).newest_first(true).limit(1);
    Ok(view.list::<Run>(&newest).await?.pop().map(|run| run.record.id))
}

/// What a provider would be sent.
async fn preview(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, false).await?;
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    Ok(Reply::ok(preview_of(&state, &thread, &request).await?))
}

async fn summarize(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let settings = read_compaction(&body)?.settings;
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    let compacted = compact(&state.store, &thread.agent.record.id, None, settings.as_ref()).await?;
    Ok(Reply::ok(compacted.wire()))
}

/// Letta has removed it.
pub(in crate::mock) async fn modify(_: Arc<State>, _: Call) -> HandlerResult {
    Err(ApiError::letta(Code::MethodNotAllowed, "Messages cannot be edited any more.")
        .header(header::ALLOW, HeaderValue::from_static("")))
}
