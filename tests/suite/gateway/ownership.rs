//! Whose things are: asked of the upstream with the gateway's own credential, once, and refused when nothing proves it.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ALL, SOON, Scene, page, scene};
use crate::harness::{Answer, NOBODY, Scripted, Seen, UPSTREAM_KEY, head};

/// The body of a 404 without what differs from request to request.
fn without_id(answer: &Answer, id: &str) -> String {
    let mut body = answer.expect(404);
    body["request_id"] = Value::Null;
    body.to_string().replace(id, "ID")
}

#[tokio::test]
async fn a_page_polls_its_own_runs_and_steps_and_nobody_elses() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let other = upstream.agent();
    let unknown = |prefix: &str| format!("{prefix}-{}", &NOBODY[6..]);
    for (collection, own, foreign, unknown, rest) in [
        (
            "runs",
            upstream.run(&agent),
            upstream.run(&other),
            unknown("run"),
            ["", "/messages", "/usage", "/steps", "/metrics"].as_slice(),
        ),
        ("steps", upstream.step(&agent), upstream.step(&other), unknown("step"), &["", "/messages", "/metrics"]),
    ] {
        for rest in rest {
            let path = |id: &str| format!("/v1/{collection}/{id}{rest}");
            upstream.forget();
            page.get(&path(&own)).await.expect(200);
            assert_eq!(upstream.take_passed().target(), path(&own));
            let (hidden, missing) = (page.get(&path(&foreign)).await, page.get(&path(&unknown)).await);
            hidden.refused(404, "not_found");
            assert_eq!(without_id(&hidden, &foreign), without_id(&missing, &unknown), "{rest}");
            let names = |answer: &Answer| {
                let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
                names.sort();
                names
            };
            assert_eq!(names(&hidden), names(&missing), "{rest}");
            assert!(upstream.passed().is_empty(), "{rest}: {:?}", upstream.passed());
        }
    }
}

#[tokio::test]
async fn a_look_up_tells_the_upstream_nothing_about_the_client() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let run = upstream.run(&agent);
    page.with("x-project-id", "other").with("cookie", "a=b").get(&format!("/v1/runs/{run}?limit=1")).await.expect(200);
    let look_ups = upstream.look_ups();
    let mut lines: Vec<&str> = look_ups.iter().map(Seen::line).collect();
    lines.sort_unstable();
    assert_eq!(lines, [format!("GET /v1/agents/{agent}"), format!("GET /v1/runs/{run}")]);
    for seen in &look_ups {
        let names: Vec<String> = seen.headers().map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| ["authorization", "host"].contains(&name.as_str())), "{names:?}");
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()));
        assert!(seen.body.is_empty());
    }
}

#[tokio::test]
async fn an_owner_is_remembered_and_an_absence_is_not() {
    let Scene { upstream, server, agent, page, owner } = scene().await;
    let run = upstream.run(&agent);
    let path = format!("/v1/runs/{run}");
    for _ in 0..3 {
        page.get(&path).await.expect(200);
    }
    let asked = |line: &str| upstream.look_ups().iter().filter(|seen| seen.line() == line).count();
    assert_eq!(asked(&format!("GET {path}")), 1, "{:?}", upstream.look_ups());
    // Remembered for everyone, and held against each one's own policy.
    let stranger = super::page(&server, &owner.create_token(&upstream.agent(), &ALL).await);
    stranger.get(&path).await.refused(404, "not_found");
    assert_eq!(asked(&format!("GET {path}")), 1);
    // A run that was not there may be there a moment later.
    let late = format!("/v1/runs/run-{}", &NOBODY[6..]);
    page.get(&late).await.refused(404, "not_found");
    let thing = json!({"id": late.strip_prefix("/v1/runs/").unwrap(), "agent_id": agent});
    upstream.answer("GET", &late, Scripted::Json(200, thing));
    page.get(&late).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_need_the_same_look_up_share_it() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let run = upstream.run(&agent);
    let path = format!("/v1/runs/{run}/messages");
    let look_up = format!("/v1/runs/{run}");
    let held = upstream.hold("GET", &look_up);
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let (page, path) = (page.clone(), path.clone());
            tokio::spawn(async move { page.get(&path).await.outcome() })
        })
        .collect();
    held.asked().await;
    // Time for the others to arrive, measured in answers.
    for _ in 0..40 {
        page.get("/v1/agents/").await.refused(403, "operation_not_available");
    }
    let thing = json!({"id": run, "agent_id": agent}).to_string();
    held.send(head(200, &[("content-length", &thing.len().to_string())]));
    held.send(thing);
    for asking in asking {
        assert_eq!(asking.await.unwrap(), "200");
    }
    let asked = |target: &str| upstream.look_ups().iter().filter(|seen| seen.target() == target).count();
    assert_eq!((asked(&look_up), asked(&format!("/v1/agents/{agent}"))), (1, 1), "{:?}", upstream.look_ups());
}

