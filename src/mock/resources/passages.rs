//! The archival memory of agents, and search across archives.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::routes::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation, Written},
    error::ApiError,
    mock::{
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Archive, NewPassage, Passage, Record, Timestamp, WirePassage, write_passage, write_passages},
        search::archival::{self, ArchivalSearch, Hit, SearchScope},
        state::State,
        storage::not_found,
        validation::body::Fields,
    },
    reply::Reply,
    request::input::Query,
    store::{DocumentFilter, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListPassages, list)
        .on(Operation::CreatePassage, create)
        .on(Operation::SearchArchivalMemory, search_memory)
        .on(Operation::DeletePassage, delete)
        .on(Operation::SearchPassages, search)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: false, order_by: &["created_at"] };
/// The default number of results of a search in an agent's archival memory.
const TOP_K: usize = 5;

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let mut page = Page::read_ascending(&call.query, LIST)?;
    // Unlike in other lists, `before` means older and `after` newer, whatever the order of the list.
    if page.newest_first {
        std::mem::swap(&mut page.before, &mut page.after);
    }
    let text = call.query.first("search").map(str::to_lowercase);
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?.record;
    let Some(archive) = archival::archive_of(view.store(), &agent.id).await? else {
        return Ok(Reply::ok(json!([])));
    };
    let archive = archive.record;
    let passages = Listing::of(DocumentFilter::of_parent(Passage::KIND, &archive.id));
    let accepts = |passage: &Passage| text.as_ref().is_none_or(|text| passage.text.to_lowercase().contains(text));
    let passages = if archive.backdated {
        passages.sorted_page(view, &page, accepts, |passage| passage.created_at).await?
    } else {
        passages.page(view, &page, accepts).await?
    };
    Ok(Reply::written(write_passages(passages.iter().map(|passage| &passage.record), &state.response_budget())?))
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let new = NewPassage::read(&Fields::of_body(&body)?)?;
    let agent_id = call.param("agent_id");
    let passages = transaction!(state.store, tx => {
        let agent = state.view(&call.permit).get_for_update::<Agent>(tx, agent_id).await?;
        let passages = archival::remember(tx, &agent, vec![new.clone()]).await?;
        Ok(passages)
    })?;
    Ok(Reply::written(write_passages(&passages, &state.response_budget())?))
}

async fn search_memory(state: Arc<State>, call: Call) -> HandlerResult {
    let query = &call.query;
    let text = query
        .first("query")
        .ok_or_else(|| ApiError::validation("missing", &["query", "query"], "Field required", &Value::Null))?;
    let search = ArchivalSearch {
        query: Some(text),
        tags: query.all("tags").map(str::to_owned).collect(),
        all_tags: query.one_of("tag_match_mode", &["any", "all"])? == Some("all"),
        from: Timestamp::of_query(query, "start_datetime")?,
        to: Timestamp::of_query(query, "end_datetime")?,
        limit: top_k(query)?,
    };
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?.record;
    let found = match archival::archive_of(view.store(), &agent.id).await? {
        Some(archive) => {
            archival::search(view.store(), SearchScope::Archive(&archive.record.id), &search, &state.response_budget())
                .await?
        }
        None => Vec::new(),
    };
    let results: Vec<Value> = found.iter().map(|Hit { passage, .. }| search_result(passage)).collect();
    Ok(Reply::ok(json!({"results": results, "count": results.len()})))
}

/// A passage in the form of a search result in archival memory.
fn search_result(passage: &Passage) -> Value {
    json!({
        "id": passage.id,
        "timestamp": passage.created_at.with_offset(),
        "content": passage.text,
        "tags": passage.tags,
    })
}

fn top_k(query: &Query) -> Result<usize, ApiError> {
    let Some(top_k) = query.integer("top_k")? else { return Ok(TOP_K) };
    usize::try_from(top_k).map_err(|_| {
        let problem = "Input should be greater than or equal to 0";
        ApiError::validation("greater_than_equal", &["query", "top_k"], problem, &top_k.to_string().into())
    })
}

/// Unlike Letta, which deletes any passage here, refuses a passage of another agent.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let id = call.param("memory_id");
    let agent = view.get::<Agent>(call.param("agent_id")).await?.record;
    let archive = archival::archive_of(view.store(), &agent.id).await?;
    transaction!(state.store, tx => {
        let passage = view.get_for_update::<Passage>(tx, id).await?.record;
        if passage.archive_id.is_none() || passage.archive_id.as_ref() != archive.as_ref().map(|archive| &archive.record.id) {
            return Err(not_found::<Passage>(id));
        }
        tx.delete_document(Passage::KIND, &passage.id).await?;
        Ok(())
    })?;
    Ok(Reply::ok(json!({"message": format!("Memory id={id} successfully deleted")})))
}

async fn search(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let search = ArchivalSearch {
        query: fields.optional("query")?,
        tags: fields.optional("tags")?.unwrap_or_default(),
        all_tags: fields.one_of("tag_match_mode", &["any", "all"])? == Some("all"),
        from: fields.optional("start_date")?,
        to: fields.optional("end_date")?,
        limit: usize::try_from(fields.between("limit", 1, 100)?.unwrap_or(50)).unwrap_or_default(),
    };
    let agent: Option<&str> = fields.optional("agent_id")?;
    let archive: Option<&str> = fields.optional("archive_id")?;
    let view = state.view(&call.permit);
    let archive = match (agent, archive) {
        (None, None) => None,
        (None, Some(archive)) => Some(view.get::<Archive>(archive).await?.record.id),
        (Some(agent), archive) => {
            let agent = view.get::<Agent>(agent).await?.record;
            let of_agent = archival::archive_of(view.store(), &agent.id).await?.map(|archive| archive.record.id);
            match of_agent.filter(|id| archive.is_none_or(|archive| id == archive)) {
                Some(archive) => Some(archive),
                None => return Ok(Reply::ok(json!([]))),
            }
        }
    };
    let scope = match &archive {
        Some(archive) => SearchScope::Archive(archive),
        None => SearchScope::Project(call.permit.project().as_str()),
    };
    let found = archival::search(view.store(), scope, &search, &state.response_budget()).await?;
    let (mut written, budget) = (Written::default(), state.response_budget());
    written.push("[");
    for (number, Hit { passage, score }) in found.iter().enumerate() {
        if number > 0 {
            written.push(",");
        }
        let shown = PassageHit { passage: passage.wire(), score: *score, metadata: Map::new() };
        write_passage(&shown, &mut written, &budget)?;
    }
    written.push("]");
    Ok(Reply::written(written))
}

/// A passage in the form of a search result across archives.
#[derive(Serialize)]
struct PassageHit<'a> {
    passage: WirePassage<'a>,
    score: f64,
    metadata: Map<String, Value>,
}
