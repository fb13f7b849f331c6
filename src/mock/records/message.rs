//! Stored messages, and how each becomes one or several wire messages.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    DEFAULT_CONVERSATION,
    content::{Content, Part},
    message_view::{MessageView, SPOKEN_ARGUMENT},
    model::object,
    timestamp::Timestamp,
    tool_call::{Approval, ToolCall, ToolReturn, ToolStatus},
    wire_message::{MessageType, Own, WireMessage},
};
use crate::entropy;

/// A stored message.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Message {
    pub(in crate::mock) id: String,
    pub(in crate::mock) role: Role,
    pub(in crate::mock) content: Vec<Part>,
    pub(in crate::mock) created_at: Timestamp,
    pub(in crate::mock) name: Option<String>,
    /// The offline thread id: chosen by the client, or generated.
    pub(in crate::mock) otid: Option<String>,
    pub(in crate::mock) sender_id: Option<String>,
    pub(in crate::mock) group_id: Option<String>,
    pub(in crate::mock) batch_item_id: Option<String>,
    /// The step that it belongs to.
    pub(in crate::mock) step_id: Option<String>,
    pub(in crate::mock) run_id: Option<String>,
    /// The calls of an assistant message; in an approval message, the calls that wait for approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::mock) tool_calls: Vec<ToolCall>,
    /// The returns of a tool message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::mock) tool_returns: Vec<ToolReturn>,
    /// The decisions of an approval message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::mock) approvals: Vec<Approval>,
    /// Whether it is part of the inner monologue of an older agent: the assistant's texts are reasoning, it speaks
    /// through calls of a tool whose returns are not shown, and user messages are events.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(in crate::mock) monologue: bool,
    /// Fields of a message from an agent file that have no field of their own here.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(in crate::mock) original: Map<String, Value>,
}

/// Who said a message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::mock) enum Role {
    System,
    User,
    Assistant,
    /// Tool returns.
    Tool,
    /// A request for approval, or the decision.
    Approval,
    /// A summary of messages that have left the context.
    Summary,
}

/// The tokens of a message in addition to its content.
const TOKENS_PER_MESSAGE: i64 = 4;
impl Message {
    /// A message that is created now, outside of any run.
    pub(in crate::mock) fn new(role: Role, content: Vec<Part>) -> Self {
        Self {
            id: entropy::letta_id("message"),
            role,
            content,
            created_at: Timestamp::now(),
            name: None,
            otid: None,
            sender_id: None,
            group_id: None,
            batch_item_id: None,
            step_id: None,
            run_id: None,
            tool_calls: Vec::new(),
            tool_returns: Vec::new(),
            approvals: Vec::new(),
            monologue: false,
            original: Map::new(),
        }
    }

    /// The message as part of a run and a step.
    pub(in crate::mock) fn of_turn(self, run_id: &str, step_id: Option<&str>) -> Self {
        Self { run_id: Some(run_id.to_owned()), step_id: step_id.map(str::to_owned), ..self }
    }

    /// The content as one text, with a placeholder for each image.
    pub(in crate::mock) fn text(&self) -> String {
        Part::text_of(&self.content)
    }

    /// What the message says to others: its text, or for an agent with an inner monologue what it says by calling a
    /// tool.
    pub(in crate::mock) fn said(&self) -> String {
        if !self.thinks_in_texts() {
            return self.text();
        }
        let calls = self.tool_calls.iter().filter(|call| MessageView::USUAL.speaks(&call.name));
        calls.filter_map(|call| MessageView::USUAL.said_by(call)).collect::<Vec<_>>().join("\n")
    }

    /// Whether it is from the user, and not an event.
    pub(in crate::mock) fn is_of_user(&self) -> bool {
        self.role == Role::User && !self.monologue
    }

    /// Whether it is an event, such as a login or a heartbeat.
    pub(in crate::mock) fn is_event(&self) -> bool {
        self.role == Role::User && self.monologue
    }

