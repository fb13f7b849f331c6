//! How responses end, and the frames of streams.

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::*;
use crate::harness::Program;

/// A mock whose model thinks for a minute before its first token; the clock stands still, so it thinks until it is advanced.
async fn slow() -> (Observed, String) {
    let program = Program::ephemeral().env("GATELET_MOCK__FIRST_TOKEN", "60s");
    let server = program.env("GATELET_TOKENS__STREAM_AT_EXPIRY", "cut").start_alone().await;
    let observed = Observed::of(server);
    observed.freeze().await;
    let agent = observed.owner.create_agent(&json!({"name": "a"})).await;
    (observed, agent)
}

fn message(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

fn streamed(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}], "streaming": true})
}

#[tokio::test]
async fn a_request_that_hangs_is_visible() {
    let (observed, agent) = slow().await;
    let path = format!("/v1/agents/{agent}/messages");
    let (owner, sent) = (observed.owner.clone(), message("Hello"));
    let request = tokio::spawn(async move { owner.post(&path, &sent).await.expect(200) });
    let entry = observed.list("operation=SendMessage&phase=decided&wait=30s").await["entries"][0].clone();
    assert_eq!((&entry["answer"], &entry["decision"]["outcome"]), (&Value::Null, &json!("admitted")), "{entry}");
    observed.advance("2m").await;
    request.await.unwrap();
    assert_eq!(observed.only("operation=SendMessage").await["phase"], "finished");
    // Of a request whose body does not arrive there is the head.
    let token = observed.owner.create_token(&agent, &["write_messages"]).await;
    for (bearer, phase, kind) in [(token.as_str(), "received", "none"), (observed.server.key(), "decided", "api_key")] {
        let after = observed.list("").await["next"].as_str().unwrap().to_owned();
        let mut socket = TcpStream::connect(observed.server.url().strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!(
            "POST /v1/agents/{agent}/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {bearer}\r\n\
             content-type: application/json\r\ncontent-length: 100\r\n{}\r\n{{\"messages\"",
            if kind == "none" { format!("origin: {ORIGIN}\r\n") } else { String::new() }
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let waiting = format!("operation=SendMessage&after={after}&phase={phase}&wait=30s");
        let entry = observed.list(&waiting).await["entries"][0].clone();
        assert_eq!((&entry["answer"], &entry["caller"]["kind"]), (&Value::Null, &json!(kind)), "{entry}");
        drop(socket);
        let query = format!("operation=SendMessage&after={after}&phase=finished&wait=30s");
        let entry = observed.list(&query).await["entries"][0].clone();
        assert_eq!(entry["answer"]["code"], "invalid_request", "{entry}");
        assert_eq!((&entry["sent"]["body"], &entry["sent"]["body_cut"]), (&json!({}), &json!(true)), "{entry}");
    }
    // Of a client that leaves before there is a response there is no status.
    let after = observed.list("").await["next"].as_str().unwrap().to_owned();
    let (client, path) = (observed.owner.clone(), format!("/v1/agents/{agent}/messages"));
    let request = tokio::spawn(async move { client.post(&path, &message("Hello")).await });
    observed.list(&format!("after={after}&phase=decided&wait=30s")).await["entries"][0].as_object().unwrap();
    request.abort();
    let entry = observed.list(&format!("after={after}&phase=finished&wait=30s")).await["entries"][0].clone();
    let answer = &entry["answer"];
    let end = (&answer["status"], &answer["ended"], &answer["by"]);
    assert_eq!(end, (&Value::Null, &json!("client_left"), &json!("client")), "{entry}");
}

/// Begins a stream and waits until it waits for its model.
async fn open(observed: &Observed, client: &Client, agent: &str, text: &str) -> (reqwest::Response, u64) {
    let request = client.request(Method::POST, &format!("/v1/agents/{agent}/messages/stream"));
    let response = request.json(&streamed(text)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let entry = response.headers()["x-gatelet-entry"].to_str().unwrap();
    let id: u64 = entry.strip_prefix("default/").unwrap().parse().unwrap();
    let entry = observed.get(&format!("/journal/{id}")).await.expect(200);
    assert_eq!((&entry["phase"], &entry["answer"]["ended"]), (&json!("answering"), &Value::Null), "{entry}");
    (response, id)
}

async fn end_of(observed: &Observed, id: u64) -> Value {
    observed.list(&format!("after={}&limit=1&phase=finished&wait=30s", id - 1)).await["entries"][0].clone()
}

#[tokio::test]
async fn it_shows_how_a_stream_ended_and_by_whom() {
    let (observed, agent) = slow().await;
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for is_two in [false, true] {
        let stranger = observed.server.stranger();
        let stranger = if is_two { stranger.over(http2.clone()) } else { stranger };
        let token = async || observed.owner.create_token(&agent, &["write_messages"]).await;
        let (whole, left, revoked, expired) = (token().await, token().await, token().await, token().await);
        let (response, id) = open(&observed, &stranger.page(&whole), &agent, "whole").await;
        observed.advance("2m").await;
        let text = response.text().await.unwrap();
        let entry = end_of(&observed, id).await;
        let frames = text.matches("\n\n").count();
        for (pointer, expected) in [
            ("/answer/ended", json!("done")),
            ("/answer/by", json!("server")),
            ("/answer/frames", json!(frames)),
            ("/answer/bytes", json!(text.len())),
        ] {
            assert_eq!(entry.pointer(pointer), Some(&expected), "{pointer} of {entry}");
        }
        let (response, id) = open(&observed, &stranger.page(&left), &agent, "left").await;
        drop(response);
        let entry = end_of(&observed, id).await;
        assert_eq!((&entry["answer"]["ended"], &entry["answer"]["by"]), (&json!("client_left"), &json!("client")));
        for (token, ends) in [(&revoked, "revoke"), (&expired, "expire")] {
            let (response, id) = open(&observed, &stranger.page(token), &agent, ends).await;
            observed.control.send(Method::POST, &format!("/tokens/{token}/{ends}")).await.expect(200);
            let entry = end_of(&observed, id).await;
            let end = (&entry["answer"]["ended"], &entry["answer"]["by"], entry["answer"]["status"].as_u64());
            assert_eq!(end, (&json!("token_ended"), &json!("server"), Some(200)), "{ends}");
            assert!(response.text().await.is_err());
        }
    }
}

#[tokio::test]
async fn the_frames_of_a_stream_are_shown_as_they_went_out() {
    let observed = Observed::new().await;
    let agent = observed.owner.create_agent(&json!({"name": "a"})).await;
    let path = format!("/v1/agents/{agent}/messages/stream");
    let answer = observed.owner.request(Method::POST, &path).json(&streamed("Hello")).send().await.unwrap();
    let answer = Answer::read(answer).await;
    let entry = observed.entry_of(&answer).await;
    let frames = observed.get(&format!("/journal/{}/frames", entry["id"])).await.expect(200);
    let frames = frames.as_array().unwrap();
    let sent: Vec<&str> = answer.text.split_inclusive("\n\n").collect();
    assert_eq!((frames.len(), &entry["answer"]["frames"]), (sent.len(), &json!(sent.len())));
    for (number, (frame, sent)) in frames.iter().zip(sent).enumerate() {
        assert_eq!((&frame["n"], &frame["bytes"]), (&json!(number), &json!(sent.len())));
        let data = sent.trim_end().split_once("data: ").unwrap().1;
        let data: Value = serde_json::from_str(data).unwrap_or_else(|_| data.into());
        assert_eq!(frame["data"], data);
        assert!(frame["ms"].is_u64());
    }
    let types: Vec<&str> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert!(types.contains(&"assistant_message") && types.ends_with(&["usage_statistics", "done"]), "{types:?}");
    // A response that is no stream has none.
    let entry = observed.entry_of(&observed.owner.get(&format!("/v1/agents/{agent}")).await).await;
    let frames = observed.get(&format!("/journal/{}/frames", entry["id"])).await.expect(200);
    assert_eq!((frames, &entry["answer"]["frames"]), (json!([]), &json!(0)));
}
