//! Runs: every turn has one, by whichever route it was asked for.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    HandlerResult, Routes,
    messages::list::{self, OLDEST, written, written_backwards},
};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Record, Run, RunStatus, Step, StopReason},
        state::State,
        storage::documents::{Stored, parse},
        turn::{ReplayOptions, replay},
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
        .on(Operation::RetrieveTraceForRun, trace)
        .on(Operation::StreamRun, stream)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };
const MOST: usize = 1_000;

/// Which runs a list shows. Empty or none: all.
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
        self.holds(run)
            && (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && self.background.is_none_or(|background| run.background == background)
            && self.stop_reason.is_none_or(|reason| run.stop_reason == Some(reason))
    }

    /// Whether a run is of an agent and a conversation that are asked about, whatever has become of it.
    fn holds(&self, run: &Run) -> bool {
        (self.agents.is_empty() || self.agents.contains(&run.agent_id.as_str()))
            && self.conversation.is_none_or(|conversation| run.thread_id() == conversation)
    }

    /// The narrowest list of the store that holds them all.
    fn documents<'f>(&'f self, project: &'f str) -> DocumentFilter<'f> {
        match self.agents.as_slice() {
            [agent] => DocumentFilter::of_parent(Run::KIND, agent),
            _ => DocumentFilter::of_project(Run::KIND, project),
        }
    }
}

fn status(word: &str) -> Result<RunStatus, ApiError> {
    serde_json::from_value(word.into()).map_err(|_| {
        let word: String = word.chars().take(100).collect();
        ApiError::letta(Code::InvalidRequest, format!("INVALID_ARGUMENT: '{word}' is not a status of a run"))
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
    let (holds, accepts) = (|run: &Run| filter.holds(run), |run: &Run| filter.accepts(run));
    let runs = runs.page_of(state.view(&call.permit), &page, holds, accepts).await?;
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

/// Takes its steps along; what was said stays said.
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
        tx.unlink(crate::mock::records::links::ACTIVE_RUN, &run.agent_id, &run.id).await?;
        if let Some(idempotency_key) = &run.idempotency_key {
            tx.unlink(idempotency_key, &run.agent_id, &run.id).await?;
        }
        Ok(())
    })?;
    Ok(Reply::ok(Value::Null))
}

/// As the request that began the run wanted to see them.
async fn messages(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, OLDEST)?;
    let view = state.view(&call.permit);
    let run = view.get::<Run>(call.param("run_id")).await?.record;
    let of_run = MessageFilter::of_run(&run.id);
    let messages = list::page(view, of_run, &page, |message| message.run_id.as_deref() == Some(&run.id)).await?;
    let message_view = &run.request_config;
    if page.newest_first { written_backwards(&messages, message_view) } else { written(&messages, message_view) }
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
    for cursor in [page.after, page.before].into_iter().flatten() {
        if !run.steps.iter().any(|step| step == cursor) {
            return Err(crate::mock::storage::documents::not_found::<Step>(
                &cursor.chars().take(100).collect::<String>(),
            ));
        }
    }
    let ids: Vec<&str> = run.steps.iter().map(String::as_str).collect();
    let stored = state.store.documents_by_ids(Step::KIND, &ids).await?;
    let mut steps: Vec<Stored<Step>> = stored.into_iter().map(parse).collect::<Result<_, _>>()?;
    if page.newest_first {
        steps.reverse();
    }
    let steps = page.cut(steps, |step| step.record.id());
    Ok(Reply::ok(steps.iter().map(|step| step.record.wire()).collect()))
}

/// As a Letta server without a trace store answers.
async fn trace(state: Arc<State>, call: Call) -> HandlerResult {
    let limit = call.query.integer("limit")?;
    if limit.is_some_and(|limit| !(1..=5_000).contains(&limit)) {
        let problem = "Input should be between 1 and 5000";
        return Err(ApiError::validation("less_than_equal", &["query", "limit"], problem, &json!(limit)));
    }
    state.view(&call.permit).get::<Run>(call.param("run_id")).await?;
    Err(ApiError::new(Code::NotMocked, "Traces of runs need a trace store, which the mock has none of.")
        .without_retry())
}

async fn stream(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let reading = read_reading(Fields::of_optional_body(&body)?.as_ref())?;
    let run = state.view(&call.permit).get::<Run>(call.param("run_id")).await?.record;
    again(&state, &run, reading)
}

/// What a request to read a stream again asks for.
pub(super) fn read_reading(fields: Option<&Fields<'_>>) -> Result<ReplayOptions, ApiError> {
    let Some(fields) = fields else { return Ok(ReplayOptions::WHOLE) };
    fields.at_least("batch_size", 1)?;
    let poll = match fields.optional::<f64>("poll_interval")? {
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| {
            fields.at("poll_interval").breaks_rule("an interval is a number of seconds", &json!(seconds))
        })?,
        None => ReplayOptions::WHOLE.poll,
    };
    Ok(ReplayOptions {
        after: fields.at_least("starting_after", 0)?.and_then(|number| usize::try_from(number).ok()).unwrap_or(0),
        pings: fields.optional("include_pings")?.unwrap_or(true),
        poll: poll.clamp(Duration::from_millis(10), Duration::from_secs(10)),
    })
}

/// The events of a run that is or was streamed in the background.
pub(super) fn again(state: &Arc<State>, run: &Run, reading: ReplayOptions) -> HandlerResult {
    if run.delivery.is_none() {
        return Err(ApiError::letta(
            Code::InvalidRequest,
            "INVALID_ARGUMENT: Run was not created in background mode, so it cannot be retrieved.",
        ));
    }
    Ok(Reply::Events(replay(state, run.id.clone(), None, reading)))
}
