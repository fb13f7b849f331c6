//! Streams in the background: they go on without their client, and can be read again from anywhere.

use serde_json::{Value, json};

use super::{DONE, REASONING, SOON, Stream, joined, last_said, outline, run, types};
use crate::harness::{Client, Gatelet, NOBODY, Program, eventually, on_both_engines};

fn again(id: &str) -> String {
    format!("/v1/runs/{id}/stream")
}

async fn replay(client: &Client, id: &str, body: &Value) -> Vec<Value> {
    Stream::open_at(client, &again(id), body).await.rest().await
}

on_both_engines! {
    async fn a_stream_in_the_background_is_the_same_whenever_it_is_read(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let agent = owner.create_agent(&json!({"tools": ["web_search"], "model": REASONING})).await;
        for tokens in [true, false] {
            let body = json!({"input": "[[call:web_search {}]] over there", "background": true, "stream_tokens": tokens});
            let events = Stream::open(&owner, &agent, &body).await.rest().await;
            let expected = ["ping", "reasoning_message", "tool_call_message", "tool_return_message", "reasoning_message",
                "assistant_message", "stop_reason", "usage_statistics", DONE];
            assert_eq!(outline(&events), expected);
            let id = events[0]["run_id"].as_str().unwrap().to_owned();
            let far = program.start().await;
            for client in [&owner, &far.stranger().bearer(&key)] {
                for body in [json!({}), json!({"starting_after": 0}), json!({"poll_interval": 0.05, "batch_size": 10}),
                    json!({"poll_interval": -1, "batch_size": 0})] {
                    assert_eq!(replay(client, &id, &body).await, events, "{body}");
                }
                assert_eq!(replay(client, &id, &json!(null)).await, events, "a body may be left out");
                for after in [1, 3, events.len() - 1] {
                    assert_eq!(replay(client, &id, &json!({"starting_after": after})).await, events[after..]);
                }
                assert!(replay(client, &id, &json!({"starting_after": events.len()})).await.is_empty());
                assert_eq!(replay(client, &id, &json!({"include_pings": false})).await, events[1..]);
            }
            let ended = run(&owner, &id).await;
            assert_eq!((&ended["status"], &ended["background"]), (&json!("completed"), &json!(true)));
        }
    }

    async fn a_stream_is_followed_while_it_runs_and_taken_up_when_its_server_died(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let agent = owner.create_agent(&json!({"model": REASONING})).await;
        let body = json!({"input": "[[slow:40]] one two three four", "background": true, "stream_tokens": true});
        let mut first = Stream::open(&owner, &agent, &body).await;
        let ping = first.next().await.unwrap();
        let id = ping["run_id"].as_str().unwrap().to_owned();
        assert_eq!((&ping["seq_id"], run(&owner, &id).await["status"].as_str()), (&json!(1), Some("running")));
        // The one that leaves, one that comes back, and one that listens elsewhere.
        let second = first.next().await.unwrap();
        drop(first);
        let far = program.start().await;
        let elsewhere = tokio::spawn({
            let (far, id) = (far.stranger().bearer(&key), id.clone());
            async move { replay(&far, &id, &json!({"poll_interval": 0.02})).await }
        });
        let active = format!("/v1/conversations/{agent}/stream");
        let rest = Stream::open_at(&owner, &active, &json!({"starting_after": 1})).await.rest().await;
        assert_eq!((&rest[0], rest.last()), (&second, Some(&json!(DONE))));
        assert_eq!(elsewhere.await.unwrap()[1..], rest);
        let numbers: Vec<u64> = rest.iter().filter_map(|event| event["seq_id"].as_u64()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
        assert_eq!(joined(&rest)[1]["content"], "Echo: one two three four");
        assert_eq!(joined(&rest), last_said(&owner, &agent).await);
        owner.post(&active, &json!({})).await.refused(400, "invalid_request");
        assert_eq!(Stream::open_at(&owner, &active, &json!({"run_id": id})).await.rest().await[1..], rest);
        drop(far);

        let mut held = Stream::open(&owner, &agent, &body).await;
        let id = held.next().await.unwrap()["run_id"].as_str().unwrap().to_owned();
        server.kill().await;
        drop(held);
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let events = replay(&owner, &id, &json!({})).await;
        assert_eq!((types(&events)[0], events.last()), ("ping", Some(&json!(DONE))));
        assert_eq!(joined(&events), last_said(&owner, &agent).await);
        assert_eq!(run(&owner, &id).await["status"], "completed");
    }

    async fn a_background_stream_can_be_cancelled(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"model": REASONING})).await;
        let body = json!({"input": "[[slow:200]] [[long:100]] word", "background": true, "stream_tokens": true});
        let mut stream = Stream::open(&owner, &agent, &body).await;
        let id = stream.next().await.unwrap()["run_id"].as_str().unwrap().to_owned();
        let mut events = vec![stream.next().await.unwrap()];
        // The conversation is its own meanwhile.
        let busy = owner.post(&format!("/v1/agents/{agent}/messages/stream"), &json!({"input": "x"})).await;
        busy.refused(409, "conflict");
        assert_eq!(busy.expect(409)["run_id"], id.as_str());
        let cancelled = owner.post(&format!("/v1/agents/{agent}/messages/cancel"), &json!({"run_ids": [id]})).await;
        assert_eq!(cancelled.expect(200), json!({&id: "cancelled"}));
        events.extend(stream.rest().await);
        assert_eq!(types(&events)[events.len() - 2..], ["stop_reason", DONE]);
        assert_eq!(events[events.len() - 2]["stop_reason"], "cancelled");
        assert_eq!(replay(&owner, &id, &json!({"starting_after": 1})).await, events);
        assert_eq!(run(&owner, &id).await["status"], "cancelled");
        assert_eq!(joined(&events)[0]["reasoning"], last_said(&owner, &agent).await[0]["reasoning"]);
        Stream::open(&owner, &agent, &json!({"input": "next"})).await.rest().await;
    }

    async fn the_same_request_in_the_background_is_answered_once(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let body = |otid: &str| json!({"messages": [{"role": "user", "content": "once", "otid": otid}], "background": true});
        let first = Stream::open(&owner, &agent, &body("a")).await.rest().await;
        assert_eq!(Stream::open(&owner, &agent, &body("a")).await.rest().await, first);
        let conversation = format!("/v1/conversations/{agent}/stream");
        assert_eq!(Stream::open_at(&owner, &conversation, &json!({"otid": "a"})).await.rest().await, first);
        owner.post(&conversation, &json!({"otid": "none"})).await.refused(404, "not_found");
        let other = Stream::open(&owner, &agent, &body("b")).await.rest().await;
        assert!(other[0]["run_id"] != first[0]["run_id"]);
        let runs = owner.get(&format!("/v1/runs/?agent_id={agent}")).await.expect(200);
        assert_eq!(runs.as_array().unwrap().len(), 2);
    }

    async fn the_same_request_in_the_background_is_answered_once_even_if_it_comes_twice_at_once(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let text = "[[slow:20]] one two three four";
        let body = json!({"messages": [{"role": "user", "content": text, "otid": "a"}], "background": true});
        let asking = (0..8).map(|_| {
            let (owner, agent, body) = (owner.clone(), agent.clone(), body.clone());
            tokio::spawn(async move { Stream::open(&owner, &agent, &body).await.rest().await })
        });
        let asking: Vec<_> = asking.collect();
        let mut heard = Vec::new();
        for asking in asking {
            heard.push(asking.await.unwrap());
        }
        assert!(heard.iter().all(|events| *events == heard[0]), "{heard:?}");
        let runs = owner.get(&format!("/v1/runs/?agent_id={agent}")).await.expect(200);
        assert_eq!(runs.as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn only_what_was_streamed_in_the_background_can_be_read_again() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let (agent, other) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
    let events = Stream::open(&owner, &agent, &json!({"input": "x"})).await.rest().await;
    let foreground = events[0]["run_id"].as_str().unwrap();
    owner.post(&again(foreground), &json!({})).await.refused(400, "invalid_request");
    let background = json!({"input": "x", "background": true});
    let events = Stream::open(&owner, &agent, &background).await.rest().await;
    let id = events[0]["run_id"].as_str().unwrap();
    let foreign =
        Stream::open(&owner, &other, &background).await.rest().await[0]["run_id"].as_str().unwrap().to_owned();
    let unknown = NOBODY.replace("agent", "run");
    for body in [
        json!({"starting_after": -1}),
        json!({"starting_after": "x"}),
        json!({"poll_interval": "x"}),
        json!({"batch_size": "x"}),
    ] {
        owner.post(&again(id), &body).await.refused(422, "validation_failed");
    }
    let page = server.stranger().page(&owner.create_token(&agent, &["read_messages"]).await);
    assert_eq!(replay(&page, id, &json!({})).await, events);
    for run in [&foreign, &unknown] {
        page.post(&again(run), &json!({})).await.refused(404, "not_found");
    }
    owner.post(&again(&unknown), &json!({})).await.refused(404, "not_found");
    let runs = format!("/v1/conversations/{agent}/stream");
    page.post(&runs, &json!({"run_id": foreign})).await.refused(404, "not_found");
    owner.post(&runs, &json!({"run_id": foreign})).await.refused(404, "not_found");
}

#[tokio::test]
async fn who_waits_is_pinged_as_often_as_the_operator_says() {
    let server = Program::ephemeral().env("GATELET_MOCK__PING_INTERVAL", "30ms").start_alone().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    for (pings, background) in [(true, false), (true, true), (false, false), (false, true)] {
        let body = json!({"input": "[[slow:200]] hi", "include_pings": pings, "background": background});
        let events = Stream::open(&owner, &agent, &body).await.rest().await;
        let count = types(&events).iter().filter(|kind| **kind == "ping").count();
        assert_eq!((count > 2, count > 0), (pings, pings), "{body}");
        let run = events.iter().find_map(|event| event["run_id"].as_str()).unwrap();
        let same = |event: &Value| event["run_id"].is_null() || event["run_id"] == run;
        assert!(events.iter().all(same));
        let stored = owner.get(&format!("/v1/runs/{run}/messages")).await.expect(200);
        assert!(!stored.to_string().contains("ping-"), "pings are no messages");
    }
    let ended = format!("/v1/runs/?agent_id={agent}&active=true");
    eventually("nothing is left", SOON, async || owner.get(&ended).await.expect(200) == json!([])).await;
}
