//! What stopped processes leave behind: turns in the background are taken up again, turns whose client waited for them are
//! marked as failed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tracing::{debug, info, warn};

use super::{
    commit::{fail, forget},
    engine::Turn,
};
use crate::{
    error::ApiError,
    mock::{
        agents::thread::Thread,
        records::{Record, Run, links},
        state::State,
        storage::documents::parse,
    },
};

/// So long after the last sign of life, an unfinished turn has no process any more.
const ABANDONED_AFTER: Duration = Duration::from_mins(5);
/// How often a process says that it still works on a turn.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_mins(1);
/// How often it says so of a turn that is streamed in the background, for others follow that.
pub(super) const STREAM_SIGN_OF_LIFE: Duration = Duration::from_secs(3);
/// So long after the last such sign, a turn that is streamed in the background has no process any more. Other turns in the
/// background are taken up at once: whoever ends first stores them, and nobody has heard anything of the other.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// How many agents' turns are taken up at the same time.
const AT_ONCE: usize = 8;

/// Looks after unfinished turns as long as this process runs: those that were there when it started, and those of other
/// processes that stop meanwhile.
pub(in crate::mock) async fn recover(state: &Arc<State>) {
    let mut starts = true;
    loop {
        let pause = match sweep(state, starts).await {
            Ok(pause) => {
                starts = false;
                pause
            }
            Err(error) => {
                warn!(%error, "Unfinished turns could not be looked after");
                STREAM_SIGN_OF_LIFE
            }
        };
        tokio::select! {
            () = state.closing.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Looks at every unfinished turn once; returns when to look again. `starts`: this process has just begun, most likely in
/// place of another.
async fn sweep(state: &Arc<State>, starts: bool) -> Result<Duration, ApiError> {
    let mut pause = ABANDONED_AFTER;
    let mut left: HashMap<String, Vec<String>> = HashMap::new();
    for (agent_id, run_id) in state.store.links(links::ACTIVE_RUN).await? {
        if state.turns.contains(&run_id) {
            continue;
        }
        let Some(document) = state.store.document(Run::KIND, &run_id).await? else {
            forget(&state.store, &agent_id, &run_id).await?;
            continue;
        };
        let run = parse::<Run>(document)?.record;
        let is_abandoned = has_been_silent_for(&run, ABANDONED_AFTER);
        if is_streamed_elsewhere(&run) {
            pause = STREAM_SIGN_OF_LIFE;
        } else if run.request.is_some() {
            if starts || is_abandoned || run.delivery.is_some() {
                left.entry(agent_id).or_default().push(run_id);
            }
        } else if is_abandoned {
            debug!(run.id = %run.id, "Marking an abandoned turn as failed");
            fail(&state.store, &run, "The server stopped while this turn was running.").await?;
        }
    }
    let mut agents = tokio::task::JoinSet::new();
    for run_ids in left.into_values() {
        if agents.len() >= AT_ONCE {
            agents.join_next().await;
        }
        info!(runs = run_ids.len(), "Taking up turns that a stopped process left unfinished");
        agents.spawn(state.tasks.track_future(take_up(Arc::clone(state), run_ids)));
    }
    while let Some(all) = agents.join_next().await {
        if !all.is_ok_and(|all| all) {
            pause = STREAM_SIGN_OF_LIFE;
        }
    }
    Ok(pause)
}

/// Takes turns whose runs are stored, one after the other; false when one of them has to wait.
pub(in crate::mock) async fn take_up(state: Arc<State>, run_ids: Vec<String>) -> bool {
    let mut all = true;
    for run_id in run_ids {
        if state.closing.is_cancelled() {
            break;
        }
        all &= take_up_one(&state, &run_id).await.unwrap_or_else(|error| {
            warn!(%error, run.id = %run_id, "A turn in the background could not be taken up");
            false
        });
    }
    all
}

async fn take_up_one(state: &Arc<State>, run_id: &str) -> Result<bool, ApiError> {
    let Some(document) = state.store.document(Run::KIND, run_id).await? else { return Ok(true) };
    let run = parse::<Run>(document)?.record;
    let Some(request) = run.request.clone().filter(|_| !run.has_ended()) else { return Ok(true) };
    let Some(thread) = Thread::load(&state.store, &run.agent_id, run.conversation_id.as_deref()).await? else {
        forget(&state.store, &run.agent_id, &run.id).await?;
        return Ok(true);
    };
    // Its conversation may be streaming something newer.
    let Some(turn) = Turn::resume(state, thread, run, request) else { return Ok(false) };
    turn.answer_in_background().await?;
    Ok(true)
}

/// Whether another process may be telling somebody what the agent says.
fn is_streamed_elsewhere(run: &Run) -> bool {
    run.delivery.is_some() && !has_been_silent_for(run, SILENT_AFTER)
}

fn has_been_silent_for(run: &Run, time: Duration) -> bool {
    let silence = run.alive_at.unwrap_or(run.created_at).elapsed_millis();
    silence >= time.as_millis().try_into().unwrap_or(i64::MAX)
}
