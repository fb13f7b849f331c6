//! Streams: server-sent events as bytes, in Letta's order, while the turn runs; and what becomes of a turn whose client
//! stops reading, leaves, or wants it to end.

mod background;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Gatelet, NOBODY, ORIGIN, Program, eventually, on_both_engines, token_request};

const COMMON: &str = "id date name message_type otid sender_id step_id is_err seq_id run_id";
const DONE: &str = "[DONE]";
/// A model that reasons before it answers, so that a turn has events of both kinds.
const REASONING: &str = "openai/o3";
const SOON: Duration = Duration::from_secs(30);
/// So much text that the network cannot hold its echo: who does not read keeps the turn from ending.
const HELD: usize = 7 * 1024 * 1024;

/// An answer in events, read frame by frame.
struct Stream {
    response: reqwest::Response,
    buffer: String,
    bytes: Vec<u8>,
}

impl Stream {
    /// Asks for a stream and checks its head.
    async fn open(client: &Client, agent: &str, body: &Value) -> Self {
        Self::open_at(client, &format!("/v1/agents/{agent}/messages/stream"), body).await
    }

    async fn open_at(client: &Client, path: &str, body: &Value) -> Self {
        let response = client.request(reqwest::Method::POST, path).json(body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self { response, buffer: String::new(), bytes: Vec::new() }
    }

    /// A stream that stays open as long as it is not read; also its run's id.
    async fn hold(client: &Client, agent: &str, extra: &Value) -> (Self, String) {
        let mut body = json!({"input": "x".repeat(HELD), "stream_tokens": true});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mut stream = Self::open(client, agent, &body).await;
        let ping = stream.next().await.unwrap();
        assert_eq!(ping["message_type"], "ping", "the first event comes at once");
        (stream, ping["run_id"].as_str().unwrap().to_owned())
    }

    /// The next frame as it came, without the blank line that ends it; none: the body has ended.
    async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let rest = self.buffer.split_off(end + 2);
                let mut frame = std::mem::replace(&mut self.buffer, rest);
                frame.truncate(end);
                return Some(frame);
            }
            let Some(chunk) = self.response.chunk().await.unwrap() else {
                assert!(self.buffer.is_empty() && self.bytes.is_empty(), "cut short: {}", self.buffer);
                return None;
            };
            self.bytes.extend_from_slice(&chunk);
            let valid = std::str::from_utf8(&self.bytes).map_or_else(|error| error.valid_up_to(), str::len);
            let rest = self.bytes.split_off(valid);
            self.buffer.push_str(&String::from_utf8(std::mem::replace(&mut self.bytes, rest)).unwrap());
        }
    }

    /// The next event's data; the end marker as a text.
    async fn next(&mut self) -> Option<Value> {
        let frame = self.frame().await?;
        let data = frame.strip_prefix("data: ").unwrap_or_else(|| panic!("not only data: {frame}"));
        assert!(!data.contains(['\n', '\r']), "not one line: {data}");
        Some(if data == DONE { json!(DONE) } else { serde_json::from_str(data).unwrap() })
    }

    /// All that is left.
    async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

fn keys(value: &Value) -> String {
    value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["message_type"].as_str().or(event.as_str()).unwrap()).collect()
}

/// The types of events, those that repeat named once.
fn outline(events: &[Value]) -> Vec<&str> {
    let mut types = types(events);
    types.dedup();
    types
}

/// Messages put together from their pieces: those with the same id and otid belong together.
fn joined(events: &[Value]) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for event in events.iter().filter(|event| event["id"].as_str().is_some_and(|id| id.starts_with("message-"))) {
        let mut event = event.clone();
        // The place of a piece in its stream is its own.
        event["seq_id"] = Value::Null;
        let same = |message: &&mut Value| message["id"] == event["id"] && message["otid"] == event["otid"];
        let Some(message) = messages.last_mut().filter(same) else {
            messages.push(event.clone());
            continue;
        };
        let text = if event["message_type"] == "reasoning_message" { "reasoning" } else { "content" };
        let whole = format!("{}{}", message[text].as_str().unwrap(), event[text].as_str().unwrap());
        message[text] = json!(whole);
        let mut rest = event.clone();
        rest[text] = message[text].clone();
        assert_eq!(*message, rest, "pieces differ in their text alone");
    }
    messages
}

