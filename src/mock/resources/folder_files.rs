//! Files in folders: uploaded, listed, read and deleted, under both names of folders.

use std::{collections::HashMap, sync::Arc};

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::{Answer, Routes, folders::id_in_path};
use crate::{
    access::Operation,
    call::{Call, Reply},
    entropy,
    error::{ApiError, Code},
    mock::{
        documents::{Prepared, Stored, View, claim, insert_all, not_found, parse},
        listing::Listing,
        multipart::Form,
        page::{Defaults, Page},
        records::{File, FileText, Folder, Job, NewPassage, Passage, Record, Timestamp},
        shelf,
        state::State,
        uploads,
    },
    store::{DocumentFilter, Tx},
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
/// The names of files, which are unique within a folder.
const FILE_NAME: &str = "file_name";
/// How long a piece of text is at least, in tokens, and how long a token is.
const LEAST_CHUNK: usize = 100;
const CHARACTERS_PER_TOKEN: usize = 4;

/// What becomes of a file whose name another in the folder has.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Duplicate {
    Suffix,
    Skip,
    Error,
    Replace,
}

const DUPLICATE: [(&str, Duplicate); 4] = [
    ("suffix", Duplicate::Suffix),
    ("skip", Duplicate::Skip),
    ("error", Duplicate::Error),
    ("replace", Duplicate::Replace),
];

async fn upload(state: Arc<State>, mut call: Call) -> Answer {
    let word = call.query.one_of("duplicate_handling", &DUPLICATE.map(|(word, _)| word))?;
    let duplicate = DUPLICATE.iter().find(|(known, _)| Some(*known) == word).map_or(Duplicate::Suffix, |(_, it)| *it);
    let form = Form::read(&mut call).await?;
    let upload = form.file("file")?;
    let named = call.query.first("name").filter(|name| !name.is_empty());
    let original_name = named.or(upload.name.as_deref()).unwrap_or("file").to_owned();
    let media_type = uploads::media_type(upload, &original_name)?;
    let text = uploads::text(&upload.bytes, &media_type);
    let view = state.view(&call.permit);

    let mut tx = state.store.begin().await?;
    let folder = view.get_for_update::<Folder>(&mut tx, id_in_path(&call)).await?;
    let mut file = File {
        id: entropy::letta_id(File::KIND),
        folder_id: folder.record.id.clone(),
        name: original_name.clone(),
        original_name,
        media_type,
        size: i64::try_from(upload.bytes.len()).unwrap_or(i64::MAX),
        chunks: 0,
        created_at: Timestamp::now(),
    };
    if let Some(present) = take_name(&mut tx, &folder, &mut file, duplicate).await? {
        let name = HeaderName::from_static("x-upload-result");
        let skipped = present.wire(&shown_name(&folder.record, &present), None);
        return Ok(Reply::with_header(name, HeaderValue::from_static("skipped"), skipped));
    }
    store(&mut tx, &folder, &mut file, text).await?;
    shelf::tell_agents(&mut tx, &folder.record.id, |agent, files| {
        files.open(&file, &folder.record.name, agent.max_files_open);
    })
    .await?;
    tx.commit().await?;
    Ok(Reply::ok(file.wire(&shown_name(&folder.record, &file), None)))
}

/// The answer to an upload names the folder as well; lists do not.
fn shown_name(folder: &Folder, file: &File) -> String {
    format!("{}/{}", folder.name, file.name)
}

