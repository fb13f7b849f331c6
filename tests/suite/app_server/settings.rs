//! Settings, modes, and several App Servers.

use std::fs;

use serde_json::json;

use super::{page_in, said, token};
use crate::harness::{
    ADA, APP_SERVER_TOKEN, AppServer, NOBODY, ORIGIN, Program, Socket, TlsFront, Upstream, eventually, token_request,
};

#[tokio::test]
async fn before_an_app_server_alone_nothing_is_mocked_and_nothing_is_controlled() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let owner = gate.owner();
    assert_eq!(gate.banner["mode"], "gateway");
    for path in ["/v1/agents/".to_owned(), format!("/v1/agents/{NOBODY}"), format!("/v1/agents/{NOBODY}/messages")] {
        let sentence = owner.get(&path).await.refused(404, "not_found");
        assert!(sentence.contains("App Server"), "{path}: {sentence}");
    }
    let token = owner.create_token(NOBODY, &["read_agent"]).await;
    gate.stranger().page(&token).get(&format!("/v1/agents/{NOBODY}")).await.refused(404, "not_found");
    assert_eq!(owner.get("/_gatelet/v1").await.status, 404);
    let test_key = "sk-let-test-0123456789abcdef";
    assert_eq!(gate.stranger().bearer(test_key).get("/v1/agents/").await.status, 401);
    let refused = Socket::open(&gate, "/ws", &[("authorization", &format!("Bearer {test_key}"))]).await;
    assert_eq!(refused.map(|_| ()).unwrap_err().status, 401);
    // It is a gateway also by its limits.
    assert_eq!(owner.with("origin", ORIGIN).get("/v1/agents/").await.status, 403);
    let limited = gate.stranger().page(&token).get(&format!("/v1/agents/{NOBODY}")).await;
    assert_eq!(limited.header("ratelimit-limit"), Some("600"));
}

#[tokio::test]
async fn an_app_server_stands_beside_a_letta_server() {
    let (server, upstream) = (AppServer::start().await, Upstream::start().await);
    let gate = server.program().argument("--upstream").argument(&upstream.url()).start_alone().await;
    let mut page = page_in(&gate, &token(&gate, ADA).await, ADA, "default").await;
    page.input(ADA, "default", "hello").await;
    assert_eq!(said(&mut page).await, "you said hello");
    let ready = gate.stranger().get("/readyz").await.expect(200);
    assert!(ready["checks"]["upstreams"]["default"].is_string() && ready["checks"]["app_servers"]["default"] == "ok");
}

#[tokio::test]
async fn each_project_reaches_its_own_app_server() {
    let (red, blue) = (AppServer::start().await, AppServer::start().await);
    let program = Program::ephemeral();
    let (config, secret) = (program.folder().join("gatelet.toml"), program.folder().join("token"));
    fs::write(&secret, format!("{APP_SERVER_TOKEN}\n")).unwrap();
    let entry = |name: &str, server: &AppServer| {
        format!(
            "[[app_servers]]\nname = '{name}'\nprojects = ['{name}']\nurl = '{}'\ntoken_file = '{}'\n",
            server.url(),
            secret.display()
        )
    };
    fs::write(&config, entry("red", &red) + &entry("blue", &blue)).unwrap();
    let gate = program.argument("--config").argument(config.to_str().unwrap()).start_alone().await;
    for (project, server) in [("red", &red), ("blue", &blue)] {
        let owner = gate.owner().with("x-project-id", project);
        let token = owner.create_token_with(&token_request(ADA, &super::RW)).await;
        page_in(&gate, &token, ADA, "local-conv-1").await;
        assert_eq!(server.frames_of("runtime_start").len(), 1, "{project}");
    }
    assert_eq!(red.frames_of("runtime_start").len(), 1);
    // Nobody serves the others.
    let token = token(&gate, ADA).await;
    let refused = Socket::open(&gate, &format!("/ws?token={token}"), &[("origin", ORIGIN)]).await;
    assert_eq!(refused.map(|_| ()).unwrap_err().status, 404);
    let ready = gate.stranger().get("/readyz").await.expect(200);
    assert_eq!(ready["checks"]["app_servers"], json!({"red": "ok", "blue": "ok"}));
}

