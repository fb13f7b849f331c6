//! Blocks by their own id. So far only who shares one, which a gateway before this mock asks for.

use std::sync::Arc;

use super::{Answer, Routes};
use crate::{
    access::Operation,
    call::{Call, Reply},
    mock::{
        client::Include,
        memory,
        page::{Defaults, Page},
        records::{Agent, Block, links},
        state::State,
    },
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes.on(Operation::ListAgentsForBlock, agents)
}

const AGENTS: Defaults = Defaults { limit: 50, newest_first: true, order_by: &["created_at"] };

/// The agents to which a block is attached.
async fn agents(state: Arc<State>, call: Call) -> Answer {
    let page = Page::read(&call.query, AGENTS)?;
    let include = Include::of(&call.headers, &call.query)?;
    let view = state.view(&call.permit);
    let block = view.get::<Block>(call.param("block_id")).await?.record;
    let mut agents = Vec::new();
    for id in view.store().linked_from(links::AGENT_BLOCK, &block.id).await? {
        agents.extend(view.find::<Agent>(&id).await?);
    }
    agents.sort_by_key(|agent| if page.newest_first { -agent.seq } else { agent.seq });
    let agents = page.cut(agents, |agent| &agent.record.id);
    Ok(Reply::ok(memory::show(view, &agents, include).await?))
}
