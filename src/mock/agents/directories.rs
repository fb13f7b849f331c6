//! An agent's folders and files, as its memory and its system prompt show them: all files, and of the open ones the window of
//! text that the agent sees. The beginning of a file is stored separately, so that no file is read as a whole.

use std::collections::HashMap;

use crate::{
    error::ApiError,
    mock::{
        budget::Budget,
        records::{Agent, File, FileBlock, FileText, FileView, Folder, OpenFiles, OpenParts, Record, links},
        storage::parse,
        text::window::{self, MOST_SHOWN},
    },
    store::{Document, DocumentFilter, Store, Tx},
};

/// At most this many of the newest files of a folder are shown, as many as Letta attaches.
const MAX_FILES: i64 = 1_000;

/// The size limit of the list of an agent's files, in bytes. Later files are left out.
const MAX_LIST_BYTES: usize = 4 * 1024 * 1024;

/// How many files are read in one query.
const BATCH: usize = 8;

/// The size limit, in bytes, up to which a file is read as a whole if its beginning was not stored separately.
const MAX_WHOLE_BYTES: i64 = 1024 * 1024;

/// An agent's folders and files.
#[derive(Debug, Default)]
pub(in crate::mock) struct Directories {
    pub(in crate::mock) folders: Vec<Folder>,
    pub(in crate::mock) files: Vec<FileBlock>,
}

/// Where to read from: the store or, within a transaction, that transaction, which must not wait for another connection.
pub(in crate::mock) enum Reader<'a> {
    Store(&'a Store),
    Tx(&'a mut Tx),
}

impl Reader<'_> {
    /// The newest files of a folder, oldest first.
    async fn files(&mut self, folder_id: &str) -> Result<Vec<File>, ApiError> {
        let mut documents = match self {
            Self::Store(store) => {
                let newest = DocumentFilter::of_parent(File::KIND, folder_id).newest_first(true).limit(MAX_FILES);
                store.documents(&newest).await?
            }
            Self::Tx(tx) => tx.newest_children(File::KIND, folder_id, MAX_FILES).await?,
        };
        documents.reverse();
        documents.into_iter().map(|document| parse::<File>(document).map(|file| file.record)).collect()
    }

    async fn folders(&mut self, agent_id: &str) -> Result<Vec<Folder>, ApiError> {
        let documents: Vec<Document> = match self {
            Self::Store(store) => {
                let linked = store.linked_documents(links::AGENT_FOLDER, &[agent_id], Folder::KIND).await?;
                linked.into_iter().map(|(_, document)| document).collect()
            }
            Self::Tx(tx) => tx.linked_documents(links::AGENT_FOLDER, agent_id, Folder::KIND).await?,
        };
        documents.into_iter().map(|document| parse::<Folder>(document).map(|folder| folder.record)).collect()
    }

    async fn document(&mut self, kind: &str, id: &str) -> Result<Option<Document>, ApiError> {
        Ok(match self {
            Self::Store(store) => store.document(kind, id).await?,
            Self::Tx(tx) => tx.document(kind, id).await?,
        })
    }

    /// The stored beginnings of files, by file id.
    async fn views(&mut self, files: &[&File]) -> Result<HashMap<String, String>, ApiError> {
        let documents = match self {
            Self::Store(store) => {
                let ids: Vec<&str> = files.iter().map(|file| file.id.as_str()).collect();
                store.documents_by_ids(FileView::KIND, &ids).await?
            }
            Self::Tx(tx) => {
                let mut documents = Vec::new();
                for file in files {
                    documents.extend(tx.document(FileView::KIND, &file.id).await?);
                }
                documents
            }
        };
        let mut views = HashMap::new();
        for document in documents {
            let FileView { id, shown } = parse::<FileView>(document)?.record;
            views.insert(id, shown);
        }
        for file in files {
            if !views.contains_key(&file.id) {
                views.insert(file.id.clone(), self.view_of_text(file).await?);
            }
        }
        Ok(views)
    }

    /// The beginning of a file for which it was not stored separately.
    async fn view_of_text(&mut self, file: &File) -> Result<String, ApiError> {
        let document = match self {
            Self::Store(store) => store.document_up_to(FileText::KIND, &file.id, MAX_WHOLE_BYTES).await?,
            Self::Tx(tx) => tx.document_up_to(FileText::KIND, &file.id, MAX_WHOLE_BYTES).await?,
        };
        match document {
            Some(document) => Ok(window::of(&parse::<FileText>(document)?.record.text, &file.media_type)),
            None => Ok(window::unseen()),
        }
    }
}

