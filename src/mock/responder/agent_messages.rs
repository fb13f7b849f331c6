//! What a text asks an agent to say to other agents.

use std::sync::LazyLock;

use regex::Regex;

use super::{CallRequest, arguments};
use crate::mock::{records::object, tools::set::ToolSet};

const BY_TAGS: &str = "send_message_to_agents_matching_tags";

// "Send a message to all agents with tags ['a', 'b'] about the shop": tags, message.
static TO_TAGGED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?is)\b(?:send|broadcast)\s+(?:(?:a|this|the)\s+)?(?:\w+\s+)?message\s+to\s+(?:(?:all|every|any|the|other)\s+)*",
        r"agents?\s+(?:with|having|that\s+have|tagged)\s+(?:(?:all|the|of)\s+)*(?:tags?\s*)?:?\s*(\[[^\]]*\])\s*(.*)$"
    ))
    .ok()
});

/// The call of the tool that messages agents by their tags that a text asks for without naming the tool.
pub(super) fn call_in_words(text: &str, tool_set: &ToolSet) -> Option<CallRequest> {
    if !tool_set.messages_agents(BY_TAGS) {
        return None;
    }
    let found = TO_TAGGED.as_ref()?.captures(text)?;
    let (tags, message) = (arguments::list_of_texts(found.get(1)?.as_str())?, found.get(2)?.as_str().trim());
    let message = if message.is_empty() { text } else { message };
    Some(CallRequest::new(BY_TAGS, object! {"message": message, "match_all": tags, "match_some": []}))
}
