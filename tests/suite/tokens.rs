//! Client tokens: created, listed, used, deleted, in the shapes of Letta's hosted service.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Engine, Gatelet, ORIGIN, Program, eventually, on_both_engines, token_request};

const TOKENS: &str = "/v1/client-side-access-tokens";

fn expiry(token: &Value) -> DateTime<Utc> {
    token["expiresAt"].as_str().unwrap().parse().unwrap()
}

fn tokens_of(list: &Value) -> Vec<String> {
    list["tokens"].as_array().unwrap().iter().map(|token| token["token"].as_str().unwrap().to_owned()).collect()
}

on_both_engines! {
    async fn a_token_is_created_listed_and_deleted(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let before = Utc::now();
        let answer = owner.post(TOKENS, &token_request("agent-1", &["read_messages", "write_messages"])).await;
        let token = answer.expect(201);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let keys: Vec<&String> = token.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["policy", "token", "hostname", "expiresAt"]);
        assert_eq!(token["hostname"], ORIGIN);
        let policy = json!([{"type": "agent", "id": "agent-1", "access": ["read_messages", "write_messages"]}]);
        assert_eq!(token["policy"], json!({"version": "1", "data": policy}));
        let lifetime = expiry(&token) - before;
        assert!((TimeDelta::minutes(5)..TimeDelta::minutes(6)).contains(&lifetime), "{lifetime}");

        // The list rebuilds the identical token from its claims.
        let answer = owner.get(TOKENS).await;
        assert_eq!(answer.expect(200), json!({"tokens": [token], "hasNextPage": false}));
        assert_eq!(answer.header("cache-control"), Some("no-store"));

        let path = format!("{TOKENS}/{}", token["token"].as_str().unwrap());
        let page = server.stranger().page(token["token"].as_str().unwrap());
        page.get("/v1/agents/").await.refused(403, "operation_not_available");
        for _ in 0..2 {
            let deleted = owner.delete(&path).await;
            assert_eq!((deleted.status.as_u16(), deleted.text.as_str()), (204, ""));
            assert_eq!(deleted.header("content-type"), None);
            page.get("/v1/agents/").await.refused(401, "token_revoked");
        }
        assert_eq!(owner.get(TOKENS).await.expect(200)["tokens"], json!([]));
    }

    async fn a_token_survives_a_restart_and_so_does_its_deletion(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let kept = owner.create_token("agent-1", &["read_agent"]).await;
        let deleted = owner.create_token("agent-1", &["read_agent"]).await;
        assert_eq!(owner.delete(&format!("{TOKENS}/{deleted}")).await.status, 204);
        server.kill().await;
        let server = program.start().await;
        server.stranger().page(&kept).get("/v1/agents/").await.refused(403, "operation_not_available");
        server.stranger().page(&deleted).get("/v1/agents/").await.refused(401, "token_revoked");
        let list = server.stranger().bearer(&key).get(TOKENS).await.expect(200);
        assert_eq!(tokens_of(&list), [kept]);
    }

    async fn the_list_is_newest_first_and_pages_by_offset_and_agent(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let mut made = Vec::new();
        for number in 0..12 {
            let agent = if number % 3 == 0 { "agent-third" } else { "agent-other" };
            let body = json!({"hostname": ORIGIN, "policy": [
                {"type": "agent", "id": agent, "access": ["read_agent"]},
                {"type": "agent", "id": "agent-common", "access": ["read_agent"]}
            ]});
            made.push(owner.create_token_with(&body).await);
        }
        made.reverse();
        for (query, from, to, more) in [
            ("", 0, 10, true),
            ("?limit=5", 0, 5, true),
            ("?limit=5.0&offset=5", 5, 10, true),
            ("?limit=1e1&offset=2.0", 2, 12, false),
            ("?offset=12", 12, 12, false),
            ("?limit=0", 0, 0, true),
            ("?limit=1000", 0, 12, false),
            ("?agentId=agent-common&limit=12", 0, 12, false),
        ] {
            let list = owner.get(&format!("{TOKENS}{query}")).await.expect(200);
            assert_eq!(tokens_of(&list), made[from..to], "{query}");
            assert_eq!(list["hasNextPage"], more, "{query}");
        }
        let third = owner.get(&format!("{TOKENS}?agentId=agent-third")).await.expect(200);
        let expected: Vec<&String> = made.iter().rev().step_by(3).rev().collect();
        assert_eq!(tokens_of(&third).iter().collect::<Vec<_>>(), expected);
        assert_eq!(owner.get(&format!("{TOKENS}?agentId=agent-none")).await.expect(200)["tokens"], json!([]));
        for query in ["limit=-1", "limit=1001", "limit=x", "limit=1.5", "limit=NaN", "offset=-1", "offset=inf", "agentId=a%20b"] {
            owner.get(&format!("{TOKENS}?{query}")).await.refused(400, "invalid_request");
        }
    }

    async fn a_token_expires_without_leeway(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let mut body = token_request("agent-1", &["read_agent"]);
        let expires_at = Utc::now() + TimeDelta::milliseconds(1500);
        body["expires_at"] = json!(expires_at.to_rfc3339());
        let token = server.owner().post(TOKENS, &body).await.expect(201);
        assert_eq!(expiry(&token).timestamp_millis(), expires_at.timestamp_millis());
        let page = server.stranger().page(token["token"].as_str().unwrap());
        page.get("/v1/agents/").await.refused(403, "operation_not_available");
        eventually("the token has expired", Duration::from_secs(10), || async {
            page.get("/v1/agents/").await.outcome() == "401 token_expired"
        })
        .await;
        assert!(Utc::now() >= expires_at, "refused too early");
        assert_eq!(server.owner().get(TOKENS).await.expect(200)["tokens"], json!([]), "the list shows live tokens");
    }

    // The clock may be ahead, and put right later.
    async fn what_has_expired_is_revoked_all_the_same(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let mut tokens = Vec::new();
        for _ in 0..2 {
            let mut body = token_request("agent-1", &["read_agent"]);
            body["expires_at"] = json!((Utc::now() + TimeDelta::seconds(1)).to_rfc3339());
            tokens.push(owner.create_token_with(&body).await);
        }
        let page = server.stranger().page(&tokens[1]);
        eventually("both have expired", Duration::from_secs(10), || async {
            page.get("/v1/agents/").await.outcome() == "401 token_expired"
        })
        .await;
        assert_eq!(owner.delete(&format!("{TOKENS}/{}", tokens[0])).await.status, 204);
        assert!(program.run(&["tokens", "revoke", &tokens[0]]).await.failed().contains("done before"));
        let revoked = program.run(&["tokens", "revoke", &tokens[1]]).await.ok();
        assert!(revoked.contains("is revoked") && revoked.contains("expired"), "{revoked}");
        assert!(program.run(&["tokens", "revoke", &tokens[1]]).await.failed().contains("done before"));
    }

    async fn a_token_of_a_key_that_another_process_has_just_made_is_revoked(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let (one, other) = tokio::join!(program.start(), program.start());
        for _ in 0..3 {
            program.run(&["signing-keys", "rotate"]).await.ok();
            let create = ["tokens", "create", "--agent", "agent-1", "--access", "read_agent", "--hostname", ORIGIN];
            let token = program.run(&create).await.ok();
            assert_eq!(one.stranger().bearer(&key).delete(&format!("{TOKENS}/{token}")).await.status, 204);
            let page = other.stranger().page(&token);
            eventually("the other process refuses it", Duration::from_secs(1), || async {
                page.get("/v1/agents/").await.outcome() == "401 token_revoked"
            })
            .await;
        }
    }

    async fn rows_of_expired_tokens_are_purged_after_their_retention(engine: Engine) {
        let program = Program::on(engine).await.env("GATELET_TOKENS__RETENTION", "1ms");
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let mut body = token_request("agent-1", &["read_agent"]);
        body["expires_at"] = json!((Utc::now() + TimeDelta::seconds(1)).to_rfc3339());
        let token = server.stranger().bearer(&key).create_token_with(&body).await;
        let page = server.stranger().page(&token);
        eventually("the token has expired", Duration::from_secs(10), || async {
            page.get("/v1/agents/").await.outcome() == "401 token_expired"
        })
        .await;
        server.kill().await;
        // Purging begins at the start.
        let server = program.start().await;
        eventually("the log tells of the purge", Duration::from_secs(10), || async { server.log().contains("Purged") }).await;
    }

    async fn what_a_database_holds_is_no_token(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let token = server.stranger().bearer(&key).create_token("agent-1", &["read_agent"]).await;
        server.signal("TERM");
        server.exit().await;
        let content = match engine {
            Engine::Sqlite => std::fs::read(program.folder().join("gatelet.db")).unwrap(),
            Engine::Postgres => {
                let url = program.url();
                let dump = tokio::process::Command::new("pg_dump").args(["--inserts", url]).output().await.unwrap();
                assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
                dump.stdout
            }
        };
        let contains = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(contains("agent-1"), "the row is there");
        let signature = token.rsplit('.').next().unwrap();
        for secret in [&key[7..], signature, &token[7..]] {
            assert!(!contains(secret), "{secret} is in the database");
        }
    }
}

