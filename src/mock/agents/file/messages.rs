//! The messages of agent files. Fields of an imported message that the mock does not model are stored with it, so that
//! the message is exported unchanged.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::reading::{invalid_file, items};
use crate::{
    entropy,
    error::ApiError,
    mock::{
        agents::legacy,
        records::{
            Agent, Approval, Content, DEFAULT_CONVERSATION, Message, Part, Pending, Role, Timestamp, ToolCall,
            ToolReturn, ToolStatus,
        },
        validation::body::Fields,
    },
};

/// The fields of a message, in Letta's order.
const KEYS: [&str; 19] = [
    "type",
    "otid",
    "group_id",
    "role",
    "content",
    "name",
    "sender_id",
    "batch_item_id",
    "id",
    "model",
    "agent_id",
    "tool_calls",
    "tool_call_id",
    "tool_returns",
    "created_at",
    "approve",
    "approval_request_id",
    "denial_reason",
    "approvals",
];

/// The fields whose imported values are kept where an export would write others.
const PRESERVED: [&str; 12] = [
    "group_id",
    "content",
    "name",
    "batch_item_id",
    "model",
    "tool_calls",
    "tool_call_id",
    "tool_returns",
    "approve",
    "approval_request_id",
    "denial_reason",
    "approvals",
];

/// A message as it is written to a file.
pub(super) fn to_file(message: &Message, agent: &Agent, agent_local_id: &str, local_id: &str) -> Value {
    let mut wire = message.stored(&agent.id, DEFAULT_CONVERSATION);
    wire["type"] = "message".into();
    wire["id"] = local_id.into();
    wire["agent_id"] = agent_local_id.into();
    if !message.is_of_user() {
        wire["model"] = agent.model.llm.get("model").cloned().unwrap_or_default();
    }
    if wire["otid"].is_null() {
        wire["otid"] = message.otid_of_part(0).into();
    }
    wire["created_at"] = message.created_at.with_offset().into();
    if wire["approvals"].is_null() {
        wire["approvals"] = json!([]);
    }
    for (key, value) in &message.original {
        wire[key] = value.clone();
    }
    KEYS.iter().map(|key| ((*key).to_owned(), wire[*key].take())).collect::<Map<_, _>>().into()
}

/// The history of an agent in a file.
#[derive(Debug, Default)]
pub(super) struct ImportedMessages {
    /// The system message as it was exported; `None` if it is not in the model's context.
    pub(super) system: Option<Message>,
    /// All messages after the system message.
    pub(super) messages: Vec<Message>,
    /// The ids of messages outside of the model's context.
    pub(super) out_of_context: HashSet<String>,
}

impl ImportedMessages {
    /// Reads the history of an agent. `speaks_by_tool` is whether the agent has the tool by which older agents speak.
    pub(super) fn read(written: &Fields<'_>, agent: &Agent, speaks_by_tool: bool) -> Result<Self, ApiError> {
        let context: Option<HashSet<&str>> = written
            .optional::<Vec<&str>>("in_context_message_ids")
            .map_err(invalid_file)?
            .map(|ids| ids.into_iter().collect());
        let sources = items(written, "messages")?;
        let mut messages = sources.iter().map(read_message).collect::<Result<Vec<_>, _>>().map_err(invalid_file)?;
        legacy::restore_monologue(&agent.agent_type, speaks_by_tool, &mut messages);
        let mut out_of_context = HashSet::new();
        for (message, source) in messages.iter_mut().zip(&sources) {
            preserve_fields(message, source, agent);
            let local_id = source.optional::<&str>("id").map_err(invalid_file)?.unwrap_or_default();
            if context.as_ref().is_some_and(|context| !context.contains(local_id)) {
                out_of_context.insert(message.id.clone());
            }
        }
        let mut system = None;
        if messages.first().is_some_and(|first| first.role == Role::System) {
            let first = messages.remove(0);
            system = Some(first).filter(|first| !out_of_context.remove(&first.id));
        }
        Ok(Self { system, messages, out_of_context })
    }

