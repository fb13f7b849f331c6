//! The field lists of the operation table: for each body and query, everything Letta knows and what a client token may
//! put in it.
//!
//! `one` and `list` say whether a query may repeat a parameter, as all SDKs do to write a list. Letta does not limit texts,
//! so the limits are Gatelet's: higher than what people and applications write, and low enough that an agent with every
//! field at its limit can still be looked up and read.

use super::grant::{
    Field,
    Listed::{Block, Conversation, File, Folder, Message, Passage, Run, ScheduledMessage, Step, Tool},
    Rule::{
        AtMost, ChatMessages, ClientTools, Content, Cursor, Ignore, Include, InnerPath, Messages, OwnConversation,
        OwnRuns, Pass, Refuse, ResponseInput, SameAgent,
    },
    list, one,
};

/// The most model steps a client token may ask for in one turn; Letta's own default.
pub(super) const MAX_STEPS: i64 = 50;

const KIB: usize = 1024;
/// A list of tags, or of runs, each of which is looked up.
const WORDS: usize = 4 * KIB;
/// Text for people: a description, a summary, a reason.
const NOTE: usize = 16 * KIB;
/// What an application stores about its agent.
const METADATA: usize = 64 * KIB;
/// Letta accepts passages of 8,192 tokens, which take about half of this in English.
const PASSAGE_TEXT: usize = 64 * KIB;
/// The characters of about 32,000 tokens, the context window that Letta assumes.
const SYSTEM: usize = 128 * KIB;
/// Letta's default limit of a block is 100,000 characters, of four bytes at most.
const BLOCK: usize = 512 * KIB;
/// Messages are stored apart from their agent and read in pages; only `limits.body_bytes` limits them.
const BODY: usize = usize::MAX;

macro_rules! fields {
    ($($kind:expr => $($name:ident)+;)*) => { &[$($(Field { name: stringify!($name), ..$kind },)+)*] };
}

// Pages of lists, one for each kind of thing that a cursor may name.
pub(super) const BLOCK_PAGE: &[Field] =
    fields! { one(Cursor(Block)) => before after; one(Pass) => limit order order_by; };
pub(super) const FILE_PAGE: &[Field] =
    fields! { one(Cursor(File)) => before after cursor; one(Pass) => limit order order_by; };
pub(super) const FOLDER_PAGE: &[Field] =
    fields! { one(Cursor(Folder)) => before after; one(Pass) => limit order order_by; };
pub(super) const MESSAGE_PAGE: &[Field] =
    fields! { one(Cursor(Message)) => before after; one(Pass) => limit order order_by; };
pub(super) const RUN_PAGE: &[Field] = fields! { one(Cursor(Run)) => before after; one(Pass) => limit order order_by; };
pub(super) const STEP_PAGE: &[Field] =
    fields! { one(Cursor(Step)) => before after; one(Pass) => limit order order_by; };
pub(super) const TOOL_PAGE: &[Field] =
    fields! { one(Cursor(Tool)) => before after; one(Pass) => limit order order_by; };

pub(super) const AGENT_QUERY: &[Field] = fields! { list(Include) => include; list(Pass) => include_relationships; };

pub(super) const AGENT_CHANGES: &[Field] = fields! {
    one(Pass) => name timezone;
    one(Pass).at_most(NOTE) => description;
    one(Pass).at_most(METADATA) => metadata;
    one(Pass).at_most(SYSTEM) => system;
    one(Refuse) => tool_ids source_ids folder_ids block_ids tags tool_rules message_ids tool_exec_environment_variables
        secrets project_id template_id base_template_id identity_ids message_buffer_autoclear model embedding
        model_settings compaction_settings context_window_limit reasoning llm_config embedding_config
        parallel_tool_calls response_format max_tokens enable_sleeptime last_run_completion last_run_duration_ms
        last_stop_reason max_files_open per_file_view_window_char_limit hidden;
};

pub(super) const BLOCK_CHANGES: &[Field] = fields! {
    one(Pass).at_most(BLOCK) => value;
    one(Pass).at_most(NOTE) => description;
    one(Refuse) => limit project_id template_name is_template template_id base_template_id deployment_id entity_id
        preserve_on_migration label read_only metadata hidden tags;
};

pub(super) const MESSAGE_LIST: &[Field] = fields! {
    one(Pass) => use_assistant_message assistant_message_tool_name assistant_message_tool_kwarg include_err;
    list(Pass) => include_return_message_types;
    one(OwnConversation) => conversation_id;
    one(Refuse) => group_id;
};

pub(super) const SEND: &[Field] = fields! {
    one(Messages).at_most(BODY) => messages;
    one(Content).at_most(BODY) => input;
    one(AtMost(MAX_STEPS)) => max_steps;
    one(Pass) => use_assistant_message assistant_message_tool_name assistant_message_tool_kwarg
        include_return_message_types enable_thinking include_compaction_messages return_logprobs top_logprobs
        return_token_ids streaming stream_tokens include_pings background;
    one(ClientTools).at_most(BODY) => client_tools;
    one(Refuse) => client_skills override_model override_system system callback_url;
};

/// Client tokens get the agents of their policy instead of Letta's models.
pub(super) const MODEL_LIST: &[Field] =
    fields! { one(Ignore) => provider_name provider_type; list(Ignore) => provider_category; };

/// `OpenAI`'s fields of a chat completion. The agent's own settings decide what those of the model would.
pub(super) const CHAT_COMPLETION: &[Field] = fields! {
    one(SameAgent) => model;
    one(ChatMessages).at_most(BODY) => messages;
    one(Pass) => stream stream_options;
    one(AtMost(1)) => n;
    one(Ignore) => temperature top_p presence_penalty frequency_penalty max_tokens max_completion_tokens stop seed
        logit_bias logprobs top_logprobs reasoning_effort verbosity modalities prediction parallel_tool_calls tool_choice
        function_call user safety_identifier metadata store service_tier prompt_cache_key prompt_cache_options
        prompt_cache_retention;
    one(Refuse) => tools functions response_format audio web_search_options moderation;
};

