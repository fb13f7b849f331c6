//! Which of an answer's header fields reach the client: those of a list, and ours.

use std::collections::BTreeSet;

use super::{Scene, exchange, scene, scene_over};
use crate::harness::{ORIGIN, Scripted};

/// What an upstream may say.
const HANDED_ON: [(&str, &str); 18] = [
    ("content-type", "application/json"),
    ("content-disposition", "attachment; filename=x"),
    ("content-language", "en"),
    ("last-modified", "Sat, 28 Nov 2026 07:00:00 GMT"),
    ("cache-control", "no-store"),
    ("x-accel-buffering", "no"),
    ("allow", "GET, HEAD"),
    ("retry-after", "7"),
    ("retry-after-ms", "7000"),
    ("x-should-retry", "false"),
    ("ratelimit", "limit=10"),
    ("ratelimit-policy", "10;w=60"),
    ("x-ratelimit-limit", "10"),
    ("x-ratelimit-limit-requests", "10"),
    ("x-ratelimit-remaining", "9"),
    ("x-ratelimit-reset", "60"),
    ("storage-unit", "MB"),
    ("x-upload-result", "skipped"),
];

/// What it may say of content that passes as it is.
const OF_WHOLE: [(&str, &str); 2] = [("etag", "\"canary\""), ("content-encoding", "identity")];

/// What is for API keys alone.
const OF_KEYS: [(&str, &str); 1] = [("location", "https://elsewhere.example/canary")];

/// What is not the upstream's to say. Every value holds a canary.
const KEPT_BACK: [(&str, &str); 59] = [
    // Cookies and what else browsers keep or obey.
    ("set-cookie", "session=canary"),
    ("set-cookie2", "session=canary"),
    ("clear-site-data", "\"canary\""),
    ("refresh", "0; url=https://canary.example"),
    ("strict-transport-security", "max-age=1; canary"),
    ("public-key-pins", "canary"),
    ("expect-ct", "canary"),
    ("content-security-policy", "report-uri /canary"),
    ("content-security-policy-report-only", "report-uri /canary"),
    ("permissions-policy", "canary"),
    ("feature-policy", "canary"),
    ("referrer-policy", "canary"),
    ("x-frame-options", "canary"),
    ("x-content-type-options", "canary"),
    ("x-xss-protection", "canary"),
    ("cross-origin-opener-policy", "canary"),
    ("cross-origin-embedder-policy", "canary"),
    ("cross-origin-resource-policy", "canary"),
    ("origin-agent-cluster", "canary"),
    ("timing-allow-origin", "canary"),
    ("service-worker-allowed", "/canary"),
    ("sourcemap", "/canary"),
    ("x-sourcemap", "/canary"),
    ("link", "</canary>; rel=preload"),
    ("speculation-rules", "\"/canary\""),
    ("supports-loading-mode", "canary"),
    ("accept-ch", "canary"),
    ("critical-ch", "canary"),
    ("nel", "canary"),
    ("report-to", "canary"),
    ("reporting-endpoints", "canary"),
    ("observe-browsing-topics", "canary"),
    ("attribution-reporting-register-source", "canary"),
    ("set-login", "canary"),
    ("www-authenticate", "Basic realm=canary"),
    ("authentication-info", "canary"),
    ("authorization", "canary"),
    // The upstream's own view of CORS.
    ("access-control-allow-credentials", "canary"),
    ("access-control-allow-headers", "canary"),
    ("access-control-allow-private-network", "canary"),
    // Who and where it is.
    ("server", "canary"),
    ("server-timing", "canary"),
    ("via", "1.1 canary"),
    ("x-powered-by", "canary"),
    ("x-process-time", "canary"),
    ("x-served-by", "canary"),
    ("content-location", "/canary"),
    ("alt-svc", "canary"),
    ("alt-used", "canary"),
    ("x-request-id", "canary"),
    // What proxies obey.
    ("x-accel-redirect", "/canary"),
    ("x-sendfile", "/canary"),
    ("surrogate-control", "canary"),
    ("proxy-authenticate", "canary"),
    ("proxy-connection", "canary"),
    ("keep-alive", "canary"),
    ("trailer", "canary"),
    ("upgrade", "canary"),
    // What nobody knows.
    ("x-custom", "canary"),
];

