//! The guard: one order of questions for every request, in both modes.
//!
//! canonical path 400 -> bearer 401 -> quota 429 -> known path 404 and method 405 -> ids 422 -> policy 403 -> origin 403 ->
//! large bodies 429 -> body -> streams 429 -> existence 404. What a handler gets is the result of this function and
//! nothing else.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body::Body as _;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    NotJson, Operation, Owned, Ownership, Params, Shared,
    authenticator::{Authenticator, Bearer},
    denial::Denial,
    grant::{AgentSource, ClientGrant, Grant, Redaction, Second},
    ids::{self, DEFAULT_CONVERSATION},
    inspect::{At, Inspector, NamedIds},
    json, origin,
    permit::{Caller, Permit},
    quota::{ConcurrencyPermit, Quotas},
    request_context::RequestContext,
    target::{self, Match},
};
use crate::{
    clock,
    config::{ClientTokenAllowance, OriginMissing},
    credentials::{ClientToken, VerifiedKey},
    error::{ApiError, Code},
    model::{AccessSet, Project},
    request::{
        body::{Body, Fault},
        input::{self, Payload, Query},
    },
};

/// Decides about requests.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Who is calling.
    pub bearers: Authenticator,
    /// What to do when a client token comes without an origin.
    pub origin_missing: OriginMissing,
    /// What the deployment opens to client tokens beyond the table.
    pub allow: Vec<ClientTokenAllowance>,
    /// Whether API keys may come from browsers.
    pub api_keys_from_browsers: bool,
    /// The largest body, in bytes.
    pub body_bytes: usize,
    /// The largest body of an operation that uploads a file, in bytes.
    pub upload_bytes: usize,
    /// How much client tokens may ask for.
    pub quotas: Quotas,
}

/// A request that may be answered.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are calls, and each is taken apart where it arrives")]
pub enum Passed {
    /// An operation that needs no bearer.
    Public(Operation),
    /// An operation with all that was decided about it.
    Call {
        /// What is asked for.
        operation: Operation,
        /// The path parameters.
        params: Params,
        /// The query, filtered for a client token.
        query: Query,
        /// Who may.
        permit: Permit,
        /// The body, checked for a client token.
        payload: Payload,
        /// What to remove from the answer.
        redactor: Redactor,
        /// One of the token's streams, where the operation takes one and they are counted.
        slot: Option<ConcurrencyPermit>,
        /// The right to hold the body, where it is large and they are counted.
        body_slot: Option<ConcurrencyPermit>,
    },
}

/// What is to be removed from an answer.
#[derive(Debug)]
pub struct Redactor {
    redaction: Redaction,
    /// The fields that a caller who may not read what it changed sees again; none: it may see them all.
    visible: Option<Vec<String>>,
}

impl Redactor {
    const NOTHING: Self = Self { redaction: Redaction::None, visible: None };

    fn of(grant: &ClientGrant, sent: &Value, token: &ClientToken, agent: &str) -> Self {
        let redaction = grant.redaction;
        let may_read = || token.grants(agent).is_some_and(|held| held.contains(grant.words_to_read()));
        let sent = || {
            let sent = sent.as_object().into_iter().flatten();
            sent.filter(|(_, value)| !value.is_null()).map(|(name, _)| name.clone()).collect()
        };
        let visible = (redaction == Redaction::SecretsAndUnsent && !may_read()).then(sent);
        Self { redaction, visible }
    }

    /// What kind of thing is to be removed.
    #[must_use]
    pub fn redaction(&self) -> Redaction {
        self.redaction
    }

    /// Removes it from a body while it passes.
    pub fn apply_in_passing(&self, body: Body) -> Body {
        if self.redaction == Redaction::None { body } else { super::redact_in_passing(body) }
    }

    /// Removes it. An error is not an agent's state, so all of it stays but secrets.
    pub fn apply(&self, status: StatusCode, answer: &mut Value) {
        let visible = self.visible.as_deref().filter(|_| status.is_success());
        super::redact(answer, self.redaction, visible);
    }

