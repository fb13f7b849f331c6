//! What a page is shown of the server's frames.

use serde_json::{Map, Value};

use super::{
    SocketState,
    cut::{self, View},
    denial::not_found,
    refusal,
    state::{Expected, Runtime},
    text,
};
use crate::{
    app_server::{
        Command, Message,
        cuts::{Cut, Cuts},
        messages::Shown,
    },
    model::{AccessSet, AgentId},
};

/// What becomes of a frame of the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outbound {
    /// The page gets it in this form.
    Send(String),
    /// The page does not get it; the reason is a label for metrics.
    Drop(&'static str),
}

type Object = Map<String, Value>;

/// The keys that every event keeps.
const ENVELOPE: Cuts = &[
    ("type", Cut::Scalar),
    ("runtime", Cut::Runtime),
    ("event_seq", Cut::Scalar),
    ("emitted_at", Cut::Scalar),
    ("idempotency_key", Cut::Scalar),
];

/// The keys that every response keeps.
const RESPONSE: Cuts = &[("type", Cut::Scalar), ("request_id", Cut::Scalar), ("success", Cut::Scalar)];

/// Decides about a frame of the server, and notes what it says about the socket's runtimes. It must see every frame, also
/// once the page is gone.
pub fn outbound(frame: &[u8], state: &mut SocketState) -> Outbound {
    let Ok(frame) = serde_json::from_slice::<Object>(frame) else { return Outbound::Drop("not_an_object") };
    let kind = frame.get("type").and_then(Value::as_str).and_then(Message::parse);
    let result = match kind.map(|kind| kind.row().shown) {
        None => Err("unknown"),
        Some(Shown::Never) => Err("closed"),
        Some(Shown::Event(access, cuts)) => event(frame, AccessSet::of(access), cuts, state),
        Some(Shown::Response(command, cuts)) => response(frame, command, cuts, state),
    };
    match result {
        Ok(object) => Outbound::Send(Value::Object(object).to_string()),
        Err(reason) => Outbound::Drop(reason),
    }
}

fn event(mut frame: Object, access: AccessSet, cuts: Cuts, state: &mut SocketState) -> Result<Object, &'static str> {
    let SocketState { token, message_ids, runtimes, last_event, .. } = state;
    if let Some(number) = frame.get("event_seq").and_then(Value::as_u64) {
        *last_event = number;
    }
    let part = |name: &str| frame.get("runtime")?.get(name)?.as_str();
    let (Some(agent), Some(conversation)) = (part("agent_id"), part("conversation_id")) else {
        return Err("no_runtime");
    };
    // The id of a conversation that is being created is not known before the response, which events may overtake.
    let runtime = match runtimes.iter_mut().position(|runtime| runtime.is(agent, conversation)) {
        Some(index) => &mut runtimes[index],
        None => runtimes.iter_mut().find(|runtime| runtime.creates_for(agent)).ok_or("other_runtime")?,
    };
    let agent = runtime.agent.clone();
    let view = View { held: token.grants(agent.as_str()).unwrap_or_default(), agent: agent.as_str(), message_ids };
    note(&frame, view, runtime);
    if !view.held.contains(access) {
        return Err("access");
    }
    if frame.get("subagent_id").is_some_and(|id| !id.is_null()) {
        return Err("subagent");
    }
    if view.object(&mut frame, &[ENVELOPE, cuts]) { Ok(frame) } else { Err("message_kind") }
}

/// Notes what an event says about the turns of a runtime.
fn note(frame: &Object, view: View<'_>, runtime: &mut Runtime) {
    match frame.get("type").and_then(Value::as_str).and_then(Message::parse) {
        Some(Message::UpdateLoopStatus) => {
            let status = frame.get("loop_status").and_then(|status| status.get("status")).and_then(Value::as_str);
            // When a queued turn follows another, the loop waits for a moment; only the end of the turn is its end.
            runtime.loop_works = status.is_some_and(|status| status != "WAITING_ON_INPUT");
        }
        Some(Message::TurnFinished) => {
            runtime.has_turn = false;
            runtime.loop_works = false;
        }
        Some(Message::UpdateQueue) => {
            let items = frame.get("queue").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let waits = |item: &Value| item.get("paused") != Some(&Value::Bool(true));
            let own = items.iter().filter(|item| view.is_own(item));
            let own = own.filter_map(|item| item.get("id")?.as_str().map(str::to_owned));
            runtime.queue(items.iter().any(waits), own);
        }
        // A message that waited begins its turn.
        Some(Message::StreamDelta) => {
            let kind = frame.get("delta").and_then(|delta| delta.get("message_type")).and_then(Value::as_str);
            runtime.has_turn |= kind == Some("user_message");
        }
        _ => {}
    }
}

fn response(mut frame: Object, command: Command, cuts: Cuts, state: &mut SocketState) -> Result<Object, &'static str> {
    let request_id = frame.get("request_id").and_then(Value::as_str).ok_or("no_request")?;
    let is_success = |name: &str| frame.get(name) == Some(&Value::Bool(true));
    let succeeded = is_success(if command == Command::Input { "accepted" } else { "success" });
    let is_last = command != Command::ListMemory || !succeeded || is_success("done");
    let expected = state.arrived(command, request_id, is_last).ok_or("unexpected")?;
    let outcome = if succeeded { prove(&mut frame, &expected, state) } else { Err(Failure::Refused) };
    settle(&frame, &expected, outcome.is_ok(), state);
    match outcome {
        Ok(()) => {
            let agent = expected.agent.as_ref().map(AgentId::as_str).unwrap_or_default();
            let held: AccessSet = state.token.grants(agent).unwrap_or_default();
            let view = View { held, agent, message_ids: &state.message_ids };
            view.object(&mut frame, &[RESPONSE, cuts]);
            Ok(frame)
        }
        Err(failure) => {
            let sentence = match failure {
                Failure::Refused => cut::sentence(frame.get("error").and_then(Value::as_str).unwrap_or_default(), ""),
                Failure::NotCovered => not_found().to_string(),
            };
            let response = refusal::response(command, &expected.request_id, runtime(&expected), &sentence);
            match response {
                Value::Object(response) => Ok(response),
                _ => Err("no_response"),
            }
        }
    }
}

