//! What a reply is matched against, and why it does not fit.

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::credentials::in_text::without_credentials;

/// What is known of a model step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// The user's last text.
    pub(crate) text: &'a str,
    /// The agent's name.
    pub(crate) agent: &'a str,
    /// The agent's id.
    pub(crate) agent_id: &'a str,
    /// The agent's tags.
    pub(crate) agent_tags: &'a [String],
    /// The conversation's id, or `default`.
    pub(crate) conversation: &'a str,
    /// The number of the user's turn in the conversation, from 0; `None` if nobody needs it.
    pub(crate) turn: Option<u64>,
    /// How the response is delivered.
    pub(crate) delivery: Deliveries,
    /// What was decided about the calls that waited, if this is the first step after it.
    pub(crate) approval: Option<Approved>,
    /// The tools that were called before this step, and what the last one returned.
    pub(crate) after: Option<After<'a>>,
    /// Whether the agent thinks in the background about what was said to another one.
    pub(crate) is_sleeptime: bool,
}

/// The tools that were called before a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct After<'a> {
    /// Their names.
    pub(crate) tools: &'a [&'a str],
    /// What the last one returned.
    pub(crate) result: &'a str,
}

/// How a response is delivered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryKind {
    /// As one JSON document.
    Json,
    /// As a stream of events.
    Stream,
    /// In the background: the response does not wait for it, or goes on without a reader.
    Background,
}

/// A set of deliveries.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Deliveries(u8);

impl FromIterator<DeliveryKind> for Deliveries {
    fn from_iter<I: IntoIterator<Item = DeliveryKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | 1 << kind as u8))
    }
}

impl Deliveries {
    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn words(self) -> Value {
        let kinds = [DeliveryKind::Json, DeliveryKind::Stream, DeliveryKind::Background];
        json!(kinds.into_iter().filter(|kind| self.meets(Self::from_iter([*kind]))).collect::<Vec<_>>())
    }
}

/// What a person decided about calls.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Approved {
    /// All of them may run.
    Approved,
    /// At least one of them must not run.
    Denied,
}

/// One thing that must fit.
#[derive(Debug)]
pub(super) enum Criterion {
    /// The state of the namespace.
    State(Box<str>),
    /// The kinds of delivery, any of which.
    Delivery(Deliveries),
    /// What was decided about calls.
    Approval(Approved),
    /// The number of the user's turn.
    Turn(u64),
    /// The conversation.
    Conversation(Box<str>),
    /// The name of the agent.
    Agent(Box<str>),
    /// The id of the agent.
    AgentId(Box<str>),
    /// A tag of the agent.
    AgentTag(Box<str>),
    /// The ref of the agent or of the conversation in the seed.
    Ref(Box<str>),
    /// A tool that was called in the last step.
    AfterTool(Box<str>),
    /// A text in what the last tool returned.
    ToolResult(Box<str>),
    /// A text in what the user said.
    Text(Box<str>),
    /// A regular expression that matches anywhere in what the user said.
    User(Regex),
}

/// What a namespace adds to the facts of a model step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) state: &'a str,
    /// The refs of the agent and of the conversation.
    pub(super) refs: [Option<&'a str>; 2],
}

/// At most this much of a text is shown, and of so much of it credentials are removed before.
const MOST_SHOWN: usize = 200;
const MOST_SEARCHED: usize = 4 * 1024;

impl Criterion {
    /// Its name in a definition.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::State(_) => "state",
            Self::Delivery(_) => "delivery",
            Self::Approval(_) => "approval",
            Self::Turn(_) => "turn",
            Self::Conversation(_) => "conversation",
            Self::Agent(_) => "agent",
            Self::AgentId(_) => "agent_id",
            Self::AgentTag(_) => "agent_tag",
            Self::Ref(_) => "ref",
            Self::AfterTool(_) => "after_tool",
            Self::ToolResult(_) => "tool_result",
            Self::Text(_) => "text",
            Self::User(_) => "user",
        }
    }

    /// Whether it is about the text of the user.
    pub(super) fn is_of_text(&self) -> bool {
        matches!(self, Self::Text(_) | Self::User(_))
    }

    pub(super) fn fits(&self, situation: &Situation<'_>) -> bool {
        let Situation { facts, state, refs } = situation;
        match self {
            Self::State(expected) => **expected == **state,
            Self::Delivery(kinds) => kinds.meets(facts.delivery),
            Self::Approval(expected) => facts.approval == Some(*expected),
            Self::Turn(expected) => facts.turn == Some(*expected),
            Self::Conversation(expected) => **expected == *facts.conversation,
            Self::Agent(expected) => **expected == *facts.agent,
            Self::AgentId(expected) => **expected == *facts.agent_id,
            Self::AgentTag(expected) => facts.agent_tags.iter().any(|tag| **expected == **tag),
            Self::Ref(expected) => refs.contains(&Some(&**expected)),
            Self::AfterTool(expected) => facts.after.is_some_and(|after| after.tools.contains(&&**expected)),
            Self::ToolResult(expected) => facts.after.is_some_and(|after| after.result.contains(&**expected)),
            Self::Text(expected) => facts.text.contains(&**expected),
            Self::User(expected) => expected.is_match(facts.text),
        }
    }

    /// What it requires.
    pub(super) fn expected(&self) -> Value {
        match self {
            Self::Delivery(kinds) => kinds.words(),
            Self::Approval(expected) => json!(expected),
            Self::Turn(expected) => json!(expected),
            Self::User(expected) => json!(expected.as_str()),
            Self::State(text)
            | Self::Conversation(text)
            | Self::Agent(text)
            | Self::AgentId(text)
            | Self::AgentTag(text)
            | Self::Ref(text)
            | Self::AfterTool(text)
            | Self::ToolResult(text)
            | Self::Text(text) => json!(text),
        }
    }

    /// What there is instead.
    pub(super) fn found(&self, situation: &Situation<'_>) -> Value {
        let Situation { facts, state, refs } = situation;
        match self {
            Self::State(_) => json!(state),
            Self::Delivery(_) => facts.delivery.words(),
            Self::Approval(_) => json!(facts.approval),
            Self::Turn(_) => json!(facts.turn),
            Self::Conversation(_) => json!(facts.conversation),
            Self::Agent(_) => json!(facts.agent),
            Self::AgentId(_) => json!(facts.agent_id),
            Self::AgentTag(_) => json!(facts.agent_tags),
            Self::Ref(_) => json!(refs.iter().flatten().collect::<Vec<_>>()),
            Self::AfterTool(_) => json!(facts.after.map(|after| after.tools)),
            Self::ToolResult(_) => json!(facts.after.map(|after| excerpt(after.result))),
            Self::Text(_) | Self::User(_) => json!(excerpt(facts.text)),
        }
    }
}

/// The beginning of a text, without credentials.
pub(super) fn excerpt(text: &str) -> String {
    let text = without_credentials(&text[..text.floor_char_boundary(MOST_SEARCHED)]);
    let end = text.floor_char_boundary(MOST_SHOWN);
    if end == text.len() { text.into_owned() } else { format!("{}...", &text[..end]) }
}
