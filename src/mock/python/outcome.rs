//! What became of a call, and how it is told.

use serde_json::{Value, json};

use crate::error::python_repr;

/// What a call came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::mock) struct CallResult {
    /// What was returned, or else the exception: its class and text.
    pub(in crate::mock) returned: Result<Value, String>,
    pub(in crate::mock) stdout: Vec<String>,
    pub(in crate::mock) stderr: Vec<String>,
}

impl CallResult {
    /// A call that returned and printed nothing.
    pub(in crate::mock) fn of(returned: Value) -> Self {
        Self { returned: Ok(returned), stdout: Vec::new(), stderr: Vec::new() }
    }

    /// As the answer to a request that calls a tool.
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

    /// What a model is told: the returned value as a text, or else the exception.
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

    /// Letta's word for how it went.
    pub(in crate::mock) fn status(&self) -> &'static str {
        if self.returned.is_ok() { "success" } else { "error" }
    }
}
