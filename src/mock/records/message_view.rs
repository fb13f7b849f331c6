//! How messages are shown: what of an inner monologue is shown as said, and which types of messages.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{tool_call::ToolCall, wire::MessageType};

/// How messages are to be shown. Runs keep how theirs were asked for, in this order of the fields, which is Letta's.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct MessageView {
    /// Whether what an agent says by calling a tool is shown as an assistant's message, and not as a call with its return.
    pub(in crate::mock) use_assistant_message: bool,
    /// The tool by which agents speak.
    pub(in crate::mock) assistant_message_tool_name: Cow<'static, str>,
    /// The argument that holds what they say.
    pub(in crate::mock) assistant_message_tool_kwarg: Cow<'static, str>,
    /// The types that are shown; none: all.
    pub(in crate::mock) include_return_message_types: Option<Vec<MessageType>>,
}

/// The tool by which agents of the older types speak.
pub(in crate::mock) const SPEAKING_TOOL: &str = "send_message";
/// Its argument that holds what they say.
pub(in crate::mock) const SPOKEN_ARGUMENT: &str = "message";
/// What the speaking tool returns.
pub(in crate::mock) const MESSAGE_SENT: &str = "The message was sent.";

impl MessageView {
    /// What everybody is shown who does not ask for something else.
    pub(in crate::mock) const USUAL: Self = Self {
        use_assistant_message: true,
        assistant_message_tool_name: Cow::Borrowed(SPEAKING_TOOL),
        assistant_message_tool_kwarg: Cow::Borrowed(SPOKEN_ARGUMENT),
        include_return_message_types: None,
    };

    /// As usual, but for the types.
    pub(in crate::mock) fn only(types: Option<Vec<MessageType>>) -> Self {
        Self { include_return_message_types: types, ..Self::USUAL }
    }

    /// Whether messages of a type are shown.
    pub(in crate::mock) fn wants(&self, message_type: MessageType) -> bool {
        self.include_return_message_types.as_ref().is_none_or(|types| types.contains(&message_type))
    }

    /// Whether calls of a tool are shown as what the agent says.
    pub(in crate::mock) fn speaks(&self, tool: &str) -> bool {
        self.use_assistant_message && tool == self.assistant_message_tool_name
    }

    /// What such a call says; none: it has no such argument.
    pub(in crate::mock) fn said_by(&self, call: &ToolCall) -> Option<String> {
        match call.parsed().remove(&*self.assistant_message_tool_kwarg)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }
}
