//! The gateway: what the guard admits goes to a real Letta server, rebuilt from what was decided about it.
//!
//! Nothing of the client's request line or headers is passed on as it came. The target is the operation's template filled
//! with the checked values, the headers are an allow-list with the gateway's own credential, and a client token's body is
//! the checked value written anew. Answers pass frame by frame, unless the table says that something is to be removed.

mod connections;
mod digest;
mod headers;
pub mod http1;
mod lookup_cache;
mod options;
mod ownership_lookup;
mod project;
mod response;
pub mod target;
mod upstream;
mod upstream_request;

use std::{collections::HashMap, pin::pin, sync::Arc};

use futures_util::future::join_all;
use http::{HeaderValue, header};
use serde_json::Value;

pub use self::options::UpstreamError;
use self::{
    options::{DEFAULT, UpstreamOptions},
    ownership_lookup::OwnershipLookup,
    project::NamedResources,
    upstream::Upstream,
    upstream_request::{UpstreamHeaders, UpstreamRequest},
};
use crate::{
    access::{
        Call, Caller, Charge, Owned, Params, Permit, Shared,
        grant::{Listed, Redaction},
    },
    config::Settings,
    error::{ApiError, Code},
    model::{AgentId, Project},
    reply::Reply,
    request::{body::Body, input::Payload, waits},
};

/// A gateway to one Letta server, or to several that keep different projects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<GatewayState>);

#[derive(Debug)]
struct GatewayState {
    upstreams: Vec<ServedUpstream>,
    /// Whose upstream is which, as an index.
    by_project: HashMap<Project, usize>,
    /// The upstream of all other projects.
    of_others: Option<usize>,
}

/// An upstream, with its own pool of connections and its own memory of what was looked up there.
#[derive(Debug)]
struct ServedUpstream {
    name: String,
    upstream: Upstream,
    look: OwnershipLookup,
    /// Whether it keeps nothing of any other project: then all that is there is of the caller's.
    serves_alone: bool,
}

impl Gateway {
    /// The gateway that the settings describe; none: they name no upstream. Nothing is connected yet.
    ///
    /// # Errors
    /// When an upstream cannot be used as it is described; the sentence names the setting.
    pub fn from_settings(settings: &Settings) -> Result<Option<Self>, UpstreamError> {
        let all = UpstreamOptions::all(settings)?;
        if all.is_empty() {
            return Ok(None);
        }
        let mut state = GatewayState { upstreams: Vec::new(), by_project: HashMap::new(), of_others: None };
        for (index, options) in all.into_iter().enumerate() {
            let upstream = Upstream::new(&options)?;
            state.upstreams.push(ServedUpstream {
                look: OwnershipLookup::new(upstream.clone()),
                upstream,
                serves_alone: options.serves_alone,
                name: options.name.unwrap_or_else(|| DEFAULT.to_owned()),
            });
            if options.projects.is_empty() {
                state.of_others = Some(index);
            }
            state.by_project.extend(options.projects.into_iter().map(|project| (project, index)));
        }
        Ok(Some(Self(Arc::new(state))))
    }

    /// Every upstream's name, and whether it answers its health check.
    pub async fn reachability(&self) -> Vec<(&str, bool)> {
        let checks = self.0.upstreams.iter().map(async |served| (&*served.name, served.upstream.is_reachable().await));
        join_all(checks).await
    }

    /// Passes a call on and its answer back. `redaction` says whether the answer has to be read whole, so that something can
    /// be removed from it; it is added to `charge` then.
    ///
    /// # Errors
    /// 400 when a limited caller names something twice; 404 when no upstream serves the caller's project, or what the call
    /// names is not proven to be of it; 429 when the caller may hold no answer as large; 502 and 504 when the upstream fails.
    pub async fn forward(&self, call: Call, redaction: Redaction, charge: &mut Charge<'_>) -> Result<Reply, ApiError> {
        let served = self.serving(call.permit.project())?;
        if !served.serves_alone
            && let Some(project) = limit_of(&call.permit)
        {
            let is_proven = match NamedResources::by(&call)? {
                Some(named) => named.are_of(&served.look, project).await?,
                None => false,
            };
            if !is_proven {
                return Err(not_found(&call.params));
            }
        }
        let row = call.operation.row();
        let target = target::build(row.template, &call.params, &call.query)?;
        let is_client = call.permit.client_token().is_some();
        let mut headers = UpstreamHeaders::of(call.headers);
        say_project(&call.permit, &mut headers);
        let body = body(call.payload, &mut headers)?;
        let answer = served.upstream.send(UpstreamRequest { method: row.method.clone(), target, headers, body });
        let answer = waits::wait_for_response(pin!(answer)).await?;
        response::pass(answer, redaction, is_client, charge).await
    }

    /// The agent that a thing belongs to, as the project's upstream says; none: the thing itself does not tell.
    ///
    /// # Errors
    /// 404 when no upstream serves the project; 502 and 504 when it fails.
    pub async fn owner(&self, project: &Project, thing: Owned<'_>) -> Result<Option<AgentId>, ApiError> {
        self.serving(project)?.look.owner(thing).await
    }

    /// Whether the project's upstream proves that a thing is `agent`'s.
    ///
    /// # Errors
    /// As [`Gateway::owner`].
    pub async fn owns(&self, project: &Project, agent: &AgentId, thing: Owned<'_>) -> Result<bool, ApiError> {
        self.serving(project)?.look.owns(agent, thing).await
    }

    /// Whether the project's upstream proves that a thing is in a list of these agents' things.
    ///
    /// # Errors
    /// As [`Gateway::owner`].
    pub async fn lists(
        &self,
        project: &Project,
        agents: &[AgentId],
        listed: Listed,
        id: &str,
    ) -> Result<bool, ApiError> {
        self.serving(project)?.look.lists(agents, listed, id).await
    }

    /// Every agent that shares a thing of `agent`'s; none: that cannot be told.
    ///
    /// # Errors
    /// As [`Gateway::owner`].
    pub async fn sharers(
        &self,
        project: &Project,
        agent: &AgentId,
        thing: Shared<'_>,
    ) -> Result<Option<Vec<AgentId>>, ApiError> {
        self.serving(project)?.look.sharers(agent, thing).await
    }

    /// The upstream that keeps a project.
    fn serving(&self, project: &Project) -> Result<&ServedUpstream, ApiError> {
        let index = self.0.by_project.get(project).copied().or(self.0.of_others);
        index.and_then(|index| self.0.upstreams.get(index)).ok_or_else(|| {
            ApiError::new(Code::NotFound, format!("There is no Letta server for project {project} behind Gatelet."))
        })
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

/// Names the project to the upstream in the headers in which an API key's request names it.
fn say_project(permit: &Permit, headers: &mut UpstreamHeaders) {
    for name in permit.project_headers() {
        if let Ok(value) = HeaderValue::from_str(permit.project().as_str()) {
            headers.say(name.clone(), value);
        }
    }
}

/// An API key's body as it comes, a client token's as it was checked; with what must be said about it.
fn body(payload: Payload, headers: &mut UpstreamHeaders) -> Result<Body, ApiError> {
    match payload {
        Payload::Unread(body) => {
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
                if let Some(value) = headers.end_to_end(&name).cloned() {
                    headers.say(name, value);
                }
            }
            Ok(body)
        }
        Payload::Checked(Value::Null) => Ok(Body::Empty),
        Payload::Checked(value) => {
            headers.say(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(Body::from(serde_json::to_vec(&value).map_err(ApiError::internal)?))
        }
    }
}
