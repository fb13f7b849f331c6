//! The runs that answer messages: later, not at all, and who may look at them.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use super::{is_id, keys, path, said, say};
use crate::harness::{Answer, Client, Gatelet, NOBODY, Program, eventually, on_both_engines};

/// Letta's keys of a run, in Letta's order.
const RUN: &str = "id status created_at completed_at agent_id conversation_id base_template_id background metadata \
    request_config stop_reason callback_url callback_sent_at callback_status_code callback_error ttft_ns \
    total_duration_ns";
const SOON: Duration = Duration::from_secs(30);

on_both_engines! {
    async fn what_is_answered_later_is_answered_once(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let agent = owner.create_agent(&json!({})).await;
        let later = async |owner: &Client, text: &str| {
            let body = json!({"input": text, "include_return_message_types": ["assistant_message"]});
            owner.post(&path(&agent, "/async"), &body).await.expect(200)
        };
        let run = later(&owner, "later").await;
        assert_eq!(keys(&run), RUN);
        assert!(is_id(&run["id"], "run") && ["created", "running"].contains(&run["status"].as_str().unwrap()), "{run}");
        for (key, expected) in [
            ("agent_id", json!(agent)),
            ("background", json!(true)),
            ("completed_at", json!(null)),
            ("stop_reason", json!(null)),
            ("metadata", json!({"run_type": "send_message_async", "lettuce": null})),
            ("conversation_id", json!(null)),
            (
                "request_config",
                json!({"use_assistant_message": true, "assistant_message_tool_name": "send_message",
                "assistant_message_tool_kwarg": "message", "include_return_message_types": ["assistant_message"]}),
            ),
        ] {
            assert_eq!(run[key], expected, "{key}");
        }
        let ended = async |owner: &Client, run: &Value| {
            let url = format!("/v1/runs/{}", run["id"].as_str().unwrap());
            eventually("the run completes", SOON, async || owner.get(&url).await.expect(200)["status"] == "completed")
                .await;
            owner.get(&url).await.expect(200)
        };
        let done = ended(&owner, &run).await;
        assert_eq!(
            (keys(&done).as_str(), &done["stop_reason"], &done["created_at"]),
            (RUN, &json!("end_turn"), &run["created_at"])
        );
        assert!(done["completed_at"].as_str().unwrap().ends_with('Z'), "{done}");
        assert_eq!(said(&owner, &agent).await, ["later", "Echo: later"]);

        // Whatever was accepted is answered, also when the server dies meanwhile.
        let mut runs = Vec::new();
        for number in 0..5 {
            runs.push(later(&owner, &format!("number {number}")).await);
        }
        server.kill().await;
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        for run in &runs {
            ended(&owner, run).await;
        }
        let said = said(&owner, &agent).await;
        let mut expected: Vec<String> =
            (0..5).flat_map(|n| [format!("number {n}"), format!("Echo: number {n}")]).collect();
        assert_eq!(said[..2], ["later", "Echo: later"]);
        let mut rest = said[2..].to_vec();
        assert!(rest.chunks(2).all(|turn| turn[1] == format!("Echo: {}", turn[0])), "{said:?}");
        rest.sort();
        expected.sort();
        assert_eq!(rest, expected);
    }
}

#[tokio::test]
async fn cancelling_needs_something_to_cancel() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let (agent, other) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
    let cancel = async |body: &Value| owner.post(&path(&agent, "/cancel"), body).await;
    let idle: Answer = cancel(&json!({})).await;
    let sentence = idle.refused(409, "conflict");
    assert!(sentence.contains(&agent), "{sentence}");
    assert_eq!(idle.header("x-should-retry"), Some("false"));
    owner.send(Method::POST, &path(&agent, "/cancel"), None).await.refused(409, "conflict");

    let run = |answer: &Value| answer["messages"][0]["run_id"].as_str().unwrap().to_owned();
    let (ran, foreign) = (run(&say(&owner, &agent, "x").await), run(&say(&owner, &other, "x").await));
    // The last run is said to be cancelled although it has ended, and stays as it is.
    for body in [json!(null), json!({}), json!({"run_ids": null}), json!({"run_ids": [ran]})] {
        let answer = cancel(&body).await.expect(200);
        assert_eq!(answer, json!({&ran: "cancelled"}), "{body}");
    }
    let kept = owner.get(&format!("/v1/runs/{ran}")).await.expect(200);
    assert_eq!([&kept["status"], &kept["stop_reason"]], ["completed", "end_turn"]);
    // What cannot be cancelled is told beside what was.
    let unknown = NOBODY.replace("agent", "run");
    for (run_ids, expected) in [
        (json!([foreign]), json!({&foreign: "failed"})),
        (json!(["string"]), json!({"string": "failed"})),
        (json!([ran, unknown]), json!({&ran: "cancelled", &unknown: "failed"})),
    ] {
        assert_eq!(cancel(&json!({"run_ids": run_ids})).await.expect(200), expected);
    }
    assert_eq!(owner.get(&format!("/v1/runs/{foreign}")).await.expect(200)["status"], "completed");
    cancel(&json!({"run_ids": "x"})).await.refused(422, "validation_failed");
}

#[tokio::test]
async fn a_run_is_shown_to_those_who_may_read_its_agents_messages() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let (agent, other) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
    let run_of =
        async |agent: &str| say(&owner, agent, "x").await["messages"][0]["run_id"].as_str().unwrap().to_owned();
    let (own, foreign) = (run_of(&agent).await, run_of(&other).await);
    let unknown = NOBODY.replace("agent", "run");
    let page = server.stranger().page(&owner.create_token(&agent, &["read_messages"]).await);
    let run = owner.get(&format!("/v1/runs/{own}")).await.expect(200);
    assert_eq!((keys(&run).as_str(), &run["status"], &run["agent_id"]), (RUN, &json!("completed"), &json!(agent)));
    assert_eq!((&run["metadata"]["run_type"], &run["background"]), (&json!("send_message"), &json!(false)));
    assert_eq!(page.get(&format!("/v1/runs/{own}")).await.expect(200), run);

    let refusal = async |client: &Client, run: &str| {
        let answer = client.get(&format!("/v1/runs/{run}")).await;
        answer.refused(404, "not_found");
        let mut body = answer.expect(404);
        body["request_id"] = json!(null);
        (body.to_string().replace(run, "RUN"), answer.headers.keys().map(ToString::to_string).collect::<BTreeSet<_>>())
    };
    assert_eq!(refusal(&page, &foreign).await, refusal(&page, &unknown).await);
    refusal(&owner, &unknown).await;
    let writer = server.stranger().page(&owner.create_token(&agent, &["write_messages", "read_agent"]).await);
    writer.get(&format!("/v1/runs/{own}")).await.refused(403, "access_not_granted");
    for client in [&owner, &page] {
        let malformed = client.get("/v1/runs/bad").await;
        malformed.refused(400, "invalid_request");
        let detail = "INVALID_ARGUMENT: Invalid run ID format: bad. Expected format: 'run-<uuid4>'";
        assert_eq!(malformed.expect(400)["detail"], detail);
    }
}
