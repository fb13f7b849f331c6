//! Templates of the hosted service: saved in versions, and agents made from them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Gatelet, Program, column, id, ids, keys, on_both_engines};

const TEMPLATES: &str = "/v1/templates";
const TEMPLATE: &str = "name id project_id project_slug latest_version template_deployment_slug updated_at";

async fn source(client: &Client, system: &str) -> String {
    client
        .create_agent(&json!({
            "name": "Support Bot", "system": system, "tags": ["t"], "secrets": {"KEY": "canary"},
            "memory_blocks": [{"label": "human", "value": "It is {{user}}."}],
        }))
        .await
}

async fn template(client: &Client, name: &str) -> Value {
    let agent = source(client, "one").await;
    client.post(TEMPLATES, &json!({"type": "agent", "agent_id": agent, "name": name})).await.expect(201)
}

async fn made(client: &Client, version: &str, body: &Value) -> Value {
    let made = client.post(&format!("{TEMPLATES}/{version}/agents"), body).await.expect(201);
    assert_eq!(keys(&made), "agent_ids group_id deployment_id");
    client.get(&format!("/v1/agents/{}", made["agent_ids"][0].as_str().unwrap())).await.expect(200)
}

fn legacy(client: &Client) -> Client {
    client.with("user-agent", "letta-client/0.1.324")
}

