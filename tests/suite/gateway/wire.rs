//! What the gateway makes of the bytes that an upstream sends: one answer with one meaning, or none.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Barrier, Semaphore},
    task::JoinSet,
};

use super::{Scene, exchange, scene};
use crate::harness::{Gatelet, Program, Scripted};

/// What a client gets.
#[derive(Debug, Eq, PartialEq)]
enum Got {
    /// An answer with a status and a body that ends as it should.
    Whole(u16, String),
    /// One that breaks off.
    BrokenOff,
}

/// Asks with an API key, so that nothing is read on the way, and reads to the end of the connection.
async fn ask(server: &Gatelet, path: &str) -> Got {
    let key = server.key();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n");
    let answer = exchange(server, request.as_bytes()).await;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Got::BrokenOff };
    let status = head[9..12].parse().unwrap();
    let head = head.to_ascii_lowercase();
    assert!(!head.contains("x-trailer"), "{head}");
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    match length.map(|length| length.parse::<usize>().unwrap()) {
        Some(length) if length == body.len() => Got::Whole(status, body.into()),
        Some(_) => Got::BrokenOff,
        None if head.contains("transfer-encoding: chunked") => {
            unchunked(body).map_or(Got::BrokenOff, |body| Got::Whole(status, body))
        }
        None => Got::Whole(status, body.into()),
    }
}

/// The text of a chunked body; none: its last chunk is missing.
fn unchunked(mut body: &str) -> Option<String> {
    let mut text = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        text.push_str(rest.get(..size)?);
        body = rest[size..].strip_prefix("\r\n")?;
        if size == 0 {
            return body.is_empty().then_some(text);
        }
    }
}

/// An answer after so many informational ones.
fn hints(count: usize) -> String {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(count);
    format!("{hints}HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")
}

#[tokio::test]
async fn an_answer_has_one_meaning_or_is_none() {
    let Scene { upstream, server, .. } = scene().await;
    let path = "/v1/tools/";
    let whole = |text: &str| Some(Got::Whole(200, text.into()));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200));
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1024 * 1024));
    for (sent, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", whole("abc")),
        ("HTTP/1.1 200 OK\r\nCONTENT-LENGTH: 3\r\nContent-Length: 3\r\n\r\nabc", whole("abc")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", whole("")),
        ("HTTP/1.1 200 OK\r\n\r\nabc", whole("abc")),
        ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", whole("abc")),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            whole("abc"),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=y\r\na\r\n2\r\nbc\r\n0\r\nx-trailer: z\r\n\r\n",
            whole("abc"),
        ),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\nabc", Some(Got::Whole(204, String::new()))),
        // What is said too much belongs to no answer.
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            whole("abc"),
        ),
        // Nothing of a small body is handed on before all of it is there.
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 20000\r\n\r\nabc", Some(Got::BrokenOff)),
        (&*hints(16), whole("abc")),
        (&*hints(17), None),
        (&*hints(10_000), None),
        ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", None),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n", Some(Got::BrokenOff)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", Some(Got::BrokenOff)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", Some(Got::BrokenOff)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nabc", Some(Got::BrokenOff)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\na\n0\n\n", Some(Got::BrokenOff)),
        // Where another reader might see the end of a line.
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x\ry\r\na\r\n0\r\n\r\n", Some(Got::BrokenOff)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\x0c\r\na\r\n0\r\n\r\n", Some(Got::BrokenOff)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx\r\n\r\n", Some(Got::BrokenOff)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\nabc", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nabc", None),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\ncontent-length : 3\r\n\r\nabc", None),
        ("HTTP/1.1 200 OK\r\nx: y\r\n folded: z\r\ncontent-length: 3\r\n\r\nabc", None),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc", None),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n", None),
        ("HTTP/2 200\r\n\r\n", None),
        ("SSH-2.0-x\r\n", None),
        ("", None),
        (&*many, None),
        (&*large, None),
    ] {
        upstream.answer("GET", path, Scripted::Raw(sent.into()));
        let got = ask(&server, path).await;
        match expected {
            Some(expected) => assert_eq!(got, expected, "{sent}"),
            None => match got {
                Got::Whole(502, body) => assert!(body.contains("upstream_unreachable"), "{sent}: {body}"),
                other => panic!("{other:?} came of {}", sent.get(..200).unwrap_or(sent)),
            },
        }
    }
}

