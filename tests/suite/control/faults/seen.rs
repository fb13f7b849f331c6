//! What a client sees on the wire, over HTTP/1.1 and HTTP/2.

use std::{io, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::Stage;
use crate::harness::ORIGIN;

const SOON: Duration = Duration::from_secs(20);

/// What came back over a connection.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The head in lower case; empty: none came.
    pub(super) head: String,
    /// The pieces of the body: chunks or data frames.
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) end: End,
    /// What cannot be read.
    pub(super) rest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum End {
    #[default]
    Whole,
    /// The connection is closed in the middle.
    Closed,
    /// The connection, or the stream, is reset.
    Reset,
}

impl Seen {
    pub(super) fn body(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The types of the frames, what is left of one, and the end.
    pub(super) fn story(&self) -> String {
        let text = self.text().replace("\r\n", "\n").replace('\r', "\n");
        let mut words: Vec<String> = Vec::new();
        let (frames, rest) = text.rsplit_once("\n\n").unwrap_or(("", &text));
        for frame in frames.split("\n\n").filter(|frame| !frame.is_empty()) {
            let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
            words.push(match data {
                None => "comment".into(),
                Some("[DONE]") => "done".into(),
                Some(data) => match serde_json::from_str::<Value>(data) {
                    Ok(value) => value["message_type"].as_str().unwrap_or("other").to_owned(),
                    Err(_) => "broken".into(),
                },
            });
        }
        if !rest.is_empty() {
            words.push(format!("+{}", rest.len()));
        }
        let end = match (self.head.is_empty(), self.end) {
            (true, _) => "nothing".to_owned(),
            (_, end) => format!("{end:?}").to_lowercase(),
        };
        words.push(end);
        words.join(" ")
    }
}

/// Sends a request over HTTP/1.1 and reads until the connection ends.
pub(super) async fn over_http1(stage: &Stage, method: &str, path: &str, body: &Value) -> Seen {
    let mut socket = TcpStream::connect(stage.server.url().trim_start_matches("http://")).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\norigin: {ORIGIN}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        stage.token,
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(SOON, socket.read_to_end(&mut bytes)).await.expect("the connection ends");
    let is_reset = match end {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => true,
        Err(error) => panic!("{error}"),
    };
    let cut = if is_reset { End::Reset } else { End::Closed };
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        assert!(bytes.is_empty(), "half a head: {}", String::from_utf8_lossy(&bytes));
        return Seen { end: cut, ..Seen::default() };
    };
    let mut seen =
        Seen { head: String::from_utf8(bytes[..head].to_vec()).unwrap().to_lowercase(), end: cut, ..Seen::default() };
    let mut rest = &bytes[head + 4..];
    if seen.header("transfer-encoding") == Some("chunked") {
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            let Some(size) = size.filter(|size| rest.len() >= end + 2 + size + 2) else { break };
            let chunk = &rest[end + 2..end + 2 + size];
            rest = &rest[end + 2 + size + 2..];
            if size == 0 {
                seen.end = if is_reset { End::Reset } else { End::Whole };
                break;
            }
            seen.pieces.push(chunk.to_vec());
        }
        seen.rest = rest.to_vec();
    } else {
        let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
        seen.pieces.push(rest.to_vec());
        if !is_reset && rest.len() == length {
            seen.end = End::Whole;
        }
    }
    seen
}

/// Sends a request over HTTP/2 and reads until its stream ends.
pub(super) async fn over_http2(stage: &Stage, method: &str, path: &str, body: &Value) -> Seen {
    let socket = TcpStream::connect(stage.server.url().trim_start_matches("http://")).await.unwrap();
    let (session, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://a{path}"))
        .header("origin", ORIGIN)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", stage.token))
        .body(())
        .unwrap();
    let mut session = session.ready().await.unwrap();
    let (response, mut stream) = session.send_request(request, body.is_null()).unwrap();
    if !body.is_null() {
        stream.send_data(Bytes::from(body.to_string()), true).unwrap();
    }
    let response = match tokio::time::timeout(SOON, response).await.expect("something comes") {
        Ok(response) => response,
        Err(error) => {
            assert!(error.is_reset(), "{error}");
            return Seen { end: End::Reset, ..Seen::default() };
        }
    };
    let fields = response.headers().iter().map(|(name, value)| format!("\n{name}: {}", value.to_str().unwrap()));
    let mut seen = Seen { head: format!("{}{}", response.status(), fields.collect::<String>()), ..Seen::default() };
    let mut body = response.into_body();
    while let Some(data) = tokio::time::timeout(SOON, body.data()).await.expect("the stream ends") {
        match data {
            Ok(data) => {
                body.flow_control().release_capacity(data.len()).unwrap();
                // The server sends the last byte of a body as a piece of its own.
                seen.pieces.push(data.to_vec());
            }
            Err(error) => {
                assert!(error.is_reset(), "{error}");
                seen.end = End::Reset;
                break;
            }
        }
    }
    seen
}
