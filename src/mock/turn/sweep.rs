//! What a stopped process left behind: turns in the background are taken up again, turns whose client waited for them are
//! marked as failed.

use std::{sync::Arc, time::Duration};

use tracing::{debug, info};

use super::{
    commit::{fail, forget},
    engine::Turn,
    thread::Thread,
};
use crate::{
    error::ApiError,
    mock::{
        documents::parse,
        records::{Record, Run, links},
        state::State,
    },
};

/// Longer than any client may take to read an answer, so an unfinished turn of this age has no process any more.
const ABANDONED_AFTER: Duration = Duration::from_mins(5);
/// How often a process says that it still streams a turn in the background.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(3);
/// So long after the last such sign, a turn that is streamed in the background has no process any more. Other turns in the
/// background are taken up at once: whoever ends first stores them, and nobody has heard anything of the other.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// How many turns are taken up at the same time.
const AT_ONCE: usize = 8;

/// Looks after unfinished turns until none is left that another process may still be working on.
///
/// # Errors
/// When the database fails.
pub(in crate::mock) async fn resume(state: &Arc<State>) -> Result<(), ApiError> {
    while let Some(pause) = sweep(state).await? {
        tokio::select! {
            () = state.closing.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

/// Looks at every unfinished turn once. Some: there are turns that may still have a process; when to look again.
async fn sweep(state: &Arc<State>) -> Result<Option<Duration>, ApiError> {
    let mut again = None;
    let mut taken_up = tokio::task::JoinSet::new();
    for (agent_id, run_id) in state.store.links(links::ACTIVE_RUN).await? {
        if state.closing.is_cancelled() {
            break;
        }
        if state.turns.holds(&run_id) {
            continue;
        }
        let Some(document) = state.store.document(Run::KIND, &run_id).await? else {
            forget(&state.store, &agent_id, &run_id).await?;
            continue;
        };
        let run = parse::<Run>(document)?.record;
        if is_streamed_elsewhere(&run) {
            again = Some(SIGN_OF_LIFE);
        } else if let Some(request) = run.request.clone() {
            info!(run.id = %run.id, "Taking up a turn that a stopped process left unfinished");
            if taken_up.len() >= AT_ONCE {
                taken_up.join_next().await;
            }
            let thread = Thread::load(&state.store, &run.agent_id, run.conversation_id.as_deref()).await?;
            match thread {
                None => forget(&state.store, &run.agent_id, &run.id).await?,
                Some(thread) => {
                    if let Some(turn) = Turn::resume(state, thread, run, request) {
                        taken_up.spawn(state.tasks.track_future(turn.answer_in_background()));
                    }
                }
            }
        } else if run.created_at.elapsed_millis() > ABANDONED_AFTER.as_millis().try_into().unwrap_or(i64::MAX) {
            debug!(run.id = %run.id, "Marking an abandoned turn as failed");
            fail(&state.store, &run, "The server stopped while this turn was running.").await?;
        } else {
            again = again.or(Some(ABANDONED_AFTER));
        }
    }
    while taken_up.join_next().await.is_some() {}
    Ok(again)
}

/// Whether another process may be telling somebody what the agent says.
fn is_streamed_elsewhere(run: &Run) -> bool {
    let silence = run.alive_at.unwrap_or(run.created_at).elapsed_millis();
    run.delivery.is_some() && silence < SILENT_AFTER.as_millis().try_into().unwrap_or(i64::MAX)
}
