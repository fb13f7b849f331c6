//! What an agent has unless its request says otherwise.

use serde_json::{Map, Value};

use super::object;

/// The instructions of an agent that was given none.
pub(super) const BASE_INSTRUCTIONS: &str = "\
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
pub(super) fn compaction_settings() -> Map<String, Value> {
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
