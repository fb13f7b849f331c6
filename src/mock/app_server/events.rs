//! The events of runtimes.

use serde_json::{Value, json};

use crate::{
    clock, entropy,
    mock::running::{Runtime, Subscriber},
};

/// What the loop does while it waits for messages.
pub(super) const WAITS: &str = "WAITING_ON_INPUT";

/// The present state of a runtime, for one socket.
pub(super) fn replay(runtime: &Runtime, subscriber: &Subscriber) {
    for event in [
        device_status(runtime),
        loop_status(runtime),
        queue_event(runtime, &[]),
        json!({"type": "update_subagent_state", "subagents": []}),
    ] {
        subscriber.notify(runtime, &event);
    }
}

/// Tells all that the loop does something else.
pub(super) fn enter(runtime: &Runtime, status: &'static str) {
    runtime.lock().status = status;
    runtime.emit(&loop_status(runtime));
}

/// Tells all what waits, and what became of messages that waited.
pub(super) fn queue(runtime: &Runtime, removed: &[(&str, &str)]) {
    runtime.emit(&queue_event(runtime, removed));
}

fn queue_event(runtime: &Runtime, removed: &[(&str, &str)]) -> Value {
    let items: Vec<Value> = runtime
        .lock()
        .queue
        .iter()
        .map(|item| {
            let content = item.messages.first().map_or(Value::Null, |message| message["content"].clone());
            let mut shown = json!({
                "id": item.id, "client_message_id": item.client_message_id, "kind": "message", "source": "user",
                "content": content, "enqueued_at": item.enqueued_at,
            });
            if item.is_paused {
                shown["paused"] = true.into();
            }
            shown
        })
        .collect();
    let removed: Vec<Value> =
        removed.iter().map(|(id, disposition)| json!({"client_message_id": id, "disposition": disposition})).collect();
    json!({"type": "update_queue", "queue": items, "removed": removed})
}

fn loop_status(runtime: &Runtime) -> Value {
    let activity = runtime.lock();
    let status = if activity.status.is_empty() { WAITS } else { activity.status };
    let runs: Vec<&String> = activity.active_run.iter().collect();
    json!({
        "type": "update_loop_status",
        "loop_status": {"status": status, "active_run_ids": runs, "executing_tool_call_ids": []},
    })
}

/// The mock is no device: nothing but its two switches says anything.
fn device_status(runtime: &Runtime) -> Value {
    json!({
        "type": "update_device_status",
        "device_status": {
            "current_connection_id": null, "connection_name": null, "is_online": true,
            "is_processing": runtime.lock().has_turn, "current_permission_mode": "strict",
            "current_working_directory": null, "git_context": null, "letta_code_version": null, "current_toolset": null,
            "current_toolset_preference": "auto", "available_toolsets": [], "current_loaded_tools": [],
            "current_available_skills": [], "background_processes": [], "pending_control_requests": [],
            "experiments": [], "memory_directory": null, "cwd_revision": 0, "should_doctor": false,
            "supported_commands": [], "reflection_settings": null,
        },
    })
}

/// A message of a turn.
pub(super) fn delta(delta: &Value) -> Value {
    json!({"type": "stream_delta", "delta": delta})
}

/// A failure of the loop.
pub(super) fn loop_error(message: &str, run_id: Option<&str>, is_terminal: bool) -> Value {
    let mut event = json!({
        "id": format!("lifecycle-{}", entropy::uuid()), "date": now(), "message_type": "loop_error",
    });
    if let Some(run_id) = run_id {
        event["run_id"] = run_id.into();
    }
    event["message"] = message.into();
    event["stop_reason"] = "error".into();
    event["is_terminal"] = is_terminal.into();
    delta(&event)
}

/// What the App Server says when a turn is cut short.
pub(super) fn interrupted(run_id: &str) -> Value {
    delta(&json!({
        "id": format!("lifecycle-{}", entropy::uuid()), "date": now(), "message_type": "status", "run_id": run_id,
        "message": "Interrupted", "level": "warning",
    }))
}

pub(super) fn now() -> String {
    clock::format_millis(clock::now_millis())
}
