//! The tables of a seed: which of Letta's calls each is the body of, and what it may hold beyond that.

use crate::access::Operation;

/// A kind of table, in the order in which tables are applied if they do not refer to each other.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Table {
    Tool,
    Block,
    Archive,
    Folder,
    McpServer,
    Identity,
    Agent,
    Token,
}

/// A row of the list of tables.
#[derive(Debug)]
pub(super) struct Row {
    /// As it is written in seeds.
    pub(super) name: &'static str,
    /// With its article, for sentences.
    pub(super) one: &'static str,
    /// What the ids of such things begin with.
    pub(super) id_prefix: &'static str,
    /// The call that creates one.
    pub(super) operation: Operation,
    /// The fields of that call's body.
    pub(super) fields: &'static [&'static str],
    /// The fields that only seeds have, besides `ref`.
    pub(super) own: &'static [&'static str],
    /// Lists whose items are objects, and the fields of those.
    pub(super) nested: &'static [(&'static str, &'static [&'static str])],
    /// Fields that hold ids or refs, one or a list, and of what.
    pub(super) references: &'static [(&'static str, Table)],
}

impl Table {
    pub(super) const ALL: [Self; 8] = [
        Self::Tool,
        Self::Block,
        Self::Archive,
        Self::Folder,
        Self::McpServer,
        Self::Identity,
        Self::Agent,
        Self::Token,
    ];

    pub(super) fn row(self) -> &'static Row {
        match self {
            Self::Tool => &TOOL_ROW,
            Self::Block => &BLOCK_ROW,
            Self::Archive => &ARCHIVE_ROW,
            Self::Folder => &FOLDER_ROW,
            Self::McpServer => &MCP_SERVER_ROW,
            Self::Identity => &IDENTITY_ROW,
            Self::Agent => &AGENT_ROW,
            Self::Token => &TOKEN_ROW,
        }
    }
}

static TOOL_ROW: Row = Row {
    name: "tool",
    one: "a tool",
    id_prefix: "tool",
    operation: Operation::CreateTool,
    fields: &[
        "description",
        "tags",
        "source_code",
        "source_type",
        "json_schema",
        "args_json_schema",
        "return_char_limit",
        "pip_requirements",
        "npm_requirements",
        "default_requires_approval",
        "enable_parallel_execution",
    ],
    own: &["file"],
    nested: &[],
    references: &[],
};

static BLOCK_ROW: Row = Row {
    name: "block",
    one: "a block",
    id_prefix: "block",
    operation: Operation::CreateBlock,
    fields: BLOCK,
    own: &[],
    nested: &[],
    references: &[],
};

static ARCHIVE_ROW: Row = Row {
    name: "archive",
    one: "an archive",
    id_prefix: "archive",
    operation: Operation::CreateArchive,
    fields: &["name", "embedding_config", "embedding", "description"],
    own: &["passages"],
    nested: &[("passages", &["text", "metadata", "tags", "created_at"])],
    references: &[],
};

static FOLDER_ROW: Row = Row {
    name: "folder",
    one: "a folder",
    id_prefix: "source",
    operation: Operation::CreateFolder,
    fields: &[
        "name",
        "description",
        "instructions",
        "metadata",
        "embedding",
        "embedding_chunk_size",
        "embedding_config",
    ],
    own: &["files"],
    nested: &[("files", &["name", "text"])],
    references: &[],
};

static MCP_SERVER_ROW: Row = Row {
    name: "mcp_server",
    one: "an MCP server",
    id_prefix: "mcp_server",
    operation: Operation::McpCreateMcpServer,
    fields: &["server_name", "config"],
    own: &[],
    nested: &[],
    references: &[],
};

static IDENTITY_ROW: Row = Row {
    name: "identity",
    one: "an identity",
    id_prefix: "identity",
    operation: Operation::CreateIdentity,
    fields: &["identifier_key", "name", "identity_type", "project_id", "agent_ids", "block_ids", "properties"],
    own: &[],
    nested: &[("properties", &["key", "value", "type"])],
    references: &[("agent_ids", Table::Agent), ("block_ids", Table::Block)],
};

static AGENT_ROW: Row = Row {
    name: "agent",
    one: "an agent",
    id_prefix: "agent",
    operation: Operation::CreateAgent,
    fields: AGENT,
    own: &["messages", "passages", "archive"],
    nested: &[
        ("memory_blocks", BLOCK),
        ("messages", MESSAGE),
        ("initial_message_sequence", MESSAGE),
        ("passages", PASSAGE),
    ],
    references: AGENT_REFERENCES,
};

static TOKEN_ROW: Row = Row {
    name: "token",
    one: "a token",
    id_prefix: "token",
    operation: Operation::CreateClientSideAccessToken,
    fields: &["policy", "hostname", "expires_at"],
    own: &["agent", "access", "expires_in"],
    nested: &[("policy", &["type", "id", "access"])],
    references: &[("agent", Table::Agent)],
};

/// An agent whose table names or holds an agent file: the body is the form of the call that imports one.
pub(super) static IMPORTED_AGENT: Row = Row {
    name: "agent",
    one: "an agent from an agent file",
    id_prefix: "agent",
    operation: Operation::ImportAgent,
    fields: &[
        "override_existing_tools",
        "strip_messages",
        "secrets",
        "name",
        "embedding",
        "model",
        "append_copy_suffix",
        "project_id",
    ],
    own: &["file", "agent_file", "passages", "archive"],
    nested: &[("passages", PASSAGE)],
    references: &[("archive", Table::Archive)],
};

const AGENT: &[&str] = &[
    "name",
    "memory_blocks",
    "tools",
    "tool_ids",
    "source_ids",
    "folder_ids",
    "block_ids",
    "tool_rules",
    "tags",
    "system",
    "agent_type",
    "initial_message_sequence",
    "include_base_tools",
    "include_multi_agent_tools",
    "include_base_tool_rules",
    "include_default_source",
    "description",
    "metadata",
    "llm_config",
    "embedding_config",
    "model",
    "embedding",
    "model_settings",
    "compaction_settings",
    "context_window_limit",
    "embedding_chunk_size",
    "max_tokens",
    "max_reasoning_tokens",
    "enable_reasoner",
    "reasoning",
    "from_template",
    "template",
    "project",
    "tool_exec_environment_variables",
    "secrets",
    "memory_variables",
    "project_id",
    "template_id",
    "base_template_id",
    "identity_ids",
    "message_buffer_autoclear",
    "enable_sleeptime",
    "response_format",
    "timezone",
    "max_files_open",
    "per_file_view_window_char_limit",
    "hidden",
    "parallel_tool_calls",
];

const AGENT_REFERENCES: &[(&str, Table)] = &[
    ("block_ids", Table::Block),
    ("tool_ids", Table::Tool),
    ("identity_ids", Table::Identity),
    ("folder_ids", Table::Folder),
    ("source_ids", Table::Folder),
    ("archive", Table::Archive),
];

const BLOCK: &[&str] = &[
    "value",
    "limit",
    "project_id",
    "template_name",
    "is_template",
    "template_id",
    "base_template_id",
    "deployment_id",
    "entity_id",
    "preserve_on_migration",
    "label",
    "read_only",
    "description",
    "metadata",
    "hidden",
    "tags",
];

const MESSAGE: &[&str] = &["type", "role", "content", "name", "otid", "sender_id", "group_id", "batch_item_id"];

const PASSAGE: &[&str] = &["text", "tags", "created_at"];
