//! Agents: created, retrieved, changed, deleted and reset.

pub(super) mod changed;
pub(super) mod core_memory;
mod deployed;
mod files;
mod folders;
pub(super) mod list;
mod prompts;
mod tools;
mod transfer;

use std::sync::Arc;

use serde_json::json;

use super::{
    messages::list::message_not_found,
    models::handles,
    routes::{HandlerResult, Routes},
};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        agents::{
            create::{Attachments, RequestedAttachments, check_labels, create_agent, new_blocks, replace_folders},
            insert::link_all,
            legacy,
            memory::{self, recompile},
            sleeptime::{create_missing, detach_from_main_agents, is_sleeptime_agent, main_agents, sleeptime_agents},
        },
        files::attachments,
        records::{
            Agent, Block, ContextEntry, Conversation, DEFAULT_CONVERSATION, Folder, Identity, Record, Tool,
            include::Include, links,
        },
        search::archival,
        state::State,
        storage::{
            changed_meanwhile, insert_messages, parse, parse_message,
            project_scope::ProjectScope,
            relations::{self, link_only},
            update,
        },
        text::without_repeats,
        tools::{agent_tools, base_tools},
        turn::read_initial_messages,
        validation::body::Fields,
    },
    reply::Reply,
    store::{Locks, Tx, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::CreateAgent, create)
        .on(Operation::RetrieveAgent, retrieve)
        .on(Operation::ModifyAgent, modify)
        .on(Operation::DeleteAgent, delete)
        .on(Operation::ResetMessages, reset_messages)
        .with(core_memory::mount)
        .with(deployed::mount)
        .with(files::mount)
        .with(folders::mount)
        .with(list::mount)
        .with(prompts::mount)
        .with(tools::mount)
        .with(transfer::mount)
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    // Malformed fields are refused before anything is looked up.
    let attached = RequestedAttachments::read(&fields)?;
    let initial = read_initial_messages(&fields)?;
    let new_blocks = new_blocks(&fields)?;
    let include_base_tools = fields.optional("include_base_tools")?.unwrap_or(true);
    let include_multi_agent_tools = fields.optional("include_multi_agent_tools")?.unwrap_or(false);
    let include_base_tool_rules = fields.optional::<bool>("include_base_tool_rules")?;
    Agent::check(&fields)?;
    handles::check(&state, &call.permit, &fields).await?;
    let scope = ProjectScope::of(&call.permit, &fields)?;
    let mut agent = Agent::create(&fields)?;
    let mut defaults =
        if include_base_tools { base_tools::default_names(&agent.agent_type).to_vec() } else { Vec::new() };
    defaults.extend(base_tools::MULTI_AGENT.iter().filter(|_| include_multi_agent_tools));
    if include_base_tool_rules.unwrap_or(agent.agent_type != "letta_v1_agent") {
        let names = defaults.iter().copied().chain(attached.tool_names.iter().map(String::as_str));
        base_tools::add_base_rules(&mut agent, names);
    }
    let history = match initial {
        Some(initial) => legacy::convert_initial_messages(&agent.agent_type, initial),
        None => legacy::initial_messages_of_new(&agent.agent_type, include_base_tools),
    };
    let view = state.view(&call.permit);
    let tool_ids = attached.tool_ids.unwrap_or_default();
    let folder_ids = attached.folder_ids.unwrap_or_default();
    let attachments = Attachments {
        new_blocks,
        block_ids: attached.block_ids.unwrap_or_default(),
        tools: agent_tools::named(view, scope.project.as_str(), &defaults, &attached.tool_names, &tool_ids).await?,
        files: attachments::newest_files_of(view, &folder_ids, agent.max_files_open).await?,
        folder_ids,
        identity_ids: attached.identity_ids.unwrap_or_default(),
        history,
        ..Attachments::default()
    };
    let agent = transaction!(state.store, tx => {
        create_agent(tx, view, &scope, agent.clone(), attachments.clone()).await
    })?;
    changed::show(view, &agent.record).await
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let include = Include::of(&call.headers, &call.query)?;
    let view = state.view(&call.permit);
    let agent = view.get_stored::<Agent>(call.param("agent_id")).await?;
    Ok(Reply::written(memory::show_stored(view, &agent.id, &agent.body, include).await?))
}