/// What the history ends with: the messages that the agent said last.
async fn last_said(client: &Client, agent: &str) -> Vec<Value> {
    client.get(&format!("/v1/agents/{agent}/messages?limit=1")).await.expect(200).as_array().unwrap().clone()
}

async fn run(client: &Client, id: &str) -> Value {
    client.get(&format!("/v1/runs/{id}")).await.expect(200)
}

#[tokio::test]
async fn a_stream_has_its_events_in_lettas_order_and_nothing_else() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"model": REASONING})).await;
    let page = server.stranger().page(&owner.create_token(&agent, &["write_messages", "read_messages"]).await);
    let stream = format!("/v1/agents/{agent}/messages/stream");
    let messages = format!("/v1/agents/{agent}/messages");
    let turn = ["reasoning_message", "assistant_message", "stop_reason", "usage_statistics", DONE];
    let with_ping = [&["ping"], &turn[..]].concat();
    let only = |kind: &[&'static str]| [&["ping"], kind, &turn[2..]].concat();
    for (client, path, options, expected) in [
        (&owner, &stream, json!({}), with_ping.clone()),
        (&page, &stream, json!({"stream_tokens": false, "streaming": false}), with_ping.clone()),
        (&owner, &stream, json!({"stream_tokens": true}), with_ping.clone()),
        (&owner, &stream, json!({"include_pings": false}), turn.to_vec()),
        (&owner, &stream, json!({"stream_tokens": true, "include_pings": false}), turn.to_vec()),
        (&owner, &messages, json!({"streaming": true}), with_ping.clone()),
        (&page, &messages, json!({"streaming": true, "stream_tokens": true}), with_ping.clone()),
        (&owner, &messages, json!({"streaming": true, "include_pings": false}), turn.to_vec()),
        (&owner, &stream, json!({"background": true, "stream_tokens": true}), with_ping.clone()),
        (&owner, &stream, json!({"include_return_message_types": ["assistant_message"]}), only(&["assistant_message"])),
        (
            &owner,
            &stream,
            json!({"include_return_message_types": ["tool_call_message"], "stream_tokens": true}),
            only(&[]),
        ),
    ] {
        let mut body = options.clone();
        body["messages"] = json!([{"role": "user", "content": "Stream this, please"}]);
        let events = Stream::open_at(client, path, &body).await.rest().await;
        assert_eq!(outline(&events), expected, "{options}");
        let in_pieces = options["stream_tokens"] == true && expected.contains(&"assistant_message");
        assert_eq!(types(&events).len() > expected.len(), in_pieces, "{options}");

        let run_id = &client.get(&messages).await.expect(200)[1]["run_id"];
        assert!(run_id.is_string());
        let of_run = &events.iter().find(|event| event["run_id"].is_string()).unwrap()["run_id"];
        let numbered = options["background"] == true;
        for (number, event) in (1..).zip(&events[..events.len() - 3]) {
            assert_eq!(&event["run_id"], of_run, "{options}");
            assert_eq!(event["seq_id"], if numbered { json!(number) } else { json!(null) }, "{options}");
            let own = match event["message_type"].as_str().unwrap() {
                "ping" => "",
                "reasoning_message" => " source reasoning signature",
                _ => " content",
            };
            assert_eq!(keys(event), format!("{COMMON}{own}"));
        }
        let [stop, usage, _] = &events[events.len() - 3..] else { panic!() };
        assert_eq!(stop, &json!({"message_type": "stop_reason", "stop_reason": "end_turn"}));
        let detail = if options["stream_tokens"] == true { json!(null) } else { json!(0) };
        assert_eq!(usage["cached_input_tokens"], detail, "{options}");
        let count = |key: &str| usage[key].as_i64().unwrap();
        assert_eq!(count("total_tokens"), count("prompt_tokens") + count("completion_tokens"));
        assert_eq!((count("step_count"), count("completion_tokens") > 0), (1, true));

        let run = run(client, of_run.as_str().unwrap()).await;
        assert_eq!([&run["status"], &run["stop_reason"]], ["completed", "end_turn"]);
        let run_type = if path == &stream { "send_message_streaming" } else { "send_message" };
        assert_eq!((&run["metadata"]["run_type"], &run["background"]), (&json!(run_type), &json!(numbered)));
    }
}