#[tokio::test]
async fn a_bearer_is_signed_for_each_connection() {
    let server = AppServer::start().await;
    let program = Program::ephemeral();
    let secret = program.folder().join("secret");
    fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let program = program.argument("--app-server").argument(&server.url());
    let gate = program.env("GATELET_APP_SERVER_JWT_SECRET_FILE", secret.to_str().unwrap()).start_alone().await;
    let target = format!("/ws?token={}", token(&gate, ADA).await);
    let _page = Socket::open(&gate, &target, &[("origin", ORIGIN)]).await.unwrap();
    eventually("a handshake", super::SOON, async || !server.heads().is_empty()).await;
    let head = &server.heads()[0];
    assert!(head.contains("authorization: Bearer eyJ"), "{head}");
}

#[tokio::test]
async fn an_app_server_behind_tls_must_have_a_certificate_that_is_trusted() {
    let server = AppServer::start().await;
    let front = TlsFront::pipe(&server.authority()).await;
    let url = front.url().replace("https://", "wss://") + "/ws";
    let program = || {
        Program::ephemeral().argument("--app-server").argument(&url).env("GATELET_APP_SERVER_TOKEN", APP_SERVER_TOKEN)
    };
    let gate = program().env("GATELET_UPSTREAM__CA_FILE", front.ca_file().to_str().unwrap()).start_alone().await;
    let mut page = page_in(&gate, &token(&gate, ADA).await, ADA, "default").await;
    page.input(ADA, "default", "hello").await;
    assert_eq!(said(&mut page).await, "you said hello");
    let ready = gate.stranger().get("/readyz").await.expect(200);
    assert_eq!(ready["checks"]["app_servers"]["default"], "ok");
    let stranger = program().start_alone().await;
    let mut page = Socket::page(&stranger, &token(&stranger, ADA).await).await;
    assert_eq!(page.end().await, super::closed(1013, "upstream_unreachable"));
}

#[tokio::test]
async fn settings_that_cannot_be_meant_are_refused() {
    let url = ("GATELET_APP_SERVER_URL", "ws://127.0.0.1:9/ws");
    let (token, short) = (("GATELET_APP_SERVER_TOKEN", "canary-token"), "canary-short");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, short).unwrap();
    let file = file.to_str().unwrap();
    for (variables, named) in [
        (vec![("GATELET_APP_SERVER_URL", "http://127.0.0.1:9/ws")], "app_server_url"),
        (vec![("GATELET_APP_SERVER_URL", "ws://u:canary@127.0.0.1:9/ws")], "app_server_url"),
        (vec![("GATELET_APP_SERVER_URL", "ws://127.0.0.1:9/ws?token=canary")], "app_server_url"),
        (vec![token], "app_server_url"),
        (vec![url, token, ("GATELET_APP_SERVER_TOKEN_FILE", file)], "app_server_token"),
        (vec![url, token, ("GATELET_APP_SERVER_JWT_SECRET_FILE", file)], "app_server_token"),
        (vec![url, ("GATELET_APP_SERVER_TOKEN", "canary token")], "app_server_token"),
        (vec![url, ("GATELET_APP_SERVER_TOKEN_FILE", "/nowhere")], "app_server_token_file"),
        (vec![url, ("GATELET_APP_SERVER_JWT_SECRET_FILE", file)], "app_server_jwt_secret_file"),
        (vec![url, ("GATELET_APP_SERVER__REFLECTION", "perhaps")], "APP_SERVER__REFLECTION"),
        (vec![url, ("GATELET_APP_SERVER__PING_INTERVAL", "0s")], "ping_interval"),
        (vec![url, ("GATELET_CONTROL", "true")], "control"),
        (vec![url, ("GATELET_SEED", file)], "seed"),
    ] {
        let program = variables.iter().fold(Program::ephemeral(), |program, (name, value)| program.env(name, value));
        let failure = program.try_start().await.map(|_| ()).unwrap_err();
        assert!(failure.contains(named) && !failure.contains("canary"), "{variables:?}: {failure}");
    }
    let entry = "[[app_servers]]\nname = 'red'\nprojects = ['red']\nurl = 'ws://127.0.0.1:9/ws'\n";
    for (text, named) in [
        (entry.replace("'red'\nprojects", "'default'\nprojects"), "name"),
        (entry.repeat(2), "name"),
        (format!("{entry}{}", entry.replacen("'red'", "'other'", 1)), "projects"),
        (entry.replace("['red']", "[]"), "projects"),
        (entry.replace("ws://", "https://"), "url"),
    ] {
        let program = Program::ephemeral();
        let config = program.folder().join("gatelet.toml");
        fs::write(&config, &text).unwrap();
        let program = program.argument("--config").argument(config.to_str().unwrap());
        let failure = program.try_start().await.map(|_| ()).unwrap_err();
        assert!(failure.contains(named), "{text}: {failure}");
    }
}
