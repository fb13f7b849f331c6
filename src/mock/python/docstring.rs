//! Parsing docstrings: the description of a function and of its arguments. Four styles are tried, and the one that
//! finds most is used.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use regex::Regex;

/// A parsed docstring.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Docstring {
    /// Everything before the first section, with a paragraph after the first line, and the section with examples.
    pub(super) description: String,
    arguments: Vec<(String, String)>,
}

/// What one style finds in a docstring.
#[derive(Default)]
struct ParsedStyle {
    description: String,
    arguments: Vec<(String, String)>,
    /// The number of arguments, returns, errors and the like.
    count: usize,
}

impl Docstring {
    /// Parses a docstring.
    pub(super) fn of(text: &str) -> Self {
        let cleaned = clean(text);
        let mut best: Option<ParsedStyle> = None;
        for read in [rest, google, numpy, epytext] {
            let found = read(&cleaned);
            // Of two styles that find the same number, the earlier wins.
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.count > best.count)
            {
                best = Some(found);
            }
        }
        let ParsedStyle { mut description, arguments, .. } = best.unwrap_or_default();
        if description.is_empty() {
            "No description available".clone_into(&mut description);
        }
        if let Some(examples) = examples(text).filter(|_| !description.contains("Examples:")) {
            description.push_str("\n\n");
            description.push_str(&examples);
        }
        Self { description, arguments }
    }

    /// The description of an argument; empty if there is none.
    pub(super) fn argument(&self, name: &str) -> &str {
        self.arguments.iter().find(|(present, _)| present == name).map_or("", |(_, description)| description)
    }
}

/// Removes the common indentation of a text, as Python's `inspect.cleandoc` does.
pub(super) fn clean(text: &str) -> String {
    let expanded = expand_tabs(text);
    let mut lines = expanded.split('\n');
    let first = lines.next().unwrap_or_default().trim_start().to_owned();
    let rest: Vec<&str> = lines.collect();
    let shared = rest.iter().filter(|line| !line.trim().is_empty()).map(|line| indentation(line)).min().unwrap_or(0);
    let rest = rest.iter().map(|line| line.get(shared..).unwrap_or_default().to_owned());
    let lines: Vec<String> = std::iter::once(first).chain(rest).collect();
    let start = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(start, |last| last + 1);
    lines.get(start..end).unwrap_or_default().join("\n")
}

fn expand_tabs(text: &str) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut column = 0;
    for sign in text.chars() {
        match sign {
            '\t' => {
                let width = 8 - column % 8;
                expanded.extend(std::iter::repeat_n(' ', width));
                column += width;
            }
            _ => {
                column = if sign == '\n' { 0 } else { column + 1 };
                expanded.push(sign);
            }
        }
    }
    expanded
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The first line and the rest, as two paragraphs.
fn describe(text: &str) -> String {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    match (first, rest.trim()) {
        (first, "") => first.to_owned(),
        ("", rest) => rest.to_owned(),
        (first, rest) => format!("{first}\n\n{rest}"),
    }
}

/// The first line unchanged, the others without their common indentation.
fn dedented(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, rest)) => format!("{first}\n{}", clean(rest)),
        None => text.to_owned(),
    }
}

/// Splits a text before each line that begins with `sign`.
fn parts(text: &str, sign: char) -> (&str, Vec<&str>) {
    let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(index, _)| index + 1));
    let starts: Vec<usize> = line_starts.filter(|start| text[*start..].starts_with(sign)).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let before = text.get(..starts.first().copied().unwrap_or(text.len())).unwrap_or_default();
    (before, starts.iter().zip(ends).map(|(start, end)| text.get(*start..end).unwrap_or_default()).collect())
}