on_both_engines! {
    async fn templates_are_made_listed_changed_and_deleted(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = source(&owner, "one").await;
        let first = owner.post(TEMPLATES, &json!({"type": "agent", "agent_id": agent})).await.expect(201);
        assert_eq!(keys(&first), TEMPLATE);
        for (key, expected) in [
            ("name", "support-bot"),
            ("project_slug", "default"),
            ("latest_version", "1"),
            ("template_deployment_slug", "default/support-bot:1"),
        ] {
            assert_eq!(first[key], expected, "{key}");
        }
        let again = owner.post(&format!("{TEMPLATES}/default"), &json!({"type": "agent", "agent_id": agent})).await;
        assert_eq!(again.expect(201)["name"], "support-bot-2", "a name that nobody asked for is changed");
        let file = owner.get(&format!("/v1/agents/{agent}/export")).await.expect(200);
        let body = json!({"type": "agent_file", "agent_file": file, "name": "from_File"});
        owner.post(TEMPLATES, &body).await.expect(201);
        assert!(owner.post(TEMPLATES, &body).await.refused(400, "invalid_request").contains("from_File"));
        for (query, expected, more) in [
            ("", vec!["from_File", "support-bot-2", "support-bot"], false),
            ("?limit=1", vec!["from_File"], true),
            ("?limit=1&offset=2&sort_by=created_at", vec!["support-bot"], false),
            ("?name=SUPPORT", vec!["support-bot-2", "support-bot"], false),
            ("?name=support-bot&exact=true", vec!["support-bot"], false),
            ("?search=file", vec!["from_File"], false),
            ("?version=2", vec![], false),
            ("?project_slug=elsewhere", vec![], false),
        ] {
            let listed = owner.get(&format!("{TEMPLATES}{query}")).await.expect(200);
            assert_eq!((column(&listed["templates"], "name"), &listed["has_next_page"]), (expected.iter().map(ToString::to_string).collect(), &json!(more)), "{query}");
        }
        let id = id(&first);
        let listed = owner.get(&format!("{TEMPLATES}?template_id={id}")).await.expect(200);
        assert_eq!(ids(&listed["templates"]), [id]);

        let url = format!("{TEMPLATES}/default/support-bot");
        owner.patch(&format!("{url}/description"), &json!({"description": "said"})).await.expect(200);
        let listed = owner.get(&format!("{TEMPLATES}?name=support-bot&exact=true")).await.expect(200);
        assert_eq!(listed["templates"][0]["description"], "said");
        owner.patch(&format!("{url}/name"), &json!({"new_name": "from_File"})).await.refused(409, "conflict");
        owner.patch(&format!("{url}/name"), &json!({"new_name": "a b"})).await.refused(400, "invalid_request");
        owner.patch(&format!("{url}/name"), &json!({"new_name": "renamed"})).await.expect(200);
        owner.patch(&format!("{url}/name"), &json!({"new_name": "x"})).await.refused(404, "not_found");
        let fork = owner.post(&format!("{TEMPLATES}/default/renamed:latest/fork"), &Value::Null).await.expect(200);
        assert_eq!((&fork["name"], &fork["latest_version"]), (&json!("renamed-fork"), &json!("1")));
        for (path, status) in [
            (format!("{TEMPLATES}/renamed"), 200),
            (format!("{TEMPLATES}/renamed"), 404),
            (format!("{TEMPLATES}/default/from_File"), 200),
            (format!("{TEMPLATES}/elsewhere/support-bot-2"), 404),
        ] {
            assert_eq!(owner.delete(&path).await.status.as_u16(), status, "{path}");
        }
    }

    async fn versions_are_saved_and_come_back(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        template(&owner, "bot").await;
        let changed = owner.get(&format!("/v1/agents/{}/export", source(&owner, "two").await)).await.expect(200);
        let update = json!({"agent_file_json": changed, "save_existing_changes": true});
        assert_eq!(owner.patch(&format!("{TEMPLATES}/bot"), &update).await.expect(200), json!({"success": true}));
        let system = async |version: &str| made(&owner, version, &json!({})).await["system"].clone();
        for (version, expected) in [("bot", "one"), ("bot:latest", "one"), ("bot:current", "two"), ("bot:1", "one")] {
            assert_eq!(system(version).await, expected, "{version}");
        }
        let saved = owner.post(&format!("{TEMPLATES}/bot/save"), &json!({"message": "second"})).await.expect(200);
        assert_eq!(saved["latest_version"], "3");
        assert_eq!(system("bot:latest").await, "two");
        let listed = owner.get(&format!("{TEMPLATES}/default/bot/versions?limit=2")).await.expect(200);
        assert_eq!((&listed["total_count"], &listed["has_next_page"]), (&json!(3), &json!(true)));
        assert_eq!(column(&listed["versions"], "version"), ["3", "2"]);
        assert_eq!(keys(&listed["versions"][0]), "version created_at is_latest message");
        let roll_back = format!("{TEMPLATES}/bot/rollback");
        owner.post(&roll_back, &json!({"version": "1"})).await.expect(200);
        assert_eq!(system("bot:current").await, "one");
        for (version, expected) in [("9", "404 not_found"), ("x", "404 not_found"), ("current", "400 invalid_request")] {
            assert_eq!(owner.post(&roll_back, &json!({"version": version})).await.outcome(), expected, "{version}");
        }
        for version in ["bot:9", "none:1", "none"] {
            let refused = owner.post(&format!("{TEMPLATES}/{version}/agents"), &json!({})).await;
            refused.refused(404, "not_found");
        }
        let put = format!("{TEMPLATES}/default/bot/agent-file");
        let refused = owner.send(Method::PUT, &put, Some(&json!({"agent_file_json": {}}))).await;
        refused.refused(422, "validation_failed");
        owner.send(Method::PUT, &put, Some(&json!({"agent_file_json": changed}))).await.expect(200);
        assert_eq!(system("bot:current").await, "two");
    }

    async fn agents_are_made_as_asked(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let template = template(&owner, "bot").await;
        let identity = json!({"identifier_key": "sam", "name": "Sam", "identity_type": "user"});
        let identity = id(&owner.post("/v1/identities/", &identity).await.expect(200));
        let agent = made(
            &owner,
            "bot:latest",
            &json!({
                "agent_name": "Mine", "tags": ["x"], "memory_variables": {"user": "Kim"},
                "tool_variables": {"KEY": "value"}, "identity_ids": [identity],
                "initial_message_sequence": [{"role": "assistant", "content": "Hello!"}],
            }),
        )
        .await;
        for (pointer, expected) in [
            ("/name", json!("Mine")),
            ("/tags", json!(["x"])),
            ("/blocks/0/value", json!("It is Kim.")),
            ("/secrets/0/value", json!("value")),
            ("/identity_ids", json!([identity])),
            ("/base_template_id", template["id"].clone()),
        ] {
            assert_eq!(agent.pointer(pointer), Some(&expected), "{pointer}");
        }
        assert_eq!(agent["message_ids"].as_array().unwrap().len(), 2);
        let deployment = agent["deployment_id"].as_str().unwrap();
        assert_eq!(agent["blocks"][0]["deployment_id"], deployment);
        let variables = owner.get(&format!("/v1/agents/{}/core-memory/variables", id(&agent))).await.expect(200);
        assert_eq!(variables["variables"], json!({"user": "Kim"}));
        for search in [
            json!({"field": "templateName", "operator": "eq", "value": "bot"}),
            json!({"field": "version", "value": "bot:1"}),
        ] {
            let found = owner.post("/v1/agents/search", &json!({"search": [search]})).await.expect(200);
            assert_eq!(ids(&found["agents"]), [id(&agent)]);
        }
        let plain = made(&owner, "bot", &json!(null)).await;
        assert_eq!((&plain["name"], &plain["tags"]), (&json!("Support Bot"), &json!(["t"])));
        assert_eq!(column(&plain["secrets"], "value"), [""], "the first agent's secrets stay its own");

        let migrate = format!("{TEMPLATES}/default/bot/deployments/{deployment}/migrate");
        owner.post(&migrate, &json!({"version": "1"})).await.expect(200);
        owner.post(&migrate, &json!({"version": "9"})).await.refused(404, "not_found");
        owner.post(&migrate.replace(deployment, "none"), &json!({"version": "1"})).await.refused(404, "not_found");
        for body in [json!({"tags": "x"}), json!({"memory_variables": {"a": 1}}), json!({"identity_ids": ["x"]})] {
            let refused = owner.post(&format!("{TEMPLATES}/bot/agents"), &body).await;
            refused.refused(422, "validation_failed");
        }
        let snapshot = owner.get(&format!("{TEMPLATES}/default/bot:1/snapshot")).await.expect(200);
        assert_eq!(keys(&snapshot), "agents blocks relationships configuration type version");
        for (pointer, expected) in [
            ("/version", json!("1")),
            ("/agents/0/systemPrompt", json!("one")),
            ("/agents/0/model", json!("openai/gpt-4o-mini")),
            ("/agents/0/toolVariables/data/0/key", json!("KEY")),
            ("/blocks/0/value", json!("It is {{user}}.")),
            ("/relationships/0", json!({"agentEntityId": "agent-0", "blockEntityId": "block-0"})),
        ] {
            assert_eq!(snapshot.pointer(pointer), Some(&expected), "{pointer}");
        }
        let refused = owner.send(Method::PUT, &format!("{TEMPLATES}/default/bot:1/snapshot"), Some(&snapshot)).await;
        refused.refused(501, "not_mocked");
    }

    async fn a_limited_key_sees_the_templates_of_its_project(engine: Engine) {
        let program = Program::on(engine).await;
        let all = program.run(&["keys", "create", "--name", "all"]).await.ok();
        let one = program.run(&["keys", "create", "--name", "one", "--project", "one"]).await.ok();
        let server = program.start().await;
        let (all, one) = (server.stranger().bearer(&all), server.stranger().bearer(&one));
        template(&all, "bot").await;
        template(&one, "mine").await;
        let names = async |client: &Client, query: &str| {
            let listed = client.get(&format!("{TEMPLATES}{query}")).await.expect(200);
            column(&listed["templates"], "name")
        };
        assert_eq!(names(&one, "").await, ["mine"]);
        assert_eq!(names(&one, "?project_id=default").await, [] as [&str; 0]);
        assert_eq!(names(&all, "?project_id=one").await, ["mine"]);
        for path in [format!("{TEMPLATES}/default/bot/versions"), format!("{TEMPLATES}/one/bot/versions")] {
            one.get(&path).await.refused(404, "not_found");
        }
        all.get(&format!("{TEMPLATES}/one/mine/versions")).await.expect(200);
    }
}
