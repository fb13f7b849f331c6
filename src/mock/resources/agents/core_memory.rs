//! The core memory of an agent: the blocks attached to it, found by their labels.

use std::sync::Arc;

use serde_json::json;

use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        agents::{
            create::label_taken,
            directories::{self, Source},
            memory::{self, blocks, blocks_within, recompile},
            sleeptime::lock_with_partners,
        },
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, Block, Record, include::Include, links},
        resources::{HandlerResult, Routes},
        state::State,
        storage::{
            documents::{Stored, View, not_found, parse, update},
            relations::leave_groups,
        },
        validation::body::Fields,
    },
    reply::Reply,
    store::{DocumentFilter, Locks, Tx, transaction},
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::RetrieveAgentMemory, retrieve)
        .on(Operation::ListCoreMemoryBlocks, list)
        .on(Operation::RetrieveCoreMemoryBlock, retrieve_block)
        .on(Operation::ModifyCoreMemoryBlock, modify_block)
        .on(Operation::AttachCoreMemoryBlock, attach)
        .on(Operation::DetachCoreMemoryBlock, detach)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let blocks: Vec<Block> = blocks(view, &agent.record.id).await?.into_iter().map(|block| block.record).collect();
    let shown = directories::of(Source::Store(view.store()), &agent.record).await?;
    Ok(Reply::ok(agent.record.memory(&blocks, &shown.files)))
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let blocks = DocumentFilter::linked_from(Block::KIND, links::AGENT_BLOCK, &agent.record.id);
    let blocks: Vec<Stored<Block>> = Listing::of(blocks).page(view, &page, |_| true).await?;
    Ok(Reply::ok(blocks.iter().map(|block| json!(block.record)).collect()))
}

async fn retrieve_block(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let block = find(view, &agent.record.id, call.param("block_label")).await?;
    Ok(Reply::ok(json!(block.record)))
}

/// Changes the block itself, so every agent that shows it sees the change.
async fn modify_block(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    // Its types are looked at before anything is looked up.
    Block::check(&fields)?;
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    let found = find(view, &agent.record.id, call.param("block_label")).await?;
    Ok(Reply::ok(json!(change(view, &found.record.id, &fields).await?)))
}

/// Changes a block, and what the agents see that show it.
pub(in crate::mock) async fn change(view: View<'_>, block_id: &str, fields: &Fields<'_>) -> Result<Block, ApiError> {
    transaction!(view.store(), tx => {
        let mut block = view.get_for_update::<Block>(tx, block_id).await?.record;
        let label = block.label.clone();
        block.change(fields)?;
        update(tx, &block).await?;
        let agents = tx.linked_from(links::AGENT_BLOCK, &block.id).await?;
        show_changed(tx, &agents, (block.label != label).then_some(&block)).await?;
        Ok(block)
    })
}

/// Deletes a block, also where it is attached.
pub(in crate::mock) async fn delete(view: View<'_>, block_id: &str) -> Result<(), ApiError> {
    transaction!(view.store(), tx => {
        let blocks = [view.get_for_update::<Block>(tx, block_id).await?.record.id];
        let shown = memory::lock_with_agents(tx, &blocks, Locks::default()).await?;
        leave_groups(tx, &[], &blocks).await?;
        memory::delete_blocks(tx, &shown, &[]).await
    })
}

/// Attaches it to the agent's sleeptime agents too. Detaching it leaves it with them, as in Letta.
async fn attach(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let (agent_id, block_id) = (call.param("agent_id"), call.param("block_id"));
    let agent = transaction!(state.store, tx => {
        let (partners, locked) = lock_with_partners(tx, agent_id, Locks::of(Block::KIND, [block_id])).await?;
        let agent = view.locked::<Agent>(&locked, agent_id)?;
        let block = view.locked::<Block>(&locked, block_id)?;
        if block.project != agent.project {
            return Err(not_found::<Block>(&block.record.id));
        }
        for partner in partners {
            show_block(tx, &partner.record.id, &block.record).await?;
            store_changed(tx, partner).await?;
        }
        show_block(tx, &agent.record.id, &block.record).await?;
        store_changed(tx, agent).await
    })?;
    Ok(Reply::written(memory::show_one(view, &agent.record, Include::EVERYTHING).await?))
}

/// Attaches a block to an agent.
async fn show_block(tx: &mut Tx, agent_id: &str, block: &Block) -> Result<(), ApiError> {
    let beside = blocks_within(tx, agent_id).await?;
    if beside.iter().any(|other| other.id != block.id && other.label == block.label) {
        return Err(label_taken(&block.label));
    }
    Ok(tx.link(links::AGENT_BLOCK, agent_id, &block.id).await?)
}

async fn detach(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let block_id = call.param("block_id");
    let agent = transaction!(state.store, tx => {
        let agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        let (id, block_id) = (&agent.record.id, block_id);
        if blocks_within(tx, id).await?.iter().all(|block| block.id != block_id) {
            return Err(not_found::<Block>(block_id));
        }
        tx.unlink(links::AGENT_BLOCK, id, block_id).await?;
        store_changed(tx, agent).await
    })?;
    Ok(Reply::written(memory::show_one(view, &agent.record, Include::EVERYTHING).await?))
}

/// Stores an agent whose blocks have changed.
async fn store_changed(tx: &mut Tx, mut agent: Stored<Agent>) -> Result<Stored<Agent>, ApiError> {
    recompile(tx, &mut agent.record).await?;
    agent.record.touch();
    update(tx, &agent.record).await?;
    Ok(agent)
}

async fn find(view: View<'_>, agent_id: &str, label: &str) -> Result<Stored<Block>, ApiError> {
    let blocks = blocks(view, agent_id).await?;
    blocks.into_iter().find(|block| block.record.label == label).ok_or_else(|| {
        let label: String = label.chars().take(100).collect();
        ApiError::letta(Code::NotFound, format!("Block with label '{label}' not found for agent {agent_id}"))
    })
}

/// Compiles the system messages of agents after a change of a block that they show, `renamed` if its label is new.
async fn show_changed(tx: &mut Tx, agents: &[String], renamed: Option<&Block>) -> Result<(), ApiError> {
    for document in tx.lock(&Locks::of(Agent::KIND, agents)).await?.of(Agent::KIND) {
        let mut agent = parse::<Agent>(document)?.record;
        if let Some(block) = renamed {
            let beside = blocks_within(tx, &agent.id).await?;
            if beside.iter().any(|other| other.id != block.id && other.label == block.label) {
                return Err(label_taken(&block.label));
            }
        }
        recompile(tx, &mut agent).await?;
        update(tx, &agent).await?;
    }
    Ok(())
}
