//! The result of a tool call.

use serde_json::{Value, json};

use crate::error::python_repr;

/// The result of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::mock) struct CallResult {
    /// The return value, or the exception as class and text.
    pub(in crate::mock) returned: Result<Value, String>,
    pub(in crate::mock) stdout: Vec<String>,
    pub(in crate::mock) stderr: Vec<String>,
}

impl CallResult {
    /// The result of a call that returned a value and printed nothing.
    pub(in crate::mock) fn of(returned: Value) -> Self {
        Self { returned: Ok(returned), stdout: Vec::new(), stderr: Vec::new() }
    }

    /// As the response to a request that runs a tool.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "status": self.status(),
            "func_return": self.returned.as_ref().ok(),
            "agent_state": null,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "sandbox_config_fingerprint": null,
        })
    }

    /// The text for the model: the return value, or the exception.
    ///
    /// # Errors
    /// The exception.
    pub(in crate::mock) fn text(&self) -> Result<String, String> {
        self.returned.clone().map(|value| match value {
            Value::String(text) => text,
            Value::Object(_) => value.to_string(),
            _ => python_repr(&value),
        })
    }

    /// The status in Letta's terms.
    pub(in crate::mock) fn status(&self) -> &'static str {
        if self.returned.is_ok() { "success" } else { "error" }
    }
}
