//! Lists of messages: those of an agent, of a conversation, of a run, of everybody.

use crate::{
    access::Written,
    error::{ApiError, Code},
    mock::{
        pagination::cursor::{Defaults, Page},
        records::{Message, MessageType, MessageView, PlainMessage, WireMessage},
        resources::HandlerResult,
        storage::documents::{View, is_plain, parse_message},
    },
    reply::Reply,
    request::input::Query,
    store::{MessageFilter, StoredMessage},
};

/// What most lists of messages do unless the request says otherwise.
pub(in crate::mock) const NEWEST: Defaults = Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };
/// What those of a run or a step do.
pub(in crate::mock) const OLDEST: Defaults = Defaults { newest_first: false, ..NEWEST };

/// A page of messages as they are stored, in the order in which they were read: the newest first, or the oldest. Cursors
/// are absolute in time, whatever the order, and the messages that they name must be ones that `belongs` takes.
///
/// # Errors
/// 404 when a cursor names nothing; when the database fails.
pub(in crate::mock) async fn page(
    view: View<'_>,
    filter: MessageFilter<'_>,
    page: &Page<'_>,
    belongs: impl Fn(&StoredMessage) -> bool,
) -> Result<Vec<StoredMessage>, ApiError> {
    let filter = between(view, filter, page.after, page.before, belongs).await?;
    Ok(view.store().messages(&filter.newest_first(page.newest_first).limit(page.limit())).await?)
}

/// The same with cursors that are relative to the order of the list, as those of all other lists are: the messages that
/// it shows after one, or before. With only `before`, the messages next to the cursor are kept.
///
/// # Errors
/// 404 when a cursor names nothing; when the database fails.
pub(in crate::mock) async fn page_in_order(
    view: View<'_>,
    filter: MessageFilter<'_>,
    page: &Page<'_>,
    belongs: impl Fn(&StoredMessage) -> bool,
) -> Result<Vec<StoredMessage>, ApiError> {
    // Newest first, what comes before a message in the list is newer.
    let (after, before) = if page.newest_first { (page.before, page.after) } else { (page.after, page.before) };
    let filter = between(view, filter, after, before, belongs).await?;
    let is_backwards = page.after.is_none() && page.before.is_some();
    let filter = filter.newest_first(page.newest_first != is_backwards).limit(page.limit());
    let mut messages = view.store().messages(&filter).await?;
    if is_backwards {
        messages.reverse();
    }
    Ok(messages)
}

/// The messages that are newer than one and older than another.
async fn between<'a>(
    view: View<'_>,
    mut filter: MessageFilter<'a>,
    after: Option<&str>,
    before: Option<&str>,
    belongs: impl Fn(&StoredMessage) -> bool,
) -> Result<MessageFilter<'a>, ApiError> {
    for (cursor, is_after) in [(after, true), (before, false)] {
        let Some(cursor) = cursor else { continue };
        let found = if is_plain(cursor) { view.store().message(cursor).await? } else { None };
        let Some(place) = found.filter(&belongs).map(|message| message.seq) else { return Err(unknown(cursor)) };
        filter = if is_after { filter.after(place) } else { filter.before(place) };
    }
    Ok(filter)
}

/// The 404 for a message.
pub(in crate::mock) fn unknown(id: &str) -> ApiError {
    let id: String = id.chars().take(100).collect();
    ApiError::letta(Code::NotFound, format!("Message with ID {id} not found"))
}

/// The types that a query asks for; none: all.
pub(in crate::mock) fn message_types(query: &Query) -> Result<Option<Vec<MessageType>>, ApiError> {
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

/// How a query asks for messages to be shown.
pub(in crate::mock) fn message_view(query: &Query) -> Result<MessageView, ApiError> {
    let mut message_view = MessageView::only(message_types(query)?);
    if let Some(flag) = query.boolean("use_assistant_message")? {
        message_view.use_assistant_message = flag;
    }
    if let Some(name) = query.first("assistant_message_tool_name") {
        message_view.assistant_message_tool_name = name.to_owned().into();
    }
    if let Some(name) = query.first("assistant_message_tool_kwarg") {
        message_view.assistant_message_tool_kwarg = name.to_owned().into();
    }
    Ok(message_view)
}

/// Stored messages as clients see them, those of the types that are asked for.
pub(in crate::mock) fn written<'a, I>(messages: I, message_view: &MessageView) -> HandlerResult
where
    I: IntoIterator<Item = &'a StoredMessage, IntoIter: Clone>,
{
    let messages = messages.into_iter();
    let mut list = List::of(message_view, messages.clone());
    for message in messages {
        match PlainMessage::read(&message.body) {
            Some(plain) => list.written.harmlessly(|text| plain.write(|one| message_view.wants(one), text)),
            None => list.add(parse_message(message)?.shown(message_view))?,
        }
    }
    Ok(list.end())
}

/// The same, the newest first: also of those that are one message in the store.
pub(in crate::mock) fn written_backwards(messages: &[StoredMessage], message_view: &MessageView) -> HandlerResult {
    let mut list = List::of(message_view, messages.iter());
    for message in messages {
        match PlainMessage::read(&message.body) {
            Some(plain) => list.written.harmlessly(|text| plain.write_backwards(|one| message_view.wants(one), text)),
            None => list.add(parse_message(message)?.shown(message_view).into_iter().rev())?,
        }
    }
    Ok(list.end())
}

/// A list that is being written: each message after a comma, of which the first becomes the bracket. Plain messages are
/// harmless: beside their own members they have only texts.
struct List<'a> {
    message_view: &'a MessageView,
    written: Written,
}

impl<'a> List<'a> {
    fn of<'m>(message_view: &'a MessageView, messages: impl Iterator<Item = &'m StoredMessage>) -> Self {
        // On the wire the parts of a message are messages of their own, each with what they have in common.
        let room = messages.map(|message| 2 * message.body.len()).sum();
        Self { message_view, written: Written::with_capacity(room) }
    }

    fn add(&mut self, messages: impl IntoIterator<Item = WireMessage>) -> Result<(), ApiError> {
        for message in messages {
            if self.message_view.wants(message.message_type) {
                self.written.push(",");
                serde_json::to_writer(&mut self.written, &message).map_err(ApiError::internal)?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Reply {
        match self.written.first_mut() {
            Some(comma) => *comma = b'[',
            None => self.written.push("["),
        }
        self.written.push("]");
        Reply::written(self.written)
    }
}

/// Messages as clients see them, those of the types that are asked for.
pub(in crate::mock) fn shown(messages: &[Message], message_view: &MessageView) -> Vec<WireMessage> {
    let shown = messages.iter().flat_map(|message| message.shown(message_view));
    shown.filter(|message| message_view.wants(message.message_type)).collect()
}

/// The same, the newest first: also of those that are one message in the store.
pub(in crate::mock) fn shown_backwards(messages: &[Message], message_view: &MessageView) -> Vec<WireMessage> {
    let shown = messages.iter().flat_map(|message| message.shown(message_view).into_iter().rev());
    shown.filter(|message| message_view.wants(message.message_type)).collect()
}
