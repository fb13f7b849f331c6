//! Sending messages, to whatever conversation and by whichever route.

use std::sync::Arc;

use serde_json::{Value, json};

use super::list::shown;
use crate::{
    access::Call,
    error::ApiError,
    mock::{
        agents::thread::Thread,
        records::{Record, Run, RunStatus, RunType, StopReason},
        resources::{HandlerResult, models::handles::check_override},
        state::State,
        storage::documents::parse,
        turn::{Ended, ReplayOptions, SendRequest, Turn, replay},
    },
    reply::Reply,
};

/// Reads what a body asks for. `streaming`: whether it is answered in events when it does not say.
pub(in crate::mock) async fn read(state: &State, call: &mut Call, streaming: bool) -> Result<SendRequest, ApiError> {
    let request = SendRequest::read(&call.json().await?, streaming)?;
    check_override(state, &call.permit, request.request.model.as_deref()).await?;
    Ok(request)
}

/// Answers a request: at once, or in events if it wants them.
pub(in crate::mock) async fn send(
    state: &Arc<State>,
    thread: Thread,
    request: SendRequest,
    run_type: RunType,
) -> HandlerResult {
    let delivery = request.delivery;
    if !delivery.streaming {
        let run = Run::begin(&thread.agent.record.id, run_type, false, request.message_view);
        let turn = Turn::begin(state, thread, run, request.request, false).await?;
        let ended = turn.answer().await?;
        return match &ended.failure {
            Some(failure) => Err(failure.answer()),
            None => Ok(Reply::ok(response(&ended))),
        };
    }
    let idempotency_key = request.request.idempotency_key(thread.id()).filter(|_| delivery.background);
    let agent_id = thread.agent.record.id.clone();
    let mut run = Run::begin(&agent_id, run_type, delivery.background, request.message_view);
    run.delivery = delivery.background.then_some(delivery);
    run.idempotency_key.clone_from(&idempotency_key);
    let turn = Turn::begin(state, thread, run, request.request, true).await;
    // Looked for while the conversation is this request's or the earlier one's, so that of two that come at once, one is
    // the earlier.
    let earlier = match &idempotency_key {
        Some(idempotency_key) => earlier(state, &agent_id, idempotency_key, turn.as_ref().err()).await.transpose(),
        None => None,
    };
    let Some(earlier) = earlier else { return Ok(Reply::Events(turn?.stream(delivery))) };
    if let Ok(turn) = turn {
        turn.abandon();
    }
    let reading = ReplayOptions { pings: delivery.pings, ..ReplayOptions::WHOLE };
    Ok(Reply::Events(replay(state, earlier?, None, reading)))
}

/// Answers with a run that goes on by itself. It is durable before this answers, with all that is needed to take it up
/// again.
pub(in crate::mock) async fn send_later(state: &Arc<State>, thread: Thread, request: SendRequest) -> HandlerResult {
    let mut run = Run::begin(&thread.agent.record.id, RunType::Async, true, request.message_view);
    run.status = RunStatus::Created;
    run.callback_url = request.callback_url;
    let turn = Turn::begin(state, thread, run, request.request, false).await?;
    let run = turn.run().wire();
    turn.answer_later().await?;
    Ok(Reply::ok(run))
}

/// The run of an earlier request in the background that brought the same messages, by the ids that its client chose.
/// `refused`: why this request has no turn of its own. It may be that the earlier one still has the conversation.
async fn earlier(
    state: &State,
    agent_id: &str,
    idempotency_key: &str,
    refused: Option<&ApiError>,
) -> Result<Option<String>, ApiError> {
    const REMEMBERED: i64 = 3 * 60 * 60 * 1000;
    // What is stored outranks what runs: that may be one more that is about to find out that it repeats another.
    let running = refused.and_then(|_| state.turns.with_idempotency_key(agent_id, idempotency_key));
    let Some((_, run)) = state.store.linked_documents(idempotency_key, &[agent_id], Run::KIND).await?.pop() else {
        return Ok(running);
    };
    let run = parse::<Run>(run)?.record;
    let stored = Some(run).filter(|run| run.created_at.elapsed_millis() < REMEMBERED).map(|run| run.id);
    Ok(stored.or(running))
}

fn response(ended: &Ended) -> Value {
    json!({
        "messages": shown(&ended.answers, &ended.run.request_config),
        "stop_reason": ended.run.stop_reason.unwrap_or(StopReason::Error).wire(),
        "usage": ended.run.usage.wire(false, &ended.run.sleeptime_runs),
        "logprobs": null,
        "turns": null,
    })
}
