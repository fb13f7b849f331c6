//! How much a client token may write, and that nothing anybody wrote makes an agent unreachable: before it passes a request
//! on, a gateway looks up whose things are, and what it looks up holds what was written.

use std::time::Duration;

use gatelet::access::{
    Grant, Operation,
    grant::{Field, Rule},
};
use serde_json::{Value, json};

use crate::{
    harness::{Gatelet, NOBODY, Program, Scripted, USER_AGENT, Upstream, eventually},
    matrix::path,
};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

/// The body fields that a client token may set, but for those that only the body's own limit bounds.
fn bounded() -> impl Iterator<Item = (Operation, &'static Field)> {
    let open = Operation::ALL.iter().filter_map(|operation| match operation.grant() {
        Grant::Client(grant) => Some((*operation, grant)),
        _ => None,
    });
    let fields =
        open.flat_map(|(operation, grant)| grant.body.iter().copied().flatten().map(move |field| (operation, field)));
    fields.filter(|(_, field)| field.rule == Rule::Pass && field.most_bytes < usize::MAX)
}

/// A text that takes so many bytes as JSON.
fn text(bytes: usize) -> Value {
    // Two bytes each, as the quotes are.
    "é".repeat((bytes - 2) / 2).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_writes_is_bounded_field_by_field() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let page = server.stranger().page(&owner.create_token(&agent, &ALL).await);
    let mut seen = 0;
    for (operation, field) in bounded() {
        let row = operation.row();
        let target = path(row.template, &agent, &format!("run-{}", &NOBODY[6..]));
        let most = field.most_bytes;
        assert!(most <= 512 * 1024, "{operation}: {}", field.name);
        let lists = json!(vec!["x".repeat(98); most / 90]);
        for (value, kind) in
            [(text(most + 2), "string_too_long"), (lists, "too_long"), (json!({"x": text(most)}), "too_long")]
        {
            let answer = page.send(row.method.clone(), &target, Some(&json!({field.name: value}))).await;
            let sentence = answer.refused(422, "validation_failed");
            let expected = format!("body.{}: a client token may write at most {most} bytes of JSON here", field.name);
            assert_eq!(sentence, expected, "{operation}");
            assert!(answer.text.len() < 4096 && answer.text.contains(&format!("'type': '{kind}'")), "{}", answer.text);
        }
        // As much as that may be refused for what it is, but not for its length.
        let answer = page.send(row.method.clone(), &target, Some(&json!({field.name: text(most)}))).await;
        assert!(!answer.text.contains("at most"), "{operation}: {}: {}", field.name, answer.text);
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
    for (field, body) in [
        ("messages[0].name", json!({"messages": [{"role": "user", "content": "x", "name": text(2000)}]})),
        ("messages[0].otid", json!({"messages": [{"role": "user", "content": "x", "otid": text(2000)}]})),
        ("input[0].signature", json!({"input": [{"type": "text", "text": "x", "signature": text(20_000)}]})),
        ("run_ids", json!({"run_ids": vec![format!("run-{}", &NOBODY[6..]); 1000]})),
    ] {
        let rest = if field == "run_ids" { "/cancel" } else { "" };
        let answer = page.post(&format!("/v1/agents/{agent}/messages{rest}"), &body).await;
        let sentence = answer.refused(422, "validation_failed");
        assert!(sentence.starts_with(&format!("body.{field}: a client token")), "{sentence}");
    }
    // What is said in a turn may be as long as a body; whoever holds a key may write what it likes.
    page.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": "x".repeat(1024 * 1024)})).await.expect(200);
    owner.patch(&format!("/v1/agents/{agent}"), &json!({"description": "x".repeat(100_000)})).await.expect(200);
}

/// A gateway before a mock.
async fn before(mock: &Gatelet) -> Gatelet {
    let program = Program::ephemeral().argument("--upstream").argument(mock.url());
    program.env("GATELET_UPSTREAM_API_KEY", mock.key()).start_alone().await
}

/// A page writes all that it may, everywhere it may; a key writes more. Then every kind of thing is looked up.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_stays_reachable_whatever_was_written_to_it() {
    let mock = Gatelet::ephemeral().await;
    let gateway = before(&mock).await;
    let blocks = json!([{"label": "human", "value": "x", "limit": 10_000_000}]);
    let agent = mock.owner().create_agent(&json!({"name": "a", "memory_blocks": blocks})).await;
    let page = gateway.stranger().page(&gateway.owner().create_token(&agent, &ALL).await);
    let path = format!("/v1/agents/{agent}");
    let block = format!("{path}/core-memory/blocks/human");
    page.patch(&path, &json!({"description": "x".repeat(4_300_000)})).await.refused(422, "validation_failed");
    let x = |bytes: usize| "x".repeat(bytes - 2);
    let full = json!({"name": x(1024), "description": x(16 << 10), "system": x(128 << 10), "metadata": {"k": x((64 << 10) - 6)}});
    page.patch(&path, &full).await.expect(200);
    page.patch(&block, &json!({"value": x(512 << 10), "description": x(16 << 10)})).await.expect(200);
    let conversation =
        page.post(&format!("/v1/conversations/?agent_id={agent}"), &json!({"summary": x(16 << 10)})).await;
    let conversation = conversation.expect(200)["id"].as_str().unwrap().to_owned();
    let archive = format!("{path}/archival-memory");
    let mut passages = Vec::new();
    for _ in 0..30 {
        let passage = page.post(&archive, &json!({"text": x(64 << 10), "tags": [x(4000)]})).await.expect(200);
        passages.push(passage[0]["id"].as_str().unwrap().to_owned());
    }
    let owner = mock.owner();
    owner.patch(&path, &json!({"description": x(4_300_000)})).await.expect(200);
    owner.patch(&block, &json!({"value": x(4_300_000)})).await.expect(200);
    owner.post(&archive, &json!({"text": x(4_300_000)})).await.expect(200);
    let turn = json!({"input": x(1 << 20)});
    let run = owner.post(&format!("{path}/messages/async"), &turn).await.expect(200)["id"].as_str().unwrap().to_owned();
    eventually("the turn has ended", Duration::from_secs(20), || async {
        owner.get(&format!("/v1/runs/{run}")).await.expect(200)["status"] == "completed"
    })
    .await;
    // What was remembered was learnt before: another gateway knows nothing yet.
    let fresh = before(&mock).await;
    let fresh_page = fresh.stranger().page(&fresh.owner().create_token(&agent, &ALL).await);
    fresh_page.get(&path).await.expect(200);
    fresh_page.get(&format!("{path}/messages?limit=1")).await.expect(200);
    fresh_page.get(&format!("/v1/runs/{run}")).await.expect(200);
    fresh_page.get(&format!("/v1/conversations/{conversation}")).await.expect(200);
    fresh_page.patch(&block, &json!({"value": "y"})).await.expect(200);
    fresh_page.delete(&format!("{archive}/{}", passages.pop().unwrap())).await.expect(200);
    fresh_page.patch(&path, &json!({"name": "b"})).await.expect(200);
}

