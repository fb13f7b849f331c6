//! The limits on what the holder of a token may send, and on who reads slowly.

use serde_json::json;

use super::{SOON, closed, info, page_in, said, token};
use crate::harness::{ADA, AppServer, Gatelet, PING, Socket, eventually, input};

async fn limited(server: &AppServer, limits: &[(&str, &str)]) -> Gatelet {
    let program = limits
        .iter()
        .fold(server.program(), |program, (name, value)| program.env(&format!("GATELET_APP_SERVER__{name}"), value));
    program.start_alone().await
}

#[tokio::test]
async fn a_token_has_so_many_sockets() {
    let server = AppServer::start().await;
    let gate = limited(&server, &[("SOCKETS_PER_TOKEN", "2")]).await;
    let (one, other) = (token(&gate, ADA).await, token(&gate, ADA).await);
    let first = page_in(&gate, &one, ADA, "default").await;
    let _second = page_in(&gate, &one, ADA, "default").await;
    assert_eq!(Socket::page(&gate, &one).await.end().await, closed(4429, "rate_limited"));
    let _others = page_in(&gate, &other, ADA, "default").await;
    drop(first);
    eventually("a socket is free again", SOON, async || {
        let mut page = Socket::page(&gate, &one).await;
        page.send(&info("1")).await;
        matches!(tokio::time::timeout(SOON, page.next()).await, Ok(crate::harness::Came::Frame(1, _)))
    })
    .await;
}

#[tokio::test]
async fn by_default_a_token_has_eight_sockets_and_sixty_inputs_a_minute() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let token = token(&gate, ADA).await;
    let mut pages = Vec::new();
    for _ in 0..8 {
        pages.push(page_in(&gate, &token, ADA, "default").await);
    }
    for number in 0..60 {
        let id = format!("i-{number}");
        let accepted = pages[number % 8].ask(&input(&id, ADA, "default", "hello")).await;
        assert_eq!(accepted["accepted"], true, "{number}: {accepted}");
    }
}

#[tokio::test]
async fn too_many_frames_close_the_socket() {
    let server = AppServer::start().await;
    let gate = limited(&server, &[("FRAMES_PER_MINUTE", "20")]).await;
    for ping in [false, true] {
        let mut page = Socket::page(&gate, &token(&gate, ADA).await).await;
        for number in 0..30 {
            let sent = if ping {
                page.try_raw(&crate::harness::frame(0x80 | PING, b"x")).await
            } else {
                let text = info(&number.to_string()).to_string();
                page.try_raw(&crate::harness::frame(0x81, text.as_bytes())).await
            };
            if !sent {
                break;
            }
        }
        assert_eq!(page.end().await, closed(4429, "rate_limited"), "pings: {ping}");
    }
}

#[tokio::test]
async fn too_many_bytes_close_the_socket_also_of_messages_that_never_end() {
    let server = AppServer::start().await;
    let gate = limited(&server, &[("BYTES_PER_MINUTE", "100000"), ("FRAMES_PER_MINUTE", "0")]).await;
    let empty_pieces: Vec<u8> = crate::harness::frame(0, b"").repeat(40_000);
    for bytes in [
        [crate::harness::frame(1, b"{"), empty_pieces].concat(),
        crate::harness::frame(0x81, &vec![b' '; 200_000]),
        crate::harness::frame(0x80 | PING, b"x").repeat(30_000),
    ] {
        let mut page = Socket::page(&gate, &token(&gate, ADA).await).await;
        page.try_raw(&bytes).await;
        assert_eq!(page.end().await, closed(4429, "rate_limited"));
    }
}

