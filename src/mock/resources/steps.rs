//! Steps: the model calls that runs are made of, and what people think of them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    HandlerResult, Routes,
    messages::list::{OLDEST, shown, shown_backwards, unknown},
};
use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Message, MessageView, Record, Step, StepFilter, Timestamp},
        responder::provider_request,
        state::State,
        storage::documents::{View, parse_message, update},
        validation::body::Fields,
    },
    reply::Reply,
    store::{DocumentFilter, MessageFilter, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListSteps, list)
        .on(Operation::RetrieveStep, retrieve)
        .on(Operation::RetrieveMetricsForStep, metrics)
        .on(Operation::RetrieveTraceForStep, trace)
        .on(Operation::RetrieveProviderTrace, trace)
        .on(Operation::ListMessagesForStep, messages)
        .on(Operation::ModifyStepFeedback, judge)
}

const LIST: Defaults = Defaults { limit: 50, newest_first: true, order_by: &["created_at"] };
const FEEDBACK: &[&str] = &["positive", "negative"];

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let query = &call.query;
    let page = Page::read(query, LIST)?;
    let filter = StepFilter {
        model: query.first("model"),
        agent_id: query.first("agent_id"),
        project_id: query.first("project_id"),
        from: Timestamp::of_query(query, "start_date")?,
        to: Timestamp::of_query(query, "end_date")?,
        feedback: query.one_of("feedback", FEEDBACK)?,
        has_feedback: query.boolean("has_feedback")?,
        trace_ids: query.all("trace_ids").collect(),
        tags: query.all("tags").collect(),
    };
    let documents = match filter.agent_id {
        Some(agent) => DocumentFilter::of_parent(Step::KIND, agent),
        None => DocumentFilter::of_project(Step::KIND, call.permit.project().as_str()),
    };
    let steps = Listing::<Step>::of(documents);
    let steps = steps.page(state.view(&call.permit), &page, |step| step.fits(&filter)).await?;
    Ok(Reply::ok(steps.iter().map(|step| step.record.wire()).collect()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    Ok(Reply::ok(state.view(&call.permit).get::<Step>(call.param("step_id")).await?.record.wire()))
}

async fn metrics(state: Arc<State>, call: Call) -> HandlerResult {
    Ok(Reply::ok(state.view(&call.permit).get::<Step>(call.param("step_id")).await?.record.metrics()))
}

/// What a provider would have been asked, and what it would have answered; null when there is no such step.
async fn trace(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let Some(step) = view.find::<Step>(call.param("step_id")).await? else { return Ok(Reply::ok(Value::Null)) };
    let step = step.record;
    let Some(agent) = view.find::<Agent>(&step.agent_id).await? else { return Ok(Reply::ok(Value::Null)) };
    let of_run = of_run(view, &step).await?;
    Ok(Reply::ok(provider_request::trace(&step, &agent.record, &of_run)))
}

async fn messages(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, OLDEST)?;
    let view = state.view(&call.permit);
    let step = view.get::<Step>(call.param("step_id")).await?.record;
    let mut messages = of_run(view, &step).await?;
    messages.retain(|message| message.step_id.as_deref() == Some(step.id()));
    for cursor in [page.after, page.before].into_iter().flatten() {
        if !messages.iter().any(|message| message.id == cursor) {
            return Err(unknown(cursor));
        }
    }
    if page.newest_first {
        messages.reverse();
    }
    let messages = page.cut(messages, |message| &message.id);
    let message_view = &MessageView::USUAL;
    let shown =
        if page.newest_first { shown_backwards(&messages, message_view) } else { shown(&messages, message_view) };
    Ok(Reply::ok(json!(shown)))
}

/// What was said in the run of a step, oldest first. A turn that was interrupted by a question goes on in another run,
/// whose first message still belongs to this step.
async fn of_run(view: View<'_>, step: &Step) -> Result<Vec<Message>, ApiError> {
    let stored = view.store().messages(&MessageFilter::of_run(step.run_id())).await?;
    stored.iter().map(parse_message).collect()
}

async fn judge(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let feedback = fields.one_of("feedback", FEEDBACK)?;
    let tags: Option<Vec<String>> = fields.optional("tags")?;
    let view = state.view(&call.permit);
    let step_id = call.param("step_id");
    let step = transaction!(state.store, tx => {
        let mut step = view.get_for_update::<Step>(tx, step_id).await?.record;
        step.judge(feedback, tags.clone());
        update(tx, &step).await?;
        Ok(step)
    })?;
    Ok(Reply::ok(step.wire()))
}
