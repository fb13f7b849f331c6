//! What becomes of responses that a client does not read: they are held for so long, and so much of them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::{Reason, RecvStream, client::SendRequest};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{Stage, stages};
use crate::harness::{Gatelet, ORIGIN, Scripted, eventually};

pub(super) const SOON: Duration = Duration::from_secs(20);
pub(super) const SECOND: Duration = Duration::from_secs(1);
const WRITE_TIMEOUT: &str = "GATELET_LIMITS__WRITE_TIMEOUT";
const RESPONSE_BYTES: &str = "GATELET_LIMITS__RESPONSE_BYTES_PER_TOKEN";
/// More than the network holds unread.
const LARGE: usize = 3 * 1024 * 1024;
/// More requests than the network and the server take whose responses nobody reads.
const FLOOD: usize = 20_000;
/// The window of an HTTP/2 stream that is usual.
pub(super) const WINDOW: u32 = 65_535;

impl Stage {
    pub(super) fn path(&self) -> String {
        format!("/v1/agents/{}", self.agent)
    }

    pub(super) fn messages(&self) -> String {
        format!("{}/messages", self.path())
    }

    /// Makes the agent so large.
    async fn make_large(&self, bytes: usize) {
        let description = "x".repeat(bytes);
        match &self.upstream {
            Some(upstream) => {
                let agent = json!({"id": self.agent, "project_id": null, "description": description, "secrets": []});
                upstream.answer("GET", &self.path(), Scripted::Json(200, agent));
            }
            None => drop(self.owner.patch(&self.path(), &json!({"description": description})).await.expect(200)),
        }
    }

    /// Makes the agent a large one, from whose responses something is removed; returns how large they are.
    pub(super) async fn grow(&self) -> usize {
        self.make_large(LARGE).await;
        let page = self.server.stranger().page(&self.token().await);
        let answer = page.get(&self.path()).await;
        answer.expect(200);
        answer.text.len()
    }

    pub(super) async fn delete(&self, token: &str) {
        assert_eq!(self.owner.delete(&format!("/v1/client-side-access-tokens/{token}")).await.status, 204);
    }
}

/// A connection that holds little of what is not read.
pub(super) async fn connect(server: &Gatelet) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.connect(server.url().trim_start_matches("http://").parse().unwrap()).await.unwrap()
}

pub(super) fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\norigin: {ORIGIN}\r\nauthorization: Bearer {token}\r\n\r\n")
}

/// Asks and reads no more than the status.
pub(super) async fn ask(server: &Gatelet, path: &str, token: &str) -> (TcpStream, u16) {
    let mut connection = connect(server).await;
    connection.write_all(get(path, token).as_bytes()).await.unwrap();
    let mut start = [0; 12];
    connection.read_exact(&mut start).await.unwrap();
    let status = std::str::from_utf8(&start).unwrap().strip_prefix("HTTP/1.1 ").unwrap();
    (connection, status.parse().unwrap())
}

/// Waits until a connection of which nothing is read was reset.
pub(super) async fn is_reset(connection: &TcpStream, within: Duration) {
    eventually("the connection is reset", within, async || connection.take_error().unwrap().is_some()).await;
}

/// An HTTP/2 connection whose streams have this window, and which has one for all of them.
pub(super) async fn session(server: &Gatelet, window: u32) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(16 * 1024 * 1024);
    let (session, connection) = builder.handshake(socket).await.unwrap();
    // It answers pings, too.
    tokio::spawn(connection);
    session
}

/// Asks over HTTP/2, and waits for the head.
pub(super) async fn ask_over(
    session: &SendRequest<Bytes>,
    method: &Method,
    path: &str,
    token: &str,
) -> (u16, RecvStream) {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://a{path}"))
        .header("origin", ORIGIN)
        .header("access-control-request-method", "GET")
        .header("authorization", format!("Bearer {token}"));
    let mut session = session.clone().ready().await.unwrap();
    let (response, _) = session.send_request(request.body(()).unwrap(), true).unwrap();
    let response = tokio::time::timeout(SOON, response).await.expect("no head came").unwrap();
    (response.status().as_u16(), response.into_body())
}

/// Waits for the end of a body without ever giving its stream more window: none, or why it was reset.
pub(super) async fn end_of(body: &mut RecvStream) -> Option<Reason> {
    let end = async {
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Some(error.reason().unwrap()),
                None => return None,
            }
        }
    };
    tokio::time::timeout(SOON, end).await.expect("the stream is neither whole nor reset")
}

/// Reads a body, pausing before each piece is acknowledged; how long it is.
pub(super) async fn read(body: &mut RecvStream, pause: Duration) -> usize {
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        length += data.len();
        tokio::time::sleep(pause).await;
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    length
}

