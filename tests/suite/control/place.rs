//! From where, and by whom, the control API may be called.

use http::Method;
use serde_json::json;

use crate::harness::{Engine, Gatelet, Program, Upstream};

const ABOUT: &str = "/_gatelet/v1";

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_always_needed() {
    let server = Gatelet::ephemeral().await;
    server.stranger().get(ABOUT).await.refused(401, "bearer_missing");
    server.stranger().bearer("sk-let-nobody-nobody-nobody").get(ABOUT).await.refused(401, "bearer_invalid");
    let agent = server.owner().create_agent(&json!({})).await;
    let token = server.owner().create_token(&agent, &["read_agent"]).await;
    server.stranger().page(&token).get(ABOUT).await.refused(403, "control_not_allowed");
    server.stranger().bearer(&token).get(ABOUT).await.refused(403, "control_not_allowed");
    let about = server.owner().get(ABOUT).await.expect(200);
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    assert!(about["features"].as_array().is_some_and(|features| features.contains(&"clock".into())));
    assert_eq!(about["limits"]["namespaces"], 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_and_other_names_of_this_machine_are_refused_and_get_no_cors_headers() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("host", "evil.example"),
        ("host", "localhost.evil.example"),
    ] {
        let answer = owner.with(name, value).get(ABOUT).await;
        answer.refused(403, "control_not_allowed");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{name}: {value}");
    }
    owner.with("origin", server.url()).get(ABOUT).await.expect(200);
    // A preflight is a request like any other: it has no credential.
    let preflight = server
        .stranger()
        .with("origin", "https://evil.example")
        .with("access-control-request-method", "POST")
        .send(Method::OPTIONS, ABOUT, None)
        .await;
    assert!(preflight.status.is_client_error() && !preflight.headers.contains_key("access-control-allow-origin"));
    // What a form or a request of mode no-cors can send is not a body of the control API.
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let request = owner.request(Method::PUT, "/_gatelet/v1/ns/default/clock").header("content-type", media_type);
        let answer = crate::harness::Answer::read(request.body(r#"{"frozen":true}"#).send().await.unwrap()).await;
        answer.refused(415, "unsupported_media_type");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_exist_in_a_gateway_or_where_it_is_turned_off() {
    let upstream = Upstream::start().await;
    let gateway = Program::ephemeral().argument("--upstream").argument(&upstream.url()).start_alone().await;
    let off = Program::ephemeral().env("GATELET_CONTROL", "false").start_alone().await;
    for server in [gateway, off] {
        for path in [ABOUT, "/_gatelet/v1/ns/default/clock", "/_gatelet/"] {
            server.owner().get(path).await.refused(404, "not_found");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persistent_store_cannot_be_moved_in_time() {
    let server = Gatelet::on(Engine::Sqlite).await;
    let clock = "/_gatelet/v1/ns/default/clock";
    assert_eq!(server.owner().get(clock).await.expect(200)["timers"], "real");
    server.owner().put(clock, &json!({"frozen": true})).await.refused(409, "namespace_persistent");
    server.owner().post(&format!("{clock}/advance"), &json!({"by": "1m"})).await.refused(409, "namespace_persistent");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named_with_their_place() {
    let server = Gatelet::ephemeral().await;
    for (path, body, status, code, at) in [
        ("clock/advance", json!({"by": "5m", "too": 1}), 422, "control_invalid", "/too"),
        ("clock/advance", json!({"by": 5}), 422, "control_invalid", "/by"),
        ("clock/advance", json!({"by": "soon"}), 422, "control_invalid", "/by"),
        ("clock/advance", json!({"to": "soon"}), 422, "control_invalid", "/to"),
        ("clock/advance", json!({"to": "next"}), 422, "control_invalid", "/to"),
        ("clock/advance", json!({"by": "11y"}), 422, "control_invalid", "/by"),
        ("clock/advance", json!(["5m", null]), 422, "control_invalid", ""),
        ("clock/advance", json!({"to": "2001-01-01T00:00:00Z"}), 409, "clock_backwards", "/to"),
    ] {
        let answer = server.owner().post(&format!("/_gatelet/v1/ns/default/{path}"), &body).await;
        answer.refused(status, code);
        assert_eq!(answer.value().unwrap()["at"], at, "{body}");
    }
    let put = async |text: &'static str, media_type: &str| {
        let request = server.owner().request(Method::PUT, "/_gatelet/v1/ns/default/clock");
        crate::harness::Answer::read(request.header("content-type", media_type).body(text).send().await.unwrap()).await
    };
    let broken = put("{\n\"frozen\": tru }", "application/json").await;
    broken.refused(422, "control_invalid");
    assert_eq!(broken.value().unwrap()["at"], "line 2");
    let broken = put("frozen = true\ntimers = sometimes\n", "application/toml").await;
    broken.refused(422, "control_invalid");
    assert_eq!(broken.value().unwrap()["at"], "line 2");
    assert_eq!(put("frozen = true\n", "application/toml").await.expect(200)["frozen"], true);
    let late = json!({"name": "late", "clock": "9999-12-31T23:59:00Z"});
    server.owner().post("/_gatelet/v1/ns", &late).await.expect(201);
    let advance = "/_gatelet/v1/ns/late/clock/advance";
    server.owner().post(advance, &json!({"by": "59s"})).await.expect(200);
    server.owner().post(advance, &json!({"by": "1s"})).await.refused(422, "control_invalid");
    server.owner().get("/_gatelet/v1/nothing").await.refused(404, "not_found");
    server.owner().delete("/_gatelet/v1/ns/default/clock").await.refused(405, "method_not_allowed");
    server.owner().get("/_gatelet/v1/ns/nobody/clock").await.refused(404, "namespace_not_found");
}
