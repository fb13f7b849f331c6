//! What happens to a client token is what would happen to it in production: the refusal is the same, byte for byte.

use http::Method;
use serde_json::{Value, json};

use super::{Stage, said, streamed};
use crate::harness::{Answer, ORIGIN};

/// What a client can tell about a refusal.
fn told(answer: &Answer) -> (u16, Value, Vec<(String, String)>) {
    let mut body: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(body["request_id"], answer.header("x-request-id").unwrap());
    body["request_id"] = Value::Null;
    let own = ["x-request-id", "x-gatelet-entry", "date"];
    let headers = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let mut headers: Vec<(String, String)> =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.sort();
    (answer.status.as_u16(), body, headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_real_one() {
    let stage = Stage::with(json!({
        "limits": {"requests_per_minute": 5},
        "clock": {"frozen": true, "now": "2031-01-05T09:00:00Z"},
    }))
    .await;
    let token = async || {
        let policy = json!([{"type": "agent", "id": stage.agent, "access": ["read_messages", "write_messages"]}]);
        stage.back_end().create_token_with(&json!({"policy": policy, "hostname": ORIGIN})).await
    };
    for (word, code) in [("expire", "token_expired"), ("revoke", "token_revoked"), ("quota", "rate_limited")] {
        // For real.
        let real = token().await;
        let page = stage.stranger().page(&real);
        match word {
            "quota" => {
                for _ in 0..5 {
                    page.get(&stage.path("messages")).await.expect(200);
                }
            }
            word => {
                stage.namespace.control.send(Method::POST, &format!("/tokens/{real}/{word}")).await.expect(200);
            }
        }
        let expected = told(&page.get(&stage.path("messages")).await);
        assert_eq!(expected.1["code"], code);
        // By a fault of the first request to one path, of one token.
        let hit = token().await;
        let place = json!({"operation": "ListMessages", "token": hit, "agent": "helper", "caller": "client_token"});
        stage.only(&json!({"id": word, "where": place, "when": {"nth": [2]}, "do": {"token": word}})).await;
        let page = stage.stranger().page(&hit);
        page.get(&stage.path("messages")).await.expect(200);
        page.post(&stage.path("messages"), &said("Hello")).await.expect(200);
        let answer = page.get(&stage.path("messages")).await;
        assert_eq!(told(&answer), expected, "{word}");
        let entry = stage.entry_of(&answer).await;
        assert_eq!((&entry["fault"]["id"], &entry["decision"]["outcome"]), (&json!(word), &json!("denied")));
        assert_eq!(entry["fault"]["did"], json!([format!("token: {word}")]));
        // It is not the request that is refused, but the token.
        assert_eq!(told(&page.get(&stage.path("messages")).await), expected, "{word}");
        // Another token is as good as before.
        stage.stranger().page(&token().await).get(&stage.path("messages")).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_known_is_refused_for_one_request() {
    let stage = Stage::new().await;
    for (word, code) in [("stale", "revocations_stale"), ("store_away", "store_unavailable")] {
        stage.only(&json!({"when": {"nth": [1]}, "do": {"token": word}})).await;
        let answer = stage.page().get(&stage.path("messages?limit=1")).await;
        answer.refused(503, code);
        assert_eq!(
            (answer.header("retry-after"), answer.header("access-control-allow-origin")),
            (Some("1"), Some(ORIGIN))
        );
        stage.page().get(&stage.path("messages?limit=2")).await.expect(200);
    }
    // Where requests are not limited, the quota is that of a gateway.
    stage.only(&json!({"when": {"nth": [1]}, "do": {"token": "quota"}})).await;
    let answer = stage.page().get(&stage.path("messages?limit=3")).await;
    answer.refused(429, "rate_limited");
    assert_eq!((answer.header("retry-after"), answer.header("ratelimit-limit")), (Some("1"), Some("600")));
    // API keys have no such trouble, but their store may be away.
    stage.only(&json!({"do": {"token": "expire"}})).await;
    stage.back_end().get(&stage.path("messages?limit=4")).await.expect(200);
    stage.only(&json!({"do": {"token": "store_away"}})).await;
    stage.back_end().get(&stage.path("messages?limit=5")).await.refused(503, "store_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_in_the_middle_of_a_stream() {
    let stage = Stage::new().await;
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for is_two in [false, true] {
        let policy = json!([{"type": "agent", "id": stage.agent, "access": ["read_messages", "write_messages"]}]);
        let token = stage.back_end().create_token_with(&json!({"policy": policy, "hostname": ORIGIN})).await;
        stage.only(&json!({"do": {"token": {"revoke": {"at": {"frame": 1}}}}})).await;
        let page = stage.stranger().page(&token);
        let page = if is_two { page.over(http2.clone()) } else { page };
        let request = page.request(Method::POST, &stage.path("messages/stream")).json(&streamed("revoked"));
        let mut response = request.send().await.unwrap();
        let mut text = String::new();
        let broken = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => text.push_str(str::from_utf8(&chunk).unwrap()),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert_eq!((broken, text.matches("\n\n").count()), (true, 1), "{text}");
        let entry = stage.latest().await;
        assert_eq!(
            (&entry["answer"]["ended"], &entry["answer"]["frames"]),
            (&json!("token_ended"), &json!(1)),
            "{entry}"
        );
        assert_eq!(entry["fault"]["did"], json!(["revoke the token after frame 1"]));
        page.get(&stage.path("messages")).await.refused(401, "token_revoked");
    }
    // Who has no token keeps the stream.
    let answer = stage.back_end().post(&stage.path("messages/stream"), &streamed("kept")).await;
    assert!(answer.text.ends_with("data: [DONE]\n\n"));
    assert_eq!(
        stage.entry_of(&answer).await["fault"]["not_possible"],
        json!(["token: the caller has no client token"])
    );
}
