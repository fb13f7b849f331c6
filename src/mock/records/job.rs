//! Jobs: work that continues after the response. Here that is the processing of files.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ACTOR, Record, model::object, timestamp::Timestamp};
use crate::{entropy, mock::records::File};

/// A job. Its state follows from the time, unless it was cancelled.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Job {
    pub(in crate::mock) id: String,
    pub(in crate::mock) metadata: Map<String, Value>,
    pub(in crate::mock) created_at: Timestamp,
    /// When it completes.
    pub(in crate::mock) ends_at: Timestamp,
    pub(in crate::mock) cancelled_at: Option<Timestamp>,
}

impl Record for Job {
    const KIND: &'static str = "job";
    const NAME: &'static str = "Job";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Job {
    /// The job that processes a file.
    pub(in crate::mock) fn reading(file: &File) -> Self {
        Self {
            id: entropy::letta_id(Self::KIND),
            metadata: object! {"type": "embedding", "filename": file.name, "source_id": file.folder_id},
            created_at: file.created_at,
            ends_at: file.created_at.after_millis(File::PROCESSING_MILLIS),
            cancelled_at: None,
        }
    }

    /// The folder of its file.
    pub(in crate::mock) fn folder_id(&self) -> Option<&str> {
        self.metadata.get("source_id").and_then(Value::as_str)
    }

    /// Whether it has neither completed nor been cancelled.
    pub(in crate::mock) fn is_active(&self) -> bool {
        self.cancelled_at.is_none() && Timestamp::now() < self.ends_at
    }

    /// Cancels it, unless it has ended.
    pub(in crate::mock) fn cancel(&mut self) {
        if self.is_active() {
            self.cancelled_at = Some(Timestamp::now());
        }
    }

    /// The job as clients see it. The order of the keys is Letta's.
    pub(in crate::mock) fn wire(&self) -> Value {
        let (status, completed_at) = match self.cancelled_at {
            Some(instant) => ("cancelled", Some(instant)),
            None if self.is_active() => ("running", None),
            None => ("completed", Some(self.ends_at)),
        };
        json!({
            "created_by_id": ACTOR,
            "last_updated_by_id": ACTOR,
            "created_at": self.created_at,
            "updated_at": completed_at.unwrap_or(self.created_at),
            "status": status,
            "completed_at": completed_at,
            "stop_reason": null,
            "metadata": self.metadata,
            "job_type": "job",
            "background": null,
            "agent_id": null,
            "callback_url": null,
            "callback_sent_at": null,
            "callback_status_code": null,
            "callback_error": null,
            "ttft_ns": null,
            "total_duration_ns": null,
            "id": self.id,
        })
    }
}
