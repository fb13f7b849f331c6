//! The form of seeds. What they create is told over HTTP, by the suite.

use std::{collections::BTreeSet, fs};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    Seed, SeedError,
    read::Entry,
    tables::{IMPORTED_AGENT, Row, Table},
};

/// The order of a seed's tables, by ref.
fn order(seed: &Seed) -> Vec<&str> {
    seed.entries.iter().filter_map(|entry| entry.reference.as_deref()).collect()
}

fn mistake(seed: Result<Seed, SeedError>) -> (String, String) {
    match seed.unwrap_err() {
        SeedError::Mistake(mistake) => (mistake.sentence, mistake.at),
        SeedError::Failed(error) => (error.to_string(), String::new()),
    }
}

const SEED: &str = r#"
clock = 2026-01-05T09:00:00Z

[[agent]]
ref = "helper"
name = "helper"
model = "openai/gpt-4o-mini"
memory_blocks = [
  { label = "human", value = "Name: Ada" },
]
block_ids = ["shared"]
identity_ids = ["ada"]
messages = [{ role = "user", content = "Hi" }]
passages = ["Ada likes tea.", { text = "And cake.", tags = ["food"] }]

[[token]]
ref = "page"
agent = "helper"
access = ["read_messages"]
hostname = "http://localhost:3000"
expires_in = "5m"

[[identity]]
ref = "ada"
identifier_key = "ada"
name = "Ada"
identity_type = "user"
block_ids = ["shared"]

[[block]]
ref = "shared"
label = "policy"
value = """
Be
kind."""

[[mcp_server]]
server_name = "files"
[mcp_server.config]
server_url = "https://mcp.example"
"#;

#[test]
fn tables_follow_what_they_refer_to() {
    let seed = Seed::from_toml(SEED, "").unwrap();
    assert_eq!(order(&seed), ["shared", "ada", "helper", "page"]);
    assert_eq!(seed.clock.and_then(|clock| clock.now), Some(1_767_603_600_000_000));
    // Identities come before agents unless they name one.
    let seed = Seed::from_json(
        r#"{"identity": [{"ref": "i", "agent_ids": ["b"]}, {"ref": "j"}], "agent": [{"ref": "b", "identity_ids": ["j"]}]}"#,
        "",
    );
    assert_eq!(order(&seed.unwrap()), ["j", "b", "i"]);
    // Ids of what is already there are no refs.
    let id = "block-123e4567-e89b-42d3-8456-426614174000";
    assert!(Seed::from_json(&json!({"agent": [{"block_ids": [id], "name": null}]}).to_string(), "").is_ok());
}

