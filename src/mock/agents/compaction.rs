//! Compaction: a summary replaces the oldest messages in the model's context. The messages remain in the history.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::{
    error::{ApiError, Code},
    mock::{
        agents::thread::Thread,
        records::{ContextEntry, Message, Part, Role},
        storage::{insert_messages, parse_message},
    },
    store::{MessageFilter, Store, transaction},
};

/// At most this many bytes of the newest messages are read. Older messages are removed from the context unread.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The result of a compaction.
pub(in crate::mock) struct Compacted {
    summary: String,
    /// The size of the context before and after, in messages.
    before: usize,
    after: usize,
}

impl Compacted {
    /// The result as clients see it.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "summary": self.summary,
            "num_messages_before": self.before,
            "num_messages_after": self.after,
        })
    }
}

/// Compacts the context of a conversation. `settings` override the agent's own.
///
/// # Errors
/// 400 if there are too few messages; 404 if the conversation does not exist; if the database fails.
pub(in crate::mock) async fn compact(
    store: &Store,
    agent_id: &str,
    conversation_id: Option<&str>,
    settings: Option<&Map<String, Value>>,
) -> Result<Compacted, ApiError> {
    let (before, summary, after) = transaction!(store, tx => {
        let not_found = || ApiError::letta(Code::NotFound, "Conversation not found");
        let mut thread = Thread::lock(tx, agent_id, conversation_id).await?.ok_or_else(not_found)?;
        let before = thread.context().len();
        let newest = MessageFilter::of_conversation(agent_id, thread.id()).newest_first(true).limit(2_000);
        let messages = tx.messages_chunk(&newest, MAX_BYTES).await?;
        let messages: Vec<Message> = messages.iter().rev().map(parse_message).collect::<Result<_, _>>()?;
        let in_context: Vec<&Message> = thread
            .context()
            .iter()
            .skip(1)
            .filter_map(|entry| messages.iter().find(|message| message.id == entry.id))
            .collect();
        let keep = count_kept(&in_context, thread.is_waiting(), &merged(&thread.agent.record.compaction_settings, settings));
        let removed = in_context.len() - keep;
        if removed < 2 {
            return Err(ApiError::letta(
                Code::InvalidRequest,
                "INVALID_ARGUMENT: There are too few messages in this conversation to summarize",
            ));
        }
        let summary = summarize(&in_context[..removed]);
        let message = Message::new(Role::Summary, vec![Part::text(summary.as_str())]);
        let entry = ContextEntry { id: message.id.clone(), tokens: message.tokens() };
        let last = in_context[removed - 1].id.clone();
        insert_messages(tx, &thread.agent, thread.id(), std::slice::from_ref(&message)).await?;
        let context = thread.context_mut();
        let end = context.iter().position(|entry| entry.id == last).map_or(1, |index| index + 1);
        context.splice(1..end, [entry]);
        let after = context.len();
        thread.count_message();
        thread.update(tx).await?;
        Ok((before, summary, after))
    })?;
    Ok(Compacted { summary, before, after })
}

fn merged(own: &Map<String, Value>, requested: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut settings = own.clone();
    settings.extend(requested.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    settings
}

/// How many of the newest messages stay in the context: in mode `all` none, else a share of them that begins with a message of
/// the user. A request for approval that waits for a decision stays in any case.
fn count_kept(in_context: &[&Message], is_waiting: bool, settings: &Map<String, Value>) -> usize {
    let mode = settings.get("mode").and_then(Value::as_str).unwrap_or("sliding_window");
    let share = settings.get("sliding_window_percentage").and_then(Value::as_f64).unwrap_or(0.3).clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a few thousand"
    )]
    let limit = if mode.ends_with("all") { 0 } else { (in_context.len() as f64 * share) as usize };
    let first = (in_context.len() - limit..in_context.len()).find(|index| in_context[*index].is_of_user());
    let keep = first.map_or(0, |index| in_context.len() - index);
    if is_waiting { keep.max(1) } else { keep }
}

/// A summary that is determined by the messages.
fn summarize(messages: &[&Message]) -> String {
    const MAX_QUOTE: usize = 200;
    let quote = |message: &&Message| {
        let text = message.said();
        let cut: String = text.chars().take(MAX_QUOTE).collect();
        if cut.len() < text.len() { format!("{cut}...") } else { cut }
    };
    let of = |role: Role| messages.iter().filter(move |message| message.role == role && !message.is_event());
    let mut summary = format!("Summary of {} earlier messages.", messages.len());
    for (word, message) in [("first asked", of(Role::User).next()), ("last asked", of(Role::User).next_back())] {
        if let Some(message) = message {
            // Writing to a string cannot fail.
            let _ = write!(summary, " The user {word}: \"{}\".", quote(message));
        }
    }
    if let Some(message) = of(Role::Assistant).next_back() {
        let _ = write!(summary, " The last answer was: \"{}\".", quote(message));
    }
    summary
}
