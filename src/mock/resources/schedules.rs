//! Messages that are to be sent to an agent later. They are kept and shown; nothing is sent.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Record, ScheduledMessage},
        state::State,
        storage::documents::{insert, not_found},
        validation::body::Fields,
    },
    reply::Reply,
    store::{DocumentFilter, transaction},
};

const NOT_SENT: &str = "When the time comes, nothing is sent.";

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .state_only(Operation::ScheduleAgentMessage, create, NOT_SENT)
        .on(Operation::ListScheduledMessages, list)
        .on(Operation::RetrieveScheduledMessage, retrieve)
        .on(Operation::DeleteScheduledMessage, delete)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: false, order_by: &["created_at"] };

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let message = ScheduledMessage::read(call.param("agent_id"), &Fields::of_body(&body)?)?;
    let agent_id = call.param("agent_id");
    transaction!(state.store, tx => {
        let agent = state.view(&call.permit).get_for_update::<Agent>(tx, agent_id).await?;
        insert(tx, &agent.project, Some(&agent.record.id), &message).await?;
        Ok(())
    })?;
    let body = json!({"id": message.id, "next_scheduled_at": message.schedule.next()});
    Ok(Reply::Json(StatusCode::CREATED, body))
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let mut page = Page::read(&call.query, LIST)?;
    let limit = page.limit;
    // One more than is shown tells whether there is more.
    page.limit = limit.saturating_add(1);
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?.record;
    let messages = DocumentFilter::of_parent(ScheduledMessage::KIND, &agent.id);
    let messages = Listing::<ScheduledMessage>::of(messages).page(view, &page, |_| true).await?;
    let shown: Vec<_> = messages.iter().take(limit).map(|message| message.record.wire()).collect();
    Ok(Reply::ok(json!({"scheduled_messages": shown, "has_next_page": messages.len() > limit})))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    view.get::<Agent>(call.param("agent_id")).await?;
    let message = view.get::<ScheduledMessage>(call.param("scheduled_message_id")).await?.record;
    check_agent(&message, call.param("agent_id"))?;
    Ok(Reply::ok(message.wire()))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let scheduled_message_id = call.param("scheduled_message_id");
    transaction!(state.store, tx => {
        view.get_within::<Agent>(tx, agent_id).await?;
        let message = view.get_for_update::<ScheduledMessage>(tx, scheduled_message_id).await?.record;
        check_agent(&message, agent_id)?;
        tx.delete_document(ScheduledMessage::KIND, &message.id).await?;
        Ok(())
    })?;
    Ok(Reply::ok(json!({"success": true})))
}

fn check_agent(message: &ScheduledMessage, agent_id: &str) -> Result<(), ApiError> {
    if message.agent_id == agent_id { Ok(()) } else { Err(not_found::<ScheduledMessage>(&message.id)) }
}
