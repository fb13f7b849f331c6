//! What the model sees of an agent: its system prompt, compiled again, and everything in its context window.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        agents::{
            directories::{self, Directories, Source},
            memory, prompt,
        },
        records::{Agent, Block, ContextEntry, Conversation, DEFAULT_CONVERSATION, Passage, Record, Timestamp},
        resources::{HandlerResult, Routes},
        search::archival,
        state::State,
        storage::documents::{View, not_found, parse_message, update},
        text::tokens,
        tools::builtin,
    },
    reply::Reply,
    store::transaction,
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::RecompileAgent, recompile)
        .on(Operation::RecompileAgentSystemPrompt, recompile)
        .on(Operation::RetrieveAgentContextWindow, context)
        .on(Operation::GetAgentVariables, variables)
}

/// Answers with the prompt. `update_timestamp` changes nothing: a prompt that is compiled says when.
async fn recompile(state: Arc<State>, call: Call) -> HandlerResult {
    let only_asked = call.query.boolean("dry_run")?.unwrap_or(false);
    call.query.boolean("update_timestamp")?;
    let view = state.view(&call.permit);
    if only_asked {
        let agent = view.get::<Agent>(call.param("agent_id")).await?.record;
        let blocks = blocks(view, &agent.id).await?;
        let shown = directories(view, &agent).await?;
        let prompt = prompt::compile(&agent, DEFAULT_CONVERSATION, &blocks, &shown, Timestamp::now());
        return Ok(Reply::ok(prompt.into()));
    }
    let agent_id = call.param("agent_id");
    let prompt = transaction!(state.store, tx => {
        let mut agent = view.get_for_update::<Agent>(tx, agent_id).await?.record;
        memory::recompile(tx, &mut agent).await?;
        agent.touch();
        let prompt = memory::system_prompt(tx, &agent).await?;
        update(tx, &agent).await?;
        Ok(prompt)
    })?;
    Ok(Reply::ok(prompt.into()))
}

/// What is in the context window, part by part, with estimates of what each costs.
async fn context(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let mut agent = view.get::<Agent>(call.param("agent_id")).await?.record;
    let mut blocks = blocks(view, &agent.id).await?;
    let mut conversation_id = DEFAULT_CONVERSATION.to_owned();
    if let Some(id) = call.query.first("conversation_id").filter(|id| *id != DEFAULT_CONVERSATION) {
        let conversation = view.get::<Conversation>(id).await?.record;
        if conversation.agent_id != agent.id {
            return Err(not_found::<Conversation>(id));
        }
        isolate(view, &mut blocks, &conversation).await?;
        (agent.context, agent.recall) = (conversation.context, conversation.recall);
        conversation_id = conversation.id;
    }
    let (mut messages, system) = messages(view, &agent.context, &agent.id, &conversation_id).await?;
    for message in &mut messages {
        message["model"] = agent.model.llm.get("model").cloned().unwrap_or_default();
    }
    let functions: Vec<Value> = builtin::of_agent(view.store(), &agent.id)
        .await?
        .iter()
        .map(|tool| {
            let mut function = tool.record.json_schema.clone();
            function.insert("strict".into(), Value::Null);
            json!({"function": function, "type": "function"})
        })
        .collect();
    let archived = match archival::archive_of(view.store(), &agent.id).await? {
        Some(archive) => view.store().count_children(Passage::KIND, &archive.record.id).await?,
        None => 0,
    };
    let core_memory = prompt::memory_blocks(&blocks);
    let directories = prompt::directories(&agent, &directories(view, &agent).await?);
    // The summary as it was compiled, which is what the model sees.
    let summary = system.rfind("<memory_metadata>").and_then(|start| system.get(start..)).unwrap_or_default();
    let functions_tokens: i64 = functions.iter().map(|function| tokens::estimate(&function.to_string())).sum();
    let messages_tokens: i64 = agent.context.iter().skip(1).map(|entry| entry.tokens).sum();
    let parts = [agent.system.as_str(), core_memory.as_str(), summary].map(tokens::estimate);
    let [system_tokens, core_tokens, summary_tokens] = parts;
    let directories_tokens = directories.as_deref().map_or(0, tokens::estimate);
    Ok(Reply::ok(json!({
        "context_window_size_max": agent.model.context_window(),
        "context_window_size_current": parts.iter().sum::<i64>() + directories_tokens + functions_tokens + messages_tokens,
        "num_messages": agent.context.len(),
        "num_archival_memory": archived,
        "num_recall_memory": agent.recall + 1,
        "num_tokens_external_memory_summary": summary_tokens,
        "external_memory_summary": summary,
        "num_tokens_system": system_tokens,
        "system_prompt": agent.system,
        "num_tokens_core_memory": core_tokens,
        "core_memory": core_memory,
        "num_tokens_memory_filesystem": 0,
        "memory_filesystem": null,
        "num_tokens_tool_usage_rules": 0,
        "tool_usage_rules": null,
        "num_tokens_directories": directories_tokens,
        "directories": directories,
        "num_tokens_summary_memory": 0,
        "summary_memory": null,
        "num_tokens_functions_definitions": functions_tokens,
        "functions_definitions": functions,
        "num_tokens_messages": messages_tokens,
        "messages": messages,
    })))
}

/// The messages that the model sees, as they are stored, and the text of the system message.
async fn messages(
    view: View<'_>,
    context: &[ContextEntry],
    agent_id: &str,
    conversation_id: &str,
) -> Result<(Vec<Value>, String), ApiError> {
    let ids: Vec<&str> = context.iter().map(|entry| entry.id.as_str()).collect();
    let mut system = String::new();
    let mut stored = Vec::new();
    for message in view.store().messages_by_ids(&ids).await? {
        let message = parse_message(&message)?;
        if ids.first() == Some(&message.id.as_str()) {
            system = message.text();
        }
        stored.push(message.stored(agent_id, conversation_id));
    }
    Ok((stored, system))
}

async fn blocks(view: View<'_>, agent_id: &str) -> Result<Vec<Block>, ApiError> {
    Ok(memory::blocks(view, agent_id).await?.into_iter().map(|block| block.record).collect())
}

async fn directories(view: View<'_>, agent: &Agent) -> Result<Directories, ApiError> {
    directories::of(Source::Store(view.store()), agent).await
}

/// Puts the blocks that a conversation has for itself in the places of its agent's.
async fn isolate(view: View<'_>, blocks: &mut [Block], conversation: &Conversation) -> Result<(), ApiError> {
    let ids: Vec<&str> = conversation.isolated_block_ids.iter().map(String::as_str).collect();
    for own in view.find_all::<Block>(&ids).await? {
        if let Some(hidden) = blocks.iter_mut().find(|block| block.label == own.record.label) {
            *hidden = own.record;
        }
    }
    Ok(())
}

/// What stands for the variables in the blocks that were made with the agent.
async fn variables(state: Arc<State>, call: Call) -> HandlerResult {
    let agent = state.view(&call.permit).get::<Agent>(call.param("agent_id")).await?;
    Ok(Reply::ok(json!({"variables": agent.record.variables})))
}
