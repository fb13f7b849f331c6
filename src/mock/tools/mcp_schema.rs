//! The JSON schemas of MCP tools: completed as in Letta, and checked against OpenAI's strict mode.

use serde_json::{Map, Value, json};

use crate::mock::budget::value_weight;

/// The depth to which schemas are examined.
const DEPTH: usize = 16;
/// The depth to which references are inlined.
const DEEPEST: usize = 10;
/// The most bytes of inlined definitions.
const MOST_BYTES: usize = 1024 * 1024;
const TYPES: &[&str] = &["string", "number", "integer", "boolean", "null", "array", "object"];
const HEARTBEAT: &str = "request_heartbeat";

/// The schema of a server's tool as lists show it: `additionalProperties` is false unless it is set, and references
/// have the type of their definition beside them.
pub(in crate::mock) fn listed(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = schema.clone();
    let types: Map<String, Value> = match schema.get("$defs") {
        Some(Value::Object(definitions)) => {
            let kind = |definition: &Value| definition.get("type").cloned();
            definitions.iter().filter_map(|(name, definition)| Some((name.clone(), kind(definition)?))).collect()
        }
        _ => Map::new(),
    };
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        definitions
            .values_mut()
            .filter_map(Value::as_object_mut)
            .for_each(|definition| complete(definition, &types, 0));
    }
    complete(&mut schema, &types, 0);
    schema
}

fn complete(schema: &mut Map<String, Value>, types: &Map<String, Value>, depth: usize) {
    if depth > DEPTH {
        return;
    }
    if is_type(schema, "object") && !schema.contains_key("additionalProperties") {
        schema.insert("additionalProperties".into(), false.into());
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut().filter_map(Value::as_object_mut) {
            complete_property(property, types, depth + 1);
        }
    }
    if let Some(items) = schema.get_mut("items").and_then(Value::as_object_mut).filter(|items| is_type(items, "object"))
    {
        complete(items, types, depth + 1);
    }
}

fn complete_property(property: &mut Map<String, Value>, types: &Map<String, Value>, depth: usize) {
    // Referenced definitions are completed themselves.
    if name_type(property, types) {
        return;
    }
    if is_type(property, "object") {
        complete(property, types, depth);
    }
    let is_array = is_type(property, "array");
    if let Some(Value::Array(options)) = property.get_mut("anyOf") {
        for option in options.iter_mut().filter_map(Value::as_object_mut) {
            name_type(option, types);
            if is_type(option, "object") {
                complete(option, types, depth);
            }
        }
    }
    if let Some(items) = property.get_mut("items").and_then(Value::as_object_mut).filter(|_| is_array) {
        name_type(items, types);
        if is_type(items, "object") {
            complete(items, types, depth);
        }
    }
}

/// Adds the type of the referenced definition to a reference. Returns whether the schema is a reference.
fn name_type(schema: &mut Map<String, Value>, types: &Map<String, Value>) -> bool {
    let Some(path) = schema.get("$ref") else { return false };
    if !schema.contains_key("type") {
        let kind = definition_name(path).and_then(|name| types.get(name)).cloned();
        schema.insert("type".into(), kind.unwrap_or_else(|| "object".into()));
    }
    true
}

fn definition_name(path: &Value) -> Option<&str> {
    path.as_str()?.strip_prefix("#/$defs/")?.rsplit('/').next()
}

fn is_type(schema: &Map<String, Value>, kind: &str) -> bool {
    schema.get("type").and_then(Value::as_str) == Some(kind)
}

/// The arguments of a server's tool for agents: references inlined, with `request_heartbeat` added.
pub(in crate::mock) fn arguments(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = schema.clone();
    schema.entry("type").or_insert_with(|| "object".into());
    schema.entry("properties").or_insert_with(|| json!({}));
    let mut schema = listed(&schema);
    schema.entry("required").or_insert_with(|| json!([]));
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut left = MOST_BYTES;
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut() {
            *property = inlined(property, &definitions, 0, &mut left);
        }
        let description = "Whether to continue after this call: true to call another tool or to send a message, \
                           false to end the turn.";
        properties.insert(HEARTBEAT.into(), json!({"type": "boolean", "description": description}));
    }
    if let Some(Value::Array(required)) = schema.get_mut("required")
        && !required.iter().any(|name| name == HEARTBEAT)
    {
        required.push(HEARTBEAT.into());
    }
    schema
}

