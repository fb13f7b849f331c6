//! What a turn charges to its budget, in bytes: texts as JSON, and the overhead around them in messages, events and records.

use crate::mock::{
    budget::{json_length, written_length},
    records::{Agent, Content, Part, ToolCall, ToolReturn},
    responder::CallRequest,
};

/// A step without its content: its record, its message, and the message with the results of its tools.
pub(super) fn of_step(agent: &Agent, model: &str) -> usize {
    const RECORDS: usize = 4_000;
    RECORDS + written_length(model) + json_length(&agent.model.llm)
}

pub(super) fn of_part(part: &Part) -> usize {
    OVERHEAD
        + match part {
            Part::Text { text, .. }
            | Part::Reasoning { reasoning: text, .. }
            | Part::RedactedReasoning { data: text } => written_length(text),
            Part::Image { .. } | Part::OmittedReasoning { .. } => 0,
        }
}

/// A call. Its arguments are written with spaces, as models do.
pub(super) fn of_call_request(request: &CallRequest) -> usize {
    OVERHEAD + written_length(&request.name) + 3 * json_length(&request.arguments)
}

pub(super) fn of_return(call: &ToolCall, returned: &ToolReturn) -> usize {
    let result = match &returned.tool_return {
        Content::Text(text) => written_length(text),
        Content::Parts(parts) => parts.iter().map(of_part).sum(),
    };
    let printed = returned.stdout.iter().chain(&returned.stderr).flatten();
    OVERHEAD + written_length(&call.name) + result + printed.map(|line| OVERHEAD + written_length(line)).sum::<usize>()
}

/// The overhead around a text.
const OVERHEAD: usize = 400;
