//! Identities and groups, and the agents and blocks that belong to them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Gatelet, NOBODY, Resource, column, id, ids, on_both_engines, shows_every_item_once};

const IDENTITIES: &str = "/v1/identities/";
const GROUPS: &str = "/v1/groups/";

fn identities() -> Resource {
    Resource {
        collection: IDENTITIES,
        list: IDENTITIES,
        prefix: "identity",
        keys: "id identifier_key name identity_type project_id agent_ids block_ids organization_id properties",
        create: |number| json!({"identifier_key": format!("key{number}"), "name": "Sam", "identity_type": "user"}),
        change: json!({"identifier_key": "other", "name": "Kim", "identity_type": "org"}),
        newest_first: true,
        deleted: (200, 404),
    }
}

fn groups() -> Resource {
    Resource {
        collection: GROUPS,
        list: GROUPS,
        prefix: "group",
        keys: "id manager_type agent_ids description project_id template_id base_template_id deployment_id \
            shared_block_ids manager_agent_id termination_token max_turns sleeptime_agent_frequency turns_counter \
            last_processed_message_id max_message_buffer_length min_message_buffer_length hidden",
        create: |number| json!({"agent_ids": [], "description": format!("group {number}")}),
        change: json!({"description": "other"}),
        newest_first: false,
        deleted: (200, 404),
    }
}

