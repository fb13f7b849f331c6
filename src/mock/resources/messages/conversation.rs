//! The messages of conversations. Instead of the id of a conversation, a path may have the id of an agent, or `default`
//! with the agent in a parameter; both mean the agent's default conversation.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    cancel::{active_runs, cancel_runs},
    compaction::{self, CompactionRequest},
    list::{self, NEWEST, list_of_agent, message_types, respond, respond_reversed},
    preview::model_request,
    replay::{read_options, replay_run},
    send::{self, send},
    thread::resolve,
};
use crate::{
    access::{Call, Operation, is_letta_id},
    error::{ApiError, Code},
    mock::{
        agents::{
            compaction::compact,
            memory::{self, recompile_conversation},
            thread::Thread,
        },
        pagination::cursor::Page,
        records::{Conversation, DEFAULT_CONVERSATION, MessageView, Record, Run, RunType},
        resources::routes::{HandlerResult, Routes},
        state::State,
        storage::{not_found, parse},
        text::excerpt::excerpt,
        turn::{deny_pending, idempotency_key},
        validation::body::Fields,
    },
    reply::Reply,
    store::{MessageFilter, StoredMessage, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListConversationMessages, list)
        .on(Operation::SendConversationMessage, send_one)
        .on(Operation::PreviewConversationModelRequest, preview)
        .on(Operation::StreamConversation, stream)
        .on(Operation::CancelConversation, cancel)
        .on(Operation::RecompileConversation, recompile)
        .on(Operation::CompactConversation, summarize)
}

/// Unlike the list of an agent's messages, newest first and with cursors relative to the order, so that clients that page
/// see each message once. With a cursor that names nothing, the list is empty.
async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let (view, query) = (state.view(&call.permit), &call.query);
    let id = call.param("conversation_id");
    if !is_letta_id(id, "conv") {
        let agent = if id == DEFAULT_CONVERSATION { query.first("agent_id") } else { Some(id) };
        return match agent.filter(|agent| is_letta_id(agent, "agent")) {
            Some(agent) => list_of_agent(view, query, agent, Some(DEFAULT_CONVERSATION)).await,
            None => {
                Page::read(query, NEWEST)?;
                Ok(Reply::ok(json!([])))
            }
        };
    }
    let page = Page::read(query, NEWEST)?;
    let message_view = MessageView::only(message_types(query)?);
    query.boolean("include_err")?;
    let Some(conversation) = view.find::<Conversation>(id).await? else { return Ok(Reply::ok(json!([]))) };
    let of_conversation = MessageFilter::of_conversation(&conversation.record.agent_id, id);
    let belongs = |message: &StoredMessage| message.conversation_id == id;
    let messages = match list::page_in_order(view, of_conversation, &page, belongs).await {
        Err(error) if error.code() == Code::NotFound => Vec::new(),
        messages => messages?,
    };
    if page.newest_first { respond_reversed(&messages, &message_view) } else { respond(&messages, &message_view) }
}

async fn send_one(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, true).await?;
    if !request.delivery.streaming {
        request.check_plain()?;
    }
    let id = call.param("conversation_id");
    let thread = resolve(state.view(&call.permit), id, request.agent_id.as_deref()).await?;
    send(&state, thread, request, RunType::Conversation).await
}

/// The request that a provider would get for these messages.
async fn preview(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, true).await?;
    let id = call.param("conversation_id");
    let thread = resolve(state.view(&call.permit), id, request.agent_id.as_deref()).await?;
    Ok(Reply::ok(model_request(&state, &thread, &request).await?))
}

