//! Folders, under both of their names: older clients call them sources. Their files have a file of their own.

pub(super) mod files;

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};

use super::{HandlerResult, Routes, models::handles};
use crate::{
    access::{Call, Operation},
    error::{ApiError, Code},
    mock::{
        files::attachments,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, File, Folder, Record, claims, links},
        state::State,
        storage::documents::{claim, holder, insert, release, update},
        validation::body::Fields,
    },
    reply::Reply,
    store::{DocumentFilter, Locks, Tx, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListFolders, list)
        .on(Operation::CreateFolder, |state, call| create(state, call, Folder::wire))
        .on(Operation::CountFolders, count)
        .on(Operation::RetrieveFoldersMetadata, statistics)
        .on(Operation::GetFolderByName, by_name)
        .on(Operation::RetrieveFolder, |state, call| retrieve(state, call, Folder::wire))
        .on(Operation::ModifyFolder, |state, call| modify(state, call, Folder::wire))
        .on(Operation::DeleteFolder, delete)
        .on(Operation::ListAgentsForFolder, agents)
        .on(Operation::ListSources, list_sources)
        .on(Operation::CreateSource, |state, call| create(state, call, Folder::wire_as_source))
        .on(Operation::CountSources, count)
        .on(Operation::GetSourcesMetadata, statistics)
        .on(Operation::GetSourceIdByName, by_name)
        .on(Operation::RetrieveSource, |state, call| retrieve(state, call, Folder::wire_as_source))
        .on(Operation::ModifySource, |state, call| modify(state, call, Folder::wire_as_source))
        .on(Operation::DeleteSource, delete)
        .on(Operation::GetAgentsForSource, agents)
}

const LIST: Defaults = Defaults { limit: 50, newest_first: false, order_by: &["created_at"] };
const AGENTS: Defaults = Defaults { limit: 50, newest_first: true, order_by: &["created_at"] };

/// How a folder looks under one of its two names.
type Wire = fn(&Folder) -> Value;

/// The id in the path, under either name.
pub(super) fn id_in_path(call: &Call) -> &str {
    call.params.find("folder_id").unwrap_or_else(|| call.param("source_id"))
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let name = call.query.first("name");
    let accepts = |folder: &Folder| name.is_none_or(|name| folder.name.contains(name));
    let folders = Listing::of(in_project(&call)).page(state.view(&call.permit), &page, accepts).await?;
    Ok(Reply::ok(folders.iter().map(|folder| folder.record.wire()).collect()))
}

/// All of them: this list has no pages.
async fn list_sources(state: Arc<State>, call: Call) -> HandlerResult {
    let folders = Listing::<Folder>::of(in_project(&call)).all(state.view(&call.permit), |_| true).await?;
    Ok(Reply::ok(folders.iter().map(|folder| folder.record.wire_as_source()).collect()))
}

async fn count(state: Arc<State>, call: Call) -> HandlerResult {
    let count = Listing::<Folder>::of(in_project(&call)).count(state.view(&call.permit), |_| true).await?;
    Ok(Reply::ok(json!(count)))
}

async fn create(state: Arc<State>, mut call: Call, wire: Wire) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    handles::check_embedding(&state, &call.permit, fields.optional("embedding")?).await?;
    let folder = Folder::create(&fields)?;
    let project = call.permit.project().as_str();
    transaction!(state.store, tx => {
        take_name(tx, project, &folder).await?;
        insert(tx, project, None, &folder).await?;
        Ok(())
    })?;
    Ok(Reply::ok(wire(&folder)))
}

async fn retrieve(state: Arc<State>, call: Call, wire: Wire) -> HandlerResult {
    let folder = state.view(&call.permit).get::<Folder>(id_in_path(&call)).await?;
    Ok(Reply::ok(wire(&folder.record)))
}

async fn by_name(state: Arc<State>, call: Call) -> HandlerResult {
    let name = call.params.find("folder_name").unwrap_or_else(|| call.param("source_name"));
    match holder(&state.store, claims::FOLDER, call.permit.project().as_str(), name).await? {
        Some(id) => Ok(Reply::ok(json!(id))),
        None => {
            let name: String = name.chars().take(100).collect();
            Err(ApiError::letta(Code::NotFound, format!("Folder with name '{name}' not found")))
        }
    }
}

