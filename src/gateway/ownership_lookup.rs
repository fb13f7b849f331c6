//! Finds out what belongs to which agent or project, with requests to one upstream that use the gateway's own credential.
//!
//! The owner of a run, step or conversation never changes, so it is cached for long. What an administrator may change is
//! cached briefly, and that something does not exist is not cached. Concurrent requests share a look-up. Each question takes
//! a bounded number of requests, and what they do not prove counts as false.

use std::{sync::Arc, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    lookup_cache::LookupCache,
    upstream::{LookupResult, Upstream},
};
use crate::{
    access::{Owned, Shared, grant::Listed, is_letta_id},
    error::ApiError,
    model::{AgentId, Project},
};

/// How many entries each cache has.
const CAPACITY: usize = 10_000;
/// How long an owner is cached.
const OWNER_LIFETIME: Duration = Duration::from_mins(10);
/// How long a relation is cached that an administrator may change.
const MUTABLE_LIFETIME: Duration = Duration::from_secs(30);
/// How many items a page of a list has. A list of agents or archives of this length may be incomplete, and proves nothing.
const PAGE_SIZE: usize = 100;
/// How many pages of a list are searched.
const MAX_PAGES: usize = 10;
/// How many messages are read before and after one, because Letta does not show all that it stores. Each may be large.
const NEIGHBOURS: usize = 2;
/// How many passages are read to find one among those that were created at the same time. Each may take 100 kB.
const MAX_PASSAGES: usize = 20;

/// Ownership look-ups at one upstream.
#[derive(Debug)]
pub(super) struct OwnershipLookup {
    upstream: Upstream,
    owners: LookupCache<AgentId, LookupError>,
    projects: LookupCache<Arc<str>, LookupError>,
    /// Relations to agents and projects that were proven.
    proven: LookupCache<(), LookupError>,
}

/// Why a look-up has no result. Not cached.
#[derive(Debug)]
enum LookupError {
    NotFound,
    Upstream(ApiError),
}

impl From<ApiError> for LookupError {
    fn from(error: ApiError) -> Self {
        Self::Upstream(error)
    }
}

