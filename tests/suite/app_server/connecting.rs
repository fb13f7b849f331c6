//! The handshake.

use chrono::TimeDelta;

use super::{RW, closed, info, page_in, revoke, said, short_token, token};
use crate::harness::{ADA, APP_SERVER_TOKEN, AppServer, BOB, ORIGIN, Program, Socket, eventually};

const PROTOCOL: &str = "sec-websocket-protocol";

#[tokio::test]
async fn a_token_travels_in_the_query_as_a_subprotocol_or_in_a_header() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let token = token(&gate, ADA).await;
    let (bearer, protocols) = (format!("Bearer {token}"), format!("gatelet.v1, {token}"));
    let origin = ("origin", ORIGIN);
    for (target, headers) in [
        (format!("/ws?token={token}"), vec![origin]),
        (
            format!("/?x=1&token={token}&y"),
            vec![origin, ("cookie", "a=b"), ("sec-websocket-extensions", "permessage-deflate")],
        ),
        ("/ws".into(), vec![origin, (PROTOCOL, protocols.as_str())]),
        ("/ws".into(), vec![origin, ("authorization", bearer.as_str())]),
        (format!("/ws?token={token}"), vec![origin, (PROTOCOL, "other, gatelet.v1")]),
    ] {
        let mut page = Socket::open(&gate, &target, &headers).await.unwrap();
        let echoed = page.head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        let offered = headers.iter().any(|(name, value)| *name == PROTOCOL && value.contains("gatelet.v1"));
        assert_eq!(echoed, offered.then_some("gatelet.v1"), "{}", page.head);
        assert!(!page.head.contains("ck-let-") && !page.head.contains("extensions"), "{}", page.head);
        let started = page.start(ADA, "default").await;
        assert_eq!(started["success"], true, "{started}");
    }
    // Upstream, each is a handshake of Gatelet's own.
    let heads: Vec<String> = server.heads().into_iter().filter(|head| head.contains("websocket")).collect();
    assert!(heads.len() >= 5, "{heads:?}");
    for head in heads {
        assert!(head.starts_with("GET /ws HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("authorization: Bearer {APP_SERVER_TOKEN}\r\n")), "{head}");
        let head = head.to_ascii_lowercase();
        for absent in ["origin", "cookie", "protocol", "extensions", "ck-let-", "referer", "x-"] {
            assert!(!head.contains(absent), "{absent}: {head}");
        }
    }
}

#[tokio::test]
async fn a_handshake_that_is_refused_is_refused_before_it_is_accepted() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let good = token(&gate, ADA).await;
    let revoked = token(&gate, ADA).await;
    revoke(&gate, &revoked).await;
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let key = gate.key();
    let query = |token: &str| format!("/ws?token={token}");
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let protocol = |list: String| (PROTOCOL, list);
    let origin = ("origin", ORIGIN.to_owned());
    for (why, target, headers, expected) in [
        ("no credential", "/ws".to_owned(), vec![origin.clone()], (401, "bearer_missing")),
        ("a stranger's token", query(&forged), vec![origin.clone()], (401, "bearer_invalid")),
        ("no token at all", query("hello"), vec![origin.clone()], (401, "bearer_invalid")),
        ("an API key in the query", query(key), vec![], (403, "api_key_in_browser")),
        ("an API key as a subprotocol", "/ws".into(), vec![protocol(key.into())], (403, "api_key_in_browser")),
        ("an API key from a browser", "/ws".into(), vec![origin.clone(), bearer(key)], (403, "api_key_in_browser")),
        ("two ways", query(&good), vec![origin.clone(), bearer(&good)], (400, "invalid_request")),
        ("two parameters", format!("/ws?token={good}&token={good}"), vec![origin.clone()], (400, "invalid_request")),
        (
            "a token alone as a subprotocol",
            "/ws".into(),
            vec![origin.clone(), protocol(good.clone())],
            (400, "invalid_request"),
        ),
        ("another origin", query(&good), vec![("origin", "https://evil.example".into())], (403, "origin_mismatch")),
        ("an origin in capitals", query(&good), vec![("origin", ORIGIN.to_uppercase())], (403, "origin_mismatch")),
        ("two origins", query(&good), vec![origin.clone(), origin.clone()], (403, "origin_mismatch")),
        ("no origin", query(&good), vec![], (403, "origin_missing")),
        ("a referer", query(&good), vec![("referer", format!("{ORIGIN}/chat"))], (403, "origin_missing")),
        (
            "a revoked token from another origin",
            query(&revoked),
            vec![("origin", "null".into())],
            (403, "origin_mismatch"),
        ),
        ("another path", format!("/ws/?token={good}"), vec![origin.clone()], (401, "bearer_missing")),
    ] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refused = Socket::open(&gate, &target, &headers).await.map(|_| ()).unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), expected, "{why}");
    }
    assert_eq!(server.heads().len(), 0, "nothing went upstream");
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let target = format!("/ws?token={}", token(&gate, ADA).await);
    let key = ("sec-websocket-key", "BwcHBwcHBwcHBwcHBwcHBw==");
    let (connection, upgrade) = (("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket"));
    let (version, origin) = (("sec-websocket-version", "13"), ("origin", ORIGIN));
    Socket::open_with(&gate, &target, &[connection, upgrade, version, key, origin]).await.unwrap();
    for (status, headers) in [
        (400, vec![upgrade, version, key, origin]),
        (400, vec![connection, upgrade, version, origin]),
        (400, vec![connection, upgrade, version, key, key, origin]),
        (400, vec![connection, upgrade, version, ("sec-websocket-key", "short"), origin]),
        (400, vec![connection, upgrade, version, key, origin, ("content-length", "0")]),
        (426, vec![connection, upgrade, key, origin]),
        (426, vec![connection, upgrade, ("sec-websocket-version", "8"), key, origin]),
    ] {
        let refused = Socket::open_with(&gate, &target, &headers).await.map(|_| ()).unwrap_err();
        assert_eq!((refused.status, refused.code.as_str()), (status, "invalid_request"), "{headers:?}");
    }
    // Without an upgrade there is nothing at this path.
    assert_eq!(gate.owner().get("/ws").await.status, 404);
    assert_eq!(gate.stranger().get("/ws").await.status, 401);
}

