//! Agent files in every shape that Letta has written them in: what is read from one is written again.

use serde_json::{Map, Value, json};

use super::{AGENTS, column, legacy, path, transfer::import};
use crate::harness::{Client, Gatelet, id, on_both_engines};

/// Lays `more` over an object.
fn with(mut object: Value, more: &Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text, "signature": null})
}

fn call(id: &str, name: &str) -> Value {
    json!({"id": id, "function": {"name": name, "arguments": "{\"a\": 1}"}, "type": "function"})
}

/// What a tool returned, as Letta keeps it.
fn packaged(status: &str, message: &Value) -> String {
    format!("{:#}", json!({"status": status, "message": message, "time": "2026-02-11 08:08:35 PM UTC+0000"}))
}

fn returned(call: &str, response: &Value) -> Value {
    json!({"tool_call_id": call, "status": "success", "stdout": null, "stderr": ["careful"], "func_response": response})
}

/// The messages of a file, in all forms: `more` is what each has beside what all have.
fn messages(agent: &str, all: &[Value]) -> Vec<Value> {
    let one = |(index, more): (usize, &Value)| {
        let usual = json!({
            "type": "message", "otid": null, "group_id": null, "role": "assistant", "content": [], "name": null,
            "sender_id": null, "batch_item_id": null, "id": format!("message-{index}"), "model": "gpt-4o-mini",
            "agent_id": agent, "tool_calls": null, "tool_call_id": null, "tool_returns": [],
            "created_at": format!("2026-02-11T20:08:35.{index:06}+00:00"), "approve": null,
            "approval_request_id": null, "denial_reason": null, "approvals": [],
        });
        with(usual, more)
    };
    all.iter().enumerate().map(one).collect()
}

fn every_form() -> Vec<Value> {
    let image = json!({"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}});
    let (fine, failed) = (packaged("OK", &json!("fine")), packaged("Failed", &json!("broken")));
    let odd = packaged("OK", &json!({"not": "a text"}));
    messages(
        "agent-0",
        &[
            json!({"role": "system", "content": [text("As it was compiled then.")]}),
            json!({"role": "user", "content": [text("Forgotten.")], "model": null, "otid": "chosen"}),
            json!({"role": "user", "content": [text("Look:"), image], "model": null, "name": "Sam"}),
            json!({
                "content": [{"type": "reasoning", "is_native": true, "reasoning": "Hm.", "signature": "sig"}, text("Done.")],
                "tool_calls": [call("call-1", "custom_tool"), call("call-2", "custom_tool")],
            }),
            json!({
                "role": "tool", "content": [text(&fine)], "name": "custom_tool", "tool_call_id": "call-1",
                "tool_returns": [returned("call-1", &json!(fine)), returned("call-2", &json!(odd))],
            }),
            json!({
                "content": [
                    {"type": "redacted_reasoning", "data": "xyz"},
                    {"type": "omitted_reasoning", "signature": null},
                    {"type": "summarized_reasoning", "id": "rs_1", "encrypted_content": "enc",
                     "summary": [{"index": 0, "text": "One"}, {"index": 1, "text": "two."}]},
                    {"type": "tool_call", "id": "call-3", "name": "custom_tool", "input": {"a": 1}, "signature": "sig"},
                ],
                "tool_calls": [call("call-3", "custom_tool")],
                "model": "another",
            }),
            json!({"role": "tool", "content": [text(&failed)], "tool_call_id": "call-3"}),
            json!({"role": "summary", "content": [text("What came before.")]}),
            json!({"role": "approval", "content": [text("May I?")], "tool_calls": [call("call-4", "a"), call("call-5", "b")]}),
            json!({
                "role": "approval",
                "approvals": [
                    {"type": "approval", "tool_call_id": "call-4", "approve": false, "reason": "no"},
                    returned("call-5", &json!(fine)),
                ],
            }),
            json!({
                "role": "tool", "content": [text("Look: [image]")], "tool_call_id": "call-5",
                "tool_returns": [returned("call-5", &json!([text("Look:"), image]))],
            }),
            json!({"role": "approval", "approve": false, "approval_request_id": "message-8", "denial_reason": "never"}),
            json!({"role": "system", "content": [text("A note.")]}),
            json!({"content": [text("First this.")], "tool_calls": [call("call-6", "custom_tool")]}),
            json!({"role": "approval", "tool_calls": [call("call-7", "custom_tool")]}),
        ],
    )
}

fn tool(number: usize, kind: &str, name: &str, more: &Value) -> Value {
    let schema = json!({
        "name": name, "description": "Does something.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer", "description": "how"}}, "required": []},
    });
    let usual = json!({
        "id": format!("tool-{number}"), "tool_type": kind, "description": "Does something.", "source_type": "python",
        "name": name, "tags": ["mine"], "source_code": format!("def {name}(**kwargs):\n    raise RuntimeError('no')\n"),
        "json_schema": schema, "args_json_schema": null, "return_char_limit": 1234, "pip_requirements": null,
        "npm_requirements": null, "default_requires_approval": null, "enable_parallel_execution": true,
        "created_by_id": "user-1", "last_updated_by_id": "user-1", "metadata_": {"own": 1}, "project_id": null,
    });
    with(usual, more)
}

