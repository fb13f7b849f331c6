//! Runs. Every turn has one, whichever route it was requested by.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    lists::cut_known,
    messages::{
        list::{self, OLDEST, respond, respond_reversed},
        replay::{read_options, replay_run},
    },
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Record, Run, RunStatus, Step, StopReason, links},
        state::State,
        storage::{Stored, not_found, parse},
        text::excerpt::excerpt,
        validation::body::Fields,
    },
    reply::Reply,
    request::input::Query,
    store::{DocumentFilter, Locks, MessageFilter, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListRuns, list)
        .on(Operation::ListActiveRuns, list_active)
        .on(Operation::RetrieveRun, retrieve)
        .on(Operation::DeleteRun, delete)
        .on(Operation::ListMessagesForRun, messages)
        .on(Operation::RetrieveUsageForRun, usage)
        .on(Operation::RetrieveMetricsForRun, metrics)
        .on(Operation::ListStepsForRun, steps)
        .fixed_shape(
            Operation::RetrieveTraceForRun,
            trace,
            "There is no trace store: it is refused as Letta refuses it without one.",
        )
        .on(Operation::StreamRun, stream)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };
const MOST: usize = 1_000;

/// Which runs a request asks for. Empty lists and `None` accept all.
#[derive(Default)]
struct RunFilter<'a> {
    agents: Vec<&'a str>,
    statuses: Vec<RunStatus>,
    background: Option<bool>,
    stop_reason: Option<StopReason>,
    conversation: Option<&'a str>,
}

impl<'a> RunFilter<'a> {
    fn read(query: &'a Query) -> Result<Self, ApiError> {
        let mut statuses = query.all("statuses").map(status).collect::<Result<Vec<_>, _>>()?;
        if query.boolean("active")? == Some(true) {
            statuses = vec![RunStatus::Created, RunStatus::Running];
        }
        let stop_reason = query.one_of("stop_reason", StopReason::WORDS)?;
        Ok(Self {
            agents: query.all("agent_id").chain(query.all("agent_ids")).collect(),
            statuses,
            background: query.boolean("background")?,
            stop_reason: stop_reason.and_then(StopReason::from_word),
            conversation: query.first("conversation_id"),
        })
    }

