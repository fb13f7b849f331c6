//! Where a turn happens: in an agent's default conversation, or in another of its conversations.

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

/// Where a turn happens.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Thread {
    pub(in crate::mock) agent: Stored<Agent>,
    /// None: the default conversation.
    pub(in crate::mock) conversation: Option<Stored<Conversation>>,
}

impl Thread {
    /// An agent's default conversation.
    pub(in crate::mock) fn default_of(agent: Stored<Agent>) -> Self {
        Self { agent, conversation: None }
    }

    /// The same thread as it is stored now; none: it is gone.
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

    /// The same, which nobody else can change until the transaction ends.
    pub(in crate::mock) async fn lock(
        tx: &mut Tx,
        agent_id: &str,
        conversation_id: Option<&str>,
    ) -> Result<Option<Self>, ApiError> {
        let mut locked = tx.lock(&Self::locks(agent_id, conversation_id)).await?;
        Self::locked(&mut locked, agent_id, conversation_id)
    }

    /// What has to be locked.
    pub(in crate::mock) fn locks(agent_id: &str, conversation_id: Option<&str>) -> Locks {
        Locks::of(Agent::KIND, [agent_id]).and(Conversation::KIND, conversation_id)
    }

    /// The thread that is locked; none: it is gone.
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

    /// What its messages are filed under.
    pub(in crate::mock) fn id(&self) -> &str {
        self.conversation.as_ref().map_or(DEFAULT_CONVERSATION, |conversation| &conversation.record.id)
    }

    /// The conversation's id; none: the default one.
    pub(in crate::mock) fn conversation_id(&self) -> Option<&str> {
        self.conversation.as_ref().map(|conversation| conversation.record.id.as_str())
    }

    /// The messages that the model sees.
    pub(in crate::mock) fn context(&self) -> &[ContextEntry] {
        match &self.conversation {
            Some(conversation) => &conversation.record.context,
            None => &self.agent.record.context,
        }
    }

    /// The same, to be changed.
    pub(in crate::mock) fn context_mut(&mut self) -> &mut Vec<ContextEntry> {
        match &mut self.conversation {
            Some(conversation) => &mut conversation.record.context,
            None => &mut self.agent.record.context,
        }
    }

    /// How many tokens the model sees.
    pub(in crate::mock) fn context_tokens(&self) -> i64 {
        tokens_of(self.context())
    }

    /// Notes that one more message is filed here.
    pub(in crate::mock) fn count_one_more(&mut self) {
        match &mut self.conversation {
            Some(conversation) => conversation.record.recall += 1,
            None => self.agent.record.recall += 1,
        }
    }

    /// Whether it waits for an answer to a question.
    pub(in crate::mock) fn is_waiting(&self) -> bool {
        self.pending().is_some()
    }

    /// The question that waits for an answer.
    pub(in crate::mock) fn pending(&self) -> Option<&Pending> {
        match &self.conversation {
            Some(conversation) => conversation.record.pending.as_deref(),
            None => self.agent.record.pending.as_deref(),
        }
    }

    /// The id of the message that asks it.
    pub(in crate::mock) fn pending_id(&self) -> Option<&str> {
        self.pending().map(|pending| pending.request.id.as_str())
    }

    /// The handle of the model that answers.
    pub(in crate::mock) fn model(&self) -> &str {
        let own = self.conversation.as_ref().and_then(|conversation| conversation.record.model.as_deref());
        own.unwrap_or(&self.agent.record.model.handle)
    }

    /// Whether the model that answers reasons. `model`: the one that answers in place of the thread's.
    pub(in crate::mock) fn reasons(&self, model: Option<&str>) -> bool {
        let own = self.conversation.as_ref().and_then(|conversation| conversation.record.model_settings.as_ref());
        self.agent.record.reasons(model.unwrap_or_else(|| self.model()), own.filter(|_| model.is_none()))
    }

    /// Whether a step may make several calls at once: tool rules follow one call after the other.
    pub(in crate::mock) fn calls_in_parallel(&self) -> bool {
        let agent = &self.agent.record;
        let is_free = agent.tool_rules.iter().all(|rule| rule["type"] == "requires_approval");
        is_free && agent.model.llm.get("parallel_tool_calls").and_then(serde_json::Value::as_bool).unwrap_or(false)
    }

    /// Adds what was said in a turn, and the question it ended with.
    pub(in crate::mock) fn remember(&mut self, said: Vec<ContextEntry>, pending: Option<Box<Pending>>) {
        let count = i64::try_from(said.len()).unwrap_or(i64::MAX);
        let agent = &mut self.agent.record;
        match &mut self.conversation {
            None => {
                agent.recall += count;
                agent.pending = pending;
                agent.remember(said);
            }
            Some(Stored { record, .. }) => {
                record.recall += count;
                record.pending = pending;
                remember(&mut record.context, said, agent.model.context_window(), agent.message_buffer_autoclear);
                let now = Timestamp::now();
                (record.last_run_completion, record.updated_at) = (Some(now), now);
            }
        }
    }

    /// Replaces agent and conversation.
    pub(in crate::mock) async fn update(&self, tx: &mut Tx) -> Result<(), ApiError> {
        update(tx, &self.agent.record).await?;
        match &self.conversation {
            Some(conversation) => update(tx, &conversation.record).await,
            None => Ok(()),
        }
    }
}
