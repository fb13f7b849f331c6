//! Which requests are hit: where, when, by which of several faults, and what becomes of repeats.

use http::Method;
use serde_json::{Value, json};

use super::{Stage, said};
use crate::harness::{Answer, Client};

const HIT: u16 = 599;

/// The path of a list that differs from the others, so that no request looks like a repeat.
fn list(stage: &Stage, number: usize) -> String {
    stage.path(&format!("messages?limit={}", number + 1))
}

/// Which of several different requests are hit.
async fn pattern(stage: &Stage, from: usize, count: usize) -> String {
    let mut pattern = String::new();
    for number in from..from + count {
        let status = stage.page().get(&list(stage, number)).await.status.as_u16();
        pattern.push(if status == HIT { 'x' } else { '.' });
    }
    pattern
}

#[tokio::test(flavor = "multi_thread")]
async fn an_occasion_says_which_requests_are_hit() {
    let stage = Stage::new().await;
    let mut from = 0;
    for (when, expected, left) in [
        (json!({}), "xxxxxx", Value::Null),
        (json!({"nth": [1]}), "x.....", json!(0)),
        (json!({"nth": [2, 5, 9]}), ".x..x.", json!(1)),
        (json!({"first": 2}), "xx....", json!(0)),
        (json!({"every": 3}), "..x..x", Value::Null),
        (json!({"probability": 1}), "xxxxxx", Value::Null),
    ] {
        stage.only(&json!({"id": "one", "when": when, "do": {"status": HIT}})).await;
        assert_eq!(pattern(&stage, from, 6).await, expected, "{when}");
        let listed = stage.listed().await;
        let fired = expected.matches('x').count();
        assert_eq!((&listed[0]["fired"], &listed[0]["left"]), (&json!(fired), &left), "{listed}");
        from += 6;
    }
    // The numbers count from when the fault was added, and only what it concerns.
    stage.only(&json!({"where": {"operation": "ListMessages"}, "when": {"nth": [2]}, "do": {"status": HIT}})).await;
    stage.page().get(&format!("/v1/agents/{}", stage.agent)).await.expect(200);
    assert_eq!(pattern(&stage, from, 3).await, ".x.");
}

