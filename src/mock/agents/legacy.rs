//! Agents of Letta's older types. What such an agent writes is an inner monologue; it speaks by calling a tool, and events
//! tell it what happens: that the user has logged in, that its turn goes on. Here is which types these are, what they begin
//! with, and how something is said in their way.

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

/// How an agent of a type takes its turns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::mock) enum Manner {
    /// As agents of today do: it goes on until it says something without calling a tool.
    Direct,
    /// As older ones: a call at a time, after which an event tells it to go on.
    ByEvents {
        /// Whether it speaks by calling a tool, as those do that have one.
        speaks_by_tool: bool,
    },
}

impl Manner {
    /// The manner of an agent of this type with these tools.
    pub(in crate::mock) fn of(agent_type: &str, tool_set: &ToolSet) -> Self {
        let speaks_by_tool = tool_set.find(SPEAKING_TOOL).is_some_and(|tool: &CallableTool| !tool.runs_on_client());
        if is_older(agent_type) { Self::ByEvents { speaks_by_tool } } else { Self::Direct }
    }

    /// Whether it is told by events to go on.
    pub(in crate::mock) fn is_by_events(self) -> bool {
        self != Self::Direct
    }

    /// Whether it speaks by calling a tool, so that what it writes is thought.
    pub(in crate::mock) fn speaks_by_tool(self) -> bool {
        self == Self::ByEvents { speaks_by_tool: true }
    }
}

/// What an agent of a type begins with, where nothing else is said: it greets, to see whether that works, and then the
/// user logs in. Those that think in the background greet nobody.
pub(in crate::mock) fn beginning(agent_type: &str) -> Vec<Message> {
    match agent_type {
        "letta_v1_agent" => Vec::new(),
        "sleeptime_agent" => vec![login()],
        _ => {
            let thought = vec![Part::text("I have just been started. I will see whether what I say arrives.")];
            let [call, returned] = said(Message::new(Role::Assistant, thought), "Hello. I am here and listening.");
            vec![call, returned, login()]
        }
    }
}

/// The same of an agent that is just made. Letta gives those in the background nothing to begin with when it gives them
/// their tools.
pub(in crate::mock) fn beginning_of_new(agent_type: &str, with_base_tools: bool) -> Vec<Message> {
    let in_background = matches!(agent_type, "sleeptime_agent" | "voice_sleeptime_agent");
    if in_background && with_base_tools { Vec::new() } else { beginning(agent_type) }
}

/// A beginning that is given, as an agent of a type keeps it: what it is to have said, an older one has said by its tool.
pub(in crate::mock) fn given(agent_type: &str, history: Vec<Message>) -> Vec<Message> {
    let keep = |message: Message| match message.role {
        Role::Assistant if is_older(agent_type) => {
            let text = message.text();
            said(Message { content: Vec::new(), ..message }, &text).into()
        }
        _ => vec![message],
    };
    history.into_iter().flat_map(keep).collect()
}

