//! Lists of agents: filters, orders, cursors.

use std::{collections::HashSet, sync::Arc};

use serde_json::json;

use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        agents::memory,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{ACTOR, Agent, Record, StopReason, include::Include, links},
        resources::{HandlerResult, Routes},
        state::State,
        storage::{documents::View, relations::of_identities},
        text::search::tagged,
    },
    model::Project,
    reply::Reply,
    request::input::Query,
    store::DocumentFilter,
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::ListAgents, list).on(Operation::CountAgents, count)
}

const LIST: Defaults =
    Defaults { limit: 50, newest_first: true, order_by: &["created_at", "updated_at", "last_run_completion"] };
async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let query = &call.query;
    let page = Page::read_ascending(query, LIST)?;
    let include = Include::of(&call.headers, query)?;
    let view = state.view(&call.permit);
    let filter = AgentFilter::read(view, query, call.permit.project()).await?;
    let order_by = query.one_of("order_by", LIST.order_by)?.or_else(|| sort_by(query)).unwrap_or("created_at");
    let agents = filter.listing();
    let accepts = |agent: &Agent| filter.accepts(agent);
    let agents = match order_by {
        "updated_at" => agents.sorted_page(view, &page, accepts, |agent| agent.updated_at).await?,
        "last_run_completion" => agents.sorted_page(view, &page, accepts, |agent| agent.last_run_completion).await?,
        _ => agents.page(view, &page, accepts).await?,
    };
    Ok(Reply::written(memory::show(view, &agents, include).await?))
}

async fn count(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let filter = AgentFilter::read(view, &call.query, call.permit.project()).await?;
    let count = filter.listing().count(view, |agent| filter.accepts(agent)).await?;
    Ok(Reply::ok(json!(count)))
}

/// Older clients say `sort_by` instead of `order_by`; a word that means nothing to it is the default.
fn sort_by(query: &Query) -> Option<&'static str> {
    let wanted = query.first("sort_by")?;
    LIST.order_by.iter().copied().find(|word| *word == wanted)
}

/// What a request wants agents to be.
struct AgentFilter<'a> {
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
    /// The agents that belong to the identities that were asked for.
    of_identities: Option<HashSet<String>>,
}

impl<'a> AgentFilter<'a> {
    async fn read(view: View<'_>, query: &'a Query, project: &'a Project) -> Result<Self, ApiError> {
        let project = query.first("project_id").unwrap_or(project.as_str());
        let stop_reason = query.one_of("last_stop_reason", StopReason::WORDS)?;
        Ok(Self {
            project,
            name: query.first("name"),
            query_text: query.first("query_text").map(str::to_lowercase),
            tags: query.all("tags").collect(),
            match_all_tags: query.boolean("match_all_tags")?.unwrap_or(false),
            template_id: query.first("template_id"),
            base_template_id: query.first("base_template_id"),
            last_stop_reason: stop_reason.and_then(StopReason::from_word),
            created_by_id: query.first("created_by_id"),
            show_hidden: query.boolean("show_hidden_agents")?.unwrap_or(false),
            of_identities: of_identities(view, project, query, links::AGENT_IDENTITY).await?,
        })
    }

    fn listing(&self) -> Listing<'a, Agent> {
        Listing::of(DocumentFilter::of_project(Agent::KIND, self.project))
    }

    fn accepts(&self, agent: &Agent) -> bool {
        tagged(&agent.tags, &self.tags, self.match_all_tags)
            && self.of_identities.as_ref().is_none_or(|ids| ids.contains(&agent.id))
            && self.name.is_none_or(|name| agent.name == name)
            && self.query_text.as_ref().is_none_or(|text| agent.name.to_lowercase().contains(text))
            && self.template_id.is_none_or(|id| agent.template_id.as_deref() == Some(id))
            && self.base_template_id.is_none_or(|id| agent.base_template_id.as_deref() == Some(id))
            && self.last_stop_reason.is_none_or(|reason| agent.last_stop_reason == Some(reason))
            && self.created_by_id.is_none_or(|id| id == ACTOR)
            && (self.show_hidden || agent.hidden != Some(true))
    }
}
