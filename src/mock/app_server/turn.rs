//! Turns: one of the V1 API each, streamed as the App Server streams.

use std::sync::Arc;

use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::{Socket, events, shapes};
use crate::{
    access::Operation,
    entropy,
    error::ApiError,
    mock::{
        Mock,
        running::{Queued, Runtime, Subscriber},
    },
    reply::Reply,
    request::body::Body,
    world,
};

/// What a turn has streamed.
#[derive(Default)]
struct Streamed {
    run_id: String,
    /// The number of the last message.
    number: u64,
    stop_reason: Option<String>,
    usage: Option<Value>,
    error: Option<String>,
}

/// Begins a turn with these messages, and then those of what waits.
pub(super) fn begin(mock: &Mock, runtime: Arc<Runtime>, first: Queued) {
    let turns = run_all(mock.clone(), runtime, first);
    mock.state.tasks.spawn(world::inherit(turns));
}

async fn run_all(mock: Mock, runtime: Arc<Runtime>, first: Queued) {
    let mut queued = first;
    loop {
        run(&mock, &runtime, &queued).await;
        match runtime.next() {
            Some(next) => {
                let message = next.messages.first().cloned().unwrap_or_default();
                runtime.emit(&events::delta(&json!({
                    "type": "message", "id": format!("user-msg-{}", entropy::uuid()), "date": events::now(),
                    "message_type": "user_message", "content": message["content"], "otid": next.client_message_id,
                })));
                events::queue(&runtime, &[(&next.client_message_id, "dequeued")]);
                queued = next;
            }
            None => {
                events::queue(&runtime, &[]);
                return events::enter(&runtime, events::WAITS);
            }
        }
    }
}

async fn run(mock: &Mock, runtime: &Arc<Runtime>, queued: &Queued) {
    events::enter(runtime, "SENDING_API_REQUEST");
    events::enter(runtime, "WAITING_FOR_API_RESPONSE");
    let mut streamed = Streamed::default();
    match request(mock, runtime, queued).await {
        Ok(body) => {
            events::enter(runtime, "PROCESSING_API_RESPONSE");
            stream(runtime, body, &mut streamed).await;
        }
        Err(error) => streamed.error = Some(error.message().to_owned()),
    }
    finish(runtime, streamed);
}

/// Sends the messages as the V1 API takes them.
async fn request(mock: &Mock, runtime: &Runtime, queued: &Queued) -> Result<Body, ApiError> {
    let message = |message: &Value| {
        json!({
            "role": "user", "content": message["content"],
            "otid": message.get("client_message_id").cloned().unwrap_or_default(),
        })
    };
    let messages: Vec<Value> = queued.messages.iter().map(message).collect();
    let body = json!({
        "messages": messages, "agent_id": runtime.agent_id, "streaming": true, "stream_tokens": true,
        "include_pings": false,
    });
    let (subscriber, _) = Subscriber::new();
    let socket = Socket { mock: mock.clone(), permit: queued.permit.clone(), subscriber };
    let params = [("conversation_id", runtime.conversation_id.as_str())];
    let call = socket.request(Operation::SendConversationMessage, &params, &[], body);
    match mock.handle(call).await? {
        Reply::Events(body) => Ok(body),
        _ => Err(ApiError::internal("a streamed turn without a stream")),
    }
}

async fn stream(runtime: &Runtime, mut body: Body, streamed: &mut Streamed) {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        text.extend_from_slice(&data);
        while let Some(end) = memchr::memchr(b'\n', &text) {
            let line: Vec<u8> = text.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data: ")
                && let Ok(event) = serde_json::from_slice::<Value>(data)
            {
                pass(runtime, &event, streamed);
            }
        }
    }
}

/// Passes on one event of the V1 API.
fn pass(runtime: &Runtime, event: &Value, streamed: &mut Streamed) {
    if streamed.run_id.is_empty()
        && let Some(run_id) = event["run_id"].as_str()
    {
        run_id.clone_into(&mut streamed.run_id);
        runtime.lock().active_run = Some(run_id.to_owned());
        events::enter(runtime, "PROCESSING_API_RESPONSE");
    }
    match event["message_type"].as_str() {
        Some("stop_reason") => streamed.stop_reason = event["stop_reason"].as_str().map(str::to_owned),
        Some("usage_statistics") => streamed.usage = Some(event.clone()),
        Some("error_message") => streamed.error = event["message"].as_str().map(str::to_owned),
        // The App Server shows a message of a user only when it has waited.
        Some("user_message") => {}
        _ => {
            let (agent, conversation) = (&runtime.agent_id, &runtime.conversation_id);
            let number = streamed.number + 1;
            if let Some(message) = shapes::streamed_message(event, agent, conversation, &streamed.run_id, number) {
                streamed.number = number;
                runtime.emit(&events::delta(&message));
            }
        }
    }
}

/// Says how the turn has ended, in the App Server's order: its usage, why it stopped, and that it has finished.
fn finish(runtime: &Runtime, mut streamed: Streamed) {
    let run_id = streamed.run_id.clone();
    let stop_reason = match (&streamed.error, streamed.stop_reason.take()) {
        (Some(_), _) => "error".to_owned(),
        (None, Some(stop_reason)) => stop_reason,
        (None, None) => "cancelled".to_owned(),
    };
    let mut finished = json!({
        "type": "turn_finished", "turn_id": format!("turn-{}", entropy::uuid()), "stop_reason": stop_reason, "run_id": run_id,
    });
    if let Some(error) = &streamed.error {
        runtime.emit(&events::loop_error(error, Some(&run_id), true));
        finished["error"] = error.as_str().into();
    }
    if let Some(usage) = &streamed.usage {
        let mut counted = json!({
            "id": format!("letta-msg-{}", entropy::uuid()), "date": events::now(), "agent_id": runtime.agent_id,
            "conversation_id": runtime.conversation_id, "message_type": "usage_statistics",
        });
        for name in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            counted[name] = usage[name].clone();
        }
        for name in ["cached_input_tokens", "cache_write_tokens", "reasoning_tokens"] {
            counted[name] = 0.into();
        }
        counted["context_tokens"] = usage["total_tokens"].clone();
        streamed.number += 1;
        counted["run_id"] = run_id.as_str().into();
        counted["seq_id"] = streamed.number.into();
        counted["type"] = "message".into();
        runtime.emit(&events::delta(&counted));
    }
    if stop_reason == "cancelled" {
        events::queue(runtime, &[]);
        runtime.emit(&events::interrupted(&run_id));
    } else {
        let number = streamed.number + 1;
        runtime.emit(&events::delta(&json!({
            "message_type": "stop_reason", "stop_reason": stop_reason, "run_id": run_id, "seq_id": number, "type": "message",
        })));
    }
    runtime.lock().active_run = None;
    events::enter(runtime, events::WAITS);
    runtime.emit(&finished);
}