#[tokio::test]
async fn who_leaves_does_not_take_the_others_look_up_along() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let run = upstream.run(&agent);
    let path = format!("/v1/runs/{run}/messages");
    let ask = || {
        let (page, path) = (page.clone(), path.clone());
        tokio::spawn(async move { page.get(&path).await.outcome() })
    };
    let first = upstream.hold("GET", &format!("/v1/runs/{run}"));
    let leaving = ask();
    first.asked().await;
    let staying = ask();
    // Time for it to arrive, measured in answers.
    for _ in 0..40 {
        page.get("/v1/agents/").await.refused(403, "operation_not_available");
    }
    leaving.abort();
    let outcome = tokio::time::timeout(SOON, staying).await.expect("nobody asks again").unwrap();
    assert_eq!(outcome, "200");
    first.gone().await;
}

#[tokio::test]
async fn a_look_up_that_proves_nothing_is_a_404() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let other = upstream.run(&agent);
    for (why, answer) in [
        ("no owner", json!({"id": "ID"})),
        ("a null owner", json!({"id": "ID", "agent_id": null})),
        ("an owner that is no id", json!({"id": "ID", "agent_id": {"id": agent}})),
        ("another run's", json!({"id": other, "agent_id": agent})),
        ("no id", json!({"agent_id": agent})),
        ("a list", json!([{"id": "ID", "agent_id": agent}])),
        ("null", Value::Null),
    ] {
        let id = format!("run-{}", uuid::Uuid::new_v4());
        let answer = serde_json::from_str(&answer.to_string().replace("ID", &id)).unwrap();
        upstream.answer("GET", &format!("/v1/runs/{id}"), Scripted::Json(200, answer));
        let outcome = page.get(&format!("/v1/runs/{id}/messages")).await.outcome();
        assert_eq!(outcome, "404 not_found", "{why}");
    }
    assert!(upstream.passed().is_empty());
}

