//! Replies at run time: which one a turn gets, and what it does.

mod definitions;
mod effects;
mod lasting;
mod matching;
mod repeats;
mod unmatched;

use reqwest::Method;
use serde_json::{Value, json};

use super::harness::{Control, Namespace};
use crate::harness::{Answer, Client, Gatelet};

/// A namespace with an agent.
struct Stage {
    server: Gatelet,
    namespace: Namespace,
    agent: String,
}

impl Stage {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    /// A namespace that is created with these fields.
    async fn with(mut body: Value) -> Self {
        body["seed"] = json!({"agent": [{
            "ref": "helper",
            "name": "helper",
            "model": "openai/gpt-4o-mini",
            "tags": ["user:42", "beta"],
            "memory_blocks": [{"label": "human", "value": "Name: Ada"}],
        }]});
        let server = Gatelet::ephemeral().await;
        let namespace = Namespace::create(&server, &body).await;
        let agent = namespace.created["refs"]["helper"].as_str().unwrap().to_owned();
        Self { server, namespace, agent }
    }

    fn owner(&self) -> &Client {
        &self.namespace.owner
    }

    fn control(&self) -> &Control {
        &self.namespace.control
    }

    /// Adds a reply; returns its id.
    async fn reply(&self, reply: Value) -> String {
        let added = self.control().post("/replies", &reply).await.expect(201);
        added["ids"][0].as_str().unwrap().to_owned()
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/agents/{}/messages{rest}", self.agent)
    }

    async fn send(&self, body: &Value) -> Answer {
        self.owner().post(&self.path(""), body).await
    }

    /// Sends a text; returns what the agent says to it.
    async fn say(&self, text: &str) -> String {
        spoken(&self.send(&json!({"input": text})).await.expect(200))
    }

    /// The reply of the journal's entry for a response.
    async fn noted(&self, answer: &Answer) -> Value {
        let id = answer.header("x-gatelet-entry").unwrap().split_once('/').unwrap().1;
        self.control().get(&format!("/journal/{id}")).await.expect(200)["reply"].clone()
    }

    /// A reply as it is listed.
    async fn listed(&self, id: &str) -> Value {
        let list = self.control().get("/replies").await.expect(200);
        let replies = list["replies"].as_array().unwrap();
        replies.iter().find(|reply| reply["id"] == id).unwrap_or_else(|| panic!("{id}: {list}")).clone()
    }

    async fn hits(&self, id: &str) -> u64 {
        self.listed(id).await["hits"].as_u64().unwrap()
    }
}

/// What the agent says in a response, or in a stream.
fn spoken(response: &Value) -> String {
    let messages = response["messages"].as_array().cloned().unwrap_or_default();
    let spoken = messages.iter().filter(|message| message["message_type"] == "assistant_message");
    spoken.map(|message| message["content"].as_str().unwrap()).collect::<Vec<_>>().join("|")
}

/// What the agent says in a stream.
fn streamed(answer: &Answer) -> String {
    let frames = answer.value().unwrap();
    let messages = frames.as_array().unwrap().iter().map(|frame| frame["data"].clone());
    spoken(&json!({"messages": messages.collect::<Vec<_>>()}))
}

/// A reply that says a text.
fn says(mut reply: Value, text: &str) -> Value {
    reply["steps"] = json!([{"assistant": text}]);
    reply
}

/// Checks that a turn failed at the model's provider; returns the sentence.
#[track_caller]
fn failed(answer: &Answer) -> String {
    let body = answer.expect(500);
    assert_eq!((&body["code"], &body["error"]["type"]), (&json!("llm_error"), &json!("llm_error")), "{body}");
    assert_eq!(body["message"], body["error"]["message"], "{body}");
    body["message"].as_str().unwrap().to_owned()
}

fn approval(call: &Value, approve: bool) -> Value {
    let decision = json!({"type": "approval", "tool_call_id": call, "approve": approve});
    json!({"messages": [{"type": "approval", "approvals": [decision]}]})
}
