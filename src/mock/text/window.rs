//! The part of a file that an agent sees: its beginning or other lines, numbered, within the size limits.

use std::{borrow::Cow, fmt::Write, iter};

use serde::{Deserialize, Serialize};

/// The size limit of all open files of an agent together, in bytes. Letta's own limits allow no more of ASCII files.
pub(in crate::mock) const MOST_SHOWN: usize = 1024 * 1024;

/// A range of lines of a file, counted from 1. The last one is included; `None` stands for the end of the file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::mock) struct Lines {
    pub(in crate::mock) first: usize,
    pub(in crate::mock) last: Option<usize>,
}

/// The size limit of one file's window, in bytes, whatever the agent's limit. Letta's own limits are lower.
const MOST_BYTES: usize = 160_000;

/// Appended to a file that is not shown whole.
const CUT: &str = "...[TRUNCATED]\n# The file goes on; grep_files and semantic_search_files find the rest.";

/// The unit by which a file is numbered; it depends on the media type, as in Letta.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Unit {
    /// Lines as they are, without empty ones.
    Code,
    /// Trimmed lines.
    Line,
    Sentence,
}

impl Unit {
    fn of(media_type: &str) -> Self {
        const CODE: &[&str] = &[
            "text/html",
            "text/javascript",
            "text/x-batch",
            "text/x-c",
            "text/x-c++",
            "text/x-csharp",
            "text/x-dockerfile",
            "text/x-go",
            "text/x-java-source",
            "text/x-jsx",
            "text/x-kotlin",
            "text/x-objective-c",
            "text/x-php",
            "text/x-powershell",
            "text/x-python",
            "text/x-r",
            "text/x-ruby",
            "text/x-rust",
            "text/x-scala",
            "text/x-shellscript",
            "text/x-sql",
            "text/x-swift",
            "text/x-tsx",
            "text/x-typescript",
            "text/x-vue",
        ];
        match media_type {
            "text/markdown" => Self::Sentence,
            code if CODE.contains(&code) => Self::Code,
            _ => Self::Line,
        }
    }
}

/// The lines of a file, or its sentences if it is prose.
fn lines<'t>(text: &'t str, media_type: &str) -> Box<dyn Iterator<Item = Cow<'t, str>> + 't> {
    let broken = text.split(|character: char| {
        matches!(character, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
    });
    let lines = |trim: fn(&str) -> &str| broken.map(trim).filter(|line| !line.is_empty()).map(Cow::Borrowed);
    match Unit::of(media_type) {
        Unit::Code => Box::new(lines(str::trim_end)),
        Unit::Line => Box::new(lines(str::trim)),
        Unit::Sentence => {
            let words = |sentence: &str| sentence.split_whitespace().collect::<Vec<_>>().join(" ");
            Box::new(sentences(text).map(words).filter(|one| !one.is_empty()).map(Cow::Owned))
        }
    }
}

/// Splits a text before each sentence that begins with a capital letter.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest?;
        let (mut gap, mut before) = (None, ' ');
        for (place, character) in text.char_indices() {
            if character.is_whitespace() {
                if matches!(before, '.' | '!' | '?') {
                    gap = Some(place);
                }
            } else {
                if let (true, Some(end)) = (character.is_ascii_uppercase(), gap) {
                    rest = Some(&text[place..]);
                    return Some(&text[..end]);
                }
                gap = None;
            }
            before = character;
        }
        rest.take()
    })
}

/// A file in the lines by which agents know it.
pub(in crate::mock) fn whole(text: &str, media_type: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    for (number, line) in lines(text, media_type).enumerate() {
        if number > 0 {
            whole.push('\n');
        }
        whole.push_str(&line);
    }
    whole
}

/// The window at the beginning of a file, as it is stored. It is empty for an empty file.
pub(in crate::mock) fn of(text: &str, media_type: &str) -> String {
    let count = lines(text, media_type).count();
    numbered("file start", count, media_type, 1, lines(text, media_type))
}

/// The window on a range of lines. `whole` is the text from [`whole`].
pub(in crate::mock) fn part(whole: &str, media_type: &str, Lines { first, last }: Lines) -> String {
    let count = whole.lines().count();
    let place = match last {
        Some(last) => format!("{} {first} to {}", unit(media_type), last.min(count)),
        None => format!("{} {first} to end", unit(media_type)),
    };
    let skipped = first.saturating_sub(1);
    let taken = last.map_or(usize::MAX, |last| last.saturating_sub(skipped));
    numbered(&place, count, media_type, first, whole.lines().skip(skipped).take(taken).map(Cow::Borrowed))
}

