//! What a client token is told names nobody but the agents of its policy, and no secret: every operation that is open to
//! client tokens is called in a store in which agents share whatever can be shared.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Engine, Gatelet, NOBODY, Program, form, id, on_both_engines, run};

const WORDS: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];
const CANARY: &str = "canary";

/// Things of an agent's by the names of path parameters and query parameters, those of one kind after another.
type Things = BTreeMap<&'static str, String>;

/// Two agents of one project that share what can be shared.
struct Crowd {
    own: Things,
    foreign: Things,
    /// What a token on the first agent must not be told: ids that are the second's alone, and whoever else there is.
    hidden: Vec<String>,
}

/// What both agents have, and each one's own. Whatever holds a secret holds the canary.
async fn crowd(owner: &Client) -> Crowd {
    let post = async |path: &str, body: Value| owner.post(path, &body).await.expect(200);
    let change = async |path: String| owner.send(Method::PATCH, &path, None).await.expect(200);
    let block = id(&post("/v1/blocks/", json!({"label": "shared", "value": "x"})).await);
    let tool = format!("def shared() -> str:\n    \"\"\"Shares.\"\"\"\n    return '{CANARY}'\n");
    let tool = id(&post("/v1/tools/", json!({"source_code": tool})).await);
    let folder = |name: &str| json!({"name": name, "embedding": "openai/text-embedding-3-small"});
    let shared_folder = id(&post("/v1/folders/", folder("shared")).await);
    upload(owner, &shared_folder, "shared.txt").await;
    let mut hidden = Vec::new();
    let mut crowd = Vec::new();
    for name in ["own", "foreign"] {
        let agent = post(
            "/v1/agents/",
            json!({
                "name": name, "model": "openai/gpt-4o-mini", "embedding": "openai/text-embedding-3-small",
                "block_ids": [block], "tool_ids": [tool], "enable_sleeptime": true,
                "memory_blocks": [{"label": "human", "value": "x"}], "secrets": {"KEY": CANARY},
                "metadata": {"api_key": CANARY},
            }),
        )
        .await;
        let group = &agent["managed_group"];
        hidden.push(id(group));
        let partner = group["agent_ids"][0].as_str().unwrap().to_owned();
        let agent = id(&agent);
        let path = format!("/v1/agents/{agent}");
        // What is attached to an agent, its sleeptime agent has too.
        let own_block = id(&post("/v1/blocks/", json!({"label": "mine", "value": "x"})).await);
        change(format!("{path}/core-memory/blocks/attach/{own_block}")).await;
        change(format!("/v1/agents/{partner}/core-memory/blocks/detach/{own_block}")).await;
        hidden.push(partner);
        change(format!("{path}/folders/attach/{shared_folder}")).await;
        let own_folder = id(&post("/v1/folders/", folder(name)).await);
        let file = upload(owner, &own_folder, "own.txt").await;
        change(format!("{path}/folders/attach/{own_folder}")).await;
        let own_tool = format!("def {name}() -> str:\n    \"\"\"Owns.\"\"\"\n    return '{CANARY}'\n");
        let own_tool = id(&post("/v1/tools/", json!({"source_code": own_tool})).await);
        change(format!("{path}/tools/attach/{own_tool}")).await;
        let conversation = id(&post(&format!("/v1/conversations/?agent_id={agent}"), json!({})).await);
        post(&format!("/v1/conversations/{conversation}/messages"), json!({"input": "x", "streaming": false})).await;
        // By hand, with whoever a message may come from; then in the background, with a callback.
        let said = json!([{"role": "user", "content": "x", "sender_id": format!("{CANARY}-{agent}")}]);
        let said = post(&format!("{path}/messages"), json!({"messages": said})).await;
        let streamed = json!({"input": "x", "background": true, "streaming": true});
        let client = owner.with("x-stainless-package-version", "1.12.1");
        client.post(&format!("{path}/messages"), &streamed).await.value().unwrap();
        let later = json!({"messages": [{"role": "user", "content": "x"}], "callback_url": format!("http://127.0.0.1:9/{CANARY}")});
        post(&format!("{path}/messages/async"), later).await;
        let runs = owner.get(&format!("/v1/runs/?agent_id={agent}&background=true")).await.expect(200);
        let streamed = runs.as_array().unwrap().iter().find(|run| run["callback_url"].is_null()).map(id).unwrap();
        let passage = post(&format!("{path}/archival-memory"), json!({"text": "x"})).await;
        let at = json!({"type": "one-time", "scheduled_at": 4_102_444_800_000_u64});
        let scheduled = json!({
            "messages": [{"role": "user", "content": "x", "sender_id": format!("{CANARY}-{agent}")}],
            "schedule": at, "callback_url": format!("http://127.0.0.1:9/{CANARY}"),
        });
        let scheduled = owner.post(&format!("{path}/schedule"), &scheduled).await.expect(201);
        let files = owner.get(&format!("{path}/files")).await.expect(200);
        let attachment = files["files"].as_array().unwrap().iter().find(|one| one["file_id"] == *file).map(id).unwrap();
        crowd.push(Things::from([
            ("agent_id", agent),
            ("block_id", own_block),
            ("conversation_id", conversation),
            ("file_agent_id", attachment),
            ("file_id", file),
            ("folder_id", own_folder),
            ("memory_id", id(&passage[0])),
            ("message_id", id(&said["messages"][0])),
            ("run_id", streamed),
            ("scheduled_message_id", id(&scheduled)),
            ("step_id", said["messages"][0]["step_id"].as_str().unwrap().to_owned()),
            ("tool_id", own_tool),
        ]));
    }
    let foreign = crowd.pop().unwrap();
    let own = crowd.pop().unwrap();
    let agents = json!([own["agent_id"], foreign["agent_id"]]);
    let identity = json!({
        "identifier_key": CANARY, "name": CANARY, "identity_type": "user", "agent_ids": agents,
        "properties": [{"key": CANARY, "value": CANARY, "type": "string"}],
    });
    hidden.push(id(&post("/v1/identities/", identity).await));
    hidden.push(id(&post("/v1/groups/", json!({"agent_ids": agents, "description": CANARY})).await));
    hidden.push(CANARY.to_owned());
    hidden.extend(foreign.values().cloned());
    hidden.extend(
        owner
            .get(&format!("/v1/runs/?agent_id={}", foreign["agent_id"]))
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .iter()
            .map(id),
    );
    Crowd { own, foreign, hidden }
}

