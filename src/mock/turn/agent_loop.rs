//! What is said in a turn, step by step: the responder is asked, its calls run or wait, and it is asked again.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

use super::{
    agent_messages::{Sender, TIMEOUT},
    approval::{Decision, denied, not_pending, still_pending},
    cost,
    event_sink::{EventSink, Sent},
    input::Incoming,
    lease::RunLease,
    request::TurnRequest,
};
use crate::{
    entropy,
    error::{ApiError, Code},
    mock::{
        agents::{
            legacy::{self, Manner},
            thread::Thread,
        },
        budget::{Budget, Overspent},
        records::{
            Approval, Content, EndedStep, Message, Part, Pending, Role, SPEAKING_TOOL, StopReason, Timing, ToolCall,
            ToolReturn, ToolStatus, Usage, turn_error::TurnError,
        },
        responder::{ModelRequest, ModelResponse, Responder},
        running::Pace,
        state::State,
        storage::documents::parse_message,
        tools::{
            execute::{Effects, ToolExecutor, returned},
            set::ToolSet,
        },
    },
    store::MessageFilter,
};

/// What a turn has come to.
#[derive(Debug, Default)]
pub(super) struct Produced {
    /// What was said, oldest first: first what was asked, then the answers.
    pub(super) said: Vec<Message>,
    /// How much of it was asked.
    pub(super) asked: usize,
    /// How much the request said beside a decision: it stands behind what the tools returned.
    pub(super) added: usize,
    pub(super) steps: Vec<EndedStep>,
    pub(super) stop_reason: Option<StopReason>,
    /// Why it failed, if it did.
    pub(super) failure: Option<TurnError>,
    /// The message that asked the question which this turn answers, or which was open when it began.
    pub(super) answers: Option<String>,
    /// The question that it ends with.
    pub(super) asks: Option<Box<Pending>>,
    pub(super) effects: Effects,
    /// The tools that were called, each once.
    pub(super) tools_used: Vec<String>,
}

impl Produced {
    /// A turn that could not be taken.
    pub(super) fn failed(failure: TurnError) -> Self {
        Self { stop_reason: Some(failure.stop_reason), failure: Some(failure), ..Self::default() }
    }

    /// What the agent said.
    pub(super) fn into_answers(mut self) -> Vec<Message> {
        let mut answers = self.said.split_off(self.asked.min(self.said.len()));
        if self.added > 0 {
            answers.drain(1..=self.added);
        }
        answers.retain(|message| !message.is_event());
        answers
    }

    /// What it cost: every step reads everything before it anew.
    pub(super) fn usage(&self) -> Usage {
        let mut total = Usage::default();
        for step in self.steps.iter().filter(|step| step.failure.is_none()) {
            let usage = step.usage;
            total.completion_tokens += usage.completion_tokens;
            total.prompt_tokens += usage.prompt_tokens;
            total.total_tokens += usage.total_tokens;
            total.reasoning_tokens += usage.reasoning_tokens;
            total.step_count += 1;
            total.context_tokens = usage.context_tokens;
        }
        total
    }
}

/// A turn that is under way.
pub(super) struct AgentLoop<'a> {
    state: &'a State,
    thread: &'a Thread,
    request: &'a TurnRequest,
    lease: &'a mut RunLease,
    event_sink: Option<&'a mut EventSink>,
    tool_set: ToolSet,
    manner: Manner,
    /// Whether the model that answers reasons.
    reasons: bool,
    executor: ToolExecutor<'a>,
    /// What was said since the user spoke last, and in this turn from `begun` on.
    lines: Vec<Message>,
    begun: usize,
    /// The id of the next step.
    step_id: String,
    /// Returns that are known before their calls run.
    scripted: HashMap<String, ToolReturn>,
    produced: Produced,
    budget: &'a Budget,
    /// The step that is being taken, and when it began.
    current: Option<(String, Instant)>,
    /// How much was there when it began.
    before: Savepoint,
    /// How many of the lines of this turn are counted, and their tokens.
    counted: (usize, i64),
}

/// How much a turn had produced before a step.
#[derive(Clone, Copy, Debug, Default)]
struct Savepoint {
    lines: usize,
    effects: [usize; 3],
}

