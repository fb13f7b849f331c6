//! Agents.

use std::{collections::HashSet, sync::Arc};

use serde_json::json;

use super::{Answer, Routes, core_memory::label_taken};
use crate::{
    access::Operation,
    call::{Call, Reply},
    error::{ApiError, Code},
    mock::{
        archival,
        client::Include,
        documents::{Stored, View, insert, insert_messages, not_found, parse_message, update},
        fields::Fields,
        home::Home,
        memory::{self, recompile},
        records::{Agent, Block, ContextEntry, DEFAULT_CONVERSATION, Identity, Record, Tool, links, without_repeats},
        relations::{self, check_present, link_only},
        state::State,
        tools,
        turn::Incoming,
    },
    model::Project,
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
    let mut new_blocks = new_blocks(&fields)?;
    let include_base_tools = fields.optional("include_base_tools")?.unwrap_or(true);
    Agent::check(&fields)?;
    let home = Home::of(&call.headers, &call.permit, &fields)?;
    let mut agent = Agent::create(&fields)?;
    agent.project_id.clone_from(&home.shown);
    for block in &mut new_blocks {
        block.project_id.clone_from(&home.shown);
    }
    let defaults = if include_base_tools { tools::default_names(&agent.agent_type) } else { &[] };
    attached.refuse_missing()?;
    let view = state.view(&call.permit);
    let tools = attached.tools(view, home.project.as_str(), defaults).await?;
    tools::check_project(&tools, home.project.as_str())?;
    tools::ask_by_default(&mut agent, &tools);
    let identities = attached.identity_ids.as_deref().unwrap_or_default();

    let mut tx = state.store.begin().await?;
    let shared = attached.blocks(view, &mut tx, &home.project).await?.unwrap_or_default();
    let blocks: Vec<Block> = new_blocks.iter().chain(&shared).cloned().collect();
    check_labels(&blocks)?;
    for block in &new_blocks {
        insert(&mut tx, home.project.as_str(), None, block).await?;
    }
    link(&mut tx, links::AGENT_BLOCK, &agent.id, blocks.iter().map(|block| block.id.as_str())).await?;
    link(&mut tx, links::AGENT_TOOL, &agent.id, tools.iter().map(|tool| tool.record.id.as_str())).await?;
    check_present::<Identity>(view, &mut tx, home.project.as_str(), identities).await?;
    link_only(&mut tx, links::AGENT_IDENTITY, &agent.id, identities).await?;

    agent.recall = i64::try_from(initial.len()).unwrap_or(i64::MAX);
    let mut messages = vec![memory::system_message(&agent, &blocks)];
    messages.extend(initial.into_iter().map(Incoming::into_initial));
    agent.remember(messages.iter().map(|message| ContextEntry { id: message.id.clone(), tokens: message.tokens() }));
    let agent = Stored { seq: 0, project: home.project.to_string(), record: agent };
    insert_messages(&mut tx, &agent, DEFAULT_CONVERSATION, &messages).await?;
    insert(&mut tx, &agent.project, None, &agent.record).await?;
    tx.commit().await?;
    show(view, agent, Include::EVERYTHING).await
}

async fn retrieve(state: Arc<State>, call: Call) -> Answer {
    let include = Include::of(&call.headers, &call.query)?;
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?;
    show(view, agent, include).await
}

