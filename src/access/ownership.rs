//! Which agent a thing belongs to, as the mock's state or the upstream says.

use std::future::Future;

use super::grant::Listed;
use crate::{
    error::ApiError,
    model::{AgentId, Project},
};

/// A second object that a request names and that must belong to the agent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owned<'a> {
    /// A run.
    Run(&'a str),
    /// A step.
    Step(&'a str),
    /// A conversation.
    Conversation(&'a str),
    /// A passage of an agent's archive.
    Passage(&'a str),
    /// A file in a folder attached to an agent.
    File(&'a str),
    /// A message scheduled for an agent.
    ScheduledMessage(&'a str),
}

/// A thing of an agent's that other agents may share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shared<'a> {
    /// The block that the agent shows under a label.
    Block(&'a str),
    /// The agent's archive.
    Archive,
}

/// Knows which agent a thing belongs to. `project` is the caller's: another project's things may be on another upstream,
/// and do not exist for this caller.
pub(crate) trait Ownership: Sync {
    /// Whether things are looked up at all; if not, nothing is proven, and a request must not be handled.
    fn looks_up(&self) -> bool {
        true
    }

    /// The agent that a thing belongs to; `None` if the thing does not exist or does not say.
    fn owner(
        &self,
        project: &Project,
        thing: Owned<'_>,
    ) -> impl Future<Output = Result<Option<AgentId>, ApiError>> + Send;

    /// Whether a thing is proven to be `agent`'s, by what the thing says or by what the agent's lists show.
    fn owns(
        &self,
        project: &Project,
        agent: &AgentId,
        thing: Owned<'_>,
    ) -> impl Future<Output = Result<bool, ApiError>> + Send;

    /// Whether a thing may be a cursor in a list of these agents' things: it is proven to be in the list, or the list treats
    /// a cursor that is not in it as one that does not exist.
    fn lists(
        &self,
        project: &Project,
        agents: &[AgentId],
        listed: Listed,
        id: &str,
    ) -> impl Future<Output = Result<bool, ApiError>> + Send;

    /// Every agent that shares a thing of `agent`'s, itself included; `None` if they cannot be determined.
    fn sharers(
        &self,
        project: &Project,
        agent: &AgentId,
        thing: Shared<'_>,
    ) -> impl Future<Output = Result<Option<Vec<AgentId>>, ApiError>> + Send;
}

/// Looks nothing up, for explanations where the things are not within reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotLookedAt;

impl Ownership for NotLookedAt {
    fn looks_up(&self) -> bool {
        false
    }

    async fn owner(&self, _: &Project, _: Owned<'_>) -> Result<Option<AgentId>, ApiError> {
        Ok(None)
    }

    async fn owns(&self, _: &Project, _: &AgentId, _: Owned<'_>) -> Result<bool, ApiError> {
        Ok(false)
    }

    async fn lists(&self, _: &Project, _: &[AgentId], _: Listed, _: &str) -> Result<bool, ApiError> {
        Ok(false)
    }

    async fn sharers(&self, _: &Project, _: &AgentId, _: Shared<'_>) -> Result<Option<Vec<AgentId>>, ApiError> {
        Ok(None)
    }
}
