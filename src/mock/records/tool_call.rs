//! Tool calls, their returns, and the decisions of people about them.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{
    Map, Value,
    ser::{Formatter, Serializer},
};

use super::content::Content;
use crate::mock::text::tokens;

/// The argument by which the model of an older agent says whether the turn continues after the call.
pub(in crate::mock) const REQUEST_HEARTBEAT: &str = "request_heartbeat";

/// A tool call. The order of the fields is Letta's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::mock) struct ToolCall {
    pub(in crate::mock) name: String,
    /// A JSON object as text.
    pub(in crate::mock) arguments: String,
    #[serde(rename = "tool_call_id")]
    pub(in crate::mock) id: String,
}

/// Whether a tool call succeeded.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::mock) enum ToolStatus {
    Success,
    Error,
}

/// A tool return. The order of the fields is Letta's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "Letta calls it tool_return")]
pub(in crate::mock) struct ToolReturn {
    pub(in crate::mock) tool_return: Content,
    pub(in crate::mock) status: ToolStatus,
    pub(in crate::mock) tool_call_id: String,
    /// Its output; `None` if the tool did not run here.
    pub(in crate::mock) stdout: Option<Vec<String>>,
    pub(in crate::mock) stderr: Option<Vec<String>>,
}

/// A client's decision about a call that waits for approval.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::mock) enum Approval {
    /// Whether the server runs it.
    Approval { tool_call_id: String, approve: bool, reason: Option<String> },
    /// The return of a tool that the client ran.
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
    /// Serializes arguments.
    pub(in crate::mock) fn written(arguments: &Map<String, Value>) -> String {
        let mut text = Vec::new();
        // Neither writing to memory nor string keys can fail.
        let _ = arguments.serialize(&mut Serializer::with_formatter(&mut text, Spaced));
        String::from_utf8(text).unwrap_or_default()
    }

    /// The arguments; empty if they are not an object.
    pub(in crate::mock) fn parsed(&self) -> Map<String, Value> {
        serde_json::from_str(&self.arguments).unwrap_or_default()
    }

    /// The arguments without `request_heartbeat`.
    pub(in crate::mock) fn arguments_of_tool(&self) -> Map<String, Value> {
        let mut arguments = self.parsed();
        arguments.shift_remove(REQUEST_HEARTBEAT);
        arguments
    }

    /// The tokens that a model generates for it.
    pub(in crate::mock) fn tokens(&self) -> i64 {
        tokens::estimate(&self.name) + tokens::estimate(&self.arguments)
    }
}

impl ToolReturn {
    /// The tokens that it takes in a context.
    pub(in crate::mock) fn tokens(&self) -> i64 {
        tokens::estimate(&self.tool_return.text())
    }
}

impl Approval {
    /// The id of its call.
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
