//! Finds requests in plain English to message agents by their tags.

use std::sync::LazyLock;

use regex::Regex;

use super::{CallRequest, arguments};
use crate::mock::{records::object, tools::set::ToolSet};

const BY_TAGS: &str = "send_message_to_agents_matching_tags";

/// Captures the tags and the rest of a text such as `Send a message to all agents with tags ['a', 'b'] about the shop`.
static MESSAGE_BY_TAGS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?is)\b(?:send|broadcast)\s+(?:(?:a|this|the)\s+)?(?:\w+\s+)?message\s+to\s+(?:(?:all|every|any|the|other)\s+)*",
        r"agents?\s+(?:with|having|that\s+have|tagged)\s+(?:(?:all|the|of)\s+)*(?:tags?\s*)?:?\s*(\[[^\]]*\])\s*(.*)$"
    ))
    .ok()
});

/// The call that messages agents by their tags, if a text requests it without naming the tool.
pub(super) fn call_by_tags(text: &str, tool_set: &ToolSet) -> Option<CallRequest> {
    if !tool_set.messages_agents(BY_TAGS) {
        return None;
    }
    let captures = MESSAGE_BY_TAGS.as_ref()?.captures(text)?;
    let (tags, rest) = (arguments::string_list(captures.get(1)?.as_str())?, captures.get(2)?.as_str().trim());
    let message = if rest.is_empty() { text } else { rest };
    Some(CallRequest::new(BY_TAGS, object! {"message": message, "match_all": tags, "match_some": []}))
}
