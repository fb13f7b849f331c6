//! What the upstream hears: the template filled with what was decided, and nothing of the client's but what a list names.

use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::{SOON, Scene, connect, exchange, page, scene};
use crate::harness::{ORIGIN, Scripted, UPSTREAM_KEY, USER_AGENT, eventually, token_request};

/// The same request head for everyone: the target and the bearer differ.
fn request(method: &str, target: &str, bearer: &str, rest: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: gatelet.example\r\nConnection: close\r\nUser-Agent: {USER_AGENT}\r\n\
         Authorization: Bearer {bearer}\r\n{rest}\r\n"
    )
}

#[tokio::test]
async fn the_request_line_is_the_template_filled_with_what_was_decided() {
    let Scene { upstream, server, agent, owner, .. } = scene().await;
    let (run, step) = (upstream.run(&agent), upstream.step(&agent));
    let conversation = upstream.conversation(&agent);
    let token = owner.create_token(&agent, &super::ALL).await;
    let (token, key) = (token.as_str(), server.key());
    let of_agent = |rest: &str| format!("/v1/agents/{agent}{rest}");
    let origin = format!("Origin: {ORIGIN}\r\n");
    for (bearer, method, sent, expected) in [
        // A client token: the query is what the table grants.
        (token, "GET", of_agent(""), of_agent("")),
        (token, "GET", of_agent("/"), of_agent("")),
        (token, "GET", of_agent("?include=agent.tools&include=agent.secrets&x=1"), of_agent("?include=agent.tools")),
        (token, "GET", of_agent("/messages?limit=5&order=asc&group_id=&x=1"), of_agent("/messages?limit=5&order=asc")),
        (token, "GET", of_agent("/messages?user_id=user-1"), of_agent("/messages")),
        (token, "GET", of_agent("/archival-memory?search=a%20b%26c&s"), of_agent("/archival-memory?search=a+b%26c")),
        (
            token,
            "GET",
            of_agent("/archival-memory?search=%2F..%2F%0d%0a"),
            of_agent("/archival-memory?search=%2F..%2F%0D%0A"),
        ),
        (token, "GET", of_agent("/core-memory/blocks/my%20label"), of_agent("/core-memory/blocks/my%20label")),
        (token, "GET", of_agent("/core-memory/blocks/a,b"), of_agent("/core-memory/blocks/a%2Cb")),
        (token, "GET", of_agent("/core-memory/blocks/b%C3%BCro"), of_agent("/core-memory/blocks/b%C3%BCro")),
        (token, "PATCH", of_agent("/files/close-all/"), of_agent("/files/close-all")),
        (token, "GET", format!("/v1/runs?agent_id={agent}"), format!("/v1/runs/?agent_id={agent}")),
        (token, "GET", format!("/v1/runs/{run}/?x=1"), format!("/v1/runs/{run}")),
        (token, "GET", format!("/v1/runs/{run}/messages?limit=2"), format!("/v1/runs/{run}/messages?limit=2")),
        (token, "POST", format!("/v1/runs/{run}/stream"), format!("/v1/runs/{run}/stream")),
        (token, "GET", format!("/v1/steps/{step}/messages"), format!("/v1/steps/{step}/messages")),
        (token, "GET", format!("/v1/conversations?agent_id={agent}"), format!("/v1/conversations/?agent_id={agent}")),
        (token, "GET", format!("/v1/conversations/{conversation}"), format!("/v1/conversations/{conversation}")),
        (token, "GET", format!("/v1/conversations/{agent}/messages"), format!("/v1/conversations/{agent}/messages")),
        (
            token,
            "GET",
            format!("/v1/conversations/default/messages?agent_id={agent}&limit=1"),
            format!("/v1/conversations/default/messages?agent_id={agent}&limit=1"),
        ),
        // An API key: the query is encoded anew, and all of it passes.
        (key, "GET", "/v1/agents".into(), "/v1/agents/".into()),
        (key, "GET", "/v1/agents/?".into(), "/v1/agents/".into()),
        (
            key,
            "GET",
            "/v1/agents/?limit=5&tags=a&tags=b%20c&x=%2f".into(),
            "/v1/agents/?limit=5&tags=a&tags=b+c&x=%2F".into(),
        ),
        (key, "GET", "/v1/agents/count/".into(), "/v1/agents/count".into()),
        (key, "DELETE", of_agent("/"), of_agent("")),
        (key, "PUT", "/v1/tools".into(), "/v1/tools/".into()),
        (key, "GET", "/v1/folders/name/b%C3%BCro%3Ax".into(), "/v1/folders/name/b%C3%BCro%3Ax".into()),
        (key, "GET", "/v1/folders/name/a:b@c".into(), "/v1/folders/name/a%3Ab%40c".into()),
        (key, "GET", "/v1/projects/".into(), "/v1/projects".into()),
    ] {
        let rest = if bearer == token { origin.as_str() } else { "" };
        let answer = exchange(&server, request(method, &sent, bearer, rest).as_bytes()).await;
        let passed = upstream.passed();
        assert_eq!(passed.len(), 1, "{sent}: {answer}");
        assert_eq!(passed[0].line(), format!("{method} {expected}"), "{sent}");
        assert_eq!(passed[0].header("host"), Some(upstream.authority().as_str()), "{sent}");
        assert_eq!(passed[0].header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()), "{sent}");
        assert!(passed[0].body.is_empty() && passed[0].is_whole, "{sent}");
        upstream.forget();
    }
}

