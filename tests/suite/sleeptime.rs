//! Sleeptime agents: what is said to an agent is gone through in the background by partners that share its memory.

use std::{fs, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Gatelet, Program, column, eventually, id, ids, on_both_engines};

const SOON: Duration = Duration::from_secs(30);

fn path(agent: &str, rest: &str) -> String {
    format!("/v1/agents/{agent}{rest}")
}

/// Makes an agent that has a sleeptime agent; the ids of both and of their group.
async fn create(owner: &Client, extra: &Value) -> (String, String, String) {
    let mut body = json!({
        "model": "openai/gpt-4o-mini", "name": "Main", "enable_sleeptime": true,
        "memory_blocks": [{"label": "human", "value": "Name: Sam"}],
    });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let agent = id(&owner.post("/v1/agents/", &body).await.expect(200));
    let group = group_of(owner, &agent).await;
    (agent, group["agent_ids"][0].as_str().unwrap().to_owned(), id(&group))
}

/// The group that an agent manages.
async fn group_of(owner: &Client, agent: &str) -> Value {
    owner.get(&path(agent, "?include=agent.managed_group")).await.expect(200)["managed_group"].clone()
}

async fn say(owner: &Client, agent: &str, text: &str) -> Value {
    owner.post(&path(agent, "/messages"), &json!({"input": text})).await.expect(200)
}

/// The ids of the runs that began in the background.
fn runs(answer: &Value) -> Vec<String> {
    let run_ids = &answer["usage"]["run_ids"];
    run_ids.as_array().into_iter().flatten().map(|id| id.as_str().unwrap().to_owned()).collect()
}

async fn ended(owner: &Client, run: &str) -> Value {
    let url = format!("/v1/runs/{run}");
    eventually("the run in the background ends", SOON, async || {
        !owner.get(&url).await.expect(200)["completed_at"].is_null()
    })
    .await;
    owner.get(&url).await.expect(200)
}

async fn human(owner: &Client, agent: &str) -> String {
    let block = owner.get(&path(agent, "/core-memory/blocks/human")).await.expect(200);
    block["value"].as_str().unwrap().to_owned()
}

/// What a run has said, from the transcript on.
async fn messages_of(owner: &Client, run: &str) -> Vec<Value> {
    let messages = owner.get(&format!("/v1/runs/{run}/messages?order=asc")).await.expect(200);
    messages.as_array().unwrap().clone()
}