async fn modify(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let attached = RequestedAttachments::read(&fields)?;
    let message_ids = fields.ids("message_ids", "message")?;
    Agent::check(&fields)?;
    handles::check(&state, &call.permit, &fields).await?;
    let view = state.view(&call.permit);
    // Looked up before the transaction, which holds a connection. Errors are returned once the agent is known to exist.
    let tools = match &attached.tool_ids {
        Some(ids) => Some(agent_tools::named(view, "", &[], &[], ids).await),
        None => None,
    };
    let folder_ids = attached.folder_ids.unwrap_or_default();
    let files = match view.find::<Agent>(call.param("agent_id")).await? {
        Some(agent) => attachments::newest_files_of(view, &folder_ids, agent.record.max_files_open).await?,
        None => Vec::new(),
    };
    let id = call.param("agent_id");
    let locks = Locks::of(Agent::KIND, [id])
        .and(Block::KIND, attached.block_ids.iter().flatten())
        .and(Identity::KIND, attached.identity_ids.iter().flatten())
        .and(Tool::KIND, attached.tool_ids.iter().flatten().filter(|id| base_tools::by_id(id).is_none()))
        .and(Folder::KIND, &folder_ids);
    let wants_sleeptime = fields.optional("enable_sleeptime")?.unwrap_or(false);
    let agent = transaction!(state.store, tx => {
        let shown = if wants_sleeptime { memory::blocks_within(tx, id).await? } else { Vec::new() };
        let locks = locks.clone().and(Block::KIND, shown.iter().map(|block| &block.id));
        let locked = tx.lock(&locks).await?;
        let mut agent = view.locked::<Agent>(&locked, id)?;
        refuse_other_project(&fields, &agent.project)?;
        if wants_sleeptime {
            create_missing(tx, &agent, &shown).await?;
        }
        agent.record.change(&fields)?;
        if let Some(ids) = &attached.block_ids {
            let blocks = view.all_locked::<Block>(&locked, &agent.project, ids)?;
            check_labels(&blocks)?;
            tx.unlink_kind(links::AGENT_BLOCK, id).await?;
            link_all(tx, links::AGENT_BLOCK, id, blocks.iter().map(|block| block.id.as_str())).await?;
        }
        if let Some(tools) = &tools {
            let tools = tools.as_ref().map_err(ApiError::without_cause)?;
            agent_tools::check_project(tools, &agent.project)?;
            agent_tools::check_locked(tools, &locked)?;
            agent_tools::ask_by_default(&mut agent.record, tools);
            tx.unlink_kind(links::AGENT_TOOL, id).await?;
            link_all(tx, links::AGENT_TOOL, id, tools.iter().map(|tool| tool.record.id.as_str())).await?;
        }
        if let Some(identities) = &attached.identity_ids {
            view.all_locked::<Identity>(&locked, &agent.project, identities)?;
            link_only(tx, links::AGENT_IDENTITY, id, identities).await?;
        }
        if fields.value("folder_ids").or(fields.value("source_ids")).is_some() {
            replace_folders(tx, &agent, &view.all_locked(&locked, &agent.project, &folder_ids)?, &files).await?;
        }
        if let Some(message_ids) = &message_ids {
            set_context(tx, &mut agent.record, message_ids.clone()).await?;
        }
        if attached.block_ids.is_some() || fields.value("system").is_some() {
            recompile(tx, &mut agent.record).await?;
        }
        update(tx, &agent.record).await?;
        Ok(agent)
    })?;
    changed::show(view, &agent.record).await
}

/// Deletes its messages, runs, steps and sleeptime agents too; its blocks remain.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let (agent, deleted) = transaction!(state.store, tx => {
        let agent = view.get_within::<Agent>(tx, agent_id).await?;
        let deletion = DeletionSet::of(tx, &agent.record.id).await?;
        let locks = Locks::of(Agent::KIND, deletion.agents.iter().chain(deletion.mains.iter().map(|(main, _)| main)));
        let shown = memory::lock_with_agents(tx, &deletion.blocks, locks).await?;
        // Before the locks were taken, another request may have deleted it, or changed what is deleted with it.
        view.locked::<Agent>(&shown.locked, &agent.record.id)?;
        if DeletionSet::of(tx, &agent.record.id).await? != deletion {
            return Err(changed_meanwhile(&agent.record.id));
        }
        relations::leave_groups(tx, &deletion.agents, &deletion.blocks).await?;
        archival::leave(tx, &deletion.agents).await?;
        memory::delete_blocks(tx, &shown, &deletion.agents).await?;
        detach_from_main_agents(tx, &deletion.mains).await?;
        for id in &deletion.agents {
            tx.delete_messages_but(id, "").await?;
            tx.delete_document(Agent::KIND, id).await?;
            tx.unlink_all(id).await?;
        }
        Ok((agent, deletion.agents))
    })?;
    for id in &deleted {
        state.turns.cancel_agent(id);
    }
    Ok(Reply::ok(json!({"message": format!("Agent id={} successfully deleted", agent.record.id)})))
}

