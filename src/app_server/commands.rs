//! THE TABLE of the App Server's commands, with the access that each requires of a client token.
//!
//! It is the only place where policy for this protocol is written. A type that it does not name does not exist; one that it
//! marks [`Grant::Never`] cannot be opened by any policy or setting. A test compares it with the protocol's own list of
//! commands and fields, so a new version of the protocol fails the build until a row decides about what it adds.

use super::fields::{
    ABORT_MESSAGE, AGENT, AGENT_UPDATE, CONVERSATION_COMPACT, CONVERSATION_CREATE, CONVERSATION_FORK,
    CONVERSATION_LIST, CONVERSATION_MESSAGES_LIST, CONVERSATION_RETRIEVE, CONVERSATION_UPDATE, Fields, INPUT,
    LIST_MEMORY, MEMORY_COMMIT_DIFF, MEMORY_FILE_AT_REF, MEMORY_HISTORY, NO_FIELDS, READ_MEMORY_FILE,
    REMOVE_QUEUE_ITEM, RESUME_QUEUE, RUNTIME_START, SYNC, TURN_FINISHED_ACK,
};
use crate::model::{
    Access::{
        ReadAgent as READ_AGENT, ReadMessages as READ_MESSAGES, WriteAgent as WRITE_AGENT,
        WriteMessages as WRITE_MESSAGES,
    },
    AccessSet,
};
use Grant::Never;

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The command's `type` on the wire.
    pub name: &'static str,
    /// The `type` of the response that clients wait for.
    pub response: &'static str,
    /// Whether client tokens may use it, under which conditions.
    pub grant: Grant,
    /// Why, in a few words.
    pub note: &'static str,
}

/// Whether client tokens may use a command.
#[derive(Clone, Copy, Debug)]
pub enum Grant {
    /// No policy can open it.
    Never,
    /// Under these conditions.
    Client(ClientGrant),
}

/// The conditions under which a client token may use a command.
#[derive(Clone, Copy, Debug)]
pub struct ClientGrant {
    /// The access words that the policy must grant on the agent, all of them; none for what concerns no agent.
    pub access: AccessSet,
    /// Where the frame names the agent.
    pub agent: AgentSource,
    /// What is forwarded.
    pub fields: Fields,
    /// Who handles it.
    pub handler: Handler,
    /// Whether the frame must carry a `request_id`.
    pub needs_id: bool,
    /// The keys of the response besides `request_id`, `success` and `error`, as a refusal has them. A `runtime` is that of
    /// the frame where the frame names one.
    pub empty: &'static str,
}

/// Where a frame names the agent that it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AgentSource {
    /// Nowhere: it concerns no agent.
    Nothing,
    /// In `agent_id`; `conversation_id`, if there is one, must be the agent's.
    AgentId,
    /// In `runtime`: the pair must be open on this socket.
    Runtime,
    /// In `query.agent_id`; the only agent with the access if it is left out.
    Query,
    /// In `body.agent_id`.
    Body,
    /// The owner of `conversation_id`; of `default`, the agent in `query.agent_id`, where the list of fields has that.
    Conversation,
}

/// Who handles a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handler {
    /// The App Server.
    Server,
    /// The gate responds itself.
    Gate,
    /// Nobody: it has no effect and no response.
    Nobody,
}

impl Grant {
    const fn of(agent: AgentSource, words: &[crate::model::Access], fields: Fields) -> ClientGrant {
        let access = AccessSet::of(words);
        ClientGrant { access, agent, fields, handler: Handler::Server, needs_id: true, empty: "{}" }
    }
}

impl ClientGrant {
    const fn by(self, handler: Handler) -> Self {
        Self { handler, ..self }
    }

    const fn id_optional(self) -> Self {
        Self { needs_id: false, ..self }
    }

    const fn on(self, empty: &'static str) -> Grant {
        Grant::Client(Self { empty, ..self })
    }
}

macro_rules! commands {
    ($($name:ident $wire:literal $(-> $response:literal)? $grant:expr, $note:literal;)+) => {
        /// A command of the App Server's protocol.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "each is described by its row")]
        pub enum Command { $($name,)+ }

        impl Command {
            /// Every command, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The command of this type.
            #[must_use]
            pub fn parse(wire: &str) -> Option<Self> {
                match wire { $($wire => Some(Self::$name),)+ _ => None }
            }
        }

        static ROWS: &[Row] = &[$(Row {
            name: $wire,
            response: response!($wire $($response)?),
            grant: $grant,
            note: $note,
        },)+];
    };
}

