//! So many requests a minute, and so many streams and large bodies at a time, for each client token.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{ALL, Stage, stages};
use crate::harness::{Answer, Client, NOBODY, ORIGIN, Scripted, eventually, head, raw};

const SOON: Duration = Duration::from_secs(30);
const REQUESTS: &str = "GATELET_LIMITS__REQUESTS_PER_MINUTE";
const STREAMS: &str = "GATELET_LIMITS__STREAMS_PER_TOKEN";
const BODIES: &str = "GATELET_LIMITS__LARGE_BODIES_PER_TOKEN";
/// So much text that the network cannot hold its echo.
const HELD: usize = 7 * 1024 * 1024;

/// What an answer says of the token's quota: limit, remaining, reset.
fn quota(answer: &Answer) -> Option<[u64; 3]> {
    let number = |name| answer.header(name).map(|value| value.parse().unwrap());
    let numbers = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"].map(number);
    let [Some(limit), Some(remaining), Some(reset)] = numbers else {
        assert_eq!(numbers, [None; 3], "all three or none");
        return None;
    };
    Some([limit, remaining, reset])
}

/// Spends what is left of a page's requests; returns the refusal.
async fn spend(page: &Client) -> Answer {
    for _ in 0..200 {
        let answer = page.get("/v1/agents/").await;
        if answer.status == 429 {
            return answer;
        }
        answer.refused(403, "operation_not_available");
    }
    panic!("there is no end to it");
}