    /// Whether its texts are reasoning.
    fn thinks_in_texts(&self) -> bool {
        self.monologue && matches!(self.role, Role::Assistant | Role::Approval)
    }

    /// The text that a search matches, including reasoning and tool returns.
    pub(in crate::mock) fn searchable(&self) -> String {
        let thoughts = self.content.iter().filter_map(|part| match part {
            Part::Reasoning { reasoning, .. } => Some(reasoning.clone()),
            _ => None,
        });
        let returns = self.tool_returns.iter().map(|returned| returned.tool_return.text());
        let said = Some(self.said()).filter(|_| self.thinks_in_texts());
        thoughts.chain([self.text()]).chain(said).chain(returns).collect::<Vec<_>>().join("\n")
    }

    /// The length of its text in bytes.
    pub(in crate::mock) fn length(&self) -> usize {
        let content: usize = self.content.iter().map(Part::length).sum();
        let calls: usize = self.tool_calls.iter().map(|call| call.name.len() + call.arguments.len()).sum();
        content + calls + self.tool_returns.iter().map(|returned| 2 * returned.tool_return.text().len()).sum::<usize>()
    }

    /// Whether it has no content, calls, returns or decisions.
    pub(in crate::mock) fn is_empty(&self) -> bool {
        self.content.is_empty()
            && self.tool_calls.is_empty()
            && self.tool_returns.is_empty()
            && self.approvals.is_empty()
    }

    /// The tokens that it takes in a context.
    pub(in crate::mock) fn tokens(&self) -> i64 {
        TOKENS_PER_MESSAGE + self.content_tokens()
    }

    /// The tokens that a model generates for it.
    pub(in crate::mock) fn content_tokens(&self) -> i64 {
        let content: i64 = self.content.iter().map(Part::tokens).sum();
        let calls: i64 = self.tool_calls.iter().map(ToolCall::tokens).sum();
        content + calls + self.tool_returns.iter().map(ToolReturn::tokens).sum::<i64>()
    }

    /// The tokens of its reasoning.
    pub(in crate::mock) fn reasoning_tokens(&self) -> i64 {
        self.content.iter().filter(|part| matches!(part, Part::Reasoning { .. })).map(Part::tokens).sum()
    }

    /// The message in the form in which Letta stores it.
    pub(in crate::mock) fn stored(&self, agent_id: &str, conversation_id: &str) -> Value {
        let first = self.approvals.first();
        let (approve, request, reason) = match first {
            Some(Approval::Approval { tool_call_id, approve, reason }) => {
                (Some(*approve), Some(tool_call_id), reason.as_ref())
            }
            _ => (None, None, None),
        };
        let calls: Vec<Value> = self
            .tool_calls
            .iter()
            .map(|call| {
                let function = json!({"name": call.name, "arguments": call.arguments});
                json!({"id": call.id, "function": function, "type": "function"})
            })
            .collect();
        let returns: Vec<Value> = self.tool_returns.iter().map(|returned| self.stored_return(returned)).collect();
        let approvals: Vec<Value> = self
            .approvals
            .iter()
            .map(|approval| match approval {
                Approval::Approval { .. } => json!(approval),
                Approval::Tool(returned) => self.stored_return(returned),
            })
            .collect();
        let packaged = self
            .tool_returns
            .iter()
            .map(|returned| Part::text(self.packaged(&returned.tool_return.text(), returned.status)));
        let content = (self.role == Role::Tool && self.content.is_empty()).then(|| packaged.collect::<Vec<_>>());
        json!({
            "created_by_id": null,
            "last_updated_by_id": null,
            "created_at": self.created_at,
            "updated_at": null,
            "id": self.id,
            "agent_id": agent_id,
            "model": null,
            "role": self.role,
            "content": content.as_ref().unwrap_or(&self.content),
            "name": self.name,
            "tool_calls": if calls.is_empty() { Value::Null } else { calls.into() },
            "tool_call_id": self.tool_returns.first().map(|returned| &returned.tool_call_id),
            "step_id": self.step_id,
            "run_id": self.run_id,
            "otid": self.otid,
            "tool_returns": returns,
            "group_id": self.group_id,
            "sender_id": self.sender_id,
            "batch_item_id": self.batch_item_id,
            "conversation_id": (conversation_id != DEFAULT_CONVERSATION).then_some(conversation_id),
            "is_err": null,
            "approval_request_id": request,
            "approve": approve,
            "denial_reason": reason,
            "approvals": if approvals.is_empty() { Value::Null } else { approvals.into() },
        })
    }

