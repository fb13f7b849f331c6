//! The few things that all clients change, and the requests that they draw.

use std::sync::{Mutex, PoisonError};

use reqwest::Method;
use serde_json::{Value, json};

use super::Dice;
use crate::harness::{Answer, Client, form, id};

const AGENTS: usize = 8;
const LABELS: [&str; 5] = ["human", "persona", "alpha", "beta", "gamma"];
const TOOLS: [&str; 4] = ["dice", "clock", "echoes", "oracle"];
const FILES: [&str; 3] = ["one.txt", "two.txt", "three.txt"];

/// What there is. What is deleted stays in its place until the next request takes it, so that some come too late.
pub(super) struct World(Mutex<Things>);

#[derive(Default)]
struct Things {
    agents: Vec<String>,
    blocks: Vec<String>,
    tools: Vec<String>,
    folders: Vec<String>,
    archives: Vec<String>,
    identities: Vec<String>,
    groups: Vec<String>,
    conversations: Vec<String>,
    runs: Vec<String>,
    /// The places of what was deleted.
    missing: Vec<Place>,
}

/// A request, and what is made by it.
pub(super) struct Request {
    pub(super) kind: &'static str,
    method: Method,
    path: String,
    body: Option<Value>,
    /// A form in the place of the body.
    form: Option<Vec<u8>>,
    makes: Option<Place>,
    deletes: Option<Place>,
    /// What is missing if the answer is 404.
    gone: Option<Place>,
    /// Whether it makes what is missing.
    replaces: bool,
}

/// A place in the world.
#[derive(Clone, Copy)]
enum Place {
    Agent(usize),
    Block(usize),
    Tool(usize),
    Folder(usize),
    Archive(usize),
    Identity(usize),
    Group(usize),
    Conversation(usize),
    Run(usize),
}

impl Request {
    fn new(kind: &'static str, method: Method, path: String) -> Self {
        Self { kind, method, path, body: None, form: None, makes: None, deletes: None, gone: None, replaces: false }
    }

    fn post(kind: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(kind, Method::POST, path.into()) }
    }

    fn patch(kind: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { body: Some(body), ..Self::new(kind, Method::PATCH, path.into()) }
    }

    fn change(kind: &'static str, path: impl Into<String>) -> Self {
        Self::new(kind, Method::PATCH, path.into())
    }

    fn delete(kind: &'static str, path: impl Into<String>, place: Place) -> Self {
        Self { deletes: Some(place), ..Self::new(kind, Method::DELETE, path.into()) }
    }

    fn get(kind: &'static str, path: impl Into<String>) -> Self {
        Self::new(kind, Method::GET, path.into())
    }

    fn making(self, makes: Place) -> Self {
        Self { makes: Some(makes), ..self }
    }

    pub(super) async fn send(&self, client: &Client) -> Answer {
        let request = client.request(self.method.clone(), &self.path);
        let request = match (&self.form, &self.body) {
            (Some(form), _) => request.header("content-type", "multipart/form-data; boundary=b0").body(form.clone()),
            (None, Some(body)) => request.json(body),
            (None, None) => request,
        };
        Answer::read(request.send().await.unwrap()).await
    }
}

impl World {
    /// Makes everything once.
    pub(super) async fn made(client: &Client) -> Self {
        let mut things = Things::default();
        for label in LABELS.iter().chain(&["human", "alpha"]) {
            let body = json!({"label": label, "value": "start"});
            things.blocks.push(id(&client.post("/v1/blocks/", &body).await.expect(200)));
        }
        for name in TOOLS {
            things.tools.push(id(&client.post("/v1/tools/", &tool(name)).await.expect(200)));
        }
        for number in 0..3 {
            let folder = client.post("/v1/folders/", &json!({"name": format!("folder {number}")})).await.expect(200);
            things.folders.push(id(&folder));
            let archive = client.post("/v1/archives/", &json!({"name": format!("archive {number}")})).await.expect(200);
            things.archives.push(id(&archive));
            let identity = client.post("/v1/identities/", &identity(number)).await.expect(200);
            things.identities.push(id(&identity));
        }
        for number in 0..AGENTS {
            let body = json!({"block_ids": [things.blocks[number % 5]], "enable_sleeptime": number % 2 == 0});
            things.agents.push(client.create_agent(&body).await);
        }
        for agents in things.agents.chunks(4) {
            let body =
                json!({"agent_ids": agents, "description": "all", "manager_config": {"manager_type": "round_robin"}});
            things.groups.push(id(&client.post("/v1/groups/", &body).await.expect(200)));
            let path = format!("/v1/conversations/?agent_id={}", agents[0]);
            things.conversations.push(id(&client.post(&path, &json!({})).await.expect(200)));
        }
        things.runs = vec!["run-123e4567-e89b-42d3-8456-426614174000".into(); 8];
        Self(Mutex::new(things))
    }

