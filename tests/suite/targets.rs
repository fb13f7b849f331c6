//! Request targets as bytes on a socket: HTTP clients tidy what they send.

use std::time::Duration;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::Gatelet;

async fn exchange(server: &Gatelet, request: &[u8]) -> String {
    let address = server.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_mins(1), stream.read_to_end(&mut answer));
    assert!(reading.await.is_ok(), "no answer to {}", String::from_utf8_lossy(request));
    String::from_utf8_lossy(&answer).into_owned()
}

async fn get(server: &Gatelet, target: &[u8]) -> String {
    let mut request = b"GET ".to_vec();
    request.extend_from_slice(target);
    request.extend_from_slice(b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ");
    request.extend_from_slice(server.key().as_bytes());
    request.extend_from_slice(b"\r\n\r\n");
    exchange(server, &request).await
}

#[tokio::test]
async fn only_the_spelling_of_the_sdks_reaches_an_agent() {
    let server = Gatelet::ephemeral().await;
    let agent = server.owner().create_agent(&json!({"name": "a"})).await;
    let good = format!("/v1/agents/{agent}");
    assert!(get(&server, good.as_bytes()).await.starts_with("HTTP/1.1 200"));
    for target in [
        format!("/v1/agents/{agent}%2Fmessages"),
        format!("/v1/agents/{agent}%2fmessages"),
        format!("/v1/agents/{agent}%5Cmessages"),
        format!("/v1/agents/{agent}\\messages"),
        format!("/v1/agents/x/../{agent}"),
        format!("/v1/agents/./{agent}"),
        format!("/v1/agents/%2e%2e/agents/{agent}"),
        format!("/v1/agents/..;/agents/{agent}"),
        format!("//v1/agents/{agent}"),
        format!("/v1//agents/{agent}"),
        format!("/v1/agents//{agent}"),
        format!("/v1/agents/{agent}//"),
        format!("/v1/%61gents/{agent}"),
        format!("/%76%31/agents/{agent}"),
        format!("/v1/agents/{agent};x=1"),
        format!("/v1/agents;x=1/{agent}"),
        format!("/v1/agents/{agent}%3Bx"),
        format!("/v1/agents/{agent}%00"),
        format!("/v1/agents/{agent}%0d%0a"),
        "/v1/agents/%2561gent".into(),
        format!("/v1/agents/{agent}%"),
        format!("/v1/agents/{agent}%4"),
        format!("/v1/agents/{agent}%zz"),
        "/v1/agents/%ff%fe".into(),
        format!("http://x/v1/agents/{agent}"),
        format!("http://evil.example/v1/agents/{agent}"),
    ] {
        let answer = get(&server, target.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
        assert!(answer.contains("path_not_canonical"), "{target}: {answer}");
    }
    // What is no request at all, the HTTP library refuses; the server goes on.
    for target in [&b"/v1/agents/\0"[..], b"/v1/agents/a b", b"v1/agents/", b"*", b"", b"/v1/agents/\xff\xfe"] {
        let answer = get(&server, target).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{target:?}: {answer}");
    }
    assert!(get(&server, good.as_bytes()).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn http_2_is_spoken_without_ceremony() {
    let server = Gatelet::ephemeral().await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let get = |path: &str| client.get(format!("{}{path}", server.url())).bearer_auth(server.key()).send();
    let answer = get("/v1/agents/").await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    assert_eq!(get("/v1/agents//").await.unwrap().status(), 400);
    assert_eq!(get("/readyz").await.unwrap().status(), 200);
}

#[tokio::test]
async fn requests_that_no_client_sends_are_refused_and_harm_nothing() {
    let server = Gatelet::ephemeral().await;
    let key = server.key();
    let head = format!("POST /v1/agents/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n");
    for (why, rest) in [
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
        ("a length and chunks", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a negative length", "Content-Length: -1\r\n\r\n"),
        ("an unknown coding", "Transfer-Encoding: gzip\r\n\r\n"),
        ("a broken chunk", "Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\nzz\r\n"),
        ("a header without a colon", "nonsense\r\n\r\n"),
        ("a space before the colon", "X-A : b\r\n\r\n"),
        ("a body too large", "Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"),
        ("not JSON", "Content-Type: application/json\r\nContent-Length: 5\r\n\r\n{nope"),
        ("not UTF-8", "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n\"\u{80}"),
        ("another media type", "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"),
    ] {
        let answer = exchange(&server, format!("{head}{rest}").as_bytes()).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused && !answer.contains(key), "{why}: {answer}");
    }
    server.owner().get("/v1/agents/").await.expect(200);
    assert!(!server.log().contains("panicked"));
}
