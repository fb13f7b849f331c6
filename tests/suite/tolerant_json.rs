//! Bodies that are JSON for Letta's server, but not for every reader.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Gatelet, NOBODY, USER_AGENT, Upstream, form, raw};

const JSON: &str = "application/json";

async fn send(client: &Client, method: Method, path: &str, body: Vec<u8>) -> Answer {
    Answer::read(client.request(method, path).header("content-type", JSON).body(body).send().await.unwrap()).await
}

/// Bodies with the text that a reader of UTF-8 finds in their member `name`.
fn bodies() -> [(Vec<u8>, &'static str); 5] {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [
        (br#"{"name": "a\ud83c"}"#.to_vec(), "a\u{fffd}"),
        (br#"{"name": "\udf89\ud83c\udf89"}"#.to_vec(), "\u{fffd}\u{1f389}"),
        (b"\xef\xbb\xbf{\"name\": \"b\"}".to_vec(), "b"),
        (utf16("{\"name\": \"\u{e9}\"}"), "\u{e9}"),
        (br#"{"name": "c", "metadata": {"x": NaN}}"#.to_vec(), "c"),
    ]
}

#[tokio::test]
async fn the_mock_reads_what_letta_reads() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let page = server.stranger().page(&owner.create_token(&agent, &["read_agent", "write_agent"]).await);
    let path = format!("/v1/agents/{agent}");
    for client in [&owner, &page] {
        for (body, name) in bodies() {
            let changed = send(client, Method::PATCH, &path, body).await.expect(200);
            assert_eq!(changed["name"], name);
        }
        let said = send(client, Method::PATCH, &path, br#"{"name": nan}"#.to_vec()).await;
        said.refused(422, "validation_failed");
        assert_eq!(client.get(&path).await.expect(200)["metadata"], json!({"x": null}));
    }
    let twice = br#"{"name": "\ud83c", "name": "y"}"#.to_vec();
    send(&page, Method::PATCH, &path, twice).await.refused(400, "invalid_request");

    let mut file = owner.get(&format!("{path}/export")).await.expect(200);
    file["agents"][0]["description"] = json!("HALF");
    let file = file.to_string().replace("HALF", "\\ud83c");
    let made = owner
        .send_form("/v1/agents/import", form(&[("file", Some(("a.af", JSON)), file.as_bytes())]))
        .await
        .expect(200);
    let made = owner.get(&format!("/v1/agents/{}", made["agent_ids"][0].as_str().unwrap())).await.expect(200);
    assert_eq!(made["description"], "\u{fffd}");
}

/// What passed the guard is written anew, so an upstream need not be tolerant.
#[tokio::test]
async fn a_gateway_passes_on_what_it_has_read() {
    let upstream = Upstream::start().await;
    let agent = upstream.agent();
    let server = upstream.gateway().await;
    let token = server.owner().create_token(&agent, &["read_agent", "write_agent"]).await;
    let page = server.stranger().page(&token).with("user-agent", USER_AGENT);
    let path = format!("/v1/agents/{agent}");
    let state = json!({"id": agent, "name": "a"}).to_string();
    upstream.answer("PATCH", &path, raw(200, &[("content-type", JSON)], state));
    for (body, name) in bodies() {
        send(&page, Method::PATCH, &path, body).await.expect(200);
        let heard: Value = serde_json::from_str(upstream.take_passed().text()).unwrap();
        assert_eq!(heard["name"], name);
    }
    let foreign = format!("/v1/agents/{NOBODY}");
    send(&page, Method::PATCH, &foreign, bodies()[0].0.clone()).await.refused(403, "agent_not_in_policy");
}
