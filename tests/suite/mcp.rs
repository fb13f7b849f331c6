//! MCP servers, whose tools come from the configuration.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Engine, Gatelet, NOBODY, Program, column, id, keys, on_both_engines};

const SERVERS: &str = "/v1/mcp-servers/";
const CONFIG: &str = r#"
[[mock.mcp_tools]]
server = "weather"
name = "forecast"
description = "The weather of tomorrow."
parameters = { type = "object", properties = { city = { type = "string" } }, required = ["city"] }
result = { sky = "blue" }

[[mock.mcp_tools]]
server = "weather"
name = "history"
"#;

/// Tools whose schemas are open, refer to definitions, and are of no use to a model.
const SCHEMAS: &str = r##"
[[mock.mcp_tools]]
server = "weather"
name = "free"
parameters = { type = "object", properties = { more = { type = "object", additionalProperties = true } } }

[[mock.mcp_tools]]
server = "weather"
name = "plan"
parameters = { properties = { day = { "$ref" = "#/$defs/Day" } }, required = ["day"], "$defs" = { Day = { type = "object", properties = { date = { type = "string" } }, required = ["date"] } } }

[[mock.mcp_tools]]
server = "weather"
name = "broken"
parameters = { type = "object", properties = { days = { type = "array" } } }
"##;

/// A server whose configuration has tools, and the program that starts it again with another one.
async fn configured(engine: Engine, config: &str) -> (Program, Client, Gatelet) {
    let program = Program::on(engine).await;
    let file = program.folder().join("gatelet.toml");
    std::fs::write(&file, config).unwrap();
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let program = program.env("GATELET_CONFIG", file.to_str().unwrap());
    let server = program.start().await;
    let owner = server.stranger().bearer(&key);
    (program, owner, server)
}

fn weather() -> Value {
    json!({"server_name": "weather", "config": {"mcp_server_type": "stdio", "command": "run", "args": ["a"]}})
}

fn remote(name: &str) -> Value {
    json!({"server_name": name, "config": {
        "mcp_server_type": "streamable_http", "server_url": "https://mcp.example", "auth_header": "X-Key",
        "auth_token": "secret", "custom_headers": {"A": "b"},
    }})
}