/// The style `:param int name: description`; `None` if the text is not in it.
fn rest(text: &str) -> Option<ParsedStyle> {
    const ARGUMENTS: &[&str] = &["param", "parameter", "arg", "argument", "attribute", "key", "keyword"];
    let (before, fields) = parts(text, ':');
    let mut found = ParsedStyle { description: describe(before), ..ParsedStyle::default() };
    let (mut has_returns, mut result_types) = (false, HashSet::new());
    for field in fields {
        let (words, description) = field.trim_start_matches(':').split_once(':')?;
        let words: Vec<&str> = words.split_whitespace().collect();
        let description = dedented(description.trim());
        match words.as_slice() {
            [] => return None,
            ["type", _] => continue,
            ["rtype", name @ ..] if name.len() < 2 => {
                result_types.insert(name.first().copied());
                continue;
            }
            [key, name] | [key, _, name] if ARGUMENTS.contains(key) => {
                found.arguments.push(((*name).to_owned(), description));
            }
            [key, ..] if ARGUMENTS.contains(key) => return None,
            ["return" | "returns" | "yield" | "yields", more @ ..] => {
                if more.len() > 1 {
                    return None;
                }
                has_returns = true;
            }
            ["raises" | "raise" | "except" | "exception", more @ ..] if more.len() > 1 => return None,
            _ => {}
        }
        found.count += 1;
    }
    if !has_returns {
        found.count += result_types.len();
    }
    Some(found)
}

/// Google's style: sections with an entry for each argument, or with one text.
fn google(text: &str) -> Option<ParsedStyle> {
    static TITLES: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let titles =
            "Arguments|Args|Parameters|Params|Raises|Exceptions|Except|Attributes|Example|Examples|Returns|Yields";
        Regex::new(&format!("(?m)^({titles}):[ \t\r\u{c}\u{b}]*$")).ok()
    });
    static TYPED: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\s*(.+?)\s*\(\s*.*[^\s]+\s*\)").ok());
    let titles: Vec<_> =
        TITLES.as_ref()?.captures_iter(text).filter_map(|title| title.get(0).zip(title.get(1))).collect();
    let before = text.get(..titles.first().map_or(text.len(), |(line, _)| line.start())).unwrap_or_default();
    let mut found = ParsedStyle { description: describe(before), ..ParsedStyle::default() };
    // Of a repeated section, the last occurrence provides the text, the first the position.
    let mut sections: Vec<(&str, &str)> = Vec::new();
    for (index, (line, title)) in titles.iter().enumerate() {
        let end = titles.get(index + 1).map_or(text.len(), |(next, _)| next.start());
        let section = text.get(line.end()..end).unwrap_or_default();
        let section = indented(section).trim_matches('\n');
        match sections.iter_mut().find(|(present, _)| *present == title.as_str()) {
            Some((_, present)) => *present = section,
            None => sections.push((title.as_str(), section)),
        }
    }
    for (title, section) in sections {
        if ["Example", "Examples", "Returns", "Yields"].contains(&title) {
            found.count += 1;
            continue;
        }
        let is_of_arguments = !["Raises", "Exceptions", "Except"].contains(&title);
        for entry in entries(section)? {
            let (name, description) = entry.split_once(':')?;
            found.count += 1;
            if is_of_arguments {
                let name =
                    TYPED.as_ref()?.captures(name).and_then(|typed| typed.get(1)).map_or(name, |name| name.as_str());
                let description = description.strip_prefix(' ').unwrap_or(description);
                found.arguments.push((name.to_owned(), dedented(description).trim_matches('\n').to_owned()));
            }
        }
    }
    Some(found)
}

/// A section up to the first line that is not indented: an unknown heading ends it.
fn indented(section: &str) -> &str {
    let follows = |index: &usize| {
        section.get(index + 1..).is_some_and(|rest| rest.starts_with(|sign: char| !sign.is_whitespace()))
    };
    let end = section.match_indices('\n').map(|(index, _)| index).find(follows);
    section.get(..end.unwrap_or(section.len())).unwrap_or_default()
}

