//! Threads: an agent's default conversation, or another of its conversations. A turn belongs to one.

use crate::{
    error::ApiError,
    mock::{
        records::{
            Agent, ContextEntry, Conversation, DEFAULT_CONVERSATION, Pending, Record, Timestamp, remember, tokens_of,
        },
        storage::{Stored, parse, update},
    },
    store::{Locked, Locks, Store, Tx},
};

/// An agent with the conversation in which a turn takes place.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Thread {
    pub(in crate::mock) agent: Stored<Agent>,
    /// `None` is the default conversation.
    pub(in crate::mock) conversation: Option<Stored<Conversation>>,
}

impl Thread {
    /// An agent's default conversation.
    pub(in crate::mock) fn default_of(agent: Stored<Agent>) -> Self {
        Self { agent, conversation: None }
    }

    /// Loads a thread; `None` if the agent or the conversation does not exist.
    pub(in crate::mock) async fn load(
        store: &Store,
        agent_id: &str,
        conversation_id: Option<&str>,
    ) -> Result<Option<Self>, ApiError> {
        let Some(agent) = store.document(Agent::KIND, agent_id).await? else { return Ok(None) };
        let conversation = match conversation_id {
            None => None,
            Some(id) => match store.document(Conversation::KIND, id).await? {
                Some(conversation) => Some(parse(conversation)?),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { agent: parse(agent)?, conversation }))
    }

    /// Loads and locks a thread.
    pub(in crate::mock) async fn lock(
        tx: &mut Tx,
        agent_id: &str,
        conversation_id: Option<&str>,
    ) -> Result<Option<Self>, ApiError> {
        let mut locked = tx.lock(&Self::locks(agent_id, conversation_id)).await?;
        Self::locked(&mut locked, agent_id, conversation_id)
    }

    /// The locks of a thread.
    pub(in crate::mock) fn locks(agent_id: &str, conversation_id: Option<&str>) -> Locks {
        Locks::of(Agent::KIND, [agent_id]).and(Conversation::KIND, conversation_id)
    }

    /// Takes a thread from locked documents; `None` if the agent or the conversation does not exist.
    pub(in crate::mock) fn locked(
        locked: &mut Locked,
        agent_id: &str,
        conversation_id: Option<&str>,
    ) -> Result<Option<Self>, ApiError> {
        let Some(agent) = locked.take(Agent::KIND, agent_id) else { return Ok(None) };
        let conversation = match conversation_id {
            None => None,
            Some(id) => match locked.take(Conversation::KIND, id) {
                Some(conversation) => Some(parse(conversation)?),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { agent: parse(agent)?, conversation }))
    }

    /// The conversation id of its messages: `default`, or the conversation's id.
    pub(in crate::mock) fn id(&self) -> &str {
        self.conversation.as_ref().map_or(DEFAULT_CONVERSATION, |conversation| &conversation.record.id)
    }

    /// The conversation's id; `None` for the default conversation.
    pub(in crate::mock) fn conversation_id(&self) -> Option<&str> {
        self.conversation.as_ref().map(|conversation| conversation.record.id.as_str())
    }

    /// The messages in the model's context.
    pub(in crate::mock) fn context(&self) -> &[ContextEntry] {
        match &self.conversation {
            Some(conversation) => &conversation.record.context,
            None => &self.agent.record.context,
        }
    }

    pub(super) fn context_mut(&mut self) -> &mut Vec<ContextEntry> {
        match &mut self.conversation {
            Some(conversation) => &mut conversation.record.context,
            None => &mut self.agent.record.context,
        }
    }

    /// The number of tokens in the model's context.
    pub(in crate::mock) fn context_tokens(&self) -> i64 {
        tokens_of(self.context())
    }

    /// Counts one more message.
    pub(super) fn count_message(&mut self) {
        match &mut self.conversation {
            Some(conversation) => conversation.record.recall += 1,
            None => self.agent.record.recall += 1,
        }
    }

    /// Whether tool calls wait for a decision.
    pub(super) fn is_waiting(&self) -> bool {
        self.pending().is_some()
    }

    /// The tool calls that wait for a decision.
    pub(in crate::mock) fn pending(&self) -> Option<&Pending> {
        match &self.conversation {
            Some(conversation) => conversation.record.pending.as_deref(),
            None => self.agent.record.pending.as_deref(),
        }
    }

    /// The id of the message that requests the decision.
    pub(in crate::mock) fn pending_id(&self) -> Option<&str> {
        self.pending().map(|pending| pending.request.id.as_str())
    }

    /// The handle of its model.
    pub(in crate::mock) fn model(&self) -> &str {
        let own = self.conversation.as_ref().and_then(|conversation| conversation.record.model.as_deref());
        own.unwrap_or(&self.agent.record.model.handle)
    }

    /// Whether the model reasons. `model` overrides the thread's model.
    pub(in crate::mock) fn reasons(&self, model: Option<&str>) -> bool {
        let own = self.conversation.as_ref().and_then(|conversation| conversation.record.model_settings.as_ref());
        self.agent.record.reasons(model.unwrap_or_else(|| self.model()), own.filter(|_| model.is_none()))
    }

    /// Whether a step may make several tool calls. Tool rules order calls, so they allow one at a time.
    pub(in crate::mock) fn calls_in_parallel(&self) -> bool {
        let agent = &self.agent.record;
        let is_free = agent.tool_rules.iter().all(|rule| rule["type"] == "requires_approval");
        is_free && agent.model.llm.get("parallel_tool_calls").and_then(serde_json::Value::as_bool).unwrap_or(false)
    }

    /// Adds the messages of a turn to the context, and sets the tool calls with which the turn ended that wait for a decision.
    pub(in crate::mock) fn append(&mut self, entries: Vec<ContextEntry>, pending: Option<Box<Pending>>) {
        let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        let agent = &mut self.agent.record;
        match &mut self.conversation {
            None => {
                agent.recall += count;
                agent.pending = pending;
                agent.remember(entries);
            }
            Some(Stored { record, .. }) => {
                record.recall += count;
                record.pending = pending;
                remember(&mut record.context, entries, agent.model.context_window(), agent.message_buffer_autoclear);
                let now = Timestamp::now();
                (record.last_run_completion, record.updated_at) = (Some(now), now);
            }
        }
    }

    /// Stores agent and conversation.
    pub(in crate::mock) async fn update(&self, tx: &mut Tx) -> Result<(), ApiError> {
        update(tx, &self.agent.record).await?;
        match &self.conversation {
            Some(conversation) => update(tx, &conversation.record).await,
            None => Ok(()),
        }
    }
}
