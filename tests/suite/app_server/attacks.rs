//! What clients send that is no frame of the protocol.

use super::{closed, info, token};
use crate::harness::{ADA, AppServer, BINARY, CLOSE, Came, PING, PONG, Socket, TEXT, frame};

/// A frame without a mask.
fn unmasked(payload: &[u8]) -> Vec<u8> {
    [&[0x80 | TEXT, u8::try_from(payload.len()).unwrap()], payload].concat()
}

#[tokio::test]
async fn what_breaks_the_rules_closes_the_socket_and_reaches_nobody() {
    let server = AppServer::start().await;
    let gate = server.program().env("GATELET_APP_SERVER__FRAME_BYTES", "65536").start_alone().await;
    let token = token(&gate, ADA).await;
    let start =
        format!(r#"{{"type":"runtime_start","request_id":"1","agent_id":"{ADA}","conversation_id":"default"}}"#);
    let twice = start.replacen("\"request_id\"", "\"agent_id\":\"x\",\"request_id\"", 1);
    let nested = format!(r#"{{"type":"sync","runtime":{{"agent_id":"{ADA}","agent_id":"{ADA}"}}}}"#);
    let half = |rest: u8| [frame(TEXT, &[0x22, 0xe2]), frame(0x80, &[0x82, rest, 0x22])].concat();
    let long = vec![b' '; 70_000];
    let announced = [&[0x80 | TEXT, 0x80 | 0x7f][..], &(1_u64 << 40).to_be_bytes(), &[1, 2, 3, 4]].concat();
    let pieces: Vec<u8> = (0..20).flat_map(|index| frame(if index == 0 { TEXT } else { 0 }, &[b' '; 4000])).collect();
    let deep = format!("{}{}", r#"{"type":"#, "[".repeat(10_000));
    for (why, bytes, expected) in [
        ("binary", frame(0x80 | BINARY, start.as_bytes()), closed(1003, "unsupported_media_type")),
        ("binary in pieces", [frame(BINARY, b"{"), frame(0x80, b"}")].concat(), closed(1003, "unsupported_media_type")),
        ("not UTF-8", frame(0x80 | TEXT, b"\"\xff\""), closed(1007, "")),
        ("a surrogate", frame(0x80 | TEXT, b"\"\xed\xa0\x80\""), closed(1007, "")),
        ("not UTF-8 over two frames", half(0xff), closed(1007, "")),
        ("without a mask", unmasked(b"{}"), closed(1002, "")),
        ("the first reserved bit", frame(0xc0 | TEXT, b"{}"), closed(1002, "")),
        ("the third reserved bit", frame(0x90 | TEXT, b"{}"), closed(1002, "")),
        ("a reserved kind", frame(0x83, b"{}"), closed(1002, "")),
        ("a reserved kind of control", frame(0x8b, b""), closed(1002, "")),
        ("a long ping", frame(0x80 | PING, &[0; 126]), closed(1002, "")),
        ("a ping in pieces", frame(PING, b"1"), closed(1002, "")),
        ("a continuation of nothing", frame(0x80, b"{}"), closed(1002, "")),
        ("a message in a message", [frame(TEXT, b"{"), frame(0x80 | TEXT, b"}")].concat(), closed(1002, "")),
        ("a frame that is too large", frame(0x80 | TEXT, &long), closed(1009, "body_too_large")),
        ("one that is only announced", announced, closed(1009, "body_too_large")),
        ("pieces that are too large", pieces, closed(1009, "body_too_large")),
        ("no JSON", frame(0x80 | TEXT, b"hello"), closed(1008, "invalid_request")),
        ("nothing", frame(0x80 | TEXT, b""), closed(1008, "invalid_request")),
        ("no object", frame(0x80 | TEXT, b"[1]"), closed(1008, "invalid_request")),
        ("deep nesting", frame(0x80 | TEXT, deep.as_bytes()), closed(1008, "invalid_request")),
        ("a key twice", frame(0x80 | TEXT, twice.as_bytes()), closed(1008, "invalid_request")),
        ("a key twice below", frame(0x80 | TEXT, nested.as_bytes()), closed(1008, "invalid_request")),
    ] {
        let mut page = Socket::page(&gate, &token).await;
        assert_eq!(page.ask(&info("before")).await["success"], true, "{why}");
        page.raw(&bytes).await;
        assert_eq!(page.end().await, expected, "{why}");
    }
    let of_pages = server.frames().into_iter().filter(|frame| frame["type"] != "app_server_info").count();
    assert_eq!(of_pages, 0, "{:?}", server.frames());
}

#[tokio::test]
async fn a_message_may_come_in_pieces_with_pings_between_them() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let mut page = Socket::page(&gate, &token(&gate, ADA).await).await;
    let text = info("\u{1f600}").to_string();
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(3).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let kind = if index == 0 { TEXT } else { 0 };
        let last = if index + 1 == pieces.len() { 0x80 } else { 0 };
        page.raw(&frame(kind | last, piece)).await;
        if index == 3 {
            page.frame(PING, b"are you there").await;
            assert_eq!(page.next().await, Came::Frame(PONG, b"are you there".to_vec()));
        }
    }
    assert_eq!(page.recv().await["request_id"], "\u{1f600}");
}

#[tokio::test]
async fn a_close_is_responded_to_and_what_follows_it_is_not_read() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let token = token(&gate, ADA).await;
    for (payload, code) in [
        ([&1000_u16.to_be_bytes()[..], b"bye"].concat(), 1000_u16),
        (4999_u16.to_be_bytes().to_vec(), 4999),
        // Codes that no endpoint may send.
        (1005_u16.to_be_bytes().to_vec(), 1002),
        (999_u16.to_be_bytes().to_vec(), 1002),
    ] {
        let mut page = Socket::page(&gate, &token).await;
        let closing = frame(0x80 | CLOSE, &payload);
        page.raw(&[closing, frame(0x80 | TEXT, info("1").to_string().as_bytes())].concat()).await;
        match page.next().await {
            Came::Frame(CLOSE, response) => assert_eq!(response[..2], code.to_be_bytes()),
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!(page.next().await, Came::End, "{code}");
    }
}
