//! Archives, passages, and the archival memory of agents.

use std::slice;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    Client, Gatelet, NOBODY, Resource, column, id, ids, keys, on_both_engines, shows_every_item_once,
};

const ARCHIVES: &str = "/v1/archives/";
const PASSAGE: &str = "created_by_id last_updated_by_id created_at updated_at is_deleted organization_id archive_id \
    source_id file_id file_name metadata tags id text embedding embedding_config";

fn archives() -> Resource {
    Resource {
        collection: ARCHIVES,
        list: ARCHIVES,
        prefix: "archive",
        keys: "created_by_id last_updated_by_id created_at updated_at name description organization_id \
            vector_db_provider embedding_config metadata id",
        create: |number| json!({"name": format!("shelf {number}"), "embedding": "openai/text-embedding-3-small"}),
        change: json!({"name": "other", "description": "said"}),
        newest_first: true,
        deleted: (204, 404),
    }
}

fn memory(agent: &str) -> String {
    format!("/v1/agents/{agent}/archival-memory")
}

async fn remember(client: &Client, agent: &str, body: &Value) -> String {
    id(&client.post(&memory(agent), body).await.expect(200)[0])
}

async fn attach(client: &Client, agent: &str, archive: &str) -> u16 {
    let path = format!("/v1/agents/{agent}/archives/attach/{archive}");
    client.send(Method::PATCH, &path, None).await.status.as_u16()
}