/// The entries of a section: each begins on a line with the indentation of the first. `None` if there are none.
fn entries(section: &str) -> Option<Vec<&str>> {
    let indent = section.get(..indentation(section)).unwrap_or_default();
    let starts = std::iter::once(0).chain(section.match_indices('\n').map(|(index, _)| index + 1));
    let text = |start: &usize| section.get(*start..).and_then(|line| line.strip_prefix(indent));
    let begins = |start: &usize| text(start).is_some_and(|line| line.starts_with(|sign: char| !sign.is_whitespace()));
    let starts: Vec<usize> = starts.filter(begins).collect();
    let ends = starts.iter().skip(1).copied().chain([section.len()]);
    let entry =
        |(start, end): (&usize, usize)| section.get(start + indent.len()..end).unwrap_or_default().trim_matches('\n');
    Some(starts.iter().zip(ends).map(entry).collect::<Vec<_>>()).filter(|entries| !entries.is_empty())
}

/// `NumPy`'s style: a title underlined with dashes; names, with their descriptions indented below.
#[expect(clippy::unnecessary_wraps, reason = "it is one of several readers, of which others can fail")]
fn numpy(text: &str) -> Option<ParsedStyle> {
    const ARGUMENTS: &[&str] = &[
        "Parameters",
        "Params",
        "Arguments",
        "Args",
        "Other Parameters",
        "Other Params",
        "Other Arguments",
        "Other Args",
        "Receives",
        "Receive",
        "Attributes",
        "Attribute",
    ];
    const ENTRIES: &[&str] = &["Raises", "Raise", "Warns", "Warn", "Returns", "Return", "Yields", "Yield"];
    const TEXTS: &[&str] = &[
        "Examples",
        "Example",
        "Warnings",
        "Warning",
        "See Also",
        "Related",
        "Notes",
        "Note",
        "References",
        "Reference",
    ];
    let lines: Vec<&str> = text.split('\n').collect();
    let is_deprecation = |line: &str| {
        let named = line.strip_prefix("..").and_then(|line| line.trim_start().strip_prefix("deprecated"));
        named.is_some_and(|rest| rest.trim_start().starts_with("::"))
    };
    let is_title = |index: usize| {
        if lines.get(index).is_some_and(|line| is_deprecation(line)) {
            return true;
        }
        let title = lines.get(index).map(|line| line.trim_end()).unwrap_or_default();
        let known = [ARGUMENTS, ENTRIES, TEXTS].iter().any(|titles| titles.contains(&title));
        let underline = lines.get(index + 1).map(|line| line.trim_end()).unwrap_or_default();
        known && underline.len() == title.len() && underline.bytes().all(|byte| byte == b'-')
    };
    let titles: Vec<usize> = (0..lines.len()).filter(|index| is_title(*index)).collect();
    let before = lines.get(..titles.first().copied().unwrap_or(lines.len())).unwrap_or_default().join("\n");
    let mut found = ParsedStyle { description: describe(&before), ..ParsedStyle::default() };
    for (number, start) in titles.iter().enumerate() {
        let end = titles.get(number + 1).copied().unwrap_or(lines.len());
        let title = lines.get(*start).map(|line| line.trim_end()).unwrap_or_default();
        let section = lines.get(start + 2..end).unwrap_or_default();
        if TEXTS.contains(&title) || is_deprecation(title) {
            found.count += 1;
            continue;
        }
        let is_key = |line: &&str| line.starts_with(|sign: char| !sign.is_whitespace());
        let keys: Vec<usize> = (0..section.len()).filter(|index| section.get(*index).is_some_and(is_key)).collect();
        found.count += keys.len();
        for (number, key) in keys.iter().enumerate().filter(|_| ARGUMENTS.contains(&title)) {
            let end = keys.get(number + 1).copied().unwrap_or(section.len());
            let description = section.get(key + 1..end).unwrap_or_default().join("\n");
            let name = section.get(*key).and_then(|line| line.split(':').next()).unwrap_or_default().trim_end();
            found.arguments.push((name.to_owned(), clean(&format!("\n{description}")).trim().to_owned()));
        }
    }
    Some(found)
}

