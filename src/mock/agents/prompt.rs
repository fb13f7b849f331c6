//! The system prompt: an agent's instructions, its memory blocks, and what it should know about its own state.

use std::fmt::Write;

use super::directories::Directories;
use crate::mock::records::{Agent, Block, FileBlock, Folder, Timestamp};

/// The whole system prompt of a conversation.
pub(in crate::mock) fn compile(
    agent: &Agent,
    conversation: &str,
    blocks: &[Block],
    directories: &Directories,
    now: Timestamp,
) -> String {
    let parts = [
        Some(agent.system.clone()),
        Some(memory_blocks(blocks)),
        folder_list(agent, directories),
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

/// The part of the prompt that shows folders and files; `None` if the agent has no folders.
pub(in crate::mock) fn folder_list(agent: &Agent, directories: &Directories) -> Option<String> {
    if directories.folders.is_empty() {
        return None;
    }
    let names_by_tag = matches!(agent.agent_type.as_str(), "react_agent" | "workflow_agent");
    let open = directories.files.iter().filter(|file| !file.value.is_empty()).count();
    let mut part = format!(
        "<directories>\n<file_limits>\n- current_files_open={open}\n- max_files_open={}\n</file_limits>\n",
        agent.max_files_open
    );
    for Folder { id, name, description, instructions, .. } in &directories.folders {
        // Writing to a string cannot fail.
        let _ = writeln!(part, "<directory name=\"{name}\">");
        for (tag, text) in [("description", description), ("instructions", instructions)] {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                let _ = writeln!(part, "<{tag}>{text}</{tag}>");
            }
        }
        for file in directories.files.iter().filter(|file| file.folder_id == *id) {
            write_file(file, names_by_tag, &mut part);
        }
        part.push_str("</directory>\n");
    }
    part.push_str("</directories>");
    Some(part)
}

/// Writes a file. `names_by_tag` writes its name as a tag around the content, for `react_agent` and `workflow_agent`.
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

/// The part of the prompt about the agent's own state.
pub(in crate::mock) fn memory_metadata(agent: &Agent, conversation: &str, now: Timestamp) -> String {
    format!(
        "<memory_metadata>\n- AGENT_ID: {}\n- CONVERSATION_ID: {conversation}\n\
         - System prompt last recompiled: {}\n- Previous messages in this conversation: {}\n</memory_metadata>",
        agent.id,
        now.prompt_date(),
        agent.recall,
    )
}
