//! A fake Letta server: fixed answers, read and written with as little work as the wire allows.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{Failure, client::Head, pace};

/// When the process began: frames carry the time since then, in nanoseconds.
static EPOCH: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

/// Nanoseconds since the process began.
pub(crate) fn now() -> u64 {
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) async fn bind(listen: SocketAddr) -> Result<TcpListener, Failure> {
    now();
    Ok(TcpListener::bind(listen).await?)
}

/// Serves for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener) -> Result<serde_json::Value, Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A connection that ends, however it does, is the proxy's affair.
            let _ = Connection { stream, read: Vec::with_capacity(16 * 1024) }.serve().await;
        });
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn serve(mut self) -> io::Result<()> {
        loop {
            while self.read.is_empty() {
                if self.stream.read_buf(&mut self.read).await? == 0 {
                    return Ok(());
                }
            }
            let head = loop {
                if let Some(head) = Head::parse(&self.read)? {
                    break head;
                }
                if self.stream.read_buf(&mut self.read).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            };
            let whole = head.length + head.content_length;
            while self.read.len() < whole {
                if self.stream.read_buf(&mut self.read).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let target = target(&self.read);
            let path = target.split('?').next().unwrap_or_default();
            if path.ends_with("/messages/stream") {
                let (frames, gap) = pace_asked_for(&self.read[head.length..whole])?;
                self.read.drain(..whole);
                self.events(frames, gap).await?;
                continue;
            }
            let answer = answer(path);
            self.read.drain(..whole);
            self.stream.write_all(&answer).await?;
        }
    }

    /// Writes a stream of events, each as soon as it is due, with the time at which it was written.
    async fn events(&mut self, frames: u32, gap: Duration) -> io::Result<()> {
        const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ndate: Mon, 24 Nov 2025 12:00:00 GMT\r\nserver: uvicorn\r\n\
            content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n\
            transfer-encoding: chunked\r\n\r\n";
        self.stream.write_all(HEAD).await?;
        let started = Instant::now();
        for frame in 0..frames {
            pace::until(started + gap * frame).await;
            let event = event(now());
            self.stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        }
        let end = "data: [DONE]\n\n";
        self.stream.write_all(format!("{:x}\r\n{end}\r\n0\r\n\r\n", end.len()).as_bytes()).await
    }
}

/// One token of a model's answer, as Letta sends it.
fn event(now: u64) -> String {
    format!(
        "data: {{\"id\":\"message-5f1f3a52-6d4e-4f4e-8a6e-7f8a0b1c2d3e\",\"date\":\"2025-11-24T12:00:00+00:00\",\
        \"message_type\":\"assistant_message\",\"otid\":\"5f1f3a52-6d4e-4f4e-8a6e-7f8a0b1c2d00\",\
        \"run_id\":\"run-1c0a6b7e-3d5f-4a8b-9c2d-0e1f2a3b4c5d\",\"content\":\"word \",\"sent\":{now:020}}}\n\n"
    )
}

/// When an event was sent, as it says.
pub(crate) fn sent(event: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"sent\":";
    let start = event.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    std::str::from_utf8(event.get(start..start + 20)?).ok()?.parse().ok()
}

/// How many frames a request asks for, and how far they are to be apart: the message's text is `FRAMES MILLISECONDS`.
fn pace_asked_for(body: &[u8]) -> io::Result<(u32, Duration)> {
    let body: serde_json::Value = serde_json::from_slice(body)?;
    let asked = body["input"].as_str().and_then(|text| text.split_once(' '));
    let parsed = asked.and_then(|(frames, gap)| Some((frames.parse().ok()?, gap.parse().ok()?)));
    let (frames, gap) = parsed.ok_or_else(|| io::Error::other("a message that does not say how to answer"))?;
    Ok((frames, Duration::from_millis(gap)))
}

/// The request line's target.
fn target(request: &[u8]) -> String {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    String::from_utf8_lossy(target).into_owned()
}

fn answer(path: &str) -> Vec<u8> {
    match path.strip_prefix("/v1/agents/") {
        Some(rest) if rest.ends_with("/messages") => MESSAGES.clone(),
        // What a gateway asks to learn an agent's project.
        Some(id) => json(&format!("{{\"id\":\"{id}\",\"name\":\"bench\",\"project_id\":null}}")),
        None if path == "/v1/health/" => json("{\"version\":\"0.16.8\",\"status\":\"ok\"}"),
        // What a proxy that asks somebody else before each request is told.
        None if path == "/auth" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        None => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    }
}

/// A short conversation of about a kilobyte.
static MESSAGES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
    let messages: Vec<String> = (0..4)
        .map(|number| {
            format!(
                "{{\"id\":\"message-5f1f3a52-6d4e-4f4e-8a6e-7f8a0b1c2d3{number}\",\"date\":\"2025-11-24T12:00:00+00:00\",\
                \"name\":null,\"message_type\":\"assistant_message\",\"otid\":\"5f1f3a52-6d4e-4f4e-8a6e-7f8a0b1c2d00\",\
                \"sender_id\":null,\"step_id\":null,\"is_err\":null,\"content\":\"Message number {number}.\"}}"
            )
        })
        .collect();
    json(&format!("[{}]", messages.join(",")))
});

fn json(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ndate: Mon, 24 Nov 2025 12:00:00 GMT\r\nserver: uvicorn\r\ncontent-length: {}\r\n\
        content-type: application/json\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
