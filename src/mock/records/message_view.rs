//! How messages are shown: which calls appear as assistant messages, and which types are included.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{tool_call::ToolCall, wire_message::MessageType};

/// How messages are shown. Runs store the view of their request; the order of the fields is Letta's.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct MessageView {
    /// Whether calls of the speaking tool are shown as assistant messages instead of calls and returns.
    pub(in crate::mock) use_assistant_message: bool,
    /// The speaking tool.
    pub(in crate::mock) assistant_message_tool_name: Cow<'static, str>,
    /// Its argument with the text.
    pub(in crate::mock) assistant_message_tool_kwarg: Cow<'static, str>,
    /// The types that are included; `None` for all.
    pub(in crate::mock) include_return_message_types: Option<Vec<MessageType>>,
}

/// The tool through which older agents speak.
pub(in crate::mock) const SPEAKING_TOOL: &str = "send_message";
/// Its argument with the text.
pub(in crate::mock) const SPOKEN_ARGUMENT: &str = "message";
/// What the speaking tool returns.
pub(in crate::mock) const MESSAGE_SENT: &str = "The message was sent.";

impl MessageView {
    /// The default view.
    pub(in crate::mock) const USUAL: Self = Self {
        use_assistant_message: true,
        assistant_message_tool_name: Cow::Borrowed(SPEAKING_TOOL),
        assistant_message_tool_kwarg: Cow::Borrowed(SPOKEN_ARGUMENT),
        include_return_message_types: None,
    };

    /// The default view of these types.
    pub(in crate::mock) fn only(types: Option<Vec<MessageType>>) -> Self {
        Self { include_return_message_types: types, ..Self::USUAL }
    }

    /// Whether messages of a type are included.
    pub(in crate::mock) fn wants(&self, message_type: MessageType) -> bool {
        self.include_return_message_types.as_ref().is_none_or(|types| types.contains(&message_type))
    }

    /// Whether calls of a tool are shown as assistant messages.
    pub(in crate::mock) fn speaks(&self, tool: &str) -> bool {
        self.use_assistant_message && tool == self.assistant_message_tool_name
    }

    /// The text of such a call; `None` if the argument is missing.
    pub(in crate::mock) fn said_by(&self, call: &ToolCall) -> Option<String> {
        match call.parsed().remove(&*self.assistant_message_tool_kwarg)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }
}
