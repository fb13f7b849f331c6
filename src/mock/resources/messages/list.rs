//! Lists of messages: of an agent, a conversation, a run, or all.

use crate::{
    access::Written,
    error::{ApiError, Code},
    mock::{
        pagination::cursor::{Defaults, Page},
        records::{Agent, Message, MessageType, MessageView, PlainMessage, WireMessage},
        resources::routes::HandlerResult,
        storage::{View, is_plain, parse_message},
        text::excerpt::excerpt,
    },
    reply::Reply,
    request::input::Query,
    store::{MessageFilter, StoredMessage},
};

/// The defaults of most lists of messages.
pub(in crate::mock::resources) const NEWEST: Defaults =
    Defaults { limit: 100, newest_first: true, order_by: &["created_at"] };
/// The defaults of the lists of the messages of a run or a step.
pub(in crate::mock::resources) const OLDEST: Defaults = Defaults { newest_first: false, ..NEWEST };

/// A page of stored messages in the order of the page. Whatever the order, `after` means newer and `before` older.
/// `belongs` tells whether a message is in the list, so that a cursor may name it.
///
/// # Errors
/// 404 when a cursor names nothing in the list, or when the database fails.
pub(in crate::mock::resources) async fn page(
    view: View<'_>,
    filter: MessageFilter<'_>,
    page: &Page<'_>,
    belongs: impl Fn(&StoredMessage) -> bool,
) -> Result<Vec<StoredMessage>, ApiError> {
    let filter = narrow(view, filter, page.after, page.before, belongs).await?;
    Ok(view.store().messages(&filter.newest_first(page.newest_first).limit(page.limit())).await?)
}

/// The same with cursors that are relative to the order of the page, as in all other lists. With only `before`, the page
/// ends at the cursor.
///
/// # Errors
/// 404 when a cursor names nothing in the list, or when the database fails.
pub(super) async fn page_in_order(
    view: View<'_>,
    filter: MessageFilter<'_>,
    page: &Page<'_>,
    belongs: impl Fn(&StoredMessage) -> bool,
) -> Result<Vec<StoredMessage>, ApiError> {
    // In a list that is newest first, what precedes a message is newer.
    let (after, before) = if page.newest_first { (page.before, page.after) } else { (page.after, page.before) };
    let filter = narrow(view, filter, after, before, belongs).await?;
    let is_backwards = page.after.is_none() && page.before.is_some();
    let filter = filter.newest_first(page.newest_first != is_backwards).limit(page.limit());
    let mut messages = view.store().messages(&filter).await?;
    if is_backwards {
        messages.reverse();
    }
    Ok(messages)
}

/// Narrows a filter to the messages that are newer than one and older than another.
async fn narrow<'a>(
    view: View<'_>,
    mut filter: MessageFilter<'a>,
    after: Option<&str>,
    before: Option<&str>,
    belongs: impl Fn(&StoredMessage) -> bool,
) -> Result<MessageFilter<'a>, ApiError> {
    for (cursor, is_after) in [(after, true), (before, false)] {
        let Some(cursor) = cursor else { continue };
        let found = if is_plain(cursor) { view.store().message(cursor).await? } else { None };
        let Some(place) = found.filter(&belongs).map(|message| message.seq) else {
            return Err(message_not_found(cursor));
        };
        filter = if is_after { filter.after(place) } else { filter.before(place) };
    }
    Ok(filter)
}

/// Responds with the messages of an agent, in one of its conversations or in all. They are always oldest first; `order`
/// only says which end of the history `limit` keeps.
pub(super) async fn list_of_agent(
    view: View<'_>,
    query: &Query,
    agent_id: &str,
    conversation: Option<&str>,
) -> HandlerResult {
    let page = Page::read(query, NEWEST)?;
    let message_view = message_view(query)?;
    query.boolean("include_err")?;
    let filter = match conversation {
        Some(conversation) if is_plain(conversation) => MessageFilter::of_conversation(agent_id, conversation),
        // No conversation has such an id.
        Some(_) => MessageFilter::of_agent(agent_id).limit(0),
        None => MessageFilter::of_agent(agent_id),
    };
    // Groups have no messages.
    let is_empty =
        conversation.is_some_and(|conversation| !is_plain(conversation)) || query.first("group_id").is_some();
    let page = if is_empty { Page { limit: 0, ..page } } else { page };
    let messages = self::page(view, filter, &page, |message| message.agent_id == agent_id).await;
    // A message proves that its agent exists, so only an empty list needs a look-up.
    if !messages.as_ref().is_ok_and(|messages| messages.first().is_some_and(|message| view.shows(message))) {
        view.get_stored::<Agent>(agent_id).await?;
    }
    let messages = messages?;
    if page.newest_first { respond(messages.iter().rev(), &message_view) } else { respond(&messages, &message_view) }
}

/// The 404 for a message.
pub(in crate::mock::resources) fn message_not_found(id: &str) -> ApiError {
    ApiError::letta(Code::NotFound, format!("Message with ID {} not found", excerpt(id)))
}

/// The message types that a query asks for; `None` means all.
pub(in crate::mock::resources) fn message_types(query: &Query) -> Result<Option<Vec<MessageType>>, ApiError> {
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

/// The message view that a query asks for.
pub(super) fn message_view(query: &Query) -> Result<MessageView, ApiError> {
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

/// Responds with stored messages in a message view.
pub(in crate::mock::resources) fn respond<'a, I>(messages: I, message_view: &MessageView) -> HandlerResult
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

/// The same in reverse: the messages that a client sees of one stored message are reversed too.
pub(in crate::mock::resources) fn respond_reversed(
    messages: &[StoredMessage],
    message_view: &MessageView,
) -> HandlerResult {
    let mut list = List::of(message_view, messages.iter());
    for message in messages {
        match PlainMessage::read(&message.body) {
            Some(plain) => list.written.harmlessly(|text| plain.write_backwards(|one| message_view.wants(one), text)),
            None => list.add(parse_message(message)?.shown(message_view).into_iter().rev())?,
        }
    }
    Ok(list.end())
}

/// A JSON list that is being written: a comma before each message, of which the first is replaced by the bracket. Plain
/// messages need no redaction, because they have only texts besides their own members.
struct List<'a> {
    message_view: &'a MessageView,
    written: Written,
}

impl<'a> List<'a> {
    fn of<'m>(message_view: &'a MessageView, messages: impl Iterator<Item = &'m StoredMessage>) -> Self {
        // On the wire the parts of a message are separate messages that repeat what they have in common.
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

/// Messages as clients see them in a message view.
pub(in crate::mock::resources) fn to_wire(messages: &[Message], message_view: &MessageView) -> Vec<WireMessage> {
    let shown = messages.iter().flat_map(|message| message.shown(message_view));
    shown.filter(|message| message_view.wants(message.message_type)).collect()
}

/// The same in reverse: the messages that a client sees of one stored message are reversed too.
pub(in crate::mock::resources) fn to_wire_reversed(
    messages: &[Message],
    message_view: &MessageView,
) -> Vec<WireMessage> {
    let shown = messages.iter().flat_map(|message| message.shown(message_view).into_iter().rev());
    shown.filter(|message| message_view.wants(message.message_type)).collect()
}
