//! Verdicts on clients: for each rule a client that breaks it, and one that does not.

mod coverage;
mod rules;
mod run;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::harness::Namespace;
use crate::harness::{Answer, Client, Gatelet, eventually, token_request};

const EVERY_ACCESS: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

/// A namespace with an agent, its owner's back end, and a page that may talk to the agent.
struct Stage {
    space: Namespace,
    agent: String,
    token: String,
    page: Client,
    stranger: Client,
}

impl Stage {
    async fn new(server: &Gatelet) -> Self {
        Self::with(server, &json!({})).await
    }

    /// A namespace that is created with more.
    async fn with(server: &Gatelet, creation: &Value) -> Self {
        let space = Namespace::create(server, creation).await;
        let helper = json!({"name": "helper", "tools": ["fetch_webpage"],
            "tool_rules": [{"type": "requires_approval", "tool_name": "fetch_webpage"}]});
        let agent = space.owner.create_agent(&helper).await;
        let token = space.owner.create_token(&agent, &EVERY_ACCESS).await;
        let page = server.stranger().page(&token);
        Self { page, agent, token, stranger: server.stranger(), space }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/agents/{}{rest}", self.agent)
    }

    /// A page with a new token.
    async fn renew(&self) -> Client {
        let token = self.space.owner.create_token(&self.agent, &EVERY_ACCESS).await;
        self.stranger.page(&token)
    }

    /// Sends a message as a page, or as whoever is given.
    async fn say(&self, client: &Client, text: &str) -> Answer {
        client.post(&self.path("/messages"), &json!({"input": text})).await
    }

    /// Sends a message with headers as SDK 1.x sends them for this attempt.
    async fn attempt(&self, attempt: &str, body: &Value) -> Answer {
        let request = self.page.with("x-stainless-retry-count", attempt);
        Answer::read(request.request(Method::POST, &self.path("/messages")).json(body).send().await.unwrap()).await
    }

    async fn freeze(&self) {
        self.space.control.put("/clock", &json!({"frozen": true, "timers": "virtual"})).await.expect(200);
    }

    /// Begins a stream that lasts until the clock is advanced.
    async fn begin_slow_stream(&self, text: &str) -> reqwest::Response {
        let body = json!({"input": format!("[[slow:60000]] {text}"), "stream_tokens": true});
        let request = self.page.request(Method::POST, &self.path("/messages/stream")).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response
    }

    async fn verdicts(&self) -> Value {
        self.space.control.get("/verdicts").await.expect(200)
    }