on_both_engines! {
    async fn identities_live_their_life(engine: Engine) {
        let server = Gatelet::on(engine).await;
        identities().lives_its_life(&server.owner()).await;
    }

    async fn groups_live_their_life(engine: Engine) {
        let server = Gatelet::on(engine).await;
        groups().lives_its_life(&server.owner()).await;
    }

    async fn an_identity_has_its_key_alone(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let body = |key: &str, name: &str, properties: Value| {
            json!({"identifier_key": key, "name": name, "identity_type": "user", "properties": properties})
        };
        let property = |key: &str, value: i64| json!({"key": key, "value": value, "type": "number"});
        let first = owner.post(IDENTITIES, &body("k\u{0}1", "Sam", json!([property("a", 1)]))).await.expect(200);
        owner.post(IDENTITIES, &body("k\u{0}1", "Kim", json!([]))).await.refused(409, "conflict");
        owner.with("x-project-id", "elsewhere").post(IDENTITIES, &body("k\u{0}1", "Kim", json!([]))).await.expect(200);
        let path = format!("{IDENTITIES}{}", id(&first));
        // A change merges properties by their keys, an upsert replaces them.
        let change = json!({"properties": [property("b", 2), property("a", 3)]});
        let merged = owner.patch(&path, &change).await.expect(200);
        assert_eq!(merged["properties"], json!([property("a", 3), property("b", 2)]));
        let upserted = owner.put(IDENTITIES, &body("k\u{0}1", "Kim", json!([property("c", 4)]))).await.expect(200);
        assert_eq!((&upserted["id"], &upserted["name"]), (&first["id"], &json!("Kim")));
        assert_eq!(upserted["properties"], json!([property("c", 4)]));
        let properties = json!([property("d", 5), property("d", 6)]);
        owner.put(&format!("{path}/properties"), &properties).await.expect(200);
        assert_eq!(owner.get(&path).await.expect(200)["properties"], json!([property("d", 6)]));
        let made = owner.put(IDENTITIES, &body("new", "New", json!([]))).await.expect(200);
        assert_ne!(made["id"], first["id"]);
        // A key that is given up is free.
        owner.patch(&path, &json!({"identifier_key": "new"})).await.refused(409, "conflict");
        owner.patch(&path, &json!({"identifier_key": "moved"})).await.expect(200);
        owner.patch(&path, &json!({"identifier_key": "moved"})).await.expect(200);
        owner.post(IDENTITIES, &body("k\u{0}1", "Again", json!([]))).await.expect(200);
        owner.delete(&path).await.expect(200);
        owner.post(IDENTITIES, &body("moved", "Again", json!([]))).await.expect(200);
    }

    async fn many_who_want_one_key_make_one_identity(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let body = json!({"identifier_key": "k", "name": "n", "identity_type": "user"});
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let (owner, body) = (owner.clone(), body.clone());
                tokio::spawn(async move { id(&owner.put(IDENTITIES, &body).await.expect(200)) })
            })
            .collect();
        let mut seen = Vec::new();
        for asking in asking {
            seen.push(asking.await.unwrap());
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(owner.get(&format!("{IDENTITIES}count")).await.expect(200), 1);
    }

    async fn identities_are_found_by_every_filter(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        for (key, name, kind) in [("1", "Sam Smith", "user"), ("2", "Smith Ltd", "org"), ("3", "Kim", "other")] {
            let body = json!({"identifier_key": key, "name": name, "identity_type": kind});
            owner.post(IDENTITIES, &body).await.expect(200);
        }
        for (query, expected) in [
            ("", vec!["Sam Smith", "Smith Ltd", "Kim"]),
            ("name=smith", vec!["Sam Smith", "Smith Ltd"]),
            ("identifier_key=2", vec!["Smith Ltd"]),
            ("identity_type=org", vec!["Smith Ltd"]),
            ("identity_type=user&name=Kim", vec![]),
            ("project_id=elsewhere", vec![]),
        ] {
            let list = owner.get(&format!("{IDENTITIES}?order=asc&{query}")).await.expect(200);
            assert_eq!(column(&list, "name"), expected, "{query}");
        }
        assert_eq!(owner.get(&format!("{IDENTITIES}count")).await.expect(200), 3);
        owner.get(&format!("{IDENTITIES}?identity_type=robot")).await.refused(422, "validation_failed");
    }

    async fn agents_and_blocks_belong_to_identities(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let identity = identities().create(&owner, 1).await;
        let agent = owner.create_agent(&json!({"identity_ids": [identity]})).await;
        let other = owner.create_agent(&json!({})).await;
        let block = id(&owner.post("/v1/blocks/", &json!({"label": "l", "value": ""})).await.expect(200));
        let attach = |agent: &str| format!("/v1/agents/{agent}/identities/attach/{identity}");
        let detach = |agent: &str| format!("/v1/agents/{agent}/identities/detach/{identity}");
        for path in [attach(&other), attach(&other), detach(&agent), detach(&agent), attach(&agent)] {
            assert_eq!(owner.send(Method::PATCH, &path, None).await.expect(200), Value::Null);
        }
        let malformed = format!("/v1/agents/{agent}/identities/attach/nonsense");
        owner.send(Method::PATCH, &malformed, None).await.refused(400, "invalid_request");
        let of_block = format!("/v1/blocks/{block}/identities/attach/{identity}");
        assert_eq!(owner.send(Method::PATCH, &of_block, None).await.expect(200)["id"], block.as_str());
        let path = format!("{IDENTITIES}{identity}");
        let shown = owner.get(&path).await.expect(200);
        assert_eq!((&shown["agent_ids"], &shown["block_ids"]), (&json!([other, agent]), &json!([block])));
        shows_every_item_once(&owner, &format!("{path}/agents"), &[other.clone(), agent.clone()]).await;
        shows_every_item_once(&owner, &format!("{path}/blocks"), std::slice::from_ref(&block)).await;
        // It shows on the other side, to those that ask.
        let current = owner.with("user-agent", "letta-client/1.0.0");
        let agent_path = format!("/v1/agents/{agent}");
        assert_eq!(current.get(&agent_path).await.expect(200)["identities"], json!([]));
        let included = current.get(&format!("{agent_path}?include=agent.identities")).await.expect(200);
        assert_eq!((&included["identity_ids"], &included["identities"]), (&json!([identity]), &json!([shown])));
        for query in [format!("identity_id={identity}"), "identifier_keys=key1".to_owned()] {
            let list = owner.get(&format!("/v1/agents/?order=asc&{query}")).await.expect(200);
            assert_eq!(ids(&list), [agent.as_str(), &other], "{query}");
            assert_eq!(owner.get(&format!("/v1/agents/count?{query}")).await.expect(200), 2);
        }
        for nobody in ["identity_id".to_owned(), format!("identity-{}", &NOBODY[6..])] {
            assert_eq!(owner.get(&format!("/v1/agents/?identity_id={nobody}")).await.expect(200), json!([]));
        }
        let changed = owner.patch(&path, &json!({"agent_ids": [agent], "block_ids": []})).await.expect(200);
        assert_eq!((&changed["agent_ids"], &changed["block_ids"]), (&json!([agent]), &json!([])));
        owner.patch(&path, &json!({"agent_ids": [NOBODY]})).await.refused(404, "not_found");
        let unknown = format!("identity-{}", &NOBODY[6..]);
        owner.patch(&agent_path, &json!({"identity_ids": [unknown]})).await.refused(404, "not_found");
        let elsewhere = identities().create(&owner.with("x-project-id", "elsewhere"), 9).await;
        owner.patch(&agent_path, &json!({"identity_ids": [elsewhere]})).await.refused(404, "not_found");
        owner.delete(&agent_path).await.expect(200);
        assert_eq!(owner.get(&path).await.expect(200)["agent_ids"], json!([]));
        owner.patch(&format!("/v1/agents/{other}"), &json!({"identity_ids": [identity]})).await.expect(200);
        assert_eq!(owner.delete(&path).await.expect(200), Value::Null);
        let survived = owner.get(&format!("/v1/agents/{other}?include=agent.identities")).await.expect(200);
        assert_eq!(survived["identity_ids"], json!([]));
    }

    async fn groups_follow_their_agents(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let mut agents = Vec::new();
        for _ in 0..3 {
            agents.push(owner.create_agent(&json!({})).await);
        }
        let [manager, one, two] = [&agents[0], &agents[1], &agents[2]];
        let block = id(&owner.post("/v1/blocks/", &json!({"label": "l", "value": ""})).await.expect(200));
        let body = json!({
            "agent_ids": [two, one],
            "description": "d",
            "shared_block_ids": [block],
            "manager_config": {"manager_type": "dynamic", "manager_agent_id": manager, "max_turns": 3},
        });
        let group = owner.post(GROUPS, &body).await.expect(200);
        for (key, expected) in [
            ("manager_type", json!("dynamic")),
            ("manager_agent_id", json!(manager)),
            ("termination_token", json!("DONE!")),
            ("max_turns", json!(3)),
            ("agent_ids", json!([two, one])),
            ("shared_block_ids", json!([block])),
        ] {
            assert_eq!(group[key], expected, "{key}");
        }
        let path = format!("{GROUPS}{}", id(&group));
        let plain = groups().create(&owner, 1).await;
        for (query, expected) in [
            ("", vec![id(&group), plain.clone()]),
            ("manager_type=dynamic", vec![id(&group)]),
            ("manager_type=swarm", vec![]),
            ("project_id=elsewhere", vec![]),
        ] {
            assert_eq!(ids(&owner.get(&format!("{GROUPS}?{query}")).await.expect(200)), expected, "{query}");
        }
        assert_eq!(owner.get(&format!("{GROUPS}count")).await.expect(200), 2);
        assert_eq!(ids(&owner.get(&format!("/v1/agents/{one}/groups")).await.expect(200)), [id(&group)]);
        let managing = owner.get(&format!("/v1/agents/{manager}?include=agent.managed_group")).await.expect(200);
        assert_eq!((&managing["managed_group"], &managing["multi_agent_group"]), (&group, &group));

        let other_kind = json!({"manager_config": {"manager_type": "round_robin"}});
        owner.patch(&path, &other_kind).await.refused(400, "invalid_request");
        // A voice agent's buffer has two lengths or none; they are more than 4, and the first is the greater one.
        let voice = |most: Value, least: Value| json!({
            "agent_ids": [one], "description": "voice",
            "manager_config": {
                "manager_type": "voice_sleeptime", "manager_agent_id": two,
                "max_message_buffer_length": most, "min_message_buffer_length": least,
            },
        });
        for (most, least, outcome) in [
            (json!(30), Value::Null, "400 invalid_request"),
            (Value::Null, json!(15), "400 invalid_request"),
            (json!(0), json!(0), "400 invalid_request"),
            (json!(8), json!(4), "400 invalid_request"),
            (json!(6), json!(6), "400 invalid_request"),
            (json!(6), json!(7), "400 invalid_request"),
            (json!(6), json!(5), "200"),
            (Value::Null, Value::Null, "200"),
        ] {
            let answer = owner.post(GROUPS, &voice(most, least)).await;
            assert_eq!(answer.outcome(), outcome, "{}", answer.text);
            let Some(path) = (outcome == "200").then(|| format!("{GROUPS}{}", id(&answer.expect(200)))) else { continue };
            let before = owner.get(&path).await.expect(200);
            owner.patch(&path, &voice(json!(9), json!(9))).await.refused(400, "invalid_request");
            assert_eq!(owner.get(&path).await.expect(200), before);
            owner.patch(&path, &voice(json!(9), json!(8))).await.expect(200);
            // What is not named, and 0, changes nothing.
            let changed = owner.patch(&path, &voice(json!(10), json!(0))).await.expect(200);
            assert_eq!(changed["min_message_buffer_length"], 8);
            owner.patch(&path, &voice(json!(8), Value::Null)).await.refused(400, "invalid_request");
            owner.delete(&path).await.expect(200);
        }
        let change = json!({"agent_ids": [one], "manager_config": {"manager_type": "dynamic", "max_turns": 5}});
        let changed = owner.patch(&path, &change).await.expect(200);
        assert_eq!((&changed["agent_ids"], &changed["max_turns"]), (&json!([one]), &json!(5)));
        assert_eq!(changed["manager_agent_id"], manager.as_str());
        let detach = format!("{path}/blocks/detach/{block}");
        assert_eq!(owner.send(Method::PATCH, &detach, None).await.expect(200), Value::Null);
        let attach = format!("{path}/blocks/attach/{block}");
        assert_eq!(owner.send(Method::PATCH, &attach, None).await.expect(200), Value::Null);
        assert_eq!(owner.get(&path).await.expect(200)["shared_block_ids"], json!([block]));

        assert_eq!(owner.get(&format!("{path}/messages")).await.expect(200), json!([]));
        assert_eq!(owner.patch(&format!("{path}/reset-messages"), &json!({})).await.expect(200), Value::Null);
        let message = format!("{path}/messages/message-{}", &NOBODY[6..]);
        owner.patch(&message, &json!({})).await.refused(405, "method_not_allowed");

        owner.delete(&format!("/v1/agents/{one}")).await.expect(200);
        assert_eq!(owner.get(&path).await.expect(200)["agent_ids"], json!([]));
        owner.delete(&format!("/v1/agents/{manager}")).await.expect(200);
        owner.get(&path).await.refused(404, "not_found");
        let message = format!("Group id={plain} successfully deleted");
        assert_eq!(owner.delete(&format!("{GROUPS}{plain}")).await.expect(200), json!({"message": message}));
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_by_naming_what_is_wrong() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let good = json!({"identifier_key": "k", "name": "n", "identity_type": "user"});
    for (field, value) in [
        ("identifier_key", json!(null)),
        ("name", json!(1)),
        ("identity_type", json!("robot")),
        ("agent_ids.0", json!(["agent-1"])),
        ("properties.0.type", json!([{"key": "k", "value": 1, "type": "int"}])),
        ("properties.0.value", json!([{"key": "k", "value": [1], "type": "json"}])),
        ("properties.0.key", json!([{"value": 1, "type": "json"}])),
        ("unknown", json!(1)),
    ] {
        let mut body = good.clone();
        body[field.split('.').next().unwrap()] = value;
        let sentence = owner.post(IDENTITIES, &body).await.refused(422, "validation_failed");
        assert!(sentence.starts_with(&format!("body.{field}: ")), "{body}: {sentence}");
    }
    let manager = |kind: &str| json!({"agent_ids": [], "description": "d", "manager_config": {"manager_type": kind}});
    for (body, named) in [
        (json!({"agent_ids": []}), "body.description"),
        (json!({"description": "d"}), "body.agent_ids"),
        (json!({"description": "d", "agent_ids": ["x"]}), "body.agent_ids.0"),
        (manager("robot"), "body.manager_config.manager_type"),
        (manager("swarm"), "body.manager_config.manager_type"),
        (manager("supervisor"), "body.manager_config.manager_agent_id"),
    ] {
        let sentence = owner.post(GROUPS, &body).await.refused(422, "validation_failed");
        assert!(sentence.starts_with(&format!("{named}: ")), "{body}: {sentence}");
    }
    let identity = identities().create(&owner, 1).await;
    let path = format!("{IDENTITIES}{identity}");
    owner.patch(&path, &json!({"project_id": "x"})).await.refused(422, "validation_failed");
    owner.put(&format!("{path}/properties"), &json!({})).await.refused(422, "validation_failed");
}
