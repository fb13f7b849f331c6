//! A Letta server that remembers what it was sent, byte for byte, and answers as the test says: also as no server should.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};

use super::{Gatelet, Program};

/// The gateway's own credential.
pub(crate) const UPSTREAM_KEY: &str = "upstream-password-canary";

/// What tells the requests of tests from the gateway's own look-ups: it passes, and the gateway itself names no agent.
pub(crate) const USER_AGENT: &str = "Letta/Python 1.0.0";

const PATIENCE: Duration = Duration::from_secs(30);

/// A recording server.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    /// How many were forgotten.
    forgotten: usize,
    fixed: HashMap<String, Scripted>,
    held: HashMap<String, VecDeque<Answering>>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The request line and the headers, without the empty line.
    pub(crate) head: String,
    /// As much of the body as has arrived, without the framing of chunks.
    pub(crate) body: Vec<u8>,
    /// Whether it has arrived whole.
    pub(crate) is_whole: bool,
}

/// An answer that is given whenever it is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Scripted {
    /// A proper answer.
    Json(u16, Value),
    /// These bytes, and the end of the connection.
    Raw(Vec<u8>),
    /// These bytes, and then chunks for ever.
    Endless(Vec<u8>),
    /// None at all; the connection stays open.
    Silence,
    /// The connection is torn down.
    Reset,
}

/// An answer that the test gives step by step, once.
#[derive(Debug)]
pub(crate) struct Held {
    acts: mpsc::UnboundedSender<Act>,
    progress: watch::Receiver<Progress>,
    written: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Answering {
    acts: mpsc::UnboundedReceiver<Act>,
    progress: watch::Sender<Progress>,
    written: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Act {
    Send(Vec<u8>),
    Reset,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Progress {
    Waiting,
    Asked,
    Gone,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        upstream.answer("GET", "/v1/health/", Scripted::Json(200, json!({"version": "0.16.8", "status": "ok"})));
        let state = Arc::clone(&upstream.state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                tokio::spawn(serve(Arc::clone(&state), socket));
            }
        });
        upstream
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// A gateway before this server that keeps everything in memory.
    pub(crate) async fn gateway(&self) -> Gatelet {
        self.before(Program::ephemeral()).start_alone().await
    }

    /// A program that is to be a gateway before this server.
    pub(crate) fn before(&self, program: Program) -> Program {
        program.argument("--upstream").argument(&self.url()).env("GATELET_UPSTREAM_API_KEY", UPSTREAM_KEY)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on requests for this path are answered so, those with a query of their own where it is given. Whatever is
    /// not scripted is 404 when it is read by its id, else 200.
    pub(crate) fn answer(&self, method: &str, path: &str, answer: Scripted) {
        self.state().fixed.insert(format!("{method} {path}"), answer);
    }

    /// The next request for this path is answered by hand.
    pub(crate) fn hold(&self, method: &str, path: &str) -> Held {
        let (acts, waiting_acts) = mpsc::unbounded_channel();
        let (sender, progress) = watch::channel(Progress::Waiting);
        let written = Arc::new(AtomicUsize::new(0));
        let answering = Answering { acts: waiting_acts, progress: sender, written: Arc::clone(&written) };
        self.state().held.entry(format!("{method} {path}")).or_default().push_back(answering);
        Held { acts, progress, written }
    }

    /// Keeps a thing at its path and returns its id.
    fn keep(&self, collection: &str, prefix: &str, fields: &Value) -> String {
        let id = format!("{prefix}-{}", uuid::Uuid::new_v4());
        let mut thing = json!({"id": id});
        thing.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.answer("GET", &format!("/v1/{collection}/{id}"), Scripted::Json(200, thing));
        id
    }

    /// An agent of the default project.
    pub(crate) fn agent(&self) -> String {
        self.agent_with(&json!({"name": "a", "project_id": null}))
    }

    pub(crate) fn agent_with(&self, fields: &Value) -> String {
        self.keep("agents", "agent", fields)
    }

    pub(crate) fn run(&self, agent: &str) -> String {
        self.keep("runs", "run", &json!({"agent_id": agent}))
    }

    pub(crate) fn step(&self, agent: &str) -> String {
        self.keep("steps", "step", &json!({"agent_id": agent}))
    }

    pub(crate) fn conversation(&self, agent: &str) -> String {
        self.keep("conversations", "conv", &json!({"agent_id": agent}))
    }

    /// A block that these agents share, the first of which shows it under a label.
    pub(crate) fn block(&self, label: &str, agents: &[&str]) -> String {
        let id = self.keep("blocks", "block", &json!({"label": label}));
        let block = Scripted::Json(200, json!({"id": id, "label": label}));
        self.answer("GET", &format!("/v1/agents/{}/core-memory/blocks/{label}", agents[0]), block);
        let agents: Vec<Value> = agents.iter().map(|agent| json!({"id": agent})).collect();
        self.answer("GET", &format!("/v1/blocks/{id}/agents"), Scripted::Json(200, json!(agents)));
        id
    }

    /// Passages of an agent's archive, oldest first, listed as Letta does around the cursors that a proof uses.
    pub(crate) fn passages(&self, agent: &str, passages: &[&str]) {
        let list = format!("/v1/agents/{agent}/archival-memory");
        let answer = |query: String, ids: &[&str]| {
            let ids: Vec<Value> = ids.iter().map(|id| json!({"id": id, "text": "x"})).collect();
            self.answer("GET", &format!("{list}?{query}"), Scripted::Json(200, json!(ids)));
        };
        self.answer("GET", &list, Scripted::Json(200, json!([])));
        answer("ascending=true&limit=20".into(), &passages[..passages.len().min(20)]);
        for (index, id) in passages.iter().enumerate() {
            answer(format!("before={id}&ascending=false&limit=1"), &passages[index.saturating_sub(1)..index]);
            let after = &passages[index + 1..];
            answer(format!("ascending=true&limit=20&after={id}"), &after[..after.len().min(20)]);
        }
    }

    /// The files of an agent, in the pages in which they are listed.
    pub(crate) fn files(&self, agent: &str, pages: &[&[&str]]) {
        let list = format!("/v1/agents/{agent}/files");
        for (index, page) in pages.iter().enumerate() {
            let cursor = |index| format!("file_agent-{index}");
            let files: Vec<Value> = page.iter().map(|id| json!({"id": cursor(index), "file_id": id})).collect();
            let more = index + 1 < pages.len();
            let answer = json!({"files": files, "next_cursor": cursor(index), "has_more": more});
            let query = if index == 0 { String::new() } else { format!("&cursor={}", cursor(index - 1)) };
            self.answer("GET", &format!("{list}?limit=100{query}"), Scripted::Json(200, answer));
        }
    }

    /// Every request there was, but for health checks.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state().seen.iter().filter(|seen| seen.target() != "/v1/health/").cloned().collect()
    }

    /// How many health checks there were.
    pub(crate) fn health_checks(&self) -> usize {
        self.state().seen.iter().filter(|seen| seen.target() == "/v1/health/").count()
    }

    /// The requests that were passed on.
    pub(crate) fn passed(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.header("user-agent").is_some()).collect()
    }