/// What is looked up may be large for reasons that no client token has a hand in.
#[tokio::test]
async fn a_look_up_is_answered_whatever_else_the_answer_holds() {
    let upstream = Upstream::start().await;
    let server = upstream.gateway().await;
    let large = |bytes: usize| json!({"name": "a", "project_id": null, "description": "x".repeat(bytes)});
    let agent = upstream.agent_with(&large(5 << 20));
    let page = server.stranger().page(&server.owner().create_token(&agent, &ALL).await).with("user-agent", USER_AGENT);
    let archive = format!("archive-{}", &NOBODY[6..]);
    upstream.answer(
        "GET",
        "/v1/archives/",
        Scripted::Json(200, json!([{"id": archive, "description": "x".repeat(5 << 20)}])),
    );
    let mut agents = vec![json!({"id": agent, "project_id": null})];
    let mut sharing = large(300 << 10);
    sharing["id"] = json!(agent);
    sharing["message_ids"] = json!(vec![format!("message-{}", &NOBODY[6..]); 1000]);
    agents.extend(std::iter::repeat_n(sharing, 90));
    upstream.answer("GET", &format!("/v1/archives/{archive}/agents"), Scripted::Json(200, json!(agents)));
    page.post(&format!("/v1/agents/{agent}/archival-memory"), &json!({"text": "x"})).await.expect(200);
    assert_eq!(upstream.take_passed().line(), format!("POST /v1/agents/{agent}/archival-memory"));
}
