//! Faults: what a test lets go wrong is what the client sees on the wire, where and when the test says, and nowhere else.

mod isolation;
mod responses;
mod rules;
mod seen;
mod streams;
mod tokens;
mod when;

use http::Method;
use serde_json::{Value, json};

use super::harness::Namespace;
use crate::harness::{Answer, Client, Gatelet};

/// A namespace with an agent `helper`, and a page that may talk to it.
struct Stage {
    server: Gatelet,
    namespace: Namespace,
    agent: String,
    token: String,
}

impl Stage {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    /// One whose namespace is created with more than a seed.
    async fn with(mut more: Value) -> Self {
        let server = Gatelet::ephemeral().await;
        let access = ["read_agent", "read_messages", "write_messages"];
        more["name"] = "stage".into();
        more["seed"] = json!({
            "agent": [{"ref": "helper", "name": "Ada's helper", "model": "openai/gpt-4o-mini"}],
            "token": [{"ref": "page", "agent": "helper", "access": access, "hostname": crate::harness::ORIGIN}],
        });
        let namespace = Namespace::create(&server, &more).await;
        let agent = namespace.created["refs"]["helper"].as_str().unwrap().to_owned();
        let token = namespace.created["tokens"]["page"]["token"].as_str().unwrap().to_owned();
        Self { server, namespace, agent, token }
    }

    /// Adds a fault and returns its id.
    async fn add(&self, fault: &Value) -> String {
        let answer = self.namespace.control.post("/faults", fault).await.expect(201);
        answer["ids"][0].as_str().unwrap().to_owned()
    }

    /// The only fault from now on.
    async fn only(&self, fault: &Value) -> String {
        self.clear().await;
        self.add(fault).await
    }

    async fn clear(&self) {
        assert_eq!(self.namespace.control.send(Method::DELETE, "/faults").await.status, 204);
    }

    async fn listed(&self) -> Value {
        self.namespace.control.get("/faults").await.expect(200)["faults"].clone()
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/agents/{}/{rest}", self.agent)
    }

    /// A caller whose responses may be anything.
    fn stranger(&self) -> Client {
        Client::new(self.server.url(), false)
    }

    fn page(&self) -> Client {
        self.stranger().page(&self.token)
    }

    fn back_end(&self) -> Client {
        self.stranger().bearer(&self.namespace.key)
    }

    /// The entry of a response.
    async fn entry_of(&self, answer: &Answer) -> Value {
        let id = answer.header("x-gatelet-entry").unwrap().split_once('/').unwrap().1.to_owned();
        self.namespace.control.get(&format!("/journal/{id}")).await.expect(200)
    }

    /// The latest entry, once its response has ended.
    async fn latest(&self) -> Value {
        let list = self.namespace.control.get("/journal").await.expect(200);
        let id = list["entries"].as_array().unwrap().last().unwrap()["id"].as_u64().unwrap();
        let wait = format!("/journal?after={}&limit=1&phase=finished&wait=20s", id - 1);
        self.namespace.control.get(&wait).await.expect(200)["entries"][0].clone()
    }

    /// How many messages of the user the agent has.
    async fn heard(&self, text: &str) -> usize {
        let path = self.path("messages?limit=1000&include_return_message_types=user_message");
        let messages = self.back_end().get(&path).await.expect(200);
        messages.as_array().unwrap().iter().filter(|message| message["content"] == text).count()
    }
}

fn said(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

/// For a stream without the ping with which most begin.
fn streamed(text: &str) -> Value {
    let mut body = said(text);
    body["include_pings"] = false.into();
    body
}
