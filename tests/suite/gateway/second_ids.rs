//! Passages, files and scheduled messages do not say whose they are: the agent's own lists prove it, in a few look-ups.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Scene, scene};
use crate::harness::{NOBODY, Scripted, Seen, Upstream, head};

fn id(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4())
}

/// Scripts the archive of these agents.
fn archive(upstream: &Upstream, agents: &[&str]) {
    let id = id("archive");
    upstream.answer("GET", "/v1/archives/", Scripted::Json(200, json!([{"id": id}])));
    let agents: Vec<Value> = agents.iter().map(|agent| json!({"id": agent})).collect();
    upstream.answer("GET", &format!("/v1/archives/{id}/agents"), Scripted::Json(200, json!(agents)));
}

fn lines(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| seen.line().to_owned()).collect()
}

#[tokio::test]
async fn a_passage_of_the_agents_archive_is_found_wherever_it_stands() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    archive(&upstream, &[&agent]);
    let list = format!("/v1/agents/{agent}/archival-memory");
    for length in [1, 2, 3, 20, 60] {
        let passages: Vec<String> = (0..length).map(|_| id("passage")).collect();
        upstream.passages(&agent, &passages.iter().map(String::as_str).collect::<Vec<_>>());
        for index in [0, 1, length / 2, length - 1] {
            let Some(passage) = passages.get(index) else { continue };
            upstream.forget();
            let answer = page.delete(&format!("{list}/{passage}")).await;
            assert_eq!(answer.outcome(), "200", "{index} of {length}: {:?}", lines(&upstream.seen()));
            let asked = lines(&upstream.look_ups()).into_iter().filter(|line| line.starts_with(&format!("GET {list}")));
            assert!(asked.count() <= 2, "{index} of {length}");
            assert_eq!(upstream.take_passed().line(), format!("DELETE {list}/{passage}"));
        }
    }
}

#[tokio::test]
async fn a_passage_that_is_not_in_the_agents_list_is_not_there() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    archive(&upstream, &[&agent]);
    let list = format!("/v1/agents/{agent}/archival-memory");
    let (own, foreign, later) = (id("passage"), id("passage"), id("passage"));
    upstream.passages(&agent, &[&own, &later]);
    // Letta resolves a cursor of any archive: what comes before is the agent's, the passage itself is not.
    let around = json!([{"id": own}]);
    upstream.answer("GET", &format!("{list}?before={foreign}&ascending=false&limit=1"), Scripted::Json(200, around));
    for passage in [foreign.as_str(), &id("passage"), "passage", "1"] {
        upstream.forget();
        page.delete(&format!("{list}/{passage}")).await.refused(404, "not_found");
        assert!(upstream.passed().is_empty(), "{passage}: {:?}", upstream.passed());
        assert!(upstream.look_ups().len() <= 3, "{passage}: {:?}", lines(&upstream.look_ups()));
    }
    // What could mean something in a path or a query is not asked about.
    for passage in ["a&limit=2", "a=b", "a+b", "b%C3%BCro", "a:b", &"x".repeat(129)] {
        upstream.forget();
        page.delete(&format!("{list}/{passage}")).await.refused(404, "not_found");
        assert!(upstream.seen().iter().all(|seen| !seen.target().starts_with(&list)), "{:?}", upstream.seen());
    }
    let before = format!("{list}?before={own}&ascending=false&limit=1");
    let after = format!("{list}?ascending=true&limit=20");
    for (why, target, answer) in [
        ("no list", &after, json!({"id": own})),
        ("null", &after, Value::Null),
        ("no ids", &after, json!(["x", {"text": own}])),
        ("an odd cursor", &before, json!([{"id": "a&limit=1000"}])),
        ("a cursor without an id", &before, json!([{"text": "x"}])),
    ] {
        upstream.passages(&agent, &[&own]);
        upstream.answer("GET", target, Scripted::Json(200, answer));
        upstream.forget();
        page.delete(&format!("{list}/{own}")).await.refused(404, "not_found");
        assert!(upstream.passed().is_empty(), "{why}: {:?}", upstream.passed());
    }
}

