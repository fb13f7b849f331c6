//! Tags: whatever agents and blocks carry.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{HandlerResult, Routes};
use crate::{
    access::{Call, Operation},
    mock::{
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Block, Record},
        state::State,
    },
    reply::Reply,
    store::DocumentFilter,
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::ListTags, list)
}

const LIST: Defaults = Defaults { limit: 50, newest_first: false, order_by: &["name"] };

/// Alphabetical. Cursors are tags, and need not exist.
async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let query = &call.query;
    let page = Page::read(query, LIST)?;
    let wanted: Vec<String> =
        ["name", "query_text"].into_iter().filter_map(|name| query.first(name)).map(str::to_lowercase).collect();
    let view = state.view(&call.permit);
    let project = call.permit.project().as_str();
    let agents = Listing::<Agent>::of(DocumentFilter::of_project(Agent::KIND, project)).all(view, |_| true).await?;
    let blocks = Listing::<Block>::of(DocumentFilter::of_project(Block::KIND, project)).all(view, |_| true).await?;
    let of_agents = agents.into_iter().flat_map(|agent| agent.record.tags);
    let of_blocks = blocks.into_iter().flat_map(|block| block.record.tags);
    let mut tags: BTreeSet<String> = of_agents.chain(of_blocks).collect();
    tags.retain(|tag| wanted.iter().all(|wanted| tag.to_lowercase().contains(wanted)));
    let (first, last) = if page.newest_first { (page.before, page.after) } else { (page.after, page.before) };
    tags.retain(|tag| first.is_none_or(|first| tag.as_str() > first) && last.is_none_or(|last| tag.as_str() < last));
    let mut tags: Vec<String> = tags.into_iter().collect();
    if page.newest_first {
        tags.reverse();
    }
    // With only `before`, the page ends where the cursor is.
    let skipped = if page.after.is_none() && page.before.is_some() { tags.len().saturating_sub(page.limit) } else { 0 };
    Ok(Reply::ok(tags.into_iter().skip(skipped).take(page.limit).map(Value::from).collect()))
}
