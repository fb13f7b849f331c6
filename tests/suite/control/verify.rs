//! Verifying what a page has done: what is expected, what came near, and waiting for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::Control;
use crate::harness::{Client, Gatelet, ORIGIN};

const HELLO: &str = "Hello there";

/// A server with an agent, and a page that may talk to it.
struct World {
    server: Gatelet,
    control: Control,
    page: Client,
    agent: String,
    token: String,
}

impl World {
    async fn new() -> Self {
        let server = Gatelet::ephemeral().await;
        let agent = server.owner().create_agent(&json!({"name": "helper"})).await;
        let token = server.owner().create_token(&agent, &["read_messages", "write_messages"]).await;
        let page = server.stranger().page(&token);
        Self { control: Control::of_default(&server), page, agent, token, server }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/agents/{}/{rest}", self.agent)
    }

    async fn send(&self, text: &str) {
        let body = json!({"messages": [{"role": "user", "content": text}]});
        self.page.post(&self.path("messages"), &body).await.expect(200);
    }

    async fn verified(&self, request: Value) -> Value {
        self.control.post("/verify", &request).await.expect(200)
    }

    async fn fails(&self, request: Value) -> Value {
        self.control.post("/verify", &request).await.expect(417)
    }

    /// The cursor of now: what was before does not count.
    async fn now(&self) -> Value {
        self.control.get("/journal").await.expect(200)["next"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_has_done_is_verified_by_each_criterion() {
    let world = World::new().await;
    let after = world.now().await;
    world.send(HELLO).await;
    world.page.get(&world.path("messages?limit=5")).await.expect(200);
    world.page.get("/v1/agents/").await.refused(403, "operation_not_available");
    let jti =
        world.control.get("/journal?operation=SendMessage").await.expect(200)["entries"][0]["caller"]["jti"].clone();
    for (expectation, met) in [
        (json!({"operation": "SendMessage"}), true),
        (json!({"operation": "StreamMessage"}), false),
        (json!({"agent": world.agent}), true),
        (json!({"agent": "agent-2"}), false),
        (json!({"caller": "client_token"}), true),
        (json!({"caller": "api_key"}), false),
        (json!({"token": jti}), true),
        (json!({"token": world.token}), true),
        (json!({"token": "other"}), false),
        (json!({"origin": ORIGIN}), true),
        (json!({"origin": "https://evil.example"}), false),
        (json!({"status": 200}), true),
        (json!({"status": "4xx"}), true),
        (json!({"status": 500}), false),
        (json!({"code": "operation_not_available", "operation": "ListAgents"}), true),
        (json!({"outcome": "denied"}), true),
        (json!({"text": "lo th"}), true),
        (json!({"text": "Good bye"}), false),
        (json!({"headers": {"content-type": {"contains": "json"}}}), true),
        (json!({"headers": {"content-type": {"exists": false}}, "operation": "SendMessage"}), false),
        (json!({"body": {"/messages/0/content": HELLO}}), true),
        (json!({"body": {"/messages/0/content": {"matches": "^Hello"}}}), true),
        (json!({"body": {"/messages/0/content": {"matches": "^hello"}}}), false),
        (json!({"body": {"/messages": {"contains": {"role": "user"}}}}), true),
        (json!({"body": {"/messages/0/role": {"equals": "user"}, "/messages/1": {"exists": false}}}), true),
        (json!({"body": {"/stream": {"exists": true}}}), false),
        (json!({"body": {"": {"equals": {"messages": [{"role": "user", "content": HELLO}]}}}}), true),
    ] {
        let request = json!({"expect": [expectation], "after": after, "phase": "finished", "within": if met { "5s" } else { "0s" }});
        let answer = world.control.post("/verify", &request).await;
        assert_eq!(answer.status.as_u16(), if met { 200 } else { 417 }, "{expectation}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_and_number_are_verified() {
    let world = World::new().await;
    let after = world.now().await;
    world.send("one").await;
    world.page.get(&world.path("messages")).await.expect(200);
    world.send("two").await;
    let send = json!({"operation": "SendMessage"});
    let once = |text: &str| json!({"operation": "SendMessage", "text": text, "times": 1});
    let list = json!({"operation": "ListMessages"});
    let page = json!({"caller": "client_token"});
    for (why, request, met) in [
        ("in any order", json!({"expect": [list, once("two"), once("one")]}), true),
        ("as often", json!({"expect": [{"operation": "SendMessage", "times": 2}]}), true),
        ("not as often", json!({"expect": [{"operation": "SendMessage", "times": {"min": 3}}]}), false),
        ("in order", json!({"expect": [once("one"), list, once("two")], "order": "in_order"}), true),
        ("with one between", json!({"expect": [once("one"), once("two")], "order": "in_order"}), true),
        ("in the wrong order", json!({"expect": [once("two"), once("one")], "order": "in_order"}), false),
        ("exactly", json!({"expect": [send, list, send], "order": "exactly"}), true),
        ("not exactly", json!({"expect": [once("one"), once("two")], "order": "exactly"}), false),
        ("nothing else", json!({"expect": [send, list], "nothing_else": true}), true),
        ("something else", json!({"expect": [send], "nothing_else": true}), false),
        ("nothing of anybody else", json!({"expect": [page], "nothing_else": true}), true),
        ("nothing later", json!({"expect": [], "nothing_else": true, "after": world.now().await}), true),
    ] {
        let mut request = request;
        if request.get("after").is_none() {
            request["after"] = after.clone();
        }
        let answer = world.control.post("/verify", &request).await;
        assert_eq!(answer.status.as_u16(), if met { 200 } else { 417 }, "{why}: {}", answer.text);
    }
    let matched = world.verified(json!({"expect": [send, list], "after": after})).await;
    let ids: Vec<u64> = serde_json::from_value(matched["matched"][0].clone()).unwrap();
    assert_eq!((&matched["verified"], ids.len()), (&json!(true), 2));
    assert_eq!(matched["matched"][1], json!([ids[0] + 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_reports_what_came_near() {
    let world = World::new().await;
    let after = world.now().await;
    world.send("Hi").await;
    world.page.get("/v1/agents/").await.refused(403, "operation_not_available");
    let expected = json!({"operation": "SendMessage", "agent": world.agent, "caller": "client_token",
        "body": {"/messages/0/content": {"matches": "^Hello"}}, "times": 1});
    let report = world
        .fails(
            json!({"expect": [expected, {"operation": "RetrieveAgent", "outcome": "admitted"}], "nothing_else": true,
            "after": after}),
        )
        .await;
    assert_eq!((&report["code"], &report["verified"]), (&json!("verification_failed"), &json!(false)));
    let near = &report["missing"][0]["nearest"][0];
    assert_eq!((&report["missing"][0]["found"], &near["score"]), (&json!(0), &json!(3)));
    let failed: Vec<&Value> =
        near["criteria"].as_array().unwrap().iter().filter(|criterion| criterion["ok"] == false).collect();
    assert_eq!(failed, [&json!({"name": "body/messages/0/content", "ok": false, "expected": "^Hello", "found": "Hi"})]);
    assert_eq!(report["unexpected"].as_array().unwrap().len(), 2);
    let text = report["text"].as_str().unwrap();
    assert_eq!(text.lines().next(), report["message"].as_str());
    let ids = regex::Regex::new("agent-[0-9a-f-]{36}").unwrap();
    insta::assert_snapshot!(ids.replace_all(text, "agent-..."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_waits_until_it_holds_or_the_time_is_over() {
    let world = World::new().await;
    let after = world.now().await;
    let expect = json!([{"operation": "SendMessage", "text": "later"}]);
    let request = json!({"expect": expect, "after": after, "phase": "finished", "within": "20s"});
    let started = Instant::now();
    let (verified, ()) = tokio::join!(world.verified(request), async {
        world.send("first").await;
        world.send("later").await;
    });
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(verified["matched"][0].as_array().unwrap().len(), 1);
    // It does not hold, and nothing will happen.
    let request = json!({"expect": [{"operation": "StreamMessage"}], "after": after, "within": "300ms"});
    let started = Instant::now();
    world.fails(request).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_counts_as_soon_as_it_arrives_or_once_it_has_ended() {
    let world = World::new().await;
    let after = world.now().await;
    // The virtual clock holds the turn.
    world.control.put("/clock", &json!({"frozen": true, "timers": "virtual"})).await.expect(200);
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "streaming": true});
    let stream = world.page.request(http::Method::POST, &world.path("messages/stream")).json(&body);
    let mut stream = stream.send().await.unwrap();
    let expect = json!([{"operation": "StreamMessage"}]);
    world.verified(json!({"expect": expect, "after": after})).await;
    while stream.chunk().await.unwrap().is_some() {}
    world.verified(json!({"expect": expect, "after": after, "phase": "finished", "within": "10s"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_verification_is_refused_with_its_place() {
    let world = World::new().await;
    for (request, at) in [
        (json!({}), "/expect"),
        (json!({"expect": [{"operation": "Send"}]}), "/expect/0/operation"),
        (json!({"expect": [{"body": {"/a": {"matches": "("}}}]}), "/expect/0/body/~1a/matches"),
        (json!({"expect": [{"body": {"/a": {"matches": "(((a{100}){100}){100})"}}}]}), "/expect/0/body/~1a/matches"),
        (json!({"expect": [{}], "order": "sorted"}), "/order"),
        (json!({"expect": [{}], "within": "2h"}), "/within"),
        (json!({"expects": [{}]}), "/expects"),
    ] {
        let refusal = world.control.post("/verify", &request).await;
        assert_eq!(refusal.expect(422)["at"], at, "{request}: {}", refusal.text);
        assert_eq!(refusal.expect(422)["code"], "control_invalid");
    }
    let page = Control::of(&world.server.stranger().bearer(&world.token), "default");
    page.post("/verify", &json!({"nothing_else": true})).await.expect(403);
    page.post("/explain", &json!({"operations": true})).await.expect(403);
}

/// A namespace has a journal, a guard and a clock of its own.
#[tokio::test(flavor = "multi_thread")]
async fn each_namespace_verifies_and_explains_for_itself() {
    let server = Gatelet::ephemeral().await;
    let mut made = Vec::new();
    for name in ["one", "two"] {
        let body = json!({"name": name, "clock": {"now": "2030-01-05T09:00:00Z"}});
        let namespace = server.owner().post("/_gatelet/v1/ns", &body).await.expect(201);
        let owner = server.stranger().bearer(namespace["api_key"].as_str().unwrap());
        let agent = owner.create_agent(&json!({"name": "helper"})).await;
        let token = owner.create_token(&agent, &["read_agent"]).await;
        made.push((owner, agent, token));
    }
    let [(one, agent, token), (two, _, other)] = &made[..] else { panic!("two were made") };
    let (control, elsewhere) = (Control::of(one, "-"), Control::of(two, "two"));
    let path = format!("/v1/agents/{agent}");
    server.stranger().page(token).get(&path).await.expect(200);
    let read = json!({"expect": [{"operation": "RetrieveAgent", "times": 1}], "within": "5s"});
    control.post("/verify", &read).await.expect(200);
    let at_once = json!({"expect": [{"operation": "RetrieveAgent"}]});
    elsewhere.post("/verify", &at_once).await.expect(417);
    let explain = async |token: &str| {
        let question = json!({"token": token, "origin": ORIGIN, "method": "GET", "path": path});
        control.post("/explain", &question).await.expect(200)
    };
    assert_eq!(explain(token).await["outcome"], "admitted");
    // The other namespace's token is a stranger's.
    assert_eq!(explain(other).await["code"], "bearer_invalid");
    control.post("/clock/advance", &json!({"by": "6m"})).await.expect(200);
    let expired = explain(token).await;
    assert_eq!(expired["code"], "token_expired");
    let said = expired["steps"][1]["said"].as_str().unwrap();
    assert!(said.contains("expired at 2030-01-05T09:05:00.000Z, and it is 2030-01-05T09:06:00"), "{said}");
    // Who waits for what cannot happen any more is told so.
    let never = json!({"expect": [{"operation": "ListAgents"}], "within": "60s"});
    let watching = Control::of(&server.owner(), "one");
    let (waited, ()) = tokio::join!(watching.post("/verify", &never), async {
        server.owner().delete("/_gatelet/v1/ns/one").await;
    });
    waited.refused(404, "namespace_not_found");
}
