//! The registry of the turns that run in this process, by which they are cancelled, followed, and found again, and which
//! lets each conversation stream only one turn at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::event_log::EventLog;
use crate::mock::records::Run;

/// The turns that run in this process.
#[derive(Clone, Debug, Default)]
pub(in crate::mock) struct Registry {
    turns: Arc<Mutex<Turns>>,
}

#[derive(Debug, Default)]
struct Turns {
    by_run: HashMap<String, RunningTurn>,
    /// The id of the run that streams in a conversation.
    streaming: HashMap<ConversationKey, String>,
}

/// The ids of an agent and of one of its conversations.
type ConversationKey = (String, String);

#[derive(Clone, Debug)]
struct RunningTurn {
    agent_id: String,
    conversation_id: String,
    idempotency_key: Option<String>,
    /// Present if the events can be read again.
    event_log: Option<Arc<EventLog>>,
    cancel: CancellationToken,
    ended: CancellationToken,
}

/// A turn's entry in the registry. Dropping it removes the entry, however the turn ends.
#[derive(Debug)]
pub(in crate::mock) struct Registration {
    registry: Registry,
    run_id: String,
    conversation: Option<ConversationKey>,
    /// Cancelled when the turn should end.
    pub(in crate::mock) cancel: CancellationToken,
    ended: CancellationToken,
}

/// Another run streams in the same conversation.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::mock) struct Busy {
    pub(in crate::mock) run_id: String,
}

impl Registry {
    /// Adds a turn.
    ///
    /// # Errors
    /// If it streams, and another turn streams in the same conversation.
    pub(in crate::mock) fn register(
        &self,
        run: &Run,
        streams: bool,
        event_log: Option<Arc<EventLog>>,
    ) -> Result<Registration, Busy> {
        let mut turns = self.lock();
        let conversation = streams.then(|| (run.agent_id.clone(), run.thread_id().to_owned()));
        if let Some(conversation) = &conversation {
            if let Some(run_id) = turns.streaming.get(conversation) {
                return Err(Busy { run_id: run_id.clone() });
            }
            turns.streaming.insert(conversation.clone(), run.id.clone());
        }
        let turn = RunningTurn {
            agent_id: run.agent_id.clone(),
            conversation_id: run.thread_id().to_owned(),
            idempotency_key: run.idempotency_key.clone(),
            event_log,
            cancel: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        turns.by_run.insert(run.id.clone(), turn.clone());
        Ok(Registration {
            registry: self.clone(),
            run_id: run.id.clone(),
            conversation,
            cancel: turn.cancel,
            ended: turn.ended,
        })
    }

    /// Whether a run is in progress in this process.
    pub(in crate::mock) fn contains(&self, run_id: &str) -> bool {
        self.lock().by_run.contains_key(run_id)
    }

    /// The ids of an agent's runs in this process, in one of its conversations or in all.
    pub(in crate::mock) fn of_agent(&self, agent_id: &str, conversation_id: Option<&str>) -> Vec<String> {
        let turns = self.lock();
        let of_agent = turns.by_run.iter().filter(|(_, turn)| {
            turn.agent_id == agent_id && conversation_id.is_none_or(|id| turn.conversation_id == id)
        });
        of_agent.map(|(run_id, _)| run_id.clone()).collect()
    }

    /// The id of the run that an earlier request to an agent with this idempotency key began.
    pub(in crate::mock) fn with_idempotency_key(&self, agent_id: &str, idempotency_key: &str) -> Option<String> {
        let turns = self.lock();
        let matches =
            |turn: &RunningTurn| turn.agent_id == agent_id && turn.idempotency_key.as_deref() == Some(idempotency_key);
        turns.by_run.iter().find(|(_, turn)| matches(turn)).map(|(run_id, _)| run_id.clone())
    }

    /// The events of a run, if it is in progress here and they can be read again.
    pub(in crate::mock) fn event_log(&self, run_id: &str) -> Option<Arc<EventLog>> {
        self.lock().by_run.get(run_id).and_then(|turn| turn.event_log.clone())
    }

    /// Cancels a run and waits until it has ended; `false` if it is not in progress in this process.
    pub(in crate::mock) async fn cancel(&self, run_id: &str) -> bool {
        let Some(turn) = self.lock().by_run.get(run_id).cloned() else { return false };
        turn.cancel.cancel();
        turn.ended.cancelled().await;
        true
    }

    /// Waits until a run is no longer in the registry.
    pub(in crate::mock) async fn wait_for_end(&self, run_id: &str) {
        let turn = self.lock().by_run.get(run_id).cloned();
        if let Some(turn) = turn {
            turn.ended.cancelled().await;
        }
    }

    /// Cancels all runs of an agent, without waiting for their end.
    pub(in crate::mock) fn cancel_agent(&self, agent_id: &str) {
        for turn in self.lock().by_run.values().filter(|turn| turn.agent_id == agent_id) {
            turn.cancel.cancel();
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
    use crate::mock::records::{MessageView, RunType};

    fn run(id: &str, conversation_id: Option<&str>) -> Run {
        Run {
            id: id.to_owned(),
            conversation_id: conversation_id.map(str::to_owned),
            ..Run::begin("agent-1", RunType::Streaming, false, MessageView::USUAL)
        }
    }

    #[tokio::test]
    async fn a_conversation_streams_one_turn_at_a_time() {
        let registry = Registry::default();
        let first = registry.register(&run("run-1", None), true, None).unwrap();
        assert_eq!(registry.register(&run("run-2", None), true, None).err(), Some(Busy { run_id: "run-1".into() }));
        let plain = registry.register(&run("run-3", None), false, None).unwrap();
        let elsewhere = registry.register(&run("run-4", Some("conv-1")), true, None).unwrap();
        assert_eq!(registry.of_agent("agent-1", Some("conv-1")), ["run-4"]);
        assert_eq!((registry.of_agent("agent-1", None).len(), registry.of_agent("agent-2", None).len()), (3, 0));
        drop((first, plain, elsewhere));
        assert!(registry.of_agent("agent-1", None).is_empty());
        assert!(registry.register(&run("run-5", None), true, None).is_ok());
        assert!(!registry.cancel("run-1").await);
    }

    #[tokio::test]
    async fn cancelling_a_run_waits_for_its_end() {
        let registry = Registry::default();
        let turn = registry.register(&run("run-1", None), false, None).unwrap();
        let cancelling = tokio::spawn({
            let registry = registry.clone();
            async move { registry.cancel("run-1").await }
        });
        turn.cancel.cancelled().await;
        assert!(registry.contains("run-1") && !cancelling.is_finished());
        drop(turn);
        assert!(cancelling.await.unwrap());
    }
}