    /// The gateway's own look-ups.
    pub(crate) fn look_ups(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.header("user-agent").is_none()).collect()
    }

    /// Forgets what was seen.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.forgotten += state.seen.len();
        state.seen.clear();
    }

    /// The only request that was passed on since this was asked last.
    #[track_caller]
    pub(crate) fn take_passed(&self) -> Seen {
        let mut passed = self.passed();
        assert_eq!(passed.len(), 1, "{passed:?}");
        self.forget();
        passed.remove(0)
    }
}

impl Seen {
    /// Method and target.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.line().split_once(' ').unwrap().1
    }

    /// Every header in the order it came, names in lower case.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (String, &str)> {
        self.head.lines().skip(1).map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value)
        })
    }

    /// The value of a header that is there at most once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers().filter(|(present, _)| present == name).map(|(_, value)| value);
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice: {}", self.head);
        value
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Held {
    async fn reach(&self, progress: Progress, what: &str) {
        let mut receiver = self.progress.clone();
        let reached = tokio::time::timeout(PATIENCE, receiver.wait_for(|present| *present >= progress)).await;
        assert!(reached.is_ok_and(|reached| reached.is_ok()), "{what}");
    }

    /// Waits until the request is there.
    pub(crate) async fn asked(&self) {
        self.reach(Progress::Asked, "the request never came").await;
    }

    /// Waits until whoever asked has closed the connection.
    pub(crate) async fn gone(&self) {
        self.reach(Progress::Gone, "the request was never dropped").await;
    }

    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        self.acts.send(Act::Send(bytes.as_ref().to_vec())).unwrap();
    }

    /// The head of a stream, in the words of Letta.
    pub(crate) fn begin_events(&self) {
        self.send(head(200, &[("content-type", "text/event-stream; charset=utf-8"), ("transfer-encoding", "chunked")]));
    }

    pub(crate) fn chunk(&self, bytes: impl AsRef<[u8]>) {
        self.send(chunk(bytes));
    }

    /// How many bytes the network has taken.
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }

    /// The proper end of a chunked body.
    pub(crate) fn end(&self) {
        self.send("0\r\n\r\n");
    }

    /// Closes the connection, wherever the answer is.
    pub(crate) fn cut(self) {
        drop(self);
    }

    /// Tears the connection down.
    pub(crate) fn reset(&self) {
        self.acts.send(Act::Reset).unwrap();
    }
}

/// The head of an answer.
pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("connection: close\r\n\r\n");
    head.into_bytes()
}

