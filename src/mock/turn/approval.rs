//! Decisions of a request about tool calls that wait for approval or for the client's results, in Letta's current or
//! older format.

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

    /// The decision about each waiting call, in the order of the calls. In the older format, the id of the approval
    /// request stands for its only call.
    ///
    /// # Errors
    /// 400 unless the decision names exactly the waiting calls.
    pub(super) fn for_calls<'a>(&'a self, pending: &Pending) -> Result<Vec<&'a Approval>, ApiError> {
        let calls = &pending.request.tool_calls;
        let names = |approval: &Approval, call: &str| {
            approval.tool_call_id() == call || calls.len() == 1 && approval.tool_call_id() == pending.request.id
        };
        let matched: Vec<&Approval> =
            calls.iter().filter_map(|call| self.approvals.iter().find(|approval| names(approval, &call.id))).collect();
        if matched.len() == calls.len() && matched.len() == self.approvals.len() {
            return Ok(matched);
        }
        let quoted = |ids: Vec<&str>| ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        let expected = quoted(calls.iter().map(|call| call.id.as_str()).collect());
        let received = quoted(self.approvals.iter().map(Approval::tool_call_id).collect());
        Err(ApiError::letta(
            Code::InvalidRequest,
            format!("Invalid tool call IDs. Expected '[{expected}]', but received '[{received}]'."),
        ))
    }

    /// Whether these messages have the results of all calls that the decision is about. As in Letta, only the ids of
    /// calls are compared, not that of the approval request.
    pub(super) fn was_applied_in(&self, messages: &[Message]) -> bool {
        let has_result = |id: &str| {
            messages.iter().flat_map(|message| &message.tool_returns).any(|returned| returned.tool_call_id == id)
        };
        self.approvals.iter().all(|approval| has_result(approval.tool_call_id()))
    }
}

/// The 400 for a decision when no tool call waits.
pub(super) fn not_pending() -> ApiError {
    ApiError::letta(
        Code::InvalidRequest,
        "Cannot process approval response: No tool call is currently awaiting approval. Please send a regular message \
         to interact with the agent.",
    )
}

/// The 409 for a message while tool calls wait for a decision.
pub(super) fn still_pending(pending: &Pending) -> ApiError {
    ApiError::conflict(serde_json::json!({
        "code": "PENDING_APPROVAL",
        "message": "CONFLICT: Cannot send a new message: The agent is waiting for approval on a tool call. Please \
            approve or deny the pending request before continuing.",
        "pending_request_id": pending.request.id,
    }))
}

/// The messages that deny all waiting calls.
pub(super) fn denial_messages(pending: &Pending, run_id: &str, reason: &str) -> [Message; 2] {
    let calls = pending.request.tool_calls.iter();
    let approvals = calls.clone().map(|call| Approval::Approval {
        tool_call_id: call.id.clone(),
        approve: false,
        reason: Some(reason.to_owned()),
    });
    let decision = Decision { approvals: approvals.collect(), otid: None, group_id: None };
    let returns = pending.automatic.iter().chain(calls).map(|call| denied(call, Some(reason)));
    let step_id = pending.request.step_id.as_deref();
    let returned =
        Message { tool_returns: returns.collect(), ..Message::new(Role::Tool, Vec::new()).of_turn(run_id, step_id) };
    [decision.into_message(run_id), returned]
}

/// The result of a denied call.
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
