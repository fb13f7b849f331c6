//! Storing files in folders: under unique names, whole and in passages.

use serde_json::Value;

use super::{attachments, upload};
use crate::{
    entropy,
    error::{ApiError, Code},
    mock::{
        budget::offload,
        records::{File, FileText, FileView, Folder, Job, NewPassage, Passage, Record, Timestamp, claims},
        storage::{Prepared, Stored, claim, insert_all, parse},
        text::window,
    },
    store::Tx,
};

/// The least tokens of a passage, and the characters of a token.
const LEAST_CHUNK: usize = 100;
const CHARACTERS_PER_TOKEN: usize = 4;
/// The most passages that are stored at once, so that a large file is not copied in memory several times.
const PIECES_AT_ONCE: usize = 500;

/// What happens to a file with a name that is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::mock) enum Duplicate {
    Suffix,
    Skip,
    Error,
    Replace,
}

/// Creates a file for a folder.
pub(in crate::mock) fn new_file(folder: &Folder, name: &str, media_type: &str, bytes: usize) -> File {
    File {
        id: entropy::letta_id(File::KIND),
        folder_id: folder.id.clone(),
        name: name.to_owned(),
        original_name: name.to_owned(),
        media_type: media_type.to_owned(),
        size: i64::try_from(bytes).unwrap_or(i64::MAX),
        chunks: 0,
        created_at: Timestamp::now(),
    }
}

/// Claims a name for a file. The caller has locked the folder. Returns the id of the file that keeps the name, if this
/// one must not be stored.
pub(in crate::mock) async fn take_name(
    tx: &mut Tx,
    folder: &Stored<Folder>,
    file: &mut File,
    duplicate: Duplicate,
) -> Result<Option<File>, ApiError> {
    let mut number = 0;
    loop {
        let key = format!("{}/{}", folder.record.id, file.name);
        let Some(present) = claim(tx, claims::FILE, &folder.project, &key, &file.id).await? else { return Ok(None) };
        match duplicate {
            Duplicate::Suffix => {
                number += 1;
                file.name = upload::numbered(&file.original_name, number);
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

/// Stores a file, its text and its passages, and the job that processes it.
pub(in crate::mock) async fn store(
    tx: &mut Tx,
    folder: &Stored<Folder>,
    file: &mut File,
    text: &str,
) -> Result<(), ApiError> {
    let embedding = &folder.record.embedding;
    let tokens = embedding.config.get("embedding_chunk_size").and_then(Value::as_u64);
    let tokens = tokens.and_then(|tokens| usize::try_from(tokens).ok()).unwrap_or(LEAST_CHUNK).max(LEAST_CHUNK);
    let pieces = upload::pieces(text, tokens.saturating_mul(CHARACTERS_PER_TOKEN));
    file.chunks = i64::try_from(pieces.len()).unwrap_or(i64::MAX);
    insert_all(tx, &folder.project, &[Prepared::new(Some(&folder.record.id), &*file)?]).await?;
    for pieces in pieces.chunks(PIECES_AT_ONCE) {
        let passage = |piece: &&str| {
            let passage = NewPassage::of_text(piece).into_passage(Some(embedding.clone()));
            let passage = Passage {
                source_id: Some(folder.record.id.clone()),
                file_id: Some(file.id.clone()),
                file_name: Some(file.name.clone()),
                ..passage
            };
            Prepared::new(Some(&file.id), &passage)
        };
        let passages: Vec<Prepared> = pieces.iter().map(passage).collect::<Result<_, _>>()?;
        insert_all(tx, &folder.project, &passages).await?;
    }
    let view = FileView { id: file.id.clone(), shown: offload(text.len(), || window::of(text, &file.media_type)) };
    let view = Prepared::new(Some(&file.id), &view)?;
    let text = Prepared::new(Some(&file.id), &FileText { id: file.id.clone(), text: text.to_owned() })?;
    insert_all(tx, &folder.project, &[text, view, Prepared::new(None, &Job::reading(file))?]).await
}

/// Deletes a file. The caller has locked the folder.
pub(in crate::mock) async fn remove(tx: &mut Tx, folder_id: &str, file_id: &str) -> Result<(), ApiError> {
    tx.delete_document(File::KIND, file_id).await?;
    attachments::tell_agents(tx, folder_id, |_, files| files.touched.retain(|touched| touched.file_id != file_id)).await
}
