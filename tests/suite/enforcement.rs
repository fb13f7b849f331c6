//! In which order a request is questioned, and what each refusal says.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Gatelet, NOBODY, ORIGIN, Program};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

#[expect(clippy::too_many_lines, reason = "a table")]
#[tokio::test]
async fn the_order_of_answers_is_fixed() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let other = owner.create_agent(&json!({"name": "b"})).await;
    let token = owner.create_token(&agent, &ALL).await;
    let gone = owner.create_token(NOBODY, &ALL).await;
    let stranger = server.stranger();
    let page = stranger.page(&token);
    let elsewhere = stranger.bearer(&token).with("origin", "https://evil.example");
    let of_nobody = stranger.page(&gone);
    let messages = |agent: &str| format!("/v1/agents/{agent}/messages");
    let memory_files = format!("/v1/agents/{agent}/memory-files/directory");
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let hello = json!({"input": "hello"});
    let bad = json!({"input": 7});
    for (why, client, method, path, body, expected) in [
        (
            "a path that is not canonical comes before the bearer",
            &stranger,
            &get,
            "/v1/agents//x".into(),
            None,
            "400 path_not_canonical",
        ),
        (
            "the bearer comes before an unknown path",
            &stranger,
            &get,
            "/v1/none-such".into(),
            None,
            "401 bearer_missing",
        ),
        ("and before paths outside of /v1", &stranger, &get, "/latest/agents/".into(), None, "401 bearer_missing"),
        ("and before the method", &stranger, &put, format!("/v1/agents/{agent}"), None, "401 bearer_missing"),
        (
            "an OPTIONS that is no preflight needs a bearer",
            &stranger,
            &Method::OPTIONS,
            "/v1/agents/".into(),
            None,
            "401 bearer_missing",
        ),
        ("an unknown path comes before the origin", &elsewhere, &get, "/v1/none-such".into(), None, "404 not_found"),
        ("the alias prefix does not exist", &owner, &get, "/latest/agents/".into(), None, "404 not_found"),
        (
            "a wrong method comes before the origin",
            &elsewhere,
            &put,
            format!("/v1/agents/{agent}"),
            None,
            "405 method_not_allowed",
        ),
        (
            "literal segments win over an agent id",
            &owner,
            &get,
            "/v1/agents/search".into(),
            None,
            "405 method_not_allowed",
        ),
        (
            "a malformed id comes before the policy",
            &elsewhere,
            &get,
            "/v1/agents/not-an-id".into(),
            None,
            "422 validation_failed",
        ),
        ("a malformed run id is Letta's 400", &page, &get, "/v1/runs/bad".into(), None, "400 invalid_request"),
        (
            "the policy comes before the origin",
            &elsewhere,
            &post,
            messages(&other),
            Some(&hello),
            "403 agent_not_in_policy",
        ),
        (
            "what is closed is closed before the origin",
            &elsewhere,
            &get,
            "/v1/agents/".into(),
            None,
            "403 operation_not_available",
        ),
        ("the origin comes before the body", &elsewhere, &post, messages(&agent), Some(&bad), "403 origin_mismatch"),
        ("the body comes before existence", &of_nobody, &post, messages(NOBODY), Some(&bad), "422 validation_failed"),
        ("existence comes last", &of_nobody, &post, messages(NOBODY), Some(&hello), "404 not_found"),
        (
            "existence comes before what is not mocked",
            &of_nobody,
            &get,
            format!("/v1/agents/{NOBODY}/memory-files/directory"),
            None,
            "404 not_found",
        ),
        ("what is not mocked says so", &page, &get, memory_files, None, "501 not_mocked"),
        ("also to an API key", &owner, &get, "/v1/feeds".into(), None, "501 not_mocked"),
        ("HEAD is guarded as GET", &stranger, &Method::HEAD, "/v1/agents/".into(), None, "401"),
        ("and refused as GET", &elsewhere, &Method::HEAD, format!("/v1/agents/{agent}"), None, "403"),
        ("and answered as GET", &page, &Method::HEAD, format!("/v1/agents/{agent}"), None, "200"),
        ("a last slash more is tolerated", &page, &get, format!("/v1/agents/{agent}/"), None, "200"),
        ("a last slash less is tolerated", &owner, &get, "/v1/agents".into(), None, "200"),
        ("health needs no bearer", &stranger, &get, "/v1/health/".into(), None, "200"),
        ("nor minds one", &stranger.bearer("garbage"), &get, "/v1/ready/".into(), None, "200"),
    ] {
        assert_eq!(client.send(method.clone(), &path, body).await.outcome(), expected, "{why}");
    }
    let allowed = owner.send(Method::PUT, &format!("/v1/agents/{agent}"), None).await;
    let mut methods: Vec<&str> = allowed.header("allow").unwrap().split(", ").collect();
    methods.sort_unstable();
    assert_eq!(methods, ["DELETE", "GET", "HEAD", "PATCH"]);
}