/// Inlines the references of a schema. Endless references stay.
fn inlined(schema: &Value, definitions: &Map<String, Value>, depth: usize, left: &mut usize) -> Value {
    let Value::Object(given) = schema else { return schema.clone() };
    if depth > DEEPEST {
        return schema.clone();
    }
    let mut result = given.clone();
    let named = given.get("$ref").and_then(definition_name).and_then(|name| definitions.get(name)?.as_object());
    if let Some(named) = named
        && let Some(rest) = left.checked_sub(value_weight(&Value::Object(named.clone())))
    {
        *left = rest;
        result.shift_remove("$ref");
        for (key, value) in named {
            result.entry(key.clone()).or_insert_with(|| value.clone());
        }
        return inlined(&Value::Object(result), definitions, depth + 1, left);
    }
    let mut within = |schema: &Value| inlined(schema, definitions, depth + 1, left);
    if let Some(Value::Array(options)) = result.get_mut("anyOf") {
        *options = distinct(options.iter().map(&mut within).collect());
    }
    if let Some(Value::Object(properties)) = result.get_mut("properties") {
        properties.values_mut().for_each(|property| *property = within(property));
    }
    if let Some(items) = result.get_mut("items") {
        *items = within(items);
    }
    Value::Object(result)
}

/// Removes alternatives with the same type and a compatible format. The more specific one is kept.
fn distinct(options: Vec<Value>) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for option in options {
        let of = |value: &Value, key: &str| value.get(key).filter(|found| !found.is_null()).cloned();
        let (kind, format) = (of(&option, "type"), of(&option, "format"));
        let is_same = |present: &Value| {
            let other = of(present, "format");
            present == &option
                || kind.is_some()
                    && of(present, "type") == kind
                    && (format.is_none() || other.is_none() || format == other)
        };
        match kept.iter_mut().find(|present| is_same(present)) {
            None => kept.push(option),
            Some(present) => {
                let size = |value: &Value| value.as_object().map_or(0, Map::len);
                let says_more = match (&format, of(present, "format")) {
                    (Some(_), None) => true,
                    (None, Some(_)) => false,
                    _ => size(&option) >= size(present),
                };
                if says_more {
                    *present = option;
                }
            }
        }
    }
    kept
}

/// Whether a schema conforms to OpenAI's strict mode, and why not.
#[derive(Debug)]
pub(in crate::mock) struct Health {
    pub(in crate::mock) status: &'static str,
    pub(in crate::mock) reasons: Vec<String>,
}

impl Health {
    /// Checks the schema of a tool's arguments.
    pub(in crate::mock) fn of(schema: &Map<String, Value>) -> Self {
        let mut health = Self { status: "STRICT_COMPLIANT", reasons: Vec::new() };
        if !is_type(schema, "object") {
            health.invalid("the schema of the arguments must have the type 'object'".to_owned());
        }
        health.judge(schema, "root", 0);
        health
    }

    fn invalid(&mut self, reason: String) {
        self.status = "INVALID";
        self.reasons.push(reason);
    }

    fn not_strict(&mut self, reason: String) {
        if self.status == "STRICT_COMPLIANT" {
            self.status = "NON_STRICT_ONLY";
        }
        self.reasons.push(reason);
    }

