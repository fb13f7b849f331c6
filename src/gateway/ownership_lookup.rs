//! Whose things are, asked of one upstream with the gateway's own credential.
//!
//! Whose a run, step or conversation is never changes, so what was learnt is remembered; what an administrator may change
//! is remembered for a moment; that something does not exist is not. Requests that ask the same at the same time wait for
//! one look-up. Each question takes a bounded number of look-ups, and what they do not prove is not so.

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

/// How much is remembered.
const CAPACITY: usize = 10_000;
/// How long an owner is remembered, and how long what an administrator may change.
const OWNER_LIFETIME: Duration = Duration::from_mins(10);
const CHANGEABLE_LIFETIME: Duration = Duration::from_secs(30);
/// The length of a list. So many agents sharing a thing, or archives of one agent, are too many to tell who they are.
const MOST: usize = 100;
/// So many pages of a list are searched for one thing.
const MOST_PAGES: usize = 10;
/// So many messages are read on either side of one: some that are stored are not shown. Each may be large.
const NEIGHBOURS: usize = 2;
/// So many passages are read to find one among those that were made at the same time. Each may take 100 kB.
const MOST_PASSAGES: usize = 20;

/// Looks things up.
#[derive(Debug)]
pub(super) struct OwnershipLookup {
    upstream: Upstream,
    owners: LookupCache<AgentId, Nothing>,
    projects: LookupCache<Arc<str>, Nothing>,
    /// What was proven to be an agent's, or a project's.
    proven: LookupCache<(), Nothing>,
}

/// Why a look-up gave nothing; it is not remembered.
#[derive(Debug)]
enum Nothing {
    NotThere,
    Failed(ApiError),
}

