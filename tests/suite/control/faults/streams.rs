//! Each part of a fault that changes a stream.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Stage, said,
    seen::{End, Seen, over_http1, over_http2},
    streamed,
};
use crate::harness::{ORIGIN, eventually};

const SOON: Duration = Duration::from_secs(20);

/// What a fault does to a stream of four frames, over both protocols, and what the journal says of it.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "most of it is the table of cases")]
async fn a_stream_is_changed_at_the_very_frame() {
    const WHOLE: &str = "assistant_message stop_reason usage_statistics done whole";
    let stage = Stage::new().await;
    let path = stage.path("messages/stream");
    let at = |part: &str, at: Value| json!({part: {"at": at}});
    let cases = [
        (json!({"headers": {"x-fault": "yes"}}), WHOLE, WHOLE, json!(["headers"])),
        (json!({"cut": {"how": "reset"}}), "nothing", "nothing", json!(["no response (reset)"])),
        (json!({"cut": {"how": "close"}}), "nothing", "nothing", json!(["no response (close)"])),
        (json!({"cut": {"at": {"frame": 0}}}), "reset", "reset", json!(["cut after frame 0 (reset)"])),
        (
            json!({"cut": {"at": {"frame": 2}, "how": "reset"}}),
            "assistant_message stop_reason reset",
            "assistant_message stop_reason reset",
            json!(["cut after frame 2 (reset)"]),
        ),
        (
            json!({"cut": {"at": {"type": "assistant_message"}, "how": "close"}}),
            "assistant_message closed",
            "assistant_message reset",
            json!(["cut after assistant_message (close)"]),
        ),
        (
            json!({"cut": {"at": "stop_reason", "how": "clean"}}),
            "assistant_message stop_reason whole",
            "assistant_message stop_reason whole",
            json!(["cut after stop_reason (clean)"]),
        ),
        (
            json!({"cut": {"at": "done", "how": "reset"}}),
            "assistant_message stop_reason usage_statistics done reset",
            "assistant_message stop_reason usage_statistics done reset",
            json!(["cut after done (reset)"]),
        ),
        (
            json!({"half": {"at": {"frame": 2}, "bytes": 9}}),
            "assistant_message +9 closed",
            "assistant_message +9 reset",
            json!(["half of frame 2 (9 bytes, then close)"]),
        ),
        (
            json!({"half": {"at": {"frame": 2}, "bytes": 9, "how": "clean"}}),
            "assistant_message +9 whole",
            "assistant_message +9 whole",
            json!(["half of frame 2 (9 bytes, then clean)"]),
        ),
        (
            at("drop", json!("done")),
            "assistant_message stop_reason usage_statistics whole",
            "assistant_message stop_reason usage_statistics whole",
            json!(["drop done"]),
        ),
        (
            at("drop", json!("stop_reason")),
            "assistant_message usage_statistics done whole",
            "assistant_message usage_statistics done whole",
            json!(["drop stop_reason"]),
        ),
        (
            at("duplicate", json!({"frame": 1})),
            "assistant_message assistant_message stop_reason usage_statistics done whole",
            "assistant_message assistant_message stop_reason usage_statistics done whole",
            json!(["duplicate frame 1"]),
        ),
        (
            at("swap", json!("stop_reason")),
            "assistant_message usage_statistics stop_reason done whole",
            "assistant_message usage_statistics stop_reason done whole",
            json!(["swap stop_reason with the next"]),
        ),
        (
            json!({"corrupt": {"at": {"frame": 1}, "as": "unknown_type"}}),
            "gatelet_unknown_message stop_reason usage_statistics done whole",
            "gatelet_unknown_message stop_reason usage_statistics done whole",
            json!(["corrupt frame 1 (UnknownType)"]),
        ),
        (
            json!({"corrupt": {"at": "usage", "as": "cut_json"}}),
            "assistant_message stop_reason broken done whole",
            "assistant_message stop_reason broken done whole",
            json!(["corrupt usage_statistics (CutJson)"]),
        ),
        (
            json!({"error_event": {"at": {"frame": 1}, "status": 429}}),
            "assistant_message stop_reason error_message done whole",
            "assistant_message stop_reason error_message done whole",
            json!(["error event 429 after frame 1"]),
        ),
        (
            json!({"pings": {"every": "1ms", "count": 3}}),
            "ping ping ping assistant_message stop_reason usage_statistics done whole",
            "ping ping ping assistant_message stop_reason usage_statistics done whole",
            json!(["3 pings"]),
        ),
        (
            json!({"comments": true, "cut": {"at": {"frame": 1}, "how": "clean"}}),
            "comment assistant_message whole",
            "comment assistant_message whole",
            json!(["comments", "cut after frame 1 (clean)"]),
        ),
        (
            json!({"drop": {"at": "stop_reason"}, "duplicate": {"at": "usage"}, "cut": {"at": "usage", "how": "close"}}),
            "assistant_message usage_statistics usage_statistics closed",
            "assistant_message usage_statistics usage_statistics reset",
            json!(["drop stop_reason", "duplicate usage_statistics", "cut after usage_statistics (close)"]),
        ),
        (
            json!({"first_byte": "5ms", "frame_delay": "1ms", "jitter": "2ms"}),
            WHOLE,
            WHOLE,
            json!(["first byte after 5ms", "frame_delay"]),
        ),
    ];
    for (number, (effect, over_one, over_two, did)) in cases.iter().enumerate() {
        for is_two in [false, true] {
            stage.only(&json!({"do": effect})).await;
            let body = streamed(&format!("{number} {is_two}"));
            let (seen, expected) = if is_two {
                (over_http2(&stage, "POST", &path, &body).await, over_two)
            } else {
                (over_http1(&stage, "POST", &path, &body).await, over_one)
            };
            assert_eq!(seen.story(), *expected, "{effect} over HTTP/2: {is_two}");
            if *expected != "nothing" {
                assert_eq!(seen.header("access-control-allow-origin"), Some(&*ORIGIN.to_lowercase()), "{effect}");
            }
            let entry = stage.latest().await;
            assert_eq!(entry["fault"]["did"], *did, "{effect}");
            // The journal has what was sent.
            assert_eq!(entry["answer"]["bytes"], seen.body().len(), "{effect}: {entry}");
            let frames = seen.story().split(' ').filter(|word| !word.starts_with('+')).count() - 1;
            assert_eq!(entry["answer"]["frames"], frames, "{effect}: {entry}");
            let ended = if expected.ends_with("whole") { "done" } else { "cut" };
            assert_eq!(
                (&entry["answer"]["ended"], &entry["answer"]["by"]),
                (&json!(ended), &json!("server")),
                "{effect}"
            );
            let closes = is_two && (effect.to_string().contains("close") || over_one.ends_with("closed"));
            let not_possible = entry["fault"]["not_possible"].as_array().unwrap();
            assert_eq!(!not_possible.is_empty(), closes, "{effect}: {not_possible:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn legal_streams_have_the_same_events_in_other_pieces_and_lines() {
    let stage = Stage::new().await;
    let path = stage.path("messages/stream");
    // Ids, times and numbers differ from turn to turn.
    let words = |seen: &Seen| {
        let text = seen.text().replace("\r\n", "\n").replace('\r', "\n");
        let lines = text.lines().filter(|line| !line.starts_with(':') && !line.is_empty());
        let shape = |line: &str| {
            let data = line.strip_prefix("data: ").unwrap();
            let value = serde_json::from_str::<serde_json::Map<String, Value>>(data);
            value.map_or_else(|_| data.to_owned(), |value| value.keys().cloned().collect::<Vec<_>>().join(" "))
        };
        lines.map(shape).collect::<Vec<String>>()
    };
    for is_two in [false, true] {
        let ask = async |text: &str| {
            if is_two {
                over_http2(&stage, "POST", &path, &streamed(text)).await
            } else {
                over_http1(&stage, "POST", &path, &streamed(text)).await
            }
        };
        stage.clear().await;
        let plain = ask("plain").await;
        // Clients of HTTP/2 take many small frames for an attack.
        let (least, most) = if is_two { (50, 120) } else { (1, 40) };
        for (effect, is_right) in [
            (
                json!({"slice": {"bytes": least}}),
                Box::new(move |seen: &Seen| seen.pieces.iter().all(|piece| piece.len() <= least))
                    as Box<dyn Fn(&Seen) -> bool>,
            ),
            (
                json!({"slice": {"bytes": [least, most]}, "lines": "crlf", "comments": true}),
                Box::new(move |seen: &Seen| {
                    let sizes: std::collections::BTreeSet<usize> = seen.pieces.iter().map(Vec::len).collect();
                    let is_sized = sizes.len() > 5 && sizes.iter().all(|size| *size <= most);
                    is_sized && !seen.text().replace("\r\n", "").contains('\n')
                }),
            ),
            (json!({"coalesce": true}), Box::new(|seen: &Seen| seen.pieces.len() <= 2)),
            (json!({"coalesce": 3}), Box::new(|seen: &Seen| (2..=3).contains(&seen.pieces.len()))),
            (json!({"lines": "cr"}), Box::new(|seen: &Seen| !seen.text().contains('\n'))),
        ] {
            stage.only(&json!({"do": effect})).await;
            let seen = ask("other").await;
            assert_eq!(words(&seen), words(&plain), "{effect}");
            assert!(is_right(&seen), "{effect}: {seen:?}");
            let entry = stage.latest().await;
            let frames = stage.namespace.control.get(&format!("/journal/{}/frames", entry["id"])).await.expect(200);
            let types: Vec<&str> =
                frames.as_array().unwrap().iter().filter_map(|frame| frame["type"].as_str()).collect();
            let types: Vec<&str> = types.into_iter().filter(|name| *name != "comment").collect();
            assert_eq!(types, ["assistant_message", "stop_reason", "usage_statistics", "done"], "{effect}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_frame_is_wrong_in_one_way() {
    let stage = Stage::new().await;
    let path = stage.path("messages/stream");
    for (kind, is_utf8, is_json, is_huge) in [
        ("utf8", false, false, false),
        ("json", true, false, false),
        ("cut_json", true, false, false),
        ("unknown_type", true, true, false),
        ("extra_field", true, true, false),
        ("huge", true, true, true),
    ] {
        stage.only(&json!({"do": {"corrupt": {"at": {"frame": 1}, "as": kind}}})).await;
        let seen = over_http1(&stage, "POST", &path, &streamed(kind)).await;
        let body = seen.body();
        let end = body.windows(2).position(|two| two == b"\n\n").unwrap();
        let data = &body[b"data: ".len()..end];
        let found = (std::str::from_utf8(data).is_ok(), serde_json::from_slice::<Value>(data).is_ok());
        assert_eq!((found, data.len() > 1024 * 1024), ((is_utf8, is_json), is_huge), "{kind}");
        assert!(seen.end == End::Whole && body.ends_with(b"data: [DONE]\n\n"), "{kind}");
    }
    stage.only(&json!({"do": {"half": {"at": {"frame": 1}, "bytes": "in_character"}}})).await;
    let body = over_http1(&stage, "POST", &path, &streamed("Caf\u{e9}")).await.body();
    let error = std::str::from_utf8(&body).unwrap_err();
    assert_eq!((error.valid_up_to(), error.error_len()), (body.len() - 1, None), "it ends within a character");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_stalls_and_pauses_by_the_clock_of_the_namespace() {
    let stage = Stage::with(json!({"clock": {"frozen": true, "timers": "virtual"}})).await;
    let path = stage.path("messages/stream");
    let pauses = async || {
        let clock = stage.namespace.control.get("/clock").await.expect(200);
        clock["pending"].as_array().unwrap().iter().filter(|timer| timer["kind"] == "pause").count()
    };
    for (effect, before, steps) in [
        (json!({"delay": "5m"}), "", 1),
        (json!({"first_byte": "5m"}), "head ", 1),
        (json!({"stall": {"at": {"frame": 1}, "for": "5m"}}), "head assistant_message", 1),
        (json!({"frame_delay": "5m"}), "head assistant_message", 3),
    ] {
        stage.only(&json!({"do": effect})).await;
        let (page, path, body) = (stage.back_end(), path.clone(), streamed(&effect.to_string()));
        let mut asking =
            Some(tokio::spawn(
                async move { page.request(http::Method::POST, &path).json(&body).send().await.unwrap() },
            ));
        eventually("it waits", SOON, async || pauses().await == 1).await;
        let mut text = String::new();
        let mut response = None;
        if !before.is_empty() {
            let mut begun = asking.take().unwrap().await.unwrap();
            if before.contains("assistant_message") {
                text.push_str(str::from_utf8(&begun.chunk().await.unwrap().unwrap()).unwrap());
                assert_eq!(text.matches("\n\n").count(), 1, "{effect}: {text}");
            }
            response = Some(begun);
        }
        for _ in 0..steps {
            eventually("it waits", SOON, async || pauses().await == 1).await;
            stage.namespace.control.post("/clock/advance", &json!({"by": "5m"})).await.expect(200);
        }
        let mut response = match response {
            Some(response) => response,
            None => asking.take().unwrap().await.unwrap(),
        };
        while let Some(chunk) = response.chunk().await.unwrap() {
            text.push_str(str::from_utf8(&chunk).unwrap());
        }
        assert_eq!(text.matches("\n\n").count(), 4, "{effect}: {text}");
    }
    // A stall without an end lasts until the client leaves, and no ping is sent.
    stage.only(&json!({"do": {"stall": {"at": {"frame": 2}}}})).await;
    let mut response =
        stage.back_end().request(http::Method::POST, &path).json(&streamed("stalled")).send().await.unwrap();
    let mut text = String::new();
    while text.matches("\n\n").count() < 2 {
        text.push_str(str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    stage.namespace.control.post("/clock/advance", &json!({"by": "60m"})).await.expect(200);
    drop(response);
    let entry = stage.latest().await;
    assert_eq!((&entry["answer"]["frames"], &entry["answer"]["ended"]), (&json!(2), &json!("client_left")), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_can_be_silenced() {
    let stage = Stage::new().await;
    let mut body = said("pings");
    body["include_pings"] = true.into();
    stage.only(&json!({"do": {"headers": {"x-a": "b"}}})).await;
    let story = over_http1(&stage, "POST", &stage.path("messages/stream"), &body).await.story();
    assert!(story.starts_with("ping assistant_message"), "{story}");
    // Pings are not counted.
    stage.only(&json!({"do": {"pings": "none", "cut": {"at": {"frame": 1}, "how": "clean"}}})).await;
    let story = over_http1(&stage, "POST", &stage.path("messages/stream"), &body).await.story();
    assert_eq!(story, "assistant_message whole");
    stage.only(&json!({"do": {"cut": {"at": {"frame": 1}, "how": "clean"}}})).await;
    let story = over_http1(&stage, "POST", &stage.path("messages/stream"), &body).await.story();
    assert_eq!(story, "ping assistant_message whole");
}
