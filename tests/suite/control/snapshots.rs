//! Snapshots, copies, and what leaves the process.

use http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::harness::{Control, Namespace};
use crate::harness::{Answer, Client, Gatelet};

const MEDIA_TYPE: &str = "application/vnd.gatelet.snapshot";

/// A namespace with an agent, a message and a token.
async fn lived_in(server: &Gatelet) -> (Namespace, String, String) {
    let body = json!({"clock": {"now": "2030-01-05T09:00:00Z", "timers": "instant"}});
    let namespace = Namespace::create(server, &body).await;
    let agent = namespace.owner.create_agent(&json!({"name": "helper"})).await;
    say(&namespace.owner, &agent, "Remember the milk").await;
    let token = namespace.owner.create_token(&agent, &["read_agent", "read_messages"]).await;
    (namespace, agent, token)
}

async fn say(client: &Client, agent: &str, text: &str) -> Value {
    let body = json!({"messages": [{"role": "user", "content": text}]});
    client.post(&format!("/v1/agents/{agent}/messages"), &body).await.expect(200)
}

async fn messages(client: &Client, agent: &str) -> Value {
    client.get(&format!("/v1/agents/{agent}/messages?order=asc")).await.expect(200)
}

async fn export(control: &Client, namespace: &str, name: &str) -> Vec<u8> {
    let path = format!("/_gatelet/v1/ns/{namespace}/snapshots/{name}");
    let answer = control.request(Method::GET, &path).header("accept", MEDIA_TYPE).send().await.unwrap();
    assert_eq!((answer.status(), &answer.headers()["content-type"]), (StatusCode::OK, &MEDIA_TYPE.parse().unwrap()));
    answer.bytes().await.unwrap().to_vec()
}