#[tokio::test]
async fn a_refusal_says_what_to_do_in_one_sentence() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let token = owner.create_token(&agent, &["read_agent"]).await;
    let page = server.stranger().page(&token);
    let path = format!("/v1/agents/{agent}");
    let messages = format!("{path}/messages");
    let evil = server.stranger().bearer(&token).with("origin", "https://evil.example");
    for (answer, code, names) in [
        (page.get(&messages).await, "access_not_granted", vec!["read_messages", agent.as_str()]),
        (page.get(&format!("/v1/agents/{NOBODY}")).await, "agent_not_in_policy", vec![NOBODY]),
        (evil.get(&path).await, "origin_mismatch", vec![ORIGIN, "https://evil.example"]),
        (server.stranger().bearer(&token).get(&path).await, "origin_missing", vec![ORIGIN, "--origin-missing allow"]),
        (page.delete(&path).await, "operation_not_available", vec!["DELETE /v1/agents/{agent_id}", "API key"]),
        (owner.with("origin", ORIGIN).get(&path).await, "api_key_in_browser", vec!["api_keys.allow_browsers"]),
    ] {
        let sentence = answer.refused(403, code);
        assert_eq!(answer.expect(403)["detail"], sentence);
        for name in names {
            assert!(sentence.contains(name), "{code}: {sentence}");
        }
    }
}

#[tokio::test]
async fn errors_that_letta_defines_keep_lettas_body() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let keys = |body: &serde_json::Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let unknown = owner.get("/v1/none-such").await.expect(404);
    assert_eq!(unknown["detail"], "Not Found");
    let method = owner.send(Method::PUT, &format!("/v1/agents/{NOBODY}"), None).await.expect(405);
    assert_eq!(method["detail"], "Method Not Allowed");
    let malformed = owner.get("/v1/agents/not-an-id").await.expect(422);
    assert_eq!(keys(&malformed), ["message", "trace_id", "detail", "examples", "code", "request_id"]);
    assert_eq!(malformed["trace_id"], "");
    let detail = "[{'type': 'string_pattern_mismatch', 'loc': ('path', 'agent_id'), 'msg': \"String should match pattern \
        'agent-{uuid4}'\", 'input': 'not-an-id', 'ctx': {'pattern': '^agent-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab]\
        [0-9a-f]{3}-[0-9a-f]{12}$'}}]";
    assert_eq!(malformed["detail"], detail);
    assert_eq!(malformed["examples"], json!([NOBODY]));
    let missing = owner.get(&format!("/v1/agents/{NOBODY}")).await.expect(404);
    assert_eq!(missing["detail"], format!("Agent with ID {NOBODY} not found"));
    assert_eq!(missing["message"], missing["detail"]);
}

#[tokio::test]
async fn an_origin_may_be_missing_where_the_operator_allows_it() {
    let server = Program::ephemeral().argument("--origin-missing").argument("allow").start_alone().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let token = owner.create_token(&agent, &["read_agent"]).await;
    let path = format!("/v1/agents/{agent}");
    let script = server.stranger().bearer(&token);
    script.get(&path).await.expect(200);
    script.with("origin", "https://evil.example").get(&path).await.refused(403, "origin_mismatch");
    script.with("origin", "null").get(&path).await.refused(403, "origin_mismatch");
}

#[tokio::test]
async fn a_same_origin_read_is_recognised_by_its_referer() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let token = owner.create_token(&agent, &["read_agent", "write_agent"]).await;
    let path = format!("/v1/agents/{agent}");
    let page = server.stranger().bearer(&token).with("referer", &format!("{ORIGIN}/chat"));
    page.get(&path).await.expect(200);
    page.patch(&path, &json!({"name": "b"})).await.refused(403, "origin_missing");
    let evil = server.stranger().bearer(&token).with("referer", "https://app.example.evil.example/");
    evil.get(&path).await.refused(403, "origin_mismatch");
}

#[tokio::test]
async fn api_keys_may_come_from_browsers_where_the_operator_allows_it() {
    let server = Program::ephemeral().env("GATELET_API_KEYS__ALLOW_BROWSERS", "true").start_alone().await;
    let answer = server.owner().with("origin", ORIGIN).get("/v1/agents/").await;
    answer.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
}

#[tokio::test]
async fn a_token_that_was_tampered_with_is_a_strangers() {
    let server = Gatelet::ephemeral().await;
    let token = server.owner().create_token("agent-1", &ALL).await;
    let foreign = Gatelet::ephemeral().await.owner().create_token("agent-1", &ALL).await;
    let parts: Vec<&str> = token[7..].split('.').collect();
    let foreign_parts: Vec<&str> = foreign[7..].split('.').collect();
    for (why, token) in [
        ("another installation's", foreign.clone()),
        ("another's claims under our header", format!("ck-let-{}.{}.{}", parts[0], foreign_parts[1], foreign_parts[2])),
        ("without a signature", format!("ck-let-{}.{}.", parts[0], parts[1])),
        ("with one character more", format!("{token}A")),
        ("with one character less", token[..token.len() - 1].to_owned()),
        ("without its prefix", token[7..].to_owned()),
        ("with its prefix twice", format!("ck-let-{token}")),
        ("the hosted service's form", "ck-let-b3JnLTEyMzp1dWlk".to_owned()),
        ("longer than any", format!("ck-let-{}.{}.{}", parts[0], "A".repeat(5000), parts[2])),
    ] {
        let sentence = server.stranger().page(&token).get("/v1/agents/").await.refused(401, "bearer_invalid");
        assert!(!sentence.contains("expired") && !sentence.contains("revoked"), "{why}: {sentence}");
    }
}
