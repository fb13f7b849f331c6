//! What must hold when nobody changes anything any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::harness::{Client, Engine, Program, column, eventually, id, ids};

/// Holds what the server answers about one thing against what it answers about another. Returns the ids of the tools that
/// come with it.
pub(super) async fn of_answers(owner: &Client) -> Vec<String> {
    eventually("no run is left", Duration::from_secs(30), || async {
        owner.get("/v1/runs/?active=true&limit=1000").await.expect(200) == json!([])
    })
    .await;
    let agents =
        owner.get("/v1/agents/?limit=1000&include=agent.blocks&include=agent.tools&include=agent.sources").await;
    let agents = agents.expect(200);
    let agents = agents.as_array().unwrap();
    for (collection, attached) in [("blocks", "blocks"), ("folders", "sources")] {
        let list = owner.get(&format!("/v1/{collection}/?limit=1000")).await.expect(200);
        for thing in list.as_array().unwrap() {
            let shows = |agent: &&Value| ids(&agent[attached]).contains(&id(thing));
            let expected: BTreeSet<String> = agents.iter().filter(shows).map(id).collect();
            let told = owner.get(&format!("/v1/{collection}/{}/agents?limit=1000", id(thing))).await.expect(200);
            let told =
                told.as_array().unwrap().iter().map(|agent| agent.as_str().map_or_else(|| id(agent), str::to_owned));
            assert_eq!(told.collect::<BTreeSet<_>>(), expected, "{thing}");
        }
    }
    for agent in agents {
        let labels = column(&agent["blocks"], "label");
        assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), labels.len(), "{agent}");
    }
    for list in ["/v1/tools/?tool_types=custom&limit=1000", "/v1/folders/?limit=1000"] {
        let names = column(&owner.get(list).await.expect(200), "name");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{list}: {names:?}");
    }
    let tools = owner.get("/v1/tools/?limit=1000").await.expect(200);
    tools.as_array().unwrap().iter().filter(|tool| tool["tool_type"] != "custom").map(id).collect()
}

/// What is stored, as far as it must fit together.
#[derive(Default)]
struct Stored {
    /// Kind, id and parent of every document.
    documents: Vec<(String, String, Option<String>)>,
    /// Agents and conversations with their contents.
    threads: Vec<(String, String, String)>,
    /// Kind, source and target.
    links: Vec<(String, String, String)>,
    /// How many messages there are of each agent and conversation.
    messages: Vec<(String, String, i64)>,
    /// How often transactions have waited for each other; SQLite has no such thing.
    deadlocks: i64,
}

macro_rules! read_all {
    ($connection:expr, $schema:literal) => {{
        let connection = $connection;
        Stored {
            documents: sqlx::query_as(concat!("SELECT kind, id, parent FROM ", $schema, "documents"))
                .fetch_all(&mut *connection)
                .await
                .unwrap(),
            threads: sqlx::query_as(concat!(
                "SELECT kind, id, body FROM ",
                $schema,
                "documents WHERE kind IN ('agent', 'conversation')"
            ))
            .fetch_all(&mut *connection)
            .await
            .unwrap(),
            links: sqlx::query_as(concat!("SELECT kind, source, target FROM ", $schema, "links"))
                .fetch_all(&mut *connection)
                .await
                .unwrap(),
            messages: sqlx::query_as(concat!(
                "SELECT agent_id, conversation_id, COUNT(*) FROM ",
                $schema,
                "messages GROUP BY agent_id, conversation_id"
            ))
            .fetch_all(&mut *connection)
            .await
            .unwrap(),
            deadlocks: 0,
        }
    }};
}

impl Stored {
    async fn read(program: &Program, engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => {
                let mut connection = SqliteConnection::connect(program.url()).await.unwrap();
                let stored = read_all!(&mut connection, "");
                connection.close().await.unwrap();
                stored
            }
            Engine::Postgres => {
                let mut connection = PgConnection::connect(program.url()).await.unwrap();
                let mut stored = read_all!(&mut connection, "gatelet.");
                // The server's connections have told what they counted when they ended.
                stored.deadlocks =
                    sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
                        .fetch_one(&mut connection)
                        .await
                        .unwrap();
                connection.close().await.unwrap();
                stored
            }
        }
    }
}

/// What does not fit together in the database of a server that has ended. `built_in`: the ids of the tools that no document
/// describes.
pub(super) async fn of_store(program: &Program, engine: Engine, built_in: &[String]) -> Vec<String> {
    let stored = Stored::read(program, engine).await;
    let present: BTreeSet<&str> =
        stored.documents.iter().map(|(_, id, _)| id.as_str()).chain(built_in.iter().map(String::as_str)).collect();
    let mut problems = Vec::new();
    for (kind, source, target) in &stored.links {
        if !present.contains(source.as_str()) || !present.contains(target.as_str()) {
            problems.push(format!("a link {kind} from {source} to {target} dangles"));
        }
        if kind == "active_run" {
            problems.push(format!("{target} of {source} has not ended"));
        }
    }
    for (kind, id, parent) in &stored.documents {
        if parent.as_ref().is_some_and(|parent| !present.contains(parent.as_str())) {
            problems.push(format!("{kind} {id} belongs to nothing"));
        }
    }
    let mut counts: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (agent, conversation, count) in &stored.messages {
        counts.insert((agent.clone(), conversation.clone()), *count);
    }
    for (kind, id, body) in &stored.threads {
        let body: Value = serde_json::from_str(body).unwrap();
        let thread = match body["agent_id"].as_str() {
            Some(agent) => (agent.to_owned(), id.clone()),
            None => (id.clone(), "default".to_owned()),
        };
        // The system message is not counted.
        let expected = body["recall"].as_i64().unwrap() + 1;
        let found = counts.remove(&thread).unwrap_or_default();
        if found != expected {
            problems.push(format!("{kind} {id} counts {expected} messages and has {found}"));
        }
    }
    problems.extend(counts.iter().map(|(thread, count)| format!("{count} messages of {thread:?} belong to nothing")));
    if stored.deadlocks > 0 {
        problems.push(format!("{} deadlocks", stored.deadlocks));
    }
    problems
}
