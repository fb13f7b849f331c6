//! Turns whose page goes before they end.

use chrono::TimeDelta;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{SOON, closed, page_in, revoke, said, short_token, token};
use crate::harness::{ADA, AppServer, Gatelet, Socket, eventually, input};

const CONVERSATION: &str = "local-conv-1";

/// A page in the middle of a turn.
async fn in_turn(server: &AppServer, gate: &Gatelet, token: &str) -> Socket {
    let mut page = page_in(gate, token, ADA, CONVERSATION).await;
    page.input(ADA, CONVERSATION, "slow").await;
    server.until_frames("input", 1).await;
    server.say(ADA, CONVERSATION, "one");
    page.event("stream_delta").await;
    page
}

/// Checks that the turn goes on without its page, and that the conversation works afterwards.
async fn goes_on(server: &AppServer, gate: &Gatelet) {
    assert_eq!(server.subscribers(ADA, CONVERSATION), 1, "the App Server's socket stays");
    server.say(ADA, CONVERSATION, "two");
    let token = token(gate, ADA).await;
    let mut next = page_in(gate, &token, ADA, CONVERSATION).await;
    server.say(ADA, CONVERSATION, "three");
    server.finish(ADA, CONVERSATION);
    assert_eq!(said(&mut next).await, "three");
    eventually("only the new page is left", SOON, async || server.subscribers(ADA, CONVERSATION) == 1).await;
    assert!(!server.is_stuck(CONVERSATION));
    next.input(ADA, CONVERSATION, "again").await;
    assert_eq!(said(&mut next).await, "you said again");
}

#[tokio::test]
async fn a_page_that_reloads_leaves_a_conversation_that_works() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let page = in_turn(&server, &gate, &token(&gate, ADA).await).await;
    drop(page);
    eventually("the page is gone", SOON, async || gate.log().contains("\"A socket was closed\"")).await;
    goes_on(&server, &gate).await;
}

#[tokio::test]
async fn a_page_that_leaves_right_after_its_input_does_too() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let mut page = page_in(&gate, &token(&gate, ADA).await, ADA, CONVERSATION).await;
    server.silence("input");
    page.input(ADA, CONVERSATION, "slow").await;
    server.until_frames("input", 1).await;
    drop(page);
    eventually("the page is gone", SOON, async || gate.log().contains("\"A socket was closed\"")).await;
    // Nothing was heard of the turn yet, and still the socket stays, until the turn ends.
    assert_eq!(server.subscribers(ADA, CONVERSATION), 1);
    server.unsilence("input");
    server.begin(ADA, CONVERSATION);
    goes_on(&server, &gate).await;
}

#[tokio::test]
async fn a_token_that_expires_in_a_turn_closes_the_page_and_not_the_turn() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let lifetime = TimeDelta::milliseconds(1500);
    let started = std::time::Instant::now();
    let mut page = in_turn(&server, &gate, &short_token(&gate, ADA, lifetime).await).await;
    assert_eq!(page.end().await, closed(4401, "token_expired"));
    let after = started.elapsed();
    assert!(after < lifetime.to_std().unwrap() + std::time::Duration::from_secs(1), "{after:?}");
    goes_on(&server, &gate).await;
}

#[tokio::test]
async fn a_token_that_is_revoked_in_a_turn_closes_the_page_and_not_the_turn() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let token = token(&gate, ADA).await;
    let mut page = in_turn(&server, &gate, &token).await;
    revoke(&gate, &token).await;
    let revoked = std::time::Instant::now();
    assert_eq!(page.end().await, closed(4401, "token_revoked"));
    assert!(revoked.elapsed() < std::time::Duration::from_secs(1), "{:?}", revoked.elapsed());
    goes_on(&server, &gate).await;
}

