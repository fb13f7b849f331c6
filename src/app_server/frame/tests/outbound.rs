//! Frames of the server.

use super::*;

fn event(kind: &str, more: Value) -> Value {
    let mut frame = json!({"type": kind});
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let envelope = json!({"runtime": runtime(), "event_seq": 3, "emitted_at": "t", "idempotency_key": "k"});
    frame.as_object_mut().unwrap().extend(envelope.as_object().unwrap().clone());
    frame
}

fn delta(delta: Value) -> Value {
    event("stream_delta", json!({"delta": delta}))
}

#[test]
fn what_is_not_in_the_table_does_not_arrive() {
    for frame in [json!({"type": "brand_new"}), json!({}), json!({"type": 1})] {
        assert_eq!(dropped(&mut started(), &frame), "unknown");
    }
    assert_eq!(super::super::outbound(b"[1]", &mut started()), Outbound::Drop("not_an_object"));
    for kind in
        ["control_request", "external_tool_call_request", "channels_updated", "terminal_output", "secret_list_response"]
    {
        assert_eq!(dropped(&mut started(), &event(kind, json!({"request_id": "1"}))), "closed", "{kind}");
    }
}

#[test]
fn an_event_of_another_runtime_is_dropped() {
    let mut frame = delta(json!({"message_type": "status", "message": "m"}));
    shown(&mut started(), &frame);
    for (id, conversation) in [(OTHER, CONVERSATION), (AGENT, "local-conv-2"), (AGENT, "default")] {
        frame["runtime"] = json!({"agent_id": id, "conversation_id": conversation});
        assert_eq!(dropped(&mut started(), &frame), "other_runtime");
    }
    frame["runtime"] = json!({"agent_id": null, "conversation_id": CONVERSATION});
    assert_eq!(dropped(&mut started(), &frame), "no_runtime");
    assert_eq!(dropped(&mut all(), &delta(json!({"message_type": "status"}))), "other_runtime");
}

#[test]
fn events_may_come_before_the_runtime_is_said_to_be_open() {
    let mut state = all();
    let start = json!({"type": "runtime_start", "request_id": "1", "agent_id": AGENT, "conversation_id": CONVERSATION});
    forwarded(&mut state, &start);
    shown(&mut state, &event("update_queue", json!({"queue": [], "removed": []})));
    // The id of a new conversation is known by its events first.
    let mut state = all();
    forwarded(&mut state, &json!({"type": "runtime_start", "request_id": "1", "agent_id": AGENT}));
    shown(&mut state, &event("update_queue", json!({"queue": [], "removed": []})));
    let mut foreign = event("update_queue", json!({"queue": [], "removed": []}));
    foreign["runtime"]["agent_id"] = json!(OTHER);
    assert_eq!(dropped(&mut state, &foreign), "other_runtime");
}

#[test]
fn a_response_is_that_of_a_request_of_this_socket() {
    let response =
        json!({"type": "agent_retrieve_response", "request_id": "1", "success": true, "agent": {"id": AGENT}});
    let mut state = started();
    assert_eq!(dropped(&mut state, &response), "unexpected");
    expect(&mut state, Command::AgentRetrieve, "1");
    let mut other = response.clone();
    other["type"] = json!("agent_update_response");
    assert_eq!(dropped(&mut state, &other), "unexpected", "of another type");
    shown(&mut state, &response);
    assert_eq!(dropped(&mut state, &response), "unexpected", "once");
}

