//! Gatelet before a recorded App Server: who may open a socket, what becomes of one that misbehaves, and how long each side
//! stays.

mod attacks;
mod connecting;
mod keys;
mod life;
mod lookups;
mod mocked;
mod observing;
mod quotas;
mod settings;
mod turns;

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::harness::{Gatelet, Socket, token_request};

const RW: [&str; 2] = ["read_messages", "write_messages"];
const SOON: Duration = Duration::from_secs(10);

/// A token for reading and writing an agent's messages.
async fn token(gate: &Gatelet, agent: &str) -> String {
    gate.owner().create_token(agent, &RW).await
}

/// A token that soon expires.
async fn short_token(gate: &Gatelet, agent: &str, lifetime: TimeDelta) -> String {
    let mut request = token_request(agent, &RW);
    request["expires_at"] = json!((Utc::now() + lifetime).to_rfc3339());
    gate.owner().create_token_with(&request).await
}

async fn revoke(gate: &Gatelet, token: &str) {
    let answer = gate.owner().delete(&format!("/v1/client-side-access-tokens/{token}")).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

/// The socket of a page that has opened a conversation.
async fn page_in(gate: &Gatelet, token: &str, agent: &str, conversation: &str) -> Socket {
    let mut page = Socket::page(gate, token).await;
    let started = page.start(agent, conversation).await;
    assert_eq!(started["success"], true, "{started}");
    page
}

/// The texts that an agent says until its turn ends.
async fn said(page: &mut Socket) -> String {
    let mut text = String::new();
    loop {
        let frame = page.recv().await;
        match frame["type"].as_str().unwrap() {
            "stream_delta" => text += frame["delta"]["content"][0]["text"].as_str().unwrap_or_default(),
            "turn_finished" => return text,
            _ => {}
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with how a socket ended")]
fn closed(code: u16, reason: &str) -> Option<(u16, String)> {
    Some((code, reason.to_owned()))
}

/// A request that the gate itself responds to, and that needs nothing but a valid token.
fn info(id: &str) -> Value {
    json!({"type": "app_server_info", "request_id": id})
}
