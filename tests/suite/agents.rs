//! Agents: made, changed and deleted, their memory and their secrets, and what client tokens see of them.

mod belongings;
mod lists;
mod round_trip;
mod transfer;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Gatelet, NOBODY, ORIGIN, Program, on_both_engines};

const AGENTS: &str = "/v1/agents/";

/// Letta's keys of an agent and of what is nested in it, in Letta's order.
const AGENT: &str = "created_by_id last_updated_by_id created_at updated_at id name tool_rules message_ids system \
    agent_type llm_config embedding_config model embedding model_settings compaction_settings response_format \
    description metadata memory blocks tools sources tags tool_exec_environment_variables secrets project_id \
    template_id base_template_id deployment_id entity_id identity_ids identities pending_approval \
    message_buffer_autoclear enable_sleeptime multi_agent_group managed_group last_run_completion \
    last_run_duration_ms last_stop_reason timezone max_files_open per_file_view_window_char_limit hidden";
const NESTED: [(&str, &str); 8] = [
    (
        "/llm_config",
        "model display_name model_endpoint_type model_endpoint provider_name provider_category model_wrapper \
         context_window put_inner_thoughts_in_kwargs handle temperature max_tokens enable_reasoner reasoning_effort \
         max_reasoning_tokens effort frequency_penalty compatibility_type verbosity tier parallel_tool_calls \
         response_format strict return_logprobs top_logprobs return_token_ids tool_call_parser",
    ),
    (
        "/embedding_config",
        "embedding_endpoint_type embedding_endpoint embedding_model embedding_dim embedding_chunk_size handle \
         batch_size azure_endpoint azure_version azure_deployment",
    ),
    (
        "/model_settings",
        "max_output_tokens parallel_tool_calls provider_type temperature reasoning response_format strict",
    ),
    (
        "/compaction_settings",
        "model model_settings prompt prompt_acknowledgement clip_chars mode sliding_window_percentage",
    ),
    ("/memory", "agent_type git_enabled blocks file_blocks prompt_template"),
    ("/memory/blocks/0", BLOCK),
    ("/blocks/0", BLOCK),
    (
        "/tools/0",
        "id tool_type description source_type name tags source_code json_schema args_json_schema return_char_limit \
         pip_requirements npm_requirements default_requires_approval enable_parallel_execution created_by_id \
         last_updated_by_id metadata_ project_id",
    ),
];
const BLOCK: &str = "value limit project_id template_name is_template template_id base_template_id deployment_id \
    entity_id preserve_on_migration label read_only description metadata hidden id created_by_id last_updated_by_id \
    tags";

