//! What a turn is asked to do, as its run keeps it: it can be taken up by another process.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    content::Part,
    message::{Message, Role},
    tool_call::Approval,
};

/// What a turn is to do. It can be stored and taken up later.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct TurnRequest {
    /// What is said, in order.
    pub(in crate::mock) input: Vec<IncomingMessage>,
    /// What is decided about tool calls that wait, before anything is said.
    #[serde(default)]
    pub(in crate::mock) decision: Option<Decision>,
    /// The most model steps to take.
    pub(in crate::mock) max_steps: i64,
    /// Tools that the client runs itself.
    #[serde(default)]
    pub(in crate::mock) client_tools: Vec<ClientTool>,
    /// The handle of the model that is to answer; none: the conversation's, or the agent's.
    #[serde(default)]
    pub(in crate::mock) model: Option<String>,
    /// How many turns were asked for at once, which share what one may produce.
    #[serde(default)]
    pub(in crate::mock) sharers: usize,
    /// The conversation that a sleeptime agent goes through; none: it is an ordinary turn.
    #[serde(default)]
    pub(in crate::mock) transcript: Option<Box<Transcript>>,
}

/// How an answer is to travel.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one field of the request")]
pub(in crate::mock) struct Delivery {
    /// As events, not as one answer.
    pub(in crate::mock) streaming: bool,
    /// Texts in pieces.
    pub(in crate::mock) tokens: bool,
    /// With signs of life.
    pub(in crate::mock) pings: bool,
    /// The turn goes on when the client leaves.
    pub(in crate::mock) background: bool,
}

/// A tool that the client runs itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct ClientTool {
    pub(in crate::mock) name: String,
    /// The JSON schema of its arguments, as text: what is stored must not nest deeper than what was sent.
    pub(in crate::mock) parameters: Option<String>,
}

/// A message that a request brings.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct IncomingMessage {
    pub(in crate::mock) role: Role,
    pub(in crate::mock) content: Vec<Part>,
    pub(in crate::mock) name: Option<String>,
    pub(in crate::mock) otid: Option<String>,
    pub(in crate::mock) sender_id: Option<String>,
    pub(in crate::mock) group_id: Option<String>,
    pub(in crate::mock) batch_item_id: Option<String>,
}

/// What is decided about tool calls, each by its id.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Decision {
    pub(in crate::mock) approvals: Vec<Approval>,
    pub(in crate::mock) otid: Option<String>,
    pub(in crate::mock) group_id: Option<String>,
}

/// The part of a conversation that a sleeptime agent goes through.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Transcript {
    /// The main agent.
    pub(in crate::mock) agent_id: String,
    pub(in crate::mock) group_id: String,
    /// Only what was said in this run.
    pub(in crate::mock) run_id: Option<String>,
    /// Only what was said after this message.
    pub(in crate::mock) after: Option<String>,
    /// The last message of it.
    pub(in crate::mock) until: String,
    /// What the user said in it, oldest first, once it has been read.
    #[serde(skip)]
    pub(in crate::mock) user_texts: Vec<String>,
}

impl TurnRequest {
    /// What the user said in the conversation that a sleeptime agent goes through; `None` for an ordinary turn.
    pub(in crate::mock) fn user_texts(&self) -> Option<&[String]> {
        self.transcript.as_ref().map(|transcript| transcript.user_texts.as_slice())
    }
}

impl IncomingMessage {
    /// A message of the user.
    pub(in crate::mock) fn of_user(content: Vec<Part>) -> Self {
        Self { role: Role::User, content, name: None, otid: None, sender_id: None, group_id: None, batch_item_id: None }
    }

    /// A message to a member of a group.
    pub(in crate::mock) fn of_group(group_id: &str, content: Vec<Part>) -> Self {
        Self { group_id: Some(group_id.to_owned()), ..Self::of_user(content) }
    }

    /// The message to be stored as the beginning of a history.
    pub(in crate::mock) fn into_initial(self) -> Message {
        Message {
            name: self.name,
            otid: self.otid,
            sender_id: self.sender_id,
            group_id: self.group_id,
            batch_item_id: self.batch_item_id,
            ..Message::new(self.role, self.content)
        }
    }

    /// The message to be stored by a turn.
    pub(in crate::mock) fn into_message(self, run_id: &str, step_id: &str) -> Message {
        let otid = match self.role {
            Role::User => Some(self.otid.clone().unwrap_or_else(|| Uuid::new_v4().hyphenated().to_string())),
            Role::Assistant => self.otid.clone(),
            _ => None,
        };
        Message { otid, ..self.into_initial().of_turn(run_id, Some(step_id)) }
    }
}

impl Decision {
    /// The message to be stored by a turn.
    pub(in crate::mock) fn into_message(self, run_id: &str) -> Message {
        Message {
            otid: self.otid,
            group_id: self.group_id,
            approvals: self.approvals,
            ..Message::new(Role::Approval, Vec::new()).of_turn(run_id, None)
        }
    }
}