async fn import(control: &Client, namespace: &str, name: &str, bytes: Vec<u8>) -> Answer {
    let path = format!("/_gatelet/v1/ns/{namespace}/snapshots/{name}");
    let request = control.request(Method::PUT, &path).header("content-type", MEDIA_TYPE).body(bytes);
    Answer::read(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn restoring_brings_back_exactly_the_snapshots_world_and_tokens() {
    let server = Gatelet::ephemeral().await;
    let (namespace, agent, token) = lived_in(&server).await;
    let (revoked, control) = (namespace.owner.create_token(&agent, &["read_agent"]).await, &namespace.control);
    namespace.owner.delete(&format!("/v1/client-side-access-tokens/{revoked}")).await;
    let before = messages(&namespace.owner, &agent).await;
    let summary = control.send(Method::PUT, "/snapshots/before").await.expect(201);
    assert_eq!((&summary["name"], &summary["counts"]["agent"]), (&json!("before"), &json!(1)), "{summary}");

    // What happens afterwards is undone.
    let next = say(&namespace.owner, &agent, "And the bread").await;
    let late = namespace.owner.create_token(&agent, &["read_agent"]).await;
    let page = |token: &str| server.stranger().page(token);
    let path = format!("/v1/agents/{agent}");
    page(&late).get(&path).await.expect(200);
    namespace.owner.delete(&format!("/v1/client-side-access-tokens/{token}")).await;
    page(&token).get(&path).await.refused(401, "token_revoked");
    control.post("/clock/advance", &json!({"by": "2m"})).await.expect(200);
    let extra = namespace.owner.create_agent(&json!({"name": "extra"})).await;

    let restored = control.send(Method::POST, "/snapshots/before/restore").await.expect(200);
    assert_eq!(restored["clock"]["now"], "2030-01-05T09:00:00.000000Z");
    assert_eq!(messages(&namespace.owner, &agent).await, before);
    namespace.owner.get(&format!("/v1/agents/{extra}")).await.refused(404, "not_found");
    page(&token).get(&path).await.expect(200);
    page(&late).get(&path).await.refused(401, "token_revoked");
    page(&revoked).get(&path).await.refused(401, "token_revoked");
    // The same again: the same ids, and a token that is another.
    assert_eq!(say(&namespace.owner, &agent, "And the bread").await, next);
    let again = namespace.owner.create_token(&agent, &["read_agent"]).await;
    page(&again).get(&path).await.expect(200);

    // Its name may be used again, and a reset leaves it.
    control.send(Method::PUT, "/snapshots/before").await.expect(200);
    control.send(Method::POST, "/reset").await.expect(200);
    control.send(Method::POST, "/snapshots/before/restore").await.expect(200);
    page(&again).get(&path).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_listed_shown_deleted_and_limited() {
    let server = Gatelet::ephemeral().await;
    let (namespace, ..) = lived_in(&server).await;
    let control = &namespace.control;
    for number in 0..16 {
        control.send(Method::PUT, &format!("/snapshots/s{number}")).await.expect(201);
    }
    control.send(Method::PUT, "/snapshots/s16").await.refused(429, "snapshots_exhausted");
    control.send(Method::PUT, "/snapshots/s3").await.expect(200);
    let listed = control.get("/snapshots").await.expect(200);
    assert_eq!(listed["snapshots"].as_array().unwrap().len(), 16);
    let shown = control.get("/snapshots/s3").await.expect(200);
    assert!(listed["snapshots"].as_array().unwrap().contains(&shown), "{shown}");
    for _ in 0..2 {
        assert_eq!(control.send(Method::DELETE, "/snapshots/s3").await.status, 204);
    }
    control.get("/snapshots/s3").await.refused(404, "snapshot_not_found");
    control.send(Method::POST, "/snapshots/s3/restore").await.refused(404, "snapshot_not_found");
    control.send(Method::PUT, "/snapshots/s16").await.expect(201);
    control.send(Method::PUT, "/snapshots/Not%20a%20name").await.refused(422, "control_invalid");
    control.put("/snapshots/s16", &json!({"of": 1})).await.refused(422, "control_invalid");
    let other = Namespace::create(&server, &json!({})).await;
    other.control.get("/snapshots/s1").await.refused(404, "snapshot_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_as_the_original_would_without_its_tokens() {
    let server = Gatelet::ephemeral().await;
    let (namespace, agent, token) = lived_in(&server).await;
    namespace.control.send(Method::PUT, "/snapshots/before").await.expect(201);
    let original = Control::of(&server.owner(), &namespace.name);
    let fork = async |body: &Value| Namespace::of(&server, original.post("/fork", body).await.expect(201));
    let copy = fork(&json!({"name": "copy"})).await;
    assert_ne!(copy.key, namespace.key);
    let original_next = say(&namespace.owner, &agent, "One more").await;
    let of_snapshot = fork(&json!({"snapshot": "before"})).await;
    for copy in [&copy, &of_snapshot] {
        assert_eq!(say(&copy.owner, &agent, "One more").await, original_next);
        copy.control.send(Method::POST, "/reset").await.expect(200);
        assert_eq!(say(&copy.owner, &agent, "One more").await, original_next);
        let path = format!("/v1/agents/{agent}");
        assert_eq!(copy.owner.get("/v1/client-side-access-tokens").await.expect(200)["tokens"], json!([]));
        server
            .stranger()
            .page(&token)
            .with("x-gatelet-namespace", &copy.name)
            .get(&path)
            .await
            .refused(400, "namespace_mismatch");
        let own = copy.owner.create_token(&agent, &["read_agent"]).await;
        copy.owner.patch(&path, &json!({"name": copy.name})).await.expect(200);
        assert_eq!(server.stranger().page(&own).get(&path).await.expect(200)["name"], *copy.name);
    }
    assert_eq!(server.stranger().page(&token).get(&format!("/v1/agents/{agent}")).await.expect(200)["name"], "helper");
    original.post("/fork", &json!({"name": "copy"})).await.refused(409, "namespace_exists");
    original.post("/fork", &json!({"snapshot": "after"})).await.refused(404, "snapshot_not_found");
    original.post("/fork", &json!({"seed": {}})).await.refused(422, "control_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_snapshot_has_no_credential_and_can_be_imported_elsewhere() {
    let server = Gatelet::ephemeral().await;
    let (namespace, agent, token) = lived_in(&server).await;
    namespace.control.send(Method::PUT, "/snapshots/s").await.expect(201);
    let bytes = export(&namespace.owner, "-", "s").await;
    let key_id = namespace.control.get("").await.expect(200)["key_id"].as_str().unwrap().to_owned();
    let claims = token.split('.').collect::<Vec<_>>();
    let hash = ring_sha256(namespace.key.as_bytes());
    let secrets = [namespace.key.as_bytes(), claims[1].as_bytes(), claims[2].as_bytes(), key_id.as_bytes(), &hash[..]];
    for secret in secrets {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
    assert!(bytes.windows(17).any(|window| window == b"Remember the milk"));

    let elsewhere = Gatelet::ephemeral().await;
    let other = Namespace::create(&elsewhere, &json!({})).await;
    let imported = import(&other.owner, "-", "there", bytes.clone()).await.expect(201);
    assert_eq!((&imported["counts"]["agent"], imported["counts"].get("client_token")), (&json!(1), None));
    other.control.send(Method::POST, "/snapshots/there/restore").await.expect(200);
    assert_eq!(messages(&other.owner, &agent).await, messages(&namespace.owner, &agent).await);
    assert_eq!(other.control.get("/clock").await.expect(200)["now"], "2030-01-05T09:00:00.000000Z");
    elsewhere.stranger().page(&token).get(&format!("/v1/agents/{agent}")).await.refused(401, "bearer_invalid");
    let own = other.owner.create_token(&agent, &["read_agent"]).await;
    elsewhere.stranger().page(&own).get(&format!("/v1/agents/{agent}")).await.expect(200);
    assert_eq!(say(&other.owner, &agent, "More").await, say(&namespace.owner, &agent, "More").await);
    import(&other.owner, "-", "there", bytes).await.expect(200);
}

fn ring_sha256(bytes: &[u8]) -> [u8; 32] {
    gatelet::credentials::sha256(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_snapshot_of_ours_are_refused() {
    let server = Gatelet::ephemeral().await;
    let (namespace, ..) = lived_in(&server).await;
    namespace.control.send(Method::PUT, "/snapshots/s").await.expect(201);
    let good = export(&namespace.owner, "-", "s").await;
    let line = good.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let newer = [b"gatelet snapshot 2\n", &good[line..]].concat();
    let database = good.windows(15).position(|window| window == b"SQLite format 3").unwrap();
    let replaced = |from: &str, to: &str| {
        // Pages may have leftovers of it beside the text that counts.
        let mut bytes = good.clone();
        for at in 0..good.len() - from.len() {
            if good[at..].starts_with(from.as_bytes()) {
                bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
            }
        }
        assert_ne!(bytes, good);
        bytes
    };
    let mut cases = vec![
        Vec::new(),
        b"{}".to_vec(),
        newer,
        good[..good.len() - 1].to_vec(),
        good[..database].to_vec(),
        good[..line + 2].to_vec(),
        good[database..].to_vec(),
        [&good[..], b"more"].concat(),
        [&good[..line], &u32::MAX.to_be_bytes(), &good[line + 4..]].concat(),
        replaced("\"world\"", "\"whirl\""),
        replaced("CREATE TABLE links", "CREATE TABLE lynks"),
        replaced("CREATE INDEX", "CREATE VIEW "),
    ];
    // The pages of the database, torn.
    for at in (database + 100..good.len()).step_by((good.len() - database) / 40) {
        let mut torn = good.clone();
        let end = (at + 64).min(torn.len());
        torn[at..end].fill(0xff);
        cases.push(torn);
    }
    for (case, bytes) in cases.into_iter().enumerate() {
        let refused = import(&namespace.owner, "-", "bad", bytes).await;
        // Some pages are unused, or hold the text of a message.
        if refused.status != 201 || case < 12 {
            assert_eq!(refused.outcome(), "409 snapshot_incompatible", "{case}: {}", refused.text);
        } else {
            namespace.control.send(Method::DELETE, "/snapshots/bad").await;
        }
    }
    let large = import(&namespace.owner, "-", "bad", vec![b'g'; 73 * 1024 * 1024]).await;
    large.refused(413, "body_too_large");
    namespace.owner.get("/v1/agents/").await.expect(200);
    // A type that a page could send without asking is not taken.
    let path = "/_gatelet/v1/ns/-/snapshots/bad";
    let request = namespace.owner.request(Method::PUT, path).header("content-type", "application/octet-stream");
    Answer::read(request.body(good).send().await.unwrap()).await.refused(415, "unsupported_media_type");
}
