//! What runs the turns of chats: a Letta server, or the mock.

use futures_util::{future::BoxFuture, stream::BoxStream};

use crate::{access::OnBehalf, error::ApiError};

/// Runs turns in conversations of agents.
pub(crate) trait ChatBackend: Send + Sync {
    /// Creates a conversation of the caller's agent; its id.
    ///
    /// # Errors
    /// 404 when the agent does not exist; those of the backend.
    fn create<'a>(&'a self, caller: &'a OnBehalf) -> BoxFuture<'a, Result<String, ApiError>>;

    /// Copies a conversation with its history; the copy's id.
    ///
    /// # Errors
    /// 404 when it does not exist; those of the backend.
    fn fork<'a>(&'a self, thread: Thread<'a>) -> BoxFuture<'a, Result<String, ApiError>>;

    /// Removes a conversation from sight: it is deleted, or archived where it cannot be.
    ///
    /// # Errors
    /// 404 when it does not exist; those of the backend.
    fn discard<'a>(&'a self, thread: Thread<'a>) -> BoxFuture<'a, Result<(), ApiError>>;

    /// Cancels the turn that is in progress in a conversation, if any: nobody reads its events any more.
    ///
    /// # Errors
    /// Those of the backend.
    fn cancel<'a>(&'a self, thread: Thread<'a>) -> BoxFuture<'a, Result<(), ApiError>>;

    /// Starts a turn with a user's text. `by_tokens`: whether the text is wanted in the pieces in which the model writes it.
    ///
    /// # Errors
    /// 404 when the conversation does not exist; 409 when a turn is in progress there; those of the backend.
    fn send<'a>(
        &'a self,
        thread: Thread<'a>,
        text: &'a str,
        by_tokens: bool,
    ) -> BoxFuture<'a, Result<TurnEvents, ApiError>>;
}

/// A conversation, and who speaks there.
#[derive(Clone, Copy)]
pub(crate) struct Thread<'a> {
    /// For whom the backend is called, and the agent.
    pub(crate) caller: &'a OnBehalf,
    /// The id of one of the agent's conversations.
    pub(crate) conversation: &'a str,
}

/// The events of a turn. They end after [`TurnEvent::Stopped`], perhaps with [`TurnEvent::Used`] behind it, or after
/// [`TurnEvent::Failed`].
pub(crate) type TurnEvents = BoxStream<'static, TurnEvent>;

/// An event of a turn.
#[derive(Debug)]
pub(crate) enum TurnEvent {
    /// More of what the agent says.
    Text(String),
    /// The turn is still in progress.
    Alive,
    /// The turn has ended.
    Stopped(Stop),
    /// What it has used.
    Used(Usage),
    /// The turn has failed.
    Failed(ApiError),
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stop {
    /// The agent has finished.
    Finished,
    /// It reached a limit of steps or tokens.
    Length,
    /// It waits for the approval of a tool call, and until then takes no messages.
    Approval,
}

/// Tokens that a turn has used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Usage {
    /// Those that the model read.
    pub(crate) prompt: u64,
    /// Those that it wrote.
    pub(crate) completion: u64,
    /// Both together.
    pub(crate) total: u64,
}
