//! The fields of the commands that client tokens may use: for each, everything that the protocol knows, and what becomes of
//! it on the way to the server.
//!
//! A frame is rebuilt from its list, in the order of the list. A field that is not in it is unknown to the protocol and
//! left out.

/// One field of a frame or of an object in it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The field's name on the wire.
    pub name: &'static str,
    /// What is forwarded of it.
    pub rule: Rule,
    /// Whether the frame is refused without it.
    pub required: bool,
}

/// A list of fields, in the order in which they are forwarded.
pub type Fields = &'static [Field];

/// What is forwarded of a field.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// The agent that the frame is about, which was checked; filled in where the page left it out and only one can be
    /// meant.
    Agent,
    /// The agent, if the frame is about an agent's default conversation, which has no id of its own.
    AgentOfDefault,
    /// The conversation that the frame is about, which was checked.
    Conversation,
    /// The runtime that the frame is about: the agent and the conversation, and no other key.
    Runtime,
    /// A conversation to create; an empty object where the page names no conversation at all.
    NewConversation(Fields),
    /// An object, rebuilt from its own list. Left out where nothing remains of one that is not required.
    Object(Fields),
    /// A switch.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// This word; all others are refused, with this advice.
    Only(&'static str, &'static str),
    /// A whole number from 1, lowered to this maximum.
    AtMost(u64),
    /// The id of a message or run.
    Id,
    /// A text that others read in lists, of at most so many bytes, without the tags with which the harness speaks to the
    /// model.
    Label(usize),
    /// A text of at most so many bytes.
    Text(usize),
    /// Any object of at most so many bytes of JSON.
    Metadata(usize),
    /// The path of a memory file.
    MemoryPath,
    /// The hash of a commit.
    Revision,
    /// A queued message that the same token sent.
    QueueItem,
    /// The messages of a turn: what an end user may send.
    Messages,
    /// Always this JSON, whatever the page sent.
    Forced(&'static str),
    /// Left out, whatever the page sent.
    Drop,
    /// Refused when it carries a value (neither null nor empty), with this advice.
    Refuse(&'static str),
}

const fn field(name: &'static str, rule: Rule) -> Field {
    Field { name, rule, required: false }
}

const fn required(name: &'static str, rule: Rule) -> Field {
    Field { name, rule, required: true }
}

/// The settings of every runtime that a page opens: no tool is offered to the model, and a call that the model makes all
/// the same is refused by the server itself instead of waiting for a human. The server compares the JSON text, so these are
/// always the same bytes.
pub(super) const EXECUTION_SETTINGS: &str =
    r#"{"tools":[],"allowed_tools":[],"disallowed_tools":[],"disable_memory_guard":false}"#;

const KIB: usize = 1024;
/// A conversation's summary.
const SUMMARY: usize = 4 * KIB;
/// An agent's description.
const NOTE: usize = 16 * KIB;
/// What an application stores about its agent.
const METADATA: usize = 64 * KIB;
/// An agent's instructions.
const SYSTEM: usize = 128 * KIB;

const SERVER_ONLY: &str = "leave it out, or set it from your server";
const NO_TOOLS: &str = "a page has no tools of its own before an App Server; leave it out";

pub(super) const NO_FIELDS: Fields = &[];

const SUMMARY_ONLY: Fields = &[
    field("summary", Rule::Label(SUMMARY)),
    field("model", Rule::Refuse(SERVER_ONLY)),
    field("model_settings", Rule::Refuse(SERVER_ONLY)),
    field("system", Rule::Refuse(SERVER_ONLY)),
    field("tags", Rule::Refuse(SERVER_ONLY)),
    field("archived", Rule::Refuse(SERVER_ONLY)),
    field("hidden", Rule::Refuse(SERVER_ONLY)),
];

const CREATE_CONVERSATION: Fields = &[field("body", Rule::Object(SUMMARY_ONLY))];

pub(super) const RUNTIME_START: Fields = &[
    required("agent_id", Rule::Agent),
    field("conversation_id", Rule::Conversation),
    field("create_conversation", Rule::NewConversation(CREATE_CONVERSATION)),
    field("mode", Rule::Forced("\"strict\"")),
    field("recover_approvals", Rule::Forced("false")),
    field("preserve_skill_sources", Rule::Forced("true")),
    field("execution_settings", Rule::Forced(EXECUTION_SETTINGS)),
    field("force_device_status", Rule::Flag),
    field("wait_for_replay", Rule::Flag),
    field("cwd", Rule::Drop),
    field("skill_sources", Rule::Drop),
    field("client_info", Rule::Drop),
    field("conversation_source_tags", Rule::Drop),
    field("create_agent", Rule::Refuse("create the agent from your server")),
    field("external_tools", Rule::Refuse(NO_TOOLS)),
    field("workspace_sandbox", Rule::Refuse(SERVER_ONLY)),
    field("teleport_id", Rule::Refuse(SERVER_ONLY)),
];

/// Of the kinds of payload only this one: an approval may carry another tool call than the one that was asked about.
const PAYLOAD: Fields = &[
    required("kind", Rule::Only("create_message", "send create_message, since approvals are the server operator's")),
    required("messages", Rule::Messages),
    field("image_failure_mode", Rule::Word(&["strict", "drop"])),
    field("client_tool_allowlist", Rule::Forced("[]")),
    field("client_toolset", Rule::Forced(r#"{"base":"none"}"#)),
    field("exclude_interactive_tools", Rule::Forced("true")),
    field("external_tool_scope_ids", Rule::Forced("[]")),
    field("client_preferences", Rule::Drop),
    field("response_format", Rule::Drop),
];

pub(super) const INPUT: Fields = &[
    required("runtime", Rule::Runtime),
    required("payload", Rule::Object(PAYLOAD)),
    field("terminal_consumer_id", Rule::Drop),
];

pub(super) const SYNC: Fields = &[
    required("runtime", Rule::Runtime),
    field("recover_approvals", Rule::Forced("false")),
    field("resume_interrupted_turn", Rule::Forced("false")),
    field("force_device_status", Rule::Flag),
];

pub(super) const ABORT_MESSAGE: Fields = &[required("runtime", Rule::Runtime), field("run_id", Rule::Id)];

pub(super) const RESUME_QUEUE: Fields = &[required("runtime", Rule::Runtime)];

pub(super) const REMOVE_QUEUE_ITEM: Fields =
    &[required("runtime", Rule::Runtime), required("item_id", Rule::QueueItem)];

pub(super) const TURN_FINISHED_ACK: Fields =
    &[field("runtime", Rule::Drop), field("idempotency_key", Rule::Drop), field("consumer_id", Rule::Drop)];

const ORDERS: &[&str] = &["asc", "desc"];

const CONVERSATION_QUERY: Fields = &[
    field("agent_id", Rule::Agent),
    field("limit", Rule::AtMost(100)),
    field("after", Rule::Id),
    field("order", Rule::Word(ORDERS)),
];

pub(super) const CONVERSATION_LIST: Fields = &[field("query", Rule::Object(CONVERSATION_QUERY))];

const NEW_CONVERSATION: Fields = &[
    required("agent_id", Rule::Agent),
    field("summary", Rule::Label(SUMMARY)),
    field("model", Rule::Refuse(SERVER_ONLY)),
    field("model_settings", Rule::Refuse(SERVER_ONLY)),
    field("system", Rule::Refuse(SERVER_ONLY)),
    field("tags", Rule::Refuse(SERVER_ONLY)),
    field("hidden", Rule::Refuse(SERVER_ONLY)),
];

pub(super) const CONVERSATION_CREATE: Fields =
    &[required("body", Rule::Object(NEW_CONVERSATION)), field("acting_user_id", Rule::Drop)];

pub(super) const CONVERSATION_RETRIEVE: Fields = &[required("conversation_id", Rule::Conversation)];

const MESSAGE_QUERY: Fields = &[
    field("agent_id", Rule::AgentOfDefault),
    field("limit", Rule::AtMost(200)),
    field("before", Rule::Id),
    field("after", Rule::Id),
    field("order", Rule::Word(ORDERS)),
];

pub(super) const CONVERSATION_MESSAGES_LIST: Fields =
    &[required("conversation_id", Rule::Conversation), field("query", Rule::Object(MESSAGE_QUERY))];

pub(super) const CONVERSATION_UPDATE: Fields =
    &[required("conversation_id", Rule::Conversation), required("body", Rule::Object(SUMMARY_ONLY))];

const FORK: Fields = &[
    field("message_id", Rule::Id),
    field("agent_id", Rule::Refuse("a copy belongs to the same agent; leave it out")),
    field("hidden", Rule::Refuse(SERVER_ONLY)),
];

pub(super) const CONVERSATION_FORK: Fields = &[
    required("conversation_id", Rule::Conversation),
    field("body", Rule::Object(FORK)),
    field("acting_user_id", Rule::Drop),
];

pub(super) const CONVERSATION_COMPACT: Fields =
    &[required("conversation_id", Rule::Conversation), field("body", Rule::Drop)];

pub(super) const AGENT: Fields = &[required("agent_id", Rule::Agent)];

const AGENT_CHANGES: Fields = &[
    field("description", Rule::Text(NOTE)),
    field("metadata", Rule::Metadata(METADATA)),
    field("system", Rule::Text(SYSTEM)),
    field("name", Rule::Refuse("programs resolve an agent by its name; change it from your server")),
    field("tags", Rule::Refuse(SERVER_ONLY)),
    field("tools", Rule::Refuse(SERVER_ONLY)),
    field("tool_ids", Rule::Refuse(SERVER_ONLY)),
    field("block_ids", Rule::Refuse(SERVER_ONLY)),
    field("model", Rule::Refuse(SERVER_ONLY)),
    field("model_settings", Rule::Refuse(SERVER_ONLY)),
    field("llm_config", Rule::Refuse(SERVER_ONLY)),
    field("embedding_config", Rule::Refuse(SERVER_ONLY)),
    field("secrets", Rule::Refuse(SERVER_ONLY)),
    field("tool_exec_environment_variables", Rule::Refuse(SERVER_ONLY)),
    field("context_window_limit", Rule::Refuse(SERVER_ONLY)),
];

pub(super) const AGENT_UPDATE: Fields =
    &[required("agent_id", Rule::Agent), required("body", Rule::Object(AGENT_CHANGES))];

pub(super) const LIST_MEMORY: Fields = &[required("agent_id", Rule::Agent), field("include_references", Rule::Flag)];

pub(super) const READ_MEMORY_FILE: Fields = &[
    required("agent_id", Rule::Agent),
    required("path", Rule::MemoryPath),
    field("encoding", Rule::Word(&["utf8", "base64"])),
];

pub(super) const MEMORY_HISTORY: Fields =
    &[required("agent_id", Rule::Agent), field("file_path", Rule::MemoryPath), field("limit", Rule::AtMost(200))];

pub(super) const MEMORY_FILE_AT_REF: Fields =
    &[required("agent_id", Rule::Agent), required("file_path", Rule::MemoryPath), required("ref", Rule::Revision)];

pub(super) const MEMORY_COMMIT_DIFF: Fields = &[required("agent_id", Rule::Agent), required("sha", Rule::Revision)];
