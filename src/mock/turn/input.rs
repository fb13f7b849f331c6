//! Reads messages to an agent: those of a request, and the initial messages of a new agent.

use serde_json::Value;

use crate::{
    error::ApiError,
    mock::{
        records::{Content, ImageSource, IncomingMessage, Message, Part, Role},
        validation::body::{Fields, Location, Read},
    },
};

/// The limit of messages in a request, which bounds the transaction that stores the turn.
pub(super) const MAX_MESSAGES: usize = 10_000;

impl IncomingMessage {
    /// Reads an item of a list of messages.
    pub(super) fn read(item: &Fields<'_>) -> Result<Self, ApiError> {
        let role = match item.one_of("role", &["user", "system", "assistant"])? {
            Some("system") => Role::System,
            Some("assistant") => Role::Assistant,
            Some(_) => Role::User,
            None => return Err(item.at("role").missing(&Value::Object(item.map().clone()))),
        };
        let Some(content) = item.value("content") else {
            return Err(item.at("content").missing(&Value::Object(item.map().clone())));
        };
        Ok(Self {
            role,
            content: read_content(content, &item.at("content"))?,
            name: item.optional("name")?,
            otid: item.optional("otid")?,
            sender_id: item.optional("sender_id")?,
            group_id: item.optional("group_id")?,
            batch_item_id: item.optional("batch_item_id")?,
        })
    }
}

/// Reads the initial messages of an agent; `None` if the request leaves them to the agent's type.
pub(in crate::mock) fn read_initial_messages(fields: &Fields<'_>) -> Result<Option<Vec<Message>>, ApiError> {
    let name = "initial_message_sequence";
    let Some(items) = fields.optional::<Vec<Fields<'_>>>(name)? else { return Ok(None) };
    if items.len() > MAX_MESSAGES {
        let rule = format!("an agent begins with at most {MAX_MESSAGES} messages");
        return Err(fields.at(name).breaks_rule(&rule, &Value::Null));
    }
    let read = |item| IncomingMessage::read(item).map(IncomingMessage::into_initial);
    items.iter().map(read).collect::<Result<_, _>>().map(Some)
}

/// Reads content: text, or a list of parts.
pub(super) fn read_content(content: &Value, location: &Location) -> Result<Vec<Part>, ApiError> {
    match content {
        Value::String(text) => Ok(vec![Part::text(text.as_str())]),
        Value::Array(_) => Vec::<Fields<'_>>::read(content, location)?.iter().map(read_part).collect(),
        _ => Err(location.refuse("string_type", "Input should be a valid string or list", content)),
    }
}

/// Reads the result of a tool: text, or a list of parts.
pub(super) fn read_return(content: &Value, location: &Location) -> Result<Content, ApiError> {
    match content {
        Value::String(text) => Ok(Content::Text(text.clone())),
        _ => read_content(content, location).map(Content::Parts),
    }
}

fn read_part(part: &Fields<'_>) -> Result<Part, ApiError> {
    match part.one_of("type", &["text", "image"])? {
        Some("image") => Ok(Part::Image { source: read_source(&part.required("source")?)? }),
        _ => Ok(Part::Text { text: part.required("text")?, signature: part.optional("signature")? }),
    }
}

fn read_source(source: &Fields<'_>) -> Result<ImageSource, ApiError> {
    match source.one_of("type", &["url", "base64", "letta"])? {
        Some("url") => Ok(ImageSource::Url { url: source.required("url")? }),
        Some("base64") => Ok(ImageSource::Base64 {
            media_type: source.required("media_type")?,
            data: source.required("data")?,
            detail: source.optional("detail")?,
        }),
        Some(_) => Ok(ImageSource::Letta {
            file_id: source.required("file_id")?,
            media_type: source.optional("media_type")?,
            data: source.optional("data")?,
            detail: source.optional("detail")?,
        }),
        None => Err(source.at("type").missing(&Value::Object(source.map().clone()))),
    }
}
