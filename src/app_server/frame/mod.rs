//! Checks the frames of a page and cuts the frames of the server, by the tables of commands and messages.
//!
//! A frame is parsed once ([`Frame::parse`]), so that it can be metered, held, and checked again after a lookup. Nothing
//! of the page's bytes is forwarded: [`Frame::check`] builds a new frame from what the command's row grants.

mod check;
mod cut;
mod denial;
mod lookup;
mod outbound;
mod rebuild;
mod refusal;
mod sent;
mod state;
#[cfg(test)]
mod tests;
mod text;

pub use lookup::{Answer, Lookup, Reflection, ServerInfo};
pub use outbound::{Outbound, outbound};
pub use state::{Limits, SocketState};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Command;
use crate::{
    access::json,
    clock::Millis,
    error::{ApiError, Code},
    model::AgentId,
};

/// What a check needs and may not draw itself: the time, and an id nobody has.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The time.
    pub now: Millis,
    /// An id for what the gate itself names: a message without an id, an event of its own.
    pub id: Uuid,
}

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Close {
    /// The close code.
    pub code: u16,
    /// The reason, one of the closed set of codes.
    pub reason: &'static str,
}

/// What becomes of a frame of the page.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked {
    /// It is sent upstream in this form. The state already expects the response.
    Forward(String),
    /// The gate itself responds with this frame; the code is that of a refusal.
    Respond(String, Option<Code>),
    /// Nothing is sent: it has no effect, or is refused without a way to say so.
    Ignore(Option<Code>),
    /// It must wait until the runtime it names is open: check it again after each frame of the server.
    Hold,
    /// Something must be known first: tell the state ([`SocketState::learn`]) and check it again.
    Needs(Lookup),
}

/// A frame of the page, parsed and not yet checked.
#[derive(Debug)]
pub struct Frame {
    command: Option<Command>,
    object: Map<String, Value>,
}

impl Frame {
    /// Parses the text of a message: one JSON object without duplicate keys.
    ///
    /// # Errors
    /// How the socket is closed when it is anything else.
    pub fn parse(text: &[u8]) -> Result<Self, Close> {
        match json::parse_message(text) {
            Ok(Value::Object(object)) => {
                let command = object.get("type").and_then(Value::as_str).and_then(Command::parse);
                Ok(Self { command, object })
            }
            Err(error) if error.code() == Code::BodyTooLarge => Err(Close { code: 1009, reason: error.code().word() }),
            Ok(_) | Err(_) => Err(Close { code: 1008, reason: Code::InvalidRequest.word() }),
        }
    }

    /// The command, for metering; `None` for a type that is not in the table.
    #[must_use]
    pub fn command(&self) -> Option<Command> {
        self.command
    }

    /// The agent and the conversation that the frame names, for the audit line: only in their proper form.
    #[must_use]
    pub fn names(&self) -> (Option<&str>, Option<&str>) {
        let places = ["runtime", "body", "query"];
        let mut objects: Vec<&Map<String, Value>> = vec![&self.object];
        objects.extend(places.iter().filter_map(|place| self.object.get(*place)?.as_object()));
        let find = |name: &str| objects.iter().find_map(|object| object.get(name)?.as_str());
        let agent = find("agent_id").filter(|id| id.parse::<AgentId>().is_ok());
        (agent, find("conversation_id").filter(|id| text::is_conversation_id(id)))
    }

    /// Decides about the frame. What the server is about to do changes the state only where the result is
    /// [`Checked::Forward`].
    pub fn check(&self, state: &mut SocketState, stamp: Stamp) -> Checked {
        match check::check(self, state, stamp) {
            Ok(checked) => checked,
            Err(error) => refusal::refuse(&self.object, self.command, state.last_event, stamp, &error),
        }
    }

    /// Refuses the frame for a reason outside of the tables, in the shape that clients read: a quota, a lookup that
    /// failed, a runtime that did not open in time.
    #[must_use]
    pub fn refuse(&self, state: &SocketState, stamp: Stamp, error: &ApiError) -> Checked {
        match (self.command, self.object.get("request_id").and_then(Value::as_str)) {
            // Clients accept no failure of this one.
            (Some(Command::AppServerInfo), Some(request_id)) => Checked::Respond(
                ServerInfo::unknown().response(request_id, |words| state.grants_somewhere(words)),
                None,
            ),
            _ => refusal::refuse(&self.object, self.command, state.last_event, stamp, error),
        }
    }
}
