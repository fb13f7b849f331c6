//! Each part of a fault as it is seen on the wire, over HTTP/1.1 and HTTP/2.

use std::{io, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Stage, said, streamed};
use crate::harness::{ORIGIN, eventually};

const SOON: Duration = Duration::from_secs(20);

/// What came back over a connection.
#[derive(Debug, Default)]
struct Seen {
    /// The head in lower case; empty: none came.
    head: String,
    /// The pieces of the body: chunks or data frames.
    pieces: Vec<Vec<u8>>,
    end: End,
    /// What cannot be read.
    rest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum End {
    #[default]
    Whole,
    /// The connection is closed in the middle.
    Closed,
    /// The connection, or the stream, is reset.
    Reset,
}

impl Seen {
    fn body(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The types of the frames, what is left of one, and the end.
    fn story(&self) -> String {
        let text = self.text().replace("\r\n", "\n").replace('\r', "\n");
        let mut words: Vec<String> = Vec::new();
        let (frames, rest) = text.rsplit_once("\n\n").unwrap_or(("", &text));
        for frame in frames.split("\n\n").filter(|frame| !frame.is_empty()) {
            let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
            words.push(match data {
                None => "comment".into(),
                Some("[DONE]") => "done".into(),
                Some(data) => match serde_json::from_str::<Value>(data) {
                    Ok(value) => value["message_type"].as_str().unwrap_or("other").to_owned(),
                    Err(_) => "broken".into(),
                },
            });
        }
        if !rest.is_empty() {
            words.push(format!("+{}", rest.len()));
        }
        let end = match (self.head.is_empty(), self.end) {
            (true, _) => "nothing".to_owned(),
            (_, end) => format!("{end:?}").to_lowercase(),
        };
        words.push(end);
        words.join(" ")
    }
}

/// Sends a request over HTTP/1.1 and reads until the connection ends.
async fn over_http1(stage: &Stage, method: &str, path: &str, body: &Value) -> Seen {
    let mut socket = TcpStream::connect(stage.server.url().trim_start_matches("http://")).await.unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: a\r\norigin: {ORIGIN}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        stage.token,
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = tokio::time::timeout(SOON, socket.read_to_end(&mut bytes)).await.expect("the connection ends");
    let is_reset = match end {
        Ok(_) => false,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => true,
        Err(error) => panic!("{error}"),
    };
    let cut = if is_reset { End::Reset } else { End::Closed };
    let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        assert!(bytes.is_empty(), "half a head: {}", String::from_utf8_lossy(&bytes));
        return Seen { end: cut, ..Seen::default() };
    };
    let mut seen =
        Seen { head: String::from_utf8(bytes[..head].to_vec()).unwrap().to_lowercase(), end: cut, ..Seen::default() };
    let mut rest = &bytes[head + 4..];
    if seen.header("transfer-encoding") == Some("chunked") {
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            let Some(size) = size.filter(|size| rest.len() >= end + 2 + size + 2) else { break };
            let chunk = &rest[end + 2..end + 2 + size];
            rest = &rest[end + 2 + size + 2..];
            if size == 0 {
                seen.end = if is_reset { End::Reset } else { End::Whole };
                break;
            }
            seen.pieces.push(chunk.to_vec());
        }
        seen.rest = rest.to_vec();
    } else {
        let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
        seen.pieces.push(rest.to_vec());
        if !is_reset && rest.len() == length {
            seen.end = End::Whole;
        }
    }
    seen
}

/// Sends a request over HTTP/2 and reads until its stream ends.
async fn over_http2(stage: &Stage, method: &str, path: &str, body: &Value) -> Seen {
    let socket = TcpStream::connect(stage.server.url().trim_start_matches("http://")).await.unwrap();
    let (session, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://a{path}"))
        .header("origin", ORIGIN)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", stage.token))
        .body(())
        .unwrap();
    let mut session = session.ready().await.unwrap();
    let (response, mut stream) = session.send_request(request, body.is_null()).unwrap();
    if !body.is_null() {
        stream.send_data(Bytes::from(body.to_string()), true).unwrap();
    }
    let response = match tokio::time::timeout(SOON, response).await.expect("something comes") {
        Ok(response) => response,
        Err(error) => {
            assert!(error.is_reset(), "{error}");
            return Seen { end: End::Reset, ..Seen::default() };
        }
    };
    let fields = response.headers().iter().map(|(name, value)| format!("\n{name}: {}", value.to_str().unwrap()));
    let mut seen = Seen { head: format!("{}{}", response.status(), fields.collect::<String>()), ..Seen::default() };
    let mut body = response.into_body();
    while let Some(data) = tokio::time::timeout(SOON, body.data()).await.expect("the stream ends") {
        match data {
            Ok(data) => {
                body.flow_control().release_capacity(data.len()).unwrap();
                // The server sends the last byte of a body as a piece of its own.
                seen.pieces.push(data.to_vec());
            }
            Err(error) => {
                assert!(error.is_reset(), "{error}");
                seen.end = End::Reset;
                break;
            }
        }
    }
    seen
}

/// What a fault does to a stream of four frames, over both protocols, and what the journal says of it.
#[tokio::test(flavor = "multi_thread")]
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
            let closes = is_two && effect.to_string().contains("close") || is_two && over_one.ends_with("closed");
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
                text.push_str(&String::from_utf8(begun.chunk().await.unwrap().unwrap().to_vec()).unwrap());
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
            text.push_str(&String::from_utf8(chunk.to_vec()).unwrap());
        }
        assert_eq!(text.matches("\n\n").count(), 4, "{effect}: {text}");
    }
    // A stall without an end lasts until the client leaves, and no ping is sent.
    stage.only(&json!({"do": {"stall": {"at": {"frame": 2}}}})).await;
    let mut response =
        stage.back_end().request(http::Method::POST, &path).json(&streamed("stalled")).send().await.unwrap();
    let mut text = String::new();
    while text.matches("\n\n").count() < 2 {
        text.push_str(&String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap());
    }
    stage.namespace.control.post("/clock/advance", &json!({"by": "60m"})).await.expect(200);
    drop(response);
    let entry = stage.latest().await;
    assert_eq!((&entry["answer"]["frames"], &entry["answer"]["ended"]), (&json!(2), &json!("client_left")), "{entry}");
}

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
