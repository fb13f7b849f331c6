//! Reads the events of a turn from Letta's stream of them.

use std::{borrow::Cow, collections::VecDeque, mem};

use futures_util::{StreamExt, stream};
use http_body_util::BodyDataStream;
use memchr::memchr;
use serde::Deserialize;
use serde_json::Value;

use super::chat_backend::{Stop, TurnEvent, TurnEvents, Usage};
use crate::{
    error::{ApiError, Code},
    request::body::Body,
};

/// The longest event, in bytes. Results of tools are events as well.
const MAX_EVENT: usize = 4 * 1024 * 1024;

/// Why turns fail.
const FAILURES: &[Code] = &[
    Code::LlmBadRequest,
    Code::TurnTooLarge,
    Code::LlmAuthentication,
    Code::LlmInsufficientCredits,
    Code::LlmRateLimit,
    Code::LlmError,
    Code::LlmTimeout,
];

/// What is read of an event.
#[derive(Deserialize)]
struct LettaEvent<'e> {
    #[serde(borrow)]
    message_type: Cow<'e, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'e, str>>,
    #[serde(default)]
    content: Value,
    #[serde(borrow, default)]
    stop_reason: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    error_type: Option<Cow<'e, str>>,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    total_tokens: u64,
}

/// The events of a turn.
pub(super) fn read(body: Body) -> TurnEvents {
    let state = (BodyDataStream::new(body), TurnReader::default());
    stream::unfold(state, async |(mut body, mut reader)| {
        loop {
            if let Some(event) = reader.events.pop_front() {
                return Some((event, (body, reader)));
            }
            if reader.has_ended {
                return None;
            }
            match body.next().await {
                Some(Ok(piece)) => reader.push(&piece),
                Some(Err(error)) if !reader.is_done => reader.fail(broken_off().because(error)),
                Some(Err(_)) | None => reader.end(),
            }
        }
    })
    .boxed()
}

#[derive(Default)]
struct TurnReader {
    /// The beginning of a line.
    line: Vec<u8>,
    /// The message that the last text belongs to.
    message_id: Option<String>,
    has_stopped: bool,
    /// Why the turn has failed. Letta gives the reason after it says that it has.
    failure: Option<ApiError>,
    /// Whether Letta has said that nothing follows. The body is still read to its end: Letta unlocks the conversation then.
    is_done: bool,
    has_ended: bool,
    /// What was read and not taken yet.
    events: VecDeque<TurnEvent>,
}

impl TurnReader {
    fn push(&mut self, mut piece: &[u8]) {
        while let Some(end) = memchr(b'\n', piece).filter(|_| !self.is_done) {
            let rest = &piece[end + 1..];
            if self.line.is_empty() {
                self.read_line(&piece[..end]);
            } else {
                self.line.extend_from_slice(&piece[..end]);
                let line = mem::take(&mut self.line);
                self.read_line(&line);
            }
            piece = rest;
        }
        if self.is_done {
            return;
        }
        if self.line.len() + piece.len() > MAX_EVENT {
            return self.fail(broken_off().because("an event of the stream is too long"));
        }
        self.line.extend_from_slice(piece);
    }

