//! What a page is shown of the server's messages: for each, the keys that it keeps, and what becomes of their values.
//!
//! A key that a list does not name is left out. A message keeps the order of its keys.

use crate::model::Access::{self, ReadAgent as READ_AGENT, ReadMessages as READ_MESSAGES};

/// What becomes of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// A text, number, switch or null stays; anything else is left out.
    Scalar,
    /// It stays, whatever it is: what the token's own holders wrote.
    Any,
    /// This JSON stands in its place.
    Always(&'static str),
    /// It is left out, on purpose.
    Drop,
    /// An object, by its own list; null stays.
    Object(Cuts),
    /// A list, of which each item is cut; items of another form are left out.
    List(&'static Cut),
    /// Cut so if the policy grants these words on the agent, else left out.
    If(&'static [Access], &'static Cut),
    /// The agent and the conversation of a runtime.
    Runtime,
    /// A sentence of the server, which may name paths, hosts and other agents: the gate's own stands in its place, but for
    /// a few that say nothing of the kind.
    Sentence,
    /// Text, or a list of parts of text and images.
    Content,
    /// The same without what the harness says; without anything else, the message is left out.
    UserContent,
    /// The id that a page gave a message, as the page gave it.
    MessageId,
    /// A list of such ids: those of this token.
    OwnMessageIds,
    /// A message, cut by its kind; without one of a known kind, the whole is left out.
    Message,
    /// A list of messages, each cut by its kind.
    Messages,
    /// The messages that wait: those of users, with the texts of this token's.
    Queue,
    /// What happened to messages that waited: to those of this token.
    Removed,
    /// A switch and two more; the rest of the device's status says where the server runs.
    DeviceStatus,
    /// A list of memory files: those that a page may read.
    MemoryEntries,
    /// A list of paths of memory files: those that a page may read.
    MemoryPaths,
    /// The text of a commit: what it changes in memory files that a page may read.
    Diff,
}

/// The keys that an object keeps.
pub(super) type Cuts = &'static [(&'static str, Cut)];

use Cut::{
    Always, Any, Content, DeviceStatus, Diff, Drop, If, List, MemoryEntries, MemoryPaths, Message, MessageId, Messages,
    Object, OwnMessageIds, Queue, Removed, Runtime, Scalar, Sentence, UserContent,
};

const AGENT_RECORD: Cuts = &[
    ("id", Scalar),
    ("name", Scalar),
    ("model", Scalar),
    ("description", If(&[READ_AGENT], &Scalar)),
    ("tags", If(&[READ_AGENT], &List(&Scalar))),
    ("created_at", If(&[READ_AGENT], &Scalar)),
    ("updated_at", If(&[READ_AGENT], &Scalar)),
    ("last_run_completion", If(&[READ_AGENT], &Scalar)),
    ("system", If(&[READ_AGENT], &Scalar)),
    ("metadata", If(&[READ_AGENT], &Any)),
    ("message_ids", If(&[READ_AGENT, READ_MESSAGES], &List(&Scalar))),
    ("in_context_message_ids", If(&[READ_AGENT, READ_MESSAGES], &List(&Scalar))),
];

const CONVERSATION_RECORD: Cuts = &[
    ("id", Scalar),
    ("agent_id", Scalar),
    ("archived", Scalar),
    ("archived_at", Scalar),
    ("created_at", Scalar),
    ("updated_at", Scalar),
    ("last_message_at", Scalar),
    ("summary", Scalar),
    ("in_context_message_ids", List(&Scalar)),
    ("tags", List(&Scalar)),
];

pub(super) const RUNTIME_START: Cuts = &[
    ("runtime", Runtime),
    ("agent", Object(AGENT_RECORD)),
    ("conversation", Object(CONVERSATION_RECORD)),
    ("created", Object(&[("agent", Scalar), ("conversation", Scalar)])),
    ("execution_settings", Drop),
    ("error", Sentence),
];
pub(super) const INPUT: Cuts =
    &[("runtime", Runtime), ("accepted", Scalar), ("disposition", Scalar), ("error", Sentence)];
