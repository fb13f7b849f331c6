//! Reading the arguments of a tool call. Errors are messages for the model.

use serde_json::{Map, Value};

/// A string argument; `None` if it is absent or null.
pub(in crate::mock) fn text<'v>(arguments: &'v Map<String, Value>, name: &str) -> Result<Option<&'v str>, String> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a string")),
    }
}

/// A list of strings; empty if it is absent or null.
pub(in crate::mock) fn texts(arguments: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let Some(value) = arguments.get(name).filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
    serde_json::from_value(value.clone()).map_err(|_| format!("{name} must be a list of strings"))
}

/// A non-negative integer, or `default` if it is absent or null.
pub(super) fn count(arguments: &Map<String, Value>, name: &str, default: usize) -> Result<usize, String> {
    match arguments.get(name).filter(|value| !value.is_null()) {
        None => Ok(default),
        Some(value) => {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| format!("{name} must be a non-negative integer"))
        }
    }
}