fn keys(value: &Value) -> String {
    value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn path(agent: &str, rest: &str) -> String {
    format!("{AGENTS}{agent}{rest}")
}

/// What a list shows of each of its items, in order.
fn column(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
}

/// A client of the generation that is always told everything.
fn legacy(client: &Client) -> Client {
    client.with("user-agent", "letta-client/0.1.324")
}

/// An agent that says as much about itself as a request can.
fn full_request() -> Value {
    let rule = json!({"type": "exit_loop", "tool_name": "memory_insert"});
    json!({
        "name": "Über Agent", "description": "all of it", "system": "You are thorough.", "tags": ["two", "one"],
        "metadata": {"z": {"a": [1, 1.0, 18_446_744_073_709_551_615_u64, -0.5, null, "\u{0}ü\u{1f600}"]}, "a": true},
        "model": "openai/gpt-4o", "embedding": "openai/text-embedding-3-small",
        "context_window_limit": 16_000, "max_tokens": 777, "timezone": "Europe/Berlin", "max_files_open": 3,
        "per_file_view_window_char_limit": 999, "message_buffer_autoclear": true, "hidden": false,
        "memory_blocks": [
            {"label": "human", "value": "first"},
            {"label": "human", "value": "second"},
            {"label": "notes", "value": "", "description": "mine", "limit": 50, "metadata": {"k": [1]}, "tags": ["t"]},
        ],
        "include_base_tools": false, "tools": ["memory_insert"],
        "tool_rules": [rule, rule],
        "secrets": {"KEY": "canary-1", "OTHER": "canary-2"},
        "template_id": null, "unheard_of": {"x": 1},
    })
}

on_both_engines! {
    async fn an_agent_has_every_key_of_lettas_in_lettas_order(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let minimal = owner.post(AGENTS, &json!({"model": "openai/gpt-4o-mini"})).await.expect(200);
        let full = owner.post(AGENTS, &full_request()).await.expect(200);
        for agent in [&minimal, &full] {
            assert_eq!(keys(agent), AGENT);
            assert_eq!(&owner.get(&path(agent["id"].as_str().unwrap(), "")).await.expect(200), agent);
        }
        let expected = NESTED.map(|(pointer, keys)| (pointer, keys.to_owned()));
        assert_eq!(NESTED.map(|(pointer, _)| (pointer, keys(full.pointer(pointer).unwrap()))), expected);

        let defaults = json!({
            "agent_type": "letta_v1_agent", "model": "openai/gpt-4o-mini", "embedding": null, "embedding_config": null,
            "model_settings": {
                "max_output_tokens": 16384, "parallel_tool_calls": true, "provider_type": "openai", "temperature": 1.0,
                "reasoning": {"reasoning_effort": "minimal"}, "response_format": null, "strict": false,
            },
            "response_format": null, "description": null, "metadata": null, "tool_rules": [], "blocks": [],
            "sources": [], "tags": [], "tool_exec_environment_variables": [], "secrets": [], "project_id": null,
            "template_id": null,
            "identity_ids": [], "identities": [], "pending_approval": null, "message_buffer_autoclear": false,
            "enable_sleeptime": null, "multi_agent_group": null, "managed_group": null, "last_run_completion": null,
            "last_run_duration_ms": null, "last_stop_reason": null, "timezone": "UTC", "max_files_open": 10,
            "per_file_view_window_char_limit": 25000, "hidden": null,
        });
        for (key, value) in defaults.as_object().unwrap() {
            assert_eq!(&minimal[key], value, "{key}");
        }
        let tools: BTreeSet<String> = column(&minimal["tools"], "name").into_iter().collect();
        assert_eq!(tools, BTreeSet::from(["conversation_search", "memory_insert", "memory_replace"].map(String::from)));
        assert_eq!(minimal["message_ids"].as_array().unwrap().len(), 1);
        assert!(!minimal["name"].as_str().unwrap().is_empty() && !minimal["system"].as_str().unwrap().is_empty());
        for key in ["created_at", "updated_at"] {
            let time = minimal[key].as_str().unwrap();
            assert!(time.len() == "2026-11-23T16:23:19.765515Z".len() && time.ends_with('Z'), "{time}");
        }
    }

    async fn what_was_given_comes_back_as_it_was_given(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let sent = full_request();
        let made = server.owner().post(AGENTS, &sent).await.expect(200);
        let echoed = "name description system tags metadata model embedding timezone max_files_open \
            per_file_view_window_char_limit message_buffer_autoclear hidden";
        for key in echoed.split(' ') {
            assert_eq!(made[key], sent[key], "{key}");
        }
        assert_eq!(keys(&made["metadata"]), "z a", "the order of keys is kept");
        assert_eq!(
            (&made["llm_config"]["context_window"], &made["llm_config"]["max_tokens"]),
            (&json!(16_000), &json!(777))
        );
        assert_eq!(made["model_settings"]["max_output_tokens"], 777);
        assert_eq!(column(&made["tools"], "name"), ["memory_insert"]);
        assert_eq!(column(&made["tool_rules"], "type"), ["exit_loop"], "a repeated rule is one rule");
        assert_eq!(column(&made["blocks"], "value"), ["first", ""], "of two blocks with one label the first counts");
        assert!(!made["blocks"][0]["description"].is_null(), "the label `human` comes with a description");
        for key in ["label", "description", "limit", "metadata", "tags"] {
            assert_eq!(made["blocks"][1][key], sent["memory_blocks"][2][key], "{key}");
        }
        // A map goes in, a list comes out, under both names.
        assert_eq!(column(&made["secrets"], "key"), ["KEY", "OTHER"]);
        assert_eq!(column(&made["secrets"], "value"), ["canary-1", "canary-2"]);
        assert_eq!(made["secrets"], made["tool_exec_environment_variables"]);
        assert_eq!(made["secrets"][0]["agent_id"], made["id"]);
        // Limits are what a request says, whatever that is.
        for limit in [0, -1] {
            let body = json!({"model": "openai/gpt-4o-mini", "context_window_limit": limit, "max_tokens": limit});
            let made = server.owner().post(AGENTS, &body).await.expect(200);
            let llm = &made["llm_config"];
            assert_eq!((&llm["context_window"], &llm["max_tokens"]), (&json!(limit), &json!(limit)));
            let url = path(made["id"].as_str().unwrap(), "/messages");
            let answer = server.owner().post(&url, &json!({"input": "still there"})).await.expect(200);
            assert_eq!(answer["stop_reason"]["stop_reason"], "end_turn");
        }
    }

    async fn a_change_touches_what_it_names_and_nothing_else(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let mut agent = owner.post(AGENTS, &full_request()).await.expect(200);
        let url = path(agent["id"].as_str().unwrap(), "");
        for (change, expected) in [
            (json!({}), vec![]),
            (
                json!({"name": null, "tags": null, "secrets": null, "metadata": null, "model": null, "unheard_of": 1}),
                vec![],
            ),
            (json!({"name": "renamed/again"}), vec!["name"]),
            (json!({"description": ""}), vec!["description"]),
            (json!({"metadata": {"only": 1}}), vec!["metadata"]),
            (json!({"tags": ["three"]}), vec!["tags"]),
            (json!({"tags": []}), vec!["tags"]),
            (
                json!({"secrets": {"OTHER": "canary-2", "NEW": "canary-3"}}),
                vec!["tool_exec_environment_variables", "secrets"],
            ),
            (json!({"secrets": {}}), vec!["tool_exec_environment_variables", "secrets"]),
            (json!({"tool_rules": []}), vec!["tool_rules"]),
            (json!({"tool_ids": []}), vec!["tools"]),
            (json!({"block_ids": []}), vec!["memory", "blocks"]),
            (json!({"system": "You are brief."}), vec!["system"]),
            (json!({"timezone": "Asia/Tokyo"}), vec!["timezone"]),
            (json!({"context_window_limit": 5000}), vec!["llm_config"]),
            (json!({"last_stop_reason": "max_steps"}), vec!["last_stop_reason"]),
            (json!({"embedding": "letta/letta-free"}), vec!["embedding_config", "embedding"]),
            (json!({"model": "anthropic/claude-sonnet-4-5"}), vec!["llm_config", "model", "model_settings"]),
        ] {
            let answer = owner.patch(&url, &change).await.expect(200);
            assert_eq!(keys(&answer), AGENT);
            let changed: Vec<&String> = agent
                .as_object()
                .unwrap()
                .iter()
                .filter(|(key, value)| *key != "updated_at" && answer[key.as_str()] != **value)
                .map(|(key, _)| key)
                .collect();
            assert_eq!(changed, expected, "{change}");
            for (key, value) in change.as_object().unwrap() {
                if expected.contains(&key.as_str()) && key != "secrets" {
                    assert_eq!(&answer[key], value);
                }
            }
            assert!(answer["updated_at"].as_str() > agent["updated_at"].as_str(), "{change}");
            assert_eq!(owner.get(&url).await.expect(200), answer, "{change}");
            agent = answer;
        }
        let message = owner.get(&format!("{url}/messages")).await.expect(200)[0]["content"].to_string();
        assert!(message.contains("You are brief."), "{message}");
    }

    async fn deleting_an_agent_takes_along_what_is_its_own_and_no_block(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let body = json!({"model": "openai/any", "memory_blocks": [{"label": "shared", "value": "kept"}]});
        let first = owner.post(AGENTS, &body).await.expect(200);
        let (block, first) = (&first["blocks"][0]["id"], first["id"].as_str().unwrap());
        let second = owner.create_agent(&json!({"block_ids": [block]})).await;
        owner.post(&path(first, "/messages"), &json!({"input": "hello"})).await.expect(200);
        let run = owner.get(&path(first, "/messages")).await.expect(200)[1]["run_id"].as_str().unwrap().to_owned();
        owner.get(&format!("/v1/runs/{run}")).await.expect(200);

        let deleted = owner.delete(&path(first, "")).await.expect(200);
        assert_eq!(deleted, json!({"message": format!("Agent id={first} successfully deleted")}));
        for (method, url, body) in [
            (Method::DELETE, path(first, ""), None),
            (Method::GET, path(first, ""), None),
            (Method::PATCH, path(first, ""), Some(json!({"name": "x"}))),
            (Method::GET, path(first, "/messages"), None),
            (Method::POST, path(first, "/messages"), Some(json!({"input": "x"}))),
            (Method::PATCH, path(first, "/reset-messages"), Some(json!({}))),
            (Method::GET, path(first, "/core-memory"), None),
            (Method::GET, path(first, "/core-memory/blocks"), None),
            (Method::GET, path(first, "/core-memory/blocks/shared"), None),
            (Method::PATCH, path(first, "/core-memory/blocks/shared"), Some(json!({"value": "x"}))),
            (Method::GET, format!("/v1/runs/{run}"), None),
        ] {
            owner.send(method, &url, body.as_ref()).await.refused(404, "not_found");
        }
        assert_eq!(column(&owner.get(AGENTS).await.expect(200), "id"), [second.as_str()]);
        let label = path(&second, "/core-memory/blocks/shared");
        assert_eq!(owner.get(&label).await.expect(200)["value"], "kept");
        owner.delete(&path(&second, "")).await.expect(200);
        let third = owner.post(AGENTS, &json!({"model": "openai/any", "block_ids": [block]})).await.expect(200);
        assert_eq!(third["blocks"][0]["value"], "kept", "a block outlives every agent");
    }

    async fn a_block_is_one_object_and_every_system_message_shows_it(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let body = json!({"model": "openai/any", "memory_blocks": [
            {"label": "human", "value": "old-value", "read_only": true}, {"label": "my nötes", "value": "n"}]});
        let first = owner.post(AGENTS, &body).await.expect(200);
        let (ids, first) = (column(&first["blocks"], "id"), first["id"].as_str().unwrap());
        let second = owner.create_agent(&json!({"block_ids": [ids[0]]})).await;
        let blocks = path(first, "/core-memory/blocks");
        for (query, expected) in
            [("", [1, 0].as_slice()), ("?order=asc", &[0, 1]), ("?limit=1", &[1]), ("?limit=5&after=", &[0])]
        {
            let cursor = if query.ends_with('=') { ids[1].as_str() } else { "" };
            let list = owner.get(&format!("{blocks}{query}{cursor}")).await.expect(200);
            assert_eq!(
                column(&list, "id"),
                expected.iter().map(|index| ids[*index].clone()).collect::<Vec<_>>(),
                "{query}"
            );
        }
        assert_eq!(owner.get(&format!("{blocks}/my%20n%C3%B6tes")).await.expect(200)["id"], ids[1].as_str());
        owner.get(&format!("{blocks}/unknown")).await.refused(404, "not_found");
        owner.get(&path(&second, "/core-memory/blocks/my%20n%C3%B6tes")).await.refused(404, "not_found");

        let url = format!("{blocks}/human");
        let changed =
            owner.patch(&url, &json!({"value": "new-value", "description": null, "unheard_of": 1})).await.expect(200);
        assert_eq!(
            (keys(&changed).as_str(), &changed["value"], &changed["read_only"]),
            (BLOCK, &json!("new-value"), &json!(true))
        );
        for agent in [first, &second] {
            assert_eq!(owner.get(&path(agent, "/core-memory/blocks/human")).await.expect(200), changed);
            let memory = owner.get(&path(agent, "/core-memory")).await.expect(200);
            assert_eq!(memory["blocks"][0], changed);
            let prompt =
                owner.get(&path(agent, "/messages")).await.expect(200)[0]["content"].as_str().unwrap().to_owned();
            assert!(prompt.contains("new-value") && !prompt.contains("old-value"), "{prompt}");
            assert!(prompt.contains(&format!("- AGENT_ID: {agent}")), "{prompt}");
        }
        owner.patch(&url, &json!({"label": "my nötes"})).await.refused(409, "conflict");
        owner.patch(&url, &json!({"label": "person"})).await.expect(200);
        owner.get(&url).await.refused(404, "not_found");
        assert_eq!(owner.get(&path(&second, "/core-memory/blocks/person")).await.expect(200)["value"], "new-value");
    }

    async fn everything_survives_a_restart(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let owner = legacy(&server.stranger().bearer(&key));
        let agent = owner.post(AGENTS, &full_request()).await.expect(200);
        let agent = agent["id"].as_str().unwrap();
        owner.post(&path(agent, "/messages"), &json!({"input": "before"})).await.expect(200);
        let run = owner.get(&path(agent, "/messages")).await.expect(200)[1]["run_id"].as_str().unwrap().to_owned();
        let urls = [path(agent, ""), path(agent, "/messages"), path(agent, "/core-memory"), format!("/v1/runs/{run}")];
        let mut before = Vec::new();
        for url in &urls {
            before.push(owner.get(url).await.expect(200));
        }
        server.kill().await;

        let server = program.start().await;
        let owner = legacy(&server.stranger().bearer(&key));
        for (url, before) in urls.iter().zip(before) {
            assert_eq!(owner.get(url).await.expect(200), before, "{url}");
        }
        owner.post(&path(agent, "/messages"), &json!({"input": "after"})).await.expect(200);
        let users = owner.get(&path(agent, "/messages?include_return_message_types=user_message")).await.expect(200);
        assert_eq!(column(&users, "content"), ["before", "after"]);
    }

    async fn bad_requests_are_the_callers_fault(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"memory_blocks": [{"label": "human", "value": "x"}]})).await;
        let block = path(&agent, "/core-memory/blocks/human");
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        for (method, url, body, expected) in [
            (Method::POST, AGENTS, json!({}), "400 invalid_request"),
            (Method::POST, AGENTS, json!({"model": "no-slash"}), "400 invalid_request"),
            (Method::POST, AGENTS, json!({"model": "openai/any", "tools": ["none-such"]}), "400 invalid_request"),
            (
                Method::POST,
                AGENTS,
                json!({"model": "openai/any", "tool_ids": [NOBODY.replace("agent", "tool")]}),
                "400 invalid_request",
            ),
            (
                Method::POST,
                AGENTS,
                json!({"model": "openai/any", "block_ids": [NOBODY.replace("agent", "block")]}),
                "404 not_found",
            ),
            (Method::POST, AGENTS, json!({"tools": 5}), "422 validation_failed"),
            (Method::POST, AGENTS, json!({"model": 5}), "422 validation_failed"),
            (Method::POST, AGENTS, json!({"model": "openai/any", "agent_type": "none-such"}), "422 validation_failed"),
            (Method::POST, AGENTS, json!({"model": "openai/any", "metadata": []}), "422 validation_failed"),
            (Method::POST, AGENTS, json!({"model": "openai/any", "secrets": {"A": 1}}), "422 validation_failed"),
            (Method::POST, AGENTS, json!({"model": "openai/any", "memory_blocks": [{}]}), "422 validation_failed"),
            (Method::POST, AGENTS, json!({"model": "openai/any", "block_ids": ["block-1"]}), "422 validation_failed"),
            (Method::POST, AGENTS, json!({"model": "openai/any", "tool_rules": [{"type": "x"}]}), "422 validation_failed"),
            (
                Method::POST,
                AGENTS,
                json!({"model": "openai/any", "initial_message_sequence": [{"role": "x"}]}),
                "422 validation_failed",
            ),
            (Method::POST, AGENTS, json!({"model": "openai/any", "context_window_limit": 1e300}), "422 validation_failed"),
            (Method::POST, AGENTS, json!({"model": "openai/any", "metadata": {"deep": deep}}), "422 validation_failed"),
            (Method::POST, AGENTS, json!([]), "422 validation_failed"),
            (Method::POST, AGENTS, json!(null), "422 validation_failed"),
            (Method::PATCH, &path(&agent, ""), json!({"tags": "x"}), "422 validation_failed"),
            (Method::PATCH, &path(&agent, ""), json!({"last_stop_reason": "bored"}), "422 validation_failed"),
            (Method::PATCH, &path(NOBODY, ""), json!({"tags": "x"}), "422 validation_failed"),
            (Method::PATCH, &path(NOBODY, ""), json!({"tags": []}), "404 not_found"),
            (Method::PATCH, &block, json!({"value": 1}), "422 validation_failed"),
            (Method::PATCH, &block, json!({"limit": "x"}), "422 validation_failed"),
            (Method::DELETE, &path(NOBODY, ""), json!({}), "404 not_found"),
            (Method::GET, &path("agent-1", ""), json!({}), "422 validation_failed"),
            (Method::GET, &path(&agent.to_uppercase(), ""), json!({}), "422 validation_failed"),
            (Method::GET, &path(&agent, "?include=agent.everything"), json!({}), "422 validation_failed"),
            (Method::GET, &format!("{AGENTS}?order=up"), json!({}), "422 validation_failed"),
            (Method::GET, &format!("{AGENTS}?order_by=name"), json!({}), "422 validation_failed"),
            (Method::GET, &format!("{AGENTS}?limit=many"), json!({}), "422 validation_failed"),
            (Method::GET, &format!("{AGENTS}?limit=-1"), json!({}), "422 validation_failed"),
            (Method::GET, &format!("{AGENTS}?last_stop_reason=bored"), json!({}), "422 validation_failed"),
            (Method::GET, &format!("{AGENTS}count?match_all_tags=perhaps"), json!({}), "422 validation_failed"),
            // Unusual, but nobody's fault.
            (Method::GET, &format!("{AGENTS}?limit=9223372036854775807&tags=%00&name=%F0%9F%98%80"), json!({}), "200"),
            (Method::GET, &format!("{AGENTS}?project_id=%00&query_text=%00"), json!({}), "200"),
            (Method::PATCH, &block, json!({"value": "\u{0}"}), "200"),
            (
                Method::PATCH,
                &path(&agent, ""),
                json!({"name": "\u{0}", "secrets": {"\u{0}": "\u{0}"}, "tags": ["\u{0}"]}),
                "200",
            ),
        ] {
            let answer = owner.send(method, url, Some(&body)).await;
            assert_eq!(answer.outcome(), expected, "{url} {body}: {}", answer.text);
            if expected.starts_with("422") {
                let refusal = answer.expect(422);
                assert_eq!(
                    keys(&refusal).replace(" examples", ""),
                    "message trace_id detail code request_id",
                    "{body}"
                );
                assert!(refusal["detail"].as_str().unwrap().starts_with("[{'type': '"), "{refusal}");
            } else if expected != "200" {
                let (status, code) = expected.split_once(' ').unwrap();
                assert_eq!(
                    answer.refused(status.parse().unwrap(), code),
                    answer.expect(status.parse().unwrap())["detail"]
                );
            }
        }
        for body in ["{nope", "{\"model\": \"openai/any\"", "{\"model\": \"openai/any\"} x", ""] {
            let request = owner.request(Method::POST, AGENTS).header("content-type", "application/json").body(body);
            let status = request.send().await.unwrap().status();
            assert_eq!(status.as_u16(), 422, "{body}");
        }
        assert_eq!(owner.get(&format!("{AGENTS}count")).await.expect(200), 1, "nothing was made on the way");
    }
}

