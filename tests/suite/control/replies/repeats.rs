//! Replies are for turns, not for requests: what repeats an attempt gets the same reply again.

use super::*;

/// A small generator of numbers, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Whatever is repeated how often, in whatever way: the replies of the turns are those of a client that repeats nothing.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_requests_get_the_same_reply_and_use_it_once() {
    const TURNS: u64 = 40;
    let stage = Stage::new().await;
    let replies: Vec<Value> =
        (0..TURNS).map(|n| says(json!({"id": format!("r{n}"), "times": 1}), &format!("answer {n}"))).collect();
    stage.control().post("/replies", &json!({"replies": replies})).await.expect(201);
    let token = stage.owner().create_token(&stage.agent, &["write_messages", "read_messages"]).await;
    let mut numbers = Numbers(7);
    for turn in 0..TURNS {
        let by_otid = numbers.below(2) == 0;
        let is_stream = numbers.below(2) == 0;
        // The texts of different turns are often equal.
        let mut message = json!({"role": "user", "content": format!("text {}", numbers.below(3))});
        if by_otid {
            message["otid"] = json!(format!("otid-{turn}"));
        }
        let body = json!({"messages": [message]});
        let path = stage.path(if is_stream { "/stream" } else { "" });
        for attempt in 0..=numbers.below(4) {
            let caller = if turn % 2 == 0 { stage.owner().clone() } else { stage.server.stranger().page(&token) };
            // Clients of the generation 0.1 mark nothing.
            let caller = if by_otid { caller } else { caller.with("x-stainless-retry-count", &attempt.to_string()) };
            let answer = caller.post(&path, &body).await;
            let said = if is_stream { streamed(&answer) } else { spoken(&answer.expect(200)) };
            assert_eq!(said, format!("answer {turn}"), "attempt {attempt}");
            let noted = stage.noted(&answer).await;
            assert_eq!(noted["id"], format!("r{turn}"), "{noted}");
        }
        assert_eq!(stage.hits(&format!("r{turn}")).await, 1);
    }
    assert_eq!(stage.say("more").await, "Echo: more");
}

#[tokio::test]
async fn a_repeated_turn_gets_each_of_its_steps_and_numbers_again() {
    let stage = Stage::new().await;
    stage
        .reply(json!({"id": "late", "after_tool": "look", "times": 1, "steps": [{"assistant": "late ${turn}"}]}))
        .await;
    stage
        .reply(json!({"id": "first", "text": "x", "state": "started", "next_state": "told", "times": 1, "steps": [
        {"tool_call": "look", "returns": "seen"}, {"assistant": "not said"}]}))
        .await;
    let send = async |attempt: &str| {
        let client = stage.owner().with("x-stainless-retry-count", attempt);
        spoken(&client.post(&stage.path(""), &json!({"input": "x"})).await.expect(200))
    };
    for attempt in ["0", "1", "2"] {
        assert_eq!(send(attempt).await, "late 0", "{attempt}");
    }
    // Another turn is not a repetition, and nothing is left for it.
    assert_eq!(send("0").await, "Echo: x");
    assert_eq!((stage.hits("late").await, stage.hits("first").await), (1, 1));
    assert_eq!(stage.control().get("/state").await.expect(200)["state"], "told");
}

#[tokio::test]
async fn a_repeated_decision_goes_on_as_the_first_did() {
    let stage = Stage::new().await;
    stage
        .reply(json!({"id": "mail", "text": "mail", "times": 1, "steps": [
        {"approval": "send_mail", "returns": "sent"}, {"assistant": "Done: $returned."}]}))
        .await;
    let asked = stage.send(&json!({"input": "mail"})).await.expect(200);
    let body = approval(&asked["messages"][0]["tool_call"]["tool_call_id"], true);
    let decide = async |attempt: &str| {
        let client = stage.owner().with("x-stainless-retry-count", attempt);
        let answer = client.post(&stage.path(""), &body).await;
        (spoken(&answer.expect(200)), stage.noted(&answer).await["id"].clone())
    };
    assert_eq!(decide("0").await, ("Done: sent.".to_owned(), json!("mail")));
    // Letta replaces a decision that was applied by a message of its own, after which no tool has returned anything.
    assert_eq!(decide("1").await, ("Done: .".to_owned(), json!("mail")));
    assert_eq!(stage.hits("mail").await, 1);
}

#[tokio::test]
async fn what_a_client_sends_anew_after_a_failure_is_another_turn() {
    let stage = Stage::new().await;
    stage.reply(says(json!({"id": "good", "text": "x"}), "Good.")).await;
    stage.reply(json!({"id": "bad", "text": "x", "times": 1, "steps": [{"error": 503}]})).await;
    // The response says that trying again does not help, as Letta's does, and the SDKs follow it.
    let first = stage.send(&json!({"input": "x"})).await;
    assert_eq!((first.status.as_u16(), first.header("x-should-retry")), (500, Some("false")));
    assert_eq!(stage.say("x").await, "Good.");
    // A client that marks it as a repetition gets the same again.
    stage.reply(json!({"id": "bad", "text": "y", "times": 1, "steps": [{"error": 503}]})).await;
    for attempt in ["0", "1"] {
        let client = stage.owner().with("x-stainless-retry-count", attempt);
        failed(&client.post(&stage.path(""), &json!({"input": "y"})).await);
    }
    assert_eq!(stage.hits("bad").await, 1);
}

#[tokio::test]
async fn agents_that_are_messaged_get_the_same_replies_again() {
    const TOOL: &str = "send_message_to_agent_and_wait_for_reply";
    let stage = Stage::new().await;
    let other = stage.owner().create_agent(&json!({"name": "other"})).await;
    let sender = stage.owner().create_agent(&json!({"name": "sender", "tools": [TOOL]})).await;
    let call = json!({"tool_call": TOOL, "arguments": {"message": "hi", "other_agent_id": other}});
    stage
        .reply(
            json!({"id": "send", "agent": "sender", "times": 1, "steps": [call, {"assistant": "It says: $returned"}]}),
        )
        .await;
    stage.reply(says(json!({"id": "answer", "agent": "other", "times": 1}), "only once")).await;
    for attempt in ["0", "1"] {
        let client = stage.owner().with("x-stainless-retry-count", attempt);
        let answer = client.post(&format!("/v1/agents/{sender}/messages"), &json!({"input": "go"})).await.expect(200);
        assert!(spoken(&answer).contains("only once"), "{answer}");
    }
    assert_eq!((stage.hits("send").await, stage.hits("answer").await), (1, 1));
}
