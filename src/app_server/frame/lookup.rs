//! What the gate asks the server on its own control connection, and what it reads in the response.

use serde_json::{Map, Value, json};

use super::text;
use crate::model::{Access, AccessSet, AgentId};

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

/// A conversation that does not exist: naming one that does would subscribe the control connection to it.
const NO_CONVERSATION: &str = "gatelet-probe";

impl Lookup {
    /// The frame that asks for it.
    #[must_use]
    pub fn request(&self, request_id: &str) -> String {
        let frame = match self {
            Self::Owner { conversation } => {
                json!({"type": "conversation_retrieve", "request_id": request_id, "conversation_id": conversation})
            }
            Self::Reflection { agent } => json!({
                "type": "get_reflection_settings",
                "request_id": request_id,
                "runtime": {"agent_id": agent, "conversation_id": NO_CONVERSATION},
            }),
            Self::Info => json!({"type": "app_server_info", "request_id": request_id}),
        };
        frame.to_string()
    }

    /// What a frame of the server says, if it is the response; `None` for any other frame. What the server refuses is a
    /// result as well: a conversation that nobody owns, reflection that is not known to be off.
    #[must_use]
    pub fn answer(&self, request_id: &str, frame: &[u8]) -> Option<Answer> {
        let frame: Map<String, Value> = serde_json::from_slice(frame).ok()?;
        if frame.get("request_id")?.as_str()? != request_id {
            return None;
        }
        let kind = frame.get("type")?.as_str()?;
        let success = frame.get("success") == Some(&Value::Bool(true));
        match self {
            Self::Owner { conversation } if kind == "conversation_retrieve_response" => {
                let found = frame.get("conversation").filter(|found| success && found["id"] == conversation.as_str());
                let owner = found.and_then(|found| found["agent_id"].as_str()?.parse().ok());
                Some(Answer::Owner(owner))
            }
            Self::Reflection { agent } if kind == "get_reflection_settings_response" => {
                let settings = frame.get("reflection_settings").filter(|_| success);
                let is_off = settings.is_some_and(|settings| {
                    settings["trigger"] == "off"
                        && settings.get("agent_id").is_none_or(|id| id.as_str() == Some(agent.as_str()))
                });
                Some(Answer::Reflection(if is_off { Reflection::Off } else { Reflection::On }))
            }
            Self::Info if kind == "app_server_info_response" => ServerInfo::read(&frame).map(Answer::Info),
            _ => None,
        }
    }
}

/// What a client token has of the server's capabilities. What is not named here it does not have.
const CAPABILITIES: &[(&str, Option<Access>)] = &[
    ("agent_management", None),
    ("conversation_management", Some(Access::ReadMessages)),
    ("memory_management", Some(Access::ReadAgent)),
    ("runtime_start", Some(Access::ReadMessages)),
    ("agent_free_conversations", None),
    ("launch_subagent", None),
    ("launch_subagent_notify_caller", None),
    ("runtime_workspace_sandbox", None),
    ("runtime_external_tools_update", None),
    ("structured_outputs", None),
    ("split_channels", None),
];

impl ServerInfo {
    /// What is said while the server cannot be asked: clients accept no failure.
    pub(super) fn unknown() -> Self {
        Self {
            backend: "local".into(),
            letta_code_version: crate::app_server::PROTOCOL.into(),
            protocol_version: 1,
            capabilities: CAPABILITIES.iter().map(|(name, _)| ((*name).to_owned(), true)).collect(),
        }
    }

    fn read(frame: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| frame.get(name)?.as_str().map(str::to_owned);
        let capabilities = frame.get("capabilities")?.as_object()?;
        Some(Self {
            backend: text("backend")?,
            letta_code_version: text("letta_code_version").filter(|version| text::is_id(version))?,
            protocol_version: frame.get("protocol_version")?.as_u64()?,
            capabilities: capabilities.iter().map(|(name, has)| (name.clone(), has == &Value::Bool(true))).collect(),
        })
    }

    /// The response to a page, whose policy grants these words somewhere. Clients check its shape strictly.
    pub(super) fn response(&self, request_id: &str, grants: impl Fn(AccessSet) -> bool) -> String {
        let has = |name: &str| {
            let word = CAPABILITIES.iter().find(|(known, _)| *known == name).and_then(|(_, word)| *word);
            word.is_some_and(|word| grants(AccessSet::of(&[word])))
        };
        let capabilities = self.capabilities.iter().map(|(name, is_on)| (name.clone(), (*is_on && has(name)).into()));
        let capabilities: Map<String, Value> = capabilities.collect();
        json!({
            "type": "app_server_info_response",
            "request_id": request_id,
            "success": true,
            "backend": self.backend,
            "letta_code_version": self.letta_code_version,
            "protocol_version": self.protocol_version,
            "capabilities": capabilities,
        })
        .to_string()
    }
}
