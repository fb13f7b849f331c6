//! Agents.

use std::sync::Arc;

use serde_json::json;

use super::{Answer, Routes};
use crate::{
    access::Operation,
    call::{Call, Reply},
    error::{ApiError, Code},
    mock::{
        archival,
        client::Include,
        documents::{Stored, View, insert_messages, parse_message, update},
        fields::Fields,
        home::Home,
        maker::{Attached, Belongings, check_labels, link, make, partners, present_blocks, replace_folders},
        memory::{self, recompile},
        model_handles, monologue,
        records::{Agent, Block, ContextEntry, DEFAULT_CONVERSATION, Identity, Record, links, without_repeats},
        relations::{self, check_present, link_only},
        shelf,
        state::State,
        tools,
        turn::Incoming,
    },
    store::Tx,
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::CreateAgent, create)
        .on(Operation::RetrieveAgent, retrieve)
        .on(Operation::ModifyAgent, modify)
        .on(Operation::DeleteAgent, delete)
        .on(Operation::ResetMessages, reset_messages)
}

async fn create(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    // First whatever is malformed, then what does not exist.
    let attached = Attached::read(&fields)?;
    let initial = Incoming::read_initial(&fields)?;
    let new_blocks = new_blocks(&fields)?;
    let include_base_tools = fields.optional("include_base_tools")?.unwrap_or(true);
    let include_multi_agent_tools = fields.optional("include_multi_agent_tools")?.unwrap_or(false);
    let include_base_tool_rules = fields.optional::<bool>("include_base_tool_rules")?;
    Agent::check(&fields)?;
    model_handles::check(&state, &call.permit, &fields).await?;
    let home = Home::of(&call.headers, &call.permit, &fields)?;
    let mut agent = Agent::create(&fields)?;
    let mut defaults = if include_base_tools { tools::default_names(&agent.agent_type).to_vec() } else { Vec::new() };
    defaults.extend(tools::MULTI_AGENT.iter().filter(|_| include_multi_agent_tools));
    if include_base_tool_rules.unwrap_or(agent.agent_type != "letta_v1_agent") {
        let names = defaults.iter().copied().chain(attached.tool_names.iter().map(String::as_str));
        tools::add_base_rules(&mut agent, names);
    }
    let history = match initial {
        Some(initial) => monologue::given(&agent.agent_type, initial),
        None => monologue::beginning_of_new(&agent.agent_type, include_base_tools),
    };
    let view = state.view(&call.permit);
    let tool_ids = attached.tool_ids.unwrap_or_default();
    let folder_ids = attached.folder_ids.unwrap_or_default();
    let belongings = Belongings {
        new_blocks,
        block_ids: attached.block_ids.unwrap_or_default(),
        tools: tools::named(view, home.project.as_str(), &defaults, &attached.tool_names, &tool_ids).await?,
        files: shelf::newest_files_of(view, &folder_ids, agent.max_files_open).await?,
        folder_ids,
        identity_ids: attached.identity_ids.unwrap_or_default(),
        history,
        ..Belongings::default()
    };
    let mut tx = state.store.begin().await?;
    let agent = make(&mut tx, view, &home, agent, belongings).await?;
    tx.commit().await?;
    show(view, agent, Include::EVERYTHING).await
}

async fn retrieve(state: Arc<State>, call: Call) -> Answer {
    let include = Include::of(&call.headers, &call.query)?;
    let view = state.view(&call.permit);
    let agent = view.get_stored::<Agent>(call.param("agent_id")).await?;
    Ok(Reply::written(memory::show_stored(view, &agent.id, &agent.body, include).await?))
}

async fn modify(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let attached = Attached::read(&fields)?;
    let message_ids = fields.ids("message_ids", "message")?;
    Agent::check(&fields)?;
    model_handles::check(&state, &call.permit, &fields).await?;
    let view = state.view(&call.permit);
    // Looked up before the transaction, which keeps one connection for itself; told after the agent is known to exist.
    let tools = match &attached.tool_ids {
        Some(ids) => Some(tools::named(view, "", &[], &[], ids).await),
        None => None,
    };
    let folder_ids = attached.folder_ids.unwrap_or_default();
    let files = match view.find::<Agent>(call.param("agent_id")).await? {
        Some(agent) => shelf::newest_files_of(view, &folder_ids, agent.record.max_files_open).await?,
        None => Vec::new(),
    };
    let mut tx = state.store.begin().await?;
    memory::lock_blocks(&mut tx, attached.block_ids.as_deref().unwrap_or_default()).await?;
    let mut agent = view.get_for_update::<Agent>(&mut tx, call.param("agent_id")).await?;
    refuse_move(&fields, &agent.project)?;
    agent.record.change(&fields)?;
    let id = agent.record.id.clone();
    if let Some(ids) = &attached.block_ids {
        let blocks = present_blocks(&mut tx, view, &agent.project, ids).await?;
        check_labels(&blocks)?;
        tx.unlink_kind(links::AGENT_BLOCK, &id).await?;
        link(&mut tx, links::AGENT_BLOCK, &id, blocks.iter().map(|block| block.id.as_str())).await?;
    }
    if let Some(tools) = tools {
        let tools = tools?;
        tools::check_project(&tools, &agent.project)?;
        tools::ask_by_default(&mut agent.record, &tools);
        tx.unlink_kind(links::AGENT_TOOL, &id).await?;
        link(&mut tx, links::AGENT_TOOL, &id, tools.iter().map(|tool| tool.record.id.as_str())).await?;
    }
    if let Some(identities) = &attached.identity_ids {
        check_present::<Identity>(view, &mut tx, &agent.project, identities).await?;
        link_only(&mut tx, links::AGENT_IDENTITY, &id, identities).await?;
    }
    if fields.value("folder_ids").or(fields.value("source_ids")).is_some() {
        replace_folders(&mut tx, view, &agent, &folder_ids, &files).await?;
    }
    if let Some(message_ids) = message_ids {
        set_context(&mut tx, &mut agent.record, message_ids).await?;
    }
    if attached.block_ids.is_some() || fields.value("system").is_some() {
        recompile(&mut tx, &mut agent.record).await?;
    }
    update(&mut tx, &agent.record).await?;
    tx.commit().await?;
    show(view, agent, Include::EVERYTHING).await
}