    /// Removes it from JSON that is written already.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn apply_to_written(&self, status: StatusCode, answer: super::Written) -> Result<Vec<u8>, NotJson> {
        let visible = self.visible.as_deref().filter(|_| status.is_success());
        super::redact_written(answer, self.redaction, visible)
    }
}

impl Guard {
    /// Decides about one request.
    ///
    /// # Errors
    /// The refusal.
    pub async fn admit(
        &self,
        head: &Parts,
        body: Body,
        ownership: &impl Ownership,
        context: &mut RequestContext,
    ) -> Result<Passed, ApiError> {
        let segments = Self::check_path(head)?;
        let found = target::find(&head.method, &segments);
        if let Match::Operation(operation, _) = found {
            context.operation = Some(operation);
            if matches!(operation.grant(), Grant::Public) {
                return Ok(Passed::Public(operation));
            }
        }
        let bearer = self.bearers.identify(&head.headers, context).await?;
        if let Bearer::ClientToken(token) = &bearer {
            context.allowance = self.quotas.count(token);
            context.allowance.map_or(Ok(()), |allowance| allowance.check())?;
        }
        let (operation, params) = match found {
            Match::Operation(operation, params) => (operation, params),
            Match::MethodNotAllowed(methods) => return Err(method_not_allowed(&methods)),
            Match::NotFound => {
                return Err(ApiError::letta(Code::NotFound, "Not Found")
                    .saying("There is no such path in the Letta API under /v1; check the base URL and the path."));
            }
        };
        ids::check(operation, &params)?;
        let query = Query::parse(head.uri.query());
        match bearer {
            Bearer::ApiKey(key) => {
                let project = project(&key, &head.headers)?;
                if head.headers.contains_key(header::ORIGIN) && !self.api_keys_from_browsers {
                    return Err(Denial::ApiKeyInBrowser.into());
                }
                let permit = Permit::new(Caller::ApiKey { key, project });
                let limit = if operation.row().uploads { self.upload_bytes } else { self.body_bytes };
                let payload = Payload::Unread(body.at_most(limit)?);
                let redactor = Redactor::NOTHING;
                Ok(Passed::Call { operation, params, query, permit, payload, redactor, slot: None, body_slot: None })
            }
            Bearer::ClientToken(token) => {
                let grant = match operation.grant() {
                    Grant::Client(grant) => grant,
                    Grant::KeyOnly => return Err(Denial::ApiKeyRequired.into()),
                    Grant::Never | Grant::Public => return Err(Denial::OperationNotAvailable(operation).into()),
                };
                let mut request = ClientRequest {
                    guard: self,
                    token: &token,
                    grant,
                    params: &params,
                    query,
                    named: NamedIds::default(),
                    body_slot: None,
                };
                request.check_policy()?;
                origin::check(
                    &token.origin,
                    token.hostname.as_deref(),
                    &head.method,
                    &head.headers,
                    self.origin_missing,
                )?;
                let sent = request.check_body(&head.headers, body).await?;
                let slot = if grant.streams { self.quotas.open_stream(&token)? } else { None };
                let agent = request.prove(ownership).await?;
                // A body may take its time: longer than the token lives.
                if !grant.body.is_empty() {
                    self.bearers.check_live(&token)?;
                }
                let ClientRequest { query, body_slot, .. } = request;
                let redactor = Redactor::of(grant, &sent, &token, &agent);
                let permit = Permit::new(Caller::ClientToken(token));
                let payload = Payload::Checked(sent);
                Ok(Passed::Call { operation, params, query, permit, payload, redactor, slot, body_slot })
            }
        }
    }

    /// The segments of a canonical path.
    ///
    /// # Errors
    /// 400 when it is not canonical.
    pub fn check_path(head: &Parts) -> Result<Vec<Cow<'_, str>>, ApiError> {
        target::segments(&head.uri, head.version).map_err(|target::NotCanonical(what)| {
            ApiError::new(Code::PathNotCanonical, format!("The path is not in the form the SDKs send: {what}."))
        })
    }
}

