//! What the things that a turn makes take of its budget: their texts as they are written, and what stands around these
//! wherever they are kept, sent and stored.

use crate::mock::{
    budget::{json_length, written_length},
    records::{Agent, Content, Part, ToolCall, ToolReturn},
    responder::CallRequest,
};

/// A step takes its record, and a message for what is said in it and one for what its tools return.
pub(super) fn of_step(agent: &Agent, model: &str) -> usize {
    const RECORDS: usize = 4_000;
    RECORDS + written_length(model) + json_length(&agent.model.llm)
}

pub(super) fn of_part(part: &Part) -> usize {
    AROUND
        + match part {
            Part::Text { text, .. }
            | Part::Reasoning { reasoning: text, .. }
            | Part::RedactedReasoning { data: text } => written_length(text),
            Part::Image { .. } | Part::OmittedReasoning { .. } => 0,
        }
}

/// A call before its arguments are written, with the spaces that models put between them.
pub(super) fn of_asked(asked: &CallRequest) -> usize {
    AROUND + written_length(&asked.name) + 3 * json_length(&asked.arguments)
}

pub(super) fn of_return(call: &ToolCall, returned: &ToolReturn) -> usize {
    let said = match &returned.tool_return {
        Content::Text(text) => written_length(text),
        Content::Parts(parts) => parts.iter().map(of_part).sum(),
    };
    let printed = returned.stdout.iter().chain(&returned.stderr).flatten();
    AROUND + written_length(&call.name) + said + printed.map(|line| AROUND + written_length(line)).sum::<usize>()
}

/// What stands around a text.
const AROUND: usize = 400;
