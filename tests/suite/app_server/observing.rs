//! What an operator sees: readiness, metrics, log lines.

use serde_json::{Value, json};

use super::{SOON, closed, page_in, revoke, said, token};
use crate::harness::{ADA, AppServer, Client, Gatelet, Program, Socket, eventually, input};

async fn metrics(gate: &Gatelet) -> String {
    let base = gate.banner["metrics"].as_str().unwrap().strip_suffix("/metrics").unwrap();
    Client::new(base, false).get("/metrics").await.text
}

#[tokio::test]
async fn readiness_names_every_app_server() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let ready = gate.stranger().get("/readyz").await.expect(200);
    assert_eq!(ready["checks"]["app_servers"], json!({"default": "ok"}));
    assert_eq!(gate.banner["mode"], "gateway");
    let nobody = Program::ephemeral().argument("--app-server").argument("ws://127.0.0.1:9/ws").start_alone().await;
    let ready = nobody.stranger().get("/readyz").await.expect(200);
    assert_eq!(ready["checks"]["app_servers"], json!({"default": "unreachable"}));
    assert_eq!(
        Gatelet::ephemeral().await.stranger().get("/readyz").await.expect(200)["checks"]["app_servers"],
        Value::Null
    );
}

#[tokio::test]
async fn metrics_count_sockets_frames_and_closes() {
    let server = AppServer::start().await;
    let gate = server.program().argument("--metrics-listen").argument("127.0.0.1:0").start_alone().await;
    let token = token(&gate, ADA).await;
    let mut page = page_in(&gate, &token, ADA, "default").await;
    page.input(ADA, "default", "hello").await;
    said(&mut page).await;
    page.ask(&json!({"type": "terminal_spawn", "request_id": "t", "terminal_id": "1"})).await;
    page.ask(&json!({"type": "no_such_command", "request_id": "n"})).await;
    let text = metrics(&gate).await;
    for line in [
        "gatelet_app_server_sockets 1",
        "gatelet_app_server_lingering_sockets 0",
        r#"gatelet_app_server_frames_total{command="runtime_start",ruling="forwarded"} 1"#,
        r#"gatelet_app_server_frames_total{command="input",ruling="forwarded"} 1"#,
        r#"gatelet_app_server_frames_total{command="terminal_spawn",ruling="refused"} 1"#,
        r#"gatelet_app_server_frames_total{command="other",ruling="refused"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // A turn whose page is gone.
    page.send(&input("i-2", ADA, "default", "slow")).await;
    server.until_frames("input", 2).await;
    revoke(&gate, &token).await;
    assert_eq!(page.end().await, closed(4401, "token_revoked"));
    eventually("the page is gone", SOON, async || {
        let text = metrics(&gate).await;
        text.contains("gatelet_app_server_sockets 0") && text.contains("gatelet_app_server_lingering_sockets 1")
    })
    .await;
    let line = r#"gatelet_app_server_closed_sockets_total{code="4401",reason="token_revoked"} 1"#;
    assert!(metrics(&gate).await.contains(line));
    server.finish(ADA, "default");
    eventually("the turn is over", SOON, async || {
        metrics(&gate).await.contains("gatelet_app_server_lingering_sockets 0")
    })
    .await;
}

#[tokio::test]
async fn the_log_has_a_line_for_each_socket_and_each_frame_without_its_text() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let mut page = page_in(&gate, &token(&gate, ADA).await, ADA, "local-conv-1").await;
    page.input(ADA, "local-conv-1", "a private text").await;
    said(&mut page).await;
    page.ask(&json!({"type": "read_file", "request_id": "a private id", "path": "/etc/passwd"})).await;
    drop(page);
    eventually("the last line", SOON, async || gate.log().contains("A socket was closed")).await;
    let log = gate.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let frames: Vec<[&Value; 4]> = lines
        .iter()
        .filter(|line| line["message"].as_str().is_some_and(|message| message.starts_with("A frame was")))
        .map(|line| [&line["command"], &line["agent"], &line["conversation"], &line["ruling"]])
        .collect();
    let (agent, conversation, forwarded) = (json!(ADA), json!("local-conv-1"), json!("forwarded"));
    assert_eq!(
        frames,
        [
            [&json!("runtime_start"), &agent, &conversation, &forwarded],
            [&json!("input"), &agent, &conversation, &forwarded],
            [&json!("read_file"), &Value::Null, &Value::Null, &json!("refused")],
        ]
    );
    for private in ["a private", "passwd", "ws?", "ws://"] {
        assert!(!log.contains(private), "{private}: {log}");
    }
    let socket = lines.iter().find(|line| line["message"] == "A socket was opened").unwrap();
    assert!(lines.iter().filter(|line| line["socket"] == socket["socket"]).count() >= 5, "{log}");
    let _ = Socket::page;
}
