//! The agent loop: each step calls the responder, runs the tools that it calls, and continues until a step calls none,
//! a tool rule ends the turn, or a call waits for approval.

mod choose;
mod deliver;
mod prepare;

use std::{collections::HashMap, sync::Arc};

use self::prepare::PreparedStep;
use super::{
    agent_messages::{Sender, TIMEOUT},
    approval::{denied, not_pending, still_pending},
    cost,
    event_sink::{EventSink, Sent},
    lease::RunLease,
    output::TurnOutput,
};
use crate::{
    clock::Stopwatch,
    entropy,
    error::{ApiError, Code},
    mock::{
        agents::{
            legacy::{self, TurnStyle},
            thread::Thread,
        },
        budget::Budget,
        records::{
            Approval, Decision, EndedStep, IncomingMessage, Message, Part, Pending, Role, StopReason, Timing, ToolCall,
            ToolReturn, ToolStatus, TurnRequest, Usage, turn_error::TurnError,
        },
        responder::{CallRequest, ModelRequest, ModelResponse, Responder},
        running::Pacer,
        state::State,
        storage::parse_message,
        tools::{
            execute::{ToolExecutor, tool_return},
            set::ToolSet,
        },
    },
    replies::{Chosen, UsageOverride},
    store::MessageFilter,
};

/// A running turn.
pub(super) struct AgentLoop<'a> {
    state: &'a State,
    thread: &'a Thread,
    request: &'a TurnRequest,
    lease: &'a mut RunLease,
    event_sink: Option<&'a mut EventSink>,
    tool_set: ToolSet,
    style: TurnStyle,
    /// Whether the model reasons.
    reasons: bool,
    executor: ToolExecutor<'a>,
    /// The messages since the user's last one before this turn, and from `turn_start` on those of this turn.
    messages: Vec<Message>,
    turn_start: usize,
    /// The id of the next step.
    step_id: String,
    /// The scripted results of calls, by call id.
    scripted: HashMap<String, ToolReturn>,
    output: TurnOutput,
    budget: &'a Budget,
    /// The id of the current step, and when it began.
    current_step: Option<(String, Stopwatch)>,
    /// The state before the current step.
    savepoint: Savepoint,
    /// How many messages of this turn are counted, and their tokens.
    counted: (usize, i64),
    /// The reply of the current step, if one fits.
    chosen: Option<Chosen>,
}

/// How much a turn had produced before a step, so that the step can be undone.
#[derive(Clone, Copy, Debug, Default)]
struct Savepoint {
    messages: usize,
    /// The numbers of block edits, passages and opened files.
    effects: [usize; 3],
}

