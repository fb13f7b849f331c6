//! THE TABLE: every operation of the Letta API, with the access it asks of a client token.
//!
//! It is the only place where policy is written. The guard, the router of both modes, the documentation and the tests
//! read it. What it does not name does not exist; what it marks [`Grant::Never`] no policy can open. A test compares it
//! with Letta's specification, so an operation that Letta adds fails the build until a row decides about it.

use std::fmt;

use http::Method;

use super::{
    fields::{
        ACTIVE_RUN_LIST, AGENT_CHANGES, AGENT_QUERY, BLOCK_CHANGES, BLOCK_PAGE, CANCEL, CONVERSATION_CHANGES,
        CONVERSATION_LIST, CONVERSATION_MESSAGE_LIST, FEEDBACK, FILE_LIST, FILE_PAGE, FOLDER_PAGE, MEMORY_DIRECTORY,
        MEMORY_FILE, MEMORY_HISTORY, MESSAGE_LIST, MESSAGE_PAGE, NAMED_AGENT, NEW_CONVERSATION, PASSAGE, PASSAGE_LIST,
        PASSAGE_SEARCH, RECOMPILE_QUERY, RESUME, RUN_LIST, RUN_PAGE, SCHEDULE_LIST, SEND, STEP_LIST, STEP_PAGE,
        SUMMARIZE, TOOL_PAGE,
    },
    grant::{
        AgentSource::{Conversation, Query, Run, Step},
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
    /// What the operation asks of its caller.
    pub grant: Grant,
    /// Why, in a few words.
    pub note: &'static str,
    /// Whether the body is a file, which may be larger than other bodies.
    pub uploads: bool,
}

/// Marks the rows whose body is a file.
const UPLOAD: bool = true;

macro_rules! operations {
    ($($name:ident $method:ident $template:literal $grant:expr, $note:literal $(, $uploads:expr)?;)+) => {
        /// An operation of the Letta API.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "the row says what each one is")]
        pub enum Operation { $($name,)+ }

        impl Operation {
            /// Every operation, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];
        }

        static ROWS: &[Row] = &[$(Row {
            name: stringify!($name),
            method: Method::$method,
            template: $template,
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

    /// What the operation asks of its caller.
    #[must_use]
    pub fn grant(self) -> &'static Grant {
        &self.row().grant
    }
}

/// `GET /v1/agents/{agent_id}`: safe for logs, unlike the path that was requested.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        write!(f, "{} {}", row.method, row.template)
    }
}

operations! {
    CheckHealth GET "/v1/health/" Public, "no token needed, no data";
    CheckReadiness GET "/v1/ready/" Public, "no token needed, no data";
    ListAgents GET "/v1/agents/" Never, "lists all agents";
    CreateAgent POST "/v1/agents/" Never, "may attach any block, tool or secret";
    CountAgents GET "/v1/agents/count" Never, "organisation-wide figure";
    ImportAgent POST "/v1/agents/import" Never, "creates agents and overwrites tools", UPLOAD;
    SearchAgentMessages POST "/v1/agents/messages/search" Never, "reaches all agents";
    SearchDeployedAgents POST "/v1/agents/search" Never, "all agents";
    CountDeployedAgents GET "/v1/agents/search/count" Never, "all agents";
    RetrieveAgent GET "/v1/agents/{agent_id}" Grant::agent(&[READ_AGENT]).query(&[AGENT_QUERY]).redact(Secrets).on(), "secrets, tool sources, endpoints, identities and groups are blanked; a pending approval needs read_messages too";
    ModifyAgent PATCH "/v1/agents/{agent_id}" Grant::agent(&[WRITE_AGENT]).body(&[AGENT_CHANGES]).redact(SecretsAndUnsent).on(), "name, description, metadata, system and timezone only; all else reaches beyond the agent or lifts limits";
    DeleteAgent DELETE "/v1/agents/{agent_id}" Never, "irreversible";
    ListPassages GET "/v1/agents/{agent_id}/archival-memory" Grant::agent(&[READ_AGENT]).query(&[PASSAGE_LIST]).redact(Secrets).on(), "the archive is the agent's memory; embeddings are dropped";
    CreatePassage POST "/v1/agents/{agent_id}/archival-memory" Grant::agent(&[WRITE_AGENT]).body(&[PASSAGE]).second(UnsharedArchive).redact(Secrets).on(), "refused while agents outside the policy share the archive";
    SearchArchivalMemory GET "/v1/agents/{agent_id}/archival-memory/search" Grant::agent(&[READ_AGENT]).query(&[PASSAGE_SEARCH]).on(), "the agent's own memory";
    DeletePassage DELETE "/v1/agents/{agent_id}/archival-memory/{memory_id}" Grant::agent(&[WRITE_AGENT]).second(Passage).on(), "the passage must be the agent's; refused while agents outside the policy share the archive";
    AttachArchiveToAgent PATCH "/v1/agents/{agent_id}/archives/attach/{archive_id}" Never, "would pull in any archive";
    DetachArchiveFromAgent PATCH "/v1/agents/{agent_id}/archives/detach/{archive_id}" Never, "structural change";
    RetrieveAgentContextWindow GET "/v1/agents/{agent_id}/context" Never, "compiled prompt and all messages at once";
    RetrieveAgentMemory GET "/v1/agents/{agent_id}/core-memory" Grant::agent(&[READ_AGENT]).redact(Secrets).on(), "the agent's own memory";
    ListCoreMemoryBlocks GET "/v1/agents/{agent_id}/core-memory/blocks" Grant::agent(&[READ_AGENT]).query(&[BLOCK_PAGE]).on(), "the agent's own memory";
    AttachCoreMemoryBlock PATCH "/v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}" Never, "would pull in another agent's block";
    DetachCoreMemoryBlock PATCH "/v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}" Never, "removes guard text";
    RetrieveCoreMemoryBlock GET "/v1/agents/{agent_id}/core-memory/blocks/{block_label}" Grant::agent(&[READ_AGENT]).on(), "the agent's own memory";
    ModifyCoreMemoryBlock PATCH "/v1/agents/{agent_id}/core-memory/blocks/{block_label}" Grant::agent(&[WRITE_AGENT]).body(&[BLOCK_CHANGES]).second(UnsharedBlock).redact(SecretsAndUnsent).on(), "value and description only; refused while agents outside the policy share the block";
    GetAgentVariables GET "/v1/agents/{agent_id}/core-memory/variables" Grant::agent(&[READ_AGENT]).on(), "the agent's own memory";
    ExportAgent GET "/v1/agents/{agent_id}/export" Never, "reveals messages, tool source and secret names";
    ExportAgentWithSkills POST "/v1/agents/{agent_id}/export" Never, "reveals messages, tool source and secret names";
    ListFilesForAgent GET "/v1/agents/{agent_id}/files" Grant::agent(&[READ_AGENT]).query(&[FILE_LIST, FILE_PAGE]).on(), "what the agent itself can see";
    CloseAllFilesForAgent PATCH "/v1/agents/{agent_id}/files/close-all" Grant::agent(&[WRITE_AGENT]).redact(SecretsAndUnsent).on(), "only this agent's view of its files";
    CloseFileForAgent PATCH "/v1/agents/{agent_id}/files/{file_id}/close" Grant::agent(&[WRITE_AGENT]).second(File).on(), "the file must be one of the agent's";
    OpenFileForAgent PATCH "/v1/agents/{agent_id}/files/{file_id}/open" Grant::agent(&[WRITE_AGENT]).second(File).redact(SecretsAndUnsent).on(), "the file must be one of the agent's";
    ListFoldersForAgent GET "/v1/agents/{agent_id}/folders" Grant::agent(&[READ_AGENT]).query(&[FOLDER_PAGE]).redact(Secrets).on(), "metadata; endpoints are blanked";
    AttachFolderToAgent PATCH "/v1/agents/{agent_id}/folders/attach/{folder_id}" Never, "would pull in any folder";
    DetachFolderFromAgent PATCH "/v1/agents/{agent_id}/folders/detach/{folder_id}" Never, "structural change";
    GenerateCompletion POST "/v1/agents/{agent_id}/generate" Never, "free use of any model";
    ListGroupsForAgent GET "/v1/agents/{agent_id}/groups" Never, "names other agents";
    AttachIdentityToAgent PATCH "/v1/agents/{agent_id}/identities/attach/{identity_id}" Never, "assumes another identity";
    DetachIdentityFromAgent PATCH "/v1/agents/{agent_id}/identities/detach/{identity_id}" Never, "structural change";
    ReadMemoryFile GET "/v1/agents/{agent_id}/memory-files/content" Grant::agent(&[READ_AGENT]).query(&[MEMORY_FILE]).on(), "paths must stay inside";
    ListMemoryDirectory GET "/v1/agents/{agent_id}/memory-files/directory" Grant::agent(&[READ_AGENT]).query(&[MEMORY_DIRECTORY]).on(), "paths must stay inside";
    ReadMemoryFileHistory GET "/v1/agents/{agent_id}/memory-files/history" Grant::agent(&[READ_AGENT]).query(&[MEMORY_HISTORY]).on(), "paths must stay inside";
    ListMessages GET "/v1/agents/{agent_id}/messages" Grant::agent(&[READ_MESSAGES]).query(&[MESSAGE_LIST, MESSAGE_PAGE]).on(), "a conversation named must be the agent's";
    SendMessage POST "/v1/agents/{agent_id}/messages" Grant::agent(&[WRITE_MESSAGES]).body(&[SEND]).streams().on(), "text and inline images in role user; no overrides, no other ids, at most 50 steps";
    SendMessageAsync POST "/v1/agents/{agent_id}/messages/async" Grant::agent(&[WRITE_MESSAGES]).body(&[SEND]).on(), "as sending; no callback_url";
    CancelMessages POST "/v1/agents/{agent_id}/messages/cancel" Grant::agent(&[WRITE_MESSAGES]).body(&[CANCEL]).on(), "every run named must be the agent's";
    PreviewModelRequest POST "/v1/agents/{agent_id}/messages/preview-raw-payload" Never, "reveals system prompt and tool schemas";
    StreamMessage POST "/v1/agents/{agent_id}/messages/stream" Grant::agent(&[WRITE_MESSAGES]).body(&[SEND]).streams().on(), "as sending";
    ModifyMessage PATCH "/v1/agents/{agent_id}/messages/{message_id}" Never, "rewrites history";
    RecompileAgent POST "/v1/agents/{agent_id}/recompile" Grant::agent(&[WRITE_AGENT, READ_AGENT]).query(&[RECOMPILE_QUERY]).on(), "answers with the compiled prompt, so it needs both words";
    ResetMessages PATCH "/v1/agents/{agent_id}/reset-messages" Never, "loses the history of all users";
    ListScheduledMessages GET "/v1/agents/{agent_id}/schedule" Grant::agent(&[READ_MESSAGES]).query(&[SCHEDULE_LIST]).on(), "holds message texts";
    ScheduleAgentMessage POST "/v1/agents/{agent_id}/schedule" Never, "outlives the token";
    RetrieveScheduledMessage GET "/v1/agents/{agent_id}/schedule/{scheduled_message_id}" Grant::agent(&[READ_MESSAGES]).second(ScheduledMessage).on(), "must be scheduled for this agent";
    DeleteScheduledMessage DELETE "/v1/agents/{agent_id}/schedule/{scheduled_message_id}" Never, "may be another user's";
    ListAgentSources GET "/v1/agents/{agent_id}/sources" Grant::agent(&[READ_AGENT]).query(&[FOLDER_PAGE]).redact(Secrets).on(), "metadata; endpoints are blanked";
    AttachSourceToAgent PATCH "/v1/agents/{agent_id}/sources/attach/{source_id}" Never, "would pull in any folder";
    DetachSourceFromAgent PATCH "/v1/agents/{agent_id}/sources/detach/{source_id}" Never, "structural change";
    SummarizeMessages POST "/v1/agents/{agent_id}/summarize" Grant::agent(&[WRITE_MESSAGES, READ_MESSAGES]).body(&[SUMMARIZE]).streams().on(), "reveals history, so it needs both words; no settings of its own";
    RecompileAgentSystemPrompt POST "/v1/agents/{agent_id}/system-prompt/recompile" Grant::agent(&[WRITE_AGENT, READ_AGENT]).query(&[RECOMPILE_QUERY]).on(), "as recompiling";
    ListToolsForAgent GET "/v1/agents/{agent_id}/tools" Grant::agent(&[READ_AGENT]).query(&[TOOL_PAGE]).redact(Secrets).on(), "tool sources are blanked";
    ModifyApprovalForTool PATCH "/v1/agents/{agent_id}/tools/approval/{tool_name}" Never, "would switch off human approval";
    AttachToolToAgent PATCH "/v1/agents/{agent_id}/tools/attach/{tool_id}" Never, "would pull in any tool";
    DetachToolFromAgent PATCH "/v1/agents/{agent_id}/tools/detach/{tool_id}" Never, "can remove a guard tool";
    RunToolForAgent POST "/v1/agents/{agent_id}/tools/{tool_name}/run" Never, "runs code past rules and approval";
    ListConversations GET "/v1/conversations/" Grant::from(Query, &[READ_MESSAGES]).query(&[CONVERSATION_LIST, NAMED_AGENT]).on(), "only of a covered agent_id";
    CreateConversation POST "/v1/conversations/" Grant::from(Query, &[WRITE_MESSAGES]).query(&[NAMED_AGENT]).body(&[NEW_CONVERSATION]).on(), "for a covered agent_id; summary only";
    RetrieveConversation GET "/v1/conversations/{conversation_id}" Grant::from(Conversation, &[READ_MESSAGES]).on(), "must be a covered agent's";
    ModifyConversation PATCH "/v1/conversations/{conversation_id}" Grant::from(Conversation, &[WRITE_MESSAGES]).body(&[CONVERSATION_CHANGES]).redact(SecretsAndUnsent).on(), "must be a covered agent's; summary only";
    DeleteConversation DELETE "/v1/conversations/{conversation_id}" Never, "irreversible; isolated blocks go too";
    CancelConversation POST "/v1/conversations/{conversation_id}/cancel" Grant::from(Conversation, &[WRITE_MESSAGES]).query(&[NAMED_AGENT]).on(), "must be a covered agent's";
    CompactConversation POST "/v1/conversations/{conversation_id}/compact" Grant::from(Conversation, &[WRITE_MESSAGES, READ_MESSAGES]).body(&[SUMMARIZE, NAMED_AGENT]).streams().on(), "must be a covered agent's; needs both words";
    ForkConversation POST "/v1/conversations/{conversation_id}/fork" Grant::from(Conversation, &[WRITE_MESSAGES, READ_MESSAGES]).query(&[NAMED_AGENT]).on(), "must be a covered agent's; copies history, so it needs both words";
    ListConversationMessages GET "/v1/conversations/{conversation_id}/messages" Grant::from(Conversation, &[READ_MESSAGES]).query(&[CONVERSATION_MESSAGE_LIST, MESSAGE_PAGE, NAMED_AGENT]).on(), "must be a covered agent's";
    SendConversationMessage POST "/v1/conversations/{conversation_id}/messages" Grant::from(Conversation, &[WRITE_MESSAGES]).body(&[SEND, NAMED_AGENT]).streams().on(), "must be a covered agent's; as sending";
    PreviewConversationModelRequest POST "/v1/conversations/{conversation_id}/messages/preview-raw-payload" Never, "reveals system prompt and tool schemas";
    RecompileConversation POST "/v1/conversations/{conversation_id}/recompile" Never, "rewrites the system message";
    StreamConversation POST "/v1/conversations/{conversation_id}/stream" Grant::from(Conversation, &[READ_MESSAGES]).body(&[RESUME, NAMED_AGENT]).streams().on(), "must be a covered agent's; only reads";
    ListRuns GET "/v1/runs/" Grant::from(Query, &[READ_MESSAGES]).query(&[RUN_LIST, RUN_PAGE, NAMED_AGENT]).on(), "only of covered agents or their conversations";
    ListActiveRuns GET "/v1/runs/active" Grant::from(Query, &[READ_MESSAGES]).query(&[ACTIVE_RUN_LIST, NAMED_AGENT]).on(), "only of a covered agent_id";
    RetrieveRun GET "/v1/runs/{run_id}" Grant::from(Run, &[READ_MESSAGES]).on(), "must be a covered agent's run";
    DeleteRun DELETE "/v1/runs/{run_id}" Never, "removes audit data";
    ListMessagesForRun GET "/v1/runs/{run_id}/messages" Grant::from(Run, &[READ_MESSAGES]).query(&[MESSAGE_PAGE]).on(), "must be a covered agent's run";
    RetrieveMetricsForRun GET "/v1/runs/{run_id}/metrics" Grant::from(Run, &[READ_MESSAGES]).on(), "must be a covered agent's run";
    ListStepsForRun GET "/v1/runs/{run_id}/steps" Grant::from(Run, &[READ_MESSAGES]).query(&[STEP_PAGE]).redact(Secrets).on(), "must be a covered agent's run; endpoints and error data are blanked";
    StreamRun POST "/v1/runs/{run_id}/stream" Grant::from(Run, &[READ_MESSAGES]).body(&[RESUME, NAMED_AGENT]).streams().on(), "must be a covered agent's run; only reads";
    RetrieveTraceForRun GET "/v1/runs/{run_id}/trace" Never, "raw provider traffic";
    RetrieveUsageForRun GET "/v1/runs/{run_id}/usage" Grant::from(Run, &[READ_MESSAGES]).on(), "must be a covered agent's run";
    ListSteps GET "/v1/steps/" Grant::from(Query, &[READ_MESSAGES]).query(&[STEP_LIST, STEP_PAGE, NAMED_AGENT]).redact(Secrets).on(), "only of a covered agent_id";
    RetrieveStep GET "/v1/steps/{step_id}" Grant::from(Step, &[READ_MESSAGES]).redact(Secrets).on(), "must be a covered agent's run";
    ModifyStepFeedback PATCH "/v1/steps/{step_id}/feedback" Grant::from(Step, &[WRITE_MESSAGES]).body(&[FEEDBACK]).redact(SecretsAndUnsent).on(), "must be a covered agent's run";
    ListMessagesForStep GET "/v1/steps/{step_id}/messages" Grant::from(Step, &[READ_MESSAGES]).query(&[MESSAGE_PAGE]).on(), "must be a covered agent's run";
    RetrieveMetricsForStep GET "/v1/steps/{step_id}/metrics" Grant::from(Step, &[READ_MESSAGES]).on(), "must be a covered agent's run";
    RetrieveTraceForStep GET "/v1/steps/{step_id}/trace" Never, "raw provider traffic";
    ListAllMessages GET "/v1/messages/" Never, "all agents of the organisation";
    ListBatches GET "/v1/messages/batches" Never, "many agents in one body";
    CreateBatch POST "/v1/messages/batches" Never, "many agents in one body";
    RetrieveBatch GET "/v1/messages/batches/{batch_id}" Never, "many agents in one body";
    CancelBatch PATCH "/v1/messages/batches/{batch_id}/cancel" Never, "many agents in one body";
    ListMessagesForBatch GET "/v1/messages/batches/{batch_id}/messages" Never, "many agents in one body";
    SearchMessages POST "/v1/messages/search" Never, "reaches all agents";
    RetrieveMessage GET "/v1/messages/{message_id}" Never, "its agent cannot be proven";
    ListClientSideAccessTokens GET "/v1/client-side-access-tokens" KeyOnly, "token management";
    CreateClientSideAccessToken POST "/v1/client-side-access-tokens" KeyOnly, "token management";
    DeleteClientSideAccessToken DELETE "/v1/client-side-access-tokens/{token}" KeyOnly, "token management";
    CountInternalAgents GET "/v1/_internal_agents/count" Never, "internal back channel";
    ModifyInternalCoreMemoryBlock PATCH "/v1/_internal_agents/{agent_id}/core-memory/blocks/{block_label}" Never, "internal back channel";
    ListInternalBlocks GET "/v1/_internal_blocks/" Never, "internal back channel";
    CreateInternalBlock POST "/v1/_internal_blocks/" Never, "internal back channel";
    DeleteInternalBlock DELETE "/v1/_internal_blocks/{block_id}" Never, "internal back channel";
    ListAgentsForInternalBlock GET "/v1/_internal_blocks/{block_id}/agents" Never, "internal back channel";
    ListInternalRuns GET "/v1/_internal_runs/" Never, "internal back channel";
    CreateInternalTemplateAgent POST "/v1/_internal_templates/agents" Never, "internal back channel";
    CreateInternalTemplateBlock POST "/v1/_internal_templates/blocks" Never, "internal back channel";
    CreateInternalTemplateBlocksBatch POST "/v1/_internal_templates/blocks/batch" Never, "internal back channel";
    ListDeploymentEntities GET "/v1/_internal_templates/deployment/{deployment_id}" Never, "internal back channel";
    DeleteDeployment DELETE "/v1/_internal_templates/deployment/{deployment_id}" Never, "internal back channel";
    CreateInternalTemplateGroup POST "/v1/_internal_templates/groups" Never, "internal back channel";
    ListArchives GET "/v1/archives/" Never, "organisation-wide, shared";
    CreateArchive POST "/v1/archives/" Never, "organisation-wide, shared";
    RetrieveArchive GET "/v1/archives/{archive_id}" Never, "organisation-wide, shared";
    ModifyArchive PATCH "/v1/archives/{archive_id}" Never, "organisation-wide, shared";
    DeleteArchive DELETE "/v1/archives/{archive_id}" Never, "organisation-wide, shared";
    ListAgentsForArchive GET "/v1/archives/{archive_id}/agents" Never, "names other agents";
    CreatePassageInArchive POST "/v1/archives/{archive_id}/passages" Never, "organisation-wide, shared";
    CreatePassagesInArchive POST "/v1/archives/{archive_id}/passages/batch" Never, "organisation-wide, shared";
    DeletePassageFromArchive DELETE "/v1/archives/{archive_id}/passages/{passage_id}" Never, "organisation-wide, shared";
    ListBlocks GET "/v1/blocks/" Never, "organisation-wide, shared";
    CreateBlock POST "/v1/blocks/" Never, "organisation-wide, shared";
    CountBlocks GET "/v1/blocks/count" Never, "organisation-wide, shared";
    RetrieveBlock GET "/v1/blocks/{block_id}" Never, "shared object; use the agent's label route";
    ModifyBlock PATCH "/v1/blocks/{block_id}" Never, "shared object; use the agent's label route";
    DeleteBlock DELETE "/v1/blocks/{block_id}" Never, "organisation-wide, shared";
    ListAgentsForBlock GET "/v1/blocks/{block_id}/agents" Never, "names other agents";
    AttachIdentityToBlock PATCH "/v1/blocks/{block_id}/identities/attach/{identity_id}" Never, "organisation-wide, shared";
    DetachIdentityFromBlock PATCH "/v1/blocks/{block_id}/identities/detach/{identity_id}" Never, "organisation-wide, shared";
    CreateChatCompletion POST "/v1/chat/completions" Never, "the agent is named in the body";
    GetDeviceStorageKey GET "/v1/device-storage-key" Never, "hands out a key";
    GetTotalStorageSize GET "/v1/embeddings/total_storage_size" Never, "organisation-wide figure";
    ListEnvironments GET "/v1/environments" Never, "remote devices";
    RegisterEnvironment POST "/v1/environments/register" Never, "remote devices";
    SendEnvironmentMessage POST "/v1/environments/{connectionId}/messages" Never, "remote devices";
    GetEnvironment GET "/v1/environments/{deviceId}" Never, "remote devices";
    DeleteEnvironment DELETE "/v1/environments/{id}" Never, "remote devices";
    ListFeeds GET "/v1/feeds" Never, "project administration";
    CreateFeed POST "/v1/feeds" Never, "project administration";
    GetFeed GET "/v1/feeds/{feed_id}" Never, "project administration";
    DeleteFeed DELETE "/v1/feeds/{feed_id}" Never, "project administration";
    ListFeedMessages GET "/v1/feeds/{feed_id}/messages" Never, "project administration";
    PublishFeedMessages POST "/v1/feeds/{feed_id}/messages" Never, "project administration";
    GetFeedMessage GET "/v1/feeds/{feed_id}/messages/{message_id}" Never, "project administration";
    SubscribeFeed POST "/v1/feeds/{feed_id}/subscribe" Never, "project administration";
    ListSubscriptions GET "/v1/feeds/{feed_id}/subscriptions" Never, "project administration";
    UpdateAllSubscriptionsCron PATCH "/v1/feeds/{feed_id}/subscriptions/cron" Never, "project administration";
    UpdateSubscription PATCH "/v1/feeds/{feed_id}/subscriptions/{subscription_id}" Never, "project administration";
    DeleteSubscription DELETE "/v1/feeds/{feed_id}/subscriptions/{subscription_id}" Never, "project administration";
    BackfillSubscription POST "/v1/feeds/{feed_id}/subscriptions/{subscription_id}/backfill" Never, "project administration";
    ListSubscriptionHistory GET "/v1/feeds/{feed_id}/subscriptions/{subscription_id}/history" Never, "project administration";
    TriggerSubscription POST "/v1/feeds/{feed_id}/subscriptions/{subscription_id}/trigger" Never, "project administration";
    UnsubscribeFeed POST "/v1/feeds/{feed_id}/unsubscribe" Never, "project administration";
    ListFolders GET "/v1/folders/" Never, "organisation-wide, shared";
    CreateFolder POST "/v1/folders/" Never, "organisation-wide, shared";
    CountFolders GET "/v1/folders/count" Never, "organisation-wide, shared";
    RetrieveFoldersMetadata GET "/v1/folders/metadata" Never, "organisation-wide, shared";
    GetFolderByName GET "/v1/folders/name/{folder_name}" Never, "organisation-wide, shared";
    RetrieveFolder GET "/v1/folders/{folder_id}" Never, "organisation-wide, shared";
    ModifyFolder PATCH "/v1/folders/{folder_id}" Never, "organisation-wide, shared";
    DeleteFolder DELETE "/v1/folders/{folder_id}" Never, "organisation-wide, shared";
    ListAgentsForFolder GET "/v1/folders/{folder_id}/agents" Never, "organisation-wide, shared";
    ListFilesForFolder GET "/v1/folders/{folder_id}/files" Never, "organisation-wide, shared";
    RetrieveFolderFile GET "/v1/folders/{folder_id}/files/{file_id}" Never, "organisation-wide, shared";
    ListFolderPassages GET "/v1/folders/{folder_id}/passages" Never, "organisation-wide, shared";
    UploadFileToFolder POST "/v1/folders/{folder_id}/upload" Never, "organisation-wide, shared", UPLOAD;
    DeleteFileFromFolder DELETE "/v1/folders/{folder_id}/{file_id}" Never, "organisation-wide, shared";
    ListGroups GET "/v1/groups/" Never, "several agents";
    CreateGroup POST "/v1/groups/" Never, "several agents";
    CountGroups GET "/v1/groups/count" Never, "several agents";
    RetrieveGroup GET "/v1/groups/{group_id}" Never, "several agents";
    ModifyGroup PATCH "/v1/groups/{group_id}" Never, "several agents";
    DeleteGroup DELETE "/v1/groups/{group_id}" Never, "several agents";
    AttachBlockToGroup PATCH "/v1/groups/{group_id}/blocks/attach/{block_id}" Never, "organisation-wide, shared";
    DetachBlockFromGroup PATCH "/v1/groups/{group_id}/blocks/detach/{block_id}" Never, "organisation-wide, shared";
    ListGroupMessages GET "/v1/groups/{group_id}/messages" Never, "messages of several agents";
    ModifyGroupMessage PATCH "/v1/groups/{group_id}/messages/{message_id}" Never, "several agents";
    ResetGroupMessages PATCH "/v1/groups/{group_id}/reset-messages" Never, "several agents";
    ListIdentities GET "/v1/identities/" Never, "organisation-wide";
    CreateIdentity POST "/v1/identities/" Never, "organisation-wide";
    UpsertIdentity PUT "/v1/identities/" Never, "organisation-wide";
    CountIdentities GET "/v1/identities/count" Never, "organisation-wide";
    RetrieveIdentity GET "/v1/identities/{identity_id}" Never, "organisation-wide";
    ModifyIdentity PATCH "/v1/identities/{identity_id}" Never, "organisation-wide";
    DeleteIdentity DELETE "/v1/identities/{identity_id}" Never, "organisation-wide";
    ListAgentsForIdentity GET "/v1/identities/{identity_id}/agents" Never, "names other agents";
    ListBlocksForIdentity GET "/v1/identities/{identity_id}/blocks" Never, "organisation-wide, shared";
    UpsertPropertiesForIdentity PUT "/v1/identities/{identity_id}/properties" Never, "organisation-wide";
    ListJobs GET "/v1/jobs/" Never, "organisation-wide";
    ListActiveJobs GET "/v1/jobs/active" Never, "organisation-wide";
    RetrieveJob GET "/v1/jobs/{job_id}" Never, "organisation-wide";
    DeleteJob DELETE "/v1/jobs/{job_id}" Never, "organisation-wide";
    CancelJob PATCH "/v1/jobs/{job_id}/cancel" Never, "organisation-wide";
    LegacyMigration POST "/v1/legacy-templates/{templateId}/migrates" Never, "project administration";
    McpListMcpServers GET "/v1/mcp-servers/" Never, "credentials and outbound connections";
    McpCreateMcpServer POST "/v1/mcp-servers/" Never, "credentials and outbound connections";
    McpConnectMcpServer GET "/v1/mcp-servers/connect/{mcp_server_id}" Never, "credentials and outbound connections";
    McpRetrieveMcpServer GET "/v1/mcp-servers/{mcp_server_id}" Never, "credentials and outbound connections";
    McpUpdateMcpServer PATCH "/v1/mcp-servers/{mcp_server_id}" Never, "credentials and outbound connections";
    McpDeleteMcpServer DELETE "/v1/mcp-servers/{mcp_server_id}" Never, "credentials and outbound connections";
    McpRefreshMcpServerTools PATCH "/v1/mcp-servers/{mcp_server_id}/refresh" Never, "credentials and outbound connections";
    McpListToolsForMcpServer GET "/v1/mcp-servers/{mcp_server_id}/tools" Never, "credentials and outbound connections";
    McpRetrieveMcpTool GET "/v1/mcp-servers/{mcp_server_id}/tools/{tool_id}" Never, "credentials and outbound connections";
    McpRunTool POST "/v1/mcp-servers/{mcp_server_id}/tools/{tool_id}/run" Never, "credentials and outbound connections";
    RetrieveCurrentBalances GET "/v1/metadata/balance" Never, "billing data";
    SendFeedback POST "/v1/metadata/feedback" Never, "account data";
    GetStatus GET "/v1/metadata/status" Never, "account data";
    SendTelemetry POST "/v1/metadata/telemetry" Never, "account data";
    GetUser GET "/v1/metadata/user" Never, "names the key's owner, balance";
    ListModels GET "/v1/models/" Never, "shows configured providers";
    ListEmbeddingModels GET "/v1/models/embedding" Never, "shows configured providers";
    ListEmbeddings GET "/v1/models/embeddings" Never, "organisation-wide figure";
    SearchPassages POST "/v1/passages/search" Never, "reaches all passages";
    ListPipelines GET "/v1/pipelines" Never, "project administration";
    CreatePipeline POST "/v1/pipelines" Never, "project administration";
    CountPipelines GET "/v1/pipelines/count" Never, "project administration";
    PreviewPipeline POST "/v1/pipelines/preview" Never, "project administration";
    GetPipeline GET "/v1/pipelines/{pipeline_id}" Never, "project administration";
    UpdatePipeline PATCH "/v1/pipelines/{pipeline_id}" Never, "project administration";
    DeletePipeline DELETE "/v1/pipelines/{pipeline_id}" Never, "project administration";
    UpdatePipelineProducerConfig PATCH "/v1/pipelines/{pipeline_id}/config" Never, "project administration";
    SyncPipeline POST "/v1/pipelines/{pipeline_id}/sync" Never, "project administration";
    ListPipelineSyncHistory GET "/v1/pipelines/{pipeline_id}/sync/history" Never, "project administration";
    ListProjects GET "/v1/projects" Never, "project administration";
    CreateProject POST "/v1/projects" Never, "project administration";
    DeleteProject DELETE "/v1/projects/{projectId}" Never, "project administration";
    ListProviders GET "/v1/providers/" Never, "provider credentials";
    CreateProvider POST "/v1/providers/" Never, "provider credentials";
    CheckProvider POST "/v1/providers/check" Never, "provider credentials";
    RetrieveProvider GET "/v1/providers/{provider_id}" Never, "provider credentials";
    ModifyProvider PATCH "/v1/providers/{provider_id}" Never, "provider credentials";
    DeleteProvider DELETE "/v1/providers/{provider_id}" Never, "provider credentials";
    CheckExistingProvider POST "/v1/providers/{provider_id}/check" Never, "provider credentials";
    RefreshProviderModels PATCH "/v1/providers/{provider_id}/refresh" Never, "provider credentials";
    ListSandboxes GET "/v1/sandboxes" Never, "remote devices";
    CreateSandbox POST "/v1/sandboxes" Never, "remote devices";
    TerminateSandbox POST "/v1/sandboxes/{sandboxId}/terminate" Never, "remote devices";
    ListSources GET "/v1/sources/" Never, "organisation-wide, shared";
    CreateSource POST "/v1/sources/" Never, "organisation-wide, shared";
    CountSources GET "/v1/sources/count" Never, "organisation-wide, shared";
    GetSourcesMetadata GET "/v1/sources/metadata" Never, "organisation-wide, shared";
    GetSourceIdByName GET "/v1/sources/name/{source_name}" Never, "organisation-wide, shared";
    RetrieveSource GET "/v1/sources/{source_id}" Never, "organisation-wide, shared";
    ModifySource PATCH "/v1/sources/{source_id}" Never, "organisation-wide, shared";
    DeleteSource DELETE "/v1/sources/{source_id}" Never, "organisation-wide, shared";
    GetAgentsForSource GET "/v1/sources/{source_id}/agents" Never, "organisation-wide, shared";
    ListSourceFiles GET "/v1/sources/{source_id}/files" Never, "organisation-wide, shared";
    RetrieveSourceFile GET "/v1/sources/{source_id}/files/{file_id}" Never, "organisation-wide, shared";
    ListSourcePassages GET "/v1/sources/{source_id}/passages" Never, "organisation-wide, shared";
    UploadFileToSource POST "/v1/sources/{source_id}/upload" Never, "organisation-wide, shared", UPLOAD;
    DeleteFileFromSource DELETE "/v1/sources/{source_id}/{file_id}" Never, "organisation-wide, shared";
    ListTags GET "/v1/tags/" Never, "tags of all agents";
    RetrieveProviderTrace GET "/v1/telemetry/{step_id}" Never, "raw provider traffic";
    ListTemplates GET "/v1/templates" Never, "project administration";
    CreateTemplateNoProject POST "/v1/templates" Never, "project administration";
    CreateTemplate POST "/v1/templates/{project_id}" Never, "project administration";
    ListTemplateVersions GET "/v1/templates/{project_id}/{name}/versions" Never, "project administration";
    SaveTemplateVersion POST "/v1/templates/{project_id}/{template_name}" Never, "project administration";
    DeleteTemplate DELETE "/v1/templates/{project_id}/{template_name}" Never, "project administration";
    UpdateCurrentTemplateFromAgentFile PUT "/v1/templates/{project_id}/{template_name}/agent-file" Never, "project administration";
    MigrateDeployment POST "/v1/templates/{project_id}/{template_name}/deployments/{deployment_id}/migrate" Never, "project administration";
    UpdateTemplateDescription PATCH "/v1/templates/{project_id}/{template_name}/description" Never, "project administration";
    RenameTemplate PATCH "/v1/templates/{project_id}/{template_name}/name" Never, "project administration";
    RollbackTemplate POST "/v1/templates/{project_id}/{template_name}/rollback" Never, "project administration";
    CreateAgentsFromTemplate POST "/v1/templates/{project_id}/{template_version}/agents" Never, "project administration";
    ForkTemplate POST "/v1/templates/{project_id}/{template_version}/fork" Never, "project administration";
    GetTemplateSnapshot GET "/v1/templates/{project_id}/{template_version}/snapshot" Never, "project administration";
    SetCurrentTemplateFromSnapshot PUT "/v1/templates/{project_id}/{template_version}/snapshot" Never, "project administration";
    UpdateCurrentTemplateFromAgentFileNoProject PATCH "/v1/templates/{template_name}" Never, "project administration";
    DeleteTemplateNoProject DELETE "/v1/templates/{template_name}" Never, "project administration";
    RollbackTemplateNoProject POST "/v1/templates/{template_name}/rollback" Never, "project administration";
    SaveTemplateVersionNoProject POST "/v1/templates/{template_name}/save" Never, "project administration";
    CreateAgentsFromTemplateNoProject POST "/v1/templates/{template_version}/agents" Never, "project administration";
    ListTools GET "/v1/tools/" Never, "organisation-wide";
    CreateTool POST "/v1/tools/" Never, "organisation-wide";
    UpsertTool PUT "/v1/tools/" Never, "organisation-wide";
    AddBaseTools POST "/v1/tools/add-base-tools" Never, "organisation-wide";
    CountTools GET "/v1/tools/count" Never, "organisation-wide";
    McpOauthCallback GET "/v1/tools/mcp/oauth/callback" Never, "redirect target of the server itself";
    ListMcpServers GET "/v1/tools/mcp/servers" Never, "credentials and outbound connections";
    AddMcpServer PUT "/v1/tools/mcp/servers" Never, "credentials and outbound connections";
    ConnectMcpServer POST "/v1/tools/mcp/servers/connect" Never, "credentials and outbound connections";
    TestMcpServer POST "/v1/tools/mcp/servers/test" Never, "credentials and outbound connections";
    UpdateMcpServer PATCH "/v1/tools/mcp/servers/{mcp_server_name}" Never, "credentials and outbound connections";
    DeleteMcpServer DELETE "/v1/tools/mcp/servers/{mcp_server_name}" Never, "credentials and outbound connections";
    ResyncMcpServerTools POST "/v1/tools/mcp/servers/{mcp_server_name}/resync" Never, "credentials and outbound connections";
    ListMcpToolsByServer GET "/v1/tools/mcp/servers/{mcp_server_name}/tools" Never, "credentials and outbound connections";
    ExecuteMcpTool POST "/v1/tools/mcp/servers/{mcp_server_name}/tools/{tool_name}/execute" Never, "credentials and outbound connections";
    AddMcpTool POST "/v1/tools/mcp/servers/{mcp_server_name}/{mcp_tool_name}" Never, "credentials and outbound connections";
    RunToolFromSource POST "/v1/tools/run" Never, "arbitrary code";
    SearchTools POST "/v1/tools/search" Never, "organisation-wide";
    RetrieveTool GET "/v1/tools/{tool_id}" Never, "tool source; use the agent's route";
    ModifyTool PATCH "/v1/tools/{tool_id}" Never, "organisation-wide";
    DeleteTool DELETE "/v1/tools/{tool_id}" Never, "organisation-wide";
    CreateVoiceChatCompletions POST "/v1/voice-beta/{agent_id}/chat/completions" Never, "gone upstream";
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
    /// open to client tokens. One that a row does not name would be dropped in silence instead of refused.
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
            let described = &known.operations[&operation.to_string()].parameters;
            for field in grant.query.iter().copied().flatten() {
                let mut described = described.iter().filter(|known| known.r#in == "query");
                let expected = is_list(&described.find(|known| known.name == field.name).unwrap().schema);
                assert_eq!(field.is_list, expected, "{operation}: {}", field.name);
                lists += usize::from(expected);
            }
            let places: usize = grant.query.iter().map(|fields| fields.len()).sum();
            assert!(places <= 64, "{operation}: the inspector has a bit for each parameter");
        }
        assert_eq!(lists, 9);
    }

    /// What names other agents may be in any answer.
    #[test]
    fn no_answer_to_a_client_token_passes_as_it_is() {
        for operation in Operation::ALL {
            if let Grant::Client(grant) = operation.grant() {
                assert_ne!(grant.redaction, Redaction::None, "{operation}");
            }
        }
    }
}
