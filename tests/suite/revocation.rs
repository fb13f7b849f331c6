//! Revocation reaches every process within a second, and nothing is trusted when it cannot.

use std::time::Duration;

use crate::harness::{Client, Cluster, Engine, Program, Proxy, eventually, on_both_engines};

const TOKENS: &str = "/v1/client-side-access-tokens";
const SECOND: Duration = Duration::from_secs(1);

async fn outcome(page: &Client) -> String {
    page.get("/v1/agents/").await.outcome()
}

const ALIVE: &str = "403 operation_not_available";

on_both_engines! {
    async fn a_deleted_token_is_refused_here_at_once_and_elsewhere_within_a_second(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let (here, there) = tokio::join!(program.start(), program.start());
        for _ in 0..5 {
            let token = here.stranger().bearer(&key).create_token("agent-1", &["read_agent"]).await;
            let (near, far) = (here.stranger().page(&token), there.stranger().page(&token));
            assert_eq!((outcome(&near).await.as_str(), outcome(&far).await.as_str()), (ALIVE, ALIVE));
            assert_eq!(here.stranger().bearer(&key).delete(&format!("{TOKENS}/{token}")).await.status, 204);
            assert_eq!(outcome(&near).await, "401 token_revoked");
            eventually("the other process refuses it", SECOND, || async { outcome(&far).await == "401 token_revoked" }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_listening_connection_delays_nothing_beyond_the_second() {
    let program = Program::on(Engine::Postgres).await;
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let (here, there) = tokio::join!(program.start(), program.start());
    let owner = here.stranger().bearer(&key);
    for _ in 0..3 {
        let token = owner.create_token("agent-1", &["read_agent"]).await;
        let far = there.stranger().page(&token);
        assert_eq!(outcome(&far).await, ALIVE);
        // Every connection of every process goes, the listening ones among them.
        let database = program.url().rsplit('/').next().unwrap();
        let kill = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND query LIKE 'LISTEN%'"
        );
        Cluster::shared().await.execute(&kill).await;
        assert_eq!(owner.delete(&format!("{TOKENS}/{token}")).await.status, 204);
        eventually("the other process refuses it", SECOND, || async { outcome(&far).await == "401 token_revoked" })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_revocations_cannot_be_read_tokens_are_trusted_for_a_while_and_then_not() {
    let direct = Program::on(Engine::Postgres).await;
    let key = direct.run(&["keys", "create", "--name", "test"]).await.ok();
    let proxy = Proxy::before(direct.url()).await;
    let url = proxy.url(direct.url());
    let patient = Program::on(Engine::Postgres).await.database_url(&url).start().await;
    let strict =
        Program::on(Engine::Postgres).await.database_url(&url).env("GATELET_TOKENS__MAX_STALENESS", "2s").start().await;
    let token = patient.stranger().bearer(&key).create_token("agent-1", &["read_agent"]).await;
    let (patient_page, strict_page) = (patient.stranger().page(&token), strict.stranger().page(&token));
    assert_eq!((outcome(&patient_page).await.as_str(), outcome(&strict_page).await.as_str()), (ALIVE, ALIVE));
    strict.stranger().get("/readyz").await.expect(200);

    proxy.silence();
    eventually("client tokens are refused", Duration::from_secs(10), || async {
        outcome(&strict_page).await == "503 revocations_stale"
    })
    .await;
    assert_eq!(outcome(&patient_page).await, ALIVE, "its max_staleness is ten seconds");
    let refused = strict_page.get("/v1/agents/").await;
    assert!(refused.header("retry-after").is_some());
    let asking = async || strict.stranger().get("/readyz").await;
    let ready = tokio::time::timeout(Duration::from_secs(4), asking()).await.expect("/readyz keeps nobody waiting");
    assert_eq!((ready.status.as_u16(), ready.text.contains("stale")), (503, true), "{}", ready.text);
    // What needs the database says so; nothing hangs.
    let unknown = strict.stranger().bearer("sk-let-never-seen-before").get(TOKENS).await;
    unknown.refused(503, "store_unavailable");
    assert!(unknown.header("retry-after").is_some());
    // Meanwhile the token is revoked by a process that still reaches the database.
    direct.run(&["tokens", "revoke", &token]).await.ok();

    proxy.resume();
    eventually("the service resumes by itself", Duration::from_secs(15), || async {
        outcome(&strict_page).await == "401 token_revoked"
    })
    .await;
    eventually("/readyz recovers", Duration::from_secs(15), || async {
        strict.stranger().get("/readyz").await.status == 200
    })
    .await;
    strict.stranger().bearer(&key).get(TOKENS).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_deletion_survives_a_kill() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        for _ in 0..3 {
            let mut server = program.start().await;
            let owner = server.stranger().bearer(&key);
            let mut acknowledged = Vec::new();
            for _ in 0..10 {
                let token = owner.create_token("agent-1", &["read_agent"]).await;
                assert_eq!(owner.delete(&format!("{TOKENS}/{token}")).await.status, 204);
                acknowledged.push(token);
            }
            server.kill().await;
            let server = program.start().await;
            for token in acknowledged {
                assert_eq!(outcome(&server.stranger().page(&token)).await, "401 token_revoked");
            }
        }
    }
}
