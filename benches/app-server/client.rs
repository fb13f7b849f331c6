//! What is measured, from a client's side.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use clap::Args;
use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::Failure;

/// Where a server is, and as whom to connect.
#[derive(Args, Debug)]
struct Target {
    /// Its address
    #[arg(long)]
    server: SocketAddr,
    /// The token of a page; none for a server that asks for none
    #[arg(long)]
    token: Option<String>,
    /// The agent of that token
    #[arg(long)]
    agent: String,
}

/// Arguments of `latency`.
#[derive(Args, Debug)]
pub(crate) struct Latency {
    #[command(flatten)]
    target: Target,
    /// How many frames are sent
    #[arg(long, default_value_t = 5_000)]
    frames: usize,
}

/// Arguments of `relay`.
#[derive(Args, Debug)]
pub(crate) struct Relay {
    #[command(flatten)]
    target: Target,
    /// The process that is measured
    #[arg(long)]
    pid: u32,
    /// How many streams there are at a time
    #[arg(long, default_value_t = 200)]
    streams: usize,
    /// How many events each has
    #[arg(long, default_value_t = 200)]
    events: u64,
    /// How many microseconds lie between two
    #[arg(long, default_value_t = 20_000)]
    pause: u64,
}

/// Arguments of `idle`.
#[derive(Args, Debug)]
pub(crate) struct Idle {
    #[command(flatten)]
    target: Target,
    /// The process that is measured
    #[arg(long)]
    pid: u32,
    /// How many sockets are idle
    #[arg(long = "idle", default_value_t = 1_000)]
    sockets: usize,
    /// How many stream
    #[arg(long, default_value_t = 200)]
    streams: usize,
    /// How long
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

/// The socket of a page that has started its conversation.
struct Page {
    socket: WebSocketStream<TcpStream>,
    runtime: Value,
}

impl Page {
    async fn open(target: &Target) -> Result<Self, Failure> {
        let stream = TcpStream::connect(target.server).await?;
        stream.set_nodelay(true)?;
        let query = target.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
        let mut request = format!("ws://{}/ws{query}", target.server).into_client_request()?;
        request.headers_mut().insert("origin", http::HeaderValue::from_static("https://app.example"));
        let (socket, _) = client_async(request, stream).await?;
        let runtime = json!({"agent_id": target.agent, "conversation_id": "default"});
        let mut page = Self { socket, runtime };
        let start = json!({"type": "runtime_start", "request_id": "start", "agent_id": target.agent,
            "conversation_id": "default"});
        page.send(&start).await?;
        let started = page.until("\"runtime_start_response\"").await?;
        if started.contains("\"success\":true") { Ok(page) } else { Err(started.into()) }
    }

    async fn send(&mut self, frame: &Value) -> Result<(), Failure> {
        Ok(self.socket.send(Message::text(frame.to_string())).await?)
    }

    /// The next frame that contains this.
    async fn until(&mut self, part: &str) -> Result<String, Failure> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) if text.contains(part) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => return Err(format!("closed: {frame:?}").into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err("closed".into()),
            }
        }
    }

    /// Lets the server stream, and counts the events.
    async fn stream(&mut self, events: u64, pause: u64) -> Result<u64, Failure> {
        let messages = json!([{"role": "user", "content": format!("{events} {pause}"), "client_message_id": null}]);
        let mut input = json!({"type": "input", "request_id": "input", "runtime": self.runtime,
            "payload": {"kind": "create_message", "messages": messages}});
        input["payload"]["messages"][0].as_object_mut().map(|message| message.remove("client_message_id"));
        self.send(&input).await?;
        let mut count = 0;
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) if text.contains("\"stream_delta\"") => count += 1,
                Some(Ok(Message::Text(text))) if text.contains("\"turn_finished\"") => return Ok(count),
                Some(Ok(Message::Close(frame))) => return Err(format!("closed: {frame:?}").into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err("closed".into()),
            }
        }
    }
}

async fn pages(target: &Target, count: usize) -> Result<Vec<Page>, Failure> {
    let mut pages = Vec::new();
    for _ in 0..count {
        pages.push(Page::open(target).await?);
    }
    Ok(pages)
}

impl Latency {
    pub(crate) async fn measure(self) -> Result<Value, Failure> {
        let mut page = Page::open(&self.target).await?;
        let sync = json!({"type": "sync", "request_id": "s", "runtime": page.runtime});
        let mut times = Vec::with_capacity(self.frames);
        for number in 0..self.frames + 200 {
            let sent = Instant::now();
            page.send(&sync).await?;
            page.until("\"sync_response\"").await?;
            // The first ones warm up.
            if number >= 200 {
                times.push(sent.elapsed().as_nanos());
            }
        }
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        Ok(json!({"p50_ns": at(50), "p99_ns": at(99)}))
    }
}

impl Relay {
    pub(crate) async fn measure(self) -> Result<Value, Failure> {
        let mut pages = pages(&self.target, self.streams).await?;
        let before = cpu_ticks(self.pid)?;
        let (events, pause) = (self.events, self.pause);
        let streams = pages.iter_mut().map(async |page| page.stream(events, pause).await);
        let mut relayed = 0;
        for count in join_all(streams).await {
            relayed += count?;
        }
        let ticks = cpu_ticks(self.pid)? - before;
        // A tick is 10 ms on Linux.
        Ok(json!({"events": relayed, "cpu_us": ticks * 10_000, "expected": events * self.streams as u64}))
    }
}

impl Idle {
    pub(crate) async fn measure(self) -> Result<Value, Failure> {
        let before = resident_kib(self.pid)?;
        let mut idle = pages(&self.target, self.sockets).await?;
        let with_idle = resident_kib(self.pid)?;
        let mut streaming = pages(&self.target, self.streams).await?;
        let events = self.seconds * 20;
        let streams = streaming.iter_mut().map(async |page| page.stream(events, 50_000).await);
        let streams = join_all(streams);
        // Idle sockets read on, so that pings are responded to.
        let patience = Duration::from_secs(self.seconds);
        let reading = join_all(idle.iter_mut().map(async |page| {
            let ended = tokio::time::timeout(patience, async { while let Some(Ok(_)) = page.socket.next().await {} });
            ended.await.is_ok()
        }));
        let (streamed, ended) = tokio::join!(streams, reading);
        let dropped = ended.iter().filter(|has_ended| **has_ended).count();
        let whole = streamed.iter().filter(|count| matches!(count, Ok(count) if *count == events)).count();
        let after = resident_kib(self.pid)?;
        let per_socket = |kib: u64, sockets: usize| kib * 1024 / sockets as u64;
        Ok(json!({"idle_bytes": per_socket(with_idle.saturating_sub(before), self.sockets),
            "bytes": per_socket(after.saturating_sub(before), self.sockets + self.streams),
            "idle_dropped": dropped, "streams_whole": whole, "streams": self.streams}))
    }
}

/// The CPU time of a process so far, in ticks.
fn cpu_ticks(pid: u32) -> Result<u64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Ok(field(11).ok_or("no utime")? + field(12).ok_or("no stime")?)
}

/// The resident memory of a process, in KiB.
fn resident_kib(pid: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
