//! What is refused never reaches the upstream: not by its target, not by its caller, not by what it asks for.

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ALL, SOON, Scene, connect, exchange, page, scene};
use crate::harness::{Gatelet, NOBODY, ORIGIN, USER_AGENT, eventually, token_request};

async fn get(server: &Gatelet, bearer: &str, origin: &str, target: &[u8]) -> String {
    let head = format!(
        " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: {USER_AGENT}\r\nAuthorization: Bearer {bearer}\r\n{origin}\r\n"
    );
    exchange(server, &[b"GET ", target, head.as_bytes()].concat()).await
}

#[tokio::test]
async fn a_target_that_is_not_canonical_is_never_heard_of() {
    let Scene { upstream, server, agent, owner, .. } = scene().await;
    let other = upstream.agent();
    let token = owner.create_token(&agent, &ALL).await;
    let origin = format!("Origin: {ORIGIN}\r\n");
    let callers = [(server.key(), ""), (token.as_str(), origin.as_str())];
    for target in [
        format!("/v1/agents/{agent}%2Fmessages"),
        format!("/v1/agents/{agent}%2fmessages"),
        format!("/v1/agents/{agent}%5Cmessages"),
        format!("/v1/agents/{agent}\\messages"),
        format!("/v1/agents/{agent}/../{other}"),
        format!("/v1/agents/{agent}/%2e%2e/{other}"),
        format!("/v1/agents/{agent}/%2E%2E/{other}"),
        format!("/v1/agents/{agent}/..%2f{other}"),
        format!("/v1/agents/{agent}/..\\{other}"),
        format!("/v1/agents/./{agent}"),
        format!("/v1/agents/..;/agents/{agent}"),
        format!("//v1/agents/{agent}"),
        format!("//evil.example/v1/agents/{agent}"),
        format!("/v1//agents/{agent}"),
        format!("/v1/agents//{agent}"),
        format!("/v1/agents/{agent}//"),
        format!("/v1/%61gents/{agent}"),
        format!("/%76%31/agents/{agent}"),
        format!("/v1/agents/{agent};x=1"),
        format!("/v1/agents;x=1/{agent}"),
        format!("/v1/agents/{agent}%3Bx"),
        format!("/v1/agents/{agent}%00"),
        format!("/v1/agents/{agent}%0d%0aX-Injected:%201"),
        format!("/v1/agents/{agent}%23"),
        format!("/v1/agents/{agent}%3Fx=1"),
        "/v1/agents/%2561gent".into(),
        format!("/v1/agents/{agent}%"),
        format!("/v1/agents/{agent}%4"),
        format!("/v1/agents/{agent}%zz"),
        "/v1/agents/%ff%fe".into(),
        format!("http://x/v1/agents/{agent}"),
        format!("http://evil.example/v1/agents/{agent}"),
        format!("https://{}/v1/agents/{agent}", upstream.authority()),
    ] {
        for (bearer, origin) in callers {
            let answer = get(&server, bearer, origin, target.as_bytes()).await;
            // An id that only looks encoded is decoded once and is then no id.
            let code = if target.ends_with("%23") || target.ends_with("%3Fx=1") { "422" } else { "400" };
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{target}: {answer}");
        }
        assert!(upstream.seen().is_empty(), "{target}: {:?}", upstream.seen());
    }
    for target in [
        b"/v1/agents/\0".to_vec(),
        b"/v1/agents/a b".to_vec(),
        b"v1/agents/".to_vec(),
        b"*".to_vec(),
        Vec::new(),
        b"/v1/agents/\xff\xfe".to_vec(),
        format!("/v1/agents/{agent}#fragment").into_bytes(),
        format!("{}/v1/agents/{agent}", upstream.authority()).into_bytes(),
    ] {
        let answer = get(&server, server.key(), "", &target).await;
        let text = String::from_utf8_lossy(&target).into_owned();
        // The HTTP library cuts a fragment off before anyone sees it: what is decided and what is sent is the rest.
        if text.contains('#') {
            assert!(upstream.seen().iter().all(|seen| seen.target() == format!("/v1/agents/{agent}")), "{answer}");
            upstream.forget();
        } else {
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{text}: {answer}");
            assert!(upstream.seen().is_empty(), "{text}: {:?}", upstream.seen());
        }
    }
}

