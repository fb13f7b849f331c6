//! Names that only one record of a kind may have in a project.

use crate::{
    error::ApiError,
    mock::{records::Record, storage::claim, text::excerpt::excerpt},
    store::Tx,
};

/// Gives a name to a record. `what` is the kind of record for the error: `A folder`.
///
/// # Errors
/// 409 when another record has the name.
pub(super) async fn take_name(
    tx: &mut Tx,
    kind: &str,
    project: &str,
    name: &str,
    record: &impl Record,
    what: &str,
) -> Result<(), ApiError> {
    match claim(tx, kind, project, name, record.id()).await? {
        None => Ok(()),
        Some(_) => {
            let name = excerpt(name);
            Err(ApiError::conflict(format!("CONFLICT: {what} with the name '{name}' already exists")))
        }
    }
}
