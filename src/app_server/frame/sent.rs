//! The messages of a turn: text and inline images that an end user says.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    denial::{TAGS, invalid, not_granted},
    text::{self, MessageIds},
};
use crate::error::ApiError;

/// How the messages of a frame are named.
pub(super) struct Naming<'a> {
    message_ids: &'a MessageIds,
    /// An id for messages without one.
    id: Uuid,
    /// The ids of the messages, as the server gets them.
    pub(super) sent: Vec<String>,
}

impl<'a> Naming<'a> {
    pub(super) fn new(message_ids: &'a MessageIds, id: Uuid) -> Self {
        Self { message_ids, id, sent: Vec::new() }
    }
}

/// The most messages in one turn.
const MOST: usize = 10;
/// The most parts of one message.
const MOST_PARTS: usize = 100;

const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// What is forwarded of a list of messages.
pub(super) fn rebuild(value: &Value, at: &str, naming: &mut Naming<'_>) -> Result<Value, ApiError> {
    let messages = value.as_array().filter(|messages| (1..=MOST).contains(&messages.len()));
    let messages = messages.ok_or_else(|| invalid(at, &format!("must be a list of 1 to {MOST} messages")))?;
    let mut rebuilt = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        let at = format!("{at}[{index}].");
        let message = message.as_object().ok_or_else(|| invalid(at.trim_end_matches('.'), "must be an object"))?;
        rebuilt.push(rebuild_message(message, &at, index, naming)?);
    }
    Ok(Value::Array(rebuilt))
}

fn rebuild_message(
    message: &Map<String, Value>,
    at: &str,
    index: usize,
    naming: &mut Naming<'_>,
) -> Result<Value, ApiError> {
    if message.get("type").is_some_and(|kind| !matches!(kind.as_str(), None | Some("message"))) {
        return Err(not_granted(
            &format!("{at}type"),
            "leave it out; approvals are decided on by the server's operator",
        ));
    }
    match message.get("role").and_then(Value::as_str) {
        Some("user") => {}
        Some(_) => return Err(not_granted(&format!("{at}role"), "send messages in the role user")),
        None => return Err(invalid(&format!("{at}role"), "must be user")),
    }
    let content = rebuild_content(message.get("content").unwrap_or(&Value::Null), &format!("{at}content"))?;
    let id = match message.get("client_message_id") {
        None | Some(Value::Null) => naming.message_ids.inward(&format!("{}-{index}", naming.id)),
        Some(Value::String(id)) if is_message_id(id, naming) => naming.message_ids.inward(id),
        Some(_) => {
            let what = format!("must be a string of 1 to {} characters", text::LONGEST_MESSAGE_ID);
            return Err(invalid(&format!("{at}client_message_id"), &what));
        }
    };
    naming.sent.push(id.clone());
    Ok(object([("role", "user".into()), ("content", content), ("client_message_id", id.into())]))
}

fn is_message_id(id: &str, naming: &Naming<'_>) -> bool {
    let own = naming.message_ids.outward(id).unwrap_or(id);
    !own.is_empty() && own.chars().count() <= text::LONGEST_MESSAGE_ID && !own.chars().any(char::is_control)
}

fn rebuild_content(content: &Value, at: &str) -> Result<Value, ApiError> {
    match content {
        Value::String(text) => {
            speaks_for_itself(text, at)?;
            Ok(content.clone())
        }
        Value::Array(parts) if (1..=MOST_PARTS).contains(&parts.len()) => {
            let mut rebuilt = Vec::with_capacity(parts.len());
            let mut texts = String::new();
            for (index, part) in parts.iter().enumerate() {
                let part = rebuild_part(part, &format!("{at}[{index}]."))?;
                texts.push_str(part.get("text").and_then(Value::as_str).unwrap_or_default());
                rebuilt.push(part);
            }
            // A tag may be in pieces.
            speaks_for_itself(&texts, at)?;
            Ok(Value::Array(rebuilt))
        }
        _ => Err(invalid(at, &format!("must be a string or a list of 1 to {MOST_PARTS} parts"))),
    }
}

fn rebuild_part(part: &Value, at: &str) -> Result<Value, ApiError> {
    let text_of = |name: &str| part.get(name).and_then(Value::as_str);
    match text_of("type") {
        Some("text") => {
            let text = text_of("text").ok_or_else(|| invalid(&format!("{at}text"), "must be a string"))?;
            Ok(object([("type", "text".into()), ("text", text.into())]))
        }
        Some("image") => {
            let source = part.get("source").and_then(Value::as_object);
            let source = source.ok_or_else(|| invalid(&format!("{at}source"), "must be an object"))?;
            let text_of = |name: &str| source.get(name).and_then(Value::as_str);
            if text_of("type") != Some("base64") {
                return Err(not_granted(&format!("{at}source.type"), "send the image itself, as base64"));
            }
            let Some(media_type) = text_of("media_type").filter(|kind| IMAGE_TYPES.contains(kind)) else {
                return Err(invalid(
                    &format!("{at}source.media_type"),
                    &format!("must be {}", IMAGE_TYPES.join(" or ")),
                ));
            };
            let Some(data) = text_of("data").filter(|data| is_base64(data)) else {
                return Err(invalid(&format!("{at}source.data"), "must be base64"));
            };
            let source = object([("type", "base64".into()), ("media_type", media_type.into()), ("data", data.into())]);
            Ok(object([("type", "image".into()), ("source", source)]))
        }
        Some(_) => Err(not_granted(&format!("{at}type"), "send text and image parts")),
        None => Err(invalid(&format!("{at}type"), "must be text or image")),
    }
}

/// Refuses a text that the model could take for the harness's own.
fn speaks_for_itself(text: &str, at: &str) -> Result<(), ApiError> {
    match text::harness_tag(text) {
        Some(_) => Err(not_granted(at, TAGS)),
        None => Ok(()),
    }
}

fn is_base64(data: &str) -> bool {
    let body = data.trim_end_matches('=');
    data.len() - body.len() <= 2
        && !body.is_empty()
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
