//! What earlier versions have stored. `tests/data/README.md` says where it comes from.

use std::{fs, path::Path, str::FromStr};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, sqlite::SqliteConnectOptions};

use crate::harness::{Client, Engine, MASTER_KEY, Program, column, on_both_engines};

const INCLUDE: &str = "?include=agent.blocks&include=agent.identities&include=agent.managed_group\
    &include=agent.pending_approval&include=agent.secrets&include=agent.sources&include=agent.tags&include=agent.tools";

on_both_engines! {
    /// What is stored keeps the form that the earlier version gave it until the agent is changed.
    async fn agents_of_an_earlier_version_are_shown_changed_and_redacted(engine: Engine) {
        let (program, expected) = restore(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let list = owner.get(&format!("/v1/agents/{INCLUDE}&limit=100&order=asc")).await.expect(200);
        assert_eq!(column(&list, "id"), column(&expected["agents"], "id"));
        for (listed, (agent, redacted)) in list.as_array().unwrap().iter().zip(pairs(&expected)) {
            let (id, name) = (agent["id"].as_str().unwrap(), &agent["name"]);
            let token = owner.create_token(id, &["read_agent", "write_agent", "read_messages"]).await;
            let page = server.stranger().page(&token);
            assert_eq!(as_before(listed.clone()), *agent, "{name}");
            assert_eq!(shown(&owner, id).await, *agent, "{name}");
            let seen = shown(&page, id).await;
            assert_eq!(seen, redacted, "{name}");
            assert!(!seen.to_string().contains("canary"), "{name}: {seen}");

            // Now it is stored anew.
            let change = json!({"description": "changed"});
            let changed = page.patch(&format!("/v1/agents/{id}"), &change).await.expect(200);
            assert!(!changed.to_string().contains("canary"), "{name}: {changed}");
            let but_for_the_change = |mut agent: Value| {
                agent["description"] = change["description"].clone();
                agent["updated_at"] = changed["updated_at"].clone();
                agent
            };
            assert_eq!(shown(&owner, id).await, but_for_the_change(agent.clone()), "{name}");
            assert_eq!(shown(&page, id).await, but_for_the_change(redacted), "{name}");
        }
    }

    async fn conversations_of_an_earlier_version_go_on(engine: Engine) {
        let (program, expected) = restore(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let of = |name| expected["agents"].as_array().unwrap().iter().find(|agent| agent["name"] == name).unwrap();
        let path = |agent: &Value, rest| format!("/v1/agents/{}{rest}", agent["id"].as_str().unwrap());

        let agent = of("conversation");
        let said = json!({"messages": [{"role": "user", "content": "And now?"}]});
        owner.post(&path(agent, "/messages"), &said).await.expect(200);
        let ids = owner.get(&path(agent, "")).await.expect(200)["message_ids"].clone();
        let before = agent["message_ids"].as_array().unwrap();
        assert!(ids.as_array().unwrap().starts_with(before) && ids.as_array().unwrap().len() == before.len() + 2, "{ids}");

        let agent = of("asking");
        let call = &agent["pending_approval"]["tool_call"]["tool_call_id"];
        let approval = json!({"type": "approval", "approvals": [{"type": "approval", "tool_call_id": call, "approve": true}]});
        let answer = owner.post(&path(agent, "/messages"), &json!({"messages": [approval]})).await.expect(200);
        assert_eq!(answer["stop_reason"]["stop_reason"], "end_turn", "{answer}");

        // The earlier version showed no files in an agent's memory.
        let files = owner.get(&path(of("files"), INCLUDE)).await.expect(200)["memory"]["file_blocks"].clone();
        assert_eq!(column(&files, "label"), ["notes/a.txt"]);
    }
}

/// An agent as a client sees it, with all that can be included.
async fn shown(client: &Client, id: &str) -> Value {
    as_before(client.get(&format!("/v1/agents/{id}{INCLUDE}")).await.expect(200))
}

/// A program on a store that was written by an earlier version, and what that version answered.
async fn restore(engine: Engine) -> (Program, Value) {
    let program = Program::on(engine).await.env("GATELET_MASTER_KEY", MASTER_KEY);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stored");
    let read = |kind: &str| fs::read_to_string(folder.join(format!("{engine:?}.{kind}").to_lowercase())).unwrap();
    let dump = AssertSqlSafe(read("sql"));
    match engine {
        Engine::Sqlite => {
            // The rows are not in the order in which they need each other.
            let options = SqliteConnectOptions::from_str(program.url()).unwrap();
            let options = options.create_if_missing(true).foreign_keys(false);
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql(dump).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        Engine::Postgres => {
            let mut connection = PgConnection::connect(program.url()).await.unwrap();
            sqlx::raw_sql(dump).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
    (program, serde_json::from_str(&read("json")).unwrap())
}

/// Agents as they were shown to an API key, and as they are shown to a client token. The earlier version told it of groups
/// and identities.
fn pairs(expected: &Value) -> impl Iterator<Item = (&Value, Value)> {
    let redacted = expected["redacted"].as_array().unwrap().iter().cloned().map(|mut agent| {
        (agent["managed_group"], agent["multi_agent_group"]) = (json!(null), json!(null));
        (agent["identities"], agent["identity_ids"]) = (json!([]), json!([]));
        agent
    });
    expected["agents"].as_array().unwrap().iter().zip(redacted)
}

/// An agent as it is written in the test data: without what is not stored with it.
fn as_before(mut agent: Value) -> Value {
    for tool in agent["tools"].as_array_mut().unwrap() {
        if tool["tool_type"] != "custom" {
            *tool = tool["name"].clone();
        }
    }
    agent["memory"]["file_blocks"] = json!([]);
    agent
}
