//! API keys: made and revoked on the command line, used over HTTP.

use std::time::Duration;

use crate::harness::{Client, Gatelet, Program, eventually, on_both_engines, run};

const TOKENS: &str = "/v1/client-side-access-tokens";

async fn is_refused(client: &Client) -> bool {
    client.get(TOKENS).await.outcome() == "401 bearer_invalid"
}

on_both_engines! {
    async fn a_key_works_until_it_is_revoked_also_in_a_running_server(engine: Engine) {
        let program = Program::on(engine).await;
        let server = program.start().await;
        let created = program.run(&["keys", "create", "--name", "ci", "--json"]).await.json();
        let key = created["api_key"].as_str().unwrap();
        assert!(key.starts_with("sk-let-") && key.len() == 56);
        let owner = server.stranger().bearer(key);
        owner.get(TOKENS).await.expect(200);
        let token = owner.create_token("agent-1", &["read_agent"]).await;
        program.run(&["keys", "revoke", created["id"].as_str().unwrap()]).await.ok();
        eventually("the running server refuses the key", Duration::from_secs(1), || is_refused(&owner)).await;
        // Its tokens go with it, and it makes no more.
        server.stranger().page(&token).get("/v1/agents/").await.refused(401, "token_revoked");
        let inspected = program.run(&["tokens", "inspect", &token]).await;
        assert!(!inspected.success && inspected.stdout.contains("revoked"), "{}", inspected.stdout);
        let listed = program.run(&["keys", "list", "--json"]).await.json();
        let status = listed.as_array().unwrap().iter().find(|row| row["id"] == created["id"]).unwrap();
        assert_eq!(status["status"], "revoked");
        assert!(!listed.to_string().contains(key));
    }

    async fn a_command_that_took_nothing_back_says_so_and_fails(engine: Engine) {
        let program = Program::on(engine).await;
        let server = program.start().await;
        let created = program.run(&["keys", "create", "--name", "ci", "--json"]).await.json();
        let id = created["id"].as_str().unwrap();
        let owner = server.stranger().bearer(created["api_key"].as_str().unwrap());
        let tokens = [owner.create_token("agent-1", &["read_agent"]).await, owner.create_token("agent-1", &["read_agent"]).await];
        let listed = program.run(&["tokens", "list", "--json"]).await.json();
        let newest = listed[0]["id"].as_str().unwrap();

        // What is not there.
        for (arguments, said) in [
            (["keys", "revoke", "key-unknown"], "keys list"),
            (["keys", "revoke", created["api_key"].as_str().unwrap()], "keys list"),
            (["keys", "revoke", "ci"], "keys list"),
            (["keys", "revoke", "command-line"], "keys list"),
            (["tokens", "revoke", "123e4567-e89b-42d3-8456-426614174000"], "tokens list"),
            (["tokens", "revoke", &tokens[0][..tokens[0].len() - 1]], "signature"),
            (["tokens", "revoke", "ck-let-eyJh.eyJi.c2ln"], "signing key"),
            (["tokens", "revoke", id], "ck-let-"),
        ] {
            let refused = program.run(&arguments).await;
            assert!(refused.failed().contains("not revoked") && refused.stderr.contains(said), "{arguments:?}: {}", refused.stderr);
            assert_eq!(refused.stdout, "");
        }
        for token in &tokens {
            server.stranger().page(token).get("/v1/agents/").await.refused(403, "operation_not_available");
        }

        // What is there, and what was revoked before.
        assert_eq!(program.run(&["tokens", "revoke", newest]).await.ok(), format!("{newest} is revoked"));
        for text in [newest, tokens[1].as_str()] {
            assert!(program.run(&["tokens", "revoke", text]).await.failed().contains("done before, at 20"));
        }
        let revoked = program.run(&["keys", "revoke", id, "--json"]).await.json();
        assert_eq!(revoked, serde_json::json!({"id": id, "status": "revoked", "tokens": 1}));
        assert!(program.run(&["keys", "revoke", id]).await.failed().contains("done before, at 20"));
    }

    async fn a_command_that_takes_something_back_makes_no_database(engine: Engine) {
        let program = Program::on(engine).await;
        for arguments in [
            &["keys", "revoke", "key-unknown"][..],
            &["keys", "list"],
            &["tokens", "revoke", "ck-let-eyJh.eyJi.c2ln"],
            &["tokens", "inspect", "ck-let-eyJh.eyJi.c2ln"],
            &["tokens", "list"],
            &["signing-keys", "rotate"],
            &["signing-keys", "list"],
        ] {
            let refused = program.run(arguments).await;
            assert!(refused.failed().contains("--database-url"), "{arguments:?}: {}", refused.stderr);
            assert_eq!(std::fs::read_dir(program.folder()).unwrap().count(), 0, "{arguments:?}");
        }
        program.run(&["migrate"]).await.ok();
        for arguments in [&["signing-keys", "rotate"][..], &["tokens", "revoke", "ck-let-eyJh.eyJi.c2ln"]] {
            let refused = program.run(arguments).await;
            assert!(refused.failed().contains("no signing key yet"), "{arguments:?}: {}", refused.stderr);
        }
        assert_eq!(program.run(&["keys", "list", "--json"]).await.json(), serde_json::json!([]));
    }

    async fn a_key_expires_and_no_token_outlives_it(engine: Engine) {
        let program = Program::on(engine).await;
        let server = program.start().await;
        let created = program.run(&["keys", "create", "--name", "short", "--expires-in", "2s", "--json"]).await.json();
        let owner = server.stranger().bearer(created["api_key"].as_str().unwrap());
        let token = owner.post(TOKENS, &crate::harness::token_request("agent-1", &["read_agent"])).await.expect(201);
        assert_eq!(token["expiresAt"], created["expires_at"]);
        eventually("the key has expired", Duration::from_secs(10), || is_refused(&owner)).await;
        let page = server.stranger().page(token["token"].as_str().unwrap());
        page.get("/v1/agents/").await.refused(401, "token_expired");
        let listed = program.run(&["keys", "list", "--json"]).await.json();
        assert!(listed.as_array().unwrap().iter().any(|row| row["status"] == "expired"));
    }

    async fn the_time_of_last_use_is_written_in_the_end(engine: Engine) {
        let program = Program::on(engine).await;
        let mut server = program.start().await;
        let created = program.run(&["keys", "create", "--name", "used", "--json"]).await.json();
        server.stranger().bearer(created["api_key"].as_str().unwrap()).get(TOKENS).await.expect(200);
        server.signal("TERM");
        server.exit().await;
        let listed = program.run(&["keys", "list", "--json"]).await.json();
        let row = listed.as_array().unwrap().iter().find(|row| row["id"] == created["id"]).unwrap();
        assert!(row["last_used_at"].is_string(), "{row}");
    }
}

