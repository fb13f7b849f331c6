//! Messages as clients see them. A stored message may become several of these.

use serde::{Deserialize, Serialize};

use super::{
    content::Content,
    tool_call::{Approval, ToolCall, ToolStatus},
};

/// The type of a wire message; clients filter by it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the words on the wire all end so")]
pub(in crate::mock) enum MessageType {
    SystemMessage,
    UserMessage,
    AssistantMessage,
    ReasoningMessage,
    HiddenReasoningMessage,
    ToolCallMessage,
    ToolReturnMessage,
    ApprovalRequestMessage,
    ApprovalResponseMessage,
    SummaryMessage,
    EventMessage,
}

impl MessageType {
    const ALL: &[(&str, Self)] = &[
        ("system_message", Self::SystemMessage),
        ("user_message", Self::UserMessage),
        ("assistant_message", Self::AssistantMessage),
        ("reasoning_message", Self::ReasoningMessage),
        ("hidden_reasoning_message", Self::HiddenReasoningMessage),
        ("tool_call_message", Self::ToolCallMessage),
        ("tool_return_message", Self::ToolReturnMessage),
        ("approval_request_message", Self::ApprovalRequestMessage),
        ("approval_response_message", Self::ApprovalResponseMessage),
        ("summary_message", Self::SummaryMessage),
        ("event_message", Self::EventMessage),
    ];

    /// The type with this name.
    pub(in crate::mock) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(present, _)| *present == word).map(|(_, found)| *found)
    }

    /// Its name.
    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, present)| *present == self).map_or("", |(word, _)| word)
    }

    /// All names, for the text of an error.
    pub(in crate::mock) fn words() -> String {
        Self::ALL.iter().map(|(word, _)| format!("'{word}'")).collect::<Vec<_>>().join(" or ")
    }
}

/// A message as clients see it. The order of the fields is Letta's.
#[derive(Clone, Debug, Serialize)]
pub(in crate::mock) struct WireMessage {
    /// The stored message's id.
    pub(in crate::mock) id: String,
    pub(in crate::mock) date: String,
    pub(in crate::mock) name: Option<String>,
    pub(in crate::mock) message_type: MessageType,
    pub(in crate::mock) otid: Option<String>,
    pub(in crate::mock) sender_id: Option<String>,
    pub(in crate::mock) step_id: Option<String>,
    pub(in crate::mock) is_err: Option<bool>,
    /// The number of the event in a background stream.
    pub(in crate::mock) seq_id: Option<u64>,
    pub(in crate::mock) run_id: Option<String>,
    /// The fields of its type.
    #[serde(flatten)]
    pub(in crate::mock) own: Own,
}

