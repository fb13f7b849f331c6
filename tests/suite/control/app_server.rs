//! The mock's App Server in a namespace.

use http::Method;
use serde_json::json;

use super::harness::Namespace;
use crate::harness::{Gatelet, Socket};

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_belongs_to_the_namespace_of_its_token() {
    let server = Gatelet::ephemeral().await;
    let namespace = Namespace::create(&server, &json!({"clock": {"now": "2030-01-05T09:00:00Z"}})).await;
    let agent = namespace.owner.create_agent(&json!({"name": "ada"})).await;
    let token = namespace.owner.create_token(&agent, &["read_messages", "write_messages"]).await;
    let mut page = Socket::page(&server, &token).await;
    assert_eq!(page.start(&agent, "default").await["success"], true);
    page.input(&agent, "default", "hi").await;
    let finished = page.event("turn_finished").await;
    assert!(finished["emitted_at"].as_str().unwrap().starts_with("2030-01-05T09:00:"), "{finished}");
    // The same words elsewhere reach an agent that is not there.
    let stranger = server.owner().create_token(&agent, &["read_messages"]).await;
    let mut elsewhere = Socket::page(&server, &stranger).await;
    assert_eq!(elsewhere.start(&agent, "default").await["success"], false);
    // A reset ends the world, and with it its sockets.
    namespace.control.send(Method::POST, "/reset").await.expect(200);
    page.end().await;
}