    /// Notes what was made.
    pub(super) fn learn(&self, request: &Request, answer: &Answer) {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !answer.status.is_success() {
            things.missing.extend(request.makes.filter(|_| request.replaces));
            things.missing.extend(request.gone.filter(|_| answer.status == 404));
            return;
        }
        things.missing.extend(request.deletes);
        let Some(makes) = request.makes else { return };
        let Some(Value::String(id)) = answer.value().map(|mut value| value["id"].take()) else { return };
        let (places, number) = match makes {
            Place::Agent(number) => (&mut things.agents, number),
            Place::Block(number) => (&mut things.blocks, number),
            Place::Tool(number) => (&mut things.tools, number),
            Place::Folder(number) => (&mut things.folders, number),
            Place::Archive(number) => (&mut things.archives, number),
            Place::Identity(number) => (&mut things.identities, number),
            Place::Group(number) => (&mut things.groups, number),
            Place::Conversation(number) => (&mut things.conversations, number),
            Place::Run(number) => (&mut things.runs, number),
        };
        places[number] = id;
    }

    /// Draws the next request.
    pub(super) fn draw(&self, dice: &mut Dice) -> Request {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match things.missing.pop() {
            Some(place) => Request { replaces: true, ..things.replace(place, dice) }.making(place),
            None => things.draw(dice),
        }
    }
}

impl Things {
    /// Makes what takes the place of something that was deleted.
    fn replace(&self, place: Place, dice: &mut Dice) -> Request {
        match place {
            Place::Agent(number) => Request::post(
                "create agent",
                "/v1/agents/",
                json!({
                    "model": "openai/gpt-4o-mini", "enable_sleeptime": number % 2 == 0,
                }),
            ),
            Place::Block(number) => block(number),
            Place::Tool(_) => Request::post("create tool", "/v1/tools/", tool(TOOLS[dice.roll(4)])),
            Place::Folder(_) => folder(dice),
            Place::Archive(_) => Request::post("create archive", "/v1/archives/", json!({"name": "archive"})),
            Place::Identity(_) => Request::post("create identity", "/v1/identities/", identity(dice.roll(9))),
            Place::Group(number) => self.group(number),
            Place::Conversation(_) => self.conversation(dice.roll(AGENTS), &[]),
            Place::Run(number) => {
                Request::post("send async", format!("/v1/agents/{}/messages/async", self.agents[number]), said(dice))
            }
        }
    }

    fn group(&self, number: usize) -> Request {
        let agents = [&self.agents[number], &self.agents[number + 4]];
        Request::post(
            "create group",
            "/v1/groups/",
            json!({
                "agent_ids": agents, "description": "some", "manager_config": {"manager_type": "round_robin"},
            }),
        )
    }

    fn conversation(&self, number: usize, labels: &[&str]) -> Request {
        let path = format!("/v1/conversations/?agent_id={}", self.agents[number]);
        Request::post("create conversation", path, json!({"isolated_block_labels": labels}))
    }

