//! The text of a seed, and the lines of what it holds.
//!
//! A place in a seed is named by its JSON pointer (RFC 6901), whatever the seed is written in. The line of a place is looked
//! up only for a mistake, in a second pass over the text.

use std::{collections::HashMap, ops::Range};

use serde_json::{Map, Number, Value, value::RawValue};
use toml_edit::{ImDocument, Item, TableLike};

use super::mistake::Mistake;

/// A seed, or one of its files.
#[derive(Debug)]
pub(super) struct Source {
    /// The file's name; `None` for the body of a request.
    name: Option<String>,
    text: Text,
}

#[derive(Debug)]
enum Text {
    Toml(String),
    Json(String),
    /// A value at this place of a request's body.
    Value(Value, String),
    /// A file that is applied as a whole.
    Whole,
}

impl Source {
    pub(super) fn toml(name: Option<String>, text: &str) -> Self {
        Self { name, text: Text::Toml(text.to_owned()) }
    }

    pub(super) fn json(name: Option<String>, text: &str) -> Self {
        Self { name, text: Text::Json(text.to_owned()) }
    }

    pub(super) fn value(value: Value, pointer: &str) -> Self {
        Self { name: None, text: Text::Value(value, pointer.to_owned()) }
    }

    pub(super) fn whole(name: String) -> Self {
        Self { name: Some(name), text: Text::Whole }
    }

    /// What it holds.
    pub(super) fn parse(&self) -> Result<Value, Mistake> {
        match &self.text {
            Text::Toml(text) => {
                let document = ImDocument::parse(text.as_str()).map_err(|error| {
                    let line = line_of(text, error.span().map_or(0, |span| span.start));
                    self.mistake_at(Some(line), "", &error.message().trim().replace('\n', "; "))
                })?;
                from_item(document.as_item())
                    .map_err(|(pointer, problem)| self.mistake(&pointer, &format!("{}: {problem}", dotted(&pointer))))
            }
            Text::Json(text) => serde_json::from_str(text).map_err(|error| {
                let problem = error.to_string();
                let problem = problem.rsplit_once(" at line ").map_or(problem.as_str(), |(problem, _)| problem);
                self.mistake_at(Some(error.line()), "", &format!("it is not JSON: {problem}"))
            }),
            Text::Value(value, _) => Ok(value.clone()),
            Text::Whole => Ok(Value::Null),
        }
    }

    /// A mistake at a place.
    pub(super) fn mistake(&self, pointer: &str, problem: &str) -> Mistake {
        self.mistake_at(self.line(pointer), pointer, problem)
    }

    fn mistake_at(&self, line: Option<usize>, pointer: &str, problem: &str) -> Mistake {
        let base = if let Text::Value(_, base) = &self.text { base.as_str() } else { "" };
        let at = line.map_or_else(|| format!("{base}{pointer}"), |line| format!("line {line}"));
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
            (None, None) => pointer.to_owned(),
        }
    }

    /// The line of a place, or of the innermost place around it that is written; `None` where places have pointers only.
    fn line(&self, pointer: &str) -> Option<usize> {
        let segments = pointer.split('/').skip(1).map(unescaped);
        match &self.text {
            Text::Toml(text) => {
                let document = ImDocument::parse(text.as_str()).ok()?;
                Some(line_of(text, toml_offset(document.as_item(), segments)))
            }
            // A request's JSON is a program's: its pointer says more than its line, which is often the only one.
            Text::Json(text) if self.name.is_some() => Some(line_of(text, json_offset(text, segments)?)),
            Text::Json(_) | Text::Value(..) | Text::Whole => None,
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// A segment of a JSON pointer.
pub(super) fn escaped(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

fn unescaped(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// A JSON pointer as people write a place: `memory_blocks.0.label`.
pub(super) fn dotted(pointer: &str) -> String {
    pointer.split('/').skip(1).map(unescaped).collect::<Vec<_>>().join(".")
}

/// A value in TOML.
#[derive(Clone, Copy)]
enum Node<'a> {
    Item(&'a Item),
    Value(&'a toml_edit::Value),
    Table(&'a toml_edit::Table),
}

impl<'a> Node<'a> {
    fn table(self) -> Option<&'a dyn TableLike> {
        match self {
            Self::Item(item) => item.as_table_like(),
            Self::Value(value) => value.as_inline_table().map(|table| table as &dyn TableLike),
            Self::Table(table) => Some(table),
        }
    }

    fn value(self) -> Option<&'a toml_edit::Value> {
        match self {
            Self::Item(item) => item.as_value(),
            Self::Value(value) => Some(value),
            Self::Table(_) => None,
        }
    }

    fn items(self) -> Option<Vec<Node<'a>>> {
        match self {
            Self::Item(Item::ArrayOfTables(tables)) => Some(tables.iter().map(Node::Table).collect()),
            _ => Some(self.value()?.as_array()?.iter().map(Node::Value).collect()),
        }
    }

    fn span(self) -> Option<Range<usize>> {
        match self {
            Self::Item(item) => item.span(),
            Self::Value(value) => value.span(),
            Self::Table(table) => table.span(),
        }
    }
}

fn toml_offset(root: &Item, segments: impl Iterator<Item = String>) -> usize {
    let (mut node, mut offset) = (Node::Item(root), 0);
    for segment in segments {
        let (inner, span) = if let Some(table) = node.table() {
            let Some((key, item)) = table.get_key_value(&segment) else { break };
            (Node::Item(item), key.span().or_else(|| item.span()))
        } else {
            let items = node.items().unwrap_or_default();
            let Some(inner) = segment.parse().ok().and_then(|index: usize| items.get(index).copied()) else { break };
            (inner, inner.span())
        };
        node = inner;
        offset = span.map_or(offset, |span| span.start);
    }
    offset
}

/// The offset of a value in standard JSON.
fn json_offset(text: &str, segments: impl Iterator<Item = String>) -> Option<usize> {
    let mut raw: &RawValue = serde_json::from_str(text).ok()?;
    for segment in segments {
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

/// The JSON of a TOML document. Dates and times become texts.
fn from_item(item: &Item) -> Result<Value, (String, &'static str)> {
    from_node(Node::Item(item))
}

fn from_node(node: Node<'_>) -> Result<Value, (String, &'static str)> {
    let within = |segment: String| {
        move |(inner, problem): (String, &'static str)| (format!("/{}{inner}", escaped(&segment)), problem)
    };
    if let Some(table) = node.table() {
        let members = table
            .iter()
            .map(|(name, item)| Ok((name.to_owned(), from_node(Node::Item(item)).map_err(within(name.to_owned()))?)));
        return members.collect::<Result<Map<_, _>, _>>().map(Value::Object);
    }
    if let Some(items) = node.items() {
        let items = items.into_iter().enumerate();
        return items.map(|(index, item)| from_node(item).map_err(within(index.to_string()))).collect();
    }
    Ok(match node.value() {
        Some(toml_edit::Value::String(text)) => text.value().as_str().into(),
        Some(toml_edit::Value::Integer(number)) => (*number.value()).into(),
        Some(toml_edit::Value::Float(number)) => {
            let number = Number::from_f64(*number.value());
            number.ok_or_else(|| (String::new(), "a number must be finite"))?.into()
        }
        Some(toml_edit::Value::Boolean(flag)) => (*flag.value()).into(),
        Some(toml_edit::Value::Datetime(time)) => time.value().to_string().into(),
        Some(toml_edit::Value::Array(_) | toml_edit::Value::InlineTable(_)) | None => Value::Null,
    })
}
