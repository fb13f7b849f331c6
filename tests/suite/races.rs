//! Much at once, and sudden ends: what was acknowledged stays, nothing is done twice, and nobody waits for ever.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Client, Gatelet, Program, column, eventually, id, on_both_engines};

/// Sends requests at once and checks that the server fails none of them.
async fn all_at_once(owner: &Client, requests: Vec<(Method, String, Value)>) {
    let mut sent = JoinSet::new();
    for (method, path, body) in requests {
        let owner = owner.clone();
        sent.spawn(async move {
            let answer = owner.send(method.clone(), &path, Some(&body)).await;
            assert!(answer.status.as_u16() < 500, "{method} {path}: {}", answer.text);
        });
    }
    while let Some(done) = sent.join_next().await {
        done.unwrap();
    }
}

async fn active_runs(owner: &Client) -> Value {
    owner.get("/v1/runs/?active=true&limit=1000").await.expect(200)
}

/// What the user said, each with how often.
async fn heard(owner: &Client, agent: &str) -> BTreeMap<String, usize> {
    let path = format!("/v1/agents/{agent}/messages?limit=1000&include_return_message_types=user_message");
    let mut heard = BTreeMap::new();
    for text in column(&owner.get(&path).await.expect(200), "content") {
        *heard.entry(text).or_default() += 1;
    }
    heard
}

on_both_engines! {
    async fn blocks_and_agents_that_change_at_once_do_not_block_each_other(engine: Engine) {
        const AGENTS: usize = 6;
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        for round in 0..6 {
            let shared = id(&owner.post("/v1/blocks/", &json!({"label": "human", "value": "start"})).await.expect(200));
            let other = id(&owner.post("/v1/blocks/", &json!({"label": "other", "value": "start"})).await.expect(200));
            let body = json!({
                "block_ids": [shared], "tools": ["core_memory_append"], "enable_sleeptime": round % 2 == 0,
            });
            let mut requests = Vec::new();
            for number in 0..AGENTS {
                let agent = owner.create_agent(&body).await;
                let blocks = format!("/v1/agents/{agent}/core-memory/blocks");
                let append = r#"[[call:core_memory_append {"label": "human", "content": "more"}]]"#;
                requests.push((Method::POST, format!("/v1/agents/{agent}/messages"), json!({"input": append})));
                requests.push((Method::PATCH, format!("{blocks}/attach/{other}"), json!({})));
                requests.push((Method::PATCH, format!("/v1/blocks/{shared}"), json!({"value": number.to_string()})));
                requests.push(match number % 3 {
                    0 => (Method::PATCH, format!("{blocks}/detach/{shared}"), json!({})),
                    1 => (Method::DELETE, format!("/v1/agents/{agent}"), json!({})),
                    _ => (Method::PATCH, format!("/v1/agents/{agent}"), json!({"block_ids": [other]})),
                });
            }
            requests.push((Method::DELETE, format!("/v1/blocks/{shared}"), json!({})));
            requests.push((Method::DELETE, format!("/v1/blocks/{other}"), json!({})));
            all_at_once(&owner, requests).await;
        }
        assert!(!server.log().contains("deadlock"), "{}", server.log());
    }

    async fn a_block_that_changes_while_it_is_attached_is_shown_as_it_is(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        for round in 0..8 {
            let block = id(&owner.post("/v1/blocks/", &json!({"label": "human", "value": "old"})).await.expect(200));
            let agent = owner.create_agent(&json!({})).await;
            let value = format!("new {round}");
            all_at_once(&owner, vec![
                (Method::PATCH, format!("/v1/blocks/{block}"), json!({"value": value})),
                (Method::PATCH, format!("/v1/agents/{agent}/core-memory/blocks/attach/{block}"), json!({})),
            ]).await;
            let prompt = owner.get(&format!("/v1/agents/{agent}/messages?order=asc&limit=1")).await.expect(200);
            assert!(prompt[0]["content"].as_str().unwrap().contains(&value), "{prompt}");
        }
    }

    async fn an_agent_that_goes_while_it_is_spoken_to_leaves_no_run_behind(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let mut requests = Vec::new();
        for _ in 0..8 {
            let agent = owner.create_agent(&json!({})).await;
            for number in 0..16 {
                if number == 8 {
                    requests.push((Method::DELETE, format!("/v1/agents/{agent}"), json!({})));
                }
                requests.push((Method::POST, format!("/v1/agents/{agent}/messages/async"), json!({"input": "Hello"})));
            }
        }
        all_at_once(&owner, requests).await;
        eventually("no run is left", Duration::from_secs(30), || async { active_runs(&owner).await == json!([]) }).await;
    }

    async fn what_was_acknowledged_before_a_sudden_end_is_there_after_it_and_once(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let agents = [owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await];
        let mut acknowledged = Vec::new();
        for round in 0..4 {
            let mut sent = JoinSet::new();
            for number in 0..24 {
                let text = format!("{round}-{number}");
                let agent = agents[number % 2].clone();
                let (path, body) = match number % 3 {
                    0 => (format!("/v1/agents/{agent}/messages"), json!({"input": text})),
                    1 => (format!("/v1/agents/{agent}/messages/async"), json!({"input": text})),
                    _ => ("/v1/messages/batches".into(), json!({"requests": [{
                        "agent_id": agent, "messages": [{"role": "user", "content": text}],
                    }]})),
                };
                let request = owner.at(server.url()).request(Method::POST, &path).json(&body);
                sent.spawn(async move {
                    let answered = request.send().await.is_ok_and(|answer| answer.status().is_success());
                    answered.then_some((agent, text))
                });
            }
            // Ends in the middle: when so many have been answered, and before the others are.
            for _ in 0..=round * 5 {
                acknowledged.extend(sent.join_next().await.unwrap().unwrap());
            }
            server.kill().await;
            while let Some(done) = sent.join_next().await {
                acknowledged.extend(done.unwrap());
            }
            server = program.start().await;
        }
        let owner = owner.at(server.url());
        eventually("all is answered", Duration::from_secs(30), || async {
            active_runs(&owner).await.as_array().unwrap().iter().all(|run| run["background"] == false)
        }).await;
        for agent in &agents {
            let heard = heard(&owner, agent).await;
            assert!(heard.values().all(|times| *times == 1), "{heard:?}");
            for (_, text) in acknowledged.iter().filter(|(spoken_to, _)| spoken_to == agent) {
                assert_eq!(heard.get(text), Some(&1), "{text}: {heard:?}");
            }
        }
    }

    async fn what_is_taken_up_is_answered_in_the_order_in_which_it_was_asked(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let agent = owner.create_agent(&json!({})).await;
        let path = format!("/v1/agents/{agent}/messages");
        let mut expected = Vec::new();
        for number in 0..8 {
            let text = if number == 0 { "0 [[slow:300]]".to_owned() } else { number.to_string() };
            owner.post(&format!("{path}/async"), &json!({"input": text})).await.expect(200);
            expected.push(text);
        }
        server.kill().await;
        let server = program.start().await;
        let owner = owner.at(server.url());
        eventually("all is answered", Duration::from_secs(30), || async { active_runs(&owner).await == json!([]) }).await;
        let said = owner.get(&format!("{path}?order=asc&include_return_message_types=user_message")).await.expect(200);
        let said: Vec<String> = column(&said, "content");
        assert_eq!(said.into_iter().filter(|text| expected.contains(text)).collect::<Vec<_>>(), expected);
    }
}
