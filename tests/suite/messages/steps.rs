//! Runs and steps in lists, what is measured of them and thought of them; batches of requests.

use std::time::Duration;

use serde_json::{Value, json};

use super::{column, keys, path, said, say};
use crate::harness::{Client, Gatelet, NOBODY, eventually, on_both_engines};

const SOON: Duration = Duration::from_secs(30);
const STEP: &str = "id origin organization_id provider_id run_id agent_id provider_name provider_category model \
    model_handle model_endpoint context_window_limit completion_tokens prompt_tokens total_tokens cached_input_tokens \
    cache_write_tokens reasoning_tokens completion_tokens_details prompt_tokens_details stop_reason tags tid trace_id \
    request_id messages feedback project_id error_type error_data status";
const STEP_METRICS: &str = "id organization_id provider_id run_id agent_id step_start_ns llm_request_start_ns \
    llm_request_ns tool_execution_ns step_ns base_template_id template_id project_id";

async fn run_of(client: &Client, agent: &str, text: &str) -> String {
    say(client, agent, text).await["messages"][0]["run_id"].as_str().unwrap().to_owned()
}

async fn ids(client: &Client, path: &str) -> Vec<String> {
    column(&client.get(path).await.expect(200), "id")
}

on_both_engines! {
    async fn every_turn_is_a_run_that_lists_find(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (agent, other) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
        let mut runs = Vec::new();
        for text in ["one", "two", "three"] {
            runs.push(run_of(&owner, &agent, text).await);
        }
        owner.post(&path(&agent, ""), &json!({"input": "[[error:500]]"})).await.expect(500);
        runs.push(ids(&owner, &format!("/v1/runs/?agent_id={agent}&limit=1")).await.remove(0));
        let foreign = run_of(&owner, &other, "x").await;
        for (query, expected) in [
            ("agent_id=A", vec![3, 2, 1, 0]),
            ("agent_id=A&order=asc", vec![0, 1, 2, 3]),
            ("agent_id=A&ascending=true", vec![0, 1, 2, 3]),
            ("agent_id=A&limit=2", vec![3, 2]),
            ("agent_id=A&after=@2", vec![1, 0]),
            ("agent_id=A&before=@2", vec![3]),
            ("agent_id=A&statuses=failed", vec![3]),
            ("agent_id=A&statuses=completed&statuses=running", vec![2, 1, 0]),
            ("agent_id=A&stop_reason=end_turn&limit=1", vec![2]),
            ("agent_id=A&background=true", vec![]),
            ("agent_id=A&active=true", vec![]),
            ("agent_id=A&conversation_id=default", vec![3, 2, 1, 0]),
        ] {
            let url = (0..4).fold(query.replace('A', &agent), |url, index| url.replace(&format!("@{index}"), &runs[index]));
            let expected: Vec<String> = expected.into_iter().map(|place: usize| runs[place].clone()).collect();
            assert_eq!(ids(&owner, &format!("/v1/runs/?{url}")).await, expected, "{query}");
        }
        assert_eq!(ids(&owner, "/v1/runs/").await.len(), 5);
        assert_eq!(ids(&owner, &format!("/v1/runs/?agent_ids={agent}&agent_ids={other}&limit=1")).await, std::slice::from_ref(&foreign));
        for (query, status, code) in [
            ("statuses=none", 400, "invalid_request"),
            ("stop_reason=none", 422, "validation_failed"),
            ("limit=0", 422, "validation_failed"),
            ("limit=1001", 422, "validation_failed"),
            ("order=up", 422, "validation_failed"),
        ] {
            owner.get(&format!("/v1/runs/?{query}")).await.refused(status, code);
        }
        let list = owner.get(&format!("/v1/runs/?agent_id={agent}")).await.expect(200);
        assert!(list[1]["total_duration_ns"].is_i64(), "{list}");
        let messages = format!("/v1/runs/{}/messages", runs[0]);
        let all = owner.get(&messages).await.expect(200);
        assert_eq!(column(&all, "message_type"), ["user_message", "assistant_message"]);
        let backwards = owner.get(&format!("{messages}?order=desc&limit=1")).await.expect(200);
        assert_eq!(column(&backwards, "message_type"), ["assistant_message"]);
        owner.get(&format!("{messages}?after={}", NOBODY.replace("agent", "message"))).await.refused(404, "not_found");
        owner.get(&format!("/v1/runs/{}/trace", runs[0])).await.refused(501, "not_mocked");

        let page = server.stranger().page(&owner.create_token(&agent, &["read_messages"]).await);
        assert_eq!(ids(&page, &format!("/v1/runs/?agent_id={agent}")).await.len(), 4);
        page.get(&format!("/v1/runs/?agent_id={other}")).await.refused(403, "agent_not_in_policy");
        for rest in ["", "/messages", "/steps", "/usage", "/metrics"] {
            page.get(&format!("/v1/runs/{}{rest}", runs[0])).await.expect(200);
            page.get(&format!("/v1/runs/{foreign}{rest}")).await.refused(404, "not_found");
        }
        let steps = ids(&owner, &format!("/v1/runs/{}/steps", runs[0])).await;
        assert_eq!(owner.delete(&format!("/v1/runs/{}", runs[0])).await.expect(200), json!(null));
        owner.get(&format!("/v1/runs/{}", runs[0])).await.refused(404, "not_found");
        owner.get(&format!("/v1/steps/{}", steps[0])).await.refused(404, "not_found");
        assert_eq!(said(&owner, &agent).await.len(), 6, "what was said stays said");
    }

    async fn steps_are_found_measured_and_judged(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (agent, other) = (owner.create_agent(&json!({"tools": ["web_search"]})).await, owner.create_agent(&json!({})).await);
        let run = run_of(&owner, &agent, "[[call:web_search {}]]").await;
        run_of(&owner, &other, "x").await;
        let of_agent = format!("/v1/steps/?agent_id={agent}");
        let shown = owner.get(&of_agent).await.expect(200);
        let (last, first) = (shown[0]["id"].as_str().unwrap(), shown[1]["id"].as_str().unwrap());
        assert_eq!(shown.as_array().unwrap().len(), 2);
        assert_eq!((keys(&shown[0]).as_str(), &shown[0]["run_id"], &shown[0]["status"]), (STEP, &json!(run), &json!("success")));
        assert_eq!(shown[0]["model_handle"], "openai/gpt-4o-mini");
        assert_eq!(owner.get(&format!("/v1/steps/{last}")).await.expect(200), shown[0]);
        let metrics = owner.get(&format!("/v1/steps/{first}/metrics")).await.expect(200);
        assert_eq!(keys(&metrics), STEP_METRICS);
        assert!(metrics["tool_execution_ns"].is_i64() && metrics["step_ns"].as_i64() > Some(0), "{metrics}");
        let trace = owner.get(&format!("/v1/steps/{last}/trace")).await.expect(200);
        let roles: Vec<String> = column(&trace["request_json"]["messages"], "role");
        assert_eq!(roles, ["system", "user", "assistant", "tool"]);
        let said = trace["response_json"]["choices"][0]["message"]["content"].as_str().unwrap();
        assert!(said.starts_with("The tool returned"), "{trace}");
        assert_eq!(owner.get(&format!("/v1/telemetry/{last}")).await.expect(200)["step_id"], last);
        let unknown = NOBODY.replace("agent", "step");
        assert_eq!(owner.get(&format!("/v1/steps/{unknown}/trace")).await.expect(200), json!(null));

        let feedback = format!("/v1/steps/{first}/feedback");
        let judged = owner.patch(&feedback, &json!({"feedback": "positive", "tags": ["good"]})).await.expect(200);
        assert_eq!((&judged["feedback"], &judged["tags"]), (&json!("positive"), &json!(["good"])));
        owner.patch(&feedback, &json!({"feedback": "meh"})).await.refused(422, "validation_failed");
        owner.patch(&format!("/v1/steps/{unknown}/feedback"), &json!({})).await.refused(404, "not_found");
        for (query, expected) in [
            ("order=asc", vec![first, last]),
            ("limit=1", vec![last]),
            (&format!("after={last}"), vec![first]),
            (&format!("before={first}"), vec![last]),
            ("feedback=positive", vec![first]),
            ("feedback=negative", vec![]),
            ("has_feedback=false", vec![last]),
            ("tags=good", vec![first]),
            ("model=gpt-4o-mini", vec![last, first]),
            ("model=other", vec![]),
            ("start_date=2000-01-01", vec![last, first]),
            ("end_date=2000-01-01", vec![]),
            ("trace_ids=x", vec![]),
        ] {
            assert_eq!(ids(&owner, &format!("{of_agent}&{query}")).await, expected, "{query}");
        }
        assert_eq!(ids(&owner, "/v1/steps/").await.len(), 3);
        let messages = owner.get(&format!("/v1/steps/{last}/messages?order=desc")).await.expect(200);
        assert_eq!(column(&messages, "message_type"), ["assistant_message"]);

        let page = server.stranger().page(&owner.create_token(&agent, &["read_messages", "write_messages"]).await);
        let foreign = ids(&owner, &format!("/v1/steps/?agent_id={other}")).await.remove(0);
        for rest in ["", "/metrics", "/messages"] {
            page.get(&format!("/v1/steps/{last}{rest}")).await.expect(200);
            page.get(&format!("/v1/steps/{foreign}{rest}")).await.refused(404, "not_found");
        }
        assert_eq!(page.get(&format!("/v1/steps/{last}")).await.expect(200)["model_endpoint"], json!(null));
        page.patch(&feedback, &json!({"feedback": "negative"})).await.expect(200);
        page.get(&format!("/v1/steps/{last}/trace")).await.refused(403, "operation_not_available");
    }

    async fn a_step_tells_which_model_answered(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"model": "openai/gpt-4o-mini"})).await;
        let body = json!({"input": "x", "override_model": "anthropic/claude-haiku-4-5"});
        let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
        let id = answer["messages"][0]["step_id"].as_str().unwrap();
        let step = owner.get(&format!("/v1/steps/{id}")).await.expect(200);
        for (key, expected) in [
            ("provider_name", json!("anthropic")),
            ("model", json!("claude-haiku-4-5")),
            ("model_handle", json!("anthropic/claude-haiku-4-5")),
            ("model_endpoint", json!("https://api.anthropic.com/v1")),
            ("context_window_limit", json!(200_000)),
        ] {
            assert_eq!(step[key], expected, "{key}");
        }
        for rest in ["", "/stream", "/async"] {
            let body = json!({"input": "x", "override_model": "none"});
            owner.post(&path(&agent, rest), &body).await.refused(404, "not_found");
        }
    }

    async fn a_batch_is_answered_some_time(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (agent, other) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
        let request = |agent: &str, text: &str| json!({"agent_id": agent, "messages": [{"role": "user", "content": text}]});
        let body = json!({"requests": [request(&agent, "one"), request(&agent, "two"), request(&other, "three")]});
        let batch = owner.post("/v1/messages/batches", &body).await.expect(200);
        assert_eq!((&batch["job_type"], &batch["status"]), (&json!("batch"), &json!("created")));
        let url = format!("/v1/messages/batches/{}", batch["id"].as_str().unwrap());
        eventually("it completes", SOON, async || owner.get(&url).await.expect(200)["status"] == "completed").await;
        let done = owner.get(&url).await.expect(200);
        assert!(done["completed_at"].is_string() && done["id"].as_str().unwrap().starts_with("job-"), "{done}");
        assert_eq!(owner.get("/v1/messages/batches").await.expect(200), json!([done]));
        let messages = owner.get(&format!("{url}/messages?order=asc")).await.expect(200)["messages"].clone();
        assert_eq!((column(&messages, "role").len(), &messages[0]["content"][0]["type"]), (6, &json!("text")));
        let of_agent = owner.get(&format!("{url}/messages?agent_id={other}")).await.expect(200)["messages"].clone();
        assert_eq!(column(&of_agent, "role"), ["assistant", "user"]);
        assert_eq!(said(&owner, &agent).await, ["one", "Echo: one", "two", "Echo: two"]);

        for (body, status, code) in [
            (json!({}), 422, "validation_failed"),
            (json!({"requests": []}), 400, "invalid_request"),
            (json!({"requests": [{"messages": []}]}), 422, "validation_failed"),
            (json!({"requests": [request("x", "y")]}), 422, "validation_failed"),
            (json!({"requests": [request(&agent, "y"), request(NOBODY, "y")]}), 404, "not_found"),
        ] {
            owner.post("/v1/messages/batches", &body).await.refused(status, code);
        }
        let slow = json!({"requests": [request(&agent, "[[slow:20000]] one"), request(&agent, "two")]});
        let batch = owner.post("/v1/messages/batches", &slow).await.expect(200);
        let url = format!("/v1/messages/batches/{}", batch["id"].as_str().unwrap());
        assert_eq!(owner.patch(&format!("{url}/cancel"), &json!({})).await.expect(200), json!(null));
        assert_eq!(owner.get(&url).await.expect(200)["status"], "cancelled");
        let active: Value = owner.get(&format!("/v1/runs/?agent_id={agent}&active=true")).await.expect(200);
        assert_eq!(active, json!([]));
        owner.get(&url.replace("job-", "job-0")).await.refused(404, "not_found");
    }
}
