//! Shortening what a model sees of a conversation: the oldest messages make room for a summary of them. They stay in the
//! history.

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

/// How many bytes of the newest messages are looked at. What is older leaves with what is summed up.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// What a compaction came to.
pub(in crate::mock) struct Compacted {
    summary: String,
    before: usize,
    after: usize,
}

impl Compacted {
    /// As clients see it.
    pub(in crate::mock) fn wire(&self) -> Value {
        json!({
            "summary": self.summary,
            "num_messages_before": self.before,
            "num_messages_after": self.after,
        })
    }
}

/// Shortens what the model sees of a conversation. `settings`: what the request says about how; the agent's own where it
/// says nothing.
///
/// # Errors
/// 400 when there is too little to summarise; 404 when the conversation is gone; when the database fails.
pub(in crate::mock) async fn compact(
    store: &Store,
    agent_id: &str,
    conversation_id: Option<&str>,
    settings: Option<&Map<String, Value>>,
) -> Result<Compacted, ApiError> {
    let (before, summary, after) = transaction!(store, tx => {
        let gone = || ApiError::letta(Code::NotFound, "Conversation not found");
        let mut thread = Thread::lock(tx, agent_id, conversation_id).await?.ok_or_else(gone)?;
        let before = thread.context().len();
        let newest = MessageFilter::of_conversation(agent_id, thread.id()).newest_first(true).limit(2_000);
        let messages = tx.messages_chunk(&newest, MOST_BYTES).await?;
        let messages: Vec<Message> = messages.iter().rev().map(parse_message).collect::<Result<_, _>>()?;
        let seen: Vec<&Message> = thread
            .context()
            .iter()
            .skip(1)
            .filter_map(|entry| messages.iter().find(|message| message.id == entry.id))
            .collect();
        let kept = kept(&seen, thread.is_waiting(), &merged(&thread.agent.record.compaction_settings, settings));
        let leaving = seen.len() - kept;
        if leaving < 2 {
            return Err(ApiError::letta(
                Code::InvalidRequest,
                "INVALID_ARGUMENT: There are too few messages in this conversation to summarize",
            ));
        }
        let summary = summarize(&seen[..leaving]);
        let message = Message::new(Role::Summary, vec![Part::text(summary.as_str())]);
        let entry = ContextEntry { id: message.id.clone(), tokens: message.tokens() };
        let last = seen[leaving - 1].id.clone();
        insert_messages(tx, &thread.agent, thread.id(), std::slice::from_ref(&message)).await?;
        let context = thread.context_mut();
        let end = context.iter().position(|entry| entry.id == last).map_or(1, |place| place + 1);
        context.splice(1..end, [entry]);
        let after = context.len();
        thread.count_one_more();
        thread.update(tx).await?;
        Ok((before, summary, after))
    })?;
    Ok(Compacted { summary, before, after })
}

fn merged(own: &Map<String, Value>, asked: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut settings = own.clone();
    settings.extend(asked.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
    settings
}

/// How many of the newest messages stay: none or a share of them, never from the middle of a turn, and always a question
/// that waits for an answer.
fn kept(seen: &[&Message], is_waiting: bool, settings: &Map<String, Value>) -> usize {
    let mode = settings.get("mode").and_then(Value::as_str).unwrap_or("sliding_window");
    let share = settings.get("sliding_window_percentage").and_then(Value::as_f64).unwrap_or(0.3).clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a few thousand"
    )]
    let most = if mode.ends_with("all") { 0 } else { (seen.len() as f64 * share) as usize };
    let first = (seen.len() - most..seen.len()).find(|place| seen[*place].is_of_user());
    let kept = first.map_or(0, |place| seen.len() - place);
    if is_waiting { kept.max(1) } else { kept }
}

/// A summary of messages, the same for the same messages.
fn summarize(messages: &[&Message]) -> String {
    const QUOTED: usize = 200;
    let quote = |message: &&Message| {
        let text = message.said();
        let cut: String = text.chars().take(QUOTED).collect();
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
