//! Every operation is asked for once, with what it needs in place, by a client of either generation.
//!
//! What an operation answers is held against the specification like every other answer of the suite; here it is seen to
//! that there is one, and that none is left out.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    requests::{self, Body},
    specification::{SPECIFICATION, hold},
};
use crate::harness::{Answer, Client, Engine, Gatelet, NOBODY};

/// Who walks: what they have learnt, and how they fared.
pub(super) struct Walk {
    client: Client,
    /// Whether the client is of the 0.1.x generation.
    legacy: bool,
    known: BTreeMap<&'static str, Value>,
    /// Operations that answered.
    walked: BTreeSet<String>,
    /// Operations that answer 501.
    not_mocked: BTreeSet<String>,
    /// Operations that lack what an operation of the second kind would have brought.
    out_of_reach: BTreeSet<String>,
    problems: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_a_client_of_the_1_x_generation() {
    let server = Gatelet::on(Engine::Sqlite).await;
    walk(server.owner().with("x-stainless-package-version", "1.12.1"), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_a_client_of_the_0_1_x_generation() {
    let server = Gatelet::on(Engine::Postgres).await;
    walk(server.owner().with("user-agent", "letta-client/0.1.324"), true).await;
}

async fn walk(client: Client, legacy: bool) {
    let mut walk = Walk::new(client, legacy);
    walk.set_up().await;
    walk.rest().await;
    for request in requests::last() {
        walk.step(&request).await;
    }
    assert!(
        walk.problems.is_empty(),
        "{}\n\nnot mocked: {:?}\nout of reach: {:?}",
        walk.problems.join("\n\n"),
        walk.not_mocked,
        walk.out_of_reach
    );
}

impl Walk {
    pub(super) fn new(client: Client, legacy: bool) -> Self {
        Self {
            client,
            legacy,
            known: BTreeMap::new(),
            walked: BTreeSet::new(),
            not_mocked: BTreeSet::new(),
            out_of_reach: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// Asks for everything but what ends it all.
    pub(super) async fn set_up(&mut self) {
        for request in requests::all() {
            self.step(&request).await;
        }
    }

    /// Whether an operation is not mocked.
    pub(super) fn lacks(&self, operation: &str) -> bool {
        self.not_mocked.contains(operation)
    }

    /// What is known under a name of the requests, or of the specification.
    pub(super) fn value(&self, name: &str) -> Option<Value> {
        let alias = match name {
            "memory_id" => "passage",
            "template_version" | "template_name" => return Some(json!("walk")),
            "mcp_server_name" => return Some(json!("old")),
            "project_id" => "template_project",
            "projectId" => "project",
            other => other.trim_end_matches("_id"),
        };
        self.known.get(name).or_else(|| self.known.get(alias)).cloned()
    }

    /// The operation that a request is for.
    fn operation(&self, request: &requests::Request) -> String {
        let (method, template) = request.line.split_once(' ').unwrap();
        let (path, _) = self.fill(template);
        SPECIFICATION.operation(&method.parse().unwrap(), &path).unwrap_or_else(|| panic!("{path}")).name()
    }

    async fn step(&mut self, request: &requests::Request) {
        let (method, template) = request.line.split_once(' ').unwrap();
        let (path, mut complete) = self.fill(template);
        let body = match &request.body {
            Body::Json(body) => Body::Json(self.fill_in(body, &mut complete)),
            Body::AgentFile => {
                Body::File("agent.af", self.known.get("agent_file").map(Value::to_string).unwrap_or_default())
            }
            body => body.clone(),
        };
        let method: Method = method.parse().unwrap();
        let operation = self.operation(request);
        let answer = self.send(&method, &path, &body).await;
        let status = answer.status.as_u16();
        let refusal = if self.legacy && request.only_1_x { Some(422) } else { request.status };
        let expected = refusal.map_or((200..300).contains(&status), |expected| status == expected);
        if answer.outcome() == "501 not_mocked" {
            self.not_mocked.insert(operation);
        } else if !complete && !self.not_mocked.is_empty() {
            self.out_of_reach.insert(operation);
        } else if expected {
            if request.open.is_some() {
                self.problems.push(format!("{operation} works now: take the mark away"));
            }
            let value = answer.value().unwrap_or_default();
            for (name, pointer) in &request.keep {
                if let Some(value) = value.pointer(pointer) {
                    self.known.insert(name, value.clone());
                }
            }
            self.walked.insert(operation);
        } else if request.open == Some(status) {
            self.out_of_reach.insert(operation);
        } else {
            self.problems.push(format!("{operation} ({path}): {status} {}", answer.text));
        }
    }

    /// What no request above is for must not be mocked, or the requests above are too few.
    async fn rest(&mut self) {
        let last: BTreeSet<String> = requests::last().iter().map(|request| self.operation(request)).collect();
        for operation in &SPECIFICATION.operations {
            let name = operation.name();
            if last.contains(&name)
                || self.walked.contains(&name)
                || self.not_mocked.contains(&name)
                || self.out_of_reach.contains(&name)
            {
                continue;
            }
            let (path, _) = self.fill(&operation.path);
            let answer = self.send(&operation.method, &path, &Body::None).await;
            if answer.outcome() == "501 not_mocked" {
                self.not_mocked.insert(name);
            } else {
                self.problems
                    .push(format!("{name} is mocked, and nobody asks for it: {} {}", answer.status, answer.text));
            }
        }
    }

    /// A path with its names replaced, and whether all of them were known.
    pub(super) fn fill(&self, template: &str) -> (String, bool) {
        let mut complete = true;
        let mut path = String::new();
        for (index, piece) in template.split(['{', '}']).enumerate() {
            match (index % 2, self.value(piece)) {
                (0, _) => path.push_str(piece),
                (_, Some(value)) => path.push_str(value.as_str().unwrap_or_default()),
                (_, None) => {
                    complete = false;
                    path.push_str(&unknown(piece));
                }
            }
        }
        (path, complete)
    }

    async fn send(&self, method: &Method, path: &str, body: &Body) -> Answer {
        let Body::File(name, content) = body else {
            let body = if let Body::Json(body) = body { Some(body) } else { None };
            return self.client.send(method.clone(), path, body).await;
        };
        let form = format!(
            "--b0\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n{content}\r\n--b0--\r\n"
        );
        let request =
            self.client.request(method.clone(), path).header("content-type", "multipart/form-data; boundary=b0");
        let answer = Answer::read(request.body(form).send().await.unwrap()).await;
        hold(method, path, &answer);
        answer
    }

    /// A body in which texts that are a name in braces are replaced by what is known under it.
    fn fill_in(&self, body: &Value, complete: &mut bool) -> Value {
        match body {
            Value::String(text) => match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                None => body.clone(),
                Some(name) => self.known.get(name).cloned().unwrap_or_else(|| {
                    *complete = false;
                    Value::from(unknown(name))
                }),
            },
            Value::Array(values) => values.iter().map(|value| self.fill_in(value, complete)).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), self.fill_in(value, complete))).collect()
            }
            _ => body.clone(),
        }
    }
}

/// A well-formed value for a name that is not known: of something that is not there.
fn unknown(name: &str) -> String {
    let uuid = &NOBODY["agent-".len()..];
    let prefix = match name.trim_end_matches("_id") {
        "second" | "imported" => "agent",
        "conversation" | "fork" => "conv",
        "folder" | "source" => "source",
        "file" | "book" => "file",
        "memory" | "passage" => "passage",
        "mcp_tool" => "tool",
        "batch" => "job",
        "human" => "block",
        "label" | "call" => return "nothing".to_owned(),
        "token" | "template_project" | "project" | "deployment" | "scheduled" => return uuid.to_owned(),
        "old_tool" | "tool_name" | "block_label" => return "nothing".to_owned(),
        other => other,
    };
    format!("{prefix}-{uuid}")
}
