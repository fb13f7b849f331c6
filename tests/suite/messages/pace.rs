//! Turns whose model takes time, and what becomes of them when they are cancelled in the middle.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{path, said};
use crate::harness::{Answer, Client, Engine, Gatelet, Program, eventually, on_both_engines};

const SOON: Duration = Duration::from_secs(30);
/// Longer than any test.
const NEVER: &str = "1h";

/// A server whose models never go on by themselves.
async fn slow(engine: Engine, setting: &str) -> (Gatelet, Client) {
    let program = Program::on(engine).await.env(setting, NEVER);
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let server = program.start_alone().await;
    let owner = server.stranger().bearer(&key);
    (server, owner)
}

/// The ways to ask for a turn: the route below an agent, and what its body says beside.
fn ways() -> Vec<(&'static str, Value)> {
    vec![
        ("", json!({})),
        ("", json!({"streaming": true})),
        ("/stream", json!({"stream_tokens": true})),
        ("/stream", json!({"stream_tokens": true, "background": true})),
        ("/async", json!({})),
    ]
}

fn asking(owner: &Client, url: String, body: &Value, text: &str) -> tokio::task::JoinHandle<Answer> {
    let (owner, mut body) = (owner.clone(), body.clone());
    body["input"] = json!(text);
    tokio::spawn(async move { owner.post(&url, &body).await })
}

/// The one run of an agent that is under way.
async fn active(owner: &Client, agent: &str) -> String {
    let url = format!("/v1/runs/?agent_id={agent}&active=true");
    eventually("the run is found", SOON, async || owner.get(&url).await.expect(200)[0]["id"].is_string()).await;
    owner.get(&url).await.expect(200)[0]["id"].as_str().unwrap().to_owned()
}

/// Whether an answer tells that its run was cancelled, in its way.
fn tells_of_the_end(answer: &Answer, route: &str, body: &Value, run: &str) {
    match route {
        "/async" => assert_eq!(answer.expect(200)["id"], run),
        _ if body["streaming"] == true || route == "/stream" => {
            assert_eq!(answer.text.matches("\"stop_reason\":\"cancelled\"").count(), 1, "{}", answer.text);
            assert!(answer.text.ends_with("data: [DONE]\n\n") && !answer.text.contains("Echo"), "{}", answer.text);
        }
        _ => assert_eq!(answer.expect(200)["stop_reason"]["stop_reason"], "cancelled"),
    }
}

on_both_engines! {
    async fn every_turn_can_be_cancelled_while_its_model_thinks(engine: Engine) {
        let (_server, owner) = slow(engine, "GATELET_MOCK__FIRST_TOKEN").await;
        let agent = owner.create_agent(&json!({})).await;
        let conversation = owner.post(&format!("/v1/conversations/?agent_id={agent}"), &json!({})).await.expect(200);
        let conversation = format!("/v1/conversations/{}", conversation["id"].as_str().unwrap());
        let mut turns: Vec<(String, &str, Value)> = Vec::new();
        for (route, body) in ways() {
            turns.push((path(&agent, route), route, body));
        }
        for body in [json!({"streaming": false}), json!({"streaming": true, "stream_tokens": true})] {
            turns.push((format!("{conversation}/messages"), "", body));
        }
        for (index, (url, route, body)) in turns.iter().enumerate() {
            let turn = asking(&owner, url.clone(), body, "Hello");
            let run = active(&owner, &agent).await;
            let (cancel, by) = match (index % 2, url.starts_with("/v1/conversations")) {
                (_, true) => (format!("{conversation}/cancel"), json!({})),
                (0, false) => (path(&agent, "/cancel"), json!({})),
                (_, false) => (path(&agent, "/cancel"), json!({"run_ids": [run]})),
            };
            assert_eq!(owner.post(&cancel, &by).await.expect(200), json!({&run: "cancelled"}), "{url} {body}");
            let ended = owner.get(&format!("/v1/runs/{run}")).await.expect(200);
            assert_eq!([&ended["status"], &ended["stop_reason"]], ["cancelled", "cancelled"], "{url} {body}");
            tells_of_the_end(&turn.await.unwrap(), route, body, &run);
        }
        let asked = said(&owner, &agent).await;
        assert!(!asked.is_empty() && asked.iter().all(|text| text == "Hello"), "{asked:?}");
    }

    async fn a_turn_that_is_cancelled_between_two_tokens_keeps_what_it_has_said(engine: Engine) {
        let (_server, owner) = slow(engine, "GATELET_MOCK__TOKEN_INTERVAL").await;
        for (route, body) in ways() {
            let agent = owner.create_agent(&json!({})).await;
            let turn = asking(&owner, path(&agent, route), &body, "a text of several pieces");
            let run = active(&owner, &agent).await;
            assert_eq!(owner.post(&path(&agent, "/cancel"), &json!({})).await.expect(200), json!({&run: "cancelled"}));
            let answer = turn.await.unwrap();
            let kept = said(&owner, &agent).await;
            assert_eq!(kept[0], "a text of several pieces");
            // Pieces that were sent are kept; what was not said as a whole is not.
            let whole = "Echo: a text of several pieces";
            match (body["stream_tokens"] == true, kept.get(1)) {
                (true, said) => assert!(said.is_none_or(|said| whole.starts_with(said) && said.len() < whole.len())),
                (false, said) => assert_eq!(said, None, "{route} {body}"),
            }
            assert!(!answer.text.contains("pieces\"") || route == "/async", "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_step_takes_its_time_however_it_is_told() {
    const FIRST: Duration = Duration::from_millis(60);
    const INTERVAL: Duration = Duration::from_millis(30);
    let program = Program::ephemeral().env("GATELET_MOCK__FIRST_TOKEN", "60ms");
    let server = program.env("GATELET_MOCK__TOKEN_INTERVAL", "30ms").start_alone().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"tools": ["web_search"]})).await;
    // "Echo: " and the text are eight pieces of eight letters.
    let text = "x".repeat(58);
    let least = FIRST + 7 * INTERVAL;
    for (route, body) in ways() {
        let begun = Instant::now();
        let answer = asking(&owner, path(&agent, route), &body, &text).await.unwrap();
        if route == "/async" {
            let run = format!("/v1/runs/{}", answer.expect(200)["id"].as_str().unwrap());
            eventually("it ends", SOON, async || owner.get(&run).await.expect(200)["status"] == "completed").await;
        }
        assert!(begun.elapsed() >= least, "{route} {body}: {:?}", begun.elapsed());
        assert_eq!(said(&owner, &agent).await.last().unwrap(), &format!("Echo: {text}"), "{route} {body}");
    }
    // Every step of a turn takes it.
    let begun = Instant::now();
    let called = json!({"input": "[[call:web_search {\"query\": \"tea\"}]]"});
    let answer = owner.post(&path(&agent, ""), &called).await.expect(200);
    assert_eq!(answer["usage"]["step_count"], 2);
    assert!(begun.elapsed() >= 2 * FIRST);
}
