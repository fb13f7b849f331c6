//! Whose things are: asked of the mock's state or of the upstream, never of the request.

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

/// Something of an agent's that other agents may share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shared<'a> {
    /// The block that the agent shows under a label.
    Block(&'a str),
    /// The agent's archive.
    Archive,
}

/// What knows whose things are. Every question names the project of whoever asks: what another project keeps may be kept
/// elsewhere, and is not there for it.
pub trait Ownership: Sync {
    /// The agent that a thing belongs to; none: there is no such thing, or the thing itself does not tell.
    fn owner(
        &self,
        project: &Project,
        thing: Owned<'_>,
    ) -> impl Future<Output = Result<Option<AgentId>, ApiError>> + Send;

    /// Whether a thing is proven to be `agent`'s: also where the thing does not tell, but the agent does.
    fn owns(
        &self,
        project: &Project,
        agent: &AgentId,
        thing: Owned<'_>,
    ) -> impl Future<Output = Result<bool, ApiError>> + Send;

    /// Whether a list of these agents' things may be paged from a thing: it is proven to be in the list, or what answers
    /// the list takes what is not in it for what does not exist.
    fn lists(
        &self,
        project: &Project,
        agents: &[AgentId],
        listed: Listed,
        id: &str,
    ) -> impl Future<Output = Result<bool, ApiError>> + Send;

    /// Every agent that shares a thing of `agent`'s, itself included; none: that cannot be told.
    fn sharers(
        &self,
        project: &Project,
        agent: &AgentId,
        thing: Shared<'_>,
    ) -> impl Future<Output = Result<Option<Vec<AgentId>>, ApiError>> + Send;
}
