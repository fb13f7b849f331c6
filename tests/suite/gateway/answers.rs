//! What the client hears: the upstream's answer byte for byte, without what is the upstream's own affair and without what
//! the table removes.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Scene, exchange, page, scene, scene_over};
use crate::harness::{Client, ORIGIN, Scripted, USER_AGENT, head, raw};

const CANARY: &str = "secret-canary";

/// An agent's state with secrets wherever Letta puts them.
fn state_with_secrets() -> Value {
    let secret = json!([{"key": "K", "value": CANARY}]);
    json!({
        "name": "a", "description": "d", "project_id": null, "embedding": "openai/e",
        "secrets": secret, "tool_exec_environment_variables": secret,
        "llm_config": {"model": "m", "model_endpoint": CANARY},
        "embedding_config": {"embedding_endpoint": CANARY, "azure_endpoint": CANARY},
        "tools": [{"name": "t", "source_code": CANARY, "json_schema": {"name": "t"}}],
        "sources": [{"embedding_config": {"embedding_endpoint": CANARY}}],
        "multi_agent_group": {"agents": [{"secrets": secret, "tools": [{"source_code": CANARY}]}]},
        "model_settings": {"provider": {"api_key": CANARY, "base_url": CANARY, "access_key": CANARY}},
    })
}

#[tokio::test]
async fn an_agents_state_comes_to_a_page_without_secrets_and_to_a_key_whole() {
    let Scene { upstream, server, owner, .. } = scene().await;
    let agent = upstream.agent_with(&state_with_secrets());
    let path = format!("/v1/agents/{agent}");
    let mut state = state_with_secrets();
    state["id"] = json!(agent);
    upstream.answer("PATCH", &path, Scripted::Json(200, state.clone()));
    upstream.answer("GET", &format!("{path}/tools"), Scripted::Json(200, state["tools"].clone()));
    upstream.answer("GET", &format!("{path}/folders"), Scripted::Json(200, state["sources"].clone()));
    let reader = page(&server, &owner.create_token(&agent, &["read_agent", "write_agent"]).await);
    let writer = page(&server, &owner.create_token(&agent, &["write_agent"]).await);
    let change = json!({"description": "d"});
    for (method, rest, body) in [
        (Method::GET, "", None),
        (Method::GET, "?include=agent.secrets&include=agent.tools", None),
        (Method::PATCH, "", Some(&change)),
        (Method::GET, "/tools", None),
        (Method::GET, "/folders", None),
    ] {
        let whole = owner.send(method.clone(), &format!("{path}{rest}"), body).await;
        assert!(whole.text.contains(CANARY), "{rest}: {}", whole.text);
        let answer = reader.send(method, &format!("{path}{rest}"), body).await;
        let value = answer.expect(200);
        assert!(!answer.text.contains(CANARY), "{rest}: {}", answer.text);
        if value.is_object() {
            assert_eq!(value["id"], state["id"]);
            assert_eq!([&value["name"], &value["embedding"]], ["a", "openai/e"]);
            assert_eq!((&value["secrets"], &value["tools"][0]["name"]), (&json!([]), &json!("t")));
        }
    }
    // Writing is not reading.
    assert_eq!(writer.patch(&path, &change).await.expect(200), json!({"id": agent, "description": "d"}));
    let nothing = json!({"name": null, "description": null, "metadata": null, "system": null, "timezone": null});
    assert_eq!(writer.patch(&path, &nothing).await.expect(200), json!({"id": agent}));
}

