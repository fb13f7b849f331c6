//! Requests that two programs could read in two ways, as bytes on a socket: they are refused, and the connection ends.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Gatelet, ORIGIN, Program, Upstream};

const SOON: Duration = Duration::from_secs(30);

/// What a second request on the connection would be answered with.
const SECOND: &str = "GET /v1/nothing-else HTTP/1.1\r\nHost: x\r\n\r\n";

async fn connect(server: &Gatelet) -> TcpStream {
    TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap()
}

/// All that comes of some bytes until the server closes the connection; the client's side stays open.
async fn exchange(server: &Gatelet, request: impl AsRef<[u8]>) -> String {
    let request = request.as_ref();
    let mut stream = connect(server).await;
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
    assert!(reading.is_ok(), "the connection stays open after {}", String::from_utf8_lossy(request));
    String::from_utf8_lossy(&answer).into_owned()
}

/// Checks that there was one answer with this status, and no other.
#[track_caller]
fn only(answer: &str, status: u16, why: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{why}: {answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{why}: {answer}");
}

#[tokio::test]
async fn a_request_names_one_host() {
    let server = Gatelet::ephemeral().await;
    let key = server.key();
    let bearer = format!("Authorization: Bearer {key}\r\n");
    let preflight = format!("Origin: {ORIGIN}\r\nAccess-Control-Request-Method: GET\r\n");
    let lines = [
        ("GET", "/healthz", "", 200),
        ("GET", "/readyz", "", 200),
        ("GET", "/v1/health/", "", 200),
        ("GET", "/v1/agents/", &*bearer, 200),
        ("OPTIONS", "/v1/agents/", &*preflight, 204),
    ];
    for (method, path, fields, status) in lines {
        for host in ["x", "localhost:8283", "LETTA.internal", "letta_server:80", "127.0.0.1:1", "[::1]:8283", "a:"] {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
            only(&exchange(&server, head).await, status, &format!("{path} of {host}"));
        }
        for (why, hosts) in [
            ("none", ""),
            ("two", "Host: a\r\nHost: b\r\n"),
            ("two that are the same", "Host: a\r\nHost: a\r\n"),
            ("a path and a fragment", "Host: a/#@b\r\n"),
            ("a fragment", "Host: a#b\r\n"),
            ("a query", "Host: a?b\r\n"),
            ("user information", "Host: user@a\r\n"),
            ("a password", "Host: user:password@a\r\n"),
            ("a space", "Host: a b\r\n"),
            ("a tab", "Host: a\tb\r\n"),
            ("a list", "Host: a, b\r\n"),
            ("letters beyond ASCII", "Host: b\u{fc}cher.example\r\n"),
            ("nothing in it", "Host: \r\n"),
            ("a port alone", "Host: :80\r\n"),
            ("no port", "Host: a:x\r\n"),
            ("a port too large", "Host: a:65536\r\n"),
            ("two ports", "Host: a:80:80\r\n"),
            ("half an address", "Host: [::1\r\n"),
            ("a URL", "Host: http://a\r\n"),
            ("a backslash", "Host: a\\b\r\n"),
        ] {
            let head = format!("{method} {path} HTTP/1.1\r\n{hosts}{fields}\r\n{SECOND}");
            let answer = exchange(&server, head).await;
            only(&answer, 400, &format!("{path} with {why}"));
            assert!(answer.contains("\"invalid_request\"") && answer.contains("Host header"), "{answer}");
            if fields == preflight {
                assert!(answer.contains(&format!("access-control-allow-origin: {ORIGIN}")), "a page can read it");
            }
        }
        // HTTP/1.0 does not know the field; where it is sent, it counts.
        let old = |hosts: &str| format!("{method} {path} HTTP/1.0\r\n{hosts}{fields}\r\n");
        for hosts in ["", "Host: x\r\n"] {
            let answer = exchange(&server, old(hosts)).await;
            assert!(answer.starts_with(&format!("HTTP/1.0 {status} ")), "{path}: {answer}");
        }
        for hosts in ["Host: a@b\r\n", "Host: a\r\nHost: a\r\n"] {
            assert!(exchange(&server, old(hosts)).await.starts_with("HTTP/1.0 400 "), "{path}");
        }
        // A target in absolute form names a host of its own, and needs the field all the same.
        for hosts in ["", "Host: a/b\r\n", "Host: a\r\nHost: a\r\n"] {
            let head = format!("{method} http://x{path} HTTP/1.1\r\n{hosts}{fields}\r\n");
            only(&exchange(&server, head).await, 400, path);
        }
    }
    assert!(!server.log().contains("panicked"));
}

/// Sends one request over a connection of its own, with its authority or without.
async fn over_http_2(server: &Gatelet, uri: &str, hosts: &[&str]) -> (u16, Value) {
    let io = TokioIo::new(connect(server).await);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let mut request = hyper::Request::get(uri);
    for host in hosts {
        request = request.header("host", *host);
    }
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    // Where the library itself refuses, it resets the stream.
    let Ok(answer) = sender.send_request(request).await else { return (0, Value::Null) };
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test]
async fn http_2_names_one_authority() {
    let server = Gatelet::ephemeral().await;
    for path in ["/healthz", "/readyz", "/v1/health/"] {
        for (authority, hosts) in [
            ("http://a:8283", &[][..]),
            ("http://a:8283", &["a:8283"]),
            ("http://a:8283", &["A:8283"]),
            ("", &["a:8283"]),
        ] {
            let (status, _) = over_http_2(&server, &format!("{authority}{path}"), hosts).await;
            assert_eq!(status, 200, "{authority}{path} {hosts:?}");
        }
        for (authority, hosts) in [
            ("http://a:8283", &["b:8283"][..]),
            ("http://a:8283", &["a"]),
            ("http://a:8283", &["a:8283", "a:8283"]),
            ("http://a:8283", &[""]),
            ("http://a:8283", &["a:8283/#@b"]),
            ("http://user@a:8283", &[]),
            ("http://a:99999", &[]),
            ("", &[]),
            ("", &["a@b"]),
            ("", &["a", "a"]),
        ] {
            let (status, body) = over_http_2(&server, &format!("{authority}{path}"), hosts).await;
            assert_eq!((status, &body["code"]), (400, &json!("invalid_request")), "{authority}{path} {hosts:?}");
        }
    }
}

#[tokio::test]
async fn a_body_ends_in_one_place() {
    let upstream = Upstream::start().await;
    let mock = Gatelet::ephemeral().await;
    let gateway = upstream.before(Program::ephemeral()).start_alone().await;
    for server in [&mock, &gateway] {
        let key = server.key();
        let head = format!(
            "POST /v1/tags-of-nobody HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\n"
        );
        let chunked = "2\r\n{}\r\n0\r\n\r\n";
        for (why, fields, body) in [
            ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
            ("a list of lengths", "Content-Length: 2, 2\r\n", "{}"),
            ("a signed length", "Content-Length: +2\r\n", "{}"),
            ("a negative length", "Content-Length: -2\r\n", "{}"),
            ("a hexadecimal length", "Content-Length: 0x2\r\n", "{}"),
            ("an empty length", "Content-Length: \r\n", "{}"),
            ("a length beyond counting", "Content-Length: 18446744073709551617\r\n", "{}"),
            ("another coding", "Transfer-Encoding: gzip\r\n", chunked),
            ("a coding under the chunks", "Transfer-Encoding: gzip, chunked\r\n", chunked),
            ("a coding over the chunks", "Transfer-Encoding: chunked, gzip\r\n", chunked),
            ("chunks twice", "Transfer-Encoding: chunked, chunked\r\n", chunked),
            ("chunks in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked),
            (
                "another coding in a field of its own",
                "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
                chunked,
            ),
            ("identity", "Transfer-Encoding: identity\r\n", chunked),
            ("identity and chunks", "Transfer-Encoding: identity, chunked\r\n", chunked),
            ("an empty coding", "Transfer-Encoding: , chunked\r\n", chunked),
            ("a parameter", "Transfer-Encoding: chunked;q=1\r\n", chunked),
            ("a vertical tab", "Transfer-Encoding: \x0bchunked\r\n", chunked),
            ("a folded line", "X: a\r\n b\r\nContent-Length: 2\r\n", "{}"),
            ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n", chunked),
            ("a space before the colon", "Content-Length : 2\r\n", "{}"),
            ("a space before the name", " Content-Length: 2\r\n", "{}"),
            ("a bare CR in a value", "X: a\rContent-Length: 5\r\nContent-Length: 2\r\n", "{}"),
            ("a bare CR at the end of a line", "Content-Length: 2\r\r\n", "{}"),
            ("a NUL", "X: a\0b\r\nContent-Length: 2\r\n", "{}"),
            ("a line without a colon", "Content-Length\r\n", "{}"),
            ("a line without a name", ": 2\r\n", "{}"),
        ] {
            let answer = exchange(server, format!("{head}{fields}\r\n{body}{SECOND}")).await;
            only(&answer, 400, why);
        }
        for (why, body) in [
            ("a bare LF after a size", "2\n{}\r\n0\r\n\r\n"),
            ("a bare LF in an extension", "2;a\n{}\r\n0\r\n\r\n"),
            ("a bare CR in a size", "2\r{}\r\n0\r\n\r\n"),
            ("a bare LF after the data", "2\r\n{}\n0\r\n\r\n"),
            ("data longer than its size", "2\r\n{} \r\n0\r\n\r\n"),
            ("no size", "\r\n{}\r\n0\r\n\r\n"),
            ("a signed size", "+2\r\n{}\r\n0\r\n\r\n"),
            ("a size with a prefix", "0x2\r\n{}\r\n0\r\n\r\n"),
            ("a size beyond counting", "10000000000000002\r\n{}\r\n0\r\n\r\n"),
        ] {
            // The path is one that is not there, so the body is not read: then nothing behind it is, either.
            let answer = exchange(server, format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}{SECOND}")).await;
            assert!(!answer.contains("nothing-else") && answer.matches("HTTP/1.1 ").count() <= 1, "{why}: {answer}");
            let read = head.replace("/v1/tags-of-nobody", "/v1/client-side-access-tokens");
            let answer = exchange(server, format!("{read}Transfer-Encoding: chunked\r\n\r\n{body}{SECOND}")).await;
            only(&answer, 400, why);
        }
        // A length beside chunks: the chunks count (RFC 9112, section 6.3), and nothing is read behind them.
        for fields in [
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\nContent-Length: 3\r\n",
            "Content-Length: 200\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n",
        ] {
            let read = head.replace("/v1/tags-of-nobody", "/v1/client-side-access-tokens");
            let answer = exchange(server, format!("{read}{fields}\r\n{chunked}{SECOND}")).await;
            only(&answer, 400, fields);
            assert!(answer.contains("policy") && answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
        }
        // What is unusual and has one meaning passes: the same length twice, lines that end in LF alone (section 2.2).
        for head in [
            format!(
                "GET /v1/agents/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
                     Content-Length: 0\r\nContent-Length: 0\r\n\r\n"
            ),
            format!("GET /v1/agents/ HTTP/1.1\nHost: x\nAuthorization: Bearer {key}\nConnection: close\n\n"),
            format!(
                "GET /v1/agents/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
                     Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"
            ),
        ] {
            only(&exchange(server, &head).await, 200, &head);
        }
        server.owner().get("/v1/agents/").await.expect(200);
        assert!(!server.log().contains("panicked"));
    }
    let heard = upstream.seen();
    assert!(heard.iter().all(|seen| seen.line() == "GET /v1/agents/"), "{heard:?}");
}
