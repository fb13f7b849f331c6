//! What requests cost the store: its own log of statements tells, and its own plans for them.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};

use super::*;
use crate::harness::{Engine, eventually};

/// A server that logs every statement.
struct Observed {
    program: Program,
    server: Gatelet,
    owner: Client,
}

impl Observed {
    async fn on(engine: Engine) -> Self {
        let program = Program::on(engine).await.env("GATELET_LOG", "info,sqlx::query=debug");
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        Self { program, server, owner }
    }

    /// The statements about what the mock keeps that a request leads to, in no order: each is logged when the connection
    /// has done with it, which may be after the answer.
    async fn statements<F: Future>(&self, request: F) -> (Vec<String>, F::Output) {
        let before = self.settled().await.len();
        let answer = request.await;
        let mut statements = self.settled().await.split_off(before);
        statements.sort();
        (statements, answer)
    }

    /// The statements until now, once there have been no more for a while.
    async fn settled(&self) -> Vec<String> {
        const AT_REST: usize = 10;
        let last = Cell::new((0, 0));
        eventually("no more statements are logged", Duration::from_secs(10), || {
            let (count, polls) = last.get();
            let now = self.logged().len();
            last.set(if now == count { (now, polls + 1) } else { (now, 0) });
            async { last.get().1 >= AT_REST }
        })
        .await;
        self.logged()
    }

    fn logged(&self) -> Vec<String> {
        let log = self.server.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let statements = lines.filter(|line| line["target"] == "sqlx::query").map(|line| {
            let whole = line["db.statement"].as_str().filter(|text| !text.trim().is_empty());
            let text = whole.or(line["summary"].as_str()).unwrap_or_default();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        });
        let kept = |text: &String| ["documents", "links", "messages"].iter().any(|table| text.contains(table));
        statements.filter(kept).collect()
    }

    /// Makes an agent remember so many messages more, as if they had been said.
    async fn fill(&self, agent: &str, count: usize) {
        let insert = |id: &str, sequence: &str| {
            format!(
                "INSERT INTO messages (id, project, agent_id, conversation_id, run_id, body) \
                 SELECT {id}, project, agent_id, conversation_id, run_id, body FROM messages, {sequence} \
                 WHERE id = (SELECT MAX(id) FROM messages WHERE agent_id = '{agent}')"
            )
        };
        if self.is_postgres() {
            let mut database = self.postgres().await;
            let id = "'message-' || gen_random_uuid()";
            let rows = insert(id, &format!("generate_series(1, {count})")).replace("messages", "gatelet.messages");
            sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut database).await.unwrap();
            sqlx::raw_sql("ANALYZE").execute(&mut database).await.unwrap();
            database.close().await.unwrap();
        } else {
            let mut database = self.sqlite().await;
            let numbers = format!(
                "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"
            );
            let rows = insert("'message-' || lower(hex(randomblob(16)))", &numbers);
            sqlx::raw_sql(AssertSqlSafe(rows)).execute(&mut database).await.unwrap();
            database.close().await.unwrap();
        }
    }

    /// How the database would run a statement.
    async fn plan(&self, statement: &str) -> String {
        let mut steps = Vec::new();
        if self.is_postgres() {
            let mut database = self.postgres().await;
            sqlx::raw_sql("SET search_path TO gatelet").execute(&mut database).await.unwrap();
            // As for parameters that are not known.
            let parameters = (1..100).take_while(|number| statement.contains(&format!("${number}"))).count();
            let nulls = vec!["NULL"; parameters].join(", ");
            let prepare = format!("SET plan_cache_mode TO force_generic_plan; PREPARE it AS {statement}");
            sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut database).await.unwrap();
            let explain = AssertSqlSafe(format!("EXPLAIN EXECUTE it ({nulls})"));
            for row in sqlx::raw_sql(explain).fetch_all(&mut database).await.unwrap() {
                steps.push(row.get::<String, _>(0));
            }
        } else {
            let mut database = self.sqlite().await;
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            for row in sqlx::raw_sql(explain).fetch_all(&mut database).await.unwrap() {
                steps.push(row.get::<String, _>(3));
            }
        }
        steps.join("\n")
    }

    fn is_postgres(&self) -> bool {
        self.program.url().starts_with("postgres")
    }

    async fn postgres(&self) -> PgConnection {
        PgConnection::connect(self.program.url()).await.unwrap()
    }

    async fn sqlite(&self) -> SqliteConnection {
        SqliteConnection::connect(self.program.url()).await.unwrap()
    }
}

