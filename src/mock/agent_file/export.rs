//! Agents written down.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::{
    error::ApiError,
    mock::{
        documents::{Stored, View, parse_message},
        listing::Listing,
        memory,
        records::{
            Agent, Block, ContextEntry, DEFAULT_CONVERSATION, File, FileText, Folder, OpenFiles, Record, Timestamp,
            links, object,
        },
        tools,
    },
    store::{DocumentFilter, MessageFilter},
};

/// What of an agent is written down.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Export<'a> {
    /// Whose messages: `default`, or a conversation's id.
    pub(in crate::mock) conversation_id: &'a str,
    /// What the model sees of them.
    pub(in crate::mock) context: &'a [ContextEntry],
    pub(in crate::mock) without_messages: bool,
    /// Skills, which come from the request.
    pub(in crate::mock) skills: Vec<Value>,
}

/// Which revision of Letta's schema the form is that of.
const REVISION: &str = "1c28e167b74f";

/// Things numbered in the order in which they are met: `block-0`, `block-1`.
#[derive(Debug)]
struct Numbers {
    prefix: &'static str,
    by_id: HashMap<String, String>,
}

impl Numbers {
    fn new(prefix: &'static str) -> Self {
        Self { prefix, by_id: HashMap::new() }
    }

    fn of(&mut self, id: &str) -> String {
        let next = format!("{}-{}", self.prefix, self.by_id.len());
        self.by_id.entry(id.to_owned()).or_insert(next).clone()
    }
}

/// An agent as a file. Groups and identities, which are of more than one agent, are left out.
pub(in crate::mock) async fn export(
    view: View<'_>,
    agent: &Stored<Agent>,
    export: Export<'_>,
) -> Result<Value, ApiError> {
    let record = &agent.record;
    let blocks = memory::blocks(view, &record.id).await?;
    let tools = tools::of_agent(view.store(), &record.id).await?;
    let mut tool_numbers = Numbers::new("tool");
    let mut block_numbers = Numbers::new("block");
    let (sources, files, attachments) = shelf(view, record).await?;
    let (messages, context) = messages(view, record, &export).await?;

    let mut written = agent_fields(record);
    written.extend(object! {
        "tool_ids": tools.iter().map(|tool| tool_numbers.of(&tool.record.id)).collect::<Vec<_>>(),
        "block_ids": blocks.iter().map(|block| block_numbers.of(&block.record.id)).collect::<Vec<_>>(),
        "source_ids": sources.iter().map(|source| source["id"].clone()).collect::<Vec<_>>(),
        "in_context_message_ids": context,
        "messages": messages,
        "files_agents": attachments,
    });
    let tools: Vec<Value> = tools
        .iter()
        .map(|tool| {
            let mut wire = tool.record.wire();
            wire["id"] = tool_numbers.of(&tool.record.id).into();
            wire["project_id"] = Value::Null;
            wire
        })
        .collect();
    let blocks: Vec<Value> =
        blocks.iter().map(|block| block_fields(&block.record, &block_numbers.of(&block.record.id))).collect();
    Ok(json!({
        "agents": [written],
        "groups": [],
        "blocks": blocks,
        "files": files,
        "sources": sources,
        "tools": tools,
        "mcp_servers": [],
        "skills": export.skills,
        "metadata": {"revision_id": REVISION},
        "created_at": Timestamp::now().with_offset(),
    }))
}

/// The agent itself. The order of the keys is Letta's; what is linked to it is filled in later.
fn agent_fields(agent: &Agent) -> Map<String, Value> {
    // The names of secrets stay, their values do not.
    let blanked: Map<String, Value> = agent.environment().keys().map(|key| (key.clone(), "".into())).collect();
    let mut fields = object! {
        "name": agent.name,
        "memory_blocks": [],
        "tools": [],
        "tool_ids": null,
        "source_ids": null,
        "folder_ids": null,
        "block_ids": null,
        "tool_rules": agent.tool_rules,
        "tags": agent.tags,
        "system": agent.system,
        "agent_type": agent.agent_type,
        "initial_message_sequence": null,
        "include_base_tools": false,
        "include_multi_agent_tools": false,
        "include_base_tool_rules": false,
        "include_default_source": false,
        "description": agent.description,
        "metadata": agent.metadata,
        "llm_config": agent.model.llm,
        "embedding_config": agent.embedding.as_ref().map(|embedding| &embedding.config),
        "model": null,
        "embedding": null,
        "model_settings": null,
        "compaction_settings": null,
        "context_window_limit": null,
        "embedding_chunk_size": null,
        "max_tokens": null,
        "max_reasoning_tokens": null,
        "enable_reasoner": false,
        "reasoning": null,
        "from_template": null,
        "template": false,
        "project": null,
    };
    fields.extend(object! {
        "tool_exec_environment_variables": blanked,
        "secrets": null,
        "memory_variables": null,
        "project_id": null,
        "template_id": null,
        "base_template_id": null,
        "identity_ids": null,
        "message_buffer_autoclear": agent.message_buffer_autoclear,
        "enable_sleeptime": false,
        "response_format": agent.response_format,
        "timezone": agent.timezone,
        "max_files_open": agent.max_files_open,
        "per_file_view_window_char_limit": agent.per_file_view_window_char_limit,
        "hidden": agent.hidden,
        "parallel_tool_calls": null,
        "id": AGENT,
        "in_context_message_ids": [],
        "messages": [],
        "files_agents": [],
        "group_ids": [],
    });
    fields
}

