//! Reading the `args_json_schema` of a tool as Letta does: into types, and back to a schema.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{
    DEPTH,
    models::{Member, Models, SCHEMA, Type, Unfit},
    signature::MOST_SCHEMA,
};

/// Why Letta refuses a schema of arguments.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(in crate::mock) enum Unread {
    #[error("args_json_schema has no properties")]
    NoProperties,
    #[error(
        "args_json_schema: the property '{0}' has an unsupported type; supported are string, integer, number, boolean, \
         object without types of its values, arrays of these, unions of null and one of these, and references to \
         objects in $defs"
    )]
    Property(String),
    #[error("args_json_schema: the resulting schema would be larger than {MOST_SCHEMA} bytes")]
    TooLarge,
}

/// Converts a schema of arguments to the form in which tools have it.
///
/// # Errors
/// If Letta would refuse it, or if it becomes too large.
pub(in crate::mock) fn arguments(given: &Map<String, Value>) -> Result<Map<String, Value>, Unread> {
    let fields = given.get("properties").and_then(Value::as_object).ok_or(Unread::NoProperties)?;
    let unread = |name: &str| Unread::Property(name.chars().take(100).collect());
    let mut reader = Reader { numbers: HashMap::new(), is_member: true };
    let mut models = Models::default();
    // Earlier definitions refer to later ones.
    for (name, definition) in given.get("$defs").and_then(Value::as_object).into_iter().flatten().rev() {
        let members =
            definition.as_object().and_then(|definition| reader.members(definition)).ok_or_else(|| unread(name))?;
        reader.numbers.insert(name, models.0.len());
        models.0.push(members);
    }
    reader.is_member = false;
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let mut left = MOST_SCHEMA;
    let needed = required_of(given);
    for (name, field) in fields {
        let kind = reader.read(field, 0).ok_or_else(|| unread(name))?;
        let description = field.get("description").and_then(Value::as_str).unwrap_or_default();
        left = left.checked_sub(SCHEMA + name.len() + description.len()).ok_or(Unread::TooLarge)?;
        let mut schema = models.schema(&kind, &mut left).map_err(|unfit| match unfit {
            Unfit::Unsupported => unread(name),
            Unfit::TooLarge => Unread::TooLarge,
        })?;
        schema.insert("description".into(), description.into());
        properties.insert(name.clone(), Value::Object(schema));
        if needed.contains(name.as_str()) {
            required.push(name);
        }
    }
    let schema = json!({"type": "object", "properties": properties, "required": required});
    Ok(if let Value::Object(schema) = schema { schema } else { Map::new() })
}

fn required_of(schema: &Map<String, Value>) -> HashSet<&str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

struct Reader<'a> {
    /// The definitions that have been read.
    numbers: HashMap<&'a str, usize>,
    /// Whether the type belongs to a member of a definition. There, objects may have types for their values.
    is_member: bool,
}

impl Reader<'_> {
    fn members(&self, definition: &Map<String, Value>) -> Option<Vec<Member>> {
        let needed = required_of(definition);
        let member = |(name, field): (&String, &Value)| {
            let description = field.get("description").and_then(Value::as_str).unwrap_or_default();
            let has_default = !needed.contains(name.as_str());
            let kind = self.read(field, 0)?;
            Some(Member {
                name: name.clone(),
                kind: Some(kind),
                description: Some(description.to_owned()),
                has_default,
            })
        };
        definition.get("properties")?.as_object()?.iter().map(member).collect()
    }

    fn read(&self, field: &Value, depth: usize) -> Option<Type> {
        if depth > DEPTH {
            return None;
        }
        let named = || {
            let name = field.get("$ref")?.as_str()?.rsplit('/').next()?;
            self.numbers.get(name).map(|number| Type::Model(*number))
        };
        match field.get("type").and_then(Value::as_str) {
            Some("string") => Some(Type::Plain("string")),
            Some("integer") => Some(Type::Plain("integer")),
            Some("number") => Some(Type::Plain("number")),
            Some("boolean") => Some(Type::Plain("boolean")),
            Some("array") => self.read(field.get("items")?, depth + 1).map(Type::list_of),
            Some("object") if field.get("$ref").is_some() => Some(named().unwrap_or(Type::Plain("object"))),
            Some("object") => match field.get("additionalProperties") {
                None | Some(Value::Bool(true)) => Some(Type::Plain("object")),
                Some(values) => self.read(values, depth + 1).filter(|_| self.is_member).map(|_| Type::Plain("object")),
            },
            _ if field.get("$ref").is_some_and(|path| !path.is_null()) => named(),
            _ => {
                let options = field.get("anyOf")?.as_array()?;
                let is_null = |option: &&Value| option.get("type").and_then(Value::as_str) == Some("null");
                let mut others = options.iter().filter(|option| !is_null(option));
                let only = self.read(others.next()?, depth + 1)?;
                if others.next().is_some() {
                    return None;
                }
                Some(if options.iter().any(|option| is_null(&option)) { only.or_none() } else { only })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_into_types_and_back() {
        let given = json!({
            "title": "Args",
            "type": "object",
            "properties": {
                "a": {"type": "string", "title": "A", "enum": ["x"], "description": "the a"},
                "b": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": null},
                "c": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
                "d": {"$ref": "#/$defs/Order"},
                "e": {"type": "object", "properties": {"f": {"type": "string"}}},
            },
            "required": ["d", "a"],
            "$defs": {
                "Order": {"properties": {"item": {"$ref": "#/$defs/Item", "description": "what"}}, "required": ["item"]},
                "Item": {"properties": {"sku": {"type": "string"}, "more": {"type": "object",
                    "additionalProperties": {"type": "integer"}}}},
            },
        });
        let item = |description: &str| {
            let mut item = json!({
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "description": ""}, "more": {"type": "object", "description": ""},
                },
                "required": [],
            });
            if !description.is_empty() {
                item["description"] = description.into();
            }
            item
        };
        let expected = json!({
            "type": "object",
            "properties": {
                "a": {"type": "string", "description": "the a"},
                "b": {"type": "integer", "description": ""},
                "c": {"type": "array", "items": item(""), "description": ""},
                "d": {"type": "object", "properties": {"item": item("what")}, "required": ["item"], "description": ""},
                "e": {"type": "object", "description": ""},
            },
            "required": ["a", "d"],
        });
        assert_eq!(arguments(given.as_object().unwrap()).map(Value::Object), Ok(expected));
    }

    #[test]
    fn what_letta_makes_no_type_of_is_refused() {
        for field in [
            json!({}),
            json!(5),
            json!({"type": "array"}),
            json!({"type": "null"}),
            json!({"type": ["string", "null"]}),
            json!({"type": "object", "additionalProperties": false}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
            json!({"$ref": "#/$defs/None"}),
        ] {
            let given = json!({"properties": {"x": field}});
            assert_eq!(arguments(given.as_object().unwrap()), Err(Unread::Property("x".to_owned())), "{field}");
        }
        assert_eq!(arguments(&Map::new()), Err(Unread::NoProperties));
    }

    #[test]
    fn no_schema_grows_without_bound() {
        let reference = json!({"$ref": "#/$defs/a"});
        let properties: Map<String, Value> = (0..1_000).map(|n| (format!("p{n}"), reference.clone())).collect();
        let definition = json!({"properties": {"x": {"type": "string", "description": "x".repeat(20_000)}}});
        let given = json!({"$defs": {"a": definition}, "properties": properties});
        assert_eq!(arguments(given.as_object().unwrap()), Err(Unread::TooLarge));
    }
}
