//! The journal: what was sent, how it was decided, what became of it.

mod credentials;
mod endings;
mod namespaces;
mod reading;
mod retries;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::harness::{Control, Namespace};
use crate::harness::{Answer, Client, Gatelet, ORIGIN, eventually};

/// A mock, and what its control API tells about the namespace `default`.
pub(super) struct Observed {
    server: Gatelet,
    owner: Client,
    control: Control,
}

impl Observed {
    async fn new() -> Self {
        Self::of(Gatelet::ephemeral().await)
    }

    fn of(server: Gatelet) -> Self {
        Self { owner: server.owner(), control: Control::of_default(&server), server }
    }

    async fn get(&self, path: &str) -> Answer {
        self.control.get(path).await
    }

    /// A part of the journal.
    async fn list(&self, query: &str) -> Value {
        self.get(&format!("/journal?{query}")).await.expect(200)
    }

    /// The only entry that matches.
    async fn only(&self, query: &str) -> Value {
        let list = self.list(query).await;
        let entries = list["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 1, "{query}: {list}");
        entries[0].clone()
    }

    /// The ids of the entries that match.
    async fn ids(&self, query: &str) -> Vec<u64> {
        let list = self.list(query).await;
        list["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_u64().unwrap()).collect()
    }

    /// The entry that a response names.
    async fn entry_of(&self, answer: &Answer) -> Value {
        let (namespace, id) = answer.header("x-gatelet-entry").unwrap().split_once('/').unwrap();
        assert_eq!(namespace, "default");
        self.get(&format!("/journal/{id}")).await.expect(200)
    }

    /// Stops the clock: pauses of the model last until it is advanced.
    async fn freeze(&self) {
        self.control.put("/clock", &json!({"frozen": true, "timers": "virtual"})).await.expect(200);
    }

    /// Advances the clock, once a model thinks.
    async fn advance(&self, by: &str) {
        eventually("a model thinks", Duration::from_secs(20), || async {
            let clock = self.get("/clock").await.expect(200);
            clock["pending"].as_array().unwrap().iter().any(|timer| timer["kind"] == "pause")
        })
        .await;
        self.control.post("/clock/advance", &json!({"by": by})).await.expect(200);
    }
}

/// The last step of a decision.
fn last_step(entry: &Value) -> (&str, &str) {
    let step = entry["decision"]["steps"].as_array().unwrap().last().unwrap();
    (step["asked"].as_str().unwrap(), step["said"].as_str().unwrap())
}

#[tokio::test]
async fn a_refusal_says_which_step_refused_and_shows_both_values() {
    let observed = Observed::new().await;
    let agent = observed.owner.create_agent(&json!({"name": "a"})).await;
    let token = observed.owner.create_token(&agent, &["read_agent"]).await;
    let page = observed.server.stranger().bearer(&token).with("origin", "https://evil.example");
    let answer = page.with("x-stainless-lang", "js").with("cookie", "a=b").get(&format!("/v1/agents/{agent}")).await;
    let sentence = answer.refused(403, "origin_mismatch");
    let entry = observed.entry_of(&answer).await;
    let (asked, said) = last_step(&entry);
    assert_eq!(asked, "origin");
    assert!(said.contains("https://evil.example") && said.contains(ORIGIN) && said.ends_with(&sentence), "{said}");
    let steps: Vec<&str> =
        entry["decision"]["steps"].as_array().unwrap().iter().map(|step| step["asked"].as_str().unwrap()).collect();
    assert!(steps.contains(&"bearer") && steps.contains(&"policy"), "{steps:?}");
    for (pointer, expected) in [
        ("/namespace", json!("default")),
        ("/phase", json!("finished")),
        ("/operation", json!("RetrieveAgent")),
        ("/method", json!("GET")),
        ("/target", json!(format!("/v1/agents/{agent}"))),
        ("/agents", json!([agent])),
        ("/request_id", json!(answer.header("x-request-id"))),
        ("/caller/kind", json!("client_token")),
        ("/caller/origin_bound", json!(ORIGIN)),
        ("/sent/origin", json!("https://evil.example")),
        ("/sent/headers", json!({"accept": "*/*", "x-stainless-lang": "js"})),
        ("/sent/body", json!(null)),
        ("/decision/outcome", json!("denied")),
        ("/answer/status", json!(403)),
        ("/answer/code", json!("origin_mismatch")),
        ("/answer/message", json!(sentence)),
        ("/answer/bytes", json!(answer.text.len())),
        ("/answer/ended", json!("done")),
        ("/answer/by", json!("server")),
        ("/retry_of", json!(null)),
        ("/preflight", json!(null)),
    ] {
        assert_eq!(entry.pointer(pointer), Some(&expected), "{pointer} of {entry}");
    }
    assert_eq!(entry["at"], entry["real_at"], "the clock was never set");
    let left = entry["caller"]["expires_in_ms"].as_i64().unwrap();
    assert!((1..=300_000).contains(&left), "{left}");
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("x-gatelet-entry"), "a page can read which entry is its own: {exposed}");
}

#[tokio::test]
async fn every_kind_of_refusal_has_a_step_and_a_caller() {
    let observed = Observed::new().await;
    let agent = observed.owner.create_agent(&json!({"name": "a"})).await;
    let token = observed.owner.create_token(&agent, &["read_agent"]).await;
    let (stranger, page) = (observed.server.stranger(), observed.server.stranger().page(&token));
    let path = format!("/v1/agents/{agent}");
    let messages = format!("{path}/messages");
    for (client, method, path, code, asked, caller) in [
        (&stranger, Method::GET, &path, "bearer_missing", "bearer", "none"),
        (&stranger.bearer("sk-let-0123456789abcdef"), Method::GET, &path, "bearer_invalid", "bearer", "none"),
        (&stranger.bearer("ck-let-a.b.c"), Method::GET, &path, "bearer_invalid", "bearer", "none"),
        (&page, Method::GET, &"/v1/agents/".to_owned(), "operation_not_available", "policy", "client_token"),
        (&page, Method::GET, &messages, "access_not_granted", "policy", "client_token"),
        (&page, Method::GET, &"/v1/none".to_owned(), "not_found", "operation", "client_token"),
        (&observed.owner, Method::PUT, &path, "method_not_allowed", "operation", "api_key"),
        (&observed.owner, Method::GET, &"/v1//agents".to_owned(), "path_not_canonical", "path", "none"),
        (
            &observed.owner.with("x-gatelet-namespace", "nobody"),
            Method::GET,
            &path,
            "namespace_not_found",
            "namespace",
            "none",
        ),
    ] {
        let request = client.request(method, path);
        let answer = Answer::read(request.send().await.unwrap()).await;
        let entry = observed.entry_of(&answer).await;
        let said = (&entry["answer"]["code"], last_step(&entry).0, &entry["caller"]["kind"]);
        assert_eq!(said, (&json!(code), asked, &json!(caller)), "{entry}");
        assert_eq!(entry["decision"]["outcome"], "denied", "{entry}");
    }
    // What the handler refuses was admitted.
    let answer = observed.owner.get(&format!("/v1/agents/{}", crate::harness::NOBODY)).await;
    let entry = observed.entry_of(&answer).await;
    assert_eq!((&entry["decision"]["outcome"], &entry["answer"]["code"]), (&json!("admitted"), &json!("not_found")));
}

#[tokio::test]
async fn an_entry_has_what_was_sent_and_what_was_dropped_of_it() {
    let observed = Observed::new().await;
    let agent = observed.owner.create_agent(&json!({"name": "a"})).await;
    let token = observed.owner.create_token(&agent, &["write_messages"]).await;
    let page = observed.server.stranger().page(&token);
    let sent = json!({"messages": [{"role": "user", "content": "Say \"Grüße\""}], "streaming": true, "nonsense": 1});
    let mut response =
        page.request(Method::POST, &format!("/v1/agents/{agent}/messages/stream")).json(&sent).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    while response.chunk().await.unwrap().is_some() {}
    let entry = observed.only("operation=StreamMessage").await;
    for (pointer, expected) in [
        ("/phase", json!("finished")),
        ("/sent/body", sent.clone()),
        ("/sent/body_bytes", json!(sent.to_string().len())),
        ("/sent/dropped_fields", json!(["body.nonsense"])),
        ("/decision/outcome", json!("admitted")),
        ("/answer/status", json!(200)),
        ("/answer/ended", json!("done")),
    ] {
        assert_eq!(entry.pointer(pointer), Some(&expected), "{pointer} of {entry}");
    }
    for text in ["Grüße", "Say%20%22Gr", "%22streaming%22:true"] {
        assert_eq!(observed.ids(&format!("text={text}")).await, [entry["id"].as_u64().unwrap()], "{text}");
    }
}
