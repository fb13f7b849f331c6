//! The folders attached to an agent, and which of their files are open.

use crate::{
    error::ApiError,
    mock::{
        records::{Agent, File, Folder, OpenFiles, OpenParts, Record, links},
        storage::{Stored, View, parse, upsert},
        text::window::MOST_SHOWN,
        tools::{base_tools, file_search::Opening},
    },
    store::{DocumentFilter, Locks, Tx},
};

/// The file tools, which an agent has as long as a folder is attached.
const FILE_TOOLS: [&str; 3] = ["open_files", "grep_files", "semantic_search_files"];

/// The files of a folder that are opened when it is attached: the newest, up to the most that an agent opens.
pub(in crate::mock) async fn newest_files(view: View<'_>, folder_id: &str, most: i64) -> Result<Vec<File>, ApiError> {
    let files = DocumentFilter::of_parent(File::KIND, folder_id).newest_first(true).limit(most);
    Ok(view.list::<File>(&files).await?.into_iter().map(|file| file.record).collect())
}

/// The same for several folders.
pub(in crate::mock) async fn newest_files_of(
    view: View<'_>,
    folder_ids: &[String],
    most: i64,
) -> Result<Vec<File>, ApiError> {
    let mut files = Vec::new();
    for folder_id in folder_ids {
        files.extend(newest_files(view, folder_id, most).await?);
    }
    Ok(files)
}

/// Attaches a folder and opens these of its files. The caller has locked both.
pub(in crate::mock) async fn attach(
    tx: &mut Tx,
    agent: &Agent,
    project: &str,
    folder: &Folder,
    newest: &[File],
) -> Result<(), ApiError> {
    tx.link(links::AGENT_FOLDER, &agent.id, &folder.id).await?;
    for tool in FILE_TOOLS.iter().filter_map(|name| base_tools::by_name(name)) {
        tx.link(links::AGENT_TOOL, &agent.id, tool.id).await?;
    }
    let mut files = open_files(tx, &agent.id).await?;
    for file in newest.iter().rev().filter(|file| file.folder_id == folder.id) {
        if files.of(&file.id).is_none() {
            files.open(file, &folder.name, agent.max_files_open);
        }
    }
    keep(tx, project, &files).await
}

/// Detaches a folder. The caller holds the lock on the agent's document.
pub(in crate::mock) async fn detach(
    tx: &mut Tx,
    agent_id: &str,
    project: &str,
    folder_id: &str,
) -> Result<(), ApiError> {
    tx.unlink(links::AGENT_FOLDER, agent_id, folder_id).await?;
    if tx.linked_documents(links::AGENT_FOLDER, agent_id, Folder::KIND).await?.is_empty() {
        for tool in FILE_TOOLS.iter().filter_map(|name| base_tools::by_name(name)) {
            tx.unlink(links::AGENT_TOOL, agent_id, tool.id).await?;
        }
    }
    let mut files = open_files(tx, agent_id).await?;
    files.touched.retain(|touched| touched.folder_id != folder_id);
    keep(tx, project, &files).await
}

/// Recompiles the prompts of all agents with a folder after its files have changed. The caller has locked the folder,
/// so that no other agent attaches it meanwhile.
pub(in crate::mock) async fn tell_agents(
    tx: &mut Tx,
    folder_id: &str,
    change: impl Fn(&Agent, &mut OpenFiles),
) -> Result<(), ApiError> {
    let agents = tx.linked_from(links::AGENT_FOLDER, folder_id).await?;
    for document in tx.lock(&Locks::of(Agent::KIND, &agents)).await?.of(Agent::KIND) {
        let agent = parse::<Agent>(document)?;
        let mut files = open_files(tx, &agent.record.id).await?;
        change(&agent.record, &mut files);
        keep(tx, &agent.project, &files).await?;
    }
    Ok(())
}

/// The open files of an agent, as a transaction sees them. To change them, the caller holds the lock on the agent's
/// document.
pub(in crate::mock) async fn open_files(tx: &mut Tx, agent_id: &str) -> Result<OpenFiles, ApiError> {
    match tx.document(OpenFiles::KIND, agent_id).await? {
        Some(document) => Ok(parse::<OpenFiles>(document)?.record),
        None => Ok(OpenFiles { id: agent_id.to_owned(), touched: Vec::new() }),
    }
}

/// Opens files as a turn has left them, if they are still there. The caller holds the lock on the agent's document.
pub(in crate::mock) async fn open_all(
    tx: &mut Tx,
    agent: &Stored<Agent>,
    openings: &[Opening],
) -> Result<(), ApiError> {
    let mut files = open_files(tx, &agent.record.id).await?;
    let mut parts = Vec::new();
    for Opening { file, folder_name, alone, part } in openings {
        if *alone {
            files.close_all();
        }
        if tx.document(File::KIND, &file.id).await?.is_some()
            && tx.is_linked(links::AGENT_FOLDER, &agent.record.id, &file.folder_id).await?
        {
            files.open_at(part.as_ref().map(|(lines, _)| *lines), file, folder_name, agent.record.max_files_open);
            parts.extend(part.as_ref().map(|(_, shown)| (file.id.clone(), shown.clone())));
        }
    }
    keep(tx, &agent.project, &files).await?;
    if parts.is_empty() { Ok(()) } else { keep_parts(tx, &agent.project, &files, parts).await }
}

/// Stores the visible parts of files that are open at other lines than their beginning. Together they are limited in size:
/// those of the files accessed first are dropped.
async fn keep_parts(tx: &mut Tx, project: &str, files: &OpenFiles, new: Vec<(String, String)>) -> Result<(), ApiError> {
    let present = tx.document(OpenParts::KIND, &files.id).await?.map(parse::<OpenParts>).transpose()?;
    let mut known = present.map(|parts| parts.record.shown).unwrap_or_default();
    known.extend(new);
    let (mut parts, mut left) = (OpenParts { id: files.id.clone(), ..OpenParts::default() }, MOST_SHOWN);
    for touched in files.touched.iter().rev().filter(|touched| touched.lines.is_some()) {
        let Some(shown) = known.remove(&touched.file_id) else { continue };
        let Some(rest) = left.checked_sub(shown.len()) else { break };
        left = rest;
        parts.shown.insert(touched.file_id.clone(), shown);
    }
    upsert(tx, project, Some(&parts.id), &parts).await
}

/// Stores the open files of an agent.
pub(in crate::mock) async fn keep(tx: &mut Tx, project: &str, files: &OpenFiles) -> Result<(), ApiError> {
    upsert(tx, project, Some(&files.id), files).await
}
