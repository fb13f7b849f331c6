//! The mock is asked what a real server was asked, in the same order, and answers the same but for ids, times and texts.
//!
//! Where it does not, `docs/mock-differences.md` says so and why. A difference that is not listed there fails the test,
//! and so does a listed one that has gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    data,
    template::{Difference, IN_ANOTHER_ORDER, Names},
};
use crate::harness::{Answer, Client, Program};

/// What was asked, and what came back but for its body.
#[derive(Deserialize)]
struct Exchange {
    name: String,
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    body: Value,
    status: u16,
    answer: String,
    media_type: Option<String>,
}

/// Where the differences are listed.
const PAGE: &str = "docs/mock-differences.md";

/// What two servers make of a race is not comparable.
const RACES: [&str; 1] = ["async-run-early"];

/// What begins like this needs a responder that understands `[[call:...]]` and `[[error:...]]`, or follows what does.
const NEED_DIRECTIVES: [&str; 8] = [
    "tool-",
    "client-tool-",
    "approval-",
    "error-",
    "messages-list",
    "message-retrieve",
    "messages-reset",
    "messages-cancel",
];

/// What needs what another exchange did, though no id says so.
const FOLLOW: [(&str, &str); 1] = [("agent-block-modify", "block-attach")];

/// Differences, with the exchanges in which they occur.
type Found = BTreeMap<Difference, BTreeSet<String>>;

/// Asks again what was asked.
struct Replay {
    client: Client,
    names: Names,
    found: Found,
    /// What was asked and is not mocked, or needs something of what is not.
    left_out: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_exchanges_are_answered_as_recorded_but_for_listed_differences() {
    // The recorded agents did not think aloud.
    let server = Program::ephemeral().env("GATELET_MOCK__REASONING", "false").start_alone().await;
    let exchanges: Vec<Exchange> = serde_json::from_value(data("golden/index.json")).unwrap();
    let mut replay =
        Replay { client: server.owner(), names: Names::default(), found: Found::new(), left_out: BTreeSet::new() };
    let directives = replay.understands_directives().await;
    for exchange in exchanges.iter().filter(|exchange| !RACES.contains(&exchange.name.as_str())) {
        if !directives && NEED_DIRECTIVES.iter().any(|prefix| exchange.name.starts_with(prefix)) {
            replay.left_out.insert(exchange.name.clone());
            continue;
        }
        if FOLLOW.iter().any(|(name, needed)| exchange.name == *name && replay.left_out.contains(*needed)) {
            replay.left_out.insert(exchange.name.clone());
            continue;
        }
        replay.prepare(&exchange.name).await;
        replay.exchange(exchange).await;
    }
    let problems = disagreements(&replay.found, &listed(), &replay.left_out);
    assert!(problems.is_empty(), "{PAGE} and the mock disagree:\n{problems}\nnot compared: {:?}", replay.left_out);
}

/// Rows of differences that are found and not listed, or listed and not found.
fn disagreements(found: &Found, listed: &Found, left_out: &BTreeSet<String>) -> String {
    let none = BTreeSet::new();
    let all: BTreeSet<&Difference> = found.keys().chain(listed.keys()).collect();
    let mut rows = String::new();
    for difference in all {
        let (here, there) = (found.get(difference).unwrap_or(&none), listed.get(difference).unwrap_or(&none));
        let new = here.difference(there).map(String::as_str).collect::<Vec<_>>().join(", ");
        let gone = there.difference(here).filter(|name| !left_out.contains(*name));
        let gone = gone.map(String::as_str).collect::<Vec<_>>().join(", ");
        let Difference { place, recorded, answered } = difference;
        for (what, names) in [("not listed", new), ("gone", gone)] {
            if !names.is_empty() {
                let _ = writeln!(rows, "{what}: | `{place}` | {recorded} | {answered} | {names} |");
            }
        }
    }
    rows
}

impl Replay {
    async fn understands_directives(&self) -> bool {
        let agent = self.client.create_agent(&json!({})).await;
        let failing = json!({"input": "[[error:429]]"});
        self.client.post(&format!("/v1/agents/{agent}/messages"), &failing).await.status == 429
    }

