//! Steps: the model calls of a run, and feedback on them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    by_id,
    lists::{cut_known, in_project},
    messages::list::{OLDEST, message_not_found, to_wire, to_wire_reversed},
    routes::{HandlerResult, Routes},
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
        storage::{View, parse_message},
        validation::body::Fields,
    },
    reply::Reply,
    store::{DocumentFilter, MessageFilter},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListSteps, list)
        .on(Operation::RetrieveStep, retrieve)
        .on(Operation::RetrieveMetricsForStep, metrics)
        .on(Operation::RetrieveTraceForStep, trace)
        .on(Operation::RetrieveProviderTrace, trace)
        .on(Operation::ListMessagesForStep, messages)
        .on(Operation::ModifyStepFeedback, set_feedback)
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
    let steps = match filter.agent_id {
        Some(agent) => Listing::of(DocumentFilter::of_parent(Step::KIND, agent)),
        None => in_project(&call),
    };
    let steps = steps.page(state.view(&call.permit), &page, |step: &Step| step.fits(&filter)).await?;
    Ok(Reply::ok(steps.iter().map(|step| step.record.wire()).collect()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    Ok(Reply::ok(state.view(&call.permit).get::<Step>(call.param("step_id")).await?.record.wire()))
}

async fn metrics(state: Arc<State>, call: Call) -> HandlerResult {
    Ok(Reply::ok(state.view(&call.permit).get::<Step>(call.param("step_id")).await?.record.metrics()))
}

/// The request and the response that a provider would have seen; `null` when there is no such step.
async fn trace(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let Some(step) = view.find::<Step>(call.param("step_id")).await? else { return Ok(Reply::ok(Value::Null)) };
    let step = step.record;
    let Some(agent) = view.find::<Agent>(&step.agent_id).await? else { return Ok(Reply::ok(Value::Null)) };
    let messages = messages_of_run(view, &step).await?;
    Ok(Reply::ok(provider_request::trace(&step, &agent.record, &messages)))
}

async fn messages(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, OLDEST)?;
    let view = state.view(&call.permit);
    let step = view.get::<Step>(call.param("step_id")).await?.record;
    let mut messages = messages_of_run(view, &step).await?;
    messages.retain(|message| message.step_id.as_deref() == Some(step.id()));
    let messages = cut_known(&page, messages, |message| &message.id, message_not_found)?;
    let message_view = &MessageView::USUAL;
    let shown =
        if page.newest_first { to_wire_reversed(&messages, message_view) } else { to_wire(&messages, message_view) };
    Ok(Reply::ok(json!(shown)))
}

/// The messages of the run of a step, oldest first. A turn that was interrupted for an approval continues in another run,
/// whose first message still belongs to this step.
async fn messages_of_run(view: View<'_>, step: &Step) -> Result<Vec<Message>, ApiError> {
    let stored = view.store().messages(&MessageFilter::of_run(step.run_id())).await?;
    stored.iter().map(parse_message).collect()
}

async fn set_feedback(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let feedback = fields.one_of("feedback", FEEDBACK)?;
    let tags: Option<Vec<String>> = fields.optional("tags")?;
    let step = by_id::change(state.view(&call.permit), call.param("step_id"), |step: &mut Step| {
        step.judge(feedback, tags.clone());
        Ok(())
    })
    .await?;
    Ok(Reply::ok(step.wire()))
}