#[test]
fn an_agents_record_is_cut_by_the_words() {
    let record = json!({
        "id": AGENT, "name": "ada", "description": "d", "system": "s", "tools": [{"source_code": "x"}], "tags": ["t"],
        "model": "m", "model_settings": {"a": 1}, "message_ids": ["1"], "in_context_message_ids": ["1"], "llm_config": {},
        "created_at": "t", "updated_at": "t", "last_run_completion": "t", "metadata": {"k": "v"}, "secrets": [{"key": "k"}],
        "identities": ["i"], "embedding_config": {}, "tool_exec_environment_variables": [], "brand_new": 1,
    });
    let name = json!({"id": AGENT, "name": "ada", "model": "m"});
    let without_messages = json!({
        "id": AGENT, "name": "ada", "description": "d", "system": "s", "tags": ["t"], "model": "m", "created_at": "t",
        "updated_at": "t", "last_run_completion": "t", "metadata": {"k": "v"},
    });
    let mut whole = without_messages.clone();
    whole["message_ids"] = json!(["1"]);
    whole["in_context_message_ids"] = json!(["1"]);
    for (words, expected) in [
        (&[Access::ReadMessages][..], &name),
        (&[Access::WriteAgent], &name),
        (&[Access::ReadAgent], &without_messages),
        (&[Access::ReadAgent, Access::ReadMessages], &whole),
    ] {
        for (command, kind) in [
            (Command::AgentRetrieve, "agent_retrieve_response"),
            (Command::AgentUpdate, "agent_update_response"),
            (Command::RuntimeStart, "runtime_start_response"),
        ] {
            let mut state = socket(words);
            expect(&mut state, command, "1");
            let frame =
                json!({"type": kind, "request_id": "1", "success": true, "agent": record, "runtime": runtime()});
            assert_eq!(&shown(&mut state, &frame)["agent"], expected, "{kind} {words:?}");
        }
    }
}

#[test]
fn a_response_about_another_agent_is_a_failure() {
    let conversation = json!({"id": CONVERSATION, "agent_id": OTHER, "summary": "a secret"});
    for (command, more) in [
        (Command::RuntimeStart, json!({"runtime": {"agent_id": OTHER, "conversation_id": CONVERSATION}})),
        (Command::RuntimeStart, json!({"runtime": {"agent_id": AGENT, "conversation_id": "local-conv-2"}})),
        (Command::RuntimeStart, json!({"runtime": runtime(), "conversation": conversation})),
        (Command::ConversationRetrieve, json!({"conversation": conversation})),
        (Command::ConversationRetrieve, json!({"conversation": {"id": "local-conv-2", "agent_id": AGENT}})),
        (Command::ConversationCreate, json!({"conversation": conversation})),
        (Command::ConversationCreate, json!({"conversation": {"id": CONVERSATION}})),
        (Command::ConversationFork, json!({"conversation": conversation})),
        (Command::AgentRetrieve, json!({"agent": {"id": OTHER, "name": "a secret"}})),
    ] {
        let mut state = started();
        expect(&mut state, command, "1");
        let mut frame = json!({"type": command.row().response, "request_id": "1", "success": true});
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let response = shown(&mut state, &frame);
        assert_eq!(response["success"], false, "{frame}");
        assert!(response["error"].as_str().unwrap().starts_with("not_found: "));
        assert!(!response.to_string().contains(OTHER) && !response.to_string().contains("secret"), "{response}");
    }
}

#[test]
fn a_list_of_conversations_has_those_of_the_agent_and_tells_whose_they_are() {
    let mut state =
        SocketState::of_policy(&policy(&[(AGENT, &Access::ALL)]), Limits { allow_reflection: true, ..LIMITS });
    forwarded(&mut state, &json!({"type": "conversation_list", "request_id": "1"}));
    let item = |id: &str, agent: Value| json!({"id": id, "agent_id": agent, "summary": null, "model": "m", "system": "s", "tags": ["t"]});
    let response = json!({
        "type": "conversation_list_response", "request_id": "1", "success": true,
        "conversations": [item("c-1", json!(AGENT)), item("c-2", json!(OTHER)), item("c-3", json!(null)), "c-4"],
    });
    let expected = json!([{"id": "c-1", "agent_id": AGENT, "summary": null, "tags": ["t"]}]);
    assert_eq!(shown(&mut state, &response)["conversations"], expected);
    forwarded(&mut state, &json!({"type": "conversation_retrieve", "request_id": "2", "conversation_id": "c-1"}));
    let frame = json!({"type": "conversation_retrieve", "request_id": "3", "conversation_id": "c-2"});
    assert!(
        matches!(check(&mut state, &frame), Checked::Needs(_)),
        "whose it is was not learned from a stranger's item"
    );
}

