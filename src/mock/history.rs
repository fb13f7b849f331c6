//! Looking for messages by their words.

use super::{
    documents::parse_message,
    records::{Message, Role, Timestamp},
};
use crate::{
    error::ApiError,
    store::{MessageFilter, Store, StoredMessage},
};

/// Which messages are looked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// A text that they contain, whatever its case; none: any.
    pub(super) query: Option<String>,
    /// Who said them; empty: anyone.
    pub(super) roles: Vec<Role>,
    pub(super) from: Option<Timestamp>,
    pub(super) to: Option<Timestamp>,
    /// At most this many.
    pub(super) limit: usize,
}

/// How many messages are read at once.
const CHUNK: i64 = 500;

/// The newest messages among those of a filter that are wanted, newest first. What is read grows with what does not fit.
pub(super) async fn search(
    store: &Store,
    filter: MessageFilter<'_>,
    wanted: &Wanted,
) -> Result<Vec<(StoredMessage, Message)>, ApiError> {
    let needle = wanted.query.as_deref().map(str::to_lowercase);
    let mut filter = filter.newest_first(true).limit(CHUNK);
    let mut found = Vec::new();
    loop {
        let chunk = store.messages(&filter).await?;
        let Some(last) = chunk.last() else { return Ok(found) };
        filter = filter.before(last.seq);
        for stored in chunk {
            if found.len() >= wanted.limit {
                return Ok(found);
            }
            let message = parse_message(&stored)?;
            if wanted.fits(&message, needle.as_deref()) {
                found.push((stored, message));
            }
        }
    }
}

impl Wanted {
    fn fits(&self, message: &Message, needle: Option<&str>) -> bool {
        (self.roles.is_empty() || self.roles.contains(&message.role))
            && self.from.is_none_or(|from| message.created_at >= from)
            && self.to.is_none_or(|to| message.created_at <= to)
            && needle.is_none_or(|needle| message.searchable().to_lowercase().contains(needle))
    }
}

/// A day such as 2026-01-31, or an instant.
pub(super) fn day(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
}