/// More than a planner would read from one end to the other.
const MANY: usize = 20_000;

on_both_engines! {
    async fn a_turn_costs_the_same_however_much_was_said(engine: Engine) {
        let observed = Observed::on(engine).await;
        let agent = observed.owner.create_agent(&json!({})).await;
        say(&observed.owner, &agent, "One").await;
        let (few, _) = observed.statements(say(&observed.owner, &agent, "Two")).await;
        for number in 0..40 {
            say(&observed.owner, &agent, &number.to_string()).await;
        }
        observed.fill(&agent, MANY).await;
        let (many, _) = observed.statements(say(&observed.owner, &agent, "Three")).await;
        assert_eq!(few, many);
        // The agent is read, and locked in the transaction; a run with its step, what was said, and the agent are stored.
        let writes = few.iter().filter(|text| text.starts_with("INSERT") || text.starts_with("UPDATE")).count();
        assert!(few.len() <= 6 && writes <= 3, "{few:#?}");
    }

    async fn a_page_costs_one_statement_and_one_more_for_each_cursor(engine: Engine) {
        let observed = Observed::on(engine).await;
        let owner = &observed.owner;
        let agent = owner.create_agent(&json!({"tags": ["a"]})).await;
        say(owner, &agent, "One").await;
        let id = column(&owner.get(&path(&agent, "")).await.expect(200), "id").pop().unwrap();
        let mut costs = BTreeMap::new();
        for (query, statements) in [
            (path(&agent, ""), 1),
            (path(&agent, "?limit=1&order=asc"), 1),
            (path(&agent, &format!("?before={id}")), 2),
            (format!("/v1/agents/{agent}"), 1),
            (format!("/v1/agents/{agent}?include=agent.tags&include=agent.blocks&include=agent.tools"), 2),
        ] {
            let (cost, answer) = observed.statements(owner.get(&query)).await;
            answer.expect(200);
            costs.insert(query, (cost.len(), statements));
        }
        assert!(costs.values().all(|(cost, expected)| cost == expected), "{costs:#?}");
    }

    async fn paging_is_by_index_at_either_end_and_from_any_place(engine: Engine) {
        let observed = Observed::on(engine).await;
        let owner = &observed.owner;
        let agent = owner.create_agent(&json!({})).await;
        say(owner, &agent, "One").await;
        let id = column(&owner.get(&path(&agent, "")).await.expect(200), "id").pop().unwrap();
        observed.fill(&agent, MANY).await;
        for query in [
            String::new(),
            format!("&before={id}"),
            format!("&after={id}"),
            "&conversation_id=default".to_owned(),
            format!("&conversation_id=default&after={id}"),
        ] {
            for order in ["asc", "desc"] {
                let query = path(&agent, &format!("?limit=20&order={order}{query}"));
                let (statements, answer) = observed.statements(owner.get(&query)).await;
                answer.expect(200);
                for statement in statements {
                    let plan = observed.plan(&statement).await;
                    let reads_all = ["SCAN", "Seq Scan", "Sort", "TEMP B-TREE"].iter().any(|word| plan.contains(word));
                    assert!(!reads_all && plan.to_lowercase().contains("using"), "{statement}\n{plan}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_stored_in_one_transaction() {
    let observed = Observed::on(Engine::Postgres).await;
    let agent = observed.owner.create_agent(&json!({})).await;
    let newest = "SELECT MAX(seq) FROM gatelet.";
    let mut database = observed.postgres().await;
    let mut last = Vec::new();
    for table in ["messages", "documents"] {
        let place: i64 =
            sqlx::query_scalar(AssertSqlSafe(format!("{newest}{table}"))).fetch_one(&mut database).await.unwrap();
        last.push(place);
    }
    say(&observed.owner, &agent, "One").await;
    // Every row carries the number of the transaction that wrote it.
    let written = AssertSqlSafe(format!(
        "SELECT xmin::text, COUNT(*) FROM ( \
            SELECT xmin FROM gatelet.messages WHERE seq > {} \
            UNION ALL SELECT xmin FROM gatelet.documents WHERE seq > {} OR id = '{agent}') AS written GROUP BY 1",
        last[0], last[1]
    ));
    let transactions: Vec<(String, i64)> = sqlx::query_as(written).fetch_all(&mut database).await.unwrap();
    // What was said and answered, the run, its step, and the agent.
    assert!(matches!(transactions.as_slice(), [(_, 5..)]), "{transactions:?}");
}
