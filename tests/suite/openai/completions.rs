use std::time::Duration;

use serde_json::{Value, json};

use super::{Scene, completion, data, refused, with};
use crate::harness::{ORIGIN, eventually};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_is_what_the_agent_says() {
    for scene in Scene::both().await {
        let page = scene.writer().await;
        let body = with(
            completion(&scene.agent, "What is up?"),
            json!({"temperature": 0.2, "n": 1, "tools": [], "user": "u"}),
        );
        let answer = page.post("/v1/chat/completions", &body).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
        let whole = answer.expect(200);
        let Value::Object(members) = &whole else { panic!("{whole}") };
        assert_eq!(
            members.keys().collect::<Vec<_>>(),
            ["id", "object", "created", "model", "choices", "usage"],
            "{}: {whole}",
            scene.mode
        );
        assert_eq!((&whole["object"], &whole["model"]), (&json!("chat.completion"), &json!(scene.agent)));
        assert!(whole["id"].as_str().unwrap().starts_with("chatcmpl-") && whole["created"].is_u64());
        let choice = &whole["choices"][0];
        assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(0), &json!("stop")));
        assert_eq!((&choice["message"]["role"], &choice["message"]["refusal"]), (&json!("assistant"), &Value::Null));
        assert!(choice["message"]["content"].as_str().unwrap().contains("What is up?"), "{whole}");
        let usage =
            ["prompt_tokens", "completion_tokens", "total_tokens"].map(|name| whole["usage"][name].as_u64().unwrap());
        assert!(usage[0] > 0 && usage[1] > 0 && usage[0] + usage[1] == usage[2], "{usage:?}");
        eventually("its conversation is deleted", SOON, || async {
            scene.conversations(&scene.agent).await.is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_completion_is_a_role_deltas_and_a_reason() {
    for scene in Scene::both().await {
        let page = scene.writer().await;
        for includes_usage in [false, true] {
            let options = json!({"stream": true, "stream_options": {"include_usage": includes_usage}});
            let body = with(completion(&scene.agent, "Tell me what I have said, all of it."), options);
            let answer = page.post("/v1/chat/completions", &body).await;
            assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, Some(ORIGIN)));
            assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
            assert!(answer.text.ends_with("data: [DONE]\n\n") && !answer.text.contains("event:"), "{}", answer.text);
            let mut chunks = data(&answer.text);
            assert!(chunks.iter().all(|chunk| {
                chunk["object"] == "chat.completion.chunk"
                    && chunk["id"] == chunks[0]["id"]
                    && chunk["model"] == *scene.agent
            }));
            if includes_usage {
                let last = chunks.pop().unwrap();
                assert_eq!(last["choices"], json!([]));
                assert!(last["usage"]["total_tokens"].as_u64().unwrap() > 0, "{last}");
            }
            assert!(
                chunks.iter().all(|chunk| chunk.get("usage").is_some() == includes_usage && chunk["usage"].is_null())
            );
            let choices: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]).collect();
            let (first, rest) = choices.split_first().unwrap();
            let (last, deltas) = rest.split_last().unwrap();
            assert_eq!(first["delta"], json!({"role": "assistant", "content": "", "refusal": null}));
            assert_eq!((&last["delta"], &last["finish_reason"]), (&json!({}), &json!("stop")));
            let text: String = deltas.iter().map(|choice| choice["delta"]["content"].as_str().unwrap()).collect();
            assert!(deltas.len() > 1 && text.contains("what I have said, all of it"), "{}: {text}", scene.mode);
        }
        eventually("their conversations are deleted", SOON, || async {
            scene.conversations(&scene.agent).await.is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_last_user_text_reaches_the_agent() {
    for scene in Scene::both().await {
        let page = scene.writer().await.with("x-letta-chat-key", "k");
        let messages = json!([
            {"role": "system", "content": "system-canary"},
            {"role": "user", "content": "first-canary"},
            {"role": "assistant", "content": "assistant-canary", "tool_calls": []},
            {"role": "user", "name": "Sam", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            {"role": "tool", "tool_call_id": "c", "content": "tool-canary"},
        ]);
        let answer = page.post("/v1/chat/completions", &json!({"model": scene.agent, "messages": messages})).await;
        assert!(!answer.expect(200).to_string().contains("canary"), "{}: {}", scene.mode, answer.text);
        let conversations = scene.conversations(&scene.agent).await;
        assert_eq!(scene.said(&conversations[0]).await, ["one\ntwo"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_fails_is_an_error() {
    for scene in Scene::both().await {
        let page = scene.writer().await;
        for (directive, status, code) in [("[[error:429]]", 429, "llm_rate_limit"), ("[[error:500]]", 500, "llm_error")]
        {
            let answer = page.post("/v1/chat/completions", &completion(&scene.agent, directive)).await;
            refused(&answer, status, code);
            let body = with(completion(&scene.agent, directive), json!({"stream": true}));
            let answer = page.post("/v1/chat/completions", &body).await;
            assert_eq!(answer.status, 200);
            assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
            let last = data(&answer.text).pop().unwrap();
            assert_eq!(last["error"]["code"], code, "{}: {last}", scene.mode);
            assert!(last["error"]["message"].is_string() && last["error"]["param"].is_null(), "{last}");
        }
    }
}