/// A file with two agents in a group, tools of every type, MCP servers, and messages in every form.
fn whole_file() -> Value {
    let by_id =
        json!({"mcp": {"server_name": "remote", "server_id": "mcp_server-d24c1ed9-f4b3-41e6-a471-651c43a01944"}});
    let mut tools = vec![
        tool(0, "custom", "custom_tool", &json!({"pip_requirements": [{"name": "numpy", "version": null}]})),
        tool(
            1,
            "custom",
            "script_tool",
            &json!({
                "source_type": "typescript", "source_code": "export function script_tool() {}", "args_json_schema": {},
                "npm_requirements": [{"name": "left-pad", "version": "1.0.0"}], "metadata_": {},
            }),
        ),
        tool(2, "external_mcp", "remote_tool", &json!({"tags": ["mcp:remote"], "metadata_": by_id})),
        tool(3, "external_mcp", "local_tool", &json!({"metadata_": {"mcp": {"server_name": "local"}}})),
    ];
    for (number, kind) in (4..).zip([
        "external_composio",
        "external_langchain",
        "letta_core",
        "letta_memory_core",
        "letta_multi_agent_core",
        "letta_sleeptime_core",
        "letta_voice_sleeptime_core",
        "letta_builtin",
        "letta_files_core",
    ]) {
        tools.push(tool(number, kind, &format!("former_{kind}"), &json!({})));
    }
    let tool_ids: Vec<&Value> = tools.iter().map(|tool| &tool["id"]).collect();
    let llm = json!({
        "model": "gpt-4o-mini", "model_endpoint_type": "openai", "model_endpoint": "https://api.openai.com/v1",
        "context_window": 32000, "handle": "openai/gpt-4o-mini", "max_tokens": null, "temperature": 0.5,
    });
    let agent = json!({
        "memory_blocks": [], "tools": [], "tags": ["x"], "system": "Be kind.", "include_base_tools": false,
        "enable_reasoner": false, "max_tokens": 7, "llm_config": llm, "embedding_config": null,
        "message_buffer_autoclear": false, "enable_sleeptime": true, "timezone": "UTC",
        "tool_exec_environment_variables": {"KEY": ""}, "secrets": {"KEY": ""},
    });
    let messages = every_form();
    let seen: Vec<&Value> = messages.iter().map(|message| &message["id"]).filter(|id| *id != "message-1").collect();
    let first = json!({
        "id": "agent-0", "name": "main", "agent_type": "letta_v1_agent", "tool_ids": tool_ids, "block_ids": ["block-0", "block-1"],
        "in_context_message_ids": seen, "messages": messages, "group_ids": ["group-0"], "source_ids": ["source-0"],
        "files_agents": [{
            "id": "file_agent-19282c18-b9d7-4ceb-b5d1-2f387b532f81", "agent_id": "agent-0", "file_id": "file-0",
            "source_id": "source-0", "file_name": "shelf/a.md", "is_open": true,
            "visible_content": "[Viewing file start (out of 1 sentences)]\n1: text",
        }],
    });
    let second = json!({
        "id": "agent-1", "name": "thinker", "agent_type": "sleeptime_agent", "enable_sleeptime": null,
        "tool_ids": ["tool-0"], "block_ids": ["block-0"], "group_ids": [], "files_agents": [],
        "in_context_message_ids": ["message-90"],
        "messages": [with(every_form()[0].clone(), &json!({"id": "message-90", "agent_id": "agent-1"}))],
    });
    json!({
        "agents": [with(agent.clone(), &first), with(agent, &second)],
        "groups": [{
            "id": "group-0", "agent_ids": ["agent-1"], "description": "", "project_id": null, "shared_block_ids": [],
            "manager_config": {
                "manager_type": "sleeptime", "manager_agent_id": "agent-0", "sleeptime_agent_frequency": 5,
            },
            "hidden": null,
        }],
        "blocks": [
            {"id": "block-0", "label": "human", "value": "Sam", "limit": 500, "metadata": {}},
            {"id": "block-1", "label": "human", "value": "Not shown beside the other.", "limit": 500},
        ],
        "files": [{
            "id": "file-0", "source_id": "source-0", "file_name": "shelf/a.md", "original_file_name": "a.md",
            "file_type": "text/markdown", "file_size": 4, "processing_status": "completed", "content": "text",
        }],
        "sources": [{"id": "source-0", "name": "shelf", "metadata": {"k": 1}}],
        "tools": tools,
        "mcp_servers": [
            {"id": "mcp_server-0", "server_type": "streamable_http", "server_name": "remote",
             "server_url": "https://mcp.example/mcp", "stdio_config": null, "metadata_": {}},
            {"id": "mcp_server-1", "server_type": "stdio", "server_name": "local", "server_url": null, "metadata_": {},
             "stdio_config": {"server_name": "local", "type": "stdio", "command": "run", "args": ["-x"]}},
        ],
        "skills": [],
        "metadata": {"revision_id": "fff2e20cb09b"},
        "created_at": "2026-02-11T20:08:35Z",
    })
}

