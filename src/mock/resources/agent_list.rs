//! Lists of agents: filters, orders, cursors.

use std::sync::Arc;

use serde_json::json;

use super::{Answer, Routes};
use crate::{
    access::Operation,
    call::{Call, Query, Reply},
    error::ApiError,
    mock::{
        client::Include,
        documents::{Stored, View},
        memory,
        page::{Defaults, Page},
        records::{ACTOR, Agent, Record, StopReason},
        state::State,
    },
    model::Project,
    store::DocumentFilter,
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::ListAgents, list).on(Operation::CountAgents, count)
}

const LIST: Defaults =
    Defaults { limit: 50, newest_first: true, order_by: &["created_at", "updated_at", "last_run_completion"] };
/// How many agents are read at once, to be looked at one by one.
const CHUNK: i64 = 200;

async fn list(state: Arc<State>, call: Call) -> Answer {
    let query = &call.query;
    let page = page(query)?;
    let include = Include::of(&call.headers, query)?;
    let filter = Filter::read(query, call.permit.project())?;
    let order_by = query.one_of("order_by", LIST.order_by)?.or_else(|| sort_by(query)).unwrap_or("created_at");
    let view = state.view(&call.permit);
    let agents = match order_by {
        "updated_at" => sorted(view, &filter, &page, |agent| Some(agent.updated_at)).await?,
        "last_run_completion" => sorted(view, &filter, &page, |agent| agent.last_run_completion).await?,
        _ => by_creation(view, &filter, &page).await?,
    };
    Ok(Reply::ok(memory::show(view, &agents, include).await?))
}

async fn count(state: Arc<State>, call: Call) -> Answer {
    let filter = Filter::read(&call.query, call.permit.project())?;
    let view = state.view(&call.permit);
    let mut count = 0_u64;
    let mut scan = Scan::new(&filter, false);
    while let Some(agents) = scan.next(view).await? {
        count += agents.len() as u64;
    }
    Ok(Reply::ok(json!(count)))
}

/// Older clients say `ascending` instead of `order`.
fn page(query: &Query) -> Result<Page<'_>, ApiError> {
    let ascending = query.boolean("ascending")?;
    let mut page = Page::read(query, LIST)?;
    if let (None, Some(ascending)) = (query.first("order"), ascending) {
        page.newest_first = !ascending;
    }
    Ok(page)
}

/// Older clients say `sort_by` instead of `order_by`; a word that means nothing to it is the default.
fn sort_by(query: &Query) -> Option<&'static str> {
    let wanted = query.first("sort_by")?;
    LIST.order_by.iter().copied().find(|word| *word == wanted)
}

/// What a request wants agents to be.
struct Filter<'a> {
    project: &'a str,
    name: Option<&'a str>,
    query_text: Option<String>,
    tags: Vec<&'a str>,
    match_all_tags: bool,
    template_id: Option<&'a str>,
    base_template_id: Option<&'a str>,
    last_stop_reason: Option<StopReason>,
    created_by_id: Option<&'a str>,
    show_hidden: bool,
    /// There are no identities yet, so no agent has the one that was asked for.
    of_identity: bool,
}

impl<'a> Filter<'a> {
    fn read(query: &'a Query, project: &'a Project) -> Result<Self, ApiError> {
        let stop_reason = query.one_of("last_stop_reason", StopReason::WORDS)?;
        Ok(Self {
            project: query.first("project_id").unwrap_or(project.as_str()),
            name: query.first("name"),
            query_text: query.first("query_text").map(str::to_lowercase),
            tags: query.all("tags").collect(),
            match_all_tags: query.boolean("match_all_tags")?.unwrap_or(false),
            template_id: query.first("template_id"),
            base_template_id: query.first("base_template_id"),
            last_stop_reason: stop_reason.and_then(StopReason::from_word),
            created_by_id: query.first("created_by_id"),
            show_hidden: query.boolean("show_hidden_agents")?.unwrap_or(false),
            of_identity: query.first("identity_id").or(query.first("identifier_keys")).is_some(),
        })
    }

    /// No agent is in a project that cannot be.
    fn is_impossible(&self) -> bool {
        self.of_identity || self.project.parse::<Project>().is_err()
    }

