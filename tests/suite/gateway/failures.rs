//! What becomes of a request when the upstream does not answer it, or answers Gatelet itself.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{ALL, SOON, Scene, page, scene, scene_with};
use crate::harness::{Answer, NOBODY, ORIGIN, Program, Scripted, UPSTREAM_KEY, USER_AGENT, eventually, head, raw};

/// A refusal that a page can read and that says when to try again.
#[track_caller]
fn readable(answer: &Answer, status: u16, code: &str) -> String {
    let sentence = answer.refused(status, code);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert!(answer.header("access-control-expose-headers").is_some());
    sentence
}

#[tokio::test]
async fn an_upstream_that_is_down_is_told_and_gatelet_stays_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let program = Program::ephemeral().argument("--upstream").argument(&format!("http://{address}"));
    let server = program.start_alone().await;
    let owner = server.owner();
    let page = page(&server, &owner.create_token(NOBODY, &ALL).await);
    let run = format!("/v1/runs/run-{}", &NOBODY[6..]);
    for (method, path) in [
        (Method::GET, format!("/v1/agents/{NOBODY}")),
        (Method::GET, format!("/v1/agents/{NOBODY}/messages")),
        (Method::POST, format!("/v1/agents/{NOBODY}/messages")),
        (Method::POST, format!("/v1/agents/{NOBODY}/messages/stream")),
        (Method::GET, run),
    ] {
        let body = (method == Method::POST).then(|| json!({"input": "x"}));
        let answer = page.send(method, &path, body.as_ref()).await;
        let sentence = readable(&answer, 502, "upstream_unreachable");
        assert!(!sentence.contains(&address.to_string()), "{sentence}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}");
    }
    let answer = owner.get("/v1/agents/").await;
    answer.refused(502, "upstream_unreachable");
    assert!(answer.header("retry-after").is_some());
    let ready = server.stranger().get("/readyz").await.expect(200);
    let checks = &ready["checks"];
    assert_eq!((&checks["upstreams"], &checks["store"]), (&json!({"default": "unreachable"}), &json!("ok")));
    server.stranger().get("/healthz").await.expect(200);
    // What is Gatelet's own goes on.
    owner.get("/v1/client-side-access-tokens").await.expect(200);
    page.get("/v1/agents/").await.refused(403, "operation_not_available");
}

#[tokio::test]
async fn readiness_reports_the_upstream_and_does_not_depend_on_it() {
    let Scene { upstream, server, .. } = scene().await;
    for (answer, expected) in [
        (Scripted::Json(200, json!({"status": "ok"})), "ok"),
        (Scripted::Json(500, json!({})), "unreachable"),
        (Scripted::Reset, "unreachable"),
        (Scripted::Json(200, json!({"status": "ok"})), "ok"),
    ] {
        upstream.answer("GET", "/v1/health/", answer);
        eventually("the report is renewed", SOON, async || {
            let ready = server.stranger().get("/readyz").await.expect(200);
            assert_eq!(ready["status"], "ready");
            ready["checks"]["upstreams"] == json!({"default": expected})
        })
        .await;
    }
    let mock = crate::harness::Gatelet::ephemeral().await;
    assert_eq!(mock.stranger().get("/readyz").await.expect(200)["checks"].get("upstreams"), None);
}

