//! Whose things are, asked of the upstream with the gateway's own credential.
//!
//! Whose a run, step or conversation is never changes, so what was learnt is remembered; that something does not exist is
//! not. Requests that ask the same at the same time wait for one look-up.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::upstream::Upstream;
use crate::{
    access::{Owned, Shared, is_letta_id},
    error::ApiError,
    model::{AgentId, Project},
};

/// How much is remembered.
const CAPACITY: u64 = 10_000;
/// How long an owner is remembered, and how long an agent's project, which an administrator may change.
const OWNER_LIFETIME: Duration = Duration::from_mins(10);
const PROJECT_LIFETIME: Duration = Duration::from_secs(30);
/// So many agents sharing a thing are too many to tell who they are.
const MOST_SHARERS: usize = 100;

/// Looks things up.
#[derive(Debug)]
pub(super) struct Look {
    upstream: Upstream,
    owners: Cache<String, AgentId>,
    projects: Cache<String, Arc<str>>,
}

/// Why a look-up gave nothing; it is not remembered.
#[derive(Debug)]
enum Nothing {
    NotThere,
    Failed(ApiError),
}

impl Look {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            owners: Cache::builder().max_capacity(CAPACITY).time_to_live(OWNER_LIFETIME).build(),
            projects: Cache::builder().max_capacity(CAPACITY).time_to_live(PROJECT_LIFETIME).build(),
        }
    }

    pub(super) async fn owner(&self, thing: Owned<'_>) -> Result<Option<AgentId>, ApiError> {
        let (prefix, collection, id) = match thing {
            Owned::Run(id) => ("run", "runs", id),
            Owned::Step(id) => ("step", "steps", id),
            Owned::Conversation(id) => ("conv", "conversations", id),
            // Letta names no owner in these, so nothing proves whose they are.
            Owned::Passage(_) | Owned::File { .. } | Owned::ScheduledMessage(_) => return Ok(None),
        };
        if !is_letta_id(id, prefix) {
            return Ok(None);
        }
        let target = format!("/v1/{collection}/{id}");
        let found = self.owners.try_get_with_by_ref(&target, async {
            let found = self.fetch(&target).await?;
            // What comes back must be what was asked for.
            let is_it = found["id"].as_str() == Some(id);
            let owner = found["agent_id"].as_str().filter(|_| is_it).and_then(|agent| agent.parse().ok());
            owner.ok_or(Nothing::NotThere)
        });
        settle(found.await)
    }

    /// The project of an agent; none: there is no such agent.
    pub(super) async fn project_of(&self, agent: &str) -> Result<Option<Arc<str>>, ApiError> {
        if !is_letta_id(agent, "agent") {
            return Ok(None);
        }
        let found = self.projects.try_get_with_by_ref(agent, async {
            let found = self.fetch(&format!("/v1/agents/{agent}")).await?;
            if found["id"].as_str() != Some(agent) {
                return Err(Nothing::NotThere);
            }
            Ok(found["project_id"].as_str().unwrap_or(Project::DEFAULT).into())
        });
        settle(found.await)
    }

    /// Who shares a thing; none when the upstream's answers do not tell, or are too many to tell.
    pub(super) async fn sharers(&self, agent: &str, thing: Shared<'_>) -> Result<Option<Vec<AgentId>>, ApiError> {
        let mut sharers = Vec::new();
        let collections = match thing {
            Shared::Block(label) => {
                let label = utf8_percent_encode(label, NON_ALPHANUMERIC);
                let block = self.upstream.look_up(&format!("/v1/agents/{agent}/core-memory/blocks/{label}")).await?;
                // A block that is not there is shared by nobody; the upstream will say that it is not there.
                let Some(block) = block else { return Ok(Some(sharers)) };
                let Some(id) = id_of(&block) else { return Ok(None) };
                vec![format!("/v1/blocks/{id}/agents")]
            }
            Shared::Archive => match self.archives(agent).await? {
                Some(archives) => archives,
                None => return Ok(None),
            },
        };
        for collection in collections {
            let listed = self.upstream.look_up(&format!("{collection}?limit={MOST_SHARERS}")).await?;
            let Some(Value::Array(agents)) = listed else { return Ok(None) };
            let ids: Option<Vec<AgentId>> = agents.iter().map(id_of).collect();
            match ids {
                // A list without the agent itself is not the list that was asked for.
                Some(ids) if ids.len() < MOST_SHARERS && ids.iter().any(|id| id.as_str() == agent) => {
                    sharers.extend(ids);
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(sharers))
    }

    async fn archives(&self, agent: &str) -> Result<Option<Vec<String>>, ApiError> {
        let archives = self.upstream.look_up(&format!("/v1/archives/?agent_id={agent}")).await?;
        let Some(Value::Array(archives)) = archives else { return Ok(None) };
        Ok(archives.iter().map(|archive| Some(format!("/v1/archives/{}/agents", id_of(archive)?))).collect())
    }

    async fn fetch(&self, target: &str) -> Result<Value, Nothing> {
        match self.upstream.look_up(target).await {
            Ok(found) => found.ok_or(Nothing::NotThere),
            Err(error) => Err(Nothing::Failed(error)),
        }
    }
}

/// The id of an object, if it can stand in a path as it is.
fn id_of(object: &Value) -> Option<AgentId> {
    object["id"].as_str()?.parse().ok()
}

/// Several requests may have waited for one failure: each gets its own copy of it.
fn settle<T>(found: Result<T, Arc<Nothing>>) -> Result<Option<T>, ApiError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(nothing) => match &*nothing {
            Nothing::NotThere => Ok(None),
            Nothing::Failed(error) => Err(error.same()),
        },
    }
}
