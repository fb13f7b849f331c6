//! What sleeptime agents do unless a script names them: they note in a memory block, word for word, what the user said, and
//! finish. Nothing of it is looked into, so that what one agent was told to do is not done again by another.

use serde_json::Map;

use super::{CallRequest, ModelRequest, ModelResponse, directives::Directives};
use crate::mock::{
    budget::{Overspent, written_length},
    records::{Block, Part, object},
};

/// The block by which an agent knows its user, and the one that tells a sleeptime agent how to go about it.
const USER: &str = "human";
const INSTRUCTIONS: &str = "memory_persona";
/// The tools by which a sleeptime agent says that it has finished.
const FINISHING: [&str; 2] = ["memory_finish_edits", "finish_rethinking_memory"];
/// The most characters that are noted of one message.
const NOTED: usize = 500;

/// The next step.
pub(super) fn respond(situation: &ModelRequest<'_>, heard: &[String]) -> Result<ModelResponse, Overspent> {
    let calls: Vec<&str> =
        situation.said.iter().flat_map(|message| &message.tool_calls).map(|call| call.name.as_str()).collect();
    let noting = if calls.is_empty() { note(situation, heard)? } else { None };
    let finishing = || {
        let name = FINISHING.iter().find(|name| situation.tool_set.find(name).is_some())?;
        (!calls.contains(name)).then(|| CallRequest::new(name, Map::new()))
    };
    Ok(match noting.or_else(finishing) {
        Some(call) => ModelResponse { calls: vec![call], ..ModelResponse::default() },
        None => ModelResponse {
            parts: vec![Part::text("I have gone through the conversation.")],
            ..ModelResponse::default()
        },
    })
}

/// The call that notes what the block does not say yet, if there is something, and room for it.
fn note(situation: &ModelRequest<'_>, heard: &[String]) -> Result<Option<CallRequest>, Overspent> {
    let writable = |block: &&Block| !block.read_only && block.label != INSTRUCTIONS;
    let mut blocks = situation.blocks.iter().filter(writable);
    let Some(block) = blocks.clone().find(|block| block.label == USER).or_else(|| blocks.next()) else {
        return Ok(None);
    };
    let mut room = usize::try_from(block.limit).unwrap_or(0).saturating_sub(block.value.chars().count());
    let mut notes: Vec<String> = Vec::new();
    for text in heard {
        let text: String = Directives::of(text).rest.chars().take(NOTED).collect();
        let note = format!("The user said: {}", text.trim());
        let length = note.chars().count() + 1;
        if !text.trim().is_empty() && length <= room && !block.value.contains(&note) && !notes.contains(&note) {
            situation.budget.charge(written_length(&note))?;
            room -= length;
            notes.push(note);
        }
    }
    if notes.is_empty() {
        return Ok(None);
    }
    let (label, notes) = (&block.label, notes.join("\n"));
    let has = |name: &str| situation.tool_set.find(name).is_some_and(|tool| !tool.runs_on_client());
    let whole = || if block.value.is_empty() { notes.clone() } else { format!("{}\n{notes}", block.value) };
    situation.budget.charge(written_length(&block.value))?;
    Ok(if has("memory_insert") {
        Some(CallRequest::new("memory_insert", object! {"label": label, "new_string": notes}))
    } else if has("core_memory_append") {
        Some(CallRequest::new("core_memory_append", object! {"label": label, "content": notes}))
    } else if has("memory_rethink") {
        Some(CallRequest::new("memory_rethink", object! {"label": label, "new_memory": whole()}))
    } else if has("rethink_user_memory") && label == USER {
        Some(CallRequest::new("rethink_user_memory", object! {"new_memory": whole()}))
    } else {
        None
    })
}
