//! How much memory a small request may take, whatever it asks for.

use std::{fs, future::Future, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Engine, Gatelet, eventually, form, id};

/// What a request may be at most to be small, and how much more memory the server may take for it at its peak.
const SMALL: usize = 64 * 1024;
const MOST_KIB: u64 = 64 * 1024;

/// What came of a request.
struct Outcome {
    name: &'static str,
    peak_kib: u64,
    status: u16,
    code: String,
}

/// Sends requests and watches the server's memory.
struct Watch {
    server: Gatelet,
    owner: Client,
    outcomes: Vec<Outcome>,
}

impl Watch {
    async fn new() -> Self {
        let server = Gatelet::on(Engine::Sqlite).await;
        let owner = server.owner();
        Self { server, owner, outcomes: Vec::new() }
    }

    fn kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends a request, and notes by how much the server grew meanwhile.
    async fn watch(&mut self, name: &'static str, request: impl Future<Output = Answer>) -> Answer {
        // From now on the peak is that of what follows.
        fs::write(format!("/proc/{}/clear_refs", self.server.pid()), "5").unwrap();
        let before = self.kib("VmRSS");
        let answer = request.await;
        let peak_kib = self.kib("VmHWM").saturating_sub(before);
        let mut code =
            answer.text.split("\"code\":\"").nth(1).unwrap_or_default().split('"').next().unwrap().to_owned();
        if let Some(event) = answer.text.split("event: error\ndata: ").nth(1) {
            let event: Value = serde_json::from_str(event.split("\n\n").next().unwrap()).unwrap();
            event["error_type"].as_str().unwrap().clone_into(&mut code);
        }
        self.outcomes.push(Outcome { name, peak_kib, status: answer.status.as_u16(), code });
        answer
    }

    async fn post(&mut self, name: &'static str, path: &str, body: &Value) -> Answer {
        assert!(body.to_string().len() < SMALL, "{name} is not small: {}", body.to_string().len());
        let owner = self.owner.clone();
        self.watch(name, owner.post(path, body)).await
    }

    async fn get(&mut self, name: &'static str, path: &str) -> Answer {
        let owner = self.owner.clone();
        self.watch(name, owner.get(path)).await
    }

    /// Says something small to an agent.
    async fn say(&mut self, name: &'static str, agent: &str, text: &str) -> Answer {
        self.post(name, &format!("/v1/agents/{agent}/messages"), &json!({"input": text})).await
    }

    /// Holds what came of all requests against what should have.
    fn check(&self, expected: &[Expected]) {
        let table: Vec<String> = self
            .outcomes
            .iter()
            .map(|one| format!("{:>8} KiB  {} {:<18} {}", one.peak_kib, one.status, one.code, one.name))
            .collect();
        let table = table.join("\n");
        for outcome in &self.outcomes {
            assert!(outcome.peak_kib < MOST_KIB, "{} takes {} KiB\n{table}", outcome.name, outcome.peak_kib);
        }
        let found: Vec<(&str, u16, &str)> =
            self.outcomes.iter().map(|one| (one.name, one.status, one.code.as_str())).collect();
        assert_eq!(found, expected, "\n{table}");
    }
}

/// What is to come of a request: its name, the status, and the code of a failure.
type Expected = (&'static str, u16, &'static str);

