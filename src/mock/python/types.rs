//! Type annotations as JSON schemas.

use serde_json::{Map, Value, json};

use super::DEPTH;

/// An annotation, read.
#[derive(Clone, Debug)]
pub(super) struct Annotation {
    pub(super) schema: Map<String, Value>,
    /// Whether `None` will do.
    pub(super) is_optional: bool,
}

impl Annotation {
    /// Reads an annotation. What is not understood is an object.
    ///
    /// What its schema takes is subtracted from `left`, in bytes. When nothing is left, the schema is not whole.
    pub(super) fn read(text: &str, left: &mut usize) -> Self {
        let text = text.trim().trim_matches(['"', '\'']);
        let (schema, is_optional) = union(text, 0, left);
        let schema = if let Value::Object(schema) = schema { schema } else { Map::new() };
        Self { schema, is_optional }
    }
}

/// Alternatives between `|`; the second value tells whether `None` is one of them.
fn union(text: &str, depth: usize, left: &mut usize) -> (Value, bool) {
    alternatives(&split(text, '|'), depth, left)
}

fn alternatives(parts: &[&str], depth: usize, left: &mut usize) -> (Value, bool) {
    let mut is_optional = false;
    let mut schemas = Vec::new();
    for part in parts.iter().map(|part| part.trim()) {
        if part == "None" {
            is_optional = true;
            continue;
        }
        let (schema, optional) = single(part, depth, left);
        is_optional |= optional;
        schemas.push(schema);
    }
    match (schemas.pop(), schemas.is_empty()) {
        (None, _) => (json!({"type": "null"}), is_optional),
        (Some(only), true) => (only, is_optional),
        (Some(last), false) => {
            schemas.push(last);
            (json!({"anyOf": schemas}), is_optional)
        }
    }
}

fn single(text: &str, depth: usize, left: &mut usize) -> (Value, bool) {
    /// What a schema takes beside its texts.
    const SCHEMA: usize = 400;
    *left = left.saturating_sub(SCHEMA);
    if depth > DEPTH || *left == 0 {
        return (json!({"type": "object"}), false);
    }
    if split(text, '|').len() > 1 {
        return union(text, depth + 1, left);
    }
    let text = text.trim().trim_matches(['"', '\'']);
    let (name, arguments) = match text.split_once('[') {
        Some((name, arguments)) => (name, Some(arguments.trim_end().strip_suffix(']').unwrap_or(arguments))),
        None => (text, None),
    };
    let name = name.trim().rsplit('.').next().unwrap_or_default();
    let inner = arguments.map(|arguments| split(arguments, ','));
    let mut of = |part: &str| union(part, depth + 1, left).0;
    let schema = match (name, inner.as_deref()) {
        ("Optional", Some(parts)) => return (alternatives(parts, depth + 1, left).0, true),
        ("Union", Some(parts)) => return alternatives(parts, depth + 1, left),
        ("Annotated", Some([first, ..])) => return union(first, depth + 1, left),
        ("Literal", Some(words)) => literals(words, left),
        ("List" | "list" | "Sequence" | "Iterable" | "Set" | "set" | "FrozenSet", Some([item])) => {
            json!({"type": "array", "items": of(item)})
        }
        ("List" | "list" | "Sequence" | "Iterable" | "Set" | "set" | "tuple" | "Tuple", None) => {
            json!({"type": "array", "items": {"type": "string"}})
        }
        ("Tuple" | "tuple", Some(parts)) => {
            let items: Vec<Value> = parts.iter().filter(|part| part.trim() != "...").map(|part| of(part)).collect();
            match items.as_slice() {
                [only] => json!({"type": "array", "items": only}),
                _ => json!({"type": "array", "items": {"anyOf": items}}),
            }
        }
        ("Dict" | "dict" | "Mapping", Some([_, value])) => {
            json!({"type": "object", "additionalProperties": of(value)})
        }
        ("int", _) => json!({"type": "integer"}),
        ("float", _) => json!({"type": "number"}),
        ("bool", _) => json!({"type": "boolean"}),
        ("str" | "Any" | "datetime" | "date" | "UUID", _) => json!({"type": "string"}),
        _ => json!({"type": "object"}),
    };
    (schema, false)
}

fn literals(words: &[&str], left: &mut usize) -> Value {
    /// What a value takes beside its text.
    const VALUE: usize = 100;
    *left = left.saturating_sub(words.len().saturating_mul(VALUE));
    let read = |word: &&str| {
        let word = word.trim();
        match word.parse::<i64>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(word.trim_matches(['"', '\''])),
        }
    };
    let values: Vec<Value> = words.iter().map(read).collect();
    let kind = if values.iter().all(Value::is_number) { "integer" } else { "string" };
    json!({"type": kind, "enum": values})
}

/// Splits a text at a sign that is not within brackets.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut open) = (0, 0_usize);
    for (index, sign) in text.char_indices() {
        match sign {
            '[' => open += 1,
            ']' => open = open.saturating_sub(1),
            _ if sign == at && open == 0 => {
                parts.push(text.get(start..index).unwrap_or_default());
                start = index + at.len_utf8();
            }
            _ => {}
        }
    }
    let last = text.get(start..).unwrap_or_default();
    if !last.trim().is_empty() || parts.is_empty() {
        parts.push(last);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_become_schemas() {
        for (annotation, schema, is_optional) in [
            ("int", json!({"type": "integer"}), false),
            ("'float'", json!({"type": "number"}), false),
            ("Optional[bool]", json!({"type": "boolean"}), true),
            ("str | None", json!({"type": "string"}), true),
            ("Union[int, str]", json!({"anyOf": [{"type": "integer"}, {"type": "string"}]}), false),
            ("typing.List[str]", json!({"type": "array", "items": {"type": "string"}}), false),
            ("list", json!({"type": "array", "items": {"type": "string"}}), false),
            ("List[Optional[int]]", json!({"type": "array", "items": {"type": "integer"}}), false),
            (
                "Dict[str, List[int]]",
                json!({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "integer"}}}),
                false,
            ),
            ("dict", json!({"type": "object"}), false),
            ("Literal['a', \"b\"]", json!({"type": "string", "enum": ["a", "b"]}), false),
            ("Literal[1, 2]", json!({"type": "integer", "enum": [1, 2]}), false),
            ("tuple[int, ...]", json!({"type": "array", "items": {"type": "integer"}}), false),
            ("Annotated[int, 'a|b']", json!({"type": "integer"}), false),
            ("MyModel", json!({"type": "object"}), false),
            ("None", json!({"type": "null"}), true),
            ("", json!({"type": "object"}), false),
            ("]]|[[", json!({"anyOf": [{"type": "object"}, {"type": "object"}]}), false),
        ] {
            let read = Annotation::read(annotation, &mut 100_000);
            assert_eq!((Value::Object(read.schema), read.is_optional), (schema, is_optional), "{annotation}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{}int{}", "List[".repeat(100_000), "]".repeat(100_000));
        assert!(Annotation::read(&deep, &mut 100_000).schema.contains_key("items"));
    }
}