/// Streams a run in the background again: the one that the request names, or else the active one.
async fn stream(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_optional_body(&body)?;
    let options = read_options(fields.as_ref())?;
    let text = |name: &str| fields.as_ref().map_or(Ok(None), |fields| fields.optional::<String>(name));
    let (run_id, otid, agent_id) = (text("run_id")?, text("otid")?, text("agent_id")?);
    let view = state.view(&call.permit);
    let thread = resolve(view, call.param("conversation_id"), agent_id.as_deref()).await?;
    let run = match (run_id, otid) {
        (Some(id), _) => {
            let run = view.get::<Run>(&id).await?.record;
            if run.agent_id != thread.agent.record.id || run.thread_id() != thread.id() {
                return Err(not_found::<Run>(&id));
            }
            run
        }
        (None, Some(otid)) => run_with_otid(&state, &thread, &otid).await?,
        (None, None) => {
            let mut active = None;
            for id in active_runs(&state, &thread.agent.record.id, Some(thread.id())).await? {
                let run = view.find::<Run>(&id).await?.map(|run| run.record);
                active = active.or(run.filter(|run| run.delivery.is_some() && !run.has_ended()));
            }
            active.ok_or_else(|| {
                let detail = "INVALID_ARGUMENT: No active runs found for this conversation.";
                ApiError::letta(Code::InvalidRequest, detail)
            })?
        }
    };
    replay_run(&state, &run, options)
}

/// The run in the background whose request had a message with this otid, an id that the client chooses.
async fn run_with_otid(state: &State, thread: &Thread, otid: &str) -> Result<Run, ApiError> {
    let unknown = || ApiError::letta(Code::NotFound, format!("Run with otid {} not found", excerpt(otid)));
    let idempotency_key = idempotency_key(thread.id(), otid).ok_or_else(unknown)?;
    let linked = state.store.linked_documents(&idempotency_key, &[&thread.agent.record.id], Run::KIND).await?;
    let (_, document) = linked.into_iter().next_back().ok_or_else(unknown)?;
    Ok(parse::<Run>(document)?.record)
}

async fn cancel(state: Arc<State>, call: Call) -> HandlerResult {
    let id = call.param("conversation_id");
    let thread = resolve(state.view(&call.permit), id, call.query.first("agent_id")).await?;
    let agent_id = &thread.agent.record.id;
    let runs = active_runs(&state, agent_id, Some(thread.id())).await?;
    if !runs.is_empty() {
        return Ok(Reply::ok(Value::Object(cancel_runs(&state, runs).await?)));
    }
    match deny_pending(&state.store, agent_id, thread.conversation_id()).await? {
        Some(run) => Ok(Reply::ok(json!({run: "cancelled"}))),
        None => Err(ApiError::conflict(format!("CONFLICT: No active runs to cancel for conversation {id}"))),
    }
}

/// Compiles the system prompt and responds with it. Unless it is a dry run, it becomes the system message.
async fn recompile(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let CompactionRequest { agent_id, .. } = compaction::read(&body)?;
    let is_dry_run = call.query.boolean("dry_run")?.unwrap_or(false);
    let view = state.view(&call.permit);
    let named_agent = agent_id.or(call.query.first("agent_id").map(str::to_owned));
    let thread = resolve(view, call.param("conversation_id"), named_agent.as_deref()).await?;
    let (agent_id, conversation_id) = (thread.agent.record.id, thread.conversation.map(|own| own.record.id));
    let gone = || ApiError::letta(Code::NotFound, "Conversation not found");
    let prompt = transaction!(state.store, tx => {
        if is_dry_run {
            tx.only_try();
        }
        let mut thread = Thread::lock(tx, &agent_id, conversation_id.as_deref()).await?.ok_or_else(gone)?;
        let prompt = match &mut thread.conversation {
            Some(conversation) => {
                recompile_conversation(tx, &thread.agent.record, &mut conversation.record).await?
            }
            None => {
                memory::recompile(tx, &mut thread.agent.record).await?;
                memory::system_prompt(tx, &thread.agent.record).await?
            }
        };
        thread.update(tx).await?;
        Ok(prompt)
    })?;
    Ok(Reply::ok(prompt.into()))
}

async fn summarize(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let CompactionRequest { agent_id, settings } = compaction::read(&body)?;
    let named_agent = agent_id.or(call.query.first("agent_id").map(str::to_owned));
    let thread = resolve(state.view(&call.permit), call.param("conversation_id"), named_agent.as_deref()).await?;
    let compacted = compact(&state.store, &thread.agent.record.id, thread.conversation_id(), settings.as_ref()).await?;
    Ok(Reply::ok(compacted.wire()))
}