#[tokio::test]
async fn a_passage_that_others_read_too_is_not_deleted() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let other = upstream.agent();
    let passage = id("passage");
    upstream.passages(&agent, &[&passage]);
    let path = format!("/v1/agents/{agent}/archival-memory/{passage}");
    for (agents, expected) in [(vec![&*agent, &other], "403 agent_not_in_policy"), (vec![&*agent], "200")] {
        archive(&upstream, &agents);
        upstream.forget();
        assert_eq!(page.delete(&path).await.outcome(), expected);
        assert_eq!(upstream.passed().len(), usize::from(expected == "200"));
    }
}

#[tokio::test]
async fn a_file_is_the_agents_when_its_list_says_so() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let (first, second, last) = (id("file"), id("file"), id("file"));
    upstream.files(&agent, &[&[&first, &second], &[], &[&last]]);
    for (file, expected) in [
        (&first, "200"),
        (&second, "200"),
        (&last, "200"),
        (&id("file"), "404 not_found"),
        // The id of the attachment is no file's.
        (&"file_agent-0".to_owned(), "422 validation_failed"),
    ] {
        for rest in ["open", "close"] {
            upstream.forget();
            let path = format!("/v1/agents/{agent}/files/{file}/{rest}");
            assert_eq!(page.send(Method::PATCH, &path, None).await.outcome(), expected, "{path}");
            assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{path}");
        }
    }
    let list = format!("/v1/agents/{agent}/files?limit=100");
    for (why, answer) in [
        ("no files", json!({"files": [], "next_cursor": null, "has_more": false})),
        ("a bare list", json!([{"file_id": "ID"}])),
        ("no list", json!({"files": {"file_id": "ID"}, "has_more": false})),
        ("another id", json!({"files": [{"id": "ID", "file_name": "ID"}], "has_more": false})),
        ("an odd cursor", json!({"files": [], "next_cursor": "x&limit=1000", "has_more": true})),
        ("no cursor", json!({"files": [], "has_more": true})),
        ("no end", json!({"files": [], "next_cursor": "x", "has_more": true})),
        ("null", Value::Null),
    ] {
        // What was proven a moment ago is remembered, so another file is asked about.
        let file = id("file");
        let answer: Value = serde_json::from_str(&answer.to_string().replace("ID", &file)).unwrap();
        upstream.answer("GET", &list, Scripted::Json(200, answer.clone()));
        upstream.answer("GET", &format!("{list}&cursor=x"), Scripted::Json(200, answer));
        upstream.forget();
        let path = format!("/v1/agents/{agent}/files/{file}/open");
        page.send(Method::PATCH, &path, None).await.refused(404, "not_found");
        let asked = upstream.look_ups();
        assert!(upstream.passed().is_empty() && asked.len() <= 11, "{why}: {asked:?}");
        assert!(asked.iter().all(|seen| !seen.target().contains("limit=1000")), "{why}: {asked:?}");
    }
}

