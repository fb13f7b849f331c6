//! Turns, from the registration of the run to the end of the response or stream.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use super::{
    agent_loop::AgentLoop,
    agent_messages::{Messenger, Sender},
    backoff::DatabaseBackoff,
    commit::{CommitResult, commit, delete_run, mark_failed},
    event_sink::EventSink,
    lease::RunLease,
    output::TurnOutput,
    replay::{ReplayOptions, replay},
    sleeptime,
    sse::End,
};
use crate::{
    access::Attempt,
    error::{ApiError, Code},
    mock::{
        agents::thread::Thread,
        budget::json_length,
        records::{
            Agent, Delivery, Message, MessageView, Record, Run, RunType, StopReason, TurnRequest, Usage,
            turn_error::TurnError,
        },
        running::{Busy, EventLog, Registration},
        state::State,
        storage::{Stored, not_found, parse},
        tools::execute::ToolResult,
    },
    request::body::Body,
    world,
};

/// A registered turn, which can be found and cancelled.
pub(in crate::mock) struct Turn {
    thread: Thread,
    request: TurnRequest,
    lease: RunLease,
    /// Its events, if they can be read again.
    event_log: Option<Arc<EventLog>>,
}

/// A turn that has ended.
#[derive(Debug)]
pub(in crate::mock) struct Ended {
    /// The agent's messages; empty if another process ended the run.
    pub(in crate::mock) replies: Vec<Message>,
    /// The run as it is stored.
    pub(in crate::mock) run: Run,
    /// Why it failed, if it did.
    pub(in crate::mock) failure: Option<TurnError>,
}

/// How often a turn runs if other turns change the conversation meanwhile.
const MAX_ATTEMPTS: usize = 5;

impl Turn {
    /// Registers a new turn.
    ///
    /// # Errors
    /// 409 if it streams, and another turn streams in the same conversation; if the database fails.
    pub(in crate::mock) async fn begin(
        state: &Arc<State>,
        thread: Thread,
        mut run: Run,
        request: TurnRequest,
        streams: bool,
    ) -> Result<Self, ApiError> {
        run.conversation_id = thread.conversation_id().map(str::to_owned);
        let event_log = run.delivery.map(|_| EventLog::new());
        let registration = register(state, &run, streams, event_log.as_ref()).await?;
        Ok(Self::registered(state, thread, run, request, registration, event_log, false))
    }

    /// Registers a turn whose run is stored; `None` if it streams, and another turn streams in the same conversation.
    fn resume(state: &Arc<State>, thread: Thread, run: Run, request: TurnRequest) -> Option<Self> {
        let event_log = run.delivery.map(|_| EventLog::new());
        let registration = state.turns.register(&run, event_log.is_some(), event_log.clone()).ok()?;
        Some(Self::registered(state, thread, run, request, registration, event_log, true))
    }

    fn registered(
        state: &Arc<State>,
        thread: Thread,
        run: Run,
        request: TurnRequest,
        registration: Registration,
        event_log: Option<Arc<EventLog>>,
        is_stored: bool,
    ) -> Self {
        let project = thread.agent.project.clone();
        let messenger = Messenger::new(complete_for_agent);
        let mut lease = RunLease {
            state: Arc::clone(state),
            project,
            replies: state.responder.replies().begin_turn(None, &run.agent_id),
            run,
            registration,
            is_stored,
            messenger,
            attempt: None,
            renewal: None,
        };
        if is_stored {
            lease.start_renewal();
        }
        if lease.run.background {
            lease.keep_request(&request);
        }
        Self { thread, request, lease, event_log }
    }

    /// The turn of a request that the journal has. If the request repeats another one, it gets the same replies.
    #[must_use]
    pub(in crate::mock) fn of_attempt(mut self, attempt: Option<Arc<dyn Attempt>>) -> Self {
        if let Some(attempt) = &attempt {
            self.repeat_under(Some(attempt.first().to_string().into()));
        }
        self.lease.attempt = attempt;
        self
    }

    /// Names what the turn shares with those that repeat it.
    fn repeat_under(&mut self, key: Option<Box<str>>) {
        let replies = self.lease.state.responder.replies();
        self.lease.replies = replies.begin_turn(key.clone(), &self.lease.run.agent_id);
        self.lease.messenger.set_key(key);
    }

    /// The run, as it was when the turn began.
    pub(in crate::mock) fn run(&self) -> &Run {
        &self.lease.run
    }

    /// Discards the turn before it runs, and ends its event log for clients that read it already.
    pub(in crate::mock) fn discard(self) {
        if let Some(event_log) = &self.event_log {
            event_log.end();
        }
    }