#[tokio::test]
async fn a_request_for_a_token_that_breaks_a_rule_is_told_which() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let with = |field: &str, value: Value| {
        let mut body = token_request("agent-1", &["read_agent"]);
        body[field] = value;
        body
    };
    let ahead = |delta: TimeDelta| json!((Utc::now() + delta).to_rfc3339());
    let entry = |value: Value| with("policy", json!([value]));
    let wide: Vec<Value> =
        (0..50).map(|n| json!({"type": "agent", "id": format!("{n:0>128}"), "access": ["read_agent"]})).collect();
    for (field, body) in [
        ("policy", with("policy", json!(null))),
        ("policy", with("policy", json!([]))),
        ("policy", with("policy", json!(wide))),
        ("policy[0].id", entry(json!({"type": "agent", "id": "a b", "access": ["read_agent"]}))),
        ("policy[0].access", entry(json!({"type": "agent", "id": "a", "access": []}))),
        ("policy[0].access[0]", entry(json!({"type": "agent", "id": "a", "access": ["own_agent"]}))),
        ("hostname", with("hostname", json!("app.example"))),
        ("hostname", with("hostname", json!("https://app.example/"))),
        ("hostname", with("hostname", json!("https://user@app.example"))),
        ("hostname", with("hostname", json!("https://app.example?x"))),
        ("hostname", with("hostname", json!(["https://app.example"]))),
        ("expires_at", with("expires_at", json!("in an hour"))),
        ("expires_at", with("expires_at", ahead(TimeDelta::seconds(-1)))),
        ("expires_at", with("expires_at", ahead(TimeDelta::days(31)))),
        ("expires_at", with("expires_at", json!(1_800_000_000))),
    ] {
        let sentence = owner.post(TOKENS, &body).await.refused(400, "invalid_request");
        assert!(sentence.starts_with(&format!("{field} ")), "{field}: {sentence}");
    }
    for body in ["{nope", "", "[]", "\"x\"", "null"] {
        let request = owner.request(Method::POST, TOKENS).header(header::CONTENT_TYPE, "application/json");
        let answer = Answer::read(request.body(body).send().await.unwrap()).await;
        let sentence = answer.refused(400, "invalid_request");
        assert!(sentence.contains("The body"), "{body}: {sentence}");
    }
    assert_eq!(owner.get(TOKENS).await.expect(200)["tokens"], json!([]), "nothing was made");
}