on_both_engines! {
    async fn the_pieces_joined_are_what_is_stored(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"model": REASONING})).await;
        for text in [
            "Stream by tokens, please",
            "",
            " ",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} e\u{301} \u{202e}\u{5e9}\u{5dc} \u{1f1e9}\u{1f1ea} \u{4e2d}\u{6587}",
            "data: [DONE]\n\nevent: error\ndata: {}\r\n\r\n:comment\r\r",
            "\"quoted\" \\ back \u{0}\u{7}\u{7f} \u{2028}\u{2029}\u{feff}",
            &"long \u{1f600} ".repeat(2_000),
        ] {
            for tokens in [false, true] {
                let events =
                    Stream::open(&owner, &agent, &json!({"input": text, "stream_tokens": tokens})).await.rest().await;
                let messages = joined(&events);
                assert_eq!(messages, last_said(&owner, &agent).await, "{text:?}");
                assert_eq!(types(&messages), ["reasoning_message", "assistant_message"]);
                assert_eq!(messages[1]["content"], format!("Echo: {text}"));
                assert_eq!(messages[0]["id"], messages[1]["id"]);
                assert!(messages[0]["otid"].as_str() < messages[1]["otid"].as_str());
                let events = events.iter().filter(|event| event["message_type"] == "assistant_message").count();
                assert_eq!(events > 1, tokens && text.len() > 10, "{text:?}");
            }
        }
    }

    async fn a_client_that_leaves_ends_its_turn(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"model": REASONING})).await;
        let (mut stream, id) = Stream::hold(&owner, &agent, &json!({})).await;
        let begun = joined(&[stream.next().await.unwrap()]);
        drop(stream);
        eventually("the run is cancelled", SOON, async || run(&owner, &id).await["status"] == "cancelled").await;
        // Whoever has seen the run's end finds the agent free.
        let next = Stream::open(&owner, &agent, &json!({"input": "next"})).await;
        let ended = run(&owner, &id).await;
        assert_eq!((&ended["stop_reason"], ended["completed_at"].is_string()), (&json!("cancelled"), true));
        let messages = joined(&next.rest().await);
        assert_eq!(messages[1]["content"], "Echo: next");
        // What was said until then is kept: some of it, and not all.
        let before = messages[0]["id"].as_str().unwrap();
        let list = owner.get(&format!("/v1/agents/{agent}/messages?before={before}")).await.expect(200);
        let of_run = |kind: &'static str| {
            let mut messages = list.as_array().unwrap().iter();
            messages.find(|message| message["run_id"] == id.as_str() && message["message_type"] == kind)
        };
        let thought = of_run("reasoning_message").unwrap()["reasoning"].as_str().unwrap();
        assert!(thought.starts_with(begun[0]["reasoning"].as_str().unwrap()), "{thought}");
        let said = of_run("assistant_message").map_or("", |message| message["content"].as_str().unwrap());
        assert!(said.len() < HELD, "it was said to its end");
    }

    async fn a_turn_that_is_cancelled_ends_its_stream(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        // The last one speaks by calling a tool, whose return is a message more in the store.
        for (agent_type, by_id, limit) in [("letta_v1_agent", true, 3), ("letta_v1_agent", false, 3), ("memgpt_agent", true, 4)] {
            let agent = owner.create_agent(&json!({"agent_type": agent_type, "model": REASONING})).await;
            let cancel = format!("/v1/agents/{agent}/messages/cancel");
            let (mut stream, id) = Stream::hold(&owner, &agent, &json!({})).await;
            let mut events = Vec::new();
            while !types(&events).contains(&"assistant_message") {
                events.push(stream.next().await.unwrap());
            }
            let body = if by_id { json!({"run_ids": [id]}) } else { json!({}) };
            assert_eq!(owner.post(&cancel, &body).await.expect(200), json!({&id: "cancelled"}));
            // It has ended when the answer comes, although the stream was not read.
            let ended = run(&owner, &id).await;
            assert_eq!([&ended["status"], &ended["stop_reason"]], ["cancelled", "cancelled"]);
            let next = Stream::open(&owner, &agent, &json!({"input": "next"})).await;
            events.extend(stream.rest().await);
            let end = [json!({"message_type": "stop_reason", "stop_reason": "cancelled"}), json!(DONE)];
            assert_eq!(events[events.len() - 2..], end);
            assert_eq!(types(&events).iter().filter(|kind| **kind == "stop_reason").count(), 1);
            assert!(!types(&events).contains(&"usage_statistics"));
            assert_eq!(next.rest().await.last(), Some(&json!(DONE)));
            // What reached the client is what was said.
            let sent = joined(&events);
            let kinds = "include_return_message_types=reasoning_message&include_return_message_types=assistant_message";
            let stored = owner.get(&format!("/v1/agents/{agent}/messages?limit={limit}&{kinds}")).await.expect(200);
            assert!(stored.as_array().unwrap()[..2] == sent, "another text is stored than was sent");
            assert!(sent[1]["content"].as_str().unwrap().len() < HELD);
        }
    }

    async fn a_turn_that_another_process_cancelled_stays_cancelled(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let (near, far) = (program.start().await, program.start().await);
        let (near, far) = (near.stranger().bearer(&key), far.stranger().bearer(&key));
        let agent = near.create_agent(&json!({})).await;
        let (stream, id) = Stream::hold(&near, &agent, &json!({})).await;
        let cancelled = far.post(&format!("/v1/agents/{agent}/messages/cancel"), &json!({})).await.expect(200);
        assert_eq!(cancelled, json!({&id: "cancelled"}));
        // The process that answers finds out at the end, says so, and changes nothing.
        let events = stream.rest().await;
        assert_eq!(types(&events)[events.len() - 2..], ["stop_reason", DONE]);
        assert_eq!(events[events.len() - 2]["stop_reason"], "cancelled");
        for client in [&near, &far] {
            let ended = run(client, &id).await;
            assert_eq!([&ended["status"], &ended["stop_reason"]], ["cancelled", "cancelled"]);
            let whole = |said: &Value| said["content"].as_str().is_some_and(|text| text.len() > HELD);
            assert!(!last_said(client, &agent).await.iter().any(whole), "the whole answer is stored");
        }
        Stream::open(&near, &agent, &json!({"input": "next"})).await.rest().await;
    }
}

