//! Cuts values of the server by the lists of `cuts`.

use serde_json::{Map, Value};

use super::text::{self, MessageIds};
use crate::{
    app_server::cuts::{Cut, Cuts, KINDS, MEMORY_ENTRY, MESSAGE, PART, QUEUED, QUEUED_BY_OTHERS, SHOWN_DEVICE_STATUS},
    error::Code,
    model::AccessSet,
};

/// For whom values are cut.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// What the policy grants on the agent.
    pub(super) held: AccessSet,
    /// The agent.
    pub(super) agent: &'a str,
    /// How the token's messages are named.
    pub(super) message_ids: &'a MessageIds,
}

impl View<'_> {
    /// Cuts an object by these lists together; whether anything essential is left.
    pub(super) fn object(self, object: &mut Map<String, Value>, lists: &[Cuts]) -> bool {
        let (mut is_whole, mut sentences) = (true, Vec::new());
        object.retain(|key, value| {
            let mut cuts = lists.iter().copied().flatten();
            let Some((name, cut)) = cuts.find(|(name, _)| name == key) else { return false };
            if matches!(cut, Cut::Sentence) {
                sentences.push(*name);
                return true;
            }
            let stays = self.value(*cut, value);
            is_whole &= stays || !matches!(cut, Cut::Message | Cut::UserContent);
            stays
        });
        for name in sentences {
            let stop_reason = object.get("stop_reason").and_then(Value::as_str).unwrap_or_default().to_owned();
            if let Some(said) = object.get_mut(name) {
                *said = sentence(said.as_str().unwrap_or_default(), &stop_reason).into();
            }
        }
        is_whole
    }

    /// Cuts a value in place; whether it stays.
    fn value(self, cut: Cut, value: &mut Value) -> bool {
        match cut {
            Cut::Any => true,
            Cut::Drop => false,
            // Written with its object, which says why a turn ended.
            Cut::Sentence => false,
            Cut::Scalar => !matches!(value, Value::Array(_) | Value::Object(_)),
            Cut::Always(json) => {
                *value = serde_json::from_str(json).unwrap_or_default();
                true
            }
            Cut::Object(cuts) => match value {
                Value::Null => true,
                Value::Object(object) => self.object(object, &[cuts]),
                _ => false,
            },
            Cut::List(cut) => list(value, |item| self.value(*cut, item)),
            Cut::If(words, cut) => self.held.contains(AccessSet::of(words)) && self.value(*cut, value),
            Cut::Runtime => match value {
                Value::Null => true,
                Value::Object(runtime) => {
                    self.object(runtime, &[&[("agent_id", Cut::Scalar), ("conversation_id", Cut::Scalar)]])
                }
                _ => false,
            },
            Cut::Content => match value {
                Value::String(_) | Value::Null => true,
                _ => list(value, |part| self.value(Cut::Object(PART), part)),
            },
            Cut::UserContent => self.user_content(value),
            Cut::MessageId => match value {
                Value::String(id) => {
                    *id = text::without_prefix(id).to_owned();
                    true
                }
                _ => value.is_null(),
            },
            Cut::OwnMessageIds => list(value, |id| match self.own_message_id(id) {
                Some(own) => {
                    *id = own.into();
                    true
                }
                None => false,
            }),
            Cut::Message => self.message(value),
            Cut::Messages => list(value, |message| self.message(message)),
            Cut::Queue => list(value, |item| self.queued(item)),
            Cut::Removed => list(value, |item| {
                let Some(own) = item.get("client_message_id").and_then(|id| self.own_message_id(id)) else {
                    return false;
                };
                item["client_message_id"] = own.into();
                self.value(Cut::Object(&[("client_message_id", Cut::Scalar), ("disposition", Cut::Scalar)]), item)
            }),
            Cut::DeviceStatus => {
                device_status(value);
                true
            }
            Cut::MemoryEntries => list(value, |entry| {
                entry.get("relative_path").and_then(Value::as_str).is_some_and(text::is_memory_path)
                    && self.value(Cut::Object(MEMORY_ENTRY), entry)
            }),
            Cut::MemoryPaths => list(value, |path| path.as_str().is_some_and(text::is_memory_path)),
            Cut::Diff => {
                if let Value::String(diff) = value {
                    *diff = readable(diff);
                }
                matches!(value, Value::String(_) | Value::Null)
            }
        }
    }

    /// Cuts a message by its kind; whether it stays. A message of another agent does not.
    fn message(self, message: &mut Value) -> bool {
        let Value::Object(message) = message else { return false };
        if message.get("agent_id").is_some_and(|agent| !agent.is_null() && agent != self.agent) {
            return false;
        }
        let kind = message.get("message_type").and_then(Value::as_str);
        let Some((_, cuts)) = KINDS.iter().find(|(name, _)| Some(*name) == kind) else { return false };
        self.object(message, &[MESSAGE, cuts])
    }

    /// Leaves out what the harness says to the model in the user's name; whether anything is left.
    fn user_content(self, content: &mut Value) -> bool {
        match content {
            Value::String(text) => says_something(text),
            Value::Array(parts) => {
                parts.retain_mut(|part| match part.get_mut("text") {
                    Some(Value::String(text)) => says_something(text),
                    _ => true,
                });
                self.value(Cut::Content, content) && content.as_array().is_some_and(|parts| !parts.is_empty())
            }
            _ => false,
        }
    }

    fn own_message_id(self, id: &Value) -> Option<String> {
        self.message_ids.outward(id.as_str()?).map(str::to_owned)
    }

    /// Whether this token sent a message that waits.
    pub(super) fn is_own(self, item: &Value) -> bool {
        item.get("client_message_id").and_then(Value::as_str).is_some_and(|id| self.message_ids.outward(id).is_some())
    }

    fn queued(self, item: &mut Value) -> bool {
        if item.get("source").and_then(Value::as_str) != Some("user") {
            return false;
        }
        if self.is_own(item) {
            return self.value(Cut::Object(QUEUED), item);
        }
        // Another caller's id could be taken for one of the page's own.
        let id = item.get("id").and_then(Value::as_str).unwrap_or_default();
        item["client_message_id"] = format!("gatelet-{id}").into();
        self.value(Cut::Object(QUEUED_BY_OTHERS), item)
    }
}

