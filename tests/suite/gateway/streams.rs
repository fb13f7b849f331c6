//! Streams through the gateway: each frame at once, byte for byte, and broken off when either side breaks.

use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

use super::{ALL, SOON, Scene, connect, page, scene, scene_over, scene_with};
use crate::harness::{Held, ORIGIN, Program, USER_AGENT, Upstream, eventually, head, token_request};

const FRAME: &str = "data: {\"message_type\":\"ping\"}\n\n";

/// A caller and the protocol it speaks.
#[derive(Clone)]
struct Listener {
    name: &'static str,
    http: reqwest::Client,
    url: String,
    bearer: String,
    is_page: bool,
}

impl Listener {
    fn ask(&self, path: &str) -> JoinHandle<reqwest::Response> {
        let mut request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.bearer);
        request = request.header("user-agent", USER_AGENT).json(&json!({}));
        if self.is_page {
            request = request.header("origin", ORIGIN);
        }
        tokio::spawn(async move { request.send().await.unwrap() })
    }
}

/// The upstream over TCP alone, and over TLS with either protocol.
async fn scenes() -> [Scene; 3] {
    [scene().await, scene_over(&["http/1.1"]).await.0, scene_over(&["h2"]).await.0]
}

/// A page and the holder of a key, over HTTP/1.1 and HTTP/2.
async fn listeners(scene: &Scene) -> Vec<Listener> {
    let token = scene.owner.create_token(&scene.agent, &ALL).await;
    let mut listeners = Vec::new();
    for (name, is_page, is_two) in
        [("page", true, false), ("key", false, false), ("page, HTTP/2", true, true), ("key, HTTP/2", false, true)]
    {
        let http = reqwest::Client::builder().no_proxy();
        let http = if is_two { http.http2_prior_knowledge() } else { http };
        let bearer = if is_page { token.clone() } else { scene.server.key().to_owned() };
        let url = scene.server.url().to_owned();
        listeners.push(Listener { name, http: http.build().unwrap(), url, bearer, is_page });
    }
    listeners
}

/// The next bytes of a body, as many as are expected.
async fn read(response: &mut reqwest::Response, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let chunk = tokio::time::timeout(SOON, response.chunk()).await.expect("no frame came").unwrap();
        bytes.extend_from_slice(&chunk.expect("the body has ended"));
    }
    bytes
}

