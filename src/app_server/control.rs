//! What the gate itself asks an App Server, on a socket of its own: whose a conversation is, whether an agent reflects.
//!
//! The socket is opened for the first question and stays. It never names the runtime of a conversation that exists, so it
//! subscribes to nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use quick_cache::sync::Cache;
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, warn};

use super::{
    connection::ServerSocket,
    frame::{Answer, Lookup, Reflection},
    upstream::Upstream,
};

/// How long a look-up may take. A frame of a page waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many questions may wait for the socket.
const QUEUE: usize = 256;

/// How often the socket is pinged, and given up if nothing has come since the last ping.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How many answers are remembered.
const REMEMBERED: usize = 50_000;

/// Asks one App Server. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Control(Arc<ControlState>);

#[derive(Debug)]
struct ControlState {
    name: String,
    upstream: Arc<Upstream>,
    answers: Cache<Lookup, Remembered>,
    /// The task that has the socket, if there is one.
    questions: Mutex<Option<mpsc::Sender<Question>>>,
}

#[derive(Clone, Debug)]
struct Remembered {
    answer: Answer,
    until: Instant,
}

#[derive(Debug)]
struct Question {
    lookup: Lookup,
    answer: oneshot::Sender<Answer>,
}

/// The App Server did not respond.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NoAnswer;

impl Control {
    pub(super) fn new(name: String, upstream: Arc<Upstream>) -> Self {
        let (answers, questions) = (Cache::new(REMEMBERED), Mutex::default());
        Self(Arc::new(ControlState { name, upstream, answers, questions }))
    }

    /// The answer to a look-up, remembered or asked for.
    ///
    /// # Errors
    /// When the App Server does not respond in time.
    pub(super) async fn look_up(&self, lookup: Lookup) -> Result<Answer, NoAnswer> {
        if let Upstream::Resident(resident) = &*self.0.upstream {
            return resident.look_up(lookup).await.map_err(|_| NoAnswer);
        }
        if let Some(remembered) = self.0.answers.get(&lookup)
            && Instant::now() < remembered.until
        {
            return Ok(remembered.answer);
        }
        let answer = timeout(TIMEOUT, self.ask(lookup.clone())).await.unwrap_or(Err(NoAnswer))?;
        if let (Lookup::Reflection { agent }, Answer::Reflection(Reflection::On)) = (&lookup, &answer) {
            warn!(
                app_server = self.0.name,
                %agent,
                "Reflection is on for this agent: after some turns the App Server starts a sub-agent with tools that reads \
                 what pages wrote. Client tokens do not reach it unless app_server.reflection is allow; switch it off on the \
                 App Server (docs/app-server.md)"
            );
        }
        let until = Instant::now() + lifetime(&answer);
        self.0.answers.insert(lookup, Remembered { answer: answer.clone(), until });
        Ok(answer)
    }

    async fn ask(&self, lookup: Lookup) -> Result<Answer, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let mut question = Question { lookup, answer };
        // The socket may be lost while the question is on its way: then it is asked once more.
        for _ in 0..2 {
            match self.questions().send(question).await {
                Ok(()) => return answered.await.map_err(|_| NoAnswer),
                Err(unsent) => question = unsent.0,
            }
        }
        Err(NoAnswer)
    }

    /// The way to the task that has the socket, which is started if there is none.
    fn questions(&self) -> mpsc::Sender<Question> {
        let mut current = self.0.questions.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(questions) if !questions.is_closed() => questions.clone(),
            _ => {
                let (sender, receiver) = mpsc::channel(QUEUE);
                tokio::spawn(serve(Arc::clone(&self.0), receiver));
                *current = Some(sender.clone());
                sender
            }
        }
    }
}

/// How long an answer is remembered. A conversation never changes its owner, but one may be made a moment from now, and
/// an operator may change what an agent reflects on.
fn lifetime(answer: &Answer) -> Duration {
    match answer {
        Answer::Owner(Some(_)) => Duration::from_hours(24),
        Answer::Owner(None) | Answer::Reflection(Reflection::On) => Duration::from_secs(3),
        Answer::Reflection(Reflection::Off) => Duration::from_mins(1),
        Answer::Info(_) => Duration::from_mins(10),
    }
}

/// Opens the socket and asks on it until it is lost, or nobody asks any more.
async fn serve(state: Arc<ControlState>, mut questions: mpsc::Receiver<Question>) {
    // One within the process is asked directly.
    let Upstream::Remote(remote) = &*state.upstream else { return };
    match remote.open().await {
        Ok(socket) => {
            let lost = exchange(socket, &mut questions).await;
            // Another server may have come in its place, with other conversations under the same ids.
            state.answers.clear();
            debug!(app_server = state.name, lost, "The socket for look-ups was closed");
        }
        Err(error) => warn!(app_server = state.name, %error, "The App Server cannot be asked"),
    }
    // What waits in the queue is dropped, and its askers are told.
}

/// Asks and hands on the answers; returns why that ended.
async fn exchange(mut socket: ServerSocket, questions: &mut mpsc::Receiver<Question>) -> &'static str {
    let mut open: HashMap<String, Question> = HashMap::new();
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut number, mut is_alive) = (0_u64, true);
    loop {
        let message = tokio::select! {
            question = questions.recv(), if open.len() < QUEUE => {
                let Some(question) = question else { return "nobody asks" };
                number += 1;
                let id = format!("gatelet-{number}");
                let message = Message::text(question.lookup.request(&id));
                open.insert(id, question);
                message
            }
            received = socket.next() => {
                is_alive = true;
                match received {
                    Some(Ok(Message::Text(text))) => settle(&mut open, text.as_bytes()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return "the App Server closed it",
                }
                continue;
            }
            _ = pings.tick() => {
                if !std::mem::replace(&mut is_alive, false) {
                    return "the App Server is silent";
                }
                // Nobody waits for these any more.
                open.retain(|_, question| !question.answer.is_closed());
                Message::Ping(bytes::Bytes::new())
            }
        };
        match timeout(TIMEOUT, socket.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return "the App Server reads nothing",
        }
    }
}

/// Hands a response to its asker.
fn settle(open: &mut HashMap<String, Question>, frame: &[u8]) {
    #[derive(Deserialize)]
    struct Response {
        request_id: Option<String>,
    }
    let Ok(Response { request_id: Some(id) }) = serde_json::from_slice(frame) else { return };
    if let Some(question) = open.get(&id)
        && let Some(answer) = question.lookup.answer(&id, frame)
        && let Some(question) = open.remove(&id)
    {
        // The asker may have gone.
        let _ = question.answer.send(answer);
    }
}