/// Seeds with a mistake, its line, and how the sentence begins.
const MISTAKES: &[(&str, usize, &str)] = &[
    ("agent = 1", 1, "agent must be a list of tables: [[agent]] in TOML, an array in JSON"),
    ("\n[agent]\nname = 'a'", 2, "agent must be a list of tables"),
    ("agent = [{}, 1]", 1, "agent must be a list of tables"),
    ("[[agnet]]", 1, "agnet: a seed has no such table; it has clock, script, tool, block"),
    ("\n[[agent]\n", 2, "invalid table header"),
    ("[[agent]]\nname = 'a'\nname = 'b'", 3, "duplicate key"),
    ("clock = 'soon'", 1, "clock: 'soon' is not an instant; write it as"),
    ("clock = { nwo = 2026-01-05 }", 1, "clock: unknown field `nwo`"),
    ("\nscript = 'replies.toml'", 2, "script: files are read only for a seed that is given by --seed"),
    ("[[agent]]\nref = 'a'\nmodle = 'x'", 3, "agent \"a\": modle: an agent has no such field"),
    ("[[agent]]\n[[agent]]\n\nmodle = 'x'", 4, "agent 2: modle: an agent has no such field"),
    (
        "[[agent]]\nref = 'a'\nmemory_blocks = [\n{ label = 'a' },\n{ lable = 'b' },\n]",
        5,
        "agent \"a\": memory_blocks.1.lable: there is no such field here; the fields are value, limit",
    ),
    ("[[agent]]\nmessages = [{ rol = 'user' }]", 2, "agent 1: messages.0.rol: there is no such field"),
    ("[[block]]\nref = 'a b'", 2, "block 1: ref: must be 1 to 64 letters"),
    ("[[block]]\nref = ''", 2, "block 1: ref: must be 1 to 64"),
    ("[[block]]\nref = 7", 2, "block 1: ref: must be 1 to 64"),
    (
        "[[block]]\nref = 'a'\n[[agent]]\nref = 'a'",
        4,
        "agent \"a\": ref: block \"a\" in line 1 has the same ref; every ref is unique",
    ),
    (
        "[[agent]]\nref = 'a'\nblock_ids = [\n  'b',\n  'c',\n]\n[[block]]\nref = 'b'",
        5,
        "agent \"a\": block_ids.1: \"c\" is not the ref of a block in this seed; those are \"b\"",
    ),
    ("[[agent]]\ntool_ids = ['x']", 2, "agent 1: tool_ids.0: \"x\" is not the ref of a tool in this seed"),
    (
        "[[agent]]\nref = 'a'\ntool_ids = ['b']\n[[block]]\nref = 'b'",
        3,
        "agent \"a\": tool_ids.0: \"b\" is a block, not a tool",
    ),
    (
        "[[agent]]\nref = 'a'\nidentity_ids = ['i']\n[[identity]]\nref = 'i'\nagent_ids = ['a']",
        1,
        "agent \"a\": its references lead back to itself",
    ),
    (
        "[[agent]]\nfile = 'a.af'",
        2,
        "agent 1: file: files are read only for a seed that is given by --seed; give agent_file",
    ),
    (
        "[[tool]]\nfile = 'a.py'",
        2,
        "tool 1: file: files are read only for a seed that is given by --seed; give source_code",
    ),
    ("[[block]]\nfile = 'a.py'", 2, "block 1: file: a block has no such field"),
    ("[[agent]]\nagent_file = 'a.af'", 2, "agent 1: agent_file: must be the content of an agent file"),
    ("[[agent]]\nagent_file = {}\ntags = []", 3, "agent 1: tags: an agent from an agent file has no such field"),
    ("[[agent]]\nagent_file = {}\nfile = 'a'", 3, "agent 1: file: give either file or agent_file"),
    ("[[agent]]\npassages = 'a'", 2, "agent 1: passages: must be a list"),
    ("[[archive]]\npassages = [\n'a',\n1]", 4, "archive 1: passages.1: must be a text or a table"),
    ("[[agent]]\npassages = [{ txt = 'a' }]", 2, "agent 1: passages.0.txt: there is no such field"),
    ("[[agent]]\narchive = 1", 2, "agent 1: archive: must be the ref of an archive"),
    (
        "[[agent]]\nmessages = []\ninitial_message_sequence = []",
        2,
        "agent 1: messages: give either messages or initial_message_sequence",
    ),
    ("[[agent]]\nmetadata = { a = [1.5, inf] }", 2, "a number must be finite"),
    ("[[folder]]\nfiles = 'a'", 2, "folder 1: files: must be a list of paths or of tables"),
    (
        "[[folder]]\nfiles = [\n'a']",
        3,
        "folder 1: files.0: files are read only for a seed that is given by --seed; give name",
    ),
    ("[[folder]]\nfiles = [{ name = 'a' }]", 2, "folder 1: files.0: must be a path, or a table with name and text"),
    ("[[folder]]\nfiles = [{ name = 'a/b', text = '' }]", 2, "folder 1: files.0.name: must be a file name"),
    ("[[folder]]\nfiles = [{ nam = 'a' }]", 2, "folder 1: files.0.nam: there is no such field"),
    ("\n[[token]]\nagent = 'a'", 2, "token 1: ref: a token needs a ref"),
    ("[[token]]\nref = 't'", 1, "token \"t\": agent: must be given, with access"),
    ("[[token]]\nref = 't'\nagent = 'a'", 1, "token \"t\": access: must be given"),
    (
        "[[token]]\nref = 't'\npolicy = []\naccess = []",
        3,
        "token \"t\": policy: give either policy, or agent and access",
    ),
    ("[[token]]\nref = 't'\nagent = 'a'\naccess = []", 3, "token \"t\": agent: \"a\" is not the ref of an agent"),
    (
        "[[token]]\nref = 't'\n\npolicy = [{ type = 'agent', id = 'a' }]",
        4,
        "token \"t\": policy.0.id: \"a\" is not the ref of an agent",
    ),
    ("[[token]]\nref = 't'\npolicy = []\nexpires_in = '5 parsecs'", 4, "token \"t\": expires_in: must be a duration"),
    ("[[token]]\nref = 't'\npolicy = []\nexpires_in = '0s'", 4, "token \"t\": expires_in: must be a duration"),
    (
        "[[token]]\nref = 't'\npolicy = []\nexpires_in = '1s'\nexpires_at = 2026-01-01T00:00:00Z",
        4,
        "token \"t\": expires_in: give either",
    ),
];

