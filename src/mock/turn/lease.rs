//! A turn's run while it runs. A turn that needs no time is stored once, when it has ended; before one makes anybody wait,
//! its run is stored, so that it can be found, cancelled, and, where its request is kept with it, taken up again.

use std::{sync::Arc, time::Duration};

use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::{
    agent_messages::Messenger,
    commit::keep_alive,
    recovery::{SIGN_OF_LIFE, STREAM_SIGN_OF_LIFE},
    request::TurnRequest,
};
use crate::{
    error::ApiError,
    mock::{
        records::{Run, links},
        running::Registration,
        state::State,
        storage::documents::insert,
    },
    store::transaction,
};

/// A turn's run while it runs.
pub(super) struct RunLease {
    pub(super) state: Arc<State>,
    pub(super) project: String,
    pub(super) run: Run,
    pub(super) registration: Registration,
    /// Whether the run is stored.
    pub(super) is_announced: bool,
    /// How its agent sends messages to others.
    pub(super) messenger: Messenger,
    /// Tells other processes from time to time that this one works on it.
    pub(super) signs: Option<AbortOnDropHandle<()>>,
}

impl RunLease {
    /// Stores the run, unless it is.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn announce(&mut self) -> Result<(), ApiError> {
        if !self.is_announced {
            transaction!(self.state.store, tx => {
                insert(tx, &self.project, Some(&self.run.agent_id), &self.run).await?;
                tx.link(links::ACTIVE_RUN, &self.run.agent_id, &self.run.id).await?;
                if let Some(idempotency_key) = &self.run.idempotency_key {
                    tx.link(idempotency_key, &self.run.agent_id, &self.run.id).await?;
                }
                Ok(())
            })?;
            self.is_announced = true;
            self.show_signs_of_life();
        }
        Ok(())
    }

    /// Lets other processes know that this one works on the turn, once it takes longer than a moment and until it ends.
    pub(super) fn show_signs_of_life(&mut self) {
        let (state, run_id) = (Arc::clone(&self.state), self.run.id.clone());
        let interval = if self.run.delivery.is_some() { STREAM_SIGN_OF_LIFE } else { SIGN_OF_LIFE };
        self.signs = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                if let Err(error) = keep_alive(&state.store, &run_id).await {
                    debug!(%error, "A sign of life was not stored");
                }
            }
        })));
    }

    /// Lets whoever starts next take the turn up, if this process ends before the turn does.
    pub(super) fn outlives_process(&mut self, request: &TurnRequest) {
        self.run.request = Some(request.clone());
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.registration.cancel.is_cancelled()
    }

    /// Lets time pass; false when the turn was cancelled meanwhile.
    pub(super) async fn wait(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.registration.cancel.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }
}