    /// A tool return as Letta stores it. Letta can read back only texts that are packaged.
    fn stored_return(&self, returned: &ToolReturn) -> Value {
        let response = match &returned.tool_return {
            Content::Text(text) => Content::Text(self.packaged(text, returned.status)),
            parts @ Content::Parts(_) => parts.clone(),
        };
        json!({
            "tool_call_id": returned.tool_call_id,
            "status": returned.status,
            "stdout": returned.stdout,
            "stderr": returned.stderr,
            "func_response": response,
        })
    }

    /// The text of a tool return as Letta packages it.
    fn packaged(&self, text: &str, status: ToolStatus) -> String {
        let status = if status == ToolStatus::Success { "OK" } else { "Failed" };
        format!("{:#}", json!({"status": status, "message": text, "time": self.created_at.prompt_date()}))
    }

    /// Cuts the message to its first `parts` parts and the first `bytes` of the text of the next part. Calls come after
    /// all parts; an incomplete call is dropped, unless it is the speech of an inner monologue.
    pub(in crate::mock) fn cut(&mut self, parts: usize, bytes: usize) {
        let said = if self.thinks_in_texts() && parts == self.content.len() { self.said() } else { String::new() };
        self.tool_calls.truncate(1);
        match said.get(..bytes).filter(|said| !said.is_empty()) {
            Some(said) => self.tool_calls.iter_mut().for_each(|call| {
                call.arguments = ToolCall::written(&object! {SPOKEN_ARGUMENT: said});
            }),
            None => self.tool_calls.clear(),
        }
        let begun = self.content.get(parts).and_then(|part| part.cut(bytes));
        self.content.truncate(parts);
        self.content.extend(begun);
    }

    /// The message as clients see it in a list: without the return of the speaking tool if its call is shown as an
    /// assistant message.
    pub(in crate::mock) fn shown(&self, message_view: &MessageView) -> Vec<WireMessage> {
        let is_of_speech = || self.name.as_deref().is_some_and(|tool| message_view.speaks(tool));
        if self.role == Role::Tool && self.monologue && is_of_speech() { Vec::new() } else { self.expand(message_view) }
    }

    /// All wire messages of the message, whatever their types.
    pub(in crate::mock) fn expand(&self, message_view: &MessageView) -> Vec<WireMessage> {
        match self.role {
            Role::System => vec![self.wire(MessageType::SystemMessage, None, Own::said(self.text()))],
            Role::User | Role::Summary => {
                let content = match self.content.as_slice() {
                    [Part::Text { text, .. }] => Content::Text(text.clone()),
                    parts => Content::Parts(parts.to_vec()),
                };
                vec![self.wire(MessageType::UserMessage, self.otid.clone(), Own::Content { content })]
            }
            Role::Tool => vec![self.expand_returns()],
            Role::Approval if !self.approvals.is_empty() => vec![self.expand_approvals()],
            Role::Assistant | Role::Approval => self.expand_step(message_view),
        }
    }

