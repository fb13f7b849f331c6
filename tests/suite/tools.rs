//! Tools: made from sources, found, changed, attached to agents, and called.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Client, Gatelet, NOBODY, Resource, column, id, ids, keys, on_both_engines, shows_every_item_once,
};

const TOOLS: &str = "/v1/tools/";
const CUSTOM: &str = "/v1/tools/?tool_types=custom";
const TOOL: &str = "id tool_type description source_type name tags source_code json_schema args_json_schema \
    return_char_limit pip_requirements npm_requirements default_requires_approval enable_parallel_execution \
    created_by_id last_updated_by_id metadata_ project_id";

fn tools() -> Resource {
    Resource {
        collection: TOOLS,
        list: CUSTOM,
        prefix: "tool",
        keys: TOOL,
        create: |number| json!({"source_code": source(&format!("tool_{number}"), "return '7'")}),
        change: json!({
            "description": "other", "tags": ["a"], "return_char_limit": 9, "default_requires_approval": false,
            "enable_parallel_execution": true, "pip_requirements": [{"name": "requests", "version": null}],
        }),
        newest_first: true,
        deleted: (200, 400),
    }
}

fn source(name: &str, body: &str) -> String {
    format!(
        "def {name}(x: int = 1) -> str:\n    \"\"\"Does {name}.\n\n    Args:\n        x (int): a number\n    \"\"\"\n    {body}\n"
    )
}

async fn make(client: &Client, name: &str) -> String {
    id(&client.post(TOOLS, &json!({"source_code": source(name, "return '7'")})).await.expect(200))
}

/// A client of the generation that is told nothing by attaching.
fn current(client: &Client) -> Client {
    client.with("x-stainless-package-version", "1.12.1")
}

async fn patch(client: &Client, path: &str) -> Value {
    client.send(Method::PATCH, path, None).await.expect(200)
}