/// The windows of text that an agent sees of its open files, by file id, at most `limit` characters each. Beyond
/// [`MOST_SHOWN`] the remaining files show nothing.
pub(in crate::mock) async fn windows(
    reader: &mut Reader<'_>,
    touched: &OpenFiles,
    open: &[&File],
    limit: i64,
) -> Result<HashMap<String, String>, ApiError> {
    let (mut windows, mut room) = (HashMap::new(), MOST_SHOWN);
    let is_part = |file: &&File| touched.of(&file.id).is_some_and(|touched| touched.lines.is_some());
    let mut parts = HashMap::new();
    if open.iter().any(is_part)
        && let Some(document) = reader.document(OpenParts::KIND, &touched.id).await?
    {
        parts = parse::<OpenParts>(document)?.record.shown;
    }
    for files in open.chunks(BATCH) {
        let whole: Vec<&File> = files.iter().copied().filter(|file| !is_part(file)).collect();
        let mut views = if room > 0 && !whole.is_empty() { reader.views(&whole).await? } else { HashMap::new() };
        for file in files {
            views.extend(parts.remove(&file.id).filter(|_| is_part(file)).map(|shown| (file.id.clone(), shown)));
            let shown = views.remove(&file.id).map(|view| window::cut(view, limit));
            let shown = shown.filter(|shown| shown.len() <= room);
            match &shown {
                Some(shown) => room -= shown.len(),
                None => room = 0,
            }
            windows.insert(file.id.clone(), shown.unwrap_or_else(|| window::cut(window::unseen(), limit)));
        }
    }
    Ok(windows)
}

/// The files of an agent's folders, folder by folder and oldest first.
pub(in crate::mock) async fn files(
    reader: &mut Reader<'_>,
    agent_id: &str,
    limit: i64,
    folders: &[Folder],
) -> Result<Vec<FileBlock>, ApiError> {
    if folders.is_empty() {
        return Ok(Vec::new());
    }
    let open_files = match reader.document(OpenFiles::KIND, agent_id).await? {
        Some(document) => parse::<OpenFiles>(document)?.record,
        None => OpenFiles::default(),
    };
    let (mut blocks, mut files, mut room) = (Vec::new(), Vec::new(), MAX_LIST_BYTES);
    'folders: for folder in folders {
        for file in reader.files(&folder.id).await? {
            let block = FileBlock::new(folder, &file, open_files.of(&file.id), limit);
            let Some(rest) = room.checked_sub(block.size()) else { break 'folders };
            room = rest;
            blocks.push(block);
            files.push(file);
        }
    }
    let open: Vec<&File> = files.iter().zip(&blocks).filter(|(_, block)| block.is_open).map(|(file, _)| file).collect();
    let mut windows = windows(reader, &open_files, &open, limit).await?;
    for block in blocks.iter_mut().filter(|block| block.is_open) {
        block.value = windows.remove(&block.file_id).unwrap_or_default();
    }
    Ok(blocks)
}

/// As [`files`], charged to the budget of a response.
pub(super) async fn files_within_budget(
    store: &Store,
    agent_id: &str,
    limit: i64,
    folders: &[Folder],
    budget: &Budget,
) -> Result<Vec<FileBlock>, ApiError> {
    let files = files(&mut Reader::Store(store), agent_id, limit, folders).await?;
    budget.charge(files.iter().map(FileBlock::size).sum())?;
    Ok(files)
}

/// Loads an agent's folders and files.
pub(in crate::mock) async fn load(mut reader: Reader<'_>, agent: &Agent) -> Result<Directories, ApiError> {
    let folders = reader.folders(&agent.id).await?;
    let files = files(&mut reader, &agent.id, agent.per_file_view_window_char_limit, &folders).await?;
    Ok(Directories { folders, files })
}

/// Loads an agent's folders and files within a transaction.
pub(in crate::mock) async fn within(tx: &mut Tx, agent: &Agent) -> Result<Directories, ApiError> {
    load(Reader::Tx(tx), agent).await
}