#[tokio::test]
async fn strangers_make_one_health_check_a_second_at_most() {
    let Scene { upstream, server, .. } = scene().await;
    let began = Instant::now();
    let stranger = server.stranger();
    for round in 0..10 {
        let all = (0..100).map(async |number| {
            let asked = stranger.get("/readyz");
            // Some do not wait for the answer.
            if number % 2 == 0 {
                asked.await.expect(200);
            } else {
                let _ = tokio::time::timeout(Duration::from_millis(number % 10), asked).await;
            }
        });
        join_all(all).await;
        let most = began.elapsed().as_secs() + 1;
        let count = upstream.health_checks();
        assert!((1..=most).contains(&(count as u64)), "{count} health checks in {most} s, after round {round}");
    }
    // One that takes its time is shared as well.
    upstream.answer("GET", "/v1/health/", Scripted::Silence);
    eventually("it is asked again", SOON, async || {
        stranger.get("/readyz").await.expect(200)["checks"]["upstreams"]["default"] == "unreachable"
    })
    .await;
    let (before, began) = (upstream.health_checks(), Instant::now());
    join_all((0..100).map(async |_| stranger.get("/readyz").await.expect(200))).await;
    let count = upstream.health_checks() - before;
    assert!(count as u64 <= began.elapsed().as_secs() + 1, "{count} health checks in {:?}", began.elapsed());
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_a_504() {
    let program = Program::ephemeral().env("GATELET_UPSTREAM__FIRST_BYTE_TIMEOUT", "2s");
    let Scene { upstream, server: _server, agent, page, owner } = scene_with(program).await;
    let path = format!("/v1/agents/{agent}/messages");
    upstream.answer("POST", &path, Scripted::Silence);
    let body = json!({"input": "x"});
    let (asked, by_key) = tokio::join!(page.post(&path, &body), owner.post(&path, &body));
    readable(&asked, 504, "upstream_timeout");
    by_key.refused(504, "upstream_timeout");
    assert!(asked.header("retry-after").is_some() && by_key.header("retry-after").is_some());
    assert_eq!(upstream.passed().len(), 2, "what was sent is not sent again");
    // A look-up that hangs is no reason to let anyone through.
    let run = upstream.run(&agent);
    upstream.answer("GET", &format!("/v1/runs/{run}"), Scripted::Silence);
    upstream.forget();
    readable(&page.get(&format!("/v1/runs/{run}/messages")).await, 504, "upstream_timeout");
    assert!(upstream.passed().is_empty());
}

#[tokio::test]
async fn a_body_that_does_not_begin_in_time_is_a_504() {
    let program = Program::ephemeral().env("GATELET_UPSTREAM__IDLE_TIMEOUT", "1s");
    let Scene { upstream, server: _server, agent, page, owner } = scene_with(program).await;
    let json = ("content-type", "application/json");
    for path in ["messages", "tools"].map(|path| format!("/v1/agents/{agent}/{path}")) {
        for framing in [("content-length", "9"), ("content-length", "900000"), ("transfer-encoding", "chunked")] {
            for client in [&page, &owner] {
                let held = upstream.hold("GET", &path);
                held.send(head(200, &[json, framing]));
                client.get(&path).await.refused(504, "upstream_timeout");
                held.gone().await;
            }
        }
    }
}

/// An address at which nobody accepts: its queue of connections is full, so that further ones are not answered at all.
async fn full_house() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the queue does not fill");
    }
    (listener, waiting)
}

#[tokio::test]
async fn a_connection_that_does_not_come_in_time_is_a_504() {
    let (listener, _waiting) = full_house().await;
    let address = listener.local_addr().unwrap();
    for scheme in ["http", "https"] {
        let server = Program::ephemeral()
            .argument("--upstream")
            .argument(&format!("{scheme}://{address}"))
            .env("GATELET_UPSTREAM__CONNECT_TIMEOUT", "1s")
            .start_alone()
            .await;
        let page = page(&server, &server.owner().create_token(NOBODY, &ALL).await);
        let messages = format!("/v1/agents/{NOBODY}/messages");
        let (owner, body) = (server.owner(), json!({"input": "x"}));
        let started = Instant::now();
        let (answer, by_key) = tokio::join!(page.post(&messages, &body), owner.post(&messages, &body));
        assert!(started.elapsed() < Duration::from_secs(8), "{scheme}: {:?}", started.elapsed());
        let sentence = readable(&answer, 504, "upstream_timeout");
        assert!(!sentence.contains(&address.to_string()), "{sentence}");
        by_key.refused(504, "upstream_timeout");
        assert_eq!((answer.header("retry-after"), by_key.header("retry-after")), (Some("1"), Some("1")), "{scheme}");
        let ready = server.stranger().get("/readyz").await.expect(200);
        assert_eq!(ready["checks"]["upstreams"]["default"], "unreachable", "{scheme}");
    }
}

