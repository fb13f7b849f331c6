//! What comes with an agent, and what the model sees of it.

use serde_json::{Value, json};

use super::{AGENTS, column, keys, legacy, path};
use crate::harness::{Gatelet, NOBODY, id, ids, on_both_engines};

const CONTEXT: &str = "context_window_size_max context_window_size_current num_messages num_archival_memory \
    num_recall_memory num_tokens_external_memory_summary external_memory_summary num_tokens_system system_prompt \
    num_tokens_core_memory core_memory num_tokens_memory_filesystem memory_filesystem num_tokens_tool_usage_rules \
    tool_usage_rules num_tokens_directories directories num_tokens_summary_memory summary_memory \
    num_tokens_functions_definitions functions_definitions num_tokens_messages messages";

on_both_engines! {
    async fn folders_and_variables_come_with_an_agent(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let mut folders = Vec::new();
        for name in ["one", "two", "three"] {
            folders.push(id(&owner.post("/v1/folders/", &json!({"name": name})).await.expect(200)));
        }
        let body = json!({
            "model": "openai/any", "folder_ids": [folders[0]], "source_ids": [folders[1], folders[0]],
            "memory_variables": {"user": "Sam"}, "memory_blocks": [{"label": "human", "value": "It is {{user}}."}],
        });
        let agent = owner.post(AGENTS, &body).await.expect(200);
        let url = path(&id(&agent), "");
        assert_eq!(ids(&agent["sources"]), folders[..2]);
        assert_eq!(agent["blocks"][0]["value"], "It is Sam.");
        let variables = owner.get(&path(&id(&agent), "/core-memory/variables")).await.expect(200);
        assert_eq!(variables, json!({"variables": {"user": "Sam"}}));
        let tools = column(&agent["tools"], "name");
        for tool in ["open_files", "grep_files", "semantic_search_files"] {
            assert!(tools.contains(&tool.to_owned()), "{tools:?}");
        }
        for (change, expected) in [
            (json!({"folder_ids": [folders[2]]}), &folders[2..]),
            (json!({"name": "x"}), &folders[2..]),
            (json!({"source_ids": []}), &folders[..0]),
        ] {
            let changed = owner.patch(&url, &change).await.expect(200);
            assert_eq!(ids(&changed["sources"]), expected, "{change}");
            let reads = column(&changed["tools"], "name").contains(&"open_files".to_owned());
            assert_eq!(reads, !expected.is_empty(), "{change}");
        }
        let nowhere = format!("source-{}", &NOBODY[6..]);
        owner.patch(&url, &json!({"folder_ids": [nowhere]})).await.refused(404, "not_found");
        owner.post(AGENTS, &json!({"model": "openai/any", "folder_ids": [nowhere]})).await.refused(404, "not_found");
        owner.post(AGENTS, &json!({"model": "openai/any", "folder_ids": ["x"]})).await.refused(422, "validation_failed");
    }

    async fn a_partner_thinks_in_the_background(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let body = json!({
            "model": "openai/any", "name": "Main", "enable_sleeptime": true, "tags": ["main"],
            "memory_blocks": [{"label": "human", "value": "x"}],
        });
        let agent = owner.post(AGENTS, &body).await.expect(200);
        let group = &agent["managed_group"];
        assert_eq!(group, &agent["multi_agent_group"]);
        assert_eq!((&group["manager_type"], &group["manager_agent_id"]), (&json!("sleeptime"), &agent["id"]));
        let partner = group["agent_ids"][0].as_str().unwrap();
        let shown = owner.get(&path(partner, "")).await.expect(200);
        assert_eq!((&shown["name"], &shown["agent_type"]), (&json!("Main-sleeptime"), &json!("sleeptime_agent")));
        assert_eq!(column(&shown["blocks"], "label"), ["human", "memory_persona"]);
        assert_eq!(shown["blocks"][0], agent["blocks"][0], "the block is the same");
        assert!(column(&shown["tools"], "name").contains(&"memory_rethink".to_owned()));
        assert_eq!(owner.get(&format!("{AGENTS}count")).await.expect(200), 2);
        owner.delete(&path(&id(&agent), "")).await.expect(200);
        owner.get(&path(partner, "")).await.refused(404, "not_found");
        owner.get(&format!("/v1/groups/{}", group["id"].as_str().unwrap())).await.refused(404, "not_found");
        assert_eq!(owner.get("/v1/blocks/count").await.expect(200), 2, "blocks survive");
    }

    async fn the_prompt_is_compiled_and_shown_with_all_the_model_sees(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let body = json!({"model": "openai/gpt-4o-mini", "memory_blocks": [{"label": "human", "value": "old"}]});
        let agent = id(&owner.post(AGENTS, &body).await.expect(200));
        owner.post(&path(&agent, "/messages"), &json!({"input": "hello"})).await.expect(200);
        owner.post(&path(&agent, "/archival-memory"), &json!({"text": "tea"})).await.expect(200);
        let context = owner.get(&path(&agent, "/context")).await.expect(200);
        assert_eq!(keys(&context), CONTEXT);
        for (key, expected) in
            [("context_window_size_max", 128_000), ("num_messages", 3), ("num_archival_memory", 1), ("num_recall_memory", 3)]
        {
            assert_eq!(context[key], expected, "{key}");
        }
        let parts = ["external_memory_summary", "system", "core_memory", "functions_definitions", "messages"];
        let sum: i64 = parts.iter().map(|part| context[format!("num_tokens_{part}")].as_i64().unwrap()).sum();
        assert_eq!(context["context_window_size_current"], sum);
        assert!(context["core_memory"].as_str().unwrap().contains("old"));
        assert!(context["external_memory_summary"].as_str().unwrap().contains(&agent));
        assert_eq!(column(&context["messages"], "role"), ["system", "user", "assistant"]);
        assert_eq!(context["functions_definitions"][0]["type"], "function");

        let before = owner.get(&path(&agent, "")).await.expect(200);
        for (query, changes) in [("?dry_run=true", false), ("?update_timestamp=true", true), ("", true)] {
            for route in ["recompile", "system-prompt/recompile"] {
                let prompt = owner.post(&path(&agent, &format!("/{route}{query}")), &Value::Null).await.expect(200);
                assert!(prompt.as_str().unwrap().contains("old"), "{prompt}");
                let after = owner.get(&path(&agent, "")).await.expect(200);
                assert_eq!(after["updated_at"] != before["updated_at"], changes, "{route}{query}");
                let shown = owner.get(&path(&agent, "/messages")).await.expect(200)[0]["content"].clone();
                assert_eq!(shown == prompt, changes, "{route}{query}");
            }
        }
        for route in ["/recompile", "/system-prompt/recompile"] {
            owner.post(&path(NOBODY, route), &Value::Null).await.refused(404, "not_found");
        }
        owner.get(&path(NOBODY, "/context")).await.refused(404, "not_found");
        owner.get(&path(NOBODY, "/core-memory/variables")).await.refused(404, "not_found");
        owner.get(&path(&agent, "/context?conversation_id=conv-1")).await.refused(404, "not_found");
    }

    async fn agents_of_older_types_come_with_tools_and_rules_of_their_own(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let (core, edits) = ("core_memory_append core_memory_replace memory memory_apply_patch", "memory_insert memory_replace");
        let (search, say) = ("conversation_search", "send_message");
        let multi = "send_message_to_agent_and_wait_for_reply send_message_to_agents_matching_tags";
        for (body, others, goes_on, exits) in [
            (json!({}), format!("{search} {edits}"), String::new(), ""),
            (json!({"agent_type": "memgpt_agent"}), String::new(), format!("{search} {core}"), say),
            (json!({"agent_type": "split_thread_agent"}), String::new(), format!("{search} {core}"), say),
            (json!({"agent_type": "memgpt_v2_agent"}), String::new(), format!("{search} {edits}"), say),
            (
                json!({"agent_type": "memgpt_v2_agent", "include_base_tool_rules": false}),
                format!("{search} {edits} {say}"),
                String::new(),
                "",
            ),
            (
                json!({"agent_type": "memgpt_agent", "include_base_tools": false, "tools": [say, "web_search", "memory"]}),
                "web_search".to_owned(),
                "memory".to_owned(),
                say,
            ),
            (json!({"agent_type": "react_agent"}), String::new(), String::new(), ""),
            (json!({"agent_type": "workflow_agent"}), String::new(), String::new(), ""),
            (
                json!({"agent_type": "sleeptime_agent"}),
                String::new(),
                format!("{edits} memory_rethink"),
                "memory_finish_edits",
            ),
            (json!({"agent_type": "voice_convo_agent"}), "search_memory".to_owned(), String::new(), say),
            (
                json!({"agent_type": "voice_sleeptime_agent"}),
                "finish_rethinking_memory rethink_user_memory store_memories".to_owned(),
                String::new(),
                "",
            ),
            (
                json!({"agent_type": "react_agent", "include_multi_agent_tools": true}),
                multi.to_owned(),
                String::new(),
                "send_message_to_agent_async",
            ),
        ] {
            let mut request = body.clone();
            request["model"] = json!("openai/any");
            let agent = owner.post(AGENTS, &request).await.expect(200);
            let sorted = |mut names: Vec<String>| {
                names.sort_unstable();
                names
            };
            let named = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let all = named(&format!("{others} {goes_on} {exits}"));
            assert_eq!(sorted(column(&agent["tools"], "name")), sorted(all), "{body}");
            for (kind, expected) in [("continue_loop", goes_on.as_str()), ("exit_loop", exits)] {
                let rules = agent["tool_rules"].as_array().unwrap().iter().filter(|rule| rule["type"] == kind);
                let rules = rules.map(|rule| rule["tool_name"].as_str().unwrap().to_owned()).collect();
                assert_eq!(sorted(rules), sorted(named(expected)), "{kind} {body}");
            }
            assert_eq!(agent["message_buffer_autoclear"], body["agent_type"] == "workflow_agent", "{body}");
        }
    }

    async fn agents_are_found_by_the_hosted_services_conditions(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let mut agents = Vec::new();
        for (name, tags) in [("Alpha", json!(["a", "b"])), ("Beta", json!(["a"])), ("Alphabet", json!([]))] {
            agents.push(owner.create_agent(&json!({"name": name, "tags": tags})).await);
        }
        let identity = json!({"identifier_key": "sam", "name": "Sam", "identity_type": "user"});
        let identity = id(&owner.post("/v1/identities/", &identity).await.expect(200));
        owner.patch(&path(&agents[1], ""), &json!({"identity_ids": [identity]})).await.expect(200);
        let name = |operator: &str, value: &str| json!({"field": "name", "operator": operator, "value": value});
        let tags = |value: Value| json!({"field": "tags", "operator": "contains", "value": value});
        let equals = |field: &str, value: &str| json!({"field": field, "operator": "eq", "value": value});
        for (search, expected) in [
            (json!([]), vec![2, 1, 0]),
            (json!([name("eq", "Alpha")]), vec![0]),
            (json!([name("contains", "ALPHA")]), vec![2, 0]),
            (json!([tags(json!(["a"]))]), vec![1, 0]),
            (json!([tags(json!(["a", "b"]))]), vec![0]),
            (json!([tags(json!(["a"])), name("contains", "be")]), vec![1]),
            (json!([equals("identity", "sam")]), vec![1]),
            (json!([equals("identity", &identity)]), vec![1]),
            (json!([equals("agentId", &agents[2])]), vec![2]),
            (json!([equals("templateName", "none")]), vec![]),
            (json!([{"field": "version", "value": "none:1"}]), vec![]),
        ] {
            let found = owner.post("/v1/agents/search", &json!({"search": search})).await.expect(200);
            let wanted: Vec<String> = expected.iter().map(|index| agents[*index].clone()).collect();
            assert_eq!(ids(&found["agents"]), wanted, "{search}");
            assert_eq!(found["nextCursor"], Value::Null);
            let text = search.to_string();
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("search", &text).finish();
            let counted = owner.get(&format!("/v1/agents/search/count?{query}")).await.expect(200);
            assert_eq!(counted, json!({"count": expected.len()}), "{search}");
        }
        let page = json!({"limit": 2, "sortBy": "created_at", "ascending": true, "combinator": "AND"});
        let first = owner.post("/v1/agents/search", &page).await.expect(200);
        assert_eq!((ids(&first["agents"]).as_slice(), &first["nextCursor"]), (&agents[..2], &json!(agents[1])));
        let mut next = page;
        next["after"] = first["nextCursor"].clone();
        let second = owner.post("/v1/agents/search", &next).await.expect(200);
        assert_eq!((ids(&second["agents"]).as_slice(), &second["nextCursor"]), (&agents[2..], &Value::Null));
        for body in [
            json!({"search": [{"field": "shoe"}]}),
            json!({"search": [{"field": "name", "operator": "like", "value": "x"}]}),
            json!({"search": [{"field": "tags", "operator": "contains", "value": "x"}]}),
            json!({"search": [{"field": "name", "operator": "eq"}]}),
            json!({"combinator": "OR"}),
            json!({"sortBy": "name"}),
        ] {
            owner.post("/v1/agents/search", &body).await.refused(422, "validation_failed");
        }
        owner.get("/v1/agents/search/count?search=nope").await.refused(422, "validation_failed");
    }
}

#[tokio::test]
async fn a_question_that_waits_is_shown_to_who_asks_for_it() {
    let server = Gatelet::ephemeral().await;
    let (current, old) = (server.owner().with("x-stainless-package-version", "1.12.1"), legacy(&server.owner()));
    let rule = json!({"type": "requires_approval", "tool_name": "conversation_search"});
    let agent = current.create_agent(&json!({"tool_rules": [rule]})).await;
    let include = path(&agent, "?include=agent.pending_approval");
    assert_eq!(current.get(&include).await.expect(200)["pending_approval"], Value::Null);
    let text = "[[call:conversation_search {\"query\": \"x\"}]]";
    let turn = current.post(&path(&agent, "/messages"), &json!({"input": text})).await.expect(200);
    let question = turn["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(question["message_type"], "approval_request_message", "{turn}");
    for client in [&current, &old] {
        let shown = client.get(&include).await.expect(200)["pending_approval"].clone();
        assert_eq!((&shown["id"], &shown["tool_call"]), (&question["id"], &question["tool_call"]));
        assert_eq!(shown["otid"], shown["id"]);
        assert_eq!(client.get(&path(&agent, "")).await.expect(200)["pending_approval"], Value::Null);
    }
}
