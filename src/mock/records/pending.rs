//! The question that a conversation waits for an answer to.

use serde::{Deserialize, Serialize};

use super::{
    message::Message,
    tool_call::{ToolCall, ToolReturn},
};

/// Tool calls that wait for a decision. Nothing else can be said in the conversation until it is made.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Pending {
    /// The message that asks; its calls are those that wait.
    pub(in crate::mock) request: Message,
    /// Calls of the same step that need no decision, and run together with the others once it is made.
    pub(in crate::mock) beside: Vec<ToolCall>,
    /// What calls return for which that is known beforehand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::mock) scripted: Vec<ToolReturn>,
}