const OF_A_TURN: &[Expected] = &[
    ("a long answer", 400, "turn_too_large"),
    ("as many words as there are numbers", 200, ""),
    ("a long answer, streamed", 200, "turn_too_large"),
    ("a long answer, streamed in pieces", 200, "turn_too_large"),
    ("a long answer in the background", 200, "turn_too_large"),
    ("a file opened 200 times", 200, ""),
    ("a file opened a few times", 400, "turn_too_large"),
    ("a file of many lines opened a few times", 400, "turn_too_large"),
    ("a long line found", 400, "turn_too_large"),
    ("a large file looked through", 200, ""),
    ("a larger file", 400, "answer_too_large"),
    ("a large pattern", 200, ""),
    ("a block that is multiplied", 400, "turn_too_large"),
    ("a block that grows step by step", 200, ""),
    ("an archive that is found again and again", 200, ""),
    ("very many calls", 200, ""),
    ("very many steps", 200, ""),
    ("a text that is escaped", 200, ""),
];
const OF_A_KEY: &[Expected] = &[
    ("a list of lists", 200, ""),
    ("a text repeated", 200, ""),
    ("a text in a text", 200, ""),
    ("many arguments", 200, ""),
    ("many alternatives", 200, ""),
    ("much that is nested", 200, ""),
    ("many brackets", 200, ""),
    ("many operators", 200, ""),
    ("no end of strings", 200, ""),
    ("many arguments with descriptions", 400, "invalid_request"),
    ("many descriptions", 200, ""),
    ("classes that double", 400, "invalid_request"),
    ("much that is nested in an annotation", 400, "invalid_request"),
    ("functions in functions", 200, ""),
    ("a definition that is named often", 400, "invalid_request"),
    ("a variable that is named often", 400, "invalid_request"),
    ("a form of many fields", 400, "turn_too_large"),
    ("a call of many arguments", 400, "turn_too_large"),
    ("a file of many agents", 400, "turn_too_large"),
    ("a tool that an agent has often", 200, ""),
    ("very many passages", 422, "validation_failed"),
    ("many passages", 200, ""),
    ("a batch", 200, ""),
];
const OF_READING: &[Expected] = &[
    ("many long messages", 400, "answer_too_large"),
    ("some long messages", 200, ""),
    ("an agent's file", 400, "answer_too_large"),
    ("a search for everything", 400, "answer_too_large"),
    ("an agent's search for everything", 400, "turn_too_large"),
    ("a fork", 400, "answer_too_large"),
    ("a summary", 400, "invalid_request"),
    ("a block that many agents show", 400, "answer_too_large"),
];

