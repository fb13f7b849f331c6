//! THE TABLE of the messages that the App Server sends, with what a client token is shown of each.
//!
//! A type that it does not name is not passed on. A test compares it with the protocol's own list of messages and fields.

use super::{
    Command,
    cuts::{self, Cuts},
};

use crate::model::Access::{self, ReadAgent as READ_AGENT, ReadMessages as READ_MESSAGES};
use Shown::{Event, Never, Response};

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The message's `type` on the wire.
    pub name: &'static str,
    /// What is shown of it.
    pub(super) shown: Shown,
    /// Why, in a few words.
    pub note: &'static str,
}

/// What a client token is shown of a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown {
    /// Nothing.
    Never,
    /// The response to a command that this socket sent, cut so; a failure in the gate's own words.
    Response(Command, Cuts),
    /// An event of a runtime that this socket has started, cut so, if the policy grants these words on the agent.
    Event(&'static [Access], Cuts),
}

macro_rules! messages {
    ($($name:ident $wire:literal $shown:expr, $note:literal;)+) => {
        /// A message of the App Server's protocol.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "each is described by its row")]
        pub enum Message { $($name,)+ }

        impl Message {
            /// Every message, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The message of this type.
            #[must_use]
            pub fn parse(wire: &str) -> Option<Self> {
                match wire { $($wire => Some(Self::$name),)+ _ => None }
            }
        }

        static ROWS: &[Row] = &[$(Row { name: $wire, shown: $shown, note: $note },)+];
    };
}

impl Message {
    /// The message's row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Whether client tokens are shown anything of it.
    #[must_use]
    pub fn is_shown(self) -> bool {
        !matches!(self.row().shown, Never)
    }
}