#[tokio::test]
async fn both_sdk_generations_may_send_what_they_send() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let mut body = token_request(&agent, &["write_messages", "read_messages"]);
    body["hostname"] = json!("HTTPS://App.Example:443");
    // Python's datetime.isoformat() has no zone.
    let naive = (Utc::now() + TimeDelta::hours(1)).naive_utc();
    body["expires_at"] = json!(naive.format("%Y-%m-%dT%H:%M:%S%.6f").to_string());
    body["unknown"] = json!({"x": 1});
    let token = owner.post(TOKENS, &body).await.expect(201);
    assert_eq!(token["hostname"], "HTTPS://App.Example:443", "echoed as sent");
    assert_eq!(token["policy"]["data"][0]["access"], json!(["write_messages", "read_messages"]), "in the order sent");
    assert_eq!(expiry(&token).timestamp_millis(), naive.and_utc().timestamp_millis());
    // The browser sends the origin's serialization.
    let page = server.stranger().page(token["token"].as_str().unwrap());
    page.get("/v1/agents/").await.refused(403, "operation_not_available");
    // A script sends the text that it gave.
    let script = server.stranger().bearer(token["token"].as_str().unwrap());
    let from = |origin: &str| script.with("origin", origin);
    let messages = format!("/v1/agents/{agent}/messages");
    from("HTTPS://App.Example:443").get(&messages).await.expect(200);
    for other in ["https://App.Example:443", "https://app.example:443", "HTTPS://App.Example"] {
        from(other).get(&messages).await.refused(403, "origin_mismatch");
    }
    assert_eq!(owner.get(TOKENS).await.expect(200)["tokens"][0]["token"], token["token"], "listed as it was issued");

    let delete = |token: &str| owner.request(Method::DELETE, &format!("{TOKENS}/{token}"));
    let token = token["token"].as_str().unwrap();
    for request in [
        delete(token),
        delete(token).body(""),
        delete(token).json(&json!({})),
        delete(token).json(&json!(null)),
        delete(token).header(header::CONTENT_TYPE, "text/plain").body("whatever"),
        delete("ck-let-eyJh.eyJi.c2ln"),
        owner.request(Method::DELETE, &format!("{TOKENS}/{token}/")),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 204);
    }
    for garbage in [
        "nonsense",
        "ck-let-",
        "ck-let-a.b",
        "ck-let-a..c",
        "ck-let-a.b.c.d",
        "ck-let-b3JnOnV1aWQ%3D",
        "sk-let-x",
        "ck-let-b3JnOnV1aWQ=",
    ] {
        owner.delete(&format!("{TOKENS}/{garbage}")).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn duplicate_entries_are_merged_and_any_entry_may_serve() {
    let server = Gatelet::ephemeral().await;
    let body = json!({"hostname": ORIGIN, "policy": [
        {"type": "agent", "id": "agent-1", "access": ["read_messages"]},
        {"type": "agent", "id": "agent-2", "access": ["read_agent"]},
        {"type": "agent", "id": "agent-1", "access": ["write_messages", "read_messages"]}
    ]});
    let token = server.owner().post(TOKENS, &body).await.expect(201);
    assert_eq!(
        token["policy"]["data"],
        json!([
            {"type": "agent", "id": "agent-1", "access": ["read_messages", "write_messages"]},
            {"type": "agent", "id": "agent-2", "access": ["read_agent"]}
        ])
    );
}

#[tokio::test]
async fn a_client_token_manages_no_tokens() {
    let server = Gatelet::ephemeral().await;
    let all = ["read_messages", "write_messages", "read_agent", "write_agent"];
    let token = server.owner().create_token("agent-1", &all).await;
    let page: Client = server.stranger().page(&token);
    page.post(TOKENS, &token_request("agent-1", &all)).await.refused(403, "api_key_required");
    page.get(TOKENS).await.refused(403, "api_key_required");
    page.delete(&format!("{TOKENS}/{token}")).await.refused(403, "api_key_required");
    page.get("/v1/agents/").await.refused(403, "operation_not_available");
}

#[tokio::test]
async fn the_command_line_makes_inspects_and_revokes_tokens() {
    let program = Program::on(Engine::Sqlite).await;
    let server = program.start().await;
    let create = ["tokens", "create", "--agent", "agent-1", "--access", "read_agent,write_agent", "--hostname", ORIGIN];
    let token = program.run(&[&create[..], &["--expires-in", "24h"]].concat()).await.ok();
    let page = server.stranger().page(&token);
    page.get("/v1/agents/").await.refused(403, "operation_not_available");
    let inspected = program.run(&["tokens", "inspect", &token, "--json"]).await.json();
    assert_eq!(inspected["valid"], true);
    assert_eq!(inspected["claims"]["origin"], ORIGIN);
    assert_eq!(inspected["claims"]["policy"], json!([{"agent": "agent-1", "access": ["read_agent", "write_agent"]}]));
    assert_eq!(program.run(&["tokens", "list", "--json"]).await.json().as_array().unwrap().len(), 1);
    program.run(&["tokens", "revoke", &token]).await.ok();
    eventually("the running server refuses it", Duration::from_secs(1), || async {
        page.get("/v1/agents/").await.outcome() == "401 token_revoked"
    })
    .await;
    let inspected = program.run(&["tokens", "inspect", &token]).await;
    assert!(!inspected.success && inspected.stdout.starts_with("not valid"), "{}", inspected.stdout);
    assert!(!program.run(&["tokens", "inspect", "garbage"]).await.success);
    for (flag, value) in
        [("--hostname", "https://app.example/"), ("--access", "own"), ("--agent", "a b"), ("--expires-in", "31d")]
    {
        let mut arguments = create.map(str::to_owned).to_vec();
        match arguments.iter().position(|argument| argument == flag) {
            Some(index) => arguments[index + 1] = value.to_owned(),
            None => arguments.extend([flag.to_owned(), value.to_owned()]),
        }
        let refused = program.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert!(!refused.success, "{flag} {value}");
    }
}

#[tokio::test]
async fn rotated_keys_verify_until_their_last_token_has_expired() {
    let program = Program::on(Engine::Sqlite).await;
    let server = program.start().await;
    let old = server.owner().create_token("agent-1", &["read_agent"]).await;
    let kid = program.run(&["signing-keys", "rotate"]).await.ok();
    // A token of the new key, made by another process, is known here before it is refused.
    let new = program
        .run(&["tokens", "create", "--agent", "agent-1", "--access", "read_agent", "--hostname", ORIGIN])
        .await
        .ok();
    for token in [&old, &new] {
        server.stranger().page(token).get("/v1/agents/").await.refused(403, "operation_not_available");
    }
    let listed = server.owner().get(TOKENS).await.expect(200);
    assert_eq!(tokens_of(&listed), [new, old], "both are signed again as they were");
    let keys = program.run(&["signing-keys", "list", "--json"]).await.json();
    let status = |kid: &str| keys.as_array().unwrap().iter().find(|key| key["kid"] == kid).unwrap()["status"].clone();
    assert_eq!(status(&kid), "signing");
    assert_eq!(keys[0]["status"], "verifying");
}
