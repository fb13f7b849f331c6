//! Blocks apart from agents and attached to them, and the tags that both carry.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Gatelet, NOBODY, Resource, column, id, ids, on_both_engines, shows_every_item_once};

const BLOCKS: &str = "/v1/blocks/";

fn blocks() -> Resource {
    Resource {
        collection: BLOCKS,
        list: BLOCKS,
        prefix: "block",
        keys: "value limit project_id template_name is_template template_id base_template_id deployment_id entity_id \
            preserve_on_migration label read_only description metadata hidden id created_by_id last_updated_by_id tags",
        create: |number| json!({"label": format!("label{number}"), "value": "v", "unknown": 1}),
        change: json!({
            "label": "renamed", "value": "w", "limit": 5, "description": "d", "metadata": {"k": 1}, "read_only": true,
            "tags": ["t"],
        }),
        newest_first: false,
        deleted: (200, 404),
    }
}

async fn patch(client: &Client, path: &str) -> crate::harness::Answer {
    client.send(Method::PATCH, path, None).await
}

fn attached(agent: &str, what: &str, block: &str) -> String {
    format!("/v1/agents/{agent}/core-memory/blocks/{what}/{block}")
}

/// What the agent's model sees.
async fn prompt(owner: &Client, agent: &str) -> String {
    let messages = owner.get(&format!("/v1/agents/{agent}/messages")).await.expect(200);
    messages[0]["content"].as_str().unwrap().to_owned()
}

