//! The upstream behind TLS: in the protocol that it offers, and only under an authority that is trusted.

use std::time::{Duration, Instant};

use reqwest::{Method, Version, header};
use serde_json::json;

use super::{ALL, Scene, page, scene_over};
use crate::harness::{NOBODY, ORIGIN, Program, TlsFront, UPSTREAM_KEY, USER_AGENT, Upstream};

#[tokio::test]
async fn an_upstream_is_asked_in_the_protocol_that_it_offers() {
    for (protocols, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1", "h2"], Version::HTTP_11),
        (&["h2"], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let (Scene { upstream, server, agent, page, owner }, front) = scene_over(protocols).await;
        let run = upstream.run(&agent);
        let upload = format!("/v1/folders/source-{}/upload", &NOBODY[6..]);
        let large: Vec<u8> = (0..1024 * 1024_u32).map(|n| n.to_le_bytes()[1]).collect();
        for (client, method, path, body) in [
            (&page, Method::GET, format!("/v1/agents/{agent}"), Vec::new()),
            (&page, Method::GET, format!("/v1/runs/{run}/messages"), Vec::new()),
            (&page, Method::POST, format!("/v1/agents/{agent}/messages"), br#"{"input":"x"}"#.to_vec()),
            (&owner, Method::GET, "/v1/agents/?limit=1".into(), Vec::new()),
            (&owner, Method::POST, upload, large),
            (&owner, Method::DELETE, format!("/v1/agents/{agent}"), Vec::new()),
        ] {
            upstream.forget();
            let request = client.request(method.clone(), &path).header(header::CONTENT_TYPE, "application/json");
            let answer = request.body(body.clone()).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{protocols:?}: {path}");
            let seen = upstream.take_passed();
            assert_eq!(seen.line(), format!("{method} {path}"), "{protocols:?}");
            assert!(seen.body == body && seen.is_whole, "{protocols:?}: {path}");
            assert_eq!(seen.header("host"), Some(&front.url()["https://".len()..]), "{protocols:?}");
            assert_eq!(seen.header("authorization"), Some(format!("Bearer {UPSTREAM_KEY}").as_str()));
        }
        let ready = server.stranger().get("/readyz").await.expect(200);
        assert_eq!(ready["checks"]["upstreams"]["default"], "ok", "{protocols:?}");
        let versions = front.take_versions();
        assert!(versions.len() > 6 && versions.iter().all(|seen| *seen == version), "{protocols:?}: {versions:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_nobody_trusted_vouches_for_hears_nothing() {
    let upstream = Upstream::start().await;
    let front = TlsFront::before(&upstream, &["h2", "http/1.1"]).await;
    let other = TlsFront::before(&upstream, &[]).await;
    let by_address = front.url().replace("localhost", "127.0.0.1");
    let secure = front.url().replace("https:", "http:");
    let trusted = front.ca_file();
    for (why, url, ca_file) in [
        ("only the system's authorities", front.url(), None),
        ("another authority", front.url(), Some(other.ca_file())),
        ("another name", by_address, Some(trusted.clone())),
        ("no TLS to a TLS port", secure, Some(trusted)),
    ] {
        let mut program = Program::ephemeral().argument("--upstream").argument(&url);
        program = program.env("GATELET_UPSTREAM_API_KEY", UPSTREAM_KEY).env("GATELET_LOG", "trace");
        if let Some(file) = ca_file {
            program = program.env("GATELET_UPSTREAM__CA_FILE", file.to_str().unwrap());
        }
        let server = program.start_alone().await;
        let page = page(&server, &server.owner().create_token(NOBODY, &ALL).await);
        let answer = page.post(&format!("/v1/agents/{NOBODY}/messages"), &json!({"input": "x"})).await;
        answer.refused(502, "upstream_unreachable");
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{why}");
        assert_eq!(answer.header("retry-after"), Some("1"), "{why}");
        let key = server.owner().with("user-agent", USER_AGENT);
        key.get("/v1/agents/").await.refused(502, "upstream_unreachable");
        let ready = server.stranger().get("/readyz").await.expect(200);
        assert_eq!(ready["checks"]["upstreams"]["default"], "unreachable", "{why}");
        assert!(upstream.seen().is_empty(), "{why}: {:?}", upstream.seen());
        assert!(!server.log().contains(UPSTREAM_KEY), "{why}: the credential is in the log");
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_in_time_is_a_504() {
    // A plain server waits for the end of a request's head, which no handshake has.
    let upstream = Upstream::start().await;
    let server = Program::ephemeral()
        .argument("--upstream")
        .argument(&upstream.url().replace("http:", "https:"))
        .env("GATELET_UPSTREAM__CONNECT_TIMEOUT", "1s")
        .start_alone()
        .await;
    let page = page(&server, &server.owner().create_token(NOBODY, &ALL).await);
    let started = Instant::now();
    let answer = page.get(&format!("/v1/agents/{NOBODY}")).await;
    answer.refused(504, "upstream_timeout");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    server.owner().get("/v1/agents/").await.refused(504, "upstream_timeout");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test]
async fn certificates_that_cannot_be_read_refuse_the_start() {
    let program = Program::ephemeral().env("GATELET_UPSTREAM_URL", "https://letta.internal");
    let file = program.folder().join("ca.pem");
    let program = program.env("GATELET_UPSTREAM__CA_FILE", file.to_str().unwrap());
    for content in
        [None, Some("no certificate"), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        for failure in [program.run(&["serve", "--ephemeral"]).await, program.run(&["config", "check"]).await] {
            assert!(failure.failed().contains("ca.pem"), "{content:?}: {}", failure.stderr);
        }
    }
}
