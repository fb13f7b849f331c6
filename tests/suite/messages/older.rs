//! Agents of Letta's older types, which think in what they write and speak by calling a tool.

use std::time::Duration;

use serde_json::{Value, json};

use super::{column, keys, path, said, say};
use crate::harness::{Client, Gatelet, Program, eventually, form, on_both_engines};

const SOON: Duration = Duration::from_secs(30);
/// What is said in one step, as it is shown to those who want it so, and to all others.
const AS_CALLS: [&str; 3] = ["reasoning_message", "tool_call_message", "tool_return_message"];
const AS_SAID: [&str; 2] = ["reasoning_message", "assistant_message"];

async fn older(owner: &Client, extra: &Value) -> String {
    let mut body = json!({"agent_type": "memgpt_v2_agent", "initial_message_sequence": []});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    owner.create_agent(&body).await
}

async fn list(client: &Client, agent: &str, query: &str) -> Value {
    client.get(&path(agent, &format!("?limit=1000&{query}"))).await.expect(200)
}

fn types(list: &Value) -> Vec<String> {
    column(list, "message_type")
}

/// A message on the wire in short: what it is, and what it says.
fn short(message: &Value) -> String {
    let text = ["content", "reasoning", "tool_return"].iter().find_map(|key| message[key].as_str());
    let text = text.or(message["tool_call"]["arguments"].as_str()).unwrap_or_default();
    let kind = message["message_type"].as_str().unwrap().trim_end_matches("_message");
    let event = serde_json::from_str::<Value>(text).ok().and_then(|event| event["type"].as_str().map(str::to_owned));
    format!("{kind}: {}", event.unwrap_or(text.to_owned()))
}

fn shorts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(short).collect()
}

