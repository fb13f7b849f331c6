//! Letta's specification: which operation a request is for, and what its answer must look like.
//!
//! Every answer of the mock that the suite receives through [`Client::send`](crate::harness::Client::send) comes by here.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::{Registry, ValidationError, Validator, error::ValidationErrorKind};
use reqwest::Method;
use serde_json::{Value, json};

use super::data;
use crate::harness::Answer;

const ROOT: &str = "https://letta.example/specification";

/// The operations, and the schemas they refer to.
pub(super) struct Specification {
    pub(super) operations: Vec<Operation>,
    definitions: Value,
    registry: Registry<'static>,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// One operation as the specification has it.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) described: Value,
}

/// The specification, read once.
pub(super) static SPECIFICATION: LazyLock<Specification> = LazyLock::new(|| {
    let mut root = data("letta-schemas.json");
    let Value::Object(operations) = root["operations"].take() else { panic!("operations are an object") };
    let operations = operations
        .into_iter()
        .map(|(name, mut described)| {
            let (method, path) = name.split_once(' ').unwrap();
            depart(&mut described);
            point_to_root(&mut described);
            Operation { method: method.parse().unwrap(), path: path.to_owned(), described }
        })
        .collect();
    let mut schemas = json!({"$id": ROOT, "$defs": root["$defs"].take()});
    depart(&mut schemas);
    // What is not known of an error is null.
    let error = &mut schemas["$defs"]["LettaErrorMessage"]["properties"];
    error["seq_id"] = json!({"type": ["integer", "null"]});
    error["detail"] = json!({"type": ["string", "null"]});
    let definitions = schemas["$defs"].clone();
    let registry = Registry::new().add(ROOT, schemas).unwrap().prepare().unwrap();
    Specification { operations, definitions, registry, validators: Mutex::default() }
});

/// Where a real server departs from its own specification, so may the mock: objects that are closed there say whose
/// organisation, or user, they are.
fn depart(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            if keywords.get("additionalProperties") == Some(&Value::Bool(false))
                && let Some(Value::Object(properties)) = keywords.get_mut("properties")
            {
                for name in ["organization_id", "user_id"] {
                    properties.entry(name).or_insert_with(|| json!({"type": ["string", "null"]}));
                }
            }
            keywords.values_mut().for_each(depart);
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(depart),
        _ => {}
    }
}

/// References within the specification's file become references to [`ROOT`].
fn point_to_root(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            for (keyword, value) in keywords {
                match value {
                    Value::String(target) if keyword == "$ref" => *target = format!("{ROOT}{target}"),
                    _ => point_to_root(value),
                }
            }
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(point_to_root),
        _ => {}
    }
}

impl Specification {
    /// The operation that a request is for.
    pub(super) fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        let path = path.split('?').next().unwrap_or_default();
        let asked: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let literal = |operation: &&Operation| {
            operation.path.split('/').filter(|segment| !segment.is_empty() && !segment.starts_with('{')).count()
        };
        self.operations
            .iter()
            .filter(|operation| operation.method == *method && operation.fits(&asked))
            .max_by_key(literal)
    }

    /// The schema that a schema refers to, or itself.
    pub(super) fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.rsplit('/').next());
        name.map_or(schema, |name| &self.definitions[name])
    }

    /// What is wrong with a value by a schema.
    pub(super) fn faults(&self, schema: &Value, value: &Value) -> Vec<String> {
        let key = schema.to_string();
        let known = self.validators.lock().unwrap().get(&key).cloned();
        let validator = known.unwrap_or_else(|| {
            let built = jsonschema::options().with_registry(&self.registry).offline().build(schema).unwrap();
            let built = Arc::new(built);
            self.validators.lock().unwrap().insert(key, Arc::clone(&built));
            built
        });
        validator.iter_errors(value).flat_map(|error| explain(&error)).collect()
    }

    /// What is wrong with an answer to a request for an operation.
    fn objections(&self, operation: &Operation, answer: &Answer) -> Vec<String> {
        let status = answer.status.as_u16();
        if status >= 400 {
            return refusal(answer);
        }
        let Some(media) = operation.described["answers"].get(status.to_string()) else {
            return vec![format!("{status} is no answer of it")];
        };
        let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        if answer.text.is_empty() {
            return if media.get("application/json").is_some_and(|schema| *schema != json!({})) && status != 204 {
                vec!["there is no body".to_owned()]
            } else {
                Vec::new()
            };
        }
        if kind == "text/event-stream" {
            return self.objections_to_frames(operation, &answer.text);
        }
        let Some(schema) = media.get(kind) else {
            return if media == &json!({}) { Vec::new() } else { vec![format!("it does not answer {kind}")] };
        };
        // An agent file is declared as a text, and is an object.
        if operation.path.ends_with("/export") {
            return Vec::new();
        }
        match serde_json::from_str(&answer.text) {
            Ok(value) => self.faults(schema, &value),
            Err(error) => vec![error.to_string()],
        }
    }

    /// Frames have no schema of their own where they are but one of the ways to answer.
    fn objections_to_frames(&self, operation: &Operation, text: &str) -> Vec<String> {
        if operation.path == "/v1/chat/completions" {
            return Vec::new();
        }
        let schema = json!({"$ref": format!("{ROOT}#/$defs/LettaStreamingResponse")});
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]")
            .flat_map(|data| match serde_json::from_str(data) {
                Ok(value) => self.faults(&schema, &value),
                Err(error) => vec![format!("{error}: {data}")],
            })
            .collect()
    }
}

impl Operation {
    fn fits(&self, asked: &[&str]) -> bool {
        let own: Vec<&str> = self.path.trim_end_matches('/').split('/').collect();
        own.len() == asked.len() && own.iter().zip(asked).all(|(own, asked)| own == asked || own.starts_with('{'))
    }

    /// Method and path, as tables name it.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A refusal says why, in a way that every SDK shows: by Gatelet's code, or as a model's provider is quoted.
fn refusal(answer: &Answer) -> Vec<String> {
    match serde_json::from_str::<Value>(&answer.text) {
        Ok(body) if body["error"].is_object() => Vec::new(),
        Ok(body) if body["code"].is_string() && !body["detail"].is_null() => Vec::new(),
        _ => vec!["a refusal has a code and a detail".to_owned()],
    }
}

/// An error, and for a union those of the alternative that comes nearest.
fn explain(error: &ValidationError<'_>) -> Vec<String> {
    let (ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }) = error.kind() else {
        return vec![format!("{}: {error}", error.instance_path())];
    };
    // An alternative that is out because its constant differs is not the one that was meant.
    let distance = |errors: &&Vec<ValidationError<'_>>| {
        let constants = |error: &&ValidationError<'_>| matches!(error.kind(), ValidationErrorKind::Constant { .. });
        (errors.iter().filter(constants).count(), errors.len())
    };
    let nearest = context.iter().min_by_key(distance);
    nearest.map(|errors| errors.iter().flat_map(explain).collect()).unwrap_or_default()
}

/// What the specification says against an answer of the mock.
pub(super) fn objections(method: &Method, path: &str, answer: &Answer) -> Vec<String> {
    let Some(operation) = SPECIFICATION.operation(method, path) else { return Vec::new() };
    SPECIFICATION.objections(operation, answer)
}

/// Fails unless an answer of the mock is one that the specification promises.
pub(crate) fn hold(method: &Method, path: &str, answer: &Answer) {
    let objections = objections(method, path, answer);
    let shown: String = answer.text.chars().take(2000).collect();
    assert!(objections.is_empty(), "{method} {path}: {}\n{shown}", objections.join("\n"));
}