#[test]
fn a_mistake_names_its_line_and_field() {
    for (text, line, expected) in MISTAKES {
        let (sentence, at) = mistake(Seed::from_toml(text, ""));
        assert!(sentence.starts_with(&format!("line {line}: {expected}")), "{text:?}: {sentence}");
        assert_eq!(at, format!("line {line}"), "{text:?}");
    }
}

#[test]
fn json_names_the_place_by_its_pointer() {
    let seed = json!({"agent": [{"name": "x"}, {"ref": "a", "block_ids": ["b"], "memory_blocks": [{"a/b": 1}]}]});
    let problem = "agent \"a\": memory_blocks.0.a/b: there is no such field here";
    let (sentence, at) = mistake(Seed::from_json(&seed.to_string(), ""));
    assert!(sentence.starts_with(problem), "{sentence}");
    assert_eq!(at, "/agent/1/memory_blocks/0/a~1b");
    let (sentence, at) = mistake(Seed::from_json(&json!({"name": "n", "seed": seed}).to_string(), "/seed"));
    assert!(sentence.starts_with(problem), "{sentence}");
    assert_eq!(at, "/seed/agent/1/memory_blocks/0/a~1b");
    let (sentence, at) = mistake(Seed::from_toml("name = 'n'\n[[seed.agent]]\nnmae = 'x'", "/seed"));
    assert_eq!((sentence.as_str(), at.as_str()), ("line 3: agent 1: nmae: an agent has no such field", "line 3"));
    let (sentence, at) = mistake(Seed::from_json("{\n  \"agent\": [}", ""));
    assert_eq!((sentence.as_str(), at.as_str()), ("line 2: it is not JSON: expected value", "line 2"));
    assert!(mistake(Seed::from_json("[]", "")).0.starts_with("a seed is a table"));
}

#[test]
fn a_file_of_json_has_lines_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.json");
    fs::write(&path, "{\"agent\": [\n  {\"ref\": \"a\"},\n  {\"ref\": \"b\",\n   \"tags\": [],\n   \"taggs\": []}\n]}")
        .unwrap();
    let (sentence, at) = mistake(Seed::load(&path));
    assert_eq!(sentence, format!("{} line 5: agent \"b\": taggs: an agent has no such field", path.display()));
    assert_eq!(at, "line 5");
}