/// The messages of a stream, those that came in pieces put together.
async fn streamed(client: &Client, path: &str, body: &Value) -> (Vec<Value>, String) {
    let answer = client.post(path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let events = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = events.filter_map(|data| serde_json::from_str(data).ok()).collect();
    let stop = events.iter().find_map(|event| event["stop_reason"].as_str()).unwrap().to_owned();
    let mut messages: Vec<Value> = Vec::new();
    for event in events.into_iter().filter(|event| event["id"].as_str().is_some_and(|id| id.starts_with("message-"))) {
        match messages.last_mut().filter(|last| last["otid"] == event["otid"]) {
            Some(last) => {
                for text in ["content", "reasoning"] {
                    if let Some(piece) = event[text].as_str() {
                        last[text] = json!(format!("{}{piece}", last[text].as_str().unwrap()));
                    }
                }
                if let Some(piece) = event["tool_call"]["arguments"].as_str() {
                    let begun = last["tool_call"]["arguments"].as_str().unwrap_or_default().to_owned();
                    last["tool_call"]["arguments"] = json!(format!("{begun}{piece}"));
                }
            }
            None => messages.push(event),
        }
    }
    (messages, stop)
}

on_both_engines! {
    async fn each_type_begins_in_its_own_way(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let greeted = ["system", "reasoning", "assistant", "user: login"];
        let logged_in = ["system", "user: login"];
        let alone = ["system"];
        for (agent_type, with_tools, without_tools, after_reset) in [
            ("letta_v1_agent", &alone[..], &alone[..], &alone[..]),
            ("memgpt_agent", &greeted, &greeted, &greeted),
            ("memgpt_v2_agent", &greeted, &greeted, &greeted),
            ("react_agent", &greeted, &greeted, &greeted),
            ("workflow_agent", &greeted, &greeted, &greeted),
            ("split_thread_agent", &greeted, &greeted, &greeted),
            ("voice_convo_agent", &greeted, &greeted, &greeted),
            ("voice_sleeptime_agent", &alone, &greeted, &greeted),
            ("sleeptime_agent", &alone, &logged_in, &logged_in),
        ] {
            let begins = async |agent: &str, expected: &[&str], why: &str| {
                let shown = list(&owner, agent, "order=asc").await;
                let begin = |(short, expected): (String, &&str)| short.starts_with(expected);
                let fits = shorts(&shown).into_iter().zip(expected).all(begin);
                assert!(fits && shown.as_array().unwrap().len() == expected.len(), "{agent_type} {why}: {shown}");
                // The thought and what is said are one message in the store, and what the tool returned is not shown.
                let stored = expected.len();
                let context = owner.get(&format!("/v1/agents/{agent}/context")).await.expect(200);
                let ids = owner.get(&format!("/v1/agents/{agent}")).await.expect(200)["message_ids"].clone();
                assert_eq!(context["num_messages"], stored, "{agent_type} {why}");
                assert_eq!(context["num_recall_memory"], stored, "{agent_type} {why}");
                assert_eq!(column(&context["messages"], "id"), ids.as_array().unwrap().as_slice(), "{agent_type} {why}");
                assert_eq!(shown[0]["id"], ids[0]);
            };
            let agent = owner.create_agent(&json!({"agent_type": agent_type})).await;
            begins(&agent, with_tools, "with its tools").await;
            let body = json!({"agent_type": agent_type, "include_base_tools": false, "initial_message_sequence": null});
            begins(&owner.create_agent(&body).await, without_tools, "without tools").await;
            let body = json!({"agent_type": agent_type, "initial_message_sequence": []});
            begins(&owner.create_agent(&body).await, &alone, "with nothing").await;
            for (anew, expected) in [(json!(true), after_reset), (json!(false), &alone[..]), (json!(null), &alone[..])] {
                let body = json!({"add_default_initial_messages": anew});
                owner.patch(&format!("/v1/agents/{agent}/reset-messages"), &body).await.expect(200);
                begins(&agent, expected, "after a reset").await;
            }
        }
    }

    async fn the_greeting_is_said_by_a_tool(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"agent_type": "memgpt_agent"})).await;
        let shown = list(&owner, &agent, "order=asc").await;
        let called = list(&owner, &agent, "order=asc&use_assistant_message=false").await;
        assert_eq!(types(&called)[1..4], AS_CALLS);
        assert_eq!((&shown[1], &shown[3]), (&called[1], &called[4]), "thoughts and events are the same for all");
        assert_eq!(shown[1]["source"], "non_reasoner_model");
        for key in ["id", "date", "otid", "step_id", "run_id"] {
            assert_eq!(shown[2][key], called[2][key], "{key}");
        }
        let call = &called[2]["tool_call"];
        assert_eq!((&call["name"], &called[3]["name"]), (&json!("send_message"), &json!("send_message")));
        let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({"message": shown[2]["content"]}));
        assert_eq!(call["tool_call_id"], called[3]["tool_call_id"]);
        for message in [&shown[1], &shown[2], &shown[3]] {
            assert_eq!((&message["run_id"], &message["step_id"]), (&json!(null), &json!(null)));
        }
        let login: Value = serde_json::from_str(shown[3]["content"].as_str().unwrap()).unwrap();
        assert_eq!((keys(&login).as_str(), &shown[3]["otid"]), ("type last_login time", &json!(null)));
    }

    async fn what_it_is_to_have_said_it_has_said_by_the_tool(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let sequence = json!([
            {"role": "user", "content": "Hi", "otid": "chosen"},
            {"role": "assistant", "content": [{"type": "text", "text": "Hey \"you\""}]},
            {"role": "system", "content": "Note"},
        ]);
        for (agent_type, stored) in [("memgpt_agent", 5), ("react_agent", 5), ("sleeptime_agent", 4), ("letta_v1_agent", 4)] {
            let agent = owner.create_agent(&json!({"agent_type": agent_type, "initial_message_sequence": sequence})).await;
            let shown = list(&owner, &agent, "order=asc").await;
            assert_eq!(shorts(&shown)[1..], ["user: Hi", "assistant: Hey \"you\"", "system: Note"], "{agent_type}");
            assert_eq!(shown[1]["otid"], "chosen");
            let state = owner.get(&format!("/v1/agents/{agent}")).await.expect(200);
            assert_eq!(state["message_ids"].as_array().unwrap().len(), stored, "{agent_type}");
            let called = list(&owner, &agent, "order=asc&use_assistant_message=false").await;
            assert_eq!(types(&called).contains(&"tool_call_message".to_owned()), stored == 5, "{agent_type}");
        }
    }

    async fn it_speaks_by_a_call_that_is_shown_as_asked_for(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        for (config, expected) in [
            (json!({}), &AS_SAID[..]),
            (json!({"use_assistant_message": true, "assistant_message_tool_kwarg": "message"}), &AS_SAID),
            (json!({"use_assistant_message": false}), &AS_CALLS),
            (json!({"assistant_message_tool_name": "other"}), &AS_CALLS),
            (json!({"assistant_message_tool_kwarg": "other"}), &AS_SAID[..1]),
            (json!({"include_return_message_types": ["assistant_message"]}), &AS_SAID[1..]),
            (json!({"include_return_message_types": ["assistant_message"], "use_assistant_message": false}), &[]),
            (json!({"include_return_message_types": ["tool_call_message"], "use_assistant_message": false}), &AS_CALLS[1..2]),
        ] {
            let agent = older(&owner, &json!({})).await;
            let conversation = owner.post(&format!("/v1/conversations/?agent_id={agent}"), &json!({})).await.expect(200);
            let of_conversation = format!("/v1/conversations/{}/messages", conversation["id"].as_str().unwrap());
            let query: String = config.as_object().unwrap().iter().fold(String::new(), |query, (name, value)| {
                let value = value.as_array().map_or(value, |list| &list[0]);
                format!("{query}&{name}={}", value.as_str().map_or(value.to_string(), str::to_owned))
            });
            for (route, more) in [
                (path(&agent, ""), json!({})),
                (path(&agent, "/stream"), json!({})),
                (path(&agent, "/stream"), json!({"stream_tokens": true})),
                (path(&agent, "/stream"), json!({"background": true})),
                (of_conversation.clone(), json!({"streaming": false})),
                (of_conversation.clone(), json!({"stream_tokens": true})),
            ] {
                let mut body = json!({"input": "Wie geht's, \"Ä\"?"});
                body.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
                body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                let is_plain = !route.ends_with("/stream") && more["stream_tokens"].is_null();
                let (answers, stop) = if is_plain {
                    let answer = owner.post(&route, &body).await.expect(200);
                    let stop = answer["stop_reason"]["stop_reason"].as_str().unwrap().to_owned();
                    (answer["messages"].as_array().unwrap().clone(), stop)
                } else {
                    streamed(&owner, &route, &body).await
                };
                assert_eq!(types(&json!(answers)), expected, "{route} {body}");
                assert_eq!(stop, "end_turn", "{route} {body}");
                // The same later, to those who ask in the same way; in pieces a call has no list.
                let shown = list(&owner, &agent, &query).await;
                let shown = &shown.as_array().unwrap()[shown.as_array().unwrap().len() - expected.len()..];
                for (answer, shown) in answers.iter().zip(shown) {
                    for key in ["id", "otid", "date", "name", "step_id", "run_id", "content", "reasoning", "tool_return"] {
                        assert_eq!(answer[key], shown[key], "{key} {route} {body}");
                    }
                    assert_eq!(answer["tool_call"], shown["tool_call"], "{route} {body}");
                }
                let Some(run) = answers.first().map(|answer| answer["run_id"].as_str().unwrap()) else { continue };
                let run = owner.get(&format!("/v1/runs/{run}")).await.expect(200);
                for (name, value) in config.as_object().unwrap() {
                    assert_eq!(run["request_config"][name], *value, "{name}");
                }
                let of_run = owner.get(&format!("/v1/runs/{}/messages", run["id"].as_str().unwrap())).await.expect(200);
                let of_run = of_run.as_array().unwrap();
                assert_eq!(types(&json!(of_run[of_run.len() - expected.len()..])), expected, "{route} {body}");
            }
        }
    }

    async fn everything_that_shows_messages_shows_what_it_said(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = older(&owner, &json!({})).await;
        let answer = say(&owner, &agent, "Hello").await;
        assert_eq!(types(&answer["messages"]), AS_SAID);
        assert_eq!(answer["messages"][1]["content"], "Echo: Hello");
        assert_eq!(said(&owner, &agent).await, ["Hello", "Echo: Hello"]);
        let step = answer["messages"][0]["step_id"].as_str().unwrap();
        let of_step = owner.get(&format!("/v1/steps/{step}/messages")).await.expect(200);
        assert_eq!(of_step.as_array().unwrap()[1..], answer["messages"].as_array().unwrap()[..]);
        let all = owner.get("/v1/messages/?limit=2").await.expect(200);
        assert_eq!(all, answer["messages"], "the call and its return are two in the store");
        let id = answer["messages"][0]["id"].as_str().unwrap();
        assert_eq!(owner.get(&format!("/v1/messages/{id}")).await.expect(200), answer["messages"]);
        let called = list(&owner, &agent, "use_assistant_message=false").await;
        let returned = called.as_array().unwrap().last().unwrap();
        let one = owner.get(&format!("/v1/messages/{}", returned["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(one, json!([returned]), "whoever asks for one is shown it");
        let backwards = owner.get(&format!("/v1/steps/{step}/messages?order=desc")).await.expect(200);
        assert_eq!(types(&backwards), ["assistant_message", "reasoning_message", "user_message"]);

        let found = owner.post("/v1/messages/search", &json!({"query": "echo hello"})).await.expect(200);
        assert_eq!(types(&found), AS_SAID);
        assert_eq!(found[1]["content"], "Echo: Hello");
        let recalled = say(&owner, &agent, "[[call:conversation_search {\"query\": \"echo\"}]]").await;
        let recalled = recalled["messages"][2]["tool_return"].as_str().unwrap();
        assert!(recalled.contains("Echo: Hello") && !recalled.contains("heartbeat"), "{recalled}");

        // As it is stored: thoughts are texts, and what the tool returned is in a wrapping.
        let context = owner.get(&format!("/v1/agents/{agent}/context")).await.expect(200);
        let stored = context["messages"].as_array().unwrap();
        assert_eq!(column(&context["messages"], "role")[..4], ["system", "user", "assistant", "tool"]);
        assert_eq!(stored[2]["content"], json!([{"type": "text", "text": answer["messages"][0]["reasoning"], "signature": null}]));
        assert_eq!(
            stored[2]["tool_calls"][0]["function"],
            json!({"name": "send_message", "arguments": "{\"message\": \"Echo: Hello\", \"request_heartbeat\": false}"})
        );
        let wrapping: Value = serde_json::from_str(stored[3]["tool_returns"][0]["func_response"].as_str().unwrap()).unwrap();
        assert_eq!((keys(&wrapping).as_str(), &wrapping["status"]), ("status message time", &json!("OK")));
        assert_eq!(wrapping["message"], returned["tool_return"]);
        assert_eq!(stored[3]["content"][0]["text"], stored[3]["tool_returns"][0]["func_response"]);
    }

    async fn it_comes_back_from_a_file_as_it_was(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        for agent_type in ["memgpt_agent", "react_agent"] {
            let agent = owner.create_agent(&json!({"agent_type": agent_type, "tools": ["web_search"]})).await;
            say(&owner, &agent, "Hello").await;
            say(&owner, &agent, "[[call:web_search {\"query\": \"tea\"}]]").await;
            let file = owner.get(&format!("/v1/agents/{agent}/export")).await.expect(200).to_string();
            let body = form(&[("file", Some(("agent.af", "application/json")), file.as_bytes())]);
            let copy = owner.send_form("/v1/agents/import", body).await.expect(200);
            let copy = copy["agent_ids"][0].as_str().unwrap().to_owned();
            for query in ["order=asc", "order=asc&use_assistant_message=false"] {
                let (before, after) = (list(&owner, &agent, query).await, list(&owner, &copy, query).await);
                assert_eq!(shorts(&after)[1..], shorts(&before)[1..], "{agent_type} {query}");
            }
            let exported = async |agent: &str| {
                let file = owner.get(&format!("/v1/agents/{agent}/export")).await.expect(200);
                let messages = file["agents"][0]["messages"].as_array().unwrap().clone();
                messages.iter().skip(1).map(|message| json!([message["role"], message["content"], message["tool_returns"]])).collect::<Vec<_>>()
            };
            assert_eq!(exported(&copy).await, exported(&agent).await, "{agent_type}");
            assert_eq!(shorts(&say(&owner, &copy, "Again").await["messages"])[1], "assistant: Echo: Again");
        }
    }
}

#[tokio::test]
async fn calls_are_followed_by_events_as_rules_and_the_calls_themselves_say() {
    let program = Program::ephemeral().env("GATELET_MOCK__REASONING", "false");
    let server = program.start_alone().await;
    let owner = server.owner();
    let rule = |kind: &str| json!([{"tool_name": "web_search", "type": kind}]);
    let called = "tool_call: {\"query\": \"tea\", \"request_heartbeat\": HEARTBEAT}";
    let said = "assistant: The tool returned: web_search";
    for (agent_type, rules, arguments, max_steps, expected, stop) in [
        // Who does not say otherwise goes on.
        ("memgpt_agent", json!([]), "", 50, vec![called, "tool_return", said], "end_turn"),
        ("workflow_agent", json!([]), "", 50, vec![called, "tool_return", said], "end_turn"),
        ("memgpt_agent", json!([]), ", \"request_heartbeat\": false", 50, vec![called, "tool_return"], "end_turn"),
        (
            "memgpt_agent",
            rule("continue_loop"),
            ", \"request_heartbeat\": false",
            50,
            vec![called, "tool_return", said],
            "end_turn",
        ),
        ("memgpt_agent", rule("exit_loop"), "", 50, vec![called, "tool_return"], "end_turn"),
        // A rule is the reason where the turn would have gone on.
        (
            "memgpt_agent",
            rule("exit_loop"),
            ", \"request_heartbeat\": true",
            50,
            vec![called, "tool_return"],
            "tool_rule",
        ),
        ("memgpt_agent", json!([]), "", 1, vec![called, "tool_return"], "max_steps"),
        ("memgpt_agent", json!([]), "", 2, vec![called, "tool_return", said], "max_steps"),
        // The newer ones know of no events.
        ("letta_v1_agent", json!([]), "", 50, vec!["tool_call: {\"query\": \"tea\"}", "tool_return", said], "end_turn"),
        (
            "sleeptime_agent",
            json!([]),
            "",
            50,
            vec!["tool_call: {\"query\": \"tea\"}", "tool_return", said],
            "end_turn",
        ),
        (
            "letta_v1_agent",
            rule("exit_loop"),
            "",
            50,
            vec!["tool_call: {\"query\": \"tea\"}", "tool_return"],
            "tool_rule",
        ),
    ] {
        let body = json!({"agent_type": agent_type, "tools": ["web_search"], "tool_rules": rules,
            "initial_message_sequence": [], "parallel_tool_calls": true});
        let agent = owner.create_agent(&body).await;
        let input = format!("[[call:web_search {{\"query\": \"tea\"{arguments}}}]]");
        let body = json!({"input": input, "max_steps": max_steps});
        let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
        let goes_on = expected.len() > 2;
        let why = format!("{agent_type} {rules} {input} {max_steps}: {answer}");
        assert_eq!(answer["stop_reason"]["stop_reason"], stop, "{why}");
        let shown = shorts(&answer["messages"]);
        assert_eq!(shown.len(), expected.len(), "{why}");
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.starts_with(&expected.replace("HEARTBEAT", &goes_on.to_string())), "{expected}: {why}");
        }
        let all = list(&owner, &agent, "order=asc").await;
        let events = shorts(&all).iter().filter(|short| *short == "user: heartbeat").count();
        assert_eq!(
            events,
            usize::from(goes_on && !agent_type.ends_with("v1_agent") && agent_type != "sleeptime_agent")
        );
        // The event is nobody's word: what was said stays said.
        assert_eq!(say(&owner, &agent, "Hi").await["messages"][0]["content"], "Echo: Hi", "{why}");
    }
}

