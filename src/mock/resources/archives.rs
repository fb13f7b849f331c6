//! Archives, their passages, and the agents that use them as archival memory.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    agents::{changed, list::linked_agents},
    attach::locked_in,
    by_id,
    lists::in_project,
    models::handles,
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        budget::Budget,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Archive, ArchiveChange, NewPassage, Passage, Record, links, write_passages},
        search::archival,
        state::State,
        storage::{View, insert, relations::lock_with_sources},
        validation::body::Fields,
    },
    reply::Reply,
    store::{DocumentFilter, Locks, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListArchives, list)
        .on(Operation::CreateArchive, create)
        .on(Operation::RetrieveArchive, retrieve)
        .on(Operation::ModifyArchive, modify)
        .on(Operation::DeleteArchive, delete)
        .on(Operation::ListAgentsForArchive, agents)
        .on(Operation::CreatePassageInArchive, create_passage)
        .on(Operation::CreatePassagesInArchive, create_passages)
        .on(Operation::DeletePassageFromArchive, delete_passage)
        .on(Operation::AttachArchiveToAgent, attach)
        .on(Operation::DetachArchiveFromAgent, detach)
}

const LIST: Defaults = Defaults { limit: 50, newest_first: true, order_by: &["created_at"] };
/// Bounds the transaction that stores passages, and the response that shows them.
const MOST_PASSAGES: usize = 1_000;

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let name = call.query.first("name");
    let archives = match call.query.first("agent_id") {
        Some(agent) => Listing::of(DocumentFilter::linked_from(Archive::KIND, links::AGENT_ARCHIVE, agent)),
        None => in_project(&call),
    };
    let accepts = |archive: &Archive| name.is_none_or(|name| archive.name == name);
    let archives = archives.page(state.view(&call.permit), &page, accepts).await?;
    Ok(Reply::ok(archives.iter().map(|archive| archive.record.wire()).collect()))
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    handles::check_embedding(&state, &call.permit, fields.optional("embedding")?).await?;
    let archive = Archive::create(&fields)?;
    transaction!(state.store, tx => {
        insert(tx, call.permit.project().as_str(), None, &archive).await
    })?;
    Ok(Reply::ok(archive.wire()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let archive = state.view(&call.permit).get::<Archive>(call.param("archive_id")).await?;
    Ok(Reply::ok(archive.record.wire()))
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let change = ArchiveChange::read(&Fields::of_body(&body)?)?;
    let archive = by_id::change(state.view(&call.permit), call.param("archive_id"), |archive: &mut Archive| {
        archive.change(change.clone());
        Ok(())
    })
    .await?;
    Ok(Reply::ok(archive.wire()))
}

/// Deletes the passages of the archive too.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let archive_id = call.param("archive_id");
    transaction!(state.store, tx => {
        let (agents, locked) =
            lock_with_sources::<Agent, Archive>(tx, links::AGENT_ARCHIVE, archive_id, Locks::default()).await?;
        let archive = view.locked::<Archive>(&locked, archive_id)?.record;
        tx.delete_document(Archive::KIND, &archive.id).await?;
        Ok(tx.unlink_from(links::AGENT_ARCHIVE, &agents, &archive.id).await?)
    })?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}

async fn agents(state: Arc<State>, call: Call) -> HandlerResult {
    linked_agents::<Archive>(state, call, "archive_id", links::AGENT_ARCHIVE).await
}

async fn create_passage(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let passage = NewPassage::read(&Fields::of_body(&body)?)?;
    let stored = store_passages(state.view(&call.permit), call.param("archive_id"), vec![passage]).await?;
    Ok(Reply::ok(json!(stored.first().map(Passage::wire))))
}

async fn create_passages(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let passages: Vec<Fields<'_>> = fields.required("passages")?;
    if passages.len() > MOST_PASSAGES {
        let rule = format!("at most {MOST_PASSAGES} passages can be created in one request");
        return Err(fields.at("passages").breaks_rule(&rule, &Value::Null));
    }
    let passages = passages.iter().map(NewPassage::read).collect::<Result<_, _>>()?;
    let stored = store_passages(state.view(&call.permit), call.param("archive_id"), passages).await?;
    Ok(Reply::written(write_passages(&stored, &Budget::of_response(usize::MAX))?))
}

async fn store_passages(view: View<'_>, archive_id: &str, passages: Vec<NewPassage>) -> Result<Vec<Passage>, ApiError> {
    transaction!(view.store(), tx => {
        let archive = view.get_for_update::<Archive>(tx, archive_id).await?;
        archival::put(tx, archive, passages.clone()).await
    })
}

async fn delete_passage(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let archive = view.get::<Archive>(call.param("archive_id")).await?.record;
    let passage_id = call.param("passage_id");
    transaction!(state.store, tx => {
        let passage = view.get_for_update::<Passage>(tx, passage_id).await?.record;
        if passage.archive_id.as_ref() != Some(&archive.id) {
            let problem = format!("INVALID_ARGUMENT: Passage {} is not in archive {}", passage.id, archive.id);
            return Err(ApiError::letta(Code::InvalidRequest, problem));
        }
        tx.delete_document(Passage::KIND, &passage.id).await?;
        Ok(())
    })?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}

/// An agent has at most one archive.
async fn attach(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let archive_id = call.param("archive_id");
    transaction!(state.store, tx => {
        let locked = tx.lock(&Locks::of(Agent::KIND, [agent_id]).and(Archive::KIND, [archive_id])).await?;
        let agent = view.locked::<Agent>(&locked, agent_id)?;
        let archive = locked_in::<Archive>(view, &locked, &agent.project, archive_id)?;
        let present = tx.linked_documents(links::AGENT_ARCHIVE, &agent.record.id, Archive::KIND).await?;
        if present.iter().any(|present| present.id != archive.record.id) {
            return Err(ApiError::conflict("CONFLICT: Another archive is attached to the agent; detach it first"));
        }
        tx.link(links::AGENT_ARCHIVE, &agent.record.id, &archive.record.id).await?;
        changed::store(tx, agent).await?;
        Ok(())
    })?;
    Ok(Reply::ok(Value::Null))
}

async fn detach(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let archive_id = call.param("archive_id");
    transaction!(state.store, tx => {
        let agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        let archive = view.get_within::<Archive>(tx, archive_id).await?;
        tx.unlink(links::AGENT_ARCHIVE, &agent.record.id, &archive.record.id).await?;
        changed::store(tx, agent).await?;
        Ok(())
    })?;
    Ok(Reply::ok(Value::Null))
}