pub(super) const SYNC: Cuts = &[("runtime", Runtime), ("error", Sentence)];
pub(super) const ABORT_MESSAGE: Cuts = &[("runtime", Runtime), ("aborted", Scalar), ("error", Sentence)];
pub(super) const RESUME_QUEUE: Cuts = &[("runtime", Runtime), ("resumed", Scalar), ("error", Sentence)];
pub(super) const REMOVE_QUEUE_ITEM: Cuts = &[("item_id", Scalar), ("error", Sentence)];
pub(super) const CONVERSATIONS: Cuts = &[("conversations", List(&Object(CONVERSATION_RECORD))), ("error", Sentence)];
pub(super) const CONVERSATION: Cuts = &[("conversation", Object(CONVERSATION_RECORD)), ("error", Sentence)];
pub(super) const MESSAGES: Cuts =
    &[("messages", Messages), ("next_before", Scalar), ("has_more", Scalar), ("error", Sentence)];
pub(super) const COMPACTION: Cuts = &[
    ("compaction", Object(&[("summary", Scalar), ("num_messages_before", Scalar), ("num_messages_after", Scalar)])),
    ("error", Sentence),
];
pub(super) const AGENT: Cuts = &[("agent", Object(AGENT_RECORD)), ("error", Sentence)];
pub(super) const LIST_MEMORY: Cuts = &[
    ("entries", MemoryEntries),
    ("done", Scalar),
    ("total", Scalar),
    ("memfs_enabled", Scalar),
    ("memfs_initialized", Scalar),
    ("error", Sentence),
];
pub(super) const READ_MEMORY_FILE: Cuts =
    &[("agent_id", Scalar), ("path", Scalar), ("content", Scalar), ("encoding", Scalar), ("error", Sentence)];
pub(super) const MEMORY_HISTORY: Cuts = &[
    ("file_path", Scalar),
    ("commits", List(&Object(&[("sha", Scalar), ("message", Scalar), ("timestamp", Scalar), ("author_name", Scalar)]))),
    ("error", Sentence),
];
pub(super) const MEMORY_FILE_AT_REF: Cuts =
    &[("file_path", Scalar), ("ref", Scalar), ("content", Scalar), ("error", Sentence)];
pub(super) const MEMORY_COMMIT_DIFF: Cuts = &[("sha", Scalar), ("diff", Diff), ("error", Sentence)];

/// The keys of a file in a list of an agent's memory.
pub(super) const MEMORY_ENTRY: Cuts = &[
    ("relative_path", Scalar),
    ("is_system", Scalar),
    ("description", Scalar),
    ("content", Scalar),
    ("size", Scalar),
    ("references", MemoryPaths),
    ("kind", Scalar),
    ("mime_type", Scalar),
];

const TOKENS: Cuts = &[
    ("prompt_tokens", Scalar),
    ("completion_tokens", Scalar),
    ("total_tokens", Scalar),
    ("step_count", Scalar),
    ("cached_input_tokens", Scalar),
    ("cache_write_tokens", Scalar),
    ("reasoning_tokens", Scalar),
    ("context_tokens", Scalar),
];

pub(super) const STREAM_DELTA: Cuts = &[("delta", Message), ("subagent_id", Drop)];
pub(super) const TURN_FINISHED: Cuts = &[
    ("turn_id", Scalar),
    ("stop_reason", Scalar),
    ("run_id", Scalar),
    ("error", Sentence),
    ("usage", Object(TOKENS)),
    ("terminal_consumer_ids", Drop),
];
pub(super) const LOOP_STATUS: Cuts = &[(
    "loop_status",
    Object(&[
        ("status", Scalar),
        ("active_run_ids", List(&Scalar)),
        ("client_message_ids_by_run_id", Always("{}")),
        ("executing_tool_call_ids", Always("[]")),
    ]),
)];
pub(super) const QUEUE: Cuts = &[("queue", Queue), ("removed", Removed)];
pub(super) const DEVICE_STATUS: Cuts = &[("device_status", DeviceStatus)];
pub(super) const SUBAGENTS: Cuts = &[("subagents", Always("[]"))];
pub(super) const MEMORY_UPDATED: Cuts = &[("affected_paths", MemoryPaths), ("timestamp", Scalar)];

/// The keys of a message that waits, where this token sent it.
pub(super) const QUEUED: Cuts = &[
    ("id", Scalar),
    ("client_message_id", MessageId),
    ("kind", Scalar),
    ("source", Scalar),
    ("content", Content),
    ("enqueued_at", Scalar),
    ("paused", Scalar),
];