#[tokio::test]
async fn a_message_that_two_parsers_could_read_differently_is_never_heard_of() {
    let Scene { upstream, server, agent, .. } = scene().await;
    let key = server.key();
    let head = format!(
        "POST /v1/agents/{agent}/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUser-Agent: {USER_AGENT}\r\n\
         Authorization: Bearer {key}\r\n"
    );
    for (why, rest) in [
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        ("a length and chunks", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a negative length", "Content-Length: -1\r\n\r\n"),
        ("an unknown coding", "Transfer-Encoding: gzip\r\n\r\n"),
        ("a header without a colon", "nonsense\r\n\r\n"),
        ("a space before the colon", "X-A : b\r\n\r\n"),
        ("a line folded", "X-A: b\r\n c\r\n\r\n"),
    ] {
        let answer = exchange(&server, format!("{head}{rest}").as_bytes()).await;
        let seen = upstream.seen();
        // hyper drops the length beside chunks, as RFC 9112 allows: then what is passed on has one framing.
        let is_clean = seen.iter().all(|seen| seen.header("content-length").is_none() && seen.body.is_empty());
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(seen.is_empty() && is_refused || why == "a length and chunks" && is_clean, "{why}: {answer} {seen:?}");
        upstream.forget();
    }
}

#[tokio::test]
async fn methods_that_letta_has_not_are_never_heard_of() {
    let Scene { upstream, server, agent, .. } = scene().await;
    for line in [
        "CONNECT evil.example:80".to_owned(),
        format!("CONNECT {}", upstream.authority()),
        "OPTIONS *".into(),
        format!("OPTIONS /v1/agents/{agent}"),
        "TRACE /v1/agents/".into(),
        "PRI *".into(),
        "get /v1/agents/".into(),
        format!("DELETE{} /v1/agents/{agent}", "X".repeat(1000)),
    ] {
        let key = server.key();
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n");
        let answer = exchange(&server, head.as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{line}: {answer}");
        assert!(upstream.seen().is_empty(), "{line}: {:?}", upstream.seen());
    }
}

#[tokio::test]
async fn who_may_not_is_never_heard_of() {
    let Scene { upstream, server, agent, owner, page: whole } = scene().await;
    let other = upstream.agent();
    let token = owner.create_token(&agent, &ALL).await;
    let reader = page(&server, &owner.create_token(&agent, &["read_agent"]).await);
    let revoked = owner.create_token(&agent, &ALL).await;
    owner.delete(&format!("/v1/client-side-access-tokens/{revoked}")).await;
    let stranger = server.stranger().with("user-agent", USER_AGENT);
    let evil = stranger.bearer(&token).with("origin", "https://evil.example");
    let state = format!("/v1/agents/{agent}");
    let messages = format!("{state}/messages");
    let (get, post) = (Method::GET, Method::POST);
    let hello = json!({"input": "x"});
    for (why, client, method, path, body, expected) in [
        ("no bearer", &stranger, &get, state.clone(), Value::Null, "401 bearer_missing"),
        ("no bearer of ours", &stranger.bearer("sk-let-x"), &get, state.clone(), Value::Null, "401 bearer_invalid"),
        (
            "the upstream's credential is not ours",
            &stranger.bearer(crate::harness::UPSTREAM_KEY),
            &get,
            state.clone(),
            Value::Null,
            "401 bearer_invalid",
        ),
        ("a revoked token", &page(&server, &revoked), &get, state.clone(), Value::Null, "401 token_revoked"),
        ("no such path", &owner, &get, "/v1/none-such".into(), Value::Null, "404 not_found"),
        ("the alias", &owner, &get, format!("/latest/agents/{agent}"), Value::Null, "404 not_found"),
        ("the upstream's own pages", &owner, &get, "/v1/admin/users".into(), Value::Null, "404 not_found"),
        ("its documentation", &owner, &get, "/openapi.json".into(), Value::Null, "404 not_found"),
        ("a wrong method", &owner, &Method::PUT, state.clone(), Value::Null, "405 method_not_allowed"),
        ("a malformed id", &owner, &get, "/v1/agents/nobody".into(), Value::Null, "422 validation_failed"),
        ("a malformed run", &whole, &get, "/v1/runs/bad".into(), Value::Null, "400 invalid_request"),
        ("another agent", &whole, &get, format!("/v1/agents/{other}"), Value::Null, "403 agent_not_in_policy"),
        (
            "an agent that is not there",
            &whole,
            &get,
            format!("/v1/agents/{NOBODY}"),
            Value::Null,
            "403 agent_not_in_policy",
        ),
        ("a word short", &reader, &post, messages.clone(), hello.clone(), "403 access_not_granted"),
        ("what is closed to pages", &whole, &get, "/v1/agents/".into(), Value::Null, "403 operation_not_available"),
        ("another origin", &evil, &get, state.clone(), Value::Null, "403 origin_mismatch"),
        ("no origin", &stranger.bearer(&token), &get, state.clone(), Value::Null, "403 origin_missing"),
        (
            "a key in a browser",
            &owner.with("origin", ORIGIN),
            &get,
            state.clone(),
            Value::Null,
            "403 api_key_in_browser",
        ),
        (
            "a field that reaches further",
            &whole,
            &post,
            messages.clone(),
            json!({"input": "x", "override_model": "a/b"}),
            "403 field_not_granted",
        ),
        ("a body of the wrong type", &whole, &post, messages.clone(), json!({"input": 7}), "422 validation_failed"),
        ("a body that is no object", &whole, &post, messages, json!([1]), "422 validation_failed"),
    ] {
        let body = (!body.is_null()).then_some(&body);
        assert_eq!(client.send(method.clone(), &path, body).await.outcome(), expected, "{why}");
        assert!(upstream.seen().is_empty(), "{why}: {:?}", upstream.seen());
    }
}

/// In either mode: what was true when the head came is asked again when the body is there, however long that took.
#[tokio::test]
async fn a_token_that_ends_while_its_body_arrives_is_refused() {
    let Scene { upstream, server, agent, .. } = scene().await;
    let mock = Gatelet::ephemeral().await;
    let mocked = mock.owner().create_agent(&json!({"name": "a"})).await;
    for (server, agent) in [(&server, &agent), (&mock, &mocked)] {
        for (is_revoked, code) in [(true, "token_revoked"), (false, "token_expired")] {
            let mut wanted = token_request(agent, &ALL);
            let lifetime = if is_revoked { TimeDelta::hours(1) } else { TimeDelta::seconds(2) };
            wanted["expires_at"] = json!((Utc::now() + lifetime).to_rfc3339());
            let token = server.owner().create_token_with(&wanted).await;
            let body = r#"{"input": "x"}"#;
            let head = format!(
                "POST /v1/agents/{agent}/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {ORIGIN}\r\n\
                 User-Agent: {USER_AGENT}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
                 Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let mut client = connect(server).await;
            client.write_all(head.as_bytes()).await.unwrap();
            let mut go_on = [0; 25];
            client.read_exact(&mut go_on).await.unwrap();
            assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
            if is_revoked {
                let path = format!("/v1/client-side-access-tokens/{token}");
                assert_eq!(server.owner().delete(&path).await.status, 204);
            }
            let page = page(server, &token);
            eventually("the token has ended", SOON, async || page.get("/v1/agents/").await.outcome().contains(code))
                .await;
            client.write_all(body.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 401") && answer.contains(code), "{answer}");
        }
    }
    assert!(upstream.passed().is_empty(), "{:?}", upstream.passed());
}
