//! A turn from its beginning to its end.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use super::{
    agent_loop::{AgentLoop, Produced},
    agent_messages::{Messenger, Sender},
    commit::{CommitResult, commit, fail, forget},
    event_sink::EventSink,
    lease::RunLease,
    recovery::take_up,
    replay::{ReplayOptions, replay},
    request::{Delivery, TurnRequest},
    sleeptime,
    sse::End,
};
use crate::{
    error::{ApiError, Code},
    mock::{
        agents::thread::Thread,
        budget::json_length,
        records::{Agent, Message, MessageView, Record, Run, RunType, StopReason, Usage, turn_error::TurnError},
        running::{Busy, EventLog, Registration},
        state::State,
        storage::documents::{Stored, not_found, parse},
        tools::execute::ToolResult,
    },
    request::body::Body,
};

/// A turn that has begun and can be found to be cancelled.
pub(in crate::mock) struct Turn {
    thread: Thread,
    request: TurnRequest,
    lease: RunLease,
    /// Where its events are recorded, when they can be read again.
    event_log: Option<Arc<EventLog>>,
}

/// A turn that has ended.
#[derive(Debug)]
pub(in crate::mock) struct Ended {
    /// What the agent said. Empty when another process ended the run.
    pub(in crate::mock) answers: Vec<Message>,
    /// The run as it is stored.
    pub(in crate::mock) run: Run,
    /// Why it failed, if it did.
    pub(in crate::mock) failure: Option<TurnError>,
}

/// How often a turn is taken anew because another one was quicker.
const ATTEMPTS: usize = 5;

impl Turn {
    /// Begins a turn. One that streams has its conversation to itself.
    ///
    /// # Errors
    /// 409 when another streams there; when the database fails.
    pub(in crate::mock) async fn begin(
        state: &Arc<State>,
        thread: Thread,
        mut run: Run,
        request: TurnRequest,
        streams: bool,
    ) -> Result<Self, ApiError> {
        run.conversation_id = thread.conversation_id().map(str::to_owned);
        let event_log = run.delivery.map(|_| EventLog::new());
        let registration = register(state, &run, thread.id(), streams, event_log.as_ref()).await?;
        Ok(Self::registered(state, thread, run, request, registration, event_log, false))
    }

    /// Takes up a turn whose run is stored. None: it is to be streamed, and its conversation streams another.
    pub(in crate::mock) fn resume(state: &Arc<State>, thread: Thread, run: Run, request: TurnRequest) -> Option<Self> {
        let event_log = run.delivery.map(|_| EventLog::new());
        let registration = state
            .turns
            .enter(
                &run.id,
                &run.agent_id,
                thread.id(),
                event_log.is_some(),
                run.idempotency_key.as_deref(),
                event_log.clone(),
            )
            .ok()?;
        Some(Self::registered(state, thread, run, request, registration, event_log, true))
    }

    fn registered(
        state: &Arc<State>,
        thread: Thread,
        run: Run,
        request: TurnRequest,
        registration: Registration,
        event_log: Option<Arc<EventLog>>,
        is_announced: bool,
    ) -> Self {
        let project = thread.agent.project.clone();
        let messenger = Messenger::new(deliver);
        let mut lease =
            RunLease { state: Arc::clone(state), project, run, registration, is_announced, messenger, signs: None };
        if is_announced {
            lease.show_signs_of_life();
        }
        if lease.run.background {
            lease.outlives_process(&request);
        }
        Self { thread, request, lease, event_log }
    }

    /// The run as it is at the beginning.
    pub(in crate::mock) fn run(&self) -> &Run {
        &self.lease.run
    }

    /// Does not take it after all. Whoever follows it already hears nothing more.
    pub(in crate::mock) fn abandon(self) {
        if let Some(event_log) = &self.event_log {
            event_log.end();
        }
    }

    /// Answers at once, after those who asked the same agent before. Runs to its end even when nobody waits for it.
    ///
    /// # Errors
    /// When the conversation waits for something else; when the turn cannot be stored, or its agent is gone.
    pub(in crate::mock) async fn answer(mut self) -> Result<Ended, ApiError> {
        let state = Arc::clone(&self.lease.state);
        let finished = state.tasks.spawn(async move {
            let _place = self.place().await?;
            let taken = self.take(None).await;
            if let Err(error) = &taken {
                self.mark_as_failed(error);
            }
            taken
        });
        finished.await.map_err(ApiError::internal)?
    }