macro_rules! response {
    ($wire:literal) => {
        concat!($wire, "_response")
    };
    ($wire:literal $response:literal) => {
        $response
    };
}

impl Command {
    /// The command's row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The command's `type` on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether client tokens may use it, under which conditions.
    #[must_use]
    pub fn grant(self) -> &'static Grant {
        &self.row().grant
    }
}

commands! {
    AppServerInfo "app_server_info" Grant::of(AgentSource::Nothing, &[], NO_FIELDS).by(Handler::Gate).on("{}"), "any policy; Gatelet responds itself, with what a token cannot do switched off";
    RuntimeStart "runtime_start" Grant::of(AgentSource::AgentId, &[READ_MESSAGES], RUNTIME_START).on(r#"{"runtime":null,"agent":null,"conversation":null,"created":{"agent":false,"conversation":false}}"#), "write_messages too if it creates a conversation, which must else be the agent's; always strict, without tools, directory, skills; the agent's record is cut";
    Input "input" -> "input_accepted" Grant::of(AgentSource::Runtime, &[WRITE_MESSAGES], INPUT).id_optional().on(r#"{"runtime":null}"#), "in a runtime that this socket has started; text and inline images in role user; never approvals, never tools";
    Sync "sync" Grant::of(AgentSource::Runtime, &[READ_MESSAGES], SYNC).id_optional().on(r#"{"runtime":null}"#), "in a runtime that this socket has started; recovers and resumes nothing";
    AbortMessage "abort_message" Grant::of(AgentSource::Runtime, &[WRITE_MESSAGES], ABORT_MESSAGE).id_optional().on(r#"{"runtime":null,"aborted":false}"#), "in a runtime that this socket has started; whoever's turn it is";
    ResumeQueue "resume_queue" Grant::of(AgentSource::Runtime, &[WRITE_MESSAGES], RESUME_QUEUE).id_optional().on(r#"{"runtime":null,"resumed":0}"#), "in a runtime that this socket has started; everyone's messages";
    RemoveQueueItem "remove_queue_item" Grant::of(AgentSource::Runtime, &[WRITE_MESSAGES], REMOVE_QUEUE_ITEM).on(r#"{"item_id":""}"#), "in a runtime that this socket has started; only what the same token queued";
    TurnFinishedAck "turn_finished_ack" Grant::of(AgentSource::Nothing, &[], TURN_FINISHED_ACK).by(Handler::Nobody).id_optional().on("{}"), "any policy; has no effect";
    ConversationList "conversation_list" Grant::of(AgentSource::Query, &[READ_MESSAGES], CONVERSATION_LIST).on(r#"{"conversations":[]}"#), "only of a covered agent_id, filled in if the policy has one";
    ConversationCreate "conversation_create" Grant::of(AgentSource::Body, &[WRITE_MESSAGES], CONVERSATION_CREATE).on(r#"{"conversation":null}"#), "for a covered agent_id; summary only";
    ConversationRetrieve "conversation_retrieve" Grant::of(AgentSource::Conversation, &[READ_MESSAGES], CONVERSATION_RETRIEVE).on(r#"{"conversation":null}"#), "must be a covered agent's";
    ConversationMessagesList "conversation_messages_list" Grant::of(AgentSource::Conversation, &[READ_MESSAGES], CONVERSATION_MESSAGES_LIST).on(r#"{"messages":[],"next_before":null,"has_more":false}"#), "must be a covered agent's; at most 200 at a time; tool arguments, their output and what the harness says are left out";
    ConversationUpdate "conversation_update" Grant::of(AgentSource::Conversation, &[WRITE_MESSAGES], CONVERSATION_UPDATE).on(r#"{"conversation":null}"#), "must be a covered agent's; summary only";
    ConversationFork "conversation_fork" Grant::of(AgentSource::Conversation, &[READ_MESSAGES, WRITE_MESSAGES], CONVERSATION_FORK).on(r#"{"conversation":null}"#), "must be a covered agent's; copies history, so it needs both words";
    ConversationCompact "conversation_compact" Grant::of(AgentSource::Conversation, &[READ_MESSAGES, WRITE_MESSAGES], CONVERSATION_COMPACT).on(r#"{"compaction":null}"#), "must be a covered agent's; no settings of its own";
    AgentRetrieve "agent_retrieve" Grant::of(AgentSource::AgentId, &[READ_AGENT], AGENT).on(r#"{"agent":null}"#), "the record without tools, settings of the model, secrets, identities";
    AgentUpdate "agent_update" Grant::of(AgentSource::AgentId, &[WRITE_AGENT], AGENT_UPDATE).on(r#"{"agent":null}"#), "description, metadata and system only";
    ListMemory "list_memory" Grant::of(AgentSource::AgentId, &[READ_AGENT], LIST_MEMORY).on(r#"{"entries":[],"done":true,"total":0}"#), "Markdown files and images, without mods and skills";
    ReadMemoryFile "read_memory_file" Grant::of(AgentSource::AgentId, &[READ_AGENT], READ_MEMORY_FILE).on(r#"{"agent_id":"","path":"","content":null,"encoding":"utf8"}"#), "as listing memory";
    MemoryHistory "memory_history" Grant::of(AgentSource::AgentId, &[READ_AGENT], MEMORY_HISTORY).on(r#"{"file_path":"","commits":[]}"#), "as listing memory";
    MemoryFileAtRef "memory_file_at_ref" Grant::of(AgentSource::AgentId, &[READ_AGENT], MEMORY_FILE_AT_REF).on(r#"{"file_path":"","ref":"","content":null}"#), "as listing memory; ref is the hash of a commit";
    MemoryCommitDiff "memory_commit_diff" Grant::of(AgentSource::AgentId, &[READ_AGENT], MEMORY_COMMIT_DIFF).on(r#"{"sha":"","diff":null}"#), "as listing memory; sha is the hash of a commit";
    ConversationRecompile "conversation_recompile" Never, "responds with the compiled system prompt";
    WriteMemoryFile "write_memory_file" Never, "a file such as .git/config makes git run a program; mods are code, skills are instructions";
    DeleteMemoryFile "delete_memory_file" Never, "as writing a memory file";
    EnableMemfs "enable_memfs" Never, "creates a repository on the host";
    AgentList "agent_list" Never, "lists all agents";
    AgentCreate "agent_create" Never, "makes agents, with tools and secrets";
    CreateAgent "create_agent" Never, "makes agents, with tools and secrets";
    AgentDelete "agent_delete" Never, "irreversible";
    ChangeDeviceState "change_device_state" Never, "permission mode and directory, of another conversation perhaps";
    ExecuteCommand "execute_command" Never, "slash commands reach secrets, channels and extensions";
    LaunchSubagent "launch_subagent" Never, "starts an agent with tools";
    MonitorStop "monitor_stop" Never, "ends processes on the host";
    UpdateModel "update_model" Never, "changes the model, and with it the costs";
    UpdateToolset "update_toolset" Never, "gives tools to later turns";
    GetReflectionSettings "get_reflection_settings" Never, "responds with prompts";
    SetReflectionSettings "set_reflection_settings" Never, "changes all agents by default";
    RuntimeExternalToolsUpdate "runtime_external_tools_update" Never, "puts tools into the turns of any runtime";
    ExternalToolCallResponse "external_tool_call_response" Never, "a page has no tools of its own";
    TeleportProbe "teleport_probe" Never, "moves conversations between computers";
    TeleportRequest "teleport_request" -> "teleport_ready" Never, "moves conversations between computers";
    TeleportFailed "teleport_failed" Never, "moves conversations between computers";
    TerminalSpawn "terminal_spawn" Never, "a shell";
    TerminalInput "terminal_input" Never, "a shell";
    TerminalResize "terminal_resize" Never, "a shell";
    TerminalKill "terminal_kill" Never, "a shell";
    SearchFiles "search_files" Never, "the host's files";
    GrepInFiles "grep_in_files" Never, "the host's files";
    ListInDirectory "list_in_directory" Never, "the host's files";
    GetTree "get_tree" Never, "the host's files";
    ReadFile "read_file" Never, "the host's files";
    WriteFile "write_file" Never, "the host's files";
    WatchFile "watch_file" Never, "the host's files";
    UnwatchFile "unwatch_file" Never, "the host's files";
    EditFile "edit_file" Never, "the host's files";
    FileOps "file_ops" Never, "the host's files";
    SearchBranches "search_branches" Never, "git on the host";
    CheckoutBranch "checkout_branch" Never, "git on the host";
    GetCwdMap "get_cwd_map" Never, "the host's directories";
    SetBootWorkingDirectory "set_boot_working_directory" Never, "the host's directories";
    ListModels "list_models" Never, "shows configured providers";
    ListConnectProviders "list_connect_providers" Never, "provider credentials";
    ConnectProvider "connect_provider" Never, "provider credentials";
    DisconnectProvider "disconnect_provider" Never, "provider credentials";
    ChatgptUsageRead "chatgpt_usage_read" Never, "provider credentials";
    SecretList "secret_list" Never, "secrets in plain text";
    SecretApply "secret_apply" Never, "secrets in plain text";
    SkillEnable "skill_enable" Never, "loads instructions and code";
    SkillDisable "skill_disable" Never, "loads instructions and code";
    GetExperiments "get_experiments" Never, "switches of the server";
    SetExperiment "set_experiment" Never, "switches of the server";
    BrowserDeviceMcpOauth "browser_device_mcp_oauth" Never, "OAuth on the host";
    BrowserDeviceMcpOauthCancel "browser_device_mcp_oauth_cancel" Never, "OAuth on the host";
    CronList "cron_list" Never, "prompts, and the schedules of all agents";
    CronAdd "cron_add" Never, "runs later, with tools, after the token has ended";
    CronDeleteAll "cron_delete_all" Never, "runs later, with tools, after the token has ended";
    CronGet "cron_get" Never, "another agent's perhaps; runs with tools";
    CronRuns "cron_runs" Never, "another agent's perhaps; runs with tools";
    CronTrigger "cron_trigger" Never, "another agent's perhaps; runs with tools";
    CronPause "cron_pause" Never, "another agent's perhaps; runs with tools";
    CronResume "cron_resume" Never, "another agent's perhaps; runs with tools";
    CronUpdate "cron_update" Never, "another agent's perhaps; runs with tools";
    CronDelete "cron_delete" Never, "another agent's perhaps; runs with tools";
    ChannelsList "channels_list" Never, "messengers: credentials, other people's chats";
    ChannelAccountsList "channel_accounts_list" Never, "messengers: credentials, other people's chats";
    ChannelAccountCreate "channel_account_create" Never, "messengers: credentials, other people's chats";
    ChannelAccountUpdate "channel_account_update" Never, "messengers: credentials, other people's chats";
    ChannelAccountBind "channel_account_bind" Never, "messengers: credentials, other people's chats";
    ChannelAccountUnbind "channel_account_unbind" Never, "messengers: credentials, other people's chats";
    ChannelAccountDelete "channel_account_delete" Never, "messengers: credentials, other people's chats";
    ChannelAccountStart "channel_account_start" Never, "messengers: credentials, other people's chats";
    ChannelAccountStop "channel_account_stop" Never, "messengers: credentials, other people's chats";
    ChannelGetConfig "channel_get_config" Never, "messengers: credentials, other people's chats";
    ChannelSetConfig "channel_set_config" Never, "messengers: credentials, other people's chats";
    ChannelStart "channel_start" Never, "messengers: credentials, other people's chats";
    ChannelStop "channel_stop" Never, "messengers: credentials, other people's chats";
    ChannelPairingsList "channel_pairings_list" Never, "messengers: credentials, other people's chats";
    ChannelPairingBind "channel_pairing_bind" Never, "messengers: credentials, other people's chats";
    ChannelRoutesList "channel_routes_list" Never, "messengers: credentials, other people's chats";
    ChannelTargetsList "channel_targets_list" Never, "messengers: credentials, other people's chats";
    ChannelTargetBind "channel_target_bind" Never, "messengers: credentials, other people's chats";
    ChannelRouteRemove "channel_route_remove" Never, "messengers: credentials, other people's chats";
    ChannelRouteUpdate "channel_route_update" Never, "messengers: credentials, other people's chats";
}