#[tokio::test]
async fn a_conversation_is_its_agents_however_it_is_named() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let other = upstream.agent();
    let (own, foreign) = (upstream.conversation(&agent), upstream.conversation(&other));
    let unknown = format!("conv-{}", &NOBODY[6..]);
    let foreign_run = upstream.run(&other);
    let (get, post) = (Method::GET, Method::POST);
    let hello = |extra: Value| {
        let mut body = json!({"input": "x"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Some(body)
    };
    for (method, path, body, expected) in [
        (&get, format!("{own}/messages"), None, "200"),
        (&get, format!("{foreign}/messages"), None, "404 not_found"),
        (&get, format!("{unknown}/messages"), None, "404 not_found"),
        (&get, format!("{agent}/messages"), None, "200"),
        (&get, format!("{other}/messages"), None, "403 agent_not_in_policy"),
        (&get, format!("default/messages?agent_id={agent}"), None, "200"),
        (&get, format!("default/messages?agent_id={other}"), None, "403 agent_not_in_policy"),
        (&get, format!("default/messages?agent_id={agent}&agent_id={other}"), None, "400 invalid_request"),
        (&get, "default/messages".into(), None, "403 agent_not_in_policy"),
        (&get, own.clone(), None, "200"),
        (&get, foreign.clone(), None, "404 not_found"),
        (&post, format!("{own}/messages"), hello(json!({})), "200"),
        (&post, format!("{own}/messages"), hello(json!({"agent_id": agent})), "200"),
        (&post, format!("{own}/messages"), hello(json!({"agent_id": other})), "403 agent_not_in_policy"),
        (&post, format!("{foreign}/messages"), hello(json!({"agent_id": agent})), "404 not_found"),
        (&post, "default/messages".into(), hello(json!({"agent_id": agent})), "200"),
        (&post, "default/messages".into(), hello(json!({"agent_id": other})), "403 agent_not_in_policy"),
        (&post, "default/messages".into(), hello(json!({})), "403 agent_not_in_policy"),
        (&post, format!("default/messages?agent_id={agent}"), hello(json!({})), "403 agent_not_in_policy"),
        (&post, format!("{agent}/messages"), hello(json!({})), "200"),
        (&post, format!("{own}/stream"), Some(json!({})), "200"),
        (&post, format!("{own}/stream"), Some(json!({"run_id": foreign_run})), "404 not_found"),
        (&post, format!("{own}/cancel"), None, "200"),
        (&post, format!("{foreign}/cancel"), None, "404 not_found"),
        (&post, format!("{own}/fork"), None, "200"),
    ] {
        let answer = page.send(method.clone(), &format!("/v1/conversations/{path}"), body.as_ref()).await;
        assert_eq!(answer.outcome(), expected, "{method} {path} {body:?}");
        assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{method} {path} {body:?}");
        upstream.forget();
    }
    for (path, expected) in [
        (format!("/v1/conversations/?agent_id={agent}"), "200"),
        (format!("/v1/conversations/?agent_id={other}"), "403 agent_not_in_policy"),
        ("/v1/conversations/".into(), "403 agent_not_in_policy"),
        (format!("/v1/runs/?conversation_id={own}"), "200"),
        (format!("/v1/runs/?conversation_id={foreign}"), "404 not_found"),
        (format!("/v1/runs/?agent_id={agent}&conversation_id={foreign}"), "404 not_found"),
        (format!("/v1/agents/{agent}/messages?conversation_id={own}"), "200"),
        (format!("/v1/agents/{agent}/messages?conversation_id=default"), "200"),
        (format!("/v1/agents/{agent}/messages?conversation_id={foreign}"), "404 not_found"),
    ] {
        assert_eq!(page.get(&path).await.outcome(), expected, "{path}");
        assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{path}");
        upstream.forget();
    }
}

#[tokio::test]
async fn ids_in_a_body_must_be_the_agents() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let (own, foreign) = (upstream.run(&agent), upstream.run(&upstream.agent()));
    let cancel = format!("/v1/agents/{agent}/messages/cancel");
    for (body, expected) in [
        (json!({"run_ids": [own]}), "200"),
        (json!({"run_ids": [own, foreign]}), "404 not_found"),
        (json!({"run_ids": [foreign]}), "404 not_found"),
        (json!({"run_ids": [format!("{own}/../../agents")]}), "404 not_found"),
        (json!({"run_ids": ["../agents/"]}), "404 not_found"),
        (json!({"run_ids": [7]}), "422 validation_failed"),
    ] {
        assert_eq!(page.post(&cancel, &body).await.outcome(), expected, "{body}");
        assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{body}");
        let strange = upstream.look_ups().into_iter().find(|seen| seen.target().contains(".."));
        assert!(strange.is_none(), "{strange:?}");
        upstream.forget();
    }
}

#[tokio::test]
async fn a_block_shared_with_an_agent_that_is_not_covered_is_refused() {
    let Scene { upstream, server, agent, page: alone, owner } = scene().await;
    let other = upstream.agent();
    let entry = |id: &str, access: &[&str]| json!({"type": "agent", "id": id, "access": access});
    let policy = |access: &[&str]| json!({"hostname": crate::harness::ORIGIN, "policy": [entry(&agent, &ALL), entry(&other, access)]});
    let both = page(&server, &owner.create_token_with(&policy(&ALL)).await);
    let reads = page(&server, &owner.create_token_with(&policy(&["read_agent"])).await);
    upstream.block("own", &[&agent]);
    upstream.block("shared", &[&agent, &other]);
    for (client, label, expected) in [
        (&alone, "own", "200"),
        (&alone, "shared", "403 agent_not_in_policy"),
        (&both, "shared", "200"),
        (&reads, "shared", "403 access_not_granted"),
    ] {
        let path = format!("/v1/agents/{agent}/core-memory/blocks/{label}");
        assert_eq!(client.patch(&path, &json!({"value": "v"})).await.outcome(), expected, "{label}");
        assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{label}");
        upstream.forget();
        // Reading is not writing.
        client.get(&path).await.expect(200);
        upstream.forget();
    }
}

