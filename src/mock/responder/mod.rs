//! What stands in for the model: something that answers what was said, the same way every time.
//!
//! A script of the operator's answers what it knows; everything else is answered by [`literal`], which does what the text
//! says to the letter.

mod agent_messages;
mod arguments;
mod directives;
mod literal;
pub(super) mod provider_request;
mod script;
mod sleeptime;
mod words;

use std::time::Duration;

use serde_json::{Map, Value};

pub use self::script::{Script, ScriptError};
use super::{
    budget::{Budget, Overspent, aside},
    records::{Block, Message, Part, ToolStatus, turn_error::TurnError},
    tools::set::{Tool, ToolSet},
};

/// An object of this schema, filled in from what a text says.
pub(super) fn filled_in(
    text: &str,
    schema: &Map<String, Value>,
    budget: &Budget,
) -> Result<Map<String, Value>, Overspent> {
    arguments::read(text, 0, &Tool { name: String::new(), parameters: schema.clone(), servers: None }, budget)
}

/// What a responder sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelRequest<'a> {
    /// The agent's name.
    pub(super) agent: &'a str,
    /// What was said since the user spoke last, oldest first.
    pub(super) said: &'a [Message],
    /// The tools that may be called.
    pub(super) tool_set: &'a ToolSet,
    /// The memory blocks, where [`Responder::wants_blocks`] said so.
    pub(super) blocks: &'a [Block],
    /// The form that answers must have, as `response_format` says; none: text.
    pub(super) form: Option<&'a Map<String, Value>>,
    /// Whether the model reasons before it answers.
    pub(super) reasons: bool,
    /// What one answer may produce.
    pub(super) budget: &'a Budget,
    /// What the user said in the conversation that a sleeptime agent goes through; none: it is an ordinary turn.
    pub(super) heard: Option<&'a [String]>,
}

/// What a responder says in one step. A step without calls ends its turn.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelResponse {
    /// How long it thinks before.
    pub(super) delay: Duration,
    /// How long it pauses before each piece of it.
    pub(super) pace: Duration,
    /// What is said, in order: text and reasoning.
    pub(super) parts: Vec<Part>,
    /// The tools that are called after that.
    pub(super) calls: Vec<CallRequest>,
    /// In place of all that: the model's provider failed.
    pub(super) failure: Option<TurnError>,
}

/// A call of a tool that a responder asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CallRequest {
    pub(super) name: String,
    pub(super) arguments: Map<String, Value>,
    /// Whether it waits for a decision whatever the agent's rules say.
    pub(super) asks: bool,
    /// What it returns, where that is known beforehand.
    pub(super) returns: Option<(String, ToolStatus)>,
}

impl CallRequest {
    /// A call as the tool and its agent's rules have it.
    pub(super) fn new(name: &str, arguments: Map<String, Value>) -> Self {
        Self { name: name.to_owned(), arguments, asks: false, returns: None }
    }
}

/// Answers what was said. One call is one model step.
#[derive(Debug)]
pub(super) struct Responder {
    script: Option<Script>,
}

impl Responder {
    pub(super) fn new(script: Option<Script>) -> Self {
        Self { script }
    }

    /// The next step of a turn.
    ///
    /// # Errors
    /// When the answer would be larger than the budget.
    pub(super) fn respond(&self, situation: &ModelRequest<'_>) -> Result<ModelResponse, Overspent> {
        let looked_at = situation.said.iter().map(Message::length).sum();
        aside(looked_at, || {
            let scripted = self.script.as_ref().and_then(|script| script.respond(situation).transpose());
            scripted.unwrap_or_else(|| match situation.heard {
                Some(heard) => sleeptime::respond(situation, heard),
                None => literal::respond(situation),
            })
        })
    }

    /// Whether the answer may depend on what the memory blocks say.
    pub(super) fn wants_blocks(said: &[Message]) -> bool {
        words::speaks_of_memory(&asked_text(said))
    }
}

/// Beyond this many characters a text is quoted and not looked into.
const UNDERSTOOD: usize = 20_000;

/// What the user said last; where only others spoke, what was said last.
fn asked_text(said: &[Message]) -> String {
    asked(said).map(Message::text).unwrap_or_default()
}

/// The last text of it. Programs put what they tell an agent about its surroundings before a user's own words, as texts of
/// their own in the same message; a tool that is mentioned there is not asked for.
fn asked_part(said: &[Message]) -> &str {
    let parts = asked(said).map(|message| message.content.as_slice()).unwrap_or_default();
    let last = parts.iter().rev().find_map(|part| match part {
        Part::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    last.unwrap_or_default()
}

fn asked(said: &[Message]) -> Option<&Message> {
    said.iter().rev().find(|message| message.is_of_user()).or(said.last())
}

/// The beginning of a text, as far as it is looked into.
fn understood(text: &str) -> &str {
    match text.char_indices().nth(UNDERSTOOD) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}