#[tokio::test]
async fn a_page_sees_no_secret_and_learns_no_more_from_a_change_than_it_said() {
    let server = Gatelet::ephemeral().await;
    let owner = legacy(&server.owner());
    let made = owner.post(AGENTS, &full_request()).await.expect(200);
    assert!(made.to_string().contains("canary"));
    let (agent, url) = (made["id"].as_str().unwrap(), path(made["id"].as_str().unwrap(), ""));
    let page = async |access: &[&str]| legacy(&server.stranger().page(&owner.create_token(agent, access).await));

    let reader = page(&["read_agent"]).await;
    let seen = reader.get(&format!("{url}?include=agent.secrets&include=agent.tools")).await.expect(200);
    assert_eq!(keys(&seen), AGENT);
    for (pointer, expected) in [
        ("/secrets", json!([])),
        ("/tool_exec_environment_variables", json!([])),
        ("/tools/0/source_code", json!(null)),
        ("/llm_config/model_endpoint", json!(null)),
        ("/tools/0/name", json!("memory_insert")),
        ("/blocks/0/value", json!("first")),
        ("/metadata", made["metadata"].clone()),
    ] {
        assert_eq!(seen.pointer(pointer), Some(&expected), "{pointer}");
    }
    let writer = page(&["write_agent"]).await;
    for (change, expected) in [
        (json!({"name": "by page", "unheard_of": 1}), json!({"id": agent, "name": "by page"})),
        (
            // Null changes nothing, so it must not show what is there.
            json!({"description": null, "system": null, "timezone": null, "metadata": {"a": 1}}),
            json!({"id": agent, "metadata": {"a": 1}}),
        ),
        (json!({}), json!({"id": agent})),
    ] {
        assert_eq!(writer.patch(&url, &change).await.expect(200), expected, "{change}");
    }
    let both = page(&["read_agent", "write_agent"]).await;
    let changed = both.patch(&url, &json!({"name": "by both"})).await.expect(200);
    assert_eq!((keys(&changed).as_str(), &changed["secrets"]), (AGENT, &json!([])));
    for text in [seen, changed, both.get(&format!("{url}/core-memory")).await.expect(200)] {
        assert!(!text.to_string().contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn a_shared_block_is_changed_only_by_who_may_change_every_agent_that_shows_it() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let first = owner
        .create_agent(&json!({"memory_blocks": [{"label": "s", "value": "x"}, {"label": "own", "value": "y"}]}))
        .await;
    let block = owner.get(&path(&first, "/core-memory/blocks/s")).await.expect(200)["id"].clone();
    let second = owner.create_agent(&json!({"block_ids": [block]})).await;
    let shared = path(&first, "/core-memory/blocks/s");
    let entry = |agent: &str, access: &[&str]| json!({"type": "agent", "id": agent, "access": access});
    let write = ["read_agent", "write_agent"];
    for (policy, expected) in [
        (json!([entry(&first, &write)]), "403 agent_not_in_policy"),
        (json!([entry(&first, &write), entry(&second, &["read_agent"])]), "403 access_not_granted"),
        (json!([entry(&first, &write), entry(&second, &write)]), "200"),
    ] {
        let token = owner.create_token_with(&json!({"hostname": ORIGIN, "policy": policy})).await;
        let page = server.stranger().page(&token);
        assert_eq!(page.patch(&shared, &json!({"value": expected})).await.outcome(), expected, "{policy}");
        page.patch(&path(&first, "/core-memory/blocks/own"), &json!({"value": expected})).await.expect(200);
        let value = owner.get(&path(&second, "/core-memory/blocks/s")).await.expect(200)["value"].clone();
        assert_eq!(value, if expected == "200" { "200" } else { "x" }, "{policy}");
    }
}
