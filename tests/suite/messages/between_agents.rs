//! Messages from one agent to others, sent by Letta's multi-agent tools.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{column, path};
use crate::harness::{Client, Engine, Gatelet, NOBODY, Program, eventually, on_both_engines};

const WAIT: &str = "send_message_to_agent_and_wait_for_reply";
const ASYNC: &str = "send_message_to_agent_async";
const BY_TAGS: &str = "send_message_to_agents_matching_tags";
const SOON: Duration = Duration::from_secs(30);

async fn create(client: &Client, name: &str, tags: &[&str]) -> String {
    client.create_agent(&json!({"name": name, "tools": [WAIT, ASYNC, BY_TAGS], "tags": tags})).await
}

/// Makes an agent call a tool. Returns the text that the tool returned, and whether it is an error.
async fn call(client: &Client, agent: &str, tool: &str, arguments: &Value) -> (String, bool) {
    let reply = client.post(&path(agent, ""), &json!({"input": format!("{tool} {arguments}")})).await.expect(200);
    returned(&reply["messages"])
}

fn returned(messages: &Value) -> (String, bool) {
    let returned = messages.as_array().unwrap().iter().find(|message| message["message_type"] == "tool_return_message");
    let returned = returned.unwrap_or_else(|| panic!("{messages}"));
    (returned["tool_return"].as_str().unwrap().to_owned(), returned["status"] == "error")
}

/// The texts of an agent's messages, without its system message, oldest first.
async fn contents(client: &Client, agent: &str) -> Vec<String> {
    let messages = client.get(&path(agent, "?order=asc&limit=1000")).await.expect(200);
    column(&messages, "content").split_off(1)
}

async fn runs(client: &Client, agent: &str) -> Vec<Value> {
    let runs = client.get(&format!("/v1/runs/?agent_id={agent}&limit=1000")).await.expect(200);
    runs.as_array().unwrap().clone()
}

fn incoming(sender: &str, message: &str) -> String {
    format!("[Incoming message from agent with ID '{sender}'. What you say is its reply.] {message}")
}

/// The response of an agent that echoes a message, as the tool returns it.
fn response(agent: &str, sender: &str, message: &str) -> String {
    let said = format!("Echo: {}", incoming(sender, message));
    format!("{{'agent_id': '{agent}', 'response': [\"{said}\"]}}")
}

/// A server whose agents follow a script.
async fn scripted(engine: Engine, script: &str) -> (Gatelet, Client) {
    let program = Program::on(engine).await;
    let file = program.folder().join("replies.toml");
    fs::write(&file, script).unwrap();
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let server = program.env("GATELET_SCRIPT", file.to_str().unwrap()).start_alone().await;
    let owner = server.stranger().bearer(&key);
    (server, owner)
}

