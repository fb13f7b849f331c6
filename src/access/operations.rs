//! THE TABLE: every operation of the Letta API, with the access it requires of a client token.
//!
//! It is the only place where policy is written. The guard, the dispatch in both modes, the documentation and the tests
//! read it. An operation that it does not name does not exist; one that it marks [`Grant::Never`] cannot be opened by any
//! policy. A test compares it with Letta's specification, so an operation that Letta adds fails the build until it has a
//! row.

use std::fmt;

use http::Method;

use super::{
    fields::{
        ACTIVE_RUN_LIST, AGENT_CHANGES, AGENT_QUERY, BLOCK_CHANGES, BLOCK_PAGE, CANCEL, CHAT_COMPLETION,
        CONVERSATION_CHANGES, CONVERSATION_LIST, CONVERSATION_MESSAGE_LIST, FEEDBACK, FILE_LIST, FILE_PAGE,
        FOLDER_PAGE, MEMORY_DIRECTORY, MEMORY_FILE, MEMORY_HISTORY, MESSAGE_LIST, MESSAGE_PAGE, MODEL_LIST,
        NAMED_AGENT, NEW_CONVERSATION, PASSAGE, PASSAGE_LIST, PASSAGE_SEARCH, RECOMPILE_QUERY, RESPONSE, RESUME,
        RUN_LIST, RUN_PAGE, SCHEDULE_LIST, SEND, STEP_LIST, STEP_PAGE, SUMMARIZE, TOOL_PAGE,
    },
    grant::{
        AgentSource::{Body, Conversation, Policy, Query, Run, Step},
        Grant::{self, KeyOnly, Never, Public},
        Redaction::{Secrets, SecretsAndUnsent},
        Second::{File, Passage, ScheduledMessage, UnsharedArchive, UnsharedBlock},
    },
};
use crate::model::Access::{
    ReadAgent as READ_AGENT, ReadMessages as READ_MESSAGES, WriteAgent as WRITE_AGENT, WriteMessages as WRITE_MESSAGES,
};

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The operation's name.
    pub name: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// The path template in Letta's canonical form, parameters in braces.
    pub template: &'static str,
    /// Who responds to it.
    pub(crate) served_by: ServedBy,
    /// Who may call it, under which conditions.
    pub grant: Grant,
    /// Why, in a few words.
    pub(crate) note: &'static str,
    /// Whether the body is a file, which may be larger than other bodies.
    pub(crate) uploads: bool,
}

/// Who responds to an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ServedBy {
    /// Gatelet itself, the same in both modes.
    Gatelet,
    /// Gatelet's own OpenAI API for client tokens; the mock or the upstream for API keys.
    OpenAi,
    /// The mock or the upstream.
    Backend,
}

/// Marks the rows whose body is a file.
const UPLOAD: bool = true;

macro_rules! operations {
    ($($name:ident $method:ident $template:literal $served_by:ident $grant:expr, $note:literal $(, $uploads:expr)?;)+) => {
        /// An operation of the Letta API.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "each is described by its row")]
        pub enum Operation { $($name,)+ }

        impl Operation {
            /// Every operation, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }

        static ROWS: &[Row] = &[$(Row {
            name: stringify!($name),
            method: Method::$method,
            template: $template,
            served_by: ServedBy::$served_by,
            grant: $grant,
            note: $note,
            uploads: false $(|| $uploads)?,
        },)+];
    };
}

impl Operation {
    /// The operation's row.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Who may call the operation, under which conditions.
    #[must_use]
    pub fn grant(self) -> &'static Grant {
        &self.row().grant
    }
}

/// Such as `GET /v1/agents/{agent_id}`: safe for logs, unlike the path that was requested.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        write!(f, "{} {}", row.method, row.template)
    }
}