async fn transcript(owner: &Client, run: &str) -> String {
    let messages = messages_of(owner, run).await;
    assert_eq!(messages[0]["message_type"], "user_message", "{messages:?}");
    let text = messages[0]["content"].as_str().unwrap();
    text.split_once("Messages:\n").unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

/// The events of a stream.
async fn stream(client: &Client, agent: &str, extra: &Value) -> Vec<Value> {
    let mut body = json!({"input": "streamed"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let answer = client.send(Method::POST, &path(agent, "/messages/stream"), Some(&body)).await;
    events(&answer.text)
}

fn events(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: {"));
    lines.map(|line| serde_json::from_str(&format!("{{{line}")).unwrap()).collect()
}

fn usage(events: &[Value]) -> Value {
    let usage = events.iter().find(|event| event["message_type"] == "usage_statistics");
    json!({"usage": usage.unwrap_or_else(|| panic!("{events:?}"))})
}

on_both_engines! {
    async fn every_nth_turn_is_gone_through_in_the_background(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (agent, partner, group) = create(&owner, &json!({})).await;
        let group_url = format!("/v1/groups/{group}");
        let shown = owner.get(&group_url).await.expect(200);
        assert_eq!(
            json!([shown["manager_type"], shown["sleeptime_agent_frequency"], shown["turns_counter"], shown["last_processed_message_id"]]),
            json!(["sleeptime", 5, -1, null])
        );

        let answer = say(&owner, &agent, "I like tea").await;
        let first = runs(&answer);
        assert_eq!(first.len(), 1, "{answer}");
        let run = ended(&owner, &first[0]).await;
        assert_eq!(
            json!([run["status"], run["agent_id"], run["metadata"]["run_type"], run["metadata"]["agent_id"]]),
            json!(["completed", partner, "sleeptime_agent_send_message_async", partner])
        );
        let said = messages_of(&owner, &first[0]).await;
        let called = said.iter().filter_map(|message| message["tool_call"]["name"].as_str());
        assert_eq!(called.collect::<Vec<_>>(), ["memory_insert", "memory_finish_edits"]);
        let heard = transcript(&owner, &first[0]).await;
        assert!(heard.starts_with("user: I like tea\n") && heard.contains("assistant: Echo: I like tea"), "{heard}");
        assert_eq!(human(&owner, &agent).await, "Name: Sam\nThe user said: I like tea");
        let system = owner.get(&path(&agent, "/messages?order=asc&limit=100")).await.expect(200)[0]["content"].clone();
        assert!(system.as_str().unwrap().contains("The user said: I like tea"), "the main agent sees it: {system}");
        let of_partner = owner.get(&path(&partner, "/messages?limit=100")).await.expect(200);
        for message in &said {
            assert!(ids(&of_partner).contains(&id(message)), "{message}");
        }
        let shown = owner.get(&group_url).await.expect(200);
        let last = answer["messages"].as_array().unwrap().last().unwrap()["id"].clone();
        assert_eq!((&shown["turns_counter"], &shown["last_processed_message_id"]), (&json!(0), &last));

        for number in 2..=5 {
            let answer = say(&owner, &agent, &format!("turn {number}")).await;
            assert_eq!(answer["usage"]["run_ids"], Value::Null, "{answer}");
        }
        assert_eq!(owner.get(&group_url).await.expect(200)["turns_counter"], 4);
        let sixth = runs(&say(&owner, &agent, "turn 6").await);
        ended(&owner, &sixth[0]).await;
        let heard = transcript(&owner, &sixth[0]).await;
        assert!(heard.contains("user: turn 2") && heard.contains("user: turn 6"), "{heard}");
        assert!(!heard.contains("I like tea"), "what was gone through is not gone through again: {heard}");
        assert!(human(&owner, &agent).await.ends_with("The user said: turn 5\nThe user said: turn 6"));

        let every = |frequency: i64| json!({"manager_config": {
            "manager_type": "sleeptime", "manager_agent_id": agent, "sleeptime_agent_frequency": frequency}});
        owner.patch(&group_url, &every(2)).await.expect(200);
        let mut ran = Vec::new();
        for number in 0..4 {
            ran.push(runs(&say(&owner, &agent, &format!("pair {number}")).await).len());
        }
        assert_eq!(ran, [0, 1, 0, 1]);
        owner.patch(&group_url, &every(0)).await.expect(200);
        assert_eq!(owner.get(&group_url).await.expect(200)["sleeptime_agent_frequency"], 2, "0 changes nothing, as in Letta");
    }

    async fn every_kind_of_turn_says_which_runs_it_began(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (agent, partner, group) = create(&owner, &json!({})).await;
        let every = json!({"manager_config": {
            "manager_type": "sleeptime", "manager_agent_id": agent, "sleeptime_agent_frequency": 1}});
        owner.patch(&format!("/v1/groups/{group}"), &every).await.expect(200);
        let all = format!("/v1/runs/?agent_id={partner}&limit=100");
        let begun = async |known: &mut Vec<String>| {
            let new: Vec<String> = ids(&owner.get(&all).await.expect(200));
            let new: Vec<String> = new.into_iter().filter(|run| !known.contains(run)).collect();
            known.extend(new.clone());
            new
        };
        let mut known = Vec::new();
        let answer = say(&owner, &agent, "plain").await;
        assert_eq!(runs(&answer), begun(&mut known).await);
        for extra in [json!({}), json!({"stream_tokens": true}), json!({"background": true})] {
            let told = stream(&owner, &agent, &extra).await;
            let run_ids = runs(&usage(&told));
            assert_eq!((run_ids.len(), &run_ids), (1, &begun(&mut known).await), "{extra}");
            if extra["background"] == true {
                let run = told[0]["run_id"].as_str().unwrap();
                let again = owner.post(&format!("/v1/runs/{run}/stream"), &json!({})).await;
                assert_eq!(runs(&usage(&events(&again.text))), run_ids, "also when it is read again");
            }
        }
        let conversation = id(&owner.post(&format!("/v1/conversations/?agent_id={agent}"), &json!({})).await.expect(200));
        let body = json!({"input": "elsewhere", "streaming": false});
        let answer = owner.post(&format!("/v1/conversations/{conversation}/messages"), &body).await.expect(200);
        assert_eq!(runs(&answer), begun(&mut known).await);
        let run = id(&owner.post(&path(&agent, "/messages/async"), &json!({"input": "later"})).await.expect(200));
        ended(&owner, &run).await;
        assert_eq!(begun(&mut known).await.len(), 1);
        for run in &known {
            assert_eq!(ended(&owner, run).await["status"], "completed");
        }

        // Nobody goes through what a batch says.
        let batch = json!({"requests": [{"agent_id": agent, "input": "one"}, {"agent_id": agent, "input": "two"}]});
        let batch = id(&owner.post("/v1/messages/batches", &batch).await.expect(200));
        eventually("the batch ends", SOON, async || {
            owner.get(&format!("/v1/messages/batches/{batch}")).await.expect(200)["status"] == "completed"
        })
        .await;
        assert!(begun(&mut known).await.is_empty());
        // What fails is no turn that anybody goes through.
        owner.post(&path(&agent, "/messages"), &json!({"input": "[[error:429]] no"})).await;
        assert!(begun(&mut known).await.is_empty());

        let page = server.stranger().page(&owner.create_token(&agent, &["read_messages", "write_messages"]).await);
        let answer = page.post(&path(&agent, "/messages"), &json!({"input": "from a page"})).await;
        assert_eq!(answer.expect(200)["usage"]["run_ids"], json!([]), "{}", answer.text);
        let told = stream(&page, &agent, &json!({})).await;
        assert_eq!(usage(&told)["usage"]["run_ids"], json!([]));
        let hidden = begun(&mut known).await;
        assert_eq!(hidden.len(), 2);
        for run in &hidden {
            assert!(!answer.text.contains(run));
            page.get(&format!("/v1/runs/{run}")).await.refused(404, "not_found");
        }
    }

    async fn what_began_in_the_background_is_done_once_whatever_becomes_of_the_server(engine: Engine) {
        let program = Program::on(engine).await;
        let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
        let mut server = program.start().await;
        let owner = server.stranger().bearer(&key);
        let (agent, partner, group) = create(&owner, &json!({})).await;
        let every = json!({"manager_config": {
            "manager_type": "sleeptime", "manager_agent_id": agent, "sleeptime_agent_frequency": 1}});
        owner.patch(&format!("/v1/groups/{group}"), &every).await.expect(200);
        let mut begun = Vec::new();
        for number in 0..4 {
            begun.extend(runs(&say(&owner, &agent, &format!("number {number}")).await));
        }
        server.kill().await;
        let mut server = program.start().await;
        let owner = server.stranger().bearer(&key);
        begun.extend(runs(&say(&owner, &agent, "number 4").await));
        server.signal("TERM");
        assert_eq!(server.exit().await, Some(0));
        let server = program.start().await;
        let owner = server.stranger().bearer(&key);
        assert_eq!(begun.len(), 5);
        for (number, run) in begun.iter().enumerate() {
            assert_eq!(ended(&owner, run).await["status"], "completed");
            let heard = transcript(&owner, run).await;
            assert!(heard.starts_with(&format!("user: number {number}\n")), "{heard}");
        }
        let noted = human(&owner, &agent).await;
        let mut noted: Vec<&str> = noted.lines().collect();
        noted[1..].sort_unstable();
        let expected: Vec<String> = (0..5).map(|number| format!("The user said: number {number}")).collect();
        assert_eq!(noted[1..], expected);
        let said = owner.get(&path(&partner, "/messages?limit=1000")).await.expect(200);
        assert_eq!(column(&said, "message_type").iter().filter(|kind| *kind == "user_message").count(), 5);
    }

    async fn a_block_that_is_attached_is_shown_to_the_sleeptime_agent_too(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (agent, partner, _) = create(&owner, &json!({})).await;
        let labels = async |agent: &str| {
            let mut labels = column(&owner.get(&path(agent, "/core-memory/blocks")).await.expect(200), "label");
            labels.sort();
            labels
        };
        assert_eq!((labels(&agent).await, labels(&partner).await), (vec!["human".into()], vec!["human".into(), "memory_persona".into()]));
        let block = async |label: &str| {
            id(&owner.post("/v1/blocks/", &json!({"label": label, "value": "green"})).await.expect(200))
        };
        let (color, persona) = (block("color").await, block("memory_persona").await);
        let attach = |agent: &str, block: &str| path(agent, &format!("/core-memory/blocks/attach/{block}"));
        for _ in 0..2 {
            owner.patch(&attach(&agent, &color), &Value::Null).await.expect(200);
            assert_eq!(labels(&agent).await, ["color", "human"]);
            assert_eq!(labels(&partner).await, ["color", "human", "memory_persona"]);
        }
        let system = owner.get(&path(&partner, "/messages?order=asc")).await.expect(200)[0]["content"].clone();
        assert!(system.as_str().unwrap().contains("green"), "{system}");
        owner.patch(&attach(&agent, &persona), &Value::Null).await.refused(409, "conflict");
        assert_eq!(labels(&agent).await, ["color", "human"], "nothing is done by half");

        // As in Letta, only the agent itself loses it, and what is attached to a partner is the partner's.
        owner.patch(&path(&agent, &format!("/core-memory/blocks/detach/{color}")), &Value::Null).await.expect(200);
        assert_eq!((labels(&agent).await, labels(&partner).await.len()), (vec!["human".into()], 3));
        let own = block("own").await;
        owner.patch(&attach(&partner, &own), &Value::Null).await.expect(200);
        assert_eq!((labels(&agent).await, labels(&partner).await.len()), (vec!["human".into()], 4));
    }

    async fn a_sleeptime_agent_comes_and_goes(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let block = json!([{"label": "human", "value": "x"}]);
        let agent = owner.create_agent(&json!({"name": "Late", "memory_blocks": block})).await;
        assert!(runs(&say(&owner, &agent, "before").await).is_empty());
        for _ in 0..2 {
            owner.patch(&path(&agent, ""), &json!({"enable_sleeptime": true})).await.expect(200);
        }
        assert_eq!(owner.get("/v1/agents/count").await.expect(200), 2);
        let group = group_of(&owner, &agent).await;
        let partner = group["agent_ids"][0].as_str().unwrap().to_owned();
        let run = runs(&say(&owner, &agent, "I like tea").await);
        ended(&owner, &run[0]).await;
        assert!(transcript(&owner, &run[0]).await.contains("user: before"), "all that was said before is new to it");
        assert_eq!(human(&owner, &agent).await, "x\nThe user said: before\nThe user said: I like tea");

        owner.patch(&path(&agent, ""), &json!({"enable_sleeptime": false})).await.expect(200);
        assert!(runs(&say(&owner, &agent, "asleep").await).is_empty());
        owner.patch(&path(&agent, ""), &json!({"enable_sleeptime": true})).await.expect(200);
        owner.delete(&path(&partner, "")).await.expect(200);
        let shown = owner.get(&path(&agent, "?include=agent.managed_group")).await.expect(200);
        assert_eq!((&shown["enable_sleeptime"], &shown["managed_group"]), (&Value::Null, &Value::Null));
        owner.get(&format!("/v1/groups/{}", id(&group))).await.refused(404, "not_found");
        assert!(runs(&say(&owner, &agent, "alone").await).is_empty());

        // A group of one's own, without a frequency: after each turn, about that turn.
        let other = owner.create_agent(&json!({"name": "Other"})).await;
        let body = json!({"agent_ids": [other], "description": "", "manager_config": {
            "manager_type": "sleeptime", "manager_agent_id": agent}});
        let group = owner.post("/v1/groups/", &body).await.expect(200);
        assert_eq!(group["turns_counter"], Value::Null);
        assert!(runs(&say(&owner, &agent, "not asked for").await).is_empty());
        owner.patch(&path(&agent, ""), &json!({"enable_sleeptime": true})).await.expect(200);
        for text in ["one", "two"] {
            let run = runs(&say(&owner, &agent, text).await);
            assert_eq!(ended(&owner, &run[0]).await["agent_id"], other.as_str());
            assert!(transcript(&owner, &run[0]).await.starts_with(&format!("user: {text}\n")));
        }
    }

    async fn a_voice_agent_hands_over_what_no_longer_fits_its_buffer(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let (agent, partner, group) =
            create(&owner, &json!({"agent_type": "voice_convo_agent", "initial_message_sequence": []})).await;
        let shown = owner.get(&format!("/v1/groups/{group}")).await.expect(200);
        assert_eq!(
            json!([shown["manager_type"], shown["max_message_buffer_length"], shown["min_message_buffer_length"]]),
            json!(["voice_sleeptime", 30, 15])
        );
        let shown = owner.get(&path(&partner, "")).await.expect(200);
        assert_eq!((&shown["agent_type"], &shown["llm_config"]["model"]), (&json!("voice_sleeptime_agent"), &json!("gpt-4.1")));
        let buffer = json!({"manager_config": {
            "manager_type": "voice_sleeptime", "manager_agent_id": agent,
            "max_message_buffer_length": 8, "min_message_buffer_length": 5}});
        owner.patch(&format!("/v1/groups/{group}"), &buffer).await.expect(200);
        let mut begun = Vec::new();
        for number in 0..6 {
            begun.push(runs(&say(&owner, &agent, &format!("number {number}")).await));
        }
        // Each turn leaves a question, what is said and what the speaking tool returned.
        let counts: Vec<usize> = begun.iter().map(Vec::len).collect();
        assert_eq!(counts, [0, 0, 1, 0, 1, 0]);
        let run = ended(&owner, &begun[2][0]).await;
        assert_eq!(json!([run["status"], run["agent_id"]]), json!(["completed", partner]));
        let heard = transcript(&owner, &begun[2][0]).await;
        assert!(heard.contains("assistant: Echo: number 0") && heard.contains("user: number 1"), "{heard}");
        assert!(!heard.contains("Echo: number 1") && !heard.contains("number 2"), "the newest five stay: {heard}");
        ended(&owner, &begun[4][0]).await;
        let heard = transcript(&owner, &begun[4][0]).await;
        assert!(heard.contains("user: number 2") && !heard.contains("user: number 1"), "{heard}");
        let said = messages_of(&owner, &begun[4][0]).await;
        let called = said.iter().filter_map(|message| message["tool_call"]["name"].as_str());
        assert_eq!(called.collect::<Vec<_>>(), ["rethink_user_memory", "finish_rethinking_memory"]);
        assert!(human(&owner, &agent).await.starts_with("Name: Sam\nThe user said: number 0\n"));
    }
}

#[tokio::test]
async fn what_goes_wrong_in_the_background_stays_there() {
    let program = Program::ephemeral();
    let file = program.folder().join("replies.toml");
    let script = r#"
[[reply]]
user = 'weather'
steps = [{ tool_call = "memory_insert", arguments = { label = "human", new_string = "asked" } }, { assistant = "sunny" }]

[[reply]]
user = 'overload'
agent = "Main-sleeptime"
steps = [{ error = 429 }]
"#;
    fs::write(&file, script).unwrap();
    let server = program.argument("--script").argument(file.to_str().unwrap()).start_alone().await;
    let owner = server.owner();
    let (agent, partner, group) = create(&owner, &json!({"tools": ["memory_insert"]})).await;
    let every = json!({"manager_config": {
        "manager_type": "sleeptime", "manager_agent_id": agent, "sleeptime_agent_frequency": 1}});
    owner.patch(&format!("/v1/groups/{group}"), &every).await.expect(200);

    let run = runs(&say(&owner, &agent, "overload").await);
    let run = ended(&owner, &run[0]).await;
    assert_eq!((&run["status"], &run["stop_reason"]), (&json!("failed"), &json!("error")));

    // Neither a script for everybody nor a directive is followed once more.
    let call = r#"[[call:memory_insert {"label": "human", "new_string": "once"}]] please"#;
    for text in ["how is the weather", call] {
        let run = runs(&say(&owner, &agent, text).await);
        assert_eq!(ended(&owner, &run[0]).await["status"], "completed");
    }
    let noted = human(&owner, &agent).await;
    assert_eq!(noted.matches("asked").count(), 1, "{noted}");
    assert_eq!(noted.matches("once").count(), 1, "{noted}");
    assert!(noted.ends_with("The user said: how is the weather\nonce\nThe user said: please"), "{noted}");

    // A partner that has one itself hands nothing on.
    owner.patch(&path(&partner, ""), &json!({"enable_sleeptime": true})).await.expect(200);
    let own = column(&owner.get("/v1/agents/?name=Main-sleeptime-sleeptime").await.expect(200), "id");
    let run = runs(&say(&owner, &agent, "no end").await);
    ended(&owner, &run[0]).await;
    assert_eq!(owner.get(&format!("/v1/runs/?agent_id={}", own[0])).await.expect(200), json!([]));
    assert_eq!(runs(&say(&owner, &partner, "spoken to").await).len(), 1, "unless it is spoken to itself");

    // One that waits for a decision fails, and nobody else notices.
    owner.patch(&path(&partner, ""), &json!({"enable_sleeptime": false})).await.expect(200);
    owner.patch(&path(&partner, "/tools/approval/memory_insert"), &json!({"requires_approval": true})).await;
    let asked = runs(&say(&owner, &agent, "a question").await);
    assert_eq!(ended(&owner, &asked[0]).await["stop_reason"], "requires_approval");
    let run = runs(&say(&owner, &agent, "and another").await);
    assert_eq!(ended(&owner, &run[0]).await["status"], "failed");
    owner.delete(&path(&agent, "")).await.expect(200);
    owner.get(&path(&partner, "")).await.refused(404, "not_found");
}
