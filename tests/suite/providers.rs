//! Providers that users bring, and the models that are listed.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Gatelet, Program, Resource, column, form, id, on_both_engines};

const PROVIDERS: &str = "/v1/providers/";

fn providers() -> Resource {
    Resource {
        collection: PROVIDERS,
        list: PROVIDERS,
        prefix: "provider",
        keys: "id name provider_type provider_category api_key base_url access_key region api_version updated_at \
            last_synced api_key_enc access_key_enc",
        create: |number| json!({"name": format!("mine {number}"), "provider_type": "openai", "api_key": "canary"}),
        change: json!({"api_key": "canary", "region": "eu"}),
        newest_first: true,
        deleted: (200, 404),
    }
}

async fn handles(client: &Client, path: &str) -> Vec<String> {
    column(&client.get(path).await.expect(200), "handle")
}

on_both_engines! {
    async fn providers_live_their_life(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let resource = providers();
        // What is sent as a key comes back as nothing.
        let owner = server.owner();
        let made = owner.post(PROVIDERS, &(resource.create)(9)).await.expect(200);
        let url = resource.path(&id(&made));
        let changed = owner.patch(&url, &resource.change).await.expect(200);
        assert_eq!((&changed["region"], &changed["api_key"]), (&json!("eu"), &Value::Null));
        assert_eq!(owner.get(&url).await.expect(200), changed);
        let refreshed = owner.send(Method::PATCH, &format!("{url}/refresh"), None).await.expect(200);
        assert!(refreshed["last_synced"].as_str() > changed["last_synced"].as_str());
        for text in [made, changed, refreshed] {
            assert!(!text.to_string().contains("canary"), "{text}");
        }
        owner.delete(&url).await.expect(200);
        owner.delete(&url).await.refused(404, "not_found");
    }

    async fn a_provider_is_found_by_name_and_type_and_brings_its_models(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let before = handles(&owner, "/v1/models/").await;
        let one = id(&owner.post(PROVIDERS, &(providers().create)(1)).await.expect(200));
        owner.post(PROVIDERS, &(providers().create)(1)).await.refused(409, "conflict");
        let body = json!({"name": "claude", "provider_type": "anthropic", "api_key": "k", "base_url": "https://x"});
        let two = id(&owner.post(PROVIDERS, &body).await.expect(200));
        for (query, expected) in [
            ("", vec![&two, &one]),
            ("?name=claude", vec![&two]),
            ("?provider_type=openai", vec![&one]),
            ("?provider_type=groq", vec![]),
            ("?order=asc&limit=1", vec![&one]),
        ] {
            let list = owner.get(&format!("{PROVIDERS}{query}")).await.expect(200);
            assert_eq!(column(&list, "id").iter().collect::<Vec<_>>(), expected, "{query}");
        }
        let byok = handles(&owner, "/v1/models/?provider_category=byok").await;
        assert!(byok.contains(&"mine 1/gpt-4o".to_owned()) && byok.iter().any(|handle| handle.starts_with("claude/")));
        assert_eq!(handles(&owner, "/v1/models/?provider_category=base").await, before);
        assert_eq!(handles(&owner, "/v1/models/").await, [before, byok.clone()].concat());
        let of_claude = handles(&owner, "/v1/models/?provider_name=claude").await;
        assert!(!of_claude.is_empty() && of_claude.iter().all(|handle| handle.starts_with("claude/")));
        assert!(handles(&owner, "/v1/models/embedding").await.contains(&"mine 1/text-embedding-3-small".to_owned()));
        let elsewhere = owner.with("x-project-id", "elsewhere");
        assert_eq!(elsewhere.get("/v1/models/?provider_category=byok").await.expect(200), json!([]));
        // What is listed is accepted, and any model of a provider that is there.
        owner.create_agent(&json!({"model": byok[0], "embedding": "mine 1/text-embedding-3-small"})).await;
        owner.create_agent(&json!({"model": "claude/of-tomorrow"})).await;
        let agent = elsewhere.post("/v1/agents/", &json!({"model": "claude/of-tomorrow"})).await;
        agent.refused(404, "not_found");
    }

    async fn the_room_that_vectors_take_is_told_in_any_unit(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let folder = id(&owner.post("/v1/folders/", &json!({"name": "f"})).await.expect(200));
        let url = "/v1/embeddings/total_storage_size";
        assert_eq!(owner.get(url).await.expect(200), json!(0.0));
        let body = form(&[("file", Some(("a.txt", "text/plain")), b"one piece")]);
        owner.send_form(&format!("/v1/folders/{folder}/upload"), body).await.expect(200);
        for (unit, expected) in [("B", 16384.0), ("kb", 16.0), ("MB", 0.015_625)] {
            assert_eq!(owner.with("storage-unit", unit).get(url).await.expect(200), json!(expected), "{unit}");
        }
        owner.with("storage-unit", "furlong").get(url).await.refused(422, "validation_failed");
    }
}

