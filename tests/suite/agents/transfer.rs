//! Agents as files: written down, and made from that again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{AGENTS, column, full_request, keys, legacy, path};
use crate::harness::{Answer, Client, Gatelet, NOBODY, form, id, on_both_engines};

const FILE: &str = "agents groups blocks files sources tools mcp_servers skills metadata created_at";
const AGENT: &str = "name memory_blocks tools tool_ids source_ids folder_ids block_ids tool_rules tags system agent_type \
    initial_message_sequence include_base_tools include_multi_agent_tools include_base_tool_rules \
    include_default_source description metadata llm_config embedding_config model embedding model_settings \
    compaction_settings context_window_limit embedding_chunk_size max_tokens max_reasoning_tokens enable_reasoner \
    reasoning from_template template project tool_exec_environment_variables secrets memory_variables project_id \
    template_id base_template_id identity_ids message_buffer_autoclear enable_sleeptime response_format timezone \
    max_files_open per_file_view_window_char_limit hidden parallel_tool_calls id in_context_message_ids messages \
    files_agents group_ids";
const MESSAGE: &str = "type otid group_id role content name sender_id batch_item_id id model agent_id tool_calls \
    tool_call_id tool_returns created_at approve approval_request_id denial_reason approvals";
const BLOCK: &str = "value limit project_id template_name is_template template_id base_template_id deployment_id \
    entity_id preserve_on_migration label read_only description metadata hidden tags id";

pub(super) async fn import(client: &Client, file: &Value, fields: &[(&str, &str)]) -> Answer {
    let text = file.to_string();
    let mut parts = vec![("file", Some(("agent.af", "application/json")), text.as_bytes())];
    parts.extend(fields.iter().map(|(name, value)| (*name, None, value.as_bytes())));
    client.send_form("/v1/agents/import", form(&parts)).await
}

async fn imported(client: &Client, file: &Value, fields: &[(&str, &str)]) -> Value {
    let made = import(client, file, fields).await.expect(200);
    let agent = made["agent_ids"][0].as_str().unwrap().to_owned();
    assert_eq!(made, json!({"agent_ids": [agent]}));
    client.get(&path(&agent, "")).await.expect(200)
}

async fn texts(client: &Client, agent: &Value) -> Vec<String> {
    let url = path(&id(agent), "/messages?include_return_message_types=user_message");
    column(&client.get(&url).await.expect(200), "content")
}