#[tokio::test]
async fn only_headers_that_a_list_names_reach_the_upstream() {
    let Scene { upstream, server, agent, owner, .. } = scene().await;
    let token = owner.create_token(&agent, &super::ALL).await;
    let always = "Accept: text/event-stream\r\nAccept-Language: de\r\nContent-Type: application/json\r\n\
        X-Stainless-Lang: js\r\nx-stainless-retry-count: 0\r\nX-Fern-SDK-Name: letta\r\nContent-Length: 16\r\n";
    let never = "User_Id: user-00000000-0000-4000-8000-000000000000\r\nUser-Id: user-1\r\nX-BARE-PASSWORD: password x\r\n\
        X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Prefix: /x\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nVia: 1.1 x\r\n\
        X-Original-URL: /v1/agents/\r\nX-Rewrite-URL: /v1/agents/\r\nX-HTTP-Method-Override: DELETE\r\n\
        X-Organization-Id: org-1\r\nX-Billing-Plan: free\r\nX-Billing-Cost-Source: x\r\n\
        X-Experimental-Message-Async: true\r\nx-override-embedding-model: a/b\r\nx-api-request-log-id: 1\r\n\
        Cookie: session=1\r\nReferer: https://app.example/chat\r\nSec-Fetch-Site: cross-site\r\n\
        Accept-Encoding: gzip\r\nIf-None-Match: \"1\"\r\nRange: bytes=0-1\r\nPriority: u=1\r\n\
        Keep-Alive: timeout=5\r\nTE: trailers\r\nTrailer: x-late\r\nProxy-Authorization: Basic eDp5\r\n\
        Proxy-Connection: keep-alive\r\nx-stainless-os: named-by-connection\r\nX-Unheard-Of: 1\r\n";
    let project = "X-Project-Id: default\r\nX-Project: default\r\n";
    let expected = [
        "accept",
        "accept-language",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-fern-sdk-name",
        "x-stainless-lang",
        "x-stainless-retry-count",
    ];
    let mut with_project = [&expected[..], &["x-project", "x-project-id"]].concat();
    with_project.sort_unstable();
    let origin = format!("Origin: {ORIGIN}\r\n");
    for (who, bearer, extra, expected) in
        [("a page", token.as_str(), origin.as_str(), expected.to_vec()), ("an API key", server.key(), "", with_project)]
    {
        let target = format!("/v1/agents/{agent}/messages");
        let head = request("POST", &target, bearer, &format!("{always}{never}{project}{extra}"));
        let head = head.replace("Connection: close", "Connection: close, X-Stainless-OS");
        let answer = exchange(&server, format!("{head}{{\"input\": \"hey\"}}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{who}: {answer}");
        let seen = upstream.take_passed();
        let mut names: Vec<String> = seen.headers().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, expected, "{who}");
        for (name, value) in [
            ("accept", "text/event-stream"),
            ("accept-language", "de"),
            ("content-type", "application/json"),
            ("user-agent", USER_AGENT),
            ("x-stainless-lang", "js"),
            ("x-fern-sdk-name", "letta"),
        ] {
            assert_eq!(seen.header(name), Some(value), "{who}");
        }
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()));
        assert!(!seen.head.contains(bearer), "{who}: {}", seen.head);
    }
}

#[tokio::test]
async fn what_connection_names_is_removed_but_never_the_gateways_own_credential() {
    let Scene { upstream, server, agent, .. } = scene().await;
    for named in ["authorization", "Authorization, Host", "user-agent, accept", "content-type"] {
        let head = request("GET", &format!("/v1/agents/{agent}"), server.key(), "X-Stainless-Lang: js\r\n");
        let head = head.replace("Connection: close", &format!("Connection: close, {named}"));
        exchange(&server, head.as_bytes()).await;
        let seen = upstream.seen();
        assert_eq!(seen.len(), 1, "{named}");
        assert_eq!(seen[0].header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()), "{named}");
        assert_eq!(seen[0].header("host"), Some(upstream.authority().as_str()), "{named}");
        assert_eq!(seen[0].header("x-stainless-lang"), Some("js"), "{named}");
        assert_eq!(seen[0].header("user-agent").is_some(), !named.contains("user-agent"), "{named}");
        upstream.forget();
    }
}

