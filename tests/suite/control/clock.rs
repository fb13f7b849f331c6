//! The clock of a namespace: what follows it, and what an advance does.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::harness::Control;
use crate::harness::{Answer, Gatelet, Program, eventually};

const START: &str = "2030-01-05T09:00:00Z";

async fn frozen(timers: &str) -> (Gatelet, Control) {
    let server = Gatelet::ephemeral().await;
    let control = Control::of_default(&server);
    control.put("/clock", &json!({"now": START, "timers": timers})).await.expect(200);
    (server, control)
}

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_created_has_the_time_of_the_clock() {
    let (server, control) = frozen("virtual").await;
    let start: DateTime<Utc> = START.parse().unwrap();
    let clock = control.get("/clock").await.expect(200);
    assert_eq!((instant(&clock["now"]), &clock["frozen"], &clock["timers"]), (start, &json!(true), &json!("virtual")));
    let agent = server.owner().create_agent(&json!({})).await;
    let path = format!("/v1/agents/{agent}");
    let created = server.owner().get(&path).await;
    assert_eq!(instant(&created.expect(200)["created_at"]), start);
    assert_eq!(created.headers["date"], "Sat, 05 Jan 2030 09:00:00 GMT");
    let advanced = control.post("/clock/advance", &json!({"by": "90m"})).await.expect(200);
    assert_eq!((instant(&advanced["now"]) - start).num_minutes(), 90);
    assert_eq!(advanced["settled"], true);
    let reply = server
        .owner()
        .post(&format!("{path}/messages"), &json!({"messages": [{"role": "user", "content": "Hi"}]}))
        .await;
    assert_eq!(reply.headers["date"], "Sat, 05 Jan 2030 10:30:00 GMT");
    assert_eq!(reply.expect(200)["messages"][0]["date"], "2030-01-05T10:30:00+00:00");
    let changed = server.owner().patch(&path, &json!({"description": "later"})).await.expect(200);
    assert_eq!((instant(&changed["updated_at"]) - instant(&changed["created_at"])).num_minutes(), 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires_by_the_clock_and_says_when_it_will() {
    let (server, control) = frozen("virtual").await;
    let agent = server.owner().create_agent(&json!({})).await;
    let token = server.owner().create_token(&agent, &["read_agent"]).await;
    let page = server.stranger().page(&token);
    let path = format!("/v1/agents/{agent}");
    page.get(&path).await.expect(200);
    let pending = control.get("/clock").await.expect(200)["pending"].clone();
    assert_eq!(pending[0]["kind"], "token_expiry");
    control.post("/clock/advance", &json!({"by": "4m59s"})).await.expect(200);
    page.get(&path).await.expect(200);
    let advanced = control.post("/clock/advance", &json!({"to": "next"})).await.expect(200);
    assert_eq!(advanced["fired"], pending);
    assert_eq!(advanced["now"], pending[0]["due"]);
    page.get(&path).await.refused(401, "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_is_meant_by_the_clock_of_who_asks_unless_told_otherwise() {
    let (server, control) = frozen("virtual").await;
    let agent = server.owner().create_agent(&json!({})).await;
    let create = async |expires_at: DateTime<Utc>| {
        let policy = json!([{"type": "agent", "id": agent, "access": ["read_agent"]}]);
        let body = json!({"policy": policy, "hostname": "https://app.example", "expires_at": expires_at.to_rfc3339()});
        server.owner().post("/v1/client-side-access-tokens", &body).await
    };
    let start: DateTime<Utc> = START.parse().unwrap();
    let created = create(Utc::now() + Duration::from_mins(10)).await.expect(201);
    let left = instant(&created["expiresAt"]) - start;
    assert!((595..=600).contains(&left.num_seconds()), "{left}");
    // The journal has both times.
    let entry =
        control.get("/journal?operation=CreateClientSideAccessToken&limit=1").await.expect(200)["entries"][0].clone();
    let steps = entry["decision"]["steps"].as_array().unwrap();
    let expiry = steps.iter().find(|step| step["asked"] == "expiry").expect("a step about the expiry");
    assert!(expiry["said"].as_str().unwrap().contains(created["expiresAt"].as_str().unwrap()), "{expiry}");
    assert!(entry["sent"]["body"]["expires_at"].as_str().unwrap().starts_with(&Utc::now().format("%Y-").to_string()));
    control.put("/clock", &json!({"expiry": "literal"})).await.expect(200);
    let created = create(start + Duration::from_mins(10)).await.expect(201);
    assert_eq!((instant(&created["expiresAt"]) - start).num_seconds(), 600);
    create(Utc::now() + Duration::from_mins(10)).await.refused(400, "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_lets_a_token_expire_or_revokes_it() {
    let server = Gatelet::ephemeral().await;
    let control = Control::of_default(&server);
    let agent = server.owner().create_agent(&json!({})).await;
    let path = format!("/v1/agents/{agent}");
    for (call, code) in [("expire", "token_expired"), ("revoke", "token_revoked")] {
        for by_id in [false, true] {
            let token = server.owner().create_token(&agent, &["read_agent"]).await;
            let other = server.owner().create_token(&agent, &["read_agent"]).await;
            server.stranger().page(&token).get(&path).await.expect(200);
            let claims = token.split('.').nth(1).unwrap();
            let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
            let id = serde_json::from_slice::<Value>(&claims).unwrap()["jti"].as_str().unwrap().to_owned();
            let name = if by_id { &id } else { &token };
            assert_eq!(control.send(Method::POST, &format!("/tokens/{name}/{call}")).await.expect(200)["id"], *id);
            server.stranger().page(&token).get(&path).await.refused(401, code);
            server.stranger().page(&other).get(&path).await.expect(200);
        }
    }
    control.send(Method::POST, "/tokens/nobody/expire").await.refused(404, "not_found");
}

/// The frames of a stream that have arrived.
async fn next_frame(stream: &mut reqwest::Response) -> Option<String> {
    let chunk = timeout(Duration::from_secs(10), stream.chunk()).await.expect("a frame within ten seconds").unwrap()?;
    Some(String::from_utf8(chunk.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_of_a_reply_end_when_the_clock_is_advanced() {
    let (server, control) = frozen("virtual").await;
    let agent = server.owner().create_agent(&json!({})).await;
    let body =
        json!({"messages": [{"role": "user", "content": "[[slow:60000]] one two three"}], "stream_tokens": true});
    let request = server.owner().request(Method::POST, &format!("/v1/agents/{agent}/messages/stream")).json(&body);
    let mut stream = request.send().await.unwrap();
    let is_pausing = async || {
        let clock = control.get("/clock").await.expect(200);
        clock["pending"].as_array().unwrap().iter().any(|timer| timer["kind"] == "pause")
    };
    eventually("the reply pauses", Duration::from_secs(10), is_pausing).await;
    // Real time passes, and nothing comes.
    let mut frames = 0;
    while is_pausing().await {
        let advanced = control.post("/clock/advance", &json!({"to": "next"})).await.expect(200);
        assert_eq!(advanced["settled"], true);
        let fired = advanced["fired"].as_array().unwrap();
        assert!(fired.iter().any(|timer| timer["kind"] == "pause"), "{advanced}");
        frames += 1;
        assert!(frames < 100);
    }
    assert!(frames >= 3, "each piece has its pause");
    let mut text = String::new();
    while let Some(frame) = next_frame(&mut stream).await {
        text.push_str(&frame);
    }
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instant_timers_make_slow_replies_fast() {
    let (server, _) = frozen("instant").await;
    let agent = server.owner().create_agent(&json!({})).await;
    let body = json!({"messages": [{"role": "user", "content": "[[slow:600000]] one two three"}]});
    let reply = async { server.owner().post(&format!("/v1/agents/{agent}/messages"), &body).await };
    let reply = timeout(Duration::from_secs(20), reply).await.expect("no pause").expect(200);
    assert_eq!(reply["stop_reason"]["stop_reason"], "end_turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_expires_by_the_clock_or_by_call() {
    for by_call in [false, true] {
        let server = Program::ephemeral().env("GATELET_TOKENS__STREAM_AT_EXPIRY", "cut").start_alone().await;
        let control = Control::of_default(&server);
        control.put("/clock", &json!({"now": START})).await.expect(200);
        let agent = server.owner().create_agent(&json!({})).await;
        let token = server.owner().create_token(&agent, &["write_messages"]).await;
        let body = json!({"messages": [{"role": "user", "content": "[[slow:60000]] one two three four five six seven eight nine ten eleven twelve"}], "stream_tokens": true});
        let page = server.stranger().page(&token);
        let request = page.request(Method::POST, &format!("/v1/agents/{agent}/messages/stream")).json(&body);
        let mut stream = request.send().await.unwrap();
        next_frame(&mut stream).await.expect("the first ping");
        if by_call {
            control.send(Method::POST, &format!("/tokens/{token}/expire")).await.expect(200);
        } else {
            control.post("/clock/advance", &json!({"by": "5m"})).await.expect(200);
        }
        let end = async {
            loop {
                match stream.chunk().await {
                    Ok(Some(_)) => {}
                    end => return end.is_err(),
                }
            }
        };
        assert!(timeout(Duration::from_secs(10), end).await.expect("an end"), "broken off, not ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_replenished_by_the_clock() {
    let server = Program::ephemeral().env("GATELET_LIMITS__REQUESTS_PER_MINUTE", "2").start_alone().await;
    let control = Control::of_default(&server);
    control.put("/clock", &json!({"now": START})).await.expect(200);
    let agent = server.owner().create_agent(&json!({})).await;
    let page = server.stranger().page(&server.owner().create_token(&agent, &["read_agent"]).await);
    let path = format!("/v1/agents/{agent}");
    let spend = async || -> Answer {
        page.get(&path).await.expect(200);
        page.get(&path).await.expect(200);
        page.get(&path).await
    };
    let refused = spend().await;
    refused.refused(429, "rate_limited");
    assert_eq!(refused.headers["retry-after"], "30");
    control.post("/clock/advance", &json!({"by": "29s"})).await.expect(200);
    page.get(&path).await.refused(429, "rate_limited");
    control.post("/clock/advance", &json!({"by": "31s"})).await.expect(200);
    spend().await.refused(429, "rate_limited");
}
