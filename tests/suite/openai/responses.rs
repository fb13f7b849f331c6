use std::time::Duration;

use serde_json::{Value, json};

use super::{Scene, data, refused, with};
use crate::harness::{eventually, token_request};

const SOON: Duration = Duration::from_secs(20);
const PATH: &str = "/v1/responses";

fn response(agent: &str, text: &str) -> Value {
    json!({"model": agent, "input": text})
}

fn stored(agent: &str, text: &str, previous: Option<&Value>) -> Value {
    with(response(agent, text), json!({"store": true, "previous_response_id": previous}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_what_the_agent_says() {
    for scene in Scene::both().await {
        let page = scene.writer().await;
        let items = json!([{"role": "user", "content": [{"type": "input_text", "text": "What is up?"}]}]);
        for input in [json!("What is up?"), items] {
            let whole =
                page.post(PATH, &json!({"model": scene.agent, "input": input, "temperature": 1})).await.expect(200);
            assert_eq!((&whole["object"], &whole["status"]), (&json!("response"), &json!("completed")), "{whole}");
            assert_eq!((&whole["model"], &whole["store"]), (&json!(scene.agent), &json!(false)));
            let item = &whole["output"][0];
            assert_eq!(
                (&item["type"], &item["role"], &item["status"]),
                (&json!("message"), &json!("assistant"), &json!("completed"))
            );
            let part = &item["content"][0];
            assert_eq!(part["type"], "output_text");
            assert!(part["text"].as_str().unwrap().contains("What is up?"), "{}: {whole}", scene.mode);
            assert!(whole["usage"]["total_tokens"].as_u64().unwrap() > 0, "{whole}");
            assert_eq!(whole["output"].as_array().unwrap().len(), 1);
        }
        eventually("their conversations are deleted", SOON, || async {
            scene.conversations(&scene.agent).await.is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_response_is_a_series_of_numbered_events() {
    for scene in Scene::both().await {
        let page = scene.writer().await;
        let body = with(response(&scene.agent, "Tell me what I have said."), json!({"stream": true}));
        let answer = page.post(PATH, &body).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let events: Vec<Value> = data(&answer.text);
        let names: Vec<&str> = answer.text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        assert_eq!(names, events.iter().map(|event| event["type"].as_str().unwrap()).collect::<Vec<_>>());
        assert!(
            events.iter().zip(0_u64..).all(|(event, number)| event["sequence_number"] == number),
            "{}",
            answer.text
        );
        let mut kinds = names.clone();
        kinds.dedup();
        assert_eq!(
            kinds,
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.completed",
            ],
            "{}",
            scene.mode
        );
        let deltas: Vec<&str> = events.iter().filter_map(|event| event["delta"].as_str()).collect();
        let whole = &events.last().unwrap()["response"];
        assert!(deltas.len() > 1 && deltas.concat().contains("Tell me what I have said."), "{deltas:?}");
        assert_eq!(whole["output"][0]["content"][0]["text"], deltas.concat());
        assert_eq!((&whole["status"], &whole["id"]), (&json!("completed"), &events[0]["response"]["id"]));
        assert!(whole["usage"]["output_tokens"].as_u64().unwrap() > 0);

        let body = with(response(&scene.agent, "[[error:429]]"), json!({"stream": true}));
        let last = data(&page.post(PATH, &body).await.text).pop().unwrap();
        assert_eq!(last["type"], "response.failed", "{last}");
        assert_eq!(
            (&last["response"]["status"], &last["response"]["error"]["code"]),
            (&json!("failed"), &json!("llm_rate_limit"))
        );
        refused(&page.post(PATH, &response(&scene.agent, "[[error:429]]")).await, 429, "llm_rate_limit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_response_is_continued_as_often_as_one_likes() {
    for scene in Scene::both().await {
        let page = scene.writer().await;
        let agent = &scene.agent;
        let id = async |body: &Value| page.post(PATH, body).await.expect(200)["id"].clone();
        let first = id(&stored(agent, "1", None)).await;
        let second = id(&stored(agent, "2", Some(&first))).await;
        // Another branch, streamed and by a renewed token, and then what comes of it and is not kept.
        let body = with(stored(agent, "3", Some(&first)), json!({"stream": true}));
        let events = data(&scene.writer().await.post(PATH, &body).await.text);
        let third = &events.last().unwrap()["response"];
        assert_eq!((&third["status"], &third["previous_response_id"]), (&json!("completed"), &first), "{third}");
        let last = with(stored(agent, "4", Some(&third["id"])), json!({"store": null}));
        let last = page.post(PATH, &last).await.expect(200);
        assert_eq!((&last["store"], &last["previous_response_id"]), (&json!(false), &third["id"]));
        eventually("what is not stored is deleted", SOON, || async { scene.conversations(agent).await.len() == 3 })
            .await;
        let mut said = Vec::new();
        for conversation in scene.conversations(agent).await {
            said.push(scene.said(&conversation).await.join(","));
        }
        said.sort();
        assert_eq!(said, ["1", "1,2", "1,3"], "{}", scene.mode);
        refused(&page.post(PATH, &stored(agent, "5", Some(&last["id"]))).await, 404, "response_not_found");
        assert_ne!(second, third["id"]);
        for conversation in scene.conversations(agent).await {
            scene.keeper().delete(&format!("/v1/conversations/{conversation}")).await.expect(200);
        }
        refused(&page.post(PATH, &stored(agent, "5", Some(&first))).await, 404, "response_not_found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_continued_by_those_only_who_were_given_it() {
    for scene in Scene::both().await {
        let (owner, stranger) = (scene.server.owner(), scene.server.stranger());
        let page = scene.writer().await;
        let id = page.post(PATH, &stored(&scene.agent, "1", None)).await.expect(200)["id"].as_str().unwrap().to_owned();
        let gone = async |page: &crate::harness::Client, agent: &str, id: &str| {
            let answer = page.post(PATH, &stored(agent, "2", Some(&json!(id)))).await;
            let sentence = refused(&answer, 404, "response_not_found");
            assert!(!sentence.contains("conv-"), "{sentence}");
        };
        // Another agent, which the same token may write to.
        let entry = |id: &str| json!({"type": "agent", "id": id, "access": ["write_messages"]});
        let request = json!({"policy": [entry(&scene.agent), entry(&scene.other)], "hostname": crate::harness::ORIGIN});
        let both = stranger.page(&owner.create_token_with(&request).await);
        gone(&both, &scene.other, &id).await;
        // Another origin.
        let mut elsewhere = token_request(&scene.agent, &["write_messages"]);
        elsewhere["hostname"] = json!("https://elsewhere.example");
        let token = owner.create_token_with(&elsewhere).await;
        gone(&stranger.bearer(&token).with("origin", "https://elsewhere.example"), &scene.agent, &id).await;
        // What nobody was given.
        let conversation = scene.conversations(&scene.agent).await.remove(0);
        let last = if id.ends_with('A') { 'B' } else { 'A' };
        let middle = if &id[9..10] == "A" { "B" } else { "A" };
        for forged in [
            String::new() + "resp_" + &conversation,
            conversation.clone(),
            id[..id.len() - 1].to_owned() + &last.to_string(),
            id[..9].to_owned() + middle + &id[10..],
            id[..id.len() - 4].to_owned(),
            format!("{id}AAAA"),
            id.replace("resp_", ""),
            "resp_".to_owned(),
            format!("resp_{}", "x".repeat(1000)),
        ] {
            gone(&page, &scene.agent, &forged).await;
        }
        // It is whole all the while.
        page.post(PATH, &stored(&scene.agent, "2", Some(&json!(id)))).await.expect(200);
    }
}
