//! What a client token's request names, checked against the token's policy.
//!
//! First what the path and the query say by themselves; once the body is read, what takes a look-up: who owns the things
//! that are named. For a client token "not found" and "not yours" are the same response.

use serde_json::{Map, Value};

use super::{
    Owned, Ownership, Params, Shared,
    denial::Denial,
    grant::{AgentSource, ClientGrant, Second},
    ids::{self, DEFAULT_CONVERSATION},
    inspect::{At, Inspector, NamedIds},
};
use crate::{
    config::ClientTokenAllowance,
    credentials::ClientToken,
    error::{ApiError, Code},
    model::{AccessSet, AgentId},
    request::input::Query,
};

/// One request of a client token. Agents are those of the policy itself, so that an id in a request is compared once and
/// from then on is a typed value.
pub(super) struct PolicyCheck<'a> {
    token: &'a ClientToken,
    grant: &'a ClientGrant,
    params: &'a Params,
    /// What the deployment opens beyond the table.
    allow: &'a [ClientTokenAllowance],
    /// The agent that the path names by itself, with what the policy grants on it.
    in_path: Option<(&'a AgentId, AccessSet)>,
    named: NamedIds,
}

impl<'a> PolicyCheck<'a> {
    /// Checks that the policy covers the agent in the path; where the path names none, that any entry grants the access.
    ///
    /// # Errors
    /// 403.
    pub(super) fn new(
        token: &'a ClientToken,
        grant: &'a ClientGrant,
        params: &'a Params,
        allow: &'a [ClientTokenAllowance],
    ) -> Result<Self, Denial> {
        let mut check = Self { token, grant, params, allow, in_path: None, named: NamedIds::default() };
        let in_path = match grant.agent {
            AgentSource::Path => params.find("agent_id"),
            AgentSource::Conversation => params.find("conversation_id").filter(|id| ids::is_letta_id(id, "agent")),
            AgentSource::Run | AgentSource::Step | AgentSource::Query => None,
        };
        match in_path {
            Some(agent) => check.in_path = Some(check.covered(agent)?),
            None if !token.policy().iter().any(|(_, held)| held.contains(grant.access)) => {
                return Err(Denial::AccessNowhereGranted { needed: grant.access });
            }
            None => {}
        }
        Ok(check)
    }

    /// Checks the query and drops the parameters that Letta does not know.
    ///
    /// # Errors
    /// 400 when a parameter is repeated; 403 when one is not granted or names an agent that is not covered, or when no
    /// agent is named where one must be.
    pub(super) fn check_query(&mut self, query: &mut Query) -> Result<(), ApiError> {
        let held = self.in_path.map(|(_, held)| held).unwrap_or_default();
        let mut inspector = Inspector { allow: self.allow, held, named: NamedIds::default() };
        inspector.query(self.grant.query, query)?;
        self.named = inspector.named;
        for (_, agent) in &self.named.agents {
            self.covered(agent)?;
        }
        if self.grant.agent == AgentSource::Conversation {
            self.named.default_conversation |= self.params.find("conversation_id") == Some(DEFAULT_CONVERSATION);
        }
        match self.check_agent_is_named() {
            // The body may still name one.
            Err(_) if self.grant.names_agent_in_body() => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Rebuilds the body from what the table grants of it.
    ///
    /// # Errors
    /// 403 when a field is not granted; 422 when a value is malformed.
    pub(super) fn check_body(&mut self, body: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
        let named = std::mem::take(&mut self.named);
        let mut inspector = Inspector { allow: self.allow, held: AccessSet::default(), named };
        let granted = inspector.object(self.grant.body, At::Top, body)?;
        self.named = inspector.named;
        Ok(granted)
    }

    /// Finds the agent that the request is about and proves that everything the request names belongs to it. Returns every
    /// agent that the request reaches, that one first.
    ///
    /// # Errors
    /// 403 when an agent is not covered; 404 when something does not exist or belongs to another agent; those of the
    /// look-ups.
    pub(super) async fn prove(&self, ownership: &impl Ownership) -> Result<Vec<AgentId>, ApiError> {
        self.check_agent_is_named()?;
        let agent = self.find_agent(ownership).await?;
        let is_list = self.grant.agent == AgentSource::Query;
        let mut agents = vec![agent.clone()];
        for (field, named) in &self.named.agents {
            let (named, _) = self.covered(named)?;
            if named == agent {
                continue;
            }
            if !is_list {
                let hint = "it must be the agent that the path leads to";
                return Err(Denial::FieldNotGranted { field: field.clone(), hint }.into());
            }
            agents.push(named.clone());
        }
        let listed = agents.len();
        let runs = self.named.runs.iter().map(|id| ("Run", id, Owned::Run(id)));
        let conversations = self.named.conversations.iter().map(|id| ("Conversation", id, Owned::Conversation(id)));
        for (class, id, thing) in runs.chain(conversations) {
            let owner = self.owner_of(class, id, thing, ownership).await?;
            if owner != agent {
                if !is_list {
                    return Err(not_found(class, id));
                }
                agents.push(owner.clone());
            }
        }
        // A cursor must not tell another agent's thing from one that does not exist, nor when it was made.
        for (kind, cursor) in &self.named.cursors {
            if !ownership.lists(&self.token.project, &agents[..listed], *kind, cursor).await? {
                return Err(not_found(kind.class(), cursor));
            }
        }
        self.prove_second(agent, ownership).await?;
        Ok(agents)
    }

    /// Things that every agent has, such as the `default` conversation, do not tell which agent is meant: the path, the
    /// query or the body must name it as well. So they must where nothing else leads to an agent.
    fn check_agent_is_named(&self) -> Result<(), Denial> {
        let is_named = self.in_path.is_some() || !self.named.agents.is_empty();
        let leads_nowhere = self.grant.agent == AgentSource::Query && self.named.conversations.is_empty();
        if !is_named && (self.named.default_conversation || leads_nowhere) {
            return Err(Denial::AgentNotNamed);
        }
        Ok(())
    }

    /// The agent of this id, with what the policy grants on it.
    fn covered(&self, id: &str) -> Result<(&'a AgentId, AccessSet), Denial> {
        match self.token.policy().iter().find(|(agent, _)| agent.as_str() == id) {
            None => Err(Denial::AgentNotInPolicy { agent: shown(id) }),
            Some((_, held)) if !held.contains(self.grant.access) => {
                Err(Denial::AccessNotGranted { needed: self.grant.access, held: *held, agent: shown(id) })
            }
            Some((agent, held)) => Ok((agent, *held)),
        }
    }

    /// The agent that the request is about.
    async fn find_agent(&self, ownership: &impl Ownership) -> Result<&'a AgentId, ApiError> {
        if let Some((agent, _)) = self.in_path {
            return Ok(agent);
        }
        let param = |name| self.params.find(name).unwrap_or_default();
        let (class, id, thing): (_, _, fn(_) -> _) = match self.grant.agent {
            AgentSource::Run => ("Run", param("run_id"), Owned::Run),
            AgentSource::Step => ("Step", param("step_id"), Owned::Step),
            AgentSource::Conversation if param("conversation_id") != DEFAULT_CONVERSATION => {
                ("Conversation", param("conversation_id"), Owned::Conversation)
            }
            AgentSource::Path | AgentSource::Conversation | AgentSource::Query => {
                match (self.named.agents.first(), self.named.conversations.first()) {
                    (Some((_, agent)), _) => return Ok(self.covered(agent)?.0),
                    (None, Some(id)) => ("Conversation", id.as_str(), Owned::Conversation),
                    (None, None) => return Err(Denial::AgentNotNamed.into()),
                }
            }
        };
        self.owner_of(class, id, thing(id), ownership).await
    }

    /// The covered agent that a thing belongs to.
    async fn owner_of(
        &self,
        class: &str,
        id: &str,
        thing: Owned<'_>,
        ownership: &impl Ownership,
    ) -> Result<&'a AgentId, ApiError> {
        let owner = ownership.owner(&self.token.project, thing).await?;
        let covered = owner.and_then(|owner| self.covered(owner.as_str()).ok());
        covered.map(|(agent, _)| agent).ok_or_else(|| not_found(class, id))
    }