/// Uploads a file to a folder; its id.
async fn upload(owner: &Client, folder: &str, name: &str) -> String {
    let body = form(&[("file", Some((name, "text/plain")), b"what it says")]);
    id(&owner.send_form(&format!("/v1/folders/{folder}/upload"), body).await.expect(200))
}

/// An operation that is open to client tokens.
struct Open {
    method: Method,
    template: String,
}

/// Every one of them, from the table.
async fn open_operations() -> Vec<Open> {
    let operations = run(&["operations", "--json"]).await.json();
    let is_open = |row: &&Value| {
        row["client_token"].is_array()
            || !["never", "key_only", "public"].contains(&row["client_token"].as_str().unwrap_or("words"))
    };
    let open: Vec<Open> = operations
        .as_array()
        .unwrap()
        .iter()
        .filter(is_open)
        .map(|row| Open {
            method: row["method"].as_str().unwrap().parse().unwrap(),
            template: row["path"].as_str().unwrap().to_owned(),
        })
        .collect();
    assert!(open.len() > 50, "{operations}");
    open
}

impl Open {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// The parameters of the path.
    fn parameters(&self) -> impl Iterator<Item = &str> {
        self.template.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The path with these things in it.
    fn path(&self, things: &Things) -> String {
        let mut path = self.template.replace("{block_label}", "mine");
        for (name, id) in things {
            path = path.replace(&format!("{{{name}}}"), id);
        }
        let agent = &things["agent_id"];
        match self.template.as_str() {
            "/v1/conversations/" | "/v1/runs/" | "/v1/runs/active" | "/v1/steps/" => format!("{path}?agent_id={agent}"),
            "/v1/agents/{agent_id}/archival-memory/search" => format!("{path}?query=x&"),
            "/v1/agents/{agent_id}" => format!(
                "{path}?include=agent.identities&include=agent.managed_group&include=agent.tools&include=agent.blocks\
                 &include=agent.secrets&include=agent.sources&include=agent.tags"
            ),
            template if template.starts_with("/v1/agents/{agent_id}/memory-files/") => {
                format!("{path}?file_path=a&path=a")
            }
            _ => format!("{path}?"),
        }
    }

    /// What it is to be sent.
    fn body(&self, things: &Things) -> Option<Value> {
        let said = json!({"messages": [{"role": "user", "content": "x"}]});
        Some(match self.name().as_str() {
            "PATCH /v1/agents/{agent_id}" => json!({"description": "d"}),
            "PATCH /v1/agents/{agent_id}/core-memory/blocks/{block_label}" => json!({"value": "y"}),
            "PATCH /v1/conversations/{conversation_id}" => json!({"summary": "s"}),
            "PATCH /v1/steps/{step_id}/feedback" => json!({"feedback": "positive"}),
            "POST /v1/agents/{agent_id}/archival-memory" => json!({"text": "y"}),
            "POST /v1/agents/{agent_id}/messages/cancel" => json!({"run_ids": [things["run_id"]]}),
            "POST /v1/conversations/{conversation_id}/stream" => json!({"run_id": things["run_id"]}),
            "POST /v1/chat/completions" => {
                json!({"model": things["agent_id"], "messages": [{"role": "user", "content": "x"}]})
            }
            "POST /v1/responses" => json!({"model": things["agent_id"], "input": "x"}),
            name if name.starts_with("POST /v1/") && name.contains("/messages") => said,
            _ if self.method == Method::POST => json!({}),
            _ => return None,
        })
    }

    async fn ask(&self, client: &Client, things: &Things) -> Answer {
        client.send(self.method.clone(), &self.path(things), self.body(things).as_ref()).await
    }
}

/// How operations fare that are not simply answered.
const OTHERWISE: &[(&str, &str)] = &[
    ("GET /v1/agents/{agent_id}/memory-files/content", "501 not_mocked"),
    ("GET /v1/agents/{agent_id}/memory-files/directory", "501 not_mocked"),
    ("GET /v1/agents/{agent_id}/memory-files/history", "501 not_mocked"),
    // Nothing runs.
    ("POST /v1/conversations/{conversation_id}/cancel", "409 conflict"),
    // The run that is named is another conversation's.
    ("POST /v1/conversations/{conversation_id}/stream", "404 not_found"),
];

impl Crowd {
    /// Asks for everything with every set of words, and looks for what is hidden.
    async fn is_told_of_nobody_else(&self, owner: &Client, stranger: &Client) {
        let operations = open_operations().await;
        let mut problems = Vec::new();
        for words in SETS {
            let page = stranger.page(&owner.create_token(&self.own["agent_id"], words).await);
            for operation in &operations {
                let answer = operation.ask(&page, &self.own).await;
                problems.extend(self.tells(&answer).map(|told| format!("{} tells of {told}", operation.name())));
                if words.len() == WORDS.len() {
                    let expected = OTHERWISE.iter().find(|(name, _)| *name == operation.name());
                    let outcome = answer.outcome();
                    let fares = expected.map_or(answer.status.is_success(), |(_, expected)| outcome == *expected);
                    if !fares {
                        problems.push(format!("{}: {}", operation.name(), answer.text));
                    }
                }
            }
        }
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }

