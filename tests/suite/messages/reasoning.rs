//! Which agents reason before they answer: those whose models do, unless the operator says otherwise.

use serde_json::{Value, json};

use super::{column, path, say};
use crate::harness::{Client, Gatelet, Program};

const ALOUD: [&str; 2] = ["reasoning_message", "assistant_message"];
const PLAIN: [&str; 1] = ["assistant_message"];

fn expected(reasons: bool) -> &'static [&'static str] {
    if reasons { &ALOUD } else { &PLAIN }
}

/// Says something, and looks whether everything that tells of reasoning agrees with what is expected.
async fn reasons(owner: &Client, path: &str, body: &Value, expected: &[&str], why: &str) {
    let mut body = body.clone();
    body["input"] = json!("Hello");
    body["streaming"] = json!(false);
    let answer = owner.post(path, &body).await.expect(200);
    let messages = answer["messages"].as_array().unwrap();
    assert_eq!(column(&answer["messages"], "message_type"), expected, "{why}");
    assert_eq!(messages.last().unwrap()["content"], "Echo: Hello", "{why}");
    // The number of a message is its place in its step.
    for (place, message) in messages.iter().enumerate() {
        let otid = message["otid"].as_str().unwrap();
        assert_eq!(
            u8::from_str_radix(&otid[otid.len() - 2..], 16).unwrap() & 0x7f,
            u8::try_from(place).unwrap(),
            "{why}"
        );
    }
    let usage = &answer["usage"];
    assert_eq!(usage["reasoning_tokens"].as_i64().unwrap() > 0, expected == ALOUD, "{why}: {usage}");
    let run = messages[0]["run_id"].as_str().unwrap();
    let steps = owner.get(&format!("/v1/runs/{run}/steps")).await.expect(200);
    assert_eq!(steps[0]["completion_tokens_details"]["reasoning_tokens"], usage["reasoning_tokens"], "{why}");
    let listed = owner.get(&format!("/v1/runs/{run}/messages")).await.expect(200);
    assert_eq!(column(&listed, "message_type")[1..], *expected, "{why}");
}

#[tokio::test]
async fn an_agent_reasons_when_its_model_does() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let anthropic = |thinking: &str| json!({"provider_type": "anthropic", "thinking": {"type": thinking}});
    let effort = |effort: &str| json!({"provider_type": "openai", "reasoning": {"reasoning_effort": effort}});
    let google =
        |thoughts: bool| json!({"provider_type": "google_ai", "thinking_config": {"include_thoughts": thoughts}});
    for (model, more, reasoning) in [
        ("openai/gpt-4o-mini", json!({}), false),
        ("openai/gpt-4o-mini", json!({"reasoning": true}), false),
        ("letta/letta-free", json!({"enable_reasoner": true}), false),
        ("openai/o3", json!({}), true),
        ("openai/o4-mini", json!({"reasoning": false}), true),
        // Its default effort is `minimal`.
        ("openai/gpt-5", json!({}), false),
        ("openai/gpt-5-mini", json!({"model_settings": effort("minimal")}), false),
        ("openai/o3", json!({"model_settings": effort("minimal")}), false),
        ("openai/gpt-5", json!({"model_settings": effort("low")}), true),
        ("openai/gpt-5", json!({"model_settings": effort("none")}), false),
        ("openai/gpt-5.1", json!({}), false),
        ("openai/gpt-5.1", json!({"model_settings": effort("high")}), true),
        ("anthropic/claude-3-5-haiku", json!({"reasoning": true}), false),
        ("anthropic/claude-sonnet-4-5", json!({}), true),
        ("anthropic/claude-sonnet-4-5", json!({"model_settings": anthropic("disabled")}), false),
        ("anthropic/claude-sonnet-4-5", json!({"model_settings": anthropic("enabled")}), true),
        ("anthropic/claude-sonnet-4-5", json!({"reasoning": false}), false),
        ("anthropic/claude-sonnet-4-5", json!({"enable_reasoner": false}), false),
        ("google_ai/gemini-2.5-flash", json!({}), true),
        ("google_ai/gemini-2.5-flash", json!({"model_settings": google(false)}), false),
        ("google_ai/gemini-2.5-pro", json!({"reasoning": false}), true),
        ("deepseek/deepseek-reasoner", json!({}), true),
        ("deepseek/deepseek-chat", json!({}), false),
    ] {
        let mut body = more.clone();
        body["model"] = json!(model);
        let agent = owner.create_agent(&body).await;
        reasons(&owner, &path(&agent, ""), &json!({}), expected(reasoning), &format!("{model} {more}")).await;
        // Both forms of the configuration say the same.
        let agent = owner.get(&format!("/v1/agents/{agent}")).await.expect(200);
        let thinking = &agent["model_settings"]["thinking"]["type"];
        let enabled = &agent["llm_config"]["enable_reasoner"];
        assert!(thinking.is_null() || (thinking == "enabled") == (*enabled == true), "{model} {more}: {agent}");
    }
}

