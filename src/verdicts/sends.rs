//! The messages that were sent lately, and what became of each.

use serde_json::Value;

use super::{
    recent::Recent,
    seen::{Key, Seen, Threads, key},
};
use crate::journal::Ended;

/// How many sends are remembered.
const MOST_SENDS: usize = 1_024;
/// How many decisions of one request are looked at.
const MOST_DECISIONS: usize = 32;
/// Why a turn ends that has done what it was asked for.
const COMPLETED: [&str; 4] = ["end_turn", "max_steps", "tool_rule", "requires_approval"];

/// A request that sends messages.
#[derive(Clone, Debug)]
pub(super) struct Send {
    pub(super) id: u64,
    pub(super) arrived: i64,
    pub(super) threads: Threads,
    /// The request that it repeats.
    pub(super) retry_of: Option<u64>,
    pub(super) attempt: u32,
    /// What it says; `None` if that is not text.
    pub(super) text: Option<Key>,
    /// The calls that it decides about, or returns the results of.
    pub(super) decisions: Vec<Key>,
    /// Whether somebody is told when a run in the background ends.
    pub(super) has_callback: bool,
    /// Whether it asks for some events only, and so perhaps not for the last.
    pub(super) is_filtered: bool,
    pub(super) end: Option<End>,
}

/// What became of a request that sends messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// When the response ended.
    pub(super) at: i64,
    pub(super) status: Option<u16>,
    /// Whether a turn has begun.
    pub(super) has_begun: bool,
    /// Whether the client was told that the turn failed or was cancelled.
    pub(super) has_failed: bool,
    /// Whether it is a stream that ended without saying why the turn ended, though the client listened.
    pub(super) is_cut: bool,
}

#[derive(Debug)]
pub(super) struct Sends(Recent<u64, Send>);

impl Default for Sends {
    fn default() -> Self {
        Self(Recent::of(MOST_SENDS))
    }
}

impl Sends {
    pub(super) fn get(&self, id: u64) -> Option<&Send> {
        self.0.get(&id)
    }

    /// Notes a send. Returns it.
    pub(super) fn begin(&mut self, seen: &Seen<'_>) -> Send {
        let send = Send::of(seen);
        self.0.insert(send.id, send.clone());
        send
    }

    /// Notes what became of a send. Returns it.
    pub(super) fn end(&mut self, seen: &Seen<'_>) -> Option<Send> {
        let send = self.0.get_mut(&seen.entry.id)?;
        send.end = Some(End::of(seen, send.is_filtered));
        Some(send.clone())
    }
}

impl Send {
    fn of(seen: &Seen<'_>) -> Self {
        let body = seen.body().unwrap_or_default();
        let (texts, decisions) = read(&body);
        let is_given = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
        Self {
            id: seen.entry.id,
            arrived: seen.arrived,
            threads: seen.threads,
            retry_of: seen.entry.retry_of,
            attempt: seen.attempt,
            text: (!texts.is_empty()).then(|| key(texts.iter().map(ToString::to_string).collect::<Vec<_>>())),
            decisions,
            has_callback: is_given("callback_url"),
            is_filtered: is_given("include_return_message_types"),
            end: None,
        }
    }
}

/// What messages say, and the calls that they decide about.
fn read(body: &Value) -> (Vec<&Value>, Vec<Key>) {
    let (mut texts, mut decisions) = (Vec::new(), Vec::new());
    texts.extend(body.get("input").filter(|input| !input.is_null()));
    for message in body.get("messages").and_then(Value::as_array).into_iter().flatten() {
        let items = ["approvals", "tool_returns"].iter().filter_map(|name| message.get(*name)?.as_array()).flatten();
        let mut ids: Vec<&str> = items.filter_map(|item| item.get("tool_call_id")?.as_str()).collect();
        if ids.is_empty() {
            ids.extend(message.get("approval_request_id").and_then(Value::as_str));
        }
        decisions.extend(ids.into_iter().take(MOST_DECISIONS).map(key));
        texts.extend(message.get("content").filter(|content| !content.is_null()));
    }
    decisions.truncate(MOST_DECISIONS);
    (texts, decisions)
}

impl End {
    fn of(seen: &Seen<'_>, is_filtered: bool) -> Self {
        let answer = seen.entry.answer.clone().unwrap_or_default();
        let is_success = answer.status.is_some_and(|status| (200..300).contains(&status));
        let is_model_failure = answer.code.is_some_and(|code| code.starts_with("llm_") || code == "turn_too_large");
        let stop_reason = answer.stop_reason.as_deref();
        Self {
            at: seen.ended(),
            status: answer.status,
            // The reply of the model is noted once a turn asks for it.
            has_begun: is_success || answer.frames > 0 || seen.entry.reply.is_some(),
            has_failed: is_model_failure
                || answer.has_error
                || stop_reason.is_some_and(|reason| !COMPLETED.contains(&reason)),
            is_cut: is_success
                && answer.is_stream
                && !is_filtered
                && stop_reason.is_none()
                && !answer.has_error
                && matches!(answer.ended, Some(Ended::Cut | Ended::Done)),
        }
    }
}
