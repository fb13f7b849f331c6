//! The turns that run in this process: how they are found to be cancelled, and which conversation is being streamed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::event_log::EventLog;

/// The turns that run in this process.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Registry {
    turns: Arc<Mutex<Turns>>,
}

#[derive(Debug, Default)]
struct Turns {
    by_run: HashMap<String, Running>,
    /// The run that streams in a conversation.
    streaming: HashMap<Conversation, String>,
}

/// An agent's id and a conversation's.
type Conversation = (String, String);

#[derive(Clone, Debug)]
struct Running {
    agent_id: String,
    conversation_id: String,
    /// By what its request is known again.
    idempotency_key: Option<String>,
    /// Its events, where they can be read again.
    event_log: Option<Arc<EventLog>>,
    cancel: CancellationToken,
    ended: CancellationToken,
}

/// A turn's place among those that run; dropping it gives the place back, however the turn ended.
#[derive(Debug)]
pub(in crate::mock) struct Registration {
    registry: Registry,
    run_id: String,
    conversation: Option<Conversation>,
    /// Cancelled when someone wants the turn to end.
    pub(in crate::mock) cancel: CancellationToken,
    ended: CancellationToken,
}

/// Another run streams in the same conversation.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::mock) struct Busy {
    pub(in crate::mock) run_id: String,
}

impl Registry {
    /// Enters a turn. One that streams has its conversation to itself. `idempotency_key`: by what its request is known again; `event_log`:
    /// where its events are recorded.
    pub(in crate::mock) fn enter(
        &self,
        run_id: &str,
        agent_id: &str,
        conversation_id: &str,
        streams: bool,
        idempotency_key: Option<&str>,
        event_log: Option<Arc<EventLog>>,
    ) -> Result<Registration, Busy> {
        let mut turns = self.lock();
        let conversation = streams.then(|| (agent_id.to_owned(), conversation_id.to_owned()));
        if let Some(conversation) = &conversation {
            if let Some(run_id) = turns.streaming.get(conversation) {
                return Err(Busy { run_id: run_id.clone() });
            }
            turns.streaming.insert(conversation.clone(), run_id.to_owned());
        }
        let running = Running {
            agent_id: agent_id.to_owned(),
            conversation_id: conversation_id.to_owned(),
            idempotency_key: idempotency_key.map(str::to_owned),
            event_log,
            cancel: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        turns.by_run.insert(run_id.to_owned(), running.clone());
        Ok(Registration {
            registry: self.clone(),
            run_id: run_id.to_owned(),
            conversation,
            cancel: running.cancel,
            ended: running.ended,
        })
    }

    /// Whether a run is one of this process's.
    pub(in crate::mock) fn holds(&self, run_id: &str) -> bool {
        self.lock().by_run.contains_key(run_id)
    }

    /// The turns of an agent that run here, in one of its conversations or in any.
    pub(in crate::mock) fn of_agent(&self, agent_id: &str, conversation_id: Option<&str>) -> Vec<String> {
        let turns = self.lock();
        let of_agent = turns.by_run.iter().filter(|(_, running)| {
            running.agent_id == agent_id && conversation_id.is_none_or(|id| running.conversation_id == id)
        });
        of_agent.map(|(run_id, _)| run_id.clone()).collect()
    }

    /// The run that answers a request of this mark to an agent.
    pub(in crate::mock) fn with_idempotency_key(&self, agent_id: &str, idempotency_key: &str) -> Option<String> {
        let turns = self.lock();
        let is_it = |running: &Running| {
            running.agent_id == agent_id && running.idempotency_key.as_deref() == Some(idempotency_key)
        };
        turns.by_run.iter().find(|(_, running)| is_it(running)).map(|(run_id, _)| run_id.clone())
    }

    /// Where the events of a turn are recorded.
    pub(in crate::mock) fn event_log(&self, run_id: &str) -> Option<Arc<EventLog>> {
        self.lock().by_run.get(run_id).and_then(|running| running.event_log.clone())
    }

    /// Asks a turn to end and waits until it has; false when it is not one of this process's.
    pub(in crate::mock) async fn cancel(&self, run_id: &str) -> bool {
        let Some(running) = self.lock().by_run.get(run_id).cloned() else { return false };
        running.cancel.cancel();
        running.ended.cancelled().await;
        true
    }

    /// Waits until a turn has given its place back.
    pub(in crate::mock) async fn ended(&self, run_id: &str) {
        let running = self.lock().by_run.get(run_id).cloned();
        if let Some(running) = running {
            running.ended.cancelled().await;
        }
    }

    /// Asks all turns of an agent to end.
    pub(in crate::mock) fn cancel_agent(&self, agent_id: &str) {
        for running in self.lock().by_run.values().filter(|running| running.agent_id == agent_id) {
            running.cancel.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut turns = self.registry.lock();
        turns.by_run.remove(&self.run_id);
        if let Some(conversation) = &self.conversation {
            turns.streaming.remove(conversation);
        }
        drop(turns);
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_conversation_streams_one_turn_at_a_time() {
        let registry = Registry::default();
        let first = registry.enter("run-1", "agent-1", "default", true, None, None).unwrap();
        assert_eq!(
            registry.enter("run-2", "agent-1", "default", true, None, None).err(),
            Some(Busy { run_id: "run-1".into() })
        );
        let plain = registry.enter("run-3", "agent-1", "default", false, None, None).unwrap();
        let elsewhere = registry.enter("run-4", "agent-1", "conv-1", true, None, None).unwrap();
        assert_eq!(registry.of_agent("agent-1", Some("conv-1")), ["run-4"]);
        assert_eq!((registry.of_agent("agent-1", None).len(), registry.of_agent("agent-2", None).len()), (3, 0));
        drop((first, plain, elsewhere));
        assert!(registry.of_agent("agent-1", None).is_empty());
        assert!(registry.enter("run-5", "agent-1", "default", true, None, None).is_ok());
        assert!(!registry.cancel("run-1").await);
    }

    #[tokio::test]
    async fn whoever_cancels_waits_for_the_end() {
        let registry = Registry::default();
        let turn = registry.enter("run-1", "agent-1", "default", false, None, None).unwrap();
        let cancelling = tokio::spawn({
            let registry = registry.clone();
            async move { registry.cancel("run-1").await }
        });
        turn.cancel.cancelled().await;
        assert!(registry.holds("run-1") && !cancelling.is_finished());
        drop(turn);
        assert!(cancelling.await.unwrap());
    }
}