    fn draw(&self, dice: &mut Dice) -> Request {
        let agent_number = dice.roll(self.agents.len());
        let agent = format!("/v1/agents/{}", self.agents[agent_number]);
        let (block_number, tool_number) = (dice.roll(self.blocks.len()), dice.roll(self.tools.len()));
        let (block_id, tool_id) = (&self.blocks[block_number], &self.tools[tool_number]);
        let small = dice.roll(3);
        let (folder_id, archive, identity_id) = (&self.folders[small], &self.archives[small], &self.identities[small]);
        let pair = dice.roll(2);
        let (group, conversation) = (&self.groups[pair], &self.conversations[pair]);
        let run_number = dice.roll(self.runs.len());
        let run = &self.runs[run_number];
        let attaches = if dice.roll(3) == 0 { "detach" } else { "attach" };
        match dice.roll(100) {
            0..10 => Request::post("send", format!("{agent}/messages"), said(dice)),
            10..16 => Request::post("stream", format!("{agent}/messages/stream"), said(dice)),
            16..19 => Request::post("send async", format!("{agent}/messages/async"), said(dice))
                .making(Place::Run(run_number)),
            19..22 => Request {
                gone: Some(Place::Conversation(pair)),
                ..Request::post("send to conversation", format!("/v1/conversations/{conversation}/messages"), said(dice))
            },
            22..29 => Request::change("blocks of agent", format!("{agent}/core-memory/blocks/{attaches}/{block_id}")),
            29..34 => Request::change("tools of agent", format!("{agent}/tools/{attaches}/{tool_id}")),
            34..40 => Request::change("folders of agent", format!("{agent}/folders/{attaches}/{folder_id}")),
            40..43 => Request::change("archives of agent", format!("{agent}/archives/{attaches}/{archive}")),
            43..46 => Request::change("identities of agent", format!("{agent}/identities/{attaches}/{identity_id}")),
            46..53 => upload(folder_id, dice),
            53..60 => Request::patch("change block", format!("/v1/blocks/{block_id}"), json!({"value": word(dice)})),
            60..61 => Request::patch("label block", format!("/v1/blocks/{block_id}"), json!({"label": LABELS[dice.roll(5)]})),
            61..63 => Request::patch("change agent", agent, json!({
                "name": word(dice), "block_ids": [block_id], "tool_ids": [tool_id], "folder_ids": [folder_id],
                "identity_ids": [identity_id],
            })),
            63..64 => Request::post("create agent", "/v1/agents/", json!({
                "model": "openai/gpt-4o-mini", "block_ids": [block_id], "tool_ids": [tool_id], "folder_ids": [folder_id],
                "identity_ids": [identity_id], "enable_sleeptime": dice.roll(2) == 0,
            })).making(Place::Agent(agent_number)),
            64..65 => Request::delete("delete agent", agent, Place::Agent(agent_number)),
            65..67 => self.conversation(agent_number, &LABELS[..pair]).making(Place::Conversation(pair)),
            67..68 => Request::delete("delete conversation", format!("/v1/conversations/{conversation}"), Place::Conversation(pair)),
            68..69 => Request::post("fork conversation", format!("/v1/conversations/{conversation}/fork"), json!({}))
                .making(Place::Conversation(pair)),
            69..70 => block(block_number).making(Place::Block(block_number)),
            70..71 => Request::delete("delete block", format!("/v1/blocks/{block_id}"), Place::Block(block_number)),
            71..72 => Request::post("create tool", "/v1/tools/", tool(TOOLS[dice.roll(4)])).making(Place::Tool(tool_number)),
            72..73 => Request::delete("delete tool", format!("/v1/tools/{tool_id}"), Place::Tool(tool_number)),
            73..74 => Request::patch("rename tool", format!("/v1/tools/{tool_id}"), json!({"name": TOOLS[dice.roll(4)]})),
            74..75 => folder(dice).making(Place::Folder(small)),
            75..76 => Request::delete("delete folder", format!("/v1/folders/{folder_id}"), Place::Folder(small)),
            76..77 => Request::patch("rename folder", format!("/v1/folders/{folder_id}"), json!({"name": format!("folder {}", dice.roll(9))})),
            77..78 => Request::post("create archive", "/v1/archives/", json!({"name": "archive"})).making(Place::Archive(small)),
            78..79 => Request::delete("delete archive", format!("/v1/archives/{archive}"), Place::Archive(small)),
            79..81 => Request::post("create passage", format!("{agent}/archival-memory"), json!({
                "text": word(dice), "created_at": if pair == 0 { json!("2024-01-01T00:00:00Z") } else { Value::Null },
            })),
            81..82 => Request::post("create identity", "/v1/identities/", identity(dice.roll(9))).making(Place::Identity(small)),
            82..83 => Request::patch("change identity", format!("/v1/identities/{identity_id}"), json!({
                "agent_ids": self.agents[agent_number..].iter().rev().take(3).collect::<Vec<_>>(), "block_ids": [block_id],
            })),
            83..84 => Request::delete("delete identity", format!("/v1/identities/{identity_id}"), Place::Identity(small)),
            84..85 => Request::patch("change group", format!("/v1/groups/{group}"), json!({
                "agent_ids": [self.agents[agent_number]], "shared_block_ids": [block_id],
            })),
            85..86 => self.group(pair).making(Place::Group(pair)),
            86..87 => Request::delete("delete group", format!("/v1/groups/{group}"), Place::Group(pair)),
            87..88 => Request::delete("delete run", format!("/v1/runs/{run}"), Place::Run(run_number)),
            88..89 => Request::patch("reset messages", format!("{agent}/reset-messages"), json!({"add_default_initial_messages": true})),
            89..90 => Request::post("summarize", format!("{agent}/summarize"), json!({})),
            90..91 => Request::post("import", "/v1/agents/import", Value::Null).with_file(dice),
             91..95 => upload(folder_id, dice),
             95..99 => Request::patch("change block", format!("/v1/blocks/{block_id}"), json!({"value": word(dice)})),
            _ => Request::get("retrieve agent", agent),
        }
    }
}

