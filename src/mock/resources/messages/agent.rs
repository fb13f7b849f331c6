//! The messages of an agent: sent, listed, cancelled and summarized.

use std::sync::Arc;

use http::{HeaderValue, header};
use serde_json::{Map, Value, json};

use super::{
    cancel::{active_runs, cancel_runs},
    compaction,
    list::list_of_agent,
    preview::model_request,
    send::{self, send, send_later},
    thread::default_thread,
};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        agents::compaction::compact,
        records::{Agent, Record, Run, RunType},
        resources::routes::{HandlerResult, Routes},
        state::State,
        storage::View,
        turn::deny_pending,
        validation::{body::Fields, client_generation::is_current_client},
    },
    reply::Reply,
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
    list_of_agent(state.view(&call.permit), &call.query, call.param("agent_id"), conversation).await
}

async fn send_one(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, false).await?;
    if !request.delivery.streaming {
        request.check_plain()?;
    } else if !is_current_client(&call.headers) {
        return Err(ApiError::letta(
            Code::ValidationFailed,
            "streaming=true is only supported for clients of the 1.x generation; use /messages/stream instead.",
        ));
    }
    let thread = default_thread(state.view(&call.permit), call.param("agent_id")).await?;
    send(&state, thread, request, RunType::Plain).await
}

async fn stream(state: Arc<State>, mut call: Call) -> HandlerResult {
    let mut request = send::read(&state, &mut call, true).await?;
    request.delivery.streaming = true;
    let thread = default_thread(state.view(&call.permit), call.param("agent_id")).await?;
    send(&state, thread, request, RunType::Streaming).await
}

async fn send_async(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, false).await?;
    let thread = default_thread(state.view(&call.permit), call.param("agent_id")).await?;
    send_later(&state, thread, request).await
}

/// Without ids, cancels the runs that have not ended. If there are none, cancels the tool call that waits for approval; if
/// there is none, reports the newest run as cancelled without changing it.
async fn cancel(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let named = match Fields::of_optional_body(&body)? {
        Some(fields) => fields.optional::<Vec<String>>("run_ids")?.unwrap_or_default(),
        None => Vec::new(),
    };
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let agent_id = &agent.record.id;
    if !named.is_empty() {
        return cancel_named(&state, view, agent_id, named).await;
    }
    let mut runs = active_runs(&state, agent_id, None).await?;
    if runs.is_empty()
        && let Some(run) = deny_pending(&state.store, agent_id, None).await?
    {
        return Ok(Reply::ok(json!({run: "cancelled"})));
    }
    if runs.is_empty() {
        let conflict = || ApiError::conflict(format!("CONFLICT: No active runs to cancel for agent {agent_id}"));
        runs.push(newest_run(view, agent_id).await?.ok_or_else(conflict)?);
    }
    Ok(Reply::ok(Value::Object(cancel_runs(&state, runs).await?)))
}

/// Cancels the runs that a request names. As in Letta, those that are not the agent's are `failed` in the response.
async fn cancel_named(state: &State, view: View<'_>, agent_id: &str, named: Vec<String>) -> HandlerResult {
    let (mut runs, mut failed) = (Vec::new(), Map::new());
    for id in named {
        match view.find::<Run>(&id).await? {
            Some(run) if run.record.agent_id == agent_id => runs.push(id),
            _ => {
                failed.insert(id, "failed".into());
            }
        }
    }
    let mut statuses = cancel_runs(state, runs).await?;
    statuses.extend(failed);
    Ok(Reply::ok(Value::Object(statuses)))
}

async fn newest_run(view: View<'_>, agent_id: &str) -> Result<Option<String>, ApiError> {
    let newest = DocumentFilter::of_parent(Run::KIND, agent_id).newest_first(true).limit(1);
    Ok(view.list::<Run>(&newest).await?.pop().map(|run| run.record.id))
}

/// The request that a provider would get for these messages.
async fn preview(state: Arc<State>, mut call: Call) -> HandlerResult {
    let request = send::read(&state, &mut call, false).await?;
    let thread = default_thread(state.view(&call.permit), call.param("agent_id")).await?;
    Ok(Reply::ok(model_request(&state, &thread, &request).await?))
}

async fn summarize(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let settings = compaction::read(&body)?.settings;
    let thread = default_thread(state.view(&call.permit), call.param("agent_id")).await?;
    let compacted = compact(&state.store, &thread.agent.record.id, None, settings.as_ref()).await?;
    Ok(Reply::ok(compacted.wire()))
}

/// Letta has removed this operation.
pub(in crate::mock::resources) async fn modify(_: Arc<State>, _: Call) -> HandlerResult {
    Err(ApiError::letta(Code::MethodNotAllowed, "Messages can no longer be edited.")
        .header(header::ALLOW, HeaderValue::from_static("")))
}
