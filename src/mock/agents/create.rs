//! Agents made: one way, for requests, agent files and templates.

use std::collections::HashSet;

use super::{memory, sleeptime};
use crate::{
    error::{ApiError, Code},
    mock::{
        files::attachments,
        records::{
            Agent, Block, ContextEntry, DEFAULT_CONVERSATION, File, Folder, Identity, MOST_FILLED_IN, Message, Record,
            Tool, links,
        },
        storage::{
            documents::{Stored, View, insert, insert_messages},
            project_scope::ProjectScope,
            relations::link_only,
        },
        text::without_repeats,
        tools::builtin,
        validation::body::Fields,
    },
    store::{Locks, Tx},
};

/// What comes with an agent.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Attachments {
    /// Blocks that are made with it.
    pub(in crate::mock) new_blocks: Vec<Block>,
    /// Blocks that are there already.
    pub(in crate::mock) block_ids: Vec<String>,
    pub(in crate::mock) tools: Vec<Stored<Tool>>,
    pub(in crate::mock) folder_ids: Vec<String>,
    /// The files of the folders that come to lie open.
    pub(in crate::mock) files: Vec<File>,
    pub(in crate::mock) identity_ids: Vec<String>,
    /// What was said before, after the system message.
    pub(in crate::mock) history: Vec<Message>,
    /// The ids of those of them that the model does not see.
    pub(in crate::mock) forgotten: HashSet<String>,
    /// The system message as it was when the agent was written down; the model sees all of the history that is not
    /// forgotten then. None: it is compiled.
    pub(in crate::mock) system: Option<Message>,
    /// Whether it gets no partner, whatever it says of one.
    pub(in crate::mock) alone: bool,
}

/// The blocks that a new agent brings. Of two with the same label, the first counts.
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

/// Makes an agent with all that comes with it, and the partner that thinks in the background if it wants one.
pub(in crate::mock) async fn make(
    tx: &mut Tx,
    view: View<'_>,
    scope: &ProjectScope,
    mut agent: Agent,
    attachments: Attachments,
) -> Result<Stored<Agent>, ApiError> {
    let project = scope.project.as_str();
    agent.project_id.clone_from(&scope.shown);
    let identities = without_repeats(attachments.identity_ids);
    let stored_tools = attachments.tools.iter().map(|tool| &tool.record.id).filter(|id| builtin::by_id(id).is_none());
    let locks = Locks::of(Block::KIND, &attachments.block_ids)
        .and(Identity::KIND, &identities)
        .and(Folder::KIND, &attachments.folder_ids)
        .and(Tool::KIND, stored_tools);
    let locked = tx.lock(&locks).await?;
    let mut blocks = attachments.new_blocks;
    let mut left = MOST_FILLED_IN;
    for block in &mut blocks {
        block.project_id.clone_from(&scope.shown);
        block.fill_in(&agent.variables, &mut left)?;
        insert(tx, project, None, block).await?;
    }
    blocks.extend(view.all_locked::<Block>(&locked, project, &attachments.block_ids)?);
    check_labels(&blocks)?;
    builtin::check_project(&attachments.tools, project)?;
    builtin::check_locked(&attachments.tools, &locked)?;
    builtin::ask_by_default(&mut agent, &attachments.tools);
    let folders = view.all_locked::<Folder>(&locked, project, &attachments.folder_ids)?;
    view.all_locked::<Identity>(&locked, project, &identities)?;

    let (system, history) = (attachments.system.as_ref(), attachments.history.as_slice());
    let agent = finish(tx, project, agent, (&blocks, &folders), system, history, &attachments.forgotten).await?;
    let id = &agent.record.id;
    link(tx, links::AGENT_TOOL, id, attachments.tools.iter().map(|tool| tool.record.id.as_str())).await?;
    link_only(tx, links::AGENT_IDENTITY, id, &identities).await?;
    for folder in &folders {
        attachments::attach(tx, &agent.record, project, folder, &attachments.files).await?;
    }
    if agent.record.enable_sleeptime == Some(true) && !attachments.alone {
        sleeptime::make(tx, &agent, blocks).await?;
    }
    Ok(agent)
}

/// Stores an agent with its system message and its history, and attaches its blocks.
pub(in crate::mock) async fn finish(
    tx: &mut Tx,
    project: &str,
    mut agent: Agent,
    (blocks, folders): (&[Block], &[Folder]),
    system: Option<&Message>,
    history: &[Message],
    forgotten: &HashSet<String>,
) -> Result<Stored<Agent>, ApiError> {
    agent.recall = i64::try_from(history.len()).unwrap_or(i64::MAX);
    let mut messages = vec![system.cloned().unwrap_or_else(|| memory::system_message(&agent, blocks, folders))];
    messages.extend_from_slice(history);
    let seen = messages.iter().filter(|message| !forgotten.contains(&message.id));
    match system {
        Some(_) => agent.context = seen.map(ContextEntry::of).collect(),
        None => agent.begin_with(seen),
    }
    let agent = Stored { seq: 0, project: project.to_owned(), record: agent };
    insert_messages(tx, &agent, DEFAULT_CONVERSATION, &messages).await?;
    insert(tx, project, None, &agent.record).await?;
    link(tx, links::AGENT_BLOCK, &agent.record.id, blocks.iter().map(|block| block.id.as_str())).await?;
    Ok(agent)
}

/// An agent finds its blocks by their labels, so it cannot show two with the same one.
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

/// Links an agent to several things.
pub(in crate::mock) async fn link(
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

/// What a request attaches to an agent.
pub(in crate::mock) struct Attached {
    pub(in crate::mock) block_ids: Option<Vec<String>>,
    pub(in crate::mock) identity_ids: Option<Vec<String>>,
    pub(in crate::mock) folder_ids: Option<Vec<String>>,
    pub(in crate::mock) tool_ids: Option<Vec<String>>,
    pub(in crate::mock) tool_names: Vec<String>,
}

impl Attached {
    /// Reads what a request says. Folders have two names; where both are sent, both count.
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

/// Replaces the folders of an agent by these. The caller has locked all of them; `files` are those that come to lie open.
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

/// The 400 for what cannot be made.
pub(in crate::mock) fn unusable(problem: impl std::fmt::Display) -> ApiError {
    ApiError::letta(Code::InvalidRequest, format!("INVALID_ARGUMENT: {problem}"))
}