#[tokio::test]
async fn an_open_stream_has_its_conversation_to_itself_and_nothing_more() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let (agent, other) = (owner.create_agent(&json!({"model": REASONING})).await, owner.create_agent(&json!({})).await);
    let messages = format!("/v1/agents/{agent}/messages");
    let (stream, id) = Stream::hold(&owner, &agent, &json!({})).await;
    // The run is there while the stream is open.
    let running = run(&owner, &id).await;
    assert_eq!(
        (&running["status"], &running["completed_at"], &running["stop_reason"]),
        (&json!("running"), &json!(null), &json!(null))
    );
    let busy: Answer = owner.post(&format!("{messages}/stream"), &json!({"input": "second"})).await;
    let sentence = busy.refused(409, "conflict");
    assert!(sentence.contains(&format!("run_id={id}")), "{sentence}");
    assert_eq!((&busy.expect(409)["run_id"], busy.header("x-should-retry")), (&json!(id), Some("false")));
    owner.post(&messages, &json!({"input": "second", "streaming": true})).await.refused(409, "conflict");
    // Everything else goes on.
    let plain = owner.post(&messages, &json!({"input": "plain"})).await.expect(200);
    assert_eq!(plain["messages"][1]["content"], "Echo: plain");
    let elsewhere = Stream::open(&owner, &other, &json!({"input": "elsewhere"})).await.rest().await;
    assert_eq!(elsewhere.last(), Some(&json!(DONE)));
    assert_eq!(run(&owner, &id).await["status"], "running");

    // Read to its end, it is whole, and the conversation is free at once.
    let events = stream.rest().await;
    assert_eq!(outline(&events), ["reasoning_message", "assistant_message", "stop_reason", "usage_statistics", DONE]);
    assert_eq!(joined(&events)[1]["content"].as_str().unwrap().len(), "Echo: ".len() + HELD);
    assert_eq!(run(&owner, &id).await["status"], "completed");
    Stream::open(&owner, &agent, &json!({"input": "third"})).await.rest().await;
}

