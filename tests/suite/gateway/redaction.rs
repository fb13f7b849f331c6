//! What a page is not told of an answer that passes, and of a list that it pages through.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Scene, scene};
use crate::harness::{Answer, NOBODY, Scripted, head, raw};

const CANARY: &str = "canary";

/// A body with what Letta may put there, and what a page is shown of it, but for spaces.
fn answers() -> Vec<(&'static str, String, String)> {
    vec![
        (
            "a run",
            format!(r#"{{"id": "run-1", "agent_id": "agent-1", "callback_url": "{CANARY}", "callback_error": "{CANARY}", "callback_status_code": null}}"#),
            r#"{"id":"run-1","agent_id":"agent-1","callback_url":"","callback_error":null,"callback_status_code":null}"#.into(),
        ),
        (
            "messages",
            format!("[{{\"id\":\"1\",\n \"sender_id\" : \"{CANARY}\"}},{{\"sender_id\":null,\"group_id\":\"{CANARY}\"}}]"),
            "[{\"id\":\"1\",\n\"sender_id\":\"\"},{\"sender_id\":null,\"group_id\":null}]".into(),
        ),
        (
            "a turn",
            format!(r#"{{"messages":[],"usage":{{"step_count":1,"run_ids":["{CANARY}","run-2"]}}}}"#),
            r#"{"messages":[],"usage":{"step_count":1,"run_ids":[]}}"#.into(),
        ),
        (
            "escapes",
            format!(r#"{{"s\u0065cr\u0065ts":[{{"value":"\"}}]{CANARY}"}}],"text":"\"secrets\":[1]"}}"#),
            r#"{"s\u0065cr\u0065ts":[],"text":"\"secrets\":[1]"}"#.into(),
        ),
        (
            "an error",
            format!(r#"{{"detail":{{"manager_agent_id":"{CANARY}","api_key":{{"a":["{CANARY}"]}}}}}}"#),
            r#"{"detail":{"manager_agent_id":null,"api_key":null}}"#.into(),
        ),
        // Not JSON, but nothing passes of what could be taken for it.
        ("what breaks off", format!("[{{\"secrets\": [\"{CANARY}"), "[{\"secrets\":[]".into()),
    ]
}

#[tokio::test]
async fn a_page_is_told_of_nobody_else_in_an_answer_that_passes() {
    let Scene { upstream, server: _server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/messages");
    for (why, sent, shown) in answers() {
        for status in [200, 409] {
            let answer = raw(status, &[("content-type", "application/json")], &sent);
            upstream.answer("GET", &path, answer);
            let answer = page.get(&path).await;
            assert_eq!((answer.status.as_u16(), answer.text.replace(' ', "")), (status, shown.clone()), "{why}");
            assert_eq!(answer.header("content-length"), Some(sent.len().to_string().as_str()), "{why}");
            assert_eq!(owner.get(&path).await.text, sent, "{why}: an API key gets it as it is");
        }
        // In pieces, which end anywhere.
        for size in [1, 2, 3, 7] {
            let held = upstream.hold("GET", &path);
            let asking = tokio::spawn({
                let (page, path) = (page.clone(), path.clone());
                async move { page.get(&path).await.text }
            });
            held.asked().await;
            held.send(head(200, &[("content-type", "application/json"), ("transfer-encoding", "chunked")]));
            sent.as_bytes().chunks(size).for_each(|piece| held.chunk(piece));
            held.end();
            let text = asking.await.unwrap();
            assert_eq!((text.replace(' ', ""), text.len()), (shown.clone(), sent.len()), "{why} {size}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_looked_into_does_not_pass() {
    let Scene { upstream, server: _server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/messages");
    let coded = [("content-type", "application/json"), ("content-encoding", "br")];
    upstream.answer("GET", &path, raw(200, &coded, CANARY));
    page.get(&path).await.refused(502, "upstream_unreachable");
    assert_eq!(owner.get(&path).await.text, CANARY);
}

fn id(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4())
}

#[tokio::test]
async fn a_page_begins_where_the_list_has_been_and_nowhere_else() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let other = upstream.agent();
    let of_agent = |rest: &str| format!("/v1/agents/{agent}/{rest}");
    let list = |ids: &[&str]| Scripted::Json(200, ids.iter().map(|id| json!({"id": id})).collect());
    let [own_run, own_step, own_conversation] =
        [upstream.run(&agent), upstream.step(&agent), upstream.conversation(&agent)];
    let [foreign_run, foreign_step, foreign_conversation] =
        [upstream.run(&other), upstream.step(&other), upstream.conversation(&other)];
    let (own_block, own_folder, own_tool) = (id("block"), id("source"), id("tool"));
    upstream.answer("GET", &of_agent("core-memory/blocks"), list(&[&id("block"), &own_block]));
    upstream.answer("GET", &of_agent("folders"), list(&[&own_folder]));
    upstream.answer("GET", &of_agent("tools"), list(&[&own_tool]));
    upstream.files(&agent, &[&[&id("file")], &[&id("file")]]);
    let (passage, scheduled, message) = (id("passage"), id("scheduled"), id("message"));
    upstream.passages(&agent, &[&passage]);
    let thing = json!({"id": scheduled, "agent_id": agent});
    upstream.answer("GET", &of_agent(&format!("schedule/{scheduled}")), Scripted::Json(200, thing));
    // Of the agent's messages the second of three; and one of another agent's, which Letta finds a place for.
    let [oldest, newest, foreign_message] = [id("message"), id("message"), id("message")];
    let messages = of_agent("messages");
    let asked = |rest: String| format!("{messages}?limit=2&{rest}");
    upstream.answer("GET", &messages, Scripted::Json(404, json!({"detail": "Message not found"})));
    for message in [&message, &foreign_message] {
        upstream.answer("GET", &asked(format!("order=asc&after={message}")), list(&[&newest]));
        upstream.answer("GET", &format!("{messages}?after={message}"), list(&[]));
        upstream.answer("GET", &format!("{messages}?before={message}"), list(&[]));
    }
    upstream.answer("GET", &asked(format!("order=desc&before={newest}")), list(&[&oldest, &message]));

    let foreign = |prefix: &str| id(prefix);
    for (path, own, foreign) in [
        (format!("/v1/runs/?agent_id={agent}&"), own_run.clone(), foreign_run),
        (format!("/v1/runs/?conversation_id={own_conversation}&"), own_run.clone(), upstream.run(&other)),
        (format!("/v1/steps/?agent_id={agent}&"), own_step.clone(), foreign_step.clone()),
        (format!("/v1/runs/{own_run}/steps?"), own_step.clone(), foreign_step),
        (format!("/v1/conversations/?agent_id={agent}&"), own_conversation.clone(), foreign_conversation),
        (format!("{messages}?"), message.clone(), foreign_message.clone()),
        (format!("/v1/conversations/{own_conversation}/messages?"), message.clone(), foreign_message.clone()),
        (format!("/v1/runs/{own_run}/messages?"), message.clone(), foreign_message.clone()),
        (format!("/v1/steps/{own_step}/messages?"), message.clone(), foreign_message),
        (of_agent("archival-memory?"), passage, foreign("passage")),
        (of_agent("schedule?"), scheduled, foreign("scheduled")),
        (of_agent("core-memory/blocks?"), own_block, foreign("block")),
        (of_agent("folders?"), own_folder.clone(), foreign("source")),
        (of_agent("sources?"), own_folder, foreign("source")),
        (of_agent("tools?"), own_tool, foreign("tool")),
        (of_agent("files?"), "file_agent-1".to_owned(), "file_agent-2".to_owned()),
    ] {
        let unknown = format!("{}{NOBODY}", foreign.split('-').next().unwrap());
        for cursor in ["after", "before"] {
            if cursor == "before" && (path.contains("schedule") || path.starts_with("/v1/conversations/?")) {
                continue;
            }
            upstream.forget();
            let target = |id: &str| format!("{path}{cursor}={id}");
            page.get(&target(&own)).await.expect(200);
            assert_eq!(upstream.take_passed().target(), target(&own));
            let answers = [page.get(&target(&foreign)).await, page.get(&target(&unknown)).await];
            let [foreign, unknown] = [(&answers[0], &foreign), (&answers[1], &unknown)].map(|(answer, id)| {
                answer.refused(404, "not_found");
                without_id(answer, id)
            });
            assert_eq!(foreign, unknown, "{path}{cursor}");
            assert!(upstream.passed().is_empty(), "{path}{cursor}: {:?}", upstream.passed());
            assert!(upstream.look_ups().len() <= 4, "{path}{cursor}: {:?}", upstream.look_ups());
        }
    }
    // What is no id is not asked about, and what is empty says nothing.
    for cursor in ["a%26limit%3D1", "..%2F..", "%22"] {
        upstream.forget();
        page.get(&format!("{messages}?after={cursor}")).await.refused(404, "not_found");
        assert!(upstream.seen().iter().all(|seen| !seen.target().starts_with(&messages)), "{:?}", upstream.seen());
    }
    upstream.answer("GET", &messages, list(&[&oldest]));
    page.send(Method::GET, &format!("{messages}?after=&limit=1"), None).await.expect(200);
    assert_eq!(upstream.take_passed().target(), format!("{messages}?limit=1"));
}

/// The body of an answer without what differs from request to request.
fn without_id(answer: &Answer, id: &str) -> String {
    let mut body = answer.expect(404);
    body["request_id"] = Value::Null;
    body.to_string().replace(id, "ID")
}
