//! Failures of the model's provider as Letta reports them: as a response, as an event of a stream, and in the metadata
//! of the run.

use serde_json::{Value, json};

use super::stop_reason::StopReason;
use crate::error::{ApiError, Code};

/// Why a turn failed.
#[derive(Clone, Debug)]
pub(in crate::mock) struct TurnError {
    code: Code,
    /// Letta's name for the kind of failure.
    pub(in crate::mock) error_type: &'static str,
    /// A sentence about the kind of failure.
    pub(in crate::mock) message: String,
    /// The details.
    pub(in crate::mock) detail: Option<String>,
    pub(in crate::mock) stop_reason: StopReason,
}

impl TurnError {
    /// The model's provider responded with this HTTP status.
    pub(in crate::mock) fn of_provider(status: u16) -> Self {
        let (code, error_type, message, class) = match status {
            400 => (
                Code::LlmBadRequest,
                "llm_bad_request",
                "The model's provider refused the request.",
                "INVALID_ARGUMENT",
            ),
            401 => (
                Code::LlmAuthentication,
                "llm_authentication",
                "The model's provider does not accept the server's credential.",
                "UNAUTHENTICATED",
            ),
            402 => (
                Code::LlmInsufficientCredits,
                "llm_insufficient_credits",
                "The account with the model's provider has no credit left.",
                "INSUFFICIENT_CREDITS",
            ),
            429 => (
                Code::LlmRateLimit,
                "llm_rate_limit",
                "The model's provider receives too many requests; try again later.",
                "RATE_LIMIT_EXCEEDED",
            ),
            408 | 504 => {
                (Code::LlmTimeout, "llm_timeout", "The model's provider did not respond in time.", "DEADLINE_EXCEEDED")
            }
            _ => (
                Code::LlmError,
                "llm_error",
                "The model's provider failed.",
                match status {
                    403 => "PERMISSION_DENIED",
                    404 => "NOT_FOUND",
                    _ => "INTERNAL_SERVER_ERROR",
                },
            ),
        };
        Self {
            code,
            error_type,
            message: message.to_owned(),
            detail: Some(format!("{class}: The provider responded with status {status}")),
            stop_reason: StopReason::LlmApiError,
        }
    }

    /// A reply cannot be given: none fits, or what it asks for is impossible.
    pub(in crate::mock) fn of_reply(sentence: impl Into<String>) -> Self {
        Self {
            code: Code::LlmError,
            error_type: "llm_error",
            message: sentence.into(),
            detail: None,
            stop_reason: StopReason::LlmApiError,
        }
    }

    /// The server itself failed.
    pub(in crate::mock) fn internal(message: impl Into<String>) -> Self {
        Self {
            code: Code::Internal,
            error_type: "internal_error",
            message: message.into(),
            detail: None,
            stop_reason: StopReason::Error,
        }
    }

    /// The turn exceeded its budget.
    pub(in crate::mock) fn too_large(why: &ApiError) -> Self {
        Self {
            code: why.code(),
            error_type: why.code().word(),
            message: why.message().to_owned(),
            detail: None,
            stop_reason: StopReason::Error,
        }
    }

    /// The text for the metadata of the run.
    pub(in crate::mock) fn text(&self) -> &str {
        self.detail.as_deref().unwrap_or(&self.message)
    }

    /// The response to a request that waits. A retry would not help, whatever the status.
    pub(in crate::mock) fn to_api_error(&self) -> ApiError {
        let error = json!({"type": self.error_type, "message": self.message, "detail": self.detail});
        ApiError::provider(self.code, self.message.clone(), error).without_retry()
    }

    /// As an event of a stream.
    pub(in crate::mock) fn event(&self, run_id: &str, number: Option<u64>) -> Value {
        json!({
            "message_type": "error_message",
            "run_id": run_id,
            "error_type": self.error_type,
            "message": self.message,
            "detail": self.detail,
            "seq_id": number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_the_provider_become_those_that_letta_responds_with() {
        for (status, expected, kind) in [
            (400, 400, "llm_bad_request"),
            (401, 401, "llm_authentication"),
            (402, 402, "llm_insufficient_credits"),
            (403, 500, "llm_error"),
            (404, 500, "llm_error"),
            (408, 504, "llm_timeout"),
            (429, 429, "llm_rate_limit"),
            (500, 500, "llm_error"),
            (503, 500, "llm_error"),
            (504, 504, "llm_timeout"),
        ] {
            let failure = TurnError::of_provider(status);
            let error = failure.to_api_error();
            assert_eq!((error.code().status().as_u16(), failure.error_type), (expected, kind), "{status}");
            let body = error.to_body("req-1");
            assert_eq!(body["error"]["type"], kind);
            assert!(body["error"]["detail"].as_str().unwrap().contains(&status.to_string()));
        }
    }
}