    fn judge(&mut self, schema: &Map<String, Value>, path: &str, depth: usize) {
        if depth > DEPTH {
            return;
        }
        let has = |key: &str| schema.contains_key(key);
        let kind = match schema.get("type") {
            Some(Value::String(kind)) if !kind.is_empty() => kind.as_str(),
            Some(Value::Array(kinds)) if !kinds.is_empty() => {
                for kind in kinds.iter().filter(|kind| !kind.as_str().is_some_and(|kind| TYPES.contains(&kind))) {
                    self.invalid(format!("{path}: {kind} is not a type"));
                }
                "several"
            }
            _ if has("properties") || has("additionalProperties") => "object",
            _ if has("items") => "array",
            _ if has("anyOf") || has("oneOf") || has("allOf") => "several",
            _ => return self.invalid(format!("{path}: 'type' is missing")),
        };
        match kind {
            "object" => {
                if schema.get("properties").is_some_and(|properties| !properties.is_object() && !properties.is_null()) {
                    return self.invalid(format!("{path}: 'properties' must be an object"));
                }
                self.judge_object(schema, path, depth);
            }
            "array" => match schema.get("items") {
                Some(Value::Object(items)) => self.judge(items, &format!("{path}.items"), depth + 1),
                _ => self.invalid(format!("{path}: an array must have a schema as its 'items'")),
            },
            _ => {}
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            let Some(options) = schema.get(key) else { continue };
            let Some(options) = options.as_array() else {
                self.invalid(format!("{path}: '{key}' must be a list"));
                continue;
            };
            for (index, option) in options.iter().enumerate() {
                self.judge_part(option, &format!("{path}.{key}[{index}]"), depth);
            }
        }
    }

    fn judge_part(&mut self, part: &Value, path: &str, depth: usize) {
        match part {
            Value::Object(part) => self.judge(part, path, depth + 1),
            _ => self.invalid(format!("{path}: not a schema")),
        }
    }

    fn judge_object(&mut self, schema: &Map<String, Value>, path: &str, depth: usize) {
        match schema.get("additionalProperties") {
            None => self.not_strict(format!("{path}: 'additionalProperties' is not set")),
            Some(Value::Bool(false)) => {}
            Some(_) => self.not_strict(format!("{path}: 'additionalProperties' is not false")),
        }
        let none = Vec::new();
        let required = match schema.get("required") {
            None | Some(Value::Null) => &none,
            Some(Value::Array(required)) => required,
            Some(_) => {
                self.invalid(format!("{path}: 'required' must be a list"));
                &none
            }
        };
        let properties =
            schema.get("properties").and_then(Value::as_object).filter(|properties| !properties.is_empty());
        let Some(properties) = properties else { return };
        for name in required.iter().filter_map(Value::as_str) {
            match properties.get(name) {
                None => self.invalid(format!("{path}: '{name}' is required, but not among the properties")),
                Some(Value::Object(property)) if allows_nothing(property) => {
                    self.invalid(format!("{path}: '{name}' is required, but may be empty"));
                }
                Some(_) => {}
            }
        }
        for (name, property) in properties {
            self.judge_part(property, &format!("{path}.properties.{name}"), depth);
        }
    }
}

