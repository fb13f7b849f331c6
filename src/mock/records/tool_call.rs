//! Calls of tools, what they returned, and what people decided about them.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{
    Map, Value,
    ser::{Formatter, Serializer},
};

use super::content::Content;
use crate::mock::text::tokens;

/// The argument of every call by which the model says whether it wants to go on afterwards.
pub(in crate::mock) const REQUEST_HEARTBEAT: &str = "request_heartbeat";

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

/// What a call of a tool returned. The order of the fields is Letta's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "Letta calls it tool_return")]
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

/// JSON with a space after each comma and colon, as models write it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

impl ToolCall {
    /// Arguments as text.
    pub(in crate::mock) fn written(arguments: &Map<String, Value>) -> String {
        let mut text = Vec::new();
        // Writing to memory cannot fail, nor can keys that are texts.
        let _ = arguments.serialize(&mut Serializer::with_formatter(&mut text, Spaced));
        String::from_utf8(text).unwrap_or_default()
    }

    /// The arguments; empty when they are no object.
    pub(in crate::mock) fn parsed(&self) -> Map<String, Value> {
        serde_json::from_str(&self.arguments).unwrap_or_default()
    }

    /// The arguments that are the tool's own.
    pub(in crate::mock) fn arguments_of_tool(&self) -> Map<String, Value> {
        let mut arguments = self.parsed();
        arguments.shift_remove(REQUEST_HEARTBEAT);
        arguments
    }

    /// How many tokens a model needs to make it.
    pub(in crate::mock) fn tokens(&self) -> i64 {
        tokens::estimate(&self.name) + tokens::estimate(&self.arguments)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_written_as_models_write_them() {
        let arguments = json!({"a": 1, "b": ["x, y", {"c": null}], "d": {}});
        assert_eq!(
            ToolCall::written(arguments.as_object().unwrap()),
            r#"{"a": 1, "b": ["x, y", {"c": null}], "d": {}}"#
        );
    }
}
