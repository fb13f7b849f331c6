//! Why turns end, and the status of their runs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The status of a run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::mock) enum RunStatus {
    Created,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// Why a turn ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::mock) enum StopReason {
    EndTurn,
    Error,
    LlmApiError,
    InvalidLlmResponse,
    InvalidToolCall,
    MaxSteps,
    MaxTokensExceeded,
    NoToolCall,
    ToolRule,
    Cancelled,
    InsufficientCredits,
    RequiresApproval,
    ContextWindowOverflowInSystemPrompt,
}

impl StopReason {
    /// The words on the wire, in the order of the variants.
    pub(in crate::mock) const WORDS: &[&str] = &[
        "end_turn",
        "error",
        "llm_api_error",
        "invalid_llm_response",
        "invalid_tool_call",
        "max_steps",
        "max_tokens_exceeded",
        "no_tool_call",
        "tool_rule",
        "cancelled",
        "insufficient_credits",
        "requires_approval",
        "context_window_overflow_in_system_prompt",
    ];

    /// The reason that a word names.
    pub(in crate::mock) fn from_word(word: &str) -> Option<Self> {
        serde_json::from_value(word.into()).ok()
    }

    /// The status of a run that ended for this reason.
    pub(in crate::mock) fn status(self) -> RunStatus {
        match self {
            Self::EndTurn | Self::MaxSteps | Self::ToolRule | Self::RequiresApproval => RunStatus::Completed,
            Self::Cancelled => RunStatus::Cancelled,
            _ => RunStatus::Failed,
        }
    }

    /// As responses and streams carry it.
    pub(in crate::mock) fn wire(self) -> Value {
        json!({"message_type": "stop_reason", "stop_reason": self})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_its_reason() {
        for word in StopReason::WORDS {
            let reason = StopReason::from_word(word).unwrap();
            assert_eq!(json!(reason), json!(word));
        }
        assert_eq!(StopReason::from_word("none"), None);
    }

    #[test]
    fn a_reply_may_end_a_turn_for_every_reason_but_a_decision_that_is_waited_for() {
        let of_replies: Vec<_> = StopReason::WORDS.iter().filter(|word| **word != "requires_approval").collect();
        assert_eq!(of_replies, crate::replies::STOP_REASONS.iter().collect::<Vec<_>>());
    }
}
