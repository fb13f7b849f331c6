//! What the gate asks the App Server itself before it decides.

use serde_json::json;

use super::{SOON, closed, info, page_in, said, token};
use crate::harness::{ADA, AppServer, BOB, Socket, eventually, input};

#[tokio::test]
async fn the_owner_of_a_conversation_is_looked_up_once_and_on_a_socket_of_its_own() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let (one, other) = (token(&gate, ADA).await, token(&gate, ADA).await);
    for token in [&one, &other, &one] {
        let mut page = page_in(&gate, token, ADA, "local-conv-1").await;
        page.input(ADA, "local-conv-1", "hello").await;
        said(&mut page).await;
    }
    let asked = server.frames_of("conversation_retrieve");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0]["request_id"].as_str().unwrap().starts_with("gatelet-"), "{}", asked[0]);
    // One for the look-ups, and one for each page.
    assert_eq!(server.heads().len(), 4);
    let asked = server.frames_of("get_reflection_settings");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["runtime"]["conversation_id"], "gatelet-probe");
}

#[tokio::test]
async fn a_conversation_of_another_agent_and_one_that_does_not_exist_look_alike() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let mut page = page_in(&gate, &token(&gate, ADA).await, ADA, "local-conv-1").await;
    let mut responses = Vec::new();
    for conversation in ["local-conv-2", "local-conv-9"] {
        let retrieve = json!({"type": "conversation_retrieve", "request_id": "c", "conversation_id": conversation});
        let messages =
            json!({"type": "conversation_messages_list", "request_id": "m", "conversation_id": conversation});
        let mut of_one = Vec::new();
        for request in [retrieve, messages, input("i", ADA, conversation, "hello")] {
            of_one.push(page.ask(&request).await.to_string().replace(conversation, "CONVERSATION"));
        }
        responses.push(of_one);
    }
    assert_eq!(responses[0], responses[1]);
    assert!(responses[0][0].contains("not_found"), "{responses:?}");
    assert_eq!(server.frames_of("input").len(), 0);
    assert_eq!(server.frames_of("conversation_messages_list").len(), 0);
    assert_eq!(server.subscribers(ADA, "local-conv-2") + server.subscribers(BOB, "local-conv-2"), 0);
}

#[tokio::test]
async fn an_agent_that_reflects_is_out_of_reach_unless_the_operator_allows_it() {
    let server = AppServer::start().await;
    server.set_reflection(ADA, true);
    let gate = server.gate().await;
    let token = token(&gate, ADA).await;
    let mut page = Socket::page(&gate, &token).await;
    let refused = page.start(ADA, "default").await;
    assert_eq!(refused["success"], false, "{refused}");
    assert!(refused["error"].as_str().unwrap().starts_with("agent_not_in_policy: "), "{refused}");
    assert_eq!(server.frames_of("runtime_start").len(), 0);
    let is_warned = async || gate.log().contains("Reflection is on") && gate.log().contains(ADA);
    eventually("a warning", SOON, is_warned).await;
    server.set_reflection(ADA, false);
    eventually("the agent is within reach again", SOON, async || {
        Socket::page(&gate, &token).await.start(ADA, "default").await["success"] == true
    })
    .await;

    server.set_reflection(ADA, true);
    let gate = server.program().env("GATELET_APP_SERVER__REFLECTION", "allow").start_alone().await;
    let token = super::token(&gate, ADA).await;
    page_in(&gate, &token, ADA, "default").await;
}

#[tokio::test]
async fn a_look_up_that_fails_refuses_the_frame_and_keeps_the_socket() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let mut page = Socket::page(&gate, &token(&gate, ADA).await).await;
    eventually("the page's socket is open", SOON, async || server.heads().len() == 1).await;
    // The socket for look-ups is opened for the first question.
    server.refuse(true);
    let refused = page.start(ADA, "local-conv-1").await;
    assert!(refused["error"].as_str().unwrap().starts_with("upstream_unreachable: "), "{refused}");
    server.refuse(false);
    let started = page.start(ADA, "local-conv-1").await;
    assert_eq!(started["success"], true, "{started}");
}

#[tokio::test]
async fn owners_are_looked_up_again_after_the_app_server_was_away() {
    let server = AppServer::start().await;
    let gate = server.gate().await;
    let token = token(&gate, ADA).await;
    let mut page = page_in(&gate, &token, ADA, "local-conv-1").await;
    server.close_all();
    assert_eq!(page.end().await, closed(1013, "upstream_unreachable"));
    eventually("the gate notes it", SOON, async || {
        let mut page = page_in(&gate, &token, ADA, "local-conv-1").await;
        page.ask(&info("1")).await;
        server.frames_of("conversation_retrieve").len() == 2
    })
    .await;
}
