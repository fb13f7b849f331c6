//! Agents written down.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{groups, messages, tools as written_tools};
use crate::{
    error::ApiError,
    mock::{
        agents::memory,
        budget::Budget,
        pagination::list::Listing,
        records::{
            Agent, Block, ContextEntry, DEFAULT_CONVERSATION, File, FileText, Folder, Group, McpServer, OpenFiles,
            Record, Timestamp, Tool, claims, links, object,
        },
        storage::{Stored, View, holder, parse_message},
        text::window,
        tools::agent_tools,
    },
    store::{DocumentFilter, HasSize, MessageFilter},
};

/// What of an agent is written down.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Export<'a> {
    /// Whose messages: `default`, or a conversation's id.
    pub(in crate::mock) conversation_id: &'a str,
    /// What the model sees of them.
    pub(in crate::mock) context: &'a [ContextEntry],
    pub(in crate::mock) without_messages: bool,
    /// Whether the group that the agent manages is left out, with its agents.
    pub(in crate::mock) alone: bool,
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
        self.add(id).0
    }

    /// The number of a thing, and whether it is met for the first time.
    fn add(&mut self, id: &str) -> (String, bool) {
        if let Some(number) = self.by_id.get(id) {
            return (number.clone(), false);
        }
        let number = format!("{}-{}", self.prefix, self.by_id.len());
        self.by_id.insert(id.to_owned(), number.clone());
        (number, true)
    }
}

/// An agent as a file, with the group that it manages and the other agents of that. Identities, which are of more agents
/// than these, are left out.
pub(in crate::mock) async fn export(
    view: View<'_>,
    agent: &Stored<Agent>,
    export: Export<'_>,
) -> Result<Value, ApiError> {
    let managed = if export.alone { None } else { groups::managed(view, &agent.record.id).await? };
    let (group, mut others) = managed.unzip();
    let mut file = Writer::new(view, export.without_messages);
    let others = others.get_or_insert_default();
    others.retain(|other| other.record.id != agent.record.id);
    file.agent(&agent.record, export.conversation_id, export.context).await?;
    for other in others.iter() {
        file.agent(&other.record, DEFAULT_CONVERSATION, &other.record.context).await?;
    }
    if let Some(group) = group {
        file.group(&group.record, &agent.record.id).await?;
    }
    file.finish(&agent.project, export.skills).await
}

/// A file that is being written. What several of its agents have is written once.
struct Writer<'a> {
    view: View<'a>,
    without_messages: bool,
    /// What the messages of all agents may come to together, and the texts of their files.
    messages_left: Budget,
    texts_left: Budget,
    agent_numbers: Numbers,
    group_numbers: Numbers,
    block_numbers: Numbers,
    tool_numbers: Numbers,
    source_numbers: Numbers,
    file_numbers: Numbers,
    message_numbers: Numbers,
    attachments: usize,
    agents: Vec<Value>,
    groups: Vec<Value>,
    blocks: Vec<Value>,
    tools: Vec<Tool>,
    sources: Vec<Value>,
    files: Vec<Value>,
}

impl<'a> Writer<'a> {
    fn new(view: View<'a>, without_messages: bool) -> Self {
        let budget = || Budget::of_answer(view.store().most_read());
        Self {
            view,
            without_messages,
            messages_left: budget(),
            texts_left: budget(),
            agent_numbers: Numbers::new("agent"),
            group_numbers: Numbers::new("group"),
            block_numbers: Numbers::new("block"),
            tool_numbers: Numbers::new("tool"),
            source_numbers: Numbers::new("source"),
            file_numbers: Numbers::new("file"),
            message_numbers: Numbers::new("message"),
            attachments: 0,
            agents: Vec::new(),
            groups: Vec::new(),
            blocks: Vec::new(),
            tools: Vec::new(),
            sources: Vec::new(),
            files: Vec::new(),
        }
    }