/// The style `@param name: description`; `None` if the text is not in it.
fn epytext(text: &str) -> Option<ParsedStyle> {
    let (before, fields) = parts(text, '@');
    let mut found = ParsedStyle { description: describe(before), ..ParsedStyle::default() };
    let mut places = HashMap::new();
    for field in fields {
        let (words, description) = field.trim_start_matches('@').split_once(':')?;
        let words: Vec<&str> = words.split_whitespace().collect();
        let description = dedented(description.trim());
        match words.as_slice() {
            ["param" | "keyword", name] => {
                let name = name.trim_end_matches('?');
                let place = *places.entry(name).or_insert(found.arguments.len());
                match found.arguments.get_mut(place) {
                    Some((_, present)) => *present = description,
                    None => {
                        found.count += 1;
                        found.arguments.push((name.to_owned(), description));
                    }
                }
            }
            ["type", _] | ["rtype" | "ytype"] => {}
            [] | ["param" | "keyword" | "type" | "rtype" | "ytype", ..] => return None,
            _ => found.count += 1,
        }
    }
    Some(found)
}

/// The section with examples, which is part of the description.
fn examples(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.trim().lines().collect();
    let start = lines.iter().position(|line| line.trim().starts_with("Examples:"))?;
    let ends = |line: &&str| !line.starts_with(' ') && !line.trim().is_empty() && line.trim().ends_with(':');
    let rest = lines.get(start + 1..).unwrap_or_default();
    let end = rest.iter().position(ends).map_or(lines.len(), |end| start + 1 + end);
    Some(lines.get(start..end)?.join("\n").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_is_read() {
        let google = "Does it.\n\n    At length,\n    in two lines.\n\n    Args:\n        a (int): the first: one\n        \
                      b:\n            the second\n            one\n\n    Note:\n        c: not an argument\n\n    \
                      Returns:\n        c: nor this\n    ";
        let numpy = "Does it.\n\n    At length,\n    in two lines.\n\n    Parameters\n    ----------\n    a : int, optional\n        \
                     the first: one\n    b\n        the second\n        one\n\n    Returns\n    -------\n    c\n        nor this\n";
        let rest = "Does it.\n\n    At length,\n    in two lines.\n\n    :param int a: the first: one\n    :param b:\n        \
                    the second\n        one\n    :type b: str\n    :returns: c\n    :unknown: c\n    ";
        for text in [google, numpy, rest, &rest.replace(":param int", "@param").replace("    :", "    @")] {
            let read = Docstring::of(text);
            assert_eq!(read.description, "Does it.\n\nAt length,\nin two lines.", "{text}");
            let expected = ["the first: one", "the second\none", ""];
            assert_eq!(["a", "b", "c"].map(|name| read.argument(name).trim()), expected, "{text}");
        }
    }

    #[test]
    fn examples_are_part_of_the_description() {
        let read = Docstring::of("Does it.\n\n    Args:\n        a: b\n\n    Examples:\n        f(1)\n");
        assert_eq!((read.description.as_str(), read.argument("a")), ("Does it.\n\nExamples:\n        f(1)", "b"));
    }

    #[test]
    fn odd_docstrings_do_no_harm() {
        for (text, description, x) in [
            ("", "No description available", ""),
            ("\n\n   Late.\n", "Late.", ""),
            ("Args:\n    x: y", "Args:\n\nx: y", ""),
            ("Args:\n    x: y\n", "Args:\n\nx: y", ""),
            ("\nArgs:\n    x: y\n.", "No description available", "y"),
            ("A\n\n.. deprecated:: 1.2\n    B\n", "A", ""),
            ("A\n  ä\n\u{a0}b\nArgs:\n x", "A\n\nä\n\u{a0}b\nArgs:\n x", ""),
            ("A\n\nArgs:\n    no colon\n    x: y", "A\n\nArgs:\n    no colon\n    x: y", ""),
            ("A\n\nArgs:\n", "A\n\nArgs:", ""),
            (":", ":", ""),
            ("A\n::\n@\n@:\n:x", "A\n\n::\n@\n@:\n:x", ""),
            ("A\n\nArgs:\n\tx: y\n\t  z", "A", "y\nz"),
        ] {
            let read = Docstring::of(text);
            assert_eq!((read.description.as_str(), read.argument("x")), (description, x), "{text:?}");
        }
    }
}
