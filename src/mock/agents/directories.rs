//! An agent's folders with their files, as its memory and its system prompt show them: every file, and of each open one as
//! much as the agent sees. What a file shows is kept beside it, so none is read whole.

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

/// How many files of a folder are shown, the newest; as many as Letta attaches.
const MOST_FILES: i64 = 1_000;

/// How many bytes the list of an agent's files has at most; what comes later is left out.
const MOST_LISTED: usize = 4 * 1024 * 1024;

/// How many files are read at once.
const AT_ONCE: usize = 8;

/// Files that were stored without what they show are read if they are no larger.
const MOST_READ: i64 = 1024 * 1024;

/// What an agent sees of its folders.
#[derive(Debug, Default)]
pub(in crate::mock) struct Directories {
    pub(in crate::mock) folders: Vec<Folder>,
    pub(in crate::mock) files: Vec<FileBlock>,
}

/// Whoever reads: a request, or a transaction, which must not wait for another connection.
pub(in crate::mock) enum Source<'a> {
    Store(&'a Store),
    Tx(&'a mut Tx),
}

impl Source<'_> {
    /// The newest of the files of a folder, oldest first.
    async fn files(&mut self, folder_id: &str) -> Result<Vec<File>, ApiError> {
        let mut documents = match self {
            Self::Store(store) => {
                let newest = DocumentFilter::of_parent(File::KIND, folder_id).newest_first(true).limit(MOST_FILES);
                store.documents(&newest).await?
            }
            Self::Tx(tx) => tx.newest_children(File::KIND, folder_id, MOST_FILES).await?,
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

    /// What files show, by their ids.
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

    /// What a file shows that was stored without it.
    async fn view_of_text(&mut self, file: &File) -> Result<String, ApiError> {
        let document = match self {
            Self::Store(store) => store.document_up_to(FileText::KIND, &file.id, MOST_READ).await?,
            Self::Tx(tx) => tx.document_up_to(FileText::KIND, &file.id, MOST_READ).await?,
        };
        match document {
            Some(document) => Ok(window::of(&parse::<FileText>(document)?.record.text, &file.media_type)),
            None => Ok(window::unseen()),
        }
    }
}

/// What an agent sees of files that lie open before it, by their ids. Where they are more than it sees together, the
/// last of them show nothing.
pub(in crate::mock) async fn windows(
    reader: &mut Source<'_>,
    touched: &OpenFiles,
    open: &[&File],
    limit: i64,
) -> Result<HashMap<String, String>, ApiError> {
    let (mut windows, mut left) = (HashMap::new(), MOST_SHOWN);
    let in_part = |file: &&File| touched.of(&file.id).is_some_and(|touched| touched.lines.is_some());
    let mut parts = HashMap::new();
    if open.iter().any(in_part)
        && let Some(document) = reader.document(OpenParts::KIND, &touched.id).await?
    {
        parts = parse::<OpenParts>(document)?.record.shown;
    }
    for files in open.chunks(AT_ONCE) {
        let whole: Vec<&File> = files.iter().copied().filter(|file| !in_part(file)).collect();
        let mut views = if left > 0 && !whole.is_empty() { reader.views(&whole).await? } else { HashMap::new() };
        for file in files {
            views.extend(parts.remove(&file.id).filter(|_| in_part(file)).map(|shown| (file.id.clone(), shown)));
            let shown = views.remove(&file.id).map(|view| window::cut(view, limit));
            let shown = shown.filter(|shown| shown.len() <= left);
            match &shown {
                Some(shown) => left -= shown.len(),
                None => left = 0,
            }
            windows.insert(file.id.clone(), shown.unwrap_or_else(|| window::cut(window::unseen(), limit)));
        }
    }
    Ok(windows)
}

/// The files of an agent's folders, folder by folder and oldest first.
pub(in crate::mock) async fn files(
    reader: &mut Source<'_>,
    agent_id: &str,
    limit: i64,
    folders: &[Folder],
) -> Result<Vec<FileBlock>, ApiError> {
    if folders.is_empty() {
        return Ok(Vec::new());
    }
    let touched = match reader.document(OpenFiles::KIND, agent_id).await? {
        Some(document) => parse::<OpenFiles>(document)?.record,
        None => OpenFiles::default(),
    };
    let (mut blocks, mut files, mut left) = (Vec::new(), Vec::new(), MOST_LISTED);
    'folders: for folder in folders {
        for file in reader.files(&folder.id).await? {
            let block = FileBlock::new(folder, &file, touched.of(&file.id), limit);
            let Some(rest) = left.checked_sub(block.size()) else { break 'folders };
            left = rest;
            blocks.push(block);
            files.push(file);
        }
    }
    let open: Vec<&File> = files.iter().zip(&blocks).filter(|(_, block)| block.is_open).map(|(file, _)| file).collect();
    let mut windows = windows(reader, &touched, &open, limit).await?;
    for block in blocks.iter_mut().filter(|block| block.is_open) {
        block.value = windows.remove(&block.file_id).unwrap_or_default();
    }
    Ok(blocks)
}

/// The same, within what an answer may be made of.
pub(in crate::mock) async fn files_for_answer(
    store: &Store,
    agent_id: &str,
    limit: i64,
    folders: &[Folder],
    budget: &Budget,
) -> Result<Vec<FileBlock>, ApiError> {
    let files = files(&mut Source::Store(store), agent_id, limit, folders).await?;
    budget.charge(files.iter().map(FileBlock::size).sum())?;
    Ok(files)
}

/// An agent's folders with their files.
pub(in crate::mock) async fn of(mut reader: Source<'_>, agent: &Agent) -> Result<Directories, ApiError> {
    let folders = reader.folders(&agent.id).await?;
    let files = files(&mut reader, &agent.id, agent.per_file_view_window_char_limit, &folders).await?;
    Ok(Directories { folders, files })
}

/// The same as a transaction sees them.
pub(in crate::mock) async fn within(tx: &mut Tx, agent: &Agent) -> Result<Directories, ApiError> {
    of(Source::Tx(tx), agent).await
}
