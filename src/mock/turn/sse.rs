//! The server-sent events of a stream. Each is a frame of its own.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    entropy,
    mock::records::{Run, StopReason, Timestamp, Usage, turn_error::TurnError},
};

/// How a stream ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The turn ended without failure. The ids are those of the sleeptime runs that it started. The usage of a cancelled turn is
    /// not sent.
    Stopped(StopReason, Usage, Vec<String>),
    /// The turn failed.
    Failed(TurnError),
}

impl End {
    /// The end of the stream of an ended run.
    pub(super) fn of(run: &Run, failure: Option<TurnError>) -> Self {
        match failure {
            Some(failure) => Self::Failed(failure),
            None => {
                let stop_reason = run.stop_reason.unwrap_or(StopReason::Error);
                Self::Stopped(stop_reason, run.usage, run.sleeptime_runs.clone())
            }
        }
    }

    /// The last events of a stream. `number` is that of the event before them, if events are numbered.
    pub(super) fn frames(&self, run_id: &str, by_tokens: bool, number: Option<u64>) -> Vec<Bytes> {
        let mut frames = Vec::new();
        match self {
            Self::Stopped(stop_reason, usage, run_ids) => {
                frames.push(data(&stop_reason.wire()));
                if *stop_reason != StopReason::Cancelled {
                    frames.push(data(&usage.wire(by_tokens, run_ids)));
                }
            }
            Self::Failed(failure) => {
                frames.push(data(&failure.stop_reason.wire()));
                let error = failure.event(run_id, number.map(|number| number + 2));
                frames.push(Bytes::from(format!("event: error\ndata: {error}\n\n")));
            }
        }
        frames.push(Bytes::from_static(b"data: [DONE]\n\n"));
        frames
    }
}

/// One event.
pub(super) fn data(event: &impl Serialize) -> Bytes {
    // Only keys that are not strings could fail, and there are none.
    let event = serde_json::to_string(event).unwrap_or_default();
    Bytes::from(format!("data: {event}\n\n"))
}

/// A ping, which shows the client that the turn still runs.
pub(in crate::mock) fn ping(run_id: &str, number: Option<u64>) -> Bytes {
    let ping: Value = json!({
        "id": entropy::letta_id("ping"),
        "date": Timestamp::now().message_date(),
        "name": null,
        "message_type": "ping",
        "otid": null,
        "sender_id": null,
        "step_id": null,
        "is_err": null,
        "seq_id": number,
        "run_id": run_id,
    });
    data(&ping)
}

/// The end of a stream whose turn fails because the model's provider responds with this status.
pub(in crate::mock) fn failed_stream(status: u16, run_id: &str) -> Vec<Bytes> {
    End::Failed(TurnError::of_provider(status)).frames(run_id, false, None)
}

/// Whether a frame is a ping.
pub(super) fn is_ping(frame: &str) -> bool {
    frame.starts_with("data: {\"id\":\"ping-")
}
