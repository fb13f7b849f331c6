//! Reading the events of a turn in the background, while it runs or after it has ended.

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
        storage::documents::{Stored, parse},
    },
    request::body::Body,
};

/// What a reader of a stream wants.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) struct ReplayOptions {
    /// The number of the last event that it knows.
    pub(in crate::mock) after: usize,
    pub(in crate::mock) pings: bool,
    /// How often to look whether another process has ended the turn.
    pub(in crate::mock) poll: Duration,
}

impl ReplayOptions {
    /// From the first event, with all signs of life.
    pub(in crate::mock) const WHOLE: Self = Self { after: 0, pings: true, poll: Duration::from_millis(100) };
}

/// Where the events of a run are.
enum EventSource {
    Running(Arc<EventLog>),
    Ended(Vec<Bytes>),
    /// In another process, or about to be taken up.
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
            // Looked for once the run has ended, with which it is stored.
            if let Some(document) = state.store.document(StoredEvents::KIND, run_id).await? {
                let Stored { record, .. } = parse::<StoredEvents>(document)?;
                return Ok(EventSource::Ended(record.frames.into_iter().map(Bytes::from).collect()));
            }
            // Another process cancelled it, or it never got to speak.
            let end = run.map(|run| End::of(&run.record, None).frames(run_id, true, Some(0)));
            Ok(EventSource::Ended(end.unwrap_or_default()))
        }
    }
}

/// The events of a run that is in the background, from a place on and to its end.
pub(in crate::mock) fn replay(
    state: &Arc<State>,
    run_id: String,
    event_log: Option<Arc<EventLog>>,
    reading: ReplayOptions,
) -> Body {
    struct ReplayCursor {
        state: Arc<State>,
        run_id: String,
        reading: ReplayOptions,
        place: usize,
        source: EventSource,
        ended: bool,
    }
    let reader = ReplayCursor {
        state: Arc::clone(state),
        run_id,
        place: reading.after,
        reading,
        source: event_log.map_or(EventSource::Elsewhere, EventSource::Running),
        ended: false,
    };
    Body::from_stream(stream::unfold(reader, |mut reader| async move {
        let mut silence = Duration::ZERO;
        while !reader.ended {
            let interval = reader.state.ping_interval;
            let frames = match &mut reader.source {
                EventSource::Running(event_log) => match event_log.read_from(reader.place, interval).await {
                    Some(frames) if frames.is_empty() => vec![ping(&reader.run_id, None)],
                    Some(frames) => {
                        reader.place += frames.len();
                        frames
                    }
                    None => return None,
                },
                EventSource::Ended(frames) => {
                    reader.ended = true;
                    frames.split_off(reader.place.min(frames.len()))
                }
                EventSource::Elsewhere => {
                    match source(&reader.state, &reader.run_id).await {
                        Ok(EventSource::Elsewhere) => {}
                        Ok(found) => {
                            reader.source = found;
                            continue;
                        }
                        // Broken off rather than ended as if it were whole.
                        Err(error) => return Some((Err(std::io::Error::other(error.to_string())), reader)),
                    }
                    tokio::time::sleep(reader.reading.poll).await;
                    silence += reader.reading.poll;
                    if silence < interval {
                        continue;
                    }
                    silence = Duration::ZERO;
                    vec![ping(&reader.run_id, None)]
                }
            };
            let wanted = |frame: &&Bytes| reader.reading.pings || !std::str::from_utf8(frame).is_ok_and(is_ping);
            let chunk: Vec<u8> = frames.iter().filter(wanted).flat_map(|frame| frame.iter().copied()).collect();
            if !chunk.is_empty() {
                return Some((Ok(Bytes::from(chunk)), reader));
            }
        }
        None
    }))
}
