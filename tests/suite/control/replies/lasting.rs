//! What becomes of replies and their counts when a namespace is reset, restored, copied or exported.

use std::fs;

use super::*;
use crate::harness::{Engine, Program};

/// What a namespace says to a text three times, and the state that it is in.
async fn shown(client: &Client, control: &Control, agent: &str) -> (Vec<String>, Value) {
    let mut said = Vec::new();
    for _ in 0..3 {
        let answer = client.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": "x"})).await.expect(200);
        said.push(spoken(&answer));
    }
    (said, control.get("/state").await.expect(200)["state"].clone())
}

#[tokio::test]
async fn a_snapshot_has_the_replies_their_counts_and_the_state() {
    let stage =
        Stage::with(json!({"replies": [says(json!({"id": "given", "times": 2, "next_state": "g"}), "given")]})).await;
    stage.reply(says(json!({"id": "added", "times": 2, "next_state": "a"}), "added")).await;
    assert_eq!(stage.say("x").await, "added");
    stage.control().send(Method::PUT, "/snapshots/s").await.expect(201);
    let after = (vec!["added".to_owned(), "given".into(), "given".into()], json!("g"));
    assert_eq!(shown(stage.owner(), stage.control(), &stage.agent).await, after);
    assert_eq!(stage.say("x").await, "Echo: x");
    stage.control().send(Method::POST, "/snapshots/s/restore").await.expect(200);
    assert_eq!(stage.control().get("/state").await.expect(200)["state"], "a");
    assert_eq!((stage.hits("added").await, stage.hits("given").await), (1, 0));
    assert_eq!(shown(stage.owner(), stage.control(), &stage.agent).await, after);

    // A copy, and an import from another process.
    let owner = stage.server.owner();
    let path = format!("/_gatelet/v1/ns/{}/fork", stage.namespace.name);
    let copy = Namespace::of(&stage.server, owner.post(&path, &json!({"snapshot": "s"})).await.expect(201));
    let agent = copy.created["refs"]["helper"].as_str().unwrap();
    assert_eq!(shown(&copy.owner, &copy.control, agent).await, after);
    let media = "application/vnd.gatelet.snapshot";
    let path = format!("/_gatelet/v1/ns/{}/snapshots/s", stage.namespace.name);
    let export = owner.request(Method::GET, &path).header("accept", media).send().await.unwrap().bytes().await.unwrap();
    let other = Gatelet::ephemeral().await;
    let empty = Namespace::create(&other, &json!({})).await;
    let path = "/_gatelet/v1/ns/-/snapshots/s";
    let import = empty.owner.request(Method::PUT, path).header("content-type", media).body(export.to_vec());
    assert_eq!(import.send().await.unwrap().status(), 201);
    let restored = empty.control.send(Method::POST, "/snapshots/s/restore").await.expect(200);
    let agent = restored["refs"]["helper"].as_str().unwrap();
    assert_eq!(shown(&empty.owner, &empty.control, agent).await, after);
}

#[tokio::test]
async fn a_reset_returns_to_the_replies_of_the_beginning_or_keeps_those_there_are() {
    let stage =
        Stage::with(json!({"replies": [says(json!({"id": "given", "times": 1}), "given")], "unmatched": "refuse"}))
            .await;
    stage.reply(says(json!({"id": "added", "text": "x", "times": 3}), "added")).await;
    stage.control().put("/state", &json!({"state": "later"})).await.expect(200);
    stage.owner().patch("/_gatelet/v1/ns/-/replies", &json!({"unmatched": "echo"})).await.expect(200);
    assert_eq!(stage.say("x").await, "added");
    stage.control().post("/reset", &json!({"keep": ["replies"]})).await.expect(200);
    assert_eq!(stage.listed("added").await["hits"], 1);
    assert_eq!(stage.control().get("/state").await.expect(200)["state"], "later");
    assert_eq!(stage.say("x").await, "added");
    let reset = stage.control().post("/reset", &json!({})).await.expect(200);
    assert_eq!(reset["dropped"]["reply"], 2, "{reset}");
    let list = stage.control().get("/replies").await.expect(200);
    assert_eq!((list["replies"].as_array().unwrap().len(), &list["unmatched"]), (1, &json!("refuse")), "{list}");
    assert_eq!(stage.control().get("/state").await.expect(200)["state"], "started");
    assert_eq!((stage.hits("given").await, stage.say("x").await), (0, "given".to_owned()));
    stage.control().post("/reset", &json!({"to": "empty"})).await.expect(200);
    assert_eq!(stage.control().get("/replies").await.expect(200), json!({"replies": [], "unmatched": "echo"}));
}

/// A file with a script, and the program that has it.
async fn scripted(engine: Option<Engine>, script: &str) -> Gatelet {
    let program = match engine {
        Some(engine) => Program::on(engine).await,
        None => Program::ephemeral(),
    };
    let file = program.folder().join("replies.toml");
    fs::write(&file, script).unwrap();
    program.argument("--script").argument(file.to_str().unwrap()).argument("--control").start_alone().await
}

const SCRIPT: &str =
    "unmatched = 'refuse'\n[[reply]]\nid = 'hi'\ntext = 'x'\ntimes = 1\nsteps = [{ assistant = 'from the file' }]";

#[tokio::test]
async fn each_namespace_begins_with_the_script_of_the_server_and_counts_for_itself() {
    let server = scripted(None, SCRIPT).await;
    let stages =
        [Namespace::create(&server, &json!({})).await, Namespace::create(&server, &json!({"unmatched": "echo"})).await];
    for (index, namespace) in stages.iter().enumerate() {
        let agent = namespace.owner.create_agent(&json!({"name": "a"})).await;
        let path = format!("/v1/agents/{agent}/messages");
        let say = async || namespace.owner.post(&path, &json!({"input": "x"})).await;
        assert_eq!(spoken(&say().await.expect(200)), "from the file");
        match index {
            0 => drop(failed(&say().await)),
            _ => assert_eq!(spoken(&say().await.expect(200)), "Echo: x"),
        }
        let listed = namespace.control.get("/replies").await.expect(200)["replies"][0].clone();
        assert_eq!((&listed["id"], &listed["source"], &listed["left"]), (&json!("hi"), &json!("file"), &json!(0)));
        namespace.control.post("/reset", &json!({})).await.expect(200);
        assert_eq!(namespace.control.get("/replies").await.expect(200)["replies"][0]["hits"], 0);
        namespace.control.put("/script", &json!({"reply": [says(json!({"id": "mine"}), "mine")]})).await.expect(200);
        let list = namespace.control.get("/replies").await.expect(200);
        assert_eq!((&list["replies"][0]["id"], list["replies"].as_array().unwrap().len()), (&json!("mine"), 1));
    }
}

#[tokio::test]
async fn the_default_namespace_on_disk_takes_replies_in_memory() {
    let program = Program::on(Engine::Sqlite).await;
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let server = program.argument("--control").start_alone().await;
    let owner = server.stranger().bearer(&key);
    let control = Control::of(&owner, "default");
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    control.post("/replies", &says(json!({"id": "r", "times": 1}), "Hello.")).await.expect(201);
    let path = format!("/v1/agents/{agent}/messages");
    let answer = owner.post(&path, &json!({"input": "x"})).await;
    assert_eq!(spoken(&answer.expect(200)), "Hello.");
    assert_eq!(spoken(&owner.post(&path, &json!({"input": "x"})).await.expect(200)), "Echo: x");
    let unused = control.get("/unused").await.expect(200);
    assert_eq!(unused["replies"], json!([]));
}
