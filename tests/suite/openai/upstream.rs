//! What a Letta server receives of the OpenAI API, and what becomes of what it does.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{completion, data, refused, with};
use crate::harness::{Client, Gatelet, Program, Scripted, Upstream, eventually, raw};

const SOON: Duration = Duration::from_secs(20);
const CONVERSATION: &str = "conv-123e4567-e89b-42d3-8456-426614174000";

struct Scene {
    upstream: Upstream,
    _gateway: Gatelet,
    agent: String,
    page: Client,
}

async fn scene() -> Scene {
    let upstream = Upstream::start().await;
    let gateway =
        upstream.before(Program::ephemeral()).env("GATELET_LIMITS__STREAMS_PER_TOKEN", "1").start_alone().await;
    let agent = upstream.agent();
    let page = gateway.stranger().page(&gateway.owner().create_token(&agent, &["write_messages"]).await);
    upstream.answer(
        "POST",
        &format!("/v1/conversations/?agent_id={agent}"),
        Scripted::Json(200, json!({"id": CONVERSATION})),
    );
    upstream.answer("DELETE", &format!("/v1/conversations/{CONVERSATION}"), Scripted::Json(200, Value::Null));
    Scene { upstream, _gateway: gateway, agent, page }
}

impl Scene {
    fn lines(&self) -> Vec<String> {
        self.upstream.seen().iter().map(|seen| seen.line().to_owned()).collect()
    }

    async fn has_deleted(&self) {
        let line = format!("DELETE /v1/conversations/{CONVERSATION}");
        eventually("the conversation is deleted", SOON, || async { self.lines().contains(&line) }).await;
    }

    /// Begins to stream a completion.
    fn stream(&self) -> JoinHandle<reqwest::Response> {
        Self::stream_of(&self.page, &self.agent)
    }

