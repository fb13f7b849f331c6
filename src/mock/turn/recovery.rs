//! Recovery of the turns that stopped processes left unfinished: turns whose request is stored are resumed, and turns whose
//! client waited for them are marked as failed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tracing::{debug, info, warn};

use super::{
    commit::{delete_run, mark_failed},
    engine::resume_all,
    lease::{EXPIRY, STREAM_RENEWAL, has_expired, is_streamed_elsewhere},
};
use crate::{
    error::ApiError,
    mock::{
        records::{Record, Run, links},
        state::State,
        storage::parse,
    },
    world,
};

/// The turns of at most this many agents are resumed at the same time.
const MAX_AGENTS: usize = 8;

/// Recovers unfinished turns until the process is about to stop: first those that were there when it started, later those
/// of other processes that stop.
pub(in crate::mock) async fn recover(state: &Arc<State>) {
    let mut is_start = true;
    loop {
        let pause = match recover_once(state, is_start).await {
            Ok(pause) => {
                is_start = false;
                pause
            }
            Err(error) => {
                warn!(%error, "Unfinished turns could not be recovered");
                STREAM_RENEWAL
            }
        };
        tokio::select! {
            () = state.closing.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Recovers all unfinished turns once, and returns how long to wait until the next time. `is_start` is whether the process
/// has just started, most likely to replace another; then leases are not waited for.
async fn recover_once(state: &Arc<State>, is_start: bool) -> Result<Duration, ApiError> {
    let mut pause = EXPIRY;
    let mut resumable: HashMap<String, Vec<String>> = HashMap::new();
    for (agent_id, run_id) in state.store.links(links::ACTIVE_RUN).await? {
        if state.turns.contains(&run_id) {
            continue;
        }
        let Some(document) = state.store.document(Run::KIND, &run_id).await? else {
            delete_run(&state.store, &agent_id, &run_id).await?;
            continue;
        };
        let run = parse::<Run>(document)?.record;
        if is_streamed_elsewhere(&run) {
            pause = STREAM_RENEWAL;
        } else if run.request.is_some() {
            if is_start || has_expired(&run) || run.delivery.is_some() {
                resumable.entry(agent_id).or_default().push(run_id);
            }
        } else if has_expired(&run) {
            debug!(run.id = %run.id, "Marking an abandoned turn as failed");
            mark_failed(&state.store, &run, "The server stopped while this turn was running.").await?;
        }
    }
    let mut agents = tokio::task::JoinSet::new();
    for run_ids in resumable.into_values() {
        if agents.len() >= MAX_AGENTS {
            agents.join_next().await;
        }
        info!(runs = run_ids.len(), "Resuming turns that a stopped process left unfinished");
        agents.spawn(state.tasks.track_future(world::inherit(resume_all(Arc::clone(state), run_ids))));
    }
    while let Some(all_resumed) = agents.join_next().await {
        if !matches!(all_resumed, Ok(Some(true))) {
            pause = STREAM_RENEWAL;
        }
    }
    Ok(pause)
}
