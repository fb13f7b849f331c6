//! The sockets of API keys.

use super::SOON;
use crate::harness::{
    APP_SERVER_TOKEN, AppServer, BINARY, CLOSE, Came, Engine, Gatelet, Program, Socket, TEXT, close_message,
    eventually, frame,
};

async fn key_socket(gate: &Gatelet, key: &str) -> Socket {
    Socket::open(gate, "/ws", &[("authorization", &format!("Bearer {key}"))]).await.unwrap()
}

#[tokio::test]
async fn frames_of_an_api_key_pass_unchanged_both_ways() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let mut socket = key_socket(&gate, gate.key()).await;
    socket.frame(TEXT, br#"{"type":"terminal_spawn","type":"terminal_spawn","x":1}"#).await;
    socket.frame(TEXT, b"not JSON").await;
    socket.frame(BINARY, &[1, 2, 3]).await;
    socket.raw(&[frame(TEXT, b"in "), frame(0x80, b"pieces")].concat()).await;
    eventually("all arrive", SOON, async || server.frames().len() == 4).await;
    let frames: Vec<String> = server.frames().iter().map(ToString::to_string).collect();
    assert_eq!(
        frames,
        [r#"{"type":"terminal_spawn","x":1}"#, "\"not JSON\"", r#"{"type":"binary","length":3}"#, "\"in pieces\""]
    );
    server.send_message(&tokio_tungstenite::tungstenite::Message::text("  [1]  "));
    server.send_message(&tokio_tungstenite::tungstenite::Message::binary(vec![9]));
    server.send_message(&close_message(4999, "over"));
    assert_eq!(socket.next().await, Came::Frame(TEXT, b"  [1]  ".to_vec()));
    assert_eq!(socket.next().await, Came::Frame(BINARY, vec![9]));
    assert_eq!(socket.next().await, Came::Frame(CLOSE, [&4999_u16.to_be_bytes()[..], b"over"].concat()));
}

#[tokio::test]
async fn the_socket_of_an_api_key_ends_with_the_key_and_with_gatelet() {
    let server = AppServer::start().await;
    let program = Program::on(Engine::Sqlite).await;
    let created = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let program =
        program.argument("--app-server").argument(&server.url()).env("GATELET_APP_SERVER_TOKEN", APP_SERVER_TOKEN);
    let mut gate = program.start().await;
    let mut revoked = key_socket(&gate, &created).await;
    let other = program.run(&["keys", "create", "--name", "other"]).await.ok();
    let list = program.run(&["keys", "list"]).await.ok();
    let id = list.lines().find(|line| line.contains("test")).unwrap();
    let id = id.split_whitespace().find(|word| word.starts_with("key-")).unwrap();
    program.run(&["keys", "revoke", id]).await.ok();
    assert_eq!(revoked.end().await, Some((4401, "bearer_invalid".into())));
    let mut socket = key_socket(&gate, &other).await;
    gate.signal("TERM");
    assert_eq!(socket.end().await, Some((1012, "restarting".into())));
    assert_eq!(gate.exit().await, Some(0));
}

#[tokio::test]
async fn what_breaks_the_rules_of_websockets_closes_the_socket_of_an_api_key() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    for (bytes, code) in [(frame(0xc1, b"x"), 1002), (frame(0x81, b"\xff"), 1007), (vec![0x81, 1, b'x'], 1002)] {
        let mut socket = key_socket(&gate, gate.key()).await;
        socket.raw(&bytes).await;
        assert_eq!(socket.end().await, Some((code, String::new())));
    }
    assert!(server.frames().is_empty());
}
