//! A client's WebSocket, written byte for byte, so that a test may also send what no client would.

use std::{fmt::Write, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Gatelet, ORIGIN};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// An open socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// The head of the response to the handshake.
    pub(crate) head: String,
}

/// A handshake that was refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: String,
}

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Came {
    Frame(u8, Vec<u8>),
    /// The connection ended.
    End,
}

impl Socket {
    /// Sends a handshake with these headers besides the usual ones.
    pub(crate) async fn open(gate: &Gatelet, target: &str, headers: &[(&str, &str)]) -> Result<Self, Refused> {
        let key = BASE64_STANDARD.encode([7; 16]);
        let mut all = vec![
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", &key),
        ];
        all.extend_from_slice(headers);
        Self::open_with(gate, target, &all).await
    }

    /// Sends a handshake with these headers and `Host` alone.
    pub(crate) async fn open_with(gate: &Gatelet, target: &str, headers: &[(&str, &str)]) -> Result<Self, Refused> {
        let address = gate.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut request = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n");
        for (name, value) in headers {
            write!(request, "{name}: {value}\r\n").unwrap();
        }
        stream.write_all((request + "\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status == 101 {
            return Ok(Self { stream, head });
        }
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        Err(Refused { status, code: body["code"].as_str().unwrap_or_default().to_owned() })
    }

    /// The socket of a page: with its token in the query, and its origin.
    pub(crate) async fn page(gate: &Gatelet, token: &str) -> Self {
        Self::open(gate, &format!("/ws?token={token}"), &[("origin", ORIGIN)]).await.unwrap()
    }

    /// Sends bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends bytes as they are, if the other side still takes them.
    pub(crate) async fn try_raw(&mut self, bytes: &[u8]) -> bool {
        matches!(timeout(Duration::from_millis(200), self.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Sends a whole frame.
    pub(crate) async fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.raw(&frame(0x80 | opcode, payload)).await;
    }

    /// Sends a frame of the protocol.
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.frame(TEXT, frame.to_string().as_bytes()).await;
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Came {
        timeout(PATIENCE, self.read()).await.expect("something comes").unwrap_or(Came::End)
    }

    async fn read(&mut self) -> std::io::Result<Came> {
        let first = self.stream.read_u8().await?;
        let length = match self.stream.read_u8().await? {
            126 => self.stream.read_u16().await?.into(),
            127 => self.stream.read_u64().await?,
            short => short.into(),
        };
        assert_eq!(first & 0xf0, 0x80, "one whole frame without extensions");
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await?;
        Ok(Came::Frame(first & 0x0f, payload))
    }

    /// The next frame of the protocol. Pings are responded to.
    pub(crate) async fn recv(&mut self) -> Value {
        match self.recv_or_end().await {
            Ok(frame) => frame,
            Err(end) => panic!("closed: {end:?}"),
        }
    }

    async fn recv_or_end(&mut self) -> Result<Value, Option<(u16, String)>> {
        loop {
            match self.next().await {
                Came::Frame(TEXT, payload) => return Ok(serde_json::from_slice(&payload).unwrap()),
                Came::Frame(PING, payload) => self.frame(PONG, &payload).await,
                Came::Frame(PONG, _) => {}
                Came::Frame(CLOSE, payload) => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    // The response to the close, which the gate waits for.
                    let _ = self.try_raw(&frame(0x80 | CLOSE, &payload)).await;
                    return Err(Some((code, String::from_utf8(payload[2..].to_vec()).unwrap())));
                }
                Came::Frame(opcode, _) => panic!("opcode {opcode}"),
                Came::End => return Err(None),
            }
        }
    }

    /// The next frame for which this holds.
    pub(crate) async fn until(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.recv().await;
            if holds(&frame) {
                return frame;
            }
        }
    }

    /// The response to a request.
    pub(crate) async fn response(&mut self, id: &str) -> Value {
        self.until(|frame| frame["request_id"] == id).await
    }

    /// The next event of this type.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        self.until(|frame| frame["type"] == kind).await
    }

    /// Sends a request and returns its response.
    pub(crate) async fn ask(&mut self, request: &Value) -> Value {
        self.send(request).await;
        self.response(request["request_id"].as_str().unwrap()).await
    }

    /// With which code and reason the gate closes the socket; `None` if the connection ends without.
    pub(crate) async fn end(&mut self) -> Option<(u16, String)> {
        loop {
            if let Err(end) = self.recv_or_end().await {
                return end;
            }
        }
    }

    /// Starts a conversation.
    pub(crate) async fn start(&mut self, agent: &str, conversation: &str) -> Value {
        self.ask(&json!({"type": "runtime_start", "request_id": format!("start-{conversation}"), "agent_id": agent,
            "conversation_id": conversation}))
            .await
    }

    /// Sends an input.
    pub(crate) async fn input(&mut self, agent: &str, conversation: &str, text: &str) {
        self.send(&input("input-1", agent, conversation, text)).await;
    }
}

/// An input.
pub(crate) fn input(id: &str, agent: &str, conversation: &str, text: &str) -> Value {
    json!({"type": "input", "request_id": id, "runtime": {"agent_id": agent, "conversation_id": conversation},
        "payload": {"kind": "create_message", "messages": [{"role": "user", "content": text}]}})
}

/// A masked frame with this first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ ..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        medium @ ..0x1_0000 => {
            bytes.push(0x80 | 0x7e);
            bytes.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 0x7f);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    let mask = [1, 2, 3, 4];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}
