//! The runtimes of the App Server's protocol: conversations that sockets have subscribed to, with the messages that wait.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::{access::Permit, clock, entropy};

/// The most frames that wait to be read on one socket; more, and it is closed.
const MOST_FRAMES: usize = 4096;

/// The runtimes of a process, by agent and conversation.
#[derive(Debug, Default)]
pub(in crate::mock) struct Runtimes(Mutex<HashMap<(String, String), Arc<Runtime>>>);

/// A socket, as runtimes see it.
#[derive(Debug)]
pub(in crate::mock) struct Subscriber {
    frames: mpsc::Sender<String>,
    /// The number of its last event.
    events: AtomicU64,
}

/// A conversation that sockets have subscribed to.
#[derive(Debug)]
pub(in crate::mock) struct Runtime {
    pub(in crate::mock) agent_id: String,
    pub(in crate::mock) conversation_id: String,
    activity: Mutex<Activity>,
}

/// What happens in a runtime.
#[derive(Debug, Default)]
pub(in crate::mock) struct Activity {
    subscribers: Vec<Weak<Subscriber>>,
    /// What the loop does; empty before the first turn.
    pub(in crate::mock) status: &'static str,
    pub(in crate::mock) active_run: Option<String>,
    /// Whether a turn is in progress.
    pub(in crate::mock) has_turn: bool,
    pub(in crate::mock) queue: VecDeque<Queued>,
    items: u64,
    /// The ids of the messages that it has accepted.
    known: HashSet<String>,
}

/// Messages that wait for their turn.
#[derive(Clone, Debug)]
pub(in crate::mock) struct Queued {
    pub(in crate::mock) id: String,
    pub(in crate::mock) client_message_id: String,
    pub(in crate::mock) messages: Vec<Value>,
    pub(in crate::mock) enqueued_at: String,
    pub(in crate::mock) is_paused: bool,
    pub(in crate::mock) permit: Permit,
}

/// What becomes of messages that are sent.
#[derive(Debug)]
pub(in crate::mock) enum Accepted {
    /// They begin a turn.
    Started(Queued),
    /// They wait.
    Queued,
    /// A message with this id was accepted before.
    Repeated,
}

impl Runtimes {
    /// The runtime of a conversation.
    pub(in crate::mock) fn of(&self, agent_id: &str, conversation_id: &str) -> Arc<Runtime> {
        let mut runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Runtime {
                agent_id: agent_id.to_owned(),
                conversation_id: conversation_id.to_owned(),
                activity: Mutex::default(),
            })
        };
        Arc::clone(runtimes.entry((agent_id.to_owned(), conversation_id.to_owned())).or_insert_with(new))
    }
}

impl Subscriber {
    /// A socket, and the frames that it is sent.
    pub(in crate::mock) fn new() -> (Arc<Self>, mpsc::Receiver<String>) {
        let (frames, receiver) = mpsc::channel(MOST_FRAMES);
        (Arc::new(Self { frames, events: AtomicU64::new(0) }), receiver)
    }

    /// Sends a frame; one that reads too slowly misses it.
    pub(in crate::mock) fn send(&self, frame: &Value) {
        let _ = self.frames.try_send(frame.to_string());
    }

    /// Sends an event of a runtime.
    pub(in crate::mock) fn notify(&self, runtime: &Runtime, event: &Value) {
        let Value::Object(event) = event else { return };
        let number = self.events.fetch_add(1, Ordering::Relaxed) + 1;
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let key = format!("{kind}:{number}:{}", entropy::uuid());
        let mut frame: Map<String, Value> = event.clone();
        frame.insert("runtime".into(), runtime.scope());
        frame.insert("event_seq".into(), number.into());
        frame.insert("emitted_at".into(), clock::format_millis(clock::now_millis()).into());
        frame.insert("idempotency_key".into(), key.into());
        self.send(&Value::Object(frame));
    }
}

impl Runtime {
    /// The agent and the conversation, as frames name them.
    pub(in crate::mock) fn scope(&self) -> Value {
        json!({"agent_id": self.agent_id, "conversation_id": self.conversation_id})
    }

    pub(in crate::mock) fn lock(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a socket all events from now on.
    pub(in crate::mock) fn subscribe(&self, subscriber: &Arc<Subscriber>) {
        let mut activity = self.lock();
        activity.subscribers.retain(|known| known.strong_count() > 0);
        if !activity.subscribers.iter().any(|known| known.as_ptr() == Arc::as_ptr(subscriber)) {
            activity.subscribers.push(Arc::downgrade(subscriber));
        }
    }

    /// Sends an event to every subscriber.
    pub(in crate::mock) fn emit(&self, event: &Value) {
        let subscribers: Vec<_> = self.lock().subscribers.iter().filter_map(Weak::upgrade).collect();
        for subscriber in subscribers {
            subscriber.notify(self, event);
        }
    }

    /// Takes messages: they begin a turn, or wait for the one that is in progress.
    pub(in crate::mock) fn accept(&self, client_message_id: String, messages: Vec<Value>, permit: Permit) -> Accepted {
        let mut activity = self.lock();
        if !activity.known.insert(client_message_id.clone()) {
            return Accepted::Repeated;
        }
        activity.items += 1;
        let queued = Queued {
            id: format!("q-{}", activity.items),
            client_message_id,
            messages,
            enqueued_at: clock::format_millis(clock::now_millis()),
            is_paused: false,
            permit,
        };
        if activity.has_turn {
            activity.queue.push_back(queued);
            return Accepted::Queued;
        }
        activity.items -= 1;
        activity.has_turn = true;
        Accepted::Started(queued)
    }

    /// Takes the next messages that wait, if any do; otherwise no turn is in progress any longer.
    pub(in crate::mock) fn next(&self) -> Option<Queued> {
        let mut activity = self.lock();
        let next =
            if activity.queue.front().is_some_and(|item| !item.is_paused) { activity.queue.pop_front() } else { None };
        activity.has_turn = next.is_some();
        next
    }

    /// Parks what waits, as an abort does.
    pub(in crate::mock) fn park(&self) {
        self.lock().queue.iter_mut().for_each(|item| item.is_paused = true);
    }

    /// Releases what is parked: how many items, and the first of them if no turn is in progress.
    pub(in crate::mock) fn resume(&self) -> (usize, Option<Queued>) {
        let mut activity = self.lock();
        let parked = activity.queue.iter_mut().filter(|item| item.is_paused);
        let count = parked.map(|item| item.is_paused = false).count();
        let next = if activity.has_turn { None } else { activity.queue.pop_front() };
        activity.has_turn |= next.is_some();
        (count, next)
    }

    /// Removes an item that waits.
    pub(in crate::mock) fn remove(&self, item_id: &str) -> Option<Queued> {
        let mut activity = self.lock();
        let index = activity.queue.iter().position(|item| item.id == item_id)?;
        activity.queue.remove(index)
    }
}