    /// The approval request with which the history ends, if it does.
    pub(super) fn pending(&self) -> Option<Box<Pending>> {
        let (request, before) = self.messages.split_last()?;
        if request.role != Role::Approval || request.tool_calls.is_empty() || self.out_of_context.contains(&request.id)
        {
            return None;
        }
        let other_calls = before.last().filter(|message| message.role == Role::Assistant);
        let automatic = other_calls.map(|message| message.tool_calls.clone()).unwrap_or_default();
        Some(Box::new(Pending { request: request.clone(), automatic, scripted: Vec::new(), reply: None }))
    }
}

/// Stores the imported values of fields for which an export would write other values.
fn preserve_fields(message: &mut Message, source: &Fields<'_>, agent: &Agent) {
    let exported = to_file(message, agent, "", "");
    for key in PRESERVED {
        // The system message is compiled anew.
        if message.role == Role::System && key == "content" {
            continue;
        }
        if let Some(value) = source.map().get(key).filter(|value| !is_same(value, &exported[key])) {
            message.original.insert(key.to_owned(), value.clone());
        }
    }
}

/// Whether two values are equal, where `null`, an empty list and a missing member are the same.
fn is_same(one: &Value, other: &Value) -> bool {
    let is_absent = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let within = |one: &Map<String, Value>, other: &Map<String, Value>| {
                one.iter().all(|(key, value)| is_same(value, other.get(key).unwrap_or(&Value::Null)))
            };
            within(one, other) && within(other, one)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        _ => one == other || is_absent(one) && is_absent(other),
    }
}

/// Reads a message. It gets a new id.
fn read_message(written: &Fields<'_>) -> Result<Message, ApiError> {
    let role = written.required::<&str>("role")?;
    let role: Role = parse(written, "role", &json!(role))?;
    let calls = written.optional::<Vec<Fields<'_>>>("tool_calls")?.unwrap_or_default();
    let returns = written.optional::<Vec<Fields<'_>>>("tool_returns")?.unwrap_or_default();
    let created_at = written.optional::<Timestamp>("created_at")?;
    let otid: Option<String> = written.optional("otid")?;
    let (mut content, returned) = read_content(written)?;
    let mut tool_returns = returns.iter().map(read_return).collect::<Result<Vec<_>, _>>()?;
    if role == Role::Tool {
        // The content repeats the result of the tool. Older files have nothing else.
        let text = Part::text_of(&std::mem::take(&mut content));
        if tool_returns.is_empty() {
            tool_returns.extend(returned.or_else(|| Some(read_older_return(&text))));
        }
        if let (Some(id), [only]) = (written.optional::<String>("tool_call_id")?, tool_returns.as_mut_slice())
            && only.tool_call_id.is_empty()
        {
            only.tool_call_id = id;
        }
    }
    let new = Message::new(role, content);
    Ok(Message {
        id: entropy::letta_id("message"),
        created_at: created_at.unwrap_or(new.created_at),
        // The others are derived from the message's id.
        otid: otid.filter(|_| matches!(role, Role::User | Role::Summary)),
        name: written.optional("name")?,
        sender_id: written.optional("sender_id")?,
        tool_calls: calls.iter().map(read_call).collect::<Result<_, _>>()?,
        tool_returns,
        approvals: read_approvals(written)?,
        ..new
    })
}

/// The content of a message, and the tool result among its parts, if any.
fn read_content(written: &Fields<'_>) -> Result<(Vec<Part>, Option<ToolReturn>), ApiError> {
    let (mut parts, mut returned) = (Vec::new(), None);
    match written.value("content") {
        None => {}
        Some(Value::String(text)) => parts.push(Part::text(text.as_str())),
        Some(_) => {
            for part in written.required::<Vec<Fields<'_>>>("content")? {
                match part.required::<&str>("type")? {
                    // Repeats one of the calls, for providers that sign calls.
                    "tool_call" => drop(part.required::<&str>("id")?),
                    "tool_return" => {
                        let is_error = part.required::<bool>("is_error")?;
                        returned = Some(ToolReturn {
                            tool_return: Content::Text(part.required("content")?),
                            status: if is_error { ToolStatus::Error } else { ToolStatus::Success },
                            tool_call_id: part.required("tool_call_id")?,
                            stdout: None,
                            stderr: None,
                        });
                    }
                    "summarized_reasoning" => parts.extend(read_summary(&part)?),
                    _ => parts.push(parse(written, "content", &Value::Object(part.map().clone()))?),
                }
            }
        }
    }
    Ok((parts, returned))
}