async fn modify(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    let attached = Attached::read(&fields)?;
    let message_ids = fields.ids("message_ids", "message")?;
    Agent::check(&fields)?;
    let view = state.view(&call.permit);
    // Looked up before the transaction, which keeps one connection for itself; told after the agent is known to exist.
    let tools = match &attached.tool_ids {
        Some(ids) => Some(tools::named(view, "", &[], &[], ids).await),
        None => None,
    };
    let mut tx = state.store.begin().await?;
    let mut agent = view.get_for_update::<Agent>(&mut tx, call.param("agent_id")).await?;
    attached.refuse_missing()?;
    refuse_move(&fields, &agent.project)?;

    agent.record.change(&fields)?;
    let id = agent.record.id.clone();
    let project = agent.project.parse().map_err(ApiError::internal)?;
    let blocks = attached.blocks(view, &mut tx, &project).await?;
    if let Some(blocks) = &blocks {
        check_labels(blocks)?;
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
    if let Some(message_ids) = message_ids {
        set_context(&mut tx, &mut agent.record, message_ids).await?;
    }
    if blocks.is_some() || fields.value("system").is_some() {
        recompile(&mut tx, &mut agent.record).await?;
    }
    update(&mut tx, &agent.record).await?;
    tx.commit().await?;
    show(view, agent, Include::EVERYTHING).await
}

/// Takes messages, runs and steps along; blocks survive.
async fn delete(state: Arc<State>, call: Call) -> Answer {
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let agent = view.get_for_update::<Agent>(&mut tx, call.param("agent_id")).await?;
    let id = &agent.record.id;
    tx.delete_messages_but(id, "").await?;
    archival::leave(&mut tx, id).await?;
    relations::leave_groups(&mut tx, id).await?;
    tx.delete_document(Agent::KIND, id).await?;
    tx.unlink_all(id).await?;
    tx.commit().await?;
    state.turns.cancel_agent(id);
    Ok(Reply::ok(json!({"message": format!("Agent id={id} successfully deleted")})))
}

/// Forgets everything that was said.
async fn reset_messages(state: Arc<State>, mut call: Call) -> Answer {
    let body = call.json().await?;
    Fields::of_body(&body)?.optional::<bool>("add_default_initial_messages")?;
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let mut agent = view.get_for_update::<Agent>(&mut tx, call.param("agent_id")).await?;
    let record = &mut agent.record;
    tx.delete_messages_but(&record.id, record.system_message_id().unwrap_or_default()).await?;
    record.forget();
    recompile(&mut tx, record).await?;
    update(&mut tx, record).await?;
    tx.commit().await?;
    show(view, agent, Include::EVERYTHING).await
}

async fn show(view: View<'_>, agent: Stored<Agent>, include: Include) -> Answer {
    Ok(Reply::ok(memory::show_one(view, agent, include).await?))
}

/// What a request attaches to an agent.
struct Attached {
    block_ids: Option<Vec<String>>,
    identity_ids: Option<Vec<String>>,
    tool_ids: Option<Vec<String>>,
    tool_names: Vec<String>,
    /// One of a kind of which there are none yet: what it is called, and its id.
    missing: Option<(&'static str, String)>,
}

impl Attached {
    fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let mut missing = None;
        for (name, prefix, class) in [("folder_ids", "source", "Folder"), ("source_ids", "source", "Source")] {
            let named = fields.ids(name, prefix)?.and_then(|ids| ids.into_iter().next());
            missing = missing.or(named.map(|id| (class, id)));
        }
        Ok(Self {
            missing,
            block_ids: fields.ids("block_ids", Block::KIND)?.map(without_repeats),
            identity_ids: fields.ids("identity_ids", Identity::KIND)?,
            tool_ids: fields.ids("tool_ids", "tool")?,
            tool_names: fields.optional("tools")?.unwrap_or_default(),
        })
    }

    /// The tools that are named, besides those that the agent gets by default.
    async fn tools(&self, view: View<'_>, project: &str, defaults: &[&str]) -> Result<Vec<Stored<Tool>>, ApiError> {
        tools::named(view, project, defaults, &self.tool_names, self.tool_ids.as_deref().unwrap_or_default()).await
    }

    fn refuse_missing(&self) -> Result<(), ApiError> {
        match &self.missing {
            Some((class, id)) => Err(ApiError::letta(Code::NotFound, format!("{class} with ID {id} not found"))),
            None => Ok(()),
        }
    }

    /// The blocks that are named, which must be in the agent's project.
    async fn blocks(&self, view: View<'_>, tx: &mut Tx, project: &Project) -> Result<Option<Vec<Block>>, ApiError> {
        let Some(ids) = &self.block_ids else { return Ok(None) };
        let mut blocks = Vec::new();
        for id in ids {
            let block = view.get_within::<Block>(tx, id).await?;
            if block.project != project.as_str() {
                return Err(not_found::<Block>(id));
            }
            blocks.push(block.record);
        }
        Ok(Some(blocks))
    }
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

fn check_labels(blocks: &[Block]) -> Result<(), ApiError> {
    let mut labels = HashSet::new();
    match blocks.iter().find(|block| !labels.insert(block.label.as_str())) {
        Some(block) => Err(label_taken(&block.label)),
        None => Ok(()),
    }
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

async fn link(
    tx: &mut Tx,
    kind: &str,
    agent_id: &str,
    targets: impl IntoIterator<Item = &str> + Send,
) -> Result<(), ApiError> {
    for target in targets.into_iter().collect::<Vec<_>>() {
        tx.link(kind, agent_id, target).await?;
    }
    Ok(())
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
