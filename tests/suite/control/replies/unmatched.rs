//! What happens to turns that no reply fits, and to replies that no turn fits.

use super::*;

#[tokio::test]
async fn a_strict_namespace_refuses_a_turn_without_a_reply_and_says_what_came_near() {
    let stage = Stage::with(json!({"unmatched": "refuse", "replies": [
        says(json!({"id": "weather", "user": "weather in (?<city>\\w+)", "agent": "helper"}), "Sunny."),
        says(json!({"id": "told", "agent": "other", "state": "told", "text": "x"}), "x"),
        says(json!({"id": "once", "text": "once", "times": 1}), "Once."),
    ]}))
    .await;
    assert_eq!(stage.say("weather in Rome").await, "Sunny.");
    assert_eq!(stage.say("once").await, "Once.");
    let answer = stage.send(&json!({"input": "Hello once"})).await;
    let report = failed(&answer);
    for expected in [
        "\"helper\"",
        "Hello once",
        "weather: user: \"weather in (?<city>\\\\w+)\" does not match",
        "once: times: it was used 1 of 1 times",
        "told: state: expected \"told\", found \"started\"; agent: expected \"other\"",
    ] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    assert!(report.find("once:").unwrap() < report.find("told:").unwrap(), "the nearest first: {report}");
    let noted = stage.noted(&answer).await;
    assert_eq!((&noted["source"], noted["near_misses"].as_array().unwrap().len()), (&json!("refused"), 3), "{noted}");
    let near = noted["near_misses"].as_array().unwrap().iter().find(|near| near["id"] == "weather").unwrap();
    assert_eq!(near["criteria"][0], json!({"name": "agent", "ok": true}));
    assert_eq!(
        near["criteria"][1],
        json!({"name": "user", "ok": false, "expected": "weather in (?<city>\\w+)", "found": "Hello once"})
    );
    // The turn failed: nothing of it stays.
    let messages = stage.owner().get(&stage.path("")).await.expect(200);
    assert!(!messages.to_string().contains("Hello once"), "{messages}");
    // In a stream and in the background.
    let stream = stage.owner().post(&stage.path("/stream"), &json!({"input": "Hello"})).await;
    assert!(
        stream.text.contains("\"error_type\":\"llm_error\"") && stream.text.contains("No reply fits"),
        "{}",
        stream.text
    );
    let run = stage.owner().post(&stage.path("/async"), &json!({"input": "Hello"})).await.expect(200);
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    crate::harness::eventually("the run fails", std::time::Duration::from_secs(20), || async {
        let run = stage.owner().get(&path).await.expect(200);
        run["status"] == "failed" && run.to_string().contains("No reply fits")
    })
    .await;
    // It can be changed.
    let changed = stage.owner().patch("/_gatelet/v1/ns/-/replies", &json!({"unmatched": "echo"})).await.expect(200);
    assert_eq!(changed, json!({"unmatched": "echo"}));
    assert_eq!(stage.say("Hello").await, "Echo: Hello");
    assert_eq!(stage.control().get("/replies").await.expect(200)["unmatched"], "echo");
    let script = json!({"unmatched": "refuse"});
    assert_eq!(stage.control().put("/script", &script).await.expect(200), json!({"ids": []}));
    let report = failed(&stage.send(&json!({"input": "Hello"})).await);
    assert!(report.contains("There are no replies."), "{report}");
}

#[tokio::test]
async fn reports_have_no_credentials() {
    let stage = Stage::with(json!({"unmatched": "refuse", "replies": [says(json!({"text": "nothing"}), "x")]})).await;
    let key = &stage.namespace.key;
    let answer = stage.send(&json!({"input": format!("{} my key is {key}", "x".repeat(150))})).await;
    let noted = stage.noted(&answer).await.to_string();
    assert!(noted.contains("xxx") && answer.text.contains("my key is"), "{noted}");
    for part in [&**key, &key[..40.min(key.len())]] {
        assert!(!noted.contains(part) && !answer.text.contains(part), "{noted} {}", answer.text);
    }
}

#[tokio::test]
async fn a_generated_completion_gets_a_reply_too() {
    let stage = Stage::with(json!({"replies": [says(json!({"text": "poem"}), "Roses.")]})).await;
    let path = format!("/v1/agents/{}/generate", stage.agent);
    let answer = stage.owner().post(&path, &json!({"prompt": "a poem"})).await;
    assert_eq!(answer.expect(200)["content"], "Roses.");
    assert_eq!(stage.noted(&answer).await["source"], "reply");
    stage.owner().patch("/_gatelet/v1/ns/-/replies", &json!({"unmatched": "refuse"})).await.expect(200);
    let answer = stage.owner().post(&path, &json!({"prompt": "else"})).await;
    assert!(answer.text.contains("No reply fits"), "{}", answer.text);
}

#[tokio::test]
async fn what_is_not_used_is_named() {
    let agents = ["one", "two", "three"].map(|name| json!({"ref": name, "name": name, "model": "openai/gpt-4o-mini"}));
    let seed = json!({
        "agent": agents,
        "block": [{"ref": "note", "label": "note", "value": "x"}],
    });
    let server = Gatelet::ephemeral().await;
    let body =
        json!({"seed": seed, "replies": [says(json!({"id": "a", "text": "a"}), "A."), says(json!({"id": "b"}), "B.")]});
    let namespace = Namespace::create(&server, &body).await;
    let unused = async || {
        let mut unused = namespace.control.get("/unused").await.expect(200);
        unused["refs"].as_array_mut().unwrap().sort_by_key(Value::to_string);
        unused
    };
    assert_eq!(unused().await, json!({"replies": ["a", "b"], "faults": [], "refs": ["note", "one", "three", "two"]}));
    let id = |name: &str| namespace.created["refs"][name].as_str().unwrap().to_owned();
    namespace.owner.get(&format!("/v1/agents/{}", id("one"))).await.expect(200);
    // A turn touches its agent, whatever names it.
    let body = json!({"model": id("two"), "stream": true, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(namespace.owner.post("/v1/chat/completions", &body).await.status, 200);
    assert_eq!(unused().await, json!({"replies": ["a"], "faults": [], "refs": ["note", "three"]}));
    namespace.owner.get(&format!("/v1/blocks/{}", id("note"))).await.expect(200);
    assert_eq!(unused().await["refs"], json!(["three"]));
    namespace.control.send(Method::DELETE, "/journal").await;
    assert_eq!(unused().await["refs"], json!(["three"]), "what happened is no entry");
    namespace.control.post("/reset", &json!({})).await.expect(200);
    assert_eq!(unused().await, json!({"replies": ["a", "b"], "faults": [], "refs": ["note", "one", "three", "two"]}));
}
