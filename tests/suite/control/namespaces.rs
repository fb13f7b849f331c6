//! Namespaces: each is a world of its own, and what is done to one leaves the others alone.

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use super::harness::{Control, Namespace};
use crate::harness::{Answer, Client, Gatelet, NOBODY, Program, eventually};

const NS: &str = "/_gatelet/v1/ns";
const SOON: Duration = Duration::from_secs(20);

/// A clock that stands still and lets no pause pass, so that two runs are the same.
fn still() -> Value {
    json!({"now": "2030-01-05T09:00:00Z", "timers": "instant"})
}

/// A user's conversation with an agent of its own, step by step. Each step's answer is kept as text.
#[derive(Default)]
struct Conversation {
    name: String,
    agent: String,
    answers: Vec<String>,
}

impl Conversation {
    const STEPS: usize = 7;

    fn of(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    async fn step(&mut self, client: &Client) {
        let agent = format!("/v1/agents/{}", self.agent);
        let input = json!({"messages": [{"role": "user", "content": format!("Hello from {}", self.name)}]});
        let answer = match self.answers.len() {
            0 => {
                let blocks = json!([{"label": "human", "value": self.name}]);
                let body = json!({"name": self.name, "model": "openai/gpt-4o-mini", "memory_blocks": blocks});
                let answer = client.post("/v1/agents/", &body).await;
                answer.expect(200)["id"].as_str().unwrap().clone_into(&mut self.agent);
                answer
            }
            1 => client.post(&format!("{agent}/messages"), &input).await,
            2 => client.post(&format!("{agent}/messages/stream"), &input).await,
            3 => client.get(&format!("{agent}/messages?order=asc")).await,
            4 => client.post(&format!("{agent}/archival-memory"), &json!({"text": "Tea."})).await,
            5 => client.get(&agent).await,
            _ => client.get(&format!("/v1/agents/{NOBODY}")).await,
        };
        let text = match answer.header("x-request-id") {
            Some(request) => answer.text.replace(request, "REQUEST"),
            None => answer.text,
        };
        self.answers.push(format!("{} {text}", answer.status));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_and_requests_give_the_same_bytes_in_any_order() {
    let server = Gatelet::ephemeral().await;
    let mut expected: Option<Vec<Vec<String>>> = None;
    for interleaving in 0..8_usize {
        let names = [format!("one-{interleaving}"), format!("other-{interleaving}")];
        let mut pair = Vec::new();
        for name in &names {
            pair.push(Namespace::create(&server, &json!({"name": name, "ids": "same", "clock": still()})).await);
        }
        let mut conversations: Vec<Vec<Conversation>> =
            pair.iter().map(|_| ["ada", "bob", "cyd"].map(Conversation::of).into()).collect();
        // Whose turn it is, by a different rule each time; at last all at once.
        if interleaving == 7 {
            let all = conversations.iter_mut().zip(&pair).flat_map(|(conversations, namespace)| {
                conversations.iter_mut().map(async |conversation| {
                    for _ in 0..Conversation::STEPS {
                        conversation.step(&namespace.owner).await;
                    }
                })
            });
            join_all(all).await;
        }
        let mut turn = interleaving;
        while conversations.iter().flatten().any(|conversation| conversation.answers.len() < Conversation::STEPS) {
            turn = (turn * 5 + interleaving + 1) % 6_007;
            let (namespace, user) = (turn % 2, turn / 2 % 3);
            let conversation = &mut conversations[namespace][user];
            if conversation.answers.len() < Conversation::STEPS {
                conversation.step(&pair[namespace].owner).await;
            } else {
                turn += 1;
            }
        }
        for conversations in conversations {
            let answers: Vec<_> = conversations.into_iter().map(|conversation| conversation.answers).collect();
            let expected = expected.get_or_insert_with(|| answers.clone());
            for (expected, found) in expected.iter().flatten().zip(answers.iter().flatten()) {
                let same = expected.bytes().zip(found.bytes()).take_while(|(one, other)| one == other).count();
                let around = |text: &str| text.chars().skip(same.saturating_sub(80)).take(160).collect::<String>();
                assert!(expected == found, "{interleaving}: {} for {}", around(found), around(expected));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_one_namespace_is_seen_in_another() {
    let server = Gatelet::ephemeral().await;
    let (one, other) = (Namespace::create(&server, &json!({})).await, Namespace::create(&server, &json!({})).await);
    let agent = one.owner.create_agent(&json!({"name": "only here"})).await;
    let token = one.owner.create_token(&agent, &["read_agent"]).await;
    let path = format!("/v1/agents/{agent}");
    for stranger in [&other.owner, &server.owner()] {
        assert_eq!(stranger.get("/v1/agents/").await.expect(200), json!([]));
        let missing = stranger.get(&path).await.refused(404, "not_found");
        assert_eq!(
            missing.replace(&agent, NOBODY),
            stranger.get(&format!("/v1/agents/{NOBODY}")).await.refused(404, "not_found")
        );
        assert_eq!(stranger.get("/v1/client-side-access-tokens").await.expect(200)["tokens"], json!([]));
        stranger.delete(&path).await.refused(404, "not_found");
    }
    for stranger in [other.control.get("/journal").await, Control::of_default(&server).get("/journal").await] {
        assert!(!stranger.text.contains("only here"), "{}", stranger.text);
    }
    // The token says where it belongs.
    assert_eq!(server.stranger().page(&token).get(&path).await.expect(200)["name"], "only here");
    server
        .stranger()
        .page(&token)
        .with("x-gatelet-namespace", &other.name)
        .get(&path)
        .await
        .refused(400, "namespace_mismatch");
    one.owner.get(&path).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_to_which_namespace_it_belongs() {
    let server = Gatelet::ephemeral().await;
    let namespace = Namespace::create(&server, &json!({"name": "w1"})).await;
    let agent = namespace.owner.create_agent(&json!({})).await;
    let path = format!("/v1/agents/{agent}");
    let by_header = |name: &str| server.owner().with("x-gatelet-namespace", name);
    by_header("w1").get(&path).await.expect(200);
    by_header("default").get(&path).await.refused(404, "not_found");
    by_header("w2").get(&path).await.refused(404, "namespace_not_found");
    server.owner().get(&path).await.refused(404, "not_found");
    namespace.owner.with("x-gatelet-namespace", "w1").get(&path).await.expect(200);
    namespace.owner.with("x-gatelet-namespace", "default").get(&path).await.refused(400, "namespace_mismatch");
    by_header("w1").with("x-gatelet-namespace", "w1").get(&path).await.refused(400, "namespace_mismatch");
    // A stranger does not learn which names exist.
    let stranger = server.stranger().bearer("sk-let-00000000000000000000");
    let refusals = ["w1", "w2"].map(|name| stranger.with("x-gatelet-namespace", name));
    for refused in refusals {
        refused.get(&path).await.refused(401, "bearer_invalid");
    }
    // The key of the server mints tokens there as the namespace's own key does.
    let token = by_header("w1").create_token(&agent, &["read_agent"]).await;
    server.stranger().page(&token).get(&path).await.expect(200);

    let strict = Program::ephemeral().env("GATELET_CONTROL__REQUIRE_NAMESPACE", "true").start_alone().await;
    let namespace = Namespace::create(&strict, &json!({})).await;
    strict.owner().get("/v1/agents/").await.refused(403, "namespace_required");
    namespace.owner.get("/v1/agents/").await.expect(200);
    strict.owner().with("x-gatelet-namespace", "default").get("/v1/agents/").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_created_with_everything_in_one_call() {
    let server = Gatelet::ephemeral().await;
    let body = json!({
        "name": "chat-7f3a", "ids": "count", "clock": {"now": "2026-01-05T09:00:00Z"}, "idle_ttl": "10m",
        "limits": {"requests_per_minute": 2}, "api_key": null,
        "seed": {
            "agent": [{"ref": "helper", "name": "helper", "model": "openai/gpt-4o-mini"}],
            "token": [{"ref": "page", "agent": "helper", "access": ["read_agent"], "hostname": "https://app.example"}],
        },
    });
    let created = server.owner().post(NS, &body).await.expect(201);
    assert_eq!((&created["name"], &created["base_url"]), (&json!("chat-7f3a"), &json!(server.url())));
    assert_eq!(created["clock"]["now"], "2026-01-05T09:00:00.000000Z");
    assert_eq!(created["refs"]["helper"], "agent-00000000-0000-4000-8000-000000000001");
    let path = format!("/v1/agents/{}", created["refs"]["helper"].as_str().unwrap());
    let key = created["api_key"].as_str().unwrap();
    assert!(key.starts_with("sk-let-test"), "{key}");
    assert_eq!(server.stranger().bearer(key).get(&path).await.expect(200)["created_at"], "2026-01-05T09:00:00.000000Z");
    let page = server.stranger().page(created["tokens"]["page"]["token"].as_str().unwrap());
    page.get(&path).await.expect(200);
    page.get(&path).await.expect(200);
    page.get(&path).await.refused(429, "rate_limited");

    let own = Control::of(&server.stranger().bearer(key), "-");
    let shown = own.get("").await.expect(200);
    let by_server = Control::of(&server.owner(), "chat-7f3a").get("").await.expect(200);
    for field in ["name", "key_id", "counts", "refs", "created_at", "snapshots", "persistent"] {
        assert_eq!(shown[field], by_server[field], "{field}");
    }
    assert_eq!(
        (&shown["name"], &shown["ids"], &shown["idle_ttl"]),
        (&json!("chat-7f3a"), &json!("count"), &json!("10m"))
    );
    assert_eq!(
        (&shown["counts"]["agent"], &shown["counts"]["client_token"], &shown["streams"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!((&shown["refs"], shown.get("api_key")), (&created["refs"], None));
    let listed = server.owner().get(NS).await.expect(200);
    let names: Vec<&str> =
        listed["namespaces"].as_array().unwrap().iter().map(|ns| ns["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["chat-7f3a", "default"]);
    // TOML says the same.
    let request = server.owner().request(Method::POST, NS).header("content-type", "application/toml");
    let created = request.body("name = \"toml\"\nids = \"random\"\n[[seed.agent]]\nref = \"a\"\nname = \"a\"\nmodel = \"openai/gpt-4o-mini\"\n");
    let created = Answer::read(created.send().await.unwrap()).await.expect(201);
    assert!(created["refs"]["a"].as_str().unwrap().starts_with("agent-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_creation_is_said_and_nothing_stays() {
    let server = Program::ephemeral().env("GATELET_CONTROL__NAMESPACES", "3").start_alone().await;
    let owner = server.owner();
    let agent = json!({"ref": "a", "name": "a", "model": "openai/gpt-4o-mini"});
    for (body, status, code, at) in [
        (json!({"name": "Upper"}), 422, "control_invalid", "/name"),
        (json!({"name": ""}), 422, "control_invalid", "/name"),
        (json!({"name": "-"}), 422, "control_invalid", "/name"),
        (json!({"name": "a".repeat(65)}), 422, "control_invalid", "/name"),
        (json!({"name": "default"}), 409, "namespace_exists", "/name"),
        (json!({"nam": "a"}), 422, "control_invalid", "/nam"),
        (json!({"ids": ""}), 422, "control_invalid", "/ids"),
        (json!({"idle_ttl": "soon"}), 422, "control_invalid", "/idle_ttl"),
        (json!({"idle_ttl": "0s"}), 422, "control_invalid", "/idle_ttl"),
        (json!({"api_key": "sk-let-0123456789abcdef"}), 422, "control_invalid", "/api_key"),
        (json!({"limits": {"requests": 1}}), 422, "control_invalid", "/limits/requests"),
        (json!({"clock": {"now": "yesterday"}}), 422, "control_invalid", "/clock/now"),
        (json!({"if_exists": "maybe"}), 422, "control_invalid", "/if_exists"),
        (json!({"seed": {"agent": [agent, {"name": 7}]}}), 422, "seed_invalid", "/seed/agent/1/name"),
        (json!({"seed": {"agents": []}}), 422, "seed_invalid", "/seed/agents"),
    ] {
        let mut named = body.clone();
        if named.get("name").is_none() {
            named["name"] = json!("w1");
        }
        let refused = owner.post(NS, &named).await;
        refused.refused(status, code);
        let place = refused.expect(status)["at"].as_str().unwrap_or_default().to_owned();
        assert!(place == at || place.starts_with("line"), "{body}: {place} for {at}: {}", refused.text);
        assert_eq!(owner.get(NS).await.expect(200)["namespaces"].as_array().unwrap().len(), 1, "{body}");
    }
    // As many as there may be; the next is refused, and none is sacrificed for it.
    let key = owner.post(NS, &json!({"name": "w1"})).await.expect(201)["api_key"].as_str().unwrap().to_owned();
    owner.post(NS, &json!({})).await.expect(201);
    owner.post(NS, &json!({"name": "w3"})).await.refused(429, "namespaces_exhausted");
    owner.get(&format!("{NS}/w1")).await.expect(200);
    owner.post(NS, &json!({"name": "w1"})).await.refused(409, "namespace_exists");
    owner.delete(&format!("{NS}/w1")).await;
    // The key of one that is gone can be given to another.
    owner.post(NS, &json!({"name": "w3", "api_key": key})).await.expect(201);
    owner.post(NS, &json!({"name": "w4", "api_key": key})).await.refused(429, "namespaces_exhausted");
    server.stranger().bearer(&key).get("/v1/agents/").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_exists_is_refused_kept_or_begun_anew() {
    let server = Gatelet::ephemeral().await;
    let seed = json!({"agent": [{"ref": "a", "name": "a", "model": "openai/gpt-4o-mini"}]});
    let first = Namespace::create(&server, &json!({"name": "w1"})).await;
    let agent = first.owner.create_agent(&json!({})).await;
    let token = first.owner.create_token(&agent, &["read_agent"]).await;
    let path = format!("/v1/agents/{agent}");
    let kept = server.owner().post(NS, &json!({"name": "w1", "if_exists": "keep", "seed": seed})).await.expect(200);
    assert_eq!(kept["api_key"], *first.key);
    first.owner.get(&path).await.expect(200);
    let other_key = json!("sk-let-test00000000000000000000");
    let wrong = server.owner().post(NS, &json!({"name": "w1", "if_exists": "keep", "api_key": other_key})).await;
    assert!(["409 namespace_exists", "422 control_invalid"].contains(&&*wrong.outcome()), "{}", wrong.text);

    let anew = server.owner().post(NS, &json!({"name": "w1", "if_exists": "reset", "seed": seed})).await.expect(201);
    assert_eq!(anew["api_key"], *first.key);
    first.owner.get(&path).await.refused(404, "not_found");
    first.owner.get(&format!("/v1/agents/{}", anew["refs"]["a"].as_str().unwrap())).await.expect(200);
    server.stranger().page(&token).get(&path).await.refused(401, "bearer_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_namespace_reaches_only_that() {
    let server = Gatelet::ephemeral().await;
    let (one, other) = (Namespace::create(&server, &json!({})).await, Namespace::create(&server, &json!({})).await);
    one.control.get("").await.expect(200);
    Control::of(&one.owner, &one.name).get("").await.expect(200);
    let others = Control::of(&one.owner, &other.name);
    for refused in [
        others.get("").await,
        others.send(Method::DELETE, "").await,
        others.send(Method::POST, "/reset").await,
        others.put("/snapshots/s", &json!({})).await,
        Control::of(&one.owner, "default").get("").await,
        one.owner.get(NS).await,
        one.owner.post(NS, &json!({})).await,
        one.control.send(Method::POST, "/fork").await,
    ] {
        refused.refused(403, "control_not_allowed");
    }
    let agent = one.owner.create_agent(&json!({})).await;
    let token = one.owner.create_token(&agent, &["read_agent"]).await;
    Control::of(&server.stranger().bearer(&token), "-").get("").await.refused(403, "control_not_allowed");
    Control::of(&server.stranger(), "-").get("").await.refused(401, "bearer_missing");
    Control::of(&server.owner(), "nobody").get("").await.refused(404, "namespace_not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_a_new_world_and_the_key_goes_on() {
    let server = Gatelet::ephemeral().await;
    let seed = json!({
        "agent": [{"ref": "helper", "name": "helper", "model": "openai/gpt-4o-mini"}],
        "token": [{"ref": "page", "agent": "helper", "access": ["read_agent"], "hostname": "https://app.example"}],
    });
    let body = json!({"seed": seed, "clock": {"now": "2030-01-05T09:00:00Z", "timers": "virtual"}});
    let namespace = Namespace::create(&server, &body).await;
    let helper = namespace.created["refs"]["helper"].as_str().unwrap().to_owned();
    let path = format!("/v1/agents/{helper}");
    let before = namespace.owner.get(&path).await.expect(200);
    let tokens = [
        namespace.created["tokens"]["page"]["token"].as_str().unwrap().to_owned(),
        namespace.owner.create_token(&helper, &["read_agent", "write_messages"]).await,
    ];
    namespace.owner.patch(&path, &json!({"name": "changed"})).await.expect(200);
    let extra = namespace.owner.create_agent(&json!({})).await;
    let mut streams = Vec::new();
    for (client, agent) in [(namespace.owner.clone(), &extra), (server.stranger().page(&tokens[1]), &helper)] {
        let body =
            json!({"messages": [{"role": "user", "content": "[[slow:60000]] one two three"}], "stream_tokens": true});
        let path = format!("/v1/agents/{agent}/messages/stream");
        let stream = client.request(Method::POST, &path).json(&body).send().await.unwrap();
        assert_eq!(stream.status(), 200);
        streams.push(stream);
    }
    let pauses = async || !namespace.control.get("/clock").await.expect(200)["pending"].as_array().unwrap().is_empty();
    eventually("a turn pauses", SOON, pauses).await;
    assert_eq!(namespace.control.get("").await.expect(200)["streams"], 2);
    namespace.control.post("/clock/advance", &json!({"by": "10s"})).await.expect(200);

    let reset = namespace.control.send(Method::POST, "/reset").await.expect(200);
    assert_eq!((&reset["dropped"]["agent"], &reset["dropped"]["client_token"]), (&json!(2), &json!(2)), "{reset}");
    assert_eq!(
        (&reset["refs"]["helper"], &reset["clock"]["now"]),
        (&json!(helper), &json!("2030-01-05T09:00:00.000000Z"))
    );
    for mut stream in streams {
        let broken_off = async {
            loop {
                match stream.chunk().await {
                    Ok(Some(_)) => {}
                    end => return end.is_err(),
                }
            }
        };
        assert!(tokio::time::timeout(SOON, broken_off).await.expect("an end"), "broken off, not ended");
    }
    assert_eq!(namespace.owner.get(&path).await.expect(200), before);
    namespace.owner.get(&format!("/v1/agents/{extra}")).await.refused(404, "not_found");
    assert_eq!(namespace.owner.get("/v1/runs/").await.expect(200), json!([]));
    for token in &tokens {
        server.stranger().page(token).get(&path).await.refused(401, "bearer_invalid");
    }
    // The token of the seed is issued anew.
    server.stranger().page(reset["tokens"]["page"]["token"].as_str().unwrap()).get(&path).await.expect(200);
    let shown = namespace.control.get("").await.expect(200);
    assert_eq!((&shown["streams"], &shown["counts"]["agent"]), (&json!(0), &json!(1)));
    assert_eq!(shown["clock"]["pending"].as_array().unwrap().len(), 1, "the new token's expiry");
    // What is made after a reset has the ids that it had before.
    assert_eq!(namespace.owner.create_agent(&json!({})).await, extra);

    let empty = namespace.control.post("/reset", &json!({"to": "empty"})).await.expect(200);
    assert_eq!((&empty["refs"], &empty["tokens"]), (&json!({}), &json!({})));
    assert_eq!(namespace.owner.get("/v1/agents/").await.expect(200), json!([]));
    for (body, at) in
        [(json!({"to": "full"}), "/to"), (json!({"keep": ["money"]}), "/keep/0"), (json!({"from": 1}), "/from")]
    {
        let refused = namespace.control.post("/reset", &body).await;
        refused.refused(422, "control_invalid");
        assert_eq!(refused.expect(422)["at"], at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_keeps_the_journal_only_if_told_to() {
    let server = Gatelet::ephemeral().await;
    let namespace = Namespace::create(&server, &json!({})).await;
    namespace.owner.get("/v1/agents/").await.expect(200);
    let entries = async || namespace.control.get("/journal").await.expect(200)["entries"].as_array().unwrap().len();
    let kept = namespace.control.post("/reset", &json!({"keep": ["journal"]})).await.expect(200);
    assert_eq!((kept["dropped"].get("journal_entry"), entries().await), (None, 1));
    let reset = namespace.control.send(Method::POST, "/reset").await.expect(200);
    assert_eq!((&reset["dropped"]["journal_entry"], entries().await), (&json!(1), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_is_idempotent_and_its_bearers_learn_why_they_are_refused() {
    let server = Gatelet::ephemeral().await;
    let namespace = Namespace::create(&server, &json!({"name": "w1"})).await;
    let agent = namespace.owner.create_agent(&json!({})).await;
    let token = namespace.owner.create_token(&agent, &["read_agent"]).await;
    let path = format!("{NS}/w1");
    for _ in 0..2 {
        let deleted = server.owner().delete(&path).await;
        assert_eq!((deleted.status.as_u16(), &*deleted.text), (204, ""));
    }
    server.owner().get(&path).await.refused(404, "namespace_not_found");
    for bearer in [&namespace.key, &token] {
        let refused = server.stranger().page(bearer).get(&format!("/v1/agents/{agent}")).await;
        assert!(refused.refused(401, "bearer_invalid").contains("namespace"), "{}", refused.text);
        assert!(refused.header("access-control-allow-origin").is_some(), "the page can read it");
    }
    assert!(namespace.control.get("").await.refused(401, "bearer_invalid").contains("deleted"));
    let anew = Namespace::create(&server, &json!({"name": "w1", "api_key": namespace.key})).await;
    anew.owner.get("/v1/agents/").await.expect(200);
    server.stranger().page(&token).get(&format!("/v1/agents/{agent}")).await.refused(401, "bearer_invalid");
    // A namespace's own key may delete it.
    assert_eq!(anew.control.send(Method::DELETE, "").await.status, 204);
    server.owner().delete(&format!("{NS}/default")).await.refused(409, "namespace_persistent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_namespace_goes_unless_it_is_used_or_has_an_open_stream() {
    let server = Gatelet::ephemeral().await;
    let idle = Namespace::create(&server, &json!({"idle_ttl": "1s"})).await;
    let never = Namespace::create(&server, &json!({"idle_ttl": "never"})).await;
    let streaming =
        Namespace::create(&server, &json!({"idle_ttl": "1s", "clock": {"now": "2030-01-05T09:00:00Z"}})).await;
    let agent = streaming.owner.create_agent(&json!({})).await;
    let body =
        json!({"messages": [{"role": "user", "content": "[[slow:60000]] one two three"}], "stream_tokens": true});
    let path = format!("/v1/agents/{agent}/messages/stream");
    let stream = streaming.owner.request(Method::POST, &path).json(&body).send().await.unwrap();
    let names = async || server.owner().get(NS).await.text;
    eventually("the idle one goes", SOON, async || !names().await.contains(&idle.name)).await;
    assert!(names().await.contains(&streaming.name) && names().await.contains(&never.name));
    let refused = idle.owner.get("/v1/agents/").await.refused(401, "bearer_invalid");
    assert!(refused.contains("idle_ttl"), "{refused}");
    drop(stream);
    eventually("the other goes once its stream has ended", SOON, async || !names().await.contains(&streaming.name))
        .await;
    never.owner.get("/v1/agents/").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_on_disk_is_left_alone_and_has_namespaces_in_memory() {
    let server = Gatelet::on(crate::harness::Engine::Sqlite).await;
    let agent = server.owner().create_agent(&json!({})).await;
    let default = Control::of_default(&server);
    assert_eq!(default.get("").await.expect(200)["persistent"], true);
    for (method, path) in [
        (Method::POST, "/reset"),
        (Method::PUT, "/snapshots/s"),
        (Method::POST, "/snapshots/s/restore"),
        (Method::POST, "/fork"),
        (Method::PUT, "/seed"),
        (Method::PUT, "/clock"),
        (Method::POST, "/clock/advance"),
    ] {
        default.send(method, path).await.refused(409, "namespace_persistent");
    }
    server.owner().get(&format!("/v1/agents/{agent}")).await.expect(200);
    let namespace = Namespace::create(&server, &json!({"name": "w1"})).await;
    assert_eq!(namespace.owner.get("/v1/agents/").await.expect(200), json!([]));
    namespace.owner.create_agent(&json!({})).await;
    server
        .owner()
        .with("x-gatelet-namespace", "w1")
        .get(&format!("/v1/agents/{agent}"))
        .await
        .refused(404, "not_found");
    assert_eq!(server.owner().get("/v1/agents/").await.expect(200).as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_namespace_in_memory_is_reset_and_keeps_the_servers_keys() {
    let server = Gatelet::ephemeral().await;
    let agent = server.owner().create_agent(&json!({})).await;
    let token = server.owner().create_token(&agent, &["read_agent"]).await;
    Control::of_default(&server).send(Method::POST, "/reset").await.expect(200);
    assert_eq!(server.owner().get("/v1/agents/").await.expect(200), json!([]));
    server.stranger().page(&token).get(&format!("/v1/agents/{agent}")).await.refused(401, "bearer_invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_one_name_at_the_same_time_end_in_one_of_their_orders() {
    let server = Program::ephemeral().env("GATELET_CONTROL__NAMESPACES", "4").start_alone().await;
    let owner = server.owner();
    let seed = json!({"agent": [{"ref": "a", "name": "a", "model": "openai/gpt-4o-mini"}]});
    for round in 0..12 {
        let calls = (0..12).map(async |call| {
            let body = match (call + round) % 4 {
                0 => json!({"name": "w1", "seed": seed}),
                1 => json!({"name": "w1", "if_exists": "reset", "seed": seed}),
                2 => json!({"name": "w1", "if_exists": "keep", "seed": seed}),
                _ => Value::Null,
            };
            let answer = match call % 3 {
                0 => owner.delete(&format!("{NS}/w1")).await,
                1 if body.is_null() => owner.send(Method::POST, &format!("{NS}/w1/reset"), None).await,
                _ => owner.post(NS, if body.is_null() { &seed } else { &body }).await,
            };
            assert!(!answer.status.is_server_error(), "{}", answer.text);
            (answer.status.as_u16() == 201).then(|| answer.expect(201))
        });
        let created: Vec<Value> = join_all(calls).await.into_iter().flatten().collect();
        // Whatever was last: the namespace is whole or not there, and of its keys those that live reach it.
        let shown = owner.get(&format!("{NS}/w1")).await;
        match shown.status.as_u16() {
            200 => assert_eq!(shown.expect(200)["counts"]["agent"], 1, "{}", shown.text),
            _ => _ = shown.refused(404, "namespace_not_found"),
        }
        let mut live = 0;
        for created in created {
            let client = server.stranger().bearer(created["api_key"].as_str().unwrap());
            let answer = client.get("/v1/agents/").await;
            match answer.status.as_u16() {
                200 => live += 1,
                _ => _ = answer.refused(401, "bearer_invalid"),
            }
        }
        assert!(live == 0 || shown.status == 200, "a key without a namespace");
        let names = owner.get(NS).await.expect(200)["namespaces"].as_array().unwrap().len();
        assert!(names <= 2, "{names}");
        owner.delete(&format!("{NS}/w1")).await;
    }
    // No reservation is left behind.
    for _ in 0..3 {
        owner.post(NS, &json!({})).await.expect(201);
    }
}