    /// Runs the turn as soon as the agent's other turns have ended, and waits for its end. The turn runs to its end even if
    /// the caller stops waiting.
    ///
    /// # Errors
    /// If the request does not fit the tool calls that wait for a decision; if the agent no longer exists; if the turn cannot
    /// be stored.
    pub(in crate::mock) async fn complete(mut self) -> Result<Ended, ApiError> {
        let state = Arc::clone(&self.lease.state);
        let run_id = self.lease.run.id.clone();
        let task = state.tasks.spawn(world::inherit_for(&run_id, async move {
            let _lock = self.acquire_lock().await?;
            let result = self.run_and_store(None).await;
            if let Err(error) = &result {
                self.mark_run_failed(error);
            }
            result
        }));
        task.await.map_err(ApiError::internal)?.unwrap_or_else(|| Err(ApiError::internal("the namespace has ended")))
    }

    /// Runs the turn in the background. When this returns, its run is stored with the request, so that another process resumes
    /// the turn if this one stops.
    ///
    /// # Errors
    /// If the run cannot be stored.
    pub(in crate::mock) async fn complete_in_background(mut self) -> Result<(), ApiError> {
        self.lease.store_run().await?;
        let state = Arc::clone(&self.lease.state);
        let run_id = self.lease.run.id.clone();
        state.tasks.spawn(world::inherit_for(&run_id, async move {
            if let Err(error) = self.complete_with_retries().await {
                warn!(%error, "A background turn was not stored; the next process that starts resumes it");
            }
        }));
        Ok(())
    }

    /// Runs a turn whose run is stored, again and again while the database fails.
    async fn complete_with_retries(mut self) -> Result<(), ApiError> {
        let state = Arc::clone(&self.lease.state);
        let mut backoff = DatabaseBackoff::new(&state);
        loop {
            match self.try_complete().await {
                Err(error) if backoff.waits_after(&error).await => {}
                // The agent was deleted. Its runs were deleted with it, except for runs that began at that moment.
                Err(error) if error.code() == Code::NotFound => {
                    return delete_run(&state.store, &self.lease.run.agent_id, &self.lease.run.id).await;
                }
                result => return result,
            }
        }
    }

    async fn try_complete(&mut self) -> Result<(), ApiError> {
        let _lock = self.acquire_lock().await?;
        let mut event_sink = self.event_log_sink();
        let result = match self.read_transcript_and_run(event_sink.as_mut()).await {
            Err(error) if !error.is_store_failure() && error.code() != Code::NotFound => {
                self.store_failure(&error, event_sink.as_ref()).await
            }
            result => result,
        };
        let Ended { run, failure, .. } = result?;
        if let Some(event_sink) = event_sink {
            event_sink.close(&End::of(&run, failure)).await;
        }
        Ok(())
    }

    async fn read_transcript_and_run(&mut self, event_sink: Option<&mut EventSink>) -> Result<Ended, ApiError> {
        sleeptime::read_transcript(&self.lease.state.store, &mut self.request).await?;
        self.run_and_store(event_sink).await
    }

    /// Runs the turn, and streams its events.
    pub(in crate::mock) fn stream(mut self, delivery: Delivery) -> Body {
        let cancel = self.lease.registration.cancel.clone();
        let state = Arc::clone(&self.lease.state);
        let (mut event_sink, body) = match self.event_log_sink() {
            Some(event_sink) => {
                let options = ReplayOptions { pings: delivery.pings, ..ReplayOptions::WHOLE };
                (event_sink, replay(&state, self.lease.run.id.clone(), self.event_log.clone(), options))
            }
            None => EventSink::open(&self.lease.run, delivery, cancel, state.ping_interval),
        };
        let run_id = self.lease.run.id.clone();
        state.tasks.spawn(world::inherit_for(&run_id, async move {
            let result = match self.run_and_store(Some(&mut event_sink)).await {
                // The status of the response is sent already, so the stream and the run report the error.
                Err(error) if error.code() != Code::NotFound => self.store_failure(&error, Some(&event_sink)).await,
                result => result,
            };
            let end = match result {
                Ok(Ended { run, failure, .. }) => End::of(&run, failure),
                // The agent was deleted.
                Err(error) if error.code() == Code::NotFound => {
                    End::Stopped(StopReason::Cancelled, Usage::default(), Vec::new())
                }
                Err(error) => {
                    warn!(%error, "A streamed turn was not stored");
                    self.mark_run_failed(&error);
                    End::Failed(TurnError::internal(error.message().to_owned()))
                }
            };
            // Free the conversation before the client sees the end of the stream.
            drop(self);
            event_sink.close(&end).await;
        }));
        body
    }

