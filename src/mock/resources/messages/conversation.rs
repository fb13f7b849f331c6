//! What is said in conversations. In the place of a conversation's id stands also an agent's, or `default` with an agent
//! named beside it: both mean the agent's default conversation.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    agent::{cancel_all, of_agent, running},
    list::{self, NEWEST, message_types, written, written_backwards},
    send::{self, send},
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
        records::{Conversation, Message, MessageView, Record, Run, RunType},
        resources::{
            HandlerResult, Routes,
            conversations::named,
            runs::{again, read_reading},
        },
        responder::provider_request,
        state::State,
        storage::documents::{View, parse},
        tools::set::ToolSet,
        turn::{SendRequest, give_up_question},
        validation::body::{Expect, Fields},
    },
    reply::Reply,
    store::{MessageFilter, StoredMessage, transaction},
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListConversationMessages, list)
        .on(Operation::SendConversationMessage, say)
        .on(Operation::PreviewConversationModelRequest, preview)
        .on(Operation::StreamConversation, stream)
        .on(Operation::CancelConversation, cancel)
        .on(Operation::RecompileConversation, recompile)
        .on(Operation::CompactConversation, shorten)
}

/// Newest first and with cursors relative to the order, unlike an agent's: clients that page visit each message once. A
/// cursor that names nothing here leaves nothing.
async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let (view, query) = (state.view(&call.permit), &call.query);
    let id = call.param("conversation_id");
    if !is_letta_id(id, "conv") {
        let agent = if id == "default" { query.first("agent_id") } else { Some(id) };
        return match agent.filter(|agent| is_letta_id(agent, "agent")) {
            Some(agent) => of_agent(view, query, agent, Some("default")).await,
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
    if page.newest_first { written_backwards(&messages, &message_view) } else { written(&messages, &message_view) }
}

async fn say(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, true).await?;
    if !request.delivery.streaming {
        request.check_plain()?;
    }
    let id = call.param("conversation_id");
    let thread = named(state.view(&call.permit), id, request.agent_id.as_deref()).await?;
    send(&state, thread, request, RunType::Conversation).await
}

/// What a provider would be sent.
async fn preview(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, true).await?;
    let id = call.param("conversation_id");
    let thread = named(state.view(&call.permit), id, request.agent_id.as_deref()).await?;
    Ok(Reply::ok(preview_of(&state, &thread, &request).await?))
}

/// The request that a model would be sent about what is said in a conversation.
pub(in crate::mock) async fn preview_of(
    state: &State,
    thread: &Thread,
    request: &SendRequest,
) -> Result<Value, ApiError> {
    let agent = &thread.agent.record;
    let tool_set = ToolSet::of(&state.store, agent, &request.request.client_tools).await?;
    let filter = MessageFilter::of_conversation(&agent.id, thread.id()).newest_first(true).limit(2_000);
    let stored = state.store.messages(&filter).await?;
    let stored =
        stored.iter().rev().map(crate::mock::storage::documents::parse_message).collect::<Result<Vec<_>, _>>()?;
    let is_seen = |message: &&Message| thread.context().iter().any(|entry| entry.id == message.id);
    let mut messages: Vec<Message> = stored.iter().filter(is_seen).cloned().collect();
    messages.extend(request.request.input.iter().cloned().map(crate::mock::turn::Incoming::into_initial));
    let model = request.request.model.as_deref().unwrap_or(&agent.model.handle);
    Ok(provider_request::request(agent, model, &messages, Some(&tool_set)))
}

/// Reads a stream again: of the run that is named, or of the one that runs.
async fn stream(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_optional_body(&body)?;
    let reading = read_reading(fields.as_ref())?;
    let text = |name: &str| fields.as_ref().map_or(Ok(None), |fields| fields.optional::<String>(name));
    let (run_id, otid, agent_id) = (text("run_id")?, text("otid")?, text("agent_id")?);
    let view = state.view(&call.permit);
    let thread = named(view, call.param("conversation_id"), agent_id.as_deref()).await?;
    let run = match (run_id, otid) {
        (Some(id), _) => {
            let run = view.get::<Run>(&id).await?.record;
            if run.agent_id != thread.agent.record.id || run.thread_id() != thread.id() {
                return Err(crate::mock::storage::documents::not_found::<Run>(&id));
            }
            run
        }
        (None, Some(otid)) => by_otid(&state, &thread, &otid).await?,
        (None, None) => {
            let mut active = None;
            for id in running(&state, &thread.agent.record.id, Some(thread.id())).await? {
                let run = view.find::<Run>(&id).await?.map(|run| run.record);
                active = active.or(run.filter(|run| run.delivery.is_some() && !run.has_ended()));
            }
            active.ok_or_else(|| {
                let detail = "INVALID_ARGUMENT: No active runs found for this conversation.";
                ApiError::letta(Code::InvalidRequest, detail)
            })?
        }
    };
    again(&state, &run, reading)
}

