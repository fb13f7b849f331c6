//! Definitions that are refused, and where the mistake is.

use super::*;

#[tokio::test]
async fn a_mistake_in_a_reply_is_named_with_its_place() {
    let stage = Stage::new().await;
    let control = stage.control();
    let good = json!([{"assistant": "x"}]);
    for (body, at, sentence) in [
        (json!({}), "", "missing field `steps`"),
        (json!({"steps": []}), "/steps", "at least one"),
        (json!({"steps": good, "agnet": "x"}), "/agnet", "unknown field `agnet`"),
        (json!({"steps": good, "user": "("}), "/user", "unclosed group"),
        (json!({"steps": good, "user": "(\\w{100}){100}"}), "/user", "more than 1048576 bytes"),
        (json!({"steps": good, "times": 0}), "/times", "at least 1"),
        (json!({"steps": good, "id": "a/b"}), "/id", "1 to 64"),
        (json!({"steps": good, "delivery": "stream"}), "/delivery", "a sequence"),
        (json!({"steps": good, "delivery": ["fax"]}), "/delivery/0", "unknown variant `fax`"),
        (json!({"steps": [{"assistant": "x"}, {"assistant": "x", "reasoning": "y"}]}), "/steps/1", "exactly one of"),
        (json!({"steps": [{"assistant": "${agent.x}"}]}), "/steps/0/assistant", "does not exist"),
        (json!({"steps": [{"assistant": "x", "pace": "fast"}]}), "/steps/0/pace", "pace 'fast'"),
        (json!({"steps": [{"stop": "requires_approval"}]}), "/steps/0/stop", "stop is one of"),
        (json!({"steps": [{"usage": {"completion_tokens": -1}}]}), "/steps/0/usage/completion_tokens", "u32"),
        (json!({"replies": {}}), "/replies", "a list"),
        (json!({"replies": [{"steps": good}, 5]}), "/replies/1", "an object"),
        (json!({"replies": [{"steps": good}], "unmatched": "refuse"}), "/unmatched", "unknown field"),
        (
            json!({"replies": [{"id": "a", "steps": good}, {"id": "a", "steps": good}]}),
            "/replies/1/id",
            "another reply",
        ),
        (json!({"steps": vec![json!({"assistant": "x"}); 201]}), "/steps", "at most 200"),
    ] {
        let answer = control.post("/replies", &body).await;
        let refusal = answer.refused(422, "script_invalid");
        assert!(refusal.contains(sentence), "{body}: {refusal}");
        let place = answer.expect(422)["at"].as_str().unwrap().to_owned();
        let is_at = place == at || at == "/agnet" && place.is_empty();
        assert!(is_at, "{body}: {place}");
        // The same in a namespace that is to be created.
        if let Some(replies) = body.get("replies").filter(|replies| replies.is_array())
            && body.get("unmatched").is_none()
        {
            let answer = stage.server.owner().post("/_gatelet/v1/ns", &json!({"replies": replies})).await;
            answer.refused(422, "script_invalid");
            assert_eq!(answer.expect(422)["at"], at);
        }
    }
    assert_eq!(control.get("/replies").await.expect(200)["replies"], json!([]), "nothing of it was added");
    stage.server.owner().post("/_gatelet/v1/ns", &json!({"unmatched": "x"})).await.refused(422, "script_invalid");
    stage.owner().patch("/_gatelet/v1/ns/-/replies", &json!({"unmatched": "x"})).await.refused(422, "script_invalid");
}

#[tokio::test]
async fn a_mistake_in_toml_is_named_with_its_line() {
    let stage = Stage::new().await;
    stage.reply(says(json!({"id": "kept"}), "kept")).await;
    let put = async |path: &str, method: Method, text: &'static str| {
        let request = stage.owner().request(method, &format!("/_gatelet/v1/ns/-{path}"));
        Answer::read(request.header("content-type", "application/toml").body(text).send().await.unwrap()).await
    };
    for (text, line) in [
        ("[[reply", 1),
        ("", 1),
        ("[[reply]]\nuser = 'x'\n\nsteps = [\n  { assistant = 'x' },\n  { delay = 'x' },\n]", 6),
        ("unmatched = 'refuse'\n[[reply]]\nuser = '('\nsteps = [{ error = 500 }]", 3),
        ("[[replies]]\nsteps = [{ error = 500 }]", 1),
    ] {
        let answer = put("/script", Method::PUT, text).await;
        let refusal = answer.refused(422, "script_invalid");
        assert_eq!(answer.expect(422)["at"], format!("line {line}"), "{text}: {refusal}");
    }
    let answer = put("/replies", Method::POST, "id = 'a'\n\nuser = '('\nsteps = [{ assistant = 'x' }]").await;
    answer.refused(422, "script_invalid");
    assert_eq!(answer.expect(422)["at"], "line 3");
    assert_eq!(stage.say("x").await, "kept", "a script that is refused replaces nothing");
    let text = "unmatched = 'refuse'\n[[reply]]\nuser = 'weather in (?<city>\\w+)'\nsteps = [{ assistant = 'Sunny in $city.' }]";
    assert_eq!(put("/script", Method::PUT, text).await.expect(200)["ids"], json!(["script-1"]));
    assert_eq!(stage.say("weather in Rome").await, "Sunny in Rome.");
    failed(&stage.send(&json!({"input": "x"})).await);
}

#[tokio::test]
async fn the_limits_and_the_feature_are_announced() {
    let about = Gatelet::ephemeral().await.owner().get("/_gatelet/v1").await.expect(200);
    assert!(about["features"].as_array().unwrap().contains(&json!("replies")), "{about}");
    for (name, limit) in [("replies", 1_000), ("reply_steps", 200), ("reply_regex_bytes", 1_048_576)] {
        assert_eq!(about["limits"][name], limit, "{about}");
    }
}
