//! What the guard would decide, and why: over HTTP and on the command line.

use http::Method;
use serde_json::{Value, json};

use super::harness::Control;
use crate::harness::{Answer, Engine, Gatelet, NOBODY, ORIGIN, Program, on_both_engines, token_request};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];
const EVIL: &str = "https://evil.example";

/// A server with two agents, of which the first is the token's.
struct World {
    server: Gatelet,
    control: Control,
    mine: String,
    other: String,
}

impl World {
    async fn new() -> Self {
        Self::of(Program::ephemeral()).await
    }

    async fn of(program: Program) -> Self {
        let server = program.start_alone().await;
        let owner = server.owner();
        let mine = owner.create_agent(&json!({"name": "mine"})).await;
        let other = owner.create_agent(&json!({"name": "other"})).await;
        Self { control: Control::of_default(&server), server, mine, other }
    }

    async fn token(&self, access: &[&str]) -> String {
        self.server.owner().create_token(&self.mine, access).await
    }

    async fn explain(&self, question: &Value) -> Value {
        self.control.post("/explain", question).await.expect(200)
    }
}

fn policy(agent: &str, access: &[&str]) -> Value {
    token_request(agent, access)["policy"].clone()
}

/// The last step: of a refusal the one that refused.
fn last(explanation: &Value) -> (String, String) {
    let step = explanation["steps"].as_array().unwrap().last().unwrap();
    (step["asked"].as_str().unwrap().to_owned(), step["said"].as_str().unwrap().to_owned())
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_says_what_was_sent_and_what_is_needed() {
    let world = World::of(Program::ephemeral().env("GATELET_LIMITS__BODY_BYTES", "1000")).await;
    let (mine, other) = (world.mine.as_str(), world.other.as_str());
    let owner = world.server.owner();
    let (token, reader) = (world.token(&ALL).await, world.token(&["read_agent"]).await);
    let revoked = world.token(&ALL).await;
    owner.delete(&format!("/v1/client-side-access-tokens/{revoked}")).await;
    let expired = world.token(&ALL).await;
    world.control.send(Method::POST, &format!("/tokens/{expired}/expire")).await.expect(200);
    let run =
        owner.post(&format!("/v1/agents/{other}/messages/async"), &json!({"input": "hi"})).await.expect(200)["id"]
            .as_str()
            .unwrap()
            .to_owned();
    let block = owner.post("/v1/blocks/", &json!({"label": "shared", "value": "x"})).await.expect(200)["id"].clone();
    for agent in [mine, other] {
        let attach = format!("/v1/agents/{agent}/core-memory/blocks/attach/{}", block.as_str().unwrap());
        owner.patch(&attach, &json!({})).await.expect(200);
    }
    let agent = format!("/v1/agents/{mine}");
    let ask = |bearer: &str, method: &str, path: &str| json!({"token": bearer, "origin": ORIGIN, "method": method, "path": path});
    let key = world.server.key();
    let with = |mut question: Value, name: &str, value: Value| {
        question[name] = value;
        question
    };
    for (question, code, asked, values) in [
        (ask(&token, "GET", "/v1//agents"), "path_not_canonical", "path", vec!["/v1//agents", "doubled slash"]),
        (
            json!({"method": "GET", "path": agent}),
            "bearer_missing",
            "bearer",
            vec!["no Authorization header", "API key"],
        ),
        (ask("hello", "GET", &agent), "bearer_invalid", "bearer", vec!["neither form", "client token"]),
        (ask("ck-let-a.b.c", "GET", &agent), "bearer_invalid", "bearer", vec!["signing key", "of this server"]),
        (ask(&format!("{token}x"), "GET", &agent), "bearer_invalid", "bearer", vec!["signature", "of this server"]),
        (ask(&expired, "GET", &agent), "token_expired", "bearer", vec!["before its time", "create a new one"]),
        (ask(&revoked, "GET", &agent), "token_revoked", "bearer", vec!["revoked", "create a new one"]),
        (ask(&token, "GET", "/v1/nothing"), "not_found", "operation", vec!["/v1/nothing", "path of the Letta API"]),
        (ask(&token, "PUT", &agent), "method_not_allowed", "operation", vec!["sent PUT", "GET"]),
        (ask(&token, "GET", "/v1/agents/x"), "validation_failed", "ids", vec!["agent_id x", "agent-{uuid4}"]),
        (ask(&token, "GET", "/v1/runs/x"), "invalid_request", "ids", vec!["run_id x", "run-<uuid4>"]),
        (
            ask(&token, "GET", "/v1/client-side-access-tokens"),
            "api_key_required",
            "policy",
            vec!["sent a client token", "an API key is needed"],
        ),
        (
            ask(&token, "GET", "/v1/agents/"),
            "operation_not_available",
            "policy",
            vec!["sent a client token", "lists all"],
        ),
        (
            ask(&token, "GET", &format!("/v1/agents/{other}")),
            "agent_not_in_policy",
            "policy",
            vec![other, mine, "read_agent is needed"],
        ),
        (
            ask(&reader, "GET", &format!("{agent}/messages")),
            "access_not_granted",
            "policy",
            vec!["entry 1 grants read_agent", "read_messages is needed"],
        ),
        (
            ask(&reader, "GET", &format!("/v1/runs/{run}")),
            "access_not_granted",
            "policy",
            vec!["entry 1 grants read_agent", "read_messages is needed", "create a token"],
        ),
        (
            ask(&token, "GET", &format!("{agent}/messages?group_id=1")),
            "field_not_granted",
            "query",
            vec!["group_id", "accepted: ", "limit"],
        ),
        (
            ask(&token, "GET", &format!("{agent}/messages?limit=1&limit=2")),
            "invalid_request",
            "query",
            vec!["fields sent: limit, limit", "once"],
        ),
        (with(ask(&token, "GET", &agent), "origin", json!(EVIL)), "origin_mismatch", "origin", vec![EVIL, ORIGIN]),
        (
            with(ask(&token, "GET", &agent), "origin", json!(null)),
            "origin_missing",
            "origin",
            vec!["sent no Origin", ORIGIN],
        ),
        (
            with(ask(&token, "POST", &format!("{agent}/messages")), "body", json!({"input": "x".repeat(1000)})),
            "body_too_large",
            "body",
            vec!["1012 bytes", "at most 1000 bytes"],
        ),
        (
            with(ask(&token, "POST", &format!("{agent}/messages")), "body", json!([1])),
            "validation_failed",
            "body",
            vec!["3 bytes", "dictionary"],
        ),
        (
            with(ask(&token, "POST", &format!("{agent}/messages")), "body", json!({"input": "x", "system": "y"})),
            "field_not_granted",
            "body",
            vec!["fields sent: input, system", "accepted: messages, input"],
        ),
        (ask(&token, "GET", &format!("/v1/runs/{run}")), "not_found", "ownership", vec![run.as_str(), other, mine]),
        (
            ask(&token, "GET", &format!("/v1/runs/run-{}", &NOBODY[6..])),
            "not_found",
            "ownership",
            vec!["belongs to no agent", "one of the policy's is needed"],
        ),
        (
            with(ask(&token, "PATCH", &format!("{agent}/core-memory/blocks/shared")), "body", json!({"value": "y"})),
            "agent_not_in_policy",
            "ownership",
            vec!["block shared", other, mine, "write_agent is needed"],
        ),
        (ask(key, "GET", &agent), "api_key_in_browser", "origin", vec![ORIGIN, "accepted without one"]),
    ] {
        let explanation = world.explain(&question).await;
        assert_eq!((&explanation["outcome"], &explanation["code"]), (&json!("denied"), &json!(code)), "{question}");
        let (last, said) = last(&explanation);
        assert_eq!(last, asked, "{explanation}");
        for value in values {
            assert!(said.contains(value), "{code}: no {value:?} in {said:?}");
        }
        let sentence = explanation["message"].as_str().unwrap();
        assert!(said.ends_with(sentence) && said.contains(": no. "), "{said}");
        for secret in [&token, &reader, &revoked, &expired, key] {
            assert!(
                !explanation.to_string().contains(secret.trim_start_matches("ck-let-").trim_start_matches("sk-let-"))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admitted_request_shows_every_step_in_order() {
    let world = World::new().await;
    let token = world.token(&["read_messages", "write_messages"]).await;
    let mine = &world.mine;
    let explanation = world
        .explain(&json!({"token": token, "origin": ORIGIN, "method": "POST",
            "path": format!("/v1/agents/{mine}/messages/stream?colour=red"),
            "body": {"messages": [{"role": "user", "content": "Hi", "mood": "good"}], "colour": "blue"}}))
        .await;
    assert_eq!((&explanation["outcome"], &explanation["code"]), (&json!("admitted"), &json!(null)));
    assert_eq!(explanation["operation"], "StreamMessage");
    assert_eq!(explanation["dropped_fields"], json!(["query.colour", "body.messages[0].mood", "body.colour"]));
    let steps = explanation["steps"].as_array().unwrap();
    let asked: Vec<&str> = steps.iter().map(|step| step["asked"].as_str().unwrap()).collect();
    assert_eq!(
        asked,
        [
            "path",
            "bearer",
            "quota",
            "operation",
            "ids",
            "policy",
            "query",
            "origin",
            "body",
            "streams",
            "ownership",
            "still valid"
        ]
    );
    let said =
        |asked: &str| steps.iter().find(|step| step["asked"] == asked).unwrap()["said"].as_str().unwrap().to_owned();
    assert!(said("bearer").starts_with("client token, verified, 4m5") && said("bearer").ends_with("s left"));
    assert_eq!(
        said("policy"),
        format!("entry 1 grants read_messages, write_messages on {mine}; write_messages is needed")
    );
    assert_eq!(said("origin"), format!("sent {ORIGIN}, bound to {ORIGIN}"));
    assert_eq!(said("ownership"), format!("reaches {mine}"));
}

/// What a caller may try: bearers, origins and requests, each with each.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_happens() {
    let world = World::new().await;
    let (mine, other) = (&world.mine, &world.other);
    let owner = world.server.owner();
    let revoked = world.token(&ALL).await;
    owner.delete(&format!("/v1/client-side-access-tokens/{revoked}")).await;
    let of_both = json!({"hostname": ORIGIN, "policy": [
        {"type": "agent", "id": mine, "access": ["read_messages", "read_agent"]},
        {"type": "agent", "id": other, "access": ["write_messages"]}]});
    let bearers = [
        Some(world.token(&ALL).await),
        Some(world.token(&["read_messages"]).await),
        Some(owner.create_token_with(&of_both).await),
        Some(revoked),
        Some("ck-let-a.b.c".to_owned()),
        Some(world.server.key().to_owned()),
        None,
    ];
    let origins = [Some(ORIGIN), Some(EVIL), None];
    let run_of = async |agent: &str| {
        let run = owner.post(&format!("/v1/agents/{agent}/messages/async"), &json!({"input": "hi"})).await.expect(200);
        run["id"].as_str().unwrap().to_owned()
    };
    let (run, run_of_other) = (run_of(mine).await, run_of(other).await);
    let (get, post, patch) = (Method::GET, Method::POST, Method::PATCH);
    let requests = [
        (&get, "/v1/health/".to_owned(), None),
        (&get, "/v1/agents/".into(), None),
        (&get, "/v1//agents/".into(), None),
        (&get, "/v1/nothing".into(), None),
        (&get, format!("/v1/agents/{mine}"), None),
        (&get, format!("/v1/agents/{mine}?include=agent.pending_approval"), None),
        (&get, format!("/v1/agents/{mine}?include=agent.blocks&include=agent.tools&x=y"), None),
        (&get, format!("/v1/agents/{other}"), None),
        (&get, format!("/v1/agents/{NOBODY}"), None),
        (&get, "/v1/agents/agent-1".into(), None),
        (&Method::PUT, format!("/v1/agents/{mine}"), None),
        (&get, format!("/v1/agents/{mine}/messages"), None),
        (&get, format!("/v1/agents/{mine}/messages?limit=1&limit=2"), None),
        (&get, format!("/v1/agents/{mine}/messages?group_id=g"), None),
        (&get, "/v1/runs/".into(), None),
        (&get, format!("/v1/runs/?agent_id={mine}"), None),
        (&get, format!("/v1/runs/?agent_ids={mine}&agent_ids={other}"), None),
        (&get, format!("/v1/runs/{run}"), None),
        (&get, format!("/v1/runs/{run_of_other}"), None),
        (&get, "/v1/runs/run-1".into(), None),
        (&get, "/v1/conversations/default/messages".into(), None),
        (&get, format!("/v1/conversations/default/messages?agent_id={mine}"), None),
        (&get, format!("/v1/conversations/{other}/messages"), None),
        (&post, format!("/v1/agents/{mine}/messages"), Some(json!({"input": "hi", "unknown": 1}))),
        (&post, format!("/v1/agents/{other}/messages"), Some(json!({"input": "hi"}))),
        (&post, format!("/v1/agents/{mine}/messages"), Some(json!({"input": 7}))),
        (&post, format!("/v1/agents/{mine}/messages"), Some(json!({"input": "hi", "override_model": "x"}))),
        (&patch, format!("/v1/agents/{mine}"), Some(json!({"description": "new"}))),
        (&patch, format!("/v1/agents/{mine}"), Some(json!({"tool_ids": ["x"]}))),
        (&get, "/v1/client-side-access-tokens".into(), None),
    ];
    let mut refused = 0;
    for bearer in &bearers {
        for origin in origins {
            for (method, path, body) in &requests {
                let mut question = json!({"method": method.as_str(), "path": path});
                let mut client = world.server.stranger();
                if let Some(bearer) = bearer {
                    question["token"] = json!(bearer);
                    client = client.bearer(bearer);
                }
                if let Some(origin) = origin {
                    question["origin"] = json!(origin);
                    client = client.with("origin", origin);
                }
                if let Some(body) = body {
                    question["body"] = body.clone();
                }
                let explanation = world.explain(&question).await;
                let real = client.send((*method).clone(), path, body.as_ref()).await;
                refused += usize::from(explanation["outcome"] == "denied");
                agrees(&question, &explanation, &real);
                // What really happened is in the journal, step by step.
                let entry = real.header("x-gatelet-entry").unwrap().split_once('/').unwrap().1.to_owned();
                let entry = world.control.get(&format!("/journal/{entry}")).await.expect(200);
                let outcome = &explanation["outcome"];
                assert_eq!(&entry["decision"]["outcome"], outcome, "{question}");
                assert_eq!(timeless(&entry["decision"]["steps"]), timeless(&explanation["steps"]), "{question}");
                assert_eq!(entry["sent"]["dropped_fields"], explanation["dropped_fields"], "{question}");
            }
        }
    }
    assert!((100..600).contains(&refused), "{refused} of {}", bearers.len() * origins.len() * requests.len());
}

/// Steps without what depends on the instant and on what else is going on.
fn timeless(steps: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = steps.as_array().unwrap().iter().map(|step| (text(&step["asked"]), text(&step["said"])));
    let left = regex::Regex::new("[0-9]+m?[0-9]*s left|^[0-9]+ of [0-9]+ streams").unwrap();
    steps.map(|(asked, said)| (asked, left.replace(&said, "...").into_owned())).collect()
}

fn agrees(question: &Value, explanation: &Value, real: &Answer) {
    let body = real.value().unwrap_or_default();
    if explanation["outcome"] == "denied" {
        let explained = (explanation["status"].as_u64(), &explanation["code"], &explanation["message"]);
        let happened = (Some(u64::from(real.status.as_u16())), &body["code"], &body["message"]);
        assert_eq!(explained, happened, "{question}");
    } else {
        // The handler may refuse it, but with nothing that the guard says.
        let of_key = question["token"].as_str().is_some_and(|token| token.starts_with("sk-let-"));
        let is_handled = match body["code"].as_str() {
            None => real.status.is_success(),
            Some("not_found") => of_key || question["path"].as_str().unwrap().contains(NOBODY),
            Some("validation_failed" | "invalid_request") => of_key,
            Some(_) => false,
        };
        assert!(is_handled, "{question}: {} {}", real.status, real.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_counted_held_or_done() {
    let program = Program::ephemeral()
        .env("GATELET_LIMITS__REQUESTS_PER_MINUTE", "5")
        .env("GATELET_LIMITS__STREAMS_PER_TOKEN", "1");
    let world = World::of(program).await;
    let token = world.token(&ALL).await;
    let path = format!("/v1/agents/{}/messages", world.mine);
    let question = json!({"token": token, "origin": ORIGIN, "method": "POST", "path": path, "body": {"input": "x".repeat(100_000)}});
    for _ in 0..10 {
        let explanation = world.explain(&question).await;
        assert_eq!(explanation["outcome"], "admitted", "{explanation}");
    }
    let rename = json!({"token": token, "origin": ORIGIN, "method": "PATCH", "path": format!("/v1/agents/{}", world.mine),
        "body": {"name": "renamed"}});
    assert_eq!(world.explain(&rename).await["outcome"], "admitted");
    let page = world.server.stranger().page(&token);
    let read = page.get(&path).await;
    assert_eq!(read.header("ratelimit-remaining"), Some("4"));
    let sent =
        |messages: &Value| messages.as_array().unwrap().iter().any(|message| message["message_type"] == "user_message");
    assert!(!sent(&read.expect(200)), "{}", read.text);
    assert_eq!(page.get(&format!("/v1/agents/{}", world.mine)).await.expect(200)["name"], "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_explained_without_a_token() {
    let world = World::new().await;
    let (mine, other) = (&world.mine, &world.other);
    let question = |origin: &str, agent: &str| {
        json!({"policy": policy(mine, &["read_agent"]), "hostname": ORIGIN, "origin": origin, "method": "GET",
            "path": format!("/v1/agents/{agent}")})
    };
    for (question, code) in [
        (question(ORIGIN, mine), json!(null)),
        (question(EVIL, mine), json!("origin_mismatch")),
        (question(ORIGIN, other), json!("agent_not_in_policy")),
        // Without a hostname it is bound to the origin of the request.
        (
            json!({"policy": policy(mine, &["read_agent"]), "origin": EVIL, "method": "GET", "path": format!("/v1/agents/{mine}")}),
            json!(null),
        ),
    ] {
        let explanation = world.explain(&question).await;
        assert_eq!(explanation["code"], code, "{question}");
        assert!(
            explanation["steps"][1]["said"].as_str().unwrap().starts_with("client token, verified, "),
            "{explanation}"
        );
    }
    let tokens = world.server.owner().get("/v1/client-side-access-tokens").await.expect(200);
    assert_eq!(tokens["tokens"], json!([]), "no token was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_open_or_says_why_not() {
    let world = World::new().await;
    let mine = &world.mine;
    let token = world.token(&["read_messages"]).await;
    let table = Program::ephemeral().run(&["operations", "--json"]).await.json();
    let table = table.as_array().unwrap();
    let rows = async |question: Value| world.explain(&question).await["operations"].as_array().unwrap().clone();
    let of_token = rows(json!({"token": token, "operations": true})).await;
    assert_eq!(rows(json!({"policy": policy(mine, &["read_messages"]), "operations": true})).await, of_token);
    assert_eq!(of_token.len(), table.len());
    for (row, listed) in of_token.iter().zip(table) {
        let name = row["operation"].as_str().unwrap();
        assert_eq!(
            (&row["operation"], &row["method"], &row["template"]),
            (&listed["operation"], &listed["method"], &listed["path"])
        );
        let words = &listed["client_token"];
        let is_open = *words == "public" || *words == json!(["read_messages"]) || *words == json!([]);
        assert_eq!(row["open"], is_open, "{row}");
        if is_open && *words != "public" {
            assert_eq!(row["condition"], format!("on {mine}: {}", listed["conditions"].as_str().unwrap()), "{name}");
        }
        assert_eq!(row["why"].is_string(), !is_open, "{row}");
        assert_eq!(row["code"].is_string(), !is_open, "{row}");
    }
    let why = |name: &str| of_token.iter().find(|row| row["operation"] == name).unwrap()["code"].clone();
    assert_eq!(why("SendMessage"), "access_not_granted");
    assert_eq!(why("DeleteAgent"), "operation_not_available");
    assert_eq!(why("ListClientSideAccessTokens"), "api_key_required");
    let of_key = rows(json!({"token": world.server.key(), "operations": true})).await;
    assert!(of_key.iter().all(|row| row["open"] == true));
    let of_nobody = rows(json!({"operations": true})).await;
    assert_eq!(of_nobody.iter().filter(|row| row["open"] == true).count(), 2, "the health checks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_question_is_refused_with_its_place() {
    let world = World::new().await;
    let mine = &world.mine;
    let policy = policy(mine, &["read_agent"]);
    let path = format!("/v1/agents/{mine}");
    for (question, at) in [
        (json!({"path": path}), "/method"),
        (json!({"method": "GET"}), "/path"),
        (json!({"method": "GET POST", "path": path}), "/method"),
        (json!({"method": "GET", "path": "a b"}), "/path"),
        (json!({"method": "GET", "path": path, "origin": "a\nb"}), "/origin"),
        (json!({"method": "GET", "path": path, "token": "a\nb"}), "/token"),
        (json!({"method": "GET", "path": path, "token": "a", "policy": policy}), "/policy"),
        (json!({"method": "GET", "path": path, "policy": policy}), "/hostname"),
        (json!({"method": "GET", "path": path, "policy": policy, "hostname": "localhost"}), "/hostname"),
        (json!({"method": "GET", "path": path, "policy": [], "hostname": ORIGIN}), "/policy"),
        (json!({"method": "GET", "path": path, "hostname": ORIGIN}), "/hostname"),
        (json!({"method": "GET", "path": path, "operations": true}), "/operations"),
        (json!({"method": "GET", "path": path, "colour": "red"}), ""),
        (json!({"method": 1, "path": path}), "/method"),
    ] {
        let refusal = world.control.post("/explain", &question).await;
        let status = refusal.status.as_u16();
        assert!(status == 422 || status == 400, "{question}: {status} {}", refusal.text);
        let body = refusal.value().unwrap();
        assert!(at.is_empty() || body["at"] == at, "{question}: {body}");
    }
}

on_both_engines! {
    async fn the_command_line_says_the_same(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let (mine, other) =
            (owner.create_agent(&json!({"name": "a"})).await, owner.create_agent(&json!({"name": "b"})).await);
        let token = owner.create_token(&mine, &["read_messages", "write_messages"]).await;
        let run = owner.post(&format!("/v1/agents/{other}/messages/async"), &json!({"input": "hi"})).await.expect(200);
        let run = run["id"].as_str().unwrap();
        let page = server.stranger().page(&token);
        for (method, path, body) in [
            ("GET", format!("/v1/agents/{mine}/messages?limit=1&colour=red"), None),
            ("GET", format!("/v1/agents/{mine}"), None),
            ("GET", format!("/v1/agents/{other}/messages"), None),
            ("GET", format!("/v1/runs/{run}"), None),
            ("POST", format!("/v1/agents/{mine}/messages"), Some(json!({"input": "hi"}))),
            ("POST", format!("/v1/agents/{mine}/messages"), Some(json!({"input": "hi", "system": "x"}))),
        ] {
            let mut arguments = vec!["explain", &token, method, &path, "--origin", ORIGIN];
            let text = body.as_ref().map(Value::to_string);
            if let Some(text) = &text {
                arguments.extend(["--body", text]);
            }
            let printed = program.run(&arguments).await;
            arguments.push("--json");
            let explanation: Value = serde_json::from_str(&program.run(&arguments).await.stdout).unwrap();
            let real = page.send(method.parse().unwrap(), &path, body.as_ref()).await;
            agrees(&json!({"path": path, "token": token}), &explanation, &real);
            assert_eq!(printed.success, real.status.is_success(), "{path}: {}", printed.stderr);
            let first = match explanation["code"].as_str() {
                Some(code) => format!("denied: {} {code}", real.status.as_u16()),
                None => "admitted".to_owned(),
            };
            assert_eq!(printed.stdout.lines().next(), Some(first.as_str()));
            for (asked, said) in timeless(&explanation["steps"]) {
                let said = said.split("...").next().unwrap();
                let is_shown = |line: &str| line.starts_with(&asked) && line.contains(said);
                assert!(printed.stdout.lines().any(is_shown), "{asked} {said}: {}", printed.stdout);
            }
        }
        let rows = program.run(&["explain", &token, "--operations"]).await.ok();
        let row = |name: &str| rows.lines().find(|line| line.split(' ').next() == Some(name)).unwrap().to_owned();
        assert!(row("SendMessage").contains(" open "), "{rows}");
        assert!(row("RetrieveAgent").contains(" closed "), "{rows}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_explained_on_the_command_line_without_a_database() {
    let nowhere = Program::ephemeral();
    let policy = policy(NOBODY, &["read_messages"]).to_string();
    let path = format!("/v1/agents/{NOBODY}/messages");
    let explain = async |arguments: &[&str]| {
        let arguments = [&["explain", "--policy", policy.as_str()], arguments].concat();
        nowhere.run(&arguments).await
    };
    let admitted = explain(&["GET", &path, "--origin", ORIGIN]).await.ok();
    assert!(admitted.starts_with("admitted\n"), "{admitted}");
    assert!(admitted.contains("ownership    not looked at: it is asked when the request is made"), "{admitted}");
    let refused = explain(&["get", &path, "--origin", EVIL, "--hostname", ORIGIN]).await;
    assert!(!refused.success && refused.stdout.starts_with("denied: 403 origin_mismatch\n"), "{refused:?}");
    let rows = explain(&["--operations", "--json"]).await.json();
    assert!(
        rows["operations"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["operation"] == "ListMessages" && row["open"] == true)
    );
    for (arguments, said) in [
        (&["GET"][..], "METHOD PATH"),
        (&["GET", path.as_str()], "hostname must be given"),
        (&["token", "GET", path.as_str()], "METHOD PATH"),
        (&["GET", path.as_str(), "--body", "{"], "must be JSON"),
    ] {
        let printed = explain(arguments).await;
        assert!(printed.failed().contains(said), "{arguments:?}: {}", printed.stderr);
    }
    assert!(nowhere.run(&["explain", "GET", &path]).await.failed().contains("TOKEN METHOD PATH"));
}

/// What a gateway would have to ask the upstream is not asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_explained_without_its_upstream() {
    let program = Program::on(Engine::Sqlite).await;
    let token = program
        .run(&["tokens", "create", "--agent", NOBODY, "--access", "read_messages", "--hostname", ORIGIN])
        .await
        .ok();
    let program = program.env("GATELET_UPSTREAM_URL", "http://127.0.0.1:9").env("GATELET_UPSTREAM_API_KEY", "x");
    let run = format!("/v1/runs/run-{}", &NOBODY[6..]);
    let explanation = program.run(&["explain", &token, "GET", &run, "--origin", ORIGIN, "--json"]).await.json();
    assert_eq!(explanation["outcome"], "admitted");
    assert!(explanation["steps"].as_array().unwrap().iter().any(|step| {
        step["asked"] == "ownership" && step["said"] == "not looked at: it is asked when the request is made"
    }));
}

/// Refusals that depend on more than the request itself, as the journal has them.
#[tokio::test(flavor = "multi_thread")]
async fn what_only_happens_is_in_the_journal_with_both_values() {
    let program = Program::ephemeral()
        .env("GATELET_LIMITS__REQUESTS_PER_MINUTE", "6")
        .env("GATELET_LIMITS__TARGET_BYTES", "2000");
    let world = World::of(program).await;
    let (mine, owner) = (&world.mine, world.server.owner());
    let page = world.server.stranger().page(&world.token(&ALL).await);
    let messages = format!("/v1/agents/{mine}/messages");
    let text = page.request(Method::POST, &messages).header("content-type", "text/plain").body("hi");
    let text = Answer::read(text.send().await.unwrap()).await;
    let long = page.get(&format!("{messages}?x={}", "y".repeat(2000))).await;
    let hurried = loop {
        let answer = page.get(&format!("/v1/agents/{mine}")).await;
        if answer.status != 200 {
            break answer;
        }
    };
    let elsewhere = owner.with("x-gatelet-namespace", "nowhere").get(&format!("/v1/agents/{mine}")).await;
    for (answer, code, asked, values) in [
        (text, "unsupported_media_type", "body", vec!["sent 2 bytes of text/plain", "application/json"]),
        (long, "target_too_long", "head", vec!["bytes of path and query", "at most 2000 bytes"]),
        (hurried, "rate_limited", "quota", vec!["more than 6 requests a minute"]),
        (elsewhere, "namespace_not_found", "namespace", vec!["sent x-gatelet-namespace: nowhere", "create it"]),
    ] {
        let id = answer.header("x-gatelet-entry").unwrap().split_once('/').unwrap().1.to_owned();
        let entry = world.control.get(&format!("/journal/{id}")).await.expect(200);
        assert_eq!((&entry["answer"]["code"], &entry["decision"]["outcome"]), (&json!(code), &json!("denied")));
        let (last, said) = last(&entry["decision"]);
        assert_eq!(last, asked, "{entry}");
        for value in values {
            assert!(said.contains(value), "{code}: no {value:?} in {said:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_is_taken_for_an_explanation_too() {
    let program =
        Program::ephemeral().env("GATELET_LIMITS__STREAMS_PER_TOKEN", "1").env("GATELET_MOCK__FIRST_TOKEN", "60s");
    let world = World::of(program).await;
    let token = world.token(&ALL).await;
    let page = world.server.stranger().page(&token);
    let path = format!("/v1/agents/{}/messages/stream", world.mine);
    let question = json!({"token": token, "origin": ORIGIN, "method": "POST", "path": path, "body": {"input": "hi"}});
    let before = world.explain(&question).await;
    assert_eq!(before["outcome"], "admitted", "{before}");
    let open = page.request(Method::POST, &path).json(&json!({"input": "hi"})).send().await.unwrap();
    assert_eq!(open.status(), 200);
    let real = page.post(&path, &json!({"input": "hi"})).await;
    real.refused(429, "rate_limited");
    let explanation = world.explain(&question).await;
    agrees(&question, &explanation, &real);
    let (asked, said) = last(&explanation);
    assert!(asked == "streams" && said.starts_with("1 of 1 streams or turns are taken: no. "), "{said}");
    drop(open);
}
