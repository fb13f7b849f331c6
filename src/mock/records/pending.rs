//! Tool calls of a conversation that wait for approval.

use serde::{Deserialize, Serialize};

use super::{
    message::Message,
    tool_call::{ToolCall, ToolReturn},
};
use crate::replies::PausedReply;

/// Tool calls that wait for approval. Until it is given or denied, the conversation accepts no message.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Pending {
    /// The message that requests approval; its calls are those that wait.
    pub(in crate::mock) request: Message,
    /// Calls of the same step that need no approval. They run together with the others.
    #[serde(rename = "beside")]
    pub(in crate::mock) automatic: Vec<ToolCall>,
    /// Returns of calls whose result the script defines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::mock) scripted: Vec<ToolReturn>,
    /// The reply that made the calls, and goes on after the decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::mock) reply: Option<PausedReply>,
}
