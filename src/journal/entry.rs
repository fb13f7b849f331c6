//! One request, as the journal has it.
//!
//! An entry is a plain value without credentials. The journal keeps each behind one lock and completes it while the request
//! is handled; what it hands out is a copy, or a reference under that lock.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use crate::{
    access::{Operation, Outcome, Step},
    clock,
    credentials::ClientToken,
    model::{AccessSet, AgentId},
};

/// One request.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Entry {
    /// Its number in the namespace, from 1.
    pub(crate) id: u64,
    /// When it arrived, by the namespace's clock.
    #[serde(serialize_with = "instant")]
    pub(crate) at: DateTime<Utc>,
    /// When it arrived, by the operating system's clock.
    #[serde(serialize_with = "instant")]
    pub(crate) real_at: DateTime<Utc>,
    /// The namespace.
    pub(crate) namespace: Box<str>,
    /// Its request id, which is in the response and in the log as well.
    pub(crate) request_id: Box<str>,
    /// How far it is.
    pub(crate) phase: Phase,
    /// The operation; `None` if the path and method match none.
    #[serde(serialize_with = "operation_name")]
    pub(crate) operation: Option<Operation>,
    /// The method as it was sent.
    pub(crate) method: Box<str>,
    /// The path and query as they were sent, without credentials.
    pub(crate) target: Box<str>,
    /// The agents that it concerns: first those that the request names, as they were sent, then those that the guard found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) agents: Vec<Box<str>>,
    /// The refs of the seed, by kind: `{"agent": "helper"}`.
    pub(crate) refs: BTreeMap<&'static str, Box<str>>,
    /// Who sent it.
    pub(crate) caller: Identified,
    /// What was sent.
    pub(crate) sent: Sent,
    /// What was decided, and how.
    pub(crate) decision: Decision,
    /// The reply of the script, and why others did not match.
    pub(crate) reply: Option<Value>,
    /// The fault that was injected.
    pub(crate) fault: Option<Value>,
    /// The entry whose request this one repeats.
    pub(crate) retry_of: Option<u64>,
    /// The response; `None` until it begins.
    pub(crate) answer: Option<Answer>,
    /// The preflight that a browser sent before it.
    pub(crate) preflight: Option<Preflight>,
    /// The verdicts on the client.
    pub(crate) verdicts: Vec<&'static str>,
}

/// How far a request is. Later phases are greater.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Its head has arrived.
    #[default]
    Received,
    /// The guard has decided.
    Decided,
    /// The head of the response is made.
    Answering,
    /// The response has ended, whole or not.
    Finished,
}

/// Who sent a request.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Identified {
    /// The kind of the bearer.
    pub(crate) kind: CallerKind,
    /// The client token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<Box<str>>,
    /// The id of the API key, or of the one that issued the client token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Box<str>>,
    /// The origin that the client token is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin_bound: Option<Box<str>>,
    /// How long the client token was still valid when the request arrived; negative if it had expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in_ms: Option<i64>,
    /// The client token, for its policy.
    #[serde(skip)]
    pub(crate) token: Option<Arc<ClientToken>>,
}

/// The kind of a bearer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallerKind {
    /// A genuine client token; it may be expired or revoked.
    ClientToken,
    /// A valid API key.
    ApiKey,
    /// No bearer, or one that is not valid here.
    #[default]
    None,
}

/// What was sent.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sent {
    /// The `Origin` header.
    pub(crate) origin: Option<Box<str>>,
    /// The other headers that the journal keeps, by name in lower case.
    pub(crate) headers: BTreeMap<Box<str>, Box<str>>,
    /// The body, without credentials; `None` if there is none, or it was not read, or it is a file.
    pub(crate) body: Option<SentBody>,
    /// The length of the body, as far as it was read.
    pub(crate) body_bytes: u64,
    /// Whether `body` is only the beginning.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) body_cut: bool,
    /// The fields and parameters that the guard dropped, since Letta does not know them.
    pub(crate) dropped_fields: Vec<String>,
    /// Whether a credential was in the path or query, where none belongs.
    #[serde(skip)]
    pub(crate) has_credential_in_target: bool,
}

/// A body as it was sent.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum SentBody {
    /// JSON. It is kept as text, which takes less memory.
    Json(Box<RawValue>),
    /// Any other text.
    Text(Box<str>),
}

