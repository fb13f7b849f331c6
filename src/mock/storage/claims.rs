//! Claims: names that are unique within a project. A claim says which document holds a name.

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

/// Claims a name for `holder` within a project and a kind of names. Returns the id of another holder, if there is one.
/// A name becomes free when its holder is deleted, or by [`release`].
pub(in crate::mock) async fn claim(
    tx: &mut Tx,
    kind: &str,
    project: &str,
    name: &str,
    holder: &str,
) -> Result<Option<String>, ApiError> {
    let (id, body) = (claim_id(project, name), body(&holder)?);
    let new = NewDocument { kind, id: &id, project, parent: Some(holder), body: &body };
    // File names are claimed only under the lock of their folder.
    if tx.insert_name_if_absent(&new, kind == claims::FILE).await? {
        return Ok(None);
    }
    match tx.document(kind, &id).await? {
        Some(document) => Ok(Some(parse::<String>(document)?.record).filter(|present| present != holder)),
        None => Err(changed_meanwhile(name)),
    }
}

/// The id of the holder of a name within a project, as a transaction sees it.
pub(in crate::mock) async fn holder_within(
    tx: &mut Tx,
    kind: &str,
    project: &str,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let document = tx.document(kind, &claim_id(project, name)).await?;
    document.map(|document| parse::<String>(document).map(|holder| holder.record)).transpose()
}

/// Locks the holder of a name until the transaction ends. `is_it` says whether it still holds the name.
pub(in crate::mock) async fn lock_holder<T: Record>(
    view: View<'_>,
    tx: &mut Tx,
    id: &str,
    is_it: impl Fn(&T) -> bool,
) -> Result<Stored<T>, ApiError> {
    let document = tx.document_for_update(T::KIND, id).await?;
    view.show(document)?.filter(|holder| is_it(&holder.record)).ok_or_else(|| changed_meanwhile(id))
}

/// The error if another request has changed something between reading and locking it: the transaction runs again.
pub(in crate::mock) fn changed_meanwhile(what: &str) -> ApiError {
    StoreError::Contended(format!("{what} was changed by another request")).into()
}

/// The id of the holder of a name within a project.
pub(in crate::mock) async fn holder(
    store: &Store,
    kind: &str,
    project: &str,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let document = store.document(kind, &claim_id(project, name)).await?;
    document.map(|document| parse::<String>(document).map(|holder| holder.record)).transpose()
}

/// Releases a name.
pub(in crate::mock) async fn release(tx: &mut Tx, kind: &str, project: &str, name: &str) -> Result<(), ApiError> {
    Ok(tx.delete_document(kind, &claim_id(project, name)).await?)
}

/// The id of a claim. Names may have any length and any characters, ids may not.
fn claim_id(project: &str, name: &str) -> String {
    hex::encode(sha256(format!("{project}/{name}").as_bytes()))
}