    /// What is hidden and told all the same, in a body, in a stream or in a header.
    fn tells(&self, answer: &Answer) -> impl Iterator<Item = &String> {
        let told = format!("{:?}{}", answer.headers, answer.text);
        self.hidden.iter().filter(move |hidden| told.contains(hidden.as_str()))
    }

    /// Wherever an id may stand, another agent's thing is answered as one that is not there.
    async fn is_not_told_what_exists(&self, page: &Client) {
        let known: Value = serde_json::from_str(include_str!("../data/letta-fields.json")).unwrap();
        for operation in open_operations().await {
            for parameter in operation.parameters().filter(|parameter| *parameter != "block_label") {
                let with = |id: &str| {
                    let mut things = self.own.clone();
                    id.clone_into(things.get_mut(parameter).unwrap());
                    things
                };
                let (foreign, unknown) = pair(&self.foreign[parameter]);
                let answers = [operation.ask(page, &with(&foreign)).await, operation.ask(page, &with(&unknown)).await];
                Self::are_alike(&operation.name(), &answers, &foreign, &unknown);
                assert!(answers[0].status.is_client_error(), "{}: {}", operation.name(), answers[0].text);
            }
            let query = known[operation.name()]["query"].as_array().unwrap();
            for parameter in ["before", "after", "cursor", "conversation_id", "agent_id", "agent_ids"] {
                if !query.contains(&json!(parameter)) || operation.method != Method::GET {
                    continue;
                }
                // Whatever a list holds, a cursor may name anything.
                for foreign in self.foreign.values() {
                    let (foreign, unknown) = pair(foreign);
                    let path = |id: &str| format!("{}&{parameter}={id}", operation.path(&self.own));
                    let answers = [page.get(&path(&foreign)).await, page.get(&path(&unknown)).await];
                    let what = format!("{} {parameter}", operation.name());
                    Self::are_alike(&what, &answers, &foreign, &unknown);
                }
            }
        }
        for operation in ["/v1/agents/{agent_id}/messages/cancel", "/v1/conversations/{conversation_id}/stream"] {
            let operation = Open { method: Method::POST, template: operation.to_owned() };
            let (foreign, unknown) = pair(&self.foreign["run_id"]);
            let [foreign_run, unknown_run] = [&foreign, &unknown].map(|run| {
                let mut things = self.own.clone();
                things.get_mut("run_id").unwrap().clone_from(run);
                things
            });
            let answers = [operation.ask(page, &foreign_run).await, operation.ask(page, &unknown_run).await];
            Self::are_alike(&operation.name(), &answers, &foreign, &unknown);
        }
    }