#[tokio::test]
async fn an_input_beyond_the_quota_is_refused_in_the_shape_that_clients_read() {
    let server = AppServer::start().await;
    let gate = limited(&server, &[("INPUTS_PER_MINUTE", "2")]).await;
    let token = token(&gate, ADA).await;
    let mut page = page_in(&gate, &token, ADA, "default").await;
    for number in 0..2 {
        page.send(&input(&format!("i-{number}"), ADA, "default", "hello")).await;
        assert_eq!(said(&mut page).await, "you said hello");
    }
    let refused = page.ask(&input("i-3", ADA, "default", "hello")).await;
    assert_eq!((&refused["type"], &refused["accepted"]), (&json!("input_accepted"), &json!(false)));
    assert!(refused["error"].as_str().unwrap().starts_with("rate_limited: "), "{refused}");
    // The socket stays, and other frames pass.
    let runtime = json!({"agent_id": ADA, "conversation_id": "default"});
    let synced = page.ask(&json!({"type": "sync", "request_id": "s-1", "runtime": runtime})).await;
    assert_eq!(synced["success"], true);
    assert_eq!(server.frames_of("input").len(), 2);
}

#[tokio::test]
async fn a_page_that_does_not_read_loses_its_socket_and_the_turn_goes_on() {
    let server = AppServer::start().await;
    let gate = server.program().env("GATELET_LIMITS__WRITE_TIMEOUT", "2s").start_alone().await;
    let token = token(&gate, ADA).await;
    let mut slow = page_in(&gate, &token, ADA, "local-conv-1").await;
    slow.input(ADA, "local-conv-1", "slow").await;
    server.until_frames("input", 1).await;
    // More than the sockets' buffers take, over and over: the page reads nothing.
    let text = "x".repeat(200_000);
    eventually("the slow page is given up", SOON * 3, async || {
        for _ in 0..20 {
            server.say(ADA, "local-conv-1", &text);
        }
        gate.log().contains("the client did not read")
    })
    .await;
    assert!(gate.memory() < 200 * 1024 * 1024, "{}", gate.memory());
    assert_eq!(server.subscribers(ADA, "local-conv-1"), 1, "the App Server's socket stays");
    server.finish(ADA, "local-conv-1");
    eventually("and ends with the turn", SOON, async || server.subscribers(ADA, "local-conv-1") == 0).await;
    assert!(!server.is_stuck("local-conv-1"));
}

#[tokio::test]
async fn frames_that_must_wait_are_kept_within_bounds_and_in_order() {
    let server = AppServer::start().await;
    let gate =
        limited(&server, &[("FRAMES_PER_MINUTE", "0"), ("INPUTS_PER_MINUTE", "0"), ("BYTES_PER_MINUTE", "0")]).await;
    let mut page = Socket::page(&gate, &token(&gate, ADA).await).await;
    server.silence("runtime_start");
    page.send(
        &json!({"type": "runtime_start", "request_id": "r-1", "agent_id": ADA, "conversation_id": "local-conv-1"}),
    )
    .await;
    server.until_frames("runtime_start", 1).await;
    // As many as the page can get rid of: then its connection takes no more.
    let text = "x".repeat(30_000);
    let mut sent = 0;
    loop {
        let frame = input(&format!("i-{sent}"), ADA, "local-conv-1", &format!("{sent} {text}")).to_string();
        if !page.try_raw(&crate::harness::frame(0x81, frame.as_bytes())).await {
            break;
        }
        sent += 1;
        assert!(sent < 2_000, "the gate reads on and on");
    }
    assert!(sent > 30, "{sent}");
    assert_eq!(server.frames_of("input").len(), 0, "none passes before the conversation is open");
    assert!(gate.memory() < 150 * 1024 * 1024);
    let started = json!({"type": "runtime_start_response", "request_id": "r-1", "success": true,
        "runtime": {"agent_id": ADA, "conversation_id": "local-conv-1"}, "agent": {"id": ADA},
        "conversation": {"id": "local-conv-1", "agent_id": ADA}, "created": {"agent": false, "conversation": false}});
    server.send_message(&tokio_tungstenite::tungstenite::Message::text(started.to_string()));
    let reading = tokio::spawn(async move { page.end().await });
    let inputs = server.until_frames("input", sent).await;
    for (number, input) in inputs.iter().take(sent).enumerate() {
        let content = input["payload"]["messages"][0]["content"].as_str().unwrap();
        assert!(content.starts_with(&format!("{number} ")), "{number}");
    }
    reading.abort();
}