on_both_engines! {
    async fn an_exported_agent_comes_back_as_another_one(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let source = "def roll(sides: int) -> str:\n    \"\"\"Rolls.\n\n    Args:\n        sides: how many\n    \"\"\"\n    return 'six'\n";
        let tool = owner.post("/v1/tools/", &json!({"source_code": source})).await.expect(200);
        let folder = id(&owner.post("/v1/folders/", &json!({"name": "shelf"})).await.expect(200));
        let body = form(&[("file", Some(("a.txt", "text/plain")), b"file text")]);
        owner.send_form(&format!("/v1/folders/{folder}/upload"), body).await.expect(200);
        let mut request = full_request();
        request["message_buffer_autoclear"] = json!(false);
        request["tool_ids"] = json!([tool["id"]]);
        request["folder_ids"] = json!([folder]);
        let agent = owner.post(AGENTS, &request).await.expect(200);
        let first = agent["id"].as_str().unwrap();
        for text in ["first", "second"] {
            owner.post(&path(first, "/messages"), &json!({"input": text})).await.expect(200);
        }
        let answer = owner.get(&path(first, "/export")).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.text.starts_with("{\n  \"agents\": [\n"), "it is meant to be read");
        assert!(!answer.text.contains("canary"), "secrets stay where they are");
        let file = answer.expect(200);
        let written = &file["agents"][0];
        assert_eq!((keys(&file).as_str(), keys(written).as_str()), (FILE, AGENT));
        assert_eq!((keys(&file["blocks"][0]).as_str(), keys(&written["messages"][0]).as_str()), (BLOCK, MESSAGE));
        for (pointer, expected) in [
            ("/agents/0/id", json!("agent-0")),
            ("/agents/0/block_ids", json!(["block-0", "block-1"])),
            ("/agents/0/tool_ids", json!(["tool-0", "tool-1", "tool-2", "tool-3", "tool-4"])),
            ("/agents/0/source_ids", json!(["source-0"])),
            ("/agents/0/tool_exec_environment_variables", json!({"KEY": "", "OTHER": ""})),
            ("/agents/0/messages/0/id", json!("message-0")),
            ("/agents/0/in_context_message_ids/0", json!("message-0")),
            ("/files/0/content", json!("file text")),
        ] {
            assert_eq!(file.pointer(pointer), Some(&expected), "{pointer}");
        }
        assert_eq!(owner.post(&path(first, "/export"), &json!(null)).await.expect(200)["agents"], file["agents"]);

        let copy = imported(&owner, &file, &[]).await;
        assert_eq!(copy["name"], format!("{}_copy", agent["name"].as_str().unwrap()));
        for key in [
            "description", "metadata", "agent_type", "system", "llm_config", "embedding_config", "model", "embedding",
            "tool_rules", "tags", "timezone", "max_files_open", "per_file_view_window_char_limit",
            "message_buffer_autoclear",
        ] {
            assert_eq!(copy[key], agent[key], "{key}");
        }
        let sorted = |list: &Value, key: &str| column(list, key).into_iter().collect::<BTreeSet<_>>();
        for (list, key) in [
            ("blocks", "label"), ("blocks", "value"), ("tools", "name"), ("tools", "id"), ("secrets", "key"),
        ] {
            assert_eq!(sorted(&copy[list], key), sorted(&agent[list], key), "{list} {key}");
        }
        assert_eq!(column(&copy["secrets"], "value"), ["", ""]);
        for list in ["blocks", "sources"] {
            let ids = |agent: &Value| column(&agent[list], "id").into_iter().collect::<BTreeSet<_>>();
            assert!(ids(&copy).is_disjoint(&ids(&agent)), "{list}");
        }
        assert_eq!(column(&copy["sources"], "name"), ["shelf_(1)"]);
        let files = owner.get(&path(&id(&copy), "/files")).await.expect(200);
        assert_eq!(files["files"][0]["visible_content"], "[Viewing file start (out of 1 lines)]\n1: file text");
        assert_eq!(texts(&owner, &copy).await, ["first", "second"]);
        assert_eq!(copy["message_ids"].as_array().unwrap().len(), 5);
        owner.post(&path(&id(&copy), "/messages"), &json!({"input": "third"})).await.expect(200);
        assert_eq!(texts(&owner, &agent).await, ["first", "second"], "they are two");

        let renamed = imported(
            &owner,
            &file,
            &[("name", "Other"), ("strip_messages", "true"), ("secrets", "{\"KEY\": \"new\"}"), ("model", "openai/any")],
        )
        .await;
        assert_eq!((&renamed["name"], &renamed["model"]), (&json!("Other"), &json!("openai/any")));
        assert_eq!(column(&renamed["secrets"], "value"), ["new", ""]);
        assert_eq!(texts(&owner, &renamed).await, [] as [&str; 0]);
        let old_names = [("append_copy_suffix", "false"), ("override_embedding_handle", "letta/letta-free")];
        let plain = imported(&owner, &file, &old_names).await;
        assert_eq!((&plain["name"], &plain["embedding"]), (&agent["name"], &json!("letta/letta-free")));
        // A name is that of every agent of the file.
        let (mut file, mut second) = (file.clone(), file["agents"][0].clone());
        for (key, value) in [("id", json!("agent-1")), ("messages", json!([])), ("in_context_message_ids", json!([]))] {
            second[key] = value;
        }
        file["agents"].as_array_mut().unwrap().push(second);
        let made = import(&owner, &file, &[("override_name", "Both")]).await.expect(200);
        let made = made["agent_ids"].as_array().unwrap().clone();
        assert_eq!(made.len(), 2);
        for agent in made {
            assert_eq!(owner.get(&path(agent.as_str().unwrap(), "")).await.expect(200)["name"], "Both");
        }
    }

    async fn a_file_brings_its_tools_and_its_project(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let source = |text: &str| format!("def greet() -> str:\n    \"\"\"Greets.\"\"\"\n    return '{text}'\n");
        let tool = owner.post("/v1/tools/", &json!({"source_code": source("a")})).await.expect(200);
        let agent = owner.post(AGENTS, &json!({"model": "openai/any", "tool_ids": [tool["id"]]})).await.expect(200);
        let file = owner.get(&path(&id(&agent), "/export?scrub_messages=true")).await.expect(200);
        assert_eq!(file["agents"][0]["messages"], json!([]));
        owner.post("/v1/tools/", &json!({"source_code": source("b")})).await.expect(200);
        let url = format!("/v1/tools/{}", tool["id"].as_str().unwrap());
        for (overrides, expected) in [("false", "b"), ("true", "a")] {
            imported(&owner, &file, &[("override_existing_tools", overrides)]).await;
            let code = owner.get(&url).await.expect(200)["source_code"].as_str().unwrap().to_owned();
            assert!(code.contains(&format!("'{expected}'")), "{overrides}: {code}");
        }
        let there = imported(&owner, &file, &[("project_id", "elsewhere")]).await;
        assert_eq!(there["project_id"], "elsewhere");
        assert_ne!(there["tools"][3]["id"], tool["id"], "another project has tools of its own");
    }
}

