//! Reads requests to send messages to an agent.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::input::{MAX_MESSAGES, read_content};
use crate::{
    access::Attempt,
    error::{ApiError, Code},
    mock::{
        records::{ClientTool, Decision, Delivery, IncomingMessage, MessageType, MessageView, TurnRequest},
        storage::is_plain,
        validation::body::{Expect, Fields, Read},
    },
};

/// A request to send messages, read from its body.
#[derive(Clone, Debug)]
pub(in crate::mock) struct SendRequest {
    pub(in crate::mock) request: TurnRequest,
    pub(in crate::mock) message_view: MessageView,
    pub(in crate::mock) delivery: Delivery,
    /// The agent whose default conversation is meant, if the request names no conversation.
    pub(in crate::mock) agent_id: Option<String>,
    pub(in crate::mock) callback_url: Option<String>,
    /// Its place in the journal, if there is one.
    pub(in crate::mock) attempt: Option<Arc<dyn Attempt>>,
}

/// The limit of steps, unless the request sets one.
pub(super) const DEFAULT_MAX_STEPS: i64 = 50;

/// Fields that are checked and have no effect, since there is no model.
const UNUSED: &[(&str, Expect)] = &[
    ("enable_thinking", Expect::Text),
    ("override_system", Expect::Text),
    ("system", Expect::Text),
    ("include_compaction_messages", Expect::Flag),
    ("return_logprobs", Expect::Flag),
    ("top_logprobs", Expect::Integer),
    ("return_token_ids", Expect::Flag),
];

impl TurnRequest {
    /// The idempotency key of a background request, if the client has chosen an `otid` for each message and decision.
    pub(in crate::mock) fn idempotency_key(&self, conversation_id: &str) -> Option<String> {
        let chosen = self.input.iter().map(|message| message.otid.as_deref());
        let chosen = chosen.chain(self.decision.iter().map(|decision| decision.otid.as_deref()));
        idempotency_key(conversation_id, &chosen.collect::<Option<Vec<&str>>>()?.join(","))
    }
}

/// The idempotency key of a background request with these `otids`, separated by commas. It is the kind of the link from the
/// agent to the run.
pub(in crate::mock) fn idempotency_key(conversation_id: &str, otids: &str) -> Option<String> {
    const MAX_LENGTH: usize = 1_000;
    let idempotency_key = format!("background:{conversation_id}:{otids}");
    (idempotency_key.len() <= MAX_LENGTH && is_plain(&idempotency_key)).then_some(idempotency_key)
}

impl SendRequest {
    /// Reads a body. `streaming` is whether the response is a stream if the request does not say.
    pub(in crate::mock) fn read(body: &Value, streaming: bool) -> Result<Self, ApiError> {
        Self::read_fields(&Fields::of_body(body)?, streaming)
    }

    /// Reads an object within a body.
    pub(in crate::mock) fn read_fields(fields: &Fields<'_>, streaming: bool) -> Result<Self, ApiError> {
        fields.check(UNUSED)?;
        check_skills(fields)?;
        let delivery = Delivery {
            streaming: fields.optional("streaming")?.unwrap_or(streaming),
            tokens: fields.optional("stream_tokens")?.unwrap_or(false),
            pings: fields.optional("include_pings")?.unwrap_or(true),
            background: fields.optional("background")?.unwrap_or(false),
        };
        let mut message_view = MessageView::only(message_types(fields)?);
        if let Some(flag) = fields.optional("use_assistant_message")? {
            message_view.use_assistant_message = flag;
        }
        if let Some(name) = fields.optional::<String>("assistant_message_tool_name")? {
            message_view.assistant_message_tool_name = name.into();
        }
        if let Some(name) = fields.optional::<String>("assistant_message_tool_kwarg")? {
            message_view.assistant_message_tool_kwarg = name.into();
        }
        let max_steps = fields.optional::<i64>("max_steps")?.unwrap_or(DEFAULT_MAX_STEPS);
        let callback_url = fields.optional("callback_url")?;
        let agent_id = fields.optional("agent_id")?;
        let (client_tools, model) = (read_client_tools(fields)?, fields.optional::<String>("override_model")?);
        let (input, decision) = read_input(fields)?;
        let request = TurnRequest { input, decision, max_steps, client_tools, model, sharers: 1, transcript: None };
        Ok(Self { request, message_view, delivery, agent_id, callback_url, attempt: None })
    }

    /// Refuses options of streams in a request without a stream.
    pub(in crate::mock) fn check_plain(&self) -> Result<(), ApiError> {
        let Delivery { tokens, pings, background, .. } = self.delivery;
        let options = [(tokens, "stream_tokens"), (!pings, "include_pings"), (background, "background")];
        match options.iter().find(|(set, _)| *set) {
            Some((_, name)) => Err(ApiError::letta(
                Code::ValidationFailed,
                format!("{name} is an option of streams: send streaming=true with it, or leave it out."),
            )),
            None => Ok(()),
        }
    }
}