/// An answer to the question who shares a thing, and whether it proves that nobody else does.
fn sharings(agent: &str, other: &str) -> Vec<(&'static str, u16, Value, bool)> {
    let many: Vec<Value> = (0..100).map(|_| json!({"id": agent})).collect();
    vec![
        ("the agent alone", 200, json!([{"id": agent}]), true),
        ("another one too", 200, json!([{"id": agent}, {"id": other}]), false),
        ("more than are listed", 200, json!(many), false),
        ("no list", 404, json!({"detail": "x"}), false),
        ("a refusal", 422, json!({"detail": "x"}), false),
        ("an object", 200, json!({"agents": []}), false),
        ("null", 200, Value::Null, false),
        ("an agent without an id", 200, json!([{"id": agent}, {"name": "b"}]), false),
        ("an agent with an odd id", 200, json!([{"id": agent}, {"id": "a b"}]), false),
    ]
}

#[tokio::test]
async fn a_block_is_unshared_when_that_is_proven() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let id = upstream.block("human", &[&agent]);
    let path = format!("/v1/agents/{agent}/core-memory/blocks/human");
    for (why, status, agents, is_proof) in sharings(&agent, &upstream.agent()) {
        upstream.answer("GET", &format!("/v1/blocks/{id}/agents"), Scripted::Json(status, agents));
        upstream.forget();
        let outcome = page.patch(&path, &json!({"value": "v"})).await.outcome();
        assert_eq!(outcome, if is_proof { "200" } else { "403 agent_not_in_policy" }, "{why}");
        assert_eq!(upstream.passed().len(), usize::from(is_proof), "{why}");
    }
    // Only a 404 says that there is no such block, which is for the upstream to say again.
    for (status, expected) in [
        (404, "200"),
        (400, "403 agent_not_in_policy"),
        (410, "403 agent_not_in_policy"),
        (422, "403 agent_not_in_policy"),
        (500, "502 upstream_unreachable"),
    ] {
        let look_up = Scripted::Json(status, json!({"detail": "x"}));
        upstream.answer("GET", &path, look_up);
        upstream.forget();
        assert_eq!(page.patch(&path, &json!({"value": "v"})).await.outcome(), expected, "{status}");
        assert_eq!(upstream.passed().len(), usize::from(status == 404), "{status}");
    }
    for (why, block) in [
        ("no id", json!({"label": "human"})),
        ("no block's id", json!({"id": "../agents/?x="})),
        ("a list", json!([{"id": id}])),
    ] {
        upstream.answer("GET", &path, Scripted::Json(200, block));
        upstream.forget();
        page.patch(&path, &json!({"value": "v"})).await.refused(403, "agent_not_in_policy");
        let lines: Vec<String> = upstream.seen().iter().map(|seen| seen.line().to_owned()).collect();
        assert_eq!(lines, [format!("GET {path}")], "{why}");
    }
}

#[tokio::test]
async fn an_archive_is_unshared_when_that_is_proven() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let path = format!("/v1/agents/{agent}/archival-memory");
    let id = format!("archive-{}", &NOBODY[6..]);
    let attempt = async |why: &str, is_proof: bool| {
        upstream.forget();
        let outcome = page.post(&path, &json!({"text": "x"})).await.outcome();
        assert_eq!(outcome, if is_proof { "200" } else { "403 agent_not_in_policy" }, "{why}");
        assert_eq!(upstream.passed().len(), usize::from(is_proof), "{why}");
    };
    for (why, status, archives, is_proof) in [
        ("none yet: Letta makes one", 200, json!([]), true),
        ("no list", 404, json!({"detail": "x"}), false),
        ("an object", 200, json!({}), false),
        ("no id", 200, json!([{"name": "x"}]), false),
        ("no archive's id", 200, json!([{"id": "../agents/?x="}]), false),
        ("a refusal", 422, json!({"detail": "x"}), false),
        ("more than are listed", 200, json!(vec![json!({"id": id}); 100]), false),
    ] {
        upstream.answer("GET", "/v1/archives/", Scripted::Json(status, archives));
        attempt(why, is_proof).await;
    }
    upstream.answer("GET", "/v1/archives/", Scripted::Json(200, json!([{"id": id}])));
    for (why, status, agents, is_proof) in sharings(&agent, &upstream.agent()) {
        upstream.answer("GET", &format!("/v1/archives/{id}/agents"), Scripted::Json(status, agents));
        attempt(why, is_proof).await;
    }
}
