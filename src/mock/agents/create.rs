//! Creates agents, for requests, agent files and templates alike.

use std::collections::HashSet;

use super::{
    insert::{insert_agent, link_all},
    sleeptime,
};
use crate::{
    error::ApiError,
    mock::{
        files::attachments,
        records::{Agent, Block, File, Folder, Identity, MOST_FILLED_IN, Message, Record, Tool, links},
        storage::{Stored, View, insert, project_scope::ProjectScope, relations::link_only},
        text::without_repeats,
        tools::{agent_tools, base_tools},
        validation::body::Fields,
    },
    store::{Locks, Tx},
};

/// What is attached to an agent when it is created.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Attachments {
    /// Blocks that are created with the agent.
    pub(in crate::mock) new_blocks: Vec<Block>,
    /// Existing blocks.
    pub(in crate::mock) block_ids: Vec<String>,
    pub(in crate::mock) tools: Vec<Stored<Tool>>,
    pub(in crate::mock) folder_ids: Vec<String>,
    /// The files of the folders that the agent has open.
    pub(in crate::mock) files: Vec<File>,
    pub(in crate::mock) identity_ids: Vec<String>,
    /// The message history, without the system message.
    pub(in crate::mock) history: Vec<Message>,
    /// The ids of messages of the history outside of the model's context.
    pub(in crate::mock) out_of_context: HashSet<String>,
    /// The system message from an agent file. Without one it is compiled.
    pub(in crate::mock) system: Option<Message>,
    /// Creates no sleeptime agent even if the agent enables them.
    pub(in crate::mock) without_sleeptime_agent: bool,
}

/// Reads the blocks that a request creates with an agent. Of two with the same label, the second is ignored.
pub(in crate::mock) fn new_blocks(fields: &Fields<'_>) -> Result<Vec<Block>, ApiError> {
    let mut blocks: Vec<Block> = Vec::new();
    for block in fields.optional::<Vec<Fields<'_>>>("memory_blocks")?.unwrap_or_default() {
        let block = Block::create(&block)?;
        if blocks.iter().all(|present| present.label != block.label) {
            blocks.push(block);
        }
    }
    Ok(blocks)
}

/// Creates an agent with its attachments, and its sleeptime agent if it enables one.
pub(in crate::mock) async fn create_agent(
    tx: &mut Tx,
    view: View<'_>,
    scope: &ProjectScope,
    mut agent: Agent,
    attachments: Attachments,
) -> Result<Stored<Agent>, ApiError> {
    let Attachments {
        new_blocks: mut blocks,
        block_ids,
        tools,
        folder_ids,
        files,
        identity_ids,
        history,
        out_of_context,
        system,
        without_sleeptime_agent,
    } = attachments;
    let project = scope.project.as_str();
    agent.project_id.clone_from(&scope.shown);
    let identities = without_repeats(identity_ids);
    let stored_tools = tools.iter().map(|tool| &tool.record.id).filter(|id| base_tools::by_id(id).is_none());
    let locks = Locks::of(Block::KIND, &block_ids)
        .and(Identity::KIND, &identities)
        .and(Folder::KIND, &folder_ids)
        .and(Tool::KIND, stored_tools);
    let locked = tx.lock(&locks).await?;
    let mut room = MOST_FILLED_IN;
    for block in &mut blocks {
        block.project_id.clone_from(&scope.shown);
        block.fill_in(&agent.variables, &mut room)?;
        insert(tx, project, None, block).await?;
    }
    blocks.extend(view.all_locked::<Block>(&locked, project, &block_ids)?);
    check_labels(&blocks)?;
    agent_tools::check_project(&tools, project)?;
    agent_tools::check_locked(&tools, &locked)?;
    agent_tools::ask_by_default(&mut agent, &tools);
    let folders = view.all_locked::<Folder>(&locked, project, &folder_ids)?;
    view.all_locked::<Identity>(&locked, project, &identities)?;

    let agent =
        insert_agent(tx, project, agent, (&blocks, &folders), system.as_ref(), &history, &out_of_context).await?;
    let id = &agent.record.id;
    link_all(tx, links::AGENT_TOOL, id, tools.iter().map(|tool| tool.record.id.as_str())).await?;
    link_only(tx, links::AGENT_IDENTITY, id, &identities).await?;
    for folder in &folders {
        attachments::attach(tx, &agent.record, project, folder, &files).await?;
    }
    if agent.record.enable_sleeptime == Some(true) && !without_sleeptime_agent {
        sleeptime::create(tx, &agent, blocks).await?;
    }
    Ok(agent)
}

/// Refuses two blocks with the same label, since an agent finds its blocks by their labels.
pub(in crate::mock) fn check_labels(blocks: &[Block]) -> Result<(), ApiError> {
    let mut labels = HashSet::new();
    match blocks.iter().find(|block| !labels.insert(block.label.as_str())) {
        Some(block) => Err(label_taken(&block.label)),
        None => Ok(()),
    }
}

/// The 409 for a label that another block of the agent has.
pub(in crate::mock) fn label_taken(label: &str) -> ApiError {
    let label: String = label.chars().take(100).collect();
    ApiError::conflict(format!("CONFLICT: Another block with label '{label}' is attached to the agent"))
}

/// What a request attaches to an agent, by id or name.
pub(in crate::mock) struct RequestedAttachments {
    pub(in crate::mock) block_ids: Option<Vec<String>>,
    pub(in crate::mock) identity_ids: Option<Vec<String>>,
    pub(in crate::mock) folder_ids: Option<Vec<String>>,
    pub(in crate::mock) tool_ids: Option<Vec<String>>,
    pub(in crate::mock) tool_names: Vec<String>,
}

impl RequestedAttachments {
    /// Reads a request. Folders may be sent as `folder_ids` and as `source_ids`.
    pub(in crate::mock) fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        let mut folder_ids = fields.ids("folder_ids", Folder::KIND)?;
        if let Some(sources) = fields.ids("source_ids", Folder::KIND)? {
            folder_ids.get_or_insert_default().extend(sources);
        }
        Ok(Self {
            block_ids: fields.ids("block_ids", Block::KIND)?.map(without_repeats),
            identity_ids: fields.ids("identity_ids", Identity::KIND)?,
            folder_ids: folder_ids.map(without_repeats),
            tool_ids: fields.ids("tool_ids", Tool::KIND)?,
            tool_names: fields.optional("tools")?.unwrap_or_default(),
        })
    }
}

/// Replaces the folders of an agent by `wanted`, which the caller has locked. `files` are the files to open.
pub(in crate::mock) async fn replace_folders(
    tx: &mut Tx,
    agent: &Stored<Agent>,
    wanted: &[Folder],
    files: &[File],
) -> Result<(), ApiError> {
    let present = tx.linked_documents(links::AGENT_FOLDER, &agent.record.id, Folder::KIND).await?;
    for folder in present.iter().filter(|folder| wanted.iter().all(|wanted| wanted.id != folder.id)) {
        attachments::detach(tx, &agent.record.id, &agent.project, &folder.id).await?;
    }
    for folder in wanted.iter().filter(|folder| present.iter().all(|present| present.id != folder.id)) {
        attachments::attach(tx, &agent.record, &agent.project, folder, files).await?;
    }
    Ok(())
}