/// What was decided.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Decision {
    /// Whether the request was admitted; `None` until that is decided.
    pub(crate) outcome: Option<Outcome>,
    /// The steps, in order. The last one of a denial is the one that denied.
    pub(crate) steps: Vec<Step>,
    /// The access that an admitted request of a client token needed, by agent.
    #[serde(skip)]
    pub(crate) needed: Vec<(AgentId, AccessSet)>,
}

/// The response.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Answer {
    /// The status; `None` if the client left before there was one.
    pub(crate) status: Option<u16>,
    /// The code of an error.
    pub(crate) code: Option<&'static str>,
    /// The sentence of an error, which says what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<Box<str>>,
    /// How many events of a stream were handed over.
    pub(crate) frames: u64,
    /// How many bytes of the body were handed over.
    pub(crate) bytes: u64,
    /// When the first byte of the body was handed over, in milliseconds after the request arrived.
    pub(crate) first_byte_ms: Option<u64>,
    /// How it ended; `None` until it has.
    pub(crate) ended: Option<Ended>,
    /// Who ended it.
    pub(crate) by: Option<By>,
    /// When it ended, in milliseconds after the request arrived.
    pub(crate) ended_ms: Option<u64>,
    /// The run of the turn, if the response names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<Box<str>>,
    /// Why the turn ended, if the response says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_reason: Option<Box<str>>,
    /// How long the client is to wait before it tries again, by the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_ms: Option<u64>,
    /// Whether it is a stream of events.
    #[serde(skip)]
    pub(crate) is_stream: bool,
    /// Whether an event of the stream says that the turn failed.
    #[serde(skip)]
    pub(crate) has_error: bool,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// Whole.
    Done,
    /// Broken off by the server.
    Cut,
    /// The client closed it before it was whole.
    ClientLeft,
    /// Broken off since its client token expired or was revoked.
    #[serde(rename = "token_ended")]
    Token,
}

/// Who ended a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// Gatelet.
    Server,
    /// The client.
    Client,
}

/// A preflight.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Preflight {
    /// When it arrived, by the operating system's clock: it names no namespace.
    #[serde(serialize_with = "instant")]
    pub(crate) at: DateTime<Utc>,
    /// The status of its response.
    pub(crate) status: u16,
}

impl Entry {
    /// Whether the request concerns an agent, given by its id, by its ref in the seed, or as the request names it.
    pub(crate) fn concerns(&self, agent: &str) -> bool {
        self.refs.get("agent").is_some_and(|name| &**name == agent) || self.agents.iter().any(|id| &**id == agent)
    }

    /// The status of the response, once there is one.
    pub(crate) fn status(&self) -> Option<u16> {
        self.answer.as_ref().and_then(|answer| answer.status)
    }

    /// The code of an error.
    pub(crate) fn code(&self) -> Option<&'static str> {
        self.answer.as_ref().and_then(|answer| answer.code)
    }
}

impl SentBody {
    /// The body as it was sent, without credentials.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Json(json) => json.get(),
            Self::Text(text) => text,
        }
    }

    /// The value; `None` for a body that is not JSON. It is parsed each time.
    pub(crate) fn json(&self) -> Option<Value> {
        match self {
            Self::Json(json) => serde_json::from_str(json.get()).ok(),
            Self::Text(_) => None,
        }
    }
}

impl Phase {
    /// Every phase, in order.
    pub(crate) const ALL: [Self; 4] = [Self::Received, Self::Decided, Self::Answering, Self::Finished];

    /// The word on the wire.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Decided => "decided",
            Self::Answering => "answering",
            Self::Finished => "finished",
        }
    }
}

impl CallerKind {
    /// Every kind.
    pub(crate) const ALL: [Self; 3] = [Self::ClientToken, Self::ApiKey, Self::None];

    /// The word on the wire.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::ClientToken => "client_token",
            Self::ApiKey => "api_key",
            Self::None => "none",
        }
    }
}

fn instant<S: Serializer>(instant: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&clock::format_micros(*instant))
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference to the field")]
fn operation_name<S: Serializer>(operation: &Option<Operation>, serializer: S) -> Result<S::Ok, S::Error> {
    operation.map(|operation| operation.row().name).serialize(serializer)
}
