//! The messages of all agents: listed, retrieved, searched.

use serde_json::{Value, json};

use super::{column, keys, path, say};
use crate::harness::{Gatelet, NOBODY, on_both_engines};

on_both_engines! {
    async fn messages_are_found_across_agents(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let thinking = json!({"model": "openai/o3"});
        let (one, two) = (owner.create_agent(&thinking).await, owner.create_agent(&thinking).await);
        say(&owner, &one, "The train leaves at noon").await;
        say(&owner, &two, "The Train arrives at ten").await;
        say(&owner, &one, "Nothing else").await;

        let list = async |query: &str| owner.get(&format!("/v1/messages/?{query}")).await.expect(200);
        let all = list("").await;
        let mut stored = column(&all, "id");
        stored.dedup();
        assert_eq!(stored.len(), 8);
        for (query, expected) in [
            ("limit=2".to_owned(), 6..8),
            ("limit=2&order=asc".to_owned(), 0..2),
            (format!("after={}", stored[5]), 6..8),
            (format!("before={}&order=asc&limit=1", stored[5]), 0..1),
        ] {
            let mut shown = column(&list(&query).await, "id");
            shown.dedup();
            assert_eq!(shown, stored[expected], "{query}");
        }
        let types = "include_return_message_types=user_message";
        assert_eq!(column(&list(types).await, "content"), ["The train leaves at noon", "The Train arrives at ten", "Nothing else"]);
        assert_eq!(list("conversation_id=none").await, json!([]));
        let unknown = NOBODY.replace("agent", "message");
        owner.get(&format!("/v1/messages/?after={unknown}")).await.refused(404, "not_found");

        let answer = owner.get(&path(&one, "?limit=1")).await.expect(200);
        let id = answer[0]["id"].as_str().unwrap();
        assert_eq!(owner.get(&format!("/v1/messages/{id}")).await.expect(200), answer);
        owner.get(&format!("/v1/messages/{unknown}")).await.refused(404, "not_found");

        let search = async |body: Value| owner.post("/v1/messages/search", &body).await.expect(200);
        let found = search(json!({"query": "train leaves"})).await;
        assert_eq!(column(&found, "message_type"), ["reasoning_message", "assistant_message", "user_message"]);
        assert_eq!(keys(&found[2]), "message_type message_id agent_id conversation_id created_at content");
        assert_eq!((&found[2]["content"], &found[2]["agent_id"]), (&json!("The train leaves at noon"), &json!(one)));
        assert!(found[0]["reasoning"].is_string() && found[0].get("content").is_none(), "{found}");
        for (body, expected) in [
            (json!({"query": "TRAIN"}), 6),
            (json!({"query": "TRAIN", "limit": 2}), 2),
            (json!({"query": "train", "agent_id": two}), 3),
            (json!({"query": "train", "agent_id": NOBODY}), 0),
            (json!({"query": "train", "conversation_id": "default", "agent_id": one}), 3),
            (json!({"query": "train", "conversation_id": "conv-none"}), 0),
            (json!({"query": "train", "end_date": "2000-01-01T00:00:00Z"}), 0),
            (json!({"query": "train", "start_date": "2000-01-01T00:00:00Z", "search_mode": "fts"}), 6),
            (json!({"query": "absent"}), 0),
        ] {
            assert_eq!(search(body.clone()).await.as_array().unwrap().len(), expected, "{body}");
        }
        for body in [json!({}), json!({"query": 1}), json!({"query": "x", "limit": 0}), json!({"query": "x", "limit": 101}),
            json!({"query": "x", "search_mode": "magic"}), json!({"query": "x", "start_date": "soon"})] {
            owner.post("/v1/messages/search", &body).await.refused(422, "validation_failed");
        }
        let stored = owner.post("/v1/agents/messages/search", &json!({"query": "noon", "roles": ["user"]})).await.expect(200);
        assert_eq!(keys(&stored[0]), "embedded_text message fts_rank vector_rank rrf_score");
        assert_eq!((&stored[0]["message"]["role"], &stored[0]["message"]["agent_id"]), (&json!("user"), &json!(one)));
        assert_eq!(stored.as_array().unwrap().len(), 1);
        owner.post("/v1/agents/messages/search", &json!({"roles": ["robot"]})).await.refused(422, "validation_failed");
        let payload = owner.post(&path(&one, "/preview-raw-payload"), &json!({"input": "next"})).await.expect(200);
        let roles = column(&payload["messages"], "role");
        assert_eq!((roles.first().unwrap().as_str(), roles.len(), &payload["messages"][5]["content"]), ("system", 6, &json!("next")));
    }
}