/// A whole answer.
pub(crate) fn raw(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Scripted {
    let length = body.as_ref().len().to_string();
    let mut answer = head(status, &[headers, &[("content-length", &length)]].concat());
    answer.extend_from_slice(body.as_ref());
    Scripted::Raw(answer)
}

fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Answers requests on one connection until it ends.
async fn serve(state: Arc<Mutex<State>>, mut socket: TcpStream) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let line = receive(&state, &mut socket, &mut buffer).await?;
        let path = line.split_once('?').map_or(line.as_str(), |(path, _)| path).to_owned();
        let (held, fixed) = {
            let mut state = state.lock().unwrap();
            let fixed = state.fixed.get(&line).or_else(|| state.fixed.get(&path)).cloned();
            (state.held.get_mut(&path).and_then(VecDeque::pop_front), fixed)
        };
        if let Some(held) = held {
            perform(held, &mut socket).await?;
            continue;
        }
        match fixed.unwrap_or_else(|| unscripted(&path)) {
            Scripted::Json(status, body) => {
                let body = body.to_string();
                let length = body.len();
                let line = format!("HTTP/1.1 {status} Whatever\r\ncontent-type: application/json\r\n");
                let answer = format!("{line}content-length: {length}\r\n\r\n{body}");
                socket.write_all(answer.as_bytes()).await.ok()?;
            }
            Scripted::Raw(bytes) => {
                let _ = socket.write_all(&bytes).await;
                return None;
            }
            Scripted::Endless(bytes) => {
                socket.write_all(&bytes).await.ok()?;
                let more = chunk(vec![b' '; 64 * 1024]);
                while socket.write_all(&more).await.is_ok() {}
                return None;
            }
            Scripted::Silence => {
                while let Ok(1..) = socket.read(&mut [0; 1024]).await {}
                return None;
            }
            Scripted::Reset => {
                socket.set_zero_linger().unwrap();
                return None;
            }
        }
    }
}

/// Gives a held answer. The connection is closed when the test lets go of it.
async fn perform(mut held: Answering, socket: &mut TcpStream) -> Option<()> {
    held.progress.send_replace(Progress::Asked);
    let mut rest = [0; 1024];
    loop {
        tokio::select! {
            act = held.acts.recv() => match act {
                Some(Act::Send(bytes)) => {
                    if socket.write_all(&bytes).await.is_err() {
                        held.progress.send_replace(Progress::Gone);
                    }
                    held.written.fetch_add(bytes.len(), Ordering::SeqCst);
                }
                Some(Act::Reset) => {
                    socket.set_zero_linger().unwrap();
                    return None;
                }
                None => return None,
            },
            read = socket.read(&mut rest) => if !matches!(read, Ok(1..)) {
                held.progress.send_replace(Progress::Gone);
                // Whatever is still to be said goes nowhere.
                while held.acts.recv().await.is_some() {}
                return None;
            },
        }
    }
}

/// What a Letta server with nothing in it answers.
fn unscripted(line: &str) -> Scripted {
    let segments: Vec<&str> = line.split('/').collect();
    match segments[..] {
        ["GET ", "v1", _, id] | ["GET ", "v1", "agents", _, "schedule", id] if !id.is_empty() => {
            Scripted::Json(404, json!({"detail": "Nothing is there"}))
        }
        _ => Scripted::Json(200, json!({"answered": line})),
    }
}

/// Reads a request, recording it as it comes; returns its method and target.
async fn receive(state: &Mutex<State>, socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    let end = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end;
        }
        fill(socket, buffer).await?;
    };
    let head = String::from_utf8(buffer.drain(..end + 4).take(end).collect()).unwrap();
    let seen = Seen { head, body: Vec::new(), is_whole: false };
    let line = seen.line().to_owned();
    let is_chunked = seen.header("transfer-encoding") == Some("chunked");
    let mut left: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    let index = {
        let mut state = state.lock().unwrap();
        state.seen.push(seen);
        state.forgotten + state.seen.len() - 1
    };
    let note = |note: &dyn Fn(&mut Seen)| {
        let mut state = state.lock().unwrap();
        let index = index.checked_sub(state.forgotten);
        if let Some(seen) = index.and_then(|index| state.seen.get_mut(index)) {
            note(seen);
        }
    };
    loop {
        if is_chunked && left == 0 {
            let end = loop {
                match find(buffer, b"\r\n") {
                    Some(end) => break end,
                    None => fill(socket, buffer).await?,
                }
            };
            left = usize::from_str_radix(std::str::from_utf8(&buffer[..end]).unwrap(), 16).unwrap();
            buffer.drain(..end + 2);
            let is_last = left == 0;
            // The line end after the data, or after the last chunk.
            left += 2;
            while is_last && buffer.len() < 2 {
                fill(socket, buffer).await?;
            }
            if is_last {
                buffer.drain(..2);
                break;
            }
        }
        if left == 0 {
            break;
        }
        if buffer.is_empty() {
            fill(socket, buffer).await?;
        }
        let taken: Vec<u8> = buffer.drain(..left.min(buffer.len())).collect();
        let framing = if is_chunked { 2 } else { 0 };
        let data = taken.len().min(left.saturating_sub(framing));
        note(&|seen| seen.body.extend_from_slice(&taken[..data]));
        left -= taken.len();
    }
    note(&|seen| seen.is_whole = true);
    Some(line)
}

fn find(buffer: &[u8], what: &[u8]) -> Option<usize> {
    buffer.windows(what.len()).position(|window| window == what)
}

async fn fill(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match socket.read_buf(buffer).await {
        Ok(1..) => Some(()),
        _ => None,
    }
}