on_both_engines! {
    async fn tools_live_their_life(engine: Engine) {
        let server = Gatelet::on(engine).await;
        tools().lives_its_life(&server.owner()).await;
    }

    async fn a_tool_is_made_once_for_each_name(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let body = json!({"source_code": source("dice", "return '7'"), "tags": ["a"], "source_type": "python"});
        let made = owner.post(TOOLS, &body).await.expect(200);
        let again = json!({"source_code": source("dice", "return '8'"), "description": "new", "tags": []});
        for (method, send) in [("PUT", owner.put(TOOLS, &again).await), ("POST", owner.post(TOOLS, &again).await)] {
            let upserted = send.expect(200);
            assert_eq!(upserted["id"], made["id"], "{method}");
            assert_eq!((&upserted["description"], &upserted["tags"]), (&json!("new"), &json!(["a"])), "{method}");
            assert!(upserted["source_code"].as_str().unwrap().contains("return '8'"), "{method}");
        }
        let path = format!("{TOOLS}{}", id(&made));
        let other = make(&owner, "other").await;
        let schema = |name: &str| json!({"name": name, "parameters": {"type": "object", "properties": {}}});
        for (change, outcome) in [
            (json!({"json_schema": schema("other")}), "400 invalid_request"),
            (json!({"json_schema": schema("send_message")}), "400 invalid_request"),
            (json!({"json_schema": schema("x"), "source_code": source("y", "pass")}), "400 invalid_request"),
            (json!({"source_code": "x = 1"}), "400 invalid_request"),
            (json!({"json_schema": schema("renamed")}), "200"),
            (json!({"json_schema": schema("renamed")}), "200"),
        ] {
            assert_eq!(owner.patch(&path, &change).await.outcome(), outcome, "{change}");
        }
        assert_eq!(owner.get(&path).await.expect(200)["name"], "renamed");
        // A name that was given up is free, and so is that of a tool that is gone.
        assert_ne!(make(&owner, "dice").await, id(&made));
        owner.delete(&format!("{TOOLS}{other}")).await.expect(200);
        assert_ne!(make(&owner, "other").await, other);
        assert_ne!(make(&owner.with("x-project-id", "elsewhere"), "dice").await, make(&owner, "dice").await);
        // A new source does not change the schema, and must define what the schema names.
        let before = owner.get(&path).await.expect(200);
        let undocumented = json!({"source_code": "def renamed(z):\n    return z\n"});
        let changed = owner.patch(&path, &undocumented).await.expect(200);
        assert_eq!((&changed["source_code"], &changed["json_schema"]), (&undocumented["source_code"], &before["json_schema"]));
        let other = json!({"source_code": source("fresh", "pass")});
        owner.patch(&path, &other).await.refused(400, "invalid_request");
        let arguments = json!({"properties": {"z": {"type": "string"}}});
        let other = json!({"source_code": source("fresh", "pass"), "args_json_schema": arguments});
        let changed = owner.patch(&path, &other).await.expect(200);
        assert_eq!((&changed["name"], &changed["json_schema"]["parameters"]["required"]), (&json!("fresh"), &json!([])));
        // Arguments alone are those of the source that is there.
        let arguments = json!({"properties": {"n": {"type": "integer", "description": "how many"}}, "required": ["n"]});
        let changed = owner.patch(&path, &json!({"args_json_schema": arguments})).await.expect(200);
        assert_eq!((&changed["name"], &changed["args_json_schema"]), (&json!("fresh"), &arguments));
        let parameters = &changed["json_schema"]["parameters"];
        assert_eq!((keys(&parameters["properties"]), &parameters["required"]), ("n".to_owned(), &json!(["n"])));
        let schema = schema("fresh");
        let both = json!({"args_json_schema": arguments, "json_schema": schema});
        assert_eq!(owner.patch(&path, &both).await.expect(200)["json_schema"], schema);
        let untyped = json!({"args_json_schema": {"properties": {"n": {}}}});
        owner.patch(&path, &untyped).await.refused(400, "invalid_request");
    }

    async fn many_who_make_rename_and_delete_one_tool_never_fail(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let asking: Vec<_> = (0..4)
            .map(|worker| {
                let owner = owner.clone();
                tokio::spawn(async move {
                    for round in 0..6 {
                        let made = owner.put(TOOLS, &json!({"source_code": source("contended", "pass")})).await;
                        if made.outcome() == "409 conflict" {
                            continue;
                        }
                        let id = id(&made.expect(200));
                        let schema = json!({"name": format!("renamed_{worker}_{round}")});
                        let renamed = owner.patch(&format!("{TOOLS}{id}"), &json!({"json_schema": schema})).await.outcome();
                        assert!(["200", "404 not_found"].contains(&renamed.as_str()), "{renamed}");
                        let deleted = owner.delete(&format!("{TOOLS}{id}")).await.outcome();
                        assert!(["200", "400 invalid_request"].contains(&deleted.as_str()), "{deleted}");
                    }
                })
            })
            .collect();
        for asking in asking {
            asking.await.unwrap();
        }
        // Whatever is left has its name alone, and a name that is free can be taken.
        let mut names = column(&owner.get(&format!("{CUSTOM}&limit=100")).await.expect(200), "name");
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        make(&owner, "contended").await;
        assert_eq!(column(&owner.get(&format!("{TOOLS}?name=contended")).await.expect(200), "name"), ["contended"]);
    }

    async fn tools_are_found_by_every_filter(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let [dice, coin] = [make(&owner, "roll_dice").await, make(&owner, "toss_coin").await];
        let all = owner.get(&format!("{TOOLS}?limit=100")).await.expect(200);
        assert_eq!(ids(&all)[..2], [coin.clone(), dice.clone()]);
        assert_eq!(all.as_array().unwrap().len(), 28);
        let mut ascending = ids(&all);
        ascending.reverse();
        shows_every_item_once(&owner, &format!("{TOOLS}?order=asc"), &ascending).await;
        shows_every_item_once(&owner, TOOLS, &ids(&all)).await;
        for (query, expected) in [
            ("name=roll_dice".to_owned(), vec!["roll_dice"]),
            ("name=roll".to_owned(), vec![]),
            ("names=roll_dice&names=send_message".to_owned(), vec!["send_message", "roll_dice"]),
            ("names=roll_dice,toss_coin".to_owned(), vec!["roll_dice", "toss_coin"]),
            (format!("tool_ids={dice},{coin}&search=COIN"), vec!["toss_coin"]),
            ("tool_types=custom".to_owned(), vec!["roll_dice", "toss_coin"]),
            ("tool_types=custom&tool_types=letta_core&search=s".to_owned(), vec![
                "archival_memory_search", "archival_memory_insert", "conversation_search", "send_message", "toss_coin",
            ]),
            ("return_only_letta_tools=true&search=dice".to_owned(), vec![]),
        ] {
            let list = column(&owner.get(&format!("{TOOLS}?order=asc&{query}")).await.expect(200), "name");
            let (mut found, mut expected) = (list.clone(), expected);
            found.sort();
            expected.sort_unstable();
            assert_eq!(found, expected, "{query}");
            assert_eq!(owner.get(&format!("{TOOLS}count?{query}")).await.expect(200), expected.len(), "{query}");
        }
        assert_eq!(owner.get(&format!("{TOOLS}count?exclude_letta_tools=true")).await.expect(200), 2);
        assert_eq!(owner.get(&format!("{TOOLS}count?exclude_tool_types=custom")).await.expect(200), 26);
        owner.get(&format!("{TOOLS}?tool_types=robot")).await.refused(400, "invalid_request");
        let base = owner.post(&format!("{TOOLS}add-base-tools"), &json!({})).await.expect(200);
        assert_eq!(base.as_array().unwrap().len(), 26);
        let send_message = ids(&owner.get(&format!("{TOOLS}?name=send_message")).await.expect(200))[0].clone();
        assert_eq!(keys(&owner.get(&format!("{TOOLS}{send_message}")).await.expect(200)), TOOL);
        owner.delete(&format!("{TOOLS}{send_message}")).await.expect(200);
        owner.get(&format!("{TOOLS}{send_message}")).await.expect(200);
        owner.patch(&format!("{TOOLS}{send_message}"), &json!({"tags": []})).await.refused(400, "invalid_request");

        for (body, expected) in [
            (json!({"query": "roll", "tool_types": ["custom"]}), vec!["roll_dice"]),
            (json!({"query": "does coin", "tool_types": ["custom"]}), vec!["toss_coin", "roll_dice"]),
            (json!({"tool_types": ["custom"], "limit": 1}), vec!["toss_coin"]),
            (json!({"query": "roll", "tags": ["letta_core"]}), vec![]),
        ] {
            let found = owner.post(&format!("{TOOLS}search"), &body).await.expect(200);
            let names: Vec<&str> =
                found.as_array().unwrap().iter().map(|found| found["tool"]["name"].as_str().unwrap()).collect();
            assert_eq!(names, expected, "{body}");
        }
    }

    async fn the_tools_of_an_agent(engine: Engine) {
        let server = Gatelet::on(engine).await;
        // Of the generation that is told everything.
        let owner = server.owner().with("user-agent", "curl/8.0");
        let asking = json!({"source_code": source("asking", "pass"), "default_requires_approval": true});
        let [dice, asking] = [make(&owner, "dice").await, id(&owner.post(TOOLS, &asking).await.expect(200))];
        let agent = owner.create_agent(&json!({"include_base_tools": false, "tools": ["dice"], "tool_ids": [asking]})).await;
        let path = format!("/v1/agents/{agent}");
        let rules = |agent: &Value| {
            let rules = agent["tool_rules"].as_array().unwrap().iter();
            rules.map(|rule| rule["tool_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let shown = owner.get(&path).await.expect(200);
        assert_eq!((column(&shown["tools"], "name"), rules(&shown)), (vec!["dice".into(), "asking".into()], vec!["asking".to_owned()]));
        let send_message = ids(&owner.get(&format!("{TOOLS}?name=send_message")).await.expect(200))[0].clone();
        let tool = |what: &str, tool: &str| format!("{path}/tools/{what}/{tool}");
        for _ in 0..2 {
            let told = patch(&owner, &tool("attach", &send_message)).await;
            assert_eq!(column(&told["tools"], "name"), ["dice", "asking", "send_message"]);
        }
        assert_eq!(patch(&current(&owner), &tool("attach", &dice)).await, Value::Null);
        let newest_first = [asking.clone(), dice.clone(), send_message.clone()];
        shows_every_item_once(&owner, &format!("{path}/tools"), &newest_first).await;
        for _ in 0..2 {
            assert_eq!(patch(&current(&owner), &tool("detach", &dice)).await, Value::Null);
        }
        let elsewhere = make(&owner.with("x-project-id", "elsewhere"), "foreign").await;
        for missing in [elsewhere.clone(), format!("tool-{}", &NOBODY[6..])] {
            owner.send(Method::PATCH, &tool("attach", &missing), None).await.refused(404, "not_found");
            owner.patch(&path, &json!({"tool_ids": [missing]})).await.refused(400, "invalid_request");
        }
        let approval = |name: &str| format!("{path}/tools/approval/{name}");
        let told = owner.patch(&approval("any"), &json!({"requires_approval": true})).await.expect(200);
        assert_eq!(rules(&told), ["asking", "any"]);
        let told = patch(&owner, &format!("{}?requires_approval=false", approval("asking"))).await;
        assert_eq!(rules(&told), ["any"]);
        assert_eq!(patch(&current(&owner), &format!("{}?requires_approval=1", approval("any"))).await, Value::Null);
        for body in [json!(null), json!({}), json!({"requires_approval": "x"}), json!({"requires_approval": true, "a": 1})] {
            owner.patch(&approval("any"), &body).await.refused(422, "validation_failed");
        }
        // A tool that is gone is gone from its agents.
        owner.delete(&format!("{TOOLS}{asking}")).await.expect(200);
        let shown = owner.get(&path).await.expect(200);
        assert_eq!(column(&shown["tools"], "name"), ["send_message"]);
        let replaced = owner.patch(&path, &json!({"tool_ids": [dice]})).await.expect(200);
        assert_eq!(column(&replaced["tools"], "name"), ["dice"]);
    }

    async fn tools_are_called_from_outside(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        for (name, body) in [
            ("says", "return f'{x} it is'"),
            ("prints", "print('seen')\n    return {'x': x}"),
            ("fails", "raise ValueError('because')"),
            ("tells", "import os\n    return os.getenv('KEY')"),
            ("computes", "return compute(x)"),
        ] {
            owner.post(TOOLS, &json!({"source_code": source(name, body)})).await.expect(200);
        }
        let tools = ["says", "prints", "fails", "tells", "computes"];
        let agent = owner.create_agent(&json!({"tools": tools, "secrets": {"KEY": "secret"}})).await;
        let run = |name: &str| format!("/v1/agents/{agent}/tools/{name}/run");
        for (name, body, status, returned, stdout) in [
            ("says", json!({"args": {"x": 5}}), "success", json!("5 it is"), json!([])),
            ("says", json!({}), "success", json!("1 it is"), json!([])),
            ("prints", json!({"args": {"x": 5}}), "success", json!({"x": 5}), json!(["seen"])),
            ("fails", json!(null), "error", json!(null), json!([])),
            ("tells", json!({}), "success", json!("secret"), json!([])),
            ("computes", json!({"args": {"x": 2}}), "success", json!("computes was called with {\"x\":2}"), json!([])),
        ] {
            let answer = owner.post(&run(name), &body).await.expect(200);
            assert_eq!(keys(&answer), "status func_return agent_state stdout stderr sandbox_config_fingerprint");
            assert_eq!((&answer["status"], &answer["func_return"], &answer["stdout"]), (&json!(status), &returned, &stdout), "{name}");
            assert_eq!(answer["stderr"].to_string().contains("ValueError: because"), name == "fails");
        }
        owner.post(&run("send_message"), &json!({})).await.refused(404, "not_found");
        // In a turn they come to the same.
        let turn = json!({"input": "[[call:fails {}]]"});
        let turn = owner.post(&format!("/v1/agents/{agent}/messages"), &turn).await.expect(200);
        let returned = &turn["messages"].as_array().unwrap().iter().find(|message| message["message_type"] == "tool_return_message").unwrap();
        assert_eq!(returned["tool_return"], "Error executing function fails: ValueError: because");

        // What comes with the server works on the agent's own memory.
        let block = json!([{"label": "human", "value": "Name: Sam"}]);
        let tools = ["core_memory_append", "archival_memory_insert"];
        let agent = owner.create_agent(&json!({"tools": tools, "memory_blocks": block})).await;
        let run = |name: &str| format!("/v1/agents/{agent}/tools/{name}/run");
        let appended = json!({"args": {"label": "human", "content": "Likes tea."}});
        assert_eq!(owner.post(&run("core_memory_append"), &appended).await.expect(200)["status"], "success");
        let block = owner.get(&format!("/v1/agents/{agent}/core-memory/blocks/human")).await.expect(200);
        assert!(block["value"].as_str().unwrap().ends_with("Likes tea."), "{block}");
        let wrong = json!({"args": {"label": "none", "content": "x"}});
        let refused = owner.post(&run("core_memory_append"), &wrong).await.expect(200);
        assert_eq!((&refused["status"], &refused["func_return"]), (&json!("error"), &Value::Null));
        let kept = json!({"args": {"content": "Oslo is cold"}});
        owner.post(&run("archival_memory_insert"), &kept).await.expect(200);
        let memory = owner.get(&format!("/v1/agents/{agent}/archival-memory")).await.expect(200);
        assert_eq!(column(&memory, "text"), ["Oslo is cold"]);
        owner.post(&run("says"), &json!({"args": 5})).await.refused(422, "validation_failed");
        owner.post(&run("says"), &json!({"arguments": {}})).await.refused(422, "validation_failed");

        let body = json!({"source_code": source("f", "import os\n    return os.getenv('A') + str(x)"), "args": {"x": 2}, "env_vars": {"A": "b"}});
        let answer = owner.post(&format!("{TOOLS}run"), &body).await.expect(200);
        for (key, expected) in [
            ("id", json!("null")),
            ("message_type", json!("tool_return_message")),
            ("tool_return", json!("b2")),
            ("status", json!("success")),
            ("tool_call_id", json!("null")),
        ] {
            assert_eq!(answer[key], expected, "{key}");
        }
        let body = json!({"source_code": source("f", "raise KeyError(x)"), "args": {}, "name": "f"});
        let answer = owner.post(&format!("{TOOLS}run"), &body).await.expect(200);
        assert_eq!((&answer["status"], &answer["name"]), (&json!("error"), &json!("f")));
        owner.post(&format!("{TOOLS}run"), &json!({"source_code": "x", "args": {}})).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn schemas_follow_from_sources_or_are_given() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let made = owner.post(TOOLS, &json!({"source_code": source("dice", "pass")})).await.expect(200);
    let parameters =
        json!({"type": "object", "properties": {"x": {"type": "integer", "description": "a number"}}, "required": []});
    assert_eq!(
        made["json_schema"],
        json!({"name": "dice", "description": "Does dice.", "parameters": parameters.clone()})
    );
    for (key, expected) in [
        ("name", json!("dice")),
        ("description", json!("Does dice.")),
        ("tool_type", json!("custom")),
        ("source_type", json!("json")),
        ("tags", json!([])),
        ("args_json_schema", json!({})),
        ("return_char_limit", json!(50_000)),
        ("enable_parallel_execution", json!(false)),
        ("project_id", json!(null)),
    ] {
        assert_eq!(made[key], expected, "{key}");
    }
    let arguments =
        json!({"title": "Args", "type": "object", "properties": {"y": {"type": "string"}}, "required": ["y"]});
    let body = json!({"source_code": source("dice", "pass"), "args_json_schema": arguments});
    let made = owner.post(TOOLS, &body).await.expect(200);
    assert_eq!(
        made["json_schema"]["parameters"],
        json!({"type": "object", "properties": {"y": {"type": "string", "description": ""}}, "required": ["y"]})
    );
    assert_eq!(made["args_json_schema"], arguments);
    // To Letta, an empty schema is none.
    let body = json!({"source_code": source("dice", "pass"), "json_schema": {}, "args_json_schema": {}});
    assert_eq!(owner.post(TOOLS, &body).await.expect(200)["json_schema"]["parameters"], parameters);
    let typescript = "export function add(a: number, b: number) { return a + b }";
    let schema = json!({"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}});
    let body = json!({"source_code": typescript, "source_type": "typescript", "json_schema": schema});
    let made = owner.post(TOOLS, &body).await.expect(200);
    assert_eq!((&made["name"], &made["description"], &made["json_schema"]), (&json!("add"), &json!("Adds."), &schema));

    // A schema that is given counts, whatever the source defines; so many tools may share one source.
    let schema = json!({"name": "throw", "description": "Throws.", "parameters": {"type": "object", "properties": {}}});
    let body = json!({"source_code": source("dice", "pass"), "json_schema": schema});
    let given = owner.post(TOOLS, &body).await.expect(200);
    assert_eq!(
        (&given["name"], &given["description"], &given["json_schema"]),
        (&json!("throw"), &json!("Throws."), &schema)
    );
    assert_eq!(owner.put(TOOLS, &body).await.expect(200)["id"], given["id"]);

    for (body, named) in [
        (json!({}), "body.source_code"),
        (json!({"source_code": typescript, "source_type": "typescript"}), "body.json_schema"),
        (json!({"source_code": "def f(): pass", "json_schema": {"parameters": {}}}), "body.json_schema.name"),
        (json!({"source_code": "def f(): pass", "json_schema": {"name": 1}}), "body.json_schema.name"),
        (json!({"source_code": "def f(): pass", "return_char_limit": 0}), "body.return_char_limit"),
        (json!({"source_code": "def f(): pass", "return_char_limit": 1_000_001}), "body.return_char_limit"),
        (json!({"source_code": "def f(): pass", "pip_requirements": [{}]}), "body.pip_requirements.0.name"),
        (json!({"source_code": "def f(): pass", "name": "f"}), "body.name"),
    ] {
        let sentence = owner.post(TOOLS, &body).await.refused(422, "validation_failed");
        assert!(sentence.starts_with(&format!("{named}: ")), "{body}: {sentence}");
    }
    let documented = "\"\"\"F.\n\n    Args:\n        x: it\n    \"\"\"";
    for (source, why) in [
        ("", "no function"),
        ("x = 1", "no function"),
        ("def f(:", "not valid Python"),
        ("async def f():\n    \"\"\"F.\"\"\"", "no function"),
        ("class A:\n    def f(self): pass", "'f' has no docstring"),
        ("def f(x: int):\n    \"\"\"F.\"\"\"", "does not describe the argument 'x'"),
        (&format!("def f(x):\n    {documented}"), "the argument 'x' has no type"),
        (&format!("def f(x: Dict[str, int]):\n    {documented}"), "the type of the argument 'x'"),
        (&format!("def f(x: str | None):\n    {documented}"), "the type of the argument 'x'"),
    ] {
        for path in [TOOLS, "/v1/tools/run"] {
            let body =
                if path == TOOLS { json!({"source_code": source}) } else { json!({"source_code": source, "args": {}}) };
            let sentence = owner.post(path, &body).await.refused(400, "invalid_request");
            assert!(sentence.contains("Failed to derive json schema") && sentence.contains(why), "{sentence}");
        }
    }
    let arguments = json!({"properties": {"y": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}});
    let body = json!({"source_code": source("dice", "pass"), "args_json_schema": arguments});
    let sentence = owner.post(TOOLS, &body).await.refused(400, "invalid_request");
    assert!(sentence.contains("the property 'y'"), "{sentence}");
}

#[tokio::test]
async fn classes_and_every_style_of_docstring_give_schemas() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let job = "from pydantic import BaseModel, Field\n\nclass Job(BaseModel):\n    \
               title: str = Field(..., description=\"What to do\")\n    often: int = Field(1, description=\"How often\")\n\n";
    let schema = json!({
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "What to do"},
            "often": {"type": "integer", "description": "How often"},
        },
        "required": ["title"],
    });
    for (style, docstring) in [
        (
            "google",
            "Args:\n        jobs (List[Job]): all of them\n        label: a name\n\n    Note:\n        no: nothing\n",
        ),
        ("numpy", "Parameters\n    ----------\n    jobs : List[Job]\n        all of them\n    label\n        a name\n"),
        ("rest", ":param jobs: all of them\n    :param str label: a name\n    :returns: nothing\n"),
    ] {
        let source = format!(
            "{job}def plan_{style}(jobs: List[Job], label: Optional[str] = None):\n    \"\"\"Plans.\n\n    {docstring}    \"\"\"\n    return 1\n"
        );
        let made = owner.post(TOOLS, &json!({"source_code": source})).await.expect(200);
        let expected = json!({
            "name": format!("plan_{style}"),
            "description": "Plans.",
            "parameters": {
                "type": "object",
                "properties": {
                    "jobs": {"type": "array", "items": schema, "description": "all of them"},
                    "label": {"type": "string", "description": "a name"},
                },
                "required": ["jobs"],
            },
        });
        assert_eq!(made["json_schema"], expected);
    }
}

#[tokio::test]
async fn what_a_call_comes_to_is_right_or_not_said() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    for (body, expected) in [
        ("return f'{x} {1e-7} \\033[1m\\101'", "5 1e-07 \u{1b}[1mA"),
        ("return f'{x=}'", "f was called with {\"x\":5}"),
        ("return (x, x)", "f was called with {\"x\":5}"),
        ("return '\\N{BULLET}'", "f was called with {\"x\":5}"),
        ("raise KeyError('k')", "Error executing function f: KeyError: 'k'"),
        ("return x // 0", "Error executing function f: ZeroDivisionError: integer division or modulo by zero"),
    ] {
        let body = json!({"source_code": source("f", body), "args": {"x": 5}, "name": "f"});
        assert_eq!(owner.post("/v1/tools/run", &body).await.expect(200)["tool_return"], expected, "{body}");
    }
}
