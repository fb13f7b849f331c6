//! The core memory of an agent: the blocks attached to it, found by their labels.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::json;

use super::{Answer, Routes};
use crate::{
    access::Operation,
    call::{Call, Reply},
    error::{ApiError, Code},
    mock::{
        documents::{Stored, View, parse, update},
        fields::Fields,
        memory::{blocks, blocks_within, recompile},
        page::{Defaults, Page},
        records::{Agent, Block, Record, links},
        state::State,
    },
    store::Tx,
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::RetrieveAgentMemory, retrieve)
        .on(Operation::ListCoreMemoryBlocks, list)
        .on(Operation::RetrieveCoreMemoryBlock, retrieve_block)
        .on(Operation::ModifyCoreMemoryBlock, modify_block)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };

async fn retrieve(state: Arc<State>, call: Call) -> Answer {
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let blocks: Vec<Block> = blocks(view, &agent.record.id).await?.into_iter().map(|block| block.record).collect();
    Ok(Reply::ok(agent.record.memory(&blocks)))
}

async fn list(state: Arc<State>, call: Call) -> Answer {
    let page = Page::read(&call.query, LIST)?;
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let mut blocks = blocks(view, &agent.record.id).await?;
    blocks.sort_by_key(|block| block.seq);
    if page.newest_first {
        blocks.reverse();
    }
    let blocks = page.cut(blocks, |block| &block.record.id);
    Ok(Reply::ok(blocks.iter().map(|block| json!(block.record)).collect()))
}

async fn retrieve_block(state: Arc<State>, call: Call) -> Answer {
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let block = find(view, &agent.record.id, call.param("block_label")).await?;
    Ok(Reply::ok(json!(block.record)))
}

/// Changes the block itself, so every agent that shows it sees the change.
async fn modify_block(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    // Its types are looked at before anything is looked up.
    Block::check(&fields)?;
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let found = find(view, &agent.record.id, call.param("block_label")).await?;
    let mut tx = state.store.begin().await?;
    let mut block = view.get_for_update::<Block>(&mut tx, &found.record.id).await?.record;
    let label = block.label.clone();
    block.change(&fields)?;
    update(&mut tx, &block).await?;
    show_changed(&mut tx, &block, block.label != label).await?;
    tx.commit().await?;
    Ok(Reply::ok(json!(block)))
}

async fn find(view: View<'_>, agent_id: &str, label: &str) -> Result<Stored<Block>, ApiError> {
    let blocks = blocks(view, agent_id).await?;
    blocks.into_iter().find(|block| block.record.label == label).ok_or_else(|| {
        let label: String = label.chars().take(100).collect();
        ApiError::letta(Code::NotFound, format!("Block with label '{label}' not found for agent {agent_id}"))
    })
}

/// Compiles the system messages of all agents that show a block. They are locked in the order of their ids, so that two
/// changes cannot wait for each other.
async fn show_changed(tx: &mut Tx, block: &Block, renamed: bool) -> Result<(), ApiError> {
    let agents: BTreeSet<String> = tx.linked_from(links::AGENT_BLOCK, &block.id).await?.into_iter().collect();
    for agent_id in agents {
        let Some(document) = tx.document_for_update(Agent::KIND, &agent_id).await? else { continue };
        let mut agent = parse::<Agent>(document)?.record;
        if renamed {
            let beside = blocks_within(tx, &agent_id).await?;
            if beside.iter().any(|other| other.id != block.id && other.label == block.label) {
                return Err(label_taken(&block.label));
            }
        }
        recompile(tx, &mut agent).await?;
        update(tx, &agent).await?;
    }
    Ok(())
}

/// An agent finds its blocks by their labels, so it cannot show two with the same one.
pub(super) fn label_taken(label: &str) -> ApiError {
    let label: String = label.chars().take(100).collect();
    ApiError::conflict(format!("CONFLICT: Another block with label '{label}' is attached to the agent"))
}
