//! The system prompt: an agent's instructions, its memory blocks, and what it should know about its own state.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::directories::Directories;
use crate::mock::records::{Agent, Block, FileBlock, Folder, Timestamp, object};

/// The instructions of an agent that was given none.
pub(in crate::mock) const BASE: &str = "\
<base_instructions>
You are an agent with a memory of your own. You answer the person you talk to, and you remember.

What you know is kept in memory blocks. Each has a label, a description that says what it is for, and a value. The blocks
below are always before you; keep them short and true, and change them with your memory tools when you learn something
that will matter later.

Older messages leave your sight when there are many of them. They are not lost: search the conversation when you need
them.

Answer in plain words. Use a tool when it helps; when nothing is left to do, answer without one.
</base_instructions>";

/// How an agent's history is shortened, unless it says otherwise.
pub(in crate::mock) fn compaction_settings() -> Map<String, Value> {
    object! {
        "model": "openai/gpt-5-mini",
        "model_settings": null,
        "prompt": "The oldest part of a conversation is about to leave your sight. Sum it up in less than 300 words: what \
            was asked, what was decided, what was promised, and every name, number and date that may be asked for again. \
            Write it as notes to yourself, oldest first, and leave out greetings.",
        "prompt_acknowledgement": false,
        "clip_chars": 50000,
        "mode": "sliding_window",
        "sliding_window_percentage": 0.3,
    }
}

/// The whole prompt as the model sees it.
pub(in crate::mock) fn compile(
    agent: &Agent,
    conversation: &str,
    blocks: &[Block],
    shown: &Directories,
    now: Timestamp,
) -> String {
    let parts = [
        Some(agent.system.clone()),
        Some(memory_blocks(blocks)),
        directories(agent, shown),
        Some(memory_metadata(agent, conversation, now)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

/// The part of the prompt that shows the blocks.
pub(in crate::mock) fn memory_blocks(blocks: &[Block]) -> String {
    let mut part = String::from("<memory_blocks>\nThese are your memory blocks.\n");
    for block in blocks {
        let label = &block.label;
        let description = block.description.as_deref().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(part, "\n<{label}>\n<description>\n{description}\n</description>\n");
        let _ = writeln!(part, "<metadata>");
        if block.read_only {
            let _ = writeln!(part, "- read_only=true");
        }
        let characters = block.value.chars().count();
        let _ = writeln!(part, "- chars_current={characters}\n- chars_limit={}\n</metadata>", block.limit);
        let _ = write!(part, "<value>\n{}\n</value>\n</{label}>\n", block.value);
    }
    part.push_str("\n</memory_blocks>");
    part
}

/// The part of the prompt that shows folders and files; none: the agent has no folder.
pub(in crate::mock) fn directories(agent: &Agent, shown: &Directories) -> Option<String> {
    if shown.folders.is_empty() {
        return None;
    }
    let names_by_tag = matches!(agent.agent_type.as_str(), "react_agent" | "workflow_agent");
    let open = shown.files.iter().filter(|file| !file.value.is_empty()).count();
    let mut part = format!(
        "<directories>\n<file_limits>\n- current_files_open={open}\n- max_files_open={}\n</file_limits>\n",
        agent.max_files_open
    );
    for Folder { id, name, description, instructions, .. } in &shown.folders {
        // Writing to a string cannot fail.
        let _ = writeln!(part, "<directory name=\"{name}\">");
        for (tag, text) in [("description", description), ("instructions", instructions)] {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                let _ = writeln!(part, "<{tag}>{text}</{tag}>");
            }
        }
        for file in shown.files.iter().filter(|file| file.folder_id == *id) {
            write_file(file, names_by_tag, &mut part);
        }
        part.push_str("</directory>\n");
    }
    part.push_str("</directories>");
    Some(part)
}

/// A file as a prompt shows it. Agents that reason and act, and those that work, see its name as a tag.
fn write_file(file: &FileBlock, names_by_tag: bool, part: &mut String) {
    let FileBlock { label, value, limit, .. } = file;
    let status = if value.is_empty() { "closed" } else { "open" };
    let characters = value.chars().count();
    let metadata =
        format!("<metadata>\n- read_only=true\n- chars_current={characters}\n- chars_limit={limit}\n</metadata>\n");
    // Writing to a string cannot fail.
    let _ = if names_by_tag {
        write!(
            part,
            "<file status=\"{status}\">\n<{label}>\n<description>\n\n</description>\n{metadata}\
             <value>\n{value}\n</value>\n</{label}>\n</file>\n"
        )
    } else if value.is_empty() {
        write!(part, "<file status=\"{status}\" name=\"{label}\">\n{metadata}</file>\n")
    } else {
        write!(part, "<file status=\"{status}\" name=\"{label}\">\n{metadata}<value>\n{value}\n</value>\n</file>\n")
    };
}

/// The part of the prompt that says what the agent should know about its own state.
pub(in crate::mock) fn memory_metadata(agent: &Agent, conversation: &str, now: Timestamp) -> String {
    format!(
        "<memory_metadata>\n- AGENT_ID: {}\n- CONVERSATION_ID: {conversation}\n\
         - System prompt last recompiled: {}\n- Previous messages in this conversation: {}\n</memory_metadata>",
        agent.id,
        now.prompt_date(),
        agent.recall,
    )
}