on_both_engines! {
    async fn blocks_live_their_life(engine: Engine) {
        let server = Gatelet::on(engine).await;
        blocks().lives_its_life(&server.owner()).await;
    }

    async fn blocks_are_found_by_every_filter(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        for block in [
            json!({"label": "human", "value": "Name: Sam", "tags": ["a", "b"]}),
            json!({"label": "human", "value": "Name: Kim", "tags": ["a"], "description": "Who else"}),
            json!({"label": "org/plan", "value": "100%", "tags": ["c"]}),
            json!({"label": "secret", "value": "x", "hidden": true}),
            json!({"label": "human", "value": "tpl", "is_template": true, "template_name": "my tpl"}),
        ] {
            owner.post(BLOCKS, &block).await.expect(200);
        }
        let sam = id(&owner.get("/v1/blocks/?limit=1").await.expect(200)[0]);
        let one = owner.create_agent(&json!({"block_ids": [sam], "memory_blocks": [{"label": "own", "value": "o"}]})).await;
        owner.create_agent(&json!({"block_ids": [sam]})).await;
        let body = json!({"identifier_key": "k", "name": "n", "identity_type": "user", "block_ids": [sam]});
        let identity = id(&owner.post("/v1/identities/", &body).await.expect(200));
        for (query, expected, counts) in [
            ("", vec!["Name: Sam", "Name: Kim", "100%", "o"], true),
            ("label=human", vec!["Name: Sam", "Name: Kim"], true),
            ("label=org/plan", vec!["100%"], true),
            ("label=HUMAN", vec![], true),
            ("label_search=UMA", vec!["Name: Sam", "Name: Kim"], false),
            ("description_search=WHO+ELSE", vec!["Name: Kim"], false),
            ("value_search=name:", vec!["Name: Sam", "Name: Kim"], false),
            ("value_search=%25", vec!["100%"], false),
            ("templates_only=true", vec!["tpl"], true),
            ("templates_only=true&name=my+tpl", vec!["tpl"], true),
            ("name=my+tpl", vec![], true),
            ("tags=a", vec!["Name: Sam", "Name: Kim"], true),
            ("tags=b&tags=c", vec!["Name: Sam", "100%"], true),
            ("tags=a&tags=b&match_all_tags=true", vec!["Name: Sam"], true),
            ("project_id=elsewhere", vec![], true),
            (&format!("identity_id={identity}"), vec!["Name: Sam"], false),
            ("identifier_keys=k&identifier_keys=none", vec!["Name: Sam"], false),
            ("identifier_keys=none", vec![], false),
            ("connected_to_agents_count_gt=0", vec!["Name: Sam", "o"], false),
            ("connected_to_agents_count_lt=1", vec!["Name: Kim", "100%"], false),
            ("connected_to_agents_count_eq=2&connected_to_agents_count_eq=1", vec!["Name: Sam", "o"], false),
            ("connected_to_agents_count_gt=0&connected_to_agents_count_lt=2", vec!["o"], false),
        ] {
            let list = owner.get(&format!("{BLOCKS}?{query}")).await.expect(200);
            assert_eq!(column(&list, "value"), expected, "{query}");
            if counts {
                let count = owner.get(&format!("{BLOCKS}count?{query}")).await.expect(200);
                assert_eq!(count, expected.len(), "{query}");
            }
        }
        let of_identity = owner.get(&format!("/v1/identities/{identity}/blocks")).await.expect(200);
        assert_eq!(ids(&of_identity), [sam.as_str()]);
        // What was made with an agent stays when the agent goes.
        owner.delete(&format!("/v1/agents/{one}")).await.expect(200);
        let list = owner.get(&format!("{BLOCKS}?label=own")).await.expect(200);
        assert_eq!(column(&list, "value"), ["o"]);
    }

    async fn a_block_is_one_thing_wherever_it_is_attached(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let [one, two] = [owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await];
        let note = blocks().create(&owner, 1).await;
        let same_label = blocks().create(&owner, 1).await;
        let elsewhere = blocks().create(&owner.with("x-project-id", "elsewhere"), 2).await;
        let missing = format!("block-{}", &NOBODY[6..]);
        for (agent, block, outcome) in [
            (one.as_str(), &note, "200"),
            (&one, &note, "200"),
            (&two, &note, "200"),
            (&one, &same_label, "409 conflict"),
            (&one, &elsewhere, "404 not_found"),
            (&one, &missing, "404 not_found"),
            (NOBODY, &note, "404 not_found"),
        ] {
            let answer = patch(&owner, &attached(agent, "attach", block)).await;
            assert_eq!(answer.outcome(), outcome, "{agent} {block}");
            if outcome == "200" {
                assert_eq!(ids(&answer.expect(200)["blocks"]), [note.as_str()]);
            }
        }
        shows_every_item_once(&owner, &format!("{BLOCKS}{note}/agents"), &[two.clone(), one.clone()]).await;
        owner.patch(&format!("{BLOCKS}{note}"), &json!({"value": "seen by all"})).await.expect(200);
        for agent in [&one, &two] {
            let block = owner.get(&format!("/v1/agents/{agent}/core-memory/blocks/label1")).await.expect(200);
            assert_eq!(block["value"], "seen by all");
            assert!(prompt(&owner, agent).await.contains("seen by all"));
        }
        // A label that is taken where the block is attached is taken for the block.
        let other = blocks().create(&owner, 3).await;
        patch(&owner, &attached(&two, "attach", &other)).await.expect(200);
        owner.patch(&format!("{BLOCKS}{other}"), &json!({"label": "label1"})).await.refused(409, "conflict");
        assert_eq!(owner.get(&format!("{BLOCKS}{other}")).await.expect(200)["label"], "label3");

        let detached = patch(&owner, &attached(&one, "detach", &note)).await.expect(200);
        assert_eq!(detached["blocks"], json!([]));
        patch(&owner, &attached(&one, "detach", &note)).await.refused(404, "not_found");
        assert!(!prompt(&owner, &one).await.contains("seen by all"));

        assert_eq!(owner.delete(&format!("{BLOCKS}{note}")).await.expect(200), Value::Null);
        assert_eq!(ids(&owner.get(&format!("/v1/agents/{two}/core-memory/blocks")).await.expect(200)), [other]);
        assert!(!prompt(&owner, &two).await.contains("seen by all"));
    }

    async fn the_blocks_of_an_agent_are_paged(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let made: Vec<Value> = (0..4).map(|number| json!({"label": format!("l{number}"), "value": ""})).collect();
        let agent = owner.create_agent(&json!({"memory_blocks": made})).await;
        let path = format!("/v1/agents/{agent}/core-memory/blocks");
        let newest_first = ids(&owner.get(&path).await.expect(200));
        assert_eq!(newest_first.len(), 4);
        let oldest_first: Vec<String> = newest_first.iter().rev().cloned().collect();
        shows_every_item_once(&owner, &path, &newest_first).await;
        shows_every_item_once(&owner, &format!("{path}?order=asc"), &oldest_first).await;
    }

    async fn tags_are_those_that_something_carries(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"tags": ["delta", "alpha"]})).await;
        owner.create_agent(&json!({"tags": ["Beta", "alpha"], "hidden": true})).await;
        owner.post(BLOCKS, &json!({"label": "l", "value": "", "tags": ["gamma", "alpha"]})).await.expect(200);
        owner.with("x-project-id", "elsewhere").create_agent(&json!({"tags": ["other"]})).await;
        for (query, expected) in [
            ("", vec!["Beta", "alpha", "delta", "gamma"]),
            ("order=desc", vec!["gamma", "delta", "alpha", "Beta"]),
            ("limit=2", vec!["Beta", "alpha"]),
            ("limit=2&after=alpha", vec!["delta", "gamma"]),
            ("after=b", vec!["delta", "gamma"]),
            ("after=gamma", vec![]),
            ("order=desc&limit=1&after=delta", vec!["alpha"]),
            ("before=gamma&limit=2", vec!["alpha", "delta"]),
            ("order=desc&before=Beta&limit=1", vec!["alpha"]),
            ("after=Beta&before=gamma", vec!["alpha", "delta"]),
            ("name=ETA", vec!["Beta"]),
            ("query_text=ta", vec!["Beta", "delta"]),
            ("order_by=name", vec!["Beta", "alpha", "delta", "gamma"]),
        ] {
            let tags = owner.get(&format!("/v1/tags/?{query}")).await.expect(200);
            assert_eq!(tags, json!(expected), "{query}");
        }
        owner.delete(&format!("/v1/agents/{agent}")).await.expect(200);
        assert_eq!(owner.get("/v1/tags").await.expect(200), json!(["Beta", "alpha", "gamma"]));
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_by_naming_what_is_wrong() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    for (body, named) in [
        (json!({}), "body.label"),
        (json!({"label": 1}), "body.label"),
        (json!({"label": "l", "value": 1}), "body.value"),
        (json!({"label": "l", "limit": "x"}), "body.limit"),
        (json!({"label": "l", "tags": "x"}), "body.tags"),
        (json!([]), "body"),
    ] {
        let sentence = owner.post(BLOCKS, &body).await.refused(422, "validation_failed");
        assert!(sentence.starts_with(&format!("{named}: ")), "{body}: {sentence}");
    }
    for query in [
        "label=a+b",
        "label=",
        "label_search=%21",
        "name=a/b",
        "identity_id=x",
        "match_all_tags=x",
        "templates_only=x",
        "connected_to_agents_count_gt=x",
        "connected_to_agents_count_eq=x",
        &format!("value_search={}", "x".repeat(201)),
    ] {
        owner.get(&format!("{BLOCKS}?{query}")).await.refused(422, "validation_failed");
    }
    for query in ["order_by=created_at", "order=up", "limit=x"] {
        owner.get(&format!("/v1/tags/?{query}")).await.refused(422, "validation_failed");
    }
}
