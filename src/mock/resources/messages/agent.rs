//! The messages of an agent: sending them in every way there is, and reading them again.

use std::sync::Arc;

use http::{HeaderValue, header};
use serde_json::json;

use super::{
    cancel::{cancel_all, running},
    compaction::read_compaction,
    list::of_agent,
    preview::preview_of,
    send::{self, send, send_later},
    thread::addressed,
};
use crate::{
    access::Operation,
    call::{Call, Reply},
    error::{ApiError, Code},
    mock::{
        agents::compaction::compact,
        records::{Agent, Record, Run, RunType, include::is_current_client},
        resources::routes::{HandlerResult, Routes},
        state::State,
        storage::documents::{View, not_found},
        turn::give_up_question,
        validation::body::Fields,
    },
    store::DocumentFilter,
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListMessages, list)
        .on(Operation::SendMessage, send_one)
        .on(Operation::StreamMessage, stream)
        .on(Operation::SendMessageAsync, send_async)
        .on(Operation::CancelMessages, cancel)
        .on(Operation::PreviewModelRequest, preview)
        .on(Operation::SummarizeMessages, summarize)
        .on(Operation::ModifyMessage, modify)
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let conversation = call.query.first("conversation_id");
    of_agent(state.view(&call.permit), &call.query, call.param("agent_id"), conversation).await
}

async fn send_one(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, false).await?;
    if !request.delivery.streaming {
        request.check_plain()?;
    } else if !is_current_client(&call.headers) {
        return Err(ApiError::letta(
            Code::ValidationFailed,
            "streaming=true needs a client of the 1.x generation here; others use /messages/stream.",
        ));
    }
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    send(&state, thread, request, RunType::Plain).await
}

async fn stream(state: Arc<State>, mut call: Call) -> HandlerResult {
    let mut request = send::read(&state, &mut call, true).await?;
    request.delivery.streaming = true;
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    send(&state, thread, request, RunType::Streaming).await
}

async fn send_async(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, false).await?;
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    send_later(&state, thread, request).await
}

/// Without ids: the runs that have not ended, or else the question that the agent waits for an answer to, or else the
/// last run, which is then reported as cancelled although it is left as it is.
async fn cancel(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let named = match Fields::of_optional_body(&body)? {
        Some(fields) => fields.optional::<Vec<String>>("run_ids")?.unwrap_or_default(),
        None => Vec::new(),
    };
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let agent_id = &agent.record.id;
    let mut runs = Vec::new();
    for id in &named {
        let run = view.get::<Run>(id).await?.record;
        if run.agent_id != *agent_id {
            return Err(not_found::<Run>(id));
        }
        runs.push(run.id);
    }
    if named.is_empty() {
        runs = running(&state, agent_id, None).await?;
    }
    if runs.is_empty()
        && let Some(run) = give_up_question(&state.store, agent_id, None).await?
    {
        return Ok(Reply::ok(json!({run: "cancelled"})));
    }
    if runs.is_empty() {
        let conflict = || ApiError::conflict(format!("CONFLICT: No active runs to cancel for agent {agent_id}"));
        runs.push(last(view, agent_id).await?.ok_or_else(conflict)?);
    }
    cancel_all(&state, runs).await
}

async fn last(view: View<'_>, agent_id: &str) -> Result<Option<String>, ApiError> {
    let newest = DocumentFilter::of_parent(Run::KIND, agent_id).newest_first(true).limit(1);
    Ok(view.list::<Run>(&newest).await?.pop().map(|run| run.record.id))
}

/// What a provider would be sent.
async fn preview(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, false).await?;
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    Ok(Reply::ok(preview_of(&state, &thread, &request).await?))
}

async fn summarize(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let settings = read_compaction(&body)?.settings;
    let thread = addressed(state.view(&call.permit), call.param("agent_id")).await?;
    let compacted = compact(&state.store, &thread.agent.record.id, None, settings.as_ref()).await?;
    Ok(Reply::ok(compacted.wire()))
}

/// Letta has removed it.
pub(in crate::mock::resources) async fn modify(_: Arc<State>, _: Call) -> HandlerResult {
    Err(ApiError::letta(Code::MethodNotAllowed, "Messages cannot be edited any more.")
        .header(header::ALLOW, HeaderValue::from_static("")))
}