    async fn agent(&mut self, agent: &Agent, conversation_id: &str, context: &[ContextEntry]) -> Result<(), ApiError> {
        let mut written = agent_fields(agent);
        let number = self.agent_numbers.of(&agent.id);
        written.insert("tool_ids".into(), self.tools_of(agent).await?);
        written.insert("block_ids".into(), self.blocks_of(agent).await?);
        self.shelf(agent, &number, &mut written).await?;
        if !self.without_messages {
            self.messages(agent, &number, conversation_id, context, &mut written).await?;
        }
        written.insert("id".into(), number.into());
        self.agents.push(written.into());
        Ok(())
    }

    async fn tools_of(&mut self, agent: &Agent) -> Result<Value, ApiError> {
        let mut numbers = Vec::new();
        for tool in agent_tools::of_agent(self.view.store(), &agent.id).await? {
            let (number, is_new) = self.tool_numbers.add(&tool.record.id);
            if is_new {
                self.tools.push(tool.record);
            }
            numbers.push(number);
        }
        Ok(json!(numbers))
    }

    async fn blocks_of(&mut self, agent: &Agent) -> Result<Value, ApiError> {
        let mut numbers = Vec::new();
        for block in memory::blocks(self.view, &agent.id).await? {
            let (number, is_new) = self.block_numbers.add(&block.record.id);
            if is_new {
                self.blocks.push(block_fields(&block.record, &number));
            }
            numbers.push(number);
        }
        Ok(json!(numbers))
    }

    /// The messages, and the numbers of those that the model sees.
    async fn messages(
        &mut self,
        agent: &Agent,
        number: &str,
        conversation_id: &str,
        context: &[ContextEntry],
        written: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let mut all = Vec::new();
        let filter = MessageFilter::of_conversation(&agent.id, conversation_id);
        for stored in self.view.store().messages(&filter).await? {
            self.messages_left.charge(stored.size())?;
            let message = parse_message(&stored)?;
            all.push(messages::written(&message, agent, number, &self.message_numbers.of(&message.id)));
        }
        let seen = context.iter().filter_map(|entry| self.message_numbers.by_id.get(&entry.id));
        written.insert("in_context_message_ids".into(), seen.cloned().collect());
        written.insert("messages".into(), all.into());
        Ok(())
    }

    /// The folders of an agent with their files, and how these lie before it.
    async fn shelf(&mut self, agent: &Agent, number: &str, written: &mut Map<String, Value>) -> Result<(), ApiError> {
        let view = self.view;
        let mut numbers = Vec::new();
        let mut names: HashMap<String, String> = HashMap::new();
        for (_, folder) in view.linked::<Folder>(links::AGENT_FOLDER, &[&agent.id]).await? {
            let folder = folder.record;
            let (number, is_new) = self.source_numbers.add(&folder.id);
            if is_new {
                self.sources.push(folder_fields(&folder, &number));
            }
            names.insert(folder.id, folder.name);
            numbers.push(number);
        }
        written.insert("source_ids".into(), json!(numbers));

        let files = DocumentFilter::under_linked(File::KIND, links::AGENT_FOLDER, &agent.id);
        let files = Listing::<File>::of(files).all(view, |_| true).await?;
        let ids: Vec<&str> = files.iter().map(|file| file.record.id.as_str()).collect();
        view.store().check_size(FileText::KIND, &ids).await?;
        let mut texts = HashMap::new();
        for text in view.find_all::<FileText>(&ids).await? {
            self.texts_left.charge(text.record.text.len())?;
            texts.insert(text.record.id, text.record.text);
        }
        let touched = view.find::<OpenFiles>(&agent.id).await?.map(|files| files.record).unwrap_or_default();
        let mut attachments = Vec::new();
        for file in files {
            let file = file.record;
            let folder = names.get(&file.folder_id).map(String::as_str).unwrap_or_default();
            let name = format!("{folder}/{}", file.name);
            let source = self.source_numbers.of(&file.folder_id);
            let (file_number, is_new) = self.file_numbers.add(&file.id);
            let text = texts.remove(&file.id);
            let known = touched.of(&file.id);
            let is_open = known.is_some_and(|touched| touched.is_open);
            let shown = text.as_ref().filter(|_| is_open);
            let limit = agent.per_file_view_window_char_limit;
            let lines = known.and_then(|touched| touched.lines);
            let shown = match lines {
                Some(lines) => {
                    shown.map(|text| window::part(&window::whole(text, &file.media_type), &file.media_type, lines))
                }
                None => shown.map(|text| window::of(text, &file.media_type)),
            };
            attachments.push(json!({
                "agent_id": number,
                "file_id": file_number,
                "source_id": source,
                "file_name": name,
                "is_open": is_open,
                "visible_content": shown.map(|shown| window::cut(shown, limit)),
                "last_accessed_at": known.map(|touched| touched.last_accessed_at),
                "start_line": lines.map(|lines| lines.first),
                "end_line": lines.and_then(|lines| lines.last),
                "id": format!("file_agent-{}", self.attachments),
            }));
            self.attachments += 1;
            if is_new {
                self.files.push(file_fields(&file, &file_number, &source, &name, text.as_deref()));
            }
        }
        written.insert("files_agents".into(), attachments.into());
        Ok(())
    }

