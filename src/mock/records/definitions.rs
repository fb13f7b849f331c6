//! Definitions of JSON schemas: `{"$ref": "#/$defs/NAME"}`, and what stands there.

use serde_json::{Map, Value};

use crate::mock::budget::value_weight;

/// How much may stand in place of references, in bytes, and how deep: a definition may name itself.
const MOST_BYTES: usize = 1024 * 1024;
const DEEPEST: usize = 16;

/// A part of a schema with what its references name in their place. What is not defined, or would go on for ever, stays a
/// reference.
pub(super) fn resolved(part: &Value, schema: &Map<String, Value>) -> Value {
    let mut left = MOST_BYTES;
    within(part, schema, 0, &mut left)
}

fn within(part: &Value, schema: &Map<String, Value>, depth: usize, left: &mut usize) -> Value {
    if depth > DEEPEST {
        return part.clone();
    }
    match part {
        Value::Object(object) => {
            if let Some(definition) = object.get("$ref").and_then(|path| named(path, schema)) {
                // What stands there is looked at again for each reference, so it is all paid for beforehand.
                let Some(rest) = left.checked_sub(value_weight(definition)) else { return part.clone() };
                *left = rest;
                return within(definition, schema, depth + 1, left);
            }
            let members = object.iter();
            Value::Object(members.map(|(name, value)| (name.clone(), within(value, schema, depth + 1, left))).collect())
        }
        Value::Array(items) => items.iter().map(|item| within(item, schema, depth + 1, left)).collect(),
        other => other.clone(),
    }
}

fn named<'s>(path: &Value, schema: &'s Map<String, Value>) -> Option<&'s Value> {
    let (section, name) = path.as_str()?.strip_prefix("#/")?.split_once('/')?;
    schema.get(section).filter(|_| matches!(section, "$defs" | "definitions"))?.get(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_replaced_by_what_they_name() {
        let schema = json!({"$defs": {"Item": {"type": "object", "properties": {"sku": {"type": "string"}}},
            "Entry": {"items": [{"$ref": "#/$defs/Item"}]}, "Self": {"again": {"$ref": "#/$defs/Self"}}}});
        let schema = schema.as_object().unwrap();
        let part = json!({"a": {"$ref": "#/$defs/Entry"}, "b": {"$ref": "#/$defs/None"}, "c": {"$ref": 5}});
        let expected = json!({"a": {"items": [{"type": "object", "properties": {"sku": {"type": "string"}}}]},
            "b": {"$ref": "#/$defs/None"}, "c": {"$ref": 5}});
        assert_eq!(resolved(&part, schema), expected);
        assert!(resolved(&json!({"$ref": "#/$defs/Self"}), schema).to_string().contains("$ref"));
    }

    #[test]
    fn what_is_named_often_is_not_repeated_without_end() {
        let many = |name: &str| vec![json!({"$ref": format!("#/$defs/{name}")}); 1_000];
        let schema = json!({"$defs": {"Large": {"description": "x".repeat(30_000)}, "Many": {"anyOf": many("Large")},
            "More": {"anyOf": many("Many")}}});
        for name in ["Large", "Many", "More"] {
            let whole = resolved(&json!(many(name)), schema.as_object().unwrap());
            assert!(value_weight(&whole) < 2 * MOST_BYTES, "{name}: {}", value_weight(&whole));
        }
    }
}