on_both_engines! {
    async fn servers_are_made_changed_and_deleted(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let one = owner.post(SERVERS, &weather()).await.expect(200);
        assert_eq!(keys(&one), "mcp_server_type command args env id server_name");
        let two = owner.post(SERVERS, &remote("two")).await.expect(200);
        assert_eq!(keys(&two), "mcp_server_type server_url auth_header auth_token custom_headers id server_name");
        assert_eq!((&two["auth_token"], &two["custom_headers"]), (&json!("secret"), &json!({"A": "b"})));
        owner.post(SERVERS, &remote("weather")).await.refused(409, "conflict");
        assert_eq!(owner.get(SERVERS).await.expect(200), json!([one, two]));
        let url = format!("{SERVERS}{}", id(&two));
        assert_eq!(owner.get(&url).await.expect(200), two);
        let change = json!({"config": {"server_url": "https://other.example"}});
        let changed = owner.patch(&url, &change).await.expect(200);
        assert_eq!((&changed["server_url"], &changed["auth_token"]), (&json!("https://other.example"), &json!("secret")));
        let taken = json!({"server_name": "weather", "config": {}});
        owner.patch(&url, &taken).await.refused(409, "conflict");
        let renamed = owner.patch(&url, &json!({"server_name": "three", "config": {}})).await.expect(200);
        assert_eq!(renamed["server_name"], "three");
        owner.post(SERVERS, &remote("two")).await.expect(200);
        assert_eq!(owner.delete(&url).await.status, 204);
        owner.delete(&url).await.refused(400, "invalid_request");
        owner.get(&url).await.refused(404, "not_found");
        owner.patch(&url, &change).await.refused(404, "not_found");
        assert_eq!(column(&owner.get(SERVERS).await.expect(200), "server_name"), ["weather", "two"]);
        for body in [
            json!({}),
            json!({"server_name": "x"}),
            json!({"server_name": "x", "config": {}}),
            json!({"server_name": "x", "config": {"mcp_server_type": "pigeon"}}),
            json!({"server_name": "x", "config": {"mcp_server_type": "stdio", "command": "c"}}),
            json!({"server_name": "x", "config": {"mcp_server_type": "sse"}}),
            json!({"server_name": "x", "config": {"server_url": "u", "more": 1}}),
            json!({"server_name": "x", "config": {"server_url": "u", "custom_headers": {"a": 1}}}),
            json!({"server_name": "x", "config": {"server_url": "u"}, "more": 1}),
        ] {
            owner.post(SERVERS, &body).await.refused(422, "validation_failed");
        }
    }

    async fn a_server_has_the_tools_that_the_configuration_gives_it(engine: Engine) {
        let (program, owner, mut server) = configured(engine, CONFIG).await;
        let mcp = id(&owner.post(SERVERS, &weather()).await.expect(200));
        let url = format!("{SERVERS}{mcp}/tools");
        let tools = owner.get(&url).await.expect(200);
        assert_eq!(column(&tools, "name"), ["forecast", "history"]);
        assert_eq!((&tools[0]["tool_type"], &tools[0]["tags"]), (&json!("external_mcp"), &json!(["mcp:weather"])));
        assert_eq!(tools[0]["json_schema"]["parameters"]["required"], json!(["city", "request_heartbeat"]));
        let forecast = id(&tools[0]);
        assert_eq!(owner.get(&format!("{url}/{forecast}")).await.expect(200), tools[0]);
        assert_eq!(owner.get(&format!("/v1/tools/{forecast}")).await.expect(200), tools[0]);
        let run = async |tool: &str| {
            owner.post(&format!("{url}/{tool}/run"), &json!({"args": {"city": "Bonn"}})).await.expect(200)
        };
        let ran = run(&forecast).await;
        assert_eq!((&ran["status"], &ran["func_return"]), (&json!("success"), &json!({"sky": "blue"})));
        assert!(run(&id(&tools[1])).await["func_return"].as_str().unwrap().contains("Bonn"));
        let nothing = format!("tool-{}", &NOBODY[6..]);
        owner.get(&format!("{url}/{nothing}")).await.refused(404, "not_found");

        // An agent calls it as any other tool.
        let agent = owner.create_agent(&json!({"tool_ids": [forecast]})).await;
        let text = "[[call:forecast {\"city\": \"Bonn\"}]]";
        let turn = owner.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": text})).await.expect(200);
        assert!(turn.to_string().contains("blue"), "{turn}");

        let refresh = format!("{SERVERS}{mcp}/refresh");
        let same = owner.send(Method::PATCH, &refresh, None).await.expect(200);
        assert_eq!(same, json!({"added": [], "updated": [], "deleted": []}));
        server.kill().await;
        let other = CONFIG.replace("history", "alerts").replace("tomorrow", "today");
        std::fs::write(program.folder().join("gatelet.toml"), other).unwrap();
        let server = program.start().await;
        let owner = owner.at(server.url());
        let changed = owner.send(Method::PATCH, &refresh, None).await.expect(200);
        assert_eq!(changed, json!({"added": ["alerts"], "updated": ["forecast"], "deleted": ["history"]}));
        let tools = owner.get(&url).await.expect(200);
        assert_eq!((column(&tools, "name"), id(&tools[0])), (vec!["forecast".into(), "alerts".into()], forecast));
        owner.delete(&format!("{SERVERS}{mcp}")).await;
        owner.get(&url).await.refused(404, "not_found");
        let shown = owner.get(&format!("/v1/agents/{agent}/tools?limit=50")).await.expect(200);
        assert!(!column(&shown, "name").contains(&"forecast".to_owned()));
    }

    async fn schemas_of_tools_are_completed_and_judged(engine: Engine) {
        let (_program, owner, _server) = configured(engine, SCHEMAS).await;
        let servers = "/v1/tools/mcp/servers";
        let local = json!({"server_name": "weather", "type": "stdio", "command": "run", "args": []});
        let status = |tools: &Value| -> Vec<Value> {
            tools.as_array().unwrap().iter().map(|tool| tool["health"]["status"].clone()).collect()
        };
        let listed = owner.post(&format!("{servers}/test"), &local).await.expect(200)["tools"].clone();
        // As listed, the second has no type; as agents have it, it does.
        assert_eq!(status(&listed), ["NON_STRICT_ONLY", "INVALID", "INVALID"]);
        assert_eq!(listed[0]["inputSchema"]["additionalProperties"], false);
        assert_eq!(listed[1]["inputSchema"]["properties"]["day"], json!({"$ref": "#/$defs/Day", "type": "object"}));
        assert!(listed[2]["health"]["reasons"][0].as_str().unwrap().starts_with("root.properties.days: "), "{listed}");

        // What no model could call is there only once somebody adds it.
        let mcp = id(&owner.post(SERVERS, &weather()).await.expect(200));
        let tools = format!("{SERVERS}{mcp}/tools");
        assert_eq!(column(&owner.get(&tools).await.expect(200), "name"), ["free"]);
        let plan = owner.post(&format!("{servers}/weather/plan"), &Value::Null).await.expect(200);
        let schema = &plan["json_schema"];
        assert_eq!(schema["mcp:SCHEMA_STATUS"], "STRICT_COMPLIANT");
        assert_eq!(schema["mcp:SCHEMA_WARNINGS"], json!([]));
        assert_eq!(
            schema["parameters"]["properties"]["day"],
            json!({
                "type": "object", "properties": {"date": {"type": "string"}}, "required": ["date"],
                "additionalProperties": false,
            })
        );
        assert_eq!(schema["parameters"]["required"], json!(["day", "request_heartbeat"]));
        assert_eq!(owner.post(&format!("{servers}/weather/plan"), &Value::Null).await.expect(200), plan);
        let broken = owner.post(&format!("{servers}/weather/broken"), &Value::Null).await.expect(200);
        assert_eq!(broken["json_schema"]["mcp:SCHEMA_STATUS"], "INVALID");
        assert_eq!(column(&owner.get(&tools).await.expect(200), "name"), ["free", "plan", "broken"]);
    }

    async fn older_clients_know_servers_by_their_names(engine: Engine) {
        let (_program, owner, _server) = configured(engine, CONFIG).await;
        let servers = "/v1/tools/mcp/servers";
        let local = json!({"server_name": "weather", "type": "stdio", "command": "run", "args": []});
        let added = owner.send(Method::PUT, servers, Some(&local)).await.expect(200);
        assert_eq!(keys(&added[0]), "server_name type command args env");
        let remote = json!({"server_name": "far", "type": "sse", "server_url": "https://mcp.example"});
        assert_eq!(owner.send(Method::PUT, servers, Some(&remote)).await.expect(200).as_array().unwrap().len(), 2);
        owner.send(Method::PUT, servers, Some(&remote)).await.refused(409, "conflict");
        assert_eq!(keys(&owner.get(servers).await.expect(200)), "weather far");
        assert_eq!(column(&owner.get(SERVERS).await.expect(200), "server_name"), ["weather", "far"]);
        let changed = owner.patch(&format!("{servers}/far"), &json!({"token": "t"})).await.expect(200);
        assert_eq!(changed["auth_token"], "t");
        let tools = owner.get(&format!("{servers}/weather/tools")).await.expect(200);
        assert_eq!(column(&tools, "name"), ["forecast", "history"]);
        assert_eq!(tools[0]["inputSchema"]["type"], "object");
        let added = owner.post(&format!("{servers}/weather/forecast"), &Value::Null).await.expect(200);
        assert_eq!((&added["name"], &added["tool_type"]), (&json!("forecast"), &json!("external_mcp")));
        let execute = format!("{servers}/weather/tools/forecast/execute");
        assert_eq!(owner.post(&execute, &json!({"args": {}})).await.expect(200)["status"], "success");
        let same = owner.post(&format!("{servers}/weather/resync"), &Value::Null).await.expect(200);
        assert_eq!(same["updated"], json!([]));
        assert_eq!(column(&owner.post(&format!("{servers}/test"), &local).await.expect(200)["tools"], "name").len(), 2);
        let events = owner.post(&format!("{servers}/connect"), &local).await;
        assert!(events.text.contains("\"event\":\"success\"") && events.text.ends_with("\n\n"), "{}", events.text);
        for path in ["none/tools", "none/resync", "weather/none"] {
            let method = if path.ends_with("tools") { Method::GET } else { Method::POST };
            owner.send(method, &format!("{servers}/{path}"), None).await.refused(404, "not_found");
        }
        assert_eq!(owner.delete(&format!("{servers}/far")).await.expect(200).as_array().unwrap().len(), 1);
        owner.delete(&format!("{servers}/far")).await.refused(404, "not_found");
        owner.get("/v1/tools/mcp/oauth/callback").await.refused(501, "not_mocked");
    }
}
