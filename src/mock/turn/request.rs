//! What a request to an agent says, and how it wants to be answered.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    entropy,
    error::{ApiError, Code},
    mock::{
        fields::{Expect, Fields, Location, Read},
        records::{ImageSource, Message, MessageType, Part, RequestConfig, Role, Timestamp},
    },
};

/// What a turn is to do. It can be stored and taken up later.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct TurnRequest {
    /// What is said, in order.
    pub(in crate::mock) input: Vec<Incoming>,
    /// The most model steps to take.
    pub(in crate::mock) max_steps: i64,
}

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

/// How an answer is to travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one field of the request")]
pub(in crate::mock) struct Delivery {
    /// As events, not as one answer.
    pub(in crate::mock) streaming: bool,
    /// Texts in pieces.
    pub(in crate::mock) tokens: bool,
    /// With signs of life.
    pub(in crate::mock) pings: bool,
    /// The turn goes on when the client leaves.
    pub(in crate::mock) background: bool,
}

/// A request to send messages, read from its body.
#[derive(Clone, Debug)]
pub(in crate::mock) struct SendRequest {
    pub(in crate::mock) request: TurnRequest,
    pub(in crate::mock) config: RequestConfig,
    pub(in crate::mock) delivery: Delivery,
    /// Whether it answers a question that an agent asked about a tool call, rather than say something.
    pub(in crate::mock) decides: bool,
    pub(in crate::mock) callback_url: Option<String>,
}

const DEFAULT_MAX_STEPS: i64 = 50;
/// Bounds the transaction that stores a turn.
const MOST_MESSAGES: usize = 10_000;

/// Fields that a mock without tools and models has no use for.
const UNUSED: &[(&str, Expect)] = &[
    ("enable_thinking", Expect::Text),
    ("override_model", Expect::Text),
    ("override_system", Expect::Text),
    ("system", Expect::Text),
    ("include_compaction_messages", Expect::Flag),
    ("return_logprobs", Expect::Flag),
    ("top_logprobs", Expect::Integer),
    ("return_token_ids", Expect::Flag),
];

impl SendRequest {
    /// Reads a body.
    pub(in crate::mock) fn read(body: &Value) -> Result<Self, ApiError> {
        let fields = Fields::of_body(body)?;
        fields.check(UNUSED)?;
        check_items(
            &fields,
            "client_tools",
            &["name"],
            &[("description", Expect::Text), ("parameters", Expect::Object)],
        )?;
        check_items(&fields, "client_skills", &["name", "description", "location"], &[])?;
        let delivery = Delivery {
            streaming: fields.optional("streaming")?.unwrap_or(false),
            tokens: fields.optional("stream_tokens")?.unwrap_or(false),
            pings: fields.optional("include_pings")?.unwrap_or(true),
            background: fields.optional("background")?.unwrap_or(false),
        };
        let config = RequestConfig {
            use_assistant_message: fields.optional("use_assistant_message")?.unwrap_or(true),
            assistant_message_tool_name: fields
                .optional("assistant_message_tool_name")?
                .unwrap_or_else(|| "send_message".into()),
            assistant_message_tool_kwarg: fields
                .optional("assistant_message_tool_kwarg")?
                .unwrap_or_else(|| "message".into()),
            include_return_message_types: message_types(&fields)?,
        };
        let max_steps = fields.at_least("max_steps", 1)?.unwrap_or(DEFAULT_MAX_STEPS);
        let callback_url = fields.optional("callback_url")?;
        let (input, decides) = read_input(&fields, body)?;
        Ok(Self { request: TurnRequest { input, max_steps }, config, delivery, decides, callback_url })
    }

    /// Refuses options of streams in a request that wants none.
    pub(in crate::mock) fn check_plain(&self) -> Result<(), ApiError> {
        let Delivery { tokens, pings, background, .. } = self.delivery;
        let found = [(tokens, "stream_tokens"), (!pings, "include_pings"), (background, "background")];
        match found.iter().find(|(set, _)| *set) {
            Some((_, name)) => Err(ApiError::letta(
                Code::ValidationFailed,
                format!("{name} is an option of streams: send streaming=true with it, or leave it out."),
            )),
            None => Ok(()),
        }
    }
}

fn check_items(fields: &Fields<'_>, name: &str, required: &[&str], others: &[(&str, Expect)]) -> Result<(), ApiError> {
    for item in fields.optional::<Vec<Fields<'_>>>(name)?.unwrap_or_default() {
        for name in required {
            item.required::<&str>(name)?;
        }
        item.check(others)?;
    }
    Ok(())
}

