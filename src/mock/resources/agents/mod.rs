//! Agents.

pub(super) mod core_memory;
pub(super) mod deployed;
pub(super) mod files;
pub(super) mod folders;
pub(super) mod list;
pub(super) mod prompts;
pub(super) mod tools;
pub(super) mod transfer;

use std::sync::Arc;

use serde_json::json;

use super::{HandlerResult, Routes, models::handles};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        agents::{
            create::{Attached, Attachments, check_labels, link, make, new_blocks, replace_folders},
            legacy,
            memory::{self, recompile},
            sleeptime::{is_partner, leave_mains, mains, make_missing, partners},
        },
        files::attachments,
        records::{
            Agent, Block, ContextEntry, Conversation, DEFAULT_CONVERSATION, Folder, Identity, Record, Tool,
            include::Include, links, without_repeats,
        },
        search::archival,
        state::State,
        storage::{
            documents::{Stored, View, changed_meanwhile, insert_messages, parse, parse_message, update},
            project_scope::ProjectScope,
            relations::{self, link_only},
        },
        tools::builtin,
        turn::Incoming,
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
}

async fn create(state: Arc<State>, mut call: Call) -> HandlerResult {
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
    handles::check(&state, &call.permit, &fields).await?;
    let scope = ProjectScope::of(&call.permit, &fields)?;
    let mut agent = Agent::create(&fields)?;
    let mut defaults = if include_base_tools { builtin::default_names(&agent.agent_type).to_vec() } else { Vec::new() };
    defaults.extend(builtin::MULTI_AGENT.iter().filter(|_| include_multi_agent_tools));
    if include_base_tool_rules.unwrap_or(agent.agent_type != "letta_v1_agent") {
        let names = defaults.iter().copied().chain(attached.tool_names.iter().map(String::as_str));
        builtin::add_base_rules(&mut agent, names);
    }
    let history = match initial {
        Some(initial) => legacy::given(&agent.agent_type, initial),
        None => legacy::beginning_of_new(&agent.agent_type, include_base_tools),
    };
    let view = state.view(&call.permit);
    let tool_ids = attached.tool_ids.unwrap_or_default();
    let folder_ids = attached.folder_ids.unwrap_or_default();
    let attachments = Attachments {
        new_blocks,
        block_ids: attached.block_ids.unwrap_or_default(),
        tools: builtin::named(view, scope.project.as_str(), &defaults, &attached.tool_names, &tool_ids).await?,
        files: attachments::newest_files_of(view, &folder_ids, agent.max_files_open).await?,
        folder_ids,
        identity_ids: attached.identity_ids.unwrap_or_default(),
        history,
        ..Attachments::default()
    };
    let agent = transaction!(state.store, tx => {
        make(tx, view, &scope, agent.clone(), attachments.clone()).await
    })?;
    show(view, agent, Include::EVERYTHING).await
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
    let attached = Attached::read(&fields)?;
    let message_ids = fields.ids("message_ids", "message")?;
    Agent::check(&fields)?;
    handles::check(&state, &call.permit, &fields).await?;
    let view = state.view(&call.permit);
    // Looked up before the transaction, which keeps one connection for itself; told after the agent is known to exist.
    let tools = match &attached.tool_ids {
        Some(ids) => Some(builtin::named(view, "", &[], &[], ids).await),
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
        .and(Tool::KIND, attached.tool_ids.iter().flatten().filter(|id| builtin::by_id(id).is_none()))
        .and(Folder::KIND, &folder_ids);
    let wants_partner = fields.optional("enable_sleeptime")?.unwrap_or(false);
    let agent = transaction!(state.store, tx => {
        let shown = if wants_partner { memory::blocks_within(tx, id).await? } else { Vec::new() };
        let locks = locks.clone().and(Block::KIND, shown.iter().map(|block| &block.id));
        let locked = tx.lock(&locks).await?;
        let mut agent = view.locked::<Agent>(&locked, id)?;
        refuse_move(&fields, &agent.project)?;
        if wants_partner {
            make_missing(tx, &agent, &shown).await?;
        }
        agent.record.change(&fields)?;
        if let Some(ids) = &attached.block_ids {
            let blocks = view.all_locked::<Block>(&locked, &agent.project, ids)?;
            check_labels(&blocks)?;
            tx.unlink_kind(links::AGENT_BLOCK, id).await?;
            link(tx, links::AGENT_BLOCK, id, blocks.iter().map(|block| block.id.as_str())).await?;
        }
        if let Some(tools) = &tools {
            let tools = tools.as_ref().map_err(ApiError::without_cause)?;
            builtin::check_project(tools, &agent.project)?;
            builtin::check_locked(tools, &locked)?;
            builtin::ask_by_default(&mut agent.record, tools);
            tx.unlink_kind(links::AGENT_TOOL, id).await?;
            link(tx, links::AGENT_TOOL, id, tools.iter().map(|tool| tool.record.id.as_str())).await?;
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
    show(view, agent, Include::EVERYTHING).await
}

/// Takes messages, runs and steps along, and the partner that thinks for it in the background; blocks survive.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let (agent, gone) = transaction!(state.store, tx => {
        let agent = view.get_within::<Agent>(tx, agent_id).await?;
        let family = AgentGroup::of(tx, &agent.record.id).await?;
        let locks = Locks::of(Agent::KIND, family.agents.iter().chain(family.mains.iter().map(|(main, _)| main)));
        let shown = memory::lock_with_agents(tx, &family.blocks, locks).await?;
        // Another may have deleted it until it was locked, or added to what goes with it.
        view.locked::<Agent>(&shown.locked, &agent.record.id)?;
        if AgentGroup::of(tx, &agent.record.id).await? != family {
            return Err(changed_meanwhile(&agent.record.id));
        }
        relations::leave_groups(tx, &family.agents, &family.blocks).await?;
        archival::leave(tx, &family.agents).await?;
        memory::delete_blocks(tx, &shown, &family.agents).await?;
        leave_mains(tx, &family.mains).await?;
        for id in &family.agents {
            tx.delete_messages_but(id, "").await?;
            tx.delete_document(Agent::KIND, id).await?;
            tx.unlink_all(id).await?;
        }
        Ok((agent, family.agents))
    })?;
    for id in &gone {
        state.turns.cancel_agent(id);
    }
    Ok(Reply::ok(json!({"message": format!("Agent id={} successfully deleted", agent.record.id)})))
}

/// What goes with an agent and is locked before or beside it: the partners that think for it, itself, and the blocks that
/// their conversations have for themselves.
#[derive(PartialEq)]
struct AgentGroup {
    agents: Vec<String>,
    blocks: Vec<String>,
    /// The agents for which it thinks in the background, which stay, each with the group by which it does.
    mains: Vec<(String, String)>,
}

impl AgentGroup {
    async fn of(tx: &mut Tx, id: &str) -> Result<Self, ApiError> {
        let mut agents = partners(tx, id).await?;
        agents.push(id.to_owned());
        let mut blocks = Vec::new();
        for agent in &agents {
            blocks.extend(tx.grandchildren(Block::KIND, Conversation::KIND, agent).await?);
        }
        let document = tx.document(Agent::KIND, id).await?;
        let is_partner = document.map(parse::<Agent>).transpose()?.is_some_and(|it| is_partner(&it.record.agent_type));
        let mut mains = if is_partner { mains(tx, id).await? } else { Vec::new() };
        mains.retain(|(main, _)| !agents.contains(main));
        Ok(Self { agents, blocks, mains })
    }
}

/// Forgets everything that was said, in whichever conversation. Then the agent begins again, with what agents of its type begin with if that is wanted.
async fn reset_messages(state: Arc<State>, mut call: Call) -> HandlerResult {
    let body = call.json().await?;
    let begins_anew = Fields::of_body(&body)?.optional("add_default_initial_messages")?.unwrap_or(false);
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let agent = transaction!(state.store, tx => {
        let mut agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        let record = &mut agent.record;
        forget_conversations(tx, &record.id).await?;
        let kept = record.system_message_id().unwrap_or_default();
        tx.delete_conversation(&record.id, DEFAULT_CONVERSATION, kept).await?;
        record.forget();
        let beginning = if begins_anew { legacy::beginning(&record.agent_type) } else { Vec::new() };
        record.recall = i64::try_from(beginning.len()).unwrap_or(i64::MAX);
        record.begin_with(&beginning);
        recompile(tx, record).await?;
        insert_messages(tx, &agent, DEFAULT_CONVERSATION, &beginning).await?;
        update(tx, &agent.record).await?;
        Ok(agent)
    })?;
    show(view, agent, Include::EVERYTHING).await
}

/// Leaves an agent's conversations with nothing but their system messages.
async fn forget_conversations(tx: &mut Tx, agent_id: &str) -> Result<(), ApiError> {
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

async fn show(view: View<'_>, agent: Stored<Agent>, include: Include) -> HandlerResult {
    Ok(Reply::written(memory::show_one(view, &agent.record, include).await?))
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
