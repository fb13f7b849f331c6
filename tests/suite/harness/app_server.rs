//! An App Server that remembers what it was sent, and responds with the shapes of the recordings of a real one.
//!
//! As in a real one, frames that it does not know are met with silence, a frame that names a runtime subscribes its socket to
//! it, and a conversation is stuck once its only subscriber has left in the middle of a turn.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role},
    },
};

use super::{Gatelet, Program, eventually};

/// The credential of the gate.
pub(crate) const APP_SERVER_TOKEN: &str = "app-server-canary";

/// Two agents, with the ids of the local backend.
pub(crate) const ADA: &str = "agent-local-00000000-0000-4000-8000-000000000001";
pub(crate) const BOB: &str = "agent-local-00000000-0000-4000-8000-000000000002";

const SOON: Duration = Duration::from_secs(10);
const TIME: &str = "2026-11-28T06:00:00.000Z";

/// A recorded App Server.
#[derive(Clone, Debug)]
pub(crate) struct AppServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The heads of all handshakes and requests.
    heads: Vec<String>,
    /// What came, and on which socket.
    frames: Vec<(usize, Value)>,
    /// Where each socket is written to; `None` once it is closed.
    sockets: Vec<Option<mpsc::UnboundedSender<Message>>>,
    /// The agent of each conversation.
    conversations: HashMap<String, String>,
    /// Agents with reflection.
    reflecting: HashSet<String>,
    /// Types that it does not respond to.
    silent: HashSet<&'static str>,
    /// Which sockets are subscribed to a runtime.
    subscribers: HashMap<(String, String), HashSet<usize>>,
    /// Turns that are in progress.
    turns: HashSet<(String, String)>,
    stuck: HashSet<String>,
    refuses: bool,
    event_seq: u64,
}

impl AppServer {
    /// A server with two agents. `local-conv-1` is Ada's, `local-conv-2` Bob's.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self { address, state: Arc::default() };
        let conversations = [("local-conv-1", ADA), ("local-conv-2", BOB)];
        server.state().conversations.extend(conversations.map(|(id, agent)| (id.to_owned(), agent.to_owned())));
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    /// Its host and port.
    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// A gate before it, in memory.
    pub(crate) fn program(&self) -> Program {
        Program::ephemeral()
            .argument("--app-server")
            .argument(&self.url())
            .env("GATELET_APP_SERVER_TOKEN", APP_SERVER_TOKEN)
    }

    /// A running gate before it.
    pub(crate) async fn gate(&self) -> Gatelet {
        self.program().start_alone().await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.state().heads.clone()
    }

    /// All frames so far, of any socket.
    pub(crate) fn frames(&self) -> Vec<Value> {
        self.state().frames.iter().map(|(_, frame)| frame.clone()).collect()
    }

    /// All frames of a type so far.
    pub(crate) fn frames_of(&self, kind: &str) -> Vec<Value> {
        self.frames().into_iter().filter(|frame| frame["type"] == kind).collect()
    }

    /// Waits for as many frames of a type.
    pub(crate) async fn until_frames(&self, kind: &str, count: usize) -> Vec<Value> {
        eventually(kind, SOON, async || self.frames_of(kind).len() >= count).await;
        self.frames_of(kind)
    }

    /// How many sockets are subscribed to a conversation.
    pub(crate) fn subscribers(&self, agent: &str, conversation: &str) -> usize {
        let runtime = (agent.to_owned(), conversation.to_owned());
        self.state().subscribers.get(&runtime).map_or(0, HashSet::len)
    }

    /// Whether a conversation is stuck, as after its only subscriber left in the middle of a turn.
    pub(crate) fn is_stuck(&self, conversation: &str) -> bool {
        self.state().stuck.contains(conversation)
    }

    /// From now on this type gets no response.
    pub(crate) fn silence(&self, kind: &'static str) {
        self.state().silent.insert(kind);
    }

