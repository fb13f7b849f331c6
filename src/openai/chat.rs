//! A chat with an agent: which conversation its turn runs in, and what becomes of that conversation afterwards.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, future::BoxFuture, stream};
use tokio::runtime::Handle;
use tracing::warn;

use super::{
    chat_backend::{ChatBackend, Stop, Thread, TurnEvent, TurnEvents, Usage},
    chat_keys::{ChatKey, ChatKeys},
};
use crate::{
    access::{Call, Charge, OnBehalf},
    error::{ApiError, Code},
    model::AgentId,
    request::body::{Body, BodyError},
    world,
};

/// The longest text that is gathered for one response, in bytes.
const MAX_TEXT: usize = 16 * 1024 * 1024;

/// One caller's access to one agent.
pub(super) struct Chat {
    backend: Arc<dyn ChatBackend>,
    caller: OnBehalf,
    /// Whom the token speaks for.
    subject: [String; 3],
}

/// A turn in progress, and the conversation that it runs in. Dropped before its end, the turn is cancelled: otherwise Letta
/// keeps the conversation locked for minutes.
pub(super) struct RunningTurn {
    events: TurnEvents,
    conversation: Conversation,
}

/// What a turn said, all of it.
pub(super) struct Gathered {
    pub(super) text: String,
    pub(super) stop: Stop,
    pub(super) usage: Option<Usage>,
}

/// A conversation, and what happens to it afterwards.
pub(super) struct Conversation {
    id: Arc<str>,
    /// The chat that goes on there, if any.
    chat: Option<(ChatKey, ChatKeys)>,
    afterwards: Afterwards,
}

type Work = BoxFuture<'static, Option<()>>;

/// What is done when this is dropped, in this order.
#[derive(Default)]
struct Afterwards {
    /// Cancels the turn, if one has begun and not ended.
    cancel: Option<Work>,
    /// Discards the conversation, if it is of one turn only.
    discard: Option<Work>,
}

impl Chat {
    /// The chat of a client token's call, which is about one agent.
    ///
    /// # Errors
    /// When the call is not a client token's, a defect.
    pub(super) fn of(call: &Call, backend: Arc<dyn ChatBackend>) -> Result<Self, ApiError> {
        let (Some(token), Some(caller)) = (call.permit.client_token(), OnBehalf::of(call)) else {
            return Err(ApiError::internal("the OpenAI API is for client tokens, which name an agent"));
        };
        Ok(Self { backend, caller, subject: token.subject().map(str::to_owned) })
    }

    /// The agent.
    pub(super) fn agent(&self) -> &AgentId {
        self.caller.agent()
    }

    /// Whom the token speaks for, and the agent.
    pub(super) fn subject(&self) -> impl Iterator<Item = &str> {
        self.subject.iter().map(String::as_str).chain([self.agent().as_str()])
    }

    /// A new conversation.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) async fn create(&self) -> Result<String, ApiError> {
        self.backend.create(&self.caller).await
    }

    /// A copy of a conversation.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) async fn fork(&self, conversation: &str) -> Result<String, ApiError> {
        self.backend.fork(self.thread(conversation)).await
    }

    /// A conversation that is discarded after its turn.
    pub(super) fn temporary(&self, id: String) -> Conversation {
        let id: Arc<str> = id.into();
        let afterwards = Afterwards { cancel: None, discard: Some(self.discarding(Arc::clone(&id))) };
        Conversation { id, chat: None, afterwards }
    }

    /// Starts a turn.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) async fn start(
        &self,
        mut conversation: Conversation,
        text: &str,
        by_tokens: bool,
    ) -> Result<RunningTurn, ApiError> {
        let events = self.backend.send(self.thread(&conversation.id), text, by_tokens).await?;
        conversation.afterwards.cancel = Some(self.cancelling(Arc::clone(&conversation.id)));
        Ok(RunningTurn { events, conversation })
    }

    /// Starts a turn in the conversation of a chat. If that was deleted, the chat goes on in a new one.
    ///
    /// # Errors
    /// Those of the backend.
    pub(super) async fn start_remembered(
        &self,
        keys: &ChatKeys,
        chat: ChatKey,
        text: &str,
        by_tokens: bool,
    ) -> Result<RunningTurn, ApiError> {
        let mut was_forgotten = false;
        loop {
            let id = keys.conversation(chat, self.create()).await?;
            let conversation = Conversation {
                id: Arc::clone(&id),
                chat: Some((chat, keys.clone())),
                afterwards: Afterwards::default(),
            };
            match self.start(conversation, text, by_tokens).await {
                Err(error) if error.code() == Code::NotFound && !was_forgotten => {
                    keys.forget(chat, &id);
                    was_forgotten = true;
                }
                started => return started,
            }
        }
    }

    fn cancelling(&self, conversation: Arc<str>) -> Work {
        let (backend, caller) = (Arc::clone(&self.backend), self.caller.clone());
        in_this_world(async move {
            warn_of(
                backend.cancel(Thread { caller: &caller, conversation: &conversation }).await,
                "turn that was left",
            );
        })
    }

    fn discarding(&self, conversation: Arc<str>) -> Work {
        let (backend, caller) = (Arc::clone(&self.backend), self.caller.clone());
        in_this_world(async move {
            let thread = Thread { caller: &caller, conversation: &conversation };
            warn_of(backend.discard(thread).await, "temporary conversation");
        })
    }

    fn thread<'a>(&'a self, conversation: &'a str) -> Thread<'a> {
        Thread { caller: &self.caller, conversation }
    }
}