#[tokio::test]
async fn a_turn_in_the_background_does_not_need_its_client() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let (stream, id) = Stream::hold(&owner, &agent, &json!({"background": true})).await;
    drop(stream);
    eventually("the run completes", SOON, async || run(&owner, &id).await["status"] == "completed").await;
    assert_eq!(last_said(&owner, &agent).await[0]["content"].as_str().unwrap().len(), "Echo: ".len() + HELD);
}

#[tokio::test]
async fn deleting_an_agent_ends_what_it_is_saying() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let (stream, id) = Stream::hold(&owner, &agent, &json!({})).await;
    owner.delete(&format!("/v1/agents/{agent}")).await.expect(200);
    let events = stream.rest().await;
    assert_eq!(types(&events)[events.len() - 2..], ["stop_reason", DONE]);
    assert_eq!(events[events.len() - 2]["stop_reason"], "cancelled");
    let said = joined(&events);
    assert!(said.first().is_none_or(|said| said["content"].as_str().unwrap().len() < HELD), "it was said to its end");
    owner.get(&format!("/v1/runs/{id}")).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_is_wrong_before_the_turn_begins_is_no_event() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let page = server.stranger().page(&owner.create_token(&agent, &["read_messages"]).await);
    for (client, agent, body, status, code) in [
        (&owner, agent.as_str(), json!({}), 422, "validation_failed"),
        (&owner, &agent, json!({"input": "x", "stream_tokens": "yes"}), 422, "validation_failed"),
        (&owner, NOBODY, json!({"input": "x"}), 404, "not_found"),
        (&page, &agent, json!({"input": "x"}), 403, "access_not_granted"),
    ] {
        let answer = client.post(&format!("/v1/agents/{agent}/messages/stream"), &body).await;
        answer.refused(status, code);
        assert!(answer.header("content-type").unwrap().starts_with("application/json"), "{body}");
    }
}

#[tokio::test]
async fn a_page_may_read_the_stream_it_asked_for() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let page = server.stranger().page(&owner.create_token(&agent, &["write_messages"]).await);
    let stream = Stream::open(&page, &agent, &json!({"input": "x"})).await;
    assert_eq!(stream.response.headers()["access-control-allow-origin"], ORIGIN);
    assert_eq!(outline(&stream.rest().await).last(), Some(&DONE));
}

#[tokio::test]
async fn revoking_a_token_breaks_its_open_stream_off_within_a_second() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let token = owner.create_token(&agent, &["write_messages"]).await;
    let (mut stream, id) = Stream::hold(&server.stranger().page(&token), &agent, &json!({})).await;
    assert_eq!(owner.delete(&format!("/v1/client-side-access-tokens/{token}")).await.status, 204);
    let rest = async {
        while let Some(_frame) = stream.response.chunk().await? {}
        Ok::<(), reqwest::Error>(())
    };
    let end = tokio::time::timeout(Duration::from_secs(1), rest).await.expect("the stream ends within a second");
    // A clean end would pass for the end of the answer.
    assert!(end.is_err(), "the stream ended as if it were whole");
    eventually("the run is cancelled", SOON, async || run(&owner, &id).await["status"] == "cancelled").await;
}

#[tokio::test]
async fn an_expired_token_cuts_its_open_stream_where_the_operator_says_so() {
    for (setting, cut) in [("cut", true), ("finish", false)] {
        let server = Program::ephemeral().env("GATELET_TOKENS__STREAM_AT_EXPIRY", setting).start_alone().await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let mut request = token_request(&agent, &["write_messages"]);
        request["expires_at"] = json!((chrono::Utc::now() + chrono::TimeDelta::seconds(5)).to_rfc3339());
        let page = server.stranger().page(&owner.create_token_with(&request).await);
        let (mut stream, _) = Stream::hold(&page, &agent, &json!({})).await;
        eventually("the token has expired", SOON, async || {
            page.get("/v1/agents/").await.outcome() == "401 token_expired"
        })
        .await;
        let rest = async {
            while let Some(_frame) = stream.response.chunk().await? {}
            Ok::<(), reqwest::Error>(())
        };
        assert_eq!(rest.await.is_err(), cut, "{setting}");
    }
}