async fn exported(client: &Client, agent: &Value) -> Value {
    client.get(&path(agent.as_str().unwrap(), "/export")).await.expect(200)
}

/// The items of a list by their names, without what is never the same.
fn by_name(list: &Value, name: &str, without: &[&str]) -> Map<String, Value> {
    let items = list.as_array().unwrap().iter().map(|item| {
        let mut item = item.clone();
        item.as_object_mut().unwrap().retain(|key, _| !without.contains(&key.as_str()));
        (item[name].as_str().unwrap().to_owned(), item)
    });
    items.collect()
}

/// Offline thread ids are made anew by every export, also by Letta's.
fn without_otids(messages: &Value) -> Vec<Value> {
    let mut messages = messages.as_array().unwrap().clone();
    for message in &mut messages {
        message["otid"] = Value::Null;
    }
    messages
}

on_both_engines! {
    async fn what_a_file_says_is_written_again(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let file = whole_file();
        let once = import(&owner, &file, &[("append_copy_suffix", "false")]).await.expect(200);
        assert_eq!(once["agent_ids"].as_array().unwrap().len(), 2, "the group is in the file, so no partner is made");
        let written = exported(&owner, &once["agent_ids"][0]).await;
        for index in 0..2 {
            let (ours, theirs) = (&written["agents"][index], &file["agents"][index]);
            assert_eq!((&ours["name"], &ours["id"]), (&theirs["name"], &theirs["id"]));
            assert_eq!(ours["llm_config"]["max_tokens"], Value::Null);
        }
        let (ours, theirs) = (&written["agents"][0], &file["agents"][0]);
        for (ours, theirs) in without_otids(&ours["messages"]).iter().zip(without_otids(&theirs["messages"])) {
            assert_eq!(*ours, theirs);
        }
        assert_eq!(ours["messages"].as_array().unwrap().len(), theirs["messages"].as_array().unwrap().len());
        for key in ["in_context_message_ids", "secrets", "tool_exec_environment_variables", "group_ids", "source_ids"] {
            assert_eq!(ours[key], theirs[key], "{key}");
        }
        for key in ["file_name", "is_open", "visible_content"] {
            assert_eq!(ours["files_agents"][0][key], theirs["files_agents"][0][key], "{key}");
        }
        assert_eq!(written["groups"], file["groups"]);
        assert_eq!(column(&written["blocks"], "value"), ["Sam"], "of two with the same label the first is attached");
        let tools = |file: &Value| by_name(&file["tools"], "name", &["id", "created_by_id", "last_updated_by_id"]);
        let (ours, theirs) = (tools(&written), tools(&file));
        for (name, tool) in &theirs {
            assert_eq!(ours[name], *tool, "{name}");
        }
        let servers = |file: &Value| by_name(&file["mcp_servers"], "server_name", &["id"]);
        assert_eq!(servers(&written), servers(&file));
        assert_eq!((&written["files"][0]["file_name"], &written["files"][0]["content"]), (&json!("shelf/a.md"), &json!("text")));

        // As some programs have stored it: JSON within JSON.
        let text = Value::String(written.to_string());
        let twice = import(&owner, &text, &[("append_copy_suffix", "false")]).await.expect(200);
        let again = exported(&owner, &twice["agent_ids"][0]).await;
        for list in ["groups", "mcp_servers", "blocks", "tools"] {
            assert_eq!(again[list], written[list], "{list}");
        }
        for index in 0..2 {
            let messages = |file: &Value| without_otids(&file["agents"][index]["messages"]);
            assert_eq!(messages(&again), messages(&written));
        }
        let servers = owner.get("/v1/mcp-servers/").await.expect(200);
        assert_eq!(servers.as_array().unwrap().len(), 2, "those that were there are the same");
    }

    async fn what_was_said_elsewhere_is_shown_and_goes_on(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let made = import(&owner, &whole_file(), &[]).await.expect(200);
        let agent = made["agent_ids"][0].as_str().unwrap();
        let url = path(agent, "/messages?limit=100&order=asc");
        let shown = owner.get(&url).await.expect(200);
        let of = |kind: &str| -> Vec<Value> {
            shown.as_array().unwrap().iter().filter(|message| message["message_type"] == kind).cloned().collect()
        };
        let system = of("system_message");
        assert_eq!(column(&json!(system), "content"), ["As it was compiled then.", "A note."]);
        let hidden = of("hidden_reasoning_message");
        assert_eq!(column(&json!(hidden), "state"), ["redacted", "omitted"]);
        assert_eq!((&hidden[0]["hidden_reasoning"], &hidden[1]["hidden_reasoning"]), (&json!("xyz"), &Value::Null));
        assert_eq!(column(&json!(of("reasoning_message")), "reasoning"), ["Hm.", "One\n\ntwo."]);
        let returns = of("tool_return_message");
        assert_eq!(column(&json!(returns), "tool_return"), ["fine", "broken", "Look:\n[image]"]);
        assert_eq!(column(&json!(returns), "status"), ["success", "error", "success"]);

        let waiting = owner.get(&path(agent, "?include=agent.pending_approval")).await.expect(200);
        assert_eq!(waiting["pending_approval"]["tool_calls"][0]["tool_call_id"], "call-7");
        let busy = owner.post(&path(agent, "/messages"), &json!({"input": "and now?"})).await;
        assert_eq!(busy.status.as_u16(), 409, "{}", busy.text);
        let approval = json!({"type": "approval", "tool_call_id": "call-7", "approve": true});
        let decision = json!({"messages": [{"type": "approval", "approvals": [approval]}]});
        let answer = owner.post(&path(agent, "/messages"), &decision).await.expect(200);
        let ran = answer["messages"].as_array().unwrap().iter().find(|message| message["message_type"] == "tool_return_message");
        let ran = ran.unwrap()["tool_returns"].as_array().unwrap().len();
        assert_eq!(ran, 2, "the call beside the one that waited runs with it");
    }

    async fn a_group_goes_with_all_its_agents(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = legacy(&server.owner());
        let mut agents = Vec::new();
        for name in ["chief", "left", "right"] {
            agents.push(id(&owner.post(AGENTS, &json!({"name": name, "model": "openai/any"})).await.expect(200)));
        }
        let config = json!({
            "manager_type": "dynamic", "manager_agent_id": agents[0], "termination_token": "STOP", "max_turns": 3,
        });
        let group = json!({"agent_ids": agents[1..], "description": "a team", "manager_config": config});
        owner.post("/v1/groups/", &group).await.expect(200);
        let file = exported(&owner, &json!(agents[0])).await;
        assert_eq!(column(&file["agents"], "name"), ["chief", "left", "right"]);
        assert_eq!((&file["agents"][0]["group_ids"], &file["agents"][1]["group_ids"]), (&json!(["group-0"]), &json!([])));
        let made = import(&owner, &file, &[]).await.expect(200);
        let made = made["agent_ids"].as_array().unwrap();
        let copy = owner.get(&path(made[0].as_str().unwrap(), "")).await.expect(200);
        let group = &copy["managed_group"];
        assert_eq!((&group["agent_ids"], &group["manager_agent_id"]), (&json!(made[1..]), &made[0]));
        assert_eq!(
            json!([group["manager_type"], group["termination_token"], group["max_turns"], group["description"]]),
            json!(["dynamic", "STOP", 3, "a team"])
        );
    }
}

