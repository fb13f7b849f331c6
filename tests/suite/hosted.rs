//! What only the hosted service has: projects, accounts, devices, and messages for later.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Gatelet, NOBODY, Program, column, id, on_both_engines};

const PROJECTS: &str = "/v1/projects";

fn schedule(agent: &str) -> String {
    format!("/v1/agents/{agent}/schedule")
}

fn once(text: &str) -> Value {
    json!({
        "messages": [{"role": "user", "content": text}],
        "schedule": {"type": "one-time", "scheduled_at": 1_900_000_000_000_i64},
    })
}

async fn texts(client: &Client, path: &str) -> (Vec<String>, Value) {
    let listed = client.get(path).await.expect(200);
    let text = |item: &Value| item["message"]["messages"][0]["content"].as_str().unwrap().to_owned();
    let texts = listed["scheduled_messages"].as_array().unwrap().iter().map(text).collect();
    (texts, listed["has_next_page"].clone())
}

on_both_engines! {
    async fn projects_are_made_listed_and_used(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let default = json!({"name": "default", "slug": "default", "id": "default"});
        assert_eq!(owner.get(PROJECTS).await.expect(200), json!({"projects": [default], "hasNextPage": false}));
        let mut made = Vec::new();
        for (name, slug) in [("My Project", "my-project"), ("my  project", "my-project-2"), ("Default", "default-2")] {
            let project = owner.post(PROJECTS, &json!({"name": name})).await.expect(201);
            assert_eq!(project, json!({"name": name, "slug": slug, "id": slug}));
            made.push(project);
        }
        let all = [vec![default], made].concat();
        for (query, expected, more) in [
            ("", &all[..], false),
            ("?limit=2", &all[..2], true),
            ("?limit=2&offset=2", &all[2..], false),
            ("?name=PROJECT", &all[1..3], false),
            ("?name=none", &all[..0], false),
        ] {
            let listed = owner.get(&format!("{PROJECTS}{query}")).await.expect(200);
            assert_eq!(listed, json!({"projects": expected, "hasNextPage": more}), "{query}");
        }
        let inside = owner.with("x-project", "my-project");
        let agent = inside.create_agent(&json!({})).await;
        let listed = owner.with("x-project-id", "my-project").get("/v1/agents/").await.expect(200);
        assert_eq!(column(&listed, "id"), [agent]);
        assert_eq!(inside.get("/v1/metadata/status").await.expect(200), json!({"current_project_id": "my-project"}));
        for status in [200, 404] {
            let answer = owner.delete(&format!("{PROJECTS}/my-project")).await;
            assert_eq!(answer.status, status);
        }
        // What belongs to a document is found by its id alone, so no project has the id of anything.
        let agent = owner.create_agent(&json!({})).await;
        owner.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": "hello"})).await.expect(200);
        let project = owner.post(PROJECTS, &json!({"name": agent})).await.expect(201);
        assert_eq!((&project["name"], &project["id"]), (&json!(agent), &json!(format!("project-{agent}"))));
        owner.delete(&format!("{PROJECTS}/{agent}")).await.refused(404, "not_found");
        owner.delete(&format!("{PROJECTS}/project-{agent}")).await.expect(200);
        let runs = owner.get(&format!("/v1/runs/?agent_id={agent}")).await.expect(200);
        assert_eq!(runs.as_array().unwrap().len(), 1);
        for body in [json!({"name": "ab"}), json!({"name": "x".repeat(51)}), json!({}), json!({"name": 1})] {
            owner.post(PROJECTS, &body).await.refused(422, "validation_failed");
        }
        owner.get(&format!("{PROJECTS}?limit=-1")).await.refused(400, "invalid_request");
    }

    async fn a_limited_key_sees_its_own_project(engine: Engine) {
        let program = Program::on(engine).await;
        let all = program.run(&["keys", "create", "--name", "all"]).await.ok();
        let one = program.run(&["keys", "create", "--name", "one", "--project", "one"]).await.ok();
        let server = program.start().await;
        let (all, one) = (server.stranger().bearer(&all), server.stranger().bearer(&one));
        let made = all.post(PROJECTS, &json!({"name": "ONE"})).await.expect(201);
        all.post(PROJECTS, &json!({"name": "two"})).await.expect(201);
        assert_eq!(made["id"], "one");
        assert_eq!(one.get(PROJECTS).await.expect(200)["projects"], json!([made]));
        one.post(PROJECTS, &json!({"name": "three"})).await.refused(400, "invalid_request");
        one.delete(&format!("{PROJECTS}/two")).await.refused(404, "not_found");
    }

    async fn messages_for_later_are_kept_and_shown(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let other = owner.create_agent(&json!({})).await;
        let url = schedule(&agent);
        let made = owner.post(&url, &once("first")).await.expect(201);
        assert_eq!(made["next_scheduled_at"], "2030-03-17T17:46:40.000000Z");
        let first = id(&made);
        let recurring = json!({
            "messages": [{"role": "system", "content": [{"type": "text", "text": "again"}]}],
            "schedule": {"type": "recurring", "cron_expression": "0 9 * * MON"}, "max_steps": 3,
            "include_return_message_types": ["assistant_message"],
        });
        let second = id(&owner.post(&url, &recurring).await.expect(201));
        let shown = owner.get(&format!("{url}/{first}")).await.expect(200);
        assert_eq!(
            shown,
            json!({
                "id": first, "agent_id": agent, "message": {"messages": once("first")["messages"]},
                "schedule": once("")["schedule"], "next_scheduled_time": "2030-03-17T17:46:40.000000Z",
            })
        );
        let shown = owner.get(&format!("{url}/{second}")).await.expect(200);
        assert_eq!((&shown["message"]["max_steps"], &shown["schedule"]), (&json!(3), &recurring["schedule"]));
        assert!(shown["next_scheduled_time"].as_str().unwrap().contains("T09:00:00"), "{shown}");
        owner.delete(&format!("{url}/{second}")).await.expect(200);
        for text in ["second", "third"] {
            owner.post(&url, &once(text)).await.expect(201);
        }
        assert_eq!(texts(&owner, &url).await, (["first", "second", "third"].map(String::from).to_vec(), json!(false)));
        let (page, more) = texts(&owner, &format!("{url}?limit=2")).await;
        assert_eq!((page.len(), more), (2, json!(true)));
        let (page, more) = texts(&owner, &format!("{url}?limit=2&after={first}")).await;
        assert_eq!((page, more), (["second", "third"].map(String::from).to_vec(), json!(false)));
        for (method, path) in [
            (Method::GET, format!("{}/{first}", schedule(&other))),
            (Method::DELETE, format!("{}/{first}", schedule(&other))),
            (Method::GET, format!("{url}/none")),
            (Method::GET, format!("{url}/{second}")),
            (Method::GET, schedule(NOBODY)),
        ] {
            owner.send(method, &path, None).await.refused(404, "not_found");
        }
        owner.post(&schedule(NOBODY), &once("x")).await.refused(404, "not_found");
        // They go with their agent.
        owner.delete(&format!("/v1/agents/{agent}")).await.expect(200);
        owner.get(&format!("{url}/{first}")).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn what_cannot_be_scheduled_is_refused() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let url = schedule(&owner.create_agent(&json!({})).await);
    for (pointer, value, expected) in [
        ("/messages", json!([]), "422 validation_failed"),
        ("/messages", json!("x"), "422 validation_failed"),
        ("/messages/0/role", json!("robot"), "422 validation_failed"),
        ("/messages/0/content", json!(1), "422 validation_failed"),
        ("/messages/0/content", json!([{"type": "text"}]), "422 validation_failed"),
        (
            "/messages/0/content",
            json!([{"type": "image", "source": {"type": "url", "url": "x"}}]),
            "422 validation_failed",
        ),
        ("/schedule", json!(null), "422 validation_failed"),
        ("/schedule/type", json!("never"), "422 validation_failed"),
        ("/schedule/scheduled_at", json!("tomorrow"), "422 validation_failed"),
        ("/schedule/scheduled_at", json!(i64::MAX), "422 validation_failed"),
        ("/schedule", json!({"type": "recurring"}), "422 validation_failed"),
        ("/schedule", json!({"type": "recurring", "cron_expression": "every day"}), "400 invalid_request"),
        ("/schedule", json!({"type": "recurring", "cron_expression": "0 0 30 2 *"}), "400 invalid_request"),
    ] {
        let mut body = once("x");
        *body.pointer_mut(pointer).unwrap() = value;
        assert_eq!(owner.post(&url, &body).await.outcome(), expected, "{body}");
    }
    assert_eq!(texts(&owner, &url).await.0, [] as [&str; 0]);
}

#[tokio::test]
async fn a_page_reads_what_is_scheduled_for_its_agent_and_schedules_nothing() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let (agent, other) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
    let mine = id(&owner.post(&schedule(&agent), &once("mine")).await.expect(201));
    let theirs = id(&owner.post(&schedule(&other), &once("theirs")).await.expect(201));
    let page = server.stranger().page(&owner.create_token(&agent, &["read_messages", "write_messages"]).await);
    assert_eq!(texts(&page, &schedule(&agent)).await.0, ["mine"]);
    for (method, path, expected) in [
        (Method::GET, format!("{}/{mine}", schedule(&agent)), "200"),
        (Method::GET, format!("{}/{theirs}", schedule(&agent)), "404 not_found"),
        (Method::GET, format!("{}/{theirs}", schedule(&other)), "403 agent_not_in_policy"),
        (Method::POST, schedule(&agent), "403 operation_not_available"),
        (Method::DELETE, format!("{}/{mine}", schedule(&agent)), "403 operation_not_available"),
    ] {
        assert_eq!(page.send(method, &path, None).await.outcome(), expected, "{path}");
    }
}