    fn accepts(&self, agent: &Agent) -> bool {
        let tagged = |tag: &&str| agent.tags.iter().any(|present| present == tag);
        let tags_match = match self.match_all_tags {
            _ if self.tags.is_empty() => true,
            true => self.tags.iter().all(tagged),
            false => self.tags.iter().any(tagged),
        };
        tags_match
            && self.name.is_none_or(|name| agent.name == name)
            && self.query_text.as_ref().is_none_or(|text| agent.name.to_lowercase().contains(text))
            && self.template_id.is_none_or(|id| agent.template_id.as_deref() == Some(id))
            && self.base_template_id.is_none_or(|id| agent.base_template_id.as_deref() == Some(id))
            && self.last_stop_reason.is_none_or(|reason| agent.last_stop_reason == Some(reason))
            && self.created_by_id.is_none_or(|id| id == ACTOR)
            && (self.show_hidden || agent.hidden != Some(true))
    }
}

/// Reads a project's agents in the order of their creation, chunk by chunk, and keeps those that a filter accepts.
struct Scan<'a> {
    filter: &'a Filter<'a>,
    documents: DocumentFilter<'a>,
    newest_first: bool,
    exhausted: bool,
}

impl<'a> Scan<'a> {
    fn new(filter: &'a Filter<'a>, newest_first: bool) -> Self {
        let documents = DocumentFilter::of_project(Agent::KIND, filter.project).newest_first(newest_first).limit(CHUNK);
        Self { filter, documents, newest_first, exhausted: filter.is_impossible() }
    }

    /// The next of them, perhaps none; nothing when all were read.
    async fn next(&mut self, view: View<'_>) -> Result<Option<Vec<Stored<Agent>>>, ApiError> {
        if self.exhausted {
            return Ok(None);
        }
        let agents = view.list::<Agent>(&self.documents).await?;
        self.exhausted = i64::try_from(agents.len()).unwrap_or(CHUNK) < CHUNK;
        if let Some(last) = agents.last() {
            self.documents =
                if self.newest_first { self.documents.before(last.seq) } else { self.documents.after(last.seq) };
        }
        Ok(Some(agents.into_iter().filter(|agent| self.filter.accepts(&agent.record)).collect()))
    }
}

/// A page in the order of creation: only as much is read as the page needs.
async fn by_creation(view: View<'_>, filter: &Filter<'_>, page: &Page<'_>) -> Result<Vec<Stored<Agent>>, ApiError> {
    // With only `before`, the page ends where the cursor is, so it is read from there backwards.
    let backwards = page.before.is_some() && page.after.is_none();
    let newest_first = page.newest_first != backwards;
    let mut scan = Scan::new(filter, newest_first);
    for (cursor, is_after) in [(page.after, true), (page.before, false)] {
        let Some(cursor) = cursor else { continue };
        // A cursor that names nothing leaves nothing, so that paging comes to an end.
        let Some(found) = view.find::<Agent>(cursor).await? else { return Ok(Vec::new()) };
        let newer_than_cursor = is_after != page.newest_first;
        scan.documents =
            if newer_than_cursor { scan.documents.after(found.seq) } else { scan.documents.before(found.seq) };
    }
    let mut agents = Vec::new();
    while agents.len() < page.limit {
        let Some(chunk) = scan.next(view).await? else { break };
        agents.extend(chunk);
    }
    agents.truncate(page.limit);
    if backwards {
        agents.reverse();
    }
    Ok(agents)
}

/// A page in another order: everything that matches has to be read.
async fn sorted<K: Ord>(
    view: View<'_>,
    filter: &Filter<'_>,
    page: &Page<'_>,
    key: impl Fn(&Agent) -> Option<K>,
) -> Result<Vec<Stored<Agent>>, ApiError> {
    let mut agents = Vec::new();
    let mut scan = Scan::new(filter, false);
    while let Some(chunk) = scan.next(view).await? {
        agents.extend(chunk);
    }
    agents.sort_by(|left, right| {
        let order = key(&left.record).cmp(&key(&right.record)).then(left.seq.cmp(&right.seq));
        if page.newest_first { order.reverse() } else { order }
    });
    Ok(page.cut(agents, |agent| &agent.record.id))
}
