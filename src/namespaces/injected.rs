//! What tests have injected into a namespace: replies and faults.

use serde::{Deserialize, Serialize};

use crate::{
    faults::SavedFaults,
    http::{App, Backend},
    replies::SavedReplies,
    store::RowCounts,
};

/// The replies and faults of a namespace, and how often each was used.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Injected {
    pub(crate) replies: SavedReplies,
    pub(crate) faults: SavedFaults,
}

/// What a reset may keep.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kept {
    Replies,
    Faults,
    Journal,
}

impl Injected {
    /// What an application has.
    pub(super) fn of(app: &App) -> Self {
        let replies = match &app.backend {
            Backend::Mock(mock) => mock.replies().save(),
            Backend::Gateway(_) => SavedReplies::default(),
        };
        Self { replies, faults: app.faults.as_ref().map(crate::faults::Faults::save).unwrap_or_default() }
    }

    /// What stays when a reset returns to `self`, from a namespace that has `now`. What is dropped is counted.
    pub(super) fn keeping(self, kept: &[Kept], now: Self, dropped: &mut RowCounts) -> Self {
        let mut drop = |kind: &str, count: usize| {
            if count > 0 {
                dropped.insert(kind.into(), i64::try_from(count).unwrap_or(i64::MAX));
            }
        };
        let replies = if kept.contains(&Kept::Replies) {
            now.replies
        } else {
            drop("reply", now.replies.count());
            self.replies
        };
        let faults = if kept.contains(&Kept::Faults) {
            now.faults
        } else {
            drop("fault", now.faults.count());
            self.faults
        };
        Self { replies, faults }
    }
}
