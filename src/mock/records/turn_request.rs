//! The request of a turn, as its run stores it so that another process can resume it.

use serde::{Deserialize, Serialize};

use super::{
    content::Part,
    message::{Message, Role},
    tool_call::Approval,
};

/// The request of a turn.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct TurnRequest {
    /// The new messages, in order.
    pub(in crate::mock) input: Vec<IncomingMessage>,
    /// Decisions about pending tool calls, which are applied before the new messages.
    #[serde(default)]
    pub(in crate::mock) decision: Option<Decision>,
    /// The most model steps of the turn.
    pub(in crate::mock) max_steps: i64,
    /// Tools that the client runs itself.
    #[serde(default)]
    pub(in crate::mock) client_tools: Vec<ClientTool>,
    /// The handle of the model that responds; `None` for that of the conversation or the agent.
    #[serde(default)]
    pub(in crate::mock) model: Option<String>,
    /// The number of turns that share one budget because they were requested together.
    #[serde(default)]
    pub(in crate::mock) sharers: usize,
    /// What a sleeptime agent processes; `None` for an ordinary turn.
    #[serde(default)]
    pub(in crate::mock) transcript: Option<Box<Transcript>>,
}

/// How the response is delivered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is one field of the request")]
pub(in crate::mock) struct Delivery {
    /// As a stream of events, not as one JSON response.
    pub(in crate::mock) streaming: bool,
    /// Texts are streamed in pieces.
    pub(in crate::mock) tokens: bool,
    /// The stream contains pings.
    pub(in crate::mock) pings: bool,
    /// The turn continues if the client disconnects.
    pub(in crate::mock) background: bool,
}

/// A tool that the client runs itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct ClientTool {
    pub(in crate::mock) name: String,
    /// The JSON schema of its arguments, as text: a body may be nested as deep as the parser allows, so storing it any
    /// deeper would make it unreadable.
    pub(in crate::mock) parameters: Option<String>,
}

/// A message in a request.
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

/// Decisions about tool calls.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Decision {
    pub(in crate::mock) approvals: Vec<Approval>,
    pub(in crate::mock) otid: Option<String>,
    pub(in crate::mock) group_id: Option<String>,
}

/// The part of a conversation that a sleeptime agent processes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Transcript {
    /// The main agent.
    pub(in crate::mock) agent_id: String,
    pub(in crate::mock) group_id: String,
    /// Only messages of this run.
    pub(in crate::mock) run_id: Option<String>,
    /// Only messages after this one.
    pub(in crate::mock) after: Option<String>,
    /// The last message.
    pub(in crate::mock) until: String,
    /// The user's messages, oldest first, once they have been read.
    #[serde(skip)]
    pub(in crate::mock) user_texts: Vec<String>,
}

impl TurnRequest {
    /// The user's messages that a sleeptime agent processes; `None` for an ordinary turn.
    pub(in crate::mock) fn user_texts(&self) -> Option<&[String]> {
        self.transcript.as_ref().map(|transcript| transcript.user_texts.as_slice())
    }
}

impl IncomingMessage {
    /// A message from the user.
    pub(in crate::mock) fn of_user(content: Vec<Part>) -> Self {
        Self { role: Role::User, content, name: None, otid: None, sender_id: None, group_id: None, batch_item_id: None }
    }

    /// A message from the system.
    pub(in crate::mock) fn of_system(content: Vec<Part>) -> Self {
        Self { role: Role::System, ..Self::of_user(content) }
    }

    /// A message to a member of a group.
    pub(in crate::mock) fn of_group(group_id: &str, content: Vec<Part>) -> Self {
        Self { group_id: Some(group_id.to_owned()), ..Self::of_user(content) }
    }

    /// The message as the beginning of a history.
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

    /// The message as part of a run.
    pub(in crate::mock) fn into_message(self, run_id: &str, step_id: &str) -> Message {
        let otid = match self.role {
            Role::User => Some(self.otid.clone().unwrap_or_else(crate::entropy::uuid)),
            Role::Assistant => self.otid.clone(),
            _ => None,
        };
        Message { otid, ..self.into_initial().of_turn(run_id, Some(step_id)) }
    }
}

impl Decision {
    /// The message as part of a run.
    pub(in crate::mock) fn into_message(self, run_id: &str) -> Message {
        Message {
            otid: self.otid,
            group_id: self.group_id,
            approvals: self.approvals,
            ..Message::new(Role::Approval, Vec::new()).of_turn(run_id, None)
        }
    }
}