messages! {
    AbortMessageResponse "abort_message_response" Response(Command::AbortMessage, cuts::ABORT_MESSAGE), "as its command";
    AgentCreateResponse "agent_create_response" Never, "its command is closed";
    AgentDeleteResponse "agent_delete_response" Never, "its command is closed";
    AgentListResponse "agent_list_response" Never, "its command is closed";
    AgentRetrieveResponse "agent_retrieve_response" Response(Command::AgentRetrieve, cuts::AGENT), "by words";
    AgentUpdateResponse "agent_update_response" Response(Command::AgentUpdate, cuts::AGENT), "by words";
    AppServerInfoResponse "app_server_info_response" Never, "Gatelet responds itself";
    BrowserDeviceMcpOauthResponse "browser_device_mcp_oauth_response" Never, "its command is closed";
    ChannelAccountBindResponse "channel_account_bind_response" Never, "messengers";
    ChannelAccountCreateResponse "channel_account_create_response" Never, "messengers";
    ChannelAccountDeleteResponse "channel_account_delete_response" Never, "messengers";
    ChannelAccountStartResponse "channel_account_start_response" Never, "messengers";
    ChannelAccountStopResponse "channel_account_stop_response" Never, "messengers";
    ChannelAccountUnbindResponse "channel_account_unbind_response" Never, "messengers";
    ChannelAccountUpdateResponse "channel_account_update_response" Never, "messengers";
    ChannelAccountsListResponse "channel_accounts_list_response" Never, "messengers";
    ChannelAccountsUpdated "channel_accounts_updated" Never, "messengers";
    ChannelGetConfigResponse "channel_get_config_response" Never, "messengers";
    ChannelPairingBindResponse "channel_pairing_bind_response" Never, "messengers";
    ChannelPairingsListResponse "channel_pairings_list_response" Never, "messengers";
    ChannelPairingsUpdated "channel_pairings_updated" Never, "messengers";
    ChannelRouteRemoveResponse "channel_route_remove_response" Never, "messengers";
    ChannelRouteUpdateResponse "channel_route_update_response" Never, "messengers";
    ChannelRoutesListResponse "channel_routes_list_response" Never, "messengers";
    ChannelRoutesUpdated "channel_routes_updated" Never, "messengers";
    ChannelSetConfigResponse "channel_set_config_response" Never, "messengers";
    ChannelStartResponse "channel_start_response" Never, "messengers";
    ChannelStopResponse "channel_stop_response" Never, "messengers";
    ChannelTargetBindResponse "channel_target_bind_response" Never, "messengers";
    ChannelTargetsListResponse "channel_targets_list_response" Never, "messengers";
    ChannelTargetsUpdated "channel_targets_updated" Never, "messengers";
    ChannelsListResponse "channels_list_response" Never, "messengers";
    ChannelsUpdated "channels_updated" Never, "messengers";
    ChatgptUsageReadResponse "chatgpt_usage_read_response" Never, "its command is closed";
    CheckoutBranchResponse "checkout_branch_response" Never, "its command is closed";
    ConnectProviderResponse "connect_provider_response" Never, "its command is closed";
    ControlRequest "control_request" Never, "asks for approval of a tool call, with its arguments";
    ConversationCompactResponse "conversation_compact_response" Response(Command::ConversationCompact, cuts::COMPACTION), "as its command";
    ConversationCreateResponse "conversation_create_response" Response(Command::ConversationCreate, cuts::CONVERSATION), "as its command";
    ConversationForkResponse "conversation_fork_response" Response(Command::ConversationFork, cuts::CONVERSATION), "as its command";
    ConversationListResponse "conversation_list_response" Response(Command::ConversationList, cuts::CONVERSATIONS), "those of the agent that was asked about";
    ConversationMessagesListResponse "conversation_messages_list_response" Response(Command::ConversationMessagesList, cuts::MESSAGES), "by the kinds of messages";
    ConversationRecompileResponse "conversation_recompile_response" Never, "its command is closed";
    ConversationRetrieveResponse "conversation_retrieve_response" Response(Command::ConversationRetrieve, cuts::CONVERSATION), "as its command";
    ConversationUpdateResponse "conversation_update_response" Response(Command::ConversationUpdate, cuts::CONVERSATION), "as its command";
    CreateAgentResponse "create_agent_response" Never, "its command is closed";
    CronAddResponse "cron_add_response" Never, "its command is closed";
    CronDeleteAllResponse "cron_delete_all_response" Never, "its command is closed";
    CronDeleteResponse "cron_delete_response" Never, "its command is closed";
    CronGetResponse "cron_get_response" Never, "its command is closed";
    CronListResponse "cron_list_response" Never, "its command is closed";
    CronPauseResponse "cron_pause_response" Never, "its command is closed";
    CronResumeResponse "cron_resume_response" Never, "its command is closed";
    CronRunsResponse "cron_runs_response" Never, "its command is closed";
    CronTriggerResponse "cron_trigger_response" Never, "its command is closed";
    CronUpdateResponse "cron_update_response" Never, "its command is closed";
    CronsUpdated "crons_updated" Never, "names other agents";
    DeleteMemoryFileResponse "delete_memory_file_response" Never, "its command is closed";
    DisconnectProviderResponse "disconnect_provider_response" Never, "its command is closed";
    EditFileResponse "edit_file_response" Never, "its command is closed";
    EnableMemfsResponse "enable_memfs_response" Never, "its command is closed";
    ExecuteCommandResponse "execute_command_response" Never, "its command is closed";
    ExternalToolCallRequest "external_tool_call_request" Never, "a page has no tools of its own";
    FileChanged "file_changed" Never, "the host's files";
    FileOps "file_ops" Never, "the host's files";
    GetCwdMapResponse "get_cwd_map_response" Never, "its command is closed";
    GetExperimentsResponse "get_experiments_response" Never, "its command is closed";
    GetReflectionSettingsResponse "get_reflection_settings_response" Never, "its command is closed";
    GetTreeResponse "get_tree_response" Never, "its command is closed";
    GrepInFilesResponse "grep_in_files_response" Never, "its command is closed";
    InputAccepted "input_accepted" Response(Command::Input, cuts::INPUT), "as its command";
    LaunchSubagentResponse "launch_subagent_response" Never, "its command is closed";
    ListConnectProvidersResponse "list_connect_providers_response" Never, "its command is closed";
    ListInDirectoryResponse "list_in_directory_response" Never, "its command is closed";
    ListMemoryResponse "list_memory_response" Response(Command::ListMemory, cuts::LIST_MEMORY), "files that a page may read";
    ListModelsResponse "list_models_response" Never, "its command is closed";
    MemoryCommitDiffResponse "memory_commit_diff_response" Response(Command::MemoryCommitDiff, cuts::MEMORY_COMMIT_DIFF), "files that a page may read";
    MemoryFileAtRefResponse "memory_file_at_ref_response" Response(Command::MemoryFileAtRef, cuts::MEMORY_FILE_AT_REF), "as its command";
    MemoryHistoryResponse "memory_history_response" Response(Command::MemoryHistory, cuts::MEMORY_HISTORY), "as its command";
    MemoryUpdated "memory_updated" Event(&[READ_AGENT], cuts::MEMORY_UPDATED), "needs read_agent; files that a page may read";
    MonitorStopResponse "monitor_stop_response" Never, "its command is closed";
    ReadFileResponse "read_file_response" Never, "its command is closed";
    ReadMemoryFileResponse "read_memory_file_response" Response(Command::ReadMemoryFile, cuts::READ_MEMORY_FILE), "as its command";
    RemoveQueueItemResponse "remove_queue_item_response" Response(Command::RemoveQueueItem, cuts::REMOVE_QUEUE_ITEM), "as its command";
    ResumeQueueResponse "resume_queue_response" Response(Command::ResumeQueue, cuts::RESUME_QUEUE), "as its command";
    RuntimeExternalToolsUpdateResponse "runtime_external_tools_update_response" Never, "its command is closed";
    RuntimeStartResponse "runtime_start_response" Response(Command::RuntimeStart, cuts::RUNTIME_START), "the agent's record by words";
    SearchBranchesResponse "search_branches_response" Never, "its command is closed";
    SearchFilesResponse "search_files_response" Never, "its command is closed";
    SecretApplyResponse "secret_apply_response" Never, "its command is closed";
    SecretListResponse "secret_list_response" Never, "its command is closed";
    SetBootWorkingDirectoryResponse "set_boot_working_directory_response" Never, "its command is closed";
    SetExperimentResponse "set_experiment_response" Never, "its command is closed";
    SetReflectionSettingsResponse "set_reflection_settings_response" Never, "its command is closed";
    SkillDisableResponse "skill_disable_response" Never, "its command is closed";
    SkillEnableResponse "skill_enable_response" Never, "its command is closed";
    SkillsUpdated "skills_updated" Never, "the host's directories";
    StreamDelta "stream_delta" Event(&[READ_MESSAGES], cuts::STREAM_DELTA), "by the kinds of messages; nothing of sub-agents";
    SyncResponse "sync_response" Response(Command::Sync, cuts::SYNC), "as its command";
    TeleportProbeResponse "teleport_probe_response" Never, "its command is closed";
    TeleportReady "teleport_ready" Never, "moves conversations between computers";
    TerminalExited "terminal_exited" Never, "a shell";
    TerminalOutput "terminal_output" Never, "a shell";
    TerminalSpawned "terminal_spawned" Never, "a shell";
    TurnFinished "turn_finished" Event(&[READ_MESSAGES], cuts::TURN_FINISHED), "errors without the provider's text";
    UpdateDeviceStatus "update_device_status" Event(&[READ_MESSAGES], cuts::DEVICE_STATUS), "all but two switches is blank";
    UpdateLoopStatus "update_loop_status" Event(&[READ_MESSAGES], cuts::LOOP_STATUS), "without the ids of others";
    UpdateModelResponse "update_model_response" Never, "its command is closed";
    UpdateQueue "update_queue" Event(&[READ_MESSAGES], cuts::QUEUE), "texts only of what the token queued";
    UpdateSubagentState "update_subagent_state" Event(&[READ_MESSAGES], cuts::SUBAGENTS), "always empty";
    UpdateToolsetResponse "update_toolset_response" Never, "its command is closed";
    WriteFileResponse "write_file_response" Never, "its command is closed";
    WriteMemoryFileResponse "write_memory_file_response" Never, "its command is closed";
}
