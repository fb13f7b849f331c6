//! Records as one caller sees them. Handlers read only through [`View`], so none can forget to check the project.

use super::stored::{Stored, is_plain, not_found, parse};
use crate::{
    access::Permit,
    error::ApiError,
    mock::records::Record,
    store::{Document, DocumentFilter, HasSize, Locked, Store, StoredMessage, Tx},
};

/// A chunk of a list.
#[derive(Debug)]
pub(in crate::mock) struct Chunk<T> {
    /// The records that the caller may see, each with its size in the store.
    pub(in crate::mock) records: Vec<(Stored<T>, usize)>,
    /// The place of the last record that was read, visible or not.
    pub(in crate::mock) end: Option<i64>,
    /// Whether there are more records.
    pub(in crate::mock) has_more: bool,
}

/// The store as one caller sees it: records of other projects do not exist.
#[derive(Clone, Copy, Debug)]
pub(in crate::mock) struct View<'a> {
    store: &'a Store,
    permit: &'a Permit,
}

impl<'a> View<'a> {
    pub(in crate::mock) fn new(store: &'a Store, permit: &'a Permit) -> Self {
        Self { store, permit }
    }

    /// The store itself, for what belongs to a record that the caller has seen.
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

    /// The records with these ids, as far as they exist.
    pub(in crate::mock) async fn find_all<T: Record>(&self, ids: &[&str]) -> Result<Vec<Stored<T>>, ApiError> {
        let documents = self.store.documents_by_ids(T::KIND, ids).await?;
        documents.into_iter().filter_map(|document| self.show(Some(document)).transpose()).collect()
    }

    /// The record with this id, or the 404 that names it.
    pub(in crate::mock) async fn get<T: Record>(&self, id: &str) -> Result<Stored<T>, ApiError> {
        self.find(id).await?.ok_or_else(|| not_found::<T>(id))
    }

    /// The unparsed record with this id.
    pub(in crate::mock) async fn find_stored<T: Record>(&self, id: &str) -> Result<Option<Document>, ApiError> {
        let document = if is_plain(id) { self.store.document(T::KIND, id).await? } else { None };
        Ok(self.shown(document))
    }

    /// The unparsed record with this id, or the 404 that names it.
    pub(in crate::mock) async fn get_stored<T: Record>(&self, id: &str) -> Result<Document, ApiError> {
        self.find_stored::<T>(id).await?.ok_or_else(|| not_found::<T>(id))
    }

    /// The record with this id, as a transaction sees it.
    pub(in crate::mock) async fn get_within<T: Record>(&self, tx: &mut Tx, id: &str) -> Result<Stored<T>, ApiError> {
        let document = if is_plain(id) { tx.document(T::KIND, id).await? } else { None };
        self.show(document)?.ok_or_else(|| not_found::<T>(id))
    }

    /// The record with this id, locked until the transaction ends.
    pub(in crate::mock) async fn get_for_update<T: Record>(
        &self,
        tx: &mut Tx,
        id: &str,
    ) -> Result<Stored<T>, ApiError> {
        let document = if is_plain(id) { tx.document_for_update(T::KIND, id).await? } else { None };
        self.show(document)?.ok_or_else(|| not_found::<T>(id))
    }

    /// A locked record, or the 404 that names it.
    pub(in crate::mock) fn locked<T: Record>(&self, locked: &Locked, id: &str) -> Result<Stored<T>, ApiError> {
        self.show(locked.get(T::KIND, id))?.ok_or_else(|| not_found::<T>(id))
    }

    /// Several locked records, or the 404 for the first that is not in the project.
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

    /// The records that match a filter.
    pub(in crate::mock) async fn list<T: Record>(
        &self,
        filter: &DocumentFilter<'_>,
    ) -> Result<Vec<Stored<T>>, ApiError> {
        let documents = self.store.documents(filter).await?;
        documents.into_iter().filter_map(|document| self.show(Some(document)).transpose()).collect()
    }

    /// The first `count` records that match a filter, or fewer if they exceed the size of one read.
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

    /// The targets of the links of a kind from any of `sources`, each with its source.
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

    /// The record of a document, if the caller may see it.
    pub(in crate::mock) fn behind<T: Record>(&self, document: Option<Document>) -> Result<Option<Stored<T>>, ApiError> {
        self.show(document)
    }

    /// The document, if the caller may see it.
    pub(in crate::mock) fn shown(&self, document: Option<Document>) -> Option<Document> {
        document.filter(|document| self.permit.reaches(&document.project))
    }

    /// Whether the caller may see a message, and therefore its agent.
    pub(in crate::mock) fn shows(&self, message: &StoredMessage) -> bool {
        self.permit.reaches(&message.project)
    }

    pub(super) fn show<T: Record>(&self, document: Option<Document>) -> Result<Option<Stored<T>>, ApiError> {
        self.shown(document).map(parse).transpose()
    }
}
