//! Answers for clients of the `OpenAI` API, and of an agent's model alone.

use serde_json::{Value, json};

use crate::harness::{Gatelet, on_both_engines};

fn chunks(events: &str) -> Vec<Value> {
    let data = events.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

on_both_engines! {
    async fn an_agent_is_a_model_of_the_openai_api(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"name": "a", "model": "openai/gpt-4o-mini"})).await;
        let said = |text: &str| {
            json!([
                {"role": "user", "content": "forgotten"},
                {"role": "assistant", "content": "said before"},
                {"role": "user", "content": [{"type": "text", "text": text}]},
            ])
        };
        let ask = async |text: &str| {
            let body = json!({"model": agent, "stream": true, "messages": said(text)});
            owner.post("/v1/chat/completions", &body).await
        };
        let answer = ask("What did I say?").await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("text/event-stream; charset=utf-8")));
        assert!(answer.text.ends_with("data: [DONE]\n\n"));
        let chunks_of_it = chunks(&answer.text);
        let (last, pieces) = chunks_of_it.split_last().unwrap();
        let text: String = pieces.iter().map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().unwrap()).collect();
        assert!(pieces.len() > 1 && text.contains("What did I say?"), "{text}");
        assert_eq!(pieces[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(last["choices"][0], json!({"delta": {"content": null, "function_call": null, "refusal": null,
            "role": null, "tool_calls": null}, "finish_reason": "stop", "index": 0, "logprobs": null}));
        let run = pieces[0]["id"].as_str().unwrap().strip_prefix("chatcmpl-").unwrap();
        assert!(chunks_of_it.iter().all(|chunk| chunk["id"] == pieces[0]["id"] && chunk["model"] == "gpt-4o-mini"));
        assert_eq!(owner.get(&format!("/v1/runs/{run}")).await.expect(200)["status"], "completed");
        let kept = owner.get(&format!("/v1/agents/{agent}/messages")).await.expect(200).to_string();
        assert!(kept.contains("What did I say?") && !kept.contains("forgotten"), "the agent remembers the rest itself");

        let failed = chunks(&ask("[[error:429]]").await.text);
        assert_eq!(failed.last().unwrap()["error"]["type"], "llm_rate_limit");

        for (change, status, code) in [
            (json!({"stream": false}), 400, "invalid_request"),
            (json!({"model": "gpt-4o"}), 400, "invalid_request"),
            (json!({"model": "agent-123e4567-e89b-42d3-8456-426614174000"}), 404, "not_found"),
            (json!({"model": null}), 422, "validation_failed"),
            (json!({"messages": []}), 422, "validation_failed"),
            (json!({"messages": [{"role": "assistant", "content": "x"}]}), 422, "validation_failed"),
            (json!({"messages": [{"role": "robot", "content": "x"}]}), 422, "validation_failed"),
            (json!({"messages": [{"content": "x"}]}), 422, "validation_failed"),
            (json!({"messages": [{"role": "user"}]}), 422, "validation_failed"),
            (json!({"temperature": "hot"}), 422, "validation_failed"),
        ] {
            let mut body = json!({"model": agent, "stream": true, "messages": said("x")});
            for (name, value) in change.as_object().unwrap() {
                body[name] = value.clone();
            }
            owner.post("/v1/chat/completions", &body).await.refused(status, code);
        }
    }

    async fn an_agents_model_answers_without_the_agent(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"name": "a", "model": "openai/gpt-4o-mini"})).await;
        let path = format!("/v1/agents/{agent}/generate");
        let answer = owner.post(&path, &json!({"prompt": "Say hello", "system_prompt": "Be brief."})).await.expect(200);
        assert!(answer["content"].as_str().unwrap().contains("Say hello"));
        assert_eq!((&answer["model"], &answer["usage"]["step_count"]), (&json!("openai/gpt-4o-mini"), &json!(1)));
        let other = owner.post(&path, &json!({"prompt": "x", "override_model": "anthropic/claude-haiku-4-5"})).await;
        assert_eq!(other.expect(200)["model"], "anthropic/claude-haiku-4-5");
        let schema = json!({"type": "object", "properties": {"sides": {"type": "integer"}}, "required": ["sides"]});
        let shaped = owner.post(&path, &json!({"prompt": "roll a die with sides=6", "response_schema": schema})).await;
        assert_eq!(shaped.expect(200)["content"], "{\"sides\":6}");
        assert_eq!(owner.get(&format!("/v1/agents/{agent}/messages")).await.expect(200).as_array().unwrap().len(), 1);

        owner.post(&path, &json!({"prompt": "[[error:500]]"})).await.refused(502, "llm_unavailable");
        owner.post(&path, &json!({"prompt": "x", "override_model": "none"})).await.refused(404, "not_found");
        for body in [json!({}), json!({"prompt": " "}), json!({"prompt": 1}), json!({"prompt": "x", "response_schema": 1})] {
            owner.post(&path, &body).await.refused(422, "validation_failed");
        }
        let nobody = "/v1/agents/agent-123e4567-e89b-42d3-8456-426614174000/generate";
        owner.post(nobody, &json!({"prompt": "x"})).await.refused(404, "not_found");
    }
}
