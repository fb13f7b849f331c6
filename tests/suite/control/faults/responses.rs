//! Responses that lie, are lost, or are a fault's own, and bodies that are no stream.

use serde_json::{Value, json};

use super::{
    Stage, said,
    seen::{End, over_http1, over_http2},
    streamed,
};
use crate::harness::ORIGIN;

#[tokio::test(flavor = "multi_thread")]
async fn a_response_may_lie_about_its_length_and_its_chunks() {
    let stage = Stage::new().await;
    let path = stage.path("messages?limit=1");
    stage.clear().await;
    for (number, (effect, difference)) in
        [(json!({"length": "+10"}), 10), (json!({"length": "-10"}), -10), (json!({"chunk": "malformed"}), 0)]
            .into_iter()
            .enumerate()
    {
        stage.only(&json!({"do": effect})).await;
        let path = format!("{path}{number}");
        let seen = over_http1(&stage, "GET", &path, &Value::Null).await;
        if difference == 0 {
            assert_eq!((seen.header("transfer-encoding"), seen.end), (Some("chunked"), End::Closed), "{seen:?}");
            assert!(seen.pieces.is_empty() && seen.rest.starts_with(b"zz\r\n["), "{seen:?}");
        } else {
            let declared: i64 = seen.header("content-length").unwrap().parse().unwrap();
            assert_eq!(declared, i64::try_from(seen.body().len()).unwrap() + difference, "{seen:?}");
            assert!(serde_json::from_slice::<Value>(&seen.body()).is_ok(), "all is sent: {seen:?}");
        }
        assert_eq!(stage.latest().await["fault"]["not_possible"], json!([]));
        // HTTP/2 has neither: its streams are reset, and the journal says so.
        let seen = over_http2(&stage, "GET", &format!("{path}0"), &Value::Null).await;
        assert_eq!(seen.story(), "reset", "{effect}");
        let entry = stage.latest().await;
        assert!(entry["fault"]["not_possible"][0].as_str().unwrap().contains("HTTP/2"), "{entry}");
    }
    // A stream declares no length, but has chunks.
    let stream = stage.path("messages/stream");
    stage.only(&json!({"do": {"length": "+10"}})).await;
    let seen = over_http1(&stage, "POST", &stream, &streamed("length")).await;
    assert!(seen.story().ends_with("done whole"), "{seen:?}");
    let entry = stage.latest().await;
    assert_eq!(entry["fault"]["not_possible"], json!(["length +10: a stream declares no length"]), "{entry}");
    stage.only(&json!({"do": {"chunk": "malformed"}})).await;
    let seen = over_http1(&stage, "POST", &stream, &streamed("chunk")).await;
    assert!(seen.pieces.is_empty() && seen.rest.starts_with(b"zz\r\ndata: "), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_stream_can_be_late_cut_or_corrupt() {
    let stage = Stage::new().await;
    let mut number = 0;
    for (effect, one, two) in [
        (json!({"first_byte": "1ms"}), End::Whole, End::Whole),
        (json!({"slice": {"bytes": 50}}), End::Whole, End::Whole),
        (json!({"cut": {"at": {"frame": 0}}}), End::Reset, End::Reset),
        (json!({"cut": {"at": {"frame": 0}, "how": "close"}}), End::Closed, End::Reset),
        (json!({"half": {"at": {"frame": 1}, "bytes": 1}}), End::Closed, End::Reset),
        (json!({"half": {"at": "done", "bytes": 1, "how": "reset"}}), End::Reset, End::Reset),
        (json!({"half": {"at": {"frame": 1}, "bytes": 1, "how": "clean"}}), End::Whole, End::Whole),
        (json!({"corrupt": {"at": {"frame": 1}, "as": "cut_json"}}), End::Whole, End::Whole),
    ] {
        stage.only(&json!({"do": effect})).await;
        for (is_two, end) in [(false, one), (true, two)] {
            number += 1;
            let path = format!("/v1/agents/{}?x={number}", stage.agent);
            let seen = if is_two {
                over_http2(&stage, "GET", &path, &Value::Null).await
            } else {
                over_http1(&stage, "GET", &path, &Value::Null).await
            };
            assert_eq!(seen.end, end, "{effect} over HTTP/2: {is_two}: {seen:?}");
            let is_whole = ["first_byte", "slice"].iter().any(|part| effect.get(part).is_some());
            assert_eq!(serde_json::from_slice::<Value>(&seen.body()).is_ok(), is_whole, "{effect}: {seen:?}");
            assert_eq!(stage.latest().await["answer"]["bytes"], seen.body().len(), "{effect}");
        }
    }
    // What only streams have is not possible, and the response is as ever.
    for part in [
        json!({"swap": {"at": {"frame": 1}}}),
        json!({"duplicate": {"at": {"frame": 1}}}),
        json!({"error_event": {"at": {"frame": 1}}}),
        json!({"pings": {"every": "1ms", "count": 2}}),
        json!({"comments": true}),
        json!({"lines": "crlf"}),
        json!({"cut": {"at": "stop_reason"}}),
    ] {
        number += 1;
        stage.only(&json!({"do": part})).await;
        let seen = over_http1(&stage, "GET", &format!("/v1/agents/{}?x={number}", stage.agent), &Value::Null).await;
        assert!(serde_json::from_slice::<Value>(&seen.body()).is_ok() && seen.end == End::Whole, "{part}: {seen:?}");
        let entry = stage.latest().await;
        assert_eq!(entry["fault"]["not_possible"].as_array().map(Vec::len), Some(1), "{part}: {entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_of_its_own_has_the_body_of_its_code_and_can_be_read_by_pages() {
    let stage = Stage::new().await;
    for (number, (effect, status, code)) in [
        (json!({"status": 503}), 503, json!("store_unavailable")),
        (json!({"status": 429, "headers": {"retry-after": "7"}}), 429, json!("rate_limited")),
        (json!({"code": "token_expired"}), 401, json!("token_expired")),
        (json!({"status": 500, "code": "llm_rate_limit"}), 500, json!("llm_rate_limit")),
        (json!({"status": 418}), 418, json!("invalid_request")),
        (json!({"status": 599}), 599, json!("internal")),
        (json!({"body": {"code": "own"}}), 200, json!("own")),
        (
            json!({"status": 502, "body": "<html>Bad Gateway</html>", "headers": {"content-type": "text/html"}}),
            502,
            Value::Null,
        ),
        (json!({"status": 204}), 204, Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        stage.only(&json!({"do": effect})).await;
        let answer = stage.page().get(&stage.path(&format!("messages?limit={}", number + 1))).await;
        assert_eq!(answer.status.as_u16(), status, "{effect}");
        let body: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        assert_eq!(body["code"], code, "{effect}: {}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{effect}");
        assert!(answer.header("access-control-expose-headers").unwrap().contains("retry-after"), "{effect}");
        for (name, value) in effect["headers"].as_object().into_iter().flatten() {
            assert_eq!(answer.header(name), value.as_str(), "{effect}");
        }
        if code.as_str().is_some_and(|code| code.starts_with("llm_")) {
            assert_eq!(body["error"]["type"], code, "{body}");
        }
        let entry = stage.entry_of(&answer).await;
        assert_eq!((&entry["answer"]["status"], &entry["decision"]["outcome"]), (&json!(status), &json!("admitted")));
        assert_eq!(entry["fault"]["did"][0], format!("status {status}"), "{entry}");
    }
}

/// Before: the handler never runs. After: its effects stay, and only the response is lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_handler_leaves_its_effects() {
    let stage = Stage::new().await;
    for (kind, effect) in [
        ("status", json!({"status": 500})),
        ("reset", json!({"cut": {"how": "reset"}})),
        ("away", json!({"token": "store_away"})),
    ] {
        for (phase, path) in
            [("before", "messages"), ("after", "messages"), ("before", "messages/stream"), ("after", "messages/stream")]
        {
            if kind == "away" && phase == "after" {
                continue;
            }
            let text = format!("{kind} {phase} {path}");
            stage.only(&json!({"phase": phase, "do": effect})).await;
            let seen = over_http1(&stage, "POST", &stage.path(path), &said(&text)).await;
            let expected = match kind {
                "status" => "http/1.1 500",
                "away" => "http/1.1 503",
                _ => "",
            };
            assert!(seen.head.starts_with(expected) && seen.head.is_empty() == expected.is_empty(), "{text}: {seen:?}");
            stage.clear().await;
            assert_eq!(stage.heard(&text).await, usize::from(phase == "after"), "{text}");
        }
    }
    // Also a stream that is cut in its middle.
    stage.only(&json!({"phase": "after", "do": {"cut": {"at": {"frame": 1}}}})).await;
    let seen = over_http1(&stage, "POST", &stage.path("messages/stream"), &streamed("cut after")).await;
    assert_eq!(seen.story(), "assistant_message reset");
    assert_eq!(stage.latest().await["fault"]["did"], json!(["cut after frame 1 (reset)", "the handler ran"]));
    stage.clear().await;
    assert_eq!(stage.heard("cut after").await, 1);
}