#[tokio::test]
async fn a_revocation_on_another_process_closes_the_page_too() {
    let server = AppServer::start().await;
    let program = crate::harness::Program::on(crate::harness::Engine::Sqlite).await;
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let program = program
        .argument("--app-server")
        .argument(&server.url())
        .env("GATELET_APP_SERVER_TOKEN", crate::harness::APP_SERVER_TOKEN);
    let (gate, other) = (program.start().await, program.start().await);
    let token = gate.stranger().bearer(&key).create_token(ADA, &super::RW).await;
    let mut page = page_in(&gate, &token, ADA, CONVERSATION).await;
    let path = format!("/v1/client-side-access-tokens/{token}");
    assert!(other.stranger().bearer(&key).delete(&path).await.status.is_success());
    let revoked = std::time::Instant::now();
    assert_eq!(page.end().await, closed(4401, "token_revoked"));
    assert!(revoked.elapsed() < std::time::Duration::from_secs(1), "{:?}", revoked.elapsed());
}

#[tokio::test]
async fn a_page_renews_its_token_over_a_second_socket_and_misses_nothing() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let first = short_token(&gate, ADA, TimeDelta::seconds(2)).await;
    let mut old = in_turn(&server, &gate, &first).await;
    let mut new = page_in(&gate, &token(&gate, ADA).await, ADA, CONVERSATION).await;
    server.say(ADA, CONVERSATION, "both");
    for page in [&mut old, &mut new] {
        let delta = page.event("stream_delta").await;
        assert_eq!(delta["delta"]["content"][0]["text"], "both");
    }
    assert_eq!(old.end().await, closed(4401, "token_expired"));
    server.say(ADA, CONVERSATION, " and one");
    server.finish(ADA, CONVERSATION);
    assert_eq!(said(&mut new).await, " and one");
}

#[tokio::test]
async fn a_turn_that_does_not_end_is_left_after_a_time() {
    let server = AppServer::start().await;
    let gate = server.program().env("GATELET_APP_SERVER__TURN_GRACE", "1s").start_alone().await;
    drop(in_turn(&server, &gate, &token(&gate, ADA).await).await);
    eventually("the App Server's socket is closed", SOON, async || server.subscribers(ADA, CONVERSATION) == 0).await;
    eventually("a line", SOON, async || gate.log().contains("the turn took too long")).await;
}

#[tokio::test]
async fn a_socket_without_a_turn_goes_with_its_page() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let mut page = page_in(&gate, &token(&gate, ADA).await, ADA, CONVERSATION).await;
    page.input(ADA, CONVERSATION, "hello").await;
    said(&mut page).await;
    drop(page);
    eventually("the App Server's socket is closed", SOON, async || server.subscribers(ADA, CONVERSATION) == 0).await;
    assert!(!gate.log().contains("after its page had gone"), "{}", gate.log());
}

#[tokio::test]
async fn an_input_right_behind_its_start_waits_for_it() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let mut page = Socket::page(&gate, &token(&gate, ADA).await).await;
    server.silence("runtime_start");
    let start = json!({"type": "runtime_start", "request_id": "r-1", "agent_id": ADA, "conversation_id": CONVERSATION});
    page.send(&start).await;
    page.send(&input("i-1", ADA, CONVERSATION, "hello")).await;
    server.until_frames("runtime_start", 1).await;
    // The gate has read the input, because it reads the ping behind it.
    page.frame(crate::harness::PING, b"read").await;
    assert_eq!(page.next().await, crate::harness::Came::Frame(crate::harness::PONG, b"read".to_vec()));
    assert_eq!(server.frames_of("input").len(), 0);
    server.unsilence("runtime_start");
    let started = json!({"type": "runtime_start_response", "request_id": "r-1", "success": true,
        "runtime": {"agent_id": ADA, "conversation_id": CONVERSATION}, "agent": {"id": ADA},
        "conversation": {"id": CONVERSATION, "agent_id": ADA}, "created": {"agent": false, "conversation": false}});
    server.send_message(&Message::text(started.to_string()));
    assert_eq!(said(&mut page).await, "you said hello");
    let sent = &server.frames_of("input")[0];
    assert_eq!(sent["payload"]["client_tool_allowlist"], json!([]), "{sent}");
}
