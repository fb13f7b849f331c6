//! What the rules look at in an entry.

use std::hash::{BuildHasher, Hash};

use foldhash::quality::FixedState;
use serde_json::Value;

use crate::{
    access::{Operation, Outcome},
    journal::{CallerKind, Entry, SentBody, is_send},
};

/// How long after a response a client can have read it, in microseconds. A request that arrives sooner may have been sent
/// before.
pub(super) const REACTION: i64 = 250_000;

/// One second in microseconds.
pub(super) const SECOND: i64 = 1_000_000;

/// A number that stands for a caller, a conversation or a text.
pub(super) type Key = u64;

/// A request.
pub(super) struct Seen<'a> {
    pub(super) entry: &'a Entry,
    /// Who sent it: a client token or an API key.
    pub(super) caller: Option<Key>,
    /// When it arrived, in microseconds by the real clock.
    pub(super) arrived: i64,
    /// The same by the namespace's clock.
    pub(super) arrived_in_world: i64,
    /// What it concerns: the conversation, and the agent. 0 for none.
    pub(super) threads: Threads,
    pub(super) kind: Kind,
    /// The number of the SDK's attempt, from 0.
    pub(super) attempt: u32,
}

/// What a request is, as far as conversations are concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Sends messages.
    Send,
    /// Reads what happened: runs, streams, the history, the agent.
    Look,
    /// Ends what is pending: cancels, resets, deletes.
    Settle,
    Other,
}

/// A conversation and its agent; the first that there is stands for both.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Threads {
    conversation: Key,
    agent: Key,
}

impl Threads {
    /// The conversation; the agent's default one is the agent.
    pub(super) fn main(self) -> Option<Key> {
        [self.conversation, self.agent].into_iter().find(|key| *key != 0)
    }

    /// Whether a request that concerns these concerns `other` as well. One that names neither conversation nor agent, such as
    /// by its run, may concern any.
    pub(super) fn cover(self, other: Self) -> bool {
        let same = |one: Key, another: Key| one != 0 && one == another;
        self.main().is_none() || same(self.conversation, other.conversation) || same(self.agent, other.agent)
    }
}

impl<'a> Seen<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        let kind = entry.operation.map_or(Kind::Other, kind);
        let caller = &entry.caller;
        let caller = (caller.kind != CallerKind::None).then(|| key((&caller.jti, &caller.key)));
        let attempt = entry.sent.headers.get("x-stainless-retry-count").and_then(|count| count.parse().ok());
        Self {
            entry,
            caller,
            arrived: entry.real_at.timestamp_micros(),
            arrived_in_world: entry.at.timestamp_micros(),
            threads: if kind == Kind::Other { Threads::default() } else { threads(entry) },
            kind,
            attempt: attempt.unwrap_or(0),
        }
    }

    /// Whether the guard has admitted it.
    pub(super) fn is_admitted(&self) -> bool {
        self.entry.decision.outcome == Some(Outcome::Admitted)
    }

    /// When its response ended, in microseconds by the real clock.
    pub(super) fn ended(&self) -> i64 {
        let ms = self.entry.answer.as_ref().and_then(|answer| answer.ended_ms).unwrap_or(0);
        self.arrived.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000))
    }

    /// The same request again: caller, method, target and body.
    pub(super) fn whole(&self) -> Key {
        let body = self.entry.sent.body.as_ref().map(SentBody::text);
        key((self.caller, &self.entry.method, &self.entry.target, body, self.entry.sent.body_bytes))
    }

    /// The same target again: caller, method, path and query.
    pub(super) fn target(&self) -> Key {
        key((self.caller, &self.entry.method, &self.entry.target))
    }

    /// Whether a browser sent it, as it says itself.
    pub(super) fn is_from_browser(&self) -> bool {
        self.entry.sent.headers.get("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"))
    }

    /// The body, if it is JSON.
    pub(super) fn body(&self) -> Option<Value> {
        self.entry.sent.body.as_ref().and_then(SentBody::json)
    }
}

/// Equal values have equal keys.
pub(super) fn key(value: impl Hash) -> Key {
    // 0 stands for none.
    FixedState::default().hash_one(value).max(1)
}

fn kind(operation: Operation) -> Kind {
    if is_send(operation) {
        return Kind::Send;
    }
    let row = operation.row();
    let is_about_turns =
        ["/v1/agents/", "/v1/conversations/", "/v1/runs/", "/v1/steps/", "/v1/messages/", "/v1/groups/"]
            .iter()
            .any(|begin| row.template.starts_with(begin));
    match operation {
        Operation::StreamRun | Operation::StreamConversation | Operation::SearchMessages => Kind::Look,
        Operation::SearchAgentMessages => Kind::Look,
        Operation::CancelMessages | Operation::CancelConversation | Operation::ResetMessages => Kind::Settle,
        Operation::DeleteAgent | Operation::DeleteConversation | Operation::DeleteRun => Kind::Settle,
        _ if is_about_turns && row.method == http::Method::GET => Kind::Look,
        _ => Kind::Other,
    }
}

/// The conversation and the agent that a request names, or that the guard has found.
fn threads(entry: &Entry) -> Threads {
    let path = entry.target.split('?').next().unwrap_or_default();
    let conversation = path.strip_prefix("/v1/conversations/").map(|rest| rest.split('/').next().unwrap_or_default());
    let conversation = conversation.filter(|id| id.starts_with("conv-")).map_or(0, key);
    let in_query = || {
        form_urlencoded::parse(entry.target.split_once('?')?.1.as_bytes()).find(|(name, _)| name == "conversation_id")
    };
    let conversation = match conversation {
        0 if entry.target.contains("conversation_id=") => {
            in_query().filter(|(_, id)| id.starts_with("conv-")).map_or(0, |(_, id)| key(&*id))
        }
        conversation => conversation,
    };
    // In the place of a conversation, an agent's id stands for its default one.
    let in_path = path.strip_prefix("/v1/conversations/").map(|rest| rest.split('/').next().unwrap_or_default());
    let in_path = in_path.filter(|id| id.starts_with("agent-"));
    let in_body = || {
        let is_named = entry.sent.body.as_ref().is_some_and(|body| body.text().contains("\"agent_id\""));
        let body = if is_named { entry.sent.body.as_ref()?.json() } else { None };
        Some(body?.get("agent_id")?.as_str()?.to_owned())
    };
    let agent = match (in_path.or(entry.agents.first().map(|agent| &**agent)), conversation) {
        (Some(agent), _) => key(agent),
        (None, 0) if path.starts_with("/v1/conversations/") => in_body().map_or(0, |agent| key(&*agent)),
        (None, _) => 0,
    };
    Threads { conversation, agent }
}
