//! What tokens were granted, and the smallest policy that would have done.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_policy_is_enough_and_nothing_less() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    let act = async |page: &Client| {
        stage.say(page, "hello").await.status.as_u16().max(page.get(&stage.path("/messages")).await.status.as_u16())
    };
    assert_eq!(act(&stage.page).await, 200);
    stage.page.get("/v1/agents/").await.refused(403, "operation_not_available");
    let coverage = stage.verdicts().await["coverage"].clone();
    let policy = json!([{"type": "agent", "id": stage.agent, "access": ["read_messages", "write_messages"]}]);
    assert_eq!(coverage["smallest_policy"], policy);
    assert_eq!(coverage["words_used"], json!(["read_messages", "write_messages"]));
    assert_eq!(coverage["over_granted"], json!(["read_agent", "write_agent"]));
    let text = coverage["text"].as_str().unwrap();
    assert!(text.contains("read_messages, write_messages; granted and not used: read_agent, write_agent"), "{text}");
    let [token] = &coverage["tokens"].as_array().unwrap()[..] else { panic!("{coverage}") };
    let granted = json!({"granted": EVERY_ACCESS, "used": ["read_messages", "write_messages"],
        "over_granted": ["read_agent", "write_agent"]});
    assert_eq!(token["agents"][&stage.agent], granted);
    assert_eq!(token["operations"], json!({"ListMessages": 1, "SendMessage": 1}), "what was refused was not needed");
    assert_eq!(token["smallest_policy"], policy);
    assert_eq!(token["jti"].as_str().unwrap().len(), 36);

    // A token with that policy does; without one of the words it does not.
    let issue =
        async |access: &[&str]| stage.stranger.page(&stage.space.owner.create_token(&stage.agent, access).await);
    assert_eq!(act(&issue(&["read_messages", "write_messages"]).await).await, 200);
    assert_eq!(act(&issue(&["write_messages"]).await).await, 403);
    assert_eq!(act(&issue(&["read_messages"]).await).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_parameter_or_a_shared_thing_needs_is_in_it() {
    let server = Gatelet::ephemeral().await;
    let stage = Stage::new(&server).await;
    stage.page.get(&stage.path("?include=agent.pending_approval")).await.expect(200);
    let policy = |access: Value| json!([{"type": "agent", "id": stage.agent, "access": access}]);
    assert_eq!(stage.verdicts().await["coverage"]["smallest_policy"], policy(json!(["read_messages", "read_agent"])));

    let owner = &stage.space.owner;
    let block = owner.post("/v1/blocks/", &json!({"label": "shared", "value": "x"})).await.expect(200);
    let mut agents = Vec::new();
    for name in ["one", "two"] {
        agents.push(owner.create_agent(&json!({"name": name, "block_ids": [block["id"]]})).await);
    }
    let entries: Value = agents.iter().map(|id| json!({"type": "agent", "id": id, "access": EVERY_ACCESS})).collect();
    let token = owner.create_token_with(&json!({"policy": entries, "hostname": "https://app.example"})).await;
    let path = format!("/v1/agents/{}/core-memory/blocks/shared", agents[0]);
    stage.stranger.page(&token).patch(&path, &json!({"value": "y"})).await.expect(200);
    let coverage = stage.verdicts().await["coverage"].clone();
    let of_token =
        coverage["tokens"].as_array().unwrap().iter().find(|token| token["agents"].get(&agents[1]).is_some());
    agents.sort();
    let needed: Value = agents.iter().map(|id| json!({"type": "agent", "id": id, "access": ["write_agent"]})).collect();
    assert_eq!(of_token.unwrap()["smallest_policy"], needed);
}
