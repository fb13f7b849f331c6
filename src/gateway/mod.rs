//! The gateway: forwards admitted requests to a real Letta server.
//!
//! Requests are rebuilt from checked values. The target is the operation's template filled with the checked parameters,
//! headers pass an allow-list and carry the gateway's own credential, and a client token's body is serialized from the
//! checked value. Responses pass frame by frame, unless the table demands that they are redacted.

mod connections;
mod error;
mod field_extractor;
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

/// A gateway to one Letta server, or to several that each keep some projects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<GatewayState>);

#[derive(Debug)]
struct GatewayState {
    upstreams: Vec<ServedUpstream>,
    /// The index of each project's upstream.
    by_project: HashMap<Project, usize>,
    /// The index of the upstream for all other projects.
    fallback: Option<usize>,
}

/// An upstream, with its own connection pool and its own caches of look-ups.
#[derive(Debug)]
struct ServedUpstream {
    name: String,
    upstream: Upstream,
    ownership: OwnershipLookup,
    /// Whether it keeps only one project, so that everything on it belongs to the caller's project.
    is_exclusive: bool,
}

impl Gateway {
    /// The gateway to the upstreams of the settings, or `None` if they name none. Connects to nothing yet.
    ///
    /// # Errors
    /// When a setting of an upstream is invalid. The error names the setting.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Option<Self>, UpstreamError> {
        let all = UpstreamOptions::all(settings)?;
        if all.is_empty() {
            return Ok(None);
        }
        let mut state = GatewayState { upstreams: Vec::new(), by_project: HashMap::new(), fallback: None };
        for (index, options) in all.into_iter().enumerate() {
            let upstream = Upstream::new(&options)?;
            state.upstreams.push(ServedUpstream {
                ownership: OwnershipLookup::new(upstream.clone()),
                upstream,
                is_exclusive: options.is_exclusive,
                name: options.name.unwrap_or_else(|| DEFAULT.to_owned()),
            });
            if options.projects.is_empty() {
                state.fallback = Some(index);
            }
            state.by_project.extend(options.projects.into_iter().map(|project| (project, index)));
        }
        Ok(Some(Self(Arc::new(state))))
    }

    /// A gateway without upstreams, before which every operation is 404.
    #[must_use]
    pub(crate) fn without_upstream() -> Self {
        Self(Arc::new(GatewayState { upstreams: Vec::new(), by_project: HashMap::new(), fallback: None }))
    }

    /// The name of every upstream, and whether it passes its health check.
    pub(crate) async fn reachability(&self) -> Vec<(&str, bool)> {
        let checks = self.0.upstreams.iter().map(async |served| (&*served.name, served.upstream.is_reachable().await));
        join_all(checks).await
    }

    /// Forwards a call and returns the response. If `redaction` requires that the response is read whole, its size is added
    /// to `charge`.
    ///
    /// # Errors
    /// 400 when a caller that is limited to a project names something twice; 404 when no upstream serves the caller's
    /// project, or what the call names is not proven to belong to it; 429 when the response exceeds the caller's budget; 502
    /// and 504 when the upstream fails.
    pub(crate) async fn forward(
        &self,
        call: Call,
        redaction: Redaction,
        charge: &mut Charge<'_>,
    ) -> Result<Reply, ApiError> {
        let served = self.upstream_for(call.permit.project())?;
        if !served.is_exclusive
            && let Some(project) = project_limit(&call.permit)
        {
            let is_proven = match NamedResources::by(&call)? {
                Some(named) => named.are_of(&served.ownership, project).await?,
                None => false,
            };
            if !is_proven {
                return Err(not_found(&call.params));
            }
        }
        let row = call.operation.row();
        let target = target::build(call.operation, &call.params, &call.query)?;
        let is_client = call.permit.client_token().is_some();
        let mut headers = UpstreamHeaders::new(call.headers);
        set_project_headers(&call.permit, &mut headers);
        let body = body(call.payload, &mut headers)?;
        let response = served.upstream.send(UpstreamRequest { method: row.method.clone(), target, headers, body });
        let response = waits::wait_for_response(pin!(response)).await?;
        response::pass(response, redaction, is_client, charge).await
    }

    /// The agent that owns a thing on the project's upstream, if the thing itself names it.
    ///
    /// # Errors
    /// 404 when no upstream serves the project; 502 and 504 when it fails.
    pub(crate) async fn owner(&self, project: &Project, thing: Owned<'_>) -> Result<Option<AgentId>, ApiError> {
        self.upstream_for(project)?.ownership.owner(thing).await
    }

    /// Whether the project's upstream proves that a thing belongs to `agent`.
    ///
    /// # Errors
    /// Those of [`Gateway::owner`].
    pub(crate) async fn owns(&self, project: &Project, agent: &AgentId, thing: Owned<'_>) -> Result<bool, ApiError> {
        self.upstream_for(project)?.ownership.owns(agent, thing).await
    }

    /// Whether the project's upstream proves that a thing is in a list of these agents.
    ///
    /// # Errors
    /// Those of [`Gateway::owner`].
    pub(crate) async fn lists(
        &self,
        project: &Project,
        agents: &[AgentId],
        listed: Listed,
        id: &str,
    ) -> Result<bool, ApiError> {
        self.upstream_for(project)?.ownership.lists(agents, listed, id).await
    }

    /// All agents that share a thing with `agent`; `None` if the upstream does not tell.
    ///
    /// # Errors
    /// Those of [`Gateway::owner`].
    pub(crate) async fn sharers(
        &self,
        project: &Project,
        agent: &AgentId,
        thing: Shared<'_>,
    ) -> Result<Option<Vec<AgentId>>, ApiError> {
        self.upstream_for(project)?.ownership.sharers(agent, thing).await
    }

    /// The upstream that serves a project.
    fn upstream_for(&self, project: &Project) -> Result<&ServedUpstream, ApiError> {
        let index = self.0.by_project.get(project).copied().or(self.0.fallback);
        index.and_then(|index| self.0.upstreams.get(index)).ok_or_else(|| {
            let sentence = if self.0.upstreams.is_empty() {
                "Only an App Server is behind Gatelet, at /ws; operations of the Letta API need --upstream.".to_owned()
            } else {
                format!("No Letta server for project {project} is configured in Gatelet.")
            };
            ApiError::new(Code::NotFound, sentence)
        })
    }
}

/// The project that a caller is limited to.
fn project_limit(permit: &Permit) -> Option<&Project> {
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
fn set_project_headers(permit: &Permit, headers: &mut UpstreamHeaders) {
    for name in permit.project_headers() {
        if let Ok(value) = HeaderValue::from_str(permit.project().as_str()) {
            headers.add(name.clone(), value);
        }
    }
}

/// The body to forward: an API key's unread, a client token's as it was checked. Sets the headers that describe it.
fn body(payload: Payload, headers: &mut UpstreamHeaders) -> Result<Body, ApiError> {
    match payload {
        Payload::Unread(body) => {
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
                if let Some(value) = headers.end_to_end(&name).cloned() {
                    headers.add(name, value);
                }
            }
            Ok(body)
        }
        Payload::Checked(Value::Null) => Ok(Body::Empty),
        Payload::Checked(value) => {
            headers.add(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(Body::from(serde_json::to_vec(&value).map_err(ApiError::internal)?))
        }
    }
}
