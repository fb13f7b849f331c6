//! Messages: said, answered, listed and forgotten.

mod between_agents;
mod cost;
mod failures;
mod memory;
mod older;
mod pace;
mod reasoning;
mod runs;
mod scripts;
mod search;
mod steps;
mod tools;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Gatelet, NOBODY, Program, on_both_engines};

/// Letta's keys, in Letta's order.
const COMMON: &str = "id date name message_type otid sender_id step_id is_err seq_id run_id";
const RESPONSE: &str = "messages stop_reason usage logprobs turns";
const USAGE: &str = "message_type completion_tokens prompt_tokens total_tokens step_count run_ids cached_input_tokens \
    cache_write_tokens reasoning_tokens context_tokens";

fn keys(value: &Value) -> String {
    value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn path(agent: &str, rest: &str) -> String {
    format!("/v1/agents/{agent}/messages{rest}")
}

fn column(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap_or("null").to_owned()).collect()
}

async fn say(client: &Client, agent: &str, text: &str) -> Value {
    client.post(&path(agent, ""), &json!({"input": text})).await.expect(200)
}

/// What was said by either side, oldest first.
async fn said(client: &Client, agent: &str) -> Vec<String> {
    let types = "include_return_message_types=user_message&include_return_message_types=assistant_message";
    column(&client.get(&path(agent, &format!("?order=asc&limit=1000&{types}"))).await.expect(200), "content")
}

/// Whether an id is a prefix and a version 4 uuid in lower case.
fn is_id(id: &Value, prefix: &str) -> bool {
    let uuid = id.as_str().and_then(|id| id.strip_prefix(prefix)).and_then(|rest| rest.strip_prefix('-'));
    uuid.is_some_and(|text| {
        uuid::Uuid::try_parse(text)
            .is_ok_and(|uuid| uuid.get_version_num() == 4 && uuid.hyphenated().to_string() == text)
    })
}

#[tokio::test]
async fn whatever_way_something_is_said_it_is_answered() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let user = |content: Value| json!({"role": "user", "content": content});
    for (body, expected) in [
        (json!({"messages": [user(json!("Hello"))]}), "Echo: Hello"),
        (json!({"messages": [user(json!([{"type": "text", "text": "in parts"}]))]}), "Echo: in parts"),
        (json!({"input": "short"}), "Echo: short"),
        (json!({"input": [{"type": "text", "text": "short parts"}]}), "Echo: short parts"),
        (json!({"messages": [user(json!("one")), user(json!("two"))]}), "Echo: two"),
        (json!({"messages": [{"role": "system", "content": "aside"}, user(json!("three"))]}), "Echo: three"),
        (json!({"messages": [{"type": "message", "role": "user", "content": "typed"}]}), "Echo: typed"),
        (
            json!({"messages": null, "input": "\u{0}\u{1f468}\u{200d}\u{1f469} \"'\\ \u{2028}"}),
            "Echo: \u{0}\u{1f468}\u{200d}\u{1f469} \"'\\ \u{2028}",
        ),
        (json!({"input": "", "unheard_of": {"a": 1}, "max_steps": null, "streaming": false}), "Echo: "),
    ] {
        let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
        assert_eq!(answer["messages"][0]["content"], expected, "{body}");
    }
}