    /// Answers some time, beside the request, which may end before. The run is stored when this returns; what a stopping
    /// process leaves is taken up by the next one.
    ///
    /// # Errors
    /// When the run cannot be stored.
    pub(in crate::mock) async fn answer_later(mut self) -> Result<(), ApiError> {
        self.lease.announce().await?;
        self.go_on();
        Ok(())
    }

    /// Answers a turn whose run is stored, beside everything else.
    pub(in crate::mock) fn go_on(self) {
        let state = Arc::clone(&self.lease.state);
        state.tasks.spawn(async move {
            if let Err(error) = self.answer_in_background().await {
                warn!(%error, "A turn in the background was not stored; the next start takes it up");
            }
        });
    }

    /// The same, for whoever waits for it. What cannot be read or stored now is tried again.
    pub(super) async fn answer_in_background(mut self) -> Result<(), ApiError> {
        let state = Arc::clone(&self.lease.state);
        let mut patience = DatabaseBackoff::new(&state);
        loop {
            let done = self.take_in_background().await;
            match done {
                Err(error) if patience.waits_after(&error).await => {}
                // The agent was deleted. Its runs went with it, but for one that began in that moment.
                Err(error) if error.code() == Code::NotFound => {
                    return forget(&state.store, &self.lease.run.agent_id, &self.lease.run.id).await;
                }
                done => return done,
            }
        }
    }

    async fn take_in_background(&mut self) -> Result<(), ApiError> {
        let _place = self.place().await?;
        let mut event_sink = self.recorder();
        let taken = match self.listen_and_take(event_sink.as_mut()).await {
            Err(error) if !error.is_the_stores() && error.code() != Code::NotFound => {
                self.store_failure(&error, event_sink.as_ref()).await
            }
            taken => taken,
        };
        let Ended { run, failure, .. } = taken?;
        if let Some(event_sink) = event_sink {
            event_sink.close(&End::of(&run, failure)).await;
        }
        Ok(())
    }

    async fn listen_and_take(&mut self, event_sink: Option<&mut EventSink>) -> Result<Ended, ApiError> {
        sleeptime::listen(&self.lease.state.store, &mut self.request).await?;
        self.take(event_sink).await
    }

    /// Answers in events, from now on.
    pub(in crate::mock) fn stream(mut self, delivery: Delivery) -> Body {
        let cancel = self.lease.registration.cancel.clone();
        let state = Arc::clone(&self.lease.state);
        let (mut event_sink, body) = match self.recorder() {
            Some(event_sink) => {
                let reading = ReplayOptions { pings: delivery.pings, ..ReplayOptions::WHOLE };
                (event_sink, replay(&state, self.lease.run.id.clone(), self.event_log.clone(), reading))
            }
            None => EventSink::open(&self.lease.run, delivery, cancel, state.ping_interval),
        };
        state.tasks.spawn(async move {
            let taken = match self.take(Some(&mut event_sink)).await {
                // Whatever is wrong now is told in the stream, and noted in the run.
                Err(error) if error.code() != Code::NotFound => self.store_failure(&error, Some(&event_sink)).await,
                taken => taken,
            };
            let end = match taken {
                Ok(Ended { run, failure, .. }) => End::of(&run, failure),
                // The agent was deleted.
                Err(error) if error.code() == Code::NotFound => {
                    End::Stopped(StopReason::Cancelled, Usage::default(), Vec::new())
                }
                Err(error) => {
                    warn!(%error, "A streamed turn was not stored");
                    self.mark_as_failed(&error);
                    End::Failed(TurnError::internal(error.message().to_owned()))
                }
            };
            // The conversation is free before the client learns that it is.
            drop(self);
            event_sink.close(&end).await;
        });
        body
    }

