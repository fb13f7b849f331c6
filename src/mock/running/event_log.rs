//! The events of background turns, kept in order from the first so that they can be read again: in memory while the turn
//! runs, in the store once it has ended.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    mock::records::Record,
    world::{self, TimerKind},
};

/// The events of a running turn.
#[derive(Debug)]
pub(in crate::mock) struct EventLog {
    frames: Mutex<Vec<Bytes>>,
    /// How far readers may read.
    published: watch::Sender<Published>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Published {
    count: usize,
    /// Whether no more events follow.
    ended: bool,
}

/// The events of an ended turn, as they are stored.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::mock) struct StoredEvents {
    pub(in crate::mock) run_id: String,
    pub(in crate::mock) frames: Vec<String>,
}

impl Record for StoredEvents {
    const KIND: &'static str = "recording";
    const NAME: &'static str = "Stream";

    fn id(&self) -> &str {
        &self.run_id
    }
}

impl EventLog {
    pub(in crate::mock) fn new() -> Arc<Self> {
        Arc::new(Self { frames: Mutex::default(), published: watch::Sender::new(Published::default()) })
    }

    /// Adds an event. Readers see it after [`EventLog::publish`].
    pub(in crate::mock) fn append(&self, frame: Bytes) {
        self.lock().push(frame);
    }

    /// Makes all events so far visible to readers.
    pub(in crate::mock) fn publish(&self) {
        let count = self.lock().len();
        self.published.send_modify(|published| published.count = count);
    }

    /// Removes all events, because the turn starts again.
    pub(in crate::mock) fn clear(&self) {
        self.lock().clear();
        self.published.send_replace(Published::default());
    }

    /// Makes all events visible to readers, and tells them that no more follow.
    pub(in crate::mock) fn end(&self) {
        let count = self.lock().len();
        self.published.send_replace(Published { count, ended: true });
    }

    /// All events, followed by `last`, as they are stored.
    pub(in crate::mock) fn to_stored(&self, run_id: &str, last: &[Bytes]) -> StoredEvents {
        let text = |frame: &Bytes| String::from_utf8_lossy(frame).into_owned();
        let frames = self.lock().iter().chain(last).map(text).collect();
        StoredEvents { run_id: run_id.to_owned(), frames }
    }

    /// The events from `position` on, as soon as there are any: an empty list when `wait` passes without one, `None` when
    /// the log has ended before.
    pub(in crate::mock) async fn read_from(&self, run_id: &str, position: usize, wait: Duration) -> Option<Vec<Bytes>> {
        let mut published = self.published.subscribe();
        let changed = published.wait_for(|published| published.count > position || published.ended);
        match world::timeout(wait, TimerKind::Ping, run_id, changed).await {
            None => Some(Vec::new()),
            Some(Err(_)) => None,
            Some(Ok(published)) => {
                let frames = self.lock().get(position..published.count).unwrap_or_default().to_vec();
                (!frames.is_empty()).then_some(frames)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