/// The types of messages that a body wants to see.
fn message_types(fields: &Fields<'_>) -> Result<Option<Vec<MessageType>>, ApiError> {
    let name = "include_return_message_types";
    let Some(words) = fields.optional::<Vec<&str>>(name)? else { return Ok(None) };
    let read = |(index, word): (usize, &&str)| {
        MessageType::from_word(word).ok_or_else(|| {
            let problem = format!("Input should be {}", MessageType::words());
            fields.at(name).item(index).refuse("enum", &problem, &json!(word))
        })
    };
    words.iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}

/// What is said: exactly one of `messages` and `input`. Also whether it is a decision.
fn read_input(fields: &Fields<'_>, body: &Value) -> Result<(Vec<Incoming>, bool), ApiError> {
    let refuse = |rule: &str| Err(fields.location().breaks_rule(rule, body));
    match (fields.value("messages"), fields.value("input")) {
        (Some(_), Some(_)) => refuse("Cannot specify both 'input' and 'messages'. Use one or the other."),
        (None, None) => refuse("Must specify either 'input' or 'messages'."),
        (None, Some(input)) => {
            let content = read_content(input, &fields.at("input"))?;
            Ok((vec![Incoming::of_user(content)], false))
        }
        (Some(messages), None) => {
            let items = Vec::<Fields<'_>>::read(messages, &fields.at("messages"))?;
            if items.is_empty() || items.len() > MOST_MESSAGES {
                let rule = format!("a request brings 1 to {MOST_MESSAGES} messages");
                return Err(fields.at("messages").breaks_rule(&rule, messages));
            }
            let mut input = Vec::new();
            let mut decides = false;
            for item in &items {
                match kind(item)? {
                    "approval" => decides |= check_approval(item)?,
                    "tool_return" => decides |= check_tool_returns(item, "tool_returns")?,
                    _ => input.push(Incoming::read(item)?),
                }
            }
            Ok((input, decides))
        }
    }
}

/// What an item of `messages` is; without a word for it, its fields tell.
fn kind(item: &Fields<'_>) -> Result<&'static str, ApiError> {
    match item.one_of("type", &["message", "approval", "tool_return"])? {
        Some(kind) => Ok(kind),
        None if item.value("approve").is_some() || item.value("approval_request_id").is_some() => Ok("approval"),
        None => Ok("message"),
    }
}

fn check_approval(item: &Fields<'_>) -> Result<bool, ApiError> {
    item.check(&[
        ("otid", Expect::Text),
        ("group_id", Expect::Text),
        ("approve", Expect::Flag),
        ("approval_request_id", Expect::Text),
        ("reason", Expect::Text),
    ])?;
    for approval in item.optional::<Vec<Fields<'_>>>("approvals")?.unwrap_or_default() {
        approval.required::<&str>("tool_call_id")?;
        if approval.one_of("type", &["approval", "tool"])? == Some("tool") {
            approval.one_of("status", &["success", "error"])?;
        } else {
            approval.required::<bool>("approve")?;
            approval.check(&[("reason", Expect::Text)])?;
        }
    }
    Ok(true)
}

fn check_tool_returns(item: &Fields<'_>, name: &str) -> Result<bool, ApiError> {
    for returned in item.required::<Vec<Fields<'_>>>(name)? {
        returned.required::<&str>("tool_call_id")?;
        returned.one_of("status", &["success", "error"])?;
    }
    Ok(true)
}

impl Incoming {
    fn of_user(content: Vec<Part>) -> Self {
        Self { role: Role::User, content, name: None, otid: None, sender_id: None, group_id: None, batch_item_id: None }
    }

