//! Turns that fail because they are told to, refuse, or take their time.

use std::time::Duration;

use serde_json::{Value, json};

use super::{column, path, said, say};
use crate::harness::{Gatelet, eventually, on_both_engines};

on_both_engines! {
    async fn a_turn_that_fails_says_so_everywhere_and_leaves_no_trace_in_the_history(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        for (status, answered, kind) in [
            (400, 400, "llm_bad_request"),
            (401, 401, "llm_authentication"),
            (402, 402, "llm_insufficient_credits"),
            (403, 500, "llm_error"),
            (429, 429, "llm_rate_limit"),
            (500, 500, "llm_error"),
            (503, 500, "llm_error"),
            (504, 504, "llm_timeout"),
        ] {
            let text = format!("[[error:{status}]]");
            let answer = owner.post(&path(&agent, ""), &json!({"input": text})).await;
            let body = answer.expect(answered);
            assert_eq!((&body["error"]["type"], &body["code"]), (&json!(kind), &json!(kind)), "{status}");
            assert!(body["error"]["message"].is_string() && body["error"]["detail"].is_string(), "{body}");
            assert_eq!(answer.header("x-should-retry"), Some("false"));
            for tokens in [false, true] {
                let body = json!({"input": text, "stream_tokens": tokens});
                let stream = owner.post(&path(&agent, "/stream"), &body).await;
                let frames: Vec<&str> = stream.text.trim_end().split("\n\n").collect();
                let [ping, stop, error, done] = frames.as_slice() else { panic!("{}", stream.text) };
                assert_eq!(*stop, "data: {\"message_type\":\"stop_reason\",\"stop_reason\":\"llm_api_error\"}");
                assert_eq!(*done, "data: [DONE]");
                let event: Value = serde_json::from_str(error.strip_prefix("event: error\ndata: ").unwrap()).unwrap();
                let ping: Value = serde_json::from_str(ping.strip_prefix("data: ").unwrap()).unwrap();
                assert_eq!(
                    event.as_object().unwrap().keys().collect::<Vec<_>>(),
                    ["message_type", "run_id", "error_type", "message", "detail", "seq_id"]
                );
                assert_eq!((&event["error_type"], &event["run_id"], &event["seq_id"]), (&json!(kind), &ping["run_id"], &json!(null)));
                let run = owner.get(&format!("/v1/runs/{}", ping["run_id"].as_str().unwrap())).await.expect(200);
                assert_eq!((&run["status"], &run["stop_reason"]), (&json!("failed"), &json!("llm_api_error")));
                assert_eq!(run["metadata"]["error"], event["detail"]);
            }
        }
        assert!(said(&owner, &agent).await.is_empty());
        let run = owner.post(&path(&agent, "/async"), &json!({"input": "[[error:500]]"})).await.expect(200);
        let url = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        eventually("the run fails", Duration::from_secs(30), async || owner.get(&url).await.expect(200)["status"] == "failed").await;
        let run = owner.get(&url).await.expect(200);
        assert_eq!(run["stop_reason"], "error");
        assert!(run["metadata"]["error"].is_string() && run["completed_at"].is_string(), "{run}");
        let steps = owner.get(&format!("{url}/steps")).await.expect(200);
        assert_eq!((&steps[0]["status"], &steps[0]["error_type"]), (&json!("failed"), &json!("llm_error")));

        // What was done before the failure stays done.
        let agent = owner.create_agent(&json!({"tools": ["web_search"]})).await;
        let answer = owner.post(&path(&agent, ""), &json!({"input": "[[call:web_search {}]] [[error:429]]"})).await;
        answer.expect(429);
        let list = owner.get(&path(&agent, "?limit=4")).await.expect(200);
        assert_eq!(column(&list, "message_type"), ["system_message", "user_message", "tool_call_message", "tool_return_message"]);
        assert_eq!(said(&owner, &agent).await.len(), 1);
        assert!(say(&owner, &agent, "on").await["messages"][0]["content"] == "Echo: on");
    }

    async fn a_slow_turn_can_be_found_and_cancelled(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        for route in ["", "/async", "/stream"] {
            let slow = tokio::spawn({
                let (owner, url) = (owner.clone(), path(&agent, route));
                async move { owner.post(&url, &json!({"input": "[[slow:20000]] hello"})).await }
            });
            let active = format!("/v1/runs/?agent_id={agent}&active=true");
            eventually("the run is found", Duration::from_secs(30), async || {
                owner.get(&active).await.expect(200).as_array().unwrap().len() == 1
            })
            .await;
            let runs = owner.get(&active).await.expect(200);
            assert_eq!(owner.get(&format!("/v1/runs/active?agent_id={agent}")).await.expect(200), runs);
            let run = runs[0]["id"].as_str().unwrap();
            let cancelled = owner.post(&path(&agent, "/cancel"), &json!({})).await.expect(200);
            assert_eq!(cancelled, json!({run: "cancelled"}), "{route}");
            let ended = owner.get(&format!("/v1/runs/{run}")).await.expect(200);
            assert_eq!([&ended["status"], &ended["stop_reason"]], ["cancelled", "cancelled"]);
            let answer = slow.await.unwrap();
            match route {
                "" => assert_eq!(answer.expect(200)["stop_reason"]["stop_reason"], "cancelled"),
                "/async" => assert_eq!(answer.expect(200)["id"], run),
                _ => {
                    assert_eq!(answer.text.matches("\"stop_reason\":\"cancelled\"").count(), 1, "{}", answer.text);
                    assert!(answer.text.ends_with("data: [DONE]\n\n") && !answer.text.contains("usage_statistics"));
                }
            }
            // What was asked is kept, what was not said is not.
            assert_eq!(said(&owner, &agent).await.last().unwrap(), "[[slow:20000]] hello", "{route}");
        }
        // The agent is free again.
        assert_eq!(say(&owner, &agent, "next").await["messages"][0]["content"], "Echo: next");
    }
}

