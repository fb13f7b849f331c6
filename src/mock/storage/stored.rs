//! Records as they are read from the store.

use serde::de::DeserializeOwned;

use crate::{
    error::{ApiError, Code},
    mock::records::{Message, Record},
    store::{Document, StoreError, StoredMessage},
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

/// The 404 for a record.
pub(in crate::mock) fn not_found<T: Record>(id: &str) -> ApiError {
    ApiError::letta(Code::NotFound, format!("{} with ID {id} not found", T::NAME))
}

/// Whether a text can be an id: only visible ASCII. PostgreSQL refuses texts with U+0000.
pub(in crate::mock) fn is_plain(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Parses a document.
pub(in crate::mock) fn parse<T: DeserializeOwned>(document: Document) -> Result<Stored<T>, ApiError> {
    match serde_json::from_str(&document.body) {
        Ok(record) => Ok(Stored { seq: document.seq, project: document.project, record }),
        Err(error) => Err(inconsistent(&document.id, &error)),
    }
}

/// Parses a message.
pub(in crate::mock) fn parse_message(stored: &StoredMessage) -> Result<Message, ApiError> {
    serde_json::from_str(&stored.body).map_err(|error| inconsistent(&stored.id, &error))
}

/// The error for a stored document that cannot be parsed.
pub(in crate::mock) fn inconsistent(id: &str, error: &serde_json::Error) -> ApiError {
    StoreError::Inconsistent(format!("{id}: {error}")).into()
}
