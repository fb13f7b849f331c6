//! Calls of tools, what they returned, and what people decided about them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::message::Part;
use crate::mock::tokens;

/// A call of a tool. The order of the fields is Letta's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::mock) struct ToolCall {
    pub(in crate::mock) name: String,
    /// A JSON object, as text.
    pub(in crate::mock) arguments: String,
    #[serde(rename = "tool_call_id")]
    pub(in crate::mock) id: String,
}

/// How a call of a tool ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::mock) enum ToolStatus {
    Success,
    Error,
}

/// What a message or a tool says: plain text where that is all, else its parts.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub(in crate::mock) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// What a call of a tool returned. The order of the fields is Letta's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(in crate::mock) struct ToolReturn {
    pub(in crate::mock) tool_return: Content,
    pub(in crate::mock) status: ToolStatus,
    pub(in crate::mock) tool_call_id: String,
    /// What it printed; none: it did not run here.
    pub(in crate::mock) stdout: Option<Vec<String>>,
    pub(in crate::mock) stderr: Option<Vec<String>>,
}

/// What a client says to a call that waits for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::mock) enum Approval {
    /// Whether the server is to run it.
    Approval { tool_call_id: String, approve: bool, reason: Option<String> },
    /// What the client's own tool returned.
    Tool(ToolReturn),
}

impl ToolCall {
    /// The arguments; empty when they are no object.
    pub(in crate::mock) fn parsed(&self) -> Map<String, Value> {
        serde_json::from_str(&self.arguments).unwrap_or_default()
    }

    /// How many tokens a model needs to make it.
    pub(in crate::mock) fn tokens(&self) -> i64 {
        tokens::estimate(&self.name) + tokens::estimate(&self.arguments)
    }
}

impl Content {
    /// As one text; images are noted.
    pub(in crate::mock) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => Part::text_of(parts),
        }
    }
}

impl ToolReturn {
    /// How many tokens it takes in a model's context.
    pub(in crate::mock) fn tokens(&self) -> i64 {
        tokens::estimate(&self.tool_return.text())
    }
}

impl Approval {
    /// The call that it is about.
    pub(in crate::mock) fn tool_call_id(&self) -> &str {
        match self {
            Self::Approval { tool_call_id, .. } => tool_call_id,
            Self::Tool(returned) => &returned.tool_call_id,
        }
    }
}
