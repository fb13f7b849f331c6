//! Exports agents to files.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    export_fields::{agent_fields, block_fields, file_fields, folder_fields},
    groups,
    local_ids::LocalIds,
    messages, tools as file_tools,
};
use crate::{
    error::ApiError,
    mock::{
        agents::memory,
        budget::Budget,
        pagination::list::Listing,
        records::{
            Agent, ContextEntry, DEFAULT_CONVERSATION, File, FileText, Folder, Group, McpServer, OpenFiles, Record,
            Timestamp, Tool, claims, links,
        },
        storage::{Stored, View, holder, parse_message},
        text::window,
        tools::agent_tools,
    },
    store::{DocumentFilter, HasSize, MessageFilter},
};

/// What to export of an agent.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Export<'a> {
    /// The conversation whose messages are exported: `default`, or an id.
    pub(in crate::mock) conversation_id: &'a str,
    /// The messages in the model's context.
    pub(in crate::mock) context: &'a [ContextEntry],
    pub(in crate::mock) without_messages: bool,
    /// Whether to leave out the group that the agent manages, with its agents.
    pub(in crate::mock) alone: bool,
    /// Skills from the request.
    pub(in crate::mock) skills: Vec<Value>,
}

/// The revision of Letta's schema.
const REVISION: &str = "1c28e167b74f";

/// Exports an agent, with the group that it manages and the agents of that group. Identities are left out, since other agents
/// may have them as well.
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

