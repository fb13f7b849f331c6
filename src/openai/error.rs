//! Errors as the `OpenAI` API writes them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::error::ApiError;

/// The `error` member of a response or an event.
#[must_use]
pub(crate) fn error_object(error: &ApiError) -> Value {
    let kind = match error.status() {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    json!({"message": error.message(), "type": kind, "param": null, "code": error.code().word()})
}
