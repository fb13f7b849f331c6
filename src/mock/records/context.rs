//! Contexts: the messages of a conversation that a model sees.

use serde::{Deserialize, Serialize};

use super::message::Message;

/// A message that the model sees, and what it costs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct ContextEntry {
    pub(in crate::mock) id: String,
    pub(in crate::mock) tokens: i64,
}

impl ContextEntry {
    /// A message, and what it costs.
    pub(in crate::mock) fn of(message: &Message) -> Self {
        Self { id: message.id.clone(), tokens: message.tokens() }
    }
}

/// Adds what was just said to what a model sees through a window of so many tokens; the first entry is the system message
/// and stays. `forgets`: nothing else does.
pub(in crate::mock) fn remember(
    context: &mut Vec<ContextEntry>,
    said: impl IntoIterator<Item = ContextEntry>,
    window: i64,
    forgets: bool,
) {
    /// Bounds the document that holds the context, whatever the model's window.
    const MOST_MESSAGES: usize = 1_000;
    context.extend(said);
    if forgets {
        context.truncate(1);
        return;
    }
    let fits = context.len() <= MOST_MESSAGES && tokens_of(context) <= window;
    if fits || context.len() <= 2 {
        return;
    }
    let mut tokens = context.first().map_or(0, |system| system.tokens);
    let (room, places) = (window.saturating_mul(7) / 10, MOST_MESSAGES * 7 / 10);
    let fitting = context.iter().skip(1).rev().take(places).take_while(|entry| {
        tokens = tokens.saturating_add(entry.tokens);
        tokens <= room
    });
    let kept = fitting.count().max(1);
    let leaving = context.len().saturating_sub(1 + kept);
    context.drain(1..=leaving);
}

/// How many tokens a context takes.
pub(in crate::mock) fn tokens_of(context: &[ContextEntry]) -> i64 {
    context.iter().map(|entry| entry.tokens).sum()
}
