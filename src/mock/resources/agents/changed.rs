//! Storing an agent that was changed, and responding with it.

use serde_json::Value;

use crate::{
    error::ApiError,
    mock::{
        agents::memory,
        records::{Agent, include::Include},
        resources::routes::HandlerResult,
        storage::{Stored, View, update},
        validation::client_generation::is_current_client,
    },
    reply::Reply,
    request::headers::AllowedHeaders,
    store::Tx,
};

/// Stores a changed agent, with the current time as that of its last change.
pub(in crate::mock::resources) async fn store(
    tx: &mut Tx,
    mut agent: Stored<Agent>,
) -> Result<Stored<Agent>, ApiError> {
    agent.record.touch();
    update(tx, &agent.record).await?;
    Ok(agent)
}

/// Responds with the whole agent.
pub(super) async fn show(view: View<'_>, agent: &Agent) -> HandlerResult {
    Ok(Reply::written(memory::show_one(view, agent, Include::EVERYTHING).await?))
}

/// Responds with the whole agent, or with `null` to clients of the current generation, which expect that.
pub(super) async fn show_unless_current(headers: &AllowedHeaders, view: View<'_>, agent: &Agent) -> HandlerResult {
    if is_current_client(headers) { Ok(Reply::ok(Value::Null)) } else { show(view, agent).await }
}
