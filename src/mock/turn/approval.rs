//! What a request decides about tool calls that wait for it: in Letta's current form, or in its older one.

use super::input::read_return;
use crate::{
    error::{ApiError, Code},
    mock::{
        records::{Approval, Content, Decision, Message, Pending, Role, ToolCall, ToolReturn, ToolStatus},
        validation::body::{Expect, Fields},
    },
};

impl Decision {
    /// Reads an item of type `approval`.
    pub(super) fn read_approval(item: &Fields<'_>) -> Result<Self, ApiError> {
        let approve: Option<bool> = item.optional("approve")?;
        let request: Option<String> = item.optional("approval_request_id")?;
        let reason: Option<String> = item.optional("reason")?;
        let mut approvals = Vec::new();
        for approval in item.optional::<Vec<Fields<'_>>>("approvals")?.unwrap_or_default() {
            approvals.push(match approval.one_of("type", &["approval", "tool"])? {
                Some("tool") => Approval::Tool(read_tool_return(&approval)?),
                _ => Approval::Approval {
                    tool_call_id: approval.required("tool_call_id")?,
                    approve: approval.required("approve")?,
                    reason: approval.optional("reason")?,
                },
            });
        }
        if let (true, Some(approve), Some(tool_call_id)) = (approvals.is_empty(), approve, request) {
            approvals.push(Approval::Approval { tool_call_id, approve, reason });
        }
        Self::new(item, approvals)
    }

    /// Reads an item of type `tool_return`.
    pub(super) fn read_returns(item: &Fields<'_>) -> Result<Self, ApiError> {
        let returns = item.required::<Vec<Fields<'_>>>("tool_returns")?;
        let approvals = returns.iter().map(|returned| read_tool_return(returned).map(Approval::Tool));
        Self::new(item, approvals.collect::<Result<_, _>>()?)
    }

    fn new(item: &Fields<'_>, approvals: Vec<Approval>) -> Result<Self, ApiError> {
        if approvals.is_empty() {
            let rule = "an approval names at least one tool call";
            return Err(item.location().breaks_rule(rule, &item.map().clone().into()));
        }
        Ok(Self { approvals, otid: item.optional("otid")?, group_id: item.optional("group_id")? })
    }

    /// What is decided about each call that waits, in the order of the calls. In the older form the id of the message
    /// that asks stands for its only call.
    ///
    /// # Errors
    /// 400 unless exactly the calls that wait are named.
    pub(super) fn about<'a>(&'a self, pending: &Pending) -> Result<Vec<&'a Approval>, ApiError> {
        let calls = &pending.request.tool_calls;
        let names = |approval: &Approval, call: &str| {
            approval.tool_call_id() == call || calls.len() == 1 && approval.tool_call_id() == pending.request.id
        };
        let about: Vec<&Approval> =
            calls.iter().filter_map(|call| self.approvals.iter().find(|approval| names(approval, &call.id))).collect();
        if about.len() == calls.len() && about.len() == self.approvals.len() {
            return Ok(about);
        }
        let quoted = |ids: Vec<&str>| ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        let expected = quoted(calls.iter().map(|call| call.id.as_str()).collect());
        let received = quoted(self.approvals.iter().map(Approval::tool_call_id).collect());
        Err(ApiError::letta(
            Code::InvalidRequest,
            format!("Invalid tool call IDs. Expected '[{expected}]', but received '[{received}]'."),
        ))
    }

    /// Whether it decides about calls that were answered in one of these messages. As in Letta, only the ids of calls
    /// tell, not that of the message which asked.
    pub(super) fn repeats(&self, messages: &[Message]) -> bool {
        let answered = |id: &str| {
            messages.iter().flat_map(|message| &message.tool_returns).any(|returned| returned.tool_call_id == id)
        };
        self.approvals.iter().all(|approval| answered(approval.tool_call_id()))
    }
}

/// The 400 for a decision that nobody waits for.
pub(super) fn not_pending() -> ApiError {
    ApiError::letta(
        Code::InvalidRequest,
        "Cannot process approval response: No tool call is currently awaiting approval. Please send a regular message \
         to interact with the agent.",
    )
}

/// The 409 for a message while a decision is waited for.
pub(super) fn still_pending(pending: &Pending) -> ApiError {
    ApiError::conflict(serde_json::json!({
        "code": "PENDING_APPROVAL",
        "message": "CONFLICT: Cannot send a new message: The agent is waiting for approval on a tool call. Please \
            approve or deny the pending request before continuing.",
        "pending_request_id": pending.request.id,
    }))
}

/// The messages that refuse all calls of a question, because whoever asked the agent wants no answer any more.
pub(super) fn refusal(pending: &Pending, run_id: &str, why: &str) -> [Message; 2] {
    let calls = pending.request.tool_calls.iter();
    let approvals = calls.clone().map(|call| Approval::Approval {
        tool_call_id: call.id.clone(),
        approve: false,
        reason: Some(why.to_owned()),
    });
    let decision = Decision { approvals: approvals.collect(), otid: None, group_id: None };
    let returns = pending.beside.iter().chain(calls).map(|call| denied(call, Some(why)));
    let step_id = pending.request.step_id.as_deref();
    let returned =
        Message { tool_returns: returns.collect(), ..Message::new(Role::Tool, Vec::new()).of_turn(run_id, step_id) };
    [decision.into_message(run_id), returned]
}

/// What a call returns that was not to be made.
pub(super) fn denied(call: &ToolCall, reason: Option<&str>) -> ToolReturn {
    let mut text = "Error: request to call tool denied.".to_owned();
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        text = format!("{text} User reason: {reason}");
    }
    ToolReturn {
        tool_return: Content::Text(text),
        status: ToolStatus::Error,
        tool_call_id: call.id.clone(),
        stdout: None,
        stderr: None,
    }
}

fn read_tool_return(returned: &Fields<'_>) -> Result<ToolReturn, ApiError> {
    returned.one_of("type", &["tool"])?;
    returned.check(&[("stdout", Expect::Texts), ("stderr", Expect::Texts)])?;
    let status = match returned.one_of("status", &["success", "error"])? {
        Some("error") => ToolStatus::Error,
        _ => ToolStatus::Success,
    };
    let Some(content) = returned.value("tool_return") else {
        return Err(returned.at("tool_return").missing(&returned.map().clone().into()));
    };
    Ok(ToolReturn {
        tool_return: read_return(content, &returned.at("tool_return"))?,
        status,
        tool_call_id: returned.required("tool_call_id")?,
        stdout: returned.optional("stdout")?,
        stderr: returned.optional("stderr")?,
    })
}
