//! How an agent file is imported.

use serde_json::{Map, Value};

use crate::mock::records::Message;

/// Options of an import. They replace what the file says.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Import {
    /// The name of the first agent.
    pub(in crate::mock) name: Option<String>,
    /// Whether names from the file get a suffix.
    pub(in crate::mock) with_suffix: bool,
    /// Whether existing tools are changed to what the file says.
    pub(in crate::mock) overrides_tools: bool,
    /// The handle of the model.
    pub(in crate::mock) model: Option<String>,
    /// The handle of the embedding model.
    pub(in crate::mock) embedding: Option<String>,
    /// Names and values of secrets, which files do not contain.
    pub(in crate::mock) secrets: Vec<(String, String)>,
    /// Fields of every agent, as in a request.
    pub(in crate::mock) fields: Map<String, Value>,
    pub(in crate::mock) identity_ids: Vec<String>,
    pub(in crate::mock) history: History,
    /// The deployment that the agents and blocks belong to.
    pub(in crate::mock) deployment_id: Option<String>,
}

/// The message history of the imported agents.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) enum History {
    /// The history in the file.
    #[default]
    FromFile,
    Empty,
    /// The initial messages of new agents of their type.
    Initial,
    /// These messages, from a request.
    Given(Vec<Message>),
}
