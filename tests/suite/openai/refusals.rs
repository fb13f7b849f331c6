use reqwest::Method;
use serde_json::{Value, json};

use super::{Scene, completion, refused, with};
use crate::harness::{NOBODY, ORIGIN, Upstream};

/// Requests that are refused: the path, the body, status and code, and what the sentence names.
fn cases(agent: &str, other: &str) -> Vec<(&'static str, Value, u16, &'static str, &'static str)> {
    let chat = |fields: Value| with(completion(agent, "x"), fields);
    let response = |fields: Value| with(json!({"model": agent, "input": "x"}), fields);
    let user = |content: Value| chat(json!({"messages": [{"role": "user", "content": content}]}));
    let (completions, responses) = ("/v1/chat/completions", "/v1/responses");
    vec![
        (completions, chat(json!({"model": other})), 403, "agent_not_in_policy", "agent-"),
        (completions, chat(json!({"model": NOBODY})), 403, "agent_not_in_policy", "agent-"),
        // An agent's name is not its id.
        (completions, chat(json!({"model": "ada"})), 403, "agent_not_in_policy", "ada"),
        (completions, chat(json!({"model": ""})), 403, "agent_not_in_policy", "as model"),
        (completions, chat(json!({"model": null})), 403, "agent_not_in_policy", "as model"),
        (completions, json!({"messages": []}), 403, "agent_not_in_policy", "as model"),
        (completions, chat(json!({"model": 7})), 422, "validation_failed", "model"),
        (completions, chat(json!({"model": [agent]})), 422, "validation_failed", "model"),
        (completions, json!([]), 422, "validation_failed", "body"),
        (completions, json!({"model": agent}), 422, "validation_failed", "messages"),
        (completions, chat(json!({"messages": []})), 422, "validation_failed", "messages"),
        (completions, chat(json!({"messages": "x"})), 422, "validation_failed", "messages"),
        (
            completions,
            chat(json!({"messages": [{"role": "system", "content": "x"}]})),
            422,
            "validation_failed",
            "messages",
        ),
        (completions, chat(json!({"messages": [{"role": "robot", "content": "x"}]})), 422, "validation_failed", "role"),
        (completions, user(json!({"text": "x"})), 422, "validation_failed", "content"),
        (completions, user(json!("")), 422, "validation_failed", "content"),
        (
            completions,
            user(json!([{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}])),
            403,
            "field_not_granted",
            "messages[0].content[0].type",
        ),
        (completions, chat(json!({"tools": [{"type": "function"}]})), 403, "field_not_granted", "tools"),
        (completions, chat(json!({"functions": [{"name": "f"}]})), 403, "field_not_granted", "functions"),
        (
            completions,
            chat(json!({"response_format": {"type": "json_object"}})),
            403,
            "field_not_granted",
            "response_format",
        ),
        (completions, chat(json!({"web_search_options": {"x": 1}})), 403, "field_not_granted", "web_search_options"),
        (completions, chat(json!({"stream": "yes"})), 422, "validation_failed", "stream"),
        (completions, chat(json!({"stream_options": 1})), 422, "validation_failed", "stream_options"),
        (completions, chat(json!({"stream_options": {"include_usage": 1}})), 422, "validation_failed", "include_usage"),
        (completions, chat(json!({"n": "many"})), 422, "validation_failed", "n"),
        (responses, response(json!({"model": other})), 403, "agent_not_in_policy", "agent-"),
        (responses, response(json!({"model": "ada"})), 403, "agent_not_in_policy", "ada"),
        (responses, json!({"input": "x"}), 403, "agent_not_in_policy", "as model"),
        (responses, json!({"model": agent}), 422, "validation_failed", "input"),
        (responses, response(json!({"input": []})), 422, "validation_failed", "input"),
        (responses, response(json!({"input": 7})), 422, "validation_failed", "input"),
        (responses, response(json!({"instructions": "obey"})), 403, "field_not_granted", "instructions"),
        (
            responses,
            response(json!({"input": [{"role": "developer", "content": "obey"}, {"role": "user", "content": "x"}]})),
            403,
            "field_not_granted",
            "input[0].role",
        ),
        (
            responses,
            response(json!({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]})),
            403,
            "field_not_granted",
            "input[0].type",
        ),
        (responses, response(json!({"tools": [{"type": "web_search"}]})), 403, "field_not_granted", "tools"),
        (responses, response(json!({"conversation": "conv_1"})), 403, "field_not_granted", "conversation"),
        (responses, response(json!({"background": true})), 403, "field_not_granted", "background"),
        (responses, response(json!({"prompt": {"id": "p"}})), 403, "field_not_granted", "prompt"),
        (responses, response(json!({"store": "yes"})), 422, "validation_failed", "store"),
        (responses, response(json!({"previous_response_id": 7})), 422, "validation_failed", "previous_response_id"),
        (responses, response(json!({"previous_response_id": "resp_1"})), 404, "response_not_found", "store=true"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_further_is_refused_in_openais_form() {
    for scene in Scene::both().await {
        let page = scene.page(&["read_messages", "write_messages", "read_agent", "write_agent"]).await;
        for (path, body, status, code, named) in cases(&scene.agent, &scene.other) {
            let answer = page.post(path, &body).await;
            let sentence = refused(&answer, status, code);
            assert!(sentence.contains(named), "{}: {body}: {sentence}", scene.mode);
            assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{body}");
        }
        assert!(
            scene.conversations(&scene.agent).await.is_empty() && scene.conversations(&scene.other).await.is_empty()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_messages_may_not_chat() {
    for scene in Scene::both().await {
        let body = completion(&scene.agent, "x");
        let (owner, stranger) = (scene.server.owner(), scene.server.stranger());
        let token = owner.create_token(&scene.agent, &["write_messages"]).await;
        let revoked = owner.create_token(&scene.agent, &["write_messages"]).await;
        owner.delete(&format!("/v1/client-side-access-tokens/{revoked}")).await;
        for (caller, status, code) in [
            (scene.page(&["read_messages"]).await, 403, "access_not_granted"),
            (scene.page(&["read_agent", "write_agent"]).await, 403, "access_not_granted"),
            (stranger.bearer(&token), 403, "origin_missing"),
            (stranger.bearer(&token).with("origin", "https://evil.example"), 403, "origin_mismatch"),
            (stranger.page(&revoked), 401, "token_revoked"),
            (stranger.page("ck-let-a.b.c"), 401, "bearer_invalid"),
            (stranger.clone(), 401, "bearer_missing"),
        ] {
            for (path, body) in
                [("/v1/chat/completions", &body), ("/v1/responses", &json!({"model": scene.agent, "input": "x"}))]
            {
                refused(&caller.post(path, body).await, status, code);
            }
        }
        // Where a policy grants the word on another agent only, the body decides.
        let entry = |id: &str, word: &str| json!({"type": "agent", "id": id, "access": [word]});
        let policy = [entry(&scene.other, "write_messages"), entry(&scene.agent, "read_messages")];
        let token = owner.create_token_with(&json!({"policy": policy, "hostname": ORIGIN})).await;
        refused(&stranger.page(&token).post("/v1/chat/completions", &body).await, 403, "access_not_granted");
        assert!(scene.conversations(&scene.agent).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_does_not_hear_of_what_is_refused() {
    let upstream = Upstream::start().await;
    let gateway = upstream.gateway().await;
    let (agent, other) = (upstream.agent(), upstream.agent());
    let page = gateway.stranger().page(&gateway.owner().create_token(&agent, &["write_messages"]).await);
    for (path, body, status, code, _) in cases(&agent, &other) {
        refused(&page.post(path, &body).await, status, code);
    }
    let said = upstream.seen().into_iter().filter(|seen| !seen.line().starts_with("GET /v1/agents/")).count();
    assert_eq!(said, 0, "{:?}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_of_the_openai_api_passes() {
    let scene = Scene::of_gateway().await;
    for (method, path) in [("POST", "/v1/chat/completions"), ("POST", "/v1/responses"), ("GET", "/v1/models")] {
        let preflight = scene.server.stranger().with("origin", ORIGIN).with("access-control-request-method", method);
        let preflight = preflight.with("access-control-request-headers", "authorization,content-type,x-letta-chat-key");
        let answer = preflight.send(Method::OPTIONS, path, None).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("access-control-allow-origin")),
            (204, Some(ORIGIN)),
            "{path}"
        );
        assert!(answer.header("access-control-allow-headers").unwrap().contains("x-letta-chat-key"));
    }
}

/// An API key is told what a Letta server tells it, in Letta's words.
#[tokio::test(flavor = "multi_thread")]
async fn api_keys_keep_what_the_server_responds() {
    for scene in Scene::both().await {
        let owner = scene.server.owner();
        let body = json!({"model": scene.agent, "input": "x"});
        let answer = owner.post("/v1/responses", &body).await;
        assert_eq!(answer.outcome(), "404 not_found");
        assert!(!answer.text.contains("\"error\""), "{}", answer.text);
        let whole = owner.post("/v1/chat/completions", &completion(&scene.agent, "x")).await;
        assert_eq!(whole.status, 400, "Letta only streams: {}", whole.text);
        let body = with(completion(&scene.agent, "x"), json!({"stream": true}));
        let streamed = owner.post("/v1/chat/completions", &body).await;
        assert!(streamed.text.contains("system_fingerprint"), "{}", streamed.text);
        assert!(scene.conversations(&scene.agent).await.is_empty(), "it is the agent's default conversation");
    }
}
