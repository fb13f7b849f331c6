//! What the database ends because of other transactions is run again, and only what is hopeless is refused, as what it is.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tokio::task::JoinSet;

use crate::harness::{Engine, Gatelet, Program, column, eventually, id, on_both_engines};

async fn lock_agent(connection: &mut PgConnection, agent: &str) {
    let lock = format!("SELECT id FROM gatelet.documents WHERE id = '{agent}' AND kind = 'agent' FOR UPDATE");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(connection).await.unwrap();
}

async fn count(connection: &mut PgConnection, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deadlock_ended_is_run_again() {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'gatelet' AND wait_event_type = 'Lock'";
    const DEADLOCKS: &str = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let program = Program::on(Engine::Postgres).await;
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let mut server = program.start().await;
    let owner = server.stranger().bearer(&key);
    let block = id(&owner.post("/v1/blocks/", &json!({"label": "human", "value": "old"})).await.expect(200));
    let mut agents = Vec::new();
    for _ in 0..2 {
        agents.push(owner.create_agent(&json!({"block_ids": [block]})).await);
    }
    agents.sort();

    // Another transaction locks the agents in the other order, and never notices a deadlock itself.
    let mut other = PgConnection::connect(program.url()).await.unwrap();
    let mut observer = PgConnection::connect(program.url()).await.unwrap();
    sqlx::raw_sql("BEGIN; SET LOCAL deadlock_timeout = '1min'").execute(&mut other).await.unwrap();
    lock_agent(&mut other, &agents[1]).await;
    let change = {
        let (owner, path) = (owner.clone(), format!("/v1/blocks/{block}"));
        tokio::spawn(async move { owner.patch(&path, &json!({"value": "new"})).await })
    };
    let started = tokio::time::Instant::now();
    while count(&mut observer, WAITING).await == 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "the change does not wait for the second agent");
    }
    lock_agent(&mut other, &agents[0]).await;
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();

    assert_eq!(change.await.unwrap().expect(200)["value"], "new");
    for agent in &agents {
        let prompt = owner.get(&format!("/v1/agents/{agent}/messages?order=asc&limit=1")).await.expect(200);
        assert!(prompt[0]["content"].as_str().unwrap().contains("new"), "{prompt}");
    }
    // A connection tells what it counted when it ends.
    server.signal("TERM");
    server.exit().await;
    assert_eq!(count(&mut observer, DEADLOCKS).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_process_keeps_locked_is_busy_and_not_out_of_reach() {
    let program = Program::on(Engine::Sqlite).await.env("GATELET_STORE__STATEMENT_TIMEOUT", "300ms");
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let server = program.start().await;
    let owner = server.stranger().bearer(&key);
    let block = json!({"label": "human", "value": "v"});
    let mut other = SqliteConnection::connect(program.url()).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let refused = owner.post("/v1/blocks/", &block).await;
    refused.refused(503, "store_busy");
    assert_eq!(refused.header("retry-after"), Some("1"));
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    eventually("the database is free", Duration::from_secs(5), || async {
        owner.post("/v1/blocks/", &block).await.status == 200
    })
    .await;
}

on_both_engines! {
    async fn projects_that_are_made_at_once_under_one_name_get_slugs_of_their_own(engine: Engine) {
        const PROJECTS: usize = 8;
        let server = Gatelet::on(engine).await;
        let mut made = JoinSet::new();
        for _ in 0..PROJECTS {
            let owner = server.owner();
            made.spawn(async move { owner.post("/v1/projects", &json!({"name": "Same name"})).await });
        }
        let mut projects = Vec::new();
        while let Some(answer) = made.join_next().await {
            projects.push(answer.unwrap().expect(201));
        }
        let slugs: BTreeSet<String> = column(&projects.into(), "slug").into_iter().collect();
        assert_eq!(slugs.len(), PROJECTS, "{slugs:?}");
    }
}