/// A file that is being written. Things that several of its agents share are written once.
struct Writer<'a> {
    view: View<'a>,
    without_messages: bool,
    /// The budget of all messages.
    message_budget: Budget,
    /// The budget of the texts of all files.
    text_budget: Budget,
    agent_ids: LocalIds,
    group_ids: LocalIds,
    block_ids: LocalIds,
    tool_ids: LocalIds,
    source_ids: LocalIds,
    file_ids: LocalIds,
    message_ids: LocalIds,
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
        let budget = || Budget::of_response(view.store().most_read());
        Self {
            view,
            without_messages,
            message_budget: budget(),
            text_budget: budget(),
            agent_ids: LocalIds::new("agent"),
            group_ids: LocalIds::new("group"),
            block_ids: LocalIds::new("block"),
            tool_ids: LocalIds::new("tool"),
            source_ids: LocalIds::new("source"),
            file_ids: LocalIds::new("file"),
            message_ids: LocalIds::new("message"),
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
        let local_id = self.agent_ids.of(&agent.id);
        written.insert("tool_ids".into(), self.tools_of(agent).await?);
        written.insert("block_ids".into(), self.blocks_of(agent).await?);
        self.folders(agent, &local_id, &mut written).await?;
        if !self.without_messages {
            self.messages(agent, &local_id, conversation_id, context, &mut written).await?;
        }
        written.insert("id".into(), local_id.into());
        self.agents.push(written.into());
        Ok(())
    }

    async fn tools_of(&mut self, agent: &Agent) -> Result<Value, ApiError> {
        let mut local_ids = Vec::new();
        for tool in agent_tools::of_agent(self.view.store(), &agent.id).await? {
            let (local_id, is_new) = self.tool_ids.add(&tool.record.id);
            if is_new {
                self.tools.push(tool.record);
            }
            local_ids.push(local_id);
        }
        Ok(json!(local_ids))
    }

    async fn blocks_of(&mut self, agent: &Agent) -> Result<Value, ApiError> {
        let mut local_ids = Vec::new();
        for block in memory::blocks(self.view, &agent.id).await? {
            let (local_id, is_new) = self.block_ids.add(&block.record.id);
            if is_new {
                self.blocks.push(block_fields(&block.record, &local_id));
            }
            local_ids.push(local_id);
        }
        Ok(json!(local_ids))
    }

    /// Writes the messages, and the local ids of those in the model's context.
    async fn messages(
        &mut self,
        agent: &Agent,
        local_id: &str,
        conversation_id: &str,
        context: &[ContextEntry],
        written: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let mut all = Vec::new();
        let filter = MessageFilter::of_conversation(&agent.id, conversation_id);
        for stored in self.view.store().messages(&filter).await? {
            self.message_budget.charge(stored.size())?;
            let message = parse_message(&stored)?;
            all.push(messages::to_file(&message, agent, local_id, &self.message_ids.of(&message.id)));
        }
        let seen = context.iter().filter_map(|entry| self.message_ids.find(&entry.id));
        written.insert("in_context_message_ids".into(), seen.cloned().collect());
        written.insert("messages".into(), all.into());
        Ok(())
    }

    /// Writes the folders of an agent, their files, and which of these the agent has open.
    async fn folders(
        &mut self,
        agent: &Agent,
        local_id: &str,
        written: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let view = self.view;
        let mut local_ids = Vec::new();
        let mut names: HashMap<String, String> = HashMap::new();
        for (_, folder) in view.linked::<Folder>(links::AGENT_FOLDER, &[&agent.id]).await? {
            let folder = folder.record;
            let (local_id, is_new) = self.source_ids.add(&folder.id);
            if is_new {
                self.sources.push(folder_fields(&folder, &local_id));
            }
            names.insert(folder.id, folder.name);
            local_ids.push(local_id);
        }
        written.insert("source_ids".into(), json!(local_ids));

        let files = DocumentFilter::under_linked(File::KIND, links::AGENT_FOLDER, &agent.id);
        let files = Listing::<File>::of(files).all(view, |_| true).await?;
        let ids: Vec<&str> = files.iter().map(|file| file.record.id.as_str()).collect();
        view.store().check_size(FileText::KIND, &ids).await?;
        let mut texts = HashMap::new();
        for text in view.find_all::<FileText>(&ids).await? {
            self.text_budget.charge(text.record.text.len())?;
            texts.insert(text.record.id, text.record.text);
        }
        let open_files = view.find::<OpenFiles>(&agent.id).await?.map(|files| files.record).unwrap_or_default();
        let mut attachments = Vec::new();
        for file in files {
            let file = file.record;
            let folder = names.get(&file.folder_id).map(String::as_str).unwrap_or_default();
            let name = format!("{folder}/{}", file.name);
            let source_id = self.source_ids.of(&file.folder_id);
            let (file_local_id, is_new) = self.file_ids.add(&file.id);
            let text = texts.remove(&file.id);
            let access = open_files.of(&file.id);
            let is_open = access.is_some_and(|access| access.is_open);
            let shown = text.as_ref().filter(|_| is_open);
            let limit = agent.per_file_view_window_char_limit;
            let lines = access.and_then(|access| access.lines);
            let shown = match lines {
                Some(lines) => {
                    shown.map(|text| window::part(&window::whole(text, &file.media_type), &file.media_type, lines))
                }
                None => shown.map(|text| window::of(text, &file.media_type)),
            };
            attachments.push(json!({
                "agent_id": local_id,
                "file_id": file_local_id,
                "source_id": source_id,
                "file_name": name,
                "is_open": is_open,
                "visible_content": shown.map(|shown| window::cut(shown, limit)),
                "last_accessed_at": access.map(|access| access.last_accessed_at),
                "start_line": lines.map(|lines| lines.first),
                "end_line": lines.and_then(|lines| lines.last),
                "id": format!("file_agent-{}", self.attachments),
            }));
            self.attachments += 1;
            if is_new {
                self.files.push(file_fields(&file, &file_local_id, &source_id, &name, text.as_deref()));
            }
        }
        written.insert("files_agents".into(), attachments.into());
        Ok(())
    }

    async fn group(&mut self, group: &Group, manager_id: &str) -> Result<(), ApiError> {
        let members = self.view.store().links_from(links::GROUP_AGENT, &[&group.id]).await?;
        let members = members.iter().filter_map(|(_, agent)| self.agent_ids.find(agent).cloned());
        let members: Vec<String> = members.collect();
        let local_id = self.group_ids.of(&group.id);
        self.groups.push(groups::to_file(group, &local_id, &members, &self.agent_ids.of(manager_id)));
        if let Some(manager) = self.agents.first_mut() {
            manager["group_ids"] = json!([local_id]);
        }
        Ok(())
    }

    /// The MCP servers of the tools: by id or, if the tools were imported, by name.
    async fn servers(&self, project: &str) -> Result<Vec<Value>, ApiError> {
        let mut local_ids = LocalIds::new("mcp_server");
        let mut written = Vec::new();
        for (id, name) in self.tools.iter().filter_map(file_tools::server_of) {
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
                && let (local_id, true) = local_ids.add(&server.record.id)
            {
                written.push(file_tools::server_to_file(&server.record, &local_id));
            }
        }
        Ok(written)
    }

    async fn finish(mut self, project: &str, skills: Vec<Value>) -> Result<Value, ApiError> {
        let servers = self.servers(project).await?;
        self.tools.sort_by(|one, other| one.name.cmp(&other.name));
        self.blocks.sort_by(|one, other| one["label"].as_str().cmp(&other["label"].as_str()));
        let ids = &mut self.tool_ids;
        let tools: Vec<Value> = self.tools.iter().map(|tool| file_tools::to_file(tool, &ids.of(&tool.id))).collect();
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