#[tokio::test]
async fn only_who_has_the_tool_speaks_by_it() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    for (agent_type, tools, expected) in [
        ("memgpt_agent", json!({}), &AS_CALLS[..]),
        ("memgpt_v2_agent", json!({}), &AS_CALLS),
        ("split_thread_agent", json!({}), &AS_CALLS),
        ("voice_convo_agent", json!({}), &AS_CALLS),
        ("react_agent", json!({}), &AS_SAID),
        ("workflow_agent", json!({}), &AS_SAID),
        ("voice_sleeptime_agent", json!({}), &AS_SAID),
        ("react_agent", json!({"tools": ["send_message"]}), &AS_CALLS),
        ("memgpt_agent", json!({"include_base_tools": false}), &AS_SAID),
        // These take their turns in today's way, whatever tools they have, and their model does not reason.
        ("sleeptime_agent", json!({"tools": ["send_message"]}), &AS_SAID[1..]),
        ("letta_v1_agent", json!({"tools": ["send_message"]}), &AS_SAID[1..]),
    ] {
        let mut body = json!({"agent_type": agent_type});
        body.as_object_mut().unwrap().extend(tools.as_object().unwrap().clone());
        let agent = owner.create_agent(&body).await;
        let body = json!({"input": "Hello", "use_assistant_message": false});
        let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
        assert_eq!(types(&answer["messages"]), expected, "{agent_type} {tools}");
        assert_eq!(answer["stop_reason"]["stop_reason"], "end_turn");
        assert_eq!(said(&owner, &agent).await.last().unwrap(), "Echo: Hello", "{agent_type} {tools}");
    }
}