    /// Waits until nobody else speaks to the agent; a turn that is cancelled meanwhile waits no longer. Whoever has waited
    /// finds the conversation as those before have left it. A turn that the turn of another agent waits for does not wait
    /// itself, as a turn that streams does not: the one that it would wait for may be waiting for the other agent.
    async fn place(&mut self) -> Result<Option<OwnedMutexGuard<()>>, ApiError> {
        let locks = &self.lease.state.locks;
        if let Some(place) = locks.try_take(&self.lease.run.agent_id) {
            return Ok(Some(place));
        }
        if self.lease.messenger.is_of_agent() {
            return Ok(None);
        }
        let place = tokio::select! {
            biased;
            () = self.lease.registration.cancel.cancelled() => None,
            place = locks.of(&self.lease.run.agent_id) => Some(place),
        };
        self.look_again().await?;
        Ok(place)
    }

    async fn look_again(&mut self) -> Result<(), ApiError> {
        let (agent_id, conversation) = (&self.lease.run.agent_id, self.lease.run.conversation_id.as_deref());
        let found = Thread::load(&self.lease.state.store, agent_id, conversation).await?;
        self.thread = found.ok_or_else(|| not_found::<Agent>(agent_id))?;
        Ok(())
    }

    /// Takes the turn and stores it. One that was overtaken and has told nobody anything is taken anew.
    async fn take(&mut self, mut event_sink: Option<&mut EventSink>) -> Result<Ended, ApiError> {
        for _ in 0..ATTEMPTS {
            let state = Arc::clone(&self.lease.state);
            let told = event_sink.as_deref_mut();
            let budget = state.budget(json_length(&self.request), self.request.sharers);
            let agent_loop =
                AgentLoop::begin(&state, &self.thread, &self.request, &mut self.lease, told, &budget).await?;
            let produced = agent_loop.run().await?;
            if let Some(ended) = self.store(produced, event_sink.as_deref()).await? {
                return Ok(ended);
            }
            if self.lease.is_announced {
                break;
            }
            self.look_again().await?;
            if let Some(event_sink) = &mut event_sink {
                event_sink.begin_again();
            }
        }
        Err(overtaken())
    }

    /// Stores a turn. None: it was overtaken.
    async fn store(&self, mut produced: Produced, event_sink: Option<&EventSink>) -> Result<Option<Ended>, ApiError> {
        if let Some(failure) = &mut produced.failure
            && self.lease.run.is_async()
        {
            failure.stop_reason = StopReason::Error;
        }
        let recording =
            |run: &Run| event_sink.and_then(|event_sink| event_sink.recording(&End::of(run, produced.failure.clone())));
        let model = self.request.model.as_deref().unwrap_or_else(|| self.thread.model());
        Ok(match commit(&self.lease, &self.thread, model, &produced, recording).await? {
            CommitResult::Stored(run) => {
                self.begin_sleeptime_runs(&run);
                let failure = produced.failure.clone();
                Some(Ended { answers: produced.into_answers(), run, failure })
            }
            CommitResult::EndedElsewhere(run) => Some(Ended { answers: Vec::new(), run, failure: None }),
            CommitResult::Overtaken => None,
        })
    }

    /// Lets the sleeptime agents begin whose runs are stored with this one. Nobody waits for them.
    fn begin_sleeptime_runs(&self, run: &Run) {
        let state = &self.lease.state;
        for run_id in run.sleeptime_runs.iter().cloned() {
            state.tasks.spawn(take_up(Arc::clone(state), vec![run_id]));
        }
    }

    /// Stores that the turn could not be taken.
    async fn store_failure(&self, why: &ApiError, event_sink: Option<&EventSink>) -> Result<Ended, ApiError> {
        let produced = Produced::failed(TurnError::internal(why.message().to_owned()));
        self.store(produced, event_sink).await?.ok_or_else(overtaken)
    }

    /// Where its events are recorded.
    fn recorder(&self) -> Option<EventSink> {
        let (event_log, delivery) = (self.event_log.clone()?, self.lease.run.delivery?);
        event_log.rewind();
        Some(EventSink::record(event_log, &self.lease.run, delivery, self.lease.registration.cancel.clone()))
    }