on_both_engines! {
    async fn archives_live_their_life(engine: Engine) {
        let server = Gatelet::on(engine).await;
        archives().lives_its_life(&server.owner()).await;
    }

    async fn an_archive_is_found_by_its_name_and_its_agent(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let [agent, other] = [owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await];
        let [one, two] = [archives().create(&owner, 1).await, archives().create(&owner, 2).await];
        assert_eq!(attach(&owner, &agent, &one).await, 200);
        for (query, expected) in [
            ("name=shelf+1".to_owned(), vec![&one]),
            ("name=shelf".to_owned(), vec![]),
            (format!("agent_id={agent}"), vec![&one]),
            (format!("agent_id={agent}&name=shelf+2"), vec![]),
            (format!("agent_id={other}"), vec![]),
            ("agent_id=%00".to_owned(), vec![]),
            ("order=asc".to_owned(), vec![&one, &two]),
        ] {
            let list = owner.get(&format!("{ARCHIVES}?{query}")).await.expect(200);
            assert_eq!(ids(&list).iter().collect::<Vec<_>>(), expected, "{query}");
        }
    }

    async fn an_agent_has_one_archive_that_others_may_share(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let [one, two] = [owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await];
        let [shelf, other] = [archives().create(&owner, 1).await, archives().create(&owner, 2).await];
        let elsewhere = archives().create(&owner.with("x-project-id", "elsewhere"), 3).await;
        for (agent, archive, status) in [
            (&one, &shelf, 200),
            (&one, &shelf, 200),
            (&one, &other, 409),
            (&two, &elsewhere, 404),
            (&two, &shelf, 200),
            (&NOBODY.to_owned(), &shelf, 404),
            (&two, &"nonsense".to_owned(), 400),
        ] {
            assert_eq!(attach(&owner, agent, archive).await, status, "{agent} {archive}");
        }
        shows_every_item_once(&owner, &format!("{ARCHIVES}{shelf}/agents"), &[two.clone(), one.clone()]).await;
        let passage = remember(&owner, &one, &json!({"text": "shared"})).await;
        assert_eq!(ids(&owner.get(&memory(&two)).await.expect(200)), [passage]);

        let detach = format!("/v1/agents/{one}/archives/detach/{shelf}");
        for _ in 0..2 {
            assert_eq!(owner.send(Method::PATCH, &detach, None).await.expect(200), Value::Null);
        }
        assert_eq!(owner.get(&memory(&one)).await.expect(200), json!([]));
        assert_eq!(attach(&owner, &one, &other).await, 200);
        owner.delete(&format!("{ARCHIVES}{shelf}")).await;
        assert_eq!(owner.get(&memory(&two)).await.expect(200), json!([]));
    }

    async fn an_agent_makes_its_archive_when_it_first_remembers(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner
            .create_agent(&json!({"name": "Kim", "embedding": "openai/text-embedding-3-small", "timezone": "UTC"}))
            .await;
        assert_eq!(owner.get(&memory(&agent)).await.expect(200), json!([]));
        let body = json!({"text": "Sam likes tea", "tags": ["food", "food"], "other": 1});
        let made = owner.post(&memory(&agent), &body).await.expect(200);
        assert_eq!(keys(&made[0]), PASSAGE);
        assert_eq!((&made[0]["text"], &made[0]["tags"]), (&json!("Sam likes tea"), &json!(["food"])));
        assert_eq!(made[0]["embedding"].as_array().unwrap().len(), 4096);
        let archive = owner.get(&format!("{ARCHIVES}?agent_id={agent}")).await.expect(200);
        assert_eq!(column(&archive, "name"), ["Kim's Archive"]);
        assert_eq!(archive[0]["embedding_config"], made[0]["embedding_config"]);
        assert_eq!(made[0]["archive_id"], archive[0]["id"]);
        assert_eq!(owner.get(&memory(&agent)).await.expect(200), made);

        let passage = id(&made[0]);
        let second = owner.create_agent(&json!({})).await;
        let path = |agent: &str| format!("{}/{passage}", memory(agent));
        owner.delete(&path(&second)).await.refused(404, "not_found");
        let message = format!("Memory id={passage} successfully deleted");
        assert_eq!(owner.delete(&path(&agent)).await.expect(200), json!({"message": message}));
        owner.delete(&path(&agent)).await.refused(404, "not_found");

        // It goes with its agent, unless another shares it.
        let [gone, kept] = [("gone", false), ("kept", true)];
        for (name, shared) in [gone, kept] {
            let agent = owner.create_agent(&json!({"name": name})).await;
            let passage = owner.post(&memory(&agent), &json!({"text": "x"})).await.expect(200);
            let archive = passage[0]["archive_id"].as_str().unwrap().to_owned();
            if shared {
                attach(&owner, &second, &archive).await;
            }
            owner.delete(&format!("/v1/agents/{agent}")).await.expect(200);
            let status = owner.get(&format!("{ARCHIVES}{archive}")).await.status.as_u16();
            assert_eq!(status, if shared { 200 } else { 404 }, "{name}");
        }
    }

    async fn passages_of_an_archive(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let [shelf, other] = [archives().create(&owner, 1).await, archives().create(&owner, 2).await];
        let passages = format!("{ARCHIVES}{shelf}/passages");
        let body = json!({"text": "one", "metadata": {"k": {"n": 1}}, "tags": ["x"], "created_at": "2024-05-01"});
        let one = owner.post(&passages, &body).await.expect(200);
        assert_eq!(keys(&one), PASSAGE);
        assert_eq!((&one["metadata"], &one["archive_id"]), (&json!({"k": {"n": 1}}), &json!(shelf)));
        assert_eq!(one["created_at"], "2024-05-01T00:00:00.000000Z");
        let batch = json!({"passages": [{"text": "two"}, {"text": "three", "created_at": "2023-01-01T00:00:00Z"}]});
        let batch = owner.post(&format!("{passages}/batch"), &batch).await.expect(200);
        assert_eq!(column(&batch, "text"), ["two", "three"]);
        // An agent's archival memory is the same passages, in the order in which they say they were created.
        let agent = owner.create_agent(&json!({})).await;
        attach(&owner, &agent, &shelf).await;
        let expected = [id(&batch[1]), id(&one), id(&batch[0])];
        shows_every_item_once(&owner, &memory(&agent), &expected).await;
        // Its cursors lie in time, whichever end the list begins with.
        for (query, seen) in [
            ("ascending=false".to_owned(), vec![&expected[2], &expected[1], &expected[0]]),
            (format!("ascending=false&limit=1&before={}", expected[2]), vec![&expected[1]]),
            (format!("ascending=false&before={}", expected[1]), vec![&expected[0]]),
            (format!("ascending=false&after={}", expected[0]), vec![&expected[2], &expected[1]]),
            (format!("ascending=false&limit=1&before={}", expected[0]), vec![]),
        ] {
            let listed = owner.get(&format!("{}?{query}", memory(&agent))).await.expect(200);
            assert_eq!(ids(&listed).iter().collect::<Vec<_>>(), seen, "{query}");
        }
        let found = owner.get(&format!("{}?search=E&ascending=0", memory(&agent))).await.expect(200);
        assert_eq!(column(&found, "text"), ["one", "three"]);

        let one = id(&one);
        owner.delete(&format!("{ARCHIVES}{other}/passages/{one}")).await.refused(400, "invalid_request");
        assert_eq!(owner.delete(&format!("{passages}/{one}")).await.status.as_u16(), 204);
        owner.delete(&format!("{passages}/{one}")).await.refused(404, "not_found");
        let nowhere = format!("{ARCHIVES}archive-{}/passages", &NOBODY[6..]);
        owner.post(&nowhere, &json!({"text": "x"})).await.refused(404, "not_found");
    }

    async fn passages_are_found_by_words_tags_and_dates(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let [agent, other] = [owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await];
        for (text, tags, created_at) in [
            ("Sam likes green tea", vec!["food", "sam"], "2024-01-01T10:00:00Z"),
            ("Sam lives in Oslo", vec!["sam"], "2024-02-01T10:00:00Z"),
            ("Tea grows in Assam", vec!["food"], "2024-03-01T10:00:00Z"),
        ] {
            remember(&owner, &agent, &json!({"text": text, "tags": tags, "created_at": created_at})).await;
        }
        remember(&owner, &other, &json!({"text": "Kim likes tea", "tags": ["kim"]})).await;
        for (query, expected) in [
            ("query=tea", vec!["Tea grows in Assam", "Sam likes green tea"]),
            ("query=What+does+Sam+like?", vec!["Sam likes green tea", "Sam lives in Oslo"]),
            ("query=green+tea", vec!["Sam likes green tea", "Tea grows in Assam"]),
            ("query=tea&top_k=1", vec!["Tea grows in Assam"]),
            ("query=tea&top_k=0", vec![]),
            ("query=coffee", vec![]),
            ("query=in&tags=sam", vec!["Sam lives in Oslo"]),
            ("query=tea&tags=sam&tags=food", vec!["Tea grows in Assam", "Sam likes green tea"]),
            ("query=tea&tags=sam&tags=food&tag_match_mode=all", vec!["Sam likes green tea"]),
            ("query=tea&start_datetime=2024-03-01T10:00:00Z", vec!["Tea grows in Assam"]),
            ("query=tea&start_datetime=2024-03-01T10:00:01Z", vec![]),
            ("query=tea&end_datetime=2024-01-01T10:00:00", vec!["Sam likes green tea"]),
            ("query=tea&end_datetime=2024-01-01", vec![]),
        ] {
            let found = owner.get(&format!("{}/search?{query}", memory(&agent))).await.expect(200);
            assert_eq!(column(&found["results"], "content"), expected, "{query}");
            assert_eq!(found["count"], expected.len(), "{query}");
        }
        let found = owner.get(&format!("{}/search?query=green", memory(&agent))).await.expect(200);
        assert_eq!(keys(&found["results"][0]), "id timestamp content tags");
        assert_eq!(found["results"][0]["timestamp"], "2024-01-01T10:00:00.000000+00:00");

        let archive = owner.get(&format!("{ARCHIVES}?agent_id={agent}")).await.expect(200)[0]["id"].clone();
        for (body, expected) in [
            (json!({"query": "tea"}), vec!["Kim likes tea", "Tea grows in Assam", "Sam likes green tea"]),
            (json!({"query": "tea", "limit": 1}), vec!["Kim likes tea"]),
            (json!({"query": "tea", "agent_id": agent}), vec!["Tea grows in Assam", "Sam likes green tea"]),
            (json!({"query": "tea", "archive_id": archive}), vec!["Tea grows in Assam", "Sam likes green tea"]),
            (json!({"query": "tea", "archive_id": archive, "agent_id": other}), vec![]),
            (json!({"archive_id": archive, "tags": ["sam"]}), vec!["Sam lives in Oslo", "Sam likes green tea"]),
            (
                json!({"archive_id": archive, "tags": ["sam", "food"], "tag_match_mode": "all"}),
                vec!["Sam likes green tea"],
            ),
            (
                json!({"start_date": "2024-02-01T10:00:00Z", "end_date": "2024-03-01T10:00:00Z"}),
                vec!["Tea grows in Assam", "Sam lives in Oslo"],
            ),
        ] {
            let found = owner.post("/v1/passages/search", &body).await.expect(200);
            let texts: Vec<&str> =
                found.as_array().unwrap().iter().map(|found| found["passage"]["text"].as_str().unwrap()).collect();
            assert_eq!(texts, expected, "{body}");
            assert!(found.as_array().unwrap().iter().all(|found| found["score"].as_f64().unwrap() > 0.0), "{found}");
        }
        let elsewhere = owner.with("x-project-id", "elsewhere");
        assert_eq!(elsewhere.post("/v1/passages/search", &json!({"query": "tea"})).await.expect(200), json!([]));
    }

    async fn a_page_reaches_the_archival_memory_of_its_agent_alone(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let [agent, other] = [owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await];
        let page = server.stranger().page(&owner.create_token(&agent, &["read_agent", "write_agent"]).await);
        let foreign = remember(&owner, &other, &json!({"text": "not yours"})).await;
        let own = remember(&page, &agent, &json!({"text": "mine", "created_at": "2024-01-01"})).await;
        assert_eq!(ids(&page.get(&memory(&agent)).await.expect(200)), slice::from_ref(&own));
        let found = page.get(&format!("{}/search?query=mine", memory(&agent))).await.expect(200);
        assert_eq!(found["count"], 1);
        page.delete(&format!("{}/{foreign}", memory(&agent))).await.refused(404, "not_found");

        // What others share is no longer the page's to change.
        let archive = owner.get(&format!("{ARCHIVES}?agent_id={agent}")).await.expect(200)[0]["id"].clone();
        let [_, sharer] = [&other, &owner.create_agent(&json!({})).await];
        assert_eq!(attach(&owner, sharer, archive.as_str().unwrap()).await, 200);
        page.post(&memory(&agent), &json!({"text": "x"})).await.refused(403, "agent_not_in_policy");
        page.delete(&format!("{}/{own}", memory(&agent))).await.refused(404, "not_found");
        let detach = format!("/v1/agents/{sharer}/archives/detach/{}", archive.as_str().unwrap());
        owner.send(Method::PATCH, &detach, None).await.expect(200);
        page.delete(&format!("{}/{own}", memory(&agent))).await.expect(200);
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_by_naming_what_is_wrong() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let archive = archives().create(&owner, 1).await;
    let (memory, passages) = (memory(&agent), format!("{ARCHIVES}{archive}/passages"));
    let batch = format!("{passages}/batch");
    let search = "/v1/passages/search".to_owned();
    for (path, body, named) in [
        (ARCHIVES.to_owned(), json!({}), "body.name"),
        (ARCHIVES.to_owned(), json!({"name": 5}), "body.name"),
        (ARCHIVES.to_owned(), json!({"name": "x", "description": []}), "body.description"),
        (ARCHIVES.to_owned(), json!({"name": "x", "embedding_config": 1}), "body.embedding_config"),
        (memory.clone(), json!({}), "body.text"),
        (memory.clone(), json!({"text": "x", "tags": "a"}), "body.tags"),
        (memory.clone(), json!({"text": "x", "created_at": "soon"}), "body.created_at"),
        (passages.clone(), json!({"text": "x", "metadata": []}), "body.metadata"),
        (batch.clone(), json!({}), "body.passages"),
        (batch.clone(), json!({"passages": [{"text": "x"}, {}]}), "body.passages.1.text"),
        (search.clone(), json!({"limit": 0}), "body.limit"),
        (search.clone(), json!({"limit": 101}), "body.limit"),
        (search.clone(), json!({"tag_match_mode": "some"}), "body.tag_match_mode"),
        (search.clone(), json!({"start_date": 5}), "body.start_date"),
    ] {
        let sentence = owner.post(&path, &body).await.refused(422, "validation_failed");
        assert!(sentence.starts_with(&format!("{named}: ")), "{path} {body}: {sentence}");
    }
    // Nothing of a batch is stored when one of it is wrong.
    attach(&owner, &agent, &archive).await;
    assert_eq!(owner.get(&memory).await.expect(200), json!([]));
    for query in ["", "query=x&top_k=-1", "query=x&top_k=x", "query=x&tag_match_mode=no", "query=x&end_datetime=soon"] {
        owner.get(&format!("{memory}/search?{query}")).await.refused(422, "validation_failed");
    }
    for query in ["limit=x", "limit=-1", "ascending=maybe"] {
        owner.get(&format!("{memory}?{query}")).await.refused(422, "validation_failed");
    }
    owner.post(&search, &json!({"agent_id": NOBODY})).await.refused(404, "not_found");
    owner.post(&search, &json!({"archive_id": "\u{0}"})).await.refused(404, "not_found");
}