    fn read(item: &Fields<'_>) -> Result<Self, ApiError> {
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

    /// The messages that an agent begins with, if a request names any.
    pub(in crate::mock) fn read_initial(fields: &Fields<'_>) -> Result<Vec<Self>, ApiError> {
        let name = "initial_message_sequence";
        let items = fields.optional::<Vec<Fields<'_>>>(name)?.unwrap_or_default();
        if items.len() > MOST_MESSAGES {
            let rule = format!("an agent begins with at most {MOST_MESSAGES} messages");
            return Err(fields.at(name).breaks_rule(&rule, &Value::Null));
        }
        items.iter().map(Self::read).collect()
    }

    /// The message to be stored as the beginning of a history.
    pub(in crate::mock) fn into_initial(self) -> Message {
        Message {
            id: entropy::letta_id("message"),
            role: self.role,
            content: self.content,
            created_at: Timestamp::now(),
            name: self.name,
            otid: self.otid,
            sender_id: self.sender_id,
            group_id: self.group_id,
            batch_item_id: self.batch_item_id,
            step_id: None,
            run_id: None,
        }
    }

    /// The message to be stored by a turn.
    pub(super) fn into_message(self, run_id: &str, step_id: &str) -> Message {
        let otid = match self.role {
            Role::User => Some(self.otid.clone().unwrap_or_else(|| Uuid::new_v4().hyphenated().to_string())),
            Role::System => None,
            Role::Assistant => self.otid.clone(),
        };
        Message { otid, step_id: Some(step_id.to_owned()), run_id: Some(run_id.to_owned()), ..self.into_initial() }
    }
}

/// Text, or a list of parts.
fn read_content(content: &Value, location: &Location) -> Result<Vec<Part>, ApiError> {
    match content {
        Value::String(text) => Ok(vec![Part::text(text.as_str())]),
        Value::Array(_) => Vec::<Fields<'_>>::read(content, location)?.iter().map(read_part).collect(),
        _ => Err(location.refuse("string_type", "Input should be a valid string or list", content)),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &Value) -> String {
        SendRequest::read(body).err().map(|error| error.message().to_owned()).unwrap_or_default()
    }

    #[test]
    fn a_request_says_something_in_one_of_two_ways() {
        let send = SendRequest::read(&json!({"input": "Hello"})).unwrap();
        assert_eq!(send.request.input[0].content, [Part::text("Hello")]);
        let send =
            SendRequest::read(&json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}));
        assert_eq!(send.unwrap().request.input[0].content, [Part::text("Hello")]);
        for body in [json!({}), json!({"messages": [], "input": "x"}), json!({"messages": []}), json!(null), json!([])]
        {
            assert!(SendRequest::read(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_decision_is_told_from_a_message() {
        for item in [
            json!({"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "c", "approve": true}]}),
            json!({"approve": true, "approval_request_id": "message-1"}),
            json!({"type": "tool_return", "tool_returns": [{"type": "tool", "tool_call_id": "c", "tool_return": "x"}]}),
        ] {
            let send = SendRequest::read(&json!({"messages": [item]})).unwrap();
            assert!(send.decides && send.request.input.is_empty());
        }
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        let user = json!({"role": "user", "content": "x"});
        for (body, expected) in [
            (json!({"messages": [{"role": "robot", "content": "x"}]}), "body.messages.0.role: "),
            (json!({"messages": [{"content": "x"}]}), "body.messages.0.role: Field required"),
            (json!({"messages": [{"role": "user"}]}), "body.messages.0.content: Field required"),
            (json!({"messages": [{"role": "user", "content": 5}]}), "body.messages.0.content: "),
            (
                json!({"messages": [{"role": "user", "content": [{"type": "text"}]}]}),
                "body.messages.0.content.0.text: ",
            ),
            (json!({"messages": [{"role": "user", "content": [{"type": "x"}]}]}), "body.messages.0.content.0.type: "),
            (json!({"messages": [user, 5]}), "body.messages.1: "),
            (json!({"messages": {}}), "body.messages: "),
            (json!({"input": {}}), "body.input: "),
            (json!({"input": "x", "max_steps": 0}), "body.max_steps: "),
            (json!({"input": "x", "max_steps": "many"}), "body.max_steps: "),
            (json!({"input": "x", "streaming": "yes"}), "body.streaming: "),
            (json!({"input": "x", "include_return_message_types": ["none"]}), "body.include_return_message_types.0: "),
            (json!({"input": "x", "client_tools": [{}]}), "body.client_tools.0.name: "),
        ] {
            let refusal = refusal(&body);
            assert!(refusal.starts_with(expected), "{body}: {refusal}");
        }
    }

    #[test]
    fn options_of_streams_need_a_stream() {
        for body in [
            json!({"input": "x", "stream_tokens": true}),
            json!({"input": "x", "include_pings": false}),
            json!({"input": "x", "background": true}),
        ] {
            assert!(SendRequest::read(&body).unwrap().check_plain().is_err(), "{body}");
        }
    }
}
