//! The field lists of the operation table: for each body and query, everything Letta knows and what a client token may
//! put in it.

use super::grant::{
    Field,
    Listed::{Block, Conversation, File, Folder, Message, Passage, Run, ScheduledMessage, Step, Tool},
    Rule::{
        AtMost, ClientTools, Content, Cursor, Include, InnerPath, Messages, OwnConversation, OwnRuns, Pass, Refuse,
        SameAgent,
    },
};

/// The most model steps a client token may ask for in one turn; Letta's own default.
pub(super) const MAX_STEPS: i64 = 50;

macro_rules! fields {
    ($($rule:expr => $($name:ident)+;)*) => { &[$($(Field { name: stringify!($name), rule: $rule },)+)*] };
}

// Pages of lists, one for each kind of thing that a cursor may name.
pub(super) const BLOCK_PAGE: &[Field] = fields! { Cursor(Block) => before after; Pass => limit order order_by; };
pub(super) const FILE_PAGE: &[Field] = fields! { Cursor(File) => before after cursor; Pass => limit order order_by; };
pub(super) const FOLDER_PAGE: &[Field] = fields! { Cursor(Folder) => before after; Pass => limit order order_by; };
pub(super) const MESSAGE_PAGE: &[Field] = fields! { Cursor(Message) => before after; Pass => limit order order_by; };
pub(super) const RUN_PAGE: &[Field] = fields! { Cursor(Run) => before after; Pass => limit order order_by; };
pub(super) const STEP_PAGE: &[Field] = fields! { Cursor(Step) => before after; Pass => limit order order_by; };
pub(super) const TOOL_PAGE: &[Field] = fields! { Cursor(Tool) => before after; Pass => limit order order_by; };

pub(super) const AGENT_QUERY: &[Field] = fields! { Include => include; Pass => include_relationships; };

pub(super) const AGENT_CHANGES: &[Field] = fields! {
    Pass => name description metadata system timezone;
    Refuse => tool_ids source_ids folder_ids block_ids tags tool_rules message_ids tool_exec_environment_variables secrets
        project_id template_id base_template_id identity_ids message_buffer_autoclear model embedding model_settings
        compaction_settings context_window_limit reasoning llm_config embedding_config parallel_tool_calls
        response_format max_tokens enable_sleeptime last_run_completion last_run_duration_ms last_stop_reason
        max_files_open per_file_view_window_char_limit hidden;
};

pub(super) const BLOCK_CHANGES: &[Field] = fields! {
    Pass => value description;
    Refuse => limit project_id template_name is_template template_id base_template_id deployment_id entity_id
        preserve_on_migration label read_only metadata hidden tags;
};

pub(super) const MESSAGE_LIST: &[Field] = fields! {
    Pass => use_assistant_message assistant_message_tool_name assistant_message_tool_kwarg include_err
        include_return_message_types;
    OwnConversation => conversation_id;
    Refuse => group_id;
};

pub(super) const SEND: &[Field] = fields! {
    Messages => messages;
    Content => input;
    AtMost(MAX_STEPS) => max_steps;
    Pass => use_assistant_message assistant_message_tool_name assistant_message_tool_kwarg
        include_return_message_types enable_thinking include_compaction_messages return_logprobs top_logprobs
        return_token_ids streaming stream_tokens include_pings background;
    ClientTools => client_tools;
    Refuse => client_skills override_model override_system system callback_url;
};

pub(super) const CANCEL: &[Field] = fields! { OwnRuns => run_ids; };

/// Parts of one message, when it is an ordinary message of the user.
pub(super) const MESSAGE: &[Field] = fields! {
    Pass => type role otid name;
    Content => content;
    Refuse => sender_id group_id batch_item_id;
};

/// Parts of one message, when it decides on tool calls; reachable only where the deployment opens approvals.
pub(super) const APPROVAL: &[Field] = fields! {
    Pass => type approvals approve approval_request_id reason tool_returns otid;
    Refuse => group_id;
};

/// Parts of one decision on a tool call.
pub(super) const APPROVAL_ITEM: &[Field] = fields! {
    Pass => type tool_call_id approve reason status stdout stderr;
    Content => tool_return;
};

pub(super) const TEXT_PART: &[Field] = fields! { Pass => type text signature; };
pub(super) const IMAGE_PART: &[Field] = fields! { Pass => type source; };
pub(super) const INLINE_IMAGE: &[Field] = fields! { Pass => type media_type data detail; Refuse => url file_id; };

pub(super) const RECOMPILE_QUERY: &[Field] = fields! { Pass => update_timestamp dry_run; };
pub(super) const SUMMARIZE: &[Field] = fields! { Refuse => compaction_settings; };

pub(super) const PASSAGE_LIST: &[Field] = fields! { Cursor(Passage) => after before; Pass => limit search ascending; };
pub(super) const PASSAGE: &[Field] = fields! { Pass => text tags created_at; };
pub(super) const PASSAGE_SEARCH: &[Field] =
    fields! { Pass => query tags tag_match_mode top_k start_datetime end_datetime; };

pub(super) const FILE_LIST: &[Field] = fields! { Pass => is_open; };
pub(super) const MEMORY_FILE: &[Field] = fields! { InnerPath => file_path ref; };
pub(super) const MEMORY_DIRECTORY: &[Field] = fields! { InnerPath => path ref; Pass => depth; };
pub(super) const MEMORY_HISTORY: &[Field] = fields! { InnerPath => file_path; Pass => limit; };
pub(super) const SCHEDULE_LIST: &[Field] = fields! { Cursor(ScheduledMessage) => after; Pass => limit; };

pub(super) const CONVERSATION_LIST: &[Field] =
    fields! { Cursor(Conversation) => after; Pass => limit summary_search order order_by; };
/// What leads to an agent where the path has only `default`.
pub(super) const NAMED_AGENT: &[Field] = fields! { SameAgent => agent_id; };
pub(super) const NEW_CONVERSATION: &[Field] =
    fields! { Pass => summary; Refuse => isolated_block_labels model model_settings; };
pub(super) const CONVERSATION_CHANGES: &[Field] =
    fields! { Pass => summary; Refuse => model model_settings last_message_at; };
pub(super) const CONVERSATION_MESSAGE_LIST: &[Field] = fields! {
    Pass => include_err include_return_message_types;
    Refuse => group_id;
};
/// `otid` would be resolved by the server, so nothing proves whose run it leads to.
pub(super) const RESUME: &[Field] = fields! {
    Pass => starting_after include_pings poll_interval batch_size;
    OwnRuns => run_id;
    Refuse => otid;
};

pub(super) const RUN_LIST: &[Field] = fields! {
    SameAgent => agent_ids;
    OwnConversation => conversation_id;
    Pass => statuses background stop_reason active ascending;
};
pub(super) const ACTIVE_RUN_LIST: &[Field] = fields! { Pass => background; };
pub(super) const STEP_LIST: &[Field] = fields! {
    Pass => start_date end_date model trace_ids feedback has_feedback tags;
    Refuse => project_id;
};
pub(super) const FEEDBACK: &[Field] = fields! { Pass => feedback tags; };
