//! Seeds, over HTTP and on the command line.

use std::{fs, path::Path, process::Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::{Answer, Client, Engine, Gatelet, ORIGIN, Program, column};

/// The calls that list what a seed may create.
const LISTS: [&str; 7] = [
    "/v1/agents/",
    "/v1/blocks/",
    "/v1/tools/?exclude_tool_types=letta_core",
    "/v1/archives/",
    "/v1/folders/",
    "/v1/identities/",
    "/v1/mcp-servers/",
];

const SEED: &str = r#"
[[tool]]
ref = "add"
source_code = '''
def add(a: int, b: int) -> int:
    """Adds two numbers.

    Args:
        a: One.
        b: The other.
    """
    return a + b
'''

[[block]]
ref = "shared"
label = "policy"
value = "Be kind."

[[archive]]
ref = "notes"
name = "Notes"
passages = [{ text = "Water the plants.", tags = ["home"], created_at = 2026-01-02T03:04:05Z }]

[[folder]]
ref = "docs"
name = "docs"
files = [{ name = "rules.md", text = "Rules:\nNone." }]

[[mcp_server]]
ref = "files"
server_name = "files"
config = { mcp_server_type = "stdio", command = "files", args = [] }

[[identity]]
ref = "ada"
identifier_key = "user:42"
name = "Ada"
identity_type = "user"
block_ids = ["shared"]
properties = [{ key = "tier", type = "string", value = "gold" }]

[[agent]]
ref = "helper"
name = "helper"
model = "openai/gpt-4o-mini"
memory_blocks = [{ label = "human", value = "Name: Ada" }]
block_ids = ["shared"]
tool_ids = ["add"]
folder_ids = ["docs"]
identity_ids = ["ada"]
archive = "notes"
tags = ["user:42"]
messages = [
  { role = "user", content = "Hi" },
  { role = "system", content = "The user has logged in." },
  { role = "assistant", content = "Hello, Ada." },
]
passages = ["Ada likes tea."]

[[token]]
ref = "page"
agent = "helper"
access = ["read_messages", "write_messages"]
hostname = "https://app.example"
expires_in = "5m"

[[token]]
ref = "reader"
policy = [{ type = "agent", id = "helper", access = ["read_agent"] }]
hostname = "https://app.example"
"#;

/// Adds a seed in TOML to the namespace of the caller's key.
async fn put(owner: &Client, seed: &str) -> Answer {
    put_as(owner, "application/toml", seed).await
}

async fn put_as(owner: &Client, content_type: &str, seed: &str) -> Answer {
    let request = owner.request(reqwest::Method::PUT, "/_gatelet/v1/ns/-/seed").header("content-type", content_type);
    Answer::read(request.body(seed.to_owned()).send().await.unwrap()).await
}

/// What the lists of [`LISTS`] show.
async fn world(owner: &Client) -> Vec<Value> {
    let mut lists = Vec::new();
    for path in LISTS {
        lists.push(owner.get(path).await.expect(200));
    }
    lists
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_created_as_its_call_creates_it() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let seeded = put(&owner, SEED).await.expect(200);
    let id = |name: &str| seeded["refs"][name].as_str().unwrap().to_owned();
    let [helper, shared, notes] = ["helper", "shared", "notes"].map(id);

    let agent = owner.get(&format!("/v1/agents/{helper}?include=agent.blocks&include=agent.tools&include=agent.identities&include=agent.sources&include=agent.tags")).await.expect(200);
    assert_eq!((&agent["name"], &agent["tags"]), (&json!("helper"), &json!(["user:42"])));
    assert_eq!(column(&agent["blocks"], "label"), ["human", "policy"]);
    assert!(column(&agent["blocks"], "id").contains(&shared));
    assert!(column(&agent["tools"], "name").contains(&"add".to_owned()));
    assert_eq!(column(&agent["identities"], "id"), [id("ada")]);
    assert_eq!(column(&agent["sources"], "id"), [id("docs")]);

    let messages = owner.get(&format!("/v1/agents/{helper}/messages?order=asc")).await.expect(200);
    let shown: Vec<String> = messages
        .as_array()
        .unwrap()
        .iter()
        .skip(1)
        .map(|message| {
            format!("{}: {}", message["message_type"].as_str().unwrap(), message["content"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        shown,
        ["user_message: Hi", "system_message: The user has logged in.", "assistant_message: Hello, Ada."]
    );
    assert_eq!(owner.get(&format!("/v1/runs/?agent_id={helper}")).await.expect(200), json!([]));

    // The archive of its own seed is the agent's archival memory.
    let passages = owner.get(&format!("/v1/agents/{helper}/archival-memory")).await.expect(200);
    assert_eq!(column(&passages, "text"), ["Water the plants.", "Ada likes tea."]);
    assert_eq!(column(&passages, "archive_id"), [notes.as_str(), notes.as_str()]);
    assert_eq!(passages[0]["tags"], json!(["home"]));
    assert!(passages[0]["created_at"].as_str().unwrap().starts_with("2026-01-02T03:04:05"));

    let files = owner.get(&format!("/v1/folders/{}/files?include_content=true", id("docs"))).await.expect(200);
    assert_eq!((&files[0]["original_file_name"], &files[0]["content"]), (&json!("rules.md"), &json!("Rules:\nNone.")));
    let server_of_tools = owner.get(&format!("/v1/mcp-servers/{}", id("files"))).await.expect(200);
    assert_eq!(server_of_tools["command"], "files");
    let identity = owner.get(&format!("/v1/identities/{}", id("ada"))).await.expect(200);
    assert_eq!((&identity["identifier_key"], &identity["block_ids"]), (&json!("user:42"), &json!([shared])));
    assert_eq!(identity["agent_ids"], json!([helper]));
    let tool = owner.get(&format!("/v1/tools/{}", id("add"))).await.expect(200);
    assert_eq!(tool["description"], "Adds two numbers.");

    // The tokens work, and their ids are those by which they are expired.
    let page = |name: &str| server.stranger().page(seeded["tokens"][name]["token"].as_str().unwrap());
    page("page").post(&format!("/v1/agents/{helper}/messages"), &json!({"input": "Hello"})).await.expect(200);
    page("page").get(&format!("/v1/agents/{helper}")).await.refused(403, "access_not_granted");
    page("reader").get(&format!("/v1/agents/{helper}")).await.expect(200);
    assert_eq!(seeded["tokens"]["page"]["id"], seeded["refs"]["page"]);
    let expired = owner.post(&format!("/_gatelet/v1/ns/-/tokens/{}/expire", id("page")), &json!({})).await;
    assert_eq!(expired.status, 200, "{}", expired.text);
    page("page").get(&format!("/v1/agents/{helper}/messages")).await.refused(401, "token_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_expire_by_the_clock_of_the_seed() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let seed = r#"
clock = "2028-01-05T09:00:00Z"
[[agent]]
ref = "a"
model = "openai/gpt-4o-mini"
[[token]]
ref = "in"
agent = "a"
access = ["read_agent"]
hostname = "https://app.example"
expires_in = "10m"
[[token]]
ref = "at"
agent = "a"
access = ["read_agent"]
hostname = "https://app.example"
expires_at = 2028-01-05T09:05:00Z
"#;
    put(&owner, seed).await.expect(200);
    let tokens = owner.get("/v1/client-side-access-tokens").await.expect(200);
    let mut expiries = column(&tokens["tokens"], "expiresAt");
    expiries.sort();
    assert_eq!(expiries, ["2028-01-05T09:05:00.000Z", "2028-01-05T09:10:00.000Z"]);
    let agents = owner.get("/v1/agents/").await.expect(200);
    assert!(agents[0]["created_at"].as_str().unwrap().starts_with("2028-01-05T09:00:00"));
    // The seed decides nothing about later requests.
    let clock = owner.get("/_gatelet/v1/ns/-/clock").await.expect(200);
    assert_eq!((&clock["expiry"], &clock["frozen"]), (&json!("as_meant"), &json!(true)));
}

/// What the handlers refuse, with the line of the field that they refuse.
const MISTAKES: &[(&str, u32, &str)] = &[
    ("[[agent]]\nref = 'a'\nmodel = 7", 3, "agent \"a\": model: Input should be a valid string"),
    (
        "[[agent]]\nmodel = 'openai/gpt-4o-mini'\nmemory_blocks = [\n  { label = 'a', value = '' },\n  { value = 'b' },\n]",
        5,
        "agent 1: memory_blocks.1.label: Field required",
    ),
    (
        "[[agent]]\nmodel = 'openai/gpt-4o-mini'\nmessages = [{ role = 'user', content = 'Hi' }, { role = 'robot', content = '' }]",
        3,
        "agent 1: messages.1.role: Input should be 'user' or 'system' or 'assistant'",
    ),
    (
        "[[agent]]\nmodel = 'openai/gpt-4o-mini'\n\npassages = ['a', { tags = [] }]",
        4,
        "agent 1: passages.1.text: Field required",
    ),
    (
        "[[agent]]\nref = 'x'\nmodel = 'openai/gpt-4o-mini'\nblock_ids = ['block-123e4567-e89b-42d3-8456-426614174000']",
        1,
        "agent \"x\": Block",
    ),
    ("[[block]]\nvalue = 'x'", 1, "block 1: label: Field required"),
    ("[[block]]\nlabel = 'x'\nlimit = -1", 3, "block 1: limit: "),
    ("[[tool]]\nref = 't'\nsource_code = 'def'", 1, "tool \"t\": "),
    (
        "[[identity]]\nname = 'x'\nidentifier_key = 'x'\nidentity_type = 'cat'",
        4,
        "identity 1: identity_type: Input should be",
    ),
    ("[[folder]]\nname = 'x'\n[[folder]]\nname = 'x'", 3, "folder 2: A folder"),
    ("[[folder]]\nname = 'x'\nfiles = [\n{ name = 'a.png', text = '' },\n]\nmetadata = 1", 6, "folder 1: metadata: "),
    ("[[mcp_server]]\nserver_name = 'x'\n[mcp_server.config]\nserver_url = 1", 4, "mcp_server 1: config.server_url: "),
    (
        "[[archive]]\nname = 'x'\npassages = [\n  'a',\n  { text = 1 },\n]",
        5,
        "archive 1: passages.1.text: Input should be",
    ),
    ("[[agent]]\nref = 'f'\nagent_file = { agents = [] }", 1, "agent \"f\": The agent file has no agents"),
    ("[[agent]]\nmodle = 'x'", 2, "agent 1: modle: an agent has no such field"),
    ("[[agent]]\nfile = 'a.af'", 2, "agent 1: file: files are read only for a seed that is given by --seed"),
    ("script = '/etc/passwd'", 1, "script: files are read only"),
    (
        "[[agent]]\nref = 'a'\nmodel = 'openai/gpt-4o-mini'\n[[token]]\nref = 't'\nagent = 'a'\nhostname = 'http://localhost'\naccess = [\n  'read_agent',\n  'rule',\n]",
        10,
        "token \"t\": access.1: must be one of",
    ),
    (
        "[[agent]]\nref = 'a'\nmodel = 'openai/gpt-4o-mini'\n[[token]]\nref = 't'\nagent = 'a'\naccess = ['read_agent']",
        4,
        "token \"t\": hostname: must be given",
    ),
    (
        "[[agent]]\nref = 'a'\nmodel = 'openai/gpt-4o-mini'\n[[token]]\nref = 't'\nhostname = 'http://localhost'\npolicy = [{ type = 'agent', id = 'a', access = ['x'] }]",
        7,
        "token \"t\": policy.0.access.0: must be one of",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_names_line_and_field_and_nothing_is_applied() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    put(&owner, SEED).await.expect(200);
    let before = world(&owner).await;
    // A mistake comes after what would be applied without it.
    let first = "[[block]]\nlabel = 'first'\n";
    for (seed, line, expected) in MISTAKES {
        let answer = put(&owner, &format!("{seed}\n{first}")).await;
        let sentence = answer.refused(422, "seed_invalid");
        assert!(sentence.starts_with(&format!("line {line}: {expected}")), "{seed}: {sentence}");
        assert_eq!(answer.expect(422)["at"], format!("line {line}"), "{seed}");
    }
    assert_eq!(world(&owner).await, before);
    let json = json!({"block": [{"label": "first"}], "agent": [{"ref": "a", "model": 7}]}).to_string();
    let answer = put_as(&owner, "application/json", &json).await;
    assert_eq!(answer.refused(422, "seed_invalid"), "agent \"a\": model: Input should be a valid string");
    assert_eq!(answer.expect(422)["at"], "/agent/0/model");
    let invalid = put_as(&owner, "application/json", "{\n\"agent\": [}").await;
    assert_eq!(invalid.refused(422, "seed_invalid"), "line 2: it is not JSON: expected value");
    put_as(&owner, "text/plain", SEED).await.refused(415, "unsupported_media_type");
    put_as(&owner, "application/toml", "a = \u{0}").await.refused(422, "seed_invalid");
    assert_eq!(world(&owner).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_file_may_be_part_of_a_seed() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let made = put(&owner, SEED).await.expect(200);
    let helper = made["refs"]["helper"].as_str().unwrap();
    let exported = owner.get(&format!("/v1/agents/{helper}/export")).await.expect(200);
    let seed = json!({"agent": [
        {"ref": "copy", "agent_file": exported, "name": "copy", "model": "openai/gpt-4.1", "archive": "notes"},
        {"ref": "same", "agent_file": exported, "append_copy_suffix": true, "strip_messages": true},
    ], "archive": [{"ref": "notes", "name": "Notes"}]});
    // The refs of an earlier seed are taken by what it created, and may be used for something else.
    put_as(&owner, "application/json", &seed.to_string()).await.expect(200);
    let agents = owner.get("/v1/agents/?order=asc").await.expect(200);
    assert_eq!(column(&agents, "name"), ["helper", "copy", "helper_copy"]);
    assert_eq!(agents[1]["model"], "openai/gpt-4.1");
    let count = |messages: &Value| messages.as_array().unwrap().len();
    for (agent, expected) in [(1, 4), (2, 1)] {
        let id = agents[agent]["id"].as_str().unwrap();
        let messages = owner.get(&format!("/v1/agents/{id}/messages")).await.expect(200);
        assert_eq!(count(&messages), expected, "{messages}");
    }
    let archives =
        owner.get(&format!("/v1/archives/?agent_id={}", agents[1]["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(column(&archives, "name"), ["Notes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_on_disk_is_left_alone() {
    let server = Gatelet::on(Engine::Sqlite).await;
    put(&server.owner(), SEED).await.refused(409, "namespace_persistent");
    assert_eq!(server.owner().get("/v1/agents/").await.expect(200), json!([]));
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_with_the_seed_of_its_command_line() {
    let source = Gatelet::ephemeral().await;
    let made = put(&source.owner(), SEED).await.expect(200);
    let helper = made["refs"]["helper"].as_str().unwrap();
    let exported = source.owner().get(&format!("/v1/agents/{helper}/export")).await.expect(200).to_string();

    let program = Program::ephemeral();
    write(
        program.folder(),
        &[
            ("seed/1.toml", SEED),
            (
                "seed/2.json",
                r#"{"agent": [{"ref": "named", "name": "named", "file": "../files/a.af", "passages": ["More."]}]}"#,
            ),
            ("seed/3.toml", "script = '../files/replies.toml'\n[[tool]]\nref = 'two'\nfile = '../files/two.py'"),
            ("seed/whole.af", &exported),
            ("files/a.af", &exported),
            ("files/two.py", "def two() -> int:\n    \"\"\"Two.\"\"\"\n    return 2\n"),
            ("files/replies.toml", "[[reply]]\nuser = 'weather'\nsteps = [{ assistant = 'Sunny.' }]"),
        ],
    );
    let server = program.argument("--seed").argument("seed").start().await;
    let (owner, refs) = (server.owner(), &server.banner["refs"]);
    let agents = owner.get("/v1/agents/?order=asc").await.expect(200);
    assert_eq!(column(&agents, "name"), ["helper", "named", "helper"]);
    assert_eq!(column(&agents, "id"), ["helper", "named", "whole"].map(|name| refs[name].as_str().unwrap()));
    for name in ["named", "whole"] {
        let id = refs[name].as_str().unwrap();
        let messages = owner.get(&format!("/v1/agents/{id}/messages?order=asc")).await.expect(200);
        assert_eq!(messages.as_array().unwrap().last().unwrap()["content"], "Hello, Ada.");
    }
    let named = refs["named"].as_str().unwrap();
    let passages = owner.get(&format!("/v1/agents/{named}/archival-memory")).await.expect(200);
    assert_eq!(column(&passages, "text"), ["More."]);
    let tool = owner.get(&format!("/v1/tools/{}", refs["two"].as_str().unwrap())).await.expect(200);
    assert_eq!(tool["name"], "two");
    let token = server.banner["tokens"]["page"]["token"].as_str().unwrap();
    let helper = refs["helper"].as_str().unwrap();
    let replied = server
        .stranger()
        .page(token)
        .post(&format!("/v1/agents/{helper}/messages"), &json!({"input": "The weather?"}))
        .await;
    let replied = replied.expect(200);
    assert_eq!(replied["messages"].as_array().unwrap().last().unwrap()["content"], "Sunny.");
    assert_eq!(ORIGIN, "https://app.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_with_a_mistake_refuses_the_start() {
    let af = |text: &'static str| ("seed/a.af", text);
    for (files, expected) in [
        (
            vec![("seed/a.toml", "\n[[agent]]\nref = 'a'\nmodle = 'x'")],
            "gatelet: seed/a.toml line 4: agent \"a\": modle: an agent has no such field",
        ),
        (
            vec![("seed/a.toml", "[[agent]]\nref = 'a'\nmodel = 7")],
            "gatelet: seed/a.toml line 3: agent \"a\": model: Input should be a valid string",
        ),
        (
            vec![
                ("seed/a.toml", "[[block]]\nref = 'b'\nlabel = 'b'"),
                ("seed/b.json", "{\"agent\": [\n{\"block_ids\": [\"b\",\n\"c\"]}]}"),
            ],
            "gatelet: seed/b.json line 3: agent 1: block_ids.1: \"c\" is not the ref of a block in this seed; those are \"b\"",
        ),
        (vec![af("{}")], "gatelet: seed/a.af: agent \"a\": Invalid agent file: agents: Field required"),
        (vec![af("no JSON")], "gatelet: seed/a.af: agent \"a\": Corrupted agent file format."),
        (vec![("seed/a.json", "{")], "gatelet: seed/a.json line 1: it is not JSON: EOF while parsing an object"),
        (vec![("seed/a.txt", "")], "gatelet: the folder seed has no .toml, .json or .af files"),
        (vec![], "gatelet: cannot read the seed seed: No such file or directory"),
    ] {
        let program = Program::ephemeral();
        write(program.folder(), &files);
        let said = program.env("GATELET_SEED", "seed").try_start().await.unwrap_err();
        assert!(said.trim_end().lines().last().unwrap().starts_with(expected), "{said}");
    }
    let files = [("seed.toml", "[[block]]\nlabel = 'b'")];
    let program = Program::on(Engine::Sqlite).await.argument("--seed").argument("seed.toml");
    write(program.folder(), &files);
    assert!(program.try_start().await.unwrap_err().contains("a seed changes no database on disk: add --ephemeral"));
    let program = Program::ephemeral()
        .argument("--seed")
        .argument("seed.toml")
        .argument("--upstream")
        .argument("http://127.0.0.1:9");
    write(program.folder(), &files);
    assert!(program.try_start().await.unwrap_err().contains("a seed is for the mock, and there is an upstream"));
    let program = Program::ephemeral().argument("--seed=seed.toml").argument("--script=replies.toml");
    write(program.folder(), &[("seed.toml", "script = 'replies.toml'")]);
    assert!(
        program.try_start().await.unwrap_err().contains("the seed names a script, and the settings name replies.toml")
    );
    let program = Program::ephemeral().argument("--seed=seed.toml").env("GATELET_CONTROL", "false");
    write(program.folder(), &[("seed.toml", "clock = 2026-01-05")]);
    assert!(program.try_start().await.unwrap_err().contains("the seed sets the clock, which needs the control API"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_page_works() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/seeds.md")).unwrap();
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let program = Program::ephemeral();
    write(program.folder(), &[("seed.toml", example)]);
    let server = program.argument("--seed").argument("seed.toml").start().await;
    let agent = server.banner["refs"]["helper"].as_str().unwrap();
    let agent = server.owner().get(&format!("/v1/agents/{agent}")).await.expect(200);
    assert!(agent["created_at"].as_str().unwrap().starts_with("2026-01-05T09:00:00"), "{agent}");
    let token = server.banner["tokens"]["page"]["token"].as_str().unwrap();
    let page = server.stranger().bearer(token).with("origin", "http://localhost:3000");
    let sent =
        page.post(&format!("/v1/agents/{}/messages", agent["id"].as_str().unwrap()), &json!({"input": "Hi"})).await;
    sent.expect(200);
    // The mistakes that the page shows.
    for (correct, wrong) in [("model = ", "modle = "), ("block_ids = [\"policy\"]", "block_ids = [\"polcy\"]")] {
        let program = Program::ephemeral().argument("--seed").argument("seed.toml");
        write(program.folder(), &[("seed.toml", &example.replacen(correct, wrong, 1))]);
        let said = program.try_start().await.unwrap_err();
        let said = said.trim_end().lines().last().unwrap().trim_start_matches("gatelet: ").to_owned();
        assert!(page_has(&said), "{said}");
    }
}

fn page_has(sentence: &str) -> bool {
    include_str!("../../../docs/seeds.md").lines().any(|line| line == sentence)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_with_a_seed() {
    let program = Program::ephemeral();
    write(program.folder(), &[("seed.toml", SEED), ("wrong.toml", "[[block]]\nvalue = 'x'")]);
    let script = "echo $GATELET_URL $GATELET_KEY; read line";
    let mut command = program.command(["run", "--seed", "seed.toml", "--", "sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let (url, key) = line.split_once(' ').unwrap();
    let agents = Client::new(url, true).bearer(key).get("/v1/agents/").await.expect(200);
    assert_eq!(column(&agents, "name"), ["helper"]);
    drop(child.stdin.take());
    child.wait().await.unwrap();
    let said = program.run(&["run", "--seed", "wrong.toml", "--", "echo", "ran"]).await;
    assert_eq!(said.failed(), "gatelet: wrong.toml line 1: block 1: label: Field required");
    assert_eq!(said.stdout, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn toml_and_json_make_the_same_world() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let clock = "clock = 2026-01-05T09:00:00Z\n";
    let mut worlds = Vec::new();
    for format in ["toml", "json"] {
        let created = owner.post("/_gatelet/v1/ns", &json!({"name": "same"})).await.expect(201);
        let inside = server.stranger().bearer(created["api_key"].as_str().unwrap());
        let seed = format!("{clock}{SEED}");
        let seeded = match format {
            "toml" => put(&inside, &seed).await,
            _ => put_as(&inside, "application/json", &json_of(&seed).to_string()).await,
        };
        let mut all = world(&inside).await;
        all.push(seeded.expect(200)["refs"].take());
        worlds.push(all);
        assert_eq!(owner.delete("/_gatelet/v1/ns/same").await.status, 204);
    }
    let [toml, json] = &worlds[..] else { panic!("{worlds:?}") };
    for (toml, json) in toml.iter().zip(json) {
        assert_eq!(toml, json);
    }
    // A seed that is part of another body is no different.
    for (content_type, body) in [
        ("application/json", json!({"name": "same", "seed": json_of(&format!("{clock}{SEED}"))}).to_string()),
        ("application/toml", format!("name = 'same'\n[seed]\n{clock}{}", SEED.replace("\n[[", "\n[[seed."))),
    ] {
        let request = owner.request(reqwest::Method::POST, "/_gatelet/v1/ns").header("content-type", content_type);
        let created = Answer::read(request.body(body).send().await.unwrap()).await.expect(201);
        let inside = server.stranger().bearer(created["api_key"].as_str().unwrap());
        assert_eq!(world(&inside).await, toml[..LISTS.len()], "{content_type}");
        assert_eq!(created["refs"], toml[LISTS.len()], "{content_type}");
        let token = created["tokens"]["reader"]["token"].as_str().unwrap();
        let helper = created["refs"]["helper"].as_str().unwrap();
        server.stranger().page(token).get(&format!("/v1/agents/{helper}")).await.expect(200);
        assert_eq!(owner.delete("/_gatelet/v1/ns/same").await.status, 204);
    }
    for (content_type, body, at) in [
        ("application/json", json!({"name": "same", "seed": {"block": [{"value": "x"}]}}).to_string(), "/seed/block/0"),
        ("application/toml", "name = 'same'\n[[seed.block]]\nvalue = 'x'".to_owned(), "line 2"),
    ] {
        let request = owner.request(reqwest::Method::POST, "/_gatelet/v1/ns").header("content-type", content_type);
        let answer = Answer::read(request.body(body).send().await.unwrap()).await;
        assert!(answer.refused(422, "seed_invalid").contains("block 1: label: Field required"));
        assert!(answer.expect(422)["at"].as_str().unwrap().starts_with(at), "{}", answer.text);
        owner.get("/_gatelet/v1/ns/same").await.refused(404, "namespace_not_found");
    }
}

/// The same seed in JSON.
fn json_of(seed: &str) -> Value {
    fn plain(value: Value) -> Value {
        match value {
            // A date as `toml` shows it to serde.
            Value::Object(members) if members.contains_key("$__toml_private_datetime") => {
                members["$__toml_private_datetime"].clone()
            }
            Value::Object(members) => members.into_iter().map(|(name, value)| (name, plain(value))).collect(),
            Value::Array(items) => items.into_iter().map(plain).collect(),
            other => other,
        }
    }
    plain(toml::from_str(seed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_issues_the_tokens_of_every_seed_anew() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let created = owner.post("/_gatelet/v1/ns", &json!({"name": "w"})).await.expect(201);
    let inside = server.stranger().bearer(created["api_key"].as_str().unwrap());
    // Both call their agent the same.
    let seed = |name: &str| {
        json!({
            "agent": [{"ref": "a", "name": name, "model": "openai/gpt-4o-mini"}],
            "token": [{"ref": name, "agent": "a", "access": ["read_agent"], "hostname": ORIGIN, "expires_in": "5m"}],
        })
    };
    let mut agents = Vec::new();
    let mut former = Vec::new();
    for name in ["one", "two"] {
        let seeded = put_as(&inside, "application/json", &seed(name).to_string()).await.expect(200);
        agents.push(seeded["refs"]["a"].as_str().unwrap().to_owned());
        former.push(seeded["tokens"][name]["token"].as_str().unwrap().to_owned());
    }
    let before = world(&inside).await;
    inside.create_agent(&json!({"name": "three"})).await;
    let reset = inside.post("/_gatelet/v1/ns/-/reset", &json!({"to": "seed"})).await.expect(200);
    assert_eq!(world(&inside).await, before);
    assert_eq!(reset["refs"]["a"], agents[1]);
    for (index, name) in ["one", "two"].into_iter().enumerate() {
        let path = format!("/v1/agents/{}", agents[index]);
        assert_eq!(server.stranger().page(&former[index]).get(&path).await.status, 401);
        let token = &reset["tokens"][name];
        assert_eq!(token["id"], reset["refs"][name]);
        let shown = server.stranger().page(token["token"].as_str().unwrap()).get(&path).await.expect(200);
        assert_eq!(shown["name"], name);
    }
}
