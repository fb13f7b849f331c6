//! The refusals of the permission matrix are those of the mock: one guard decides in both modes.

use std::fmt::Write;

use reqwest::Method;
use serde_json::json;

use super::ALL;
use crate::harness::{Answer, Client, Gatelet, NOBODY, USER_AGENT, Upstream, run, token_request};

/// Callers who lack something, in the same order for every server.
async fn callers(server: &Gatelet, agent: &str, other: &str) -> Vec<(&'static str, Client)> {
    let (owner, stranger) = (server.owner(), server.stranger().with("user-agent", USER_AGENT));
    let all = owner.create_token_with(&token_request(agent, &ALL)).await;
    vec![
        ("no bearer", stranger.clone()),
        ("wrong agent", stranger.page(&owner.create_token(other, &ALL).await)),
        ("wrong origin", stranger.bearer(&all).with("origin", "https://evil.example")),
        ("read_agent alone", stranger.page(&owner.create_token(agent, &["read_agent"]).await)),
        ("write_messages alone", stranger.page(&owner.create_token(agent, &["write_messages"]).await)),
        ("everything", stranger.page(&all)),
    ]
}

/// A path that names the agent wherever it can.
fn path(template: &str, agent: &str) -> String {
    let mut path = String::new();
    for segment in template.split_inclusive('/') {
        let name = segment.trim_end_matches('/');
        let value = match name {
            "{agent_id}" => agent.to_owned(),
            "{conversation_id}" if template.contains("_id}/") => agent.to_owned(),
            "{conversation_id}" => format!("conv-{}", &NOBODY[6..]),
            "{folder_id}" => format!("source-{}", &NOBODY[6..]),
            "{token}" => "ck-let-a.b.c".to_owned(),
            parameter if parameter.starts_with('{') => {
                format!("{}-{}", parameter.trim_matches(['{', '}']).trim_end_matches("_id"), &NOBODY[6..])
            }
            literal => literal.to_owned(),
        };
        path.push_str(&value);
        path.push_str(&segment[name.len()..]);
    }
    if ["/v1/conversations/", "/v1/runs/", "/v1/runs/active", "/v1/steps/"].contains(&template) {
        let _ = write!(path, "?agent_id={agent}");
    }
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mock_refuses_the_gateway_refuses_in_the_same_words() {
    let upstream = Upstream::start().await;
    let (gateway, mock) = tokio::join!(upstream.gateway(), Gatelet::ephemeral());
    let (agent, other) = (upstream.agent(), upstream.agent());
    let (through_gateway, at_mock) = tokio::join!(callers(&gateway, &agent, &other), callers(&mock, &agent, &other));
    let mut refused = 0;
    let operations = run(&["operations", "--json"]).await.json();
    for operation in operations.as_array().unwrap() {
        let method = Method::from_bytes(operation["method"].as_str().unwrap().as_bytes()).unwrap();
        let target = path(operation["path"].as_str().unwrap(), &agent);
        for ((name, gateway), (_, mock)) in through_gateway.iter().zip(&at_mock) {
            let body = (method != Method::GET).then(|| json!({"input": "x"}));
            let expected = mock.send(method.clone(), &target, body.as_ref()).await;
            // Whom the guard lets through, the upstream answers.
            if !matches!(expected.status.as_u16(), 401 | 403) {
                let is_closed = operation["client_token"] == "never" && *name != "no bearer";
                assert!(!is_closed, "{name}: {method} {target}: {}", expected.text);
                continue;
            }
            let answer = gateway.send(method.clone(), &target, body.as_ref()).await;
            let said = |answer: &Answer| {
                let body = answer.expect(expected.status.as_u16());
                [body["code"].clone(), body["message"].clone(), body["detail"].clone()]
            };
            assert_eq!(said(&answer), said(&expected), "{name}: {method} {target}");
            refused += 1;
        }
    }
    assert!(refused > 1500, "{refused}");
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}
