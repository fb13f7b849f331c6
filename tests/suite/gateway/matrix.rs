//! The whole permission matrix in gateway mode: one guard decides in both modes, and what it refuses is never heard of.

use reqwest::Method;
use serde_json::json;

use crate::{
    harness::{Answer, Gatelet, NOBODY, Program, Scripted, USER_AGENT, Upstream, run},
    matrix::{body, callers, fate, path},
};

/// An agent, another one, and a run of the first.
struct World {
    agent: String,
    other: String,
    run: String,
}

impl World {
    async fn of_mock(mock: &Gatelet) -> Self {
        let owner = mock.owner();
        let body = json!({"name": "a", "memory_blocks": [{"label": "human", "value": "x"}]});
        let (agent, other) = (owner.create_agent(&body).await, owner.create_agent(&body).await);
        let turn = owner.post(&format!("/v1/agents/{agent}/messages/async"), &json!({"input": "x"})).await.expect(200);
        Self { agent, other, run: turn["id"].as_str().unwrap().to_owned() }
    }

    fn of_upstream(upstream: &Upstream) -> Self {
        let (agent, other) = (upstream.agent(), upstream.agent());
        upstream.block("human", &[&agent]);
        upstream.answer("GET", "/v1/archives/", Scripted::Json(200, json!([])));
        Self { run: upstream.run(&agent), agent, other }
    }

    /// What was said, whoever it was said of.
    fn anonymous(&self, text: &str) -> String {
        text.replace(&self.agent, "AGENT").replace(&self.other, "OTHER").replace(&self.run, "RUN")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_refuses_and_admits_as_the_mock_does() {
    let upstream = Upstream::start().await;
    // A token's quota is not what is asked about here.
    let unlimited = upstream.before(Program::ephemeral()).env("GATELET_LIMITS__REQUESTS_PER_MINUTE", "0");
    let (gateway, mock) = tokio::join!(unlimited.start_alone(), Gatelet::ephemeral());
    let (here, there) = (World::of_upstream(&upstream), World::of_mock(&mock).await);
    let (through_gateway, at_mock) =
        tokio::join!(callers(&gateway, &here.agent, &here.other), callers(&mock, &there.agent, &there.other));
    let owner = gateway.owner().with("user-agent", USER_AGENT);
    let operations = run(&["operations", "--json"]).await.json();
    let (mut refused, mut passed) = (0, 0);
    for operation in operations.as_array().unwrap() {
        let method = Method::from_bytes(operation["method"].as_str().unwrap().as_bytes()).unwrap();
        let template = operation["path"].as_str().unwrap();
        // What Gatelet answers itself.
        let is_own = template.contains("client-side-access-tokens") || operation["client_token"] == "public";
        // What it answers client tokens itself.
        let is_own_to_tokens = is_own || template == "/v1/models/" || body(template, "").is_some();
        for ((name, through), (_, direct)) in through_gateway.iter().zip(&at_mock) {
            let (target, same) = (path(template, &here.agent, &here.run), path(template, &there.agent, &there.run));
            let (sent, same_sent) = (body(template, &here.agent), body(template, &there.agent));
            let expected = direct.send(method.clone(), &same, same_sent.as_ref()).await;
            upstream.forget();
            let answer = through.with("user-agent", USER_AGENT).send(method.clone(), &target, sent.as_ref()).await;
            let (decision, outcome) = (fate(&expected.outcome()).to_owned(), answer.outcome());
            assert_eq!(fate(&outcome), decision, "{name}: {method} {target}: {}", answer.text);
            let heard = upstream.passed();
            assert_eq!(
                heard.len(),
                usize::from(decision == "passes" && !is_own_to_tokens),
                "{name}: {method} {target}: {heard:?}"
            );
            if decision == "passes" {
                passed += 1;
                continue;
            }
            refused += 1;
            let said = |answer: &Answer, world: &World| {
                let body = answer.expect(expected.status.as_u16());
                [&body["code"], &body["message"], &body["detail"]].map(|text| world.anonymous(&text.to_string()))
            };
            assert_eq!(said(&answer, &here), said(&expected, &there), "{name}: {method} {target}");
        }
        // An API key is refused nothing.
        upstream.forget();
        let target = path(template, NOBODY, &here.run);
        let answer = owner.send(method.clone(), &target, None).await;
        assert!(!matches!(answer.status.as_u16(), 401 | 403 | 500), "{method} {target}: {}", answer.text);
        assert_eq!(upstream.seen().len(), usize::from(!is_own), "{method} {target}");
    }
    assert_eq!((operations.as_array().unwrap().len(), through_gateway.len()), (303, 12));
    assert_eq!(refused + passed, 303 * 12);
    assert!(passed > 56, "{passed}");
}