#[tokio::test]
async fn a_connection_that_is_not_read_is_reset() {
    for stage in stages(&[(WRITE_TIMEOUT, "1s")]).await {
        stage.grow().await;
        let token = stage.token().await;
        let large = get(&stage.path(), &token);
        let preflight = format!(
            "OPTIONS /v1/agents/ HTTP/1.1\r\nhost: a\r\norigin: {ORIGIN}\r\naccess-control-request-method: GET\r\n\r\n"
        );
        for (what, sent) in [
            ("one response", large.clone()),
            ("pipelined responses", large.repeat(8)),
            ("pipelined responses without a body", preflight.repeat(FLOOD)),
        ] {
            let started = Instant::now();
            let (reading, mut writing) = connect(&stage.server).await.into_split();
            let sending = tokio::spawn(async move {
                let _ = writing.write_all(sent.as_bytes()).await;
                writing
            });
            is_reset(reading.as_ref(), SOON).await;
            sending.await.unwrap().forget();
            assert!(started.elapsed() >= SECOND, "{} {what}: {:?}", stage.name, started.elapsed());
        }
        let answered = stage.server.log().matches("-> 204").count();
        assert!(answered < FLOOD / 2, "{}: {answered} requests were answered to nobody", stage.name);
        // A trickle is no reading: the next 64 KiB would take three seconds.
        let (mut connection, status) = ask(&stage.server, &stage.path(), &token).await;
        assert_eq!(status, 200);
        let mut piece = [0; 1024];
        let end = loop {
            match connection.read(&mut piece).await {
                Ok(0) => panic!("{}: it ended as if it were whole", stage.name),
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => break error,
            }
        };
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset, "{}", stage.name);
        stage.page().await.get(&stage.path()).await.expect(200);
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_its_neighbours_are_not() {
    for stage in stages(&[(WRITE_TIMEOUT, "1s")]).await {
        stage.grow().await;
        let token = stage.token().await;
        let small = "/v1/agents/";
        for (window, paths) in [(0, [stage.path(), small.to_owned()]), (1, [stage.path(), small.to_owned()])] {
            let session = session(&stage.server, window).await;
            for path in &paths {
                let (_, mut unread) = ask_over(&session, &Method::GET, path, &token).await;
                assert_eq!(end_of(&mut unread).await, Some(Reason::CANCEL), "{}: {window} {path}", stage.name);
            }
            let (status, mut body) = ask_over(&session, &Method::OPTIONS, small, &token).await;
            assert_eq!((status, end_of(&mut body).await), (204, None), "{}: the connection lives on", stage.name);
        }
        let session = session(&stage.server, WINDOW).await;
        let (status, mut unread) = ask_over(&session, &Method::GET, &stage.path(), &token).await;
        assert_eq!(status, 200);
        let neighbour = async {
            let (status, mut body) = ask_over(&session, &Method::GET, &stage.path(), &token).await;
            assert_eq!(status, 200);
            // It takes longer than the unread stream lives.
            let length = read(&mut body, Duration::from_millis(20)).await;
            assert!(length > LARGE, "{}: {length}", stage.name);
        };
        let (reason, ()) = tokio::join!(end_of(&mut unread), neighbour);
        assert_eq!(reason, Some(Reason::CANCEL), "{}", stage.name);
        let (_, mut body) = ask_over(&session, &Method::GET, small, &token).await;
        assert_eq!(end_of(&mut body).await, None, "{}", stage.name);
    }
}

#[tokio::test]
async fn who_reads_slowly_and_steadily_gets_everything() {
    for stage in stages(&[(WRITE_TIMEOUT, "1s")]).await {
        let expected = stage.grow().await;
        let token = stage.token().await;
        let pause = Duration::from_millis(30);
        let started = Instant::now();
        let one = async {
            let (mut connection, _) = ask(&stage.server, &stage.path(), &token).await;
            let (mut piece, mut length) = (vec![0; 64 * 1024], 0);
            while length < expected {
                match connection.read(&mut piece).await.unwrap() {
                    0 => panic!("{}: it ended after {length} of {expected} bytes", stage.name),
                    read => length += read,
                }
                tokio::time::sleep(pause).await;
            }
        };
        let two = async {
            let session = session(&stage.server, WINDOW).await;
            let (_, mut body) = ask_over(&session, &Method::GET, &stage.path(), &token).await;
            assert_eq!(read(&mut body, pause).await, expected, "{}", stage.name);
        };
        tokio::join!(one, two);
        assert!(started.elapsed() > SECOND, "that was not slow: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_stream_with_nothing_to_read_is_not_reset() {
    let [mock, gateway] = stages(&[(WRITE_TIMEOUT, "1s")]).await;
    let (token, upstream) = (gateway.token().await, gateway.upstream.as_ref().unwrap());
    let path = format!("{}/stream", gateway.messages());
    let (mut held, mut streams) = (Vec::new(), Vec::new());
    for is_two in [false, true] {
        let client = reqwest::Client::builder().no_proxy();
        let client = if is_two { client.http2_prior_knowledge() } else { client }.build().unwrap();
        let stream = upstream.hold("POST", &path);
        let request = client.post(format!("{}{path}", gateway.server.url())).bearer_auth(&token);
        let asking = tokio::spawn(request.header("origin", ORIGIN).json(&json!({"input": "x"})).send());
        stream.asked().await;
        stream.begin_events();
        stream.chunk("data: 1\n\n");
        let mut response = asking.await.unwrap().unwrap();
        assert!(response.chunk().await.unwrap().is_some());
        held.push(stream);
        streams.push(response);
    }
    let pauses = json!({"input": "[[slow:1500]] Hi", "include_pings": false});
    let answer = mock.page().await.post(&format!("{}/stream", mock.messages()), &pauses).await;
    assert!(answer.text.ends_with("data: [DONE]\n\n"), "{}", answer.text);
    for (held, response) in held.into_iter().zip(streams) {
        held.chunk("data: 2\n\n");
        held.end();
        assert!(response.text().await.unwrap().ends_with("data: 2\n\n"));
    }
}

#[tokio::test]
async fn unread_responses_take_so_much_memory_and_give_it_back_with_their_token() {
    const ASKED: usize = 30;
    const LIMIT: usize = 64 * 1024 * 1024;
    for stage in stages(&[(WRITE_TIMEOUT, "10m")]).await {
        let length = stage.grow().await;
        let (first, second) = (stage.token().await, stage.token().await);
        let before = stage.server.memory();
        // What the first one held is there for the second one: the system may see it later.
        for token in [&first, &second] {
            let (mut unread, mut refused) = (Vec::new(), 0);
            for _ in 0..ASKED {
                match ask(&stage.server, &stage.path(), token).await {
                    (connection, 200) => unread.push(connection),
                    (_, status) => {
                        assert_eq!(status, 429, "{}", stage.name);
                        refused += 1;
                    }
                }
            }
            assert_eq!((unread.len(), refused), (LIMIT / length, ASKED - LIMIT / length), "{}", stage.name);
            let held = stage.server.memory().saturating_sub(before);
            assert!(held < LIMIT + LIMIT / 2, "{}: {held} bytes", stage.name);
            let page = stage.page_of(token);
            let refusal = page.get(&stage.path()).await;
            let sentence = refusal.refused(429, "rate_limited");
            assert!(sentence.contains("67108864 bytes"), "{sentence}");
            assert_eq!(refusal.header("retry-after"), Some("1"));
            // HTTP/2 has the same budget, another token one of its own.
            let session = session(&stage.server, WINDOW).await;
            assert_eq!(ask_over(&session, &Method::GET, &stage.path(), token).await.0, 429, "{}", stage.name);
            stage.page().await.get(&stage.path()).await.expect(200);
            // Who reads gives back, and may ask again.
            let mut rest = vec![0; length];
            unread.pop().unwrap().read_exact(&mut rest).await.unwrap();
            eventually("there is room", SOON, async || page.get(&stage.path()).await.status == 200).await;
            stage.delete(token).await;
            for connection in &unread {
                is_reset(connection, SECOND).await;
            }
        }
    }
}

#[tokio::test]
async fn over_http_2_small_responses_count_as_well() {
    for stage in stages(&[(RESPONSE_BYTES, "8000")]).await {
        let token = stage.token().await;
        let session = session(&stage.server, 0).await;
        let mut unread = Vec::new();
        let mut last = 200;
        while last == 200 && unread.len() < 150 {
            let (status, body) = ask_over(&session, &Method::GET, &stage.path(), &token).await;
            unread.push(body);
            last = status;
        }
        assert_eq!(last, 429, "{}: {} unread", stage.name, unread.len());
        // Streams that are closed hold nothing.
        drop(unread);
        let answered = async || ask_over(&session, &Method::GET, &stage.path(), &token).await.0 == 200;
        eventually("there is room", SOON, answered).await;
    }
}

#[tokio::test]
async fn a_response_beyond_the_whole_limit_is_refused_and_zero_is_no_limit() {
    for stage in stages(&[(RESPONSE_BYTES, "1000000")]).await {
        let (token, path) = (stage.token().await, stage.path());
        stage.page_of(&token).get(&path).await.expect(200);
        stage.make_large(LARGE).await;
        stage.page_of(&token).get(&path).await.refused(429, "rate_limited");
        stage.owner.get(&path).await.expect(200);
        stage.make_large(100).await;
        stage.page_of(&token).get(&path).await.expect(200);
    }
    for stage in stages(&[(RESPONSE_BYTES, "0")]).await {
        stage.grow().await;
        let (token, path) = (stage.token().await, stage.path());
        let mut unread = Vec::new();
        for _ in 0..24 {
            let (connection, status) = ask(&stage.server, &path, &token).await;
            assert_eq!(status, 200, "{}", stage.name);
            unread.push(connection);
        }
    }
}
