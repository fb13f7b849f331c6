//! What becomes of frames, by the two tables.

#![expect(
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "frames are written inline, and a test that cannot go on fails"
)]

mod inbound;
mod matrix;
mod outbound;
mod recorded;

use serde_json::{Value, json};

use super::{
    Answer, Checked, Frame, Limits, Lookup, Outbound, Reflection, ServerInfo, SocketState, Stamp,
    state::{Expected, Runtime},
};
use crate::{
    app_server::Command,
    error::Code,
    model::{Access, AgentId, Policy, PolicyEntry},
};

pub(super) const AGENT: &str = "agent-local-00000000-0000-4000-8000-000000000001";
pub(super) const OTHER: &str = "agent-local-00000000-0000-4000-8000-000000000002";
pub(super) const CONVERSATION: &str = "local-conv-1";

pub(super) const STAMP: Stamp = Stamp { now: 1_795_852_800_000, id: uuid::Uuid::from_u128(7) };

pub(super) const LIMITS: Limits = Limits { runtimes: 8, allow_reflection: false };

pub(super) fn agent(id: &str) -> AgentId {
    id.parse().unwrap()
}

pub(super) fn policy(entries: &[(&str, &[Access])]) -> Policy {
    let mut policy = Policy::default();
    for (id, access) in entries {
        policy.add(PolicyEntry { id: agent(id), access: access.to_vec() });
    }
    policy
}

/// A socket whose policy grants these words on the agent. What the gate looks up is known: the conversation is the agent's,
/// another is another agent's, and nobody reflects.
pub(super) fn socket(access: &[Access]) -> SocketState {
    socket_of(&policy(&[(AGENT, access)]))
}

pub(super) fn socket_of(policy: &Policy) -> SocketState {
    let mut state = SocketState::of_policy(policy, LIMITS);
    for (conversation, owner) in [(CONVERSATION, AGENT), ("local-conv-2", OTHER)] {
        let lookup = Lookup::Owner { conversation: conversation.into() };
        state.learn(&lookup, Answer::Owner(Some(agent(owner))));
    }
    for id in [AGENT, OTHER] {
        state.learn(&Lookup::Reflection { agent: agent(id) }, Answer::Reflection(Reflection::Off));
    }
    state.learn(&Lookup::Info, Answer::Info(ServerInfo::unknown()));
    state
}

pub(super) fn all() -> SocketState {
    socket(&Access::ALL)
}

/// A socket with all words on the agent, on which the runtime is open.
pub(super) fn started() -> SocketState {
    let mut state = all();
    open(&mut state, AGENT, CONVERSATION);
    state
}

pub(super) fn open(state: &mut SocketState, id: &str, conversation: &str) {
    let mut runtime = Runtime::starting(agent(id), Some(conversation.into()));
    (runtime.is_open, runtime.starts) = (true, 0);
    state.runtimes.push(runtime);
}

pub(super) fn runtime() -> Value {
    json!({"agent_id": AGENT, "conversation_id": CONVERSATION})
}

pub(super) fn check(state: &mut SocketState, frame: &Value) -> Checked {
    Frame::parse(frame.to_string().as_bytes()).unwrap().check(state, STAMP)
}

/// What is forwarded of a frame.
pub(super) fn forwarded(state: &mut SocketState, frame: &Value) -> Value {
    match check(state, frame) {
        Checked::Forward(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("{frame}: {other:?}"),
    }
}

/// The refusal of a frame, and what its page receives.
pub(super) fn refused(state: &mut SocketState, frame: &Value) -> (Code, Value) {
    match check(state, frame) {
        Checked::Respond(text, Some(code)) => (code, serde_json::from_str(&text).unwrap()),
        other => panic!("{frame}: {other:?}"),
    }
}

/// What the page is shown of a frame of the server.
pub(super) fn shown(state: &mut SocketState, frame: &Value) -> Value {
    match super::outbound(frame.to_string().as_bytes(), state) {
        Outbound::Send(text) => serde_json::from_str(&text).unwrap(),
        Outbound::Drop(reason) => panic!("{frame}: {reason}"),
    }
}

pub(super) fn dropped(state: &mut SocketState, frame: &Value) -> &'static str {
    match super::outbound(frame.to_string().as_bytes(), state) {
        Outbound::Drop(reason) => reason,
        Outbound::Send(text) => panic!("{frame}: {text}"),
    }
}

/// Has the socket expect a response about the agent and the conversation.
pub(super) fn expect(state: &mut SocketState, command: Command, request_id: &str) {
    let conversation = Some(CONVERSATION.to_owned());
    let request_id = request_id.to_owned();
    state.expect(Expected { command, request_id, agent: Some(agent(AGENT)), conversation, begins_turn: true });
}

pub(super) fn input(text: &str) -> Value {
    input_of(&json!({"role": "user", "content": text, "client_message_id": "cm-1"}))
}

pub(super) fn input_of(message: &Value) -> Value {
    json!({
        "type": "input", "request_id": "input-1", "runtime": runtime(),
        "payload": {"kind": "create_message", "messages": [message]},
    })
}
