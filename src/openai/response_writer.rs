//! A response of the `OpenAI` API, whole and as a stream of events.

use futures_util::stream;
use serde_json::{Value, json};

use super::{
    chat::{self, Gathered, RunningTurn, check_length},
    chat_backend::{Stop, TurnEvent, Usage},
    error::error_object,
};
use crate::{clock, entropy, error::ApiError, request::body::Body};

/// The longest text that a stream repeats at its end, in bytes. It is in memory while the stream lasts.
const MAX_STREAMED_TEXT: usize = 1024 * 1024;

/// What all forms of a response have in common.
pub(super) struct Response {
    id: String,
    message_id: String,
    created_at: i64,
    model: String,
    previous: Option<String>,
    is_stored: bool,
}

impl Response {
    pub(super) fn new(id: String, model: &str, previous: Option<&str>, is_stored: bool) -> Self {
        Self {
            id,
            message_id: format!("msg_{}", entropy::uuid()),
            created_at: clock::now_millis().div_euclid(1000),
            model: model.to_owned(),
            previous: previous.map(str::to_owned),
            is_stored,
        }
    }

    /// The response to a turn that has ended.
    pub(super) fn whole(&self, turn: &Gathered) -> Value {
        self.ended(&turn.text, turn.stop, turn.usage)
    }

    fn ended(&self, text: &str, stop: Stop, used: Option<Usage>) -> Value {
        let (status, details) = match stop {
            Stop::Length => ("incomplete", json!({"reason": "max_output_tokens"})),
            Stop::Finished | Stop::Approval => ("completed", Value::Null),
        };
        let mut response = self.object(status);
        response["incomplete_details"] = details;
        if !text.is_empty() {
            response["output"] = json!([self.item(status, Some(text))]);
        }
        response["usage"] = used.map_or(Value::Null, usage);
        response
    }

    fn object(&self, status: &str) -> Value {
        json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "max_output_tokens": null,
            "metadata": {},
            "model": self.model,
            "output": [],
            "parallel_tool_calls": false,
            "previous_response_id": self.previous,
            "reasoning": {"effort": null, "summary": null},
            "store": self.is_stored,
            "temperature": null,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": null,
            "truncation": "disabled",
            "usage": null,
            "user": null,
        })
    }

    /// What the agent says; `None` before it has said anything.
    fn item(&self, status: &str, text: Option<&str>) -> Value {
        let content: Vec<Value> = text.map(part).into_iter().collect();
        json!({"type": "message", "id": self.message_id, "status": status, "role": "assistant", "content": content})
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn usage(used: Usage) -> Value {
    json!({
        "input_tokens": used.prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": used.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used.total,
    })
}

/// Writes the events of a response.
pub(super) struct Events {
    response: Response,
    text: String,
    stop: Option<Stop>,
    used: Option<Usage>,
    /// The number of the next event.
    number: u64,
}

impl Events {
    /// The stream of a turn. It is read as fast as the client reads.
    pub(super) fn of(response: Response, turn: RunningTurn) -> Body {
        let mut events = Self { response, text: String::new(), stop: None, used: None, number: 0 };
        let first = ["response.created", "response.in_progress"]
            .map(|kind| events.event(kind, json!({"response": events.response.object("in_progress")})))
            .concat();
        let rest = stream::unfold(Some((events, turn)), async |state| {
            let (mut events, mut turn) = state?;
            match turn.next().await {
                Some(event) => match events.turn_event(event) {
                    Ok(text) => Some((text, Some((events, turn)))),
                    Err(error) => Some((events.failed(&error), None)),
                },
                None => Some((events.ended(), None)),
            }
        });
        chat::body(first, rest)
    }

    /// The events for an event of the turn.
    ///
    /// # Errors
    /// Those of the turn; when it says too much.
    fn turn_event(&mut self, event: TurnEvent) -> Result<String, ApiError> {
        match event {
            TurnEvent::Text(piece) => {
                check_length(self.text.len() + piece.len(), MAX_STREAMED_TEXT)?;
                let mut written = if self.text.is_empty() { self.item_added() } else { String::new() };
                self.text.push_str(&piece);
                written += &self.text_event("response.output_text.delta", json!({"delta": piece, "logprobs": []}));
                Ok(written)
            }
            // Proxies close connections on which nothing passes.
            TurnEvent::Alive => Ok(": ping\n\n".to_owned()),
            TurnEvent::Stopped(stop) => {
                self.stop = Some(stop);
                Ok(String::new())
            }
            TurnEvent::Used(used) => {
                self.used = Some(used);
                Ok(String::new())
            }
            TurnEvent::Failed(error) => Err(error),
        }
    }

    fn item_added(&mut self) -> String {
        let item = self.response.item("in_progress", None);
        let added = self.event("response.output_item.added", json!({"output_index": 0, "item": item}));
        added + &self.text_event("response.content_part.added", json!({"part": part("")}))
    }

    fn ended(&mut self) -> String {
        let Some(stop) = self.stop else {
            return self.failed(&ApiError::internal("a turn ended without saying how"));
        };
        let text = std::mem::take(&mut self.text);
        let response = self.response.ended(&text, stop, self.used);
        let mut written = String::new();
        if !text.is_empty() {
            let item = response["output"][0].clone();
            written += &self.text_event("response.output_text.done", json!({"text": text, "logprobs": []}));
            written += &self.text_event("response.content_part.done", json!({"part": item["content"][0]}));
            written += &self.event("response.output_item.done", json!({"output_index": 0, "item": item}));
        }
        let kind = if stop == Stop::Length { "response.incomplete" } else { "response.completed" };
        written + &self.event(kind, json!({"response": response}))
    }

    fn failed(&mut self, error: &ApiError) -> String {
        let mut response = self.response.object("failed");
        let error = error_object(error);
        response["error"] = json!({"code": error["code"], "message": error["message"]});
        self.event("response.failed", json!({"response": response}))
    }

    /// An event about the text.
    fn text_event(&mut self, kind: &str, mut event: Value) -> String {
        event["item_id"] = self.response.message_id.as_str().into();
        event["output_index"] = 0.into();
        event["content_index"] = 0.into();
        self.event(kind, event)
    }

    fn event(&mut self, kind: &str, mut event: Value) -> String {
        event["type"] = kind.into();
        event["sequence_number"] = self.number.into();
        self.number += 1;
        format!("event: {kind}\ndata: {event}\n\n")
    }
}
