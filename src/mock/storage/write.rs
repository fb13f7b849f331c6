//! Writing records to the store.

use serde::Serialize;

use super::stored::Stored;
use crate::{
    error::ApiError,
    mock::records::{Agent, Message, Record},
    store::{NewDocument, NewMessage, Tx},
};

fn stored(record: &impl Record) -> Result<String, ApiError> {
    record.stored().map_err(ApiError::internal)
}

/// A value as stored JSON.
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
    let body = stored(record)?;
    Ok(tx.insert_document(&NewDocument { kind: T::KIND, id: record.id(), project, parent, body: &body }).await?)
}

/// Replaces a record.
pub(in crate::mock) async fn update<T: Record>(tx: &mut Tx, record: &T) -> Result<(), ApiError> {
    tx.update_document(T::KIND, record.id(), &stored(record)?).await?;
    Ok(())
}

/// Replaces a record, or stores it if it does not exist.
pub(in crate::mock) async fn upsert<T: Record>(
    tx: &mut Tx,
    project: &str,
    parent: Option<&str>,
    record: &T,
) -> Result<(), ApiError> {
    let body = stored(record)?;
    if !tx.update_document(T::KIND, record.id(), &body).await? {
        tx.insert_document(&NewDocument { kind: T::KIND, id: record.id(), project, parent, body: &body }).await?;
    }
    Ok(())
}

/// A serialized record, ready to be stored.
#[derive(Debug)]
pub(in crate::mock) struct Prepared {
    kind: &'static str,
    id: String,
    parent: Option<String>,
    body: String,
}

impl Prepared {
    /// Serializes a record.
    pub(in crate::mock) fn new<T: Record>(parent: Option<&str>, record: &T) -> Result<Self, ApiError> {
        let parent = parent.map(str::to_owned);
        Ok(Self { kind: T::KIND, id: record.id().to_owned(), parent, body: stored(record)? })
    }
}

/// Stores new records of any kinds in one statement.
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

/// Stores new messages of an agent, in order.
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
