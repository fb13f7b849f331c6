//! How large a request may be, and how long it may take to arrive.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::stages;
use crate::harness::{Gatelet, ORIGIN};

const SOON: Duration = Duration::from_secs(30);

async fn connect(server: &Gatelet) -> TcpStream {
    TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap()
}

/// Everything that comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read =
        tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection was not closed");
    // A client that still sends may find its connection reset, after the answer.
    assert!(read.is_ok() || !answer.is_empty(), "{read:?}");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_in_words() {
    let settings = [
        ("GATELET_LIMITS__TARGET_BYTES", "500"),
        ("GATELET_LIMITS__HEADER_COUNT", "20"),
        ("GATELET_LIMITS__HEADER_BYTES", "2000"),
    ];
    for stage in stages(&settings).await {
        let path = format!("/v1/agents/{}", stage.agent);
        stage.owner.get(&path).await.expect(200);
        let page = stage.owner.with("origin", ORIGIN);
        let passed = stage.passed();
        let long = page.get(&format!("{path}?x={}", "a".repeat(500))).await;
        long.refused(414, "target_too_long");
        assert_eq!(long.header("access-control-allow-origin"), Some(ORIGIN));
        let many = (0..20).fold(page.clone(), |page, index| page.with(&format!("x-{index}"), "1"));
        many.get(&path).await.refused(431, "headers_too_large");
        page.with("x-large", &"a".repeat(2000)).get(&path).await.refused(431, "headers_too_large");
        // What the HTTP library itself refuses harms nobody else.
        let larger = page.with("x-larger", &"a".repeat(60_000)).request(Method::GET, &path);
        assert_eq!(larger.send().await.unwrap().status(), 431);
        assert_eq!(stage.passed(), passed, "{}", stage.name);
        stage.owner.get(&path).await.expect(200);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    for stage in stages(&[("GATELET_LIMITS__BODY_BYTES", "1000")]).await {
        let page = stage.page().await;
        let path = format!("/v1/agents/{}/messages", stage.agent);
        let declared = page.post(&path, &json!({"input": "a".repeat(2000)})).await;
        declared.refused(413, "body_too_large");
        assert_eq!(declared.header("access-control-allow-origin"), Some(ORIGIN));
        let mut stream = connect(&stage.server).await;
        let head = format!(
            "POST /v1/agents/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            stage.server.key()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..3 {
            let _ = stream.write_all(format!("1f4\r\n{}\r\n", "a".repeat(500)).as_bytes()).await;
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{}: {answer}", stage.name);
    }
}

#[tokio::test]
async fn a_client_that_keeps_the_server_waiting_is_let_go() {
    let settings = [
        ("GATELET_LIMITS__HEADER_TIMEOUT", "300ms"),
        ("GATELET_LIMITS__BODY_TIMEOUT", "300ms"),
        ("GATELET_LIMITS__IDLE_TIMEOUT", "300ms"),
    ];
    for stage in stages(&settings).await {
        let bearer = format!("Host: x\r\nAuthorization: Bearer {}\r\n", stage.server.key());
        let body = "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
        for (why, sent, expected) in [
            ("nothing", String::new(), ""),
            ("half a head", "GET /healthz HTTP/1.1\r\nHo".to_owned(), ""),
            ("half a body", format!("POST /v1/agents/ HTTP/1.1\r\n{bearer}{body}"), "HTTP/1.1 408"),
            ("one request and no more", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "HTTP/1.1 200"),
        ] {
            let mut stream = connect(&stage.server).await;
            stream.write_all(sent.as_bytes()).await.unwrap();
            let answer = rest(&mut stream).await;
            assert!(answer.starts_with(expected), "{} {why}: {answer}", stage.name);
            assert_eq!(answer.is_empty(), expected.is_empty(), "{} {why}: {answer}", stage.name);
        }
        // One that trickles is not let go on: the head has a time of its own.
        let mut stream = connect(&stage.server).await;
        let trickling = tokio::time::timeout(SOON, async {
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ").await;
            let mut byte = [0];
            loop {
                match tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte)).await {
                    Err(_) if stream.write_all(b"a").await.is_ok() => {}
                    _ => return,
                }
            }
        });
        assert!(trickling.await.is_ok(), "{}: a trickling head was waited for", stage.name);
    }
}