#[test]
fn a_copy_belongs_to_the_agent_of_the_original() {
    let mut state = all();
    forwarded(&mut state, &json!({"type": "conversation_fork", "request_id": "1", "conversation_id": CONVERSATION}));
    let response = json!({"type": "conversation_fork_response", "request_id": "1", "success": true, "conversation": {"id": "c-9"}});
    assert_eq!(shown(&mut state, &response), response);
    forwarded(
        &mut state,
        &json!({"type": "runtime_start", "request_id": "2", "agent_id": AGENT, "conversation_id": "c-9"}),
    );
}

#[test]
fn sentences_of_the_server_are_replaced() {
    for (said, stays) in [
        ("Agent agent-local-nope not found", true),
        ("Conversation local-conv-9 not found", true),
        ("Input was rejected by the queue or durable ledger", true),
        ("ENOENT: no such file or directory, open '/srv/x.md'", false),
        ("Conversation local-conv-3 belongs to agent-1, not agent-2", false),
        ("Agent /srv/x not found", false),
        ("Agent a not found\nConversation b not found", false),
    ] {
        let mut state = started();
        expect(&mut state, Command::ReadMemoryFile, "1");
        let frame = json!({"type": "read_memory_file_response", "request_id": "1", "success": false, "path": "/srv/x", "error": said});
        let response = shown(&mut state, &frame);
        assert_eq!(response["error"] == said, stays, "{said}");
        assert!(stays || response["error"].as_str().unwrap().starts_with("upstream_error: "));
        assert_eq!((&response["path"], &response["content"]), (&json!(""), &json!(null)));
    }
}

#[test]
fn a_failed_input_is_not_accepted_and_no_turn_is_waited_for() {
    let mut state = started();
    forwarded(&mut state, &input("x"));
    assert!(state.is_busy());
    let frame = json!({"type": "input_accepted", "request_id": "input-1", "runtime": runtime(), "accepted": false, "error": "/srv"});
    let response = shown(&mut state, &frame);
    assert_eq!((&response["accepted"], &response["runtime"]), (&json!(false), &runtime()));
    assert!(!response.to_string().contains("/srv") && !state.is_busy());
}

#[test]
fn the_upstream_socket_is_needed_until_the_last_turn_has_finished() {
    let mut state = started();
    let loop_status =
        |status: &str| event("update_loop_status", json!({"loop_status": {"status": status, "active_run_ids": []}}));
    let accepted = json!({"type": "input_accepted", "request_id": "input-1", "runtime": runtime(), "accepted": true, "disposition": "started"});
    let finished = event("turn_finished", json!({"turn_id": "t", "stop_reason": "end_turn"}));
    let queue = |items: Value| event("update_queue", json!({"queue": items, "removed": []}));
    forwarded(&mut state, &input("x"));
    shown(&mut state, &accepted);
    shown(&mut state, &loop_status("SENDING_API_REQUEST"));
    shown(&mut state, &queue(json!([{"id": "q-1", "source": "user", "client_message_id": "cm"}])));
    shown(&mut state, &loop_status("WAITING_ON_INPUT"));
    assert!(state.is_busy());
    shown(&mut state, &finished);
    assert!(state.is_busy(), "a message waits");
    // As recorded: what waited begins its turn, and for a moment the loop waits with an empty queue.
    shown(&mut state, &delta(json!({"type": "message", "id": "m", "message_type": "user_message", "content": "x"})));
    shown(&mut state, &queue(json!([])));
    shown(&mut state, &loop_status("WAITING_ON_INPUT"));
    assert!(state.is_busy());
    shown(&mut state, &finished);
    assert!(!state.is_busy());
    // The same id is accepted once more and not run.
    let mut again = input("x");
    again["request_id"] = json!("input-2");
    forwarded(&mut state, &again);
    shown(
        &mut state,
        &json!({"type": "input_accepted", "request_id": "input-2", "runtime": runtime(), "accepted": true}),
    );
    assert!(!state.is_busy());
    // What is parked waits for resume_queue, and then for its turn.
    shown(&mut state, &queue(json!([{"id": "q-1", "source": "user", "client_message_id": "cm", "paused": true}])));
    assert!(!state.is_busy());
    forwarded(&mut state, &json!({"type": "resume_queue", "request_id": "r", "runtime": runtime()}));
    shown(
        &mut state,
        &json!({"type": "resume_queue_response", "request_id": "r", "runtime": runtime(), "resumed": 1, "success": true}),
    );
    assert!(state.is_busy());
    shown(&mut state, &finished);
    assert!(!state.is_busy());
    // The turn of an operator in the same conversation counts as well.
    shown(&mut state, &loop_status("PROCESSING_API_RESPONSE"));
    assert!(state.is_busy());
}