#[tokio::test]
async fn an_answer_is_as_the_text_tells_it_to_be() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    for (text, thought, expected) in [
        ("[[reason:I count to ten]] Hello", Some("I count to ten"), "Echo: Hello"),
        ("[[refuse]] Hello", None, "I will not do that."),
        ("[[long:5]] one two", None, "one two one two one"),
        ("[[slow:1]] Hello", None, "Echo: Hello"),
        ("[[unknown]] Hello", None, "Echo: [[unknown]] Hello"),
    ] {
        let answer = say(&owner, &agent, text).await;
        assert_eq!(answer["messages"].as_array().unwrap().last().unwrap()["content"], expected, "{text}");
        if let Some(thought) = thought {
            assert_eq!(answer["messages"][0]["reasoning"], thought);
        }
    }
    let long = say(&owner, &agent, "[[long:2000]] word").await;
    assert_eq!(long["messages"][0]["content"].as_str().unwrap().split(' ').count(), 2000);
}

#[tokio::test]
async fn a_slow_agent_keeps_no_other_waiting() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let (slow, quick) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
    let first = tokio::spawn({
        let (owner, url) = (owner.clone(), path(&slow, ""));
        async move { owner.post(&url, &json!({"input": "[[slow:20000]] first"})).await }
    });
    let active = format!("/v1/runs/?agent_id={slow}&active=true");
    eventually("it is under way", Duration::from_secs(30), async || {
        owner.get(&active).await.expect(200).as_array().unwrap().len() == 1
    })
    .await;
    say(&owner, &quick, "at once").await;
    // Who speaks to the slow one waits its turn, and is answered after it.
    let second = tokio::spawn({
        let (owner, slow) = (owner.clone(), slow.clone());
        async move { say(&owner, &slow, "second").await }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    let run = owner.get(&active).await.expect(200)[0]["id"].as_str().unwrap().to_owned();
    owner.post(&path(&slow, "/cancel"), &json!({"run_ids": [run]})).await.expect(200);
    first.await.unwrap().expect(200);
    assert_eq!(second.await.unwrap()["messages"][0]["content"], "Echo: second");
    assert_eq!(said(&owner, &slow).await, ["[[slow:20000]] first", "second", "Echo: second"]);
}
