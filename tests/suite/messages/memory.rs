//! What an agent's own tools do to its memory, and that the API shows it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{column, path, said, say};
use crate::harness::{Client, Gatelet, Program, eventually, on_both_engines};

const TOOLS: &[&str] = &[
    "memory_insert",
    "memory_replace",
    "core_memory_append",
    "core_memory_replace",
    "archival_memory_insert",
    "archival_memory_search",
    "conversation_search",
];

async fn agent(owner: &Client, blocks: &Value) -> String {
    owner.create_agent(&json!({"tools": TOOLS, "include_base_tools": false, "memory_blocks": blocks})).await
}

async fn block(owner: &Client, agent: &str, label: &str) -> String {
    let block = owner.get(&format!("/v1/agents/{agent}/core-memory/blocks/{label}")).await.expect(200);
    block["value"].as_str().unwrap().to_owned()
}

/// What the tool of the last turn returned, and whether it did what it was told.
async fn returned(owner: &Client, agent: &str, text: &str) -> (String, String) {
    let answer = say(owner, agent, text).await;
    let message =
        answer["messages"].as_array().unwrap().iter().find(|one| one["message_type"] == "tool_return_message");
    let message = message.unwrap_or_else(|| panic!("no tool was called: {answer}"));
    (message["tool_return"].as_str().unwrap().to_owned(), message["status"].as_str().unwrap().to_owned())
}

async fn prompt(owner: &Client, agent: &str) -> String {
    let list = owner.get(&path(agent, "?order=asc&limit=1")).await.expect(200);
    assert_eq!(list[0]["message_type"], "system_message");
    list[0]["content"].as_str().unwrap().to_owned()
}