/// Whoever copies a key out of a test by mistake learns so.
#[tokio::test]
async fn a_test_key_is_refused_with_the_reason_wherever_there_are_no_namespaces() {
    let key = run(&["keygen", "--test-key"]).await.ok();
    assert!(key.starts_with("sk-let-test"), "{key}");
    let upstream = Gatelet::ephemeral().await;
    let gateway = Program::ephemeral().argument("--upstream").argument(upstream.url());
    let without = Program::ephemeral().env("GATELET_CONTROL", "false");
    for (server, said) in [
        (gateway.start_alone().await, "works only on a mock"),
        (without.start_alone().await, "works only on a mock"),
        (Gatelet::ephemeral().await, "a namespace that this server does not have"),
    ] {
        let sentence = server.stranger().bearer(&key).get("/v1/agents/").await.refused(401, "bearer_invalid");
        assert!(sentence.contains("test key") && sentence.contains(said), "{sentence}");
        let cut_short = server.stranger().bearer(&key[..key.len() - 1]).get("/v1/agents/").await;
        assert!(!cut_short.refused(401, "bearer_invalid").contains("test key"));
    }
}

#[tokio::test]
async fn whatever_is_no_key_of_ours_is_refused_alike() {
    let server = Gatelet::ephemeral().await;
    let valid = server.key();
    let mistyped = format!("{}x{}", &valid[..20], &valid[21..]);
    let mistyped = if mistyped == valid { format!("{}y{}", &valid[..20], &valid[21..]) } else { mistyped };
    for (why, header, code) in [
        ("nothing", "", "bearer_missing"),
        ("another scheme", "Basic dXNlcjpwdw==", "bearer_missing"),
        ("an empty bearer", "Bearer ", "bearer_missing|bearer_invalid"),
        ("an unknown prefix", "Bearer sk-proj-0123456789", "bearer_invalid"),
        ("a key too short to look up", "Bearer sk-let-abc", "bearer_invalid"),
        ("an injected quote", "Bearer sk-let-0123456789012' OR '1'='1", "bearer_invalid"),
        ("an unknown key", "Bearer sk-let-0123456789012345", "bearer_invalid"),
        ("a mistyped key", &format!("Bearer {mistyped}"), "bearer_invalid"),
        ("half a key", &format!("Bearer {}", &valid[..40]), "bearer_invalid"),
        ("a key of another case", &format!("Bearer {}", valid.to_uppercase()), "bearer_invalid"),
    ] {
        let stranger = server.stranger();
        let client = if header.is_empty() { stranger } else { stranger.with("authorization", header) };
        let answer = client.get(TOKENS).await;
        assert_eq!(answer.status, 401, "{why}");
        let body = answer.expect(401);
        assert!(code.split('|').any(|code| body["code"] == code), "{why}: {body}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer "), "{why}: {challenge}");
        assert_eq!(challenge.contains("invalid_token"), body["code"] == "bearer_invalid", "{why}: {challenge}");
    }
    // Letta's other header for a password, in the absence of the first one.
    let bare = |value: &str| server.stranger().with("x-bare-password", value);
    bare(&format!("password {valid}")).get(TOKENS).await.expect(200);
    for (value, code) in [
        (valid.to_owned(), "bearer_missing"),
        (format!("Password {valid}"), "bearer_missing"),
        (format!("password {mistyped}"), "bearer_invalid"),
        ("password".into(), "bearer_missing"),
    ] {
        bare(&value).get(TOKENS).await.refused(401, code);
    }
    let bare_twice = bare(&format!("password {valid}")).with("x-bare-password", &format!("password {valid}"));
    bare_twice.get(TOKENS).await.refused(401, "bearer_invalid");
    let both = bare(&format!("password {valid}")).bearer(&mistyped);
    both.get(TOKENS).await.refused(401, "bearer_invalid");
    let agent = server.owner().create_agent(&serde_json::json!({"name": "a"})).await;
    let token = server.owner().create_token(&agent, &["read_agent"]).await;
    let page = bare(&format!("password {token}")).with("origin", crate::harness::ORIGIN);
    page.get(&format!("/v1/agents/{agent}")).await.refused(401, "bearer_missing");
    let twice = server.owner().bearer(valid);
    twice.get(TOKENS).await.refused(401, "bearer_invalid");
    let lower = server.stranger().with("authorization", &format!("bearer {valid}"));
    lower.get(TOKENS).await.expect(200);
    let hint = server.stranger().bearer(&mistyped).get(TOKENS).await.refused(401, "bearer_invalid");
    assert!(hint.contains("checksum"), "{hint}");
}
