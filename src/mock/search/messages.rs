//! Searching messages by their words.

use crate::{
    error::ApiError,
    mock::{
        budget::{Budget, offload},
        records::{Message, Role, Timestamp},
        storage::parse_message,
        text::terms::looked_for,
    },
    store::{MessageFilter, Store, StoredMessage},
};

/// What to search for.
#[derive(Clone, Debug)]
pub(in crate::mock) struct MessageQuery {
    /// Words in any case; `None` matches every message.
    pub(in crate::mock) query: Option<String>,
    /// The roles; empty for all.
    pub(in crate::mock) roles: Vec<Role>,
    pub(in crate::mock) from: Option<Timestamp>,
    pub(in crate::mock) to: Option<Timestamp>,
    /// The most results.
    pub(in crate::mock) limit: usize,
}

/// The most messages that are read at once.
const CHUNK: i64 = 500;

/// The newest messages that match both the store's filter and the query, newest first. All messages down to the last
/// result are read.
///
/// # Errors
/// If the results exceed the budget; if the database fails.
pub(in crate::mock) async fn search(
    store: &Store,
    filter: MessageFilter<'_>,
    wanted: &MessageQuery,
    budget: &Budget,
) -> Result<Vec<(StoredMessage, Message)>, ApiError> {
    let terms: Vec<String> = wanted.query.as_deref().map(terms).unwrap_or_default();
    let mut filter = filter.newest_first(true).limit(CHUNK);
    let mut found = Vec::new();
    loop {
        let chunk = store.messages_chunk(&filter).await?;
        let Some(last) = chunk.last() else { return Ok(found) };
        filter = filter.before(last.seq);
        for stored in chunk {
            if found.len() >= wanted.limit {
                return Ok(found);
            }
            let message = parse_message(&stored)?;
            if offload(stored.body.len(), || wanted.fits(&message, &terms)) {
                budget.charge(stored.body.len())?;
                found.push((stored, message));
            }
        }
    }
}

impl MessageQuery {
    fn fits(&self, message: &Message, terms: &[String]) -> bool {
        let has_all = || {
            let text = message.searchable().to_lowercase();
            terms.iter().all(|term| text.contains(term))
        };
        !message.is_event()
            && (self.roles.is_empty() || self.roles.contains(&message.role))
            && self.from.is_none_or(|from| message.created_at >= from)
            && self.to.is_none_or(|to| message.created_at <= to)
            && (terms.is_empty() || has_all())
    }
}

/// The words of a query, or all of it if it has none.
fn terms(query: &str) -> Vec<String> {
    let mut terms = looked_for(query);
    let whole = query.trim();
    if terms.is_empty() && !whole.is_empty() {
        terms.push(whole.to_lowercase());
    }
    terms
}