/// Waits for the end of a body; whether it was a proper one.
async fn ends(response: &mut reqwest::Response) -> bool {
    let end = async {
        loop {
            match response.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    };
    tokio::time::timeout(SOON, end).await.expect("the body does not end")
}

/// Opens a stream that the test answers, up to its first frame.
async fn open(upstream: &Upstream, listener: &Listener, path: &str) -> (Held, reqwest::Response) {
    let held = upstream.hold("POST", path);
    let asking = listener.ask(path);
    held.asked().await;
    held.begin_events();
    let mut response = tokio::time::timeout(SOON, asking).await.expect("the head waits for a frame").unwrap();
    assert_eq!(response.status(), 200, "{}", listener.name);
    held.chunk(FRAME);
    assert_eq!(read(&mut response, FRAME.len()).await, FRAME.as_bytes(), "{}", listener.name);
    (held, response)
}

#[tokio::test]
async fn each_frame_arrives_before_the_next_is_sent() {
    for scene in scenes().await {
        let (upstream, agent) = (&scene.upstream, &scene.agent);
        let stream = format!("/v1/agents/{agent}/messages/stream");
        let resume = format!("/v1/runs/{}/stream", upstream.run(agent));
        let conversation = format!("/v1/conversations/{}/messages", upstream.conversation(agent));
        let large = vec![b'x'; 1024 * 1024];
        let frames: [&[u8]; 14] = [
            b"data: {\"content\":\"Hello\"}\n\n",
            b"data: {\"content\":\" \xf0\x9f",
            b"\x98\x80\"}\n\n",
            b"d",
            b"ata: x\n",
            b"\n",
            b"event: error\ndata: {\"message_type\":\"error_message\"}\n\n",
            b": a comment\n\n",
            b"id: 7\r\nretry: 1\r\n\r\n",
            b"\xff\xfe\0",
            b"\xef\xbb\xbfdata: \xe2\x80\xa8\n\n",
            &large,
            b"data: {\"message_type\":\"usage_statistics\",\"run_ids\":[\"run-1\"]}\n\n",
            b"data: [DONE]\n\n",
        ];
        for listener in listeners(&scene).await {
            for path in [&stream, &resume, &conversation, &format!("/v1/agents/{agent}/messages")] {
                let (held, mut response) = open(upstream, &listener, path).await;
                assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
                let origin = response.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
                assert_eq!(origin, listener.is_page.then_some(ORIGIN));
                for frame in frames {
                    held.chunk(frame);
                    let received = String::from_utf8_lossy(&read(&mut response, frame.len()).await).into_owned();
                    // A page is told of no other agent's runs.
                    let sent = String::from_utf8_lossy(frame);
                    let shown = if listener.is_page { sent.replace("[\"run-1\"]", "[]       ") } else { sent.into() };
                    assert!(received == shown, "{}: {path}", listener.name);
                }
                held.end();
                assert!(ends(&mut response).await, "{}: {path}", listener.name);
            }
        }
    }
}

#[tokio::test]
async fn who_leaves_takes_the_upstream_request_along() {
    for scene in scenes().await {
        let (upstream, agent) = (&scene.upstream, &scene.agent);
        let path = format!("/v1/agents/{agent}/messages/stream");
        for listener in listeners(&scene).await {
            // Before the first byte.
            let held = upstream.hold("POST", &path);
            let asking = listener.ask(&path);
            held.asked().await;
            asking.abort();
            held.gone().await;
            // After the head, and after a frame.
            let held = upstream.hold("POST", &path);
            let asking = listener.ask(&path);
            held.asked().await;
            held.begin_events();
            drop(asking.await.unwrap());
            held.gone().await;
            let (held, response) = open(upstream, &listener, &path).await;
            drop(response);
            held.gone().await;
        }
        // Also where the answer is not a stream: a plain turn costs as much.
        let plain = format!("/v1/agents/{agent}/messages");
        for listener in listeners(&scene).await {
            let held = upstream.hold("POST", &plain);
            let asking = listener.ask(&plain);
            held.asked().await;
            asking.abort();
            held.gone().await;
        }
    }
}

#[tokio::test]
async fn an_upstream_that_dies_never_looks_like_an_end() {
    for scene in scenes().await {
        let path = format!("/v1/agents/{}/messages/stream", scene.agent);
        for listener in listeners(&scene).await {
            for how in ["cut", "reset", "in the middle of a chunk", "nonsense"] {
                let (held, mut response) = open(&scene.upstream, &listener, &path).await;
                match how {
                    "reset" => held.reset(),
                    "in the middle of a chunk" => held.send("ff\r\ndata: {"),
                    "nonsense" => held.send("no length\r\n"),
                    _ => {}
                }
                held.cut();
                assert!(!ends(&mut response).await, "{}: {how}", listener.name);
            }
        }
        // As bytes: there is no last chunk.
        let token = scene.owner.create_token(&scene.agent, &ALL).await;
        let held = scene.upstream.hold("POST", &path);
        let mut client = connect(&scene.server).await;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        held.asked().await;
        held.begin_events();
        held.chunk(FRAME);
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n\n\r\n") {
            assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
        }
        held.cut();
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.ends_with(b"\n\n\r\n"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn a_revoked_token_ends_its_streams_within_a_second() {
    let scene = scene().await;
    let path = format!("/v1/agents/{}/messages/stream", scene.agent);
    for listener in listeners(&scene).await {
        let (held, mut response) = open(&scene.upstream, &listener, &path).await;
        if !listener.is_page {
            // A key's stream is nobody's token's.
            held.chunk(FRAME);
            read(&mut response, FRAME.len()).await;
            continue;
        }
        let token = scene.owner.create_token(&scene.agent, &ALL).await;
        let own = Listener { bearer: token.clone(), ..listener.clone() };
        let (revoked, mut broken) = open(&scene.upstream, &own, &path).await;
        let deleted = scene.owner.delete(&format!("/v1/client-side-access-tokens/{token}")).await;
        assert_eq!(deleted.status, 204);
        let end = tokio::time::timeout(Duration::from_secs(1), ends(&mut broken)).await;
        assert_eq!(end, Ok(false), "{}: broken off, and in time", listener.name);
        revoked.gone().await;
        // However the upstream writes the media type, and whatever it takes the stream for.
        for media_type in ["Text/Event-Stream;charset=utf-8", "application/x-ndjson", "application/octet-stream", ""] {
            let token = scene.owner.create_token(&scene.agent, &ALL).await;
            let own = Listener { bearer: token.clone(), ..listener.clone() };
            let odd = scene.upstream.hold("POST", &path);
            let asking = own.ask(&path);
            odd.asked().await;
            odd.send(head(200, &[("content-type", media_type), ("transfer-encoding", "chunked")]));
            let mut broken = asking.await.unwrap();
            scene.owner.delete(&format!("/v1/client-side-access-tokens/{token}")).await;
            let end = tokio::time::timeout(Duration::from_secs(1), ends(&mut broken)).await;
            assert_eq!(end, Ok(false), "{}: {media_type}", listener.name);
        }
        // Another token's goes on.
        held.chunk(FRAME);
        read(&mut response, FRAME.len()).await;
    }
}

#[tokio::test]
async fn a_token_that_expires_ends_its_streams_where_the_operator_wants_it() {
    for cuts in [false, true] {
        let program = Program::ephemeral();
        let program = if cuts { program.env("GATELET_TOKENS__STREAM_AT_EXPIRY", "cut") } else { program };
        let scene = scene_with(program).await;
        let path = format!("/v1/agents/{}/messages/stream", scene.agent);
        let mut body = token_request(&scene.agent, &ALL);
        body["expires_at"] = json!((Utc::now() + TimeDelta::seconds(3)).to_rfc3339());
        let bearer = scene.owner.create_token_with(&body).await;
        let listener = Listener { bearer: bearer.clone(), ..listeners(&scene).await.remove(0) };
        let (held, mut response) = open(&scene.upstream, &listener, &path).await;
        let page = page(&scene.server, &bearer);
        eventually("the token has expired", SOON, async || {
            page.get("/v1/agents/").await.outcome() == "401 token_expired"
        })
        .await;
        if cuts {
            assert!(!ends(&mut response).await, "it is broken off");
            held.gone().await;
        } else {
            held.chunk(FRAME);
            assert_eq!(read(&mut response, FRAME.len()).await, FRAME.as_bytes());
            held.end();
            assert!(ends(&mut response).await, "it may finish");
        }
    }
}

#[tokio::test]
async fn a_silent_stream_is_given_up() {
    let scene = scene_with(Program::ephemeral().env("GATELET_UPSTREAM__IDLE_TIMEOUT", "1s")).await;
    let path = format!("/v1/agents/{}/messages/stream", scene.agent);
    for listener in listeners(&scene).await {
        let (held, mut response) = open(&scene.upstream, &listener, &path).await;
        assert!(!ends(&mut response).await, "{}", listener.name);
        held.gone().await;
    }
}

#[tokio::test]
async fn a_stream_that_goes_on_may_go_on_for_ever() {
    let limits = Program::ephemeral()
        .env("GATELET_UPSTREAM__FIRST_BYTE_TIMEOUT", "1s")
        .env("GATELET_UPSTREAM__CONNECT_TIMEOUT", "1s")
        .env("GATELET_UPSTREAM__IDLE_TIMEOUT", "1s");
    let scene = scene_with(limits).await;
    let path = format!("/v1/agents/{}/messages/stream", scene.agent);
    let listener = &listeners(&scene).await[0];
    let (held, mut response) = open(&scene.upstream, listener, &path).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(2500) {
        held.chunk(FRAME);
        assert_eq!(read(&mut response, FRAME.len()).await, FRAME.as_bytes());
    }
    held.end();
    assert!(ends(&mut response).await);
}

#[tokio::test]
async fn who_reads_slowly_slows_the_upstream_down() {
    const PIECE: usize = 1024 * 1024;
    const PIECES: usize = 96;
    let Scene { upstream, server, agent, owner, .. } = scene().await;
    let path = format!("/v1/agents/{agent}/messages/stream");
    let page = page(&server, &owner.create_token(&agent, &ALL).await);
    let held = upstream.hold("POST", &path);
    let request = page.request(Method::POST, &path).json(&json!({"input": "x"}));
    let asking = tokio::spawn(async move { request.send().await.unwrap() });
    held.asked().await;
    held.begin_events();
    let mut response = asking.await.unwrap();
    for _ in 0..PIECES {
        held.chunk(vec![b'x'; PIECE]);
    }
    held.end();
    // What the network holds is taken, and then no more.
    let mut before = usize::MAX;
    eventually("the upstream is held back", SOON, || {
        let now = held.written();
        let is_still = now > 0 && now == std::mem::replace(&mut before, now);
        let page = page.clone();
        async move {
            for _ in 0..20 {
                page.get("/v1/agents/").await.refused(403, "operation_not_available");
            }
            is_still
        }
    })
    .await;
    assert!(held.written() < PIECES * PIECE / 2, "{} bytes were taken from the upstream unread", held.written());
    let mut length = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        length += chunk.len();
    }
    assert_eq!(length, PIECES * PIECE);
}

#[tokio::test]
async fn a_revoked_token_ends_a_stream_that_nobody_reads() {
    let scene = scene().await;
    let path = format!("/v1/agents/{}/messages/stream", scene.agent);
    for listener in listeners(&scene).await.into_iter().filter(|listener| listener.is_page) {
        let token = scene.owner.create_token(&scene.agent, &ALL).await;
        let own = Listener { bearer: token.clone(), ..listener.clone() };
        let (held, mut unread) = open(&scene.upstream, &own, &path).await;
        // More than the network takes, so that nothing is asked of the stream any more.
        for _ in 0..96 {
            held.chunk(vec![b'x'; 1024 * 1024]);
        }
        let mut before = usize::MAX;
        eventually("the upstream is held back", SOON, || {
            let now = held.written();
            let is_still = now > 0 && now == std::mem::replace(&mut before, now);
            let key = scene.owner.clone();
            async move {
                for _ in 0..20 {
                    key.get("/v1/nothing").await.refused(404, "not_found");
                }
                is_still
            }
        })
        .await;
        assert_eq!(scene.owner.delete(&format!("/v1/client-side-access-tokens/{token}")).await.status, 204);
        let gone = tokio::time::timeout(Duration::from_secs(1), held.gone()).await;
        assert!(gone.is_ok(), "{}: the upstream still sends", listener.name);
        assert!(!ends(&mut unread).await, "{}: what was on its way is no whole answer", listener.name);
    }
}
