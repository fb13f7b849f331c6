//! Batches: requests to many agents, processed one after another in the background.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    by_id,
    lists::{cut_known, in_project},
    messages::{
        cancel::cancel_runs,
        list::{NEWEST, message_not_found},
    },
    models::handles::check_override,
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation, is_letta_id},
    error::{ApiError, Code},
    mock::{
        pagination::cursor::{Defaults, Page},
        records::{Agent, Batch, Record, Run, RunStatus, RunType, TurnRequest, links},
        state::State,
        storage::{Prepared, Stored, View, insert_all, not_found, parse_message},
        turn::{SendRequest, resume_all},
        validation::body::Fields,
    },
    reply::Reply,
    store::{MessageFilter, transaction},
    world,
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::CreateBatch, create)
        .on(Operation::ListBatches, list)
        .on(Operation::RetrieveBatch, retrieve)
        .on(Operation::CancelBatch, cancel)
        .on(Operation::ListMessagesForBatch, messages)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };
/// Bounds the transaction that stores a batch.
const MOST_REQUESTS: usize = 1_000;

/// Responds once the batch is stored with everything that is needed to resume it.
async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let items = fields.required::<Vec<Fields<'_>>>("requests")?;
    let mut requests = Vec::new();
    for item in &items {
        let agent_id: String = item.required("agent_id")?;
        if !is_letta_id(&agent_id, "agent") {
            let problem = "String should match pattern 'agent-{uuid4}'";
            return Err(item.at("agent_id").refuse("string_pattern_mismatch", problem, &agent_id.into()));
        }
        let request = SendRequest::read_fields(item, false)?;
        check_override(&state, &call.permit, request.request.model.as_deref()).await?;
        requests.push((agent_id, request));
    }
    let mut batch = Batch::begin(fields.optional("callback_url")?);
    if requests.is_empty() || requests.len() > MOST_REQUESTS {
        let rule = format!("INVALID_ARGUMENT: A batch must have 1 to {MOST_REQUESTS} requests");
        return Err(ApiError::letta(Code::InvalidRequest, rule));
    }
    let view = state.view(&call.permit);
    let agents = find_agents(view, requests.iter().map(|(agent_id, _)| agent_id.as_str()).collect()).await?;
    let (mut new, mut runs) = (Vec::new(), Vec::new());
    let sharers = requests.len();
    for (agent_id, SendRequest { request, message_view, .. }) in requests {
        let find = |agent: &&Stored<Agent>| agent.record.id == agent_id;
        let agent = agents.iter().find(find).ok_or_else(|| not_found::<Agent>(&agent_id))?;
        let mut run = Run::begin(&agent_id, RunType::Async, true, message_view);
        run.status = RunStatus::Created;
        run.request = Some(TurnRequest { sharers, ..request });
        batch.runs.push(run.id.clone());
        new.push((agent.project.clone(), Prepared::new(Some(&agent_id), &run)?));
        run.request = None;
        runs.push(run);
    }
    let project = call.permit.project().as_str();
    transaction!(state.store, tx => {
        insert_all(tx, project, &[Prepared::new(None, &batch)?]).await?;
        for ((project, prepared), run) in new.iter().zip(&runs) {
            insert_all(tx, project, std::slice::from_ref(prepared)).await?;
            tx.link(links::ACTIVE_RUN, &run.agent_id, &run.id).await?;
            tx.link(links::BATCH_RUN, batch.id(), &run.id).await?;
        }
        Ok(())
    })?;
    // One after another, so that the memory they take does not grow with their number.
    let ids = runs.iter().map(|run| run.id.clone()).collect();
    state.tasks.spawn(world::inherit(resume_all(Arc::clone(&state), ids)));
    Ok(Reply::ok(batch.wire(&runs)))
}

/// The agents with these ids.
///
/// # Errors
/// 404 when one of them does not exist.
async fn find_agents(view: View<'_>, mut ids: Vec<&str>) -> Result<Vec<Stored<Agent>>, ApiError> {
    ids.sort_unstable();
    ids.dedup();
    let found = view.find_all::<Agent>(&ids).await?;
    match ids.iter().find(|id| found.iter().all(|agent| agent.record.id != **id)) {
        Some(missing) => Err(not_found::<Agent>(missing)),
        None => Ok(found),
    }
}

async fn runs_of(view: View<'_>, batch: &Batch) -> Result<Vec<Run>, ApiError> {
    let linked = view.linked::<Run>(links::BATCH_RUN, &[batch.id()]).await?;
    Ok(linked.into_iter().map(|(_, run)| run.record).collect())
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let view = state.view(&call.permit);
    let batches = in_project::<Batch>(&call).page(view, &page, |_| true).await?;
    let ids: Vec<&str> = batches.iter().map(|batch| batch.record.id()).collect();
    let mut linked = view.linked::<Run>(links::BATCH_RUN, &ids).await?;
    let mut wire = Vec::new();
    for batch in &batches {
        let (own, rest): (Vec<_>, Vec<_>) = linked.into_iter().partition(|(source, _)| source == batch.record.id());
        linked = rest;
        let runs: Vec<Run> = own.into_iter().map(|(_, run)| run.record).collect();
        wire.push(batch.record.wire(&runs));
    }
    Ok(Reply::ok(wire.into()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let batch = view.get::<Batch>(call.param("batch_id")).await?.record;
    Ok(Reply::ok(batch.wire(&runs_of(view, &batch).await?)))
}

async fn cancel(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let batch = view.get::<Batch>(call.param("batch_id")).await?.record;
    let runs = runs_of(view, &batch).await?;
    let unfinished: Vec<String> = runs.into_iter().filter(|run| !run.has_ended()).map(|run| run.id).collect();
    if !unfinished.is_empty() {
        cancel_runs(&state, unfinished).await?;
        by_id::change(view, batch.id(), |batch: &mut Batch| {
            batch.is_cancelled = true;
            Ok(())
        })
        .await?;
    }
    Ok(Reply::ok(Value::Null))
}

/// The messages of the runs of a batch, in the form in which they are stored.
async fn messages(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, NEWEST)?;
    let view = state.view(&call.permit);
    let batch = view.get::<Batch>(call.param("batch_id")).await?.record;
    let agent = call.query.first("agent_id");
    let (mut stored, budget) = (Vec::new(), state.response_budget());
    for run in runs_of(view, &batch).await?.iter().filter(|run| agent.is_none_or(|agent| run.agent_id == agent)) {
        let of_run = state.store.messages(&MessageFilter::of_run(&run.id)).await?;
        budget.charge(of_run.iter().map(|message| message.body.len()).sum())?;
        stored.extend(of_run);
    }
    stored.sort_by_key(|message| message.seq);
    let wire = cut_known(&page, stored, |message| &message.id, message_not_found)?;
    let wire = wire.iter().map(|stored| {
        let message = parse_message(stored)?;
        Ok(message.stored(&stored.agent_id, &stored.conversation_id))
    });
    Ok(Reply::ok(json!({"messages": wire.collect::<Result<Vec<Value>, ApiError>>()?})))
}