/// Takes messages, runs and steps along, and the partner that thinks for it in the background; blocks survive.
async fn delete(state: Arc<State>, call: Call) -> Answer {
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let agent = view.get_within::<Agent>(&mut tx, call.param("agent_id")).await?;
    let mut gone = partners(&mut tx, &agent.record.id).await?;
    gone.push(agent.record.id.clone());
    memory::lock_agents(&mut tx, &mut gone).await?;
    // Another may have deleted it until it was locked.
    view.get_within::<Agent>(&mut tx, &agent.record.id).await?;
    for id in &gone {
        tx.delete_messages_but(id, "").await?;
        archival::leave(&mut tx, id).await?;
        relations::leave_groups(&mut tx, id).await?;
        tx.delete_document(Agent::KIND, id).await?;
        tx.unlink_all(id).await?;
    }
    tx.commit().await?;
    for id in &gone {
        state.turns.cancel_agent(id);
    }
    Ok(Reply::ok(json!({"message": format!("Agent id={} successfully deleted", agent.record.id)})))
}

/// Forgets everything that was said. Then the agent begins again, with what agents of its type begin with if that is wanted.
async fn reset_messages(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let begins_anew = Fields::of_body(&body)?.optional("add_default_initial_messages")?.unwrap_or(false);
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let mut agent = view.get_for_update::<Agent>(&mut tx, call.param("agent_id")).await?;
    let record = &mut agent.record;
    tx.delete_messages_but(&record.id, record.system_message_id().unwrap_or_default()).await?;
    record.forget();
    let beginning = if begins_anew { monologue::beginning(&record.agent_type) } else { Vec::new() };
    record.recall = i64::try_from(beginning.len()).unwrap_or(i64::MAX);
    record.begin_with(&beginning);
    recompile(&mut tx, record).await?;
    insert_messages(&mut tx, &agent, DEFAULT_CONVERSATION, &beginning).await?;
    update(&mut tx, &agent.record).await?;
    tx.commit().await?;
    show(view, agent, Include::EVERYTHING).await
}

async fn show(view: View<'_>, agent: Stored<Agent>, include: Include) -> Answer {
    Ok(Reply::written(memory::show_one(view, &agent.record, include).await?))
}

/// The blocks that a new agent brings. Of two with the same label, the first counts.
fn new_blocks(fields: &Fields<'_>) -> Result<Vec<Block>, ApiError> {
    let mut blocks: Vec<Block> = Vec::new();
    for block in fields.optional::<Vec<Fields<'_>>>("memory_blocks")?.unwrap_or_default() {
        let block = Block::create(&block)?;
        if blocks.iter().all(|present| present.label != block.label) {
            blocks.push(block);
        }
    }
    Ok(blocks)
}

/// An agent's history belongs to a project as well, so it stays where it was made.
fn refuse_move(fields: &Fields<'_>, project: &str) -> Result<(), ApiError> {
    match fields.optional::<&str>("project_id")? {
        Some(named) if named != project => Err(ApiError::letta(
            Code::InvalidRequest,
            "INVALID_ARGUMENT: project_id cannot be changed; create the agent in the other project",
        )),
        _ => Ok(()),
    }
}

/// Makes the model see these messages, in this order, after the system message.
async fn set_context(tx: &mut Tx, agent: &mut Agent, ids: Vec<String>) -> Result<(), ApiError> {
    let missing = |id: &str| ApiError::letta(Code::NotFound, format!("Message with ID {id} not found"));
    let mut context: Vec<ContextEntry> = agent.context.first().cloned().into_iter().collect();
    for id in without_repeats(ids) {
        if agent.system_message_id() == Some(id.as_str()) {
            continue;
        }
        let stored = tx.message(&id).await?.filter(|message| message.agent_id == agent.id);
        let message = parse_message(&stored.ok_or_else(|| missing(&id))?)?;
        context.push(ContextEntry { id, tokens: message.tokens() });
    }
    agent.context = context;
    Ok(())
}