impl OwnershipLookup {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            owners: LookupCache::new(CAPACITY, OWNER_LIFETIME),
            projects: LookupCache::new(CAPACITY, MUTABLE_LIFETIME),
            proven: LookupCache::new(CAPACITY, MUTABLE_LIFETIME),
        }
    }

    /// The agent that owns a thing, if the thing itself names it.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub(super) async fn owner(&self, thing: Owned<'_>) -> Result<Option<AgentId>, ApiError> {
        let (prefix, collection, id) = match thing {
            Owned::Run(id) => ("run", "runs", id),
            Owned::Step(id) => ("step", "steps", id),
            Owned::Conversation(id) => ("conv", "conversations", id),
            Owned::Passage(_) | Owned::File(_) | Owned::ScheduledMessage(_) => return Ok(None),
        };
        if !is_letta_id(id, prefix) {
            return Ok(None);
        }
        let target = format!("/v1/{collection}/{id}");
        let owner = self.owners.get_or_look_up(&target, async || {
            let found = self.fetch(&target, id).await?;
            found["agent_id"].as_str().and_then(|agent| agent.parse().ok()).ok_or(LookupError::NotFound)
        });
        found_or_none(owner.await)
    }

    /// Whether an agent owns a thing. If the thing does not name its agent, the agent's lists are searched.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub(super) async fn owns(&self, agent: &AgentId, thing: Owned<'_>) -> Result<bool, ApiError> {
        let is_plain = |id: &str| id.parse::<AgentId>().is_ok();
        match thing {
            Owned::Passage(id) if is_plain(id) => {
                self.prove(&format!("{agent} passage {id}"), async || self.has_passage(agent, id).await).await
            }
            Owned::File(id) if is_plain(id) => {
                self.prove(&format!("{agent} file {id}"), async || {
                    self.has_file(agent, |file| file["file_id"] == id).await
                })
                .await
            }
            Owned::ScheduledMessage(id) if is_plain(id) => {
                self.prove(&format!("{agent} scheduled {id}"), async || self.has_scheduled(agent, id).await).await
            }
            Owned::Passage(_) | Owned::File(_) | Owned::ScheduledMessage(_) => Ok(false),
            _ => Ok(self.owner(thing).await?.as_ref() == Some(agent)),
        }
    }

    /// Letta has no request for one passage, but it lists the passages before one. The list after the previous passage
    /// begins with the passage itself, if it is in the agent's archive.
    async fn has_passage(&self, agent: &AgentId, id: &str) -> Result<bool, LookupError> {
        let list = format!("/v1/agents/{agent}/archival-memory");
        let before = self.list(&format!("{list}?before={id}&ascending=false&limit=1")).await?;
        let after = match before.first().map(id_of) {
            Some(Some(previous)) => format!("&after={previous}"),
            Some(None) => return Ok(false),
            None => String::new(),
        };
        let passages = self.list(&format!("{list}?ascending=true&limit={MAX_PASSAGES}{after}")).await?;
        Ok(passages.iter().any(|passage| passage["id"] == id))
    }

    /// Whether a thing is in a list of these agents, so that its id is a cursor of that list.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub(super) async fn lists(&self, agents: &[AgentId], listed: Listed, id: &str) -> Result<bool, ApiError> {
        let thing = match listed {
            Listed::Run => Owned::Run(id),
            Listed::Step => Owned::Step(id),
            Listed::Conversation => Owned::Conversation(id),
            _ => return self.lists_of(agents, listed, id).await,
        };
        Ok(self.owner(thing).await?.is_some_and(|owner| agents.contains(&owner)))
    }

    /// [`Self::lists`] for things that do not name their agent. The paths of their lists contain one agent.
    async fn lists_of(&self, agents: &[AgentId], listed: Listed, id: &str) -> Result<bool, ApiError> {
        let ([agent], Ok(_)) = (agents, id.parse::<AgentId>()) else { return Ok(false) };
        let what = format!("{agent} lists {listed:?} {id}");
        let page = async |collection: &str| self.is_listed(&format!("/v1/agents/{agent}/{collection}"), id).await;
        match listed {
            Listed::Passage => self.owns(agent, Owned::Passage(id)).await,
            Listed::ScheduledMessage => self.owns(agent, Owned::ScheduledMessage(id)).await,
            Listed::Message => self.prove(&what, async || self.has_message(agent, id).await).await,
            Listed::File => self.prove(&what, async || self.has_file(agent, |file| file["id"] == id).await).await,
            Listed::Block => self.prove(&what, async || page("core-memory/blocks").await).await,
            Listed::Folder => self.prove(&what, async || page("folders").await).await,
            Listed::Tool => self.prove(&what, async || page("tools").await).await,
            Listed::Run | Listed::Step | Listed::Conversation => Ok(false),
        }
    }

    /// Letta accepts a message of any agent as a cursor. So the agent's messages after it are listed, and then those before
    /// the first of them, which include the message itself if it is the agent's.
    async fn has_message(&self, agent: &AgentId, id: &str) -> Result<bool, LookupError> {
        let list = format!("/v1/agents/{agent}/messages?limit={NEIGHBOURS}");
        let newer = self.list(&format!("{list}&order=asc&after={id}")).await?;
        let before = match newer.first().map(id_of) {
            Some(Some(next)) => format!("&before={next}"),
            Some(None) => return Ok(false),
            None => String::new(),
        };
        let older = self.list(&format!("{list}&order=desc{before}")).await?;
        Ok(older.iter().any(|message| message["id"] == id))
    }

    /// Whether a thing is on one of the first pages of a list.
    async fn is_listed(&self, list: &str, id: &str) -> Result<bool, LookupError> {
        let mut target = format!("{list}?limit={PAGE_SIZE}");
        for _ in 0..MAX_PAGES {
            let page = self.list(&target).await?;
            if page.iter().any(|thing| thing["id"] == id) {
                return Ok(true);
            }
            match page.last().and_then(id_of) {
                Some(cursor) if page.len() >= PAGE_SIZE => target = format!("{list}?limit={PAGE_SIZE}&after={cursor}"),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    async fn has_file(&self, agent: &AgentId, matches: impl Fn(&Value) -> bool) -> Result<bool, LookupError> {
        let list = format!("/v1/agents/{agent}/files?limit={PAGE_SIZE}");
        let mut target = list.clone();
        for _ in 0..MAX_PAGES {
            let LookupResult::Found(page) = self.upstream.look_up(&target).await? else { return Ok(false) };
            if page["files"].as_array().is_some_and(|files| files.iter().any(&matches)) {
                return Ok(true);
            }
            match id_of(&page["next_cursor"]) {
                Some(cursor) if page["has_more"] == true => target = format!("{list}&cursor={cursor}"),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    async fn has_scheduled(&self, agent: &AgentId, id: &str) -> Result<bool, LookupError> {
        let scheduled = self.fetch(&format!("/v1/agents/{agent}/schedule/{id}"), id).await?;
        Ok(scheduled["agent_id"] == agent.as_str())
    }

    /// Whether an agent exists and belongs to a project.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub(super) async fn is_agent_of(&self, project: &Project, agent: &str) -> Result<bool, ApiError> {
        if !is_letta_id(agent, "agent") {
            return Ok(false);
        }
        let of = self.projects.get_or_look_up(agent, async || {
            let found = self.fetch(&format!("/v1/agents/{agent}"), agent).await?;
            Ok(found["project_id"].as_str().unwrap_or(Project::DEFAULT).into())
        });
        Ok(found_or_none(of.await)?.is_some_and(|of| *of == *project.as_str()))
    }

    /// Whether a thing belongs to a project: it names the project, or, if Letta stores none for it, all agents that use it
    /// belong to the project.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub(super) async fn is_thing_of(&self, project: &Project, collection: &str, id: &str) -> Result<bool, ApiError> {
        let target = format!("/v1/{collection}/{id}");
        let proof = async || {
            if let Some(of) = self.fetch(&target, id).await?["project_id"].as_str() {
                return Ok(of == project.as_str());
            }
            let users = self.list(&format!("{target}/agents?limit={PAGE_SIZE}")).await?;
            for user in &users {
                let is_of = match (user.get("project_id"), id_of(user)) {
                    (Some(of), _) => of.as_str().unwrap_or(Project::DEFAULT) == project.as_str(),
                    (None, Some(id)) => self.is_agent_of(project, id.as_str()).await?,
                    (None, None) => false,
                };
                if !is_of {
                    return Ok(false);
                }
            }
            Ok((1..PAGE_SIZE).contains(&users.len()))
        };
        self.prove(&format!("{project} {target}"), proof).await
    }

    /// Whether a tool may be used in a project. A tool without a project may be used in all.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub(super) async fn is_tool_of(&self, project: &Project, id: &str) -> Result<bool, ApiError> {
        let target = format!("/v1/tools/{id}");
        let proof = async || {
            let tool = self.fetch(&target, id).await?;
            Ok(tool["project_id"].as_str().is_none_or(|of| of == project.as_str()))
        };
        self.prove(&format!("{project} {target}"), proof).await
    }

    /// The agents that share a thing; `None` when the upstream's responses do not tell, or there are too many.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub(super) async fn sharers(&self, agent: &AgentId, thing: Shared<'_>) -> Result<Option<Vec<AgentId>>, ApiError> {
        let mut sharers = Vec::new();
        let collections = match thing {
            Shared::Block(label) => {
                let label = utf8_percent_encode(label, NON_ALPHANUMERIC);
                match self.upstream.look_up(&format!("/v1/agents/{agent}/core-memory/blocks/{label}")).await? {
                    // No agent shares a block that does not exist. The client's request will receive the upstream's 404.
                    LookupResult::NotFound => return Ok(Some(sharers)),
                    LookupResult::Refused => return Ok(None),
                    LookupResult::Found(block) => match id_of(&block) {
                        Some(id) => vec![format!("/v1/blocks/{id}/agents")],
                        None => return Ok(None),
                    },
                }
            }
            Shared::Archive => match self.archives(agent).await? {
                Some(archives) => archives,
                None => return Ok(None),
            },
        };
        for collection in collections {
            match self.agents_at(&collection).await? {
                // The agent itself must be listed, or this is the list of another thing.
                Some(agents) if agents.contains(agent) => sharers.extend(agents),
                _ => return Ok(None),
            }
        }
        Ok(Some(sharers))
    }

    async fn archives(&self, agent: &AgentId) -> Result<Option<Vec<String>>, ApiError> {
        let archives = self.upstream.look_up(&format!("/v1/archives/?agent_id={agent}&limit={PAGE_SIZE}")).await?;
        let LookupResult::Found(Value::Array(archives)) = archives else { return Ok(None) };
        if archives.len() >= PAGE_SIZE {
            return Ok(None);
        }
        Ok(archives.iter().map(|archive| Some(format!("/v1/archives/{}/agents", id_of(archive)?))).collect())
    }

    /// All agents of a list; `None` when it does not contain agents, or may be incomplete.
    async fn agents_at(&self, collection: &str) -> Result<Option<Vec<AgentId>>, ApiError> {
        let listed = self.upstream.look_up(&format!("{collection}?limit={PAGE_SIZE}")).await?;
        let LookupResult::Found(Value::Array(agents)) = listed else { return Ok(None) };
        Ok(if agents.len() < PAGE_SIZE { agents.iter().map(id_of).collect() } else { None })
    }

    /// Whether something is proven. Only a proof is cached.
    async fn prove(&self, key: &str, proof: impl AsyncFnOnce() -> Result<bool, LookupError>) -> Result<bool, ApiError> {
        let look_up = async || if proof().await? { Ok(()) } else { Err(LookupError::NotFound) };
        Ok(found_or_none(self.proven.get_or_look_up(key, look_up).await)?.is_some())
    }

    /// The thing at a target, which must have this id.
    async fn fetch(&self, target: &str, id: &str) -> Result<Value, LookupError> {
        match self.upstream.look_up(target).await? {
            LookupResult::Found(thing) if thing["id"] == id => Ok(thing),
            _ => Err(LookupError::NotFound),
        }
    }

    async fn list(&self, target: &str) -> Result<Vec<Value>, LookupError> {
        match self.upstream.look_up(target).await? {
            LookupResult::Found(Value::Array(things)) => Ok(things),
            _ => Err(LookupError::NotFound),
        }
    }
}

/// An id, or the id of an object, if it needs no encoding in a path.
fn id_of(thing: &Value) -> Option<AgentId> {
    thing.as_str().or_else(|| thing["id"].as_str())?.parse().ok()
}

/// Turns "not found" into `None`, and copies an error, which several requests may share.
fn found_or_none<T>(found: Result<T, Arc<LookupError>>) -> Result<Option<T>, ApiError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) => match &*error {
            LookupError::NotFound => Ok(None),
            LookupError::Upstream(error) => Err(error.without_cause()),
        },
    }
}
