//! Turns a response of the responder into the messages of a step, and decides which calls wait for approval and whether
//! the turn ends.

use serde_json::{Map, Value};

use super::AgentLoop;
use crate::{
    entropy,
    mock::{
        agents::legacy,
        budget::Overspent,
        records::{Content, Message, Part, Pending, Role, SPEAKING_TOOL, StopReason, ToolCall, ToolReturn},
        responder::ModelResponse,
        turn::cost,
    },
};

/// A step that is ready to be delivered.
pub(super) struct PreparedStep {
    pub(super) messages: Vec<Message>,
    /// The calls to run now.
    pub(super) calls: Vec<ToolCall>,
    /// The calls that wait for a decision.
    pub(super) pending: Option<Box<Pending>>,
    /// Why the turn ends after the calls; `None` if it continues.
    pub(super) stop_reason: Option<StopReason>,
}

impl AgentLoop<'_> {
    /// Prepares a response: one message with text and calls, another with the calls that wait for approval.
    pub(super) fn prepare(&mut self, response: ModelResponse, step_id: &str) -> Result<PreparedStep, Overspent> {
        let ModelResponse { mut parts, calls: mut requests, .. } =
            if self.style.speaks_by_tool() { legacy::speak_by_tool(response) } else { response };
        if self.style.uses_heartbeats() || !self.thread.calls_in_parallel() {
            requests.truncate(1);
        }
        self.budget.charge(parts.iter().map(cost::of_part).sum())?;
        for request in &requests {
            self.budget.charge(cost::of_call_request(request))?;
        }
        let (mut calls, mut waiting, mut stop_reason) = (Vec::new(), Vec::new(), None);
        for mut request in requests {
            let id = format!("call_{}", hex::encode(&entropy::public_bytes("call")[..12]));
            if let Some((text, status)) = request.returns {
                let tool_return = Content::Text(text);
                let (stdout, stderr) = (Some(Vec::new()), Some(Vec::new()));
                let returned = ToolReturn { tool_return, status, tool_call_id: id.clone(), stdout, stderr };
                self.scripted.insert(id.clone(), returned);
            }
            let waits = request.requires_approval || self.tool_set.waits(&request.name);
            let stop_after = self.stop_reason_after(&request.name, &request.arguments);
            if self.style.uses_heartbeats() {
                let requested = legacy::requests_heartbeat(&request.arguments).filter(|_| waits);
                let continues = requested.unwrap_or(stop_after.is_none());
                legacy::set_heartbeat(&mut request.arguments, continues);
            }
            stop_reason = stop_reason.or(stop_after.filter(|_| !waits));
            let arguments = ToolCall::written(&request.arguments);
            let call = ToolCall { name: request.name, arguments, id };
            if waits { waiting.push(call) } else { calls.push(call) }
        }
        let monologue = self.style.speaks_by_tool();
        let message = |role: Role, parts: Vec<Part>, tool_calls: Vec<ToolCall>| Message {
            tool_calls,
            monologue,
            ..Message::new(role, parts).of_turn(&self.lease.run.id, Some(step_id))
        };
        if waiting.is_empty() {
            let messages = vec![message(Role::Assistant, parts, calls.clone())];
            return Ok(PreparedStep { messages, calls, pending: None, stop_reason });
        }
        let mut messages = Vec::new();
        if !calls.is_empty() {
            messages.push(message(Role::Assistant, std::mem::take(&mut parts), calls.clone()));
        }
        let request = message(Role::Approval, parts, waiting);
        messages.push(request.clone());
        let scripted = self.scripted.drain().map(|(_, returned)| returned).collect();
        let reply = self.paused_reply();
        let pending = Some(Box::new(Pending { request, automatic: calls, scripted, reply }));
        Ok(PreparedStep { messages, calls: Vec::new(), pending, stop_reason: None })
    }

    /// Why the turn ends after a call; `None` if it continues.
    pub(super) fn stop_reason_after(&self, tool: &str, arguments: &Map<String, Value>) -> Option<StopReason> {
        let ends = self.tool_set.ends_turn(tool);
        if !self.style.uses_heartbeats() {
            return ends.then_some(StopReason::ToolRule);
        }
        if self.is_last_step() {
            return Some(StopReason::MaxSteps);
        }
        let continues = match legacy::requests_heartbeat(arguments) {
            // As in Letta, a tool rule is the reason only if the turn would have continued without it.
            Some(true) if ends => return Some(StopReason::ToolRule),
            Some(requested) => requested || self.tool_set.continues_turn(tool),
            None => tool != SPEAKING_TOOL,
        };
        (ends || !continues).then_some(StopReason::EndTurn)
    }

    /// Whether no step is left after this one, in a turn with heartbeats. As in Letta, this applies only to turns
    /// without a stream, and takes precedence over other reasons to end.
    fn is_last_step(&self) -> bool {
        let left = self.request.max_steps - i64::try_from(self.output.steps.len()).unwrap_or(i64::MAX);
        self.event_sink.is_none() && left <= 1
    }
}