impl<'a> AgentLoop<'a> {
    /// Begins.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn begin(
        state: &'a State,
        thread: &'a Thread,
        request: &'a TurnRequest,
        lease: &'a mut RunLease,
        event_sink: Option<&'a mut EventSink>,
        budget: &'a Budget,
    ) -> Result<Self, ApiError> {
        let agent = &thread.agent.record;
        let tool_set = ToolSet::of(&state.store, agent, &request.client_tools).await?;
        let isolated = thread.conversation.as_ref().map_or(&[][..], |own| own.record.isolated_block_ids.as_slice());
        Ok(Self {
            executor: ToolExecutor::new(&state.store, agent, thread.id(), isolated, budget),
            state,
            thread,
            request,
            lease,
            event_sink,
            manner: Manner::of(&agent.agent_type, &tool_set),
            reasons: state.reasoning.applies(|| thread.reasons(request.model.as_deref())),
            tool_set,
            lines: Vec::new(),
            begun: 0,
            step_id: entropy::letta_id("step"),
            scripted: HashMap::new(),
            produced: Produced { answers: thread.pending_id().map(str::to_owned), ..Produced::default() },
            budget,
            current: None,
            before: Savepoint::default(),
            counted: (0, 0),
        })
    }

    /// Takes the turn to its end.
    ///
    /// # Errors
    /// 409 or 400 when the conversation waits for something else than what the request brings; when the database fails.
    pub(super) async fn run(mut self) -> Result<Produced, ApiError> {
        let mut stop = self.open().await;
        let stop = loop {
            match stop {
                Ok(Some(stop)) => break stop,
                Ok(None) => stop = self.step().await,
                Err(error) if matches!(error.code(), Code::TurnTooLarge | Code::AnswerTooLarge) => {
                    break self.overspend(&error);
                }
                Err(error) => return Err(error),
            }
        };
        let mut produced = self.produced;
        produced.said = self.lines.split_off(self.begun);
        produced.asked = produced.asked.min(produced.said.len());
        produced.stop_reason = Some(stop);
        produced.effects = self.executor.effects;
        Ok(produced)
    }

    /// Takes in what the request brings.
    async fn open(&mut self) -> Result<Option<StopReason>, ApiError> {
        match (&self.request.decision, self.thread.pending()) {
            (None, Some(pending)) => Err(still_pending(pending)),
            // As in Letta, what a turn without steps brings is lost, and what waited goes on waiting.
            (_, pending) if self.request.max_steps < 1 => {
                self.produced.asks = pending.cloned().map(Box::new);
                Ok(Some(StopReason::EndTurn))
            }
            (None, None) => {
                self.lines = self.input();
                self.produced.asked = self.lines.len();
                Ok(None)
            }
            (Some(decision), Some(pending)) => self.settle(decision, pending).await,
            (Some(decision), None) => {
                // Deciding again about what was just decided changes nothing: as in Letta, the agent hears that its
                // client is still there, and goes on.
                const RECENT: usize = 10;
                let recent = self.latest().await?;
                if !decision.repeats(&recent[recent.len().saturating_sub(RECENT)..]) {
                    return Err(not_pending());
                }
                self.begun = 0;
                self.lines = vec![self.keep_alive()];
                self.lines.extend(self.input());
                self.produced.asked = self.lines.len();
                Ok(None)
            }
        }
    }

    /// The messages that the request brings.
    fn input(&self) -> Vec<Message> {
        let (run_id, step_id) = (&self.lease.run.id, &self.step_id);
        self.request.input.iter().cloned().map(|incoming| incoming.into_message(run_id, step_id)).collect()
    }

    /// What the agent hears in place of a decision that it knows.
    fn keep_alive(&self) -> Message {
        let said = vec![Part::text("This is an automated keep-alive ping.")];
        Incoming::of_user(said).into_message(&self.lease.run.id, &self.step_id)
    }

    /// The newest messages of the conversation, oldest first.
    async fn latest(&self) -> Result<Vec<Message>, ApiError> {
        const MANY: i64 = 50;
        let filter = MessageFilter::of_conversation(&self.thread.agent.record.id, self.thread.id());
        let mut latest = self.state.store.messages_chunk(&filter.newest_first(true).limit(MANY)).await?;
        latest.reverse();
        latest.iter().map(parse_message).collect()
    }

    /// Does what was decided about the calls that waited.
    async fn settle(&mut self, decision: &Decision, pending: &Pending) -> Result<Option<StopReason>, ApiError> {
        let about = decision.about(pending)?;
        self.lines = since_the_user_spoke(self.latest().await?);
        self.begun = self.lines.len();
        self.before = self.savepoint();
        self.lines.push(decision.clone().into_message(&self.lease.run.id));
        self.produced.asked = 1;
        self.scripted = pending.scripted.iter().map(|known| (known.tool_call_id.clone(), known.clone())).collect();
        let decided = pending.beside.iter().map(|call| (call, None));
        let decided = decided.chain(pending.request.tool_calls.iter().zip(about.into_iter().map(Some)));
        let (mut returns, mut ran) = (Vec::new(), Vec::new());
        for (call, approval) in decided {
            returns.push(match approval {
                Some(Approval::Tool(returned)) => ToolReturn { tool_call_id: call.id.clone(), ..returned.clone() },
                Some(Approval::Approval { approve: false, reason, .. }) => denied(call, reason.as_deref()),
                _ => {
                    ran.push(call);
                    self.call(call).await?
                }
            });
        }
        let name = if returns.len() == 1 { ran.first().map(|call| call.name.clone()) } else { None };
        let step_id = pending.request.step_id.as_deref();
        let returned = Message {
            name,
            tool_returns: returns,
            ..Message::new(Role::Tool, Vec::new()).of_turn(&self.lease.run.id, step_id)
        };
        // In pieces Letta tells only what it ran itself.
        let is_told = !ran.is_empty() || !self.event_sink.as_ref().is_some_and(|event_sink| event_sink.in_pieces());
        let interrupted = is_told && self.tell(&returned, &mut Pace::default()).await?.is_some();
        self.lines.push(returned);
        let input = self.input();
        self.produced.added = input.len();
        self.lines.extend(input);
        if interrupted {
            return Ok(Some(StopReason::Cancelled));
        }
        let end = ran.iter().find_map(|call| self.end_after(&call.name, &call.parsed()));
        if end.is_none() {
            self.tell_to_go_on(pending.request.step_id.as_deref());
        }
        Ok(end)
    }

    /// Asks the responder once. Some: the turn ends with this.
    async fn step(&mut self) -> Result<Option<StopReason>, ApiError> {
        if self.lease.is_cancelled() {
            return Ok(Some(StopReason::Cancelled));
        }
        if i64::try_from(self.produced.steps.len()).unwrap_or(i64::MAX) >= self.request.max_steps {
            return Ok(Some(StopReason::MaxSteps));
        }
        if !self.produced.steps.is_empty() {
            // Many steps that wait for nothing must not keep others waiting.
            tokio::task::yield_now().await;
        }
        let clock = Instant::now();
        let step_id = std::mem::replace(&mut self.step_id, entropy::letta_id("step"));
        self.current = Some((step_id.clone(), clock));
        self.before = self.savepoint();
        let model = self.request.model.as_deref().unwrap_or_else(|| self.thread.model());
        self.budget.charge(cost::of_step(&self.thread.agent.record, model))?;
        let answer = self.ask().await?;
        if !self.wait(answer.delay.saturating_add(self.state.tempo.first_token)).await? {
            return Ok(Some(StopReason::Cancelled));
        }
        if let Some(failure) = answer.failure {
            return Ok(Some(self.fail(step_id, failure, clock)));
        }
        let prompt_tokens = self.thread.context_tokens() + self.said_tokens();
        let mut pace = Pace::new(answer.pace, self.state.tempo);
        let PreparedStep { messages, calls, asks, end } = self.utter(answer, &step_id)?;
        let mut step = EndedStep {
            id: step_id.clone(),
            usage: Usage::default(),
            stop_reason: if asks.is_some() { StopReason::RequiresApproval } else { StopReason::EndTurn },
            timing: Timing::default(),
            failure: None,
        };
        let mut interrupted = false;
        for mut message in messages {
            let sent =
                if interrupted { Some(Sent { parts: 0, bytes: 0 }) } else { self.tell(&message, &mut pace).await? };
            if let Some(sent) = sent {
                interrupted = true;
                message.cut(sent.parts, sent.bytes);
            }
            step.usage.completion_tokens += message.content_tokens();
            step.usage.reasoning_tokens += message.reasoning_tokens();
            if !message.is_empty() {
                self.lines.push(message);
            }
        }
        step.usage.prompt_tokens = prompt_tokens;
        step.usage.total_tokens = prompt_tokens + step.usage.completion_tokens;
        step.usage.context_tokens = step.usage.total_tokens;
        step.timing.model = nanos(clock);
        if interrupted {
            step.stop_reason = StopReason::Cancelled;
            self.produced.steps.push(step);
            return Ok(Some(StopReason::Cancelled));
        }
        if asks.is_some() || calls.is_empty() {
            let stop_reason = step.stop_reason;
            self.produced.asks = asks;
            self.produced.steps.push(step);
            return Ok(Some(stop_reason));
        }
        let clock = Instant::now();
        let interrupted = self.run_calls(&calls, &step_id).await?;
        step.timing.tools = Some(nanos(clock));
        self.produced.steps.push(step);
        if interrupted {
            return Ok(Some(StopReason::Cancelled));
        }
        if end.is_none() {
            self.tell_to_go_on(Some(&step_id));
        }
        Ok(end)
    }

    async fn ask(&mut self) -> Result<ModelResponse, ApiError> {
        let heard = self.request.heard();
        let wants_blocks = heard.is_some() || Responder::wants_blocks(&self.lines);
        let blocks = if wants_blocks { self.executor.shown_blocks().await? } else { &[] };
        Ok(self.state.responder.respond(&ModelRequest {
            agent: &self.thread.agent.record.name,
            said: &self.lines[last_of_the_user(&self.lines)..],
            tool_set: &self.tool_set,
            blocks,
            form: self.thread.agent.record.response_form(),
            reasons: self.reasons,
            budget: &self.budget.draft(),
            heard,
        })?)
    }

    /// An answer as messages: one for what is said and called, another for calls that wait.
    fn utter(&mut self, answer: ModelResponse, step_id: &str) -> Result<PreparedStep, Overspent> {
        let answer = if self.manner.speaks_by_tool() { legacy::by_tool(answer) } else { answer };
        let mut asked = answer.calls;
        if self.manner.is_by_events() || !self.thread.calls_in_parallel() {
            asked.truncate(1);
        }
        self.budget.charge(answer.parts.iter().map(cost::of_part).sum())?;
        for asked in &asked {
            self.budget.charge(cost::of_asked(asked))?;
        }
        let (mut calls, mut waiting, mut end) = (Vec::new(), Vec::new(), None);
        for mut asked in asked {
            let id = format!("call_{}", hex::encode(entropy::bytes::<12>()));
            if let Some((text, status)) = asked.returns {
                let tool_return = Content::Text(text);
                let (stdout, stderr) = (Some(Vec::new()), Some(Vec::new()));
                let known = ToolReturn { tool_return, status, tool_call_id: id.clone(), stdout, stderr };
                self.scripted.insert(id.clone(), known);
            }
            let waits = asked.asks || self.tool_set.asks(&asked.name);
            let ends = self.end_after(&asked.name, &asked.arguments);
            if self.manner.is_by_events() {
                let asks = legacy::asks_to_go_on(&asked.arguments).filter(|_| waits);
                let goes_on = asks.unwrap_or(ends.is_none());
                legacy::note_going_on(&mut asked.arguments, goes_on);
            }
            end = end.or(ends.filter(|_| !waits));
            let arguments = ToolCall::written(&asked.arguments);
            let call = ToolCall { name: asked.name, arguments, id };
            if waits { waiting.push(call) } else { calls.push(call) }
        }
        let monologue = self.manner.speaks_by_tool();
        let message = |role: Role, parts: Vec<Part>, tool_calls: Vec<ToolCall>| Message {
            tool_calls,
            monologue,
            ..Message::new(role, parts).of_turn(&self.lease.run.id, Some(step_id))
        };
        if waiting.is_empty() {
            let messages = vec![message(Role::Assistant, answer.parts, calls.clone())];
            return Ok(PreparedStep { messages, calls, asks: None, end });
        }
        let (mut messages, mut parts) = (Vec::new(), answer.parts);
        if !calls.is_empty() {
            messages.push(message(Role::Assistant, std::mem::take(&mut parts), calls.clone()));
        }
        let request = message(Role::Approval, parts, waiting);
        messages.push(request.clone());
        let scripted = self.scripted.drain().map(|(_, known)| known).collect();
        let asks = Some(Box::new(Pending { request, beside: calls, scripted }));
        Ok(PreparedStep { messages, calls: Vec::new(), asks, end: None })
    }

    /// How the turn ends after a call; none: it goes on.
    fn end_after(&self, tool: &str, arguments: &Map<String, Value>) -> Option<StopReason> {
        let ends = self.tool_set.ends_turn(tool);
        if !self.manner.is_by_events() {
            return ends.then_some(StopReason::ToolRule);
        }
        if self.is_last_step() {
            return Some(StopReason::MaxSteps);
        }
        let goes_on = match legacy::asks_to_go_on(arguments) {
            // As in Letta, a rule is the reason only where the turn would have gone on without it.
            Some(true) if ends => return Some(StopReason::ToolRule),
            Some(asks) => asks || self.tool_set.continues_turn(tool),
            None => tool != SPEAKING_TOOL,
        };
        (ends || !goes_on).then_some(StopReason::EndTurn)
    }

    /// Whether a turn by events has no step left after this one. Letta looks ahead only where it does not stream, and there
    /// that is the reason also for turns that would have ended anyway.
    fn is_last_step(&self) -> bool {
        let left = self.request.max_steps - i64::try_from(self.produced.steps.len()).unwrap_or(i64::MAX);
        self.event_sink.is_none() && left <= 1
    }

    /// Tells an agent that goes on by events to do so.
    fn tell_to_go_on(&mut self, step_id: Option<&str>) {
        if self.manner.is_by_events() {
            let mut returns = self.lines.iter().rev().flat_map(|message| &message.tool_returns);
            let of_call = returns.next().map_or(ToolStatus::Success, |last| last.status);
            self.lines.push(legacy::heartbeat(of_call).of_turn(&self.lease.run.id, step_id));
        }
    }

    /// Runs the calls of a step and tells what they returned; true: the turn has to end.
    async fn run_calls(&mut self, calls: &[ToolCall], step_id: &str) -> Result<bool, ApiError> {
        let mut returns = Vec::new();
        for call in calls {
            returns.push(self.call(call).await?);
        }
        let name = if let [only] = calls { Some(only.name.clone()) } else { None };
        let returned = Message {
            name,
            tool_returns: returns,
            monologue: self.manner.speaks_by_tool(),
            ..Message::new(Role::Tool, Vec::new()).of_turn(&self.lease.run.id, Some(step_id))
        };
        let interrupted = self.tell(&returned, &mut Pace::default()).await?.is_some();
        self.lines.push(returned);
        Ok(interrupted || self.lease.is_cancelled())
    }

    async fn call(&mut self, call: &ToolCall) -> Result<ToolReturn, ApiError> {
        if !self.produced.tools_used.contains(&call.name) {
            self.produced.tools_used.push(call.name.clone());
        }
        let returned = match self.scripted.remove(&call.id) {
            Some(known) => known,
            None if self.tool_set.messages_agents(&call.name) => self.message_agents(call).await?,
            None => self.executor.run(call, &self.tool_set).await?,
        };
        self.budget.charge(cost::of_return(call, &returned))?;
        Ok(returned)
    }

    /// Sends messages to other agents, and waits for their turns unless this one is cancelled. What was sent cannot be taken
    /// back, so the run is stored before: a turn that is overtaken then fails and is not taken anew.
    async fn message_agents(&mut self, call: &ToolCall) -> Result<ToolReturn, ApiError> {
        self.lease.announce().await?;
        let (messenger, arguments) = (self.lease.messenger.clone(), legacy::arguments_of_tool(call));
        let sender = Sender {
            state: Arc::clone(&self.lease.state),
            agent: &self.thread.agent,
            sharers: self.request.sharers,
            budget: self.budget,
        };
        let result = tokio::select! {
            biased;
            // The call itself ends earlier than this.
            waited = self.wait(2 * TIMEOUT) => {
                waited?;
                Err("RuntimeError: the turn has to end".to_owned())
            }
            result = messenger.run(&sender, &call.name, &arguments) => result?,
        };
        Ok(returned(call, self.tool_set.find(&call.name), result, [Vec::new(), Vec::new()]))
    }

    /// How much there is.
    fn savepoint(&self) -> Savepoint {
        let effects = &self.executor.effects;
        Savepoint {
            lines: self.lines.len(),
            effects: [effects.edits.len(), effects.passages.len(), effects.openings.len()],
        }
    }

    /// A turn that produces more than it may fails: what its last step was about to do is not done.
    fn overspend(&mut self, why: &ApiError) -> StopReason {
        let Savepoint { lines, effects: [edits, passages, openings] } = self.before;
        self.lines.truncate(lines);
        self.executor.effects.edits.truncate(edits);
        self.executor.effects.passages.truncate(passages);
        self.executor.effects.openings.truncate(openings);
        self.produced.asks = None;
        let failure = TurnError::too_large(why);
        if let Some((step_id, clock)) = self.current.take() {
            return self.fail(step_id, failure, clock);
        }
        // The question that was to be answered stays open.
        (self.produced.asked, self.produced.added) = (0, 0);
        self.produced.failure = Some(failure);
        StopReason::Error
    }

    /// A step of which nothing is left: what it was to answer is forgotten with it. What was decided is done.
    fn fail(&mut self, step_id: String, failure: TurnError, clock: Instant) -> StopReason {
        if self.produced.steps.is_empty() && self.request.decision.is_none() {
            self.lines.truncate(self.begun);
        }
        let stop_reason = failure.stop_reason;
        self.produced.failure = Some(failure.clone());
        self.produced.steps.push(EndedStep {
            id: step_id,
            usage: Usage::default(),
            stop_reason,
            timing: Timing { model: nanos(clock), tools: None },
            failure: Some(failure),
        });
        stop_reason
    }

    /// The tokens of what was said in this turn, each line counted once.
    fn said_tokens(&mut self) -> i64 {
        let said = &self.lines[self.begun..];
        let (lines, tokens) = self.counted;
        self.counted = (said.len(), tokens + said.iter().skip(lines).map(Message::tokens).sum::<i64>());
        self.counted.1
    }

    /// Tells the client a message. Some: only so much of it, as the turn has to end.
    async fn tell(&mut self, message: &Message, pace: &mut Pace) -> Result<Option<Sent>, ApiError> {
        if let Some(event_sink) = &mut self.event_sink {
            self.budget.charge(event_sink.recorded(message))?;
            if pace.takes_time() || !event_sink.can_hold(message) {
                self.lease.announce().await?;
                event_sink.release().await;
            }
            return Ok(event_sink.say(message, pace).await.err());
        }
        if pace.takes_time() {
            for (parts, wire) in message.shown(&self.lease.run.request_config).iter().enumerate() {
                if !self.wait(pace.before(|| wire.pieces().len())).await? {
                    return Ok(Some(Sent { parts, bytes: 0 }));
                }
            }
        }
        Ok(None)
    }

    /// Lets time pass; false when the turn was cancelled meanwhile. Nobody need wait to know that it runs.
    async fn wait(&mut self, time: Duration) -> Result<bool, ApiError> {
        if time.is_zero() {
            return Ok(true);
        }
        self.lease.announce().await?;
        if let Some(event_sink) = &mut self.event_sink {
            event_sink.release().await;
            return Ok(event_sink.pause(time).await.is_ok());
        }
        Ok(self.lease.wait(time).await)
    }
}

/// What a responder says, ready to be told.
struct PreparedStep {
    messages: Vec<Message>,
    /// Calls that run at once.
    calls: Vec<ToolCall>,
    asks: Option<Box<Pending>>,
    /// How the turn ends after them; none: it goes on.
    end: Option<StopReason>,
}

fn since_the_user_spoke(mut latest: Vec<Message>) -> Vec<Message> {
    latest.split_off(last_of_the_user(&latest))
}

/// Where the user spoke last; the beginning, where only others did.
fn last_of_the_user(lines: &[Message]) -> usize {
    lines.iter().rposition(Message::is_of_user).unwrap_or(0)
}

fn nanos(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX)
}