#[tokio::test]
async fn a_token_that_has_sent_its_requests_waits_for_the_next() {
    for stage in stages(&[(REQUESTS, "60")]).await {
        let (page, other) = (stage.page().await, stage.page().await);
        let path = format!("/v1/agents/{}", stage.agent);
        let first = page.get(&path).await;
        first.expect(200);
        assert_eq!(quota(&first), Some([60, 59, 1]), "{}", stage.name);
        let passed = stage.passed();
        let started = Instant::now();
        for sent in 1..60 {
            let answer = page.get("/v1/agents/").await;
            let [limit, remaining, _] = quota(&answer).unwrap();
            // A slow machine gives time to recover.
            let recovered = started.elapsed().as_secs() + 1;
            assert!(limit == 60 && remaining >= 59 - sent && remaining <= 59 - sent + recovered, "{}", stage.name);
        }
        let refused = spend(&page).await;
        let sentence = refused.refused(429, "rate_limited");
        assert!(sentence.contains("60 requests a minute") && sentence.contains("after 1 s"), "{sentence}");
        assert_eq!(quota(&refused), Some([60, 0, 1]));
        assert_eq!(refused.header("retry-after"), Some("1"));
        let exposed = refused.header("access-control-expose-headers").unwrap();
        for name in ["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        assert_eq!(stage.passed(), passed, "the upstream hears of none of it");
        // Another token has a bucket of its own.
        let answer = other.get(&path).await;
        answer.expect(200);
        assert_eq!(quota(&answer), Some([60, 59, 1]));
        // And the promise is kept.
        let refused_at = Instant::now();
        eventually("the next request passes", SOON, async || page.get(&path).await.status == 200).await;
        assert!(refused_at.elapsed() < Duration::from_secs(5), "{:?}", refused_at.elapsed());
    }
}

#[tokio::test]
async fn every_answer_to_a_token_tells_its_quota_and_no_other_answer_does() {
    for stage in stages(&[(REQUESTS, "1000")]).await {
        let page = stage.page().await;
        let agent = &stage.agent;
        let send = format!("/v1/agents/{agent}/messages");
        for (what, answer) in [
            ("an answer", page.get(&format!("/v1/agents/{agent}")).await),
            ("a message", page.post(&send, &json!({"input": "Hi"})).await),
            ("a stream", page.post(&format!("{send}/stream"), &json!({"input": "Hi"})).await),
            ("no such path", page.get("/v1/nothing").await),
            ("no such method", page.post("/v1/models/", &json!({})).await),
            ("a malformed id", page.get("/v1/agents/x").await),
            ("another agent", page.get(&format!("/v1/agents/{NOBODY}")).await),
            ("another origin", page.with("origin", "https://evil.example").get(&format!("/v1/agents/{agent}")).await),
            ("not JSON", Answer::read(page.request(Method::POST, &send).body("{").send().await.unwrap()).await),
            ("not found", page.get(&format!("/v1/runs/run-{}", &NOBODY[6..])).await),
        ] {
            let [limit, remaining, reset] = quota(&answer).unwrap_or_else(|| panic!("{what}: {answer:?}"));
            assert!(limit == 1000 && remaining < 1000 && reset == 1, "{what}: {answer:?}");
        }
        let expired = page.with("authorization", "Bearer x");
        let preflight = stage.server.stranger().with("origin", "https://app.example");
        let preflight = preflight.with("access-control-request-method", "GET");
        for (what, answer) in [
            ("a key", stage.owner.get(&format!("/v1/agents/{agent}")).await),
            ("two bearers", expired.get("/v1/agents/").await),
            ("a stranger", stage.server.stranger().get("/v1/agents/").await),
            ("a health check", page.get("/v1/health/").await),
            ("a preflight", preflight.send(Method::OPTIONS, &send, None).await),
            ("a path that is none", page.get("/v1//agents").await),
        ] {
            assert_eq!(quota(&answer), None, "{what}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_quota_comes_after_the_bearer_and_before_everything_else() {
    for stage in stages(&[(REQUESTS, "1")]).await {
        let token = stage.owner.create_token(&stage.agent, &ALL).await;
        let page = stage.server.stranger().page(&token);
        page.get("/v1/agents/").await.refused(403, "operation_not_available");
        for (path, outcome) in [
            ("/v1//agents", "400 path_not_canonical"),
            ("/v1/health/", "200"),
            ("/v1/nothing", "429 rate_limited"),
            ("/v1/agents/", "429 rate_limited"),
            ("/v1/agents/x", "429 rate_limited"),
        ] {
            assert_eq!(page.get(path).await.outcome(), outcome, "{}: {path}", stage.name);
        }
        let seconds: u64 = page.get("/v1/agents/").await.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        stage.owner.delete(&format!("/v1/client-side-access-tokens/{token}")).await;
        page.get("/v1/agents/").await.refused(401, "token_revoked");
    }
}

#[tokio::test]
async fn without_a_setting_only_a_gateway_limits_and_zero_is_no_limit() {
    for (settings, expected) in [
        (&[][..], [None, Some([600, 599, 1])]),
        (&[(REQUESTS, "0"), (STREAMS, "0")], [None, None]),
        (&[(REQUESTS, "30")], [Some([30, 29, 2]), Some([30, 29, 2])]),
    ] {
        for (stage, expected) in stages(settings).await.iter().zip(expected) {
            let answer = stage.page().await.get(&format!("/v1/agents/{}", stage.agent)).await;
            answer.expect(200);
            assert_eq!(quota(&answer), expected, "{}: {settings:?}", stage.name);
        }
    }
}

/// Opens a stream that goes on for as long as nobody reads it.
async fn open(stage: &Stage, page: &Client, agent: usize) -> Result<reqwest::Response, Answer> {
    let path = format!("/v1/agents/{}/messages/stream", stage.others[agent]);
    let mut text = "x".repeat(HELD);
    if let Some(upstream) = &stage.upstream {
        let events = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")];
        upstream.answer("POST", &path, Scripted::Endless(head(200, &events)));
        text.truncate(1);
    }
    let request = page.request(Method::POST, &path).json(&json!({"input": text, "stream_tokens": true}));
    let response = request.send().await.unwrap();
    if response.status() == 200 { Ok(response) } else { Err(Answer::read(response).await) }
}

#[tokio::test]
async fn a_token_has_so_many_streams_at_a_time() {
    for stage in stages(&[(STREAMS, "2")]).await {
        let (page, other) = (stage.page().await, stage.page().await);
        let stream = format!("/v1/agents/{}/messages/stream", stage.agent);
        let first = open(&stage, &page, 0).await.unwrap();
        let second = open(&stage, &page, 1).await.unwrap();
        let passed = stage.passed();
        let refused = page.post(&stream, &json!({"input": "x"})).await;
        let sentence = refused.refused(429, "rate_limited");
        assert!(sentence.contains("2 streams open"), "{sentence}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(stage.passed(), passed, "the upstream hears nothing of it");
        // All else goes on: what is no stream, another token, an API key.
        page.get(&format!("/v1/agents/{}", stage.agent)).await.expect(200);
        open(&stage, &other, 2).await.unwrap();
        open(&stage, &stage.owner, 3).await.unwrap();
        // A client that leaves gives its stream back, and one only.
        drop(first);
        let third = loop {
            match open(&stage, &page, 4).await {
                Ok(stream) => break stream,
                Err(refused) => refused.refused(429, "rate_limited"),
            };
        };
        open(&stage, &page, 0).await.unwrap_err().refused(429, "rate_limited");
        // And so does a stream that has come to its end.
        drop(second);
        if let Some(upstream) = &stage.upstream {
            let events = [("content-type", "text/event-stream")];
            upstream.answer("POST", &stream, raw(200, &events, "data: [DONE]\n\n"));
        }
        for _ in 0..4 {
            eventually("the stream has ended", SOON, async || {
                let answer = page.post(&stream, &json!({"input": "x"})).await;
                assert!(answer.status == 429 || answer.text.ends_with("data: [DONE]\n\n"), "{answer:?}");
                answer.status == 200
            })
            .await;
        }
        drop(third);
    }
}

#[tokio::test]
async fn streams_and_turns_are_counted_until_they_are_answered() {
    let [_, stage] = stages(&[(STREAMS, "1")]).await;
    let upstream = stage.upstream.as_ref().unwrap();
    let (agent, page) = (&stage.agent, stage.page().await);
    let send = format!("/v1/agents/{agent}/messages");
    let conversation = format!("/v1/conversations/{}", upstream.conversation(agent));
    let run = format!("/v1/runs/{}/stream", upstream.run(agent));
    let open = open(&stage, &page, 0).await.unwrap();
    upstream.forget();
    for (path, body, is_refused) in [
        (&send, json!({"input": "x"}), true),
        (&send, json!({"input": "x", "streaming": false}), true),
        (&send, json!({"input": "x", "streaming": true}), true),
        (&format!("{send}/stream"), json!({"input": "x", "streaming": false}), true),
        (&format!("{send}/async"), json!({"input": "x"}), false),
        (&format!("{conversation}/messages"), json!({"input": "x"}), true),
        (&format!("{conversation}/messages"), json!({"input": "x", "streaming": false}), true),
        (&format!("{conversation}/compact"), json!({}), true),
        (&format!("/v1/agents/{agent}/summarize"), json!({}), true),
        (&format!("{conversation}/fork"), Value::Null, false),
        (&format!("{conversation}/cancel"), Value::Null, false),
        (&format!("{conversation}/stream"), json!({}), true),
        (&run, Value::Null, true),
    ] {
        let answer = page.post(path, &body).await;
        let outcome = if is_refused { "429 rate_limited" } else { "200" };
        assert_eq!(answer.outcome(), outcome, "{path} {body}");
        assert_eq!(upstream.passed().len(), usize::from(!is_refused), "{path} {body}");
        upstream.forget();
    }
    // An answer that was not to be a stream, and is one, is refused as soon as its head is there.
    let held = upstream.hold("GET", &send);
    held.begin_events();
    page.get(&send).await.refused(429, "rate_limited");
    held.gone().await;
    drop(open);
    // What was to be a stream and is none gives its right back at once: also a failure, also a refusal.
    let path = format!("{send}/stream");
    upstream.answer("POST", &path, Scripted::Json(409, json!({"detail": "busy"})));
    eventually("the stream is given back", SOON, async || page.post(&path, &json!({})).await.status == 409).await;
    for _ in 0..3 {
        page.post(&path, &json!({})).await.expect(409);
    }
    upstream.answer("POST", &path, Scripted::Reset);
    for _ in 0..3 {
        page.post(&path, &json!({})).await.refused(502, "upstream_unreachable");
    }
    let nobodys = format!("/v1/runs/run-{}/stream", &NOBODY[6..]);
    for _ in 0..3 {
        page.post(&nobodys, &Value::Null).await.refused(404, "not_found");
    }
    // A head that is long in coming counts as a stream.
    let held = upstream.hold("POST", &path);
    let request = page.request(Method::POST, &path).json(&json!({}));
    let asking = tokio::spawn(request.send());
    held.asked().await;
    page.post(&path, &json!({})).await.refused(429, "rate_limited");
    held.send(head(204, &[]));
    held.cut();
    assert_eq!(asking.await.unwrap().unwrap().status(), 204);
    // So does a turn that is not streamed, until it is answered.
    let held = upstream.hold("POST", &send);
    let asking = tokio::spawn(page.request(Method::POST, &send).json(&json!({"input": "x"})).send());
    held.asked().await;
    page.post(&send, &json!({"input": "x"})).await.refused(429, "rate_limited");
    page.post(&path, &json!({})).await.refused(429, "rate_limited");
    held.send(head(204, &[]));
    held.cut();
    assert_eq!(asking.await.unwrap().unwrap().status(), 204);
    page.post(&send, &json!({"input": "x"})).await.expect(200);
}

/// Begins to send a message, and waits until its body is asked for.
async fn begin(stage: &Stage, token: &str, framing: &str) -> TcpStream {
    let mut connection = TcpStream::connect(stage.server.url().trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /v1/agents/{}/messages HTTP/1.1\r\nhost: a\r\norigin: {ORIGIN}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\nexpect: 100-continue\r\n{framing}\r\n\r\n",
        stage.agent
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    connection.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 100");
    connection
}

#[tokio::test]
async fn a_token_sends_so_many_large_bodies_at_a_time() {
    for stage in stages(&[(BODIES, "2")]).await {
        let (token, other) = (stage.token().await, stage.page().await);
        let page = stage.page_of(&token);
        let send = format!("/v1/agents/{}/messages", stage.agent);
        let (small, large) = (json!({"input": "x".repeat(60_000)}), json!({"input": "x".repeat(70_000)}));
        let first = begin(&stage, &token, "content-length: 70000").await;
        let _second = begin(&stage, &token, "transfer-encoding: chunked").await;
        let passed = stage.passed();
        let refused = page.post(&send, &large).await;
        let sentence = refused.refused(429, "rate_limited");
        assert!(sentence.contains("2 large bodies at a time"), "{sentence}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(stage.passed(), passed, "the upstream hears nothing of it");
        // All else goes on: what is small, another token, an API key.
        page.post(&send, &small).await.expect(200);
        other.post(&send, &large).await.expect(200);
        stage.owner.post(&send, &large).await.expect(200);
        // A client that leaves gives its place back, and so does an answer.
        drop(first);
        eventually("there is room", SOON, async || page.post(&send, &large).await.status == 200).await;
        for _ in 0..3 {
            page.post(&send, &large).await.expect(200);
        }
    }
}
