//! Chooses the reply for a model step.

use super::{AgentLoop, last_user_message};
use crate::{
    error::ApiError,
    mock::{
        records::{Approval, Message, Role, turn_error::TurnError},
        responder::{last_return, user_text},
        storage::parse_message,
    },
    replies::{After, Approved, Continues, Deliveries, DeliveryKind, Facts, PausedReply},
    store::MessageFilter,
};

impl AgentLoop<'_> {
    /// Chooses the reply for the current step.
    ///
    /// # Errors
    /// If the database fails. The inner error is that of the turn, if no reply fits and agents say only what replies say.
    pub(super) async fn choose_reply(&mut self) -> Result<Result<(), TurnError>, ApiError> {
        let (responder, turn) = (&self.state.responder, &self.lease.replies);
        let attempt = self.lease.attempt.as_deref();
        if responder.has_nothing_to_choose(attempt) {
            return Ok(Ok(()));
        }
        if responder.replies().need_turn_number() && turn.number.get().is_none() {
            // It is set already if another attempt counted at the same time.
            let _ = turn.number.set(self.turn_number().await?);
        }
        let step = self.output.steps.len();
        let messages = &self.messages[last_user_message(&self.messages)..];
        let (text, result, tools) = (user_text(messages), last_return(messages), last_tools(messages));
        let is_after_tool = messages.iter().any(|message| message.role == Role::Tool);
        let agent = &self.thread.agent.record;
        let facts = Facts {
            text: &text,
            agent: &agent.name,
            agent_id: &agent.id,
            agent_tags: &agent.tags,
            conversation: self.thread.id(),
            turn: turn.number.get().copied(),
            delivery: self.deliveries(),
            approval: self.approval().filter(|_| step == 0),
            after: is_after_tool.then_some(After { tools: &tools, result: &result }),
            is_sleeptime: self.request.user_texts().is_some(),
        };
        Ok(responder.choose(turn, step, &facts, self.continues(step), attempt).map(|chosen| self.chosen = chosen))
    }

    /// How the current step follows the ones before.
    fn continues(&self, step: usize) -> Continues<'_> {
        match (&self.request.decision, self.thread.pending()) {
            _ if step > 0 => Continues::Step,
            // What the user says with a decision is a message of its own.
            (Some(_), Some(pending)) if self.request.input.is_empty() => Continues::Decision(pending.reply.as_ref()),
            _ => Continues::Begin,
        }
    }

    /// The reply as it waits for a decision about the calls of this step.
    pub(super) fn paused_reply(&self) -> Option<PausedReply> {
        self.chosen.as_ref().map(|chosen| {
            let reply = chosen.reply();
            PausedReply { id: reply.id().to_owned(), position: reply.end_of_model_step(chosen.position) }
        })
    }

    fn deliveries(&self) -> Deliveries {
        let is_stream = self.event_sink.is_some();
        let is_background = self.lease.run.background;
        let kinds = [
            (DeliveryKind::Stream, is_stream),
            (DeliveryKind::Background, is_background),
            (DeliveryKind::Json, !is_stream && !is_background),
        ];
        kinds.into_iter().filter_map(|(kind, applies)| applies.then_some(kind)).collect()
    }

    /// What a person has decided about the calls that waited; `None` if the client has only run them.
    fn approval(&self) -> Option<Approved> {
        let decisions = self.request.decision.iter().flat_map(|decision| &decision.approvals);
        let mut decisions = decisions.filter_map(|approval| match approval {
            Approval::Approval { approve, .. } => Some(*approve),
            Approval::Tool(_) => None,
        });
        let first = decisions.next()?;
        Some(if first && decisions.all(|approve| approve) { Approved::Approved } else { Approved::Denied })
    }

    /// The number of the user's turn in the conversation, from 0. Messages of one request are one turn.
    async fn turn_number(&self) -> Result<u64, ApiError> {
        const CHUNK: i64 = 200;
        let filter = MessageFilter::of_conversation(&self.thread.agent.record.id, self.thread.id()).limit(CHUNK);
        let (mut turns, mut after, mut last_run) = (0, 0, None);
        loop {
            let chunk = self.state.store.messages_chunk(&filter.after(after)).await?;
            let Some(last) = chunk.last() else { break };
            after = last.seq;
            for message in chunk.iter().map(parse_message) {
                let message = message?;
                if !message.is_of_user() {
                    last_run = None;
                } else if last_run.as_ref() != Some(&message.run_id) {
                    turns += 1;
                    last_run = Some(message.run_id);
                }
            }
        }
        // A decision continues the turn of the message before it.
        let continues = self.request.decision.is_some() && self.request.input.is_empty();
        Ok(if continues { u64::saturating_sub(turns, 1) } else { turns })
    }
}

/// The names of the tools that returned last.
fn last_tools(messages: &[Message]) -> Vec<&str> {
    let Some(last) = messages.iter().rev().find(|message| message.role == Role::Tool) else { return Vec::new() };
    let has_returned = |id: &str| last.tool_returns.iter().any(|returned| returned.tool_call_id == id);
    let calls = messages.iter().flat_map(|message| &message.tool_calls);
    calls.filter(|call| has_returned(&call.id)).map(|call| call.name.as_str()).collect()
}
