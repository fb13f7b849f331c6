//! The mock as an App Server: the same agents, conversations and turns as over HTTP.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{RW, said};
use crate::harness::{Gatelet, Socket, input};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

async fn agent(gate: &Gatelet) -> String {
    let body = json!({"name": "ada", "memory_blocks": [{"label": "human", "value": "likes tea"}]});
    gate.owner().create_agent(&body).await
}

async fn page(gate: &Gatelet, agent: &str, words: &[&str]) -> Socket {
    Socket::page(gate, &gate.owner().create_token(agent, words).await).await
}

#[tokio::test]
async fn a_page_talks_to_its_agent_through_both_doors() {
    let gate = Gatelet::ephemeral().await;
    let agent = agent(&gate).await;
    let mut page = page(&gate, &agent, &RW).await;
    let started = page.start(&agent, "default").await;
    assert_eq!(started["success"], true, "{started}");
    assert_eq!(started["agent"], json!({"id": agent, "name": "ada", "model": started["agent"]["model"]}));
    page.input(&agent, "default", "hello over there").await;
    assert!(said(&mut page).await.contains("hello over there"));
    // What was said here is in the history of the V1 API, and the other way round.
    let messages = gate.owner().get(&format!("/v1/agents/{agent}/messages")).await.expect(200);
    assert!(messages.to_string().contains("hello over there"), "{messages}");
    let body = json!({"messages": [{"role": "user", "content": "by post"}]});
    gate.owner().post(&format!("/v1/agents/{agent}/messages"), &body).await;
    let history = page
        .ask(&json!({"type": "conversation_messages_list", "request_id": "m", "conversation_id": "default",
            "query": {"agent_id": agent, "limit": 2}}))
        .await;
    assert_eq!((&history["success"], &history["has_more"]), (&json!(true), &json!(true)), "{history}");
    assert_eq!(history["messages"][0]["message_type"], "assistant_message", "newest first");
    assert!(history.to_string().contains("by post"), "{history}");
}

#[tokio::test]
async fn conversations_are_made_listed_changed_and_copied() {
    let gate = Gatelet::ephemeral().await;
    let agent = agent(&gate).await;
    let other = gate.owner().create_agent(&json!({"name": "bob"})).await;
    let mut page = page(&gate, &agent, &RW).await;
    let body = json!({"agent_id": agent, "summary": "one"});
    let made = page.ask(&json!({"type": "conversation_create", "request_id": "1", "body": body})).await;
    let id = made["conversation"]["id"].as_str().unwrap().to_owned();
    let started = page.start(&agent, &id).await;
    assert_eq!(started["conversation"]["summary"], "one", "{started}");
    let frame =
        json!({"type": "conversation_update", "request_id": "2", "conversation_id": id, "body": {"summary": "two"}});
    assert_eq!(page.ask(&frame).await["conversation"]["summary"], "two");
    let frame = json!({"type": "conversation_fork", "request_id": "3", "conversation_id": id});
    let copy = page.ask(&frame).await["conversation"]["id"].as_str().unwrap().to_owned();
    let listed = page.ask(&json!({"type": "conversation_list", "request_id": "4"})).await;
    let mut ids: Vec<&str> =
        listed["conversations"].as_array().unwrap().iter().map(|found| found["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let mut expected = [id.as_str(), copy.as_str()];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    // Another agent's does not exist.
    let foreign = gate.owner().post(&format!("/v1/conversations/?agent_id={other}"), &json!({})).await.expect(200);
    let foreign = foreign["id"].as_str().unwrap();
    let frame = json!({"type": "conversation_retrieve", "request_id": "5", "conversation_id": foreign});
    let refused = page.ask(&frame).await;
    assert!(refused["error"].as_str().unwrap().starts_with("not_found: "), "{refused}");
    assert_eq!(page.start(&agent, foreign).await["success"], false);
}

#[tokio::test]
async fn messages_wait_behind_a_turn_and_run_in_their_order() {
    let gate = Gatelet::ephemeral().await;
    let agent = agent(&gate).await;
    let mut page = page(&gate, &agent, &RW).await;
    page.start(&agent, "default").await;
    for number in 1..=3 {
        page.send(&input(&format!("input-{number}"), &agent, "default", &format!("number {number}"))).await;
    }
    for number in 1..=3 {
        assert!(said(&mut page).await.contains(&format!("number {number}")));
    }
}

#[tokio::test]
async fn memory_is_the_agents_blocks() {
    let gate = Gatelet::ephemeral().await;
    let agent = agent(&gate).await;
    let mut page = page(&gate, &agent, &ALL).await;
    let listed = page.ask(&json!({"type": "list_memory", "request_id": "1", "agent_id": agent})).await;
    assert_eq!(listed["entries"][0]["relative_path"], "system/human.md", "{listed}");
    let frame = json!({"type": "read_memory_file", "request_id": "2", "agent_id": agent, "path": "system/human.md"});
    assert_eq!(page.ask(&frame).await["content"], "likes tea");
    let body = json!({"description": "mine", "metadata": {"k": 1}});
    let changed = page.ask(&json!({"type": "agent_update", "request_id": "3", "agent_id": agent, "body": body})).await;
    assert_eq!((&changed["agent"]["description"], &changed["agent"]["metadata"]), (&json!("mine"), &json!({"k": 1})));
}

#[tokio::test]
async fn what_the_mock_does_not_do_is_refused_at_once() {
    let gate = Gatelet::ephemeral().await;
    let agent = agent(&gate).await;
    let mut page = page(&gate, &agent, &ALL).await;
    let shell = page.ask(&json!({"type": "search_files", "request_id": "1", "query": "x"})).await;
    assert!(shell["error"].as_str().unwrap().starts_with("operation_not_available: "), "{shell}");
    let frame = json!({"type": "memory_commit_diff", "request_id": "2", "agent_id": agent, "sha": "0123abcd"});
    assert_eq!(page.ask(&frame).await["success"], false);
    let info = page.ask(&json!({"type": "app_server_info", "request_id": "3"})).await;
    assert_eq!((&info["success"], &info["letta_code_version"]), (&json!(true), &json!("0.34.12")));
}

/// The keys of a frame and of what is in it, in their order.
fn outline(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("{key}{}", outline(value))).collect();
            format!("{{{}}}", members.join(" "))
        }
        Value::Array(items) => items.first().map_or("[]".into(), |item| format!("[{}]", outline(item))),
        _ => String::new(),
    }
}