/// The project in which an API key acts: its own, or the one that the project headers of either SDK generation name. All
/// of them must name the same: which of two is read, the next reader may decide otherwise.
fn project(key: &VerifiedKey, headers: &HeaderMap) -> Result<Project, ApiError> {
    let named = |name| headers.get_all(name).iter().map(move |value| (name, value));
    let mut named = named("x-project-id").chain(named("x-project"));
    let named: Option<Project> = match named.next() {
        Some((name, value)) => {
            if let Some((other, _)) = named.find(|(_, other)| *other != value) {
                let sentence =
                    format!("The headers {name} and {other} name different projects; send one of them, once.");
                return Err(ApiError::new(Code::InvalidRequest, sentence));
            }
            let parsed = value.to_str().map_err(|_| "must be text").and_then(str::parse);
            Some(parsed.map_err(|rule| ApiError::new(Code::InvalidRequest, format!("The header {name} {rule}.")))?)
        }
        None => None,
    };
    match (&key.project, named) {
        (Some(only), Some(named)) if *only != named => Err(ApiError::new(
            Code::NotFound,
            format!("This API key is limited to project {only}; it knows no project {named}."),
        )),
        (Some(only), _) => Ok(only.clone()),
        (None, named) => Ok(named.unwrap_or_default()),
    }
}

/// A client token's request on its way through the guard.
struct ClientRequest<'a> {
    guard: &'a Guard,
    token: &'a ClientToken,
    grant: &'a ClientGrant,
    params: &'a Params,
    query: Query,
    named: NamedIds,
    body_slot: Option<ConcurrencyPermit>,
}