#[tokio::test]
async fn what_a_text_quotes_is_said_by_the_tool_that_it_names() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = older(&owner, &json!({})).await;
    for (text, expected) in [
        ("This is a test message. Call the send_message tool with the message 'Teapot'.", "Teapot"),
        ("This is a test message. Answer with \"I'm a teapot\", by send_message.", "I'm a teapot"),
        ("Use `send_message` to say `tea`", "tea"),
    ] {
        let answer = say(&owner, &agent, text).await;
        assert_eq!(answer["messages"][1]["content"], expected, "{text}");
        assert_eq!(said(&owner, &agent).await.last().unwrap(), expected, "{text}");
        assert_eq!(
            (&answer["stop_reason"]["stop_reason"], &answer["usage"]["step_count"]),
            (&json!("end_turn"), &json!(1))
        );
    }
    // The event after a call says what clients look for.
    for (query, reason) in [
        (json!("tea"), "Function called using request_heartbeat=true, returning control"),
        (json!(5), "Function call failed, returning control"),
    ] {
        say(&owner, &agent, &format!("[[call:conversation_search {}]]", json!({"query": query}))).await;
        let shown = list(&owner, &agent, "").await;
        let events = shown.as_array().unwrap().iter().filter_map(|message| message["content"].as_str());
        let mut events = events.filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let heartbeat = events.rfind(|event| event["type"] == "heartbeat").unwrap();
        let reason = format!("[This is an automated system message hidden from the user] {reason}");
        assert_eq!(heartbeat["reason"], reason);
    }
}

