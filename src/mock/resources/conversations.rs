//! Conversations: histories of an agent in addition to its default one. Their messages are in `messages/conversation.rs`.

use std::sync::Arc;

use serde_json::Value;

use super::{
    lists::in_project,
    messages::thread::resolve,
    models::handles,
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation, is_letta_id},
    error::{ApiError, Code},
    mock::{
        agents::{
            directories,
            memory::{blocks_of_conversation, conversation_prompt, delete_blocks, lock_with_agents},
            thread::Thread,
        },
        budget::Budget,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Block, ContextEntry, Conversation, Message, Part, Record, Role, remember},
        state::State,
        storage::{Prepared, Stored, insert_all, insert_messages, parse_message, relations::leave_groups, update},
        text::excerpt::excerpt,
        validation::body::{Expect, Fields},
    },
    reply::Reply,
    store::{DocumentFilter, Locks, MessageFilter, Tx, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::CreateConversation, create)
        .on(Operation::ListConversations, list)
        .on(Operation::RetrieveConversation, retrieve)
        .on(Operation::ModifyConversation, modify)
        .on(Operation::DeleteConversation, delete)
        .on(Operation::ForkConversation, fork)
}

const LIST: Defaults =
    Defaults { limit: 50, newest_first: true, order_by: &["created_at", "last_run_completion", "last_message_at"] };

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_optional_body(&body)?;
    let labels: Vec<String> = match &fields {
        Some(fields) => {
            fields.check(&[("summary", Expect::Text), ("model", Expect::Text), ("model_settings", Expect::Object)])?;
            fields.optional("isolated_block_labels")?.unwrap_or_default()
        }
        None => Vec::new(),
    };
    let model = fields.as_ref().map(|fields| fields.optional("model")).transpose()?.flatten();
    handles::check_model(&state, &call.permit, model).await?;
    let Some(agent_id) = call.query.first("agent_id") else {
        return Err(ApiError::validation("missing", &["query", "agent_id"], "Field required", &Value::Null));
    };
    let view = state.view(&call.permit);
    let found = if is_letta_id(agent_id, "agent") { view.find::<Agent>(agent_id).await? } else { None };
    let agent = found.ok_or_else(|| ApiError::letta(Code::NotFound, "Agent not found"))?;
    let mut conversation = Conversation::new(&agent.record.id);
    if let Some(fields) = &fields {
        conversation.change(fields)?;
        conversation.last_message_at = None;
    }
    let conversation = transaction!(state.store, tx => {
        let agent = view.get_for_update::<Agent>(tx, &agent.record.id).await?;
        let mut conversation = conversation.clone();
        begin(tx, &agent, &mut conversation, &labels).await?;
        let new = [Prepared::new(Some(&agent.record.id), &conversation)?];
        insert_all(tx, &agent.project, &new).await?;
        Ok(conversation)
    })?;
    Ok(Reply::ok(conversation.wire(false)))
}

/// Gives a new conversation its system message, and copies of the blocks that are isolated for it.
async fn begin(
    tx: &mut Tx,
    agent: &Stored<Agent>,
    conversation: &mut Conversation,
    labels: &[String],
) -> Result<(), ApiError> {
    let mut blocks = blocks_of_conversation(tx, &agent.record.id, &[]).await?;
    let mut copies = Vec::new();
    for label in labels {
        let unknown = || {
            let label = excerpt(label);
            ApiError::letta(
                Code::InvalidRequest,
                format!("INVALID_ARGUMENT: The agent has no block labelled '{label}'"),
            )
        };
        let block = blocks.iter_mut().find(|block| block.label == *label).ok_or_else(unknown)?;
        if conversation.isolated_block_ids.contains(&block.id) {
            continue;
        }
        block.id = crate::entropy::letta_id(Block::KIND);
        conversation.isolated_block_ids.push(block.id.clone());
        copies.push(Prepared::new(Some(&conversation.id), block)?);
    }
    insert_all(tx, &agent.project, &copies).await?;
    let shown = directories::within(tx, &agent.record).await?;
    let prompt = conversation_prompt(&agent.record, conversation, &blocks, &shown);
    let system = Message::new(Role::System, vec![Part::text(prompt)]);
    conversation.context = vec![ContextEntry { id: system.id.clone(), tokens: system.tokens() }];
    insert_messages(tx, agent, &conversation.id, &[system]).await
}

