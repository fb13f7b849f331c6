//! Rebuilds a frame from the fields that its command's row grants.

use serde_json::{Map, Value};

use super::{
    denial::{TAGS, invalid, not_granted},
    sent::{self, Naming},
    text,
};
use crate::{
    access::DEFAULT_CONVERSATION,
    app_server::fields::{Field, Fields, Rule},
    error::{ApiError, Code},
    model::AgentId,
};

/// What the check of a frame has found out about it.
pub(super) struct Context<'a> {
    /// The agent that the frame is about.
    pub(super) agent: Option<&'a AgentId>,
    /// The conversation that the frame is about.
    pub(super) conversation: Option<&'a str>,
    /// Whether the frame creates a conversation.
    pub(super) creates: bool,
    /// The queued messages of the runtime that this token sent.
    pub(super) own_items: &'a [String],
    /// How the messages in the frame are named.
    pub(super) naming: Naming<'a>,
}

impl Context<'_> {
    /// What is forwarded of an object, in the order of `fields`. `at` is the object's place, with a dot behind it.
    pub(super) fn object(
        &mut self,
        fields: Fields,
        at: &str,
        object: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ApiError> {
        let mut rebuilt = Map::new();
        for field in fields {
            // A field that is null counts as left out.
            let value = object.get(field.name).filter(|value| !value.is_null());
            if let Some(value) = self.field(field, at, value)? {
                rebuilt.insert(field.name.to_owned(), value);
            }
        }
        Ok(rebuilt)
    }

    fn field(&mut self, field: &Field, at: &str, value: Option<&Value>) -> Result<Option<Value>, ApiError> {
        let place = |what: &str| invalid(&format!("{at}{}", field.name), what);
        // What the gate says itself.
        match field.rule {
            Rule::Agent => return Ok(self.agent.map(|agent| agent.as_str().into())),
            Rule::AgentOfDefault if self.conversation != Some(DEFAULT_CONVERSATION) => return Ok(None),
            Rule::AgentOfDefault => return Ok(self.agent.map(|agent| agent.as_str().into())),
            Rule::Conversation => return Ok(self.conversation.map(Into::into)),
            Rule::Runtime => return Ok(self.runtime()),
            Rule::Forced(json) => return Ok(serde_json::from_str(json).ok()),
            Rule::Drop => return Ok(None),
            Rule::NewConversation(fields) => return self.new_conversation(fields, field, at, value),
            _ => {}
        }
        let Some(value) = value else {
            return match field.rule {
                // The object of a query may hold what the gate fills in.
                Rule::Object(fields) if !field.required => {
                    let rebuilt = self.object(fields, &format!("{at}{}.", field.name), &Map::new())?;
                    Ok((!rebuilt.is_empty()).then_some(Value::Object(rebuilt)))
                }
                _ if field.required => Err(place("is missing")),
                _ => Ok(None),
            };
        };
        Ok(Some(match field.rule {
            Rule::Object(fields) => {
                let object = value.as_object().ok_or_else(|| place("must be an object"))?;
                let rebuilt = self.object(fields, &format!("{at}{}.", field.name), object)?;
                if rebuilt.is_empty() && !field.required {
                    return Ok(None);
                }
                Value::Object(rebuilt)
            }
            Rule::Flag => value.as_bool().ok_or_else(|| place("must be true or false"))?.into(),
            Rule::Word(words) => match value.as_str() {
                Some(word) if words.contains(&word) => word.into(),
                _ => return Err(place(&format!("must be {}", words.join(" or ")))),
            },
            Rule::Only(word, hint) => match value.as_str() {
                Some(sent) if sent == word => word.into(),
                Some(_) => return Err(not_granted(&format!("{at}{}", field.name), hint)),
                None => return Err(place("must be a string")),
            },
            Rule::AtMost(most) => match value.as_u64() {
                Some(number) if number > 0 => number.min(most).into(),
                _ => return Err(place("must be a whole number from 1")),
            },
            Rule::Id => id(value, text::is_id).ok_or_else(|| place("must be an id"))?,
            Rule::Revision => id(value, text::is_revision)
                .ok_or_else(|| place("must be the hash of a commit: 7 to 64 lower-case hexadecimal digits"))?,
            Rule::MemoryPath => id(value, text::is_memory_path).ok_or_else(|| {
                place("must be the path of a .md, .png, .jpg, .jpeg, .gif or .webp file, outside of mods and skills")
            })?,
            Rule::QueueItem => {
                let item = id(value, text::is_id).ok_or_else(|| place("must be an id"))?;
                if !self.own_items.iter().any(|own| item == own.as_str()) {
                    let sentence = "This token has no such message in the queue of this conversation.";
                    return Err(ApiError::new(Code::NotFound, sentence));
                }
                item
            }
            Rule::Label(most) => {
                let label = text_of(value, most).map_err(|what| place(&what))?;
                if text::harness_tag(label).is_some() {
                    return Err(not_granted(&format!("{at}{}", field.name), TAGS));
                }
                label.into()
            }
            Rule::Text(most) => text_of(value, most).map_err(|what| place(&what))?.into(),
            Rule::Metadata(most) => {
                if !value.is_object() || value.to_string().len() > most {
                    return Err(place(&format!("must be an object of at most {most} bytes of JSON")));
                }
                value.clone()
            }
            Rule::Messages => sent::rebuild(value, &format!("{at}{}", field.name), &mut self.naming)?,
            Rule::Refuse(hint) => {
                if is_blank(value) {
                    return Ok(None);
                }
                return Err(not_granted(&format!("{at}{}", field.name), hint));
            }
            Rule::Agent
            | Rule::AgentOfDefault
            | Rule::Conversation
            | Rule::Runtime
            | Rule::Forced(_)
            | Rule::Drop
            | Rule::NewConversation(_) => return Ok(None),
        }))
    }

    fn runtime(&self) -> Option<Value> {
        let (agent, conversation) = (self.agent?.as_str(), self.conversation?);
        Some(Value::Object(Map::from_iter([
            ("agent_id".to_owned(), agent.into()),
            ("conversation_id".to_owned(), conversation.into()),
        ])))
    }

    fn new_conversation(
        &mut self,
        fields: Fields,
        field: &Field,
        at: &str,
        value: Option<&Value>,
    ) -> Result<Option<Value>, ApiError> {
        if !self.creates {
            return Ok(None);
        }
        let empty = Map::new();
        let object = match value {
            Some(value) => {
                value.as_object().ok_or_else(|| invalid(&format!("{at}{}", field.name), "must be an object"))?
            }
            None => &empty,
        };
        self.object(fields, &format!("{at}{}.", field.name), object).map(|rebuilt| Some(Value::Object(rebuilt)))
    }
}

/// Whether a value says nothing.
pub(super) fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn id(value: &Value, form: fn(&str) -> bool) -> Option<Value> {
    value.as_str().filter(|text| form(text)).map(Into::into)
}

fn text_of(value: &Value, most: usize) -> Result<&str, String> {
    match value.as_str() {
        Some(text) if text.len() <= most => Ok(text),
        Some(_) => Err(format!("may take at most {most} bytes")),
        None => Err("must be a string".into()),
    }
}