    /// Makes what was there when an exchange was recorded, and not recorded itself.
    async fn prepare(&mut self, exchange: &str) {
        let agent = |name: &str| {
            json!({
                "name": name, "model": "openai/gpt-4o-mini", "embedding": "openai/text-embedding-3-small",
                "memory_blocks": [{"label": "human", "value": "Sam"}, {"label": "persona", "value": "A helper."}],
            })
        };
        match exchange {
            "agent-create" => {
                let mut body = agent("golden");
                body["tags"] = json!(["golden"]);
                let id = self.client.create_agent(&body).await;
                let path = format!("/v1/agents/{id}");
                self.client.patch(&path, &json!({"description": "changed"})).await.expect(200);
                self.client.post(&format!("{path}/messages"), &json!({"input": "Hello"})).await.expect(200);
            }
            "tool-error-create" => {
                let source = "def always_fails(reason: str) -> str:\n    \"\"\"Fails.\n\n    Args:\n        reason (str): why\n    \"\"\"\n    raise ValueError(reason)\n";
                let tool = self.client.post("/v1/tools/", &json!({"source_code": source})).await;
                if let (200, Some(agent)) = (tool.status.as_u16(), self.names.fill("{agent#1}")) {
                    let tool = tool.expect(200)["id"].as_str().unwrap().to_owned();
                    self.client.patch(&format!("/v1/agents/{agent}/tools/attach/{tool}"), &json!({})).await;
                }
            }
            "approval-require" => {
                let mut body = agent("golden-approval");
                if let Some(tool) = self.names.fill("{tool#4}") {
                    body["tool_ids"] = json!([tool]);
                }
                let id = self.client.create_agent(&body).await;
                self.names.learn("agent#4", &id);
            }
            "error-create-400" => {
                let id = self.client.create_agent(&agent("golden-errors")).await;
                self.names.learn("agent#5", &id);
            }
            _ => {}
        }
    }

    async fn exchange(&mut self, exchange: &Exchange) {
        let (Some(path), Some(body)) = (self.names.fill(&exchange.path), self.names.fill(&exchange.body.to_string()))
        else {
            self.left_out.insert(exchange.name.clone());
            return;
        };
        let answer = self.ask(exchange, &path, &body).await;
        if answer.outcome() == "501 not_mocked" {
            self.left_out.insert(exchange.name.clone());
            return;
        }
        let mut found = Vec::new();
        let mut differ = |place: &str, recorded: String, answered: String| {
            if recorded != answered {
                found.push(Difference { place: place.to_owned(), recorded, answered });
            }
        };
        differ("status", exchange.status.to_string(), answer.status.as_u16().to_string());
        let media_type = answer.header("content-type").unwrap_or("none").to_owned();
        differ("content-type", exchange.media_type.clone().unwrap_or("none".to_owned()), media_type);
        if exchange.status == answer.status.as_u16() && exchange.answer != "empty" {
            let name = format!("golden/{}.json", exchange.name);
            match answer.value() {
                Some(body) => self.names.compare(&data(&name), &body, "", &mut found),
                None => differ("body", "JSON".to_owned(), "none".to_owned()),
            }
        }
        found.retain(|difference| !is_arbitrary(&exchange.name, difference));
        for difference in found {
            self.found.entry(difference).or_default().insert(exchange.name.clone());
        }
    }

    /// Sends a request; asks again while what a run is recorded to have come to has not happened yet.
    async fn ask(&self, exchange: &Exchange, path: &str, body: &str) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(10);
        let polled =
            exchange.method == "GET" && exchange.path.starts_with("/v1/runs/{") && exchange.path.ends_with('}');
        let expected = polled.then(|| data(&format!("golden/{}.json", exchange.name))["status"].clone());
        loop {
            let method: Method = exchange.method.parse().unwrap();
            let mut request = self.client.request(method, path);
            for (name, value) in &exchange.headers {
                request = request.header(name, value);
            }
            if let Some(content_type) = &exchange.content_type {
                let text = exchange.body.as_str().map_or_else(|| body.to_owned(), str::to_owned);
                request = request.header("content-type", content_type).body(text);
            }
            let answer = Answer::read(request.send().await.unwrap()).await;
            let Some(expected) = &expected else { return answer };
            if answer.status != 200 || answer.expect(200)["status"] == *expected || Instant::now() > deadline {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether a difference is one of order where the recorded order is arbitrary: what is made with an agent is equally old,
/// and Letta breaks the tie by random ids.
fn is_arbitrary(exchange: &str, difference: &Difference) -> bool {
    let of_an_agent = ["agent-blocks", "agent-tools"].contains(&exchange);
    let place = difference.place.as_str();
    let of_tools = place.ends_with("tools[]") || place == ".functions_definitions[]";
    // In an agent file, ids are numbers in the order of the agent's tools.
    let is_number = place == ".tools[].id" && exchange == "agent-export";
    is_number || difference.answered == IN_ANOTHER_ORDER && (of_an_agent || of_tools || place.ends_with("blocks[]"))
}

/// The differences that the documentation lists. Its tables have rows of `| place | recorded | mock | exchanges | why |`.
fn listed() -> Found {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = std::fs::read_to_string(path).unwrap();
    let mut listed = Found::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [place, recorded, answered, exchanges, why] = cells[..] else { panic!("not five cells: {line}") };
        assert!(why.len() > 10, "why? {line}");
        let difference = Difference {
            place: place.trim_matches('`').to_owned(),
            recorded: recorded.to_owned(),
            answered: answered.to_owned(),
        };
        listed.entry(difference).or_default().extend(exchanges.split(", ").map(str::to_owned));
    }
    listed
}
