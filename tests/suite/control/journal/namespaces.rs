//! Each namespace has a journal of its own.

use super::*;

/// The entries that a call of the control API lists.
fn ids(list: &Value) -> Vec<u64> {
    list["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_request_is_in_the_journal_of_its_namespace_and_of_no_other() {
    let observed = Observed::new().await;
    let clock = json!({"now": "2030-01-05T09:00:00Z", "timers": "virtual"});
    let one = Namespace::create(&observed.server, &json!({"name": "one", "clock": clock})).await;
    let two = Namespace::create(&observed.server, &json!({"name": "two"})).await;
    let agent = one.owner.create_agent(&json!({"name": "a"})).await;
    let token = one.owner.create_token(&agent, &["read_agent"]).await;
    let (stranger, path) = (observed.server.stranger(), format!("/v1/agents/{agent}"));
    let asks = stranger.with("origin", ORIGIN).with("access-control-request-method", "GET");
    assert_eq!(asks.send(Method::OPTIONS, &path, None).await.status, 204);
    let answer = stranger.page(&token).get(&path).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-gatelet-entry")), (200, Some("one/3")));
    two.owner.get(&path).await.refused(404, "not_found");
    // Another namespace's name beside the key.
    one.owner.with("x-gatelet-namespace", "two").get(&path).await.refused(400, "namespace_mismatch");
    observed.owner.with("x-gatelet-namespace", "two").get(&path).await.refused(404, "not_found");
    for unknown in ["sk-let-0123456789abcdef", "ck-let-eyJ0eXAiOiJjayJ9.e30.c2ln", "sk-let-test0123456789abcdef"] {
        stranger.bearer(unknown).get(&path).await.refused(401, "bearer_invalid");
    }
    assert_eq!(ids(&one.control.get("/journal").await.expect(200)), [1, 2, 3, 4]);
    assert_eq!(ids(&two.control.get("/journal").await.expect(200)), [1, 2]);
    assert_eq!(ids(&observed.list("").await), [1, 2, 3], "whose bearer nobody knows");
    let entry = one.control.get("/journal/3").await.expect(200);
    assert_eq!((&entry["namespace"], &entry["preflight"]["status"]), (&json!("one"), &json!(204)), "{entry}");
    assert_eq!(entry["at"], "2030-01-05T09:00:00.000000Z");
    assert!(entry["real_at"].as_str().unwrap() < "2030", "{entry}");
    assert_eq!(entry["caller"]["expires_in_ms"], 300_000, "by the clock of the namespace");
    let mismatch = one.control.get("/journal/4").await.expect(200);
    assert_eq!(mismatch["answer"]["code"], "namespace_mismatch");
    // The key of a namespace reads its own journal, that of the server every one.
    for path in ["journal", "journal/1", "journal/1/frames", "events"] {
        let path = format!("/_gatelet/v1/ns/two/{path}");
        one.owner.get(&path).await.refused(403, "control_not_allowed");
    }
    one.owner.delete("/_gatelet/v1/ns/two/journal").await.refused(403, "control_not_allowed");
    assert_eq!(ids(&observed.owner.get("/_gatelet/v1/ns/two/journal").await.expect(200)), [1, 2]);
}

#[tokio::test]
async fn agents_and_tokens_are_shown_by_the_names_of_the_seed() {
    let server = Gatelet::ephemeral().await;
    let seed = json!({
        "agent": [{"ref": "helper", "name": "helper", "model": "openai/gpt-4o-mini"}],
        "token": [{"ref": "page", "agent": "helper", "access": ["read_agent"], "hostname": ORIGIN}],
    });
    let namespace = Namespace::create(&server, &json!({"seed": seed})).await;
    let agent = namespace.created["refs"]["helper"].as_str().unwrap();
    namespace.owner.get(&format!("/v1/agents/{agent}")).await.expect(200);
    let list = namespace.control.get("/journal?agent=helper").await.expect(200);
    assert_eq!((ids(&list), &list["entries"][0]["refs"]), (vec![1], &json!({"agent": "helper"})));
    let token = namespace.created["tokens"]["page"]["token"].as_str().unwrap();
    server.stranger().page(token).get(&format!("/v1/agents/{agent}")).await.expect(200);
    let list = namespace.control.get("/journal?caller=client_token").await.expect(200);
    assert_eq!(list["entries"][0]["refs"], json!({"agent": "helper", "token": "page"}), "{list}");
    assert_eq!(ids(&namespace.control.get(&format!("/journal?token={token}")).await.expect(200)), [2]);
}

#[tokio::test]
async fn a_journal_outlasts_a_reset_only_if_it_is_kept_and_ends_with_its_namespace() {
    let server = crate::harness::Program::ephemeral().env("GATELET_MOCK__FIRST_TOKEN", "60s").start_alone().await;
    let clock = json!({"frozen": true, "timers": "virtual"});
    let namespace = Namespace::create(&server, &json!({"clock": clock})).await;
    let control = &namespace.control;
    let agent = namespace.owner.create_agent(&json!({"name": "a"})).await;
    let path = format!("/v1/agents/{agent}/messages/stream");
    let body = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let stream = namespace.owner.request(Method::POST, &path).json(&body).send().await.unwrap();
    control.post("/reset", &json!({"keep": ["journal"]})).await.expect(200);
    let list = control.get("/journal?operation=StreamMessage&phase=finished&wait=30s").await.expect(200);
    let answer = &list["entries"][0]["answer"];
    assert_eq!((&answer["ended"], &answer["by"]), (&json!("cut"), &json!("server")), "{list}");
    assert!(stream.text().await.is_err());
    control.post("/reset", &json!({})).await.expect(200);
    namespace.owner.create_agent(&json!({"name": "a"})).await;
    assert_eq!(ids(&control.get("/journal").await.expect(200)), [3], "ids go on");
    let base = format!("/_gatelet/v1/ns/{}", namespace.name);
    let mut events = server.owner().request(Method::GET, &format!("{base}/events")).send().await.unwrap();
    assert_eq!(events.chunk().await.unwrap().unwrap(), ": listening\n\n");
    let waiting = format!("{base}/journal?code=internal&wait=30s");
    let owner = server.owner();
    let (waited, ()) = tokio::join!(owner.get(&waiting), async {
        // The call may not wait yet: then it finds that the namespace is gone.
        assert_eq!(owner.delete(&base).await.status, 204);
    });
    waited.refused(404, "namespace_not_found");
    assert_eq!(events.chunk().await.unwrap(), None, "events end");
}