/// So many calls of a tool.
fn calls(tool: &str, arguments: &Value, count: usize) -> String {
    format!("[[call:{tool} {arguments}]]").repeat(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_produces_no_more_than_it_may() {
    let mut watch = Watch::new().await;
    let owner = watch.owner.clone();
    let tools = [
        "core_memory_replace",
        "core_memory_append",
        "memory_insert",
        "archival_memory_insert",
        "archival_memory_search",
        "conversation_search",
    ];
    let agent = owner
        .create_agent(
            &json!({"tools": tools, "memory_blocks": [{"label": "human", "value": "a"}], "parallel_tool_calls": true}),
        )
        .await;
    let folder =
        owner.post("/v1/folders/", &json!({"name": "shelf", "embedding": "openai/text-embedding-3-small"})).await;
    let folder = id(&folder.expect(200));
    for (name, text) in [
        ("long.txt", "x".repeat(4_000_000)),
        ("lines.txt", "z\n".repeat(1_000_000)),
        ("huge.txt", "y".repeat(7_500_000)),
        ("more.txt", "y".repeat(9_000_000)),
    ] {
        let body = form(&[("file", Some((name, "text/plain")), text.as_bytes())]);
        owner.send_form(&format!("/v1/folders/{folder}/upload"), body).await.expect(200);
    }
    owner.send(Method::PATCH, &format!("/v1/agents/{agent}/folders/attach/{folder}"), None).await.expect(200);
    let before = owner.get(&format!("/v1/agents/{agent}/messages?limit=1000")).await.expect(200);

    let long = format!("[[long:100000]] {}", "w".repeat(19_000));
    watch.say("a long answer", &agent, &long).await;
    watch.say("as many words as there are numbers", &agent, "[[long:18446744073709551615]] word").await;
    let path = format!("/v1/agents/{agent}/messages");
    for (name, body) in [
        ("a long answer, streamed", json!({"input": long})),
        ("a long answer, streamed in pieces", json!({"input": long, "stream_tokens": true})),
        ("a long answer in the background", json!({"input": long, "stream_tokens": true, "background": true})),
    ] {
        watch.post(name, &format!("{path}/stream"), &body).await;
    }
    let open = |name: &str, count: usize| {
        let requests = vec![json!({"file_name": name}); count];
        calls("open_files", &json!({"file_requests": requests}), 1)
    };
    watch.say("a file opened 200 times", &agent, &open("long.txt", 200)).await;
    watch.say("a file opened a few times", &agent, &open("long.txt", 3)).await;
    watch.say("a file of many lines opened a few times", &agent, &open("lines.txt", 3)).await;
    let long_line = json!({"pattern": "^x", "include": "long", "context_lines": 100});
    watch.say("a long line found", &agent, &calls("grep_files", &long_line, 50)).await;
    let large_file = json!({"pattern": "x", "include": "huge"});
    watch.say("a large file looked through", &agent, &calls("grep_files", &large_file, 2)).await;
    let both_files = json!({"pattern": "x", "include": "more"});
    watch.say("a larger file", &agent, &calls("grep_files", &both_files, 2)).await;
    let pattern = json!({"pattern": "(a?){500}b", "include": "lines"});
    watch.say("a large pattern", &agent, &calls("grep_files", &pattern, 1)).await;
    let replace = json!({"label": "human", "old_content": "a", "new_content": "a".repeat(1_000)});
    watch.say("a block that is multiplied", &agent, &calls("core_memory_replace", &replace, 5)).await;
    let append = json!({"label": "human", "content": "a".repeat(100)});
    watch.say("a block that grows step by step", &agent, &calls("core_memory_append", &append, 140)).await;
    let insert = json!({"content": "word ".repeat(20)});
    let search = json!({"query": "word", "top_k": 1_000_000});
    let archive = calls("archival_memory_insert", &insert, 100) + &calls("archival_memory_search", &search, 100);
    watch.say("an archive that is found again and again", &agent, &archive).await;
    watch.say("very many calls", &agent, &"[[call:a]]".repeat(2_000)).await;
    let body = json!({"input": "[[call:a]]".repeat(2_000), "max_steps": 1_000_000});
    watch.post("very many steps", &path, &body).await;
    let control = calls("a", &json!({"x": "\u{1}".repeat(3_000)}), 1);
    watch.post("a text that is escaped", &path, &json!({"input": control})).await;

    // Nothing of all that failed is left, and the agent still answers.
    let now = owner.get(&format!("/v1/agents/{agent}/messages?limit=1000")).await;
    assert!(now.text.len() > before.to_string().len());
    let said = owner.post(&path, &json!({"input": "[[long:50000]] word"})).await.expect(200);
    assert_eq!(said["messages"][0]["content"].as_str().unwrap().len(), 50_000 * 5 - 1);
    let run = &owner.get(&format!("/v1/runs/?agent_id={agent}&limit=100&order=asc")).await.expect(200)[0];
    assert_eq!((&run["status"], &run["stop_reason"]), (&json!("failed"), &json!("error")));
    assert!(run["metadata"]["error"].as_str().unwrap().contains("mock.turn_bytes"), "{run}");
    watch.check(OF_A_TURN);
}

/// Sources that document their arguments, of which tools are made.
fn documented_sources() -> [(&'static str, String); 5] {
    let described = |count: usize| (0..count).map(|n| format!("        a{n}: b")).collect::<Vec<_>>().join("\n");
    let documented = |arguments: &str, count: usize| {
        format!("def f({arguments}):\n    \"\"\"F.\n\n    Args:\n{}\n    \"\"\"\n", described(count))
    };
    let arguments = (0..1_500).map(|n| format!("a{n}: int")).collect::<Vec<_>>().join(", ");
    let doubling: Vec<String> = (1..200)
        .map(|n| {
            let member = |name: &str| format!("    {name}: C{} = Field(..., description='d')\n", n - 1);
            format!("class C{n}(BaseModel):\n{}{}", member("a"), member("b"))
        })
        .collect();
    let doubling = doubling.concat();
    [
        ("many arguments with descriptions", documented(&arguments, 1_500)),
        ("many descriptions", documented("a0: int", 3_000)),
        (
            "classes that double",
            format!(
                "from pydantic import BaseModel, Field\nclass C0(BaseModel): pass\n{doubling}{}",
                documented("a0: C199", 1)
            ),
        ),
        ("much that is nested in an annotation", documented(&format!("a0: {}int", "List[".repeat(6_000)), 1)),
        (
            "functions in functions",
            (0..300).map(|n| format!("{}def f():\n", " ".repeat(n))).chain([" ".repeat(300) + "'''F.'''"]).collect(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_sends_does_not_grow() {
    let mut watch = Watch::new().await;
    let owner = watch.owner.clone();
    let run = |source: &str| json!({"source_code": source, "args": {}, "name": "f"});
    let many = vec!["x"; 20_000].join(", ");
    for (name, source) in [
        ("a list of lists", format!("def f():\n    x = [{}]\n    y = [{many}]\n    return y\n", "1, ".repeat(900))),
        (
            "a text repeated",
            "def f():\n    x = 'x' * 999999\n    y = x + x\n    return [x, y] * 1000000000\n".to_owned(),
        ),
        ("a text in a text", format!("def f():\n    x = 'x' * 60000\n    return f'{}'\n", "{x}".repeat(15_000))),
        (
            "many arguments",
            format!("def f({}):\n    pass\n", (0..9_000).map(|n| format!("a{n}")).collect::<Vec<_>>().join(", ")),
        ),
        ("many alternatives", format!("def f(a: {}int):\n    pass\n", "a|".repeat(30_000))),
        ("much that is nested", format!("def f(a: {}):\n    return {}1\n", "List[".repeat(6_000), "(".repeat(30_000))),
        ("many brackets", format!("def f():\n    return {}\n", "[".repeat(60_000))),
        ("many operators", format!("def f():\n    return {}1\n", "not ".repeat(15_000))),
        ("no end of strings", format!("def f():\n    return {}\n", "f'{".repeat(20_000))),
    ] {
        watch.post(name, "/v1/tools/run", &run(&source)).await;
    }
    for (name, source) in documented_sources() {
        watch.post(name, "/v1/tools/", &json!({"source_code": source})).await;
    }
    let reference = json!({"$ref": "#/$defs/a"});
    let properties: serde_json::Map<String, Value> = (0..1_000).map(|n| (format!("p{n}"), reference.clone())).collect();
    let schema = json!({"$defs": {"a": {"properties": {"b": {"type": "string", "description": "x".repeat(20_000)}}}}, "properties": properties});
    let body = json!({"source_code": "def f(a):\n    pass\n", "args_json_schema": schema});
    watch.post("a definition that is named often", "/v1/tools/", &body).await;

    let blocks: Vec<Value> = (0..10).map(|n| json!({"label": format!("b{n}"), "value": "{{a}}".repeat(600)})).collect();
    let body =
        json!({"model": "openai/gpt-4o-mini", "memory_blocks": blocks, "memory_variables": {"a": "x".repeat(30_000)}});
    watch.post("a variable that is named often", "/v1/agents/", &body).await;

    let schema: serde_json::Map<String, Value> =
        (0..900).map(|n| (format!("p{n}"), json!({"type": "string"}))).collect();
    let required: Vec<&String> = schema.keys().collect();
    let form_of = json!({"type": "object", "properties": schema, "required": required});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": form_of}});
    let agent = owner.create_agent(&json!({"response_format": format})).await;
    watch.say("a form of many fields", &agent, &"x".repeat(60_000)).await;
    let tool = json!({"source_code": "def many_fields(a):\n    pass\n", "args_json_schema": {"properties": schema, "required": required}});
    let tool = id(&owner.post("/v1/tools/", &tool).await.expect(200));
    let agent = owner.create_agent(&json!({"tool_ids": [tool]})).await;
    watch.say("a call of many arguments", &agent, &format!("call many_fields 20 times {}", "x".repeat(18_000))).await;

    let agent_of_file = |number: usize| json!({"id": format!("agent-{number}"), "model": "openai/gpt-4o-mini", "block_ids": ["block-0"]});
    let agents: Vec<Value> = (0..500).map(agent_of_file).collect();
    let file = json!({
        "agents": agents,
        "blocks": [{"id": "block-0", "label": "b", "value": "x".repeat(20_000)}],
        "tools": [{"id": "tool-0", "name": "t", "source_code": "def t():\n    \"\"\"T.\"\"\"\n", "description": "x".repeat(5_000)}],
    });
    let body = form(&[("file", Some(("a.af", "application/json")), file.to_string().as_bytes())]);
    assert!(body.len() < SMALL, "{}", body.len());
    watch.watch("a file of many agents", owner.send_form("/v1/agents/import", body)).await;
    let agents = json!([{"id": "agent-0", "model": "openai/gpt-4o-mini", "tool_ids": vec!["tool-0"; 3_000]}]);
    let file = json!({"agents": agents, "tools": [{"id": "tool-0", "name": "t2", "source_code": "def t2():\n    \"\"\"T.\"\"\"\n", "description": "x".repeat(20_000)}]});
    let body = form(&[("file", Some(("a.af", "application/json")), file.to_string().as_bytes())]);
    watch.watch("a tool that an agent has often", owner.send_form("/v1/agents/import", body)).await;

    let archive =
        owner.post("/v1/archives/", &json!({"name": "a", "embedding": "openai/text-embedding-3-small"})).await;
    let passages = format!("/v1/archives/{}/passages/batch", id(&archive.expect(200)));
    watch.post("very many passages", &passages, &json!({"passages": vec![json!({"text": ""}); 4_000]})).await;
    watch.post("many passages", &passages, &json!({"passages": vec![json!({"text": "a"}); 1_000]})).await;

    let agent = owner.create_agent(&json!({})).await;
    let requests = vec![json!({"agent_id": agent, "input": "[[long:100000]] and so on for as long as it takes"}); 400];
    let batch = watch.owner.clone();
    let body = json!({"requests": requests});
    assert!(body.to_string().len() < SMALL);
    watch
        .watch("a batch", async move {
            let answer = batch.post("/v1/messages/batches", &body).await;
            let path = format!("/v1/messages/batches/{}", id(&serde_json::from_str(&answer.text).unwrap()));
            eventually("the batch ends", Duration::from_mins(1), async || {
                let status = batch.get(&path).await.expect(200)["status"].clone();
                ["completed", "failed"].iter().any(|ended| status == *ended)
            })
            .await;
            answer
        })
        .await;
    watch.check(OF_A_KEY);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_at_once_is_bounded() {
    let mut watch = Watch::new().await;
    let owner = watch.owner.clone();
    let agent = owner.create_agent(&json!({"tools": ["conversation_search"]})).await;
    for _ in 0..20 {
        let body = json!({"input": format!("[[long:1000]] {}", "w".repeat(1_500))});
        owner.post(&format!("/v1/agents/{agent}/messages"), &body).await.expect(200);
    }
    watch.get("many long messages", &format!("/v1/agents/{agent}/messages?limit=1000000")).await;
    watch.get("some long messages", &format!("/v1/agents/{agent}/messages?limit=4")).await;
    watch.get("an agent's file", &format!("/v1/agents/{agent}/export")).await;
    watch.post("a search for everything", "/v1/messages/search", &json!({"query": "w", "limit": 100})).await;
    let search = calls("conversation_search", &json!({"query": "w", "limit": 1_000_000}), 1);
    watch.say("an agent's search for everything", &agent, &search).await;
    watch.post("a fork", &format!("/v1/conversations/{agent}/fork"), &json!({})).await;
    watch.post("a summary", &format!("/v1/agents/{agent}/summarize"), &json!({})).await;

    let block = owner.post("/v1/blocks/", &json!({"label": "b", "value": "x".repeat(3_000_000)})).await;
    let block = id(&block.expect(200));
    for _ in 0..8 {
        owner.create_agent(&json!({"block_ids": [block], "include_base_tools": false})).await;
    }
    let include = "include=agent.blocks&".repeat(300);
    watch.get("a block that many agents show", &format!("/v1/agents/?{include}limit=1000")).await;
    watch.check(OF_READING);
}