#[tokio::test]
async fn what_follows_an_answer_is_no_answer_to_somebody_else() {
    let Scene { upstream, server, owner, .. } = scene().await;
    for extra in ["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", "x"] {
        let held = upstream.hold("GET", "/v1/tools/");
        held.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]{extra}"));
        owner.get("/v1/tools/").await.expect(200);
        assert_eq!(owner.get("/v1/blocks/").await.expect(200), json!({"answered": "GET /v1/blocks/"}));
        // Also where it comes later, while nobody uses the connection.
        let held = upstream.hold("GET", "/v1/tools/");
        held.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]");
        owner.get("/v1/tools/").await.expect(200);
        held.send(extra);
        held.gone().await;
        assert_eq!(owner.get("/v1/blocks/").await.expect(200), json!({"answered": "GET /v1/blocks/"}));
    }
    drop(server);
}

/// A gateway before a listener of the test's own.
async fn before_listener() -> (TcpListener, Gatelet) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, Program::ephemeral().argument("--upstream").argument(&url).start_alone().await)
}

/// Reads the head of a request.
async fn hear(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]";

#[tokio::test]
async fn a_question_whose_connection_was_just_closed_is_asked_again() {
    let (listener, server) = before_listener().await;
    let upstream = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        hear(&mut first).await;
        first.write_all(ANSWER).await.unwrap();
        // It is used again, and closed as the question comes.
        hear(&mut first).await;
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        hear(&mut second).await;
        second.write_all(ANSWER).await.unwrap();
    });
    for _ in 0..2 {
        server.owner().get("/v1/tools/").await.expect(200);
    }
    upstream.await.unwrap();
}

#[tokio::test]
async fn connections_that_are_all_closed_at_once_fail_no_request() {
    // More than the runtime lets one task ask about without a pause.
    const COUNT: usize = 200;
    let (listener, server) = before_listener().await;
    let (all, closing) = (Arc::new(Barrier::new(COUNT)), Arc::new(Semaphore::new(0)));
    let upstream = tokio::spawn(async move {
        let mut open = JoinSet::new();
        for _ in 0..COUNT {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (all, closing) = (Arc::clone(&all), Arc::clone(&closing));
            open.spawn(async move {
                hear(&mut socket).await;
                // So that each request has a connection of its own.
                all.wait().await;
                socket.write_all(ANSWER).await.unwrap();
                let _ = closing.acquire().await;
            });
        }
        (listener, open, closing)
    });
    let owner = server.owner();
    let answers = join_all((0..COUNT).map(|_| owner.get("/v1/tools/"))).await;
    for answer in answers {
        answer.expect(200);
    }
    let (listener, open, closing) = upstream.await.unwrap();
    closing.close();
    open.join_all().await;
    let next = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        hear(&mut socket).await;
        socket.write_all(ANSWER).await.unwrap();
    });
    owner.post("/v1/tools/", &json!({})).await.expect(200);
    next.await.unwrap();
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_has_ended() {
    let (listener, server) = before_listener().await;
    let upstream = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        hear(&mut socket).await;
        socket.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n").await.unwrap();
        // It still reads, and the client still sends.
        let mut body = vec![0; 64 * 1024];
        socket.read_exact(&mut body).await.unwrap();
        socket.write_all(b"no").await.unwrap();
        while let Ok(1..) = socket.read(&mut body).await {}
    });
    let key = server.key();
    let length = 1024 * 1024;
    let head = format!(
        "POST /v1/tools/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let answer = exchange(&server, &[head.as_bytes(), &vec![b' '; length]].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("\r\n\r\nno"), "{answer}");
    upstream.await.unwrap();
}
