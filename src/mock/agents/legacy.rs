//! Agents of Letta's older types, such as `memgpt_agent`. They differ from `letta_v1_agent` in this:
//!
//! - Text that the model writes is its inner monologue. To speak to the user, it calls the tool `send_message`.
//! - A step makes at most one tool call. The argument `request_heartbeat` of the call says whether the turn continues after
//!   it. If it does, the agent gets a heartbeat event, a message in the role of the user.
//! - A new agent has initial messages: it greets the user by `send_message`, and gets an event that the user has logged in.

use serde_json::{Map, Value, json};

use crate::{
    entropy,
    mock::{
        records::{
            Content, MESSAGE_SENT, Message, Part, REQUEST_HEARTBEAT, Role, SPEAKING_TOOL, SPOKEN_ARGUMENT, Timestamp,
            ToolCall, ToolReturn, ToolStatus, is_older, object,
        },
        responder::{CallRequest, ModelResponse},
        tools::set::{CallableTool, ToolSet},
    },
};

/// How an agent takes its turns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::mock) enum TurnStyle {
    /// As current agents do: the turn continues until a step calls no tool.
    Current,
    /// As older agents do: one call per step, and a heartbeat event if the turn continues after it.
    Heartbeats {
        /// Whether the agent speaks by calling a tool, which it does if it has the tool.
        speaks_by_tool: bool,
    },
}

impl TurnStyle {
    /// The style of an agent of a type with these tools.
    pub(in crate::mock) fn of(agent_type: &str, tool_set: &ToolSet) -> Self {
        let speaks_by_tool = tool_set.find(SPEAKING_TOOL).is_some_and(|tool: &CallableTool| !tool.runs_on_client());
        if is_older(agent_type) { Self::Heartbeats { speaks_by_tool } } else { Self::Current }
    }

    /// Whether heartbeat events continue the turn.
    pub(in crate::mock) fn uses_heartbeats(self) -> bool {
        self != Self::Current
    }

    /// Whether the agent speaks by calling a tool, so that the text it writes is its inner monologue.
    pub(in crate::mock) fn speaks_by_tool(self) -> bool {
        self == Self::Heartbeats { speaks_by_tool: true }
    }
}

/// The messages with which an agent of a type starts unless a request gives others: a greeting, and the event that the user
/// has logged in. A `sleeptime_agent` does not greet.
pub(in crate::mock) fn initial_messages(agent_type: &str) -> Vec<Message> {
    match agent_type {
        "letta_v1_agent" => Vec::new(),
        "sleeptime_agent" => vec![login()],
        _ => {
            let thought = vec![Part::text("I have just been started. I will see whether what I say arrives.")];
            let [call, returned] = speak(Message::new(Role::Assistant, thought), "Hello. I am here and listening.");
            vec![call, returned, login()]
        }
    }
}

/// The initial messages of a new agent. As in Letta, sleeptime agents with base tools have none.
pub(in crate::mock) fn initial_messages_of_new(agent_type: &str, with_base_tools: bool) -> Vec<Message> {
    let is_sleeptime_agent = matches!(agent_type, "sleeptime_agent" | "voice_sleeptime_agent");
    if is_sleeptime_agent && with_base_tools { Vec::new() } else { initial_messages(agent_type) }
}

/// Converts initial messages from a request to those of an agent of a type: an older agent speaks by its tool.
pub(in crate::mock) fn convert_initial_messages(agent_type: &str, messages: Vec<Message>) -> Vec<Message> {
    let convert = |message: Message| match message.role {
        Role::Assistant if is_older(agent_type) => {
            let text = message.text();
            speak(Message { content: Vec::new(), ..message }, &text).into()
        }
        _ => vec![message],
    };
    messages.into_iter().flat_map(convert).collect()
}

/// The given message with a call of the speaking tool, and the message with the tool's result.
fn speak(message: Message, text: &str) -> [Message; 2] {
    let id = entropy::uuid();
    let arguments = ToolCall::written(&object! {SPOKEN_ARGUMENT: text});
    let call = ToolCall { name: SPEAKING_TOOL.to_owned(), arguments, id: id.clone() };
    let returned = ToolReturn {
        tool_return: Content::Text(MESSAGE_SENT.to_owned()),
        status: ToolStatus::Success,
        tool_call_id: id,
        stdout: None,
        stderr: None,
    };
    [
        Message { tool_calls: vec![call], monologue: true, ..message },
        Message {
            name: Some(SPEAKING_TOOL.to_owned()),
            tool_returns: vec![returned],
            monologue: true,
            ..Message::new(Role::Tool, Vec::new())
        },
    ]
}

/// Converts a response to that of an agent that speaks by calling a tool: reasoning becomes text, and text becomes a call of
/// the speaking tool. If the response calls another tool, text remains text, since a step makes only one call.
pub(in crate::mock) fn speak_by_tool(mut response: ModelResponse) -> ModelResponse {
    let speaks = response.calls.is_empty();
    let mut spoken = Vec::new();
    let convert = |part| match part {
        Part::Text { text, .. } if speaks => {
            spoken.push(text);
            None
        }
        Part::Reasoning { reasoning, .. } => Some(Part::text(reasoning)),
        other => Some(other),
    };
    response.parts = response.parts.into_iter().filter_map(convert).collect();
    if !spoken.is_empty() {
        response.calls.push(CallRequest::new(SPEAKING_TOOL, object! {SPOKEN_ARGUMENT: spoken.join("\n")}));
    }
    response
}