#[tokio::test]
async fn the_model_that_answers_is_the_one_that_counts() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let url = path(&agent, "");
    let o3 = json!({"override_model": "openai/o3"});
    reasons(&owner, &url, &o3, &ALOUD, "for one turn").await;
    reasons(&owner, &url, &json!({}), &PLAIN, "and for no other").await;

    let body = json!({"model": "openai/o3"});
    let conversation = owner.post(&format!("/v1/conversations/?agent_id={agent}"), &body).await.expect(200);
    let conversation = conversation["id"].as_str().unwrap();
    let said_there = format!("/v1/conversations/{conversation}/messages");
    reasons(&owner, &said_there, &json!({}), &ALOUD, "in a conversation of its own model").await;
    let mini = json!({"override_model": "openai/gpt-4o-mini"});
    reasons(&owner, &said_there, &mini, &PLAIN, "but for one turn").await;
    let none = json!({"model_settings": {"provider_type": "openai", "reasoning": {"reasoning_effort": "none"}}});
    owner.patch(&format!("/v1/conversations/{conversation}"), &none).await.expect(200);
    reasons(&owner, &said_there, &json!({}), &PLAIN, "in a conversation of its own settings").await;

    for (change, reasoning) in [
        (json!({"model": "anthropic/claude-haiku-4-5"}), true),
        (json!({"reasoning": false}), false),
        (json!({"model_settings": {"provider_type": "anthropic", "thinking": {"type": "enabled"}}}), true),
        (json!({"llm_config": {"enable_reasoner": false}}), false),
        (json!({"model": "openai/gpt-4o"}), false),
        (json!({"model": "openai/gpt-5-mini"}), false),
        (json!({"model_settings": {"provider_type": "openai", "reasoning": {"reasoning_effort": "low"}}}), true),
    ] {
        owner.patch(&format!("/v1/agents/{agent}"), &change).await.expect(200);
        reasons(&owner, &url, &json!({}), expected(reasoning), &change.to_string()).await;
    }
}

#[tokio::test]
async fn an_older_agent_thinks_in_what_it_writes_unless_it_is_not_to() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    for (more, expected) in [
        (json!({}), &ALOUD[..]),
        (json!({"reasoning": true}), &ALOUD),
        (json!({"reasoning": false}), &PLAIN),
        (json!({"model": "openai/o3", "reasoning": false}), &ALOUD),
    ] {
        let mut body = more.clone();
        body["agent_type"] = json!("memgpt_v2_agent");
        let agent = owner.create_agent(&body).await;
        let answer = say(&owner, &agent, "Hello").await;
        assert_eq!(column(&answer["messages"], "message_type"), expected, "{more}");
        assert_eq!(answer["usage"]["reasoning_tokens"], 0, "it is text that it writes");
        let change = json!({"reasoning": expected == PLAIN});
        owner.patch(&format!("/v1/agents/{agent}"), &change).await.expect(200);
        let thinks = expected == PLAIN || more["model"].is_string();
        let answer = say(&owner, &agent, "Hello").await;
        assert_eq!(answer["messages"].as_array().unwrap().len(), if thinks { 2 } else { 1 }, "{more}");
    }
}

#[tokio::test]
async fn the_operator_has_the_last_word_and_a_message_that_asks_for_a_thought_gets_it() {
    for (setting, mini, o3) in [
        ("auto", false, true),
        ("always", true, true),
        ("true", true, true),
        ("never", false, false),
        ("false", false, false),
    ] {
        let server = Program::ephemeral().env("GATELET_MOCK__REASONING", setting).start_alone().await;
        let owner = server.owner();
        for (model, reasoning) in [("openai/gpt-4o-mini", mini), ("openai/o3", o3)] {
            let agent = owner.create_agent(&json!({"model": model})).await;
            reasons(&owner, &path(&agent, ""), &json!({}), expected(reasoning), setting).await;
            let answer = say(&owner, &agent, "[[reason: Hm.]] Hello").await;
            assert_eq!(answer["messages"][0]["reasoning"], "Hm.", "{setting}");
        }
    }
}
