//! The gateway: what the guard admits goes to a real Letta server, rebuilt from what was decided about it.
//!
//! Nothing of the client's request line or headers is passed on as it came. The target is the operation's template filled
//! with the checked values, the headers are an allow-list with the gateway's own credential, and a client token's body is
//! the checked value written anew. Answers pass frame by frame, unless the table says that something is to be removed.

mod answer;
mod connections;
mod headers;
mod ownership;
mod target;
mod upstream;

use std::{pin::pin, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

pub use self::upstream::UpstreamError;
use self::{ownership::Look, upstream::Upstream};
use crate::{
    access::{
        Caller, Grant, Operation, Owned, Params, Permit, Shared,
        grant::{AgentSource, Redaction},
        is_letta_id,
    },
    body::Body,
    call::{Call, Payload, Query, Reply},
    config::Secret,
    error::{ApiError, Code},
    model::{AgentId, Project},
    stopwatch,
};

/// How the gateway reaches its upstream.
#[derive(Clone, Debug)]
pub struct Options {
    /// The upstream's base URL: scheme and authority.
    pub url: String,
    /// The gateway's own credential there.
    pub api_key: Option<Secret>,
    /// A file of PEM certificates to trust beside the system's.
    pub ca_file: Option<std::path::PathBuf>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the head of an answer may take.
    pub first_byte_timeout: Duration,
    /// How long an answer may pause between two frames.
    pub idle_timeout: Duration,
}

/// A gateway to one Letta server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<State>);

#[derive(Debug)]
struct State {
    upstream: Upstream,
    look: Look,
}

impl Gateway {
    /// A gateway with its own pool of connections. Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL or the certificates cannot be used.
    pub fn new(options: &Options) -> Result<Self, UpstreamError> {
        let upstream = Upstream::new(options)?;
        Ok(Self(Arc::new(State { look: Look::new(upstream.clone()), upstream })))
    }

    /// Whether the upstream answers its health check.
    pub async fn is_reachable(&self) -> bool {
        self.0.upstream.is_reachable().await
    }

    /// Passes a call on and its answer back. `redaction` says whether something must be removed from the answer, which
    /// then has to be read whole.
    ///
    /// # Errors
    /// 404 when the agent is not proven to be of the caller's project; 502 and 504 when the upstream fails.
    pub async fn forward(&self, call: Call, redaction: Redaction) -> Result<Reply, ApiError> {
        // A caller that is limited to a project reaches only what is proven to be of it.
        if let Some(project) = limit_of(&call.permit).cloned() {
            let agent_in_body = match &call.payload {
                Payload::Checked(body) => body["agent_id"].as_str().map(str::to_owned),
                Payload::Unread(..) => None,
            };
            let about = About { operation: call.operation, params: &call.params, query: &call.query, agent_in_body };
            let is_proven = match self.agents_of(&about).await? {
                Some(agents) => self.are_of(&project, &agents).await?,
                None => false,
            };
            if !is_proven {
                return Err(not_found(&call.params));
            }
        }
        let row = call.operation.row();
        let target = target::build(row.template, &call.params, &call.query)?;
        let is_client = call.permit.client_token().is_some();
        let mut headers = headers::for_upstream(&call.headers, (!is_client).then(|| call.permit.project()));
        let body = body(call.payload, &call.headers, &mut headers)?;
        let answer = self.0.upstream.send(row.method.clone(), target, headers, body);
        let answer = stopwatch::wait_for_answer(pin!(answer)).await?;
        answer::pass(answer, redaction, is_client).await
    }

    /// The agent that a thing belongs to, as the upstream says; none: nothing proves whose it is.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub async fn owner(&self, thing: Owned<'_>) -> Result<Option<AgentId>, ApiError> {
        self.0.look.owner(thing).await
    }

    /// Every agent that shares a thing of `agent`'s; none: that cannot be told.
    ///
    /// # Errors
    /// 502 and 504 when the upstream fails.
    pub async fn sharers(&self, agent: &str, thing: Shared<'_>) -> Result<Option<Vec<AgentId>>, ApiError> {
        self.0.look.sharers(agent, thing).await
    }

    /// Every agent that a call is about, as the table says where calls of its kind name one; none: something it names has
    /// no owner that could be proven. Parameters that mean nothing to the operation prove nothing either.
    async fn agents_of(&self, about: &About<'_>) -> Result<Option<Vec<String>>, ApiError> {
        let mut agents = Vec::new();
        let mut things = Vec::new();
        agents.extend(about.params.find("agent_id").map(str::to_owned));
        things.extend(about.params.find("run_id").map(Owned::Run));
        things.extend(about.params.find("step_id").map(Owned::Step));
        let by_query = matches!(about.operation.grant(), Grant::Client(grant) if grant.agent == AgentSource::Query);
        let in_path = about.params.find("conversation_id");
        // `default` is led by agent_id in the query or in the body, whichever the operation reads.
        let reads_query = about.reads_agent_from_query();
        if by_query || (in_path == Some("default") && reads_query) {
            let named = ["agent_id", "agent_ids"].into_iter().flat_map(|name| about.query.all(name));
            agents.extend(named.map(str::to_owned));
        }
        let conversations = by_query.then(|| about.query.all("conversation_id")).into_iter().flatten().chain(in_path);
        for id in conversations {
            match id {
                "default" if !reads_query => agents.extend(about.agent_in_body.clone()),
                "default" => {}
                id if is_letta_id(id, "agent") => agents.push(id.to_owned()),
                id => things.push(Owned::Conversation(id)),
            }
        }
        for thing in things {
            match self.owner(thing).await? {
                Some(owner) => agents.push(owner.into()),
                None => return Ok(None),
            }
        }
        Ok((!agents.is_empty()).then_some(agents))
    }

    /// Whether all agents are of a project.
    async fn are_of(&self, project: &Project, agents: &[String]) -> Result<bool, ApiError> {
        for agent in agents {
            let present = self.0.look.project_of(agent).await?;
            if present.is_none_or(|present| *present != *project.as_str()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What of a call says which agents it is about.
struct About<'a> {
    operation: Operation,
    params: &'a Params,
    query: &'a Query,
    /// Only where the body was checked; one that passes unread proves nothing.
    agent_in_body: Option<String>,
}

impl About<'_> {
    fn reads_agent_from_query(&self) -> bool {
        let Grant::Client(grant) = self.operation.grant() else { return false };
        grant.query.iter().copied().flatten().any(|field| field.name == "agent_id")
    }
}

/// The project that a caller cannot leave.
fn limit_of(permit: &Permit) -> Option<&Project> {
    match permit.caller() {
        Caller::ClientToken(token) => Some(&token.project),
        Caller::ApiKey { key, .. } => key.project.as_ref(),
    }
}

fn not_found(params: &Params) -> ApiError {
    let detail = match params.find("agent_id") {
        Some(agent) => format!("Agent with ID {agent} not found"),
        None => "Not Found".to_owned(),
    };
    ApiError::letta(Code::NotFound, detail)
}

/// An API key's body as it comes, a client token's as it was checked.
fn body(payload: Payload, sent: &HeaderMap, headers: &mut HeaderMap) -> Result<Body, ApiError> {
    match payload {
        Payload::Unread(body) => {
            if let Some(encoding) = sent.get(header::CONTENT_ENCODING) {
                headers.insert(header::CONTENT_ENCODING, encoding.clone());
            }
            Ok(body)
        }
        Payload::Checked(Value::Null) => {
            headers.remove(header::CONTENT_TYPE);
            Ok(Body::Empty)
        }
        Payload::Checked(value) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(Body::from(serde_json::to_vec(&value).map_err(ApiError::internal)?))
        }
    }
}
