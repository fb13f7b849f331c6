//! What an agent finds in its archive while a turn is under way: what is stored there, and what the turn is about to.

use super::{documents::Stored, records::Agent, workbench::Archived};
use crate::{
    error::ApiError,
    store::{Store, Tx},
};

/// Puts passages into the archive of an agent. The caller holds the lock on the agent's document.
pub(super) async fn store(_tx: &mut Tx, _agent: &Stored<Agent>, _fresh: &[Archived]) -> Result<(), ApiError> {
    Ok(())
}

/// The passages that fit a query.
pub(super) async fn search(
    _store: &Store,
    _agent: &Agent,
    fresh: &[Archived],
    query: &str,
    tags: &[String],
    limit: usize,
) -> Result<Vec<Archived>, ApiError> {
    let needle = query.to_lowercase();
    let fits = |passage: &&Archived| {
        passage.text.to_lowercase().contains(&needle)
            && (tags.is_empty() || tags.iter().any(|tag| passage.tags.contains(tag)))
    };
    Ok(fresh.iter().filter(fits).take(limit).cloned().collect())
}
