//! TOML as JSON, and the lines of its values.
//!
//! Bodies and seeds may be written in either. A place is named by its JSON pointer (RFC 6901), whatever it is written in.

use std::ops::Range;

use serde_json::{Map, Number, Value};
use toml_edit::{ImDocument, Item, TableLike};

/// Why a text is not TOML that JSON can express.
#[derive(Debug)]
pub(crate) struct TomlError {
    /// Its line, from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) problem: String,
}

/// The JSON of a TOML document. Dates and times become texts.
///
/// # Errors
/// When it is not TOML, or has a number that is not finite.
pub(crate) fn parse(text: &str) -> Result<Value, TomlError> {
    let document = ImDocument::parse(text).map_err(|error| TomlError {
        line: line_at(text, error.span().map_or(0, |span| span.start)),
        problem: error.message().trim().replace('\n', "; "),
    })?;
    to_json(Node::Item(document.as_item()))
        .map_err(|offset| TomlError { line: line_at(text, offset), problem: "a number must be finite".to_owned() })
}

/// The line of a place in a TOML document, or of the innermost place around it that is written.
pub(crate) fn line_of(text: &str, pointer: &str) -> Option<usize> {
    let document = ImDocument::parse(text).ok()?;
    let (mut node, mut offset) = (Node::Item(document.as_item()), 0);
    for segment in segments(pointer) {
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
    Some(line_at(text, offset))
}

/// The line, from 1, of an offset in a text.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// The segments of a JSON pointer.
pub(crate) fn segments(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~"))
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

/// The JSON of a value. The error is the offset of a number that is not finite.
fn to_json(node: Node<'_>) -> Result<Value, usize> {
    if let Some(table) = node.table() {
        let members = table.iter().map(|(name, item)| Ok((name.to_owned(), to_json(Node::Item(item))?)));
        return members.collect::<Result<Map<_, _>, _>>().map(Value::Object);
    }
    if let Some(items) = node.items() {
        return items.into_iter().map(to_json).collect();
    }
    Ok(match node.value() {
        Some(toml_edit::Value::String(text)) => text.value().as_str().into(),
        Some(toml_edit::Value::Integer(number)) => (*number.value()).into(),
        Some(toml_edit::Value::Float(number)) => {
            let finite = Number::from_f64(*number.value());
            finite.ok_or_else(|| number.span().map_or(0, |span| span.start))?.into()
        }
        Some(toml_edit::Value::Boolean(flag)) => (*flag.value()).into(),
        Some(toml_edit::Value::Datetime(time)) => time.value().to_string().into(),
        Some(toml_edit::Value::Array(_) | toml_edit::Value::InlineTable(_)) | None => Value::Null,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = r#"day = 2026-01-05
a.b = [1,
  { c = "x", d = [
    0.5 ] },
]
[t]
"k/~" = """
one
two"""
[[t.list]]
x = 2026-01-05T09:00:00Z
[[t.list]]
y.z = true
"#;

    #[test]
    fn a_document_is_the_json_of_the_same_shape() {
        let expected = json!({
            "day": "2026-01-05",
            "a": {"b": [1, {"c": "x", "d": [0.5]}]},
            "t": {"k/~": "one\ntwo", "list": [{"x": "2026-01-05T09:00:00Z"}, {"y": {"z": true}}]},
        });
        assert_eq!(parse(TEXT).unwrap(), expected);
    }

    #[test]
    fn a_place_has_the_line_of_what_is_written() {
        for (pointer, line) in [
            ("", 1),
            ("/day", 1),
            ("/a/b", 2),
            ("/a/b/0", 2),
            ("/a/b/1", 3),
            ("/a/b/1/d/0", 4),
            ("/a/b/2", 2),
            ("/t", 6),
            ("/t/none/x", 6),
            ("/t/k~1~0", 7),
            ("/t/list/0", 10),
            ("/t/list/1", 12),
            ("/t/list/1/y/z", 13),
            ("/t/list/1/q", 12),
        ] {
            assert_eq!(line_of(TEXT, pointer), Some(line), "{pointer}");
        }
    }

    #[test]
    fn what_is_too_deep_is_refused() {
        for text in [format!("a = {}", "[".repeat(100_000)), format!("{}a = 1", "a.".repeat(100_000))] {
            assert!(parse(&text).is_err());
        }
    }

    #[test]
    fn a_mistake_has_its_line() {
        for (text, line) in [("a = 1\n= 2", 2), ("a = 1\n\na = 2", 3), ("a = [1,\n inf]", 2), ("a = nan", 1)] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