on_both_engines! {
    async fn a_message_starts_a_turn_of_the_recipient_and_returns_its_reply(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (sender, other) = (create(&owner, "sender", &[]).await, create(&owner, "other", &[]).await);
        let arguments = json!({"message": "it's banana", "other_agent_id": other});
        let text_received = incoming(&sender, "it's banana");
        let (text, is_error) = call(&owner, &sender, WAIT, &arguments).await;
        assert_eq!((text, is_error), (response(&other, &sender, "it\'s banana"), false));
        assert_eq!(contents(&owner, &other).await, [text_received.clone(), format!("Echo: {text_received}")]);
        let messages = owner.get(&path(&other, "?order=asc")).await.expect(200);
        assert_eq!(column(&messages, "message_type")[1..], ["system_message", "assistant_message"]);
        let of_other = runs(&owner, &other).await;
        assert_eq!(
            json!([of_other.len(), of_other[0]["status"], of_other[0]["metadata"]["run_type"]]),
            json!([1, "completed", "send_message"])
        );

        // A message that is not in lower case is repeated in lower case.
        call(&owner, &sender, WAIT, &json!({"message": "BaNaNa", "other_agent_id": other})).await;
        assert_eq!(contents(&owner, &other).await[2], incoming(&sender, "BaNaNa\nbanana"));

        let sent = call(&owner, &sender, ASYNC, &json!({"message": "Note", "other_agent_id": other})).await;
        assert_eq!(sent, ("Successfully sent message".to_owned(), false));
        let note = &contents(&owner, &other).await[4];
        assert!(note.contains(&sender) && note.ends_with("can send one.] Note"), "{note}");

        // In turns of every kind, and outside of turns.
        let input = json!({"input": format!("{WAIT} {arguments}")});
        for route in ["/stream", "/async"] {
            let before = contents(&owner, &other).await.len();
            owner.post(&path(&sender, route), &input).await;
            eventually("the other agent receives it", SOON, async || {
                contents(&owner, &other).await.len() == before + 2
            })
            .await;
        }
        let alone = owner.post(&format!("/v1/agents/{sender}/tools/{WAIT}/run"), &json!({"args": arguments})).await.expect(200);
        assert!(alone["status"] == "success" && alone["func_return"].to_string().contains("banana"), "{alone}");
        assert_eq!(contents(&owner, &other).await.len(), 12);
    }

    async fn agents_are_messaged_by_their_tags(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let sender = create(&owner, "sender", &["worker", "a"]).await;
        let first = create(&owner, "first", &["worker", "a"]).await;
        let second = create(&owner, "second", &["worker", "b"]).await;
        let third = create(&owner, "third", &["worker"]).await;
        let (text, _) = call(&owner, &sender, BY_TAGS, &json!({"message": "hi", "match_all": ["worker"], "match_some": ["a", "b"]})).await;
        let response = |agent: &str| response(agent, &sender, "hi");
        assert_eq!(text, format!("[{}, {}]", response(&second), response(&first)));
        assert_eq!([contents(&owner, &first).await.len(), contents(&owner, &second).await.len(), contents(&owner, &third).await.len()], [2, 2, 0]);
        assert_eq!(runs(&owner, &sender).await.len(), 1, "an agent does not message itself");

        let (text, _) = call(&owner, &sender, BY_TAGS, &json!({"message": "hi", "match_all": [], "match_some": ["c"]})).await;
        assert_eq!(text, "[]");
        let (text, _) = call(&owner, &sender, BY_TAGS, &json!({"message": "hi", "match_all": [], "match_some": []})).await;
        assert_eq!(text.matches("'agent_id'").count(), 3, "{text}");

        // An agent that fails does not keep others from receiving the message.
        owner.post(&path(&second, ""), &json!({"input": "Hello"})).await;
        let asks = json!({"tool_rules": [{"type": "requires_approval", "tool_name": WAIT}]});
        owner.patch(&format!("/v1/agents/{second}"), &asks).await.expect(200);
        owner.post(&path(&second, ""), &json!({"input": format!("{WAIT} {{}}")})).await.expect(200);
        let (text, is_error) = call(&owner, &sender, BY_TAGS, &json!({"message": "hi", "match_all": ["worker"], "match_some": ["a", "b"]})).await;
        assert!(!is_error && text.contains("<error: Error code: 409 - ") && text.contains(&response(&first)), "{text}");
        let words = "Send a message to all agents with tags ['worker', 'a'] about the word: banana!";
        let reply = owner.post(&path(&sender, ""), &json!({"input": words})).await.expect(200);
        let (text, _) = returned(&reply["messages"]);
        assert!(text.contains(&first) && text.contains("about the word: banana!") && !text.contains(&third), "{text}");
    }

    async fn messages_reach_only_agents_of_the_same_project(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let elsewhere = owner.with("x-project-id", "elsewhere");
        let sender = create(&owner, "sender", &[]).await;
        let hidden = create(&elsewhere, "hidden", &["worker"]).await;
        for tool in [WAIT, ASYNC] {
            let mut texts = Vec::new();
            for other in [&hidden, NOBODY] {
                let (text, is_error) = call(&owner, &sender, tool, &json!({"message": "hi", "other_agent_id": other})).await;
                assert!(is_error, "{text}");
                texts.push(text.replace(other, "ID"));
            }
            assert!(texts[0].starts_with(&format!("Error executing function {tool}: NotFoundError: Error code: 404 - ")), "{}", texts[0]);
            assert_eq!(texts[0], texts[1]);
        }
        let (text, _) = call(&owner, &sender, BY_TAGS, &json!({"message": "hi", "match_all": ["worker"], "match_some": []})).await;
        assert_eq!(text, "[]");
        assert!(contents(&elsewhere, &hidden).await.is_empty());
        for arguments in [json!({"message": "hi"}), json!({"other_agent_id": hidden}), json!({"message": 1, "other_agent_id": hidden})] {
            let (text, is_error) = call(&owner, &sender, WAIT, &arguments).await;
            assert!(is_error && text.contains("TypeError: "), "{text}");
        }
    }

    async fn agents_that_message_each_other_do_not_block_each_other(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (one, two) = (create(&owner, "one", &[]).await, create(&owner, "two", &[]).await);
        let mut turns = Vec::new();
        for _ in 0..4 {
            for (sender, other) in [(&one, &two), (&two, &one)] {
                let (owner, sender, other) = (owner.clone(), sender.clone(), other.clone());
                turns.push(tokio::spawn(async move {
                    call(&owner, &sender, WAIT, &json!({"message": "hi", "other_agent_id": other})).await
                }));
            }
        }
        for turn in turns {
            let (text, is_error) = tokio::time::timeout(SOON, turn).await.expect("a deadlock").unwrap();
            assert!(!is_error && text.contains("Echo: "), "{text}");
        }
        let (text, is_error) = call(&owner, &one, WAIT, &json!({"message": "hi", "other_agent_id": one})).await;
        assert!(!is_error && text.contains("Echo: "), "to itself: {text}");
        assert!(runs(&owner, &one).await.iter().all(|run| run["status"] == "completed"));
    }

    async fn chains_of_messages_are_limited_and_cancelled_with_their_sender(engine: Engine) {
        let (_server, owner) = scripted(engine, r#"
[[reply]]
user = 'ring (agent-\S+)'
steps = [{ tool_call = "send_message_to_agent_and_wait_for_reply", arguments = { message = "ring $1", other_agent_id = "$1" } }, { assistant = "$returned" }]

[[reply]]
user = 'all (?<of>\S+)'
steps = [{ tool_call = "send_message_to_agents_matching_tags", arguments = { message = "all $of", match_all = ["$of"], match_some = [] } }, { assistant = "done" }]

[[reply]]
user = 'sleep (agent-\S+)'
steps = [{ tool_call = "send_message_to_agent_and_wait_for_reply", arguments = { message = "rest", other_agent_id = "$1" } }, { assistant = "woken" }]

[[reply]]
user = 'rest'
steps = [{ delay = "10m" }, { assistant = "rested" }]
"#).await;
        let (one, two) = (create(&owner, "one", &["many"]).await, create(&owner, "two", &["many"]).await);
        let reply = owner.post(&path(&one, ""), &json!({"input": format!("ring {two}")})).await.expect(200);
        let (text, _) = returned(&reply["messages"]);
        assert!(text.contains("at most 5 agents wait for one another"), "{text}");
        assert_eq!([runs(&owner, &one).await.len(), runs(&owner, &two).await.len()], [1, 5]);

        // Every recipient messages all others.
        for _ in 0..4 {
            create(&owner, "more", &["many"]).await;
        }
        let count = async || owner.get("/v1/runs/?limit=1000").await.expect(200).as_array().unwrap().len();
        let before = count().await;
        owner.post(&path(&one, ""), &json!({"input": "all many"})).await.expect(200);
        assert_eq!(count().await - before, 101, "100 messages follow from one");

        for route in ["", "/stream", "/async"] {
            let (client, url) = (owner.clone(), path(&one, route));
            let body = json!({"input": format!("sleep {two}")});
            let turn = tokio::spawn(async move { client.post(&url, &body).await });
            let active = async |agent: &str| {
                let runs = owner.get(&format!("/v1/runs/?agent_id={agent}&active=true")).await.expect(200);
                runs[0]["id"].as_str().map(str::to_owned)
            };
            eventually("both turns are running", SOON, async || {
                active(&one).await.is_some() && active(&two).await.is_some()
            })
            .await;
            let (of_one, of_two) = (active(&one).await.unwrap(), active(&two).await.unwrap());
            assert_eq!(owner.post(&path(&one, "/cancel"), &json!({})).await.expect(200), json!({&of_one: "cancelled"}));
            turn.await.unwrap();
            eventually("both turns have ended", SOON, async || {
                active(&one).await.is_none() && active(&two).await.is_none()
            })
            .await;
            for run in [of_one, of_two] {
                assert_eq!(owner.get(&format!("/v1/runs/{run}")).await.expect(200)["status"], "cancelled", "{route}");
            }
        }
    }
}
