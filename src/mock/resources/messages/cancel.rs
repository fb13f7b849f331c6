//! Cancelling runs.

use serde_json::{Map, Value};

use crate::{
    error::ApiError,
    mock::{
        records::{Record, Run, links},
        state::State,
        storage::parse,
        turn::cancel_elsewhere,
    },
};

/// The ids of an agent's runs that have not ended, in one of its conversations or in all.
pub(super) async fn active_runs(
    state: &State,
    agent_id: &str,
    conversation: Option<&str>,
) -> Result<Vec<String>, ApiError> {
    let mut running = state.turns.of_agent(agent_id, conversation);
    for (_, document) in state.store.linked_documents(links::ACTIVE_RUN, &[agent_id], Run::KIND).await? {
        let run = parse::<Run>(document)?.record;
        let is_in_conversation = conversation.is_none_or(|conversation| run.thread_id() == conversation);
        if is_in_conversation && !run.has_ended() && !running.contains(&run.id) {
            running.push(run.id);
        }
    }
    Ok(running)
}

/// Cancels runs that have not ended. Returns the response: every run is `cancelled`.
pub(in crate::mock::resources) async fn cancel_runs(
    state: &State,
    runs: Vec<String>,
) -> Result<Map<String, Value>, ApiError> {
    let mut cancelled = Map::new();
    for id in runs {
        if !state.turns.cancel(&id).await
            && let Some(run) = state.store.document(Run::KIND, &id).await?
        {
            let run = parse::<Run>(run)?.record;
            if !run.has_ended() {
                cancel_elsewhere(&state.store, &run).await?;
            }
        }
        cancelled.insert(id, "cancelled".into());
    }
    Ok(cancelled)
}