/// A message that calls the speaking tool, and what that returns.
fn said(message: Message, text: &str) -> [Message; 2] {
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

/// An answer as it is said by calling a tool: thoughts are texts, and texts are spoken. Beside another call they are
/// thoughts as well, for an agent of this kind calls one tool at a time.
pub(in crate::mock) fn by_tool(mut answer: ModelResponse) -> ModelResponse {
    let speaks = answer.calls.is_empty();
    let mut spoken = Vec::new();
    let think = |part| match part {
        Part::Text { text, .. } if speaks => {
            spoken.push(text);
            None
        }
        Part::Reasoning { reasoning, .. } => Some(Part::text(reasoning)),
        other => Some(other),
    };
    answer.parts = answer.parts.into_iter().filter_map(think).collect();
    if !spoken.is_empty() {
        answer.calls.push(CallRequest::new(SPEAKING_TOOL, object! {SPOKEN_ARGUMENT: spoken.join("\n")}));
    }
    answer
}

/// What the arguments of a call say about going on afterwards, if anything.
pub(in crate::mock) fn asks_to_go_on(arguments: &Map<String, Value>) -> Option<bool> {
    arguments.get(REQUEST_HEARTBEAT).and_then(Value::as_bool)
}

/// Notes in the arguments of a call whether the turn goes on after it.
pub(in crate::mock) fn note_going_on(arguments: &mut Map<String, Value>, goes_on: bool) {
    arguments.shift_remove(REQUEST_HEARTBEAT);
    arguments.insert(REQUEST_HEARTBEAT.to_owned(), goes_on.into());
}

/// The event that tells an agent to go on after a call.
pub(in crate::mock) fn heartbeat() -> Message {
    event(&json!({
        "type": "heartbeat",
        "reason": "[Automatic, the user does not see this] A tool was called with request_heartbeat=true, so the turn goes on.",
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

/// Knows messages again that were written down as Letta keeps them. `speaks_by_tool`: whether the agent has the tool.
pub(in crate::mock) fn recognise(agent_type: &str, speaks_by_tool: bool, history: &mut [Message]) {
    if !is_older(agent_type) {
        return;
    }
    let mut spoken = Vec::new();
    for message in history {
        match message.role {
            Role::Assistant => {
                let speaks = message.tool_calls.iter().any(|call| call.name == SPEAKING_TOOL);
                message.monologue = speaks_by_tool || speaks;
                if message.monologue {
                    spoken.extend(message.tool_calls.iter().map(|call| (call.id.clone(), call.name.clone())));
                }
            }
            Role::Tool => {
                let of = message.tool_returns.first().map(|returned| returned.tool_call_id.as_str());
                if let Some((_, name)) = spoken.iter().find(|(id, _)| Some(id.as_str()) == of) {
                    message.monologue = true;
                    message.name.get_or_insert_with(|| name.clone());
                    // Its wrapping is written anew.
                    message.content.clear();
                }
            }
            Role::Approval => message.monologue = speaks_by_tool && !message.tool_calls.is_empty(),
            Role::User => {
                let event = serde_json::from_str::<Value>(&message.text()).unwrap_or_default();
                match (event["type"].as_str(), event["message"].as_str()) {
                    (Some("login" | "heartbeat"), _) => message.monologue = true,
                    // So Letta keeps what a user is to have said at the beginning.
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
    fn texts_are_spoken_and_all_else_is_thought() {
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
            let answer = by_tool(ModelResponse { parts, calls, ..ModelResponse::default() });
            assert_eq!(answer.parts, thoughts.into_iter().map(Part::text).collect::<Vec<_>>());
            let arguments = answer.calls.last().map(|call| Value::Object(call.arguments.clone()).to_string());
            assert_eq!(arguments.as_deref(), last);
        }
    }

    #[test]
    fn what_was_written_down_is_known_again() {
        for agent_type in ["memgpt_agent", "react_agent"] {
            let mut history = beginning(agent_type);
            let kept: Vec<Value> = history.iter().map(|message| json!(message)).collect();
            for message in &mut history {
                message.monologue = false;
            }
            history[1].name = None;
            recognise(agent_type, false, &mut history);
            assert_eq!(history.iter().map(|message| json!(message)).collect::<Vec<_>>(), kept);
        }
        let packaged = r#"{"type": "user_message", "message": "Hi", "time": "2026-11-27 06:06:05 PM UTC+0000"}"#;
        let mut asked = [Message::new(Role::User, vec![Part::text(packaged)])];
        recognise("memgpt_agent", true, &mut asked);
        assert!(asked[0].text() == "Hi" && asked[0].is_of_user());
        let mut today = given("letta_v1_agent", vec![Message::new(Role::Assistant, vec![Part::text("Hi")])]);
        recognise("letta_v1_agent", true, &mut today);
        assert!(today.len() == 1 && !today[0].monologue);
    }
}