#[test]
fn tools_show_that_they_ran_and_not_what_they_did() {
    let cut = |value: Value| shown(&mut started(), &delta(value))["delta"].clone();
    let secret = "{\"command\":\"cat /etc/passwd\"}";
    assert_eq!(
        cut(
            json!({"message_type": "approval_request_message", "id": "m", "tool_call": {"tool_call_id": "c", "name": "Bash", "arguments": secret}})
        ),
        json!({"message_type": "approval_request_message", "id": "m", "tool_call": {"tool_call_id": "c", "name": "Bash", "arguments": "{}"}})
    );
    let tool_return = json!({"tool_call_id": "c", "status": "success", "tool_return": "root:x", "stdout": ["root:x"], "stderr": ["x"], "func_response": "root:x"});
    let mut message = tool_return.clone();
    message["message_type"] = json!("tool_return_message");
    message["tool_returns"] = json!([tool_return]);
    let blank = json!({"tool_call_id": "c", "status": "success", "tool_return": "", "stdout": [], "stderr": []});
    let mut expected = blank.clone();
    expected["message_type"] = json!("tool_return_message");
    expected["tool_returns"] = json!([blank]);
    assert_eq!(cut(message), expected);
    assert_eq!(
        cut(
            json!({"message_type": "client_tool_start", "tool_call_id": "c", "tool_name": "Bash", "tool_args": secret})
        ),
        json!({"message_type": "client_tool_start", "tool_call_id": "c", "tool_name": "Bash"})
    );
    for kind in ["approval_classification_end", "command_start", "slash_command_end", "system_message", "brand_new"] {
        let frame = delta(json!({"message_type": kind, "output": "x"}));
        assert_eq!(dropped(&mut started(), &frame), "message_kind", "{kind}");
    }
}

#[test]
fn nothing_of_sub_agents_and_of_other_agents_is_streamed() {
    let mut frame = delta(json!({"message_type": "assistant_message", "content": "x"}));
    frame["subagent_id"] = json!("s");
    assert_eq!(dropped(&mut started(), &frame), "subagent");
    let frame = delta(json!({"message_type": "assistant_message", "content": "x", "agent_id": OTHER}));
    assert_eq!(dropped(&mut started(), &frame), "message_kind");
    let subagents = event("update_subagent_state", json!({"subagents": [{"prompt": "x"}]}));
    assert_eq!(shown(&mut started(), &subagents)["subagents"], json!([]));
}

#[test]
fn the_harness_speaks_to_the_model_only() {
    let user = |content: Value| delta(json!({"message_type": "user_message", "content": content, "otid": "cm"}));
    let reminder = "<system-reminder>\nhost</system-reminder>";
    let text = |text: &str| json!({"type": "text", "text": text});
    for content in [json!(reminder), json!([text(reminder), text("\n<task-notification>x")]), json!([]), json!(null)] {
        assert_eq!(dropped(&mut started(), &user(content)), "message_kind");
    }
    for (content, left) in [
        (json!("hello"), json!("hello")),
        (json!([text(reminder), text("hello")]), json!([text("hello")])),
        (json!(format!("hello\n{reminder}")), json!("hello\n")),
        (json!([{"type": "text", "text": "a", "extra": 1}]), json!([text("a")])),
    ] {
        assert_eq!(shown(&mut started(), &user(content))["delta"]["content"], left);
    }
}