    /// The rules that were broken, each once.
    async fn broken(&self) -> Vec<String> {
        let verdicts = self.verdicts().await;
        let findings = verdicts["findings"].as_array().unwrap().iter();
        let mut rules: Vec<String> = findings.map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    async fn has_broken(&self, rule: &str) -> bool {
        self.broken().await.iter().any(|broken| broken == rule)
    }

    /// The only finding of a rule.
    async fn finding(&self, rule: &str) -> Value {
        let verdicts = self.verdicts().await;
        let findings = verdicts["findings"].as_array().unwrap();
        let of_rule: Vec<&Value> = findings.iter().filter(|finding| finding["rule"] == rule).collect();
        assert_eq!(of_rule.len(), 1, "{rule}: {verdicts}");
        of_rule[0].clone()
    }

    /// Does something again and again, until it has broken a rule.
    async fn until_broken<F: Future<Output = ()>>(&self, rule: &str, act: impl Fn() -> F) {
        eventually(rule, Duration::from_secs(20), || async {
            act().await;
            self.has_broken(rule).await
        })
        .await;
    }
}

/// The entry that a response names.
fn entry_of(answer: &Answer) -> u64 {
    answer.header("x-gatelet-entry").unwrap().split_once('/').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_says_what_was_seen_what_to_do_and_where() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    let elsewhere = stage.stranger.bearer(&stage.token).with("origin", "https://evil.example");
    let entries = [
        entry_of(&elsewhere.get(&stage.path("")).await),
        entry_of(&stage.stranger.bearer(&stage.token).get(&stage.path("")).await),
    ];
    let finding = stage.finding("origin_refused").await;
    let sentence = finding["sentence"].as_str().unwrap();
    assert!(sentence.contains("https://evil.example") && sentence.contains("https://app.example"), "{sentence}");
    assert!(finding["fix"].as_str().unwrap().contains("hostname"));
    assert_eq!((&finding["severity"], &finding["count"]), (&json!("error"), &json!(2)));
    assert_eq!((&finding["evidence"], &finding["allowed"]), (&json!(entries), &Value::Null));
    assert_eq!(finding["caller"]["kind"], "client_token");
    let docs = finding["docs"].as_str().unwrap();
    assert_eq!(docs, "docs/verdicts.md#origin_refused");
    for entry in entries {
        let entry = stage.space.control.get(&format!("/journal/{entry}")).await.expect(200);
        assert_eq!(entry["verdicts"], json!(["origin_refused"]), "the entry says so too");
        assert_eq!(entry["caller"]["jti"], finding["caller"]["jti"]);
    }
    // A namespace knows only its own.
    assert_eq!(Stage::new(&server).await.broken().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_may_be_broken_where_a_test_says_why() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    let control = &stage.space.control;
    stage.stranger.bearer(&stage.token).get(&stage.path("")).await.refused(403, "origin_missing");
    let page = stage.page.request(Method::POST, &stage.path("/messages")).json(&json!({"input": "x", "misspelt": 1}));
    assert_eq!(page.send().await.unwrap().status(), 200);
    let severities = async |query: &str| {
        let found = control.get(&format!("/verdicts{query}")).await.expect(200);
        let found = found["findings"].as_array().unwrap().clone();
        found.iter().map(|finding| finding["severity"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("", &["error", "info"][..]),
        ("?min=info", &["error", "info"]),
        ("?min=warn", &["error"]),
        ("?min=error", &["error"]),
    ] {
        assert_eq!(severities(query).await, expected, "{query}");
    }
    for query in ["?min=all", "?min=", "?least=warn", "?min=warn&min=info"] {
        control.get(&format!("/verdicts{query}")).await.refused(400, "invalid_request");
    }
    for (body, at) in [
        (json!({"rule": "no_such_rule", "reason": "x"}), "/rule"),
        (json!({"rule": "origin_refused", "reason": "  "}), "/reason"),
        (json!({"rule": "origin_refused", "reason": "x".repeat(1_001)}), "/reason"),
        (json!({"rule": "origin_refused"}), ""),
        (json!({"rule": "origin_refused", "reason": "x", "until": "later"}), "/until"),
    ] {
        let refused = control.post("/verdicts/allow", &body).await;
        refused.refused(422, "control_invalid");
        assert_eq!(refused.expect(422)["at"], at, "{body}");
    }
    let allowance = json!({"rule": "origin_refused", "reason": "This test forgets the origin."});
    assert_eq!(control.post("/verdicts/allow", &allowance).await.expect(200), allowance);
    let verdicts = stage.verdicts().await;
    assert_eq!(verdicts["allowed"], json!([allowance]));
    assert_eq!(stage.finding("origin_refused").await["allowed"], "This test forgets the origin.");
    assert_eq!(stage.finding("fields_dropped").await["allowed"], Value::Null);
    // It holds for what follows, and is forgotten with the findings.
    control.post("/reset", &json!({"to": "empty", "keep": ["journal"]})).await.expect(200);
    assert_eq!(stage.finding("origin_refused").await["allowed"], "This test forgets the origin.");
    control.post("/reset", &json!({"to": "empty"})).await.expect(200);
    let verdicts = stage.verdicts().await;
    assert_eq!((&verdicts["findings"], &verdicts["allowed"]), (&json!([]), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_outlast_the_journal_and_snapshots_have_none() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    let control = &stage.space.control;
    control.put("/snapshots/before", &json!({})).await.expect(201);
    stage.stranger.bearer(&stage.token).get(&stage.path("")).await.refused(403, "origin_missing");
    control.send(Method::DELETE, "/journal").await;
    assert_eq!(stage.broken().await, ["origin_refused"]);
    control.post("/snapshots/before/restore", &json!({})).await.expect(200);
    assert_eq!(stage.broken().await, ["origin_refused"], "a snapshot has neither the journal nor verdicts");
    for _ in 0..1_001 {
        stage.stranger.get("/v1/health/").await.expect(200);
        stage.page.get(&stage.path("/tools?limit=1")).await.expect(200);
        if control.get("/journal?limit=1").await.expect(200)["dropped"].as_u64().unwrap() > 0 {
            break;
        }
    }
    assert!(stage.has_broken("origin_refused").await);
}