fn kind(frame: &Value) -> String {
    let kind = frame["type"].as_str().unwrap_or_default();
    frame["delta"]["message_type"].as_str().map_or(kind.to_owned(), |delta| format!("{kind} {delta}"))
}

/// An API key's frames pass unchanged, so they show what the mock itself says: a turn has the frames of a recorded turn, in
/// the same order and with the same keys.
#[tokio::test]
async fn a_turn_has_the_recorded_frames() {
    let gate = Gatelet::ephemeral().await;
    let agent = agent(&gate).await;
    let bearer = format!("Bearer {}", gate.key());
    let mut socket = Socket::open(&gate, "/ws", &[("authorization", &bearer)]).await.unwrap();
    socket.start(&agent, "default").await;
    socket.event("update_subagent_state").await;
    socket.input(&agent, "default", "hi").await;
    let mut frames = Vec::new();
    loop {
        let frame = socket.recv().await;
        let is_last = frame["type"] == "turn_finished";
        frames.push(frame);
        if is_last {
            break;
        }
    }
    let mut kinds: Vec<String> = frames.iter().map(kind).collect();
    kinds.dedup();
    let expected = [
        "input_accepted",
        "update_loop_status",
        "stream_delta assistant_message",
        "stream_delta usage_statistics",
        "stream_delta stop_reason",
        "update_loop_status",
        "turn_finished",
    ];
    assert_eq!(kinds, expected);
    let recorded = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/app-server/frames.jsonl"));
    let mut outlines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in recorded.unwrap().lines() {
        let frame = &serde_json::from_str::<Value>(line).unwrap()["frame"];
        // Who has which run is named by the run's id.
        let mut frame = frame.clone();
        if let Some(status) = frame.get_mut("loop_status").and_then(Value::as_object_mut) {
            status.remove("client_message_ids_by_run_id");
        }
        outlines.entry(kind(&frame)).or_default().push(outline(&frame));
    }
    for frame in &frames {
        let known = &outlines[&kind(frame)];
        assert!(known.contains(&outline(frame)), "{}\nis none of\n{}", outline(frame), known.join("\n"));
    }
}