#[tokio::test]
async fn a_scheduled_message_is_the_agents_that_it_names() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let other = upstream.agent();
    let of = |agent: Value| move |id: &str| json!({"id": id, "agent_id": agent, "message": {}});
    let cases: [(&str, &dyn Fn(&str) -> Value, &str); 5] = [
        ("its own", &of(json!(agent)), "200"),
        ("another's", &of(json!(other)), "404 not_found"),
        ("nobody's", &of(Value::Null), "404 not_found"),
        ("another one", &|_| json!({"id": "other", "agent_id": agent}), "404 not_found"),
        ("a list", &|id| json!([{"id": id, "agent_id": agent}]), "404 not_found"),
    ];
    for (why, answer, expected) in cases {
        let id = Uuid::new_v4().to_string();
        let path = format!("/v1/agents/{agent}/schedule/{id}");
        upstream.answer("GET", &path, Scripted::Json(200, answer(&id)));
        upstream.forget();
        assert_eq!(page.get(&path).await.outcome(), expected, "{why}");
        assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{why}");
    }
    page.get(&format!("/v1/agents/{agent}/schedule/{}", Uuid::new_v4())).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_proof_that_fails_on_the_way_lets_nobody_through() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let (passage, file, scheduled) = (id("passage"), id("file"), Uuid::new_v4().to_string());
    let of_agent = format!("/v1/agents/{agent}");
    let restore = || {
        archive(&upstream, &[&agent]);
        upstream.passages(&agent, &[&passage]);
        upstream.files(&agent, &[&[], &[&file]]);
        let answer = json!({"id": scheduled, "agent_id": agent});
        upstream.answer("GET", &format!("{of_agent}/schedule/{scheduled}"), Scripted::Json(200, answer));
    };
    let delete = (Method::DELETE, format!("{of_agent}/archival-memory/{passage}"));
    let open = (Method::PATCH, format!("{of_agent}/files/{file}/open"));
    let read = (Method::GET, format!("{of_agent}/schedule/{scheduled}"));
    let (status, reset) = (Scripted::Json(500, json!({})), Scripted::Reset);
    for ((method, path), look_up) in [
        (&delete, format!("{of_agent}/archival-memory?before={passage}&ascending=false&limit=1")),
        (&delete, format!("{of_agent}/archival-memory?ascending=true&limit=20")),
        (&open, format!("{of_agent}/files?limit=100")),
        (&open, format!("{of_agent}/files?limit=100&cursor=file_agent-0")),
        (&read, format!("{of_agent}/schedule/{scheduled}")),
        // Last, because what was proven before it is remembered.
        (&delete, "/v1/archives/".to_owned()),
    ] {
        for failure in [&status, &reset] {
            restore();
            upstream.answer("GET", &look_up, failure.clone());
            upstream.forget();
            let answer = page.send(method.clone(), path, None).await;
            answer.refused(502, "upstream_unreachable");
            assert!(upstream.passed().is_empty(), "{look_up}: {:?}", upstream.passed());
        }
    }
    restore();
    for (method, path) in [delete, open, read] {
        assert_eq!(page.send(method, &path, None).await.outcome(), "200", "failures are not remembered: {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_shared_and_remembered_for_a_moment() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let file = id("file");
    let path = format!("/v1/agents/{agent}/files/{file}/open");
    let list = format!("/v1/agents/{agent}/files");
    let held = upstream.hold("GET", &list);
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (page, path) = (page.clone(), path.clone());
            tokio::spawn(async move { page.send(Method::PATCH, &path, None).await.outcome() })
        })
        .collect();
    held.asked().await;
    // Time for the others to arrive, measured in answers.
    for _ in 0..40 {
        page.get("/v1/agents/").await.refused(403, "operation_not_available");
    }
    let answer = json!({"files": [{"file_id": file}], "has_more": false}).to_string();
    held.send(head(200, &[("content-length", &answer.len().to_string())]));
    held.send(answer);
    for asking in asking {
        assert_eq!(asking.await.unwrap(), "200");
    }
    page.send(Method::PATCH, &path, None).await.expect(200);
    let asked = upstream.look_ups().iter().filter(|seen| seen.target().starts_with(&list)).count();
    assert_eq!(asked, 1, "{:?}", lines(&upstream.look_ups()));
    // It proves nothing of another agent, and what was not proven is asked again.
    let other = format!("/v1/agents/{NOBODY}/files/{file}/open");
    page.send(Method::PATCH, &other, None).await.refused(403, "agent_not_in_policy");
    let late = id("file");
    let open = format!("/v1/agents/{agent}/files/{late}/open");
    upstream.files(&agent, &[&[&file]]);
    page.send(Method::PATCH, &open, None).await.refused(404, "not_found");
    upstream.files(&agent, &[&[&file, &late]]);
    page.send(Method::PATCH, &open, None).await.expect(200);
}