on_both_engines! {
    async fn an_answer_is_what_the_history_shows_afterwards(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"model": "openai/o3"})).await;
        let before = owner.get(&path(&agent, "")).await.expect(200);
        assert_eq!(column(&before, "message_type"), ["system_message"]);
        assert_eq!((&before[0]["otid"], &before[0]["run_id"]), (&Value::Null, &Value::Null));
        let picture =
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0="}});
        let parts = json!([{"type": "text", "text": "Look: \u{1f600}\u{0}"}, picture]);
        let answer = owner
            .post(
                &path(&agent, ""),
                &json!({"messages": [
                    {"role": "system", "content": "aside"},
                    {"role": "user", "content": "Hello", "otid": "chosen", "name": "Sam", "sender_id": "u1"},
                    {"role": "user", "content": parts},
                ]}),
            )
            .await
            .expect(200);

        assert_eq!(keys(&answer), RESPONSE);
        assert_eq!(answer["stop_reason"], json!({"message_type": "stop_reason", "stop_reason": "end_turn"}));
        let usage = &answer["usage"];
        assert_eq!(keys(usage), USAGE);
        let tokens = |key: &str| usage[key].as_i64().unwrap();
        assert!(tokens("prompt_tokens") > 0 && tokens("completion_tokens") > tokens("reasoning_tokens"), "{usage}");
        assert_eq!(tokens("total_tokens"), tokens("prompt_tokens") + tokens("completion_tokens"));
        assert_eq!((&usage["step_count"], &usage["run_ids"]), (&json!(1), &Value::Null));

        let messages = answer["messages"].as_array().unwrap();
        assert_eq!(column(&answer["messages"], "message_type"), ["reasoning_message", "assistant_message"]);
        assert_eq!(keys(&messages[0]), format!("{COMMON} source reasoning signature"));
        assert_eq!(keys(&messages[1]), format!("{COMMON} content"));
        let id = &messages[0]["id"];
        let base = u128::from_str_radix(&id.as_str().unwrap()[8..].replace('-', ""), 16).unwrap() & !0x7f;
        for (index, message) in (0..).zip(messages) {
            assert!(
                is_id(&message["id"], "message")
                    && is_id(&message["step_id"], "step")
                    && is_id(&message["run_id"], "run")
            );
            for key in ["id", "step_id", "run_id", "date"] {
                assert_eq!(message[key], messages[0][key], "{key}");
            }
            assert_eq!(message["otid"], uuid::Uuid::from_u128(base + index).hyphenated().to_string());
            let date = message["date"].as_str().unwrap();
            assert!(date.len() == "2026-11-23T16:25:46+00:00".len() && date.ends_with("+00:00"), "{date}");
            assert_eq!(
                [&message["name"], &message["sender_id"], &message["is_err"], &message["seq_id"]],
                [&Value::Null; 4]
            );
        }

        let system = before[0]["id"].as_str().unwrap();
        let turn = owner.get(&path(&agent, &format!("?after={system}"))).await.expect(200);
        assert_eq!(turn.as_array().unwrap()[3..], messages[..]);
        assert_eq!(column(&turn, "message_type")[..3], ["system_message", "user_message", "user_message"]);
        assert_eq!(
            [&turn[1]["content"], &turn[1]["otid"], &turn[1]["name"], &turn[1]["sender_id"]],
            ["Hello", "chosen", "Sam", "u1"]
        );
        assert_eq!(turn[1]["run_id"], messages[0]["run_id"]);
        assert_eq!(turn[2]["content"][0]["text"], parts[0]["text"]);
        assert_eq!(turn[2]["content"][1]["source"]["data"], picture["source"]["data"]);
        let otids: BTreeSet<String> = column(&turn, "otid").into_iter().collect();
        assert_eq!(otids.len(), 5, "every message has its own: {otids:?}");
        let state = owner.get(&format!("/v1/agents/{agent}")).await.expect(200);
        assert_eq!(state["last_stop_reason"], "end_turn");
        assert!(state["last_run_completion"].is_string() && state["last_run_duration_ms"].is_i64(), "{state}");
        let mut in_context = column(&owner.get(&path(&agent, "?order=asc")).await.expect(200), "id");
        in_context.dedup();
        assert_eq!(state["message_ids"], json!(in_context));
    }

    async fn lists_run_from_old_to_new_and_cursors_are_absolute_in_time(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"model": "openai/o3"})).await;
        let foreign = owner.create_agent(&json!({})).await;
        let foreign = column(&owner.get(&path(&foreign, "")).await.expect(200), "id").remove(0);
        for text in ["one", "two", "three"] {
            say(&owner, &agent, text).await;
        }
        // Messages are counted as they are stored: an answer is one, though it is shown as two.
        let mut stored = column(&owner.get(&path(&agent, "")).await.expect(200), "id");
        assert_eq!(stored.len(), 10);
        stored.dedup();
        assert_eq!(stored.len(), 7);
        let unknown = NOBODY.replace("agent", "message");
        for (query, range) in [
            ("", 0..7),
            ("limit=1000", 0..7),
            ("order=asc", 0..7),
            ("order=desc", 0..7),
            ("conversation_id=default", 0..7),
            ("limit=2", 5..7),
            ("order=desc&limit=2", 5..7),
            ("order=asc&limit=2", 0..2),
            ("after=@2", 3..7),
            ("after=@2&order=asc", 3..7),
            ("after=@2&limit=2", 5..7),
            ("after=@2&limit=2&order=asc", 3..5),
            ("before=@4", 0..4),
            ("before=@4&order=asc", 0..4),
            ("before=@4&limit=2", 2..4),
            ("before=@4&limit=2&order=asc", 0..2),
            ("after=@1&before=@5", 2..5),
            ("after=@5&before=@1", 0..0),
            ("after=@6", 0..0),
            ("before=@0", 0..0),
        ] {
            let url = (0..7).fold(query.to_owned(), |url, index| url.replace(&format!("@{index}"), &stored[index]));
            let mut shown = column(&owner.get(&path(&agent, &format!("?{url}"))).await.expect(200), "id");
            shown.dedup();
            assert_eq!(shown, stored[range], "{query}");
        }
        let none = NOBODY.replace("agent", "conv");
        assert_eq!(owner.get(&path(&agent, &format!("?conversation_id={none}"))).await.expect(200), json!([]));
        for (query, status, code) in [
            (format!("after={unknown}"), 404, "not_found"),
            (format!("before={unknown}"), 404, "not_found"),
            (format!("after={foreign}"), 404, "not_found"),
            ("before=%00".into(), 404, "not_found"),
            ("order=up".into(), 422, "validation_failed"),
            ("order_by=name".into(), 422, "validation_failed"),
            ("limit=many".into(), 422, "validation_failed"),
            ("limit=-1".into(), 422, "validation_failed"),
            ("include_return_message_types=none".into(), 422, "validation_failed"),
        ] {
            owner.get(&path(&agent, &format!("?{query}"))).await.refused(status, code);
        }
        for (cursor, walk) in [("after", stored[1..].to_vec()), ("before", stored[..6].to_vec())] {
            let (mut seen, mut last) =
                (Vec::new(), if cursor == "after" { stored[0].clone() } else { stored[6].clone() });
            let order = if cursor == "after" { "asc" } else { "desc" };
            loop {
                let url = path(&agent, &format!("?limit=2&order={order}&{cursor}={last}"));
                let mut page = column(&owner.get(&url).await.expect(200), "id");
                page.dedup();
                let (Some(first), Some(end)) = (page.first().cloned(), page.last().cloned()) else { break };
                assert!(seen.len() <= stored.len(), "{cursor} does not end");
                (last, seen) =
                    if cursor == "after" { (end, [seen, page].concat()) } else { (first, [page, seen].concat()) };
            }
            assert_eq!(seen, walk, "{cursor}");
        }
    }

    async fn forgetting_leaves_the_system_message_alone(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent =
            owner.create_agent(&json!({"initial_message_sequence": [{"role": "user", "content": "first"}]})).await;
        say(&owner, &agent, "hello").await;
        assert_eq!(said(&owner, &agent).await, ["first", "hello", "Echo: hello"]);
        let reset = format!("/v1/agents/{agent}/reset-messages");
        owner.send(Method::PATCH, &reset, None).await.refused(422, "validation_failed");
        owner.patch(&reset, &json!({"add_default_initial_messages": "x"})).await.refused(422, "validation_failed");
        assert_eq!(said(&owner, &agent).await.len(), 3, "a refused request forgets nothing");
        let state = owner.patch(&reset, &json!({"add_default_initial_messages": false})).await.expect(200);
        assert_eq!((&state["id"], state["message_ids"].as_array().unwrap().len()), (&json!(agent), 1));
        let left = owner.get(&path(&agent, "")).await.expect(200);
        assert_eq!(column(&left, "message_type"), ["system_message"]);
        assert_eq!(state["message_ids"], json!(column(&left, "id")));
        say(&owner, &agent, "again").await;
        assert_eq!(said(&owner, &agent).await, ["again", "Echo: again"]);

        // Some agents forget by themselves; their history stays.
        let agent = owner.create_agent(&json!({"message_buffer_autoclear": true})).await;
        say(&owner, &agent, "hello").await;
        assert_eq!(said(&owner, &agent).await, ["hello", "Echo: hello"]);
        let state = owner.get(&format!("/v1/agents/{agent}")).await.expect(200);
        assert_eq!(state["message_ids"].as_array().unwrap().len(), 1);
    }

    async fn requests_at_the_same_time_do_not_mix(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let saying = (0..8).map(|number| {
            let (owner, agent) = (owner.clone(), agent.clone());
            tokio::spawn(async move { say(&owner, &agent, &format!("number {number}")).await })
        });
        for (number, answer) in saying.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(answer.await.unwrap()["messages"][0]["content"], format!("Echo: number {number}"));
        }
        let said = said(&owner, &agent).await;
        let asked: BTreeSet<&String> = said.iter().step_by(2).collect();
        assert_eq!((said.len(), asked.len()), (16, 8), "{said:?}");
        assert!(said.chunks(2).all(|turn| turn[1] == format!("Echo: {}", turn[0])), "{said:?}");
    }
}

