//! Finds the replies whose text may fit without trying each: a reply is looked at only if the user's text contains three
//! bytes that the reply requires.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use regex_syntax::hir::{Class, Hir, HirKind};

/// With fewer replies, each is tried.
const FEW: usize = 16;

/// The replies by three bytes that each requires.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Whether some reply may be under three bytes with this hash.
    is_known: Vec<u64>,
    by_bytes: HashMap<u32, Vec<u32>, FixedState>,
    /// Those that require no text.
    always: Bits,
}

/// A set of the positions of replies.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    fn empty(length: usize) -> Self {
        Self(vec![0; length.div_ceil(64)])
    }

    fn insert(&mut self, position: usize) {
        if let Some(word) = self.0.get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
    }

    pub(super) fn has(&self, position: usize) -> bool {
        self.0.get(position / 64).is_some_and(|word| word >> (position % 64) & 1 == 1)
    }
}

const KNOWN_BITS: usize = 1 << 14;

fn hash(bytes: u32) -> usize {
    (bytes.wrapping_mul(0x9E37_79B1) >> 18) as usize % KNOWN_BITS
}

/// Each three bytes of a text, with ASCII letters in lower case.
fn windows(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let byte = |byte: &u8| u32::from(byte.to_ascii_lowercase());
    text.windows(3).map(move |three| byte(&three[0]) << 16 | byte(&three[1]) << 8 | byte(&three[2]))
}

impl Index {
    /// Indexes replies by the texts that each requires.
    pub(super) fn new<'a>(required: impl ExactSizeIterator<Item = &'a [Box<[u8]>]>) -> Self {
        let count = required.len();
        let mut index = Self { is_known: vec![0; KNOWN_BITS / 64], always: Bits::empty(count), ..Self::default() };
        for (position, texts) in required.enumerate() {
            // Of all that it requires, what the fewest others require so far.
            let threes = texts.iter().flat_map(|text| windows(text));
            let rarest = threes.min_by_key(|three| index.by_bytes.get(three).map_or(0, Vec::len));
            match rarest.filter(|_| count > FEW) {
                Some(three) => {
                    index.by_bytes.entry(three).or_default().push(u32::try_from(position).unwrap_or(u32::MAX));
                    let hash = hash(three);
                    index.is_known[hash / 64] |= 1 << (hash % 64);
                }
                None => index.always.insert(position),
            }
        }
        index
    }

    /// The replies that a text may fit.
    pub(super) fn candidates(&self, text: &str) -> Bits {
        let mut found = self.always.clone();
        if self.by_bytes.is_empty() {
            return found;
        }
        for three in windows(text.as_bytes()) {
            let hash = hash(three);
            if self.is_known[hash / 64] >> (hash % 64) & 1 == 1
                && let Some(positions) = self.by_bytes.get(&three)
            {
                for position in positions {
                    found.insert(*position as usize);
                }
            }
        }
        found
    }
}

/// Texts that whatever matches a regular expression contains, with ASCII letters in lower case. There may be more that are
/// not found.
pub(super) fn required(pattern: &str) -> Vec<Box<[u8]>> {
    let (mut run, mut found) = (Vec::new(), Vec::new());
    if let Ok(hir) = regex_syntax::parse(pattern) {
        collect(&hir, &mut run, &mut found);
    }
    flush(&mut run, &mut found);
    found
}

/// A text that is required as it is.
pub(super) fn required_text(text: &str) -> Box<[u8]> {
    text.to_ascii_lowercase().into_bytes().into()
}

/// Continues a run of bytes that follow each other in whatever matches. What is not known ends the run.
fn collect(hir: &Hir, run: &mut Vec<u8>, found: &mut Vec<Box<[u8]>>) {
    match hir.kind() {
        HirKind::Literal(literal) => run.extend(literal.0.iter().map(u8::to_ascii_lowercase)),
        HirKind::Class(class) => match letter(class) {
            Some(letter) => run.push(letter),
            None => flush(run, found),
        },
        HirKind::Capture(capture) => collect(&capture.sub, run, found),
        HirKind::Concat(parts) => parts.iter().for_each(|part| collect(part, run, found)),
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Repetition(repetition) => {
            flush(run, found);
            if repetition.min > 0 {
                collect(&repetition.sub, run, found);
                flush(run, found);
            }
        }
        HirKind::Alternation(_) => flush(run, found),
    }
}

/// The letter in lower case that a class stands for in an expression that ignores case. Not all letters have one: a long s is
/// an s there as well.
fn letter(class: &Class) -> Option<u8> {
    let Class::Unicode(class) = class else { return None };
    match class.ranges() {
        [upper, lower] if upper.len() == 1 && lower.len() == 1 => {
            let (upper, lower) = (u8::try_from(upper.start()).ok()?, u8::try_from(lower.start()).ok()?);
            (upper.is_ascii_uppercase() && lower == upper.to_ascii_lowercase()).then_some(lower)
        }
        _ => None,
    }
}

fn flush(run: &mut Vec<u8>, found: &mut Vec<Box<[u8]>>) {
    if run.len() >= 3 {
        found.push(run.as_slice().into());
    }
    run.clear();
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn what_an_expression_requires() {
        for (pattern, expected) in [
            ("weather in (?<city>Rome+)", &["weather in rom"][..]),
            ("^fail$", &["fail"]),
            ("(abc)+x?(def)*", &["abc"]),
            ("abc|abd", &[]),
            ("(?i)Abc", &["abc"]),
            ("(?i)question 12", &["que", "tion 12"]),
            (r"\babc(?i:DEF)", &["abcdef"]),
            ("ab", &[]),
            (r"\d+ eggs", &[" eggs"]),
        ] {
            let found = required(pattern);
            let found: Vec<&str> = found.iter().map(|text| std::str::from_utf8(text).unwrap()).collect();
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn no_reply_that_matches_is_passed_over() {
        let patterns: Vec<String> = (0..500)
            .map(|n| match n % 7 {
                0 => format!("^question {n}$"),
                1 => format!("(?i)question {n}"),
                2 => format!("question ({n}|{})", n + 1),
                3 => format!(r"q\w+n {n}\b"),
                4 => format!("[q]uestion (?<n>{n})"),
                5 => n.to_string(),
                _ => format!("ü{n}ö"),
            })
            .collect();
        let texts: Vec<Vec<Box<[u8]>>> = patterns.iter().map(|pattern| required(pattern)).collect();
        let index = Index::new(texts.iter().map(Vec::as_slice));
        let regexes: Vec<Regex> = patterns.iter().map(|pattern| Regex::new(pattern).unwrap()).collect();
        let mut passed_over = 0;
        for n in 0..500 {
            for text in [format!("question {n}"), format!("queſtion {n}"), format!("QUESTION {n}"), format!("ü{n}ö")]
            {
                let candidates = index.candidates(&text);
                for (position, regex) in regexes.iter().enumerate() {
                    assert!(candidates.has(position) || !regex.is_match(&text), "{text} {regex}");
                    passed_over += usize::from(!candidates.has(position));
                }
            }
        }
        assert!(passed_over > 500 * 4 * 200, "{passed_over}");
    }
}
