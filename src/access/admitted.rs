//! What the guard hands out about a request that it admits.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::{Attempt, Operation, Params, Permit, quota::ConcurrencyPermit, redactor::Redactor};
use crate::{
    error::ApiError,
    model::AgentId,
    request::{
        headers::AllowedHeaders,
        input::{self, Payload, Query},
        json,
    },
    world,
};

/// A request that may be handled.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are calls, and each is taken apart where it arrives")]
pub(crate) enum Admission {
    /// An operation that anyone may call without a bearer: a health check.
    Public,
    /// An operation that this caller may call.
    Call(Admitted),
}

/// An admitted call, with what applies to its response.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// What the handler gets.
    pub call: Call,
    /// What is removed from the response.
    pub redactor: Redactor,
    /// One of the token's streams, where the operation takes one and they are limited.
    pub(crate) stream_permit: Option<ConcurrencyPermit>,
    /// One of the token's large bodies, where the body is large and they are limited; held until there is a response.
    pub(crate) body_permit: Option<ConcurrencyPermit>,
}

/// What Gatelet's own calls of the API need when it serves an admitted call, about one agent, by others. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct OnBehalf {
    permit: Permit,
    agent: AgentId,
    attempt: Option<Arc<dyn Attempt>>,
}

impl OnBehalf {
    /// Of the caller of a call, for the agent that it is about; `None` if it is about none.
    #[must_use]
    pub(crate) fn of(call: &Call) -> Option<Self> {
        let agent = call.agents.first()?.clone();
        Some(Self { permit: call.permit.clone(), agent, attempt: call.attempt.clone() })
    }

    /// The agent.
    #[must_use]
    pub(crate) fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// A call of another operation for the same caller. It must be about the agent and nothing else, and nothing in it may be
    /// what a client token sent unchecked.
    #[must_use]
    pub(crate) fn call(&self, operation: Operation, params: Params, query: Query, body: Value) -> Call {
        Call {
            operation,
            params,
            query,
            headers: AllowedHeaders::default(),
            permit: self.permit.clone(),
            payload: Payload::Checked(body),
            agents: vec![self.agent.clone()],
            attempt: self.attempt.clone(),
        }
    }
}

/// A request as its handler sees it: every part was checked, and nothing else of the request reaches a handler.
#[derive(Debug)]
pub struct Call {
    /// The operation.
    pub operation: Operation,
    /// The decoded path parameters.
    pub params: Params,
    /// The query parameters: for a client token only those that the table grants.
    pub query: Query,
    /// The request's headers, without credentials.
    pub headers: AllowedHeaders,
    /// Proof that the guard admitted the request, and for whom.
    pub(crate) permit: Permit,
    /// The body.
    pub(crate) payload: Payload,
    /// Every agent that a client token's request reaches, each covered by the policy, the one that it is about first.
    /// Empty for an API key, whose request is not searched for agents.
    pub agents: Vec<AgentId>,
    /// Its place in the journal, if there is one.
    pub(crate) attempt: Option<Arc<dyn Attempt>>,
}

impl Call {
    /// A path parameter that the operation's template has.
    ///
    /// # Panics
    /// When the template has none of this name, a defect that the first test of the operation finds.
    #[must_use]
    pub(crate) fn param(&self, name: &str) -> &str {
        #[expect(clippy::expect_used, reason = "templates are constants, and every operation is called by a test")]
        self.params.find(name).expect("the template has this parameter")
    }

    /// The JSON body; `null` when there is none.
    ///
    /// # Errors
    /// 413 when it is too large, 415 when it is declared as something else, 422 when it is not JSON.
    pub async fn json(&mut self) -> Result<Value, ApiError> {
        match std::mem::replace(&mut self.payload, Payload::Checked(Value::Null)) {
            Payload::Checked(value) => Ok(value),
            Payload::Unread(body) => {
                let bytes = input::read(body).await?;
                if bytes.iter().all(u8::is_ascii_whitespace) {
                    return Ok(Value::Null);
                }
                input::check_media_type(&self.headers)?;
                let value: Value = json::from_slice(&bytes).map_err(|error| input::bad_json(&error))?;
                // A thing without a parent gets its id from its name.
                if let (true, Some(name)) = (self.params.is_empty(), value.get("name").and_then(Value::as_str)) {
                    world::qualify_scope(name);
                }
                Ok(value)
            }
        }
    }

    /// The body as it was sent; empty when it was read before, as a client token's is.
    ///
    /// # Errors
    /// 413 when it is too large, 400 when it breaks off.
    pub async fn bytes(&mut self) -> Result<Bytes, ApiError> {
        match std::mem::replace(&mut self.payload, Payload::Checked(Value::Null)) {
            Payload::Checked(_) => Ok(Bytes::new()),
            Payload::Unread(body) => input::read(body).await,
        }
    }
}
