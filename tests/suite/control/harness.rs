//! Calls of the control API.

use http::Method;
use serde_json::Value;

use crate::harness::{Answer, Client, Gatelet};

/// The control API of one namespace, by a key that may control it.
pub(super) struct Control {
    client: Client,
    path: String,
}

impl Control {
    /// That of the namespace `default`, by the server's key.
    pub(super) fn of_default(server: &Gatelet) -> Self {
        Self::of(&server.owner(), "default")
    }

    pub(super) fn of(client: &Client, namespace: &str) -> Self {
        Self { client: client.clone(), path: format!("/_gatelet/v1/ns/{namespace}") }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.client.get(&format!("{}{path}", self.path)).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.client.put(&format!("{}{path}", self.path), body).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.client.post(&format!("{}{path}", self.path), body).await
    }

    /// Sends a request without a body.
    pub(super) async fn send(&self, method: Method, path: &str) -> Answer {
        self.client.send(method, &format!("{}{path}", self.path), None).await
    }
}

/// A namespace that a test has made.
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) key: String,
    /// The holder of its key.
    pub(super) owner: Client,
    /// The control API, by its key.
    pub(super) control: Control,
    /// What its creation was answered with.
    pub(super) created: Value,
}

impl Namespace {
    pub(super) async fn create(server: &Gatelet, body: &Value) -> Self {
        Self::of(server, server.owner().post("/_gatelet/v1/ns", body).await.expect(201))
    }

    /// The namespace of a call that has made one.
    pub(super) fn of(server: &Gatelet, created: Value) -> Self {
        let text = |name: &str| created[name].as_str().unwrap().to_owned();
        let (name, key) = (text("name"), text("api_key"));
        let owner = server.stranger().bearer(&key);
        Self { name, key, control: Control::of(&owner, "-"), owner, created }
    }
}