#[tokio::test]
async fn what_is_no_agent_file_is_refused_and_leaves_nothing() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"memory_blocks": [{"label": "human", "value": "x"}]})).await;
    owner.post(&path(&agent, "/messages"), &json!({"input": "hello"})).await.expect(200);
    let file = owner.get(&path(&agent, "/export")).await.expect(200);
    for (pointer, value) in [
        ("/agents", json!([])),
        ("/agents", json!("x")),
        ("/agents/0/name", json!(1)),
        ("/agents/0/llm_config", json!(null)),
        ("/agents/0/block_ids", json!(["block-9"])),
        ("/agents/0/tool_ids", json!(["tool-9"])),
        ("/agents/0/messages/1/role", json!("robot")),
        ("/agents/0/messages/1/content", json!([{"type": "smell"}])),
        ("/agents/0/tool_rules", json!([{"type": "x"}])),
        ("/blocks/0/label", json!(null)),
        ("/tools/0/name", json!(null)),
    ] {
        let mut broken = file.clone();
        *broken.pointer_mut(pointer).unwrap() = value;
        let refused = import(&owner, &broken, &[]).await;
        assert_eq!(refused.outcome(), "400 invalid_request", "{pointer}: {}", refused.text);
    }
    let body = form(&[("file", Some(("a.af", "application/json")), b"{nope")]);
    assert_eq!(owner.send_form("/v1/agents/import", body).await.expect(400)["detail"], "Corrupted agent file format.");
    let body = form(&[("file", None, b"{}")]);
    owner.send_form("/v1/agents/import", body).await.refused(422, "validation_failed");
    import(&owner, &file, &[("strip_messages", "perhaps")]).await.refused(422, "validation_failed");
    import(&owner, &file, &[("secrets", "[1]")]).await.refused(422, "validation_failed");
    import(&owner, &file, &[("secrets", "nope")]).await.refused(400, "invalid_request");
    assert_eq!(owner.get(&format!("{AGENTS}count")).await.expect(200), 1);
    assert_eq!(owner.get("/v1/blocks/count").await.expect(200), 1);
    for (url, status) in [
        (path(&agent, "/export?use_legacy_format=true"), 400),
        (path(&agent, "/export?conversation_id=conv-1"), 404),
        (path(NOBODY, "/export"), 404),
    ] {
        assert_eq!(owner.get(&url).await.status.as_u16(), status, "{url}");
    }
    let skills = json!({"skills": [{"name": "s", "files": {"SKILL.md": "b"}}]});
    let file = owner.post(&path(&agent, "/export"), &skills).await.expect(200);
    assert_eq!(file["skills"], json!([{"name": "s", "files": {"SKILL.md": "b"}, "source_url": null}]));
}