    /// Proves what the path names besides the agent.
    async fn prove_second(&self, agent: &AgentId, ownership: &impl Ownership) -> Result<(), ApiError> {
        let Some(second) = self.grant.second else { return Ok(()) };
        let param = |name| self.params.find(name).unwrap_or_default();
        match second {
            Second::Passage => {
                self.check_owned(agent, "Passage", param("memory_id"), Owned::Passage, ownership).await?;
                self.check_unshared(agent, Shared::Archive, ownership).await
            }
            Second::File => self.check_owned(agent, "File", param("file_id"), Owned::File, ownership).await,
            Second::ScheduledMessage => {
                let id = param("scheduled_message_id");
                self.check_owned(agent, "Scheduled message", id, Owned::ScheduledMessage, ownership).await
            }
            Second::UnsharedBlock => self.check_unshared(agent, Shared::Block(param("block_label")), ownership).await,
            Second::UnsharedArchive => self.check_unshared(agent, Shared::Archive, ownership).await,
        }
    }

    async fn check_owned<'b>(
        &self,
        agent: &AgentId,
        class: &str,
        id: &'b str,
        thing: fn(&'b str) -> Owned<'b>,
        ownership: &impl Ownership,
    ) -> Result<(), ApiError> {
        let is_owned = ownership.owns(&self.token.project, agent, thing(id)).await?;
        if is_owned { Ok(()) } else { Err(not_found(class, id)) }
    }

    /// Checks that the policy covers every agent that shares a thing.
    async fn check_unshared(
        &self,
        agent: &AgentId,
        thing: Shared<'_>,
        ownership: &impl Ownership,
    ) -> Result<(), ApiError> {
        let Some(sharers) = ownership.sharers(&self.token.project, agent, thing).await? else {
            return Err(Denial::SharedBeyondPolicy { is_named: false }.into());
        };
        for sharer in sharers {
            let held = self.token.grants(sharer.as_str());
            if held.is_none_or(|held| !held.contains(self.grant.access)) {
                return Err(Denial::SharedBeyondPolicy { is_named: held.is_some() }.into());
            }
        }
        Ok(())
    }
}

fn not_found(class: &str, id: &str) -> ApiError {
    ApiError::letta(Code::NotFound, format!("{class} not found with id='{}'", shown(id)))
}

/// What a caller sent, short enough to be repeated in a sentence.
fn shown(text: &str) -> String {
    text.chars().take(128).filter(|c| !c.is_control()).collect()
}
