//! What replies do besides speaking.

use super::*;

async fn block(stage: &Stage) -> String {
    let path = format!("/v1/agents/{}/core-memory/blocks/human", stage.agent);
    stage.owner().get(&path).await.expect(200)["value"].as_str().unwrap().to_owned()
}

async fn passages(stage: &Stage) -> Vec<(String, Value)> {
    let path = format!("/v1/agents/{}/archival-memory?ascending=true", stage.agent);
    let passages = stage.owner().get(&path).await.expect(200);
    let passages = passages.as_array().unwrap().iter();
    passages.map(|passage| (passage["text"].as_str().unwrap().to_owned(), passage["tags"].clone())).collect()
}

#[tokio::test]
async fn memory_changes_with_the_turn() {
    let stage = Stage::new().await;
    for (steps, value, archived) in [
        (json!([{"remember": {"block": "human", "append": "Lives in $1."}}]), "Name: Ada\nLives in Rome.", 0),
        (json!([{"remember": {"block": "human", "replace": "Rome", "with": "Oslo"}}]), "Name: Ada\nLives in Oslo.", 0),
        (json!([{"forget": {"block": "human", "text": "\nLives in Oslo."}}]), "Name: Ada", 0),
        (json!([{"archive": "Asked about $1."}]), "Name: Ada", 1),
        (json!([{"archive": {"text": "$1 again", "tags": ["city:$1"]}}]), "Name: Ada", 2),
        (
            json!([{"tool_call": "look", "returns": "x"}, {"remember": {"block": "human", "append": "$returned"}}]),
            "Name: Ada\nx",
            2,
        ),
        (json!([{"remember": {"block": "human", "value": "New: ${block.human}"}}]), "New: Name: Ada\nx", 2),
        (json!([{"forget": {"block": "human"}}]), "", 2),
    ] {
        stage.reply(json!({"id": "r", "user": "about (\\w+)", "steps": steps})).await;
        let answer = stage.send(&json!({"input": "about Rome"})).await.expect(200);
        // Nobody sees a call, and the agent says what it would say without a reply.
        assert!(spoken(&answer).contains(if steps[0].get("tool_call").is_some() { "x" } else { "Echo" }), "{answer}");
        assert!(!answer.to_string().contains("core_memory") && !answer.to_string().contains("archival"), "{answer}");
        assert_eq!((block(&stage).await.as_str(), passages(&stage).await.len()), (value, archived), "{steps}");
    }
    let expected = [("Asked about Rome.".to_owned(), json!([])), ("Rome again".to_owned(), json!(["city:Rome"]))];
    assert_eq!(
        passages(&stage)
            .await
            .iter()
            .map(|(text, tags)| (text.clone(), if tags.is_null() { json!([]) } else { tags.clone() }))
            .collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn a_change_that_cannot_be_made_fails_the_turn_and_changes_nothing() {
    let stage = Stage::new().await;
    stage
        .reply(json!({"id": "r", "steps": [
            {"remember": {"block": "human", "append": "kept?"}},
            {"archive": "kept?"},
            {"remember": {"block": "pets", "append": "a cat"}},
            {"assistant": "Noted."},
        ]}))
        .await;
    let answer = stage.send(&json!({"input": "x"})).await;
    let sentence = failed(&answer);
    assert!(sentence.contains("reply r") && sentence.contains("'pets'") && sentence.contains("human"), "{sentence}");
    assert_eq!((block(&stage).await.as_str(), passages(&stage).await.len()), ("Name: Ada", 0));
    // A provider that fails remembers nothing either.
    stage.reply(json!({"id": "r", "steps": [{"remember": {"block": "human", "append": "x"}}, {"error": 503}]})).await;
    failed(&stage.send(&json!({"input": "x"})).await);
    assert_eq!(block(&stage).await, "Name: Ada");
}

#[tokio::test]
async fn texts_are_filled_in() {
    let stage = Stage::with(json!({"clock": "2030-01-05T09:00:00Z"})).await;
    let texts = [
        ("$city and $2 and $$5", "Rome and now and $5"),
        ("${agent.name} ${agent.id}", &format!("helper {}", stage.agent)),
        ("${ref.helper}${ref.nobody}", &stage.agent),
        ("${block.human}/${block.pets}", "Name: Ada/"),
        ("${now}", "2030-01-05T09:00:00"),
        ("$nobody${nobody}.", "."),
    ];
    for (text, expected) in texts {
        stage.reply(says(json!({"id": "r", "user": "in (?<city>\\w+) (now)"}), text)).await;
        let said = stage.say("in Rome now").await;
        assert!(said == expected || expected.starts_with("2030") && said.starts_with(expected), "{text}: {said}");
    }
    let call =
        json!({"tool_call": "t", "arguments": {"a": ["$city", {"b": "${agent.name}"}, 5, null]}, "fails": "no $city"});
    stage.reply(json!({"id": "r", "user": "in (?<city>\\w+)", "steps": [{"reasoning": "$city!"}, call, {"assistant": "$returned"}]})).await;
    let answer = stage.send(&json!({"input": "in Rome"})).await.expect(200);
    let messages = &answer["messages"];
    assert_eq!(messages[0]["reasoning"], "Rome!", "{answer}");
    assert_eq!(messages[1]["tool_call"]["arguments"], r#"{"a": ["Rome", {"b": "helper"}, 5, null]}"#);
    assert_eq!((&messages[2]["tool_return"], &messages[2]["status"]), (&json!("no Rome"), &json!("error")));
    assert_eq!(messages[3]["content"], "no Rome");
}

#[tokio::test]
async fn a_reply_says_why_the_turn_ends_and_what_it_used() {
    let stage = Stage::new().await;
    let steps = json!([{"assistant": "So far."}, {"stop": "max_steps"},
        {"usage": {"completion_tokens": 7, "prompt_tokens": 100, "reasoning_tokens": 3}}]);
    stage.reply(json!({"steps": steps})).await;
    let answer = stage.send(&json!({"input": "x"})).await.expect(200);
    let used = |usage: &Value| {
        ["completion_tokens", "prompt_tokens", "total_tokens", "reasoning_tokens"]
            .map(|name| usage[name].as_i64().unwrap())
    };
    assert_eq!(
        (answer["stop_reason"]["stop_reason"].as_str(), spoken(&answer).as_str()),
        (Some("max_steps"), "So far.")
    );
    assert_eq!(used(&answer["usage"]), [7, 100, 107, 3]);
    let stream = stage.owner().post(&stage.path("/stream"), &json!({"input": "x"})).await.value().unwrap();
    let frames: Vec<Value> = stream.as_array().unwrap().iter().map(|frame| frame["data"].clone()).collect();
    let of = |kind: &str| frames.iter().find(|frame| frame["message_type"] == kind).unwrap();
    assert_eq!(of("stop_reason")["stop_reason"], "max_steps");
    assert_eq!(of("usage_statistics")["total_tokens"], 107);
    // Of an agent that speaks by a tool as well.
    let older = stage.owner().create_agent(&json!({"name": "old", "agent_type": "memgpt_agent"})).await;
    let answer = stage.owner().post(&format!("/v1/agents/{older}/messages"), &json!({"input": "x"})).await.expect(200);
    assert_eq!(
        (answer["stop_reason"]["stop_reason"].as_str(), spoken(&answer).as_str()),
        (Some("max_steps"), "So far.")
    );
    // A run that ends so is stored so.
    stage.reply(json!({"steps": [{"assistant": "x"}, {"stop": "max_tokens_exceeded"}]})).await;
    let answer = stage.send(&json!({"input": "x"})).await.expect(200);
    let run = answer["messages"][0]["run_id"].as_str().unwrap();
    let run = stage.owner().get(&format!("/v1/runs/{run}")).await.expect(200);
    assert_eq!((&run["stop_reason"], &run["status"]), (&json!("max_tokens_exceeded"), &json!("failed")));
}

#[tokio::test]
async fn pauses_are_those_of_the_namespaces_clock() {
    let stage =
        Stage::with(json!({"clock": {"now": "2030-01-05T09:00:00Z", "frozen": true, "timers": "virtual"}})).await;
    let steps = json!([{"delay": "2s"}, {"reasoning": "Hm."}, {"assistant": "one", "pace": "5s"}]);
    stage.reply(json!({"steps": steps})).await;
    let (path, body) = (stage.path("/stream"), json!({"input": "x", "include_pings": false}));
    let stream = stage.owner().post(&path, &body);
    let clock = async {
        let mut waited = Vec::new();
        for _ in 0..2 {
            crate::harness::eventually("the model pauses", std::time::Duration::from_secs(20), || async {
                let clock = stage.control().get("/clock").await.expect(200);
                clock["pending"].as_array().unwrap().iter().any(|timer| timer["kind"] == "pause")
            })
            .await;
            let advanced = stage.control().post("/clock/advance", &json!({"to": "next"})).await.expect(200);
            waited.push(advanced["now"].as_str().unwrap().to_owned());
        }
        waited
    };
    let (answer, waited) = tokio::join!(stream, clock);
    assert_eq!(streamed(&answer), "one");
    let seconds: Vec<&str> = waited.iter().map(|now| &now[17..19]).collect();
    assert_eq!(seconds, ["02", "07"], "{waited:?}");
}