/// Reasoning that is only known by its summary.
fn read_summary(part: &Fields<'_>) -> Result<Option<Part>, ApiError> {
    let mut texts = Vec::new();
    for summary in part.required::<Vec<Fields<'_>>>("summary")? {
        texts.push(summary.required::<&str>("text")?);
    }
    texts.retain(|text| !text.is_empty());
    let signature = part.optional("encrypted_content")?;
    let part = || Part::Reasoning { is_native: true, reasoning: texts.join("\n\n"), signature };
    Ok((!texts.is_empty()).then(part))
}

fn read_call(written: &Fields<'_>) -> Result<ToolCall, ApiError> {
    let function: Fields<'_> = written.required("function")?;
    Ok(ToolCall {
        name: function.required("name")?,
        arguments: function.required("arguments")?,
        id: written.required("id")?,
    })
}

fn read_return(written: &Fields<'_>) -> Result<ToolReturn, ApiError> {
    let response = written.value("func_response").map_or_else(|| "".into(), unpacked);
    let status = written.value("status").cloned().unwrap_or_else(|| "success".into());
    Ok(ToolReturn {
        tool_return: parse::<Content>(written, "func_response", &response)?,
        status: parse(written, "status", &status)?,
        tool_call_id: written.optional("tool_call_id")?.unwrap_or_default(),
        stdout: written.optional("stdout")?,
        stderr: written.optional("stderr")?,
    })
}

/// The tool result of an older file, which has it only in the content.
fn read_older_return(text: &str) -> ToolReturn {
    let packaged = serde_json::from_str::<Value>(text).unwrap_or_default();
    let status = if packaged["status"] == "Failed" { ToolStatus::Error } else { ToolStatus::Success };
    let message = unpacked(&text.into());
    let message = message.as_str().unwrap_or(text).to_owned();
    ToolReturn { tool_return: Content::Text(message), status, tool_call_id: String::new(), stdout: None, stderr: None }
}

/// The decisions about tool calls, in the format in which Letta stores or receives them. Older files have a single
/// decision, in fields of the message.
fn read_approvals(written: &Fields<'_>) -> Result<Vec<Approval>, ApiError> {
    let approvals = written.optional::<Vec<Fields<'_>>>("approvals")?.unwrap_or_default();
    if let (true, Some(approve)) = (approvals.is_empty(), written.optional::<bool>("approve")?) {
        let tool_call_id = written.optional("approval_request_id")?.unwrap_or_default();
        return Ok(vec![Approval::Approval { tool_call_id, approve, reason: written.optional("denial_reason")? }]);
    }
    let read = |approval: &Fields<'_>| {
        if let Some(approve) = approval.optional("approve")? {
            let tool_call_id = approval.required("tool_call_id")?;
            return Ok(Approval::Approval { tool_call_id, approve, reason: approval.optional("reason")? });
        }
        let mut returned = read_return(approval)?;
        if let Some(sent) = approval.value("tool_return") {
            returned.tool_return = parse::<Content>(approval, "tool_return", sent)?;
        }
        Ok(Approval::Tool(returned))
    };
    approvals.iter().map(read).collect()
}

/// The result of a tool, without the envelope in which Letta stores it.
fn unpacked(response: &Value) -> Value {
    let packaged = response.as_str().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    match packaged.filter(|packaged| packaged.contains_key("status") && packaged.contains_key("time")) {
        Some(mut packaged) => match packaged.remove("message") {
            Some(Value::Null) => "None".into(),
            Some(Value::String(text)) => text.into(),
            Some(other) => other.to_string().into(),
            None => response.clone(),
        },
        None => response.clone(),
    }
}

fn parse<T: serde::de::DeserializeOwned>(fields: &Fields<'_>, name: &str, value: &Value) -> Result<T, ApiError> {
    T::deserialize(value).map_err(|error| fields.at(name).breaks_rule(&error.to_string(), value))
}
