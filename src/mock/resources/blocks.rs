//! Blocks by their own id: made, found, changed and deleted apart from the agents that show them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{HandlerResult, Routes, agents::core_memory};
use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        agents::memory,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Block, Record, include::Include, links},
        state::State,
        storage::{
            documents::{View, insert},
            project_scope::ProjectScope,
            relations::of_identities,
        },
        text::search::tagged,
        validation::{body::Fields, query},
    },
    model::Project,
    reply::Reply,
    request::input::Query,
    store::{DocumentFilter, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListBlocks, list)
        .on(Operation::CreateBlock, create)
        .on(Operation::CountBlocks, count)
        .on(Operation::RetrieveBlock, retrieve)
        .on(Operation::ModifyBlock, modify)
        .on(Operation::DeleteBlock, delete)
        .on(Operation::ListAgentsForBlock, agents)
}

const LIST: Defaults = Defaults { limit: 50, newest_first: false, order_by: &["created_at"] };
const AGENTS: Defaults = Defaults { limit: 50, newest_first: true, order_by: &["created_at"] };

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let view = state.view(&call.permit);
    let filter = BlockFilter::read(view, &call.query, call.permit.project()).await?;
    let blocks = filter.listing().page(view, &page, |block| filter.accepts(block)).await?;
    Ok(Reply::ok(blocks.iter().map(|block| json!(block.record)).collect()))
}

async fn count(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let filter = BlockFilter::read(view, &call.query, call.permit.project()).await?;
    Ok(Reply::ok(filter.listing().count(view, |block| filter.accepts(block)).await?.into()))
}

/// What a request wants blocks to be.
struct BlockFilter<'a> {
    project: &'a str,
    label: Option<&'a str>,
    templates_only: bool,
    template_name: Option<&'a str>,
    tags: Vec<&'a str>,
    match_all_tags: bool,
    /// What label, description and value are to contain, in lower case.
    searches: [Option<String>; 3],
    /// The blocks that belong to the identities that were asked for.
    of_identities: Option<HashSet<String>>,
    agents: Option<AgentCounts>,
}

/// To how many agents blocks are to be attached, and to how many they are.
struct AgentCounts {
    more_than: Option<i64>,
    less_than: Option<i64>,
    one_of: Vec<i64>,
    counts: HashMap<String, i64>,
}

impl<'a> BlockFilter<'a> {
    async fn read(view: View<'_>, query: &'a Query, project: &'a Project) -> Result<Self, ApiError> {
        let lower = |text: Option<&str>| text.map(str::to_lowercase);
        let project = query.first("project_id").unwrap_or(project.as_str());
        Ok(Self {
            project,
            label: query::word(query, "label", 50, '/')?,
            templates_only: query.boolean("templates_only")?.unwrap_or(false),
            template_name: query::word(query, "name", 100, ' ')?,
            tags: query.all("tags").collect(),
            match_all_tags: query.boolean("match_all_tags")?.unwrap_or(false),
            searches: [
                lower(query::word(query, "label_search", 50, '/')?),
                lower(query::text(query, "description_search", 200)?),
                lower(query::text(query, "value_search", 200)?),
            ],
            of_identities: of_identities(view, project, query, links::BLOCK_IDENTITY).await?,
            agents: AgentCounts::read(view, query).await?,
        })
    }

    fn listing(&self) -> Listing<'a, Block> {
        Listing::of(DocumentFilter::of_project(Block::KIND, self.project))
    }

    fn accepts(&self, block: &Block) -> bool {
        let [label, description, value] = &self.searches;
        let contains = |text: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| text.to_lowercase().contains(wanted))
        };
        block.is_template == self.templates_only
            && block.hidden != Some(true)
            && self.label.is_none_or(|label| block.label == label)
            && self.template_name.is_none_or(|name| block.template_name.as_deref() == Some(name))
            && tagged(&block.tags, &self.tags, self.match_all_tags)
            && contains(&block.label, label)
            && contains(block.description.as_deref().unwrap_or_default(), description)
            && contains(&block.value, value)
            && self.of_identities.as_ref().is_none_or(|ids| ids.contains(&block.id))
            && self.agents.as_ref().is_none_or(|agents| agents.accept(&block.id))
    }
}

impl AgentCounts {
    async fn read(view: View<'_>, query: &Query) -> Result<Option<Self>, ApiError> {
        let more_than = query.integer("connected_to_agents_count_gt")?;
        let less_than = query.integer("connected_to_agents_count_lt")?;
        let one_of = query::integers(query, "connected_to_agents_count_eq")?;
        if more_than.is_none() && less_than.is_none() && one_of.is_empty() {
            return Ok(None);
        }
        let counts = view.store().count_links_by_target(links::AGENT_BLOCK).await?.into_iter().collect();
        Ok(Some(Self { more_than, less_than, one_of, counts }))
    }

    fn accept(&self, block_id: &str) -> bool {
        let count = self.counts.get(block_id).copied().unwrap_or(0);
        self.more_than.is_none_or(|least| count > least)
            && self.less_than.is_none_or(|most| count < most)
            && (self.one_of.is_empty() || self.one_of.contains(&count))
    }
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let mut block = Block::create(&fields)?;
    let scope = ProjectScope::of(&call.permit, &fields)?;
    block.project_id = scope.shown;
    transaction!(state.store, tx => {
        insert(tx, scope.project.as_str(), None, &block).await?;
        Ok(())
    })?;
    Ok(Reply::ok(json!(block)))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let block = state.view(&call.permit).get::<Block>(call.param("block_id")).await?;
    Ok(Reply::ok(json!(block.record)))
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    // Its types are looked at before anything is looked up.
    Block::check(&fields)?;
    let block = core_memory::change(state.view(&call.permit), call.param("block_id"), &fields).await?;
    Ok(Reply::ok(json!(block)))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    core_memory::delete(state.view(&call.permit), call.param("block_id")).await?;
    Ok(Reply::ok(Value::Null))
}

/// The agents to which a block is attached.
async fn agents(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, AGENTS)?;
    let include = Include::of(&call.headers, &call.query)?;
    let view = state.view(&call.permit);
    let block = view.get::<Block>(call.param("block_id")).await?.record;
    let agents = DocumentFilter::linked_to(Agent::KIND, links::AGENT_BLOCK, &block.id);
    let agents = Listing::of(agents).page(view, &page, |_| true).await?;
    Ok(Reply::written(memory::show(view, &agents, include).await?))
}
