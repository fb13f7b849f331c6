//! Agents, conversations and messages of the V1 API, as the App Server writes them.

use serde_json::{Map, Value, json};

use super::Object;

/// An agent's record.
pub(super) fn agent(agent: &Value) -> Value {
    json!({
        "id": agent["id"],
        "name": agent["name"],
        "description": agent["description"],
        "system": agent["system"],
        "tools": [],
        "tags": agent["tags"],
        "model": agent["model"],
        "model_settings": {},
        "message_ids": agent["message_ids"],
        "in_context_message_ids": agent["message_ids"],
        "last_run_completion": agent["last_run_completion"],
        "llm_config": {"model": agent["model"]},
        "metadata": agent["metadata"],
        "created_at": agent["created_at"],
        "updated_at": agent["updated_at"],
    })
}

/// A conversation's record.
pub(super) fn conversation(conversation: &Value) -> Value {
    json!({
        "id": conversation["id"],
        "agent_id": conversation["agent_id"],
        "archived": false,
        "archived_at": null,
        "created_at": conversation["created_at"],
        "updated_at": conversation["updated_at"],
        "last_message_at": conversation["last_message_at"],
        "summary": conversation["summary"],
        "in_context_message_ids": conversation["in_context_message_ids"],
    })
}

/// The record of an agent's default conversation, which the V1 API does not have.
pub(super) fn default_conversation(agent: &Value) -> Value {
    json!({
        "id": "default",
        "agent_id": agent["id"],
        "archived": false,
        "archived_at": null,
        "created_at": agent["created_at"],
        "updated_at": agent["updated_at"],
        "last_message_at": null,
        "summary": null,
        "in_context_message_ids": [],
    })
}

/// The parameters of a frame's query, of these names.
pub(super) fn query(frame: &Object, names: &[&'static str]) -> Vec<(&'static str, String)> {
    let query = frame.get("query").and_then(Value::as_object);
    let parameter = |name: &&'static str| match query?.get(*name)? {
        Value::String(text) => Some((*name, text.clone())),
        Value::Number(number) => Some((*name, number.to_string())),
        _ => None,
    };
    names.iter().filter_map(parameter).collect()
}

/// The fields of a message besides those that all have; `None` for a kind that the App Server does not have.
fn own_fields(message: &Value) -> Option<(&str, Vec<(&'static str, Value)>)> {
    let tool_call = || {
        let call = &message["tool_call"];
        json!({"tool_call_id": call["tool_call_id"], "name": call["name"], "arguments": call["arguments"]})
    };
    let kind = message["message_type"].as_str()?;
    Some(match kind {
        "assistant_message" | "user_message" => (kind, vec![("content", parts(&message["content"]))]),
        "reasoning_message" => (kind, vec![("reasoning", message["reasoning"].clone())]),
        "tool_call_message" | "approval_request_message" => {
            ("approval_request_message", vec![("tool_call", tool_call())])
        }
        "tool_return_message" => {
            let tool_return = json!({
                "tool_call_id": message["tool_call_id"], "status": message["status"], "tool_return": message["tool_return"],
            });
            let mut fields: Vec<(&str, Value)> = ["status", "tool_call_id", "tool_return"]
                .into_iter()
                .map(|name| (name, message[name].clone()))
                .collect();
            fields.push(("tool_returns", json!([tool_return])));
            (kind, fields)
        }
        _ => return None,
    })
}

/// A stored message.
pub(super) fn stored_message(message: &Value, agent_id: &str, conversation_id: &str) -> Option<Value> {
    let (kind, fields) = own_fields(message)?;
    let role = match kind {
        "user_message" => "user",
        "tool_return_message" => "tool",
        _ => "assistant",
    };
    let mut written = written(message, agent_id, conversation_id, kind);
    written.insert("role".into(), role.into());
    written.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    if kind == "user_message" {
        written.insert("otid".into(), message["otid"].clone());
    }
    Some(Value::Object(written))
}

/// A message that is streamed, with its number in the run.
pub(super) fn streamed_message(
    message: &Value,
    agent_id: &str,
    conversation_id: &str,
    run_id: &str,
    number: u64,
) -> Option<Value> {
    let (kind, fields) = own_fields(message)?;
    let mut written = written(message, agent_id, conversation_id, kind);
    written.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    written.insert("run_id".into(), run_id.into());
    written.insert("seq_id".into(), number.into());
    written.insert("type".into(), "message".into());
    Some(Value::Object(written))
}

fn written(message: &Value, agent_id: &str, conversation_id: &str, kind: &str) -> Map<String, Value> {
    Map::from_iter([
        ("id".to_owned(), message["id"].clone()),
        ("date".to_owned(), message["date"].clone()),
        ("agent_id".to_owned(), agent_id.into()),
        ("conversation_id".to_owned(), conversation_id.into()),
        ("message_type".to_owned(), kind.into()),
    ])
}

/// Content as a list of parts.
fn parts(content: &Value) -> Value {
    match content {
        Value::String(text) => json!([{"type": "text", "text": text}]),
        Value::Array(_) => content.clone(),
        _ => json!([]),
    }
}
