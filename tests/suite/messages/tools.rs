//! Tool calls: run by the server, decided about by people, run by the client.

use serde_json::{Value, json};

use super::{column, is_id, keys, path, said, say};
use crate::harness::{Client, Gatelet, NOBODY, Program, on_both_engines};

const COMMON: &str = "id date name message_type otid sender_id step_id is_err seq_id run_id";

/// An agent with two tools, of which one must be asked about.
async fn agent(owner: &Client, extra: &Value) -> String {
    let mut body = json!({
        "tools": ["web_search", "fetch_webpage"],
        "tool_rules": [{"type": "requires_approval", "tool_name": "fetch_webpage"}],
    });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    owner.create_agent(&body).await
}

async fn quiet(engine: crate::harness::Engine) -> (Gatelet, Client) {
    let program = Program::on(engine).await.env("GATELET_MOCK__REASONING", "false");
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let server = program.start_alone().await;
    let owner = server.stranger().bearer(&key);
    (server, owner)
}

fn types(answer: &Value) -> Vec<String> {
    column(&answer["messages"], "message_type")
}

fn call(name: &str, arguments: &Value) -> String {
    format!("[[call:{name} {arguments}]]")
}

/// Asks for the tool that must be asked about; the answer, and the call's id.
async fn ask(owner: &Client, agent: &str) -> (Value, String) {
    let answer = say(owner, agent, &call("fetch_webpage", &json!({"url": "https://x.example"}))).await;
    assert_eq!(answer["stop_reason"]["stop_reason"], "requires_approval");
    let id = answer["messages"][0]["tool_call"]["tool_call_id"].as_str().unwrap().to_owned();
    (answer, id)
}