/// Gives a file a name of its own. Some: another has its name, and is to stay alone with it.
async fn take_name(
    tx: &mut Tx,
    folder: &Stored<Folder>,
    file: &mut File,
    duplicate: Duplicate,
) -> Result<Option<File>, ApiError> {
    let mut number = 0;
    loop {
        let key = format!("{}/{}", folder.record.id, file.name);
        let Some(present) = claim(tx, FILE_NAME, &folder.project, &key, &file.id).await? else { return Ok(None) };
        match duplicate {
            Duplicate::Suffix => {
                number += 1;
                file.name = uploads::numbered(&file.original_name, number);
            }
            Duplicate::Skip => {
                let document = tx.document(File::KIND, &present).await?;
                return document.map(|document| parse::<File>(document).map(|file| file.record)).transpose();
            }
            Duplicate::Error => {
                let shown: String = file.name.chars().take(100).collect();
                let detail = format!("File '{shown}' already exists in folder '{}'", folder.record.name);
                return Err(ApiError::letta(Code::InvalidRequest, detail));
            }
            Duplicate::Replace => remove(tx, &folder.record.id, &present).await?,
        }
    }
}

/// Stores a file, what it says whole and in pieces, and the job that is said to have done so.
async fn store(tx: &mut Tx, folder: &Stored<Folder>, file: &mut File, text: String) -> Result<(), ApiError> {
    let embedding = &folder.record.embedding;
    let tokens = embedding.config.get("embedding_chunk_size").and_then(Value::as_u64);
    let tokens = tokens.and_then(|tokens| usize::try_from(tokens).ok()).unwrap_or(LEAST_CHUNK).max(LEAST_CHUNK);
    let pieces = uploads::pieces(&text, tokens.saturating_mul(CHARACTERS_PER_TOKEN));
    file.chunks = i64::try_from(pieces.len()).unwrap_or(i64::MAX);
    let mut records = vec![Prepared::new(Some(&folder.record.id), &*file)?];
    for piece in pieces {
        let passage = NewPassage::of_text(piece).into_passage(Some(embedding.clone()));
        let passage = Passage {
            source_id: Some(folder.record.id.clone()),
            file_id: Some(file.id.clone()),
            file_name: Some(file.name.clone()),
            ..passage
        };
        records.push(Prepared::new(Some(&file.id), &passage)?);
    }
    records.push(Prepared::new(Some(&file.id), &FileText { id: file.id.clone(), text })?);
    records.push(Prepared::new(None, &Job::reading(file))?);
    insert_all(tx, &folder.project, &records).await
}

async fn remove(tx: &mut Tx, folder_id: &str, file_id: &str) -> Result<(), ApiError> {
    tx.delete_document(File::KIND, file_id).await?;
    shelf::tell_agents(tx, folder_id, |_, files| files.touched.retain(|touched| touched.file_id != file_id)).await
}

async fn list(state: Arc<State>, call: Call) -> Answer {
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

async fn retrieve(state: Arc<State>, call: Call) -> Answer {
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

async fn delete(state: Arc<State>, call: Call) -> Answer {
    let view = state.view(&call.permit);
    let mut tx = state.store.begin().await?;
    let folder = view.get_for_update::<Folder>(&mut tx, id_in_path(&call)).await?.record;
    let file = view.get_within::<File>(&mut tx, call.param("file_id")).await?.record;
    if file.folder_id != folder.id {
        return Err(not_found::<File>(&file.id));
    }
    remove(&mut tx, &folder.id, &file.id).await?;
    tx.commit().await?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}

async fn passages(state: Arc<State>, call: Call) -> Answer {
    let page = Page::read(&call.query, PASSAGES)?;
    let view = state.view(&call.permit);
    let folder = view.get::<Folder>(id_in_path(&call)).await?.record;
    let passages = DocumentFilter::of_grandparent(Passage::KIND, File::KIND, &folder.id);
    let passages = Listing::<Passage>::of(passages).page(view, &page, |_| true).await?;
    Ok(Reply::ok(passages.iter().map(|passage| passage.record.wire()).collect()))
}

/// What files say, by their ids.
pub(super) async fn texts(view: View<'_>, ids: &[&str]) -> Result<HashMap<String, String>, ApiError> {
    let texts = view.find_all::<FileText>(ids).await?;
    Ok(texts.into_iter().map(|text| (text.record.id, text.record.text)).collect())
}
