//! Streams that can be read again: the events of a turn in the background, kept in order from the first. While the turn
//! runs they are in memory; with the turn they are stored.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};

use super::frames::{is_ping, ping};
use crate::{
    body::Body,
    error::ApiError,
    mock::{
        documents::{Stored, parse},
        records::{Record, Run},
        state::State,
    },
};

/// The events of a turn that runs.
#[derive(Debug)]
pub(in crate::mock) struct Tape {
    frames: Mutex<Vec<Bytes>>,
    /// How many of them may be read, and whether more will come.
    shown: watch::Sender<Shown>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    count: usize,
    ended: bool,
}

/// The events of a turn that has ended, as they are stored.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Recording {
    pub(super) run_id: String,
    pub(super) frames: Vec<String>,
}

impl Record for Recording {
    const KIND: &'static str = "recording";
    const NAME: &'static str = "Stream";

    fn id(&self) -> &str {
        &self.run_id
    }
}

/// What a reader of a stream wants.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) struct Reading {
    /// The number of the last event that it knows.
    pub(in crate::mock) after: usize,
    pub(in crate::mock) pings: bool,
    /// How often to look whether another process has ended the turn.
    pub(in crate::mock) poll: Duration,
}

impl Reading {
    /// From the first event, with all signs of life.
    pub(in crate::mock) const WHOLE: Self = Self { after: 0, pings: true, poll: Duration::from_millis(100) };
}

impl Tape {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { frames: Mutex::default(), shown: watch::Sender::new(Shown::default()) })
    }

    pub(super) fn record(&self, frame: Bytes) {
        self.lock().push(frame);
    }

    /// Lets readers see what was recorded so far.
    pub(super) fn show(&self) {
        let count = self.lock().len();
        self.shown.send_modify(|shown| shown.count = count);
    }

    /// Forgets everything, for a turn that begins anew.
    pub(super) fn rewind(&self) {
        self.lock().clear();
        self.shown.send_replace(Shown::default());
    }

    /// Lets readers see that nothing more will come.
    pub(super) fn end(&self) {
        let count = self.lock().len();
        self.shown.send_replace(Shown { count, ended: true });
    }

    pub(super) fn recording(&self, run_id: &str, end: &[Bytes]) -> Recording {
        let text = |frame: &Bytes| String::from_utf8_lossy(frame).into_owned();
        let frames = self.lock().iter().chain(end).map(text).collect();
        Recording { run_id: run_id.to_owned(), frames }
    }

    /// What is on it from a place on, as soon as there is something; none: nothing more will come. Where nothing comes for
    /// `patience`, nothing is returned.
    async fn from(&self, place: usize, patience: Duration) -> Option<Vec<Bytes>> {
        let mut shown = self.shown.subscribe();
        let there = timeout(patience, shown.wait_for(|shown| shown.count > place || shown.ended)).await;
        match there {
            Err(_) => Some(Vec::new()),
            Ok(Err(_)) => None,
            Ok(Ok(shown)) => {
                let frames = self.lock().get(place..shown.count).unwrap_or_default().to_vec();
                (!frames.is_empty()).then_some(frames)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the events of a run are.
enum Source {
    Running(Arc<Tape>),
    Ended(Vec<Bytes>),
    /// In another process, or about to be taken up.
    Elsewhere,
}

async fn source(state: &State, run_id: &str) -> Result<Source, ApiError> {
    if let Some(tape) = state.turns.tape(run_id) {
        return Ok(Source::Running(tape));
    }
    let run = state.store.document(Run::KIND, run_id).await?;
    let run = run.map(parse::<Run>).transpose()?;
    match run {
        Some(run) if !run.record.has_ended() => Ok(Source::Elsewhere),
        run => {
            // Looked for once the run has ended, with which it is stored.
            if let Some(document) = state.store.document(Recording::KIND, run_id).await? {
                let Stored { record, .. } = parse::<Recording>(document)?;
                return Ok(Source::Ended(record.frames.into_iter().map(Bytes::from).collect()));
            }
            // Another process cancelled it, or it never got to speak.
            let end = run.map(|run| super::frames::End::of(&run.record, None).frames(run_id, true, Some(0)));
            Ok(Source::Ended(end.unwrap_or_default()))
        }
    }
}

/// The events of a run that is in the background, from a place on and to its end.
pub(in crate::mock) fn read(state: &Arc<State>, run_id: String, tape: Option<Arc<Tape>>, reading: Reading) -> Body {
    struct Reader {
        state: Arc<State>,
        run_id: String,
        reading: Reading,
        place: usize,
        source: Source,
        ended: bool,
    }
    let reader = Reader {
        state: Arc::clone(state),
        run_id,
        place: reading.after,
        reading,
        source: tape.map_or(Source::Elsewhere, Source::Running),
        ended: false,
    };
    Body::from_stream(stream::unfold(reader, |mut reader| async move {
        let mut silence = Duration::ZERO;
        while !reader.ended {
            let interval = reader.state.ping_interval;
            let frames = match &mut reader.source {
                Source::Running(tape) => match tape.from(reader.place, interval).await {
                    Some(frames) if frames.is_empty() => vec![ping(&reader.run_id, None)],
                    Some(frames) => {
                        reader.place += frames.len();
                        frames
                    }
                    None => return None,
                },
                Source::Ended(frames) => {
                    reader.ended = true;
                    frames.split_off(reader.place.min(frames.len()))
                }
                Source::Elsewhere => {
                    match source(&reader.state, &reader.run_id).await {
                        Ok(Source::Elsewhere) => {}
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