#[test]
fn the_history_is_cut_as_the_stream_is() {
    let mut state = started();
    expect(&mut state, Command::ConversationMessagesList, "1");
    let prefix = format!("gl-{}-", uuid::Uuid::from_u128(5).simple());
    let message = |kind: &str, content: &str| json!({"id": kind, "agent_id": AGENT, "message_type": kind, "role": "user", "content": [{"type": "text", "text": content}], "otid": format!("{prefix}cm-1")});
    let mut foreign = message("user_message", "a secret");
    foreign["agent_id"] = json!(OTHER);
    let frame = json!({
        "type": "conversation_messages_list_response", "request_id": "1", "success": true, "next_before": "m", "has_more": true,
        "messages": [message("user_message", "hi"), message("user_message", "<system-reminder>x"), foreign,
            message("system_message", "prompt"), {"message_type": "assistant_message", "id": "a", "content": "yes"}],
    });
    let response = shown(&mut state, &frame);
    let expected = json!([
        {"id": "user_message", "agent_id": AGENT, "message_type": "user_message", "role": "user",
         "content": [{"type": "text", "text": "hi"}], "otid": "cm-1"},
        {"message_type": "assistant_message", "id": "a", "content": "yes"},
    ]);
    assert_eq!(response["messages"], expected);
    assert_eq!((&response["next_before"], &response["has_more"]), (&json!("m"), &json!(true)));
}

#[test]
fn failures_of_turns_are_told_in_own_words() {
    let nested = "{\"error\":{\"detail\":\"401 at https://internal.example/v1\"}}";
    let own = format!("gl-{}-cm-1", uuid::Uuid::nil().simple());
    let frame = delta(json!({
        "message_type": "loop_error", "id": "l", "message": nested, "stop_reason": "error", "is_terminal": true,
        "client_message_ids": [own, "cm-2"], "api_error": {"url": "https://internal.example"},
    }));
    let cut = shown(&mut started(), &frame)["delta"].clone();
    let expected = json!({
        "message_type": "loop_error", "id": "l", "message": cut["message"], "stop_reason": "error", "is_terminal": true,
        "client_message_ids": ["cm-1"],
    });
    assert_eq!(cut, expected);
    assert!(cut["message"].as_str().unwrap().starts_with("llm_error: "));
    let frame = delta(
        json!({"message_type": "error_message", "message": nested, "detail": nested, "error_type": "local_backend_error", "retryable": false}),
    );
    let cut = shown(&mut started(), &frame)["delta"].clone();
    assert!(!cut.to_string().contains("internal") && cut["error_type"] == "local_backend_error", "{cut}");
    let frame = delta(
        json!({"message_type": "retry", "message": nested, "reason": nested, "attempt": 1, "max_attempts": 3, "delay_ms": 5, "provider": "p"}),
    );
    let cut = shown(&mut started(), &frame)["delta"].clone();
    assert_eq!((&cut["attempt"], cut.get("reason"), cut.get("provider")), (&json!(1), None, None));
    assert!(!cut.to_string().contains("internal"), "{cut}");
    let frame = event(
        "turn_finished",
        json!({"turn_id": "t", "stop_reason": "error", "error": nested, "terminal_consumer_ids": ["c"], "usage": {"total_tokens": 1, "brand_new": 2}}),
    );
    let cut = shown(&mut started(), &frame);
    assert!(cut["error"].as_str().unwrap().starts_with("llm_error: "), "{cut}");
    assert_eq!((&cut["usage"], cut.get("terminal_consumer_ids")), (&json!({"total_tokens": 1}), None));
}

