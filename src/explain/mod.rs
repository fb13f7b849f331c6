//! Explains what the guard would decide about a request, without doing anything: for the control API and the command line.
//!
//! The guard itself decides, about a request that nobody sends. What it writes down as it decides is the explanation.

mod operations;

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, header, request::Parts};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    access::{Bearer, Guard, Outcome, Ownership, RequestContext, Step},
    api::TokenRequest,
    clock::{Clock, Millis},
    credentials::ClientToken,
    error::{ApiError, Code},
    model::Project,
    request::body::Body,
};

pub(crate) use operations::Row;
use operations::operations;

/// How long a token lives that is only thought of, as one whose request names no expiry.
const LIFETIME: Millis = 5 * 60 * 1000;

/// What is to be explained: a caller and, unless only the operations are wanted, its request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Question {
    /// The caller's client token or API key. Without this and `policy` the request has no bearer.
    pub(crate) token: Option<String>,
    /// The policy of a client token that is only thought of: it is neither signed nor stored.
    pub(crate) policy: Option<Value>,
    /// The origin that such a token is bound to; by default that of the request.
    pub(crate) hostname: Option<String>,
    /// The `Origin` header; `None` if the request has none.
    pub(crate) origin: Option<String>,
    /// The method.
    pub(crate) method: Option<String>,
    /// The path and query.
    pub(crate) path: Option<String>,
    /// The JSON body; `None` if the request has none.
    pub(crate) body: Option<Value>,
    /// Whether every operation is to be explained for this caller.
    pub(crate) operations: bool,
}

/// What the guard decides.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    /// Whether the request would be handled.
    pub(crate) outcome: Outcome,
    /// The status of the refusal; `None` for a request that is admitted, since nothing handles it here.
    pub(crate) status: Option<u16>,
    /// The code of the refusal.
    pub(crate) code: Option<&'static str>,
    /// The sentence of the refusal.
    pub(crate) message: Option<String>,
    /// The operation; `None` if the path and method match none.
    pub(crate) operation: Option<&'static str>,
    /// The fields and parameters that the guard drops, since Letta does not know them.
    pub(crate) dropped_fields: Vec<String>,
    /// The steps of the decision, in order. The last one of a refusal is the one that refused.
    pub(crate) steps: Vec<Step>,
}

/// The answer to a question.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// About one request.
    Request(Explanation),
    /// About every operation.
    Operations {
        /// A row for each, in the order of the table.
        operations: Vec<Row>,
    },
}

/// Answers a question.
///
/// # Errors
/// When the question itself is malformed: 400 or 422 with its place. What the guard refuses is an answer.
pub(crate) async fn explain(
    question: &Question,
    guard: &Guard,
    ownership: &impl Ownership,
    clock: &Clock,
) -> Result<Answer, ApiError> {
    let caller = caller(question, clock.now_millis())?;
    let mut context = RequestContext::with_steps();
    if question.operations {
        if question.method.is_some() || question.path.is_some() {
            return Err(invalid("operations", "is for every operation: leave out method and path"));
        }
        let head = head("GET", "/", question)?;
        let identified = guard.identify_only(caller, &head, &mut context).await;
        return Ok(Answer::Operations { operations: operations(identified.as_ref()) });
    }
    let method = question.method.as_deref().ok_or_else(|| invalid("method", "must be given, such as GET"))?;
    let path = question.path.as_deref().ok_or_else(|| invalid("path", "must be given, such as /v1/agents/"))?;
    let mut head = head(method, path, question)?;
    let body = question.body.as_ref().map_or(Body::Empty, |body| Body::Whole(Bytes::from(body.to_string())));
    let decided = guard.explain(caller, &mut head, body, ownership, &mut context).await;
    let refusal = decided.as_ref().err();
    Ok(Answer::Request(Explanation {
        outcome: if refusal.is_some() { Outcome::Denied } else { Outcome::Admitted },
        status: refusal.map(|refusal| refusal.status().as_u16()),
        code: refusal.map(|refusal| refusal.code().word()),
        message: refusal.map(|refusal| refusal.message().to_owned()),
        operation: context.operation.map(|operation| operation.row().name),
        dropped_fields: context.dropped_fields,
        steps: context.steps.unwrap_or_default(),
    }))
}

/// The client token that is only thought of, if the question has a policy.
fn caller(question: &Question, now: Millis) -> Result<Option<Bearer>, ApiError> {
    let Some(policy) = &question.policy else {
        return match &question.hostname {
            Some(_) => Err(invalid("hostname", "belongs to a policy; a token has its own")),
            None => Ok(None),
        };
    };
    if question.token.is_some() {
        return Err(invalid("policy", "stands in for a token: send one of them"));
    }
    let anywhere = question.operations.then_some("http://localhost");
    let hostname = question.hostname.as_deref().or(question.origin.as_deref()).or(anywhere);
    let hostname = hostname.ok_or_else(|| invalid("hostname", "must be given with a policy, unless origin is"))?;
    let request = TokenRequest::parse(&json!({"policy": policy, "hostname": hostname})).map_err(|error| {
        let is_policy = error.message().starts_with("policy");
        error.at(if is_policy { "/policy" } else { "/hostname" })
    })?;
    let (policy, hostname) = request.into_parts();
    let token = ClientToken::unsigned(&policy, &hostname, Project::default(), now..now.saturating_add(LIFETIME));
    Ok(Some(Bearer::ClientToken(token.into())))
}

/// The head of the request.
fn head(method: &str, path: &str, question: &Question) -> Result<Parts, ApiError> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| invalid("method", "must be a method of HTTP"))?;
    let uri: Uri = path.parse().map_err(|_| invalid("path", "must be a path, with a query or without"))?;
    let (mut head, ()) = http::Request::new(()).into_parts();
    (head.method, head.uri) = (method, uri);
    let mut set = |name, value: &str, field| match HeaderValue::from_str(value) {
        Ok(value) => {
            head.headers.insert(name, value);
            Ok(())
        }
        Err(_) => Err(invalid(field, "must be text that a header may have")),
    };
    if let Some(token) = &question.token {
        set(header::AUTHORIZATION, &format!("Bearer {token}"), "token")?;
    }
    if let Some(origin) = &question.origin {
        set(header::ORIGIN, origin, "origin")?;
    }
    if question.body.is_some() {
        set(header::CONTENT_TYPE, "application/json", "body")?;
    }
    Ok(head)
}

fn invalid(field: &str, rule: &str) -> ApiError {
    ApiError::new(Code::ControlInvalid, format!("{field} {rule}.")).at(format!("/{field}"))
}