#[tokio::test]
async fn a_client_tokens_body_is_the_checked_value_written_anew() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    let run = upstream.run(&agent);
    upstream.block("human", &[&agent]);
    let of_agent = |rest: &str| format!("/v1/agents/{agent}{rest}");
    let of_run = format!("/v1/runs/{run}/stream");
    for (method, path, sent, expected) in [
        (
            Method::POST,
            of_agent("/messages"),
            r#"{ "input" : "hi", "unheard_of": {"x": 1} }"#.to_owned(),
            r#"{"input":"hi"}"#.to_owned(),
        ),
        (Method::POST, of_agent("/messages"), r#"{"input":"\u0041\u00fc"}"#.into(), "{\"input\":\"A\u{fc}\"}".into()),
        (
            Method::POST,
            of_agent("/messages"),
            r#"{"input":"x","max_steps":100000}"#.into(),
            r#"{"input":"x","max_steps":50}"#.into(),
        ),
        (
            Method::POST,
            of_agent("/messages/stream"),
            r#"{"messages":[{"role":"user","content":"x","sender_id":null,"unheard_of":1}],"override_model":null}"#
                .into(),
            r#"{"messages":[{"role":"user","content":"x"}]}"#.into(),
        ),
        (
            Method::POST,
            of_agent("/messages/async"),
            r#"{"input":"x","callback_url":""}"#.into(),
            r#"{"input":"x"}"#.into(),
        ),
        (
            Method::POST,
            of_agent("/messages/cancel"),
            format!(r#"{{"run_ids": ["{run}"], "all": true}}"#),
            format!(r#"{{"run_ids":["{run}"]}}"#),
        ),
        (Method::PATCH, of_agent(""), r#"{"name":"b","tags":[],"id":"agent-2"}"#.into(), r#"{"name":"b"}"#.into()),
        (
            Method::PATCH,
            of_agent("/core-memory/blocks/human"),
            r#"{"value":"v","id":"block-2"}"#.into(),
            r#"{"value":"v"}"#.into(),
        ),
        (Method::POST, of_run.clone(), r#"{"starting_after": 3, "x": 1}"#.into(), r#"{"starting_after":3}"#.into()),
        // No body, and none where Letta takes none.
        (Method::POST, of_run.clone(), " ".into(), String::new()),
        (Method::POST, of_run, "null".into(), String::new()),
        (Method::PATCH, of_agent("/files/close-all"), r#"{"user_id":"user-1"}"#.into(), String::new()),
        (Method::GET, of_agent("/messages"), r#"{"limit":1}"#.into(), String::new()),
    ] {
        let request = page.request(method, &path).header(header::CONTENT_TYPE, "application/json; charset=utf-8");
        let answer = request.body(sent.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path} {sent}");
        let seen = upstream.take_passed();
        assert_eq!(seen.text(), expected, "{path} {sent}");
        let length = expected.len().to_string();
        let declared = (!expected.is_empty()).then_some(length.as_str());
        assert_eq!(seen.header("content-length").filter(|length| *length != "0"), declared, "{path} {sent}");
        assert_eq!(seen.header("content-type"), declared.map(|_| "application/json"), "{path} {sent}");
        assert_eq!(seen.header("transfer-encoding"), None, "{path} {sent}");
    }
}

#[tokio::test]
async fn an_api_keys_body_passes_byte_for_byte() {
    let Scene { upstream, server: _server, agent, owner, .. } = scene().await;
    let messages = format!("/v1/agents/{agent}/messages");
    let folder = format!("/v1/folders/source-{}/upload", &agent[6..]);
    let form =
        "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n\u{0}\r\n\r\n--xyz--\r\n";
    let large: Vec<u8> = (0..5 * 1024 * 1024_u32).map(|n| n.to_le_bytes()[1]).collect();
    for (path, media_type, body) in [
        (&messages, "application/json", br#"{"input" : "a", "input":"b" , "x": 1.0e0, "override_model":"m"}"#.to_vec()),
        (&messages, "application/json", b"{nope".to_vec()),
        (&messages, "text/plain", b"\xff\xfe\0".to_vec()),
        (&folder, "multipart/form-data; boundary=xyz", form.as_bytes().to_vec()),
        (&folder, "application/octet-stream", large),
        (&messages, "application/json", Vec::new()),
    ] {
        let request = owner.request(Method::POST, path).header(header::CONTENT_TYPE, media_type).body(body.clone());
        assert_eq!(request.send().await.unwrap().status(), 200, "{path} {media_type}");
        let seen = upstream.take_passed();
        assert!(seen.body == body, "{path} {media_type}: {} bytes", seen.body.len());
        assert_eq!(seen.header("content-type"), Some(media_type));
    }
}

#[tokio::test]
async fn an_api_keys_body_passes_while_it_is_sent() {
    let Scene { upstream, server, .. } = scene().await;
    for (framing, first, second, expected) in [
        ("Content-Length: 12", "123456", "789abc", "123456789abc"),
        ("Transfer-Encoding: chunked", "6\r\n123456\r\n", "3\r\n789\r\n0\r\n\r\n", "123456789"),
    ] {
        let head = request("POST", "/v1/tools/", server.key(), &format!("{framing}\r\nContent-Type: text/plain\r\n"));
        let mut client = connect(&server).await;
        client.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
        eventually("the first half is there before the second is sent", SOON, async || {
            upstream.passed().iter().any(|seen| seen.body == b"123456" && !seen.is_whole)
        })
        .await;
        client.write_all(second.as_bytes()).await.unwrap();
        eventually("all of it is there", SOON, async || {
            upstream.passed().iter().any(|seen| seen.text() == expected && seen.is_whole)
        })
        .await;
        assert_eq!(upstream.take_passed().line(), "POST /v1/tools/");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_never_looks_whole() {
    let Scene { upstream, server, .. } = scene().await;
    let head = request("POST", "/v1/tools/", server.key(), "Content-Length: 12\r\nContent-Type: text/plain\r\n");
    let mut client = connect(&server).await;
    client.write_all(format!("{head}123456").as_bytes()).await.unwrap();
    eventually("half is there", SOON, async || upstream.passed().iter().any(|seen| seen.body == b"123456")).await;
    drop(client);
    // The next one goes through, so the half was given up and nothing was put in its place.
    let other = exchange(&server, request("GET", "/v1/tools/", server.key(), "").as_bytes()).await;
    assert!(other.starts_with("HTTP/1.1 200"), "{other}");
    assert!(upstream.passed().iter().all(|seen| !(seen.line().starts_with("POST") && seen.is_whole)));
}

#[tokio::test]
async fn head_is_asked_as_get_and_answered_without_a_body() {
    let Scene { upstream, server, agent, owner, .. } = scene().await;
    let token = owner.create_token(&agent, &super::ALL).await;
    upstream.answer("GET", "/v1/agents/", Scripted::Json(200, json!([{"id": agent}])));
    for (bearer, extra, target) in [
        (server.key(), String::new(), "/v1/agents/".to_owned()),
        (&token, format!("Origin: {ORIGIN}\r\n"), format!("/v1/agents/{agent}")),
        (&token, format!("Origin: {ORIGIN}\r\n"), format!("/v1/agents/{agent}/messages")),
    ] {
        let answer = exchange(&server, request("HEAD", &target, bearer, &extra).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(answer.split("\r\n\r\n").count(), 2, "{answer}");
        assert_eq!(upstream.take_passed().line(), format!("GET {target}"));
    }
}

#[tokio::test]
async fn the_token_endpoints_are_gatelets_own() {
    let Scene { upstream, server, agent, owner, .. } = scene().await;
    let tokens = "/v1/client-side-access-tokens";
    let made = owner.post(tokens, &token_request(&agent, &["read_agent"])).await.expect(201);
    let token = made["token"].as_str().unwrap();
    assert_eq!(owner.get(tokens).await.expect(200)["tokens"].as_array().unwrap().len(), 2);
    page(&server, token).get(tokens).await.refused(403, "api_key_required");
    assert_eq!(owner.delete(&format!("{tokens}/{token}")).await.status, 204);
    owner.post(tokens, &json!({})).await;
    for path in ["/healthz", "/v1/health/", "/v1/ready/"] {
        server.stranger().get(path).await.expect(200);
    }
    let preflight = server.stranger().with("origin", ORIGIN).with("access-control-request-method", "POST");
    let path = format!("/v1/agents/{agent}/messages");
    assert_eq!(preflight.send(Method::OPTIONS, &path, None).await.status, 204);
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    let unknown: Value = page(&server, token).get(&format!("/v1/agents/{agent}")).await.expect(401);
    assert_eq!(unknown["code"], "token_revoked");
    assert!(upstream.seen().is_empty());
}