/// The keys of a message that waits, where another caller sent it.
pub(super) const QUEUED_BY_OTHERS: Cuts = &[
    ("id", Scalar),
    ("client_message_id", Scalar),
    ("kind", Scalar),
    ("source", Scalar),
    ("content", Always("\"\"")),
    ("enqueued_at", Scalar),
    ("paused", Scalar),
];

/// The keys of a part of a message.
pub(super) const PART: Cuts = &[
    ("type", Scalar),
    ("text", Scalar),
    ("source", Object(&[("type", Scalar), ("media_type", Scalar), ("data", Scalar)])),
];

/// The device's status as a page sees it. Two switches are the server's own.
pub(super) const SHOWN_DEVICE_STATUS: &str = r#"{
    "current_connection_id": null, "connection_name": null, "is_online": true, "is_processing": false,
    "current_permission_mode": "strict", "current_working_directory": null, "git_context": null,
    "letta_code_version": null, "current_toolset": null, "current_toolset_preference": "auto",
    "available_toolsets": [], "current_loaded_tools": [], "current_available_skills": [], "background_processes": [],
    "pending_control_requests": [], "experiments": [], "memory_directory": null, "should_doctor": false,
    "reflection_settings": null, "supported_commands": []
}"#;

macro_rules! kinds {
    ($($name:literal: $($key:literal $cut:expr),+;)+) => {
        /// The kinds of messages in a conversation that a page is shown, streamed and stored, with the keys that each keeps
        /// besides those of all.
        pub(super) const KINDS: &[(&str, Cuts)] = &[$(($name, &[$(($key, $cut)),+]),)+];
    };
}

/// The keys that messages of every kind keep.
pub(super) const MESSAGE: Cuts = &[
    ("type", Scalar),
    ("message_type", Scalar),
    ("id", Scalar),
    ("date", Scalar),
    ("agent_id", Scalar),
    ("conversation_id", Scalar),
    ("role", Scalar),
    ("run_id", Scalar),
    ("step_id", Scalar),
    ("seq_id", Scalar),
    ("otid", MessageId),
];

const TOOL_CALL: Cuts = &[("tool_call_id", Scalar), ("name", Scalar), ("arguments", Always("\"{}\""))];
const TOOL_RETURN: Cuts = &[
    ("tool_call_id", Scalar),
    ("status", Scalar),
    ("tool_return", Always("\"\"")),
    ("stdout", Always("[]")),
    ("stderr", Always("[]")),
];

kinds! {
    "assistant_message": "content" Content;
    "reasoning_message": "reasoning" Scalar;
    "user_message": "content" UserContent;
    "stop_reason": "stop_reason" Scalar;
    "usage_statistics":
        "prompt_tokens" Scalar, "completion_tokens" Scalar, "total_tokens" Scalar, "step_count" Scalar,
        "cached_input_tokens" Scalar,
        "cache_write_tokens" Scalar, "reasoning_tokens" Scalar, "context_tokens" Scalar;
    "approval_request_message": "tool_call" Object(TOOL_CALL), "tool_calls" List(&Object(TOOL_CALL));
    "tool_call_message": "tool_call" Object(TOOL_CALL), "tool_calls" List(&Object(TOOL_CALL));
    "tool_return_message":
        "tool_call_id" Scalar, "status" Scalar, "tool_return" Always("\"\""), "tool_returns" List(&Object(TOOL_RETURN)),
        "stdout" Always("[]"), "stderr" Always("[]");
    "client_tool_start": "tool_call_id" Scalar, "tool_name" Scalar, "tool_args" Drop;
    "client_tool_end": "tool_call_id" Scalar, "status" Scalar;
    "status": "message" Scalar, "level" Scalar;
    "retry":
        "attempt" Scalar, "max_attempts" Scalar, "delay_ms" Scalar,
        "message" Always("\"The model's provider failed; the server tries again.\""), "reason" Drop, "retry_kind" Drop,
        "provider" Drop, "from_transport" Drop, "to_transport" Drop, "error_code" Drop;
    "loop_error":
        "message" Sentence, "stop_reason" Scalar, "is_terminal" Scalar, "client_message_ids" OwnMessageIds,
        "api_error" Drop;
    "error_message": "message" Sentence, "detail" Drop, "error_type" Scalar, "retryable" Scalar;
}
