//! The files of folders, also under their older name, sources.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, HeaderValue, StatusCode};

use super::id_in_path;
use crate::{
    access::{Call, Operation},
    error::ApiError,
    mock::{
        files::{
            attachments,
            store::{self, Duplicate},
            upload,
        },
        pagination::{
            cursor::{Defaults, Page},
            list::Listing,
        },
        records::{File, FileText, Folder, Passage, Record, write_passages},
        resources::routes::{HandlerResult, Routes},
        state::State,
        storage::{Stored, View, not_found},
        validation::form::Form,
    },
    reply::Reply,
    store::{DocumentFilter, transaction},
};

pub(super) fn mount(routes: Routes) -> Routes {
    routes
        .on(Operation::UploadFileToFolder, upload)
        .on(Operation::ListFilesForFolder, list)
        .on(Operation::RetrieveFolderFile, retrieve)
        .on(Operation::DeleteFileFromFolder, delete)
        .on(Operation::ListFolderPassages, passages)
        .on(Operation::UploadFileToSource, upload)
        .on(Operation::ListSourceFiles, list)
        .on(Operation::RetrieveSourceFile, retrieve)
        .on(Operation::DeleteFileFromSource, delete)
        .on(Operation::ListSourcePassages, passages)
}

const LIST: Defaults = Defaults { limit: 1000, newest_first: true, order_by: &["created_at"] };
const PASSAGES: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };
const DUPLICATE: [(&str, Duplicate); 4] = [
    ("suffix", Duplicate::Suffix),
    ("skip", Duplicate::Skip),
    ("error", Duplicate::Error),
    ("replace", Duplicate::Replace),
];

async fn upload(state: Arc<State>, mut call: Call) -> HandlerResult {
    let word = call.query.one_of("duplicate_handling", &DUPLICATE.map(|(word, _)| word))?;
    let duplicate = DUPLICATE.iter().find(|(known, _)| Some(*known) == word).map_or(Duplicate::Suffix, |(_, it)| *it);
    let form = Form::read(&mut call).await?;
    let upload = form.file("file")?;
    let name = call.query.first("name").filter(|name| !name.is_empty());
    let original_name = name.or(upload.name.as_deref()).unwrap_or("file").to_owned();
    let media_type = upload::media_type(upload, &original_name)?;
    let text = upload::text(&upload.bytes, &media_type);
    let view = state.view(&call.permit);
    let folder_id = id_in_path(&call);
    let (folder, file, is_new) = transaction!(state.store, tx => {
        let folder = view.get_for_update::<Folder>(tx, folder_id).await?;
        let mut file = store::new_file(&folder.record, &original_name, &media_type, upload.bytes.len());
        if let Some(existing) = store::take_name(tx, &folder, &mut file, duplicate).await? {
            return Ok((folder, existing, false));
        }
        store::store(tx, &folder, &mut file, &text).await?;
        attachments::tell_agents(tx, &folder.record.id, |agent, files| {
            files.open(&file, &folder.record.name, agent.max_files_open);
        })
        .await?;
        Ok((folder, file, true))
    })?;
    let shown = file.wire(&name_with_folder(&folder.record, &file), None);
    if is_new {
        return Ok(Reply::ok(shown));
    }
    let name = HeaderName::from_static("x-upload-result");
    Ok(Reply::with_header(name, HeaderValue::from_static("skipped"), shown))
}

/// The name in the response to an upload. Unlike in lists, it includes the folder.
fn name_with_folder(folder: &Folder, file: &File) -> String {
    format!("{}/{}", folder.name, file.name)
}

async fn list(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, LIST)?;
    let with_text = call.query.boolean("include_content")?.unwrap_or(false);
    call.query.boolean("check_status_updates")?;
    let view = state.view(&call.permit);
    let folder = view.get::<Folder>(id_in_path(&call)).await?.record;
    let files = DocumentFilter::of_parent(File::KIND, &folder.id);
    let files = Listing::<File>::of(files).page(view, &page, |_| true).await?;
    let ids: Vec<&str> = files.iter().filter(|_| with_text).map(|file| file.record.id.as_str()).collect();
    let texts = texts(view, &ids).await?;
    let wire = |file: &Stored<File>| {
        let text = texts.get(&file.record.id).map(String::as_str);
        file.record.wire(&file.record.name, text)
    };
    Ok(Reply::ok(files.iter().map(wire).collect()))
}

async fn retrieve(state: Arc<State>, call: Call) -> HandlerResult {
    let with_text = call.query.boolean("include_content")?.unwrap_or(false);
    let view = state.view(&call.permit);
    let folder = view.get::<Folder>(id_in_path(&call)).await?.record;
    let file = view.get::<File>(call.param("file_id")).await?.record;
    if file.folder_id != folder.id {
        return Err(not_found::<File>(&file.id));
    }
    let texts = if with_text { texts(view, &[&file.id]).await? } else { HashMap::new() };
    Ok(Reply::ok(file.wire(&file.name, texts.get(&file.id).map(String::as_str))))
}

async fn delete(state: Arc<State>, call: Call) -> HandlerResult {
    let view = state.view(&call.permit);
    let file_id = call.param("file_id");
    let folder_id = id_in_path(&call);
    transaction!(state.store, tx => {
        let folder = view.get_for_update::<Folder>(tx, folder_id).await?.record;
        let file = view.get_within::<File>(tx, file_id).await?.record;
        if file.folder_id != folder.id {
            return Err(not_found::<File>(&file.id));
        }
        store::remove(tx, &folder.id, &file.id).await?;
        Ok(())
    })?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}

async fn passages(state: Arc<State>, call: Call) -> HandlerResult {
    let page = Page::read(&call.query, PASSAGES)?;
    let view = state.view(&call.permit);
    let folder = view.get::<Folder>(id_in_path(&call)).await?.record;
    let passages = DocumentFilter::of_grandparent(Passage::KIND, File::KIND, &folder.id);
    let passages = Listing::<Passage>::of(passages).page(view, &page, |_| true).await?;
    Ok(Reply::written(write_passages(passages.iter().map(|passage| &passage.record), &state.response_budget())?))
}

/// The texts of files, by the ids of the files.
async fn texts(view: View<'_>, ids: &[&str]) -> Result<HashMap<String, String>, ApiError> {
    view.store().check_size(FileText::KIND, ids).await?;
    let texts = view.find_all::<FileText>(ids).await?;
    Ok(texts.into_iter().map(|text| (text.record.id, text.record.text)).collect())
}