#[test]
fn a_folder_is_one_seed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let name = |name: &str| folder.path().join(name).display().to_string();
    assert!(mistake(Seed::load(folder.path())).0.ends_with("has no .toml, .json or .af files"));
    fs::create_dir(folder.path().join("tools")).unwrap();
    write("tools/add.py", "def add(a: int, b: int) -> int:\n    return a + b\n");
    write("tools/add.ts", "export function add() {}");
    write("b.toml", "clock = 2026-01-05T09:00:00Z\n[[agent]]\nref = 'imported'\nfile = 'named.af'\n");
    write("a.json", r#"{"agent": [{"ref": "x", "tool_ids": ["add"]}], "script": "replies.toml"}"#);
    write("c.toml", "[[tool]]\nref = 'add'\nfile = 'tools/add.py'\n[[tool]]\nref = 'ts'\nfile = 'tools/add.ts'\n");
    write("named.af", "{}");
    write("other.af", "{}");
    write("notes.txt", "not a seed");
    write("e.json", r#"{"folder": [{"ref": "f", "files": ["notes.txt", {"name": "b.md", "text": "B"}]}]}"#);
    let seed = Seed::load(folder.path()).unwrap();
    assert_eq!(order(&seed), ["add", "ts", "f", "x", "imported", "other"]);
    assert!(seed.entries[0].fields["source_code"].as_str().unwrap().starts_with("def add"));
    assert_eq!(seed.entries[1].fields["source_type"], "typescript");
    let files = &seed.entries[2].files;
    assert_eq!((files[0].name.as_str(), files[0].bytes.as_slice()), ("notes.txt", &b"not a seed"[..]));
    assert_eq!((files[1].name.as_str(), files[1].bytes.as_slice()), ("b.md", &b"B"[..]));
    assert_eq!(seed.script, Some(folder.path().join("replies.toml")));
    write("d.toml", "\nclock = 2026-01-05T09:00:00Z");
    let (sentence, _) = mistake(Seed::load(folder.path()));
    assert_eq!(sentence, format!("{} line 2: clock: another file of the seed sets the clock too", name("d.toml")));
    write("d.toml", "[[tool]]\nfile = 'tools/none.py'");
    let (sentence, _) = mistake(Seed::load(folder.path()));
    let expected =
        format!("{} line 2: tool 1: file: cannot read {}: No such file", name("d.toml"), name("tools/none.py"));
    assert!(sentence.starts_with(&expected), "{sentence}");
    write("d.toml", "[[agent]]\nref = 'other'");
    let (sentence, _) = mistake(Seed::load(folder.path()));
    assert!(
        sentence.starts_with(&format!("{}: agent \"other\": ref: agent \"other\" in", name("other.af"))),
        "{sentence}"
    );
    assert!(mistake(Seed::load(&folder.path().join("none.toml"))).0.starts_with("cannot read the seed "));
}

/// Every field of Letta's bodies may be in a table, and a seed's own fields are not Letta's.
#[test]
fn the_fields_of_the_tables_are_letta_s() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/letta-schemas.json");
    let schemas: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let fields_of = |schema: &Value| -> BTreeSet<String> {
        let named = schema["$ref"].as_str().map(|path| schemas.pointer(path.trim_start_matches('#')).unwrap());
        named.unwrap_or(schema)["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let rows = Table::ALL.map(Table::row).into_iter().chain([&IMPORTED_AGENT]);
    for Row { name, operation, fields, own, .. } in rows {
        let row = operation.row();
        let request = &schemas["operations"][format!("{} {}", row.method, row.template)]["request"];
        let schema = request.as_object().unwrap().values().next().unwrap();
        let mut letta = fields_of(schema);
        if *operation == crate::access::Operation::ImportAgent {
            // The file itself, and the older names of other fields.
            letta.retain(|field| field != "file" && !field.starts_with("override_") && field != "env_vars_json");
            letta.insert("override_existing_tools".into());
        }
        assert_eq!(fields.iter().map(|field| (*field).to_owned()).collect::<BTreeSet<_>>(), letta, "{name}");
        assert!(own.iter().all(|field| !fields.contains(field)), "{name}");
    }
}

/// A seed as TOML: each table by its header, each value inline.
fn toml_of(seed: &Map<String, Value>) -> String {
    let line = |(name, value): (&String, &Value)| format!("{name} = {}\n", inline(value));
    let tables = seed.iter().flat_map(|(table, items)| {
        let lines = move |item: &Value| item.as_object().unwrap().iter().map(line).collect::<String>();
        items.as_array().unwrap().iter().map(move |item| format!("[[{table}]]\n{}", lines(item)))
    });
    tables.collect()
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{} = {}", json!(name), inline(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        // Escapes of JSON are TOML's, but for the slash, which is not escaped here.
        other => other.to_string(),
    }
}

fn shown(seed: Result<Seed, SeedError>) -> Result<Vec<String>, String> {
    let show = |entry: &Entry| format!("{:?} {:?} {}", entry.table, entry.reference, json!(entry.fields));
    seed.map(|seed| seed.entries.iter().map(show).collect()).map_err(|error| {
        // Places are lines in TOML and pointers in JSON.
        let sentence = error.to_string();
        let rest = sentence.split_once(": ").filter(|(line, _)| line.starts_with("line "));
        let problem = rest.map_or(sentence.as_str(), |(_, problem)| problem);
        problem.split(" in ").next().unwrap_or_default().to_owned()
    })
}

proptest! {
    #[test]
    fn toml_and_json_are_one_shape(
        blocks in prop::collection::vec(("[a-d]", "\\PC{0,12}", any::<i32>()), 0..4),
        agents in prop::collection::vec(("[e-h]", prop::collection::vec("[a-e]", 0..3), any::<bool>()), 0..3),
    ) {
        let block = |(reference, value, limit): &(String, String, i32)| {
            json!({"ref": reference, "label": "l", "value": value, "metadata": {value.as_str(): [*limit, {"x": 0.5}]}})
        };
        let agent = |(reference, blocks, hidden): &(String, Vec<String>, bool)| {
            json!({"ref": reference, "block_ids": blocks, "hidden": hidden})
        };
        let blocks: Vec<Value> = blocks.iter().map(block).collect();
        let agents: Vec<Value> = agents.iter().map(agent).collect();
        let seed = json!({"agent": agents, "block": blocks});
        let toml = toml_of(seed.as_object().unwrap());
        prop_assert_eq!(shown(Seed::from_toml(&toml, "")), shown(Seed::from_json(&seed.to_string(), "")), "{}", toml);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\[\\[(agent|block|token)\\]\\]\n|ref = '[ab]'\n|block_ids = \\['a'\\]\n|file = 1\n|[\\[\\]{}='\",.a1\n]){0,12}") {
        let _ = Seed::from_toml(&text, "");
        let _ = Seed::from_json(&text, "");
    }
}
