//! What is said to an agent: ordinary messages of a request, or of the beginning of a history.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    error::ApiError,
    mock::{
        records::{Content, ImageSource, Message, Part, Role},
        validation::body::{Fields, Location, Read},
    },
};

/// Bounds the transaction that stores a turn.
pub(super) const MOST_MESSAGES: usize = 10_000;

/// A message that a request brings.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Incoming {
    role: Role,
    content: Vec<Part>,
    name: Option<String>,
    otid: Option<String>,
    sender_id: Option<String>,
    group_id: Option<String>,
    batch_item_id: Option<String>,
}

impl Incoming {
    /// A message of the user.
    pub(super) fn of_user(content: Vec<Part>) -> Self {
        Self { role: Role::User, content, name: None, otid: None, sender_id: None, group_id: None, batch_item_id: None }
    }

    /// A message that is not the user's.
    pub(super) fn of_system(content: Vec<Part>) -> Self {
        Self { role: Role::System, ..Self::of_user(content) }
    }

    /// A message to a member of a group.
    pub(super) fn of_group(group_id: &str, content: Vec<Part>) -> Self {
        Self { group_id: Some(group_id.to_owned()), ..Self::of_user(content) }
    }

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

    /// The messages that an agent begins with; none: those of its type.
    pub(in crate::mock) fn read_initial(fields: &Fields<'_>) -> Result<Option<Vec<Message>>, ApiError> {
        let name = "initial_message_sequence";
        let Some(items) = fields.optional::<Vec<Fields<'_>>>(name)? else { return Ok(None) };
        if items.len() > MOST_MESSAGES {
            let rule = format!("an agent begins with at most {MOST_MESSAGES} messages");
            return Err(fields.at(name).breaks_rule(&rule, &Value::Null));
        }
        items.iter().map(|item| Self::read(item).map(Self::into_initial)).collect::<Result<_, _>>().map(Some)
    }

    /// The message to be stored as the beginning of a history.
    pub(in crate::mock) fn into_initial(self) -> Message {
        Message {
            name: self.name,
            otid: self.otid,
            sender_id: self.sender_id,
            group_id: self.group_id,
            batch_item_id: self.batch_item_id,
            ..Message::new(self.role, self.content)
        }
    }

    /// The otid that the client chose.
    pub(super) fn otid(&self) -> Option<&str> {
        self.otid.as_deref()
    }

    /// The message to be stored by a turn.
    pub(super) fn into_message(self, run_id: &str, step_id: &str) -> Message {
        let otid = match self.role {
            Role::User => Some(self.otid.clone().unwrap_or_else(|| Uuid::new_v4().hyphenated().to_string())),
            Role::Assistant => self.otid.clone(),
            _ => None,
        };
        Message { otid, ..self.into_initial().of_turn(run_id, Some(step_id)) }
    }
}

/// Text, or a list of parts.
pub(super) fn read_content(content: &Value, location: &Location) -> Result<Vec<Part>, ApiError> {
    match content {
        Value::String(text) => Ok(vec![Part::text(text.as_str())]),
        Value::Array(_) => Vec::<Fields<'_>>::read(content, location)?.iter().map(read_part).collect(),
        _ => Err(location.refuse("string_type", "Input should be a valid string or list", content)),
    }
}

/// What a tool returned: text, or a list of parts.
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
