//! Lists of messages: those of an agent, of a conversation, of a run, of everybody.

use crate::{
    call::Query,
    error::{ApiError, Code},
    mock::{
        documents::{View, is_plain, parse_message},
        page::{Defaults, Page},
        records::{Message, MessageType, WireMessage},
    },
    store::{MessageFilter, StoredMessage},
};

/// What most lists of messages do unless the request says otherwise.
pub(super) const NEWEST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };
/// What those of a run or a step do.
pub(super) const OLDEST: Defaults = Defaults { newest_first: false, ..NEWEST };

/// A page of stored messages, in the order in which they were read: the newest first, or the oldest. Cursors are absolute
/// in time, whatever the order, and the messages that they name must be ones that `belongs` takes.
///
/// # Errors
/// 404 when a cursor names nothing; when the database fails.
pub(super) async fn page(
    view: View<'_>,
    mut filter: MessageFilter<'_>,
    page: &Page<'_>,
    belongs: impl Fn(&StoredMessage) -> bool,
) -> Result<Vec<Message>, ApiError> {
    for (cursor, is_after) in [(page.after, true), (page.before, false)] {
        let Some(cursor) = cursor else { continue };
        let found = if is_plain(cursor) { view.store().message(cursor).await? } else { None };
        let Some(place) = found.filter(&belongs).map(|message| message.seq) else { return Err(unknown(cursor)) };
        filter = if is_after { filter.after(place) } else { filter.before(place) };
    }
    let stored = view.store().messages(&filter.newest_first(page.newest_first).limit(page.limit())).await?;
    stored.iter().map(parse_message).collect()
}

/// The 404 for a message.
pub(super) fn unknown(id: &str) -> ApiError {
    let id: String = id.chars().take(100).collect();
    ApiError::letta(Code::NotFound, format!("Message with ID {id} not found"))
}

/// The types that a query asks for; none: all.
pub(super) fn message_types(query: &Query) -> Result<Option<Vec<MessageType>>, ApiError> {
    let name = "include_return_message_types";
    let read = |word: &str| {
        MessageType::from_word(word).ok_or_else(|| {
            let problem = format!("Input should be {}", MessageType::words());
            ApiError::validation("enum", &["query", name], &problem, &word.into())
        })
    };
    let types = query.all(name).map(read).collect::<Result<Vec<_>, _>>()?;
    Ok((!types.is_empty()).then_some(types))
}

/// Messages as clients see them, those of the types that are asked for.
pub(super) fn shown(messages: &[Message], types: Option<&[MessageType]>) -> Vec<WireMessage> {
    let wanted = |message: &WireMessage| types.is_none_or(|types| types.contains(&message.message_type));
    messages.iter().flat_map(Message::expand).filter(wanted).collect()
}

/// The same, the newest first: also of those that are one message in the store.
pub(super) fn shown_backwards(messages: &[Message], types: Option<&[MessageType]>) -> Vec<WireMessage> {
    let wanted = |message: &WireMessage| types.is_none_or(|types| types.contains(&message.message_type));
    messages.iter().flat_map(|message| message.expand().into_iter().rev()).filter(wanted).collect()
}