/// Cuts each item of a list; whether it is one.
fn list(value: &mut Value, stays: impl FnMut(&mut Value) -> bool) -> bool {
    match value {
        Value::Array(items) => {
            items.retain_mut(stays);
            true
        }
        _ => false,
    }
}

/// Cuts a text where the harness begins to speak; whether anything is left. What stood before a tag of the harness stays.
fn says_something(text: &mut String) -> bool {
    match text::harness_tag(text) {
        Some(start) => {
            text.truncate(start);
            !text.trim().is_empty()
        }
        None => true,
    }
}

fn device_status(value: &mut Value) {
    let mut shown: Value = serde_json::from_str(SHOWN_DEVICE_STATUS).unwrap_or_default();
    for name in ["is_online", "is_processing"] {
        if let Some(Value::Bool(is_on)) = value.get(name) {
            shown[name] = (*is_on).into();
        }
    }
    *value = shown;
}

/// The gate's own sentence in place of one of the server's, which may name paths, hosts and other agents.
pub(super) fn sentence(said: &str, stop_reason: &str) -> String {
    const REJECTED: &str = "Input was rejected by the queue or durable ledger";
    if is_not_found(said) || said == REJECTED {
        return said.to_owned();
    }
    let (code, sentence) = match stop_reason {
        "" => (Code::UpstreamError, "The App Server refused this; its log says why."),
        "cancelled" => (Code::UpstreamError, "The turn was cancelled."),
        "max_steps" => (Code::UpstreamError, "The turn took as many steps as it may."),
        "insufficient_credits" => {
            (Code::LlmInsufficientCredits, "The account with the model's provider has no credit left.")
        }
        _ => (Code::LlmError, "The turn failed; the App Server's log says why."),
    };
    format!("{}: {sentence}", code.word())
}

/// Such as `Agent agent-1 not found`.
fn is_not_found(said: &str) -> bool {
    let id = ["Agent ", "Conversation "].iter().find_map(|class| said.strip_prefix(class)?.strip_suffix(" not found"));
    id.is_some_and(text::is_id)
}

/// The parts of a commit that are about memory files which a page may read. What stands before them names its author.
fn readable(diff: &str) -> String {
    let mut shown = String::new();
    let mut is_shown = false;
    for line in diff.split_inclusive('\n') {
        // Lines of files begin with a space or a sign.
        if let Some(paths) = line.strip_prefix("diff --git ") {
            is_shown = is_about_readable(paths.trim_end());
        }
        if is_shown {
            shown.push_str(line);
        }
    }
    shown
}

fn is_about_readable(paths: &str) -> bool {
    let Some((before, after)) = paths.split_once(' ') else { return false };
    let is_readable = |path: &str, prefix: &str| path.strip_prefix(prefix).is_some_and(text::is_memory_path);
    is_readable(before, "a/") && is_readable(after, "b/")
}
