//! Docstrings in Google's style: what a function does, and what its arguments mean.

/// A docstring, read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Docstring {
    /// Everything before the first section; a paragraph after the first line.
    pub(super) description: String,
    arguments: Vec<(String, String)>,
}

const ARGUMENTS: &[&str] = &["Args:", "Arguments:", "Parameters:", "Params:"];
const OTHERS: &[&str] =
    &["Returns:", "Return:", "Yields:", "Raises:", "Exceptions:", "Except:", "Attributes:", "Example:", "Examples:"];

impl Docstring {
    /// Reads a docstring.
    pub(super) fn of(text: &str) -> Self {
        let lines = clean(text);
        let is_heading = |line: &&str| ARGUMENTS.contains(&line.trim_end()) || OTHERS.contains(&line.trim_end());
        let sections = lines.iter().position(|line| is_heading(&line.as_str())).unwrap_or(lines.len());
        let (before, after) = lines.split_at(sections);
        let (first, rest) = before
            .split_first()
            .map_or(("", String::new()), |(first, rest)| (first.as_str(), rest.join("\n").trim().to_owned()));
        let description = if rest.is_empty() { first.to_owned() } else { format!("{first}\n\n{rest}") };
        let mut arguments = Vec::new();
        let mut in_arguments = false;
        let mut section: Vec<&str> = Vec::new();
        for line in after {
            if is_heading(&line.as_str()) {
                in_arguments = ARGUMENTS.contains(&line.trim_end());
            } else if in_arguments {
                section.push(line);
            }
        }
        read_arguments(&section, &mut arguments);
        Self { description, arguments }
    }

    /// What an argument means; empty when it does not say.
    pub(super) fn argument(&self, name: &str) -> &str {
        self.arguments.iter().find(|(present, _)| present == name).map_or("", |(_, description)| description)
    }
}

/// The lines of a docstring without the indentation that they share, as Python's `inspect.cleandoc` has it.
fn clean(text: &str) -> Vec<String> {
    let mut lines = text.trim_end().lines();
    let first = lines.next().unwrap_or_default().trim_start().to_owned();
    let rest: Vec<String> = lines.map(|line| line.replace('\t', "        ")).collect();
    let shared = rest.iter().filter(|line| !line.trim().is_empty()).map(|line| indentation(line)).min().unwrap_or(0);
    let rest = rest.iter().map(|line| line.get(shared..).unwrap_or_default().trim_end().to_owned());
    std::iter::once(first).chain(rest).skip_while(String::is_empty).collect()
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Reads `name (type): description` and its indented continuations.
fn read_arguments(lines: &[&str], arguments: &mut Vec<(String, String)>) {
    let outer = lines.iter().filter(|line| !line.is_empty()).map(|line| indentation(line)).min().unwrap_or(0);
    for line in lines.iter().filter(|line| !line.is_empty()) {
        if indentation(line) > outer {
            if let Some((_, description)) = arguments.last_mut() {
                if !description.is_empty() {
                    description.push('\n');
                }
                description.push_str(line.trim());
            }
        } else if let Some((name, description)) = line.split_once(':') {
            let name = name.split('(').next().unwrap_or_default().trim().trim_start_matches('*');
            arguments.push((name.to_owned(), description.trim().to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docstrings_are_read_section_by_section() {
        let text = "Does it.\n\n    At length,\n    in two lines.\n\n    Args:\n        a (int): the first: one\n        \
                    b:\n            the second\n            one\n    Returns:\n        c: not an argument\n    ";
        let read = Docstring::of(text);
        assert_eq!(read.description, "Does it.\n\nAt length,\nin two lines.");
        assert_eq!(["a", "b", "c"].map(|name| read.argument(name)), ["the first: one", "the second\none", ""]);
    }

    #[test]
    fn odd_docstrings_do_no_harm() {
        assert_eq!(Docstring::of(""), Docstring::default());
        assert_eq!(Docstring::of("\n\n   Late.\n").description, "Late.");
        assert_eq!(Docstring::of("Args:\n    x: y").argument("x"), "y");
        assert_eq!(Docstring::of("A\n  ä\n\u{a0}b\nArgs:\n x").description, "A\n\nä\n\u{a0}b");
    }
}
