//! A stateful mock of the Letta API: it stores everything that a client can observe, and calls no model.
//!
//! `resources` has the handlers, one file for each kind of resource. `turn` is the one engine that processes messages,
//! `responder` stands in for the model, `records` defines what is stored, and `storage::View` is the only way
//! in which a request reads it.

mod agents;
mod app_server;
mod budget;
mod fidelity;
mod files;
mod models;
mod pagination;
mod python;
mod records;
mod resources;
mod responder;
mod running;
mod search;
mod state;
mod storage;
mod text;
mod tools;
mod turn;
mod validation;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::fidelity::Fidelity;
pub use self::models::catalogue::Models;
pub use self::models::reasoning::Reasoning;
#[cfg(feature = "fuzzing")]
pub use self::python::probe as python_probe;
pub use self::resources::fidelity_table;
pub use self::running::ModelLatency;
pub use self::tools::mcp::McpTool;
use self::{
    records::{Agent, Block, Conversation, File, Passage, Record, Run, ScheduledMessage, Step, links},
    resources::Routes,
    responder::Responder,
    running::{AgentLocks, Registry, Runtimes},
    state::State,
    storage::{is_plain, parse},
};
pub use crate::replies::{Script, ScriptError};
use crate::{
    access::{Call, Operation, Owned, Permit, Shared},
    error::{ApiError, Code},
    model::AgentId,
    replies::{Replies, SavedReplies},
    reply::Reply,
    store::{DocumentFilter, Store},
};

/// The end of a stream whose turn fails because the model's provider responds with this status.
pub(crate) fn failed_stream(status: u16, run_id: &str) -> Vec<Bytes> {
    turn::failed_stream(status, run_id)
}

/// A ping of a stream.
pub(crate) fn ping(run_id: &str) -> Bytes {
    turn::ping(run_id, None)
}

/// How the mock behaves.
#[derive(Debug)]
pub struct MockOptions {
    /// Whether agents reason before they reply.
    pub reasoning: Reasoning,
    /// The models that agents may have.
    pub models: Models,
    /// The simulated latency of models.
    pub latency: ModelLatency,
    /// After this long without an event, a stream sends a ping.
    pub ping_interval: Duration,
    /// Scripted replies.
    pub script: Option<Script>,
    /// How many bytes a turn may produce.
    pub turn_bytes: usize,
    /// The tools of MCP servers.
    pub mcp_tools: Vec<McpTool>,
}

/// Letta, mocked.
#[derive(Clone)]
pub struct Mock {
    state: Arc<State>,
    routes: Arc<Routes>,
}

impl fmt::Debug for Mock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mock").finish_non_exhaustive()
    }
}

