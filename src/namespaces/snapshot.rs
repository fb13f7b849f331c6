//! Snapshots: the state of a namespace at a moment.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Injected, Refs};
use crate::{
    clock,
    error::{ApiError, Code},
    store::{Image, RowCounts},
    world::{Micros, SavedWorld},
};

/// How many snapshots a namespace may have.
pub(crate) const MOST_SNAPSHOTS: usize = 16;

/// The largest snapshot, in bytes.
pub(crate) const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The largest size of all snapshots of the process together, in bytes.
pub(super) const MOST_BYTES_TOGETHER: usize = 1024 * 1024 * 1024;

/// What a world contains at a moment. Cheap to clone, but for the counters of its ids.
#[derive(Clone, Debug)]
pub(super) struct SavedState {
    pub(super) image: Image,
    pub(super) world: SavedWorld,
    pub(super) refs: Refs,
    pub(super) injected: Injected,
    pub(super) counts: RowCounts,
}

/// A named snapshot.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) state: SavedState,
    /// When it was taken, by the real clock.
    pub(super) taken_at: Micros,
}

/// The snapshots of a namespace, by name.
#[derive(Debug, Default)]
pub(super) struct Snapshots(BTreeMap<String, Snapshot>);

/// What is told about a snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotSummary {
    name: String,
    /// By the real clock.
    taken_at: String,
    /// The time of the namespace's clock in it.
    now: String,
    bytes: usize,
    counts: RowCounts,
}

impl Snapshots {
    /// Stores a snapshot. Returns whether its name is new.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn insert(&mut self, name: &str, snapshot: Snapshot) -> Result<bool, ApiError> {
        let is_new = !self.0.contains_key(name);
        if is_new && self.0.len() >= MOST_SNAPSHOTS {
            let sentence = format!("A namespace keeps at most {MOST_SNAPSHOTS} snapshots; delete one first.");
            return Err(ApiError::new(Code::SnapshotsExhausted, sentence).without_retry());
        }
        self.0.insert(name.to_owned(), snapshot);
        Ok(is_new)
    }

    /// A snapshot.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(super) fn find(&self, name: &str) -> Result<&Snapshot, ApiError> {
        self.0.get(name).ok_or_else(|| {
            let sentence = format!("This namespace has no snapshot '{name}'; take it with PUT first.");
            ApiError::new(Code::SnapshotNotFound, sentence)
        })
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.values().map(|snapshot| snapshot.state.image.bytes().len()).sum()
    }

    pub(super) fn summaries(&self) -> Vec<SnapshotSummary> {
        self.0.iter().map(|(name, snapshot)| snapshot.summary(name)).collect()
    }
}

impl Snapshot {
    pub(super) fn summary(&self, name: &str) -> SnapshotSummary {
        let Self { state, taken_at } = self;
        let now = state.world.now();
        SnapshotSummary {
            name: name.to_owned(),
            taken_at: clock::format_millis(taken_at.div_euclid(1_000)),
            now: clock::format_millis(now.div_euclid(1_000)),
            bytes: state.image.bytes().len(),
            counts: state.counts.clone(),
        }
    }
}
