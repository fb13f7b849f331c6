//! Whatever a request says, it is answered or refused: never with a failure of the server.
//!
//! Requests are made from the specification: right ones, and then each of their parts replaced by what does not belong
//! there.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    specification::{Operation, SPECIFICATION, objections},
    walk::Walk,
};
use crate::harness::{Answer, Client, Gatelet, on_both_engines};

/// So many requests are under way at once.
const AT_ONCE: usize = 16;
/// No answer takes longer, however many others are asked for.
const SOON: Duration = Duration::from_mins(1);

/// What stands in the place of a parameter's value.
const BAD_PARAMETERS: [&str; 10] =
    ["", "x", "-1", "99999999999999999999", "1e400", "null", "%00", "%FF", "%F0%9F%92%A9", "a&limit=1&limit=2"];

/// One request that nobody should send.
struct Request {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Option<Vec<u8>>,
}

on_both_engines! {
    async fn bad_input_is_refused_and_never_fails(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let mut walk = Walk::new(server.owner().with("x-stainless-package-version", "1.12.1"), false);
        walk.set_up().await;
        let mut operations: Vec<&Operation> =
            SPECIFICATION.operations.iter().filter(|operation| !walk.lacks(&operation.name())).collect();
        // What deletes comes last.
        operations.sort_by_key(|operation| operation.method == Method::DELETE);
        let mut problems = Vec::new();
        let mut sent = 0;
        for operation in operations {
            let requests = bad_requests(operation, &walk);
            sent += requests.len();
            let answers = stream::iter(requests).map(|request| problem(server.owner(), request)).buffer_unordered(AT_ONCE);
            problems.extend(answers.filter_map(async |problem| problem).collect::<Vec<_>>().await);
        }
        assert!(problems.is_empty(), "{} of {sent}:\n{}", problems.len(), problems.join("\n"));
    }
}

/// Sends a request; says what is wrong with the answer.
async fn problem(client: Client, request: Request) -> Option<String> {
    let Request { method, path, content_type, body } = request;
    let mut sending = client.request(method.clone(), &path);
    if let Some(body) = &body {
        sending = sending.header("content-type", content_type).body(body.clone());
    }
    let Ok(response) = tokio::time::timeout(SOON, async { Answer::read(sending.send().await.unwrap()).await }).await
    else {
        return Some(format!("no answer: {}", told(&method, &path, body.as_deref())));
    };
    let status = response.status.as_u16();
    if status >= 500 && response.outcome() != "501 not_mocked" {
        return Some(format!("{status}: {} {}", told(&method, &path, body.as_deref()), response.text));
    }
    let objections = objections(&method, &path, &response);
    (!objections.is_empty()).then(|| format!("{}: {}", told(&method, &path, body.as_deref()), objections.join("; ")))
}

fn told(method: &Method, path: &str, body: Option<&[u8]>) -> String {
    let mut body = String::from_utf8_lossy(body.unwrap_or_default()).into_owned();
    body.truncate(body.floor_char_boundary(300));
    format!("{method} {} {body}", &path[..path.len().min(200)])
}

