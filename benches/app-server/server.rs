//! A fake App Server: it starts every runtime, responds to `sync`, and streams as many events as an input asks for.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

use crate::Failure;

pub(crate) async fn serve(listen: SocketAddr) -> Result<Value, Failure> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move { respond(stream).await });
    }
}

async fn respond(stream: TcpStream) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut socket = accept_async(stream).await?;
    let (sender, mut events) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text)?;
                    if let Some(response) = response(&frame) {
                        socket.send(Message::text(response.to_string())).await?;
                    }
                    if frame["type"] == "input" {
                        tokio::spawn(stream_events(frame, sender.clone()));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            Some(event) = events.recv() => socket.send(Message::text(event)).await?,
        }
    }
}

fn response(frame: &Value) -> Option<Value> {
    let id = &frame["request_id"];
    let runtime = &frame["runtime"];
    match frame["type"].as_str()? {
        "get_reflection_settings" => Some(json!({"type": "get_reflection_settings_response", "request_id": id,
            "success": true, "reflection_settings": {"agent_id": runtime["agent_id"], "trigger": "off"}})),
        "runtime_start" => {
            let (agent, conversation) = (&frame["agent_id"], &frame["conversation_id"]);
            Some(json!({"type": "runtime_start_response", "request_id": id, "success": true,
                "runtime": {"agent_id": agent, "conversation_id": conversation}, "agent": {"id": agent, "name": "bench"},
                "conversation": {"id": conversation, "agent_id": agent},
                "created": {"agent": false, "conversation": false}}))
        }
        "sync" => Some(json!({"type": "sync_response", "request_id": id, "runtime": runtime, "success": true})),
        "input" => Some(json!({"type": "input_accepted", "request_id": id, "runtime": runtime, "accepted": true,
            "disposition": "started"})),
        _ => None,
    }
}

/// Streams what an input says: how many events, and how many microseconds lie between two.
async fn stream_events(frame: Value, events: mpsc::UnboundedSender<String>) -> Option<()> {
    let text = frame["payload"]["messages"][0]["content"].as_str()?;
    let (count, pause) = text.split_once(' ')?;
    let (count, pause): (u64, u64) = (count.parse().ok()?, pause.parse().ok()?);
    let runtime = &frame["runtime"];
    let mut interval = tokio::time::interval(Duration::from_micros(pause.max(1)));
    for number in 0..count {
        interval.tick().await;
        let delta = json!({"id": "ui-msg-2", "date": "2026-11-28T06:00:00.000Z", "agent_id": runtime["agent_id"],
            "conversation_id": runtime["conversation_id"], "message_type": "assistant_message",
            "content": [{"type": "text", "text": "a word or two"}], "run_id": "local-run-1", "seq_id": number, "type": "message"});
        events.send(event("stream_delta", "delta", &delta, runtime, number)).ok()?;
    }
    events.send(event("turn_finished", "turn_id", &"turn-1".into(), runtime, count)).ok()
}

fn event(kind: &str, name: &str, value: &Value, runtime: &Value, number: u64) -> String {
    let mut event = json!({"type": kind, "runtime": runtime, "event_seq": number, "emitted_at": "2026-11-28T06:00:00.000Z",
        "idempotency_key": format!("{kind}:{number}:00000000-0000-4000-8000-000000000001")});
    event[name] = value.clone();
    event.to_string()
}
