//! Starting, stopping, and what the program says about itself.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use serde_json::json;
use sqlx::Connection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Cluster, Engine, Gatelet, Program, eventually, on_both_engines, run};

on_both_engines! {
    async fn the_banner_names_the_real_address_mode_and_store(engine: Engine) {
        let program = Program::on(engine).await;
        let server = program.start().await;
        assert_eq!(server.banner["event"], "listening");
        assert_eq!(server.banner["mode"], "mock");
        assert!(!server.url().ends_with(":0"));
        let store = server.banner["store"].as_str().unwrap();
        assert!(store.starts_with(if engine == Engine::Sqlite { "sqlite://" } else { "postgres://" }), "{store}");
        // Only an embedded store makes a key by itself.
        assert_eq!(server.banner["api_key"].is_string(), engine == Engine::Sqlite);
        let again = program.start().await;
        assert!(again.banner["api_key"].is_null(), "a key is shown once");
        server.stranger().get("/healthz").await.expect(200);
        server.stranger().get("/readyz").await.expect(200);
        for path in ["/v1/health/", "/v1/health", "/v1/ready/", "/v1/ready"] {
            let body = server.stranger().get(path).await.expect(200);
            assert_eq!((&body["status"], body["version"].is_string()), (&json!("ok"), true));
        }
        let health = program.run(&["health", "--url", server.url()]).await;
        assert_eq!(health.ok(), "ready");
    }

    async fn many_processes_may_start_at_once_on_an_empty_database(engine: Engine) {
        let program = Program::on(engine).await.env("GATELET_BOOTSTRAP_API_KEY", "sk-let-shared-by-replicas");
        let (a, b, c) = tokio::join!(program.start(), program.start(), program.start());
        let token = a.stranger().bearer("sk-let-shared-by-replicas").create_token("agent-1", &["read_agent"]).await;
        for server in [&a, &b, &c] {
            // The token verifies on each: one issuer, one signing key, one master key.
            server.stranger().page(&token).get("/v1/agents/").await.refused(403, "operation_not_available");
        }
    }

    async fn pending_migrations_refuse_the_start_when_they_may_not_run(engine: Engine) {
        let program = Program::on(engine).await;
        let refused = program.run(&["serve", "--listen", "127.0.0.1:0", "--no-migrate"]).await;
        assert!(refused.failed().contains("gatelet migrate"), "{}", refused.stderr);
        program.run(&["migrate"]).await.ok();
        program.argument("--no-migrate").start().await;
    }

    async fn a_wrong_master_key_refuses_the_start(engine: Engine) {
        let program = Program::on(engine).await;
        program.start().await;
        let other = run(&["keygen"]).await.ok();
        let refused = program.env("GATELET_MASTER_KEY", &other).run(&["serve", "--listen", "127.0.0.1:0"]).await;
        assert!(refused.failed().contains("master key"), "{}", refused.stderr);
    }

    async fn a_bootstrap_key_is_accepted_idempotently_and_stays_revoked(engine: Engine) {
        let key = "sk-let-bootstrap-0123456789";
        let program = Program::on(engine).await.env("GATELET_BOOTSTRAP_API_KEY", key);
        let first = program.start().await;
        assert!(first.banner["api_key"].is_null());
        first.stranger().bearer(key).get("/v1/client-side-access-tokens").await.expect(200);
        let second = program.start().await;
        second.stranger().bearer(key).get("/v1/client-side-access-tokens").await.expect(200);
        let keys = program.run(&["keys", "list", "--json"]).await.json();
        assert_eq!(keys.as_array().unwrap().len(), 1);
        program.run(&["keys", "revoke", keys[0]["id"].as_str().unwrap()]).await.ok();
        let third = program.start().await;
        assert!(third.log().contains("stays revoked"));
        third.stranger().bearer(key).get("/v1/client-side-access-tokens").await.refused(401, "bearer_invalid");
    }
}

#[tokio::test]
async fn it_holds_more_connections_than_a_shell_lets_programs_open_files() {
    let server = Program::ephemeral().open_files(100).start_alone().await;
    let address = server.url().strip_prefix("http://").unwrap();
    let mut open = Vec::new();
    for _ in 0..200 {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut start = [0; 12];
        connection.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        open.push(connection);
    }
}