    #[track_caller]
    fn are_alike(what: &str, answers: &[Answer; 2], foreign: &str, unknown: &str) {
        let seen = |answer: &Answer, id: &str| {
            let mut text = answer.text.clone();
            let mut headers = answer.headers.clone();
            // Counts the requests of everybody.
            headers.remove("x-gatelet-entry");
            if let Some(request) = headers.remove("x-request-id") {
                text = text.replace(request.to_str().unwrap(), "REQUEST");
            }
            headers.remove("date");
            (answer.status, format!("{headers:?}"), text.replace(id, "ID"))
        };
        assert_eq!(seen(&answers[0], foreign), seen(&answers[1], unknown), "{what}: {foreign}");
    }

    /// What a list has shown is a place in it.
    async fn pages_through_its_own(&self, page: &Client) {
        let known: Value = serde_json::from_str(include_str!("../data/letta-fields.json")).unwrap();
        let mut paged = 0;
        for operation in open_operations().await {
            let query = known[operation.name()]["query"].as_array().unwrap();
            let cursors: Vec<&str> = query
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| ["before", "after", "cursor"].contains(name))
                .collect();
            if operation.method != Method::GET || cursors.is_empty() {
                continue;
            }
            let path = operation.path(&self.own);
            let all = items(&page.get(&format!("{path}&limit=100")).await);
            assert!(!all.is_empty(), "{path}");
            for cursor in cursors {
                let mut seen = Vec::new();
                for item in &all {
                    let answer = page.get(&format!("{path}&limit=100&{cursor}={item}")).await;
                    assert_eq!(answer.status, 200, "{path} {cursor}: {}", answer.text);
                    let rest = items(&answer);
                    assert!(!rest.contains(item) && rest.len() < all.len(), "{path} {cursor}: {rest:?}");
                    seen.extend(rest);
                }
                // Each but the first or the last lies beyond another.
                seen.sort();
                seen.dedup();
                assert_eq!(seen.len(), all.len() - 1, "{path} {cursor}");
                paged += 1;
            }
        }
        assert!(paged > 20, "{paged}");
    }
}

/// A thing's id and one of the same kind that names nothing.
fn pair(foreign: &str) -> (String, String) {
    let nobody = &NOBODY["agent-".len()..];
    let prefix = &foreign[..foreign.len() - nobody.len()];
    (foreign.to_owned(), format!("{prefix}{nobody}"))
}

/// The ids of a list's items, each once: several messages may be one in the store.
fn items(answer: &Answer) -> Vec<String> {
    let list = answer.expect(200);
    let items = ["files", "scheduled_messages"].iter().find_map(|name| list.get(name)).unwrap_or(&list);
    let mut ids: Vec<String> = items.as_array().unwrap().iter().map(id).collect();
    ids.dedup();
    ids
}

/// All words, and each by itself. What the first deletes, the others find no more.
const SETS: [&[&str]; 5] = [&WORDS, &["read_messages"], &["write_messages"], &["read_agent"], &["write_agent"]];

on_both_engines! {
    async fn a_token_is_told_of_its_own_agents_only(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let crowd = crowd(&owner).await;
        let page = server.stranger().page(&owner.create_token(&crowd.own["agent_id"], &WORDS).await);
        crowd.pages_through_its_own(&page).await;
        crowd.is_not_told_what_exists(&page).await;
        crowd.is_told_of_nobody_else(&owner, &server.stranger()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_is_it_through_a_gateway() {
    let mock = Gatelet::on(Engine::Sqlite).await;
    let crowd = crowd(&mock.owner()).await;
    let program = Program::ephemeral()
        .argument("--upstream")
        .argument(mock.url())
        .env("GATELET_UPSTREAM_API_KEY", mock.key())
        .env("GATELET_LIMITS__REQUESTS_PER_MINUTE", "0")
        .env("GATELET_LIMITS__STREAMS_PER_TOKEN", "0");
    let gateway = program.start_alone().await;
    let owner = gateway.owner();
    let page = gateway.stranger().page(&owner.create_token(&crowd.own["agent_id"], &WORDS).await);
    crowd.pages_through_its_own(&page).await;
    crowd.is_not_told_what_exists(&page).await;
    crowd.is_told_of_nobody_else(&owner, &gateway.stranger()).await;
}
