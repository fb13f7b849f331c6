//! What turns cost.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a turn cost. The order of the fields is Letta's.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::mock) struct Usage {
    pub(in crate::mock) completion_tokens: i64,
    pub(in crate::mock) prompt_tokens: i64,
    pub(in crate::mock) total_tokens: i64,
    pub(in crate::mock) step_count: i64,
    pub(in crate::mock) reasoning_tokens: i64,
    /// What the last step's request and answer came to.
    pub(in crate::mock) context_tokens: i64,
}

impl Usage {
    /// As answers and streams carry it; streams of tokens do not say what was cached or reasoned. `run_ids`: of the sleeptime
    /// agents that began with the end of the turn.
    pub(in crate::mock) fn wire(&self, in_deltas: bool, run_ids: &[String]) -> Value {
        let detail = |tokens: i64| if in_deltas { None } else { Some(tokens) };
        json!({
            "message_type": "usage_statistics",
            "completion_tokens": self.completion_tokens,
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.total_tokens,
            "step_count": self.step_count,
            "run_ids": (!run_ids.is_empty()).then_some(run_ids),
            "cached_input_tokens": detail(0),
            "cache_write_tokens": detail(0),
            "reasoning_tokens": detail(self.reasoning_tokens),
            "context_tokens": self.context_tokens,
        })
    }
}