#[tokio::test]
async fn the_same_requests_get_the_same_answers() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let mut told = Vec::new();
    for _ in 0..2 {
        let agent = owner.create_agent(&json!({"memory_blocks": [{"label": "human", "value": "Sam"}]})).await;
        let mut answers = Vec::new();
        for text in ["Hello", "", "Hello", "w\u{f6}rter \u{1f600}", &"long ".repeat(500)] {
            let mut answer = say(&owner, &agent, text).await;
            for message in answer["messages"].as_array_mut().unwrap() {
                let message = message.as_object_mut().unwrap();
                for key in ["id", "date", "otid", "step_id", "run_id"] {
                    message.insert(key.into(), Value::Null);
                }
            }
            answers.push(answer);
        }
        assert!(
            answers[2]["usage"]["prompt_tokens"].as_i64() > answers[0]["usage"]["prompt_tokens"].as_i64(),
            "the context grows"
        );
        told.push(answers);
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn a_type_filter_hides_and_does_not_forget() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"model": "openai/o3"})).await;
    for (types, sent, listed) in [
        (
            json!(null),
            vec!["reasoning_message", "assistant_message"],
            vec!["system_message", "user_message", "reasoning_message", "assistant_message"],
        ),
        (json!(["assistant_message"]), vec!["assistant_message"], vec!["assistant_message"]),
        (
            json!(["user_message", "reasoning_message"]),
            vec!["reasoning_message"],
            vec!["user_message", "reasoning_message"],
        ),
        (json!(["tool_call_message"]), vec![], vec![]),
        (json!([]), vec![], vec!["system_message", "user_message", "reasoning_message", "assistant_message"]),
    ] {
        let body = json!({"input": "Hello", "include_return_message_types": types});
        let answer = owner.post(&path(&agent, ""), &body).await.expect(200);
        assert_eq!(column(&answer["messages"], "message_type"), sent, "{types}");
        assert_eq!(
            (&answer["stop_reason"]["stop_reason"], &answer["usage"]["step_count"]),
            (&json!("end_turn"), &json!(1))
        );
        let query: Vec<String> = types
            .as_array()
            .into_iter()
            .flatten()
            .map(|word| format!("include_return_message_types={}", word.as_str().unwrap()))
            .collect();
        let list = owner.get(&path(&agent, &format!("?order=asc&limit=3&{}", query.join("&")))).await.expect(200);
        assert_eq!(column(&list, "message_type"), listed, "{types}");
    }
    assert_eq!(said(&owner, &agent).await.len(), 10, "all five turns are stored in full");
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_leaves_no_trace() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let message = |message: Value| json!({"messages": [message]});
    for body in [
        json!(null),
        json!([]),
        json!({}),
        json!({"messages": [{"role": "user", "content": "x"}], "input": "y"}),
        json!({"messages": []}),
        json!({"messages": {}}),
        json!({"messages": ["x"]}),
        json!({"input": 7}),
        json!({"input": {"type": "text", "text": "x"}}),
        message(json!({"content": "x"})),
        message(json!({"role": "robot", "content": "x"})),
        message(json!({"role": "user"})),
        message(json!({"role": "user", "content": 5})),
        message(json!({"role": "user", "content": [{"type": "text"}]})),
        message(json!({"role": "user", "content": [{"type": "film"}]})),
        message(json!({"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]})),
        message(json!({"type": "none-such", "role": "user", "content": "x"})),
        json!({"input": "x", "max_steps": "many"}),
        json!({"input": "x", "streaming": "yes"}),
        json!({"input": "x", "include_return_message_types": ["none"]}),
        json!({"input": "x", "include_return_message_types": "assistant_message"}),
        json!({"input": "x", "client_tools": [{}]}),
    ] {
        for route in ["", "/stream", "/async"] {
            let refusal = owner.post(&path(&agent, route), &body).await;
            refusal.refused(422, "validation_failed");
            let refusal = refusal.expect(422);
            assert_eq!(keys(&refusal), "message trace_id detail code request_id", "{route} {body}");
            assert!(refusal["detail"].as_str().unwrap().starts_with("[{'type': '"), "{refusal}");
        }
    }
    for option in [json!({"stream_tokens": true}), json!({"background": true}), json!({"include_pings": false})] {
        let (name, mut body) = (keys(&option), option);
        body["input"] = json!("x");
        let sentence = owner.post(&path(&agent, ""), &body).await.refused(422, "validation_failed");
        assert!(sentence.contains(&name), "{name}: {sentence}");
    }
    // Older clients have a route of their own for streams.
    let old = owner.with("user-agent", "letta-client/0.1.324");
    old.post(&path(&agent, ""), &json!({"input": "x", "streaming": true})).await.refused(422, "validation_failed");
    let approval =
        json!({"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "c", "approve": true}]});
    owner.post(&path(&agent, ""), &message(approval)).await.refused(400, "invalid_request");
    let edit = path(&agent, &format!("/{}", NOBODY.replace("agent", "message")));
    owner.patch(&edit, &json!({})).await.refused(405, "method_not_allowed");

    assert!(said(&owner, &agent).await.is_empty());
    // Not even a run was made.
    let nothing = owner.post(&path(&agent, "/cancel"), &json!({})).await;
    nothing.refused(409, "conflict");
    assert!(!server.log().contains("panicked"));
}

#[tokio::test]
async fn an_agent_that_is_not_there_hears_nothing() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    for (method, route, body) in [
        (Method::POST, "", json!({"input": "x"})),
        (Method::POST, "/stream", json!({"input": "x"})),
        (Method::POST, "/async", json!({"input": "x"})),
        (Method::GET, "", json!(null)),
    ] {
        let answer = owner.send(method.clone(), &path(NOBODY, route), Some(&body)).await;
        answer.refused(404, "not_found");
        if method == Method::POST {
            assert_eq!(answer.expect(404)["detail"], format!("Agent with ID {NOBODY} not found"), "{route}");
        }
        owner.send(method, &path("agent-1", route), Some(&body)).await.refused(422, "validation_failed");
    }
}