    /// The wire messages of a step: one for each part, one for each spoken call, and one for each run of other calls.
    fn expand_step(&self, message_view: &MessageView) -> Vec<WireMessage> {
        let mut wire: Vec<WireMessage> =
            (0..).zip(&self.content).map(|(index, part)| self.expand_part(index, part)).collect();
        let speaks =
            |call: &ToolCall| self.monologue && self.role == Role::Assistant && message_view.speaks(&call.name);
        for calls in self.tool_calls.chunk_by(|call, next| !speaks(call) && !speaks(next)) {
            let Some(first) = calls.first() else { continue };
            let otid = otid(&self.id, wire.len() as u128);
            wire.extend(if speaks(first) {
                let said = message_view.said_by(first);
                said.map(|text| self.wire(MessageType::AssistantMessage, otid, Own::said(text)))
            } else {
                let own = Own::ToolCalls { tool_call: first.clone(), tool_calls: calls.to_vec() };
                Some(if self.role == Role::Approval {
                    self.wire(MessageType::ApprovalRequestMessage, Some(self.id.clone()), own)
                } else {
                    self.wire(MessageType::ToolCallMessage, otid, own)
                })
            });
        }
        wire
    }

    /// A part of an assistant message as a wire message.
    fn expand_part(&self, index: u128, part: &Part) -> WireMessage {
        let chosen = self.otid.as_ref().filter(|_| index == 0).cloned();
        let otid = chosen.or_else(|| otid(&self.id, index));
        match part {
            Part::Reasoning { is_native, reasoning, signature } => {
                let own = Own::Reasoning {
                    source: if *is_native { "reasoner_model" } else { "non_reasoner_model" },
                    reasoning: reasoning.clone(),
                    signature: signature.clone(),
                };
                self.wire(MessageType::ReasoningMessage, otid, own)
            }
            Part::Text { text, .. } if self.thinks_in_texts() => {
                let own = Own::Reasoning { source: "non_reasoner_model", reasoning: text.clone(), signature: None };
                self.wire(MessageType::ReasoningMessage, otid, own)
            }
            Part::Text { text, .. } => self.wire(MessageType::AssistantMessage, otid, Own::said(text.clone())),
            Part::RedactedReasoning { data } => {
                let own = Own::HiddenReasoning { state: "redacted", hidden_reasoning: Some(data.clone()) };
                self.wire(MessageType::HiddenReasoningMessage, otid, own)
            }
            Part::OmittedReasoning { .. } => {
                let own = Own::HiddenReasoning { state: "omitted", hidden_reasoning: None };
                self.wire(MessageType::HiddenReasoningMessage, otid, own)
            }
            Part::Image { .. } => {
                let own = Own::Content { content: Content::Parts(vec![part.clone()]) };
                self.wire(MessageType::AssistantMessage, otid, own)
            }
        }
    }

    fn expand_returns(&self) -> WireMessage {
        let first = self.tool_returns.first();
        let own = Own::ToolReturns {
            tool_return: first.map(|first| first.tool_return.text()).unwrap_or_default(),
            status: first.map_or(ToolStatus::Error, |first| first.status),
            tool_call_id: first.map(|first| first.tool_call_id.clone()).unwrap_or_default(),
            stdout: first.and_then(|first| first.stdout.clone()),
            stderr: first.and_then(|first| first.stderr.clone()),
            tool_returns: self.tool_returns.iter().cloned().map(Approval::Tool).collect(),
        };
        self.wire(MessageType::ToolReturnMessage, otid(&self.id, 0), own)
    }

    /// The deprecated fields repeat the first decision, unless that is a tool return.
    fn expand_approvals(&self) -> WireMessage {
        let (approve, request, reason) = match self.approvals.first() {
            Some(Approval::Approval { tool_call_id, approve, reason }) => {
                (Some(*approve), Some(tool_call_id.clone()), reason.clone())
            }
            _ => (None, None, None),
        };
        let own = Own::Approvals { approvals: self.approvals.clone(), approve, approval_request_id: request, reason };
        self.wire(MessageType::ApprovalResponseMessage, self.otid.clone(), own)
    }

