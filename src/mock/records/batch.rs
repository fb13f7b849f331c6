//! Batches: requests to many agents, each answered by a run of its own.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ACTOR, Record, run::Run, stop_reason::RunStatus, timestamp::Timestamp};
use crate::entropy;

/// A batch as it is stored. How far it has come is told by its runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Batch {
    id: String,
    pub(in crate::mock) runs: Vec<String>,
    callback_url: Option<String>,
    pub(in crate::mock) is_cancelled: bool,
    created_at: Timestamp,
}

impl Record for Batch {
    const KIND: &'static str = "batch";
    const NAME: &'static str = "Batch";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Batch {
    /// A batch that begins now.
    pub(in crate::mock) fn begin(callback_url: Option<String>) -> Self {
        Self {
            id: entropy::letta_id("job"),
            runs: Vec::new(),
            callback_url,
            is_cancelled: false,
            created_at: Timestamp::now(),
        }
    }

    /// The batch as clients see it, with its runs as they are; those of deleted agents are gone.
    pub(in crate::mock) fn wire(&self, runs: &[Run]) -> Value {
        let ended = runs.iter().all(Run::has_ended);
        let completed_at = runs.iter().filter_map(|run| run.completed_at).max().filter(|_| ended);
        let all_failed = !runs.is_empty() && runs.iter().all(|run| run.status == RunStatus::Failed);
        let status = match () {
            () if self.is_cancelled => "cancelled",
            () if !ended && runs.iter().all(|run| run.status == RunStatus::Created) => "created",
            () if !ended => "running",
            () if all_failed => "failed",
            () => "completed",
        };
        json!({
            "created_by_id": ACTOR,
            "last_updated_by_id": ACTOR,
            "created_at": self.created_at,
            "updated_at": completed_at.unwrap_or(self.created_at),
            "id": self.id,
            "status": status,
            "completed_at": completed_at,
            "stop_reason": null,
            "metadata": null,
            "job_type": "batch",
            "background": true,
            "agent_id": null,
            "callback_url": self.callback_url,
            "callback_sent_at": null,
            "callback_status_code": null,
            "callback_error": null,
            "ttft_ns": null,
            "total_duration_ns": null,
        })
    }
}