/// There is one agent in a file.
const AGENT: &str = "agent-0";

/// A block, without what ties it to the place that it comes from. The order of the keys is Letta's.
fn block_fields(block: &Block, number: &str) -> Value {
    json!({
        "value": block.value,
        "limit": block.limit,
        "project_id": null,
        "template_name": block.template_name,
        "is_template": block.is_template,
        "template_id": null,
        "base_template_id": null,
        "deployment_id": null,
        "entity_id": null,
        "preserve_on_migration": block.preserve_on_migration,
        "label": block.label,
        "read_only": block.read_only,
        "description": block.description,
        "metadata": block.metadata,
        "hidden": block.hidden,
        "tags": if block.tags.is_empty() { Value::Null } else { json!(block.tags) },
        "id": number,
    })
}

/// The messages, and the numbers of those that the model sees.
async fn messages(view: View<'_>, agent: &Agent, export: &Export<'_>) -> Result<(Vec<Value>, Vec<String>), ApiError> {
    const KEYS: [&str; 19] = [
        "type",
        "otid",
        "group_id",
        "role",
        "content",
        "name",
        "sender_id",
        "batch_item_id",
        "id",
        "model",
        "agent_id",
        "tool_calls",
        "tool_call_id",
        "tool_returns",
        "created_at",
        "approve",
        "approval_request_id",
        "denial_reason",
        "approvals",
    ];
    if export.without_messages {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut numbers = Numbers::new("message");
    let mut written = Vec::new();
    let filter = MessageFilter::of_conversation(&agent.id, export.conversation_id);
    for stored in view.store().messages(&filter).await? {
        let message = parse_message(&stored)?;
        let mut wire = message.stored(&agent.id, DEFAULT_CONVERSATION);
        wire["type"] = "message".into();
        wire["id"] = numbers.of(&message.id).into();
        wire["model"] = agent.model.llm.get("model").cloned().unwrap_or_default();
        wire["agent_id"] = AGENT.into();
        if wire["otid"].is_null() {
            wire["otid"] = message.otid_of_part(0).into();
        }
        wire["created_at"] = message.created_at.with_offset().into();
        if wire["approvals"].is_null() {
            wire["approvals"] = json!([]);
        }
        let kept = KEYS.iter().map(|key| ((*key).to_owned(), wire[*key].take()));
        written.push(Value::Object(kept.collect()));
    }
    let seen = export.context.iter().filter(|entry| numbers.by_id.contains_key(&entry.id)).map(|entry| &entry.id);
    let seen: Vec<&String> = seen.collect();
    let context = seen.into_iter().map(|id| numbers.of(id)).collect();
    Ok((written, context))
}

/// The folders of an agent with their files, and how these lie before it.
async fn shelf(view: View<'_>, agent: &Agent) -> Result<(Vec<Value>, Vec<Value>, Vec<Value>), ApiError> {
    let folders = view.linked::<Folder>(links::AGENT_FOLDER, &[&agent.id]).await?;
    let files = DocumentFilter::under_linked(File::KIND, links::AGENT_FOLDER, &agent.id);
    let files = Listing::<File>::of(files).all(view, |_| true).await?;
    let ids: Vec<&str> = files.iter().map(|file| file.record.id.as_str()).collect();
    view.store().check_size(FileText::KIND, &ids).await?;
    let texts = view.find_all::<FileText>(&ids).await?;
    let texts: HashMap<&str, &str> =
        texts.iter().map(|text| (text.record.id.as_str(), text.record.text.as_str())).collect();
    let touched = view.find::<OpenFiles>(&agent.id).await?.map(|files| files.record).unwrap_or_default();

    let (mut source_numbers, mut file_numbers) = (Numbers::new("source"), Numbers::new("file"));
    let sources = folders.iter().map(|(_, folder)| {
        let folder = &folder.record;
        json!({
            "name": folder.name,
            "description": folder.description,
            "instructions": folder.instructions,
            "metadata": folder.metadata,
            "embedding": null,
            "embedding_chunk_size": null,
            "embedding_config": folder.embedding.config,
            "id": source_numbers.of(&folder.id),
        })
    });
    let sources = sources.collect();
    let (mut written, mut attachments) = (Vec::new(), Vec::new());
    for (index, file) in files.iter().enumerate() {
        let file = &file.record;
        let (source, number) = (source_numbers.of(&file.folder_id), file_numbers.of(&file.id));
        written.push(json!({
            "source_id": source,
            "file_name": file.name,
            "original_file_name": file.original_name,
            "file_path": null,
            "file_type": file.media_type,
            "file_size": file.size,
            "file_creation_date": null,
            "file_last_modified_date": null,
            "processing_status": "completed",
            "error_message": null,
            "total_chunks": file.chunks,
            "chunks_embedded": file.chunks,
            "content": texts.get(file.id.as_str()),
            "id": number,
        }));
        let known = touched.of(&file.id);
        attachments.push(json!({
            "agent_id": AGENT,
            "file_id": number,
            "source_id": source,
            "file_name": file.name,
            "is_open": known.is_some_and(|touched| touched.is_open),
            "visible_content": null,
            "last_accessed_at": known.map(|touched| touched.last_accessed_at),
            "start_line": null,
            "end_line": null,
            "id": format!("file_agent-{index}"),
        }));
    }
    Ok((sources, written, attachments))
}