/// Why a page gets a failed response.
enum Failure {
    /// The server says so.
    Refused,
    /// The response is about something that the policy does not cover, although the request was not.
    NotCovered,
}

/// Whether a response is about what was asked about. Notes whose conversations are.
fn prove(frame: &mut Object, expected: &Expected, state: &mut SocketState) -> Result<(), Failure> {
    let Some(agent) = &expected.agent else { return Ok(()) };
    let is_agent = |value: Option<&Value>| value.and_then(Value::as_str) == Some(agent.as_str());
    match expected.command {
        Command::RuntimeStart => {
            let runtime = frame.get("runtime").ok_or(Failure::NotCovered)?;
            let conversation = runtime.get("conversation_id").and_then(Value::as_str).ok_or(Failure::NotCovered)?;
            let is_meant = expected.conversation.as_deref().is_none_or(|meant| meant == conversation);
            if !is_agent(runtime.get("agent_id")) || !is_meant || !text::is_conversation_id(conversation) {
                return Err(Failure::NotCovered);
            }
            let record = frame.get("conversation").and_then(Value::as_object);
            if record.is_some_and(|record| !is_agent(record.get("agent_id"))) {
                return Err(Failure::NotCovered);
            }
            if expected.conversation.is_none() {
                state.own(conversation.to_owned(), agent.clone());
            }
        }
        Command::ConversationList => {
            let items = frame.get_mut("conversations").and_then(Value::as_array_mut).ok_or(Failure::NotCovered)?;
            items.retain(|item| is_agent(item.get("agent_id")));
            for id in items.iter().filter_map(|item| item.get("id")?.as_str()).filter(|id| text::is_conversation_id(id))
            {
                state.own(id.to_owned(), agent.clone());
            }
        }
        // The response to a fork has only the id. A copy belongs to the agent of the original.
        Command::ConversationCreate | Command::ConversationFork => {
            let is_fork = expected.command == Command::ConversationFork;
            let is_own = |record: &&Value| match record.get("agent_id") {
                None => is_fork,
                agent => is_agent(agent),
            };
            let record = frame.get("conversation").filter(is_own);
            let id = record.and_then(|record| record.get("id")?.as_str()).filter(|id| text::is_conversation_id(id));
            state.own(id.ok_or(Failure::NotCovered)?.to_owned(), agent.clone());
        }
        Command::ConversationRetrieve | Command::ConversationUpdate => {
            let record = frame.get("conversation").filter(|record| is_agent(record.get("agent_id")));
            let id = record.and_then(|record| record.get("id")?.as_str());
            if id.is_none() || id != expected.conversation.as_deref() {
                return Err(Failure::NotCovered);
            }
        }
        Command::AgentRetrieve | Command::AgentUpdate
            if !is_agent(frame.get("agent").and_then(|agent| agent.get("id"))) =>
        {
            return Err(Failure::NotCovered);
        }
        _ => {}
    }
    Ok(())
}

/// Notes what a response says about the runtime that it is about.
fn settle(frame: &Object, expected: &Expected, succeeded: bool, state: &mut SocketState) {
    let Some(agent) = &expected.agent else { return };
    if expected.command == Command::RuntimeStart {
        return started(frame, expected, agent, succeeded, state);
    }
    let Some(conversation) = &expected.conversation else { return };
    let Some(runtime) = state.runtime(agent.as_str(), conversation) else { return };
    match expected.command {
        // The turn before may have ended between this message and its response.
        Command::Input if expected.begins_turn => runtime.has_turn = succeeded,
        // A turn is about to begin, but the queue does not say so yet.
        Command::ResumeQueue => runtime.has_turn |= frame.get("resumed").and_then(Value::as_u64).unwrap_or(0) > 0,
        _ => {}
    }
}

fn started(frame: &Object, expected: &Expected, agent: &AgentId, succeeded: bool, state: &mut SocketState) {
    let meant = expected.conversation.as_deref();
    let index =
        state.runtimes.iter().position(|runtime| runtime.agent == *agent && runtime.conversation.as_deref() == meant);
    let Some(index) = index else { return };
    let runtime = &mut state.runtimes[index];
    runtime.starts = runtime.starts.saturating_sub(1);
    if succeeded {
        runtime.is_open = true;
        if runtime.conversation.is_none() {
            let id = frame.get("runtime").and_then(|runtime| runtime.get("conversation_id")).and_then(Value::as_str);
            runtime.conversation = id.map(str::to_owned);
        }
    } else if !runtime.is_open && runtime.starts == 0 {
        state.runtimes.remove(index);
    }
}

/// The runtime that a request named.
fn runtime(expected: &Expected) -> Value {
    match (&expected.agent, &expected.conversation) {
        (Some(agent), Some(conversation)) if expected.command != Command::RuntimeStart => {
            serde_json::json!({"agent_id": agent, "conversation_id": conversation})
        }
        _ => Value::Null,
    }
}