    /// Marks the run as failed as soon as the database can, if anybody can know of it.
    fn mark_as_failed(&self, why: &ApiError) {
        if !self.lease.is_announced || why.code() == Code::NotFound {
            return;
        }
        let (state, run, why) = (Arc::clone(&self.lease.state), self.lease.run.clone(), why.message().to_owned());
        self.lease.state.tasks.spawn(async move {
            let mut patience = DatabaseBackoff::new(&state);
            while let Err(error) = fail(&state.store, &run, &why).await {
                if !patience.waits_after(&error).await {
                    warn!(%error, run.id = %run.id, "A run that could not be stored could not be marked as failed either");
                    return;
                }
            }
        });
    }
}

/// Takes a turn of an agent that another agent has sent a message, to its end. A future that is dropped cancels the turn.
fn deliver(
    state: Arc<State>,
    agent: Stored<Agent>,
    request: TurnRequest,
    messenger: Messenger,
) -> BoxFuture<'static, Result<Vec<Message>, ApiError>> {
    Box::pin(async move {
        let run = Run::begin(&agent.record.id, RunType::Plain, false, MessageView::USUAL);
        let mut turn = Turn::begin(&state, Thread::default_of(agent), run, request, false).await?;
        turn.lease.messenger = messenger;
        let _cancels = turn.lease.registration.cancel.clone().drop_guard();
        let ended = turn.answer().await?;
        match ended.failure {
            Some(failure) => Err(failure.answer()),
            None => Ok(ended.answers),
        }
    })
}

/// Sends messages from an agent to others by a tool that a client runs outside of any turn.
///
/// # Errors
/// When the replies are too large; when the database fails.
pub(in crate::mock) async fn message_agents(
    state: &Arc<State>,
    agent: &Stored<Agent>,
    tool: &str,
    arguments: &Map<String, Value>,
) -> Result<ToolResult, ApiError> {
    let budget = state.budget(json_length(arguments), 1);
    let sender = Sender { state: Arc::clone(state), agent, sharers: 1, budget: &budget };
    Messenger::new(deliver).run(&sender, tool, arguments).await
}

fn overtaken() -> ApiError {
    ApiError::letta(Code::Conflict, "CONFLICT: The conversation changed while the agent answered; try again.")
}

/// Waiting for a database that is away, within reason and not beyond the end of this process.
struct DatabaseBackoff<'a> {
    state: &'a State,
    attempts: u32,
}

impl<'a> DatabaseBackoff<'a> {
    fn new(state: &'a State) -> Self {
        Self { state, attempts: 0 }
    }

    /// Waits a moment if trying again may help; false when it is not worth it.
    async fn waits_after(&mut self, error: &ApiError) -> bool {
        const ATTEMPTS: u32 = 120;
        const PAUSE: Duration = Duration::from_secs(1);
        self.attempts += 1;
        if !error.is_the_stores() || self.attempts > ATTEMPTS {
            return false;
        }
        tokio::select! {
            () = self.state.closing.cancelled() => false,
            () = tokio::time::sleep(PAUSE) => true,
        }
    }
}

/// Finds a place for a turn. The end of a turn can be seen in the store a moment before its place is free, and whoever
/// has seen it must not be told that it still runs.
async fn register(
    state: &State,
    run: &Run,
    conversation_id: &str,
    streams: bool,
    event_log: Option<&Arc<EventLog>>,
) -> Result<Registration, ApiError> {
    loop {
        let idempotency_key = run.idempotency_key.as_deref();
        let taken = match state.turns.enter(
            &run.id,
            &run.agent_id,
            conversation_id,
            streams,
            idempotency_key,
            event_log.cloned(),
        ) {
            Ok(registration) => return Ok(registration),
            Err(taken) => taken,
        };
        let present = state.store.document(Run::KIND, &taken.run_id).await?;
        let has_ended = present.map(parse::<Run>).transpose()?.is_some_and(|present| present.record.has_ended());
        if !has_ended {
            return Err(busy(taken));
        }
        state.turns.ended(&taken.run_id).await;
    }
}

fn busy(Busy { run_id }: Busy) -> ApiError {
    ApiError::conflict(format!(
        "CONFLICT: Cannot send a new message: Another request (run_id={run_id}) is currently being processed for this \
         conversation. Please wait for it to complete."
    ))
    .with("run_id", run_id)
}
