//! A turn from its beginning to its end.

use std::{sync::Arc, time::Duration};

use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use super::{
    agent_loop::{Produced, Talk},
    commit::{Outcome, commit, fail, forget},
    event_sink::Outlet,
    lease::Presence,
    recovery::take_up,
    replay::{Reading, replay},
    request::{Delivery, TurnRequest},
    sleeptime,
    sse::End,
};
use crate::{
    error::{ApiError, Code},
    mock::{
        agents::thread::Thread,
        budget::json_length,
        records::{Agent, Message, Record, Run, StopReason, Usage, turn_error::Failure},
        running::{Busy, Registration, Tape},
        state::State,
        storage::documents::{not_found, parse},
    },
    request::body::Body,
};

/// A turn that has begun and can be found to be cancelled.
pub(in crate::mock) struct Turn {
    thread: Thread,
    request: TurnRequest,
    presence: Presence,
    /// Where its events are recorded, when they can be read again.
    tape: Option<Arc<Tape>>,
}

/// A turn that has ended.
#[derive(Debug)]
pub(in crate::mock) struct Ended {
    /// What the agent said. Empty when another process ended the run.
    pub(in crate::mock) answers: Vec<Message>,
    /// The run as it is stored.
    pub(in crate::mock) run: Run,
    /// Why it failed, if it did.
    pub(in crate::mock) failure: Option<Failure>,
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
        let tape = run.delivery.map(|_| Tape::new());
        let registration = register(state, &run, thread.id(), streams, tape.as_ref()).await?;
        Ok(Self::registered(state, thread, run, request, registration, tape, false))
    }

    /// Takes up a turn whose run is stored. None: it is to be streamed, and its conversation streams another.
    pub(in crate::mock) fn resume(state: &Arc<State>, thread: Thread, run: Run, request: TurnRequest) -> Option<Self> {
        let tape = run.delivery.map(|_| Tape::new());
        let registration = state
            .turns
            .enter(&run.id, &run.agent_id, thread.id(), tape.is_some(), run.mark.as_deref(), tape.clone())
            .ok()?;
        Some(Self::registered(state, thread, run, request, registration, tape, true))
    }

    fn registered(
        state: &Arc<State>,
        thread: Thread,
        run: Run,
        request: TurnRequest,
        registration: Registration,
        tape: Option<Arc<Tape>>,
        is_announced: bool,
    ) -> Self {
        let project = thread.agent.project.clone();
        let mut presence = Presence { state: Arc::clone(state), project, run, registration, is_announced, signs: None };
        if is_announced {
            presence.show_signs_of_life();
        }
        if presence.run.background {
            presence.outlives_process(&request);
        }
        Self { thread, request, presence, tape }
    }

    /// The run as it is at the beginning.
    pub(in crate::mock) fn run(&self) -> &Run {
        &self.presence.run
    }

    /// Does not take it after all. Whoever follows it already hears nothing more.
    pub(in crate::mock) fn abandon(self) {
        if let Some(tape) = &self.tape {
            tape.end();
        }
    }

    /// Answers at once, after those who asked the same agent before. Runs to its end even when nobody waits for it.
    ///
    /// # Errors
    /// When the conversation waits for something else; when the turn cannot be stored, or its agent is gone.
    pub(in crate::mock) async fn answer(mut self) -> Result<Ended, ApiError> {
        let state = Arc::clone(&self.presence.state);
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
        self.presence.announce().await?;
        self.go_on();
        Ok(())
    }

    /// Answers a turn whose run is stored, beside everything else.
    pub(in crate::mock) fn go_on(self) {
        let state = Arc::clone(&self.presence.state);
        state.tasks.spawn(async move {
            if let Err(error) = self.answer_in_background().await {
                warn!(%error, "A turn in the background was not stored; the next start takes it up");
            }
        });
    }

    /// The same, for whoever waits for it. What cannot be read or stored now is tried again.
    pub(super) async fn answer_in_background(mut self) -> Result<(), ApiError> {
        let state = Arc::clone(&self.presence.state);
        let mut patience = Patience::new(&state);
        loop {
            let done = self.take_in_background().await;
            match done {
                Err(error) if patience.waits_after(&error).await => {}
                // The agent was deleted. Its runs went with it, but for one that began in that moment.
                Err(error) if error.code() == Code::NotFound => {
                    return forget(&state.store, &self.presence.run.agent_id, &self.presence.run.id).await;
                }
                done => return done,
            }
        }
    }

    async fn take_in_background(&mut self) -> Result<(), ApiError> {
        let _place = self.place().await?;
        let mut outlet = self.recorder();
        let taken = match self.listen_and_take(outlet.as_mut()).await {
            Err(error) if !error.is_the_stores() && error.code() != Code::NotFound => {
                self.store_failure(&error, outlet.as_ref()).await
            }
            taken => taken,
        };
        let Ended { run, failure, .. } = taken?;
        if let Some(outlet) = outlet {
            outlet.close(&End::of(&run, failure)).await;
        }
        Ok(())
    }

    async fn listen_and_take(&mut self, outlet: Option<&mut Outlet>) -> Result<Ended, ApiError> {
        sleeptime::listen(&self.presence.state.store, &mut self.request).await?;
        self.take(outlet).await
    }

    /// Answers in events, from now on.
    pub(in crate::mock) fn stream(mut self, delivery: Delivery) -> Body {
        let cancel = self.presence.registration.cancel.clone();
        let state = Arc::clone(&self.presence.state);
        let (mut outlet, body) = match self.recorder() {
            Some(outlet) => {
                let reading = Reading { pings: delivery.pings, ..Reading::WHOLE };
                (outlet, replay(&state, self.presence.run.id.clone(), self.tape.clone(), reading))
            }
            None => Outlet::open(&self.presence.run, delivery, cancel, state.ping_interval),
        };
        state.tasks.spawn(async move {
            let taken = match self.take(Some(&mut outlet)).await {
                // Whatever is wrong now is told in the stream, and noted in the run.
                Err(error) if error.code() != Code::NotFound => self.store_failure(&error, Some(&outlet)).await,
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
                    End::Failed(Failure::internal(error.message().to_owned()))
                }
            };
            // The conversation is free before the client learns that it is.
            drop(self);
            outlet.close(&end).await;
        });
        body
    }

    /// Waits until nobody else speaks to the agent; a turn that is cancelled meanwhile waits no longer. Whoever has waited
    /// finds the conversation as those before have left it.
    async fn place(&mut self) -> Result<Option<OwnedMutexGuard<()>>, ApiError> {
        let locks = &self.presence.state.locks;
        if let Some(place) = locks.try_take(&self.presence.run.agent_id) {
            return Ok(Some(place));
        }
        let place = tokio::select! {
            biased;
            () = self.presence.registration.cancel.cancelled() => None,
            place = locks.of(&self.presence.run.agent_id) => Some(place),
        };
        self.look_again().await?;
        Ok(place)
    }

    async fn look_again(&mut self) -> Result<(), ApiError> {
        let (agent_id, conversation) = (&self.presence.run.agent_id, self.presence.run.conversation_id.as_deref());
        let found = Thread::load(&self.presence.state.store, agent_id, conversation).await?;
        self.thread = found.ok_or_else(|| not_found::<Agent>(agent_id))?;
        Ok(())
    }

    /// Takes the turn and stores it. One that was overtaken and has told nobody anything is taken anew.
    async fn take(&mut self, mut outlet: Option<&mut Outlet>) -> Result<Ended, ApiError> {
        for _ in 0..ATTEMPTS {
            let state = Arc::clone(&self.presence.state);
            let told = outlet.as_deref_mut();
            let budget = state.budget(json_length(&self.request), self.request.sharers);
            let talk = Talk::begin(&state, &self.thread, &self.request, &mut self.presence, told, &budget).await?;
            let produced = talk.run().await?;
            if let Some(ended) = self.store(produced, outlet.as_deref()).await? {
                return Ok(ended);
            }
            if self.presence.is_announced {
                break;
            }
            self.look_again().await?;
            if let Some(outlet) = &mut outlet {
                outlet.begin_again();
            }
        }
        Err(overtaken())
    }

    /// Stores a turn. None: it was overtaken.
    async fn store(&self, mut produced: Produced, outlet: Option<&Outlet>) -> Result<Option<Ended>, ApiError> {
        if let Some(failure) = &mut produced.failure
            && self.presence.run.is_async()
        {
            failure.stop_reason = StopReason::Error;
        }
        let recording = |run: &Run| outlet.and_then(|outlet| outlet.recording(&End::of(run, produced.failure.clone())));
        let model = self.request.model.as_deref().unwrap_or_else(|| self.thread.model());
        Ok(match commit(&self.presence, &self.thread, model, &produced, recording).await? {
            Outcome::Stored(run) => {
                self.begin_sleeptime_runs(&run);
                let failure = produced.failure.clone();
                Some(Ended { answers: produced.into_answers(), run, failure })
            }
            Outcome::EndedElsewhere(run) => Some(Ended { answers: Vec::new(), run, failure: None }),
            Outcome::Overtaken => None,
        })
    }

    /// Lets the sleeptime agents begin whose runs are stored with this one. Nobody waits for them.
    fn begin_sleeptime_runs(&self, run: &Run) {
        let state = &self.presence.state;
        for run_id in run.sleeptime_runs.iter().cloned() {
            state.tasks.spawn(take_up(Arc::clone(state), vec![run_id]));
        }
    }

    /// Stores that the turn could not be taken.
    async fn store_failure(&self, why: &ApiError, outlet: Option<&Outlet>) -> Result<Ended, ApiError> {
        let produced = Produced::failed(Failure::internal(why.message().to_owned()));
        self.store(produced, outlet).await?.ok_or_else(overtaken)
    }

    /// Where its events are recorded.
    fn recorder(&self) -> Option<Outlet> {
        let (tape, delivery) = (self.tape.clone()?, self.presence.run.delivery?);
        tape.rewind();
        Some(Outlet::record(tape, &self.presence.run, delivery, self.presence.registration.cancel.clone()))
    }

    /// Marks the run as failed as soon as the database can, if anybody can know of it.
    fn mark_as_failed(&self, why: &ApiError) {
        if !self.presence.is_announced || why.code() == Code::NotFound {
            return;
        }
        let (state, run, why) = (Arc::clone(&self.presence.state), self.presence.run.clone(), why.message().to_owned());
        self.presence.state.tasks.spawn(async move {
            let mut patience = Patience::new(&state);
            while let Err(error) = fail(&state.store, &run, &why).await {
                if !patience.waits_after(&error).await {
                    warn!(%error, run.id = %run.id, "A run that could not be stored could not be marked as failed either");
                    return;
                }
            }
        });
    }
}

fn overtaken() -> ApiError {
    ApiError::letta(Code::Conflict, "CONFLICT: The conversation changed while the agent answered; try again.")
}

/// Waiting for a database that is away, within reason and not beyond the end of this process.
struct Patience<'a> {
    state: &'a State,
    attempts: u32,
}

impl<'a> Patience<'a> {
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
    tape: Option<&Arc<Tape>>,
) -> Result<Registration, ApiError> {
    loop {
        let mark = run.mark.as_deref();
        let taken = match state.turns.enter(&run.id, &run.agent_id, conversation_id, streams, mark, tape.cloned()) {
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
