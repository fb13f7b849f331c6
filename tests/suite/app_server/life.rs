//! How sockets end with either server, and that both sides are pinged.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Message;

use super::{SOON, closed, page_in, said, token};
use crate::harness::{ADA, AppServer, Came, PING, Socket, close_message, eventually};

#[tokio::test]
async fn a_stop_closes_pages_at_once_and_waits_for_their_turns() {
    let server = AppServer::start().await;
    let mut gate = server.gate().await;
    let token = token(&gate, ADA).await;
    let mut busy = page_in(&gate, &token, ADA, "local-conv-1").await;
    let mut idle = page_in(&gate, &token, ADA, "default").await;
    busy.input(ADA, "local-conv-1", "slow").await;
    server.until_frames("input", 1).await;
    gate.signal("TERM");
    for page in [&mut busy, &mut idle] {
        assert_eq!(page.end().await, closed(1012, "restarting"));
    }
    eventually("the idle socket is closed", SOON, async || server.subscribers(ADA, "default") == 0).await;
    assert_eq!(server.subscribers(ADA, "local-conv-1"), 1);
    server.finish(ADA, "local-conv-1");
    assert_eq!(gate.exit().await, Some(0));
    assert!(!server.is_stuck("local-conv-1"));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = AppServer::start().await;
    let program = server.program().argument("--shutdown-grace").argument("1s");
    let mut gate = program.start_alone().await;
    let mut page = page_in(&gate, &token(&gate, ADA).await, ADA, "local-conv-1").await;
    page.input(ADA, "local-conv-1", "slow").await;
    server.until_frames("input", 1).await;
    gate.signal("TERM");
    assert_eq!(page.end().await, closed(1012, "restarting"));
    assert_eq!(gate.exit().await, Some(0));
}

#[tokio::test]
async fn an_app_server_that_goes_away_closes_the_pages() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let token = token(&gate, ADA).await;
    for how in ["gone", "closed", "protocol"] {
        let mut page = page_in(&gate, &token, ADA, "default").await;
        match how {
            "gone" => server.close_all(),
            "closed" => server.send_message(&close_message(1001, "going away")),
            _ => server.send_message(&Message::Frame(reserved())),
        }
        assert_eq!(page.end().await, closed(1013, "upstream_unreachable"), "{how}");
    }
    // It is there again.
    let mut page = page_in(&gate, &token, ADA, "default").await;
    page.input(ADA, "default", "hello").await;
    assert_eq!(said(&mut page).await, "you said hello");
}

/// A frame of a kind that does not exist.
fn reserved() -> tokio_tungstenite::tungstenite::protocol::frame::Frame {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    Frame::message("", OpCode::Data(Data::Reserved(3)), true)
}

#[tokio::test]
async fn an_app_server_that_is_not_there_or_refuses_the_gate_closes_the_pages() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    server.refuse(true);
    let mut page = Socket::page(&gate, &token(&gate, ADA).await).await;
    assert_eq!(page.end().await, closed(1013, "upstream_unreachable"));
    eventually("a warning", SOON, async || gate.log().contains("refuses Gatelet's own credential")).await;
    let nobody = crate::harness::Program::ephemeral().argument("--app-server").argument("ws://127.0.0.1:9/ws");
    let gate = nobody.start_alone().await;
    let mut page = Socket::page(&gate, &token(&gate, ADA).await).await;
    assert_eq!(page.end().await, closed(1013, "upstream_unreachable"));
}

#[tokio::test]
async fn an_idle_page_is_pinged_and_one_that_is_silent_is_given_up() {
    let server = AppServer::start().await;
    let gate = server.program().env("GATELET_APP_SERVER__PING_INTERVAL", "200ms").start_alone().await;
    let token = token(&gate, ADA).await;
    let mut silent = page_in(&gate, &token, ADA, "default").await;
    let mut live = page_in(&gate, &token, ADA, "default").await;
    let mut pings = 0;
    while pings < 8 {
        match live.next().await {
            Came::Frame(PING, payload) => {
                pings += 1;
                live.frame(crate::harness::PONG, &payload).await;
            }
            Came::Frame(1, _) => {}
            other => panic!("{other:?}"),
        }
    }
    // By then the other has been pinged as often, and was given up.
    loop {
        match silent.next().await {
            Came::Frame(PING | 1, _) => {}
            Came::End => break,
            other @ Came::Frame(..) => panic!("{other:?}"),
        }
    }
    tokio::time::timeout(Duration::from_secs(1), live.next()).await.expect("the live one is still pinged");
}