/// The names of what is always said, whatever the upstream says.
const OURS: [&str; 4] = ["content-length", "date", "vary", "x-request-id"];

/// The names of an answer's header fields, each as often as it is there.
async fn names(scene: &Scene, path: &str, bearer: &str, is_page: bool) -> Vec<String> {
    let origin = if is_page { format!("Origin: {ORIGIN}\r\n") } else { String::new() };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n{origin}\r\n"
    );
    let answer = exchange(&scene.server, request.as_bytes()).await;
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    let fields = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
    let mut names = Vec::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        assert!(
            !value.contains("canary") || OF_WHOLE.iter().chain(&OF_KEYS).any(|(of, _)| *of == name),
            "{name}: {value}"
        );
        if let Some((_, sent)) = HANDED_ON.iter().chain(&OF_WHOLE).chain(&OF_KEYS).find(|(sent, _)| *sent == name) {
            assert_eq!(value, *sent, "{name}");
        }
        names.push(name);
    }
    names
}

#[tokio::test]
async fn of_an_answers_header_fields_those_of_a_list_pass() {
    for scene in [scene().await, scene_over(&["http/1.1"]).await.0, scene_over(&["h2"]).await.0] {
        let Scene { upstream, server, agent, owner, .. } = &scene;
        let token = owner.create_token(agent, &super::ALL).await;
        let mut sent = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvary: canary\r\n".to_vec();
        for (name, value) in HANDED_ON.iter().chain(&OF_WHOLE).chain(&OF_KEYS).chain(&KEPT_BACK) {
            sent.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        sent.extend_from_slice(b"set-cookie: other=canary\r\n\r\n{}");
        // One operation passes as it is, the other is read to be redacted.
        for (path, is_whole) in [("messages", true), ("tools", false)] {
            let path = format!("/v1/agents/{agent}/{path}");
            upstream.answer("GET", &path, Scripted::Raw(sent.clone()));
            for (bearer, is_page) in [(&*token, true), (server.key(), false)] {
                let got = names(&scene, &path, bearer, is_page).await;
                let mut expected: BTreeSet<&str> = HANDED_ON.iter().map(|(name, _)| *name).collect();
                expected.extend(OURS);
                expected.insert("connection");
                if is_whole || !is_page {
                    expected.extend(OF_WHOLE.map(|(name, _)| name));
                }
                if is_page {
                    expected.extend(["access-control-allow-origin", "access-control-expose-headers"]);
                    expected.extend(["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]);
                } else {
                    expected.extend(OF_KEYS.map(|(name, _)| name));
                }
                let all: BTreeSet<&str> = got.iter().map(|name| &**name).collect();
                assert_eq!(all, expected, "{path}, page: {is_page}");
                assert_eq!(all.len(), got.len(), "each once: {got:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_connection_names_stays_there() {
    let scene = scene().await;
    let path = format!("/v1/agents/{}/messages", scene.agent);
    let sent = "HTTP/1.1 200 OK\r\nConnection: close, Retry-After\r\nConnection: allow\r\ncontent-length: 2\r\n\
                retry-after: 7\r\nallow: GET\r\ncache-control: no-store\r\n\r\n{}";
    scene.upstream.answer("GET", &path, Scripted::Raw(sent.into()));
    let names = names(&scene, &path, scene.server.key(), false).await;
    assert!(names.iter().any(|name| name == "cache-control"), "{names:?}");
    assert!(!names.iter().any(|name| name == "retry-after" || name == "allow"), "{names:?}");
}
