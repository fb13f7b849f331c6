//! Changing or deleting one record by its id, where nothing else changes with it.

use crate::{
    error::ApiError,
    mock::{
        records::Record,
        storage::{View, update},
    },
    store::transaction,
};

/// Changes the record with an id and returns it. `change` may run several times.
///
/// # Errors
/// 404 when there is no such record, or whatever `change` refuses.
pub(super) async fn change<T: Record>(
    view: View<'_>,
    id: &str,
    change: impl Fn(&mut T) -> Result<(), ApiError> + Send + Sync,
) -> Result<T, ApiError> {
    transaction!(view.store(), tx => {
        let mut record = view.get_for_update::<T>(tx, id).await?.record;
        change(&mut record)?;
        update(tx, &record).await?;
        Ok(record)
    })
}

/// Deletes the record with an id and returns it.
///
/// # Errors
/// 404 when there is no such record.
pub(super) async fn delete<T: Record>(view: View<'_>, id: &str) -> Result<T, ApiError> {
    transaction!(view.store(), tx => {
        let record = view.get_for_update::<T>(tx, id).await?.record;
        tx.delete_document(T::KIND, record.id()).await?;
        Ok(record)
    })
}