    /// Waits for the agent's lock, and reloads the conversation if it had to wait. `None` if the turn is cancelled meanwhile.
    ///
    /// A turn that another agent waits for never waits for the lock, and runs without it if it is held, as streams do: the
    /// holder may be waiting for that other agent.
    async fn acquire_lock(&mut self) -> Result<Option<OwnedMutexGuard<()>>, ApiError> {
        let locks = &self.lease.state.locks;
        if let Some(lock) = locks.try_acquire(&self.lease.run.agent_id) {
            return Ok(Some(lock));
        }
        if self.lease.messenger.is_for_agent() {
            return Ok(None);
        }
        let lock = tokio::select! {
            biased;
            () = self.lease.registration.cancel.cancelled() => None,
            lock = locks.acquire(&self.lease.run.agent_id) => Some(lock),
        };
        self.reload_thread().await?;
        Ok(lock)
    }

    async fn reload_thread(&mut self) -> Result<(), ApiError> {
        let (agent_id, conversation) = (&self.lease.run.agent_id, self.lease.run.conversation_id.as_deref());
        let found = Thread::load(&self.lease.state.store, agent_id, conversation).await?;
        self.thread = found.ok_or_else(|| not_found::<Agent>(agent_id))?;
        Ok(())
    }

    /// Runs the turn and stores it. If the conversation has changed meanwhile, the turn runs again, unless its client may have
    /// seen some of it.
    async fn run_and_store(&mut self, mut event_sink: Option<&mut EventSink>) -> Result<Ended, ApiError> {
        for _ in 0..MAX_ATTEMPTS {
            let state = Arc::clone(&self.lease.state);
            let sink = event_sink.as_deref_mut();
            let budget = state.budget(json_length(&self.request), self.request.sharers);
            let agent_loop =
                AgentLoop::begin(&state, &self.thread, &self.request, &mut self.lease, sink, &budget).await?;
            let output = agent_loop.run().await?;
            if let Some(ended) = self.store(output, event_sink.as_deref()).await? {
                return Ok(ended);
            }
            if self.lease.is_stored {
                break;
            }
            self.reload_thread().await?;
            if let Some(event_sink) = &mut event_sink {
                event_sink.restart();
            }
        }
        Err(conversation_changed())
    }

    /// Stores the turn; `None` if the conversation has changed since the turn began.
    async fn store(&self, mut output: TurnOutput, event_sink: Option<&EventSink>) -> Result<Option<Ended>, ApiError> {
        if let Some(failure) = &mut output.failure
            && self.lease.run.is_async()
        {
            failure.stop_reason = StopReason::Error;
        }
        let stored_events = |run: &Run| {
            event_sink.and_then(|event_sink| event_sink.stored_events(&End::of(run, output.failure.clone())))
        };
        let model = self.request.model.as_deref().unwrap_or_else(|| self.thread.model());
        Ok(match commit(&self.lease, &self.thread, model, &output, stored_events).await? {
            CommitResult::Stored(run) => {
                self.start_sleeptime_runs(&run);
                let failure = output.failure.clone();
                Some(Ended { replies: output.into_replies(), run, failure })
            }
            CommitResult::EndedElsewhere(run) => Some(Ended { replies: Vec::new(), run, failure: None }),
            CommitResult::ConversationChanged => None,
        })
    }

    /// Runs the sleeptime agents whose runs were stored with this one, in the background.
    fn start_sleeptime_runs(&self, run: &Run) {
        let state = &self.lease.state;
        for run_id in &run.sleeptime_runs {
            state.tasks.spawn(world::inherit_for(run_id, resume_all(Arc::clone(state), vec![run_id.clone()])));
        }
    }

    /// Stores that the turn could not run.
    async fn store_failure(&self, why: &ApiError, event_sink: Option<&EventSink>) -> Result<Ended, ApiError> {
        let output = TurnOutput::failed(TurnError::internal(why.message().to_owned()));
        self.store(output, event_sink).await?.ok_or_else(conversation_changed)
    }

    /// A sink into the event log, if the turn has one. Events of an earlier attempt are removed.
    fn event_log_sink(&self) -> Option<EventSink> {
        let (event_log, delivery) = (self.event_log.clone()?, self.lease.run.delivery?);
        event_log.clear();
        Some(EventSink::into_log(event_log, &self.lease.run, delivery, self.lease.registration.cancel.clone()))
    }

