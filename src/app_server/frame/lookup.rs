//! What the gate asks the server on its own control connection, and what it reads in the response.

use crate::model::AgentId;

/// Something that must be known before a frame can be decided about.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Lookup {
    /// Which agent a conversation belongs to.
    Owner {
        /// The conversation's id.
        conversation: String,
    },
    /// Whether the server starts sub-agents over what pages write to this agent.
    Reflection {
        /// The agent.
        agent: AgentId,
    },
    /// The server's versions and capabilities.
    Info,
}

/// The response to a lookup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The conversation belongs to this agent; `None`: it does not exist, or belongs to nobody.
    Owner(Option<AgentId>),
    /// What the agent's reflection is set to.
    Reflection(Reflection),
    /// The server's versions and capabilities.
    Info(ServerInfo),
}

/// Whether an agent may be reached by client tokens, by its reflection settings.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reflection {
    /// It is off.
    Off,
    /// It is on, or the server does not say.
    On,
}

/// The server's response to `app_server_info`, which the gate passes on to pages with fewer capabilities.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerInfo {
    /// `local` or `api`.
    pub backend: String,
    /// The version of Letta Code.
    pub letta_code_version: String,
    /// The version of the protocol.
    pub protocol_version: u64,
    /// The capabilities.
    pub capabilities: Vec<(String, bool)>,
}

impl Lookup {
    /// The frame that asks for it.
    #[must_use]
    pub fn request(&self, request_id: &str) -> String {
        let _ = request_id;
        String::new()
    }

    /// The `type` of the response, and what it says; `None` for any other frame. What the server refuses is an answer as
    /// well: a conversation that nobody owns, reflection that is not known to be off.
    #[must_use]
    pub fn answer(&self, request_id: &str, frame: &[u8]) -> Option<Answer> {
        let _ = (request_id, frame);
        None
    }
}