    fn accepts(&self, run: &Run) -> bool {
        self.belongs(run)
            && (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && self.background.is_none_or(|background| run.background == background)
            && self.stop_reason.is_none_or(|reason| run.stop_reason == Some(reason))
    }

    /// Whether a run belongs to the agents and the conversation of the request. Unlike the rest, this never changes for a
    /// run.
    fn belongs(&self, run: &Run) -> bool {
        (self.agents.is_empty() || self.agents.contains(&run.agent_id.as_str()))
            && self.conversation.is_none_or(|conversation| run.thread_id() == conversation)
    }

    /// The narrowest filter of the store that includes all of these runs.
    fn documents<'f>(&'f self, project: &'f str) -> DocumentFilter<'f> {
        match self.agents.as_slice() {
            [agent] => DocumentFilter::of_parent(Run::KIND, agent),
            _ => DocumentFilter::of_project(Run::KIND, project),
        }
    }
}

fn status(word: &str) -> Result<RunStatus, ApiError> {
    serde_json::from_value(word.into()).map_err(|_| {
        let word = excerpt(word);
        ApiError::letta(Code::InvalidRequest, format!("INVALID_ARGUMENT: '{word}' is not a run status"))
    })
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read_ascending(&call.query, LIST)?;
    if page.limit < 1 || page.limit > MOST {
        let (kind, problem) = if page.limit < 1 {
            ("greater_than_equal", "Input should be greater than or equal to 1".to_owned())
        } else {
            ("less_than_equal", format!("Input should be less than or equal to {MOST}"))
        };
        return Err(ApiError::validation(kind, &["query", "limit"], &problem, &page.limit.to_string().into()));
    }
    let filter = RunFilter::read(&call.query)?;
    let runs = Listing::of(filter.documents(call.permit.project().as_str()));
    let (belongs, accepts) = (|run: &Run| filter.belongs(run), |run: &Run| filter.accepts(run));
    let runs = runs.page_of(state.view(&call.permit), &page, belongs, accepts).await?;
    Ok(Reply::ok(runs.iter().map(|run| run.record.wire_in_list()).collect()))
}

async fn list_active(state: Arc<State>, call: Call) -> HandlerResult {
    let filter = RunFilter { statuses: vec![RunStatus::Created, RunStatus::Running], ..RunFilter::read(&call.query)? };
    let runs = Listing::of(filter.documents(call.permit.project().as_str()));
    let mut runs = runs.all(state.view(&call.permit), |run| filter.accepts(run)).await?;
    runs.reverse();
    Ok(Reply::ok(runs.iter().map(|run| run.record.wire_in_list()).collect()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let run = state.view(&call.permit).get::<Run>(call.param("run_id")).await?;
    Ok(Reply::ok(run.record.wire()))
}

/// Deletes the steps of the run too; its messages remain.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let run = view.get::<Run>(call.param("run_id")).await?.record;
    state.turns.cancel(&run.id).await;
    transaction!(state.store, tx => {
        let locks = Locks::of(Agent::KIND, [&run.agent_id]).and(Run::KIND, [&run.id]);
        let run = view.locked::<Run>(&tx.lock(&locks).await?, &run.id)?.record;
        tx.lock(&Locks::of(Step::KIND, &run.steps)).await?;
        for step in &run.steps {
            tx.delete_document(Step::KIND, step).await?;
        }
        tx.delete_document(Run::KIND, &run.id).await?;
        tx.unlink(links::ACTIVE_RUN, &run.agent_id, &run.id).await?;
        if let Some(idempotency_key) = &run.idempotency_key {
            tx.unlink(idempotency_key, &run.agent_id, &run.id).await?;
        }
        Ok(())
    })?;
    Ok(Reply::ok(Value::Null))
}

/// In the message view of the request that began the run.
async fn messages(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, OLDEST)?;
    let view = state.view(&call.permit);
    let run = view.get::<Run>(call.param("run_id")).await?.record;
    let of_run = MessageFilter::of_run(&run.id);
    let messages = list::page(view, of_run, &page, |message| message.run_id.as_deref() == Some(&run.id)).await?;
    let message_view = &run.request_config;
    if page.newest_first { respond_reversed(&messages, message_view) } else { respond(&messages, message_view) }
}

async fn usage(state: Arc<State>, call: Call) -> HandlerResult {
    let run = state.view(&call.permit).get::<Run>(call.param("run_id")).await?.record;
    Ok(Reply::ok(json!({
        "completion_tokens": run.usage.completion_tokens,
        "prompt_tokens": run.usage.prompt_tokens,
        "total_tokens": run.usage.total_tokens,
        "prompt_tokens_details": null,
        "completion_tokens_details": null,
    })))
}

async fn metrics(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let run = view.get::<Run>(call.param("run_id")).await?.record;
    let agent = view.find::<Agent>(&run.agent_id).await?;
    Ok(Reply::ok(run.metrics(agent.and_then(|agent| agent.record.project_id).as_deref())))
}

const STEPS: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };

async fn steps(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, STEPS)?;
    let view = state.view(&call.permit);
    let run = view.get::<Run>(call.param("run_id")).await?.record;
    let ids: Vec<&str> = run.steps.iter().map(String::as_str).collect();
    let stored = state.store.documents_by_ids(Step::KIND, &ids).await?;
    let steps: Vec<Stored<Step>> = stored.into_iter().map(parse).collect::<Result<_, _>>()?;
    let unknown = |cursor: &str| not_found::<Step>(&excerpt(cursor));
    let steps = cut_known(&page, steps, |step| step.record.id(), unknown)?;
    Ok(Reply::ok(steps.iter().map(|step| step.record.wire()).collect()))
}

/// Responds as a Letta server without a trace store.
async fn trace(state: Arc<State>, call: Call) -> HandlerResult {
    let limit = call.query.integer("limit")?;
    if limit.is_some_and(|limit| !(1..=5_000).contains(&limit)) {
        let problem = "Input should be between 1 and 5000";
        return Err(ApiError::validation("less_than_equal", &["query", "limit"], problem, &json!(limit)));
    }
    state.view(&call.permit).get::<Run>(call.param("run_id")).await?;
    Err(ApiError::new(Code::NotMocked, "Traces of runs need a trace store, which the mock does not have.")
        .without_retry())
}

async fn stream(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let options = read_options(Fields::of_optional_body(&body)?.as_ref())?;
    let run = state.view(&call.permit).get::<Run>(call.param("run_id")).await?.record;
    replay_run(&state, &run, options)
}