    fn read_line(&mut self, line: &[u8]) {
        // Letta writes each event's data on one line.
        let Some(data) = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) else { return };
        if data == b"[DONE]" {
            self.is_done = true;
            return;
        }
        // An event of another form has nothing for a chat.
        let Ok(event) = serde_json::from_slice::<LettaEvent<'_>>(data) else { return };
        match &*event.message_type {
            "assistant_message" => self.read_text(&event),
            "ping" => self.events.push_back(TurnEvent::Alive),
            "stop_reason" => self.read_stop(&event.stop_reason.unwrap_or_default()),
            "usage_statistics" if self.has_stopped => self.events.push_back(TurnEvent::Used(Usage {
                prompt: event.prompt_tokens,
                completion: event.completion_tokens,
                total: event.total_tokens,
            })),
            "error_message" => {
                let code = event.error_type.and_then(|word| FAILURES.iter().find(|code| code.word() == word));
                let message = event.message.as_str().unwrap_or("The turn failed.").to_owned();
                self.failure = Some(ApiError::letta(code.copied().unwrap_or(Code::LlmError), message));
            }
            _ => {}
        }
    }

    fn read_text(&mut self, event: &LettaEvent<'_>) {
        let mut text = match &event.content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
            _ => return,
        };
        if text.is_empty() {
            return;
        }
        if event.id.is_some() && self.message_id.as_deref() != event.id.as_deref() {
            // A turn with tools may have several messages.
            if self.message_id.is_some() {
                text.insert_str(0, "\n\n");
            }
            self.message_id = event.id.as_deref().map(str::to_owned);
        }
        self.events.push_back(TurnEvent::Text(text));
    }

    fn read_stop(&mut self, reason: &str) {
        if self.has_stopped {
            return;
        }
        let stop = match reason {
            "end_turn" | "tool_rule" => Stop::Finished,
            "max_steps" | "max_tokens_exceeded" => Stop::Length,
            "requires_approval" => Stop::Approval,
            "cancelled" => {
                self.failure = Some(ApiError::conflict("The turn was cancelled."));
                return;
            }
            reason => {
                let code = if reason == "insufficient_credits" { Code::LlmInsufficientCredits } else { Code::LlmError };
                let word: String = reason.chars().take(64).collect();
                self.failure = Some(ApiError::letta(code, format!("The turn failed: {word}.")));
                return;
            }
        };
        self.has_stopped = true;
        self.events.push_back(TurnEvent::Stopped(stop));
    }

    fn end(&mut self) {
        match self.failure.take() {
            Some(failure) => self.fail(failure),
            None if self.has_stopped => self.has_ended = true,
            None => self.fail(broken_off().because("the stream ended before the turn")),
        }
    }

    fn fail(&mut self, error: ApiError) {
        self.has_ended = true;
        self.events.push_back(TurnEvent::Failed(error));
    }
}

fn broken_off() -> ApiError {
    ApiError::new(
        Code::UpstreamUnreachable,
        "The Letta server broke off the turn; look at the conversation, or try again.",
    )
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn events(pieces: &[&[u8]]) -> String {
        let mut reader = TurnReader::default();
        for piece in pieces {
            reader.push(piece);
        }
        reader.end();
        let mut text = String::new();
        for event in reader.events {
            match event {
                // Texts may come in other pieces.
                TurnEvent::Text(piece) => text.push_str(&piece),
                TurnEvent::Failed(error) => text.push_str(error.code().word()),
                other => write!(text, " {other:?} ").unwrap(),
            }
        }
        text
    }

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let stream = "data: {\"message_type\":\"ping\"}\n\n: comment\n\ndata:{\"message_type\":\"assistant_message\",\
            \"id\":\"message-1\",\"content\":\"h\\u00e9llö\"}\r\n\r\ndata: not JSON\n\ndata: {\"message_type\":\
            \"assistant_message\",\"id\":\"message-2\",\"content\":[{\"type\":\"text\",\"text\":\"bye\"}]}\n\n\
            data: {\"message_type\":\"stop_reason\",\"stop_reason\":\"end_turn\"}\n\ndata: {\"message_type\":\
            \"usage_statistics\",\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}\n\ndata: [DONE]\n\n\
            data: {\"message_type\":\"assistant_message\",\"content\":\"after the end\"}\n\n";
        let expected = " Alive héllö\n\nbye Stopped(Finished)  Used(Usage { prompt: 1, completion: 2, total: 3 }) ";
        for cut in 0..stream.len() {
            let (begin, rest) = stream.as_bytes().split_at(cut);
            assert_eq!(events(&[begin, rest]), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        assert_eq!(events(&bytes), expected);
    }

    #[test]
    fn a_stream_that_ends_before_its_turn_has_failed() {
        for (stream, expected) in [
            ("", "upstream_unreachable"),
            ("data: [DONE]\n\n", "upstream_unreachable"),
            ("data: {\"message_type\":\"stop_reason\",\"stop_reason\":\"end_turn\"", "upstream_unreachable"),
            ("data: {\"message_type\":\"stop_reason\",\"stop_reason\":\"end_turn\"}\n", " Stopped(Finished) "),
            ("data: {\"message_type\":\"stop_reason\",\"stop_reason\":\"error\"}\n", "llm_error"),
        ] {
            assert_eq!(events(&[stream.as_bytes()]), expected, "{stream}");
        }
    }
}