impl Mock {
    /// A mock on a migrated store.
    #[must_use]
    pub fn new(store: Store, options: MockOptions) -> Self {
        let MockOptions { reasoning, models, latency, ping_interval, script, turn_bytes, mcp_tools } = options;
        let state = State {
            store,
            responder: Arc::new(Responder::new(script.map(Arc::new))),
            reasoning,
            models,
            latency,
            ping_interval,
            turn_bytes,
            mcp_tools,
            turns: Registry::default(),
            locks: AgentLocks::default(),
            runtimes: Runtimes::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        Self { state: Arc::new(state), routes: Arc::new(resources::routes()) }
    }

    /// The replies of its namespace.
    pub(crate) fn replies(&self) -> &Replies {
        self.state.responder.replies()
    }

    /// A mock that behaves as this one does, with replies of its own, and stores its state elsewhere.
    #[must_use]
    pub(crate) fn on(&self, store: Store, replies: &SavedReplies) -> Self {
        let State { responder, reasoning, models, latency, ping_interval, turn_bytes, mcp_tools, .. } = &*self.state;
        let state = State {
            store,
            responder: Arc::new(responder.with(replies)),
            reasoning: *reasoning,
            models: *models,
            latency: *latency,
            ping_interval: *ping_interval,
            turn_bytes: *turn_bytes,
            mcp_tools: mcp_tools.clone(),
            turns: Registry::default(),
            locks: AgentLocks::default(),
            runtimes: Runtimes::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        Self { state: Arc::new(state), routes: Arc::clone(&self.routes) }
    }

    /// Whether an operation has a handler.
    #[must_use]
    pub fn has_handler(&self, operation: Operation) -> bool {
        self.routes.find(operation).is_some()
    }

    /// Handles a call.
    ///
    /// # Errors
    /// If Letta would refuse it; 501 if the operation has no handler; 503 if the database cannot be reached.
    pub async fn handle(&self, call: Call) -> Result<Reply, ApiError> {
        match self.routes.find(call.operation) {
            Some(handler) => handler(Arc::clone(&self.state), call).await,
            None => {
                let reason = self.routes.fidelity(call.operation).reason();
                let sentence = format!("{} is not mocked. {reason}", call.operation);
                Err(ApiError::new(Code::NotMocked, sentence).without_retry())
            }
        }
    }

    /// The agent that a thing belongs to; `None` if it does not exist or belongs to no single agent.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn owner(&self, thing: Owned<'_>) -> Result<Option<AgentId>, ApiError> {
        let agent_id = match thing {
            Owned::Run(id) => self.stored::<Run>(id).await?.map(|run| run.agent_id),
            Owned::Step(id) => self.stored::<Step>(id).await?.map(|step| step.agent_id),
            Owned::Passage(id) => self.owner_of_passage(id).await?,
            Owned::Conversation(id) => self.stored::<Conversation>(id).await?.map(|conversation| conversation.agent_id),
            // Agents share folders, so a file belongs to no single agent.
            Owned::File(_) => None,
            Owned::ScheduledMessage(id) => self.stored::<ScheduledMessage>(id).await?.map(|message| message.agent_id),
        };
        Ok(agent_id.and_then(|id| id.parse().ok()))
    }

    /// All agents that share a thing of `agent`'s, including itself; empty if the agent has no such thing.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sharers(&self, agent: &AgentId, thing: Shared<'_>) -> Result<Vec<AgentId>, ApiError> {
        let store = &self.state.store;
        let agents = match thing {
            Shared::Block(label) => {
                let blocks = DocumentFilter::linked_from(Block::KIND, links::AGENT_BLOCK, agent.as_str());
                let blocks = store.documents(&blocks).await?.into_iter().map(parse::<Block>);
                let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
                match blocks.iter().find(|block| block.record.label == label) {
                    Some(block) => store.linked_from(links::AGENT_BLOCK, &block.record.id).await?,
                    None => Vec::new(),
                }
            }
            Shared::Archive => match search::archival::archive_of(store, agent.as_str()).await? {
                Some(archive) => store.linked_from(links::AGENT_ARCHIVE, &archive.record.id).await?,
                None => Vec::new(),
            },
        };
        Ok(agents.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// A passage belongs to an agent if its archive is attached to that agent alone: of several, none has more right to it
    /// than the others.
    async fn owner_of_passage(&self, id: &str) -> Result<Option<String>, ApiError> {
        let Some(archive) = self.stored::<Passage>(id).await?.and_then(|passage| passage.archive_id) else {
            return Ok(None);
        };
        let mut agents = self.state.store.linked_from(links::AGENT_ARCHIVE, &archive).await?;
        Ok(agents.pop().filter(|_| agents.is_empty()))
    }

    /// Whether a thing belongs to an agent. A file does if its folder is attached to the agent.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn owns(&self, agent: &AgentId, thing: Owned<'_>) -> Result<bool, ApiError> {
        match thing {
            Owned::File(file) => self.has_file(agent.as_str(), file).await,
            thing => Ok(self.owner(thing).await?.as_ref() == Some(agent)),
        }
    }

    async fn has_file(&self, agent: &str, file: &str) -> Result<bool, ApiError> {
        let Some(file) = self.stored::<File>(file).await? else { return Ok(false) };
        let folders = self.state.store.links_from(links::AGENT_FOLDER, &[agent]).await?;
        Ok(folders.iter().any(|(_, folder)| *folder == file.folder_id))
    }

    /// Whether an agent exists and is visible to the caller.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn agent_exists(&self, permit: &Permit, agent: &str) -> Result<bool, ApiError> {
        Ok(self.state.view(permit).find::<Agent>(agent).await?.is_some())
    }

    /// The name of an agent, if it exists.
    ///
    /// # Errors
    /// If the database fails.
    pub(crate) async fn agent_name(&self, agent: &str) -> Result<Option<String>, ApiError> {
        /// The rest of an agent is large, and this is asked for on the way of requests.
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        Ok(self.read::<Named>(Agent::KIND, agent).await?.map(|agent| agent.name))
    }

    /// Recovers the turns that stopped processes left unfinished, now and from time to time. Call it once, when the process
    /// starts; it returns when the process is about to stop.
    pub async fn recover(&self) {
        turn::recover(&self.state).await;
    }

    /// Waits for the end of the tasks that outlive their requests, such as background turns.
    pub async fn drain(&self) {
        self.state.closing.cancel();
        self.state.tasks.close();
        self.state.tasks.wait().await;
    }

    async fn stored<T: Record>(&self, id: &str) -> Result<Option<T>, ApiError> {
        self.read(T::KIND, id).await
    }

    async fn read<T: DeserializeOwned>(&self, kind: &str, id: &str) -> Result<Option<T>, ApiError> {
        if !is_plain(id) {
            return Ok(None);
        }
        let document = self.state.store.document(kind, id).await?;
        document.map(|document| parse::<T>(document).map(|stored| stored.record)).transpose()
    }
}
