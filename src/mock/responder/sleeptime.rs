//! The default responder of sleeptime agents: it copies what the user said word for word into a memory block, and
//! finishes. It does not interpret the texts, so that a request to the main agent is not carried out a second time.

use serde_json::Map;

use super::{CallRequest, ModelRequest, ModelResponse, directives::Directives};
use crate::mock::{
    budget::{Overspent, written_length},
    records::{Block, Part, object},
};

/// The label of the block about the user.
const USER_BLOCK: &str = "human";
/// The label of the block with the sleeptime agent's own instructions.
const INSTRUCTIONS_BLOCK: &str = "memory_persona";
/// The tools that a sleeptime agent calls to finish.
const FINISH_TOOLS: [&str; 2] = ["memory_finish_edits", "finish_rethinking_memory"];
/// At most this many characters of a message are noted.
const MAX_NOTE: usize = 500;

/// The next step.
pub(super) fn respond(request: &ModelRequest<'_>, user_texts: &[String]) -> Result<ModelResponse, Overspent> {
    let calls: Vec<&str> =
        request.messages.iter().flat_map(|message| &message.tool_calls).map(|call| call.name.as_str()).collect();
    let edit = if calls.is_empty() { note(request, user_texts)? } else { None };
    let finish = || {
        let name = FINISH_TOOLS.iter().find(|name| request.tool_set.find(name).is_some())?;
        (!calls.contains(name)).then(|| CallRequest::new(name, Map::new()))
    };
    Ok(match edit.or_else(finish) {
        Some(call) => ModelResponse { calls: vec![call], ..ModelResponse::default() },
        None => ModelResponse {
            parts: vec![Part::text("I have gone through the conversation.")],
            ..ModelResponse::default()
        },
    })
}

/// The call that adds what the user said to the block about the user, or to the first writable one; `None` if the block has
/// it already, or has no room for it.
fn note(request: &ModelRequest<'_>, user_texts: &[String]) -> Result<Option<CallRequest>, Overspent> {
    let writable = |block: &&Block| !block.read_only && block.label != INSTRUCTIONS_BLOCK;
    let mut blocks = request.blocks.iter().filter(writable);
    let Some(block) = blocks.clone().find(|block| block.label == USER_BLOCK).or_else(|| blocks.next()) else {
        return Ok(None);
    };
    let mut room = usize::try_from(block.limit).unwrap_or(0).saturating_sub(block.value.chars().count());
    let mut notes: Vec<String> = Vec::new();
    for text in user_texts {
        let text: String = Directives::parse(text).rest.chars().take(MAX_NOTE).collect();
        let note = format!("The user said: {}", text.trim());
        let length = note.chars().count() + 1;
        if !text.trim().is_empty() && length <= room && !block.value.contains(&note) && !notes.contains(&note) {
            request.budget.charge(written_length(&note))?;
            room -= length;
            notes.push(note);
        }
    }
    if notes.is_empty() {
        return Ok(None);
    }
    let (label, notes) = (&block.label, notes.join("\n"));
    let has = |name: &str| request.tool_set.find(name).is_some_and(|tool| !tool.runs_on_client());
    let whole = || if block.value.is_empty() { notes.clone() } else { format!("{}\n{notes}", block.value) };
    request.budget.charge(written_length(&block.value))?;
    Ok(if has("memory_insert") {
        Some(CallRequest::new("memory_insert", object! {"label": label, "new_string": notes}))
    } else if has("core_memory_append") {
        Some(CallRequest::new("core_memory_append", object! {"label": label, "content": notes}))
    } else if has("memory_rethink") {
        Some(CallRequest::new("memory_rethink", object! {"label": label, "new_memory": whole()}))
    } else if has("rethink_user_memory") && label == USER_BLOCK {
        Some(CallRequest::new("rethink_user_memory", object! {"new_memory": whole()}))
    } else {
        None
    })
}