    async fn group(&mut self, group: &Group, manager_id: &str) -> Result<(), ApiError> {
        let members = self.view.store().links_from(links::GROUP_AGENT, &[&group.id]).await?;
        let members = members.iter().filter_map(|(_, agent)| self.agent_numbers.by_id.get(agent).cloned());
        let members: Vec<String> = members.collect();
        let number = self.group_numbers.of(&group.id);
        self.groups.push(groups::written(group, &number, &members, &self.agent_numbers.of(manager_id)));
        if let Some(manager) = self.agents.first_mut() {
            manager["group_ids"] = json!([number]);
        }
        Ok(())
    }

    /// The MCP servers that tools name, by their ids or, if they came from elsewhere, by their names.
    async fn servers(&self, project: &str) -> Result<Vec<Value>, ApiError> {
        let mut numbers = Numbers::new("mcp_server");
        let mut written = Vec::new();
        for (id, name) in self.tools.iter().filter_map(written_tools::server_of) {
            let mut server = match id {
                Some(id) => self.view.find::<McpServer>(id).await?,
                None => None,
            };
            if let (None, Some(name)) = (&server, name)
                && let Some(id) = holder(self.view.store(), claims::MCP_SERVER, project, name).await?
            {
                server = self.view.find::<McpServer>(&id).await?;
            }
            if let Some(server) = server
                && let (number, true) = numbers.add(&server.record.id)
            {
                written.push(written_tools::written_server(&server.record, &number));
            }
        }
        Ok(written)
    }

    async fn finish(mut self, project: &str, skills: Vec<Value>) -> Result<Value, ApiError> {
        let servers = self.servers(project).await?;
        self.tools.sort_by(|one, other| one.name.cmp(&other.name));
        self.blocks.sort_by(|one, other| one["label"].as_str().cmp(&other["label"].as_str()));
        let numbers = &mut self.tool_numbers;
        let tools: Vec<Value> =
            self.tools.iter().map(|tool| written_tools::written(tool, &numbers.of(&tool.id))).collect();
        Ok(json!({
            "agents": self.agents,
            "groups": self.groups,
            "blocks": self.blocks,
            "files": self.files,
            "sources": self.sources,
            "tools": tools,
            "mcp_servers": servers,
            "skills": skills,
            "metadata": {"revision_id": REVISION},
            "created_at": Timestamp::now().with_offset(),
        }))
    }
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
        "secrets": if blanked.is_empty() { Value::Null } else { blanked.clone().into() },
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
        "id": null,
        "in_context_message_ids": [],
        "messages": [],
        "files_agents": [],
        "group_ids": [],
    });
    fields
}

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

/// A folder. The order of the keys is Letta's.
fn folder_fields(folder: &Folder, number: &str) -> Value {
    json!({
        "name": folder.name,
        "description": folder.description,
        "instructions": folder.instructions,
        "metadata": folder.metadata,
        "embedding": null,
        "embedding_chunk_size": null,
        "embedding_config": folder.embedding.config,
        "id": number,
    })
}

/// A file; `name` begins with its folder's. The order of the keys is Letta's.
fn file_fields(file: &File, number: &str, source: &str, name: &str, text: Option<&str>) -> Value {
    json!({
        "source_id": source,
        "file_name": name,
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
        "content": text,
        "id": number,
    })
}