/// Whether the arguments of a call request a heartbeat, if they say so.
pub(in crate::mock) fn requests_heartbeat(arguments: &Map<String, Value>) -> Option<bool> {
    arguments.get(REQUEST_HEARTBEAT).and_then(Value::as_bool)
}

/// Sets in the arguments of a call whether the turn continues after it.
pub(in crate::mock) fn set_heartbeat(arguments: &mut Map<String, Value>, continues: bool) {
    arguments.shift_remove(REQUEST_HEARTBEAT);
    arguments.insert(REQUEST_HEARTBEAT.to_owned(), continues.into());
}

/// The event that continues a turn after a call. Its reasons are Letta's, because clients recognize the event by them.
pub(in crate::mock) fn heartbeat(of_call: ToolStatus) -> Message {
    const HIDDEN: &str = "[This is an automated system message hidden from the user] ";
    let reason = match of_call {
        ToolStatus::Success => "Function called using request_heartbeat=true, returning control",
        ToolStatus::Error => "Function call failed, returning control",
    };
    event(&json!({
        "type": "heartbeat",
        "reason": format!("{HIDDEN}{reason}"),
        "time": Timestamp::now().prompt_date(),
    }))
}

fn login() -> Message {
    event(&json!({
        "type": "login",
        "last_login": "Never (first login)",
        "time": Timestamp::now().prompt_date(),
    }))
}

fn event(event: &Value) -> Message {
    Message { monologue: true, ..Message::new(Role::User, vec![Part::text(format!("{event:#}"))]) }
}

/// Restores, in messages from an agent file, what Letta does not store but the mock does: which messages belong to the inner
/// monologue, and the user's text without its envelope. `speaks_by_tool` is whether the agent has the speaking tool.
pub(super) fn restore_monologue(agent_type: &str, speaks_by_tool: bool, history: &mut [Message]) {
    if !is_older(agent_type) {
        return;
    }
    let mut calls = Vec::new();
    for message in history {
        match message.role {
            Role::Assistant => {
                let speaks = message.tool_calls.iter().any(|call| call.name == SPEAKING_TOOL);
                message.monologue = speaks_by_tool || speaks;
                if message.monologue {
                    calls.extend(message.tool_calls.iter().map(|call| (call.id.clone(), call.name.clone())));
                }
            }
            Role::Tool => {
                let call_id = message.tool_returns.first().map(|returned| returned.tool_call_id.as_str());
                if let Some((_, name)) = calls.iter().find(|(id, _)| Some(id.as_str()) == call_id) {
                    message.monologue = true;
                    message.name.get_or_insert_with(|| name.clone());
                    // The content is derived from the tool's result.
                    message.content.clear();
                }
            }
            Role::Approval => message.monologue = speaks_by_tool && !message.tool_calls.is_empty(),
            Role::User => {
                let event = serde_json::from_str::<Value>(&message.text()).unwrap_or_default();
                match (event["type"].as_str(), event["message"].as_str()) {
                    (Some("login" | "heartbeat"), _) => message.monologue = true,
                    // Letta's envelope of initial messages of the user.
                    (Some("user_message"), Some(text)) => message.content = vec![Part::text(text)],
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_spoken_and_reasoning_is_monologue() {
        let thought = Part::Reasoning { is_native: true, reasoning: "Hm.".into(), signature: None };
        let call = || CallRequest::new("search", Map::new());
        for (parts, calls, thoughts, last) in [
            (
                vec![thought.clone(), Part::text("a"), Part::text("b")],
                vec![],
                vec!["Hm."],
                Some(r#"{"message":"a\nb"}"#),
            ),
            (vec![Part::text("a")], vec![call()], vec!["a"], Some("{}")),
            (vec![thought], vec![], vec!["Hm."], None),
        ] {
            let response = speak_by_tool(ModelResponse { parts, calls, ..ModelResponse::default() });
            assert_eq!(response.parts, thoughts.into_iter().map(Part::text).collect::<Vec<_>>());
            let arguments = response.calls.last().map(|call| Value::Object(call.arguments.clone()).to_string());
            assert_eq!(arguments.as_deref(), last);
        }
    }

    #[test]
    fn the_monologue_is_restored_from_agent_files() {
        for agent_type in ["memgpt_agent", "react_agent"] {
            let mut history = initial_messages(agent_type);
            let kept: Vec<Value> = history.iter().map(|message| json!(message)).collect();
            for message in &mut history {
                message.monologue = false;
            }
            history[1].name = None;
            restore_monologue(agent_type, false, &mut history);
            assert_eq!(history.iter().map(|message| json!(message)).collect::<Vec<_>>(), kept);
        }
        let envelope = r#"{"type": "user_message", "message": "Hi", "time": "2026-11-27 06:06:05 PM UTC+0000"}"#;
        let mut asked = [Message::new(Role::User, vec![Part::text(envelope)])];
        restore_monologue("memgpt_agent", true, &mut asked);
        assert!(asked[0].text() == "Hi" && asked[0].is_of_user());
        let mut current =
            convert_initial_messages("letta_v1_agent", vec![Message::new(Role::Assistant, vec![Part::text("Hi")])]);
        restore_monologue("letta_v1_agent", true, &mut current);
        assert!(current.len() == 1 && !current[0].monologue);
    }
}