#[tokio::test]
async fn what_must_be_asked_about_goes_on_once_it_is_decided() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let asks =
        |tool: &str| json!({"tools": ["web_search"], "tool_rules": [{"tool_name": tool, "type": "requires_approval"}]});
    let decide = async |agent: &str, asked: &Value, approve: bool| {
        let id = &asked["messages"][1]["tool_call"]["tool_call_id"];
        let approval = json!({"type": "approval", "tool_call_id": id, "approve": approve, "reason": "no"});
        owner
            .post(&path(agent, ""), &json!({"messages": [{"type": "approval", "approvals": [approval]}]}))
            .await
            .expect(200)
    };
    for (approve, returned) in
        [(true, "tool_return: web_search"), (false, "tool_return: Error: request to call tool denied")]
    {
        let agent = older(&owner, &asks("web_search")).await;
        let asked = say(&owner, &agent, "[[call:web_search {\"query\": \"tea\"}]]").await;
        assert_eq!(types(&asked["messages"]), ["reasoning_message", "approval_request_message"]);
        assert_eq!(
            shorts(&asked["messages"])[1..],
            ["approval_request: {\"query\": \"tea\", \"request_heartbeat\": true}"]
        );
        let decided = decide(&agent, &asked, approve).await;
        let shown = shorts(&decided["messages"]);
        assert!(shown.len() == 3 && shown[0].starts_with(returned) && shown[2].starts_with("assistant: "), "{shown:?}");
        let all = shorts(&list(&owner, &agent, "order=asc").await);
        assert_eq!(all.iter().filter(|short| *short == "user: heartbeat").count(), 1, "{all:?}");
    }
    // What it says may have to be asked about as well; then its return is shown.
    let agent = older(&owner, &asks("send_message")).await;
    let asked = say(&owner, &agent, "Hello").await;
    assert_eq!(asked["stop_reason"]["stop_reason"], "requires_approval");
    assert_eq!(
        shorts(&asked["messages"])[1..],
        ["approval_request: {\"message\": \"Echo: Hello\", \"request_heartbeat\": false}"]
    );
    let decided = decide(&agent, &asked, true).await;
    assert_eq!(
        (types(&decided["messages"]), &decided["stop_reason"]["stop_reason"]),
        (vec!["tool_return_message".to_owned()], &json!("end_turn"))
    );
}

