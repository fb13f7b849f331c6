//! A turn from its beginning to its end.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use super::{
    commit::{Outcome, Produced, commit, fail},
    outlet::{End, Outlet},
    registry::{Busy, Registration},
    request::{Delivery, TurnRequest},
};
use crate::{
    body::Body,
    entropy,
    error::{ApiError, Code},
    mock::{
        documents::{Stored, insert, parse},
        records::{Agent, DEFAULT_CONVERSATION, Message, Record, Role, Run, StopReason, Timestamp, Usage, links},
        responder::Situation,
        state::State,
    },
};

/// A turn that has begun: its run is stored, and it can be found to be cancelled.
pub(in crate::mock) struct Turn {
    state: Arc<State>,
    run: Run,
    step_id: String,
    request: TurnRequest,
    registration: Registration,
}

/// A turn that has ended.
#[derive(Debug)]
pub(in crate::mock) struct Ended {
    /// What the agent said. Empty when another process ended the run.
    pub(in crate::mock) answers: Vec<Message>,
    /// The run as it is stored.
    pub(in crate::mock) run: Run,
}

impl Turn {
    /// Begins a turn. One that streams has its conversation to itself.
    ///
    /// # Errors
    /// 409 when another streams there; when the run cannot be stored.
    pub(in crate::mock) async fn begin(
        state: &Arc<State>,
        agent: &Stored<Agent>,
        run: Run,
        request: TurnRequest,
        streams: bool,
    ) -> Result<Self, ApiError> {
        let registration = register(state, &run, streams.then_some(DEFAULT_CONVERSATION)).await?;
        let turn = Self::registered(state, run, request, registration);
        let mut tx = state.store.begin().await?;
        insert(&mut tx, &agent.project, Some(&turn.run.agent_id), &turn.run).await?;
        tx.link(links::ACTIVE_RUN, &turn.run.agent_id, &turn.run.id).await?;
        tx.commit().await?;
        Ok(turn)
    }

    /// Takes up a turn whose run is stored.
    pub(super) fn resume(state: &Arc<State>, run: Run, request: TurnRequest) -> Option<Self> {
        let registration = state.turns.enter(&run.id, &run.agent_id, None).ok()?;
        Some(Self::registered(state, run, request, registration))
    }

    fn registered(state: &Arc<State>, run: Run, request: TurnRequest, registration: Registration) -> Self {
        Self { state: Arc::clone(state), run, step_id: entropy::letta_id("step"), request, registration }
    }

    /// The run as it was stored at the beginning.
    pub(in crate::mock) fn run(&self) -> &Run {
        &self.run
    }

    /// Answers at once, after those who asked the same agent before. Runs to its end even when nobody waits for it.
    ///
    /// # Errors
    /// When the turn cannot be stored, or its agent is gone.
    pub(in crate::mock) async fn answer(self) -> Result<Ended, ApiError> {
        let state = Arc::clone(&self.state);
        let finished = state.tasks.spawn(async move {
            let _place = self.wait_for_place().await;
            let produced = self.produce(None).await;
            self.finish(produced).await
        });
        finished.await.map_err(ApiError::internal)?
    }

    /// Answers some time, beside the request. What cannot be stored now is tried again; what a stopping process leaves
    /// is taken up by the next one.
    pub(in crate::mock) fn answer_later(self) {
        let state = Arc::clone(&self.state);
        state.tasks.spawn(async move {
            if let Err(error) = self.answer_in_background().await {
                warn!(%error, "A turn in the background was not stored; the next start takes it up");
            }
        });
    }

    /// The same, for whoever waits for it.
    pub(super) async fn answer_in_background(self) -> Result<(), ApiError> {
        let _place = self.wait_for_place().await;
        let produced = self.produce(None).await;
        let mut patience = Patience::new(&self.state);
        loop {
            match self.store(&produced).await {
                Err(error) if patience.waits_after(&error).await => {}
                // The agent was deleted, and the run with it.
                Err(error) if error.code() == Code::NotFound => return Ok(()),
                done => return done.map(drop),
            }
        }
    }

