//! Streams that can be read again: the events of a turn in the background, kept in order from the first. While the turn
//! runs they are in memory; with the turn they are stored.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};

use crate::mock::records::Record;

/// The events of a turn that runs.
#[derive(Debug)]
pub(in crate::mock) struct EventLog {
    frames: Mutex<Vec<Bytes>>,
    /// How many of them may be read, and whether more will come.
    shown: watch::Sender<Visible>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Visible {
    count: usize,
    ended: bool,
}

/// The events of a turn that has ended, as they are stored.
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
        Arc::new(Self { frames: Mutex::default(), shown: watch::Sender::new(Visible::default()) })
    }

    pub(in crate::mock) fn record(&self, frame: Bytes) {
        self.lock().push(frame);
    }

    /// Lets readers see what was recorded so far.
    pub(in crate::mock) fn show(&self) {
        let count = self.lock().len();
        self.shown.send_modify(|shown| shown.count = count);
    }

    /// Forgets everything, for a turn that begins anew.
    pub(in crate::mock) fn rewind(&self) {
        self.lock().clear();
        self.shown.send_replace(Visible::default());
    }

    /// Lets readers see that nothing more will come.
    pub(in crate::mock) fn end(&self) {
        let count = self.lock().len();
        self.shown.send_replace(Visible { count, ended: true });
    }

    pub(in crate::mock) fn recording(&self, run_id: &str, end: &[Bytes]) -> StoredEvents {
        let text = |frame: &Bytes| String::from_utf8_lossy(frame).into_owned();
        let frames = self.lock().iter().chain(end).map(text).collect();
        StoredEvents { run_id: run_id.to_owned(), frames }
    }

    /// What is on it from a place on, as soon as there is something; none: nothing more will come. Where nothing comes for
    /// `patience`, nothing is returned.
    pub(in crate::mock) async fn from(&self, place: usize, patience: Duration) -> Option<Vec<Bytes>> {
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
