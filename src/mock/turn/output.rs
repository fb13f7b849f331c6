//! What a turn produces, until it is stored.

use crate::mock::{
    records::{EndedStep, Message, Pending, StopReason, Usage, turn_error::TurnError},
    tools::execute::Effects,
};

/// What a turn produces.
#[derive(Debug, Default)]
pub(super) struct TurnOutput {
    /// The messages, oldest first: the input, then the replies.
    pub(super) messages: Vec<Message>,
    /// How many of the first messages are input: the request's messages, or its decision about tool calls.
    pub(super) input_count: usize,
    /// How many messages the request has besides a decision. They follow the message with the results of the tools.
    pub(super) later_input_count: usize,
    pub(super) steps: Vec<EndedStep>,
    pub(super) stop_reason: Option<StopReason>,
    /// Why it failed, if it did.
    pub(super) failure: Option<TurnError>,
    /// The id of the approval request that waited for a decision when the turn began.
    pub(super) pending_before: Option<String>,
    /// The tool calls that wait for a decision at the end of the turn.
    pub(super) pending: Option<Box<Pending>>,
    pub(super) effects: Effects,
    /// The names of the tools that were called, without duplicates.
    pub(super) tools_used: Vec<String>,
}

impl TurnOutput {
    /// The output of a turn that could not run.
    pub(super) fn failed(failure: TurnError) -> Self {
        Self { stop_reason: Some(failure.stop_reason), failure: Some(failure), ..Self::default() }
    }

    /// The messages without input and events.
    pub(super) fn into_replies(mut self) -> Vec<Message> {
        let mut replies = self.messages.split_off(self.input_count.min(self.messages.len()));
        if self.later_input_count > 0 {
            replies.drain(1..=self.later_input_count);
        }
        replies.retain(|message| !message.is_event());
        replies
    }

    /// The token usage of all steps. Each step counts everything before it again.
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