#[test]
fn of_others_in_the_queue_only_their_place_is_shown() {
    let own = format!("gl-{}-cm-1", uuid::Uuid::nil().simple());
    let item = |id: &str, message: &str, source: &str| json!({"id": id, "client_message_id": message, "kind": "message", "source": source, "content": "text", "enqueued_at": "t", "brand_new": 1});
    let frame = event(
        "update_queue",
        json!({
            "queue": [item("q-1", "cm-1", "user"), item("q-2", &own, "user"), item("q-3", "t", "task_notification")],
            "removed": [{"client_message_id": own, "disposition": "cancelled", "x": 1}, {"client_message_id": "cm-1", "disposition": "dequeued"}],
        }),
    );
    let cut = shown(&mut started(), &frame);
    assert_eq!(
        cut["queue"],
        json!([
            {"id": "q-1", "client_message_id": "gatelet-q-1", "kind": "message", "source": "user", "content": "", "enqueued_at": "t"},
            {"id": "q-2", "client_message_id": "cm-1", "kind": "message", "source": "user", "content": "text", "enqueued_at": "t"},
        ])
    );
    assert_eq!(cut["removed"], json!([{"client_message_id": "cm-1", "disposition": "cancelled"}]));
    let frame = event(
        "update_loop_status",
        json!({"loop_status": {
            "status": "WAITING_ON_INPUT", "active_run_ids": ["r"], "client_message_ids_by_run_id": {"r": ["cm-1"]},
            "executing_tool_call_ids": ["c"],
        }}),
    );
    let expected = json!({"status": "WAITING_ON_INPUT", "active_run_ids": ["r"], "client_message_ids_by_run_id": {}, "executing_tool_call_ids": []});
    assert_eq!(shown(&mut started(), &frame)["loop_status"], expected);
}

#[test]
fn memory_is_shown_by_path() {
    let entry = |path: &str| json!({"relative_path": path, "content": "c", "absolute_path": "/srv", "references": ["a.md", "skills/x.md"]});
    let mut state = started();
    expect(&mut state, Command::ListMemory, "1");
    let frame = |done: bool| {
        json!({
            "type": "list_memory_response", "request_id": "1", "success": true, "done": done, "total": 4,
            "entries": [entry("MEMORY.md"), entry("skills/x.md"), entry("mods/a.md"), entry(".git/config"), entry("notes.txt")],
        })
    };
    let expected = json!([{"relative_path": "MEMORY.md", "content": "c", "references": ["a.md"]}]);
    assert_eq!(shown(&mut state, &frame(false))["entries"], expected);
    shown(&mut state, &frame(true));
    assert_eq!(dropped(&mut state, &frame(true)), "unexpected", "the list has ended");

    expect(&mut state, Command::MemoryCommitDiff, "2");
    let section = |path: &str| {
        format!(
            "diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -0,0 +1 @@\n+of {path}\n diff --git a/x.md b/x.md\n"
        )
    };
    let diff = format!(
        "Author: ada <ada@host-1>\n{}{}{}diff --git \"a/\\303.md\" b/x.md\n+x\n",
        section("a.md"),
        section("mods/a.js"),
        section("b/c.md")
    );
    let frame = json!({"type": "memory_commit_diff_response", "request_id": "2", "success": true, "sha": "0123abc", "diff": diff});
    assert_eq!(shown(&mut state, &frame)["diff"], format!("{}{}", section("a.md"), section("b/c.md")));
}

#[test]
fn changes_of_memory_are_told_to_who_may_read_it() {
    let frame = event("memory_updated", json!({"affected_paths": ["a.md", "mods/x.js"], "timestamp": 1}));
    assert_eq!(shown(&mut started(), &frame)["affected_paths"], json!(["a.md"]));
    let mut state = socket(&[Access::ReadMessages]);
    open(&mut state, AGENT, CONVERSATION);
    assert_eq!(dropped(&mut state, &frame), "access");
    let mut nowhere = frame;
    nowhere.as_object_mut().unwrap().remove("runtime");
    assert_eq!(dropped(&mut started(), &nowhere), "no_runtime");
}
