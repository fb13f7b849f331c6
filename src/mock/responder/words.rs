//! Plain words that ask an agent to remember, to change what it remembers, or to look something up.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{CallRequest, understood};
use crate::mock::{
    records::{Block, object},
    tools::set::ToolSet,
};

macro_rules! pattern {
    ($name:ident, $($text:expr),+) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(concat!($($text),+)).ok());
    };
}

/// What agents keep things in, as people call it.
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

/// Whether a text may ask for something that depends on what the memory blocks say.
pub(super) fn speaks_of_memory(text: &str) -> bool {
    MEMORY.as_ref().is_some_and(|pattern| pattern.is_match(understood(text)))
}

/// The call of a memory tool that a text asks for, if the agent has such a tool.
pub(super) fn memory_call(text: &str, tool_set: &ToolSet, blocks: &[Block]) -> Option<CallRequest> {
    let text = text.trim();
    let lower = text.to_lowercase();
    // What somebody knows is in the archive, if there is one; what was said is in the conversation.
    let archive = lower.contains("archiv") || lower.contains("know about");
    let memory = WordsContext { text, tool_set, blocks, archive };
    if let Some([query]) = find(&LOOK_UP, text).or_else(|| find(&ASKED_ABOUT, text)) {
        return memory.search(unquoted(query));
    }
    if let Some([label, value]) = find(&REWRITE, text)
        && let Some(block) = blocks.iter().find(|block| block.label.eq_ignore_ascii_case(label))
    {
        return memory.rewrite(block, value);
    }
    if let Some([verb, quote, old, new]) = find(&REPLACE, text)
        && (!quote.is_empty() || verb.eq_ignore_ascii_case("replace") || memory.holder(old).is_some())
    {
        return memory.replace(old, new);
    }
    if let Some([new, old]) = find(&CORRECT, text)
        && memory.holder(old).is_some()
    {
        return memory.replace(old, new);
    }
    if !lower.contains("n't forget")
        && !lower.contains("not forget")
        && let Some([old]) = find(&FORGET, text)
    {
        return memory.holder(old).and_then(|_| memory.replace(old, ""));
    }
    if let Some([fact]) = find(&NOTED, text).or_else(|| find(&REMEMBER, text)).or_else(|| find(&KEEP, text)) {
        return memory.keep(fact);
    }
    memory.change()
}

/// What a text is about, and what its agent has to do it with.
struct WordsContext<'a> {
    text: &'a str,
    tool_set: &'a ToolSet,
    blocks: &'a [Block],
    /// Whether it speaks of what is in the archive.
    archive: bool,
}

impl<'a> WordsContext<'a> {
    fn has(&self, name: &'static str) -> Option<&'static str> {
        self.tool_set.find(name).filter(|tool| !tool.runs_on_client()).map(|_| name)
    }

    fn search(&self, query: &str) -> Option<CallRequest> {
        let archive = self.has("archival_memory_search");
        let name = archive.filter(|_| self.archive).or(self.has("conversation_search")).or(archive)?;
        Some(CallRequest::new(name, object! {"query": query}))
    }

    /// The block that says something, if the agent may change it.
    fn holder(&self, text: &str) -> Option<&'a Block> {
        self.blocks.iter().find(|block| !block.read_only && block.value.contains(text))
    }

    fn replace(&self, old: &str, new: &str) -> Option<CallRequest> {
        let block = self.holder(old).or_else(|| self.named()).or_else(|| self.usual())?;
        let label = block.label.as_str();
        match (self.has("memory_replace"), self.has("core_memory_replace")) {
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
        match self.has("memory_rethink") {
            Some(name) => Some(CallRequest::new(name, object! {"label": block.label, "new_memory": value})),
            None => self.replace(&block.value, value),
        }
    }

    fn keep(&self, fact: &str) -> Option<CallRequest> {
        let label = self.named().or_else(|| self.usual()).map(|block| block.label.as_str());
        let archive = self.has("archival_memory_insert");
        match (label, self.has("memory_insert"), self.has("core_memory_append"), archive) {
            (_, _, _, Some(name)) if self.archive => Some(CallRequest::new(name, object! {"content": fact})),
            (Some(label), Some(name), ..) => Some(CallRequest::new(name, object! {"label": label, "new_string": fact})),
            (Some(label), None, Some(name), _) => {
                Some(CallRequest::new(name, object! {"label": label, "content": fact}))
            }
            (.., Some(name)) => Some(CallRequest::new(name, object! {"content": fact})),
            _ => None,
        }
    }

    /// What "My name is actually Bob" changes: the line that says "Name: Alice", or else it is one more thing to keep.
    fn change(&self) -> Option<CallRequest> {
        let found = CHANGED.as_ref()?.captures(self.text)?;
        let what = found.get(1)?.as_str();
        let value = found.get(2).or(found.get(3))?.as_str().trim();
        let line = Regex::new(&format!(r"(?im)^(.*\b{}\s*(?::|=|\bis\b)\s*)(.+)$", regex::escape(what))).ok()?;
        for block in self.blocks.iter().filter(|block| !block.read_only) {
            if let Some(line) = line.captures(&block.value) {
                return self.replace(line.get(0)?.as_str(), &format!("{}{value}", line.get(1)?.as_str()));
            }
        }
        self.keep(found.get(0)?.as_str())
    }

    /// The block whose label the text names.
    fn named(&self) -> Option<&'a Block> {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let mut words = self.text.split(|character| !is_part(character));
        words.find_map(|word| self.blocks.iter().find(|block| block.label.eq_ignore_ascii_case(word)))
    }

    /// The block for what nobody says where it belongs.
    fn usual(&self) -> Option<&'a Block> {
        let mut writable = self.blocks.iter().filter(|block| !block.read_only);
        writable.clone().find(|block| block.label == "human").or_else(|| writable.next())
    }
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\'', '`'])
}

fn find<'t, const N: usize>(pattern: &LazyLock<Option<Regex>>, text: &'t str) -> Option<[&'t str; N]> {
    let captures: Captures<'t> = pattern.as_ref()?.captures(text)?;
    let mut found = [""; N];
    for (index, place) in found.iter_mut().enumerate() {
        *place = captures.get(index + 1)?.as_str().trim();
    }
    found[0].chars().next().map(|_| found)
}
