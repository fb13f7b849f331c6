//! The whole permission matrix: every operation, asked by every kind of caller.
//!
//! The snapshot groups operations by how each kind of caller fares, so that a change of the table reads as operations
//! that moved from one group to another.

use std::{collections::BTreeMap, fmt::Write};

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Gatelet, NOBODY, eventually, run, token_request};

const WORDS: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

/// Codes of the guard; whatever else comes back, the guard let the request through.
const REFUSALS: [&str; 13] = [
    "bearer_missing",
    "bearer_invalid",
    "token_expired",
    "token_revoked",
    "api_key_required",
    "agent_not_in_policy",
    "access_not_granted",
    "operation_not_available",
    "field_not_granted",
    "origin_missing",
    "origin_mismatch",
    "api_key_in_browser",
    "not_found",
];

/// Everyone who asks: some lack something, the last lacks nothing.
pub(crate) async fn callers(server: &Gatelet, agent: &str, other: &str) -> Vec<(&'static str, Client)> {
    let (owner, stranger) = (server.owner(), server.stranger());
    let all = owner.create_token(agent, &WORDS).await;
    let mut short = token_request(agent, &WORDS);
    short["expires_at"] = json!((Utc::now() + TimeDelta::milliseconds(300)).to_rfc3339());
    let expired = stranger.page(&owner.create_token_with(&short).await);
    eventually("the token has expired", std::time::Duration::from_secs(10), || async {
        expired.get("/v1/agents/").await.outcome() == "401 token_expired"
    })
    .await;
    let revoked = owner.create_token(agent, &WORDS).await;
    owner.delete(&format!("/v1/client-side-access-tokens/{revoked}")).await;
    let mut callers = vec![
        ("no bearer", stranger.clone()),
        ("garbage", stranger.bearer("garbage")),
        ("expired", expired),
        ("revoked", stranger.page(&revoked)),
        ("wrong agent", stranger.page(&owner.create_token(other, &WORDS).await)),
        ("wrong origin", stranger.bearer(&all).with("origin", "https://evil.example")),
        ("no origin", stranger.bearer(&all)),
    ];
    for word in WORDS {
        callers.push((word, stranger.page(&owner.create_token(agent, &[word]).await)));
    }
    callers.push(("all access", stranger.page(&all)));
    callers
}

/// A template filled with an agent, one of its runs, and things that are not there.
pub(crate) fn path(template: &str, agent: &str, run: &str) -> String {
    let mut path = String::new();
    for segment in template.split_inclusive('/') {
        let value = match segment.trim_end_matches('/') {
            "{agent_id}" => agent.to_owned(),
            "{run_id}" => run.to_owned(),
            // The agent's default conversation.
            "{conversation_id}" if template.contains("_id}/") => agent.to_owned(),
            "{conversation_id}" => format!("conv-{}", &NOBODY[6..]),
            "{folder_id}" => format!("source-{}", &NOBODY[6..]),
            "{block_label}" => "human".to_owned(),
            "{token}" => "ck-let-a.b.c".to_owned(),
            parameter if parameter.starts_with('{') => {
                let prefix = parameter.trim_matches(['{', '}']).trim_end_matches("_id");
                format!("{prefix}-{}", &NOBODY[6..])
            }
            literal => literal.to_owned(),
        };
        path.push_str(&value);
        path.push_str(&segment[segment.trim_end_matches('/').len()..]);
    }
    if ["/v1/conversations/", "/v1/runs/", "/v1/runs/active", "/v1/steps/"].contains(&template) {
        let _ = write!(path, "?agent_id={agent}");
    }
    path
}

/// The body of a request that names its agent there.
pub(crate) fn body(template: &str, agent: &str) -> Option<Value> {
    match template {
        "/v1/chat/completions" => Some(json!({"model": agent, "messages": [{"role": "user", "content": "x"}]})),
        "/v1/responses" => Some(json!({"model": agent, "input": "x"})),
        _ => None,
    }
}

/// The guard's decision.
pub(crate) fn fate(outcome: &str) -> &str {
    let code = outcome.split_once(' ').map_or("", |(_, code)| code);
    if REFUSALS.contains(&code) { code } else { "passes" }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_refuses_and_admits_as_reviewed() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let new = json!({"name": "a", "memory_blocks": [{"label": "human", "value": "x"}]});
    let agent = owner.create_agent(&new).await;
    let other = owner.create_agent(&new).await;
    let turn = owner.post(&format!("/v1/agents/{agent}/messages/async"), &json!({"input": "x"})).await.expect(200);
    let run_id = turn["id"].as_str().unwrap();
    let callers = callers(&server, &agent, &other).await;
    let operations = run(&["operations", "--json"]).await.json();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for operation in operations.as_array().unwrap() {
        let (method, template) = (operation["method"].as_str().unwrap(), operation["path"].as_str().unwrap());
        let target = path(template, &agent, run_id);
        let mut fates = String::new();
        for (name, caller) in &callers {
            let body = body(template, &agent);
            let answer = caller.send(Method::from_bytes(method.as_bytes()).unwrap(), &target, body.as_ref()).await;
            assert_ne!(answer.status, 500, "{name}: {method} {target}: {}", answer.text);
            let _ = writeln!(fates, "{name}: {}", fate(&answer.outcome()));
        }
        // The key's holder asks about an agent that is not there, so that nothing of the others' is changed.
        let target = path(template, NOBODY, &format!("run-{}", &NOBODY[6..]));
        let answer = owner.send(Method::from_bytes(method.as_bytes()).unwrap(), &target, None).await;
        assert!(!matches!(answer.status.as_u16(), 401 | 403 | 500), "{method} {target}: {}", answer.text);
        groups.entry(fates).or_default().push(format!("{method} {template}"));
    }
    let refused = |operations: &[String]| operations.join("\n");
    let report: Vec<String> = groups.iter().map(|(fates, list)| format!("{fates}\n{}\n", refused(list))).collect();
    insta::assert_snapshot!(report.join("\n----\n\n"));
    let closed = |value: &Value| value == "never";
    let open = operations.as_array().unwrap().iter().filter(|row| !closed(&row["client_token"])).count();
    assert_eq!((operations.as_array().unwrap().len(), open), (303, 59));
}
