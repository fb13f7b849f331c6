use std::time::Duration;

use serde_json::json;

use super::{Scene, completion, refused, with};
use crate::harness::{Client, eventually, token_request};

const SOON: Duration = Duration::from_secs(20);

/// Says something in a chat.
async fn say(page: &Client, agent: &str, text: &str) {
    page.post("/v1/chat/completions", &completion(agent, text)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_keeps_the_conversation_of_a_chat() {
    for scene in Scene::both().await {
        let (agent, other) = (&scene.agent, &scene.other);
        let page = scene.writer().await;
        let (first, second) = (page.with("x-letta-chat-key", "first"), page.with("x-letta-chat-key", "second"));
        say(&first, agent, "1").await;
        say(&second, agent, "2").await;
        say(&first, agent, "3").await;
        let body = with(completion(agent, "4"), json!({"stream": true}));
        assert_eq!(first.post("/v1/chat/completions", &body).await.status, 200);
        // Another token for the same page, as when it is renewed.
        say(&scene.writer().await.with("x-letta-chat-key", "first"), agent, "5").await;
        let conversations = scene.conversations(agent).await;
        assert_eq!(conversations.len(), 2, "{}", scene.mode);
        assert_eq!(scene.said(&conversations[0]).await, ["1", "3", "4", "5"]);
        assert_eq!(scene.said(&conversations[1]).await, ["2"]);

        // Of another agent, another origin, or another key of the operator's, it is another chat.
        let owner = scene.server.owner();
        let page = scene.server.stranger().page(&owner.create_token(other, &["write_messages"]).await);
        say(&page.with("x-letta-chat-key", "first"), other, "6").await;
        assert_eq!(scene.conversations(other).await.len(), 1);
        let mut elsewhere = token_request(agent, &["write_messages"]);
        elsewhere["hostname"] = json!("https://elsewhere.example");
        let token = owner.create_token_with(&elsewhere).await;
        let page = scene.server.stranger().bearer(&token).with("origin", "https://elsewhere.example");
        say(&page.with("x-letta-chat-key", "first"), agent, "7").await;
        let conversations = scene.conversations(agent).await;
        assert_eq!(conversations.len(), 3);
        assert_eq!(scene.said(&conversations[2]).await, ["7"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_whose_conversation_was_deleted_goes_on_in_another() {
    for scene in Scene::both().await {
        let page = scene.writer().await.with("x-letta-chat-key", "k");
        say(&page, &scene.agent, "1").await;
        let conversations = scene.conversations(&scene.agent).await;
        scene.keeper().delete(&format!("/v1/conversations/{}", conversations[0])).await.expect(200);
        say(&page, &scene.agent, "2").await;
        say(&page, &scene.agent, "3").await;
        let conversations = scene.conversations(&scene.agent).await;
        assert_eq!(conversations.len(), 1, "{}", scene.mode);
        assert_eq!(scene.said(&conversations[0]).await, ["2", "3"]);
    }
}

/// Without a stream, `Open WebUI` asks for titles and the like, which are no part of the chat.
#[tokio::test(flavor = "multi_thread")]
async fn open_webui_names_its_chats_when_it_streams() {
    let scene = Scene::of_gateway().await;
    let page = scene.writer().await.with("x-openwebui-chat-id", "chat");
    for text in ["1", "2"] {
        let body = with(completion(&scene.agent, text), json!({"stream": true}));
        assert_eq!(page.post("/v1/chat/completions", &body).await.status, 200);
    }
    say(&page, &scene.agent, "a title").await;
    eventually("the title's conversation is deleted", SOON, || async {
        scene.conversations(&scene.agent).await.len() == 1
    })
    .await;
    assert_eq!(scene.said(&scene.conversations(&scene.agent).await[0]).await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_names_nothing_is_refused() {
    for scene in Scene::both().await {
        let page = scene.writer().await;
        for page in [
            page.with("x-letta-chat-key", ""),
            page.with("x-letta-chat-key", &"k".repeat(257)),
            page.with("x-letta-chat-key", "a").with("x-letta-chat-key", "a"),
        ] {
            let answer = page.post("/v1/chat/completions", &completion(&scene.agent, "x")).await;
            let sentence = refused(&answer, 400, "invalid_request");
            assert!(sentence.contains("x-letta-chat-key"), "{sentence}");
        }
        assert!(scene.conversations(&scene.agent).await.is_empty());
    }
}

/// It would take no messages until somebody decides, which nobody can here.
#[tokio::test(flavor = "multi_thread")]
async fn a_chat_does_not_stay_where_an_approval_is_missing() {
    for scene in Scene::both().await {
        let keeper = scene.keeper();
        let source = "def dangerous(x: str) -> str:\n    \"\"\"Does it.\n\n    Args:\n        x (str): what\n    \"\"\"\n    return x\n";
        let tool = json!({"source_code": source, "default_requires_approval": true});
        let tool = keeper.post("/v1/tools/", &tool).await.expect(200);
        let path = format!("/v1/agents/{}/tools/attach/{}", scene.agent, tool["id"].as_str().unwrap());
        keeper.patch(&path, &json!({})).await.expect(200);
        let page = scene.writer().await.with("x-letta-chat-key", "k");
        for is_stream in [false, true] {
            let body =
                with(completion(&scene.agent, "[[call:dangerous {\"x\": \"1\"}]]"), json!({"stream": is_stream}));
            let answer = page.post("/v1/chat/completions", &body).await;
            if is_stream {
                assert!(answer.text.contains("approval of a tool call"), "{}: {}", scene.mode, answer.text);
            } else {
                refused(&answer, 409, "conflict");
            }
            say(&page, &scene.agent, "Are you still there?").await;
        }
    }
}
