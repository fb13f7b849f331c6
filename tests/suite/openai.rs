//! The OpenAI API that client tokens get, before a mock and in a gateway before one.

mod chats;
mod completions;
mod models;
mod refusals;
mod responses;
mod upstream;

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Gatelet, Program};

/// A server that pages talk to, and the mock that keeps their agents: the same one, or behind it.
struct Scene {
    mode: &'static str,
    /// What pages talk to.
    server: Gatelet,
    /// The mock behind it, where that is another.
    behind: Option<Gatelet>,
    agent: String,
    other: String,
}

impl Scene {
    async fn both() -> [Self; 2] {
        [Self::of_mock(Program::ephemeral()).await, Self::of_gateway().await]
    }

    async fn of_mock(program: Program) -> Self {
        Self::of("mock", program.start_alone().await, None).await
    }

    async fn of_gateway() -> Self {
        let mock = Gatelet::ephemeral().await;
        let program = Program::ephemeral().argument("--upstream").argument(mock.url());
        let gateway = program.env("GATELET_UPSTREAM_API_KEY", mock.key()).start_alone().await;
        Self::of("gateway", gateway, Some(mock)).await
    }

    async fn of(mode: &'static str, server: Gatelet, behind: Option<Gatelet>) -> Self {
        let owner = behind.as_ref().unwrap_or(&server).owner();
        let agent = owner.create_agent(&json!({"name": "ada"})).await;
        let other = owner.create_agent(&json!({"name": "bob"})).await;
        Self { mode, server, behind, agent, other }
    }

    /// The holder of a key of the mock that keeps the agents.
    fn keeper(&self) -> Client {
        self.behind.as_ref().unwrap_or(&self.server).owner()
    }

    /// A page whose token may do this with the agent.
    async fn page(&self, words: &[&str]) -> Client {
        self.server.stranger().page(&self.server.owner().create_token(&self.agent, words).await)
    }

    async fn writer(&self) -> Client {
        self.page(&["write_messages"]).await
    }

    /// The conversations of an agent, oldest first.
    async fn conversations(&self, agent: &str) -> Vec<String> {
        let list = self.keeper().get(&format!("/v1/conversations/?agent_id={agent}&order=asc")).await.expect(200);
        list.as_array().unwrap().iter().map(|conversation| conversation["id"].as_str().unwrap().to_owned()).collect()
    }

    /// What users have said in a conversation, oldest first.
    async fn said(&self, conversation: &str) -> Vec<String> {
        let path = format!("/v1/conversations/{conversation}/messages?order=asc");
        let list = self.keeper().get(&path).await.expect(200);
        let of_users = list.as_array().unwrap().iter().filter(|message| message["message_type"] == "user_message");
        of_users.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    }
}

/// A request for a completion.
fn completion(agent: &str, text: &str) -> Value {
    json!({"model": agent, "messages": [{"role": "user", "content": text}]})
}

/// The same with other fields.
fn with(mut body: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    body.as_object_mut().unwrap().extend(fields);
    body
}

/// The data of a stream's events but `[DONE]`.
fn data(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Checks that a refusal is one to clients of the OpenAI API, and that a page can read it; returns its sentence.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) -> String {
    let sentence = answer.refused(status, code);
    let body: Value = serde_json::from_str(&answer.text).unwrap();
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    assert_eq!(body["error"], json!({"message": sentence, "type": kind, "param": null, "code": code}));
    sentence
}
