//! Recognizes requests in plain English to remember something, to change what is remembered, or to look something up, and
//! turns them into calls of memory tools.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{CallRequest, interpreted};
use crate::mock::{
    records::{Block, object},
    tools::set::ToolSet,
};

macro_rules! pattern {
    ($name:ident, $($text:expr),+) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(concat!($($text),+)).ok());
    };
}

/// The words with which people refer to an agent's memory.
macro_rules! memory {
    () => {
        r"(?:(?:the|your|our|my)\s+)?(?:\w+\s+){0,2}(?:memory|memories|archives?|block)\b"
    };
}

pattern!(
    LOOK_UP,
    r"(?i)\b(?:look up|search (?:(?:in |through )?(?:the |your |our |my )?(?:\w+ ){1,2})?for|",
    r"look (?:in|into|through) (?:the |your |our |my )?(?:\w+ ){1,2}for|",
    r"find (?:passages|messages|memories|anything|something|what i said) about|",
    r"(?:what|when) (?:did|have) (?:i|we|you) (?:say|said|tell you|told you|talk|talked|mention|mentioned) about|",
    r"what do you (?:remember|know) about|do you (?:remember|recall)|can you (?:remember|recall)|recall)\s+(.+?)",
    r"(?:\s+(?:in|from)\s+",
    memory!(),
    r"|\s+(?:in|from)\s+(?:the|your|our|my)\s+\w+(?:\s+history)?)?[\s?.!]*$"
);
pattern!(
    ASKED_ABOUT,
    r"(?i)\b(?:what|which)\s+(.+?)\s+did i (?:ask|tell) you to (?:remember|memori[sz]e|note|keep in mind)"
);
pattern!(
    REPLACE,
    r#"(?i)\b(replace|change|update|correct)\s+(?:[^"'`]*?\bfrom\s+)?(["'`]?)(.+?)["'`]?\s+(?:with|to|into|by)\s+["'`]?(.+?)["'`]?"#,
    r"(?:\s+in\s+(?:the|your|my)?\s*\S+(?:\s+(?:block|memory))?)?[\s.!]*$"
);
pattern!(
    REWRITE,
    r#"(?i)\b(?:rewrite|rethink|overwrite|set)\s+(?:(?:the|your|my)\s+)?["'`]?(\w+)["'`]?\s+(?:memory\s+)?block\s+(?:to|as|with)\b\s*:?\s*["'`]?(.+?)["'`]?[\s.!]*$"#
);
// "My name is Bob now, not Alice": new, old.
pattern!(
    CORRECT,
    r"(?i)\b(?:is|am|are|like|likes|prefer|in|at)\s+(?:(?:actually|now|really|called)\s+)*([^,.:;!?\n]+?)(?:\s+(?:now|actually))?,?",
    r"\s+(?:and\s+)?not\s+(?:in\s+|at\s+)?([^,.:;!?\n]+?)(?:\s+any\s?more)?\s*(?:[,.:;!?\n]|$)"
);
// "My name is actually Bob", "My name is Bob now": what, value, value.
pattern!(
    CHANGED,
    r"(?i)\bmy\s+(\w+(?:\s+\w+){0,2}?)(?:'s|\s+is)\s+(?:(?:actually|now|really)\s+([^,.:;!?\n]+)|([^,.:;!?\n]+?)\s+(?:now|actually)\b)"
);
pattern!(FORGET, r#"(?i)\bforget\s+(?:that\s+)?["'`]?(.+?)["'`]?[\s.!]*$"#);
pattern!(
    REMEMBER,
    r"(?i)\b(?:remember|memori[sz]e|keep in mind|note|don't forget|do not forget|",
    r"(?:save|store|record|write down)\s+(?:this(?:\s+\w+)?\s*:|that\b)|",
    r"(?:update|add to|(?:save|store|record|write|put|insert)(?:\s+this)?\s+(?:to|in|into)|append to)\s+",
    memory!(),
    r"(?:\s+with\b)?)(?:\s+that\b|\s*:)?\s+(.+?)[\s.!?]*$"
);
pattern!(
    KEEP,
    r#"(?i)\b(?:save|store|add|append|insert|put|write|record)\s+(?:that\s+)?["'`]?(.+?)["'`]?\s+(?:to|in|into)\s+"#,
    memory!()
);
// "I moved to Berlin. Please update your memory."
pattern!(
    NOTED,
    r"(?i)^(.+?)[\s.:;,!-]*\b(?:(?:please|so|and|then)\s+)*",
    r"(?:remember (?:this|that|it)|(?:update|(?:save|store|add|put|write) (?:this|that|it) (?:to|in|into))\s+",
    memory!(),
    r")[\s.!]*$"
);
pattern!(
    MEMORY,
    r"(?i)\b(?:remember|memor\w+|keep in mind|note|forget|replace|change|update|correct|",
    r"actually|now|really|not|save|store|add|append|insert|put|write|record|rewrite|rethink|overwrite|set)\b"
);

/// Whether a text may be a request that depends on the values of memory blocks.
pub(super) fn mentions_memory(text: &str) -> bool {
    MEMORY.as_ref().is_some_and(|pattern| pattern.is_match(interpreted(text)))
}

/// The call of a memory tool that a text requests, if the agent has that tool.
pub(super) fn memory_call(text: &str, tool_set: &ToolSet, blocks: &[Block]) -> Option<CallRequest> {
    let text = text.trim();
    let lower = text.to_lowercase();
    // "What do you know about" asks for archival memory, "what did I say about" for the conversation.
    let is_archival = lower.contains("archiv") || lower.contains("know about");
    let memory = MemoryIntent { text, tool_set, blocks, is_archival };
    if let Some([query]) = captures(&LOOK_UP, text).or_else(|| captures(&ASKED_ABOUT, text)) {
        return memory.search(unquoted(query));
    }
    if let Some([label, value]) = captures(&REWRITE, text)
        && let Some(block) = blocks.iter().find(|block| block.label.eq_ignore_ascii_case(label))
    {
        return memory.rewrite(block, value);
    }
    if let Some([verb, quote, old, new]) = captures(&REPLACE, text)
        && (!quote.is_empty() || verb.eq_ignore_ascii_case("replace") || memory.containing(old).is_some())
    {
        return memory.replace(old, new);
    }
    if let Some([new, old]) = captures(&CORRECT, text)
        && memory.containing(old).is_some()
    {
        return memory.replace(old, new);
    }
    if !lower.contains("n't forget")
        && !lower.contains("not forget")
        && let Some([old]) = captures(&FORGET, text)
    {
        return memory.containing(old).and_then(|_| memory.replace(old, ""));
    }
    if let Some([fact]) = captures(&NOTED, text).or_else(|| captures(&REMEMBER, text)).or_else(|| captures(&KEEP, text))
    {
        return memory.remember(fact);
    }
    memory.correct()
}

/// A text that may be a request about memory, with the tools and blocks of its agent.
struct MemoryIntent<'a> {
    text: &'a str,
    tool_set: &'a ToolSet,
    blocks: &'a [Block],
    /// Whether it refers to archival memory.
    is_archival: bool,
}

