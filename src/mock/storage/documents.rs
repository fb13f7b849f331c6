//! Records in and out of the store. What a request may see is read through [`View`] and nothing else, so no handler can
//! forget whose project it is.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    access::Permit,
    credentials::sha256,
    error::{ApiError, Code},
    mock::records::{Agent, Message, Record, claims},
    store::{Document, DocumentFilter, HasSize, Locked, NewDocument, NewMessage, Store, StoreError, StoredMessage, Tx},
};

/// A record with its place in the store.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Stored<T> {
    /// Its place in the order of creation.
    pub(in crate::mock) seq: i64,
    /// The project it belongs to.
    pub(in crate::mock) project: String,
    /// The record.
    pub(in crate::mock) record: T,
}

/// A part of a list.
#[derive(Debug)]
pub(in crate::mock) struct Chunk<T> {
    /// What the caller may see of it, each with its size in the store.
    pub(in crate::mock) records: Vec<(Stored<T>, usize)>,
    /// The place of the last that was read, seen or not.
    pub(in crate::mock) end: Option<i64>,
    /// Whether there is more.
    pub(in crate::mock) has_more: bool,
}

/// The store as one caller sees it: what the caller does not reach is not there.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) struct View<'a> {
    store: &'a Store,
    permit: &'a Permit,
}

impl<'a> View<'a> {
    pub(in crate::mock) fn new(store: &'a Store, permit: &'a Permit) -> Self {
        Self { store, permit }
    }

    /// The store itself, for what hangs on a record that this view has shown.
    pub(in crate::mock) fn store(&self) -> &'a Store {
        self.store
    }

    /// The record with this id.
    pub(in crate::mock) async fn find<T: Record>(&self, id: &str) -> Result<Option<Stored<T>>, ApiError> {
        if !is_plain(id) {
            return Ok(None);
        }
        self.show(self.store.document(T::KIND, id).await?)
    }

    /// Those of the records with these ids that are there.
    pub(in crate::mock) async fn find_all<T: Record>(&self, ids: &[&str]) -> Result<Vec<Stored<T>>, ApiError> {
        let documents = self.store.documents_by_ids(T::KIND, ids).await?;
        documents.into_iter().filter_map(|document| self.show(Some(document)).transpose()).collect()
    }

    /// The record with this id, or the 404 that names it.
    pub(in crate::mock) async fn get<T: Record>(&self, id: &str) -> Result<Stored<T>, ApiError> {
        self.find(id).await?.ok_or_else(|| not_found::<T>(id))
    }

    /// The record with this id, as it is stored.
    pub(in crate::mock) async fn find_stored<T: Record>(&self, id: &str) -> Result<Option<Document>, ApiError> {
        let document = if is_plain(id) { self.store.document(T::KIND, id).await? } else { None };
        Ok(self.shown(document))
    }

    /// The same, or the 404 that names it.
    pub(in crate::mock) async fn get_stored<T: Record>(&self, id: &str) -> Result<Document, ApiError> {
        self.find_stored::<T>(id).await?.ok_or_else(|| not_found::<T>(id))
    }

    /// The record with this id, as a transaction sees it.
    pub(in crate::mock) async fn get_within<T: Record>(&self, tx: &mut Tx, id: &str) -> Result<Stored<T>, ApiError> {
        let document = if is_plain(id) { tx.document(T::KIND, id).await? } else { None };
        self.show(document)?.ok_or_else(|| not_found::<T>(id))
    }

    /// The record with this id, which nobody else can change until the transaction ends.
    pub(in crate::mock) async fn get_for_update<T: Record>(
        &self,
        tx: &mut Tx,
        id: &str,
    ) -> Result<Stored<T>, ApiError> {
        let document = if is_plain(id) { tx.document_for_update(T::KIND, id).await? } else { None };
        self.show(document)?.ok_or_else(|| not_found::<T>(id))
    }

    /// One of the records that are locked, or the 404 that names it.
    pub(in crate::mock) fn locked<T: Record>(&self, locked: &Locked, id: &str) -> Result<Stored<T>, ApiError> {
        self.show(locked.get(T::KIND, id))?.ok_or_else(|| not_found::<T>(id))
    }

    /// Several of them, all of which must be in a project, so that something there can be linked to them.
    pub(in crate::mock) fn all_locked<T: Record>(
        &self,
        locked: &Locked,
        project: &str,
        ids: &[String],
    ) -> Result<Vec<T>, ApiError> {
        let one = |id: &String| match self.locked::<T>(locked, id)? {
            found if found.project == project => Ok(found.record),
            _ => Err(not_found::<T>(id)),
        };
        ids.iter().map(one).collect()
    }

    /// The records that a filter names.
    pub(in crate::mock) async fn list<T: Record>(
        &self,
        filter: &DocumentFilter<'_>,
    ) -> Result<Vec<Stored<T>>, ApiError> {
        let documents = self.store.documents(filter).await?;
        documents.into_iter().filter_map(|document| self.show(Some(document)).transpose()).collect()
    }

    /// The first `count` of the records that a filter names, or as many as are read at once, and where reading on has to
    /// begin.
    pub(in crate::mock) async fn chunk<T: Record>(
        &self,
        filter: &DocumentFilter<'_>,
        count: usize,
    ) -> Result<Chunk<T>, ApiError> {
        let filter = filter.limit(i64::try_from(count).unwrap_or(i64::MAX));
        let documents = self.store.documents_chunk(&filter).await?;
        let end = documents.last().map(|document| document.seq);
        let size: usize = documents.iter().map(HasSize::size).sum();
        let has_more = documents.len() == count || size >= self.store.most_read();
        let mut records = Vec::with_capacity(documents.len());
        for document in documents {
            let size = document.size();
            records.extend(self.show(Some(document))?.map(|shown| (shown, size)));
        }
        Ok(Chunk { records, end, has_more })
    }

    /// The records that links of a kind lead to from any of `sources`, each with its source.
    pub(in crate::mock) async fn linked<T: Record>(
        &self,
        link: &str,
        sources: &[&str],
    ) -> Result<Vec<(String, Stored<T>)>, ApiError> {
        let documents = self.store.linked_documents(link, sources, T::KIND).await?;
        documents
            .into_iter()
            .filter_map(|(source, document)| Some(self.show(Some(document)).transpose()?.map(|shown| (source, shown))))
            .collect()
    }

    /// What a link leads to, if that is a stored record which the caller may see.
    pub(in crate::mock) fn behind<T: Record>(&self, document: Option<Document>) -> Result<Option<Stored<T>>, ApiError> {
        self.show(document)
    }

    /// The same, as it is stored.
    pub(in crate::mock) fn shown(&self, document: Option<Document>) -> Option<Document> {
        document.filter(|document| self.permit.reaches(&document.project))
    }

    /// Whether the caller may see a message; where there is one, there is its agent.
    pub(in crate::mock) fn shows(&self, message: &StoredMessage) -> bool {
        self.permit.reaches(&message.project)
    }

    fn show<T: Record>(&self, document: Option<Document>) -> Result<Option<Stored<T>>, ApiError> {
        self.shown(document).map(parse).transpose()
    }
}