#[tokio::test]
async fn an_account_and_no_devices_are_shown_in_their_shapes() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let user = owner.get("/v1/metadata/user").await.expect(200);
    for key in ["id", "email", "name", "organization_name", "organization_id", "current_project_id", "billing_tier"] {
        assert!(user[key].is_string(), "{key}: {user}");
    }
    assert!(user["remaining_credits"].is_number());
    assert!(owner.get("/v1/metadata/balance").await.expect(200)["total_balance"].is_number());
    let event = json!({"type": "session_start", "timestamp": "now", "data": {}});
    for (path, body, status) in [
        ("feedback", json!({"message": "nice"}), 200),
        ("feedback", json!({"message": ""}), 422),
        ("feedback", json!({}), 422),
        ("feedback", json!({"message": "x", "feature": "y"}), 422),
        ("telemetry", json!({"service": "letta-code", "events": [event]}), 200),
        ("telemetry", json!({"service": "letta-code", "events": [{"type": "nap"}]}), 422),
        ("telemetry", json!({"events": []}), 422),
    ] {
        let answer = owner.post(&format!("/v1/metadata/{path}"), &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text);
    }
    let devices = owner.get("/v1/environments?onlineOnly=true&limit=5").await.expect(200);
    assert_eq!(devices, json!({"connections": [], "hasNextPage": false}));
    let messages = json!({"messages": [{"role": "user", "content": "x", "client_message_id": "1"}]});
    for answer in [
        owner.get("/v1/environments/none").await,
        owner.delete("/v1/environments/none").await,
        owner.post("/v1/environments/none/messages", &messages).await,
    ] {
        assert_eq!(answer.expect(404)["errorCode"], "NOT_FOUND");
        answer.refused(404, "not_found");
    }
    owner.post("/v1/environments/none/messages", &json!({})).await.refused(422, "validation_failed");
    for path in ["/v1/feeds", "/v1/pipelines", "/v1/sandboxes", "/v1/device-storage-key?deviceId=x"] {
        let refused = owner.get(path).await.refused(501, "not_mocked");
        assert!(refused.contains(path.split('?').next().unwrap()) && refused.ends_with('.'), "{refused}");
    }
}