/// Whether a schema allows only `{}`, or arrays without a schema for their items.
fn allows_nothing(schema: &Map<String, Value>) -> bool {
    let is_empty = |key: &str| schema.get(key).is_none_or(|value| value.as_array().is_none_or(Vec::is_empty));
    let takes_none =
        is_type(schema, "object") && is_empty("required") && schema.get("additionalProperties") == Some(&false.into());
    let least = schema.get("minItems").and_then(Value::as_i64).unwrap_or_default();
    let takes_any = is_type(schema, "array") && least <= 0 && schema.get("items").is_none_or(Value::is_null);
    takes_none || takes_any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn listed_schemas_are_closed_and_say_their_types() {
        let given = json!({
            "type": "object",
            "properties": {
                "a": {"$ref": "#/$defs/Item"},
                "b": {"type": "array", "items": {"$ref": "#/$defs/Name"}},
                "c": {"anyOf": [{"$ref": "#/$defs/Item"}, {"type": "object"}, {"type": "null"}]},
                "d": {"type": "object", "properties": {"e": {"type": "object", "additionalProperties": true}}},
            },
            "$defs": {"Item": {"type": "object", "properties": {}}, "Name": {"type": "string"}},
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "a": {"$ref": "#/$defs/Item", "type": "object"},
                "b": {"type": "array", "items": {"$ref": "#/$defs/Name", "type": "string"}},
                "c": {"anyOf": [
                    {"$ref": "#/$defs/Item", "type": "object", "additionalProperties": false},
                    {"type": "object", "additionalProperties": false},
                    {"type": "null"},
                ]},
                "d": {
                    "type": "object",
                    "properties": {"e": {"type": "object", "additionalProperties": true}},
                    "additionalProperties": false,
                },
            },
            "$defs": {
                "Item": {"type": "object", "properties": {}, "additionalProperties": false},
                "Name": {"type": "string"},
            },
            "additionalProperties": false,
        });
        assert_eq!(Value::Object(listed(&map(&given))), expected);
    }

    #[test]
    fn arguments_have_no_references() {
        let given = json!({
            "properties": {
                "a": {"$ref": "#/$defs/Item", "description": "mine"},
                "b": {"anyOf": [{"type": "string"}, {"type": "string", "format": "date"}, {"$ref": "#/$defs/Item"}]},
                "c": {"$ref": "#/$defs/Self"},
            },
            "required": ["a"],
            "$defs": {
                "Item": {"type": "object", "description": "its", "properties": {"name": {"type": "string"}}},
                "Self": {"type": "object", "properties": {"again": {"$ref": "#/$defs/Self"}}},
            },
        });
        let made = Value::Object(arguments(&map(&given)));
        let item = json!({
            "description": "mine", "type": "object", "properties": {"name": {"type": "string"}},
            "additionalProperties": false,
        });
        assert_eq!(made["properties"]["a"], item);
        assert_eq!(made["properties"]["b"]["anyOf"][0], json!({"type": "string", "format": "date"}));
        assert_eq!(made["properties"]["b"]["anyOf"][1]["properties"], json!({"name": {"type": "string"}}));
        assert_eq!((&made["required"], &made["type"]), (&json!(["a", HEARTBEAT]), &json!("object")));
        assert!(made["properties"]["c"].to_string().contains("$ref"));
        assert_eq!(arguments(&Map::new()).get("required"), Some(&json!([HEARTBEAT])));
    }

    #[test]
    fn schemas_are_judged() {
        let object =
            |properties: Value| json!({"type": "object", "properties": properties, "additionalProperties": false});
        for (schema, status, count) in [
            (
                object(json!({"a": {"type": ["string", "null"]}, "b": {"anyOf": [{"type": "null"}]}})),
                "STRICT_COMPLIANT",
                0,
            ),
            (json!({"type": "object", "properties": {}}), "NON_STRICT_ONLY", 1),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "NON_STRICT_ONLY", 1),
            (object(json!({"a": {}})), "INVALID", 1),
            (object(json!({"a": {"type": ["text"]}})), "INVALID", 1),
            (object(json!({"a": {"type": "array"}})), "INVALID", 1),
            (object(json!({"a": {"anyOf": 5}})), "INVALID", 1),
            (object(json!({"a": true})), "INVALID", 1),
            (
                json!({"type": "object", "additionalProperties": false, "required": ["b", "c"], "properties": {
                "a": {"type": "string"}, "c": {"type": "object", "additionalProperties": false}}}),
                "INVALID",
                2,
            ),
            (json!({"type": "string"}), "INVALID", 1),
            (json!({"type": "object", "properties": []}), "INVALID", 1),
        ] {
            let health = Health::of(&map(&schema));
            assert_eq!((health.status, health.reasons.len()), (status, count), "{schema}: {health:?}");
        }
    }

    #[test]
    fn no_schema_grows_without_bound() {
        let mut definitions = json!({"D0": {"type": "object", "description": "x".repeat(1_000)}});
        for number in 1..9 {
            let many: Map<String, Value> =
                (0..10).map(|name| (name.to_string(), json!({"$ref": format!("#/$defs/D{}", number - 1)}))).collect();
            definitions[format!("D{number}")] = json!({"type": "object", "properties": many});
        }
        let made = arguments(&map(&json!({"properties": {"a": {"$ref": "#/$defs/D8"}}, "$defs": definitions})));
        assert!(value_weight(&Value::Object(made)) < 8 * MOST_BYTES);
    }
}