#[tokio::test]
async fn it_answers_later_and_in_batches_in_the_same_way() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = older(&owner, &json!({})).await;
    for (flag, expected) in [(true, &AS_SAID[..]), (false, &AS_CALLS[..])] {
        let body = json!({"input": "later", "use_assistant_message": flag});
        let run = owner.post(&path(&agent, "/async"), &body).await.expect(200);
        assert_eq!(run["request_config"]["use_assistant_message"], flag);
        let run = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        eventually("it completes", SOON, async || owner.get(&run).await.expect(200)["status"] == "completed").await;
        let messages = owner.get(&format!("{run}/messages")).await.expect(200);
        assert_eq!(types(&messages)[1..], *expected);
        let body = json!({"requests": [{"agent_id": agent, "use_assistant_message": flag,
            "messages": [{"role": "user", "content": "in a batch"}]}]});
        let batch = owner.post("/v1/messages/batches", &body).await.expect(200);
        let batch = format!("/v1/messages/batches/{}", batch["id"].as_str().unwrap());
        eventually("it completes", SOON, async || owner.get(&batch).await.expect(200)["status"] == "completed").await;
        let stored = owner.get(&format!("{batch}/messages?order=asc")).await.expect(200)["messages"].clone();
        assert_eq!(column(&stored, "role"), ["user", "assistant", "tool"]);
        assert_eq!(said(&owner, &agent).await.last().unwrap(), "Echo: in a batch");
    }
    let chunks = owner
        .post(
            "/v1/chat/completions",
            &json!({"model": agent, "stream": true, "messages": [{"role": "user", "content": "Hi"}]}),
        )
        .await;
    let content: String = chunks
        .text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(content, "Echo: Hi");
}

#[tokio::test]
async fn a_page_may_ask_for_either_form() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = older(&owner, &json!({})).await;
    let page = server.stranger().page(&owner.create_token(&agent, &["read_messages", "write_messages"]).await);
    for (flag, expected) in [(true, &AS_SAID[..]), (false, &AS_CALLS[..])] {
        let names = json!({"assistant_message_tool_name": "send_message", "assistant_message_tool_kwarg": "message"});
        let mut body = json!({"input": "Hello", "use_assistant_message": flag});
        body.as_object_mut().unwrap().extend(names.as_object().unwrap().clone());
        let answer = page.post(&path(&agent, ""), &body).await.expect(200);
        assert_eq!(types(&answer["messages"]), expected);
        let query = format!(
            "use_assistant_message={flag}&assistant_message_tool_name=send_message&assistant_message_tool_kwarg=message"
        );
        let shown = list(&page, &agent, &query).await;
        let shown = shown.as_array().unwrap();
        assert_eq!(shown[shown.len() - expected.len()..], answer["messages"].as_array().unwrap()[..]);
    }
}
