//! Attaching a record to another one of its project, and detaching it.

use crate::{
    error::ApiError,
    mock::{
        records::Record,
        storage::{Stored, View, not_found},
    },
    store::{Locked, Tx},
};

/// What happens to the link between two records.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Attach,
    Detach,
}

impl Change {
    /// Makes or removes a link of a kind. Doing it twice changes nothing.
    pub(super) async fn apply(self, tx: &mut Tx, link: &str, source: &str, target: &str) -> Result<(), ApiError> {
        match self {
            Self::Attach => tx.link(link, source, target).await?,
            Self::Detach => tx.unlink(link, source, target).await?,
        }
        Ok(())
    }
}

/// A locked record that must be in a project, so that something there can be linked to it.
///
/// # Errors
/// 404 when it is not there, or in another project.
pub(super) fn locked_in<T: Record>(
    view: View<'_>,
    locked: &Locked,
    project: &str,
    id: &str,
) -> Result<Stored<T>, ApiError> {
    match view.locked::<T>(locked, id)? {
        found if found.project == project => Ok(found),
        _ => Err(not_found::<T>(id)),
    }
}