async fn modify(state: Arc<State>, mut call: Call, wire: Wire) -> HandlerResult {
    let body = call.json().await?;
    let fields = Fields::of_body(&body)?;
    Folder::check(&fields)?;
    handles::check_embedding(&state, &call.permit, fields.optional("embedding")?).await?;
    let view = state.view(&call.permit);
    let folder_id = id_in_path(&call);
    let folder = transaction!(state.store, tx => {
        let mut folder = view.get_for_update::<Folder>(tx, folder_id).await?;
        let old_name = folder.record.name.clone();
        folder.record.change(&fields)?;
        if folder.record.name != old_name {
            release(tx, claims::FOLDER, &folder.project, &old_name).await?;
            take_name(tx, &folder.project, &folder.record).await?;
        }
        update(tx, &folder.record).await?;
        Ok(folder)
    })?;
    Ok(Reply::ok(wire(&folder.record)))
}

/// Takes its files along; agents lose sight of them.
async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let folder_id = id_in_path(&call);
    transaction!(state.store, tx => {
        let folder = view.get_for_update::<Folder>(tx, folder_id).await?;
        let agents = tx.linked_from(links::AGENT_FOLDER, &folder.record.id).await?;
        tx.lock(&Locks::of(Agent::KIND, &agents)).await?;
        for agent_id in agents {
            attachments::detach(tx, &agent_id, &folder.project, &folder.record.id).await?;
        }
        tx.delete_document(Folder::KIND, &folder.record.id).await?;
        Ok(())
    })?;
    Ok(Reply::ok(Value::Null))
}

/// The ids of the agents to which a folder is attached.
async fn agents(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, AGENTS)?;
    let view = state.view(&call.permit);
    let folder = view.get::<Folder>(id_in_path(&call)).await?.record;
    let agents = DocumentFilter::linked_to(Agent::KIND, links::AGENT_FOLDER, &folder.id);
    let agents = Listing::<Agent>::of(agents).page(view, &page, |_| true).await?;
    Ok(Reply::ok(agents.iter().map(|agent| json!(agent.record.id)).collect()))
}

/// How many files there are, and how large.
async fn statistics(state: Arc<State>, call: Call) -> HandlerResult {
    let detailed = call.query.boolean("include_detailed_per_source_metadata")?.unwrap_or(false);
    let view = state.view(&call.permit);
    let project = call.permit.project().as_str();
    let folders = Listing::<Folder>::of(in_project(&call)).all(view, |_| true).await?;
    let files = Listing::<File>::of(DocumentFilter::of_project(File::KIND, project)).all(view, |_| true).await?;
    let size: i64 = files.iter().map(|file| file.record.size).sum();
    let mut by_folder: HashMap<&str, Vec<&File>> = HashMap::new();
    for file in &files {
        by_folder.entry(&file.record.folder_id).or_default().push(&file.record);
    }
    let sources = folders.iter().filter(|_| detailed).map(|folder| {
        let files = by_folder.get(folder.record.id.as_str()).map_or(&[] as &[&File], Vec::as_slice);
        json!({
            "source_id": folder.record.id,
            "source_name": folder.record.name,
            "file_count": files.len(),
            "total_size": files.iter().map(|file| file.size).sum::<i64>(),
            "files": files.iter().map(|file| {
                json!({"file_id": file.id, "file_name": file.name, "file_size": file.size})
            }).collect::<Value>(),
        })
    });
    Ok(Reply::ok(json!({
        "total_sources": folders.len(),
        "total_files": files.len(),
        "total_size": size,
        "sources": sources.collect::<Value>(),
    })))
}

fn in_project(call: &Call) -> DocumentFilter<'_> {
    DocumentFilter::of_project(Folder::KIND, call.permit.project().as_str())
}

async fn take_name(tx: &mut Tx, project: &str, folder: &Folder) -> Result<(), ApiError> {
    match claim(tx, claims::FOLDER, project, &folder.name, &folder.id).await? {
        None => Ok(()),
        Some(_) => {
            let name: String = folder.name.chars().take(100).collect();
            Err(ApiError::conflict(format!("CONFLICT: A folder with the name '{name}' already exists")))
        }
    }
}
