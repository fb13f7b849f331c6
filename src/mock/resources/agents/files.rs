//! The files that an agent sees in its folders, open and closed.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};

use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        agents::directories::{Source, windows},
        files::attachments,
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{Agent, File, Folder, OpenFiles, Record, attached_file_id, attachment_id, links},
        resources::{HandlerResult, Routes},
        state::State,
        storage::documents::{Stored, View, not_found},
    },
    reply::Reply,
    store::{DocumentFilter, Tx, transaction},
};

pub(in crate::mock) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::ListFilesForAgent, list)
        .on(Operation::OpenFileForAgent, open)
        .on(Operation::CloseFileForAgent, close)
        .on(Operation::CloseAllFilesForAgent, close_all)
}

const LIST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let is_open = call.query.boolean("is_open")?;
    let mut page = Page::read(&call.query, LIST)?;
    let view = state.view(&call.permit);
    let agent = view.get::<Agent>(call.param("agent_id")).await?.record;
    // Cursors name attachments, which are made of the files' ids.
    page.after = page.after.or(call.query.first("cursor"));
    let file_of = |cursor: Option<&str>| {
        cursor.map(|cursor| attached_file_id(&agent.id, cursor).unwrap_or_else(|| cursor.to_owned()))
    };
    let (after, before) = (file_of(page.after), file_of(page.before));
    // One more than is shown tells whether there is more.
    let asked = Page {
        after: after.as_deref(),
        before: before.as_deref(),
        limit: page.limit.saturating_add(1),
        newest_first: page.newest_first,
    };
    let touched = view.find::<OpenFiles>(&agent.id).await?.map(|files| files.record).unwrap_or_default();
    let opened = |file: &File| touched.of(&file.id).is_some_and(|touched| touched.is_open);
    let files = DocumentFilter::under_linked(File::KIND, links::AGENT_FOLDER, &agent.id);
    let accepts = |file: &File| is_open.is_none_or(|wanted| opened(file) == wanted);
    let mut files = Listing::<File>::of(files).page(view, &asked, accepts).await?;
    let has_more = files.len() > page.limit;
    if has_more && asked.before.is_some() && asked.after.is_none() {
        files.remove(0);
    }
    files.truncate(page.limit);

    let names = folder_names(view, &agent.id).await?;
    let open: Vec<&File> = files.iter().map(|file| &file.record).filter(|file| opened(file)).collect();
    let limit = agent.per_file_view_window_char_limit;
    let shown = windows(&mut Source::Store(view.store()), &open, limit).await?;
    let attachments: Vec<Value> = files
        .iter()
        .map(|file| attachment(&agent, &file.record, &names, &touched, shown.get(&file.record.id)))
        .collect();
    let next_cursor = attachments.last().map(|attachment| attachment["id"].clone());
    Ok(Reply::ok(json!({"files": attachments, "next_cursor": next_cursor, "has_more": has_more})))
}

/// What an agent sees of a file. The order of the keys is Letta's.
fn attachment(
    agent: &Agent,
    file: &File,
    folder_names: &HashMap<String, String>,
    touched: &OpenFiles,
    shown: Option<&String>,
) -> Value {
    let folder = folder_names.get(&file.folder_id).map(String::as_str).unwrap_or_default();
    let touched = touched.of(&file.id);
    json!({
        "id": attachment_id(&agent.id, &file.id),
        "file_id": file.id,
        "file_name": format!("{folder}/{}", file.name),
        "folder_id": file.folder_id,
        "folder_name": folder,
        "is_open": touched.is_some_and(|touched| touched.is_open),
        "last_accessed_at": touched.map(|touched| touched.last_accessed_at),
        "visible_content": shown,
        "start_line": null,
        "end_line": null,
    })
}

/// The names of the folders of an agent.
async fn folder_names(view: View<'_>, agent_id: &str) -> Result<HashMap<String, String>, ApiError> {
    let folders = view.linked::<Folder>(links::AGENT_FOLDER, &[agent_id]).await?;
    Ok(folders.into_iter().map(|(_, folder)| (folder.record.id, folder.record.name)).collect())
}

/// Opens a file; answers with the names of those that were closed to make room.
async fn open(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let file_id = call.param("file_id");
    let closed = transaction!(state.store, tx => {
        let agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        let (file, folder) = find(view, tx, &agent, file_id).await?;
        let mut files = attachments::open_files(tx, &agent.record.id).await?;
        let closed = files.open(&file, &folder.name, agent.record.max_files_open);
        attachments::keep(tx, &agent.project, &files).await?;
        Ok(closed)
    })?;
    Ok(Reply::ok(json!(closed)))
}

async fn close(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let file_id = call.param("file_id");
    let file = transaction!(state.store, tx => {
        let agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        let (file, _) = find(view, tx, &agent, file_id).await?;
        let mut files = attachments::open_files(tx, &agent.record.id).await?;
        files.close(&file.id);
        attachments::keep(tx, &agent.project, &files).await?;
        Ok(file)
    })?;
    Ok(Reply::ok(json!({"message": format!("File id={} successfully closed", file.id)})))
}

/// Closes all files; answers with the names of those that were open.
async fn close_all(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let agent_id = call.param("agent_id");
    let closed = transaction!(state.store, tx => {
        let agent = view.get_for_update::<Agent>(tx, agent_id).await?;
        let mut files = attachments::open_files(tx, &agent.record.id).await?;
        let closed = files.close_all();
        attachments::keep(tx, &agent.project, &files).await?;
        Ok(closed)
    })?;
    Ok(Reply::ok(json!(closed)))
}

/// A file of one of the agent's folders, and the folder.
async fn find(view: View<'_>, tx: &mut Tx, agent: &Stored<Agent>, file_id: &str) -> Result<(File, Folder), ApiError> {
    let file = view.get_within::<File>(tx, file_id).await?.record;
    if !tx.is_linked(links::AGENT_FOLDER, &agent.record.id, &file.folder_id).await? {
        return Err(not_found::<File>(file_id));
    }
    let folder = view.get_within::<Folder>(tx, &file.folder_id).await?.record;
    Ok((file, folder))
}