/// An agent may have any model of a provider that Letta knows, an answer only one that is listed.
#[tokio::test]
async fn a_handle_names_a_known_provider_and_an_override_a_listed_model() {
    let open = Gatelet::ephemeral().await;
    let closed = Program::ephemeral().env("GATELET_MOCK__MODELS", "closed").start_alone().await;
    for (server, is_closed) in [(&open, false), (&closed, true)] {
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let path = format!("/v1/agents/{agent}");
        let conversation = owner.post(&format!("/v1/conversations/?agent_id={agent}"), &json!({})).await.expect(200);
        let conversation = format!("/v1/conversations/{}", conversation["id"].as_str().unwrap());
        let with = |name: &str, handle: &str| {
            let mut body = json!({"name": "n", "input": "x", "prompt": "x"});
            body[name] = json!(handle);
            body
        };
        let batch = |handle: &str| json!({"requests": [{"agent_id": agent, "input": "x", "override_model": handle}]});
        let plain = |handle: &str| {
            let mut body = with("override_model", handle);
            body["streaming"] = json!(false);
            body
        };
        for (handle, in_agents, in_overrides) in
            [("openai/gpt-4o", true, true), ("openai/of-tomorrow", !is_closed, false), ("nobody/gpt-4o", false, false)]
        {
            let outcome = |answer: Answer, is_known: bool| {
                if is_known { answer.expect(200) } else { json!(answer.refused(404, "not_found")) }
            };
            let mut new = with("model", handle);
            new["description"] = json!("d");
            outcome(owner.post("/v1/agents/", &new).await, in_agents);
            outcome(owner.patch(&path, &with("model", handle)).await, in_agents);
            outcome(owner.patch(&conversation, &json!({"model": handle})).await, in_agents);
            for (path, body) in [
                (format!("{path}/messages"), with("override_model", handle)),
                (format!("{path}/messages/async"), with("override_model", handle)),
                (format!("{conversation}/messages"), plain(handle)),
                (format!("{path}/messages/preview-raw-payload"), with("override_model", handle)),
                (format!("{path}/generate"), with("override_model", handle)),
                ("/v1/messages/batches".to_owned(), batch(handle)),
            ] {
                outcome(owner.post(&path, &body).await, in_overrides);
            }
            let stream = owner.post(&format!("{path}/messages/stream"), &with("override_model", handle)).await;
            assert_eq!(stream.status, if in_overrides { 200 } else { 404 }, "{handle}");
        }
        for (handle, is_known) in
            [("openai/text-embedding-3-large", true), ("openai/of-tomorrow", !is_closed), ("nobody/e", false)]
        {
            let status = if is_known { 200 } else { 400 };
            owner.post("/v1/agents/", &json!({"model": "openai/gpt-4o", "embedding": handle})).await.expect(status);
            owner.patch(&path, &json!({"embedding": handle})).await.expect(status);
            owner.post("/v1/archives/", &with("embedding", handle)).await.expect(status);
            let folder = json!({"name": handle.replace('/', "-"), "embedding": handle});
            owner.post("/v1/folders/", &folder).await.expect(status);
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_provider_is_named() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let check = format!("{PROVIDERS}check");
    for (path, body, field) in [
        (PROVIDERS, json!({"provider_type": "openai", "api_key": "k"}), "body.name"),
        (PROVIDERS, json!({"name": "a", "api_key": "k"}), "body.provider_type"),
        (PROVIDERS, json!({"name": "a", "provider_type": "openai"}), "body.api_key"),
        (PROVIDERS, json!({"name": "a", "provider_type": "mine", "api_key": "k"}), "body.provider_type"),
        (PROVIDERS, json!({"name": "a", "provider_type": "openai", "api_key": "k", "more": 1}), "body.more"),
        (PROVIDERS, json!({"name": "a", "provider_type": "openai", "api_key": "k", "region": 1}), "body.region"),
        (&check, json!({"provider_type": "openai"}), "body.api_key"),
    ] {
        let refused = owner.post(path, &body).await.refused(422, "validation_failed");
        assert!(refused.starts_with(field), "{refused}");
    }
    let valid = owner.post(&check, &json!({"provider_type": "openai", "api_key": "k"})).await.expect(200);
    let made = providers().create(&owner, 1).await;
    assert_eq!(owner.post(&format!("{PROVIDERS}{made}/check"), &json!({})).await.expect(200), valid);
    owner.patch(&format!("{PROVIDERS}{made}"), &json!({"region": "eu"})).await.refused(422, "validation_failed");
}
