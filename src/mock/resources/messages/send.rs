//! Sending messages, for all routes that do.

use std::sync::Arc;

use serde_json::{Value, json};

use super::list::to_wire;
use crate::{
    access::Call,
    error::ApiError,
    mock::{
        agents::thread::Thread,
        records::{Record, Run, RunStatus, RunType, StopReason},
        resources::{models::handles::check_override, routes::HandlerResult},
        state::State,
        storage::parse,
        turn::{Ended, ReplayOptions, SendRequest, Turn, replay},
    },
    reply::Reply,
};

/// Reads a body. `streaming` is the default of its field of this name.
pub(super) async fn read(state: &State, call: &mut Call, streaming: bool) -> Result<SendRequest, ApiError> {
    let mut request = SendRequest::read(&call.json().await?, streaming)?;
    request.attempt = call.attempt.take();
    check_override(state, &call.permit, request.request.model.as_deref()).await?;
    Ok(request)
}

/// Runs a turn and responds with its messages, or with a stream of its events if the request asks for one.
pub(super) async fn send(state: &Arc<State>, thread: Thread, request: SendRequest, run_type: RunType) -> HandlerResult {
    let delivery = request.delivery;
    if !delivery.streaming {
        let run = Run::begin(&thread.agent.record.id, run_type, false, request.message_view);
        let turn = Turn::begin(state, thread, run, request.request, false).await?.of_attempt(request.attempt);
        let ended = turn.complete().await?;
        return match &ended.failure {
            Some(failure) => Err(failure.to_api_error()),
            None => Ok(Reply::ok(response(&ended))),
        };
    }
    let idempotency_key = request.request.idempotency_key(thread.id()).filter(|_| delivery.background);
    let agent_id = thread.agent.record.id.clone();
    let mut run = Run::begin(&agent_id, run_type, delivery.background, request.message_view);
    run.delivery = delivery.background.then_some(delivery);
    run.idempotency_key.clone_from(&idempotency_key);
    let turn = Turn::begin(state, thread, run, request.request, true).await;
    // Looked up while this request or the earlier one holds the conversation, so that of two simultaneous requests one is
    // the earlier.
    let earlier = match &idempotency_key {
        Some(idempotency_key) => earlier_run(state, &agent_id, idempotency_key, turn.as_ref().err()).await.transpose(),
        None => None,
    };
    let Some(earlier) = earlier else {
        return Ok(Reply::Events(turn?.of_attempt(request.attempt).stream(delivery)));
    };
    if let Ok(turn) = turn {
        turn.discard();
    }
    let options = ReplayOptions { pings: delivery.pings, ..ReplayOptions::WHOLE };
    Ok(Reply::Events(replay(state, earlier?, None, options)))
}

/// Begins a turn in the background and responds with its run. By then the run is stored with everything that is needed to
/// resume it.
pub(super) async fn send_later(state: &Arc<State>, thread: Thread, request: SendRequest) -> HandlerResult {
    let mut run = Run::begin(&thread.agent.record.id, RunType::Async, true, request.message_view);
    run.status = RunStatus::Created;
    run.callback_url = request.callback_url;
    let turn = Turn::begin(state, thread, run, request.request, false).await?.of_attempt(request.attempt);
    let run = turn.run().wire();
    turn.complete_in_background().await?;
    Ok(Reply::ok(run))
}

/// The id of the run of an earlier request in the background that had the same messages, by the ids that the client chose.
/// `refused` is the error with which this request failed to begin a turn: the earlier one may still hold the conversation.
async fn earlier_run(
    state: &State,
    agent_id: &str,
    idempotency_key: &str,
    refused: Option<&ApiError>,
) -> Result<Option<String>, ApiError> {
    const MAX_AGE_MILLIS: i64 = 3 * 60 * 60 * 1000;
    // A stored run has priority over one in memory, which may be another repetition that does not know it yet.
    let running = refused.and_then(|_| state.turns.with_idempotency_key(agent_id, idempotency_key));
    let Some((_, run)) = state.store.linked_documents(idempotency_key, &[agent_id], Run::KIND).await?.pop() else {
        return Ok(running);
    };
    let run = parse::<Run>(run)?.record;
    let stored = Some(run).filter(|run| run.created_at.elapsed_millis() < MAX_AGE_MILLIS).map(|run| run.id);
    Ok(stored.or(running))
}

fn response(ended: &Ended) -> Value {
    json!({
        "messages": to_wire(&ended.replies, &ended.run.request_config),
        "stop_reason": ended.run.stop_reason.unwrap_or(StopReason::Error).wire(),
        "usage": ended.run.usage.wire(false, &ended.run.sleeptime_runs),
        "logprobs": null,
        "turns": null,
    })
}