/// What is deleted with an agent, and locked before or together with it: the agent and its sleeptime agents, and the
/// isolated blocks of their conversations.
#[derive(PartialEq)]
struct DeletionSet {
    agents: Vec<String>,
    blocks: Vec<String>,
    /// If it is a sleeptime agent: the agents it works for, which remain, each with the group that links them.
    mains: Vec<(String, String)>,
}

impl DeletionSet {
    async fn of(tx: &mut Tx, id: &str) -> Result<Self, ApiError> {
        let mut agents = sleeptime_agents(tx, id).await?;
        agents.push(id.to_owned());
        let mut blocks = Vec::new();
        for agent in &agents {
            blocks.extend(tx.grandchildren(Block::KIND, Conversation::KIND, agent).await?);
        }
        let document = tx.document(Agent::KIND, id).await?;
        let is_partner =
            document.map(parse::<Agent>).transpose()?.is_some_and(|it| is_sleeptime_agent(&it.record.agent_type));
        let mut mains = if is_partner { main_agents(tx, id).await? } else { Vec::new() };
        mains.retain(|(main, _)| !agents.contains(main));
        Ok(Self { agents, blocks, mains })
    }
}

/// Deletes the messages of all conversations. On request the default one begins with the initial messages of the agent's
/// type again.
async fn reset_messages(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let adds_initial_messages = Fields::of_body(&body)?.optional("add_default_initial_messages")?.unwrap_or(false);
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let agent = transaction!(state.store, tx => {
        let mut agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        let record = &mut agent.record;
        clear_conversations(tx, &record.id).await?;
        let kept = record.system_message_id().unwrap_or_default();
        tx.delete_conversation(&record.id, DEFAULT_CONVERSATION, kept).await?;
        record.forget();
        let initial = if adds_initial_messages { legacy::initial_messages(&record.agent_type) } else { Vec::new() };
        record.recall = i64::try_from(initial.len()).unwrap_or(i64::MAX);
        record.begin_with(&initial);
        recompile(tx, record).await?;
        insert_messages(tx, &agent, DEFAULT_CONVERSATION, &initial).await?;
        update(tx, &agent.record).await?;
        Ok(agent)
    })?;
    changed::show(view, &agent.record).await
}

/// Deletes all messages of an agent's conversations but their system messages.
async fn clear_conversations(tx: &mut Tx, agent_id: &str) -> Result<(), ApiError> {
    let conversations = tx.children(Conversation::KIND, agent_id).await?;
    let locks = Locks::of(Conversation::KIND, conversations.iter().map(|conversation| &conversation.id));
    for document in tx.lock(&locks).await?.of(Conversation::KIND) {
        let mut conversation = parse::<Conversation>(document)?.record;
        conversation.forget();
        let kept = conversation.context.first().map_or("", |entry| entry.id.as_str());
        tx.delete_conversation(agent_id, &conversation.id, kept).await?;
        update(tx, &conversation).await?;
    }
    Ok(())
}

/// Refuses to move an agent to another project, because its history belongs to the project too.
fn refuse_other_project(fields: &Fields<'_>, project: &str) -> Result<(), ApiError> {
    match fields.optional::<&str>("project_id")? {
        Some(id) if id != project => Err(ApiError::letta(
            Code::InvalidRequest,
            "INVALID_ARGUMENT: project_id cannot be changed; create the agent in the other project",
        )),
        _ => Ok(()),
    }
}

/// Replaces the messages that the model sees after the system message.
///
/// # Errors
/// 404 when one of them is not a message of the agent.
async fn set_context(tx: &mut Tx, agent: &mut Agent, ids: Vec<String>) -> Result<(), ApiError> {
    let mut context: Vec<ContextEntry> = agent.context.first().cloned().into_iter().collect();
    for id in without_repeats(ids) {
        if agent.system_message_id() == Some(id.as_str()) {
            continue;
        }
        let stored = tx.message(&id).await?.filter(|message| message.agent_id == agent.id);
        let message = parse_message(&stored.ok_or_else(|| message_not_found(&id))?)?;
        context.push(ContextEntry { id, tokens: message.tokens() });
    }
    agent.context = context;
    Ok(())
}