operations! {
    CheckHealth GET "/v1/health/" Gatelet Public, "no token needed, no data";
    CheckReadiness GET "/v1/ready/" Gatelet Public, "no token needed, no data";
    ListAgents GET "/v1/agents/" Backend Never, "lists all agents";
    CreateAgent POST "/v1/agents/" Backend Never, "may attach any block, tool or secret";
    CountAgents GET "/v1/agents/count" Backend Never, "organisation-wide figure";
    ImportAgent POST "/v1/agents/import" Backend Never, "creates agents and overwrites tools", UPLOAD;
    SearchAgentMessages POST "/v1/agents/messages/search" Backend Never, "reaches all agents";
    SearchDeployedAgents POST "/v1/agents/search" Backend Never, "all agents";
    CountDeployedAgents GET "/v1/agents/search/count" Backend Never, "all agents";
    RetrieveAgent GET "/v1/agents/{agent_id}" Backend Grant::agent(&[READ_AGENT]).query(&[AGENT_QUERY]).redact(Secrets).on(), "secrets, tool sources, endpoints, identities and groups are blanked; a pending approval needs read_messages too";
    ModifyAgent PATCH "/v1/agents/{agent_id}" Backend Grant::agent(&[WRITE_AGENT]).body(&[AGENT_CHANGES]).redact(SecretsAndUnsent).on(), "name, description, metadata, system and timezone only; all else reaches beyond the agent or lifts limits";
    DeleteAgent DELETE "/v1/agents/{agent_id}" Backend Never, "irreversible";
    ListPassages GET "/v1/agents/{agent_id}/archival-memory" Backend Grant::agent(&[READ_AGENT]).query(&[PASSAGE_LIST]).redact(Secrets).on(), "the archive is the agent's memory; embeddings are dropped";
    CreatePassage POST "/v1/agents/{agent_id}/archival-memory" Backend Grant::agent(&[WRITE_AGENT]).body(&[PASSAGE]).second(UnsharedArchive).redact(Secrets).on(), "refused while agents outside the policy share the archive";
    SearchArchivalMemory GET "/v1/agents/{agent_id}/archival-memory/search" Backend Grant::agent(&[READ_AGENT]).query(&[PASSAGE_SEARCH]).on(), "the agent's own memory";
    DeletePassage DELETE "/v1/agents/{agent_id}/archival-memory/{memory_id}" Backend Grant::agent(&[WRITE_AGENT]).second(Passage).on(), "the passage must be the agent's; refused while agents outside the policy share the archive";
    AttachArchiveToAgent PATCH "/v1/agents/{agent_id}/archives/attach/{archive_id}" Backend Never, "would pull in any archive";
    DetachArchiveFromAgent PATCH "/v1/agents/{agent_id}/archives/detach/{archive_id}" Backend Never, "structural change";
    RetrieveAgentContextWindow GET "/v1/agents/{agent_id}/context" Backend Never, "compiled prompt and all messages at once";
    RetrieveAgentMemory GET "/v1/agents/{agent_id}/core-memory" Backend Grant::agent(&[READ_AGENT]).redact(Secrets).on(), "the agent's own memory";
    ListCoreMemoryBlocks GET "/v1/agents/{agent_id}/core-memory/blocks" Backend Grant::agent(&[READ_AGENT]).query(&[BLOCK_PAGE]).on(), "the agent's own memory";
    AttachCoreMemoryBlock PATCH "/v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}" Backend Never, "would pull in another agent's block";
    DetachCoreMemoryBlock PATCH "/v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}" Backend Never, "removes guard text";
    RetrieveCoreMemoryBlock GET "/v1/agents/{agent_id}/core-memory/blocks/{block_label}" Backend Grant::agent(&[READ_AGENT]).on(), "the agent's own memory";
    ModifyCoreMemoryBlock PATCH "/v1/agents/{agent_id}/core-memory/blocks/{block_label}" Backend Grant::agent(&[WRITE_AGENT]).body(&[BLOCK_CHANGES]).second(UnsharedBlock).redact(SecretsAndUnsent).on(), "value and description only; refused while agents outside the policy share the block";
    GetAgentVariables GET "/v1/agents/{agent_id}/core-memory/variables" Backend Grant::agent(&[READ_AGENT]).on(), "the agent's own memory";
    ExportAgent GET "/v1/agents/{agent_id}/export" Backend Never, "reveals messages, tool source and secret names";
    ExportAgentWithSkills POST "/v1/agents/{agent_id}/export" Backend Never, "reveals messages, tool source and secret names";
    ListFilesForAgent GET "/v1/agents/{agent_id}/files" Backend Grant::agent(&[READ_AGENT]).query(&[FILE_LIST, FILE_PAGE]).on(), "what the agent itself can see";
    CloseAllFilesForAgent PATCH "/v1/agents/{agent_id}/files/close-all" Backend Grant::agent(&[WRITE_AGENT]).redact(SecretsAndUnsent).on(), "only this agent's view of its files";
    CloseFileForAgent PATCH "/v1/agents/{agent_id}/files/{file_id}/close" Backend Grant::agent(&[WRITE_AGENT]).second(File).on(), "the file must be one of the agent's";
    OpenFileForAgent PATCH "/v1/agents/{agent_id}/files/{file_id}/open" Backend Grant::agent(&[WRITE_AGENT]).second(File).redact(SecretsAndUnsent).on(), "the file must be one of the agent's";
    ListFoldersForAgent GET "/v1/agents/{agent_id}/folders" Backend Grant::agent(&[READ_AGENT]).query(&[FOLDER_PAGE]).redact(Secrets).on(), "metadata; endpoints are blanked";
    AttachFolderToAgent PATCH "/v1/agents/{agent_id}/folders/attach/{folder_id}" Backend Never, "would pull in any folder";
    DetachFolderFromAgent PATCH "/v1/agents/{agent_id}/folders/detach/{folder_id}" Backend Never, "structural change";
    GenerateCompletion POST "/v1/agents/{agent_id}/generate" Backend Never, "free use of any model";
    ListGroupsForAgent GET "/v1/agents/{agent_id}/groups" Backend Never, "names other agents";
    AttachIdentityToAgent PATCH "/v1/agents/{agent_id}/identities/attach/{identity_id}" Backend Never, "assumes another identity";
    DetachIdentityFromAgent PATCH "/v1/agents/{agent_id}/identities/detach/{identity_id}" Backend Never, "structural change";
    ReadMemoryFile GET "/v1/agents/{agent_id}/memory-files/content" Backend Grant::agent(&[READ_AGENT]).query(&[MEMORY_FILE]).on(), "paths must stay inside";
    ListMemoryDirectory GET "/v1/agents/{agent_id}/memory-files/directory" Backend Grant::agent(&[READ_AGENT]).query(&[MEMORY_DIRECTORY]).on(), "paths must stay inside";
    ReadMemoryFileHistory GET "/v1/agents/{agent_id}/memory-files/history" Backend Grant::agent(&[READ_AGENT]).query(&[MEMORY_HISTORY]).on(), "paths must stay inside";
    ListMessages GET "/v1/agents/{agent_id}/messages" Backend Grant::agent(&[READ_MESSAGES]).query(&[MESSAGE_LIST, MESSAGE_PAGE]).on(), "a conversation named must be the agent's";
    SendMessage POST "/v1/agents/{agent_id}/messages" Backend Grant::agent(&[WRITE_MESSAGES]).body(&[SEND]).streams().on(), "text and inline images in role user; no overrides, no other ids, at most 50 steps";
    SendMessageAsync POST "/v1/agents/{agent_id}/messages/async" Backend Grant::agent(&[WRITE_MESSAGES]).body(&[SEND]).on(), "as sending; no callback_url";
    CancelMessages POST "/v1/agents/{agent_id}/messages/cancel" Backend Grant::agent(&[WRITE_MESSAGES]).body(&[CANCEL]).on(), "every run named must be the agent's";
    PreviewModelRequest POST "/v1/agents/{agent_id}/messages/preview-raw-payload" Backend Never, "reveals system prompt and tool schemas";
    StreamMessage POST "/v1/agents/{agent_id}/messages/stream" Backend Grant::agent(&[WRITE_MESSAGES]).body(&[SEND]).streams().on(), "as sending";
    ModifyMessage PATCH "/v1/agents/{agent_id}/messages/{message_id}" Backend Never, "rewrites history";
    RecompileAgent POST "/v1/agents/{agent_id}/recompile" Backend Grant::agent(&[WRITE_AGENT, READ_AGENT]).query(&[RECOMPILE_QUERY]).on(), "responds with the compiled prompt, so it needs both words";
    ResetMessages PATCH "/v1/agents/{agent_id}/reset-messages" Backend Never, "loses the history of all users";
    ListScheduledMessages GET "/v1/agents/{agent_id}/schedule" Backend Grant::agent(&[READ_MESSAGES]).query(&[SCHEDULE_LIST]).on(), "holds message texts";
    ScheduleAgentMessage POST "/v1/agents/{agent_id}/schedule" Backend Never, "outlives the token";
    RetrieveScheduledMessage GET "/v1/agents/{agent_id}/schedule/{scheduled_message_id}" Backend Grant::agent(&[READ_MESSAGES]).second(ScheduledMessage).on(), "must be scheduled for this agent";
    DeleteScheduledMessage DELETE "/v1/agents/{agent_id}/schedule/{scheduled_message_id}" Backend Never, "may be another user's";
    ListAgentSources GET "/v1/agents/{agent_id}/sources" Backend Grant::agent(&[READ_AGENT]).query(&[FOLDER_PAGE]).redact(Secrets).on(), "metadata; endpoints are blanked";
    AttachSourceToAgent PATCH "/v1/agents/{agent_id}/sources/attach/{source_id}" Backend Never, "would pull in any folder";
    DetachSourceFromAgent PATCH "/v1/agents/{agent_id}/sources/detach/{source_id}" Backend Never, "structural change";
    SummarizeMessages POST "/v1/agents/{agent_id}/summarize" Backend Grant::agent(&[WRITE_MESSAGES, READ_MESSAGES]).body(&[SUMMARIZE]).streams().on(), "reveals history, so it needs both words; no settings of its own";
    RecompileAgentSystemPrompt POST "/v1/agents/{agent_id}/system-prompt/recompile" Backend Grant::agent(&[WRITE_AGENT, READ_AGENT]).query(&[RECOMPILE_QUERY]).on(), "as recompiling";
    ListToolsForAgent GET "/v1/agents/{agent_id}/tools" Backend Grant::agent(&[READ_AGENT]).query(&[TOOL_PAGE]).redact(Secrets).on(), "tool sources are blanked";
    ModifyApprovalForTool PATCH "/v1/agents/{agent_id}/tools/approval/{tool_name}" Backend Never, "would switch off human approval";
    AttachToolToAgent PATCH "/v1/agents/{agent_id}/tools/attach/{tool_id}" Backend Never, "would pull in any tool";
    DetachToolFromAgent PATCH "/v1/agents/{agent_id}/tools/detach/{tool_id}" Backend Never, "can remove a guard tool";
    RunToolForAgent POST "/v1/agents/{agent_id}/tools/{tool_name}/run" Backend Never, "runs code past rules and approval";
    ListConversations GET "/v1/conversations/" Backend Grant::from(Query, &[READ_MESSAGES]).query(&[CONVERSATION_LIST, NAMED_AGENT]).on(), "only of a covered agent_id";
    CreateConversation POST "/v1/conversations/" Backend Grant::from(Query, &[WRITE_MESSAGES]).query(&[NAMED_AGENT]).body(&[NEW_CONVERSATION]).on(), "for a covered agent_id; summary only";
    RetrieveConversation GET "/v1/conversations/{conversation_id}" Backend Grant::from(Conversation, &[READ_MESSAGES]).on(), "must be a covered agent's";
    ModifyConversation PATCH "/v1/conversations/{conversation_id}" Backend Grant::from(Conversation, &[WRITE_MESSAGES]).body(&[CONVERSATION_CHANGES]).redact(SecretsAndUnsent).on(), "must be a covered agent's; summary only";
    DeleteConversation DELETE "/v1/conversations/{conversation_id}" Backend Never, "irreversible; isolated blocks go too";
    CancelConversation POST "/v1/conversations/{conversation_id}/cancel" Backend Grant::from(Conversation, &[WRITE_MESSAGES]).query(&[NAMED_AGENT]).on(), "must be a covered agent's";
    CompactConversation POST "/v1/conversations/{conversation_id}/compact" Backend Grant::from(Conversation, &[WRITE_MESSAGES, READ_MESSAGES]).body(&[SUMMARIZE, NAMED_AGENT]).streams().on(), "must be a covered agent's; needs both words";
    ForkConversation POST "/v1/conversations/{conversation_id}/fork" Backend Grant::from(Conversation, &[WRITE_MESSAGES, READ_MESSAGES]).query(&[NAMED_AGENT]).on(), "must be a covered agent's; copies history, so it needs both words";
    ListConversationMessages GET "/v1/conversations/{conversation_id}/messages" Backend Grant::from(Conversation, &[READ_MESSAGES]).query(&[CONVERSATION_MESSAGE_LIST, MESSAGE_PAGE, NAMED_AGENT]).on(), "must be a covered agent's";
    SendConversationMessage POST "/v1/conversations/{conversation_id}/messages" Backend Grant::from(Conversation, &[WRITE_MESSAGES]).body(&[SEND, NAMED_AGENT]).streams().on(), "must be a covered agent's; as sending";
    PreviewConversationModelRequest POST "/v1/conversations/{conversation_id}/messages/preview-raw-payload" Backend Never, "reveals system prompt and tool schemas";
    RecompileConversation POST "/v1/conversations/{conversation_id}/recompile" Backend Never, "rewrites the system message";
    StreamConversation POST "/v1/conversations/{conversation_id}/stream" Backend Grant::from(Conversation, &[READ_MESSAGES]).body(&[RESUME, NAMED_AGENT]).streams().on(), "must be a covered agent's; only reads";
    ListRuns GET "/v1/runs/" Backend Grant::from(Query, &[READ_MESSAGES]).query(&[RUN_LIST, RUN_PAGE, NAMED_AGENT]).on(), "only of covered agents or their conversations";
    ListActiveRuns GET "/v1/runs/active" Backend Grant::from(Query, &[READ_MESSAGES]).query(&[ACTIVE_RUN_LIST, NAMED_AGENT]).on(), "only of a covered agent_id";
    RetrieveRun GET "/v1/runs/{run_id}" Backend Grant::from(Run, &[READ_MESSAGES]).on(), "must be a covered agent's run";
    DeleteRun DELETE "/v1/runs/{run_id}" Backend Never, "removes audit data";
    ListMessagesForRun GET "/v1/runs/{run_id}/messages" Backend Grant::from(Run, &[READ_MESSAGES]).query(&[MESSAGE_PAGE]).on(), "must be a covered agent's run";
    RetrieveMetricsForRun GET "/v1/runs/{run_id}/metrics" Backend Grant::from(Run, &[READ_MESSAGES]).on(), "must be a covered agent's run";
    ListStepsForRun GET "/v1/runs/{run_id}/steps" Backend Grant::from(Run, &[READ_MESSAGES]).query(&[STEP_PAGE]).redact(Secrets).on(), "must be a covered agent's run; endpoints and error data are blanked";
    StreamRun POST "/v1/runs/{run_id}/stream" Backend Grant::from(Run, &[READ_MESSAGES]).body(&[RESUME, NAMED_AGENT]).streams().on(), "must be a covered agent's run; only reads";
    RetrieveTraceForRun GET "/v1/runs/{run_id}/trace" Backend Never, "raw provider traffic";
    RetrieveUsageForRun GET "/v1/runs/{run_id}/usage" Backend Grant::from(Run, &[READ_MESSAGES]).on(), "must be a covered agent's run";
    ListSteps GET "/v1/steps/" Backend Grant::from(Query, &[READ_MESSAGES]).query(&[STEP_LIST, STEP_PAGE, NAMED_AGENT]).redact(Secrets).on(), "only of a covered agent_id";
    RetrieveStep GET "/v1/steps/{step_id}" Backend Grant::from(Step, &[READ_MESSAGES]).redact(Secrets).on(), "must be a covered agent's run";
    ModifyStepFeedback PATCH "/v1/steps/{step_id}/feedback" Backend Grant::from(Step, &[WRITE_MESSAGES]).body(&[FEEDBACK]).redact(SecretsAndUnsent).on(), "must be a covered agent's run";
    ListMessagesForStep GET "/v1/steps/{step_id}/messages" Backend Grant::from(Step, &[READ_MESSAGES]).query(&[MESSAGE_PAGE]).on(), "must be a covered agent's run";
    RetrieveMetricsForStep GET "/v1/steps/{step_id}/metrics" Backend Grant::from(Step, &[READ_MESSAGES]).on(), "must be a covered agent's run";
    RetrieveTraceForStep GET "/v1/steps/{step_id}/trace" Backend Never, "raw provider traffic";
    ListAllMessages GET "/v1/messages/" Backend Never, "all agents of the organisation";
    ListBatches GET "/v1/messages/batches" Backend Never, "many agents in one body";
    CreateBatch POST "/v1/messages/batches" Backend Never, "many agents in one body";
    RetrieveBatch GET "/v1/messages/batches/{batch_id}" Backend Never, "many agents in one body";
    CancelBatch PATCH "/v1/messages/batches/{batch_id}/cancel" Backend Never, "many agents in one body";
    ListMessagesForBatch GET "/v1/messages/batches/{batch_id}/messages" Backend Never, "many agents in one body";
    SearchMessages POST "/v1/messages/search" Backend Never, "reaches all agents";
    RetrieveMessage GET "/v1/messages/{message_id}" Backend Never, "its agent cannot be proven";
    ListClientSideAccessTokens GET "/v1/client-side-access-tokens" Gatelet KeyOnly, "token management";
    CreateClientSideAccessToken POST "/v1/client-side-access-tokens" Gatelet KeyOnly, "token management";
    DeleteClientSideAccessToken DELETE "/v1/client-side-access-tokens/{token}" Gatelet KeyOnly, "token management";
    CountInternalAgents GET "/v1/_internal_agents/count" Backend Never, "internal back channel";
    ModifyInternalCoreMemoryBlock PATCH "/v1/_internal_agents/{agent_id}/core-memory/blocks/{block_label}" Backend Never, "internal back channel";
    ListInternalBlocks GET "/v1/_internal_blocks/" Backend Never, "internal back channel";
    CreateInternalBlock POST "/v1/_internal_blocks/" Backend Never, "internal back channel";
    DeleteInternalBlock DELETE "/v1/_internal_blocks/{block_id}" Backend Never, "internal back channel";
    ListAgentsForInternalBlock GET "/v1/_internal_blocks/{block_id}/agents" Backend Never, "internal back channel";
    ListInternalRuns GET "/v1/_internal_runs/" Backend Never, "internal back channel";
    CreateInternalTemplateAgent POST "/v1/_internal_templates/agents" Backend Never, "internal back channel";
    CreateInternalTemplateBlock POST "/v1/_internal_templates/blocks" Backend Never, "internal back channel";
    CreateInternalTemplateBlocksBatch POST "/v1/_internal_templates/blocks/batch" Backend Never, "internal back channel";
    ListDeploymentEntities GET "/v1/_internal_templates/deployment/{deployment_id}" Backend Never, "internal back channel";
    DeleteDeployment DELETE "/v1/_internal_templates/deployment/{deployment_id}" Backend Never, "internal back channel";
    CreateInternalTemplateGroup POST "/v1/_internal_templates/groups" Backend Never, "internal back channel";
    ListArchives GET "/v1/archives/" Backend Never, "organisation-wide, shared";
    CreateArchive POST "/v1/archives/" Backend Never, "organisation-wide, shared";
    RetrieveArchive GET "/v1/archives/{archive_id}" Backend Never, "organisation-wide, shared";
    ModifyArchive PATCH "/v1/archives/{archive_id}" Backend Never, "organisation-wide, shared";
    DeleteArchive DELETE "/v1/archives/{archive_id}" Backend Never, "organisation-wide, shared";
    ListAgentsForArchive GET "/v1/archives/{archive_id}/agents" Backend Never, "names other agents";
    CreatePassageInArchive POST "/v1/archives/{archive_id}/passages" Backend Never, "organisation-wide, shared";
    CreatePassagesInArchive POST "/v1/archives/{archive_id}/passages/batch" Backend Never, "organisation-wide, shared";
    DeletePassageFromArchive DELETE "/v1/archives/{archive_id}/passages/{passage_id}" Backend Never, "organisation-wide, shared";
    ListBlocks GET "/v1/blocks/" Backend Never, "organisation-wide, shared";
    CreateBlock POST "/v1/blocks/" Backend Never, "organisation-wide, shared";
    CountBlocks GET "/v1/blocks/count" Backend Never, "organisation-wide, shared";
    RetrieveBlock GET "/v1/blocks/{block_id}" Backend Never, "shared object; use the agent's label route";
    ModifyBlock PATCH "/v1/blocks/{block_id}" Backend Never, "shared object; use the agent's label route";
    DeleteBlock DELETE "/v1/blocks/{block_id}" Backend Never, "organisation-wide, shared";
    ListAgentsForBlock GET "/v1/blocks/{block_id}/agents" Backend Never, "names other agents";
    AttachIdentityToBlock PATCH "/v1/blocks/{block_id}/identities/attach/{identity_id}" Backend Never, "organisation-wide, shared";
    DetachIdentityFromBlock PATCH "/v1/blocks/{block_id}/identities/detach/{identity_id}" Backend Never, "organisation-wide, shared";
    CreateChatCompletion POST "/v1/chat/completions" OpenAi Grant::from(Body, &[WRITE_MESSAGES]).body(&[CHAT_COMPLETION]).streams().on(), "model is the id of a covered agent; only the text of the last user message is sent";
    CreateResponse POST "/v1/responses" OpenAi Grant::from(Body, &[WRITE_MESSAGES]).body(&[RESPONSE]).streams().on(), "as chat completions; continues only responses that such a token was given";
    GetDeviceStorageKey GET "/v1/device-storage-key" Backend Never, "hands out a key";
    GetTotalStorageSize GET "/v1/embeddings/total_storage_size" Backend Never, "organisation-wide figure";
    ListEnvironments GET "/v1/environments" Backend Never, "remote devices";
    RegisterEnvironment POST "/v1/environments/register" Backend Never, "remote devices";
    SendEnvironmentMessage POST "/v1/environments/{connectionId}/messages" Backend Never, "remote devices";
    GetEnvironment GET "/v1/environments/{deviceId}" Backend Never, "remote devices";
    DeleteEnvironment DELETE "/v1/environments/{id}" Backend Never, "remote devices";
    ListFeeds GET "/v1/feeds" Backend Never, "project administration";
    CreateFeed POST "/v1/feeds" Backend Never, "project administration";
    GetFeed GET "/v1/feeds/{feed_id}" Backend Never, "project administration";
    DeleteFeed DELETE "/v1/feeds/{feed_id}" Backend Never, "project administration";
    ListFeedMessages GET "/v1/feeds/{feed_id}/messages" Backend Never, "project administration";
    PublishFeedMessages POST "/v1/feeds/{feed_id}/messages" Backend Never, "project administration";
    GetFeedMessage GET "/v1/feeds/{feed_id}/messages/{message_id}" Backend Never, "project administration";
    SubscribeFeed POST "/v1/feeds/{feed_id}/subscribe" Backend Never, "project administration";
    ListSubscriptions GET "/v1/feeds/{feed_id}/subscriptions" Backend Never, "project administration";
    UpdateAllSubscriptionsCron PATCH "/v1/feeds/{feed_id}/subscriptions/cron" Backend Never, "project administration";
    UpdateSubscription PATCH "/v1/feeds/{feed_id}/subscriptions/{subscription_id}" Backend Never, "project administration";
    DeleteSubscription DELETE "/v1/feeds/{feed_id}/subscriptions/{subscription_id}" Backend Never, "project administration";
    BackfillSubscription POST "/v1/feeds/{feed_id}/subscriptions/{subscription_id}/backfill" Backend Never, "project administration";
    ListSubscriptionHistory GET "/v1/feeds/{feed_id}/subscriptions/{subscription_id}/history" Backend Never, "project administration";
    TriggerSubscription POST "/v1/feeds/{feed_id}/subscriptions/{subscription_id}/trigger" Backend Never, "project administration";
    UnsubscribeFeed POST "/v1/feeds/{feed_id}/unsubscribe" Backend Never, "project administration";
    ListFolders GET "/v1/folders/" Backend Never, "organisation-wide, shared";
    CreateFolder POST "/v1/folders/" Backend Never, "organisation-wide, shared";
    CountFolders GET "/v1/folders/count" Backend Never, "organisation-wide, shared";
    RetrieveFoldersMetadata GET "/v1/folders/metadata" Backend Never, "organisation-wide, shared";
    GetFolderByName GET "/v1/folders/name/{folder_name}" Backend Never, "organisation-wide, shared";
    RetrieveFolder GET "/v1/folders/{folder_id}" Backend Never, "organisation-wide, shared";
    ModifyFolder PATCH "/v1/folders/{folder_id}" Backend Never, "organisation-wide, shared";
    DeleteFolder DELETE "/v1/folders/{folder_id}" Backend Never, "organisation-wide, shared";
    ListAgentsForFolder GET "/v1/folders/{folder_id}/agents" Backend Never, "organisation-wide, shared";
    ListFilesForFolder GET "/v1/folders/{folder_id}/files" Backend Never, "organisation-wide, shared";
    RetrieveFolderFile GET "/v1/folders/{folder_id}/files/{file_id}" Backend Never, "organisation-wide, shared";
    ListFolderPassages GET "/v1/folders/{folder_id}/passages" Backend Never, "organisation-wide, shared";
    UploadFileToFolder POST "/v1/folders/{folder_id}/upload" Backend Never, "organisation-wide, shared", UPLOAD;
    DeleteFileFromFolder DELETE "/v1/folders/{folder_id}/{file_id}" Backend Never, "organisation-wide, shared";
    ListGroups GET "/v1/groups/" Backend Never, "several agents";
    CreateGroup POST "/v1/groups/" Backend Never, "several agents";
    CountGroups GET "/v1/groups/count" Backend Never, "several agents";
    RetrieveGroup GET "/v1/groups/{group_id}" Backend Never, "several agents";
    ModifyGroup PATCH "/v1/groups/{group_id}" Backend Never, "several agents";
    DeleteGroup DELETE "/v1/groups/{group_id}" Backend Never, "several agents";
    AttachBlockToGroup PATCH "/v1/groups/{group_id}/blocks/attach/{block_id}" Backend Never, "organisation-wide, shared";
    DetachBlockFromGroup PATCH "/v1/groups/{group_id}/blocks/detach/{block_id}" Backend Never, "organisation-wide, shared";
    ListGroupMessages GET "/v1/groups/{group_id}/messages" Backend Never, "messages of several agents";
    ModifyGroupMessage PATCH "/v1/groups/{group_id}/messages/{message_id}" Backend Never, "several agents";
    ResetGroupMessages PATCH "/v1/groups/{group_id}/reset-messages" Backend Never, "several agents";
    ListIdentities GET "/v1/identities/" Backend Never, "organisation-wide";
    CreateIdentity POST "/v1/identities/" Backend Never, "organisation-wide";
    UpsertIdentity PUT "/v1/identities/" Backend Never, "organisation-wide";
    CountIdentities GET "/v1/identities/count" Backend Never, "organisation-wide";
    RetrieveIdentity GET "/v1/identities/{identity_id}" Backend Never, "organisation-wide";
    ModifyIdentity PATCH "/v1/identities/{identity_id}" Backend Never, "organisation-wide";
    DeleteIdentity DELETE "/v1/identities/{identity_id}" Backend Never, "organisation-wide";
    ListAgentsForIdentity GET "/v1/identities/{identity_id}/agents" Backend Never, "names other agents";
    ListBlocksForIdentity GET "/v1/identities/{identity_id}/blocks" Backend Never, "organisation-wide, shared";
    UpsertPropertiesForIdentity PUT "/v1/identities/{identity_id}/properties" Backend Never, "organisation-wide";
    ListJobs GET "/v1/jobs/" Backend Never, "organisation-wide";
    ListActiveJobs GET "/v1/jobs/active" Backend Never, "organisation-wide";
    RetrieveJob GET "/v1/jobs/{job_id}" Backend Never, "organisation-wide";
    DeleteJob DELETE "/v1/jobs/{job_id}" Backend Never, "organisation-wide";
    CancelJob PATCH "/v1/jobs/{job_id}/cancel" Backend Never, "organisation-wide";
    LegacyMigration POST "/v1/legacy-templates/{templateId}/migrates" Backend Never, "project administration";
    McpListMcpServers GET "/v1/mcp-servers/" Backend Never, "credentials and outbound connections";
    McpCreateMcpServer POST "/v1/mcp-servers/" Backend Never, "credentials and outbound connections";
    McpConnectMcpServer GET "/v1/mcp-servers/connect/{mcp_server_id}" Backend Never, "credentials and outbound connections";
    McpRetrieveMcpServer GET "/v1/mcp-servers/{mcp_server_id}" Backend Never, "credentials and outbound connections";
    McpUpdateMcpServer PATCH "/v1/mcp-servers/{mcp_server_id}" Backend Never, "credentials and outbound connections";
    McpDeleteMcpServer DELETE "/v1/mcp-servers/{mcp_server_id}" Backend Never, "credentials and outbound connections";
    McpRefreshMcpServerTools PATCH "/v1/mcp-servers/{mcp_server_id}/refresh" Backend Never, "credentials and outbound connections";
    McpListToolsForMcpServer GET "/v1/mcp-servers/{mcp_server_id}/tools" Backend Never, "credentials and outbound connections";
    McpRetrieveMcpTool GET "/v1/mcp-servers/{mcp_server_id}/tools/{tool_id}" Backend Never, "credentials and outbound connections";
    McpRunTool POST "/v1/mcp-servers/{mcp_server_id}/tools/{tool_id}/run" Backend Never, "credentials and outbound connections";
    RetrieveCurrentBalances GET "/v1/metadata/balance" Backend Never, "billing data";
    SendFeedback POST "/v1/metadata/feedback" Backend Never, "account data";
    GetStatus GET "/v1/metadata/status" Backend Never, "account data";
    SendTelemetry POST "/v1/metadata/telemetry" Backend Never, "account data";
    GetUser GET "/v1/metadata/user" Backend Never, "names the key's owner, balance";
    ListModels GET "/v1/models/" OpenAi Grant::from(Policy, &[]).query(&[MODEL_LIST]).on(), "the agents of the policy as models of the OpenAI API, not Letta's models";
    ListEmbeddingModels GET "/v1/models/embedding" Backend Never, "shows configured providers";
    ListEmbeddings GET "/v1/models/embeddings" Backend Never, "organisation-wide figure";
    SearchPassages POST "/v1/passages/search" Backend Never, "reaches all passages";
    ListPipelines GET "/v1/pipelines" Backend Never, "project administration";
    CreatePipeline POST "/v1/pipelines" Backend Never, "project administration";
    CountPipelines GET "/v1/pipelines/count" Backend Never, "project administration";
    PreviewPipeline POST "/v1/pipelines/preview" Backend Never, "project administration";
    GetPipeline GET "/v1/pipelines/{pipeline_id}" Backend Never, "project administration";
    UpdatePipeline PATCH "/v1/pipelines/{pipeline_id}" Backend Never, "project administration";
    DeletePipeline DELETE "/v1/pipelines/{pipeline_id}" Backend Never, "project administration";
    UpdatePipelineProducerConfig PATCH "/v1/pipelines/{pipeline_id}/config" Backend Never, "project administration";
    SyncPipeline POST "/v1/pipelines/{pipeline_id}/sync" Backend Never, "project administration";
    ListPipelineSyncHistory GET "/v1/pipelines/{pipeline_id}/sync/history" Backend Never, "project administration";
    ListProjects GET "/v1/projects" Backend Never, "project administration";
    CreateProject POST "/v1/projects" Backend Never, "project administration";
    DeleteProject DELETE "/v1/projects/{projectId}" Backend Never, "project administration";
    ListProviders GET "/v1/providers/" Backend Never, "provider credentials";
    CreateProvider POST "/v1/providers/" Backend Never, "provider credentials";
    CheckProvider POST "/v1/providers/check" Backend Never, "provider credentials";
    RetrieveProvider GET "/v1/providers/{provider_id}" Backend Never, "provider credentials";
    ModifyProvider PATCH "/v1/providers/{provider_id}" Backend Never, "provider credentials";
    DeleteProvider DELETE "/v1/providers/{provider_id}" Backend Never, "provider credentials";
    CheckExistingProvider POST "/v1/providers/{provider_id}/check" Backend Never, "provider credentials";
    RefreshProviderModels PATCH "/v1/providers/{provider_id}/refresh" Backend Never, "provider credentials";
    ListSandboxes GET "/v1/sandboxes" Backend Never, "remote devices";
    CreateSandbox POST "/v1/sandboxes" Backend Never, "remote devices";
    TerminateSandbox POST "/v1/sandboxes/{sandboxId}/terminate" Backend Never, "remote devices";
    ListSources GET "/v1/sources/" Backend Never, "organisation-wide, shared";
    CreateSource POST "/v1/sources/" Backend Never, "organisation-wide, shared";
    CountSources GET "/v1/sources/count" Backend Never, "organisation-wide, shared";
    GetSourcesMetadata GET "/v1/sources/metadata" Backend Never, "organisation-wide, shared";
    GetSourceIdByName GET "/v1/sources/name/{source_name}" Backend Never, "organisation-wide, shared";
    RetrieveSource GET "/v1/sources/{source_id}" Backend Never, "organisation-wide, shared";
    ModifySource PATCH "/v1/sources/{source_id}" Backend Never, "organisation-wide, shared";
    DeleteSource DELETE "/v1/sources/{source_id}" Backend Never, "organisation-wide, shared";
    GetAgentsForSource GET "/v1/sources/{source_id}/agents" Backend Never, "organisation-wide, shared";
    ListSourceFiles GET "/v1/sources/{source_id}/files" Backend Never, "organisation-wide, shared";
    RetrieveSourceFile GET "/v1/sources/{source_id}/files/{file_id}" Backend Never, "organisation-wide, shared";
    ListSourcePassages GET "/v1/sources/{source_id}/passages" Backend Never, "organisation-wide, shared";
    UploadFileToSource POST "/v1/sources/{source_id}/upload" Backend Never, "organisation-wide, shared", UPLOAD;
    DeleteFileFromSource DELETE "/v1/sources/{source_id}/{file_id}" Backend Never, "organisation-wide, shared";
    ListTags GET "/v1/tags/" Backend Never, "tags of all agents";
    RetrieveProviderTrace GET "/v1/telemetry/{step_id}" Backend Never, "raw provider traffic";
    ListTemplates GET "/v1/templates" Backend Never, "project administration";
    CreateTemplateNoProject POST "/v1/templates" Backend Never, "project administration";
    CreateTemplate POST "/v1/templates/{project_id}" Backend Never, "project administration";
    ListTemplateVersions GET "/v1/templates/{project_id}/{name}/versions" Backend Never, "project administration";
    SaveTemplateVersion POST "/v1/templates/{project_id}/{template_name}" Backend Never, "project administration";
    DeleteTemplate DELETE "/v1/templates/{project_id}/{template_name}" Backend Never, "project administration";
    UpdateCurrentTemplateFromAgentFile PUT "/v1/templates/{project_id}/{template_name}/agent-file" Backend Never, "project administration";
    MigrateDeployment POST "/v1/templates/{project_id}/{template_name}/deployments/{deployment_id}/migrate" Backend Never, "project administration";
    UpdateTemplateDescription PATCH "/v1/templates/{project_id}/{template_name}/description" Backend Never, "project administration";
    RenameTemplate PATCH "/v1/templates/{project_id}/{template_name}/name" Backend Never, "project administration";
    RollbackTemplate POST "/v1/templates/{project_id}/{template_name}/rollback" Backend Never, "project administration";
    CreateAgentsFromTemplate POST "/v1/templates/{project_id}/{template_version}/agents" Backend Never, "project administration";
    ForkTemplate POST "/v1/templates/{project_id}/{template_version}/fork" Backend Never, "project administration";
    GetTemplateSnapshot GET "/v1/templates/{project_id}/{template_version}/snapshot" Backend Never, "project administration";
    SetCurrentTemplateFromSnapshot PUT "/v1/templates/{project_id}/{template_version}/snapshot" Backend Never, "project administration";
    UpdateCurrentTemplateFromAgentFileNoProject PATCH "/v1/templates/{template_name}" Backend Never, "project administration";
    DeleteTemplateNoProject DELETE "/v1/templates/{template_name}" Backend Never, "project administration";
    RollbackTemplateNoProject POST "/v1/templates/{template_name}/rollback" Backend Never, "project administration";
    SaveTemplateVersionNoProject POST "/v1/templates/{template_name}/save" Backend Never, "project administration";
    CreateAgentsFromTemplateNoProject POST "/v1/templates/{template_version}/agents" Backend Never, "project administration";
    ListTools GET "/v1/tools/" Backend Never, "organisation-wide";
    CreateTool POST "/v1/tools/" Backend Never, "organisation-wide";
    UpsertTool PUT "/v1/tools/" Backend Never, "organisation-wide";
    AddBaseTools POST "/v1/tools/add-base-tools" Backend Never, "organisation-wide";
    CountTools GET "/v1/tools/count" Backend Never, "organisation-wide";
    McpOauthCallback GET "/v1/tools/mcp/oauth/callback" Backend Never, "redirect target of the server itself";
    ListMcpServers GET "/v1/tools/mcp/servers" Backend Never, "credentials and outbound connections";
    AddMcpServer PUT "/v1/tools/mcp/servers" Backend Never, "credentials and outbound connections";
    ConnectMcpServer POST "/v1/tools/mcp/servers/connect" Backend Never, "credentials and outbound connections";
    TestMcpServer POST "/v1/tools/mcp/servers/test" Backend Never, "credentials and outbound connections";
    UpdateMcpServer PATCH "/v1/tools/mcp/servers/{mcp_server_name}" Backend Never, "credentials and outbound connections";
    DeleteMcpServer DELETE "/v1/tools/mcp/servers/{mcp_server_name}" Backend Never, "credentials and outbound connections";
    ResyncMcpServerTools POST "/v1/tools/mcp/servers/{mcp_server_name}/resync" Backend Never, "credentials and outbound connections";
    ListMcpToolsByServer GET "/v1/tools/mcp/servers/{mcp_server_name}/tools" Backend Never, "credentials and outbound connections";
    ExecuteMcpTool POST "/v1/tools/mcp/servers/{mcp_server_name}/tools/{tool_name}/execute" Backend Never, "credentials and outbound connections";
    AddMcpTool POST "/v1/tools/mcp/servers/{mcp_server_name}/{mcp_tool_name}" Backend Never, "credentials and outbound connections";
    RunToolFromSource POST "/v1/tools/run" Backend Never, "arbitrary code";
    SearchTools POST "/v1/tools/search" Backend Never, "organisation-wide";
    RetrieveTool GET "/v1/tools/{tool_id}" Backend Never, "tool source; use the agent's route";
    ModifyTool PATCH "/v1/tools/{tool_id}" Backend Never, "organisation-wide";
    DeleteTool DELETE "/v1/tools/{tool_id}" Backend Never, "organisation-wide";
    CreateVoiceChatCompletions POST "/v1/voice-beta/{agent_id}/chat/completions" Backend Never, "gone upstream";
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;
    use serde_json::Value;

    use super::*;
    use crate::access::grant::{FieldList, Redaction};

    #[derive(Deserialize)]
    struct Known {
        query: Vec<String>,
        body: Vec<String>,
    }

    /// `tests/data/letta-fields.json` is every parameter and body field that Letta's specification has for the operations
    /// open to client tokens; for `/v1/chat/completions` and `/v1/responses`, that OpenAI's has. One that a row does not name would be dropped in silence instead of refused.
    #[test]
    fn every_field_that_letta_knows_is_decided_about() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/letta-fields.json");
        let known: HashMap<String, Known> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut open = 0;
        for operation in Operation::ALL {
            let Grant::Client(grant) = operation.grant() else { continue };
            open += 1;
            let known = &known[&operation.to_string()];
            let decided =
                |fields: FieldList, name: &String| fields.iter().copied().flatten().any(|field| field.name == name);
            for name in &known.query {
                assert!(decided(grant.query, name), "{operation}: query parameter {name}");
            }
            // Without body fields no body is read at all.
            for name in known.body.iter().filter(|_| !grant.body.is_empty()) {
                assert!(decided(grant.body, name), "{operation}: body field {name}");
            }
        }
        assert_eq!(open, known.len());
    }

    #[derive(Deserialize)]
    struct Specification {
        operations: HashMap<String, Described>,
    }

    #[derive(Deserialize)]
    struct Described {
        parameters: Vec<Parameter>,
    }

    #[derive(Deserialize)]
    struct Parameter {
        name: String,
        r#in: String,
        schema: Value,
    }

    fn is_list(schema: &Value) -> bool {
        let any = ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema[word].as_array()).flatten();
        schema["type"] == "array" || any.into_iter().any(is_list)
    }

    /// Letta's specification, in `tests/data/letta-schemas.json`, says of which parameters it reads a list.
    #[test]
    fn the_parameters_that_may_be_repeated_are_those_of_which_letta_reads_a_list() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/letta-schemas.json");
        let known: Specification = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut lists = 0;
        for operation in Operation::ALL {
            let Grant::Client(grant) = operation.grant() else { continue };
            for field in grant.query.iter().copied().flatten() {
                let described = &known.operations[&operation.to_string()].parameters;
                let mut described = described.iter().filter(|known| known.r#in == "query");
                let expected = is_list(&described.find(|known| known.name == field.name).unwrap().schema);
                assert_eq!(field.is_list, expected, "{operation}: {}", field.name);
                lists += usize::from(expected);
            }
            let places: usize = grant.query.iter().map(|fields| fields.len()).sum();
            assert!(places <= 64, "{operation}: the inspector has a bit for each parameter");
        }
        assert_eq!(lists, 10);
    }

    /// Any response may name other agents.
    #[test]
    fn every_response_to_a_client_token_is_redacted() {
        for operation in Operation::ALL {
            if let Grant::Client(grant) = operation.grant() {
                assert_ne!(grant.redaction, Redaction::None, "{operation}");
            }
        }
    }
}
