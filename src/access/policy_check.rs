//! What a client token's request names, checked against the token's policy.
//!
//! First what the path and the query say by themselves; once the body is read, what takes a look-up: who owns the things
//! that are named. For a client token "not found" and "not yours" are the same response.

use std::{fmt::Write, mem};

use serde_json::{Map, Value};

use super::{
    Owned, Ownership, Params, Shared,
    denial::Denial,
    describe,
    grant::{AgentSource, ClientGrant, Second},
    ids::DEFAULT_CONVERSATION,
    inspect::{Inspector, NamedIds},
    needs::{agent_in_path, check_granted_somewhere},
    place::At,
    request_context::RequestContext,
    step::{is_needed, listed, shown},
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
    /// What parameters need on the agent in the path besides what the operation needs.
    needed: AccessSet,
    /// The fields that nobody knows and that were dropped, if they are wanted.
    pub(super) dropped: Vec<String>,
    wants_dropped: bool,
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
        wants_dropped: bool,
    ) -> Result<Self, Denial> {
        let (named, dropped) = (NamedIds::default(), Vec::new());
        let needed = AccessSet::default();
        let mut check = Self { token, grant, params, allow, in_path: None, named, needed, dropped, wants_dropped };
        match agent_in_path(grant, params) {
            Some(agent) => check.in_path = Some(check.covered(agent)?),
            None => check_granted_somewhere(token, grant)?,
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
        let mut inspector = self.inspector(held, NamedIds::default());
        let checked = inspector.query(self.grant.query, query);
        self.take(inspector);
        checked?;
        for (_, agent) in &self.named.agents {
            self.covered(agent)?;
        }
        if self.grant.agent == AgentSource::Conversation {
            self.named.default_conversation |= self.params.find("conversation_id") == Some(DEFAULT_CONVERSATION);
        }
        match self.check_agent_is_named() {
            // The body may still name one.
            Err(_) if self.grant.agent_in_body().is_some() => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Rebuilds the body from what the table grants of it.
    ///
    /// # Errors
    /// 403 when a field is not granted, or names an agent that is not covered where the body must name one; 422 when a value
    /// is malformed.
    pub(super) fn check_body(&mut self, body: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
        let named = mem::take(&mut self.named);
        let mut inspector = self.inspector(AccessSet::default(), named);
        let granted = inspector.object(self.grant.body, At::Top, body);
        self.take(inspector);
        let granted = granted?;
        if self.grant.agent == AgentSource::Body {
            self.check_agent_is_named()?;
            for (_, agent) in &self.named.agents {
                self.covered(agent)?;
            }
        }
        Ok(granted)
    }

    fn inspector(&self, held: AccessSet, named: NamedIds) -> Inspector<'a> {
        Inspector {
            allow: self.allow,
            held,
            needed: AccessSet::default(),
            named,
            dropped: self.wants_dropped.then(Vec::new),
        }
    }

    fn take(&mut self, inspected: Inspector<'_>) {
        self.named = inspected.named;
        self.needed = self.needed.union(inspected.needed);
        self.dropped = inspected.dropped.unwrap_or_default();
    }

    /// The query parameters that were sent, those that are accepted, and the agents that they name, for a step.
    pub(super) fn describe_query(&self, sent: &str) -> String {
        let mut text = describe::fields(self.grant.query, sent);
        for (field, agent) in &self.named.agents {
            // Writing to a String cannot fail.
            let _ = write!(text, "; {field}: {}", describe::on_agent(self.token, agent));
        }
        text
    }

    /// Finds the agent that the request is about and proves that everything the request names belongs to it. Returns every
    /// agent that the request reaches, that one first.
    ///
    /// # Errors
    /// 403 when an agent is not covered; 404 when something does not exist or belongs to another agent; those of the
    /// look-ups.
    pub(super) async fn prove(
        &self,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<Vec<AgentId>, ApiError> {
        if let Err(denial) = self.check_agent_is_named() {
            return Err(context.refuse(
                OWNERSHIP,
                || "no agent is named, one of the policy's is needed".into(),
                denial,
            ));
        }
        if !ownership.looks_up() {
            context.step(OWNERSHIP, || "not looked at: it is asked when the request is made".into());
            return Ok(self.in_path.iter().map(|(agent, _)| (*agent).clone()).collect());
        }
        let agents = match self.grant.agent {
            AgentSource::Policy => self.token.policy().iter().map(|(agent, _)| agent.clone()).collect(),
            _ => {
                let agents = self.prove_named(ownership, context).await?;
                for agent in &agents {
                    context.need(agent, self.grant.access.union(self.needed));
                }
                agents
            }
        };
        context.step(OWNERSHIP, || format!("reaches {}", listed(agents.iter().map(AgentId::as_str))));
        Ok(agents)
    }

    async fn prove_named(
        &self,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<Vec<AgentId>, ApiError> {
        let agent = self.find_agent(ownership, context).await?;
        let is_list = self.grant.agent == AgentSource::Query;
        let mut agents = vec![agent.clone()];
        for (field, named) in &self.named.agents {
            let described = || format!("{field}: {}", describe::on_agent(self.token, named));
            let (covered, _) = self.covered(named).map_err(|denial| context.refuse(OWNERSHIP, described, denial))?;
            if covered == agent {
                continue;
            }
            if !is_list {
                let hint = "it must be the agent that the path leads to";
                let denial = Denial::FieldNotGranted { field: field.clone(), hint };
                return Err(context.refuse(
                    OWNERSHIP,
                    || format!("{field} names {covered}, the path leads to {agent}"),
                    denial,
                ));
            }
            agents.push(covered.clone());
        }
        let named = agents.len();
        let runs = self.named.runs.iter().map(|id| ("Run", id, Owned::Run(id)));
        let conversations = self.named.conversations.iter().map(|id| ("Conversation", id, Owned::Conversation(id)));
        for (class, id, thing) in runs.chain(conversations) {
            let owner = self.owner_of(class, id, thing, ownership, context).await?;
            if owner != agent {
                if !is_list {
                    let values = || format!("{class} {} belongs to {owner}, the path leads to {agent}", shown(id));
                    return Err(context.refuse(OWNERSHIP, values, not_found(class, id)));
                }
                agents.push(owner.clone());
            }
        }
        // A cursor must not tell another agent's thing from one that does not exist, nor when it was made.
        for (kind, cursor) in &self.named.cursors {
            let is_listed = ownership.lists(&self.token.project, &agents[..named], *kind, cursor).await;
            let is_listed =
                is_listed.and_then(|is_listed| if is_listed { Ok(()) } else { Err(not_found(kind.class(), cursor)) });
            context.check(OWNERSHIP, is_listed, || {
                let agents = listed(agents[..named].iter().map(AgentId::as_str));
                format!("cursor {} in a list of what belongs to {agents}", shown(cursor))
            })?;
        }
        self.prove_second(agent, ownership, context).await?;
        Ok(agents)
    }

    /// Things that every agent has, such as the `default` conversation, do not tell which agent is meant: the path, the
    /// query or the body must name it as well. So they must where nothing else leads to an agent.
    fn check_agent_is_named(&self) -> Result<(), Denial> {
        let is_named = self.in_path.is_some() || !self.named.agents.is_empty();
        let leads_nowhere = match self.grant.agent {
            AgentSource::Query => self.named.conversations.is_empty(),
            AgentSource::Body => true,
            _ => false,
        };
        if !is_named && (self.named.default_conversation || leads_nowhere) {
            return Err(self.agent_not_named());
        }
        Ok(())
    }

    fn agent_not_named(&self) -> Denial {
        let field = self.grant.agent_in_body().filter(|_| self.grant.agent == AgentSource::Body);
        Denial::AgentNotNamed { field }
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
    async fn find_agent(
        &self,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<&'a AgentId, ApiError> {
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
            AgentSource::Path
            | AgentSource::Conversation
            | AgentSource::Query
            | AgentSource::Body
            | AgentSource::Policy => match (self.named.agents.first(), self.named.conversations.first()) {
                (Some((field, agent)), _) => {
                    let described = || format!("{field}: {}", describe::on_agent(self.token, agent));
                    let covered = self.covered(agent);
                    return Ok(context.check(OWNERSHIP, covered, described)?.0);
                }
                (None, Some(id)) => ("Conversation", id.as_str(), Owned::Conversation),
                (None, None) => {
                    let values = || "no agent is named, one of the policy's is needed".into();
                    return Err(context.refuse(OWNERSHIP, values, self.agent_not_named()));
                }
            },
        };
        self.owner_of(class, id, thing(id), ownership, context).await
    }

    /// The covered agent that a thing belongs to.
    async fn owner_of(
        &self,
        class: &str,
        id: &str,
        thing: Owned<'_>,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<&'a AgentId, ApiError> {
        let owner = match ownership.owner(&self.token.project, thing).await {
            Ok(owner) => owner,
            Err(failure) => return Err(context.refuse(OWNERSHIP, || asked_about(class, id), failure)),
        };
        let covered = owner.as_ref().and_then(|owner| self.covered(owner.as_str()).ok());
        let covered = covered.map(|(agent, _)| agent).ok_or_else(|| not_found(class, id));
        context.check(OWNERSHIP, covered, || match &owner {
            Some(owner) => {
                let (granted, needed) = (describe::on_agent(self.token, owner.as_str()), is_needed(self.grant.access));
                format!("{class} {} belongs to {owner}; {granted}; {needed}", shown(id))
            }
            None => format!("{class} {} belongs to no agent, one of the policy's is needed", shown(id)),
        })
    }

    /// Proves what the path names besides the agent.
    async fn prove_second(
        &self,
        agent: &AgentId,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<(), ApiError> {
        let Some(second) = self.grant.second else { return Ok(()) };
        let param = |name| self.params.find(name).unwrap_or_default();
        match second {
            Second::Passage => {
                self.check_owned(agent, "Passage", param("memory_id"), Owned::Passage, ownership, context).await?;
                self.check_unshared(agent, Shared::Archive, ownership, context).await
            }
            Second::File => self.check_owned(agent, "File", param("file_id"), Owned::File, ownership, context).await,
            Second::ScheduledMessage => {
                let id = param("scheduled_message_id");
                self.check_owned(agent, "Scheduled message", id, Owned::ScheduledMessage, ownership, context).await
            }
            Second::UnsharedBlock => {
                self.check_unshared(agent, Shared::Block(param("block_label")), ownership, context).await
            }
            Second::UnsharedArchive => self.check_unshared(agent, Shared::Archive, ownership, context).await,
        }
    }

    async fn check_owned<'b>(
        &self,
        agent: &AgentId,
        class: &str,
        id: &'b str,
        thing: fn(&'b str) -> Owned<'b>,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<(), ApiError> {
        let is_owned = ownership.owns(&self.token.project, agent, thing(id)).await;
        let refused = is_owned.as_ref().ok() == Some(&false);
        let owned = is_owned.and_then(|is_owned| if is_owned { Ok(()) } else { Err(not_found(class, id)) });
        context.check(OWNERSHIP, owned, || {
            let id = shown(id);
            if refused {
                format!("{class} {id} does not belong to {agent}")
            } else {
                format!("{class} {id} of {agent}")
            }
        })
    }

    /// Checks that the policy covers every agent that shares a thing.
    async fn check_unshared(
        &self,
        agent: &AgentId,
        thing: Shared<'_>,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<(), ApiError> {
        let class = || match thing {
            Shared::Block(label) => format!("block {}", shown(label)),
            Shared::Archive => "the archive".into(),
        };
        let sharers = match ownership.sharers(&self.token.project, agent, thing).await {
            Ok(Some(sharers)) => sharers,
            Ok(None) => {
                let values = || format!("who shares {} of {agent} cannot be determined", class());
                return Err(context.refuse(OWNERSHIP, values, Denial::SharedBeyondPolicy { is_named: false }));
            }
            Err(failure) => return Err(context.refuse(OWNERSHIP, || asked_about(&class(), agent.as_str()), failure)),
        };
        for sharer in &sharers {
            let held = self.token.grants(sharer.as_str());
            if held.is_none_or(|held| !held.contains(self.grant.access)) {
                let values = || {
                    let granted = describe::on_agent(self.token, sharer.as_str());
                    format!("{} is shared with {sharer}; {granted}; {}", class(), is_needed(self.grant.access))
                };
                return Err(context.refuse(OWNERSHIP, values, Denial::SharedBeyondPolicy { is_named: held.is_some() }));
            }
        }
        for sharer in &sharers {
            context.need(sharer, self.grant.access);
        }
        context.step(OWNERSHIP, || {
            format!("{} is used by {}, all covered", class(), listed(sharers.iter().map(AgentId::as_str)))
        });
        Ok(())
    }
}

/// What is asked when things are looked up.
const OWNERSHIP: &str = "ownership";

fn asked_about(class: &str, id: &str) -> String {
    format!("who owns {class} {} could not be determined", shown(id))
}

fn not_found(class: &str, id: &str) -> ApiError {
    ApiError::letta(Code::NotFound, format!("{class} not found with id='{}'", shown(id)))
}