impl RunningTurn {
    /// Keeps the conversation after the turn.
    pub(super) fn keep_conversation(&mut self) {
        self.conversation.afterwards.discard = None;
    }

    /// The next event; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<TurnEvent> {
        let Some(event) = self.events.next().await else {
            self.conversation.afterwards.cancel = None;
            return None;
        };
        Some(match event {
            TurnEvent::Stopped(Stop::Approval) => {
                self.conversation.forget();
                let sentence = "The agent waits for the approval of a tool call, which cannot be given here; change the \
                                agent's tools, or chat through Letta's own API.";
                TurnEvent::Failed(ApiError::conflict(sentence))
            }
            event => event,
        })
    }

    /// Waits for the end of the turn. The text is added to `charge`.
    ///
    /// # Errors
    /// Those of the turn; 400 or 429 when the text is too large.
    pub(super) async fn gather(mut self, charge: &mut Charge<'_>) -> Result<Gathered, ApiError> {
        let (mut text, mut stop, mut usage) = (String::new(), None, None);
        while let Some(event) = self.next().await {
            match event {
                TurnEvent::Text(piece) => {
                    let needed = text.len() + piece.len();
                    check_length(needed, MAX_TEXT)?;
                    if needed > text.capacity() {
                        // A string doubles its capacity.
                        charge.cover(needed.max(2 * text.capacity()))?;
                    }
                    text.push_str(&piece);
                }
                TurnEvent::Alive => {}
                TurnEvent::Stopped(reason) => stop = Some(reason),
                TurnEvent::Used(tokens) => usage = Some(tokens),
                TurnEvent::Failed(error) => return Err(error),
            }
        }
        let stop = stop.ok_or_else(|| ApiError::internal("a turn ended without saying how"))?;
        Ok(Gathered { text, stop, usage })
    }
}

/// Checks how much a turn has said.
///
/// # Errors
/// 400 when it is more than `most` bytes.
pub(super) fn check_length(bytes: usize, most: usize) -> Result<(), ApiError> {
    if bytes <= most {
        return Ok(());
    }
    let sentence = format!("The agent said more than {most} bytes in one turn, which a response here cannot hold.");
    Err(ApiError::new(Code::TurnTooLarge, sentence).without_retry())
}

impl Conversation {
    /// Makes the chat, if it is one, go on in another conversation.
    fn forget(&self) {
        if let Some((chat, keys)) = &self.chat {
            keys.forget(*chat, &self.id);
        }
    }
}

impl Drop for Afterwards {
    fn drop(&mut self) {
        let (cancel, discard) = (self.cancel.take(), self.discard.take());
        if let (true, Ok(runtime)) = (cancel.is_some() || discard.is_some(), Handle::try_current()) {
            runtime.spawn(world::inherit(async move {
                for work in cancel.into_iter().chain(discard) {
                    work.await;
                }
            }));
        }
    }
}

/// Work that may be begun outside of the world of the request.
fn in_this_world(work: impl Future<Output = ()> + Send + 'static) -> Work {
    Box::pin(world::inherit(work))
}

fn warn_of(outcome: Result<(), ApiError>, what: &str) {
    match outcome {
        Err(error) if error.code() != Code::NotFound => {
            warn!(code = error.code().word(), "A {what} could not be removed");
        }
        _ => {}
    }
}

/// A body of these events. Empty ones are left out.
pub(super) fn body(first: String, rest: impl Stream<Item = String> + Send + 'static) -> Body {
    let events = stream::once(std::future::ready(first)).chain(rest);
    let events = events.filter(|event| std::future::ready(!event.is_empty()));
    Body::from_stream(events.map(|event| Ok::<_, BodyError>(Bytes::from(event))))
}