/// The run in the background whose request brought a message with this otid, which its client chose.
async fn by_otid(state: &State, thread: &Thread, otid: &str) -> Result<Run, ApiError> {
    let unknown = || {
        let otid: String = otid.chars().take(100).collect();
        ApiError::letta(Code::NotFound, format!("Run with otid {otid} not found"))
    };
    let idempotency_key = crate::mock::turn::idempotency_key(thread.id(), otid).ok_or_else(unknown)?;
    let linked = state.store.linked_documents(&idempotency_key, &[&thread.agent.record.id], Run::KIND).await?;
    let (_, document) = linked.into_iter().next_back().ok_or_else(unknown)?;
    Ok(parse::<Run>(document)?.record)
}

async fn cancel(state: Arc<State>, call: Call) -> HandlerResult {
    let id = call.param("conversation_id");
    let thread = named(state.view(&call.permit), id, call.query.first("agent_id")).await?;
    let agent_id = &thread.agent.record.id;
    let runs = running(&state, agent_id, Some(thread.id())).await?;
    if !runs.is_empty() {
        return cancel_all(&state, runs).await;
    }
    let conversation = thread.conversation.as_ref().map(|own| own.record.id.as_str());
    match give_up_question(&state.store, agent_id, conversation).await? {
        Some(run) => Ok(Reply::ok(json!({run: "cancelled"}))),
        None => Err(ApiError::conflict(format!("CONFLICT: No active runs to cancel for conversation {id}"))),
    }
}

/// The compiled prompt, which becomes the conversation's system message unless it is only asked for.
async fn recompile(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let CompactionRequest { agent_id, .. } = read_compaction(&body)?;
    let only_asked = call.query.boolean("dry_run")?.unwrap_or(false);
    let view = state.view(&call.permit);
    let named_agent = agent_id.or(call.query.first("agent_id").map(str::to_owned));
    let thread = named(view, call.param("conversation_id"), named_agent.as_deref()).await?;
    let (agent_id, conversation_id) = (thread.agent.record.id, thread.conversation.map(|own| own.record.id));
    let gone = || ApiError::letta(Code::NotFound, "Conversation not found");
    let prompt = transaction!(state.store, tx => {
        if only_asked {
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

async fn shorten(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let CompactionRequest { agent_id, settings } = read_compaction(&body)?;
    let named_agent = agent_id.or(call.query.first("agent_id").map(str::to_owned));
    let thread = named_thread(state.view(&call.permit), call.param("conversation_id"), named_agent).await?;
    let conversation = thread.conversation.as_ref().map(|own| own.record.id.as_str());
    let compacted = compact(&state.store, &thread.agent.record.id, conversation, settings.as_ref()).await?;
    Ok(Reply::ok(compacted.wire()))
}

async fn named_thread(view: View<'_>, id: &str, agent_id: Option<String>) -> Result<Thread, ApiError> {
    named(view, id, agent_id.as_deref()).await
}

/// What a request about compaction says: an agent in the place of a conversation, and how to go about it.
#[derive(Default)]
pub(in crate::mock) struct CompactionRequest {
    agent_id: Option<String>,
    pub(in crate::mock) settings: Option<Map<String, Value>>,
}

pub(in crate::mock) fn read_compaction(body: &Value) -> Result<CompactionRequest, ApiError> {
    const MODES: &[&str] = &["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"];
    let Some(fields) = Fields::of_optional_body(body)? else { return Ok(CompactionRequest::default()) };
    let settings = fields.optional::<Fields<'_>>("compaction_settings")?;
    if let Some(settings) = &settings {
        settings.check(&[
            ("model", Expect::Text),
            ("model_settings", Expect::Object),
            ("prompt", Expect::Text),
            ("prompt_acknowledgement", Expect::Flag),
            ("clip_chars", Expect::Integer),
            ("mode", Expect::Word(MODES)),
            ("sliding_window_percentage", Expect::Number),
        ])?;
    }
    let settings = settings.map(|settings| settings.map().clone());
    Ok(CompactionRequest { agent_id: fields.optional("agent_id")?, settings })
}
