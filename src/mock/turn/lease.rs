//! Run leases. A turn that takes no time is stored once, at its end. Before a turn makes its client wait, its run is stored, so
//! that it can be found and cancelled. From then on this process renews its lease on the run until the turn ends, so that
//! other processes recover the run only if this one stops.

use std::{sync::Arc, time::Duration};

use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::agent_messages::Messenger;
use crate::{
    access::Attempt,
    error::ApiError,
    mock::{
        records::{Record, Run, Timestamp, TurnRequest, links},
        running::Registration,
        state::State,
        storage::{insert, parse, update},
    },
    replies::TurnReplies,
    store::{Store, transaction},
    world::{self, TimerKind},
};

/// The interval at which leases are renewed.
const RENEWAL: Duration = Duration::from_mins(1);
/// The interval at which leases of background streams are renewed, since other processes follow these.
pub(super) const STREAM_RENEWAL: Duration = Duration::from_secs(3);
/// A lease expires when it was not renewed for this long.
pub(super) const EXPIRY: Duration = Duration::from_mins(5);
/// The lease of a background stream expires when it was not renewed for this long. Background turns without a stream are
/// resumed at once when a process starts: the first to end is stored, and no client has seen anything of the other.
const STREAM_EXPIRY: Duration = Duration::from_secs(10);

/// This process's claim on a turn's run.
pub(super) struct RunLease {
    pub(super) state: Arc<State>,
    pub(super) project: String,
    pub(super) run: Run,
    pub(super) registration: Registration,
    /// Whether the run is stored.
    pub(super) is_stored: bool,
    /// Sends messages to other agents.
    pub(super) messenger: Messenger,
    /// The replies that are chosen for its steps.
    pub(super) replies: Arc<TurnReplies>,
    /// The request's place in the journal, if there is one.
    pub(super) attempt: Option<Arc<dyn Attempt>>,
    /// The task that renews the lease.
    pub(super) renewal: Option<AbortOnDropHandle<Option<()>>>,
}

impl RunLease {
    /// Stores the run, unless it is stored already.
    ///
    /// # Errors
    /// If the database fails.
    pub(super) async fn store_run(&mut self) -> Result<(), ApiError> {
        if !self.is_stored {
            transaction!(self.state.store, tx => {
                insert(tx, &self.project, Some(&self.run.agent_id), &self.run).await?;
                tx.link(links::ACTIVE_RUN, &self.run.agent_id, &self.run.id).await?;
                if let Some(idempotency_key) = &self.run.idempotency_key {
                    tx.link(idempotency_key, &self.run.agent_id, &self.run.id).await?;
                }
                Ok(())
            })?;
            self.is_stored = true;
            self.start_renewal();
        }
        Ok(())
    }

    /// Renews the lease at intervals, until it is dropped.
    pub(super) fn start_renewal(&mut self) {
        let (state, run_id) = (Arc::clone(&self.state), self.run.id.clone());
        let interval = if self.run.delivery.is_some() { STREAM_RENEWAL } else { RENEWAL };
        self.renewal = Some(AbortOnDropHandle::new(tokio::spawn(world::inherit(async move {
            loop {
                tokio::time::sleep(interval).await;
                if let Err(error) = renew(&state.store, &run_id).await {
                    debug!(%error, "The lease of a run could not be renewed");
                }
            }
        }))));
    }

    /// Stores the request with the run, so that another process can resume the turn.
    pub(super) fn keep_request(&mut self, request: &TurnRequest) {
        self.run.request = Some(request.clone());
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.registration.cancel.is_cancelled()
    }

    /// Waits; `false` if the turn is cancelled meanwhile.
    pub(super) async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.registration.cancel.cancelled() => false,
            () = world::sleep(time, TimerKind::Pause, &self.run.id) => true,
        }
    }
}

/// Renews the lease of a run, unless the run has ended.
async fn renew(store: &Store, run_id: &str) -> Result<(), ApiError> {
    transaction!(store, tx => {
        let Some(run) = tx.document_for_update(Run::KIND, run_id).await? else { return Ok(()) };
        let mut run = parse::<Run>(run)?.record;
        if !run.has_ended() {
            run.alive_at = Some(Timestamp::now());
            update(tx, &run).await?;
        }
        Ok(())
    })
}

/// Whether the lease of a run has expired.
pub(super) fn has_expired(run: &Run) -> bool {
    was_renewed_before(run, EXPIRY)
}

/// Whether another process may be streaming a run.
pub(super) fn is_streamed_elsewhere(run: &Run) -> bool {
    run.delivery.is_some() && !was_renewed_before(run, STREAM_EXPIRY)
}

fn was_renewed_before(run: &Run, time: Duration) -> bool {
    let age = run.alive_at.unwrap_or(run.created_at).elapsed_millis();
    age >= time.as_millis().try_into().unwrap_or(i64::MAX)
}