on_both_engines! {
    async fn memory_tools_change_the_block_and_every_prompt_that_shows_it(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (agent, other) = {
            let agent = agent(&owner, &json!([
                {"label": "human", "value": "Sam"}, {"label": "rules", "value": "Be kind.", "read_only": true}])).await;
            let blocks = owner.get(&format!("/v1/agents/{agent}/core-memory/blocks")).await.expect(200);
            let shared = blocks.as_array().unwrap().iter().find(|block| block["label"] == "human").unwrap()["id"].clone();
            (agent, owner.create_agent(&json!({"block_ids": [shared]})).await)
        };
        for (call, after) in [
            (r#"memory_insert {"label": "human", "new_string": "tea"}"#, "Sam\ntea"),
            (r#"memory_insert {"label": "human", "new_string": "first", "insert_line": 0}"#, "first\nSam\ntea"),
            (r#"memory_replace {"label": "human", "old_string": "tea", "new_string": "milk"}"#, "first\nSam\nmilk"),
            (r#"core_memory_append {"label": "human", "content": "end"}"#, "first\nSam\nmilk\nend"),
            (r#"core_memory_replace {"label": "human", "old_content": "\nend", "new_content": ""}"#, "first\nSam\nmilk"),
        ] {
            let (text, status) = returned(&owner, &agent, &format!("[[call:{call}]]")).await;
            assert_eq!((status.as_str(), block(&owner, &agent, "human").await.as_str()), ("success", after), "{call}");
            assert!(text.contains(after), "{text}");
            for shows in [&agent, &other] {
                assert!(prompt(&owner, shows).await.contains(&format!("<value>\n{after}\n</value>")), "{call}");
            }
        }
        for call in [
            r#"memory_insert {"label": "rules", "new_string": "x"}"#,
            r#"memory_insert {"label": "none", "new_string": "x"}"#,
            r#"memory_insert {"label": "human"}"#,
            r#"memory_replace {"label": "human", "old_string": "absent", "new_string": "x"}"#,
            r#"memory_insert {"label": "human", "new_string": "x", "insert_line": 99}"#,
        ] {
            let (_, status) = returned(&owner, &agent, &format!("[[call:{call}]]")).await;
            assert_eq!(status, "error", "{call}");
        }
        assert_eq!(block(&owner, &agent, "human").await, "first\nSam\nmilk");
        assert_eq!(block(&owner, &agent, "rules").await, "Be kind.");
    }

    async fn what_agents_put_into_their_archive_is_found_there(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = agent(&owner, &json!([])).await;
        // Stored and found within one turn already.
        let text = r#"[[call:archival_memory_insert {"content": "The sky is blue", "tags": ["sky"]}]]
            [[call:archival_memory_search {"query": "sky"}]]"#;
        let answer = say(&owner, &agent, text).await;
        let returns: Vec<&Value> = answer["messages"].as_array().unwrap().iter()
            .filter(|message| message["message_type"] == "tool_return_message").collect();
        assert_eq!(returns.len(), 2);
        assert!(returns[1]["tool_return"].as_str().unwrap().contains("The sky is blue"), "{answer}");
        let passages = owner.get(&format!("/v1/agents/{agent}/archival-memory")).await.expect(200);
        assert_eq!((column(&passages, "text"), &passages[0]["tags"]), (vec!["The sky is blue".to_owned()], &json!(["sky"])));
        owner.post(&format!("/v1/agents/{agent}/archival-memory"), &json!({"text": "Grass is green"})).await.expect(200);
        let (found, _) = returned(&owner, &agent, "Please look up grass in the archive").await;
        assert!(found.contains("Grass is green") && !found.contains("sky"), "{found}");
        let (found, _) = returned(&owner, &agent, "archive: remember that snow is white").await;
        assert!(found.contains("snow is white"), "{found}");
        assert_eq!(owner.get(&format!("/v1/agents/{agent}/archival-memory")).await.expect(200).as_array().unwrap().len(), 3);
    }

    async fn a_memory_tool_of_a_turn_that_is_taken_up_again_works_once(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let agent = agent(&owner, &json!([{"label": "human", "value": "Sam"}])).await;
        let text = r#"[[slow:300]] [[call:memory_insert {"label": "human", "new_string": "tea"}]]"#;
        let run = owner.post(&path(&agent, "/async"), &json!({"input": text})).await.expect(200);
        server.kill().await;
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let url = format!("/v1/runs/{}", run["id"].as_str().unwrap());
        eventually("the run completes", Duration::from_secs(30), async || {
            owner.get(&url).await.expect(200)["status"] == "completed"
        })
        .await;
        assert_eq!(block(&owner, &agent, "human").await, "Sam\ntea");
        assert_eq!(said(&owner, &agent).await.len(), 2);
    }
}

#[tokio::test]
async fn plain_words_are_enough_to_use_memory() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent =
        agent(&owner, &json!([{"label": "persona", "value": "I am kind."}, {"label": "human", "value": "Sam"}])).await;
    for (text, label, after) in [
        ("Please remember that I like tea.", "human", "Sam\nI like tea"),
        ("Keep in mind: the cat is called Tom", "human", "Sam\nI like tea\nthe cat is called Tom"),
        ("replace tea with coffee", "human", "Sam\nI like coffee\nthe cat is called Tom"),
        ("Please change \"kind\" to \"polite\"", "persona", "I am polite."),
        ("Forget that I like coffee", "human", "Sam\n\nthe cat is called Tom"),
        ("Remember for your persona: short answers", "persona", "I am polite.\nfor your persona: short answers"),
    ] {
        say(&owner, &agent, text).await;
        assert_eq!(block(&owner, &agent, label).await, after, "{text}");
    }
    say(&owner, &agent, "The train leaves at noon").await;
    let (found, _) = returned(&owner, &agent, "What did I say about the train?").await;
    assert!(found.contains("The train leaves at noon") && !found.contains("coffee"), "{found}");
    // Without such a tool the words are words.
    let bare = owner.create_agent(&json!({"include_base_tools": false})).await;
    say(&owner, &bare, "remember that I like tea").await;
    assert_eq!(said(&owner, &bare).await[1], "Echo: remember that I like tea");
}
