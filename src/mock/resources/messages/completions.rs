//! Agents as models of the `OpenAI` API: `model` is the id of an agent, and the response is streamed as chunks of a chat
//! completion.

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::BodyDataStream;
use serde_json::{Value, json};

use super::send::send;
use crate::{
    access::{Call, Operation},
    clock,
    error::{ApiError, Code},
    mock::{
        agents::thread::Thread,
        records::{Agent, RunType},
        resources::routes::{HandlerResult, Routes},
        state::State,
        turn::SendRequest,
        validation::body::{Expect, Fields},
    },
    reply::Reply,
    request::body::Body,
};

/// Fields that are validated, but have no effect on a mock without models.
const UNUSED: &[(&str, Expect)] = &[
    ("temperature", Expect::Number),
    ("top_p", Expect::Number),
    ("n", Expect::Integer),
    ("max_tokens", Expect::Integer),
    ("presence_penalty", Expect::Number),
    ("frequency_penalty", Expect::Number),
    ("user", Expect::Text),
];

pub(super) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::CreateChatCompletion, complete).fixed_shape(
        Operation::CreateResponse,
        async |_, _| Err(ApiError::letta(Code::NotFound, "Not Found")),
        "Not in Letta's API: an API key gets 404, as from a Letta server.",
    )
}

async fn complete(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    fields.check(UNUSED)?;
    let agent_id: &str = fields.required("model")?;
    let mut request = SendRequest::read(&new_messages(&fields)?, true)?;
    request.attempt = call.attempt.take();
    // Pings are on because the first event then has the id of the run.
    (request.delivery.tokens, request.delivery.pings) = (true, true);
    if !fields.optional("stream")?.unwrap_or(false) {
        return Err(ApiError::letta(Code::InvalidRequest, "Chat completions can only be streamed; set stream=true."));
    }
    if !agent_id.starts_with("agent-") {
        return Err(ApiError::letta(Code::InvalidRequest, "model must be the id of an agent, such as agent-..."));
    }
    let agent = state.view(&call.permit).get::<Agent>(agent_id).await?;
    let model = agent.record.model.llm.get("model").cloned().unwrap_or_default();
    match send(&state, Thread::default_of(agent), request, RunType::Streaming).await? {
        Reply::Events(events) => Ok(Reply::Events(translated(events, Chunks::new(model)))),
        reply => Ok(reply),
    }
}

/// A request with the new messages only. Clients send the whole conversation, but the agent already has the rest.
fn new_messages(fields: &Fields<'_>) -> Result<Value, ApiError> {
    let mut new = Vec::new();
    for message in fields.required::<Vec<Fields<'_>>>("messages")? {
        let roles = ["user", "system", "developer", "assistant", "tool", "function"];
        match message.one_of("role", &roles)? {
            Some("assistant" | "tool" | "function") => new.clear(),
            Some(role) => {
                let role = if role == "developer" { "system" } else { role };
                new.push(json!({"role": role, "content": message.value("content").map(content)}));
            }
            None => return Err(message.at("role").missing(&Value::Object(message.map().clone()))),
        }
    }
    Ok(json!({"messages": new}))
}

/// The content of a message in Letta's form. Texts have the same form in both APIs, images do not.
fn content(content: &Value) -> Value {
    let part = |part: &Value| match part["image_url"]["url"].as_str() {
        Some(url) => json!({"type": "image", "source": {"type": "url", "url": url}}),
        None => part.clone(),
    };
    content.as_array().map_or_else(|| content.clone(), |parts| parts.iter().map(part).collect())
}

/// The events of a turn as chunks of a completion.
fn translated(events: Body, mut chunks: Chunks) -> Body {
    let is_not_empty = |events: &Result<Bytes, _>| !matches!(events, Ok(bytes) if bytes.is_empty());
    let translated = BodyDataStream::new(events).map(move |events| events.map(|events| chunks.of(&events)));
    Body::from_stream(translated.filter(move |events| std::future::ready(is_not_empty(events))))
}

/// Writes the chunks of a completion.
struct Chunks {
    model: Value,
    created: i64,
    run_id: String,
    has_begun: bool,
}

impl Chunks {
    fn new(model: Value) -> Self {
        Self { model, created: clock::now_millis() / 1000, run_id: String::new(), has_begun: false }
    }

    /// The chunks for complete events.
    fn of(&mut self, events: &[u8]) -> Bytes {
        let mut written = String::new();
        for line in String::from_utf8_lossy(events).lines() {
            match line.strip_prefix("data: ") {
                Some("[DONE]") => written.push_str("data: [DONE]\n\n"),
                Some(data) => {
                    let event: Value = serde_json::from_str(data).unwrap_or_default();
                    if let Some(chunk) = self.chunk(&event) {
                        let _ = write!(written, "data: {chunk}\n\n");
                    }
                }
                None => {}
            }
        }
        written.into()
    }

    fn chunk(&mut self, event: &Value) -> Option<Value> {
        if let Some(run_id) = event["run_id"].as_str() {
            run_id.clone_into(&mut self.run_id);
        }
        match event["message_type"].as_str()? {
            "assistant_message" => Some(self.piece(&event["content"], None)),
            "stop_reason" if event["stop_reason"] == "max_steps" => Some(self.piece(&Value::Null, Some("length"))),
            "stop_reason" => Some(self.piece(&Value::Null, Some("stop"))),
            "error_message" => {
                Some(json!({"error": {"message": event["message"], "type": event["error_type"], "code": null}}))
            }
            _ => None,
        }
    }

    fn piece(&mut self, content: &Value, finish_reason: Option<&str>) -> Value {
        let role = if self.has_begun || content.is_null() { Value::Null } else { "assistant".into() };
        self.has_begun |= !content.is_null();
        json!({
            "id": format!("chatcmpl-{}", self.run_id),
            "choices": [{
                "delta": {
                    "content": content,
                    "function_call": null,
                    "refusal": null,
                    "role": role,
                    "tool_calls": null,
                },
                "finish_reason": finish_reason,
                "index": 0,
                "logprobs": null,
            }],
            "created": self.created,
            "model": self.model,
            "object": "chat.completion.chunk",
            "service_tier": null,
            "system_fingerprint": null,
            "usage": null,
        })
    }
}
