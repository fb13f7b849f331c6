//! What serves Letta's operations once the guard has admitted a request: the mock, or a real server.

use std::sync::Arc;

use crate::{
    access::{
        Call, Charge, Owned, Ownership, Shared,
        grant::{Listed, Redaction},
    },
    error::{ApiError, Code},
    gateway::Gateway,
    mock::Mock,
    model::{AgentId, Project},
    openai::{ChatBackend, LettaApi, LettaV1},
    reply::Reply,
};

/// What serves Letta's operations. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    /// The stateful mock.
    Mock(Mock),
    /// Real Letta servers, to which requests are passed on.
    Gateway(Gateway),
}

impl Backend {
    /// The mode's name.
    #[must_use]
    pub(crate) fn mode(&self) -> &'static str {
        match self {
            Self::Mock(_) => "mock",
            Self::Gateway(_) => "gateway",
        }
    }

    /// Responds to a call. `redaction` will be applied to the response; what is read whole for it is added to `charge`.
    ///
    /// # Errors
    /// What Letta refuses; 501 for what is not mocked; 502 to 504 when the upstream fails.
    pub(super) async fn respond(
        &self,
        call: Call,
        redaction: Redaction,
        charge: &mut Charge<'_>,
    ) -> Result<Reply, ApiError> {
        match self {
            Self::Gateway(gateway) => gateway.forward(call, redaction, charge).await,
            Self::Mock(mock) => {
                // An agent that does not exist is 404, even for an operation that is not mocked.
                if let Some(agent) = call.params.find("agent_id")
                    && !mock.has_handler(call.operation)
                    && !mock.agent_exists(&call.permit, agent).await?
                {
                    return Err(ApiError::letta(Code::NotFound, format!("Agent with ID {agent} not found")));
                }
                mock.handle(call).await
            }
        }
    }

    /// What client tokens of the `OpenAI` API chat with.
    #[must_use]
    pub(super) fn chat(&self) -> Arc<dyn ChatBackend> {
        Arc::new(LettaV1(self.clone()))
    }

    /// Waits until the background work has ended.
    pub(crate) async fn drain(&self) {
        if let Self::Mock(mock) = self {
            mock.drain().await;
        }
    }
}

impl LettaApi for Backend {
    async fn call(&self, call: Call, redaction: Redaction) -> Result<Reply, ApiError> {
        self.respond(call, redaction, &mut Charge::uncounted()).await
    }
}

impl Ownership for Backend {
    async fn owner(&self, project: &Project, thing: Owned<'_>) -> Result<Option<AgentId>, ApiError> {
        match self {
            Self::Mock(mock) => mock.owner(thing).await,
            Self::Gateway(gateway) => gateway.owner(project, thing).await,
        }
    }

    async fn owns(&self, project: &Project, agent: &AgentId, thing: Owned<'_>) -> Result<bool, ApiError> {
        match self {
            Self::Mock(mock) => mock.owns(agent, thing).await,
            Self::Gateway(gateway) => gateway.owns(project, agent, thing).await,
        }
    }

    async fn lists(&self, project: &Project, agents: &[AgentId], listed: Listed, id: &str) -> Result<bool, ApiError> {
        match self {
            // The mock's lists treat other cursors as ones that do not exist.
            Self::Mock(_) => Ok(true),
            Self::Gateway(gateway) => gateway.lists(project, agents, listed, id).await,
        }
    }

    async fn sharers(
        &self,
        project: &Project,
        agent: &AgentId,
        thing: Shared<'_>,
    ) -> Result<Option<Vec<AgentId>>, ApiError> {
        match self {
            Self::Gateway(gateway) => gateway.sharers(project, agent, thing).await,
            Self::Mock(mock) => mock.sharers(agent, thing).await.map(Some),
        }
    }
}