#[tokio::test]
async fn what_may_have_been_heard_is_not_said_twice() {
    let Scene { upstream, server: _server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/messages");
    for answer in [Scripted::Reset, Scripted::Raw(Vec::new())] {
        upstream.answer("POST", &path, answer);
        for client in [&page, &owner] {
            // A connection that has served before makes no difference.
            client.get(&format!("/v1/agents/{agent}")).await.expect(200);
            upstream.forget();
            let answer = client.post(&path, &json!({"input": "x"})).await;
            answer.refused(502, "upstream_unreachable");
            assert!(answer.header("retry-after").is_some());
            assert_eq!(upstream.passed().len(), 1);
        }
    }
}

#[tokio::test]
async fn the_refusal_of_gatelets_own_credential_is_no_refusal_of_the_caller() {
    let Scene { upstream, server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/messages");
    for (status, body) in [
        (401, json!({"detail": "Unauthorized"})),
        (401, json!({"message": "Invalid API key"})),
        (403, json!({"detail": "Forbidden"})),
        (401, json!({"error": "unauthorized"})),
        (401, json!("no")),
    ] {
        let headers = [("content-type", "application/json"), ("www-authenticate", "Bearer realm=\"letta\"")];
        upstream.answer("GET", &path, raw(status, &headers, body.to_string()));
        for client in [&page, &owner] {
            let answer = client.get(&path).await;
            let sentence = answer.refused(502, "upstream_credential_refused");
            assert!(sentence.contains("upstream_api_key"), "{sentence}");
            assert_eq!(answer.header("www-authenticate"), None, "it is not the caller who must sign in");
        }
        assert_eq!(page.get(&path).await.header("access-control-allow-origin"), Some(ORIGIN));
    }
    // Look-ups are made with the same credential.
    let run = upstream.run(&agent);
    upstream.answer("GET", &format!("/v1/runs/{run}"), Scripted::Json(401, json!({"detail": "Unauthorized"})));
    page.get(&format!("/v1/runs/{run}")).await.refused(502, "upstream_credential_refused");
    assert!(!server.log().contains(UPSTREAM_KEY), "the credential is in no log");
}

#[tokio::test]
async fn a_providers_refusal_is_handed_out() {
    let Scene { upstream, server: _server, agent, page, owner } = scene().await;
    let path = format!("/v1/agents/{agent}/messages");
    let body =
        json!({"error": {"type": "llm_authentication", "message": "The key of the provider is wrong", "detail": ""}});
    upstream.answer("POST", &path, raw(401, &[("content-type", "application/json")], body.to_string()));
    for client in [&page, &owner] {
        let answer = client.post(&path, &json!({"input": "x"})).await;
        assert_eq!(answer.expect(401), body);
    }
}

#[tokio::test]
async fn a_look_up_that_fails_lets_nobody_through() {
    let Scene { upstream, server: _server, agent, page, .. } = scene().await;
    page.get(&format!("/v1/agents/{agent}")).await.expect(200);
    for (why, answer) in [
        ("an error", Scripted::Json(500, json!({"detail": "x"}))),
        ("another error", Scripted::Json(503, Value::Null)),
        ("a reset", Scripted::Reset),
        ("no JSON", raw(200, &[], "<html>")),
        ("cut", raw(200, &[], "{\"id\":")),
        ("too much to keep", raw(200, &[], format!("[{}0]", "\"x\",".repeat(100_000)))),
        ("endless", Scripted::Endless(head(200, &[("transfer-encoding", "chunked")]))),
    ] {
        let run = upstream.run(&agent);
        upstream.answer("GET", &format!("/v1/runs/{run}"), answer);
        upstream.forget();
        let path = format!("/v1/runs/{run}/messages");
        readable(&page.get(&path).await, 502, "upstream_unreachable");
        assert!(upstream.passed().is_empty(), "{why}");
        // It is not remembered.
        upstream.answer("GET", &format!("/v1/runs/{run}"), Scripted::Json(200, json!({"id": run, "agent_id": agent})));
        assert_eq!(page.get(&path).await.outcome(), "200", "{why}");
    }
}

#[tokio::test]
async fn an_upstream_that_cannot_be_one_is_refused_at_the_start() {
    for url in [
        "letta.internal:8283",
        "ftp://letta.internal",
        "http://",
        "http://user:password-canary@letta.internal",
        "http://letta.internal/prefix",
        "http://letta.internal/?x=1",
    ] {
        let failure = Program::ephemeral().argument("--upstream").argument(url).try_start().await.unwrap_err();
        assert!(failure.contains("upstream_url"), "{url}: {failure}");
        assert!(!failure.contains("password-canary") && !failure.contains("panicked"), "{url}: {failure}");
    }
    let key =
        Program::ephemeral().env("GATELET_UPSTREAM_URL", "http://127.0.0.1:1").env("GATELET_UPSTREAM_API_KEY", "a\nb");
    let failure = key.try_start().await.unwrap_err();
    assert!(failure.contains("upstream_api_key") && !failure.contains("a\nb"), "{failure}");
    // Whoever gives a credential does not mean the mock.
    let failure = Program::ephemeral().env("GATELET_UPSTREAM_API_KEY", "canary").try_start().await.unwrap_err();
    assert!(failure.contains("upstream_url") && !failure.contains("canary"), "{failure}");
}

#[tokio::test]
async fn the_credential_may_be_in_a_file() {
    let upstream = crate::harness::Upstream::start().await;
    let program = Program::ephemeral().env("GATELET_UPSTREAM_URL", &upstream.url());
    let file = program.folder().join("key");
    std::fs::write(&file, "from-a-file\n").unwrap();
    let program = program.env("GATELET_UPSTREAM_API_KEY_FILE", file.to_str().unwrap());
    let server = program.start().await;
    assert_eq!(server.banner["mode"], "gateway");
    server.owner().with("user-agent", USER_AGENT).get("/v1/agents/").await.expect(200);
    assert_eq!(upstream.take_passed().header("authorization"), Some("Bearer from-a-file"));
    // Without one, none is sent: least of all the caller's.
    let open = Program::ephemeral().argument("--upstream").argument(&upstream.url()).start_alone().await;
    open.owner().with("user-agent", USER_AGENT).get("/v1/agents/").await.expect(200);
    assert_eq!(upstream.take_passed().header("authorization"), None);
}