/// `OpenAI`'s fields of a response.
pub(super) const RESPONSE: &[Field] = fields! {
    one(SameAgent) => model;
    one(ResponseInput).at_most(BODY) => input;
    one(Pass) => stream store previous_response_id;
    one(Ignore) => temperature top_p top_logprobs max_output_tokens max_tool_calls reasoning truncation include
        parallel_tool_calls tool_choice stream_options user safety_identifier metadata service_tier prompt_cache_key
        prompt_cache_options prompt_cache_retention;
    one(Refuse) => instructions tools text prompt conversation background context_management moderation;
};

pub(super) const CANCEL: &[Field] = fields! { one(OwnRuns).at_most(WORDS) => run_ids; };

/// Fields of an ordinary user message.
pub(super) const MESSAGE: &[Field] = fields! {
    one(Pass) => type role otid name;
    one(Content).at_most(BODY) => content;
    one(Refuse) => sender_id group_id batch_item_id;
};

/// Fields of a message that decides on tool calls; reachable only if the deployment opens approvals.
pub(super) const APPROVAL: &[Field] = fields! {
    one(Pass) => type approve approval_request_id otid;
    one(Pass).at_most(NOTE) => reason;
    one(Pass).at_most(BODY) => approvals tool_returns;
    one(Refuse) => group_id;
};

/// Fields of one decision on a tool call.
pub(super) const APPROVAL_ITEM: &[Field] = fields! {
    one(Pass) => type tool_call_id approve status;
    one(Pass).at_most(NOTE) => reason;
    one(Pass).at_most(BODY) => stdout stderr;
    one(Content).at_most(BODY) => tool_return;
};

pub(super) const TEXT_PART: &[Field] = fields! {
    one(Pass) => type;
    one(Pass).at_most(NOTE) => signature;
    one(Pass).at_most(BODY) => text;
};
pub(super) const IMAGE_PART: &[Field] = fields! { one(Pass) => type; one(Pass).at_most(BODY) => source; };
pub(super) const INLINE_IMAGE: &[Field] = fields! {
    one(Pass) => type media_type detail;
    one(Pass).at_most(BODY) => data;
    one(Refuse) => url file_id;
};

pub(super) const RECOMPILE_QUERY: &[Field] = fields! { one(Pass) => update_timestamp dry_run; };
pub(super) const SUMMARIZE: &[Field] = fields! { one(Refuse) => compaction_settings; };

pub(super) const PASSAGE_LIST: &[Field] =
    fields! { one(Cursor(Passage)) => after before; one(Pass) => limit search ascending; };
pub(super) const PASSAGE: &[Field] = fields! {
    one(Pass) => created_at;
    one(Pass).at_most(WORDS) => tags;
    one(Pass).at_most(PASSAGE_TEXT) => text;
};
pub(super) const PASSAGE_SEARCH: &[Field] =
    fields! { one(Pass) => query tag_match_mode top_k start_datetime end_datetime; list(Pass) => tags; };

pub(super) const FILE_LIST: &[Field] = fields! { one(Pass) => is_open; };
pub(super) const MEMORY_FILE: &[Field] = fields! { one(InnerPath) => file_path ref; };
pub(super) const MEMORY_DIRECTORY: &[Field] = fields! { one(InnerPath) => path ref; one(Pass) => depth; };
pub(super) const MEMORY_HISTORY: &[Field] = fields! { one(InnerPath) => file_path; one(Pass) => limit; };
pub(super) const SCHEDULE_LIST: &[Field] = fields! { one(Cursor(ScheduledMessage)) => after; one(Pass) => limit; };

pub(super) const CONVERSATION_LIST: &[Field] =
    fields! { one(Cursor(Conversation)) => after; one(Pass) => limit summary_search order order_by; };
/// Names the agent where the path has only `default`.
pub(super) const NAMED_AGENT: &[Field] = fields! { one(SameAgent) => agent_id; };
pub(super) const NEW_CONVERSATION: &[Field] =
    fields! { one(Pass).at_most(NOTE) => summary; one(Refuse) => isolated_block_labels model model_settings; };
pub(super) const CONVERSATION_CHANGES: &[Field] =
    fields! { one(Pass).at_most(NOTE) => summary; one(Refuse) => model model_settings last_message_at; };
pub(super) const CONVERSATION_MESSAGE_LIST: &[Field] = fields! {
    one(Pass) => include_err;
    list(Pass) => include_return_message_types;
    one(Refuse) => group_id;
};
/// The server would resolve `otid`, so nothing proves which agent's run it means.
pub(super) const RESUME: &[Field] = fields! {
    one(Pass) => starting_after include_pings poll_interval batch_size;
    one(OwnRuns) => run_id;
    one(Refuse) => otid;
};

pub(super) const RUN_LIST: &[Field] = fields! {
    list(SameAgent) => agent_ids;
    one(OwnConversation) => conversation_id;
    one(Pass) => background stop_reason active ascending;
    list(Pass) => statuses;
};
pub(super) const ACTIVE_RUN_LIST: &[Field] = fields! { one(Pass) => background; };
pub(super) const STEP_LIST: &[Field] = fields! {
    one(Pass) => start_date end_date model feedback has_feedback;
    list(Pass) => trace_ids tags;
    one(Refuse) => project_id;
};
pub(super) const FEEDBACK: &[Field] = fields! { one(Pass) => feedback; one(Pass).at_most(WORDS) => tags; };