    /// Marks the run as failed in the background, unless it is not stored.
    fn mark_run_failed(&self, why: &ApiError) {
        if !self.lease.is_stored || why.code() == Code::NotFound {
            return;
        }
        let (state, run, why) = (Arc::clone(&self.lease.state), self.lease.run.clone(), why.message().to_owned());
        self.lease.state.tasks.spawn(world::inherit(async move {
            let mut backoff = DatabaseBackoff::new(&state);
            while let Err(error) = mark_failed(&state.store, &run, &why).await {
                if !backoff.waits_after(&error).await {
                    warn!(%error, run.id = %run.id, "A run that could not be stored could not be marked as failed either");
                    return;
                }
            }
        }));
    }
}

/// Runs a turn for a message from another agent to its end. Dropping the future cancels the turn.
fn complete_for_agent(
    state: Arc<State>,
    agent: Stored<Agent>,
    request: TurnRequest,
    messenger: Messenger,
) -> BoxFuture<'static, Result<Vec<Message>, ApiError>> {
    Box::pin(async move {
        let run = Run::begin(&agent.record.id, RunType::Plain, false, MessageView::USUAL);
        let mut turn = Turn::begin(&state, Thread::default_of(agent), run, request, false).await?;
        let key = messenger.key();
        turn.lease.messenger = messenger;
        turn.repeat_under(key);
        let _cancel_on_drop = turn.lease.registration.cancel.clone().drop_guard();
        let ended = turn.complete().await?;
        match ended.failure {
            Some(failure) => Err(failure.to_api_error()),
            None => Ok(ended.replies),
        }
    })
}

/// Sends messages from an agent to others, for a client that calls the tool outside of any turn.
///
/// # Errors
/// If the replies exceed the budget; if the database fails.
pub(in crate::mock) async fn message_agents(
    state: &Arc<State>,
    agent: &Stored<Agent>,
    tool: &str,
    arguments: &Map<String, Value>,
) -> Result<ToolResult, ApiError> {
    let budget = state.budget(json_length(arguments), 1);
    let sender = Sender { state: Arc::clone(state), agent, sharers: 1, budget: &budget };
    Messenger::new(complete_for_agent).call_tool(&sender, tool, arguments).await
}

/// The 409 for a turn during which the conversation changed too often.
fn conversation_changed() -> ApiError {
    ApiError::letta(Code::Conflict, "CONFLICT: The conversation changed while the agent answered; try again.")
}

/// Registers a turn. A turn that has ended in the store may still be registered for a moment; clients that have seen its end
/// must not get a 409.
async fn register(
    state: &State,
    run: &Run,
    streams: bool,
    event_log: Option<&Arc<EventLog>>,
) -> Result<Registration, ApiError> {
    loop {
        let other = match state.turns.register(run, streams, event_log.cloned()) {
            Ok(registration) => return Ok(registration),
            Err(other) => other,
        };
        let stored = state.store.document(Run::KIND, &other.run_id).await?;
        let has_ended = stored.map(parse::<Run>).transpose()?.is_some_and(|stored| stored.record.has_ended());
        if !has_ended {
            return Err(busy(other));
        }
        state.turns.wait_for_end(&other.run_id).await;
    }
}

fn busy(Busy { run_id }: Busy) -> ApiError {
    ApiError::conflict(format!(
        "CONFLICT: Cannot send a new message: Another request (run_id={run_id}) is currently being processed for this \
         conversation. Please wait for it to complete."
    ))
    .with("run_id", run_id)
}

/// Runs turns whose runs are stored with their requests, one after the other; `false` if some could not run now.
pub(in crate::mock) async fn resume_all(state: Arc<State>, run_ids: Vec<String>) -> bool {
    let mut all = true;
    for run_id in run_ids {
        if state.closing.is_cancelled() {
            break;
        }
        all &= resume_one(&state, &run_id).await.unwrap_or_else(|error| {
            warn!(%error, run.id = %run_id, "A background turn could not be resumed");
            false
        });
    }
    all
}

async fn resume_one(state: &Arc<State>, run_id: &str) -> Result<bool, ApiError> {
    let Some(document) = state.store.document(Run::KIND, run_id).await? else { return Ok(true) };
    let run = parse::<Run>(document)?.record;
    let Some(request) = run.request.clone().filter(|_| !run.has_ended()) else { return Ok(true) };
    let Some(thread) = Thread::load(&state.store, &run.agent_id, run.conversation_id.as_deref()).await? else {
        delete_run(&state.store, &run.agent_id, &run.id).await?;
        return Ok(true);
    };
    // The conversation may be streaming a newer turn.
    let Some(turn) = Turn::resume(state, thread, run, request) else { return Ok(false) };
    turn.complete_with_retries().await?;
    Ok(true)
}