    /// Answers in events, from now on.
    pub(in crate::mock) fn stream(self, delivery: Delivery) -> Body {
        let (mut outlet, body) = Outlet::open(&self.run, delivery, self.registration.cancel.clone());
        let state = Arc::clone(&self.state);
        state.tasks.spawn(async move {
            outlet.greet().await;
            let produced = self.produce(Some(&mut outlet)).await;
            // The conversation is free before the client learns that it is.
            let end = match self.finish(produced).await {
                Ok(Ended { run, .. }) => End::Stopped(run.stop_reason.unwrap_or(StopReason::Error), run.usage),
                Err(error) if error.code() == Code::NotFound => End::Stopped(StopReason::Cancelled, Usage::default()),
                Err(error) => {
                    warn!(%error, "A streamed turn was not stored");
                    End::Failed(error.message().to_owned())
                }
            };
            outlet.close(end).await;
        });
        body
    }

    /// Waits until nobody else speaks to the agent; a turn that is cancelled meanwhile waits no longer.
    async fn wait_for_place(&self) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        tokio::select! {
            biased;
            () = self.registration.cancel.cancelled() => None,
            place = self.state.locks.of(&self.run.agent_id) => Some(place),
        }
    }

    /// Asks the responder, and hands out what it says as it says it.
    async fn produce(&self, outlet: Option<&mut Outlet>) -> Produced {
        let input = self.request.input.iter().cloned();
        let mut said: Vec<Message> = input.map(|incoming| incoming.into_message(&self.run.id, &self.step_id)).collect();
        let asked = said.len();
        if self.registration.cancel.is_cancelled() {
            return Produced { said, asked, stop_reason: StopReason::Cancelled };
        }
        let mut answer = self.answer_to(&said);
        let mut stop_reason = StopReason::EndTurn;
        if let Some(outlet) = outlet
            && let Err(sent) = outlet.say(&answer).await
        {
            answer.cut(sent.parts, sent.bytes);
            stop_reason = StopReason::Cancelled;
        }
        if !answer.content.is_empty() {
            said.push(answer);
        }
        Produced { said, asked, stop_reason }
    }

    fn answer_to(&self, said: &[Message]) -> Message {
        Message {
            id: entropy::letta_id("message"),
            role: Role::Assistant,
            content: self.state.responder.respond(&Situation { said }).parts,
            created_at: Timestamp::now(),
            name: None,
            otid: None,
            sender_id: None,
            group_id: None,
            batch_item_id: None,
            step_id: Some(self.step_id.clone()),
            run_id: Some(self.run.id.clone()),
        }
    }

    /// Stores the turn, once: its client waits.
    async fn finish(self, produced: Produced) -> Result<Ended, ApiError> {
        let stored = self.store(&produced).await;
        if let Err(error) = &stored
            && error.code() != Code::NotFound
        {
            self.mark_as_failed(error.message().to_owned());
        }
        match stored? {
            Outcome::Stored(run) => Ok(Ended { answers: produced.into_answers(), run }),
            Outcome::EndedElsewhere(run) => Ok(Ended { answers: Vec::new(), run }),
        }
    }

    /// Marks the run as failed as soon as the database can.
    fn mark_as_failed(&self, why: String) {
        let (state, run) = (Arc::clone(&self.state), self.run.clone());
        self.state.tasks.spawn(async move {
            let mut patience = Patience::new(&state);
            while let Err(error) = fail(&state.store, &run, &why).await {
                if !patience.waits_after(&error).await {
                    warn!(%error, run.id = %run.id, "A run that could not be stored could not be marked as failed either");
                    return;
                }
            }
        });
    }

    async fn store(&self, produced: &Produced) -> Result<Outcome, ApiError> {
        commit(&self.state.store, &self.run, &self.step_id, produced).await
    }
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
        if error.code() != Code::StoreUnavailable || self.attempts > ATTEMPTS {
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
async fn register(state: &State, run: &Run, streams_in: Option<&str>) -> Result<Registration, ApiError> {
    loop {
        let taken = match state.turns.enter(&run.id, &run.agent_id, streams_in) {
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