impl Request {
    /// The agent file of an agent with two tools and two folders, each time in another order.
    fn with_file(self, dice: &mut Dice) -> Self {
        let first = dice.roll(4);
        let tool = |number: usize| {
            let name = TOOLS[(first + number) % 4];
            json!({"id": format!("tool-{number}"), "name": name, "tool_type": "custom", "source_code": source(name),
                   "source_type": "python", "json_schema": {"name": name, "parameters": {"type": "object", "properties": {}}}})
        };
        let folder = |number: usize| json!({"id": format!("source-{number}"), "name": format!("folder {}", (first + number) % 3)});
        let file = json!({
            "agents": [{
                "id": "agent-0", "name": "imported", "tool_ids": ["tool-0", "tool-1"], "source_ids": ["source-0", "source-1"],
                "agent_type": "letta_v1_agent", "model": "openai/gpt-4o-mini", "messages": [], "block_ids": [],
                "embedding": "openai/text-embedding-3-small", "system": "You are.",
            }],
            "groups": [], "blocks": [], "files": [], "mcp_servers": [],
            "sources": [folder(0), folder(1)], "tools": [tool(0), tool(1)],
        });
        let file = file.to_string();
        Self {
            body: None,
            form: Some(form(&[("file", Some(("agent.af", "application/json")), file.as_bytes())])),
            ..self
        }
    }
}

fn block(number: usize) -> Request {
    Request::post("create block", "/v1/blocks/", json!({"label": LABELS[number % 5], "value": "new"}))
}

fn folder(dice: &mut Dice) -> Request {
    Request::post("create folder", "/v1/folders/", json!({"name": format!("folder {}", dice.roll(9))}))
}

fn upload(folder: &str, dice: &mut Dice) -> Request {
    let name = FILES[dice.roll(3)];
    let text = word(dice);
    let form = form(&[("file", Some((name, "text/plain")), text.as_bytes())]);
    let path = format!("/v1/folders/{folder}/upload?duplicate_handling=replace");
    Request { form: Some(form), ..Request::new("upload", Method::POST, path) }
}

/// What a user says; some of it makes the agent change things.
fn said(dice: &mut Dice) -> Value {
    let label = LABELS[dice.roll(5)];
    let text = match dice.roll(6) {
        0 => format!(r#"[[call:core_memory_append {{"label": "{label}", "content": "{}"}}]]"#, word(dice)),
        1 => r#"[[call:archival_memory_insert {"content": "The sky is blue", "tags": ["sky"]}]]"#.to_owned(),
        2 => format!(
            r#"[[call:open_files {{"file_requests": [{{"file_name": "folder {}/{}"}}]}}]]"#,
            dice.roll(3),
            FILES[dice.roll(3)]
        ),
        _ => word(dice),
    };
    json!({"input": text, "streaming": false})
}

fn word(dice: &mut Dice) -> String {
    format!("word {}", dice.roll(1000))
}

fn source(name: &str) -> String {
    format!("def {name}() -> str:\n    \"\"\"Does {name}.\"\"\"\n    return '7'\n")
}

fn tool(name: &str) -> Value {
    json!({"source_code": source(name)})
}

fn identity(number: usize) -> Value {
    json!({"identifier_key": format!("key {number}"), "name": "Somebody", "identity_type": "user"})
}