#[tokio::test(flavor = "multi_thread")]
async fn chance_depends_on_the_seed_alone() {
    let mut patterns = Vec::new();
    for ids in ["one", "one", "two"] {
        let fault = json!({"when": {"probability": 0.5}, "do": {"status": HIT}});
        let stage = Stage::with(json!({"ids": ids, "faults": [fault]})).await;
        patterns.push(pattern(&stage, 0, 24).await);
        // A snapshot has the counters.
        if ids == "two" {
            stage.namespace.control.put("/snapshots/s", &json!({})).await.expect(201);
            let after = pattern(&stage, 24, 24).await;
            stage.namespace.control.post("/snapshots/s/restore", &json!({})).await.expect(200);
            assert_eq!(pattern(&stage, 24, 24).await, after);
        }
    }
    assert_eq!(patterns[0], patterns[1], "the same run has the same faults");
    assert_ne!(patterns[0], patterns[2]);
    assert!(patterns.iter().all(|pattern| pattern.contains('x') && pattern.contains('.')), "{patterns:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_all_that_is_given() {
    let stage = Stage::new().await;
    let other = stage.back_end().create_agent(&json!({"name": "other"})).await;
    let conversation = stage.back_end().post(&format!("/v1/conversations/?agent_id={}", stage.agent), &json!({})).await;
    let conversation = conversation.expect(200)["id"].as_str().unwrap().to_owned();
    stage.page().get(&list(&stage, 0)).await.expect(200);
    let entries = stage.namespace.control.get("/journal?caller=client_token").await.expect(200);
    let jti = entries["entries"][0]["caller"]["jti"].clone();
    let requests: [(&str, Client, Method, String, Value); 5] = [
        ("page", stage.page(), Method::GET, list(&stage, 1), Value::Null),
        ("back end", stage.back_end(), Method::GET, list(&stage, 2), Value::Null),
        ("other", stage.back_end(), Method::GET, format!("/v1/agents/{other}/messages"), Value::Null),
        ("send", stage.page(), Method::POST, stage.path("messages"), said("Hello")),
        ("said", stage.back_end(), Method::POST, format!("/v1/conversations/{conversation}/messages"), {
            let mut body = said("In a conversation");
            body["streaming"] = false.into();
            body
        }),
    ];
    for (place, expected) in [
        (json!({}), vec!["page", "back end", "other", "send", "said"]),
        (json!({"operation": "ListMessages"}), vec!["page", "back end", "other"]),
        (json!({"operation": ["SendMessage", "SendConversationMessage"]}), vec!["send", "said"]),
        (json!({"operation": "POST /v1/agents/*/messages*"}), vec!["send"]),
        (json!({"operation": "GET /v1/agents/*"}), vec!["page", "back end", "other"]),
        (json!({"caller": "client_token"}), vec!["page", "send"]),
        (json!({"caller": "api_key"}), vec!["back end", "other", "said"]),
        (json!({"agent": stage.agent}), vec!["page", "back end", "send", "said"]),
        (json!({"agent": "helper"}), vec!["page", "back end", "send", "said"]),
        (json!({"agent": "Ada's helper"}), vec!["page", "back end", "send", "said"]),
        (json!({"agent": "other"}), vec!["other"]),
        (json!({"agent": "nobody"}), vec![]),
        (json!({"token": jti}), vec!["page", "send"]),
        (json!({"token": "page"}), vec!["page", "send"]),
        (json!({"token": stage.token}), vec!["page", "send"]),
        (json!({"token": "another"}), vec![]),
        (json!({"conversation": conversation}), vec!["said"]),
        (json!({"conversation": "default", "operation": "SendMessage"}), vec!["send"]),
        (json!({"agent": "helper", "caller": "api_key", "operation": "ListMessages"}), vec!["back end"]),
    ] {
        stage.only(&json!({"where": place, "when": {"retry": true}, "do": {"status": HIT}})).await;
        assert!(!stage.listed().await.to_string().contains(&stage.token), "a token is kept by its id");
        let mut hit = Vec::new();
        for (name, client, method, path, body) in &requests {
            let request = client.request(method.clone(), path);
            let request = if body.is_null() { request } else { request.json(body) };
            let answer = Answer::read(request.send().await.unwrap()).await;
            match answer.status.as_u16() {
                HIT => hit.push(*name),
                status => assert!(status < 300, "{name} {place}: {}", answer.text),
            }
        }
        assert_eq!(hit, expected, "{place}");
    }
    // What is refused is refused: it is hit by no fault.
    stage.only(&json!({"do": {"status": HIT}})).await;
    stage.page().get(&format!("/v1/agents/{other}")).await.refused(403, "agent_not_in_policy");
    assert_eq!(stage.listed().await[0]["fired"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_share_their_fault_unless_it_says_otherwise() {
    let stage = Stage::new().await;
    for (when, expected) in [
        // All attempts of the first request, and none of the second.
        (json!({"nth": [1]}), [HIT, HIT, HIT, 200]),
        (json!({"first": 1}), [HIT, HIT, HIT, 200]),
        // Fail once, then succeed.
        (json!({"nth": [1], "retry": false}), [HIT, 200, 200, 200]),
        (json!({"retry": false}), [HIT, 200, 200, HIT]),
        // Each attempt counts.
        (json!({"first": 2, "retry": true}), [HIT, HIT, 200, 200]),
        (json!({"nth": [3], "retry": true}), [200, 200, HIT, 200]),
    ] {
        for (marked, client) in [(true, stage.page()), (false, stage.page()), (true, stage.back_end())] {
            stage.only(&json!({"where": {"operation": "SendMessage"}, "when": when, "do": {"status": HIT}})).await;
            let mut seen = Vec::new();
            for (attempt, text) in ["a", "a", "a", "b"].iter().enumerate() {
                // The SDK of the first generation does not mark its attempts: after a failure the same is a repeat.
                let count = if marked && *text == "a" { attempt.to_string() } else { "0".into() };
                let body = said(&format!("{text} {when} {marked}"));
                let request =
                    client.with("x-stainless-retry-count", &count).request(Method::POST, &stage.path("messages"));
                seen.push(request.json(&body).send().await.unwrap().status().as_u16());
            }
            // Without a mark, only a request after a failure is known to be a repeat.
            if marked || !(when["retry"] == json!(false) && expected[3] == HIT) {
                assert_eq!(seen, expected, "{when}, marked: {marked}");
            }
        }
    }
    // A repeat of a request that was not hit is not hit either.
    stage.only(&json!({"where": {"operation": "SendMessage"}, "when": {"nth": [2]}, "do": {"status": HIT}})).await;
    let mut seen = Vec::new();
    for (count, text) in [("0", "c"), ("1", "c"), ("0", "d"), ("1", "d")] {
        let client = stage.page().with("x-stainless-retry-count", count);
        seen.push(client.post(&stage.path("messages"), &said(text)).await.status.as_u16());
    }
    assert_eq!(seen, [200, 200, HIT, HIT]);
    // Once a fault is deleted, repeats of what it hit are not.
    stage.clear().await;
    let client = stage.page().with("x-stainless-retry-count", "2");
    client.post(&stage.path("messages"), &said("d")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fires_the_first_by_priority_then_the_newest() {
    let stage = Stage::new().await;
    let fault = |id: &str, priority: i32, when: Value, status: u16| json!({"id": id, "priority": priority, "when": when, "do": {"status": status}});
    for fault in [
        fault("old", 0, json!({}), 501),
        fault("first", -1, json!({"nth": [1]}), 502),
        fault("last", 7, json!({}), 503),
        fault("new", 0, json!({"nth": [1, 3]}), 504),
    ] {
        stage.add(&fault).await;
    }
    let listed = stage.listed().await;
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|fault| fault["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["first", "new", "old", "last"]);
    let mut seen = Vec::new();
    for number in 0..4 {
        let answer = stage.page().get(&list(&stage, number)).await;
        let entry = stage.entry_of(&answer).await;
        seen.push((answer.status.as_u16(), entry["fault"]["id"].as_str().unwrap().to_owned()));
    }
    // All that concern a request count it, also those that do not fire.
    let expected = [(502, "first"), (501, "old"), (504, "new"), (501, "old")];
    assert_eq!(seen, expected.map(|(status, id)| (status, id.to_owned())));
    let fired: Vec<Value> =
        stage.listed().await.as_array().unwrap().iter().map(|fault| fault["fired"].clone()).collect();
    assert_eq!(fired, [1, 1, 2, 0].map(Value::from));
    // One of several is deleted.
    for (id, status) in [("first", 204), ("first", 204), ("old", 204)] {
        assert_eq!(stage.namespace.control.send(Method::DELETE, &format!("/faults/{id}")).await.status, status);
    }
    assert_eq!(stage.page().get(&list(&stage, 9)).await.status, 503);
}