impl<'a> MemoryIntent<'a> {
    /// The name of a tool, if the agent has it and the client does not run it.
    fn tool(&self, name: &'static str) -> Option<&'static str> {
        self.tool_set.find(name).filter(|tool| !tool.runs_on_client()).map(|_| name)
    }

    fn search(&self, query: &str) -> Option<CallRequest> {
        let archive = self.tool("archival_memory_search");
        let name = archive.filter(|_| self.is_archival).or(self.tool("conversation_search")).or(archive)?;
        Some(CallRequest::new(name, object! {"query": query}))
    }

    /// The writable block whose value contains a text.
    fn containing(&self, text: &str) -> Option<&'a Block> {
        self.blocks.iter().find(|block| !block.read_only && block.value.contains(text))
    }

    fn replace(&self, old: &str, new: &str) -> Option<CallRequest> {
        let block = self.containing(old).or_else(|| self.named_block()).or_else(|| self.default_block())?;
        let label = block.label.as_str();
        match (self.tool("memory_replace"), self.tool("core_memory_replace")) {
            (Some(name), _) => {
                Some(CallRequest::new(name, object! {"label": label, "old_string": old, "new_string": new}))
            }
            (None, Some(name)) => {
                Some(CallRequest::new(name, object! {"label": label, "old_content": old, "new_content": new}))
            }
            (None, None) => None,
        }
    }

    fn rewrite(&self, block: &Block, value: &str) -> Option<CallRequest> {
        match self.tool("memory_rethink") {
            Some(name) => Some(CallRequest::new(name, object! {"label": block.label, "new_memory": value})),
            None => self.replace(&block.value, value),
        }
    }

    fn remember(&self, fact: &str) -> Option<CallRequest> {
        let label = self.named_block().or_else(|| self.default_block()).map(|block| block.label.as_str());
        let archive = self.tool("archival_memory_insert");
        match (label, self.tool("memory_insert"), self.tool("core_memory_append"), archive) {
            (_, _, _, Some(name)) if self.is_archival => Some(CallRequest::new(name, object! {"content": fact})),
            (Some(label), Some(name), ..) => Some(CallRequest::new(name, object! {"label": label, "new_string": fact})),
            (Some(label), None, Some(name), _) => {
                Some(CallRequest::new(name, object! {"label": label, "content": fact}))
            }
            (.., Some(name)) => Some(CallRequest::new(name, object! {"content": fact})),
            _ => None,
        }
    }

    /// Handles "My name is actually Bob": replaces a line such as "Name: Alice", or remembers the fact if there is none.
    fn correct(&self) -> Option<CallRequest> {
        let found = CHANGED.as_ref()?.captures(self.text)?;
        let what = found.get(1)?.as_str();
        let value = found.get(2).or(found.get(3))?.as_str().trim();
        let line = Regex::new(&format!(r"(?im)^(.*\b{}\s*(?::|=|\bis\b)\s*)(.+)$", regex::escape(what))).ok()?;
        for block in self.blocks.iter().filter(|block| !block.read_only) {
            if let Some(line) = line.captures(&block.value) {
                return self.replace(line.get(0)?.as_str(), &format!("{}{value}", line.get(1)?.as_str()));
            }
        }
        self.remember(found.get(0)?.as_str())
    }

    /// The block whose label the text contains.
    fn named_block(&self) -> Option<&'a Block> {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let mut words = self.text.split(|character| !is_part(character));
        words.find_map(|word| self.blocks.iter().find(|block| block.label.eq_ignore_ascii_case(word)))
    }

    /// The block for facts whose block the text does not name.
    fn default_block(&self) -> Option<&'a Block> {
        let mut writable = self.blocks.iter().filter(|block| !block.read_only);
        writable.clone().find(|block| block.label == "human").or_else(|| writable.next())
    }
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\'', '`'])
}

/// The first `N` groups that a pattern captures, trimmed; `None` if one is missing or the first is empty.
fn captures<'t, const N: usize>(pattern: &LazyLock<Option<Regex>>, text: &'t str) -> Option<[&'t str; N]> {
    let captured: Captures<'t> = pattern.as_ref()?.captures(text)?;
    let mut found = [""; N];
    for (index, place) in found.iter_mut().enumerate() {
        *place = captured.get(index + 1)?.as_str().trim();
    }
    found[0].chars().next().map(|_| found)
}
