//! Names that are given once within a project: who holds one, and how it is taken and given up.

use super::{
    stored::{Stored, parse},
    view::View,
    write::body,
};
use crate::{
    credentials::sha256,
    error::ApiError,
    mock::records::{Record, claims},
    store::{NewDocument, Store, StoreError, Tx},
};

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
