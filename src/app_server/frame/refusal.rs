//! Refusals, in the shapes that clients read: otherwise a page waits for its time-out.

use serde_json::{Map, Value, json};

use super::{Checked, Stamp, text};
use crate::{
    app_server::{
        Command,
        commands::{ClientGrant, Grant},
    },
    clock,
    error::ApiError,
    model::AgentId,
};

/// The response to a frame that is refused, as far as the frame says where to send it.
pub(super) fn refuse(
    frame: &Map<String, Value>,
    command: Option<Command>,
    last_event: u64,
    stamp: Stamp,
    error: &ApiError,
) -> Checked {
    let sentence = error.to_string();
    let request_id = frame.get("request_id").and_then(Value::as_str);
    let response = match (command, request_id) {
        (Some(command), Some(request_id)) => response(command, request_id, runtime(frame), &sentence),
        (Some(Command::Input), None) => event(frame, last_event, stamp, &sentence),
        (None, Some(request_id)) => match unknown_type(frame) {
            Some(kind) => json!({
                "type": format!("{kind}_response"), "request_id": request_id, "success": false, "error": sentence
            }),
            None => return Checked::Ignore(Some(error.code())),
        },
        (_, None) => return Checked::Ignore(Some(error.code())),
    };
    Checked::Respond(response.to_string(), Some(error.code()))
}

/// The failed response to a command.
pub(super) fn response(command: Command, request_id: &str, runtime: Value, sentence: &str) -> Value {
    let row = command.row();
    let mut response = Map::new();
    response.insert("type".into(), row.response.into());
    response.insert("request_id".into(), request_id.into());
    if command == Command::Input {
        response.insert("runtime".into(), runtime);
        response.insert("accepted".into(), false.into());
    } else {
        response.insert("success".into(), false.into());
        if let Grant::Client(grant) = &row.grant {
            response.extend(empty(grant));
        }
        // Only a frame that names a runtime has one to be repeated.
        if !runtime.is_null()
            && let Some(own) = response.get_mut("runtime")
        {
            *own = runtime;
        }
    }
    response.insert("error".into(), sentence.into());
    Value::Object(response)
}

fn empty(grant: &ClientGrant) -> Map<String, Value> {
    serde_json::from_str(grant.empty).unwrap_or_default()
}

/// An event in place of a response, for an `input` that asks for none.
fn event(frame: &Map<String, Value>, last_event: u64, stamp: Stamp, sentence: &str) -> Value {
    let date = clock::format_millis(stamp.now);
    let id = stamp.id;
    json!({
        "type": "stream_delta",
        "delta": {
            "message_type": "loop_error",
            "id": format!("gatelet-{id}"),
            "date": date,
            "message": sentence,
            "stop_reason": "error",
            "is_terminal": true,
        },
        "runtime": runtime(frame),
        "event_seq": last_event,
        "emitted_at": date,
        "idempotency_key": format!("stream_delta:{last_event}:{id}"),
    })
}

/// The runtime that a frame names, as far as it is well-formed.
fn runtime(frame: &Map<String, Value>) -> Value {
    let Some(runtime) = frame.get("runtime").and_then(Value::as_object) else { return Value::Null };
    let part = |name: &str| runtime.get(name).and_then(Value::as_str);
    match (part("agent_id"), part("conversation_id")) {
        (Some(agent), Some(conversation))
            if agent.parse::<AgentId>().is_ok() && text::is_conversation_id(conversation) =>
        {
            json!({"agent_id": agent, "conversation_id": conversation})
        }
        _ => Value::Null,
    }
}

/// The type of a frame that is not in the table, if it looks like the name of a command.
fn unknown_type(frame: &Map<String, Value>) -> Option<&str> {
    let kind = frame.get("type").and_then(Value::as_str)?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    ((1..=64).contains(&kind.len()) && kind.bytes().all(is_name)).then_some(kind)
}