#[tokio::test]
async fn an_answer_that_cannot_be_redacted_is_not_handed_out() {
    let Scene { upstream, server: _server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/tools");
    let json = [("content-type", "application/json")];
    let endless = head(200, &[("content-type", "application/json"), ("transfer-encoding", "chunked")]);
    let large = format!("[\"{}\"]", "x".repeat(17 * 1024 * 1024));
    for (why, answer) in [
        ("not JSON", raw(200, &[("content-type", "text/html")], format!("<html>{CANARY}</html>"))),
        ("cut JSON", raw(200, &json, format!("[{{\"source_code\": \"{CANARY}"))),
        ("two values", raw(200, &json, format!("[] {{\"source_code\": \"{CANARY}\"}}"))),
        ("not UTF-8", raw(200, &json, [b"[\"", CANARY.as_bytes(), b"\xff\"]"].concat())),
        ("nothing", raw(200, &json, "")),
        ("too large", raw(200, &json, large)),
        ("endless", Scripted::Endless(endless)),
        ("longer than it says", Scripted::Raw([&head(200, &[("content-length", "2")])[..], b"[] {}"].concat())),
        ("shorter than it says", Scripted::Raw([&head(200, &[("content-length", "9")])[..], b"[]"].concat())),
    ] {
        upstream.answer("GET", &path, answer);
        let answer = page.get(&path).await;
        assert!(!answer.text.contains(CANARY), "{why}");
        if why == "longer than it says" {
            assert_eq!(answer.expect(200), json!([]), "what is said too much belongs to no answer");
            continue;
        }
        answer.refused(502, "upstream_unreachable");
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{why}");
    }
    upstream.answer("GET", &path, raw(200, &[("content-type", "text/html")], "<html>"));
    assert_eq!(owner.get(&path).await.text, "<html>", "an API key gets it as it is");
}

#[tokio::test]
async fn an_error_that_cannot_be_redacted_keeps_its_status_and_loses_its_text() {
    let Scene { upstream, server: _server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/tools");
    let html = format!("<html><body>Bad gateway: {CANARY}</body></html>");
    for (status, media_type, body) in [
        (500, "text/plain", format!("Internal Server Error {CANARY}")),
        (502, "text/html", html.clone()),
        (503, "text/html", html.clone()),
        (504, "application/json", format!("{{\"detail\": \"{CANARY}")),
        (429, "text/html", html.clone()),
        (404, "text/html", html),
        (500, "application/json", String::new()),
    ] {
        let headers = [("content-type", media_type), ("retry-after", "7"), ("x-custom", CANARY)];
        upstream.answer("GET", &path, raw(status, &headers, &body));
        let answer = page.get(&path).await;
        let sentence = answer.refused(status, "upstream_error");
        assert!(sentence.contains(&status.to_string()), "{sentence}");
        assert!(!answer.text.contains(CANARY) && answer.header("x-custom").is_none(), "{status}: {answer:?}");
        assert_eq!(answer.header("retry-after"), Some("7"), "{status}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{status}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{status}");
        assert_eq!(owner.get(&path).await.text, body, "an API key gets it as it is");
    }
}

#[tokio::test]
async fn other_answers_pass_byte_for_byte() {
    let Scene { upstream, server: _server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/messages");
    let large: Vec<u8> = (0..5 * 1024 * 1024_u32).map(|n| n.to_le_bytes()[1]).collect();
    for (why, status, media_type, body) in [
        ("odd spaces, order and numbers", 200, "application/json", br#"[ {"b":1.0e0 , "a":"\u00fc","a":2} ]"#.to_vec()),
        ("null", 200, "application/json", b"null".to_vec()),
        ("nothing", 200, "application/json", Vec::new()),
        ("another success", 202, "application/json", b"{}".to_vec()),
        ("not JSON", 200, "text/plain; charset=latin1", b"\xff\xfe\0".to_vec()),
        ("large", 200, "application/octet-stream", large),
        ("Letta's 404", 404, "application/json", br#"{"detail":"Message not found"}"#.to_vec()),
        ("Letta's 409", 409, "application/json", br#"{"detail":{"code":"PENDING_APPROVAL"}}"#.to_vec()),
        ("Letta's 422", 422, "application/json", br#"{"detail":"[{'type': 'x'}]","trace_id":""}"#.to_vec()),
        ("Letta's 429", 429, "application/json", br#"{"error":{"type":"llm_rate_limit"}}"#.to_vec()),
        ("Letta's 500", 500, "text/plain", b"Internal Server Error".to_vec()),
        ("Letta's 503", 503, "application/json", br#"{"detail":"Redis is required"}"#.to_vec()),
    ] {
        upstream.answer("GET", &path, raw(status, &[("content-type", media_type), ("retry-after", "7")], &body));
        for client in [&page, &owner] {
            let answer = client.request(Method::GET, &path).send().await.unwrap();
            assert_eq!(answer.status(), status, "{why}");
            assert_eq!(answer.headers()["content-type"], media_type, "{why}");
            assert_eq!(answer.headers()["retry-after"], "7", "{why}");
            assert_eq!(answer.headers()["content-length"], body.len().to_string(), "{why}");
            assert!(answer.headers().contains_key("x-request-id"), "{why}");
            assert!(answer.bytes().await.unwrap() == body, "{why}");
        }
    }
    let empty = Scripted::Raw(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_vec());
    upstream.answer("GET", &path, empty);
    let answer = page.get(&path).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
}

#[tokio::test]
async fn refusals_of_what_is_redacted_are_handed_out_too() {
    let Scene { upstream, server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/tools");
    let state = format!("/v1/agents/{agent}");
    // It is shown no more of the agent than it sent, and all of an error.
    let writer = super::page(&server, &owner.create_token(&agent, &["write_agent"]).await);
    for (status, body) in [
        (404, json!({"detail": "Agent not found"})),
        (422, json!({"detail": "[{'type': 'x'}]", "trace_id": ""})),
        (500, json!({"detail": "An unknown error occurred"})),
    ] {
        upstream.answer("GET", &path, Scripted::Json(status, body.clone()));
        let answer = page.get(&path).await;
        assert_eq!(answer.expect(status), body);
        upstream.answer("PATCH", &state, Scripted::Json(status, body.clone()));
        assert_eq!(writer.patch(&state, &json!({"name": "b"})).await.expect(status), body);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_no_page_is_told() {
    let Scene { upstream, server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/messages");
    let elsewhere = format!("{}/v1/agents/", upstream.url());
    for status in [301, 302, 303, 307, 308] {
        upstream.answer("GET", &path, raw(status, &[("location", &elsewhere)], ""));
        upstream.forget();
        let answer = page.get(&path).await;
        answer.refused(502, "upstream_unreachable");
        assert_eq!(answer.header("location"), None);
        assert!(!answer.text.contains(&upstream.authority()), "{}", answer.text);
        let seen = owner.get(&path).await;
        assert_eq!(seen.status, status, "a key's holder may see it");
        assert_eq!(seen.header("location"), Some("/v1/agents/"), "and is led to Gatelet again");
        assert!(upstream.seen().iter().all(|seen| seen.target() != "/v1/agents/"), "{:?}", upstream.seen());
    }
    // Neither is a look-up led astray.
    let run = upstream.run(&agent);
    let true_owner = json!({"id": run, "agent_id": agent});
    upstream.answer("GET", "/elsewhere", Scripted::Json(200, true_owner));
    upstream.answer("GET", &format!("/v1/runs/{run}"), raw(307, &[("location", "/elsewhere")], ""));
    page.get(&format!("/v1/runs/{run}")).await.refused(502, "upstream_unreachable");
    assert!(upstream.seen().iter().all(|seen| seen.target() != "/elsewhere"));
    drop(server);
}

#[tokio::test]
async fn what_comes_before_and_after_an_answer_is_not_handed_out() {
    let Scene { upstream, server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/messages");
    let chunked = head(200, &[("transfer-encoding", "chunked"), ("trailer", "set-cookie")]);
    let body = b"2\r\n[]\r\n0\r\nset-cookie: a=canary\r\nx-late: canary\r\n\r\n";
    for (why, before) in [
        ("nothing", ""),
        ("hints", "HTTP/1.1 103 Early Hints\r\nlink: </canary>\r\nset-cookie: a=canary\r\n\r\n"),
        ("leave to go on", "HTTP/1.1 100 Continue\r\nset-cookie: a=canary\r\n\r\n"),
    ] {
        upstream.answer("GET", &path, Scripted::Raw([before.as_bytes(), &chunked, body].concat()));
        assert_eq!(page.get(&path).await.expect(200), json!([]), "{why}");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close, TE\r\nAuthorization: Bearer {}\r\n\r\n",
            server.key()
        );
        let answer = exchange(&server, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("canary"), "{why}: {answer}");
    }
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\ncanary".to_vec();
    upstream.answer("GET", &path, Scripted::Raw(switched));
    for client in [&page, &owner] {
        client.get(&path).await.refused(502, "upstream_unreachable");
    }
    upstream.answer("GET", &path, raw(201, &[("location", "http://letta.internal/canary")], "[]"));
    let answer = page.get(&path).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (201, None), "where something is, is for keys");
    assert_eq!(owner.get(&path).await.header("location"), Some("http://letta.internal/canary"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_before_anything_was_handed_on_is_refused_in_words() {
    let over_tls = scene_over(&["http/1.1"]).await.0;
    for (scene, is_plain) in [(scene().await, true), (over_tls, false)] {
        let Scene { upstream, server: _server, agent, page, owner } = &scene;
        let json = ("content-type", "application/json");
        let said = |length: &str| head(200, &[json, ("content-length", length)]);
        let chunked = head(200, &[json, ("transfer-encoding", "chunked")]);
        // One operation passes as it is, the other is read to be redacted.
        for path in [format!("/v1/agents/{agent}/messages"), format!("/v1/agents/{agent}/tools")] {
            for (why, answer) in [
                ("nothing of a length", said("9")),
                ("a small part", [&said("9")[..], b"[1]"].concat()),
                ("most of a small body", [&said("16000")[..], &[b' '; 15_999]].concat()),
                ("nothing of a large body", said("1000000")),
                ("no chunk", chunked.clone()),
                ("half a size", [&chunked[..], b"3"].concat()),
                ("a size alone", [&chunked[..], b"3\r\n"].concat()),
                ("no size", [&chunked[..], b"zz\r\n"].concat()),
            ] {
                // What stands between over TLS begins an answer before it sees its end.
                if !is_plain && !matches!(why, "nothing of a length" | "a small part" | "no chunk") {
                    continue;
                }
                upstream.answer("GET", &path, Scripted::Raw(answer));
                for client in [page, owner] {
                    let answer = client.get(&path).await;
                    answer.refused(502, "upstream_unreachable");
                    assert_eq!(answer.header("retry-after"), Some("1"), "{why}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_answer_of_the_wrong_length_never_looks_whole() {
    let Scene { upstream, server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/messages");
    let chunked = head(200, &[("transfer-encoding", "chunked")]);
    let clients: [&Client; 2] = [&page, &owner];
    for (why, answer) in [
        ("shorter than it says", [&head(200, &[("content-length", "9")])[..], b"[1]"].concat()),
        ("without its last chunk", [&chunked[..], b"3\r\n[1]\r\n"].concat()),
        ("in the middle of a chunk", [&chunked[..], b"9\r\n[1]"].concat()),
        ("with a chunk of no length", [&chunked[..], b"3\r\n[1]\r\nzz\r\n"].concat()),
    ] {
        upstream.answer("GET", &path, Scripted::Raw(answer));
        for client in clients {
            // The head may be gone already, so the body breaks off; or nothing is, so the refusal is a proper one.
            match client.request(Method::GET, &path).send().await {
                Ok(response) if response.status() == 200 => assert!(response.bytes().await.is_err(), "{why}"),
                Ok(response) => assert_eq!(response.status(), 502, "{why}"),
                Err(_) => {}
            }
        }
    }
    for (why, answer) in [
        ("no HTTP", b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
        ("two lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}".to_vec()),
        ("no answer", Vec::new()),
        ("half a head", b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        ("a head without end", [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 2 * 1024 * 1024]].concat()),
    ] {
        upstream.answer("GET", &path, Scripted::Raw(answer));
        let answer = page.get(&path).await;
        assert_eq!(answer.outcome(), "502 upstream_unreachable", "{why}");
    }
    let page = server.stranger().with("user-agent", USER_AGENT);
    page.get("/v1/health/").await.expect(200);
    assert!(!server.log().contains("panicked"));
}
