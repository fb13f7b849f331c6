//! Replays the events of a background turn, while it runs or after it has ended.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;

use super::sse::{End, is_ping, ping};
use crate::{
    error::ApiError,
    mock::{
        records::{Record, Run},
        running::{EventLog, StoredEvents},
        state::State,
        storage::{Stored, parse},
    },
    request::body::Body,
};

/// Options of a replay.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) struct ReplayOptions {
    /// The number of the last event that the client has.
    pub(in crate::mock) after: usize,
    /// Whether to send pings.
    pub(in crate::mock) pings: bool,
    /// The interval at which to check whether another process has ended the turn.
    pub(in crate::mock) poll: Duration,
}

impl ReplayOptions {
    /// All events, with pings.
    pub(in crate::mock) const WHOLE: Self = Self { after: 0, pings: true, poll: Duration::from_millis(100) };
}

/// Where the events of a run are.
enum EventSource {
    Running(Arc<EventLog>),
    Ended(Vec<Bytes>),
    /// In another process, or about to be resumed.
    Elsewhere,
}

async fn source(state: &State, run_id: &str) -> Result<EventSource, ApiError> {
    if let Some(event_log) = state.turns.event_log(run_id) {
        return Ok(EventSource::Running(event_log));
    }
    let run = state.store.document(Run::KIND, run_id).await?;
    let run = run.map(parse::<Run>).transpose()?;
    match run {
        Some(run) if !run.record.has_ended() => Ok(EventSource::Elsewhere),
        run => {
            // The events are stored with the end of the run, so they are there if it has ended here.
            if let Some(document) = state.store.document(StoredEvents::KIND, run_id).await? {
                let Stored { record, .. } = parse::<StoredEvents>(document)?;
                return Ok(EventSource::Ended(record.frames.into_iter().map(Bytes::from).collect()));
            }
            // Another process cancelled the run, or it failed before it sent events.
            let end = run.map(|run| End::of(&run.record, None).frames(run_id, true, Some(0)));
            Ok(EventSource::Ended(end.unwrap_or_default()))
        }
    }
}

/// The events of a background run, from a position to the end.
pub(in crate::mock) fn replay(
    state: &Arc<State>,
    run_id: String,
    event_log: Option<Arc<EventLog>>,
    options: ReplayOptions,
) -> Body {
    struct ReplayCursor {
        state: Arc<State>,
        run_id: String,
        options: ReplayOptions,
        position: usize,
        source: EventSource,
        ended: bool,
    }
    let cursor = ReplayCursor {
        state: Arc::clone(state),
        run_id,
        position: options.after,
        options,
        source: event_log.map_or(EventSource::Elsewhere, EventSource::Running),
        ended: false,
    };
    Body::from_stream(stream::unfold(cursor, |mut cursor| async move {
        let mut silence = Duration::ZERO;
        while !cursor.ended {
            let interval = cursor.state.ping_interval;
            let frames = match &mut cursor.source {
                EventSource::Running(event_log) => {
                    match event_log.read_from(&cursor.run_id, cursor.position, interval).await {
                        Some(frames) if frames.is_empty() => vec![ping(&cursor.run_id, None)],
                        Some(frames) => {
                            cursor.position += frames.len();
                            frames
                        }
                        None => return None,
                    }
                }
                EventSource::Ended(frames) => {
                    cursor.ended = true;
                    frames.split_off(cursor.position.min(frames.len()))
                }
                EventSource::Elsewhere => {
                    match source(&cursor.state, &cursor.run_id).await {
                        Ok(EventSource::Elsewhere) => {}
                        Ok(found) => {
                            cursor.source = found;
                            continue;
                        }
                        // An error aborts the stream, so that it does not look complete.
                        Err(error) => return Some((Err(std::io::Error::other(error.to_string())), cursor)),
                    }
                    tokio::time::sleep(cursor.options.poll).await;
                    silence += cursor.options.poll;
                    if silence < interval {
                        continue;
                    }
                    silence = Duration::ZERO;
                    vec![ping(&cursor.run_id, None)]
                }
            };
            let is_wanted = |frame: &&Bytes| cursor.options.pings || !std::str::from_utf8(frame).is_ok_and(is_ping);
            let chunk: Vec<u8> = frames.iter().filter(is_wanted).flat_map(|frame| frame.iter().copied()).collect();
            if !chunk.is_empty() {
                return Some((Ok(Bytes::from(chunk)), cursor));
            }
        }
        None
    }))
}
