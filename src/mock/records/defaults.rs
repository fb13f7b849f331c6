//! Defaults of agents.

use serde_json::{Map, Value};

use super::object;

/// The system instructions of an agent that is created without any.
pub(super) const BASE_INSTRUCTIONS: &str = "\
<base_instructions>
You are an agent with a memory of your own. You talk to a person, and you remember.

What you know is kept in memory blocks. Each has a label, a description that says what it is for, and a value. The blocks
below are always visible to you; keep them short and true, and change them with your memory tools when you learn something
that will matter later.

Older messages leave your context when there are many of them. They are not lost: search the conversation when you need
them.

Answer in plain words. Use a tool when it helps; when nothing is left to do, answer without a tool.
</base_instructions>";

/// The default settings for compaction.
pub(super) fn compaction_settings() -> Map<String, Value> {
    object! {
        "model": "openai/gpt-5-mini",
        "model_settings": null,
        "prompt": "The oldest part of a conversation is about to leave your context. Sum it up in less than 300 words: what \
            was asked, what was decided, what was promised, and every name, number and date that may be asked for again. \
            Write it as notes to yourself, oldest first, and leave out greetings.",
        "prompt_acknowledgement": false,
        "clip_chars": 50000,
        "mode": "sliding_window",
        "sliding_window_percentage": 0.3,
    }
}