/// The fields that only one type of message has.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(in crate::mock) enum Own {
    /// Of system, user and assistant messages.
    Content { content: Content },
    /// Of reasoning messages.
    Reasoning { source: &'static str, reasoning: String, signature: Option<String> },
    /// Of reasoning that the provider hides.
    HiddenReasoning { state: &'static str, hidden_reasoning: Option<String> },
    /// Of calls and requests for approval; the first call is repeated for older clients.
    ToolCalls { tool_call: ToolCall, tool_calls: Vec<ToolCall> },
    /// Of a piece of a call in a token stream.
    ToolCallPiece { tool_call: CallPiece, tool_calls: CallPiece },
    /// Of a piece of a call that waits for approval: Letta writes its absent fields as null.
    ApprovalPiece { tool_call: WaitingCallPiece, tool_calls: WaitingCallPiece },
    /// Of returns; the first return is repeated for older clients.
    ToolReturns {
        tool_return: String,
        status: ToolStatus,
        tool_call_id: String,
        stdout: Option<Vec<String>>,
        stderr: Option<Vec<String>>,
        tool_returns: Vec<Approval>,
    },
    /// Of decisions.
    Approvals {
        approvals: Vec<Approval>,
        approve: Option<bool>,
        approval_request_id: Option<String>,
        reason: Option<String>,
    },
}

impl Own {
    /// A text as the content.
    pub(super) fn said(text: String) -> Self {
        Self::Content { content: Content::Text(text) }
    }
}

/// A piece of a call: first its name, then its arguments.
#[derive(Clone, Debug, Serialize)]
pub(in crate::mock) struct CallPiece {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<String>,
    tool_call_id: String,
}

/// The same for a call that waits for approval.
#[derive(Clone, Debug, Serialize)]
pub(in crate::mock) struct WaitingCallPiece {
    name: Option<String>,
    arguments: Option<String>,
    tool_call_id: String,
}

/// The characters of a delta, as in Letta's own streams.
const PIECE: usize = 8;
/// Long texts are split into larger pieces, so that a message is at most about this many events.
pub(in crate::mock) const MOST_PIECES: usize = 500;

impl WireMessage {
    /// The deltas of this message in a token stream: copies of the message, each with the next piece of its text or of
    /// its calls. A message without either is one piece.
    pub(in crate::mock) fn pieces(&self) -> Vec<Self> {
        if let Some(text) = self.text() {
            return split(text).into_iter().map(|piece| self.with(self.text_piece(piece))).collect();
        }
        let Own::ToolCalls { tool_calls, .. } = &self.own else { return vec![self.clone()] };
        let mut pieces = Vec::new();
        for call in tool_calls {
            pieces.push(self.with(self.call_piece(call, Some(&call.name), None)));
            let arguments = split(&call.arguments).into_iter();
            pieces.extend(arguments.map(|piece| self.with(self.call_piece(call, None, Some(piece)))));
        }
        pieces
    }

    /// The text, if it is streamed in pieces.
    pub(in crate::mock) fn text(&self) -> Option<&str> {
        match &self.own {
            Own::Content { content: Content::Text(text) } | Own::Reasoning { reasoning: text, .. } => Some(text),
            _ => None,
        }
    }

    fn text_piece(&self, piece: &str) -> Own {
        match &self.own {
            Own::Reasoning { source, signature, .. } => {
                Own::Reasoning { source, reasoning: piece.to_owned(), signature: signature.clone() }
            }
            _ => Own::Content { content: Content::Text(piece.to_owned()) },
        }
    }

    fn call_piece(&self, call: &ToolCall, name: Option<&str>, arguments: Option<&str>) -> Own {
        let (name, arguments) = (name.map(str::to_owned), arguments.map(str::to_owned));
        let tool_call_id = call.id.clone();
        if self.message_type == MessageType::ApprovalRequestMessage {
            let piece = WaitingCallPiece { name, arguments, tool_call_id };
            Own::ApprovalPiece { tool_call: piece.clone(), tool_calls: piece }
        } else {
            let piece = CallPiece { name, arguments, tool_call_id };
            Own::ToolCallPiece { tool_call: piece.clone(), tool_calls: piece }
        }
    }

    fn with(&self, own: Own) -> Self {
        Self {
            id: self.id.clone(),
            date: self.date.clone(),
            name: self.name.clone(),
            otid: self.otid.clone(),
            sender_id: self.sender_id.clone(),
            step_id: self.step_id.clone(),
            run_id: self.run_id.clone(),
            own,
            ..*self
        }
    }
}

/// Splits a text at character boundaries.
fn split(text: &str) -> Vec<&str> {
    let size = PIECE.max(text.chars().count().div_ceil(MOST_PIECES));
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((end, _)) = rest.char_indices().nth(size) {
        let (piece, tail) = rest.split_at(end);
        pieces.push(piece);
        rest = tail;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(rest);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_every_eight_characters() {
        assert_eq!(split("Echo: Stream by"), ["Echo: St", "ream by"]);
        assert_eq!(split("12345678"), ["12345678"]);
        assert_eq!(split(""), [""]);
        assert_eq!(split("ääääääääö"), ["ääääääää", "ö"]);
    }

    #[test]
    fn a_long_text_is_cut_into_a_bounded_number_of_pieces() {
        assert!(split(&"x".repeat(1_000_001)).len() <= MOST_PIECES);
    }

    proptest! {
        #[test]
        fn pieces_joined_are_the_text(text in "\\PC{0,200}") {
            prop_assert_eq!(split(&text).concat(), text);
        }
    }
}