on_both_engines! {
    async fn a_tool_that_a_text_calls_runs_and_its_return_is_told(engine: Engine) {
        let (_server, owner) = quiet(engine).await;
        let agent = agent(&owner, &json!({})).await;
        let answer = say(&owner, &agent, &call("web_search", &json!({"query": "tea"}))).await;
        assert_eq!(types(&answer), ["tool_call_message", "tool_return_message", "assistant_message"]);
        let [called, returned, said] = answer["messages"].as_array().unwrap().as_slice() else { panic!() };
        assert_eq!(keys(called), format!("{COMMON} tool_call tool_calls"));
        assert_eq!(
            keys(returned),
            format!("{COMMON} tool_return status tool_call_id stdout stderr tool_returns")
        );
        assert_eq!(called["tool_calls"], json!([called["tool_call"]]));
        assert_eq!(called["tool_call"]["arguments"], r#"{"query": "tea"}"#);
        assert_eq!(keys(&called["tool_call"]), "name arguments tool_call_id");
        assert_eq!(
            (&returned["name"], &returned["status"], &returned["tool_call_id"]),
            (&json!("web_search"), &json!("success"), &called["tool_call"]["tool_call_id"])
        );
        assert_eq!(keys(&returned["tool_returns"][0]), "type tool_return status tool_call_id stdout stderr");
        assert_eq!(returned["tool_returns"][0]["tool_return"], returned["tool_return"]);
        assert_eq!(said["content"], format!("The tool returned: {}", returned["tool_return"].as_str().unwrap()));
        // The call and its return are one step, what is said about them another.
        assert!(called["step_id"] == returned["step_id"] && called["step_id"] != said["step_id"]);
        assert!(called["id"] != returned["id"] && is_id(&returned["id"], "message"));
        assert_eq!(answer["usage"]["step_count"], 2);
        let tokens = |key: &str| answer["usage"][key].as_i64().unwrap();
        assert_eq!(tokens("total_tokens"), tokens("prompt_tokens") + tokens("completion_tokens"));
        assert!(tokens("context_tokens") < tokens("total_tokens"), "the last step alone");

        // The same everywhere it can be seen.
        let list = owner.get(&path(&agent, "?limit=3&order=desc")).await.expect(200);
        assert_eq!(list.as_array().unwrap()[..], answer["messages"].as_array().unwrap()[..]);
        let run = called["run_id"].as_str().unwrap();
        let of_run = owner.get(&format!("/v1/runs/{run}/messages")).await.expect(200);
        assert_eq!(of_run.as_array().unwrap()[1..], answer["messages"].as_array().unwrap()[..]);
        let steps = owner.get(&format!("/v1/runs/{run}/steps?order=asc")).await.expect(200);
        assert_eq!(column(&steps, "id"), [called["step_id"].as_str().unwrap(), said["step_id"].as_str().unwrap()]);
        let of_step = owner.get(&format!("/v1/steps/{}/messages", steps[0]["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(column(&of_step, "message_type"), ["user_message", "tool_call_message", "tool_return_message"]);
        let usage = owner.get(&format!("/v1/runs/{run}/usage")).await.expect(200);
        assert_eq!(usage["total_tokens"], answer["usage"]["total_tokens"]);
        let total: i64 = steps.as_array().unwrap().iter().map(|step| step["total_tokens"].as_i64().unwrap()).sum();
        assert_eq!(usage["total_tokens"], total);
        let metrics = owner.get(&format!("/v1/runs/{run}/metrics")).await.expect(200);
        assert_eq!((&metrics["num_steps"], &metrics["tools_used"]), (&json!(2), &json!(["web_search"])));
    }

    async fn a_turn_ends_where_its_steps_or_its_rules_say(engine: Engine) {
        let (_server, owner) = quiet(engine).await;
        let rules = json!({"tool_rules": [{"type": "exit_loop", "tool_name": "fetch_webpage"}]});
        let agent = agent(&owner, &rules).await;
        let search = call("web_search", &json!({}));
        for (text, max_steps, stop, expected) in [
            (search.clone(), 1, "max_steps", vec!["tool_call_message", "tool_return_message"]),
            (search.clone(), 2, "end_turn", vec!["tool_call_message", "tool_return_message", "assistant_message"]),
            (call("fetch_webpage", &json!({})), 9, "tool_rule", vec!["tool_call_message", "tool_return_message"]),
            (format!("{search}{search}"), 2, "max_steps", ["tool_call_message", "tool_return_message"].repeat(2)),
        ] {
            let body = json!({"input": text, "max_steps": max_steps});
            let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
            assert_eq!((types(&answer), &answer["stop_reason"]["stop_reason"]), (expected.iter().map(ToString::to_string).collect(), &json!(stop)), "{text}");
            let run = owner.get(&format!("/v1/runs/{}", answer["messages"][0]["run_id"].as_str().unwrap())).await;
            let run = run.expect(200);
            assert_eq!((&run["status"], &run["stop_reason"]), (&json!("completed"), &json!(stop)));
        }
        // A turn without steps takes nothing in, and ends.
        let known = owner.get(&path(&agent, "?limit=100")).await.expect(200);
        for steps in [0, -1] {
            let body = json!({"input": "never heard", "max_steps": steps});
            let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
            assert_eq!((&answer["messages"], &answer["usage"]["step_count"]), (&json!([]), &json!(0)));
            assert_eq!(answer["stop_reason"]["stop_reason"], "end_turn");
            let events = owner.post(&path(&agent, "/stream"), &body).await.text;
            assert!(events.contains("end_turn") && !events.contains("assistant_message"), "{events}");
        }
        assert_eq!(owner.get(&path(&agent, "?limit=100")).await.expect(200), known);
        // A model sees of a return as much as the tool's limit says.
        let source = "def big():\n    \"\"\"Says much.\"\"\"\n    return 'x' * 2000";
        let tool = owner.post("/v1/tools/", &json!({"source_code": source, "return_char_limit": 1000})).await.expect(200);
        owner.patch(&format!("/v1/agents/{agent}/tools/attach/{}", tool["id"].as_str().unwrap()), &json!({})).await;
        let answer = say(&owner, &agent, &call("big", &json!({}))).await;
        let told = answer["messages"][1]["tool_return"].as_str().unwrap();
        assert!(told.starts_with(&format!("{}... [NOTE: function output was truncated ", "x".repeat(1000))), "{told}");
        let answer = say(&owner, &agent, &call("no_such_tool", &json!({}))).await;
        assert_eq!((&answer["messages"][1]["status"], types(&answer).len()), (&json!("error"), 3));
    }

    async fn a_call_that_must_be_asked_about_waits_for_a_decision(engine: Engine) {
        let (server, owner) = quiet(engine).await;
        let agent = agent(&owner, &json!({})).await;
        let (asked, call_id) = ask(&owner, &agent).await;
        let request = &asked["messages"][0];
        assert_eq!((types(&asked).as_slice(), keys(request)), (&["approval_request_message".to_owned()][..], format!("{COMMON} tool_call tool_calls")));
        assert_eq!(request["otid"], request["id"]);
        let state = owner.get(&format!("/v1/agents/{agent}?include=agent.pending_approval")).await.expect(200);
        assert_eq!((&state["pending_approval"], &state["last_stop_reason"]), (request, &json!("requires_approval")));
        assert_eq!(owner.get(&format!("/v1/agents/{agent}")).await.expect(200)["pending_approval"], json!(null));

        // Nothing else can be said meanwhile, here.
        let busy = owner.post(&path(&agent, ""), &json!({"input": "meanwhile"})).await;
        busy.refused(409, "conflict");
        let detail = &busy.expect(409)["detail"];
        assert_eq!((&detail["code"], &detail["pending_request_id"]), (&json!("PENDING_APPROVAL"), &request["id"]));
        let stream = owner.post(&path(&agent, "/stream"), &json!({"input": "meanwhile"})).await;
        assert_eq!(stream.status, 200);
        for part in ["\"stop_reason\":\"error\"", "event: error\n", "\"error_type\":\"internal_error\"", "data: [DONE]"] {
            assert!(stream.text.contains(part), "{part}: {}", stream.text);
        }
        let other = super::agent(&owner, &json!({})).await;
        say(&owner, &other, "elsewhere").await;
        // A decision about something else is refused and decides nothing.
        let wrong = json!({"messages": [{"type": "approval", "approvals": [
            {"type": "approval", "tool_call_id": "call_other", "approve": true}]}]});
        let sentence = owner.post(&path(&agent, ""), &wrong).await.refused(400, "invalid_request");
        assert!(sentence.contains(&call_id) && sentence.contains("call_other"), "{sentence}");

        let message = request["id"].as_str().unwrap();
        let approval = |approve: bool, reason: Value| {
            json!({"type": "approval", "approvals": [
                {"type": "approval", "tool_call_id": "CALL", "approve": approve, "reason": reason}]})
        };
        let returned = json!({"type": "tool", "tool_call_id": "CALL", "tool_return": "Paris", "status": "success"});
        let mut first = Some((call_id, message.to_owned()));
        for (decision, status, text) in [
            (approval(true, json!(null)), "success", "fetch_webpage was called"),
            (approval(false, json!("not today")), "error", "Error: request to call tool denied. User reason: not today"),
            (approval(false, json!(null)), "error", "Error: request to call tool denied."),
            (json!({"type": "approval", "approve": true, "approval_request_id": "CALL"}), "success", "fetch_webpage"),
            (json!({"approve": false, "approval_request_id": "MESSAGE", "reason": "no"}), "error", "User reason: no"),
            (json!({"type": "approval", "approvals": [returned]}), "success", "Paris"),
            (json!({"type": "tool_return", "tool_returns": [returned]}), "success", "Paris"),
        ] {
            let (call_id, message) = match first.take() {
                Some(ids) => ids,
                None => {
                    let (asked, call_id) = ask(&owner, &agent).await;
                    (call_id, asked["messages"][0]["id"].as_str().unwrap().to_owned())
                }
            };
            let body = json!({"messages": [decision]}).to_string().replace("CALL", &call_id).replace("MESSAGE", &message);
            let body: Value = serde_json::from_str(&body).unwrap();
            let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
            assert_eq!(types(&answer), ["tool_return_message", "assistant_message"], "{decision}");
            let told = &answer["messages"][0];
            assert_eq!((&told["status"], &told["tool_call_id"]), (&json!(status), &json!(call_id)), "{decision}");
            assert!(told["tool_return"].as_str().unwrap().contains(text), "{told}");
            assert_eq!((&answer["stop_reason"]["stop_reason"], &answer["usage"]["step_count"]), (&json!("end_turn"), &json!(1)));
            let list = owner.get(&path(&agent, "?limit=5")).await.expect(200);
            let expected = ["user_message", "approval_request_message", "approval_response_message", "tool_return_message", "assistant_message"];
            assert_eq!(column(&list, "message_type"), expected);
            let (request, response, told) = (&list[1], &list[2], &list[3]);
            assert_eq!(keys(response), format!("{COMMON} approvals approve approval_request_id reason"));
            assert_eq!((&response["step_id"], &response["otid"]), (&json!(null), &json!(null)));
            assert_eq!(told["step_id"], request["step_id"]);
            assert!(told["run_id"] == response["run_id"] && told["run_id"] != request["run_id"]);
            let state = owner.get(&format!("/v1/agents/{agent}?include=agent.pending_approval")).await.expect(200);
            assert_eq!((&state["pending_approval"], &state["last_stop_reason"]), (&json!(null), &json!("end_turn")));
            let ids = column(&list, "id");
            let in_context: Vec<Value> = state["message_ids"].as_array().unwrap().clone();
            assert!(ids.iter().all(|id| in_context.contains(&json!(id))), "the context has all of it");

            // Deciding again changes nothing and is no mistake, if it is the call that is named.
            let again = owner.post(&path(&agent, ""), &body).await;
            if decision["approval_request_id"] == "MESSAGE" {
                again.refused(400, "invalid_request");
            } else {
                assert_eq!(types(&again.expect(200)), ["assistant_message"], "{decision}");
                let list = owner.get(&path(&agent, "?limit=2")).await.expect(200);
                assert_eq!(column(&list, "message_type"), ["user_message", "assistant_message"], "{decision}");
                assert!(list[0]["content"].as_str().unwrap().contains("keep-alive"), "{list}");
            }
        }
        say(&owner, &agent, "and on").await;

        // What is said with a decision is said after it.
        let (_, call_id) = ask(&owner, &agent).await;
        let body = json!({"messages": [
            {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": call_id, "approve": true}]},
            {"role": "user", "content": "be brief"}]});
        let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
        assert_eq!(types(&answer), ["tool_return_message", "assistant_message"]);
        assert_eq!(answer["messages"][1]["content"], "Echo: be brief");
        let list = owner.get(&path(&agent, "?limit=4")).await.expect(200);
        let expected = ["approval_response_message", "tool_return_message", "user_message", "assistant_message"];
        assert_eq!(column(&list, "message_type"), expected);
        assert!(!server.log().contains("panicked"));
    }

    async fn calls_of_one_step_wait_together(engine: Engine) {
        let (_server, owner) = quiet(engine).await;
        let agent = agent(&owner, &json!({"parallel_tool_calls": true})).await;
        let text = format!("{} {}", call("web_search", &json!({"query": "a"})), call("fetch_webpage", &json!({"url": "b"})));
        let asked = say(&owner, &agent, &text).await;
        assert_eq!(types(&asked), ["tool_call_message", "approval_request_message"]);
        assert!(asked["messages"][0]["id"] != asked["messages"][1]["id"]);
        assert_eq!(asked["messages"][0]["step_id"], asked["messages"][1]["step_id"]);
        let id = |index: usize| asked["messages"][index]["tool_call"]["tool_call_id"].clone();
        let decide = |ids: &[Value]| {
            let approvals: Vec<Value> =
                ids.iter().map(|id| json!({"type": "approval", "tool_call_id": id, "approve": false})).collect();
            json!({"messages": [{"type": "approval", "approvals": approvals}]})
        };
        // Only the one that waits may be named.
        owner.post(&path(&agent, ""), &decide(&[id(0), id(1)])).await.refused(400, "invalid_request");
        let answer = owner.post(&path(&agent, ""), &decide(&[id(1)])).await.expect(200);
        assert_eq!(types(&answer), ["tool_return_message", "assistant_message"]);
        let returns = &answer["messages"][0]["tool_returns"];
        assert_eq!(column(returns, "tool_call_id"), [id(0).as_str().unwrap(), id(1).as_str().unwrap()]);
        assert_eq!(column(returns, "status"), ["success", "error"]);
        // Where the agent makes one call at a time, it makes them one after the other.
        let serial = super::agent(&owner, &json!({})).await;
        let search = call("web_search", &json!({}));
        let answer = say(&owner, &serial, &format!("{search}{search}")).await;
        assert_eq!((types(&answer).len(), &answer["usage"]["step_count"]), (5, &json!(3)));
    }

    async fn calls_are_made_at_once_where_settings_say_so_and_no_rule_orders_them(engine: Engine) {
        let (_server, owner) = quiet(engine).await;
        let both = format!("{0}{0}", call("archival_memory_search", &json!({"query": "tea"})));
        let at_once = async |agent: &str| say(&owner, agent, &both).await["usage"]["step_count"] == 2;
        let rule = json!([{"type": "max_count_per_step", "tool_name": "archival_memory_search", "max_count_limit": 9}]);
        let approval = json!([{"type": "requires_approval", "tool_name": "web_search"}]);
        // Letta fills in what settings leave out, and its default is true.
        for (settings, rules, expected) in [
            (json!({"provider_type": "openai"}), json!([]), true),
            (json!({"provider_type": "openai", "parallel_tool_calls": true}), approval, true),
            (json!({"provider_type": "openai", "parallel_tool_calls": true}), rule, false),
            (json!({"provider_type": "openai", "parallel_tool_calls": false}), json!([]), false),
        ] {
            let agent = agent(&owner, &json!({"model_settings": settings, "tool_rules": rules})).await;
            assert_eq!(at_once(&agent).await, expected, "{settings} {rules}");
        }
        let agent = agent(&owner, &json!({"tool_rules": []})).await;
        assert!(!at_once(&agent).await);
        for parallel in [true, false] {
            let change = json!({"model_settings": {"provider_type": "openai", "parallel_tool_calls": parallel}});
            let changed = owner.patch(&format!("/v1/agents/{agent}"), &change).await.expect(200);
            assert_eq!(changed["llm_config"]["parallel_tool_calls"], parallel);
            assert_eq!(changed["model_settings"]["parallel_tool_calls"], parallel);
            assert_eq!(at_once(&agent).await, parallel);
        }
    }

    async fn cancelling_frees_an_agent_that_waits(engine: Engine) {
        let (_server, owner) = quiet(engine).await;
        let agent = agent(&owner, &json!({})).await;
        let (asked, _) = ask(&owner, &agent).await;
        let run = asked["messages"][0]["run_id"].as_str().unwrap();
        let cancelled = owner.post(&path(&agent, "/cancel"), &json!({})).await.expect(200);
        assert_eq!(cancelled, json!({run: "cancelled"}));
        assert_eq!(owner.get(&format!("/v1/runs/{run}")).await.expect(200)["status"], "cancelled");
        let list = owner.get(&path(&agent, "?limit=2")).await.expect(200);
        assert_eq!(column(&list, "message_type"), ["approval_response_message", "tool_return_message"]);
        assert_eq!((&list[0]["approve"], &list[1]["status"]), (&json!(false), &json!("error")));
        assert_eq!(types(&say(&owner, &agent, "again").await), ["assistant_message"]);
    }
}

#[tokio::test]
async fn a_tool_that_is_only_mentioned_before_the_users_own_words_is_not_called() {
    let server = Program::ephemeral().env("GATELET_MOCK__REASONING", "false").start_alone().await;
    let owner = server.owner();
    let agent = agent(&owner, &json!({})).await;
    for (texts, expected) in [
        (["There is web_search(query).", "Hello"], "assistant_message"),
        (["Hello", "Call web_search for tea"], "tool_call_message"),
    ] {
        let parts = texts.map(|text| json!({"type": "text", "text": text}));
        let answer = owner.post(&path(&agent, ""), &json!({"input": parts})).await.expect(200);
        assert_eq!(types(&answer)[0], expected, "{texts:?}");
    }
}

#[tokio::test]
async fn a_tool_of_the_client_is_run_by_the_client() {
    let server = Program::ephemeral().env("GATELET_MOCK__REASONING", "false").start_alone().await;
    let owner = server.owner();
    let agent = agent(&owner, &json!({})).await;
    // It hides the server's tool of the same name, for this request only.
    let tool =
        json!([{"name": "web_search", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]);
    for (text, arguments) in [
        (call("web_search", &json!({"city": "Rome"})), r#"{"city": "Rome"}"#),
        ("web_search in Paris, please".to_owned(), r#"{"city": "Paris"}"#),
    ] {
        let asked = owner.post(&path(&agent, ""), &json!({"input": text, "client_tools": tool})).await.expect(200);
        assert_eq!(types(&asked), ["approval_request_message"], "{text}");
        let called = &asked["messages"][0]["tool_call"];
        assert_eq!((&called["name"], &called["arguments"]), (&json!("web_search"), &json!(arguments)));
        let returned = json!({"type": "tool", "tool_call_id": called["tool_call_id"], "tool_return": [
            {"type": "text", "text": "sunny"}], "status": "success", "stdout": ["a"]});
        let body = json!({"messages": [{"type": "tool_return", "tool_returns": [returned], "otid": "mine"}]});
        let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
        assert_eq!(answer["messages"][1]["content"], "The tool returned: sunny");
        assert_eq!(
            (&answer["messages"][0]["name"], &answer["messages"][0]["tool_return"]),
            (&json!(null), &json!("sunny"))
        );
        let response = &owner.get(&path(&agent, "?limit=3")).await.expect(200)[0];
        assert_eq!(
            (&response["approve"], &response["approvals"][0]["type"], &response["otid"]),
            (&json!(null), &json!("tool"), &json!("mine"))
        );
    }
    let answer = say(&owner, &agent, &call("web_search", &json!({"query": "x"}))).await;
    assert_eq!(types(&answer)[0], "tool_call_message");
    // Approving is not enough: the server has no such tool.
    let only = json!([{"name": "locate"}]);
    let asked =
        owner.post(&path(&agent, ""), &json!({"input": "[[call:locate]]", "client_tools": only})).await.expect(200);
    let id = &asked["messages"][0]["tool_call"]["tool_call_id"];
    let approve = json!({"messages": [{"type": "approval", "approvals": [{"type": "approval", "tool_call_id": id, "approve": true}]}]});
    let answer = owner.post(&path(&agent, ""), &approve).await.expect(200);
    assert_eq!(answer["messages"][0]["status"], "error");
}

#[tokio::test]
async fn a_page_decides_and_brings_tools_only_where_the_deployment_lets_it() {
    for (allow, status) in [("[]", 403), (r#"["approvals", "client_tools"]"#, 200)] {
        let server = Program::ephemeral().env("GATELET_CLIENT_TOKENS__ALLOW", allow).start_alone().await;
        let owner = server.owner();
        let agent = agent(&owner, &json!({"model": "openai/o3"})).await;
        let page = server.stranger().page(&owner.create_token(&agent, &["write_messages"]).await);
        let body = json!({"input": "[[call:locate]]", "client_tools": [{"name": "locate"}]});
        assert_eq!(page.post(&path(&agent, ""), &body).await.status, status, "{allow}");
        owner.post(&path(&agent, "/cancel"), &json!({})).await;
        let (_, call_id) = ask_thinking(&owner, &agent).await;
        let approve = json!({"messages": [{"type": "approval", "approvals": [
            {"type": "approval", "tool_call_id": call_id, "approve": true}]}]});
        assert_eq!(page.post(&path(&agent, ""), &approve).await.status, status, "{allow}");
    }
}

/// The same as [`ask`] of an agent whose model reasons.
async fn ask_thinking(owner: &Client, agent: &str) -> (Value, String) {
    let answer = say(owner, agent, &call("fetch_webpage", &json!({"url": "https://x.example"}))).await;
    assert_eq!(types(&answer), ["reasoning_message", "approval_request_message"]);
    assert_eq!(answer["messages"][0]["id"], answer["messages"][1]["id"]);
    let id = answer["messages"][1]["tool_call"]["tool_call_id"].as_str().unwrap().to_owned();
    (answer, id)
}

#[tokio::test]
async fn what_is_no_decision_is_refused() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = agent(&owner, &json!({})).await;
    for item in [
        json!({"type": "approval"}),
        json!({"type": "approval", "approvals": []}),
        json!({"type": "approval", "approvals": [{"type": "approval", "approve": true}]}),
        json!({"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "c"}]}),
        json!({"type": "approval", "approvals": [{"type": "other", "tool_call_id": "c", "approve": true}]}),
        json!({"type": "approval", "approvals": [{"type": "tool", "tool_call_id": "c", "status": "success"}]}),
        json!({"type": "tool_return", "tool_returns": [{"tool_call_id": "c", "tool_return": "x", "status": "maybe"}]}),
        json!({"type": "tool_return", "tool_returns": [{"tool_call_id": "c", "tool_return": {}, "status": "success"}]}),
        json!({"type": "tool_return"}),
        json!({"approve": true}),
    ] {
        let answer = owner.post(&path(&agent, ""), &json!({"messages": [item]})).await;
        answer.refused(422, "validation_failed");
    }
    let approval = json!({"type": "approval", "approvals": [{"tool_call_id": "c", "approve": true}]});
    for messages in [json!([{"role": "user", "content": "x"}, approval]), json!([approval, approval])] {
        owner.post(&path(&agent, ""), &json!({"messages": messages})).await.refused(422, "validation_failed");
    }
    owner.post(&path(&agent, ""), &json!({"messages": [approval]})).await.refused(400, "invalid_request");
    owner.post(&path(NOBODY, ""), &json!({"messages": [approval]})).await.refused(404, "not_found");
    assert!(said(&owner, &agent).await.is_empty());
}