/// The 404 for a record.
pub(in crate::mock) fn not_found<T: Record>(id: &str) -> ApiError {
    ApiError::letta(Code::NotFound, format!("{} with ID {id} not found", T::NAME))
}

/// PostgreSQL refuses texts with U+0000, and no id holds anything but these.
pub(in crate::mock) fn is_plain(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads a document.
pub(in crate::mock) fn parse<T: DeserializeOwned>(document: Document) -> Result<Stored<T>, ApiError> {
    match serde_json::from_str(&document.body) {
        Ok(record) => Ok(Stored { seq: document.seq, project: document.project, record }),
        Err(error) => Err(inconsistent(&document.id, &error)),
    }
}

/// Reads a message.
pub(in crate::mock) fn parse_message(stored: &StoredMessage) -> Result<Message, ApiError> {
    serde_json::from_str(&stored.body).map_err(|error| inconsistent(&stored.id, &error))
}

/// What is stored under an id cannot be read.
pub(in crate::mock) fn inconsistent(id: &str, error: &serde_json::Error) -> ApiError {
    StoreError::Inconsistent(format!("{id}: {error}")).into()
}

/// JSON as it is stored.
pub(in crate::mock) fn body(record: &impl Serialize) -> Result<String, ApiError> {
    serde_json::to_string(record).map_err(ApiError::internal)
}

/// Stores a new record.
pub(in crate::mock) async fn insert<T: Record>(
    tx: &mut Tx,
    project: &str,
    parent: Option<&str>,
    record: &T,
) -> Result<(), ApiError> {
    let body = body(record)?;
    Ok(tx.insert_document(&NewDocument { kind: T::KIND, id: record.id(), project, parent, body: &body }).await?)
}

/// Makes sure that a name is `holder`'s alone within a project and a kind of names. Some: another holds it. It is free
/// again when the document goes that holds it, or by [`release`].
pub(in crate::mock) async fn claim(
    tx: &mut Tx,
    kind: &str,
    project: &str,
    name: &str,
    holder: &str,
) -> Result<Option<String>, ApiError> {
    let (id, body) = (claim_id(project, name), body(&holder)?);
    let new = NewDocument { kind, id: &id, project, parent: Some(holder), body: &body };
    // The names of a folder's files are taken only by who has locked the folder.
    if tx.insert_name_if_absent(&new, kind == claims::FILE).await? {
        return Ok(None);
    }
    match tx.document(kind, &id).await? {
        Some(document) => Ok(Some(parse::<String>(document)?.record).filter(|present| present != holder)),
        None => Err(changed_meanwhile(name)),
    }
}

/// Who holds a name within a project, as a transaction sees it.
pub(in crate::mock) async fn holder_within(
    tx: &mut Tx,
    kind: &str,
    project: &str,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let document = tx.document(kind, &claim_id(project, name)).await?;
    document.map(|document| parse::<String>(document).map(|holder| holder.record)).transpose()
}

/// The holder of a name, which nobody else can change until the transaction ends; `is_it` tells whether it still has it.
pub(in crate::mock) async fn lock_holder<T: Record>(
    view: View<'_>,
    tx: &mut Tx,
    id: &str,
    is_it: impl Fn(&T) -> bool,
) -> Result<Stored<T>, ApiError> {
    let document = tx.document_for_update(T::KIND, id).await?;
    view.show(document)?.filter(|holder| is_it(&holder.record)).ok_or_else(|| changed_meanwhile(id))
}

/// Another request has changed something between a look at it and its lock, so that the transaction has to run again.
pub(in crate::mock) fn changed_meanwhile(what: &str) -> ApiError {
    StoreError::Contended(format!("{what} was changed meanwhile")).into()
}

/// Who holds a name within a project.
pub(in crate::mock) async fn holder(
    store: &Store,
    kind: &str,
    project: &str,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let document = store.document(kind, &claim_id(project, name)).await?;
    document.map(|document| parse::<String>(document).map(|holder| holder.record)).transpose()
}

/// Gives a name up.
pub(in crate::mock) async fn release(tx: &mut Tx, kind: &str, project: &str, name: &str) -> Result<(), ApiError> {
    Ok(tx.delete_document(kind, &claim_id(project, name)).await?)
}

/// Names may be of any length and hold any character; ids may not.
fn claim_id(project: &str, name: &str) -> String {
    hex::encode(sha256(format!("{project}/{name}").as_bytes()))
}

/// Replaces a record.
pub(in crate::mock) async fn update<T: Record>(tx: &mut Tx, record: &T) -> Result<(), ApiError> {
    tx.update_document(T::KIND, record.id(), &body(record)?).await?;
    Ok(())
}

/// Replaces a record, or stores it where there is none yet.
pub(in crate::mock) async fn upsert<T: Record>(
    tx: &mut Tx,
    project: &str,
    parent: Option<&str>,
    record: &T,
) -> Result<(), ApiError> {
    let body = body(record)?;
    if !tx.update_document(T::KIND, record.id(), &body).await? {
        tx.insert_document(&NewDocument { kind: T::KIND, id: record.id(), project, parent, body: &body }).await?;
    }
    Ok(())
}

/// A record as it is to be stored.
#[derive(Debug)]
pub(in crate::mock) struct Prepared {
    kind: &'static str,
    id: String,
    parent: Option<String>,
    body: String,
}

impl Prepared {
    /// Prepares a record.
    pub(in crate::mock) fn new<T: Record>(parent: Option<&str>, record: &T) -> Result<Self, ApiError> {
        let parent = parent.map(str::to_owned);
        Ok(Self { kind: T::KIND, id: record.id().to_owned(), parent, body: body(record)? })
    }
}

/// Stores new records in a project, of whatever kinds, in one statement.
pub(in crate::mock) async fn insert_all(tx: &mut Tx, project: &str, records: &[Prepared]) -> Result<(), ApiError> {
    let new = records.iter().map(|record| NewDocument {
        kind: record.kind,
        id: &record.id,
        project,
        parent: record.parent.as_deref(),
        body: &record.body,
    });
    Ok(tx.insert_documents(&new.collect::<Vec<_>>()).await?)
}

/// Stores new messages of an agent, in this order.
pub(in crate::mock) async fn insert_messages(
    tx: &mut Tx,
    agent: &Stored<Agent>,
    conversation_id: &str,
    messages: &[Message],
) -> Result<(), ApiError> {
    let bodies = messages.iter().map(body).collect::<Result<Vec<_>, _>>()?;
    let new = messages.iter().zip(&bodies).map(|(message, body)| NewMessage {
        id: &message.id,
        project: &agent.project,
        agent_id: &agent.record.id,
        conversation_id,
        run_id: message.run_id.as_deref(),
        body,
    });
    Ok(tx.insert_messages(&new.collect::<Vec<_>>()).await?)
}

/// Replaces a message.
pub(in crate::mock) async fn update_message(tx: &mut Tx, message: &Message) -> Result<(), ApiError> {
    Ok(tx.update_message(&message.id, &body(message)?).await?)
}