    /// The generated offline thread id of a part.
    pub(in crate::mock) fn otid_of_part(&self, index: u128) -> Option<String> {
        otid(&self.id, index)
    }

    fn wire(&self, message_type: MessageType, otid: Option<String>, own: Own) -> WireMessage {
        WireMessage {
            id: self.id.clone(),
            date: self.created_at.message_date(),
            name: self.name.clone(),
            message_type,
            otid,
            sender_id: self.sender_id.clone(),
            step_id: self.step_id.clone(),
            is_err: None,
            seq_id: None,
            run_id: self.run_id.clone(),
            own,
        }
    }
}

/// The generated offline thread id of a part: the message's uuid with the part's number in its low seven bits. Beyond
/// 127 parts the number carries over, so that the ids stay unique.
fn otid(message_id: &str, index: u128) -> Option<String> {
    otid_uuid(message_id, index).map(|otid| otid.hyphenated().to_string())
}

/// The same as a uuid.
pub(super) fn otid_uuid(message_id: &str, index: u128) -> Option<Uuid> {
    const LOW_BITS: u128 = 0x7f;
    let uuid = Uuid::try_parse(message_id.strip_prefix("message-")?).ok()?;
    Some(Uuid::from_u128((uuid.as_u128() & !LOW_BITS).wrapping_add(index)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::records::content::ImageSource;

    fn message(role: Role, content: Vec<Part>) -> Message {
        Message {
            id: "message-f02753c4-bb2c-411a-98ff-764d778d11ba".into(),
            created_at: Timestamp::parse("2026-11-23T16:30:56.25Z").unwrap(),
            ..Message::new(role, content).of_turn("run-1", Some("step-1"))
        }
    }

    #[test]
    fn parts_are_numbered_in_the_low_bits_of_the_message_id() {
        for (id, index, expected) in [
            ("message-f02753c4-bb2c-411a-98ff-764d778d11ba", 0, "f02753c4-bb2c-411a-98ff-764d778d1180"),
            ("message-f02753c4-bb2c-411a-98ff-764d778d11ba", 1, "f02753c4-bb2c-411a-98ff-764d778d1181"),
            ("message-6bbde75b-5b29-4412-8aec-d435b35caa75", 0, "6bbde75b-5b29-4412-8aec-d435b35caa00"),
            ("message-6bbde75b-5b29-4412-8aec-d435b35caa75", 200, "6bbde75b-5b29-4412-8aec-d435b35caac8"),
        ] {
            assert_eq!(otid(id, index).as_deref(), Some(expected));
        }
    }

    #[test]
    fn an_assistant_message_is_one_message_for_each_part() {
        let reasoning = Part::Reasoning { is_native: true, reasoning: "Hm.".into(), signature: None };
        let wire = message(Role::Assistant, vec![reasoning, Part::text("Echo: Hello")]).expand(&MessageView::USUAL);
        assert_eq!(
            serde_json::to_string(&wire).unwrap(),
            concat!(
                r#"[{"id":"message-f02753c4-bb2c-411a-98ff-764d778d11ba","date":"2026-11-23T16:30:56+00:00","name":null,"#,
                r#""message_type":"reasoning_message","otid":"f02753c4-bb2c-411a-98ff-764d778d1180","sender_id":null,"#,
                r#""step_id":"step-1","is_err":null,"seq_id":null,"run_id":"run-1","source":"reasoner_model","#,
                r#""reasoning":"Hm.","signature":null},"#,
                r#"{"id":"message-f02753c4-bb2c-411a-98ff-764d778d11ba","date":"2026-11-23T16:30:56+00:00","name":null,"#,
                r#""message_type":"assistant_message","otid":"f02753c4-bb2c-411a-98ff-764d778d1181","sender_id":null,"#,
                r#""step_id":"step-1","is_err":null,"seq_id":null,"run_id":"run-1","content":"Echo: Hello"}]"#,
            )
        );
    }

    #[test]
    fn a_single_text_is_a_string_and_all_else_a_list() {
        let content = |parts| json!(message(Role::User, parts).expand(&MessageView::USUAL))[0]["content"].clone();
        assert_eq!(content(vec![Part::text("a")]), json!("a"));
        assert_eq!(content(vec![Part::text("a"), Part::text("b")])[1]["text"], json!("b"));
        let image = Part::Image { source: ImageSource::Url { url: "https://x.example/a.png".into() } };
        assert_eq!(
            content(vec![image]),
            json!([{"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}}])
        );
    }

    #[test]
    fn what_was_not_sent_is_cut_off() {
        let cut = |parts, bytes| {
            let mut message = message(Role::Assistant, vec![Part::text("abc"), Part::text("äbc")]);
            message.cut(parts, bytes);
            message.content
        };
        assert_eq!(cut(0, 0), []);
        assert_eq!(cut(0, 2), [Part::text("ab")]);
        assert_eq!(cut(1, 2), [Part::text("abc"), Part::text("ä")]);
        assert_eq!(cut(2, 0).len(), 2);
    }

    /// A message with reasoning and a call of the speaking tool.
    fn monologue(arguments: &str) -> Message {
        let call = |name: &str| ToolCall { name: name.into(), arguments: arguments.into(), id: "call-1".into() };
        Message {
            monologue: true,
            tool_calls: vec![call("send_message")],
            ..message(Role::Assistant, vec![Part::text("Hm.")])
        }
    }

    #[test]
    fn the_part_of_a_speech_that_was_sent_is_kept() {
        for (parts, bytes, expected) in [(0, 2, vec!["Hm"]), (1, 0, vec!["Hm."]), (1, 2, vec!["Hm.", "He"])] {
            let mut cut = monologue(r#"{"message": "Hello", "request_heartbeat": false}"#);
            cut.cut(parts, bytes);
            let texts = cut.expand(&MessageView::USUAL);
            assert_eq!(texts.iter().filter_map(WireMessage::text).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_monologue_is_shown_as_it_is_asked_for() {
        let outline = |message_view: &MessageView, arguments: &str| {
            let wire = monologue(arguments).expand(message_view);
            wire.iter().map(|wire| (wire.message_type, wire.text().map(str::to_owned))).collect::<Vec<_>>()
        };
        let thought = (MessageType::ReasoningMessage, Some("Hm.".to_owned()));
        let said = |text: &str| (MessageType::AssistantMessage, Some(text.to_owned()));
        let calls = MessageView { use_assistant_message: false, ..MessageView::USUAL };
        let renamed = MessageView { assistant_message_tool_name: "other".into(), ..MessageView::USUAL };
        let aside = MessageView { assistant_message_tool_kwarg: "aside".into(), ..MessageView::USUAL };
        for (message_view, arguments, expected) in [
            (&MessageView::USUAL, r#"{"message": "Hello"}"#, Some(said("Hello"))),
            (&MessageView::USUAL, r#"{"message": {"a": 1}}"#, Some(said(r#"{"a":1}"#))),
            (&MessageView::USUAL, "{}", None),
            (&aside, r#"{"message": "Hello", "aside": "Psst"}"#, Some(said("Psst"))),
            (&calls, r#"{"message": "Hello"}"#, Some((MessageType::ToolCallMessage, None))),
            (&renamed, r#"{"message": "Hello"}"#, Some((MessageType::ToolCallMessage, None))),
        ] {
            let all: Vec<_> = [thought.clone()].into_iter().chain(expected).collect();
            assert_eq!(outline(message_view, arguments), all, "{arguments}");
        }
    }

    #[test]
    fn the_text_of_a_message_joins_its_parts_and_notes_images() {
        let image = Part::Image { source: ImageSource::Url { url: "https://x.example/a.png".into() } };
        assert_eq!(message(Role::User, vec![Part::text("Look:"), image]).text(), "Look:\n[image]");
    }
}