#[tokio::test]
async fn everything_in_postgres_lives_in_one_schema() {
    let program = Program::on(Engine::Postgres).await;
    program.start().await;
    let mut connection = sqlx::PgConnection::connect(program.url()).await.unwrap();
    let elsewhere: Vec<String> = sqlx::query_scalar(
        "SELECT schemaname || '.' || tablename FROM pg_tables \
         WHERE schemaname NOT IN ('gatelet', 'pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(elsewhere, Vec::<String>::new());
}

#[tokio::test]
async fn a_bootstrap_key_must_look_like_a_key() {
    for key in ["", "sk-let-short", "sk-proj-0123456789012345", "sk-let-with space 0123456789"] {
        let refused = Program::ephemeral().run(&["serve", "--ephemeral", "--bootstrap-api-key", key]).await;
        assert!(refused.failed().contains("bootstrap_api_key"), "{}", refused.stderr);
    }
    let key = run(&["keygen", "--test-key"]).await.ok();
    for more in [&["--ephemeral"][..], &["--ephemeral", "--control"], &[]] {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--bootstrap-api-key", &key];
        let refused = Program::on(Engine::Sqlite).await.run(&[&serve, more].concat()).await;
        assert!(refused.failed().contains("bootstrap_api_key must not be a test key"), "{}", refused.stderr);
        assert!(!refused.stderr.contains(&key), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn postgres_without_a_master_key_is_refused_with_the_command_that_makes_one() {
    let url = Cluster::shared().await.create_database().await;
    let refused = Program::ephemeral().database_url(&url).run(&["serve", "--listen", "127.0.0.1:0"]).await;
    assert!(refused.failed().contains("gatelet keygen"), "{}", refused.stderr);
}

#[tokio::test]
async fn sqlite_gets_a_key_file_that_only_its_owner_reads() {
    let program = Program::on(Engine::Sqlite).await;
    program.start().await;
    let file = program.folder().join("gatelet.db.key");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // A lost key file is not replaced by one that opens nothing.
    std::fs::remove_file(&file).unwrap();
    assert!(program.try_start().await.unwrap_err().contains("gatelet.db.key"));
}

#[tokio::test]
async fn an_ephemeral_server_writes_nothing_to_disk() {
    let program = Program::ephemeral();
    let server = program.start().await;
    assert_eq!(server.banner["store"], "memory");
    server.owner().create_token("agent-1", &["read_agent"]).await;
    let files: Vec<_> = std::fs::read_dir(program.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| name.to_string_lossy().ends_with(".log")), "{files:?}");
    let refused = program.run(&["serve", "--ephemeral", "--database-url", "sqlite://x.db"]).await;
    refused.failed();
}

#[tokio::test]
async fn mistakes_on_the_command_line_are_one_sentence() {
    let program = Program::on(Engine::Sqlite).await;
    for (arguments, said) in [
        (vec!["serve", "--database-url", "mysql://x"], "mysql"),
        (vec!["serve", "--database-url", "sqlite:///nowhere/at/all.db"], "database"),
        (vec!["serve", "--config", "/nowhere.toml"], "/nowhere.toml"),
        (vec!["serve", "--listen", "nonsense"], "listen"),
        (vec!["keys", "revoke", "key-unknown"], "key-unknown"),
        (vec!["tokens", "revoke", "ck-let-a.b.c"], "signing key"),
        (vec!["health", "--url", "http://127.0.0.1:1"], "127.0.0.1:1"),
    ] {
        let refused = program.run(&arguments).await;
        assert!(refused.failed().contains(said), "{arguments:?}: {}", refused.stderr);
    }
    let server = program.start().await;
    let address = server.url().trim_start_matches("http://").to_owned();
    assert!(program.run(&["serve", "--listen", &address]).await.failed().contains(&address));
}

#[tokio::test]
async fn settings_come_from_the_file_and_mistakes_in_it_are_named() {
    let program = Program::on(Engine::Sqlite).await;
    let file = program.folder().join("gatelet.toml");
    std::fs::write(&file, "[tokens]\nmax_lifetime = '1m'\n").unwrap();
    let program = program.env("GATELET_CONFIG", file.to_str().unwrap()).env("GATELET_TYPO", "1");
    let server = program.start().await;
    assert!(server.log().contains("GATELET_TYPO"));
    let mut body = crate::harness::token_request("agent-1", &["read_agent"]);
    body["expires_at"] = json!((chrono::Utc::now() + chrono::TimeDelta::hours(1)).to_rfc3339());
    let sentence = server.owner().post("/v1/client-side-access-tokens", &body).await.refused(400, "invalid_request");
    assert!(sentence.contains("expires_at") && sentence.contains("1m"), "{sentence}");
    std::fs::write(&file, "[tokens]\nmax_lifetme = '1m'\n").unwrap();
    let refused = program.run(&["config", "check"]).await;
    assert!(
        refused.failed().contains("max_lifetme") && refused.failed().contains("gatelet.toml"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn a_check_of_the_settings_finds_what_would_keep_the_server_from_starting_and_shows_no_password() {
    for (name, value, said) in [
        ("GATELET_DATABASE_URL", "nonsense-hunter2", "database URL"),
        ("GATELET_DATABASE_URL", "mysql://gatelet:hunter2@db/gatelet", "database URL"),
        ("GATELET_DATABASE_URL", "postgres://gatelet:hunter2@db:port/gatelet", "database URL"),
        ("GATELET_DATABASE_URL", "postgres://gatelet:hunter2@[db/gatelet", "database URL"),
        ("GATELET_DATABASE_URL", "sqlite://", "--ephemeral"),
        ("GATELET_DATABASE_URL", "sqlite:gatelet.db?mood=good", "database URL"),
        ("GATELET_MOCK__SCRIPT", "/nowhere/replies.toml", "/nowhere/replies.toml"),
    ] {
        let program = Program::on(Engine::Sqlite).await.env(name, value);
        for arguments in [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let refused = program.run(arguments).await;
            assert!(refused.failed().contains(said), "{value}: {}", refused.stderr);
            assert!(!refused.stderr.contains("hunter2"), "{value}: {}", refused.stderr);
        }
    }
    for value in ["postgres://gatelet:hunter2@db/gatelet?sslmode=require", "sqlite://gatelet.db"] {
        let program = Program::on(Engine::Sqlite).await.env("GATELET_DATABASE_URL", value);
        assert_eq!(program.run(&["config", "check"]).await.ok(), "the configuration is valid");
    }
}

/// The control API can wipe what it controls.
#[tokio::test]
async fn a_control_api_on_somebody_elses_data_refuses_the_start() {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--control"];
    for (place, said) in [
        (["--upstream", "http://127.0.0.1:1"], "upstream"),
        (["--database-url", "postgres://gatelet@127.0.0.1:1/gatelet"], "PostgreSQL"),
    ] {
        let refused = Program::ephemeral().run(&[&serve[..], &place].concat()).await;
        assert!(refused.failed().contains(said) && refused.failed().contains("control"), "{}", refused.stderr);
    }
    for (name, value, said) in [
        ("GATELET_UPSTREAM_URL", "http://127.0.0.1:1", "upstream"),
        ("GATELET_DATABASE_URL", "postgres://gatelet@127.0.0.1:1/gatelet", "PostgreSQL"),
    ] {
        let program = Program::on(Engine::Sqlite).await.env(name, value);
        assert_eq!(program.run(&["config", "check"]).await.ok(), "the configuration is valid");
        let program = program.env("GATELET_CONTROL", "true");
        for arguments in [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let refused = program.run(arguments).await;
            assert!(refused.failed().contains(said), "{value}: {}", refused.stderr);
        }
    }
}

#[tokio::test]
async fn a_signal_to_stop_turns_readiness_off_at_once_and_requests_finish() {
    let mut server = Program::ephemeral().env("GATELET_SHUTDOWN__DELAY", "30s").start_alone().await;
    server.signal("TERM");
    let stranger = server.stranger();
    eventually("/readyz answers 503", Duration::from_secs(10), || async {
        stranger.get("/readyz").await.status == 503
    })
    .await;
    // Still within the delay: new connections are taken.
    server.owner().get("/v1/client-side-access-tokens").await.expect(200);
    server.signal("INT");
    assert_eq!(server.exit().await, Some(0), "a second signal exits now");
}

#[tokio::test]
async fn a_stopped_server_exits_with_success() {
    let mut server = Gatelet::on(Engine::Sqlite).await;
    server.owner().create_token("agent-1", &["read_agent"]).await;
    server.signal("TERM");
    assert_eq!(server.exit().await, Some(0));
}