    /// From now on this type gets responses again.
    pub(crate) fn unsilence(&self, kind: &'static str) {
        self.state().silent.remove(kind);
    }

    /// Switches reflection of an agent on or off.
    pub(crate) fn set_reflection(&self, agent: &str, is_on: bool) {
        let reflecting = &mut self.state().reflecting;
        if is_on {
            reflecting.insert(agent.to_owned())
        } else {
            reflecting.remove(agent)
        };
    }

    /// Refuses the gate's credential from now on, or no longer.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// Sends a message to every socket.
    pub(crate) fn send_message(&self, message: &Message) {
        for socket in self.state().sockets.iter().flatten() {
            let _ = socket.send(message.clone());
        }
    }

    /// Begins a turn.
    pub(crate) fn begin(&self, agent: &str, conversation: &str) {
        self.state().turns.insert((agent.to_owned(), conversation.to_owned()));
    }

    /// Says something in a turn that is in progress.
    pub(crate) fn say(&self, agent: &str, conversation: &str, text: &str) {
        self.state().say(&(agent.to_owned(), conversation.to_owned()), text);
    }

    /// Ends a turn that is in progress.
    pub(crate) fn finish(&self, agent: &str, conversation: &str) {
        self.state().finish(&(agent.to_owned(), conversation.to_owned()));
    }

    /// Closes every socket.
    pub(crate) fn close_all(&self) {
        for socket in &mut self.state().sockets {
            *socket = None;
        }
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        self.state().heads.push(head.clone());
        let field = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
            Some(line.split_once(':').unwrap().1.trim().to_owned())
        };
        let is_admitted = field("authorization") == Some(format!("Bearer {APP_SERVER_TOKEN}")) && !self.state().refuses;
        let response = match field("sec-websocket-key") {
            None if head.starts_with("GET /readyz ") => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
            None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            Some(_) if !is_admitted => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned(),
            Some(key) => format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {}\r\n\r\n",
                derive_accept_key(key.as_bytes())
            ),
        };
        let is_socket = response.starts_with("HTTP/1.1 101");
        if stream.write_all(response.as_bytes()).await.is_err() || !is_socket {
            return;
        }
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let (sender, mut outgoing) = mpsc::unbounded_channel();
        let number = {
            let mut state = self.state();
            state.sockets.push(Some(sender));
            state.sockets.len() - 1
        };
        loop {
            tokio::select! {
                received = socket.next() => match received {
                    Some(Ok(Message::Text(text))) => {
                        let frame = serde_json::from_str(&text).unwrap_or(Value::String(text.to_string()));
                        self.state().receive(number, &frame);
                    }
                    Some(Ok(Message::Binary(bytes))) => {
                        self.state().receive(number, &json!({"type": "binary", "length": bytes.len()}));
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    Some(Ok(_)) => {}
                },
                message = outgoing.recv() => match message {
                    Some(message) => {
                        if socket.send(message).await.is_err() {
                            break;
                        }
                    }
                    // As a real one that is killed: no close frame.
                    None => break,
                },
            }
        }
        self.state().leave(number);
    }
}