/// When sorted by a time, conversations without one come last.
async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let query = &call.query;
    let page = Page { before: None, ..Page::read(query, LIST)? };
    let search = query.first("summary_search");
    let accepts = |conversation: &Conversation| {
        search.is_none_or(|search| conversation.summary.as_deref().is_some_and(|summary| summary.contains(search)))
    };
    let listing = match query.first("agent_id") {
        Some(agent) => Listing::of(DocumentFilter::of_parent(Conversation::KIND, agent)),
        None => in_project(&call),
    };
    let view = state.view(&call.permit);
    let conversations = match query.first("order_by") {
        Some("last_run_completion") => {
            listing.sorted_page(view, &page, accepts, |conversation| conversation.last_run_completion).await?
        }
        Some("last_message_at") => {
            listing.sorted_page(view, &page, accepts, |conversation| conversation.last_message_at).await?
        }
        _ => listing.page(view, &page, accepts).await?,
    };
    Ok(Reply::ok(conversations.iter().map(|conversation| conversation.record.wire(false)).collect()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let conversation = state.view(&call.permit).get::<Conversation>(call.param("conversation_id")).await?;
    Ok(Reply::ok(conversation.record.wire(true)))
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    // Malformed fields are refused before anything is looked up.
    Conversation::new("").change(&fields)?;
    handles::check_model(&state, &call.permit, fields.optional("model")?).await?;
    let view = state.view(&call.permit);
    let found = view.get::<Conversation>(call.param("conversation_id")).await?;
    let conversation = transaction!(state.store, tx => {
        let Conversation { id, agent_id, .. } = &found.record;
        let locked = tx.lock(&Locks::of(Agent::KIND, [agent_id]).and(Conversation::KIND, [id])).await?;
        let mut conversation = view.locked::<Conversation>(&locked, id)?.record;
        conversation.change(&fields)?;
        update(tx, &conversation).await?;
        Ok(conversation)
    })?;
    Ok(Reply::ok(conversation.wire(false)))
}

/// Deletes its messages and its isolated blocks too.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let found = view.get::<Conversation>(call.param("conversation_id")).await?.record;
    transaction!(state.store, tx => {
        let locks = Locks::of(Agent::KIND, [&found.agent_id]).and(Conversation::KIND, [&found.id]);
        let shown = lock_with_agents(tx, &found.isolated_block_ids, locks).await?;
        view.locked::<Conversation>(&shown.locked, &found.id)?;
        leave_groups(tx, &[], &found.isolated_block_ids).await?;
        delete_blocks(tx, &shown, &[]).await?;
        tx.delete_conversation(&found.agent_id, &found.id, "").await?;
        tx.delete_document(Conversation::KIND, &found.id).await?;
        Ok(())
    })?;
    for run in state.turns.of_agent(&found.agent_id, Some(&found.id)) {
        state.turns.cancel(&run).await;
    }
    Ok(Reply::ok(Value::Null))
}

/// Copies a conversation with its messages; the copy gets a system message of its own.
async fn fork(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let origin = resolve(view, call.param("conversation_id"), call.query.first("agent_id")).await?;
    let (agent_id, origin_id) = (origin.agent.record.id.clone(), origin.conversation.map(|own| own.record.id));
    let budget = state.response_budget();
    let conversation = transaction!(state.store, tx => {
        let origin = Thread::lock(tx, &agent_id, origin_id.as_deref()).await?;
        let origin = origin.ok_or_else(|| ApiError::letta(Code::NotFound, "Conversation not found"))?;
        let mut conversation = Conversation::new(&agent_id);
        conversation.model = origin.conversation.as_ref().and_then(|own| own.record.model.clone());
        conversation.model_settings = origin.conversation.as_ref().and_then(|own| own.record.model_settings.clone());
        begin(tx, &origin.agent, &mut conversation, &[]).await?;
        let copies = copy_history(tx, &origin, &conversation.id, &budget).await?;
        conversation.recall = i64::try_from(copies.count).unwrap_or(i64::MAX);
        let (window, forgets) = (origin.agent.record.model.context_window(), origin.agent.record.message_buffer_autoclear);
        remember(&mut conversation.context, copies.context, window, forgets);
        conversation.pending = origin.pending().cloned().map(|mut pending| {
            if let Some(id) = copies.pending {
                pending.request.id = id;
            }
            Box::new(pending)
        });
        insert_all(tx, &origin.agent.project, &[Prepared::new(Some(&agent_id), &conversation)?]).await?;
        Ok(conversation)
    })?;
    Ok(Reply::ok(conversation.wire(false)))
}

/// What was copied from a history.
struct Copies {
    count: usize,
    /// The copies of the messages that the model sees.
    context: Vec<ContextEntry>,
    /// The copy of the message whose tool call waits for approval.
    pending: Option<String>,
}

/// Copies all messages of a conversation except its system message to another one.
async fn copy_history(tx: &mut Tx, origin: &Thread, into: &str, budget: &Budget) -> Result<Copies, ApiError> {
    const CHUNK: i64 = 500;
    const CHUNK_BYTES: usize = 4 * 1024 * 1024;
    let seen: std::collections::HashSet<&str> = origin.context().iter().map(|entry| entry.id.as_str()).collect();
    let mut copies = Copies { count: 0, context: Vec::new(), pending: None };
    let of_origin = MessageFilter::of_conversation(&origin.agent.record.id, origin.id()).limit(CHUNK);
    let mut from = 0;
    loop {
        let chunk = tx.messages_chunk(&of_origin.after(from), CHUNK_BYTES).await?;
        let Some(last) = chunk.last() else { return Ok(copies) };
        from = last.seq;
        budget.charge(chunk.iter().map(|message| message.body.len()).sum())?;
        let mut messages = chunk.iter().map(parse_message).collect::<Result<Vec<_>, _>>()?;
        messages.retain(|message| message.role != Role::System || message.run_id.is_some());
        for message in &mut messages {
            let original = std::mem::replace(&mut message.id, crate::entropy::letta_id("message"));
            if origin.pending_id() == Some(original.as_str()) {
                copies.pending = Some(message.id.clone());
            }
            if seen.contains(original.as_str()) {
                copies.context.push(ContextEntry { id: message.id.clone(), tokens: message.tokens() });
            }
        }
        copies.count += messages.len();
        insert_messages(tx, &origin.agent, into, &messages).await?;
    }
}