    fn stream_of(page: &Client, agent: &str) -> JoinHandle<reqwest::Response> {
        let body = with(completion(agent, "hi"), json!({"stream": true}));
        let request = page.request(reqwest::Method::POST, "/v1/chat/completions").json(&body);
        tokio::spawn(async move { request.send().await.unwrap() })
    }
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// Reads on until what was read has a text.
async fn read_until(response: &mut reqwest::Response, read: &mut String, text: &str) {
    while !read.contains(text) {
        let piece = tokio::time::timeout(SOON, response.chunk()).await.expect("nothing comes").unwrap();
        read.push_str(str::from_utf8(&piece.unwrap_or_else(|| panic!("the stream has ended: {read}"))).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_page_sends_is_passed_on_but_the_text() {
    let scene = scene().await;
    let messages = format!("/v1/conversations/{CONVERSATION}/messages");
    let turn = [
        event(
            &json!({"message_type": "reasoning_message", "id": "message-1", "reasoning": "chirp", "api_key": "chirp"}),
        ),
        event(&json!({"message_type": "tool_return_message", "id": "message-2", "tool_return": "chirp"})),
        event(&json!({"message_type": "assistant_message", "id": "message-3", "content": "Hel"})),
        event(
            &json!({"message_type": "assistant_message", "id": "message-3", "content": [{"type": "text", "text": "lo."}]}),
        ),
        event(&json!({"message_type": "assistant_message", "id": "message-4", "content": "Bye."})),
        event(&json!({"message_type": "stop_reason", "stop_reason": "end_turn"})),
        event(
            &json!({"message_type": "usage_statistics", "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "run_ids": ["chirp"]}),
        ),
        "data: [DONE]\n\n".to_owned(),
    ];
    let answer = raw(200, &[("content-type", "text/event-stream")], turn.concat().as_bytes());
    scene.upstream.answer("POST", &messages, answer);
    let page =
        ["idempotency-key", "x-idempotency-key", "x-letta-chat-key", "x-stainless-retry-count", "user-agent", "cookie"]
            .iter()
            .fold(scene.page.clone(), |page, name| page.with(name, "chirp"));
    let body = with(
        completion(&scene.agent, "hi"),
        json!({"user": "chirp", "metadata": {"x": "chirp"}, "unheard_of": "chirp"}),
    );
    let whole = page.post("/v1/chat/completions", &body).await.expect(200);
    assert_eq!(whole["choices"][0]["message"]["content"], "Hello.\n\nBye.");
    assert_eq!(whole["usage"], json!({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}));
    assert!(!whole.to_string().contains("chirp"), "{whole}");
    let seen = scene.upstream.seen();
    let seen: Vec<_> = seen.iter().filter(|seen| !seen.line().starts_with("GET /v1/agents/")).collect();
    assert_eq!(
        seen.iter().map(|seen| seen.line()).collect::<Vec<_>>(),
        [format!("POST /v1/conversations/?agent_id={}", scene.agent), format!("POST {messages}")]
    );
    let bodies: Vec<Value> = seen.iter().map(|seen| serde_json::from_str(seen.text()).unwrap()).collect();
    let sent = json!({
        "messages": [{"role": "user", "content": "hi"}],
        "streaming": true,
        "stream_tokens": false,
        "include_pings": true,
    });
    assert_eq!(bodies, [json!({}), sent]);
    for seen in seen {
        assert!(!seen.head.to_lowercase().contains("chirp"), "{}", seen.head);
        let names: Vec<String> = seen.headers().map(|(name, _)| name).collect();
        assert_eq!(names.iter().filter(|name| name.as_str() == "authorization").count(), 1, "{names:?}");
        assert!(!names.iter().any(|name| name == "origin"), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_passed_on_when_it_comes() {
    let scene = scene().await;
    let held = scene.upstream.hold("POST", &format!("/v1/conversations/{CONVERSATION}/messages"));
    let asking = scene.stream();
    held.asked().await;
    held.begin_events();
    let mut response = tokio::time::timeout(SOON, asking).await.expect("the head waits for an event").unwrap();
    let mut read = String::new();
    read_until(&mut response, &mut read, "\"role\":\"assistant\"").await;
    held.chunk(event(&json!({"message_type": "ping"})));
    read_until(&mut response, &mut read, ": ping\n\n").await;
    // Pieces of an event, and two events in one piece.
    let text = event(&json!({"message_type": "assistant_message", "id": "message-1", "content": "fïrst"}));
    let (begin, rest) = text.as_bytes().split_at(text.find('ï').unwrap() + 1);
    held.chunk(begin);
    held.chunk(
        [rest, event(&json!({"message_type": "assistant_message", "id": "message-1", "content": "second"})).as_bytes()]
            .concat(),
    );
    read_until(&mut response, &mut read, "fïrst").await;
    read_until(&mut response, &mut read, "second").await;
    // While it lasts, it is the token's only stream.
    let busy = scene.page.post("/v1/chat/completions", &completion(&scene.agent, "x")).await;
    refused(&busy, 429, "rate_limited");
    held.chunk(event(&json!({"message_type": "stop_reason", "stop_reason": "end_turn"})));
    read_until(&mut response, &mut read, "\"finish_reason\":\"stop\"").await;
    held.chunk("data: [DONE]\n\n");
    held.end();
    read_until(&mut response, &mut read, "data: [DONE]\n\n").await;
    assert_eq!(tokio::time::timeout(SOON, response.chunk()).await.unwrap().unwrap(), None, "a proper end");
    scene.has_deleted().await;
    assert!(!scene.lines().iter().any(|line| line.ends_with("/cancel")), "the turn has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_leaves_gives_its_turn_up() {
    let scene = scene().await;
    let held = scene.upstream.hold("POST", &format!("/v1/conversations/{CONVERSATION}/messages"));
    let asking = scene.stream();
    held.asked().await;
    held.begin_events();
    let mut response = asking.await.unwrap();
    read_until(&mut response, &mut String::new(), "assistant").await;
    drop(response);
    held.gone().await;
    scene.has_deleted().await;
    let lines = scene.lines();
    let of_conversation = format!("/v1/conversations/{CONVERSATION}");
    let afterwards: Vec<&String> = lines.iter().filter(|line| line.contains(&of_conversation)).skip(1).collect();
    assert_eq!(afterwards, [&format!("POST {of_conversation}/cancel"), &format!("DELETE {of_conversation}")]);
    // The conversation of a chat is unlocked and stays.
    scene.upstream.forget();
    let held = scene.upstream.hold("POST", &format!("{of_conversation}/messages"));
    let asking = Scene::stream_of(&scene.page.with("x-letta-chat-key", "k"), &scene.agent);
    held.asked().await;
    held.begin_events();
    let mut response = asking.await.unwrap();
    read_until(&mut response, &mut String::new(), "assistant").await;
    drop(response);
    let cancel = format!("POST {of_conversation}/cancel");
    eventually("the turn is cancelled", SOON, || async { scene.lines().contains(&cancel) }).await;
    assert!(!scene.lines().iter().any(|line| line.starts_with("DELETE")), "{:?}", scene.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_breaks_off_is_an_error() {
    let scene = scene().await;
    let messages = format!("/v1/conversations/{CONVERSATION}/messages");
    let stop = event(&json!({"message_type": "stop_reason", "stop_reason": "llm_api_error"}));
    let failure =
        json!({"message_type": "error_message", "error_type": "bearer_invalid", "message": "provider says no"});
    for (events, code, sentence) in [
        (String::new(), "upstream_unreachable", "broke off"),
        (event(&json!({"message_type": "assistant_message", "content": "x"})), "upstream_unreachable", "broke off"),
        ("data: ".to_owned() + &"x".repeat(5 << 20), "upstream_unreachable", "broke off"),
        (stop.clone(), "llm_error", "llm_api_error"),
        // Only what is known of turns is a code.
        (stop + "event: error\n" + &event(&failure), "llm_error", "provider says no"),
        (event(&json!({"message_type": "stop_reason", "stop_reason": "cancelled"})), "conflict", "cancelled"),
        (event(&json!({"message_type": "stop_reason", "stop_reason": "unheard_of"})), "llm_error", "unheard_of"),
    ] {
        let answer = raw(200, &[("content-type", "text/event-stream")], events.as_bytes());
        scene.upstream.answer("POST", &messages, answer);
        let streamed = scene.stream().await.unwrap().text().await.unwrap();
        assert!(streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
        let error = &data(&streamed).pop().unwrap()["error"];
        assert_eq!(error["code"], code, "{streamed}");
        assert!(error["message"].as_str().unwrap().contains(sentence), "{error}");
        let whole = scene.page.post("/v1/chat/completions", &completion(&scene.agent, "x")).await;
        let body: Value = serde_json::from_str(&whole.text).unwrap();
        assert_eq!((&body["error"]["code"], whole.status.as_u16() >= 400), (&json!(code), true), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_letta_server_refuses_is_refused_in_its_words() {
    let scene = scene().await;
    let messages = format!("/v1/conversations/{CONVERSATION}/messages");
    let busy = json!({"detail": {"code": "CONVERSATION_BUSY", "message": "another request is running"}});
    for (answer, status, code, sentence) in [
        (Scripted::Json(409, busy), 409, "conflict", "another request is running"),
        (Scripted::Json(404, json!({"detail": "gone"})), 404, "not_found", "gone"),
        (Scripted::Json(422, json!({"detail": [{"msg": "x"}]})), 422, "validation_failed", "status 422"),
        (Scripted::Json(429, json!({"error": {"message": "slow down"}})), 429, "upstream_error", "slow down"),
        (raw(503, &[("content-type", "text/html")], b"<html>canary</html>"), 503, "upstream_error", "status 503"),
        (Scripted::Json(401, json!({"detail": "no"})), 502, "upstream_credential_refused", "credential"),
        (Scripted::Json(200, json!({"messages": []})), 502, "upstream_unreachable", "properly"),
        (Scripted::Reset, 502, "upstream_unreachable", "properly"),
    ] {
        scene.upstream.answer("POST", &messages, answer);
        for is_stream in [false, true] {
            let body = with(completion(&scene.agent, "x"), json!({"stream": is_stream}));
            let answer = scene.page.post("/v1/chat/completions", &body).await;
            let said = refused(&answer, status, code);
            assert!(said.contains(sentence) && !answer.text.contains("canary"), "{said}");
        }
    }
    let limit = [
        event(&json!({"message_type": "assistant_message", "content": "x"})),
        event(&json!({"message_type": "stop_reason", "stop_reason": "max_steps"})),
    ];
    scene.upstream.answer("POST", &messages, raw(200, &[("content-type", "text/event-stream")], limit.concat()));
    let whole = scene.page.post("/v1/chat/completions", &completion(&scene.agent, "x")).await.expect(200);
    assert_eq!((&whole["choices"][0]["finish_reason"], whole.get("usage")), (&json!("length"), None));
    let whole = scene.page.post("/v1/responses", &json!({"model": scene.agent, "input": "x"})).await.expect(200);
    assert_eq!(
        (&whole["status"], &whole["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    // A conversation that cannot be created.
    let create = format!("/v1/conversations/?agent_id={}", scene.agent);
    scene.upstream.answer("POST", &create, Scripted::Json(404, json!({"detail": "Agent not found"})));
    let answer = scene.page.post("/v1/chat/completions", &completion(&scene.agent, "x")).await;
    assert_eq!(refused(&answer, 404, "not_found"), "Agent not found");
}