#[tokio::test]
async fn the_page_of_a_genuine_token_reads_why_its_socket_is_closed() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let expired = short_token(&gate, ADA, TimeDelta::milliseconds(300)).await;
    let revoked = token(&gate, ADA).await;
    revoke(&gate, &revoked).await;
    let writer = gate.owner().create_token(ADA, &["write_messages"]).await;
    // A socket that is opened while the token is still good would go upstream.
    let has_expired = async || gate.stranger().page(&expired).get("/v1/agents/").await.status == 401;
    eventually("the token has expired", super::SOON, has_expired).await;
    for (token, expected) in [
        (&expired, closed(4401, "token_expired")),
        (&revoked, closed(4401, "token_revoked")),
        (&writer, closed(4403, "access_not_granted")),
    ] {
        for (target, protocols) in
            [(format!("/ws?token={token}"), String::new()), ("/ws".into(), format!("gatelet.v1, {token}"))]
        {
            let headers = [("origin", ORIGIN), (PROTOCOL, protocols.as_str())];
            let mut page =
                Socket::open(&gate, &target, &headers[..if protocols.is_empty() { 1 } else { 2 }]).await.unwrap();
            assert_eq!(page.end().await, expected, "{target}");
        }
    }
    assert_eq!(server.heads().len(), 0, "nothing went upstream");
}

#[tokio::test]
async fn a_script_without_an_origin_is_let_in_where_the_operator_says_so() {
    let server = AppServer::start().await;
    let gate = server.program().argument("--origin-missing").argument("allow").start_alone().await;
    let target = format!("/ws?token={}", token(&gate, ADA).await);
    let mut script = Socket::open(&gate, &target, &[]).await.unwrap();
    assert_eq!(script.ask(&info("1")).await["success"], true);
    for headers in [[("origin", "https://evil.example")], [("origin", "null")]] {
        assert_eq!(Socket::open(&gate, &target, &headers).await.map(|_| ()).unwrap_err().code, "origin_mismatch");
    }
}

#[tokio::test]
async fn a_page_reaches_the_agent_of_its_token_and_no_other() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let token = token(&gate, ADA).await;
    let mut page = page_in(&gate, &token, ADA, "local-conv-1").await;
    page.input(ADA, "local-conv-1", "hello").await;
    assert_eq!(said(&mut page).await, "you said hello");
    for (agent, conversation) in [(BOB, "default"), (BOB, "local-conv-2"), (ADA, "local-conv-2"), (ADA, "local-conv-9")]
    {
        let refused = page.start(agent, conversation).await;
        assert_eq!(refused["success"], false, "{refused}");
        assert!(refused["error"].as_str().unwrap().starts_with("not_found: "), "{refused}");
    }
    assert_eq!(server.frames_of("runtime_start").len(), 1);
    assert_eq!(server.frames_of("input").len(), 1);
}

#[tokio::test]
async fn the_token_of_a_handshake_is_in_no_log() {
    let server = AppServer::start().await;
    let program = server.program().env("GATELET_LOG", "trace").argument("--metrics-listen").argument("127.0.0.1:0");
    let gate = program.start_alone().await;
    let token = token(&gate, ADA).await;
    let signature = token.rsplit('.').next().unwrap();
    let mut page = page_in(&gate, &token, ADA, "default").await;
    page.input(ADA, "default", "a private text").await;
    said(&mut page).await;
    for target in
        [format!("/ws?token={token}x"), format!("/ws?token={token}&token={token}"), format!("/ws/?token={token}")]
    {
        Socket::open(&gate, &target, &[("origin", ORIGIN)]).await.map(|_| ()).unwrap_err();
    }
    Socket::open(&gate, &format!("/ws?token={token}"), &[("origin", "https://evil.example")])
        .await
        .map(|_| ())
        .unwrap_err();
    drop(page);
    eventually("the socket's line", super::SOON, async || {
        gate.log().contains("closed by") || gate.log().contains("was lost")
    })
    .await;
    let log = gate.log();
    assert!(log.contains("GET /ws -> 101") && log.contains("GET /ws -> 403"), "{log}");
    assert!(!log.contains(signature) && !log.contains("token=") && !log.contains("a private text"), "{log}");
    assert!(!log.contains(APP_SERVER_TOKEN), "{log}");
    let metrics = gate.banner["metrics"].as_str().unwrap();
    let text = crate::harness::Client::new(metrics.strip_suffix("/metrics").unwrap(), false).get("/metrics").await.text;
    assert!(!text.contains("ck-let-") && !text.contains(signature), "{text}");
}

#[tokio::test]
async fn a_server_without_an_app_server_has_no_socket() {
    let gateway = Program::ephemeral().argument("--upstream").argument("http://127.0.0.1:9").start_alone().await;
    let token = gateway.owner().create_token(crate::harness::NOBODY, &RW).await;
    for target in ["/ws", "/"] {
        let refused = Socket::open(&gateway, &format!("{target}?token={token}"), &[("origin", ORIGIN)]).await;
        let status = refused.map(|_| ()).unwrap_err().status;
        assert!([400, 401, 404].contains(&status), "{status}");
    }
}
