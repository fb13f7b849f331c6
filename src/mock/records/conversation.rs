//! Conversations: the histories of an agent besides its default one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ACTOR, Record, context::ContextEntry, model::whole_settings, pending::Pending, timestamp::Timestamp};
use crate::{
    entropy,
    error::ApiError,
    mock::{models::catalogue::Handle, validation::body::Fields},
};

/// A conversation as it is stored. Its messages are stored separately.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Conversation {
    pub(in crate::mock) id: String,
    pub(in crate::mock) agent_id: String,
    pub(in crate::mock) summary: Option<String>,
    /// Blocks of this conversation alone; they hide the agent's blocks with the same labels.
    pub(in crate::mock) isolated_block_ids: Vec<String>,
    /// The handle of the model that responds here; `None` for the agent's.
    pub(in crate::mock) model: Option<String>,
    pub(in crate::mock) model_settings: Option<Map<String, Value>>,
    /// The messages that the model sees, oldest first; the first is the system message.
    pub(in crate::mock) context: Vec<ContextEntry>,
    /// The number of messages, without the system message.
    pub(in crate::mock) recall: i64,
    /// Tool calls that wait for approval.
    pub(in crate::mock) pending: Option<Box<Pending>>,
    pub(in crate::mock) last_message_at: Option<Timestamp>,
    pub(in crate::mock) last_run_completion: Option<Timestamp>,
    pub(in crate::mock) created_at: Timestamp,
    pub(in crate::mock) updated_at: Timestamp,
}

impl Record for Conversation {
    const KIND: &'static str = "conversation";
    const NAME: &'static str = "Conversation";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Conversation {
    /// Removes everything but the system message from the context.
    pub(in crate::mock) fn forget(&mut self) {
        self.context.truncate(1);
        (self.recall, self.pending) = (0, None);
    }

    /// Creates an empty conversation of an agent.
    pub(in crate::mock) fn new(agent_id: &str) -> Self {
        let now = Timestamp::now();
        Self {
            id: entropy::letta_id("conv"),
            agent_id: agent_id.to_owned(),
            summary: None,
            isolated_block_ids: Vec::new(),
            model: None,
            model_settings: None,
            context: Vec::new(),
            recall: 0,
            pending: None,
            last_message_at: None,
            last_run_completion: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// Applies the fields of a change. Absent fields stay as they are.
    pub(in crate::mock) fn change(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        self.summary = fields.optional("summary")?.or(self.summary.take());
        if let Some(handle) = fields.optional::<&str>("model")? {
            self.model = Some(Handle::parse(handle)?.text());
        }
        if let Some(settings) = fields.optional("model_settings")? {
            self.model_settings = Some(whole_settings(&settings)?);
        }
        self.last_message_at = Timestamp::of_field(fields, "last_message_at")?.or(self.last_message_at);
        self.updated_at = Timestamp::now();
        Ok(())
    }

    /// The conversation as clients see it. The ids of its messages are shown only when it is retrieved. The order of
    /// the keys is Letta's.
    pub(in crate::mock) fn wire(&self, with_messages: bool) -> Value {
        let shown = if with_messages { self.context.as_slice() } else { &[] };
        json!({
            "created_by_id": ACTOR,
            "last_updated_by_id": ACTOR,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "id": self.id,
            "agent_id": self.agent_id,
            "summary": self.summary,
            "in_context_message_ids": shown.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(),
            "isolated_block_ids": self.isolated_block_ids,
            "model": self.model,
            "model_settings": self.model_settings,
            "last_message_at": self.last_message_at,
        })
    }
}
