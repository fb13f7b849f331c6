//! Plain words that ask an agent to remember, to change what it remembers, or to look something up.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{Asked, understood};
use crate::mock::{
    records::{Block, object},
    toolbox::Toolbox,
};

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());
    };
}

pattern!(
    LOOK_UP,
    r"(?i)\b(?:look up|search (?:(?:the|your|our|my) \w+ )?for|(?:what|when) did (?:i|we|you) (?:say|tell you|talk) about|what do you (?:remember|know) about|do you remember|can you recall|recall)\s+(.+?)(?:\s+(?:in|from)\s+(?:the|your|our|my)\s+\w+)?[\s?.!]*$"
);
pattern!(
    REPLACE,
    r#"(?i)\b(?:replace|change|update|correct)\s+["'`]?(.+?)["'`]?\s+(?:with|to|into|by)\s+["'`]?(.+?)["'`]?(?:\s+in\s+(?:the|your|my)?\s*\S+(?:\s+(?:block|memory))?)?[\s.!]*$"#
);
pattern!(FORGET, r#"(?i)\bforget\s+(?:that\s+)?["'`]?(.+?)["'`]?[\s.!]*$"#);
pattern!(
    REMEMBER,
    r"(?i)\b(?:remember|memorize|keep in mind|note|don't forget|do not forget)(?:\s+that\b|\s*:)?\s+(.+?)[\s.!]*$"
);
pattern!(
    MEMORY,
    r"(?i)\b(?:remember|memori[sz]e|keep in mind|note|forget|replace|change|update|correct|look up|search|recall|what did|what do|when did)\b"
);

/// Whether a text may ask for something that depends on what the memory blocks say.
pub(super) fn speaks_of_memory(text: &str) -> bool {
    MEMORY.as_ref().is_some_and(|pattern| pattern.is_match(understood(text)))
}

/// The call of a memory tool that a text asks for, if the agent has such a tool.
pub(super) fn memory_call(text: &str, toolbox: &Toolbox, blocks: &[Block]) -> Option<Asked> {
    let text = text.trim();
    let archive = text.to_lowercase().contains("archiv");
    let has = |name: &'static str| toolbox.find(name).filter(|tool| !tool.is_clients()).map(|_| name);
    if let Some([query]) = find(&LOOK_UP, text) {
        return match has("archival_memory_search").filter(|_| archive).or(has("conversation_search")) {
            Some(name) => Some(Asked::new(name, object! {"query": query})),
            None => has("archival_memory_search").map(|name| Asked::new(name, object! {"query": query})),
        };
    }
    let negated = text.to_lowercase().contains("forget") && !text.to_lowercase().contains("n't forget");
    let negated = negated && !text.to_lowercase().contains("not forget");
    let change = match find(&REPLACE, text) {
        Some([old, new]) => Some((old, new)),
        None if negated => find(&FORGET, text).map(|[old]| (old, "")),
        None => None,
    };
    if let Some((old, new)) = change {
        let holds = blocks.iter().find(|block| !block.read_only && block.value.contains(old));
        let label = holds.or(named(text, blocks)).or(usual(blocks))?.label.as_str();
        return match (has("memory_replace"), has("core_memory_replace")) {
            (Some(name), _) => Some(Asked::new(name, object! {"label": label, "old_string": old, "new_string": new})),
            (None, Some(name)) => {
                Some(Asked::new(name, object! {"label": label, "old_content": old, "new_content": new}))
            }
            (None, None) => None,
        };
    }
    let [fact] = find(&REMEMBER, text)?;
    let label = named(text, blocks).or(usual(blocks)).map(|block| block.label.as_str());
    match (label, has("memory_insert"), has("core_memory_append"), has("archival_memory_insert")) {
        (_, _, _, Some(name)) if archive => Some(Asked::new(name, object! {"content": fact})),
        (Some(label), Some(name), ..) => Some(Asked::new(name, object! {"label": label, "new_string": fact})),
        (Some(label), None, Some(name), _) => Some(Asked::new(name, object! {"label": label, "content": fact})),
        (.., Some(name)) => Some(Asked::new(name, object! {"content": fact})),
        _ => None,
    }
}

fn find<'t, const N: usize>(pattern: &LazyLock<Option<Regex>>, text: &'t str) -> Option<[&'t str; N]> {
    let captures: Captures<'t> = pattern.as_ref()?.captures(text)?;
    let mut found = [""; N];
    for (index, place) in found.iter_mut().enumerate() {
        *place = captures.get(index + 1)?.as_str().trim();
    }
    found[0].chars().next().map(|_| found)
}

/// The block whose label a text names.
fn named<'b>(text: &str, blocks: &'b [Block]) -> Option<&'b Block> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let mut words = text.split(|character| !is_part(character));
    words.find_map(|word| blocks.iter().find(|block| block.label.eq_ignore_ascii_case(word)))
}

/// The block for what nobody says where it belongs.
fn usual(blocks: &[Block]) -> Option<&Block> {
    let mut writable = blocks.iter().filter(|block| !block.read_only);
    writable.clone().find(|block| block.label == "human").or_else(|| writable.next())
}