fn check_skills(fields: &Fields<'_>) -> Result<(), ApiError> {
    for skill in fields.optional::<Vec<Fields<'_>>>("client_skills")?.unwrap_or_default() {
        for name in ["name", "description", "location"] {
            skill.required::<&str>(name)?;
        }
    }
    Ok(())
}

fn read_client_tools(fields: &Fields<'_>) -> Result<Vec<ClientTool>, ApiError> {
    let tools = fields.optional::<Vec<Fields<'_>>>("client_tools")?.unwrap_or_default();
    let read = |tool: &Fields<'_>| {
        let name = tool.required("name")?;
        tool.check(&[("description", Expect::Text)])?;
        let parameters = tool.optional::<&Map<String, Value>>("parameters")?;
        Ok(ClientTool { name, parameters: parameters.map(|schema| json!(schema).to_string()) })
    };
    tools.iter().map(read).collect()
}

/// Reads the message types that the response should contain.
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

/// Reads the messages, from exactly one of `messages` and `input`, and the decision about tool calls before them.
fn read_input(fields: &Fields<'_>) -> Result<(Vec<IncomingMessage>, Option<Decision>), ApiError> {
    let refuse = |rule: &str| Err(fields.location().breaks_rule(rule, &Value::Object(fields.map().clone())));
    match (fields.value("messages"), fields.value("input")) {
        (Some(_), Some(_)) => refuse("Cannot specify both 'input' and 'messages'. Use one or the other."),
        (None, None) => refuse("Must specify either 'input' or 'messages'."),
        (None, Some(input)) => {
            let content = read_content(input, &fields.at("input"))?;
            Ok((vec![IncomingMessage::of_user(content)], None))
        }
        (Some(messages), None) => {
            let location = fields.at("messages");
            let items = Vec::<Fields<'_>>::read(messages, &location)?;
            if items.is_empty() || items.len() > MAX_MESSAGES {
                let rule = format!("a request brings 1 to {MAX_MESSAGES} messages");
                return Err(location.breaks_rule(&rule, messages));
            }
            let mut input = Vec::new();
            let mut decision = None;
            for (index, item) in items.iter().enumerate() {
                let decided = match kind(item)? {
                    "approval" => Decision::read_approval(item)?,
                    "tool_return" => Decision::read_returns(item)?,
                    _ => {
                        input.push(IncomingMessage::read(item)?);
                        continue;
                    }
                };
                if index > 0 {
                    let rule =
                        "an approval or tool return is the first message of a request, and the only one of its kind";
                    return Err(location.breaks_rule(rule, messages));
                }
                decision = Some(decided);
            }
            Ok((input, decision))
        }
    }
}

/// The kind of an item of `messages`. Without a `type`, its fields tell.
fn kind(item: &Fields<'_>) -> Result<&'static str, ApiError> {
    match item.one_of("type", &["message", "approval", "tool_return"])? {
        Some(kind) => Ok(kind),
        None if item.value("approve").is_some() || item.value("approval_request_id").is_some() => Ok("approval"),
        None => Ok("message"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &Value) -> String {
        SendRequest::read(body, false).err().map(|error| error.message().to_owned()).unwrap_or_default()
    }

    fn first_text(send: &SendRequest) -> String {
        send.request.input[0].clone().into_initial().text()
    }

    #[test]
    fn a_request_has_messages_or_input() {
        let send = SendRequest::read(&json!({"input": "Hello"}), false).unwrap();
        assert_eq!(first_text(&send), "Hello");
        let send = SendRequest::read(
            &json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]}),
            false,
        );
        assert_eq!(first_text(&send.unwrap()), "Hello");
        for body in [json!({}), json!({"messages": [], "input": "x"}), json!({"messages": []}), json!(null), json!([])]
        {
            assert!(SendRequest::read(&body, false).is_err(), "{body}");
        }
    }

    #[test]
    fn decisions_are_distinguished_from_messages() {
        for item in [
            json!({"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "c", "approve": true}]}),
            json!({"approve": true, "approval_request_id": "message-1"}),
            json!({"type": "tool_return", "tool_returns": [{"type": "tool", "tool_call_id": "c", "tool_return": "x"}]}),
        ] {
            let send = SendRequest::read(&json!({"messages": [item]}), false).unwrap();
            assert!(send.request.decision.is_some() && send.request.input.is_empty());
        }
    }

    #[test]
    fn errors_name_the_field() {
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
            assert!(SendRequest::read(&body, false).unwrap().check_plain().is_err(), "{body}");
        }
    }
}
