//! Conversations: histories that an agent has beside its default one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ACTOR, Record, context::ContextEntry, model::whole_settings, pending::Pending, timestamp::Timestamp};
use crate::{
    entropy,
    error::ApiError,
    mock::{models::catalogue::Handle, validation::body::Fields},
};

/// A conversation as it is stored. Its messages are kept apart.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::mock) struct Conversation {
    pub(in crate::mock) id: String,
    pub(in crate::mock) agent_id: String,
    pub(in crate::mock) summary: Option<String>,
    /// Blocks that this conversation has for itself; they hide those of its agent with the same labels.
    pub(in crate::mock) isolated_block_ids: Vec<String>,
    /// The handle of the model that answers here; none: the agent's.
    pub(in crate::mock) model: Option<String>,
    pub(in crate::mock) model_settings: Option<Map<String, Value>>,
    /// The messages that the model sees, oldest first; the system message is the first.
    pub(in crate::mock) context: Vec<ContextEntry>,
    /// How many messages it holds beside the system message.
    pub(in crate::mock) recall: i64,
    /// The question that it waits for an answer to.
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
    /// Forgets what was said in it, but for the system message.
    pub(in crate::mock) fn forget(&mut self) {
        self.context.truncate(1);
        (self.recall, self.pending) = (0, None);
    }

    /// A new conversation of an agent, in which nothing has been said.
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

    /// Applies the fields of a change. What it does not name stays.
    pub(in crate::mock) fn change(&mut self, fields: &Fields<'_>) -> Result<(), ApiError> {
        self.summary = fields.optional("summary")?.or(self.summary.take());
        if let Some(handle) = fields.optional::<&str>("model")? {
            self.model = Some(Handle::parse(handle)?.text());
        }
        if let Some(settings) = fields.optional("model_settings")? {
            self.model_settings = Some(whole_settings(&settings)?);
        }
        if let Some(text) = fields.optional::<&str>("last_message_at")? {
            let instant = Timestamp::parse(text).ok_or_else(|| {
                let problem = "Input should be a valid datetime or date";
                fields.at("last_message_at").refuse("datetime_from_date_parsing", problem, &text.into())
            })?;
            self.last_message_at = Some(instant);
        }
        self.updated_at = Timestamp::now();
        Ok(())
    }

    /// The conversation as clients see it; only when it is retrieved does it name its messages. The order of the keys is
    /// Letta's.
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