impl ClientRequest<'_> {
    /// Policy: what the path and the query name must be covered. What takes a look-up is left to [`Self::prove`].
    fn check_policy(&mut self) -> Result<(), ApiError> {
        let agent = self.agent_in_path();
        match agent {
            Some(agent) => self.check_covered(agent)?,
            None if !self.token.policy().iter().any(|(_, held)| held.contains(self.grant.access)) => {
                return Err(Denial::AccessNowhereGranted { needed: self.grant.access }.into());
            }
            None => {}
        }
        let held = agent.and_then(|agent| self.token.grants(agent)).unwrap_or_default();
        let mut inspector = Inspector { allow: &self.guard.allow, held, named: NamedIds::default() };
        inspector.query(self.grant.query, &mut self.query)?;
        self.named = inspector.named;
        for (_, agent) in &self.named.agents {
            self.check_covered(agent)?;
        }
        if self.grant.agent == AgentSource::Conversation {
            self.named.default_conversation |= self.params.find("conversation_id") == Some(DEFAULT_CONVERSATION);
        }
        match self.check_bound() {
            // The body may name one yet.
            Err(_) if self.grant.names_agent_in_body() => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// What is every agent's, such as the `default` conversation, proves nothing wherever it is named: an agent must be
    /// named beside it, in the path, the query or the body. So it must where nothing else leads to one.
    fn check_bound(&self) -> Result<(), Denial> {
        let names_agent = self.agent_in_path().is_some() || !self.named.agents.is_empty();
        let leads_nowhere = self.grant.agent == AgentSource::Query && self.named.conversations.is_empty();
        if !names_agent && (self.named.default_conversation || leads_nowhere) {
            return Err(Denial::AgentNotNamed);
        }
        Ok(())
    }

    /// The agent that the path itself names.
    fn agent_in_path(&self) -> Option<&str> {
        match self.grant.agent {
            AgentSource::Path => self.params.find("agent_id"),
            AgentSource::Conversation => self.params.find("conversation_id").filter(|id| ids::is_letta_id(id, "agent")),
            AgentSource::Run | AgentSource::Step | AgentSource::Query => None,
        }
    }

    fn check_covered(&self, agent: &str) -> Result<(), Denial> {
        match self.token.grants(agent) {
            None => Err(Denial::AgentNotInPolicy { agent: shown(agent) }),
            Some(held) if !held.contains(self.grant.access) => {
                Err(Denial::AccessNotGranted { needed: self.grant.access, held, agent: shown(agent) })
            }
            Some(_) => Ok(()),
        }
    }

    /// Reads and rebuilds the body. An operation without body fields has none: what is sent is not read.
    async fn check_body(&mut self, headers: &HeaderMap, body: Body) -> Result<Value, ApiError> {
        if self.grant.body.is_empty() {
            return Ok(Value::Null);
        }
        let body = body.at_most(self.guard.body_bytes)?;
        self.body_slot = self.guard.quotas.hold_body(self.token, &body.size_hint())?;
        // Nobody sends on behalf of a token that is no more.
        let Ok(bytes) = timeout(self.token.time_left(clock::now_millis()), input::read(body)).await else {
            self.guard.bearers.check_live(self.token)?;
            return Err(Fault::TooSlow.into());
        };
        let bytes = bytes?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        input::check_media_type(headers)?;
        let object = match json::parse(&bytes)? {
            Value::Object(object) => object,
            Value::Null => return Ok(Value::Null),
            other => {
                let problem = "Input should be a valid dictionary or object to extract fields from";
                return Err(ApiError::validation("model_attributes_type", &["body"], problem, &other));
            }
        };
        let named = std::mem::take(&mut self.named);
        let mut inspector = Inspector { allow: &self.guard.allow, held: AccessSet::default(), named };
        let granted = inspector.object(self.grant.body, At::Top, object)?;
        self.named = inspector.named;
        Ok(Value::Object(granted))
    }

    /// Existence: finds the agent the request is about and proves that all it names belongs to it. For a client token
    /// "not found" and "not yours" are the same.
    async fn prove(&self, ownership: &impl Ownership) -> Result<String, ApiError> {
        self.check_bound()?;
        let agent = match self.grant.agent {
            AgentSource::Path => self.params.find("agent_id").unwrap_or_default().to_owned(),
            AgentSource::Run => self.owner_of("Run", self.params.find("run_id"), Owned::Run, ownership).await?,
            AgentSource::Step => self.owner_of("Step", self.params.find("step_id"), Owned::Step, ownership).await?,
            AgentSource::Conversation => self.conversation_agent(ownership).await?,
            AgentSource::Query => match self.named.agents.first() {
                Some((_, agent)) => agent.clone(),
                None => {
                    let first = self.named.conversations.first().map(String::as_str);
                    self.owner_of("Conversation", first, Owned::Conversation, ownership).await?
                }
            },
        };
        for (field, named) in &self.named.agents {
            self.check_covered(named)?;
            if self.grant.agent != AgentSource::Query && *named != agent {
                let hint = "it must be the agent that the path leads to";
                return Err(Denial::FieldNotGranted { field: field.clone(), hint }.into());
            }
        }
        let is_list = self.grant.agent == AgentSource::Query;
        for run in &self.named.runs {
            self.must_own("Run", run, &agent, is_list, Owned::Run, ownership).await?;
        }
        for conversation in &self.named.conversations {
            self.must_own("Conversation", conversation, &agent, is_list, Owned::Conversation, ownership).await?;
        }
        if !self.named.cursors.is_empty() {
            self.prove_cursors(&agent, ownership).await?;
        }
        self.prove_second(&agent, ownership).await?;
        Ok(agent)
    }

    /// A cursor must not tell a stranger's thing from one that is not there, nor where in time it lies.
    async fn prove_cursors(&self, agent: &str, ownership: &impl Ownership) -> Result<(), ApiError> {
        let named: Vec<&str> = self.named.agents.iter().map(|(_, agent)| agent.as_str()).collect();
        // A list of several agents' things holds those of each.
        let agents = if named.is_empty() { &[agent][..] } else { &named };
        for (listed, cursor) in &self.named.cursors {
            if !ownership.lists(&self.token.project, agents, *listed, cursor).await? {
                return Err(not_found(listed.class(), cursor));
            }
        }
        Ok(())
    }

    async fn conversation_agent(&self, ownership: &impl Ownership) -> Result<String, ApiError> {
        let id = self.params.find("conversation_id").unwrap_or_default();
        if ids::is_letta_id(id, "agent") {
            Ok(id.to_owned())
        } else if id == DEFAULT_CONVERSATION {
            let named = self.named.agents.first().map(|(_, agent)| agent.clone());
            named.ok_or_else(|| Denial::AgentNotNamed.into())
        } else {
            self.owner_of("Conversation", Some(id), Owned::Conversation, ownership).await
        }
    }

    async fn owner_of<'b, O: Ownership>(
        &self,
        class: &str,
        id: Option<&'b str>,
        thing: fn(&'b str) -> Owned<'b>,
        ownership: &O,
    ) -> Result<String, ApiError> {
        let id = id.unwrap_or_default();
        let owner = ownership.owner(&self.token.project, thing(id)).await?;
        let covered = owner
            .filter(|owner| self.token.grants(owner.as_str()).is_some_and(|held| held.contains(self.grant.access)));
        covered.map(String::from).ok_or_else(|| not_found(class, id))
    }

    async fn must_own<'b, O: Ownership>(
        &self,
        class: &str,
        id: &'b str,
        agent: &str,
        any_covered: bool,
        thing: fn(&'b str) -> Owned<'b>,
        ownership: &O,
    ) -> Result<(), ApiError> {
        let owner = self.owner_of(class, Some(id), thing, ownership).await?;
        if any_covered || owner == agent { Ok(()) } else { Err(not_found(class, id)) }
    }

    async fn prove_second(&self, agent: &str, ownership: &impl Ownership) -> Result<(), ApiError> {
        let Some(second) = self.grant.second else { return Ok(()) };
        let find = |name| self.params.find(name).unwrap_or_default();
        match second {
            Second::Passage => {
                self.must_be_of(agent, "Passage", find("memory_id"), Owned::Passage, ownership).await?;
                self.check_unshared(agent, Shared::Archive, ownership).await
            }
            Second::File => self.must_be_of(agent, "File", find("file_id"), Owned::File, ownership).await,
            Second::ScheduledMessage => {
                let id = find("scheduled_message_id");
                self.must_be_of(agent, "Scheduled message", id, Owned::ScheduledMessage, ownership).await
            }
            Second::UnsharedBlock => self.check_unshared(agent, Shared::Block(find("block_label")), ownership).await,
            Second::UnsharedArchive => self.check_unshared(agent, Shared::Archive, ownership).await,
        }
    }

    async fn must_be_of<'b, O: Ownership>(
        &self,
        agent: &str,
        class: &str,
        id: &'b str,
        thing: fn(&'b str) -> Owned<'b>,
        ownership: &O,
    ) -> Result<(), ApiError> {
        let is_owned = ownership.owns(&self.token.project, agent, thing(id)).await?;
        if is_owned { Ok(()) } else { Err(not_found(class, id)) }
    }

    async fn check_unshared(&self, agent: &str, thing: Shared<'_>, ownership: &impl Ownership) -> Result<(), ApiError> {
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

/// What a caller sent, at a length that can be repeated in a sentence.
fn shown(text: &str) -> String {
    text.chars().take(128).filter(|c| !c.is_control()).collect()
}

fn method_not_allowed(methods: &[Method]) -> ApiError {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let names = names.join(", ");
    let error =
        ApiError::letta(Code::MethodNotAllowed, "Method Not Allowed").saying(format!("This path takes {names} only."));
    match HeaderValue::from_str(&names) {
        Ok(value) => error.header(header::ALLOW, value),
        Err(_) => error,
    }
}