#[tokio::test]
async fn what_letta_would_not_import_is_refused() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    for (pointer, value) in [
        ("/agents/0/id", json!("first")),
        ("/tools/0/id", json!("tool-one")),
        ("/tools/0/tool_type", json!("magic")),
        ("/blocks/0/id", json!("agent-0")),
        ("/agents/0/messages/1/id", json!("message-0")),
        ("/agents/0/messages/3/content/0/type", json!("smell")),
        ("/groups/0/agent_ids/0", json!("agent-7")),
        ("/groups/0/manager_config/manager_type", json!("king")),
        ("/groups/0/shared_block_ids", json!(["block-7"])),
        ("/mcp_servers/0/server_type", json!("pigeon")),
        ("/agents/0/files_agents/0/file_id", json!("file-7")),
    ] {
        let mut broken = whole_file();
        *broken.pointer_mut(pointer).unwrap() = value;
        let refused = import(&owner, &broken, &[]).await;
        assert_eq!(refused.outcome(), "400 invalid_request", "{pointer}: {}", refused.text);
    }
    for (broken, detail) in
        [(json!("{nope"), "Corrupted agent file format."), (json!("\"twice\""), "Invalid agent file")]
    {
        let refused = import(&owner, &broken, &[]).await.expect(400);
        assert!(refused["detail"].as_str().unwrap().contains(detail), "{refused}");
    }
    assert_eq!(owner.get(&format!("{AGENTS}count")).await.expect(200), 0);
    assert_eq!(owner.get("/v1/mcp-servers/").await.expect(200), json!([]));
}
