//! Chat completions.

use std::sync::Arc;

use futures_util::stream;
use http::HeaderValue;
use serde_json::{Value, json};

use super::{
    chat::{self, Chat, Gathered, RunningTurn},
    chat_backend::{ChatBackend, Stop, TurnEvent, Usage},
    chat_keys::{ChatKey, ChatKeys},
    error::error_object,
    input,
};
use crate::{
    access::{Call, Charge},
    clock, entropy,
    error::{ApiError, Code},
    reply::Reply,
    request::body::Body,
};

/// The longest key of a chat, in bytes.
const MAX_KEY: usize = 256;

pub(super) async fn create(
    keys: &ChatKeys,
    mut call: Call,
    backend: Arc<dyn ChatBackend>,
    charge: &mut Charge<'_>,
) -> Result<Reply, ApiError> {
    let body = call.json().await?;
    let text = input::user_text(&body, "messages")?;
    let is_stream = input::switch(&body["stream"], &["body", "stream"])?;
    let includes_usage = input::includes_usage(&body)?;
    let chat = Chat::of(&call, backend)?;
    let turn = match key(&call, is_stream)? {
        Some(key) => {
            let key = ChatKey::of(chat.subject().chain([key]));
            chat.start_remembered(keys, key, text, is_stream).await?
        }
        None => chat.start(chat.temporary(chat.create().await?), text, is_stream).await?,
    };
    let completion = Completion::new(chat.agent().as_str());
    if is_stream {
        let chunks = Chunks { completion, includes_usage };
        return Ok(Reply::Events(chunks.of(turn)));
    }
    Ok(Reply::ok(completion.whole(&turn.gather(charge).await?)))
}

/// The key of the chat that a request belongs to. `Open WebUI` names its own chat, and asks for titles and the like without
/// streams.
fn key(call: &Call, is_stream: bool) -> Result<Option<&str>, ApiError> {
    for (name, counts) in [("x-letta-chat-key", true), ("x-openwebui-chat-id", is_stream)] {
        let mut values = call.headers.get_all(name);
        let Some(value) = values.next().filter(|_| counts) else { continue };
        let key = HeaderValue::to_str(value).ok().filter(|key| (1..=MAX_KEY).contains(&key.len()));
        return match (key, values.next()) {
            (Some(key), None) => Ok(Some(key)),
            _ => {
                let sentence = format!("Send {name} once, with 1 to {MAX_KEY} visible ASCII characters.");
                Err(ApiError::new(Code::InvalidRequest, sentence))
            }
        };
    }
    Ok(None)
}

/// What all chunks of a completion have in common.
struct Completion {
    id: String,
    created: i64,
    model: String,
}

impl Completion {
    fn new(model: &str) -> Self {
        let id = format!("chatcmpl-{}", entropy::uuid());
        Self { id, created: clock::now_millis().div_euclid(1000), model: model.to_owned() }
    }

    fn whole(&self, turn: &Gathered) -> Value {
        let Self { id, created, model } = self;
        let message = json!({"role": "assistant", "content": turn.text, "refusal": null});
        let choice = json!({
            "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(turn.stop),
        });
        let mut whole = json!({
            "id": id, "object": "chat.completion", "created": created, "model": model, "choices": [choice],
        });
        if let Some(used) = turn.usage {
            whole["usage"] = usage(used);
        }
        whole
    }

    fn chunk(&self, choices: &Value) -> Value {
        let Self { id, created, model } = self;
        json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": choices})
    }
}

fn finish_reason(stop: Stop) -> &'static str {
    if stop == Stop::Length { "length" } else { "stop" }
}

fn usage(used: Usage) -> Value {
    json!({"prompt_tokens": used.prompt, "completion_tokens": used.completion, "total_tokens": used.total})
}

/// Writes the chunks of a completion.
struct Chunks {
    completion: Completion,
    includes_usage: bool,
}

impl Chunks {
    /// The stream of a turn. It is read as fast as the client reads.
    fn of(self, turn: RunningTurn) -> Body {
        let first = self.delta(&json!({"role": "assistant", "content": "", "refusal": null}), None);
        let rest = stream::unfold(Some((self, turn)), async |state| {
            let (chunks, mut turn) = state?;
            Some(match turn.next().await {
                Some(event) => (chunks.event(event), Some((chunks, turn))),
                None => ("data: [DONE]\n\n".to_owned(), None),
            })
        });
        chat::body(first, rest)
    }

    /// The chunk for an event; empty if there is none.
    fn event(&self, event: TurnEvent) -> String {
        match event {
            TurnEvent::Text(text) => self.delta(&json!({"content": text}), None),
            // Proxies close connections on which nothing passes.
            TurnEvent::Alive => ": ping\n\n".to_owned(),
            TurnEvent::Stopped(stop) => self.delta(&json!({}), Some(finish_reason(stop))),
            TurnEvent::Used(used) if self.includes_usage => {
                let mut chunk = self.completion.chunk(&json!([]));
                chunk["usage"] = usage(used);
                data(&chunk)
            }
            TurnEvent::Used(_) => String::new(),
            TurnEvent::Failed(error) => data(&json!({"error": error_object(&error)})),
        }
    }

    fn delta(&self, delta: &Value, finish_reason: Option<&str>) -> String {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        let mut chunk = self.completion.chunk(&json!([choice]));
        if self.includes_usage {
            chunk["usage"] = Value::Null;
        }
        data(&chunk)
    }
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}