fn unit(media_type: &str) -> &'static str {
    if Unit::of(media_type) == Unit::Sentence { "sentences" } else { "lines" }
}

/// A window on numbered lines, cut at the size limit. The file has `count` lines.
fn numbered<'t>(
    place: &str,
    count: usize,
    media_type: &str,
    first: usize,
    lines: impl Iterator<Item = Cow<'t, str>>,
) -> String {
    /// The most bytes that the number of a line takes.
    const NUMBER: usize = 24;
    if count == 0 {
        return String::new();
    }
    let mut shown = format!("[Viewing {place} (out of {count} {})]", unit(media_type));
    for (number, line) in (first..).zip(lines) {
        // Writing to a string cannot fail.
        let _ = write!(shown, "\n{number}: ");
        let room = MOST_BYTES.saturating_sub(shown.len() + CUT.len() + NUMBER);
        if line.len() > room {
            let end = (0..=room).rev().find(|end| line.is_char_boundary(*end)).unwrap_or_default();
            shown.push_str(&line[..end]);
            shown.push_str(CUT);
            break;
        }
        shown.push_str(&line);
    }
    shown
}

/// Cuts the shown text to the agent's limit in characters.
pub(in crate::mock) fn cut(shown: String, most_characters: i64) -> String {
    let most = usize::try_from(most_characters).unwrap_or_default();
    if shown.chars().nth(most).is_none() {
        return shown;
    }
    let beginning = |most: usize| shown.chars().take(most).collect::<String>();
    match most.checked_sub(CUT.chars().count()) {
        Some(room) => beginning(room) + CUT,
        None => beginning(most),
    }
}

/// The text in place of a file of which nothing can be shown.
pub(in crate::mock) fn unseen() -> String {
    CUT.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_file_shows_its_beginning_in_numbered_lines() {
        for (text, media_type, expected) in [
            ("hello file", "text/plain", "[Viewing file start (out of 1 lines)]\n1: hello file"),
            (" a \r\n\r\n b\u{2028}c", "text/plain", "[Viewing file start (out of 3 lines)]\n1: a\n2: b\n3: c"),
            (
                "def f():\n\n    return 1 \n",
                "text/x-python",
                "[Viewing file start (out of 2 lines)]\n1: def f():\n2:     return 1",
            ),
            (
                "One  is\n1. Two? three. Four",
                "text/markdown",
                "[Viewing file start (out of 3 sentences)]\n1: One is 1.\n2: Two? three.\n3: Four",
            ),
            ("", "text/plain", ""),
            (" \n ", "text/markdown", ""),
        ] {
            assert_eq!(of(text, media_type), expected, "{text:?}");
        }
    }

    #[test]
    fn a_part_of_a_file_says_which_lines_it_shows() {
        let whole = "a\nb\nc";
        for (first, last, media_type, expected) in [
            (2, Some(2), "text/plain", "[Viewing lines 2 to 2 (out of 3 lines)]\n2: b"),
            (2, None, "text/x-python", "[Viewing lines 2 to end (out of 3 lines)]\n2: b\n3: c"),
            (1, Some(99), "text/markdown", "[Viewing sentences 1 to 3 (out of 3 sentences)]\n1: a\n2: b\n3: c"),
        ] {
            assert_eq!(part(whole, media_type, Lines { first, last }), expected);
        }
        assert_eq!(part("", "text/plain", Lines { first: 1, last: None }), "");
        let long = part(&"line\n".repeat(MOST_BYTES), "text/plain", Lines { first: MOST_BYTES / 2, last: None });
        assert!(long.len() <= MOST_BYTES && long.ends_with(CUT), "{}", long.len());
    }

    #[test]
    fn what_is_shown_is_bounded_and_says_so() {
        for text in ["ä".repeat(MOST_BYTES), "line\n".repeat(MOST_BYTES)] {
            let shown = of(&text, "text/plain");
            assert!(shown.len() <= MOST_BYTES && shown.len() > MOST_BYTES - 64, "{}", shown.len());
            assert!(shown.ends_with(CUT));
            let window = cut(shown, 500);
            assert!(window.starts_with("[Viewing file start (out of ") && window.ends_with(CUT), "{window}");
            assert_eq!(window.chars().count(), 500);
        }
        assert_eq!(cut("äöü".into(), 3), "äöü");
        assert_eq!(cut("äöü".into(), 2), "äö");
        assert_eq!(cut("äöü".into(), -1), "");
    }
}