fn bad_requests(operation: &Operation, walk: &Walk) -> Vec<Request> {
    let (path, _) = walk.fill(&operation.path);
    let right = body_of(operation, walk);
    let request =
        |path: String, content_type, body| Request { method: operation.method.clone(), path, content_type, body };
    let json_body = right.as_ref().map(|body| body.to_string().into_bytes());
    let mut requests = Vec::new();
    let segments = operation.path.split('/').enumerate();
    for (at, _) in segments.filter(|(_, segment)| segment.starts_with('{')) {
        for bad in some(bad_segments(), at + path.len(), 5) {
            let mut segments: Vec<&str> = path.split('/').collect();
            segments[at] = &bad;
            requests.push(request(segments.join("/"), "application/json", json_body.clone()));
        }
    }
    for parameter in operation.described["parameters"].as_array().into_iter().flatten() {
        if parameter["in"] != "query" {
            continue;
        }
        let name = parameter["name"].as_str().unwrap();
        for bad in BAD_PARAMETERS {
            requests.push(request(format!("{path}?{name}={bad}"), "application/json", json_body.clone()));
        }
    }
    let Some(right) = right else { return requests };
    for text in ["", "{", "nope", "[]", "\"x\"", "null", "0", "1e999", "{}", "{\"a\":1,\"a\":2}", "[[]]", "\u{feff}{}"]
    {
        requests.push(request(path.clone(), "application/json", Some(text.as_bytes().to_vec())));
    }
    requests.push(request(path.clone(), "application/json", Some(vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}'])));
    requests.push(request(path.clone(), "application/json", Some("[".repeat(10_000).into_bytes())));
    for content_type in
        ["text/plain", "application/xml", "multipart/form-data", "multipart/form-data; boundary=b", "\u{1f4a9}"]
    {
        requests.push(request(path.clone(), content_type, json_body.clone()));
    }
    let mut places = Vec::new();
    pointers(&right, &mut String::new(), &mut places);
    for (index, place) in places.iter().enumerate() {
        // More is tried near the top than further down.
        let count = if place.matches('/').count() < 2 { 6 } else { 3 };
        for value in some(bad_values(), index * 5, count) {
            let mut body = right.clone();
            if let Some(part) = body.pointer_mut(place) {
                *part = value;
            }
            requests.push(request(path.clone(), "application/json", Some(body.to_string().into_bytes())));
        }
    }
    requests
}

/// Some of many values, beginning somewhere else each time.
fn some<T: Clone>(mut values: Vec<T>, start: usize, count: usize) -> Vec<T> {
    let start = start % values.len();
    values.rotate_left(start);
    values.truncate(count);
    values
}

fn bad_segments() -> Vec<String> {
    let strange = ["x", "null", "-1", "%00", "%FF", "%F0%9F%92%A9", "agent-", "%20", "'%20OR%201=1%20--", "..%2f"];
    let mut segments: Vec<String> = strange.map(str::to_owned).into();
    segments.push("x".repeat(3000));
    segments.push("agent-123E4567-E89B-42D3-8456-426614174000".to_owned());
    segments
}

fn bad_values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}"),
        json!("x".repeat(20_000)),
        json!([]),
        json!([null]),
        json!({}),
        json!({"": {"\u{0}": [[]]}}),
    ]
}

/// A right body for an operation, with everything in it that it may have.
fn body_of(operation: &Operation, walk: &Walk) -> Option<Value> {
    let schema = operation.described["request"].get("application/json")?;
    Some(example(schema, "", walk, 0))
}

fn example(schema: &Value, name: &str, walk: &Walk, depth: usize) -> Value {
    let schema = SPECIFICATION.resolve(schema);
    for union in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema.get(union).and_then(|alternatives| alternatives.get(0)) {
            return example(first, name, walk, depth);
        }
    }
    if let Some(value) = schema.get("const").or_else(|| schema.get("enum").and_then(|values| values.get(0))) {
        return value.clone();
    }
    match schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind[0].as_str())) {
        Some("object") if depth < 4 => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let members = properties.into_iter().flatten();
            members.map(|(name, schema)| (name.clone(), example(schema, name, walk, depth + 1))).collect()
        }
        Some("array") if depth < 4 => json!([example(&schema["items"], name, walk, depth + 1)]),
        Some("array") => json!([]),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(false),
        Some("string") => text(schema, name, walk),
        _ => json!({}),
    }
}

fn text(schema: &Value, name: &str, walk: &Walk) -> Value {
    match (name, schema.get("format").and_then(Value::as_str)) {
        (_, Some("date-time")) => json!("2026-01-02T03:04:05Z"),
        (_, Some("uri")) | ("server_url" | "url" | "callback_url", _) => json!("https://other.example/"),
        ("model", _) => json!("openai/gpt-4o-mini"),
        ("embedding", _) => json!("openai/text-embedding-3-small"),
        ("source_code", _) => json!("def f():\n    \"\"\"Counts.\"\"\"\n    return 1\n"),
        _ => walk.value(name.trim_end_matches('s')).unwrap_or_else(|| json!("x")),
    }
}

/// Every place in a value below its top.
fn pointers(value: &Value, here: &mut String, places: &mut Vec<String>) {
    let length = here.len();
    let mut visit = |key: &str, part: &Value| {
        here.push('/');
        here.push_str(key);
        places.push(here.clone());
        pointers(part, here, places);
        here.truncate(length);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, part)| visit(key, part)),
        Value::Array(elements) => elements.iter().enumerate().for_each(|(at, part)| visit(&at.to_string(), part)),
        _ => {}
    }
}
