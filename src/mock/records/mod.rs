//! Records: what the mock stores, and how each is serialized for clients.

mod agent;
mod agent_names;
mod agent_types;
mod agent_wire;
mod archive;
mod batch;
mod block;
mod content;
mod context;
mod conversation;
mod defaults;
mod file;
mod file_block;
mod folder;
mod group;
mod identity;
pub(in crate::mock) mod include;
mod job;
mod mcp_server;
mod message;
mod message_view;
mod model;
mod open_files;
mod passage;
mod pending;
mod plain_message;
mod project;
mod provider;
mod run;
mod scheduled;
mod secret;
mod step;
mod stop_reason;
mod stored_context;
mod template;
mod timestamp;
mod tool;
mod tool_call;
pub(in crate::mock) mod tool_rules;
pub(in crate::mock) mod turn_error;
mod turn_request;
mod usage;
mod wire_message;

pub(super) use agent::Agent;
pub(super) use agent_types::is_older;
pub(super) use agent_wire::{Loaded, StoredAgent, WireMemory};
pub(super) use archive::{Archive, ArchiveChange};
pub(super) use batch::Batch;
pub(super) use block::{Block, MOST_FILLED_IN};
pub(super) use content::{Content, ImageSource, Part};
pub(super) use context::{ContextEntry, remember, tokens_of};
pub(super) use conversation::Conversation;
pub(super) use file::{File, FileText, FileView};
pub(super) use file_block::FileBlock;
pub(super) use folder::Folder;
pub(super) use group::{Group, GroupChange, LEAST_BUFFERED, MANAGER_TYPES, MOST_BUFFERED};
pub(super) use identity::{Identity, IdentityChange, Property, TYPES as IDENTITY_TYPES};
pub(super) use job::Job;
pub(super) use mcp_server::McpServer;
pub(super) use message::{Message, Role};
pub(super) use message_view::{MESSAGE_SENT, MessageView, SPEAKING_TOOL, SPOKEN_ARGUMENT};
pub(super) use model::{ModelConfig, object};
pub(super) use open_files::{OpenFiles, OpenParts, attached_file_id, attachment_id};
pub(super) use passage::{NewPassage, Passage, WirePassage, write_passage, write_passages};
pub(super) use pending::Pending;
pub(super) use plain_message::PlainMessage;
pub(super) use project::{ProjectEntry, slug as project_slug};
pub(super) use provider::Provider;
pub(super) use run::{Run, RunType};
pub(super) use scheduled::ScheduledMessage;
pub(super) use step::{EndedStep, Step, StepFilter, Timing};
pub(super) use stop_reason::{RunStatus, StopReason};
pub(super) use template::{Deployment, Template, TemplateVersion};
pub(super) use timestamp::Timestamp;
pub(super) use tool::{RETURN_CHAR_LIMIT, TOOL_TYPES, Tool, ToolChange, echo, underivable};
pub(super) use tool_call::{Approval, REQUEST_HEARTBEAT, ToolCall, ToolReturn, ToolStatus};
pub(super) use turn_request::{ClientTool, Decision, Delivery, IncomingMessage, Transcript, TurnRequest};
pub(super) use usage::Usage;
pub(super) use wire_message::{MOST_PIECES, MessageType, WireMessage};

use serde::{Serialize, de::DeserializeOwned};

/// A record that is stored as a document.
pub(super) trait Record: Serialize + DeserializeOwned + Send + Sync {
    /// The kind of its documents in the store.
    const KIND: &'static str;
    /// What Letta calls it in its errors.
    const NAME: &'static str;
    /// Its id.
    fn id(&self) -> &str;
}

/// The user that Letta's open-source server acts as, and therefore the creator of everything here.
pub(super) const ACTOR: &str = "user-00000000-0000-4000-8000-000000000000";
/// That user's organization.
pub(super) const ORGANIZATION: &str = "org-00000000-0000-4000-8000-000000000000";
/// The conversation id under which messages outside any conversation are stored.
pub(super) const DEFAULT_CONVERSATION: &str = "default";

/// The kinds of links between records.
pub(super) mod links {
    /// From an agent to a block of its core memory.
    pub(in crate::mock) const AGENT_BLOCK: &str = "agent_block";
    /// From an agent to the archive that is its archival memory.
    pub(in crate::mock) const AGENT_ARCHIVE: &str = "agent_archive";
    /// From an agent to a folder whose files it may open.
    pub(in crate::mock) const AGENT_FOLDER: &str = "agent_folder";
    /// From an agent to an identity it belongs to.
    pub(in crate::mock) const AGENT_IDENTITY: &str = "agent_identity";
    /// From a block to an identity it belongs to.
    pub(in crate::mock) const BLOCK_IDENTITY: &str = "block_identity";
    /// From a group to an agent that is a member of it.
    pub(in crate::mock) const GROUP_AGENT: &str = "group_agent";
    /// From a group to a block that its agents share.
    pub(in crate::mock) const GROUP_BLOCK: &str = "group_block";
    /// From an agent to the group that it manages.
    pub(in crate::mock) const MANAGED_GROUP: &str = "managed_group";
    /// From an agent to a tool that it may use.
    pub(in crate::mock) const AGENT_TOOL: &str = "agent_tool";
    /// From an agent to a run that has not ended.
    pub(in crate::mock) const ACTIVE_RUN: &str = "active_run";
    /// From a batch to each of its runs.
    pub(in crate::mock) const BATCH_RUN: &str = "batch_run";
}

/// The kinds of names that are unique within a project.
pub(super) mod claims {
    /// The client's own key of an identity.
    pub(in crate::mock) const IDENTIFIER_KEY: &str = "identifier_key";
    /// The name of a folder.
    pub(in crate::mock) const FOLDER: &str = "folder_name";
    /// The name of a file, with its folder's id.
    pub(in crate::mock) const FILE: &str = "file_name";
    /// The name of an MCP server.
    pub(in crate::mock) const MCP_SERVER: &str = "mcp_server_name";
    /// The name of a provider.
    pub(in crate::mock) const PROVIDER: &str = "provider_name";
    /// The name of a template.
    pub(in crate::mock) const TEMPLATE: &str = "template_name";
    /// The name of a tool.
    pub(in crate::mock) const TOOL: &str = "tool_name";
}
