//! A stateful mock of the Letta API: everything a client can observe is remembered, and nothing is asked of a model.
//!
//! `resources` has one file for each kind of resource; what they share lies beside it. `turn` is the one engine that
//! answers messages, `documents::View` the one way in which a request sees what is stored, `records` what is stored.

mod catalogue;
mod client;
mod documents;
mod fields;
mod memory;
mod names;
mod page;
mod prompt;
mod records;
mod resources;
mod responder;
mod rules;
mod state;
mod tokens;
mod tools;
mod turn;

use std::{fmt, sync::Arc};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    documents::{is_plain, parse},
    records::{Agent, Block, Record, Run, Step, links},
    resources::Routes,
    responder::Echo,
    state::State,
    turn::{Locks, Registry},
};
use crate::{
    access::{Operation, Owned, Permit},
    call::{Call, Reply},
    error::{ApiError, Code},
    model::AgentId,
    store::Store,
};

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
    /// A mock on a migrated store. `reasoning`: whether its agents think aloud before they answer.
    #[must_use]
    pub fn new(store: Store, reasoning: bool) -> Self {
        let state = State {
            store,
            responder: Box::new(Echo { reasoning }),
            turns: Registry::default(),
            locks: Locks::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        };
        Self { state: Arc::new(state), routes: Arc::new(resources::routes()) }
    }

    /// Whether an operation has a handler.
    #[must_use]
    pub fn answers(&self, operation: Operation) -> bool {
        self.routes.find(operation).is_some()
    }

    /// Answers a call.
    ///
    /// # Errors
    /// Whatever Letta would refuse; 501 when the operation has no handler; 503 when the database cannot be reached.
    pub async fn answer(&self, call: Call) -> Result<Reply, ApiError> {
        match self.routes.find(call.operation) {
            Some(handler) => handler(Arc::clone(&self.state), call).await,
            None => Err(ApiError::new(Code::NotMocked, format!("{} is not mocked yet.", call.operation))),
        }
    }

    /// The agent that a thing belongs to; none: there is no such thing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owner(&self, thing: Owned<'_>) -> Result<Option<AgentId>, ApiError> {
        let agent_id = match thing {
            Owned::Run(id) => self.stored::<Run>(id).await?.map(|run| run.agent_id),
            Owned::Step(id) => self.stored::<Step>(id).await?.map(|step| step.agent_id),
            // There are none yet, and what does not exist belongs to nobody.
            Owned::Conversation(_) | Owned::Passage(_) | Owned::File(_) | Owned::ScheduledMessage(_) => None,
        };
        Ok(agent_id.and_then(|id| id.parse().ok()))
    }

    /// The agents to which the block is attached that `agent` shows under `label`; none: it shows no such block.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agents_sharing_block(&self, agent: &AgentId, label: &str) -> Result<Vec<AgentId>, ApiError> {
        let blocks = self.state.store.linked_documents(links::AGENT_BLOCK, &[agent.as_str()], Block::KIND).await?;
        for (_, document) in blocks {
            let block = parse::<Block>(document)?.record;
            if block.label == label {
                let agents = self.state.store.linked_from(links::AGENT_BLOCK, &block.id).await?;
                return Ok(agents.iter().filter_map(|id| id.parse().ok()).collect());
            }
        }
        Ok(Vec::new())
    }

    /// Whether an agent exists that the caller reaches.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agent_exists(&self, permit: &Permit, agent: &str) -> Result<bool, ApiError> {
        Ok(self.state.view(permit).find::<Agent>(agent).await?.is_some())
    }

    /// Takes up what a stopped process left unfinished. To be called once, when the process starts; returns when nothing
    /// is left that another process may still be working on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resume(&self) -> Result<(), ApiError> {
        turn::resume(&self.state).await
    }

    /// Waits until the turns have ended that run beside requests.
    pub async fn drain(&self) {
        self.state.closing.cancel();
        self.state.tasks.close();
        self.state.tasks.wait().await;
    }

    async fn stored<T: Record>(&self, id: &str) -> Result<Option<T>, ApiError> {
        if !is_plain(id) {
            return Ok(None);
        }
        let document = self.state.store.document(T::KIND, id).await?;
        document.map(|document| parse::<T>(document).map(|stored| stored.record)).transpose()
    }
}
