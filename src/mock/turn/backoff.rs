//! Retries while the database is unavailable.

use std::time::Duration;

use crate::{error::ApiError, mock::state::State};

/// Counts the attempts of a background task, and waits between them.
pub(super) struct DatabaseBackoff<'a> {
    state: &'a State,
    attempts: u32,
}

impl<'a> DatabaseBackoff<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self { state, attempts: 0 }
    }

    /// Waits before the next attempt; `false` if there should be none, because the error is not the database's, there were
    /// too many attempts, or the process is about to stop.
    pub(super) async fn waits_after(&mut self, error: &ApiError) -> bool {
        const MAX_ATTEMPTS: u32 = 120;
        const PAUSE: Duration = Duration::from_secs(1);
        self.attempts += 1;
        if !error.is_store_failure() || self.attempts > MAX_ATTEMPTS {
            return false;
        }
        tokio::select! {
            () = self.state.closing.cancelled() => false,
            () = tokio::time::sleep(PAUSE) => true,
        }
    }
}
