//! The responder: stands in for the model, and responds to the same messages in the same way every time.
//!
//! The replies of the namespace come first, of which [`scripted`] does what their steps say. Where none fits, [`sleeptime`]
//! responds for sleeptime agents, and [`literal`], which takes the user's text literally, for all others.

mod agent_messages;
mod arguments;
mod choose;
mod directives;
mod literal;
mod memory_intent;
mod named_calls;
pub(super) mod provider_request;
mod scripted;
mod sleeptime;

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

pub(super) use self::scripted::last_return;
use super::{
    budget::{Budget, Overspent, offload},
    records::{Block, Message, Part, StopReason, ToolStatus, turn_error::TurnError},
    tools::set::{CallableTool, ToolSet},
};
use crate::replies::{Chosen, Replies, SavedReplies, Script, UsageOverride};

/// An object that conforms to a JSON schema, with values found in a text.
pub(super) fn object_from_text(
    text: &str,
    schema: &Map<String, Value>,
    budget: &Budget,
) -> Result<Map<String, Value>, Overspent> {
    arguments::from_text(
        text,
        0,
        &CallableTool { name: String::new(), parameters: schema.clone(), stored: None },
        budget,
    )
}

/// What the responder is given for one model step.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelRequest<'a> {
    pub(super) agent_name: &'a str,
    pub(super) agent_id: &'a str,
    /// The reply that was chosen for this step, if any fits, and the number of the user's turn.
    pub(super) reply: Option<(&'a Chosen, Option<u64>)>,
    /// The messages since the user's last one, oldest first.
    pub(super) messages: &'a [Message],
    /// The tools that may be called.
    pub(super) tool_set: &'a ToolSet,
    /// The agent's memory blocks; empty unless [`Responder::needs_blocks`], or the reply does.
    pub(super) blocks: &'a [Block],
    /// The agent's `response_format`, if it asks for JSON.
    pub(super) response_format: Option<&'a Map<String, Value>>,
    /// Whether the model reasons before it replies.
    pub(super) reasons: bool,
    /// How much the response may produce.
    pub(super) budget: &'a Budget,
    /// For a sleeptime agent, the user's texts in the transcript that it processes; `None` in all other turns.
    pub(super) user_texts: Option<&'a [String]>,
}

/// The result of one model step. A step without calls ends its turn.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelResponse {
    /// A delay before everything else.
    pub(super) delay: Duration,
    /// A delay before each event of the stream.
    pub(super) event_delay: Duration,
    /// A further delay before each event in which the agent speaks.
    pub(super) pace: Duration,
    /// Text and reasoning, in order.
    pub(super) parts: Vec<Part>,
    /// Tool calls, which follow the text.
    pub(super) calls: Vec<CallRequest>,
    /// A failure of the model's provider, which replaces text and calls.
    pub(super) failure: Option<TurnError>,
    /// Calls of memory tools that are made before all else and that nobody sees.
    pub(super) memory: Vec<CallRequest>,
    /// Why the turn ends with this step, if it does.
    pub(super) stop: Option<StopReason>,
    /// The usage that the step reports instead of what is counted.
    pub(super) usage: Option<UsageOverride>,
}

/// A tool call that the responder makes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CallRequest {
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
    /// Whether it needs approval even if the agent's tool rules do not require it.
    pub(super) requires_approval: bool,
    /// The scripted result; `None` runs the tool.
    pub(super) returns: Option<(String, ToolStatus)>,
}

impl CallRequest {
    /// A call that runs the tool, and needs approval only where the agent's tool rules say so.
    pub(super) fn new(name: &str, arguments: Map<String, Value>) -> Self {
        Self { name: name.to_owned(), arguments, requires_approval: false, returns: None }
    }
}

/// Responds to messages, one model step at a time.
#[derive(Debug)]
pub(super) struct Responder {
    /// The operator's script, which all namespaces share.
    script: Option<Arc<Script>>,
    /// The replies of this namespace.
    replies: Replies,
}

impl Responder {
    /// A responder that begins with the replies of a script.
    pub(super) fn new(script: Option<Arc<Script>>) -> Self {
        Self { replies: Replies::new(script.as_deref()), script }
    }

    /// A responder with the replies that another one with the same script had.
    pub(super) fn with(&self, replies: &SavedReplies) -> Self {
        Self { script: self.script.clone(), replies: Replies::restore(replies, self.script.as_deref()) }
    }

    /// The replies of its namespace.
    pub(super) fn replies(&self) -> &Replies {
        &self.replies
    }

    /// The next step of a turn.
    ///
    /// # Errors
    /// If the response would exceed the budget.
    pub(super) fn respond(&self, request: &ModelRequest<'_>) -> Result<ModelResponse, Overspent> {
        let size = request.messages.iter().map(Message::length).sum();
        let default = || match request.user_texts {
            Some(user_texts) => sleeptime::respond(request, user_texts),
            None => literal::respond(request),
        };
        offload(size, || {
            let Some((chosen, turn)) = request.reply else { return default() };
            let values = scripted::Values {
                chosen,
                replies: &self.replies,
                agent_name: request.agent_name,
                agent_id: request.agent_id,
                blocks: request.blocks,
                returned: &scripted::last_return(request.messages),
                turn,
                budget: request.budget,
            };
            match scripted::respond(&values)? {
                Some(response) => response.completed(default),
                None => default(),
            }
        })
    }

    /// Whether the response may depend on the values of memory blocks.
    pub(super) fn needs_blocks(messages: &[Message]) -> bool {
        memory_intent::mentions_memory(&user_text(messages))
    }
}

/// The rest of a text after this many characters is only quoted, never interpreted.
const MAX_INTERPRETED: usize = 20_000;

/// The text of the message to respond to.
pub(super) fn user_text(messages: &[Message]) -> String {
    current_message(messages).map(Message::text).unwrap_or_default()
}

/// The last text part of the message to respond to. Programs put context for the agent into the same message, in text
/// parts before the user's own; a tool that is mentioned there must not be called.
fn last_text_part(messages: &[Message]) -> &str {
    let parts = current_message(messages).map(|message| message.content.as_slice()).unwrap_or_default();
    let last = parts.iter().rev().find_map(|part| match part {
        Part::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    last.unwrap_or_default()
}

/// The message to respond to: the user's last one, or the last of all if the user sent none.
fn current_message(messages: &[Message]) -> Option<&Message> {
    messages.iter().rev().find(|message| message.is_of_user()).or(messages.last())
}

/// The beginning of a text, up to [`MAX_INTERPRETED`] characters.
fn interpreted(text: &str) -> &str {
    match text.char_indices().nth(MAX_INTERPRETED) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
