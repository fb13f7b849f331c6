//! The text of a seed, and the lines of what it holds.
//!
//! A place in a seed is named by its JSON pointer (RFC 6901), whatever the seed is written in. The line of a place is looked
//! up only for a mistake, in a second pass over the text.

use std::collections::HashMap;

use serde_json::{Value, value::RawValue};

use super::mistake::Mistake;
use crate::request::toml::{self, TomlError, line_at, segments};

/// A seed, or one of its files.
#[derive(Debug)]
pub(super) struct Source {
    /// The file's name; `None` for the body of a request.
    name: Option<String>,
    /// Where the seed is in the text, as a JSON pointer; empty if it is all of the text.
    base: String,
    text: Text,
}

#[derive(Debug)]
enum Text {
    Toml(String),
    Json(String),
    /// A file that is applied as a whole.
    Whole,
}

impl Source {
    /// A file in TOML.
    pub(super) fn toml_file(name: String, text: String) -> Self {
        Self { name: Some(name), base: String::new(), text: Text::Toml(text) }
    }

    /// A file in JSON.
    pub(super) fn json_file(name: String, text: String) -> Self {
        Self { name: Some(name), base: String::new(), text: Text::Json(text) }
    }

    /// A file that is applied as a whole.
    pub(super) fn whole_file(name: String) -> Self {
        Self { name: Some(name), base: String::new(), text: Text::Whole }
    }

    /// A part of a request's body in TOML.
    pub(super) fn toml_body(text: &str, base: &str) -> Self {
        Self { name: None, base: base.to_owned(), text: Text::Toml(text.to_owned()) }
    }

    /// A part of a request's body in JSON.
    pub(super) fn json_body(text: &str, base: &str) -> Self {
        Self { name: None, base: base.to_owned(), text: Text::Json(text.to_owned()) }
    }

    /// What it holds.
    pub(super) fn parse(&self) -> Result<Value, Mistake> {
        let mut value = match &self.text {
            Text::Toml(text) => {
                toml::parse(text).map_err(|TomlError { line, problem }| self.mistake_at(Some(line), "", &problem))?
            }
            Text::Json(text) => serde_json::from_str(text).map_err(|error| {
                let problem = error.to_string();
                let problem = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
                self.mistake_at(Some(error.line()), "", &format!("it is not JSON: {problem}"))
            })?,
            Text::Whole => Value::Null,
        };
        Ok(value.pointer_mut(&self.base).map(Value::take).unwrap_or_default())
    }

    /// A mistake at a place.
    pub(super) fn mistake(&self, pointer: &str, problem: &str) -> Mistake {
        self.mistake_at(self.line(pointer), pointer, problem)
    }

    fn mistake_at(&self, line: Option<usize>, pointer: &str, problem: &str) -> Mistake {
        let at = line.map_or_else(|| format!("{}{pointer}", self.base), |line| format!("line {line}"));
        let place = match (&self.name, line) {
            (Some(name), Some(line)) => format!("{name} line {line}: "),
            (Some(name), None) => format!("{name}: "),
            (None, Some(line)) => format!("line {line}: "),
            (None, None) => String::new(),
        };
        Mistake { sentence: format!("{place}{problem}"), at }
    }

    /// Where a place is, for a reader: the file and its line, as far as they are known.
    pub(super) fn place(&self, pointer: &str) -> String {
        match (&self.name, self.line(pointer)) {
            (Some(name), Some(line)) => format!("{name} line {line}"),
            (Some(name), None) => name.clone(),
            (None, Some(line)) => format!("line {line}"),
            (None, None) => format!("{}{pointer}", self.base),
        }
    }

    /// The line of a place, or of the innermost place around it that is written; `None` where places have pointers only.
    fn line(&self, pointer: &str) -> Option<usize> {
        let pointer = format!("{}{pointer}", self.base);
        match &self.text {
            Text::Toml(text) => toml::line_of(text, &pointer),
            // A request's JSON is a program's: its pointer says more than its line, which is often the only one.
            Text::Json(text) if self.name.is_some() => Some(line_at(text, json_offset(text, &pointer)?)),
            Text::Json(_) | Text::Whole => None,
        }
    }
}

/// A segment of a JSON pointer.
pub(super) fn escaped(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

/// A JSON pointer as people write a place: `memory_blocks.0.label`.
pub(super) fn dotted(pointer: &str) -> String {
    segments(pointer).collect::<Vec<_>>().join(".")
}

/// The offset of a value in standard JSON.
fn json_offset(text: &str, pointer: &str) -> Option<usize> {
    let mut raw: &RawValue = serde_json::from_str(text).ok()?;
    for segment in segments(pointer) {
        let inner = if raw.get().starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
            segment.parse().ok().and_then(|index: usize| items.get(index).copied())
        } else {
            let members: HashMap<String, &RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
            members.get(&segment).copied()
        };
        let Some(inner) = inner else { break };
        raw = inner;
    }
    Some(raw.get().as_ptr().addr() - text.as_ptr().addr())
}
