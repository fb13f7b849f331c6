use serde_json::{Value, json};

use super::{Scene, refused};
use crate::harness::ORIGIN;

#[tokio::test(flavor = "multi_thread")]
async fn the_models_of_a_token_are_the_agents_of_its_policy() {
    for scene in Scene::both().await {
        let model = |id: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": "letta"});
        for word in ["read_messages", "write_messages", "read_agent", "write_agent"] {
            let page = scene.page(&[word]).await;
            for path in ["/v1/models", "/v1/models/", "/v1/models?provider_name=openai&unheard_of=1"] {
                let answer = page.get(path).await;
                assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{}", scene.mode);
                assert_eq!(answer.expect(200), json!({"object": "list", "data": [model(&scene.agent)]}), "{path}");
            }
        }
        let entry = |id: &str, word: &str| json!({"type": "agent", "id": id, "access": [word]});
        let policy = [entry(&scene.other, "read_agent"), entry(&scene.agent, "write_messages")];
        let token = scene.server.owner().create_token_with(&json!({"policy": policy, "hostname": ORIGIN})).await;
        let list = scene.server.stranger().page(&token).get("/v1/models").await.expect(200);
        assert_eq!(list["data"], json!([model(&scene.other), model(&scene.agent)]));

        let models = scene.server.owner().get("/v1/models").await.expect(200);
        assert!(models.as_array().unwrap().iter().all(|model| model["handle"].is_string()), "Letta's, for a key");
        refused(&scene.server.stranger().page("ck-let-a.b.c").get("/v1/models").await, 401, "bearer_invalid");
        let stranger: Value = scene.server.stranger().get("/v1/models").await.expect(401);
        assert_eq!(
            (&stranger["code"], &stranger["error"]["code"]),
            (&json!("bearer_missing"), &json!("bearer_missing"))
        );
    }
}