impl State {
    fn receive(&mut self, socket: usize, frame: &Value) {
        self.frames.push((socket, frame.clone()));
        let kind = frame["type"].as_str().unwrap_or_default();
        if self.silent.contains(kind) {
            return;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let id = &frame["request_id"];
        let runtime = (text(&frame["runtime"]["agent_id"]), text(&frame["runtime"]["conversation_id"]));
        let is_probe = kind == "get_reflection_settings";
        if frame["runtime"].is_object() && !is_probe {
            self.subscribe(socket, &runtime);
        }
        match kind {
            "app_server_info" => self.reply(
                socket,
                json!({"type": "app_server_info_response", "request_id": id, "success": true, "backend": "local",
                    "letta_code_version": "0.34.12", "protocol_version": 1, "capabilities": {"agent_management": true,
                    "conversation_management": true, "memory_management": true, "runtime_start": true,
                    "agent_free_conversations": true, "launch_subagent": true, "launch_subagent_notify_caller": true,
                    "runtime_workspace_sandbox": true, "runtime_external_tools_update": true,
                    "structured_outputs": false, "split_channels": false}}),
            ),
            "get_reflection_settings" => {
                let trigger = if self.reflecting.contains(&runtime.0) { "step-count" } else { "off" };
                self.reply(
                    socket,
                    json!({"type": "get_reflection_settings_response", "request_id": id, "success": true,
                        "reflection_settings": {"agent_id": runtime.0, "trigger": trigger, "step_count": 25}}),
                );
            }
            "conversation_retrieve" => {
                let conversation = text(&frame["conversation_id"]);
                let response = match self.conversations.get(&conversation) {
                    Some(agent) => json!({"success": true, "conversation": record(&conversation, agent)}),
                    None => json!({"success": false, "conversation": null,
                        "error": format!("Conversation {conversation} not found")}),
                };
                self.respond(socket, frame, response);
            }
            "conversation_list" => {
                let agent = text(&frame["query"]["agent_id"]);
                let of_agent = self.conversations.iter().filter(|(_, owner)| **owner == agent);
                let conversations: Vec<Value> = of_agent.map(|(id, owner)| record(id, owner)).collect();
                self.respond(socket, frame, json!({"success": true, "conversations": conversations}));
            }
            "conversation_messages_list" => self.respond(
                socket,
                frame,
                json!({"success": true, "messages": [], "next_before": null, "has_more": false}),
            ),
            "runtime_start" => self.start(socket, frame),
            "sync" => {
                self.state_events(&runtime);
                self.respond(socket, frame, json!({"runtime": frame["runtime"], "success": true}));
            }
            "abort_message" => {
                let was_running = self.turns.contains(&runtime);
                self.finish(&runtime);
                let response = json!({"runtime": frame["runtime"], "aborted": was_running, "success": true});
                self.respond(socket, frame, response);
            }
            "input" => self.input(socket, frame, &runtime),
            _ => {}
        }
    }

    fn start(&mut self, socket: usize, frame: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let agent = text(&frame["agent_id"]);
        let is_new = frame["conversation_id"].is_null();
        let conversation = if is_new {
            let id = format!("local-conv-{}", self.conversations.len() + 1);
            self.conversations.insert(id.clone(), agent.clone());
            id
        } else {
            text(&frame["conversation_id"])
        };
        let owner = self.conversations.get(&conversation).cloned();
        let is_own = conversation == "default" || owner.as_ref() == Some(&agent);
        let agent_record = json!({"id": agent, "name": "ada", "description": null, "system": "secret system prompt",
            "tools": [], "tags": ["git-memory-enabled"], "model": "lmstudio/stub-model", "model_settings": {},
            "llm_config": {"model_endpoint": "https://example.invalid/v1"}});
        if !is_own {
            let error = format!("Conversation {conversation} belongs to {owner:?}, not {agent}");
            let response = json!({"success": false, "runtime": null, "agent": agent_record, "conversation": null,
                "created": {"agent": false, "conversation": false}, "error": error});
            return self.respond(socket, frame, response);
        }
        let runtime = (agent.clone(), conversation.clone());
        self.subscribe(socket, &runtime);
        let response = json!({"success": true, "runtime": {"agent_id": agent, "conversation_id": conversation},
            "agent": agent_record, "conversation": record(&conversation, &agent),
            "created": {"agent": false, "conversation": is_new}});
        self.respond(socket, frame, response);
        self.state_events(&runtime);
    }

    fn input(&mut self, socket: usize, frame: &Value, runtime: &(String, String)) {
        if self.stuck.contains(&runtime.1) {
            let sentence = format!("Conversation {} already has an active run", runtime.1);
            let delta =
                json!({"message_type": "loop_error", "message": sentence, "stop_reason": "error", "is_terminal": true});
            return self.publish(runtime, json!({"type": "stream_delta", "delta": delta}));
        }
        let content = frame["payload"]["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
        self.turns.insert(runtime.clone());
        if !frame["request_id"].is_null() {
            self.reply(
                socket,
                json!({"type": "input_accepted", "request_id": frame["request_id"], "runtime": frame["runtime"],
                    "accepted": true, "disposition": "started"}),
            );
        }
        self.loop_status(runtime, "PROCESSING_API_RESPONSE");
        if content != "slow" {
            self.say(runtime, &format!("you said {content}"));
            self.finish(runtime);
        }
    }

    fn say(&mut self, runtime: &(String, String), text: &str) {
        let delta = json!({"id": "ui-msg-2", "date": TIME, "agent_id": runtime.0, "conversation_id": runtime.1,
            "message_type": "assistant_message", "content": [{"type": "text", "text": text}], "run_id": "local-run-1",
            "seq_id": 1, "type": "message"});
        self.publish(runtime, json!({"type": "stream_delta", "delta": delta}));
    }

    fn finish(&mut self, runtime: &(String, String)) {
        if self.turns.remove(runtime) {
            self.loop_status(runtime, "WAITING_ON_INPUT");
            self.publish(
                runtime,
                json!({"type": "turn_finished", "turn_id": "turn-1", "stop_reason": "end_turn", "run_id": "local-run-1"}),
            );
        }
    }

    fn loop_status(&mut self, runtime: &(String, String), status: &str) {
        let loop_status = json!({"status": status, "active_run_ids": [], "executing_tool_call_ids": []});
        self.publish(runtime, json!({"type": "update_loop_status", "loop_status": loop_status}));
    }

    fn state_events(&mut self, runtime: &(String, String)) {
        let is_running = self.turns.contains(runtime);
        self.loop_status(runtime, if is_running { "PROCESSING_API_RESPONSE" } else { "WAITING_ON_INPUT" });
        self.publish(runtime, json!({"type": "update_queue", "queue": [], "removed": []}));
    }

    fn subscribe(&mut self, socket: usize, runtime: &(String, String)) {
        self.subscribers.entry(runtime.clone()).or_default().insert(socket);
    }

    /// A response with the type and id that belong to a command.
    fn respond(&mut self, socket: usize, frame: &Value, mut response: Value) {
        response["type"] = format!("{}_response", frame["type"].as_str().unwrap()).into();
        response["request_id"] = frame["request_id"].clone();
        self.reply(socket, response);
    }

    #[expect(clippy::needless_pass_by_value, reason = "most frames are made for the call")]
    fn reply(&mut self, socket: usize, frame: Value) {
        if let Some(Some(socket)) = self.sockets.get(socket) {
            let _ = socket.send(Message::text(frame.to_string()));
        }
    }

    fn publish(&mut self, runtime: &(String, String), mut frame: Value) {
        self.event_seq += 1;
        frame["runtime"] = json!({"agent_id": runtime.0, "conversation_id": runtime.1});
        frame["event_seq"] = self.event_seq.into();
        frame["emitted_at"] = TIME.into();
        frame["idempotency_key"] = format!("event:{}", self.event_seq).into();
        for socket in self.subscribers.get(runtime).cloned().unwrap_or_default() {
            self.reply(socket, frame.clone());
        }
    }

    fn leave(&mut self, socket: usize) {
        self.sockets[socket] = None;
        for (runtime, sockets) in &mut self.subscribers {
            if sockets.remove(&socket) && sockets.is_empty() && self.turns.remove(runtime) {
                self.stuck.insert(runtime.1.clone());
            }
        }
    }
}

fn record(conversation: &str, agent: &str) -> Value {
    json!({"id": conversation, "agent_id": agent, "archived": false, "archived_at": null, "created_at": TIME,
        "updated_at": TIME, "last_message_at": null, "summary": null, "in_context_message_ids": []})
}

/// The close frame of a code.
pub(crate) fn close_message(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.to_owned().into() }))
}
