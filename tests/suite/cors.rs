//! What a browser on another origin needs: preflights without credentials, and every answer readable.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Gatelet, NOBODY, ORIGIN, Upstream};

#[tokio::test]
async fn a_preflight_is_answered_for_any_path_without_a_bearer() {
    let server = Gatelet::ephemeral().await;
    let asked = "authorization,content-type,x-stainless-lang,x-stainless-retry-count";
    for (path, method) in [
        (format!("/v1/agents/{NOBODY}/messages/stream"), "POST"),
        (format!("/v1/agents/{NOBODY}"), "PATCH"),
        ("/v1/none-such".into(), "DELETE"),
    ] {
        let page = server.stranger().with("origin", ORIGIN).with("access-control-request-method", method);
        let answer = page.with("access-control-request-headers", asked).send(Method::OPTIONS, &path, None).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""), "{path}");
        for (name, value) in [
            ("access-control-allow-origin", Some(ORIGIN)),
            ("access-control-allow-methods", Some(method)),
            ("access-control-allow-headers", Some(asked)),
            ("access-control-max-age", Some("600")),
            ("access-control-allow-credentials", None),
        ] {
            assert_eq!(answer.header(name), value, "{path} {name}");
        }
        let vary = answer.header("vary").unwrap().to_ascii_lowercase();
        for name in ["origin", "access-control-request-method", "access-control-request-headers"] {
            assert!(vary.contains(name), "{vary}");
        }
    }
    let odd = server.stranger().with("origin", ORIGIN).with("access-control-request-method", "GET");
    odd.send(Method::OPTIONS, "/v1//agents", None).await.refused(400, "path_not_canonical");
}

/// A browser asks this before a page of the public Internet reaches the machine that it runs on.
#[tokio::test]
async fn a_deployed_page_may_reach_a_mock_on_this_machine_and_no_gateway() {
    let mock = Gatelet::ephemeral().await;
    let upstream = Upstream::start().await;
    for (server, allowed) in [(&mock, Some("true")), (&upstream.gateway().await, None)] {
        let page = server.stranger().with("origin", ORIGIN).with("access-control-request-method", "GET");
        let asks = page.with("access-control-request-private-network", "true");
        let response = asks.send(Method::OPTIONS, "/v1/agents/", None).await;
        assert_eq!((response.status.as_u16(), response.header("access-control-allow-private-network")), (204, allowed));
        let response = page.send(Method::OPTIONS, "/v1/agents/", None).await;
        assert_eq!(response.header("access-control-allow-private-network"), None, "nobody asked");
    }
}

#[tokio::test]
async fn every_answer_to_a_page_can_be_read_by_it() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let token = owner.create_token(&agent, &["read_agent"]).await;
    let stranger = server.stranger().with("origin", ORIGIN);
    let page = stranger.bearer(&token);
    let evil = server.stranger().with("origin", "https://evil.example").bearer(&token);
    for (answer, status, origin) in [
        (page.get(&format!("/v1/agents/{agent}")).await, 200, ORIGIN),
        (stranger.get("/v1/health/").await, 200, ORIGIN),
        (stranger.get("/v1/agents//").await, 400, ORIGIN),
        (stranger.get("/v1/agents/").await, 401, ORIGIN),
        (page.get(&format!("/v1/agents/{agent}/messages")).await, 403, ORIGIN),
        (evil.get(&format!("/v1/agents/{agent}")).await, 403, "https://evil.example"),
        (page.get("/v1/none-such").await, 404, ORIGIN),
        (page.send(Method::PUT, "/v1/agents/", None).await, 405, ORIGIN),
        (page.get("/v1/agents/bad-id").await, 422, ORIGIN),
        (page.get(&format!("/v1/agents/{agent}/memory-files/directory")).await, 501, ORIGIN),
    ] {
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{status}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{status}");
        assert!(answer.header("vary").unwrap().eq_ignore_ascii_case("origin"), "{status}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in [
            "x-request-id",
            "retry-after",
            "www-authenticate",
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
        ] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
    let without = owner.get("/v1/agents/").await;
    assert_eq!(without.header("access-control-allow-origin"), None);
    assert!(without.header("vary").is_some(), "caches must keep the two apart");
}