impl<'a> AgentLoop<'a> {
    /// Loads the agent's tools.
    ///
    /// # Errors
    /// If the database fails.
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
            style: TurnStyle::of(&agent.agent_type, &tool_set),
            reasons: state.reasoning.applies(|| thread.reasons(request.model.as_deref())),
            tool_set,
            messages: Vec::new(),
            turn_start: 0,
            step_id: entropy::letta_id("step"),
            scripted: HashMap::new(),
            output: TurnOutput { pending_before: thread.pending_id().map(str::to_owned), ..TurnOutput::default() },
            budget,
            current_step: None,
            savepoint: Savepoint::default(),
            counted: (0, 0),
            chosen: None,
        })
    }

    /// Runs the turn to its end.
    ///
    /// # Errors
    /// 409 or 400 if the request does not fit the tool calls that wait for a decision; if the database fails.
    pub(super) async fn run(mut self) -> Result<TurnOutput, ApiError> {
        let mut result = self.apply_input().await;
        let stop_reason = loop {
            match result {
                Ok(Some(stop_reason)) => break stop_reason,
                Ok(None) => result = self.step().await,
                Err(error) if matches!(error.code(), Code::TurnTooLarge | Code::AnswerTooLarge) => {
                    break self.fail_over_budget(&error);
                }
                Err(error) => return Err(error),
            }
        };
        let mut output = self.output;
        output.messages = self.messages.split_off(self.turn_start);
        output.input_count = output.input_count.min(output.messages.len());
        output.stop_reason = Some(stop_reason);
        output.effects = self.executor.effects;
        Ok(output)
    }

    /// Adds the request's messages to the turn, after applying its decision about tool calls.
    async fn apply_input(&mut self) -> Result<Option<StopReason>, ApiError> {
        match (&self.request.decision, self.thread.pending()) {
            (None, Some(pending)) => Err(still_pending(pending)),
            // As in Letta, the input of a turn without steps is lost, and pending calls stay pending.
            (_, pending) if self.request.max_steps < 1 => {
                self.output.pending = pending.cloned().map(Box::new);
                Ok(Some(StopReason::EndTurn))
            }
            (None, None) => {
                self.messages = self.input();
                self.output.input_count = self.messages.len();
                Ok(None)
            }
            (Some(decision), Some(pending)) => self.apply_decision(decision, pending).await,
            (Some(decision), None) => {
                // As in Letta, a decision that was applied already is replaced by a keep-alive message, and the agent
                // continues.
                const MAX_AGE: usize = 10;
                let recent = self.latest().await?;
                if !decision.was_applied_in(&recent[recent.len().saturating_sub(MAX_AGE)..]) {
                    return Err(not_pending());
                }
                self.turn_start = 0;
                self.messages = vec![self.keep_alive_message()];
                self.messages.extend(self.input());
                self.output.input_count = self.messages.len();
                Ok(None)
            }
        }
    }

    /// The messages of the request.
    fn input(&self) -> Vec<Message> {
        let (run_id, step_id) = (&self.lease.run.id, &self.step_id);
        self.request.input.iter().cloned().map(|incoming| incoming.into_message(run_id, step_id)).collect()
    }

    /// The message that replaces a decision that was applied already.
    fn keep_alive_message(&self) -> Message {
        let content = vec![Part::text("This is an automated keep-alive ping.")];
        IncomingMessage::of_user(content).into_message(&self.lease.run.id, &self.step_id)
    }

    /// The newest messages of the conversation, oldest first.
    async fn latest(&self) -> Result<Vec<Message>, ApiError> {
        const COUNT: i64 = 50;
        let filter = MessageFilter::of_conversation(&self.thread.agent.record.id, self.thread.id());
        let mut latest = self.state.store.messages_chunk(&filter.newest_first(true).limit(COUNT)).await?;
        latest.reverse();
        latest.iter().map(parse_message).collect()
    }

    /// Runs or denies the tool calls that waited for a decision.
    async fn apply_decision(&mut self, decision: &Decision, pending: &Pending) -> Result<Option<StopReason>, ApiError> {
        let approvals = decision.for_calls(pending)?;
        self.messages = since_user_message(self.latest().await?);
        self.turn_start = self.messages.len();
        self.savepoint = self.savepoint();
        self.messages.push(decision.clone().into_message(&self.lease.run.id));
        self.output.input_count = 1;
        self.scripted =
            pending.scripted.iter().map(|returned| (returned.tool_call_id.clone(), returned.clone())).collect();
        let calls = pending.automatic.iter().map(|call| (call, None));
        let calls = calls.chain(pending.request.tool_calls.iter().zip(approvals.into_iter().map(Some)));
        let (mut returns, mut ran) = (Vec::new(), Vec::new());
        for (call, approval) in calls {
            returns.push(match approval {
                Some(Approval::Tool(returned)) => ToolReturn { tool_call_id: call.id.clone(), ..returned.clone() },
                Some(Approval::Approval { approve: false, reason, .. }) => denied(call, reason.as_deref()),
                _ => {
                    ran.push(call);
                    self.run_call(call).await?
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
        // As in Letta, a stream of tokens has only the results of tools that ran here.
        let by_tokens = self.event_sink.as_ref().is_some_and(|event_sink| event_sink.is_by_tokens());
        let is_delivered = !ran.is_empty() || !by_tokens;
        let interrupted = is_delivered && self.deliver(&returned, &mut Pacer::default()).await?.is_some();
        self.messages.push(returned);
        let input = self.input();
        self.output.later_input_count = input.len();
        self.messages.extend(input);
        if interrupted {
            return Ok(Some(StopReason::Cancelled));
        }
        let stop_reason = ran.iter().find_map(|call| self.stop_reason_after(&call.name, &call.parsed()));
        if stop_reason.is_none() {
            self.add_heartbeat(pending.request.step_id.as_deref());
        }
        Ok(stop_reason)
    }

    /// Takes a step. `Some` ends the turn.
    async fn step(&mut self) -> Result<Option<StopReason>, ApiError> {
        if self.lease.is_cancelled() {
            return Ok(Some(StopReason::Cancelled));
        }
        if i64::try_from(self.output.steps.len()).unwrap_or(i64::MAX) >= self.request.max_steps {
            return Ok(Some(StopReason::MaxSteps));
        }
        if !self.output.steps.is_empty() {
            // A turn of many steps without delays must not block other tasks.
            tokio::task::yield_now().await;
        }
        let clock = Stopwatch::start();
        let step_id = std::mem::replace(&mut self.step_id, entropy::letta_id("step"));
        self.current_step = Some((step_id.clone(), clock));
        self.savepoint = self.savepoint();
        let model = self.request.model.as_deref().unwrap_or_else(|| self.thread.model());
        self.budget.charge(cost::of_step(&self.thread.agent.record, model))?;
        let response = self.respond().await?;
        if !self.wait(response.delay.saturating_add(self.state.latency.first_token)).await? {
            return Ok(Some(StopReason::Cancelled));
        }
        if let Some(failure) = response.failure {
            return Ok(Some(self.fail(step_id, failure, clock)));
        }
        if let Some(failure) = self.change_memory(&response.memory).await? {
            return Ok(Some(self.fail(step_id, failure, clock)));
        }
        let prompt_tokens = self.thread.context_tokens() + self.turn_tokens();
        let mut pacer = Pacer::new(response.event_delay, self.state.latency).paced(response.pace);
        let (ending, usage) = (response.stop, response.usage);
        let PreparedStep { messages, calls, pending, stop_reason } = self.prepare(response, &step_id)?;
        let mut step = EndedStep {
            id: step_id.clone(),
            usage: Usage::default(),
            stop_reason: match (&pending, ending) {
                (Some(_), _) => StopReason::RequiresApproval,
                (None, ending) => ending.unwrap_or(StopReason::EndTurn),
            },
            timing: Timing::default(),
            failure: None,
        };
        let mut interrupted = false;
        for mut message in messages {
            let sent = if interrupted {
                Some(Sent { parts: 0, bytes: 0 })
            } else {
                self.deliver(&message, &mut pacer).await?
            };
            if let Some(sent) = sent {
                interrupted = true;
                message.cut(sent.parts, sent.bytes);
            }
            step.usage.completion_tokens += message.content_tokens();
            step.usage.reasoning_tokens += message.reasoning_tokens();
            if !message.is_empty() {
                self.messages.push(message);
            }
        }
        step.usage.prompt_tokens = prompt_tokens;
        step.usage.total_tokens = prompt_tokens + step.usage.completion_tokens;
        if let Some(usage) = usage {
            step.usage = overridden(step.usage, usage);
        }
        step.usage.context_tokens = step.usage.total_tokens;
        step.timing.model = nanos(clock);
        if interrupted {
            step.stop_reason = StopReason::Cancelled;
            self.output.steps.push(step);
            return Ok(Some(StopReason::Cancelled));
        }
        if pending.is_some() || calls.is_empty() {
            let stop_reason = step.stop_reason;
            self.output.pending = pending;
            self.output.steps.push(step);
            return Ok(Some(stop_reason));
        }
        let clock = Stopwatch::start();
        let interrupted = self.run_calls(&calls, &step_id).await?;
        step.timing.tools = Some(nanos(clock));
        self.output.steps.push(step);
        if interrupted {
            return Ok(Some(StopReason::Cancelled));
        }
        let stop_reason = ending.or(stop_reason);
        if stop_reason.is_none() {
            self.add_heartbeat(Some(&step_id));
        }
        Ok(stop_reason)
    }

    async fn respond(&mut self) -> Result<ModelResponse, ApiError> {
        if let Err(failure) = self.choose_reply().await? {
            return Ok(ModelResponse { failure: Some(failure), ..ModelResponse::default() });
        }
        let user_texts = self.request.user_texts();
        let reply_needs_blocks = self.chosen.as_ref().is_some_and(|chosen| chosen.reply().needs_blocks());
        let needs_blocks = user_texts.is_some() || reply_needs_blocks || Responder::needs_blocks(&self.messages);
        let blocks = if needs_blocks { self.executor.shown_blocks().await? } else { &[] };
        Ok(self.state.responder.respond(&ModelRequest {
            agent_name: &self.thread.agent.record.name,
            agent_id: &self.thread.agent.record.id,
            reply: self.chosen.as_ref().map(|chosen| (chosen, self.lease.replies.number.get().copied())),
            messages: &self.messages[last_user_message(&self.messages)..],
            tool_set: &self.tool_set,
            blocks,
            response_format: self.thread.agent.record.response_form(),
            reasons: self.reasons,
            budget: &self.budget.draft(),
            user_texts,
        })?)
    }

    /// Makes the changes of memory that a reply asks for. If one cannot be made, none is, and the turn fails.
    async fn change_memory(&mut self, changes: &[CallRequest]) -> Result<Option<TurnError>, ApiError> {
        for CallRequest { name, arguments, .. } in changes {
            if let Err(problem) = self.executor.change(name, arguments).await? {
                self.undo_effects();
                let reply = self.chosen.as_ref().map_or("", |chosen| chosen.reply().id());
                let sentence = format!("The reply {reply} cannot change the agent's memory: {problem}.");
                return Ok(Some(TurnError::of_reply(sentence)));
            }
        }
        Ok(None)
    }

    /// Adds a heartbeat event, if the agent uses them.
    fn add_heartbeat(&mut self, step_id: Option<&str>) {
        if self.style.uses_heartbeats() {
            let mut returns = self.messages.iter().rev().flat_map(|message| &message.tool_returns);
            let status = returns.next().map_or(ToolStatus::Success, |last| last.status);
            self.messages.push(legacy::heartbeat(status).of_turn(&self.lease.run.id, step_id));
        }
    }

    /// Runs the calls of a step and delivers their results; `true` if the turn was interrupted.
    async fn run_calls(&mut self, calls: &[ToolCall], step_id: &str) -> Result<bool, ApiError> {
        let mut returns = Vec::new();
        for call in calls {
            returns.push(self.run_call(call).await?);
        }
        let name = if let [only] = calls { Some(only.name.clone()) } else { None };
        let returned = Message {
            name,
            tool_returns: returns,
            monologue: self.style.speaks_by_tool(),
            ..Message::new(Role::Tool, Vec::new()).of_turn(&self.lease.run.id, Some(step_id))
        };
        let interrupted = self.deliver(&returned, &mut Pacer::default()).await?.is_some();
        self.messages.push(returned);
        Ok(interrupted || self.lease.is_cancelled())
    }

    async fn run_call(&mut self, call: &ToolCall) -> Result<ToolReturn, ApiError> {
        if !self.output.tools_used.contains(&call.name) {
            self.output.tools_used.push(call.name.clone());
        }
        let returned = match self.scripted.remove(&call.id) {
            Some(returned) => returned,
            None if self.tool_set.messages_agents(&call.name) => self.message_agents(call).await?,
            None => self.executor.run(call, &self.tool_set).await?,
        };
        self.budget.charge(cost::of_return(call, &returned))?;
        Ok(returned)
    }

    /// Sends messages to other agents, and waits until their turns end or this one is cancelled. The messages cannot be
    /// taken back, so the run is stored first: if the conversation changes meanwhile, this turn fails and does not run
    /// again.
    async fn message_agents(&mut self, call: &ToolCall) -> Result<ToolReturn, ApiError> {
        self.lease.store_run().await?;
        let (messenger, arguments) = (self.lease.messenger.clone(), call.arguments_of_tool());
        let sender = Sender {
            state: Arc::clone(&self.lease.state),
            agent: &self.thread.agent,
            sharers: self.request.sharers,
            budget: self.budget,
        };
        let result = tokio::select! {
            biased;
            // The call itself times out earlier.
            waited = self.wait(2 * TIMEOUT) => {
                waited?;
                Err("RuntimeError: the turn was interrupted".to_owned())
            }
            result = messenger.call_tool(&sender, &call.name, &arguments) => result?,
        };
        Ok(tool_return(call, self.tool_set.find(&call.name), result))
    }

    fn savepoint(&self) -> Savepoint {
        let effects = &self.executor.effects;
        Savepoint {
            messages: self.messages.len(),
            effects: [effects.edits.len(), effects.passages.len(), effects.openings.len()],
        }
    }

    /// Undoes what the tools of the current step have changed.
    fn undo_effects(&mut self) {
        let [edits, passages, openings] = self.savepoint.effects;
        self.executor.effects.edits.truncate(edits);
        self.executor.effects.passages.truncate(passages);
        self.executor.effects.openings.truncate(openings);
    }

    /// Fails the turn because its budget is spent, and undoes its current step.
    fn fail_over_budget(&mut self, why: &ApiError) -> StopReason {
        self.messages.truncate(self.savepoint.messages);
        self.undo_effects();
        self.output.pending = None;
        let failure = TurnError::too_large(why);
        if let Some((step_id, clock)) = self.current_step.take() {
            return self.fail(step_id, failure, clock);
        }
        // The decision was not applied, so the calls still wait.
        (self.output.input_count, self.output.later_input_count) = (0, 0);
        self.output.failure = Some(failure);
        StopReason::Error
    }

    /// Ends the turn with a failed step. If it is the first and there was no decision, the input is dropped as well.
    fn fail(&mut self, step_id: String, failure: TurnError, clock: Stopwatch) -> StopReason {
        if self.output.steps.is_empty() && self.request.decision.is_none() {
            self.messages.truncate(self.turn_start);
        }
        let stop_reason = failure.stop_reason;
        self.output.failure = Some(failure.clone());
        self.output.steps.push(EndedStep {
            id: step_id,
            usage: Usage::default(),
            stop_reason,
            timing: Timing { model: nanos(clock), tools: None },
            failure: Some(failure),
        });
        stop_reason
    }

    /// The tokens of this turn's messages so far. Each message is counted only once.
    fn turn_tokens(&mut self) -> i64 {
        let messages = &self.messages[self.turn_start..];
        let (count, tokens) = self.counted;
        self.counted = (messages.len(), tokens + messages.iter().skip(count).map(Message::tokens).sum::<i64>());
        self.counted.1
    }
}

/// The usage that a reply reports instead of what is counted.
fn overridden(counted: Usage, usage: UsageOverride) -> Usage {
    let prompt_tokens = usage.prompt_tokens.unwrap_or(counted.prompt_tokens);
    let completion_tokens = usage.completion_tokens.unwrap_or(counted.completion_tokens);
    Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: usage.total_tokens.unwrap_or(prompt_tokens + completion_tokens),
        reasoning_tokens: usage.reasoning_tokens.unwrap_or(counted.reasoning_tokens),
        ..counted
    }
}

fn since_user_message(mut latest: Vec<Message>) -> Vec<Message> {
    latest.split_off(last_user_message(&latest))
}

/// The index of the user's last message; 0 if there is none.
fn last_user_message(messages: &[Message]) -> usize {
    messages.iter().rposition(Message::is_of_user).unwrap_or(0)
}

fn nanos(since: Stopwatch) -> i64 {
    i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX)
}
