//! Answers that an operator has written down.

use std::fs;

use serde_json::json;

use super::{column, path, say};
use crate::harness::Program;

const SCRIPT: &str = r#"
[[reply]]
user = 'weather in (?<city>\w+)'
agent = "helper"
steps = [
  { reasoning = "I look it up." },
  { tool_call = "web_search", arguments = { query = "weather $city" }, returns = "sunny" },
  { assistant = "In $city it is $returned." },
]

[[reply]]
user = '^send it'
steps = [
  { approval = "send_mail", arguments = { to = "Sam" }, returns = "sent" },
  { delay = "1ms" },
  { assistant = "Done: $returned" },
]

[[reply]]
user = 'overload'
steps = [{ assistant = "never said" }, { error = 429 }]
"#;

fn program(script: &str) -> (Program, String) {
    let program = Program::ephemeral().env("GATELET_MOCK__REASONING", "false");
    let file = program.folder().join("replies.toml");
    fs::write(&file, script).unwrap();
    (program, file.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_script_answers_what_it_knows_and_nothing_else() {
    for by_flag in [true, false] {
        let (program, file) = program(SCRIPT);
        let program =
            if by_flag { program.argument("--script").argument(&file) } else { program.env("GATELET_SCRIPT", &file) };
        let server = program.start_alone().await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"name": "helper", "tools": ["web_search"]})).await;
        let other = owner.create_agent(&json!({"name": "other"})).await;
        let answer = say(&owner, &agent, "What is the weather in Rome?").await;
        let types = column(&answer["messages"], "message_type");
        assert_eq!(types, ["reasoning_message", "tool_call_message", "tool_return_message", "assistant_message"]);
        assert_eq!(answer["messages"][1]["tool_call"]["arguments"], r#"{"query": "weather Rome"}"#);
        assert_eq!(answer["messages"][2]["tool_return"], "sunny");
        assert_eq!(answer["messages"][3]["content"], "In Rome it is sunny.");
        assert_eq!(say(&owner, &other, "weather in Rome").await["messages"][0]["content"], "Echo: weather in Rome");

        let asked = say(&owner, &other, "send it, please").await;
        assert_eq!(asked["stop_reason"]["stop_reason"], "requires_approval");
        let id = &asked["messages"][0]["tool_call"]["tool_call_id"];
        let approve = json!({"messages": [{"type": "approval", "approvals": [
            {"type": "approval", "tool_call_id": id, "approve": true}]}]});
        let answer = owner.post(&path(&other, ""), &approve).await.expect(200);
        assert_eq!(answer["messages"][0]["tool_return"], "sent");
        assert_eq!(answer["messages"][1]["content"], "Done: sent");
        owner.post(&path(&other, ""), &json!({"input": "overload"})).await.expect(429);
    }
}

#[tokio::test]
async fn a_script_with_a_mistake_keeps_the_server_from_starting() {
    for (script, expected) in [
        (None, "cannot read the script"),
        (Some("[[reply]]\nuser = '('\nsteps = [{ error = 500 }]"), "line 2: user is not a regular expression"),
        (Some("[[reply]]\nuser = 'a'\nsteps = [\n{ shout = 'x' }]"), "unknown field `shout`"),
        (Some(""), "at least one [[reply]]"),
    ] {
        let (program, file) = program(script.unwrap_or_default());
        let file = if script.is_none() { format!("{file}.absent") } else { file };
        let problem = program.argument("--script").argument(&file).try_start().await.unwrap_err();
        assert!(problem.contains(expected) && problem.contains("replies.toml"), "{problem}");
        assert!(!problem.contains("panicked"), "{problem}");
    }
}