impl From<ApiError> for Nothing {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

impl OwnershipLookup {
    pub(super) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            owners: LookupCache::new(CAPACITY, OWNER_LIFETIME),
            projects: LookupCache::new(CAPACITY, CHANGEABLE_LIFETIME),
            proven: LookupCache::new(CAPACITY, CHANGEABLE_LIFETIME),
        }
    }

    /// The agent that a thing belongs to; none: the thing itself does not tell.
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
        let owner = self.owners.get_or_find(&target, async || {
            let found = self.fetch(&target, id).await?;
            found["agent_id"].as_str().and_then(|agent| agent.parse().ok()).ok_or(Nothing::NotThere)
        });
        settle(owner.await)
    }

    /// Whether a thing is an agent's: where the thing does not tell, the agent's own lists may.
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

    /// Letta gives no passage by its id, but it lists what came before one, and what comes after that: the passage
    /// itself, if it is in the agent's archive at all.
    async fn has_passage(&self, agent: &AgentId, id: &str) -> Result<bool, Nothing> {
        let list = format!("/v1/agents/{agent}/archival-memory");
        let before = self.list(&format!("{list}?before={id}&ascending=false&limit=1")).await?;
        let after = match before.first().map(id_of) {
            Some(Some(previous)) => format!("&after={previous}"),
            Some(None) => return Ok(false),
            None => String::new(),
        };
        let passages = self.list(&format!("{list}?ascending=true&limit={MOST_PASSAGES}{after}")).await?;
        Ok(passages.iter().any(|passage| passage["id"] == id))
    }

    /// Whether a thing is in a list of these agents' things, as a cursor that the list gave out is.
    pub(super) async fn lists(&self, agents: &[AgentId], listed: Listed, id: &str) -> Result<bool, ApiError> {
        let thing = match listed {
            Listed::Run => Owned::Run(id),
            Listed::Step => Owned::Step(id),
            Listed::Conversation => Owned::Conversation(id),
            _ => return self.lists_of(agents, listed, id).await,
        };
        Ok(self.owner(thing).await?.is_some_and(|owner| agents.contains(&owner)))
    }

    /// The same of what only an agent's own lists tell; their paths name one agent.
    async fn lists_of(&self, agents: &[AgentId], listed: Listed, id: &str) -> Result<bool, ApiError> {
        let ([agent], Ok(_)) = (agents, id.parse::<AgentId>()) else { return Ok(false) };
        let what = format!("{agent} lists {listed:?} {id}");
        let page = async |collection: &str| self.is_in(&format!("/v1/agents/{agent}/{collection}"), id).await;
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

    /// Letta resolves a cursor of any agent, and its answer does not say whose it is. What comes next in the agent's
    /// messages leads back to the message itself, if it is one of them.
    async fn has_message(&self, agent: &AgentId, id: &str) -> Result<bool, Nothing> {
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
    async fn is_in(&self, list: &str, id: &str) -> Result<bool, Nothing> {
        let mut target = format!("{list}?limit={MOST}");
        for _ in 0..MOST_PAGES {
            let page = self.list(&target).await?;
            if page.iter().any(|thing| thing["id"] == id) {
                return Ok(true);
            }
            match page.last().and_then(id_of) {
                Some(cursor) if page.len() >= MOST => target = format!("{list}?limit={MOST}&after={cursor}"),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    async fn has_file(&self, agent: &AgentId, is_it: impl Fn(&Value) -> bool) -> Result<bool, Nothing> {
        let list = format!("/v1/agents/{agent}/files?limit={MOST}");
        let mut target = list.clone();
        for _ in 0..MOST_PAGES {
            let LookupResult::Thing(page) = self.upstream.look_up(&target).await? else { return Ok(false) };
            if page["files"].as_array().is_some_and(|files| files.iter().any(&is_it)) {
                return Ok(true);
            }
            match id_of(&page["next_cursor"]) {
                Some(cursor) if page["has_more"] == true => target = format!("{list}&cursor={cursor}"),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    async fn has_scheduled(&self, agent: &AgentId, id: &str) -> Result<bool, Nothing> {
        let scheduled = self.fetch(&format!("/v1/agents/{agent}/schedule/{id}"), id).await?;
        Ok(scheduled["agent_id"] == agent.as_str())
    }

    /// Whether there is an agent, and it is of a project.
    pub(super) async fn is_agent_of(&self, project: &Project, agent: &str) -> Result<bool, ApiError> {
        if !is_letta_id(agent, "agent") {
            return Ok(false);
        }
        let of = self.projects.get_or_find(agent, async || {
            let found = self.fetch(&format!("/v1/agents/{agent}"), agent).await?;
            Ok(found["project_id"].as_str().unwrap_or(Project::DEFAULT).into())
        });
        Ok(settle(of.await)?.is_some_and(|of| *of == *project.as_str()))
    }

    /// Whether a thing is a project's: it says so, or, where Letta keeps no project of it, every agent that uses it is.
    pub(super) async fn is_thing_of(&self, project: &Project, collection: &str, id: &str) -> Result<bool, ApiError> {
        let target = format!("/v1/{collection}/{id}");
        let is_so = async || {
            if let Some(of) = self.fetch(&target, id).await?["project_id"].as_str() {
                return Ok(of == project.as_str());
            }
            let users = self.list(&format!("{target}/agents?limit={MOST}")).await?;
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
            Ok((1..MOST).contains(&users.len()))
        };
        self.prove(&format!("{project} {target}"), is_so).await
    }

    /// Whether a tool may be used in a project: in Letta, one without a project is everybody's.
    pub(super) async fn is_tool_of(&self, project: &Project, id: &str) -> Result<bool, ApiError> {
        let target = format!("/v1/tools/{id}");
        let is_so = async || {
            let tool = self.fetch(&target, id).await?;
            Ok(tool["project_id"].as_str().is_none_or(|of| of == project.as_str()))
        };
        self.prove(&format!("{project} {target}"), is_so).await
    }

    /// Who shares a thing; none when the upstream's answers do not tell, or are too many to tell.
    pub(super) async fn sharers(&self, agent: &AgentId, thing: Shared<'_>) -> Result<Option<Vec<AgentId>>, ApiError> {
        let mut sharers = Vec::new();
        let collections = match thing {
            Shared::Block(label) => {
                let label = utf8_percent_encode(label, NON_ALPHANUMERIC);
                match self.upstream.look_up(&format!("/v1/agents/{agent}/core-memory/blocks/{label}")).await? {
                    // A block that is not there is shared by nobody; the upstream will say that it is not there.
                    LookupResult::Nothing => return Ok(Some(sharers)),
                    LookupResult::Refusal => return Ok(None),
                    LookupResult::Thing(block) => match id_of(&block) {
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
                // A list without the agent itself is not the list that was asked for.
                Some(agents) if agents.contains(agent) => sharers.extend(agents),
                _ => return Ok(None),
            }
        }
        Ok(Some(sharers))
    }

    async fn archives(&self, agent: &AgentId) -> Result<Option<Vec<String>>, ApiError> {
        let archives = self.upstream.look_up(&format!("/v1/archives/?agent_id={agent}&limit={MOST}")).await?;
        let LookupResult::Thing(Value::Array(archives)) = archives else { return Ok(None) };
        if archives.len() >= MOST {
            return Ok(None);
        }
        Ok(archives.iter().map(|archive| Some(format!("/v1/archives/{}/agents", id_of(archive)?))).collect())
    }

    /// All agents of a list; none when it is no list of agents, or too long to be all of them.
    async fn agents_at(&self, collection: &str) -> Result<Option<Vec<AgentId>>, ApiError> {
        let listed = self.upstream.look_up(&format!("{collection}?limit={MOST}")).await?;
        let LookupResult::Thing(Value::Array(agents)) = listed else { return Ok(None) };
        Ok(if agents.len() < MOST { agents.iter().map(id_of).collect() } else { None })
    }

    /// Remembers what was proven; what was not is asked again.
    async fn prove(&self, what: &str, is_so: impl AsyncFnOnce() -> Result<bool, Nothing>) -> Result<bool, ApiError> {
        let proof = async || if is_so().await? { Ok(()) } else { Err(Nothing::NotThere) };
        Ok(settle(self.proven.get_or_find(what, proof).await)?.is_some())
    }

    /// The thing at a target, which must be the one with this id.
    async fn fetch(&self, target: &str, id: &str) -> Result<Value, Nothing> {
        match self.upstream.look_up(target).await? {
            LookupResult::Thing(thing) if thing["id"] == id => Ok(thing),
            _ => Err(Nothing::NotThere),
        }
    }

    async fn list(&self, target: &str) -> Result<Vec<Value>, Nothing> {
        match self.upstream.look_up(target).await? {
            LookupResult::Thing(Value::Array(things)) => Ok(things),
            _ => Err(Nothing::NotThere),
        }
    }
}

/// An id, or that of an object, if it can stand in a path as it is.
fn id_of(thing: &Value) -> Option<AgentId> {
    thing.as_str().or_else(|| thing["id"].as_str())?.parse().ok()
}

/// Several requests may have waited for one failure: each gets its own copy of it.
fn settle<T>(found: Result<T, Arc<Nothing>>) -> Result<Option<T>, ApiError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(nothing) => match &*nothing {
            Nothing::NotThere => Ok(None),
            Nothing::Failed(error) => Err(error.without_cause()),
        },
    }
}
