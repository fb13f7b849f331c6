//! Reading the fields of a request, which the guard has checked against the table.

use serde_json::Value;

use crate::error::ApiError;

/// A text; `None` where it is missing or null.
///
/// # Errors
/// 422 when it is something else.
pub(super) fn text<'v>(body: &'v Value, name: &str) -> Result<Option<&'v str>, ApiError> {
    match &body[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        other => Err(ApiError::validation("string_type", &["body", name], "Input should be a valid string", other)),
    }
}

/// What the user says.
///
/// # Errors
/// 422 when it is missing.
pub(super) fn user_text<'v>(body: &'v Value, name: &str) -> Result<&'v str, ApiError> {
    text(body, name)?.ok_or_else(|| ApiError::validation("missing", &["body", name], "Field required", body))
}

/// Whether a switch is on. It is off where it is missing or null.
///
/// # Errors
/// 422 when it is something else.
pub(super) fn switch(value: &Value, place: &[&str]) -> Result<bool, ApiError> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(on) => Ok(*on),
        other => Err(ApiError::validation("bool_type", place, "Input should be a valid boolean", other)),
    }
}

/// Whether the last chunk of a stream has the usage.
///
/// # Errors
/// 422 when the options are malformed.
pub(super) fn includes_usage(body: &Value) -> Result<bool, ApiError> {
    match &body["stream_options"] {
        Value::Null => Ok(false),
        Value::Object(options) => {
            let value = options.get("include_usage").unwrap_or(&Value::Null);
            switch(value, &["body", "stream_options", "include_usage"])
        }
        other => {
            let problem = "Input should be a valid dictionary";
            Err(ApiError::validation("model_attributes_type", &["body", "stream_options"], problem, other))
        }
    }
}
