//! Conversations: histories beside an agent's default one, each for itself.

use serde_json::{Value, json};

use crate::harness::{Client, Gatelet, NOBODY, on_both_engines};

const CONVERSATION: &str = "created_by_id last_updated_by_id created_at updated_at id agent_id summary \
    in_context_message_ids isolated_block_ids model model_settings last_message_at";

fn keys(value: &Value) -> String {
    value.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn column(list: &Value, key: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap_or("null").to_owned()).collect()
}

fn of(id: &str, rest: &str) -> String {
    format!("/v1/conversations/{id}{rest}")
}

async fn begin(client: &Client, agent: &str, body: &Value) -> String {
    let conversation = client.post(&format!("/v1/conversations/?agent_id={agent}"), body).await.expect(200);
    conversation["id"].as_str().unwrap().to_owned()
}

async fn say(client: &Client, id: &str, text: &str) -> Value {
    client.post(&of(id, "/messages"), &json!({"input": text, "streaming": false})).await.expect(200)
}

/// What was said by either side, oldest first.
async fn said(client: &Client, id: &str) -> Vec<String> {
    let types = "include_return_message_types=user_message&include_return_message_types=assistant_message";
    column(&client.get(&of(id, &format!("/messages?order=asc&{types}"))).await.expect(200), "content")
}

on_both_engines! {
    async fn a_conversation_is_made_used_changed_and_deleted(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let created = owner.post(&format!("/v1/conversations/?agent_id={agent}"), &json!({"summary": "first"})).await.expect(200);
        assert_eq!(keys(&created), CONVERSATION);
        assert_eq!((&created["summary"], &created["in_context_message_ids"], &created["last_message_at"]), (&json!("first"), &json!([]), &json!(null)));
        let id = created["id"].as_str().unwrap();
        let fresh = owner.get(&of(id, "")).await.expect(200);
        assert_eq!(fresh["in_context_message_ids"].as_array().unwrap().len(), 1);
        let list = owner.get(&of(id, "/messages")).await.expect(200);
        assert_eq!(column(&list, "message_type"), ["system_message"]);
        assert!(list[0]["content"].as_str().unwrap().contains(&format!("- CONVERSATION_ID: {id}")));

        // It streams unless told otherwise, and no message type but its own tells the two apart.
        let stream = owner.post(&of(id, "/messages"), &json!({"input": "Hello conversation", "stream_tokens": true})).await;
        assert!(stream.text.starts_with("data: {\"id\":\"ping-") && stream.text.ends_with("data: [DONE]\n\n"), "{}", stream.text);
        let answer = say(&owner, id, "Hello again").await;
        let run = owner.get(&format!("/v1/runs/{}", answer["messages"][0]["run_id"].as_str().unwrap())).await.expect(200);
        assert_eq!((&run["conversation_id"], &run["metadata"]["run_type"]), (&json!(id), &json!("send_conversation_message")));
        let runs = owner.get(&format!("/v1/runs/?conversation_id={id}")).await.expect(200);
        assert_eq!(runs.as_array().unwrap().len(), 2);
        assert_eq!(said(&owner, id).await, ["Hello conversation", "Echo: Hello conversation", "Hello again", "Echo: Hello again"]);
        let used = owner.get(&of(id, "")).await.expect(200);
        assert_eq!(used["in_context_message_ids"].as_array().unwrap().len(), 5);
        assert!(used["last_message_at"].as_str().unwrap().ends_with('Z'));

        let renamed = owner.patch(&of(id, ""), &json!({"summary": "renamed", "model": null})).await.expect(200);
        assert_eq!((&renamed["summary"], &renamed["in_context_message_ids"]), (&json!("renamed"), &json!([])));
        assert_eq!(owner.patch(&of(id, ""), &json!({"summary": null})).await.expect(200)["summary"], "renamed");
        let listed = owner.get(&format!("/v1/conversations/?agent_id={agent}")).await.expect(200);
        assert_eq!((column(&listed, "id"), keys(&listed[0]).as_str()), (vec![id.to_owned()], CONVERSATION));
        assert_eq!(listed[0]["in_context_message_ids"], json!([]));

        assert_eq!(owner.delete(&of(id, "")).await.expect(200), json!(null));
        owner.get(&of(id, "")).await.refused(404, "not_found");
        owner.patch(&of(id, ""), &json!({"summary": "x"})).await.refused(404, "not_found");
        owner.delete(&of(id, "")).await.refused(404, "not_found");
        owner.post(&of(id, "/messages"), &json!({"input": "x"})).await.refused(404, "not_found");
        assert_eq!(owner.get(&of(id, "/messages")).await.expect(200), json!([]));
        let all = owner.get(&format!("/v1/agents/{agent}/messages")).await.expect(200);
        assert_eq!(column(&all, "message_type"), ["system_message"], "nothing of it is left");
        // With the agent its conversations go.
        let other = begin(&owner, &agent, &json!({})).await;
        owner.delete(&format!("/v1/agents/{agent}")).await.expect(200);
        owner.get(&of(&other, "")).await.refused(404, "not_found");
    }

    async fn conversations_do_not_hear_each_other(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"tools": ["fetch_webpage"],
            "tool_rules": [{"type": "requires_approval", "tool_name": "fetch_webpage"}]})).await;
        let (one, two) = (begin(&owner, &agent, &json!({})).await, begin(&owner, &agent, &json!({})).await);
        say(&owner, &one, "in one").await;
        say(&owner, &two, "in two").await;
        owner.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": "beside"})).await.expect(200);
        assert_eq!(said(&owner, &one).await, ["in one", "Echo: in one"]);
        assert_eq!(said(&owner, &two).await, ["in two", "Echo: in two"]);
        // The default one, by every name it has.
        for (id, body) in [("default", json!({"agent_id": agent})), (agent.as_str(), json!({}))] {
            let mut body = body;
            body["input"] = json!(format!("by {}", if id == "default" { "default" } else { "agent" }));
            body["streaming"] = json!(false);
            owner.post(&of(id, "/messages"), &body).await.expect(200);
        }
        let expected = ["beside", "Echo: beside", "by default", "Echo: by default", "by agent", "Echo: by agent"];
        let types = "include_return_message_types=user_message&include_return_message_types=assistant_message";
        for path in [
            format!("/v1/conversations/default/messages?agent_id={agent}&{types}"),
            format!("/v1/conversations/{agent}/messages?{types}"),
            format!("/v1/agents/{agent}/messages?conversation_id=default&{types}"),
        ] {
            assert_eq!(column(&owner.get(&path).await.expect(200), "content"), expected, "{path}");
        }
        assert_eq!(owner.get("/v1/conversations/default/messages").await.expect(200), json!([]));
        owner.post(&of("default", "/messages"), &json!({"input": "x"})).await.refused(400, "invalid_request");
        let all = owner.get(&format!("/v1/agents/{agent}/messages?{types}")).await.expect(200);
        assert_eq!(all.as_array().unwrap().len(), 10);
        // A question in one keeps no other waiting.
        let asked = say(&owner, &one, "[[call:fetch_webpage {\"url\": \"x\"}]]").await;
        assert_eq!(asked["stop_reason"]["stop_reason"], "requires_approval");
        say(&owner, &two, "on").await;
        owner.post(&of(&one, "/messages"), &json!({"input": "x", "streaming": false})).await.refused(409, "conflict");
        let cancelled = owner.post(&of(&one, "/cancel"), &json!({})).await.expect(200);
        assert_eq!(cancelled.as_object().unwrap().values().next(), Some(&json!("cancelled")));
        say(&owner, &one, "on").await;
        let idle = owner.post(&of(&one, "/cancel"), &json!({})).await;
        assert!(idle.refused(409, "conflict").contains(&one));
    }

    async fn messages_of_a_conversation_are_listed_newest_first(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let id = begin(&owner, &agent, &json!({})).await;
        for text in ["one", "two"] {
            say(&owner, &id, text).await;
        }
        let newest = owner.get(&of(&id, "/messages")).await.expect(200);
        let oldest = owner.get(&of(&id, "/messages?order=asc")).await.expect(200);
        let mut mirrored = newest.as_array().unwrap().clone();
        mirrored.reverse();
        assert_eq!(json!(mirrored), oldest);
        assert_eq!(newest[0]["content"], "Echo: two");
        let mut stored = column(&oldest, "id");
        stored.dedup();
        assert_eq!(stored.len(), 5);
        let unknown = NOBODY.replace("agent", "message");
        for (query, expected) in [
            ("limit=2".to_owned(), vec![4, 3]),
            (format!("after={}", stored[2]), vec![1, 0]),
            (format!("before={}", stored[2]), vec![4, 3]),
            (format!("before={}&limit=1", stored[2]), vec![3]),
            (format!("after={}&before={}", stored[4], stored[1]), vec![3, 2]),
            (format!("order=asc&after={}", stored[2]), vec![3, 4]),
            (format!("order=asc&limit=1&before={}", stored[2]), vec![1]),
            (format!("order=asc&after={}&before={}", stored[1], stored[4]), vec![2, 3]),
            (format!("after={unknown}"), vec![]),
        ] {
            let mut shown = column(&owner.get(&of(&id, &format!("/messages?{query}"))).await.expect(200), "id");
            shown.dedup();
            assert_eq!(shown, expected.iter().map(|place: &usize| stored[*place].clone()).collect::<Vec<_>>(), "{query}");
        }
    }

    async fn isolated_blocks_are_a_conversations_own(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({"memory_blocks": [{"label": "human", "value": "Sam"}]})).await;
        owner.post(&format!("/v1/conversations/?agent_id={agent}"), &json!({"isolated_block_labels": ["none"]})).await.refused(400, "invalid_request");
        let own = begin(&owner, &agent, &json!({"isolated_block_labels": ["human"]})).await;
        let shared = begin(&owner, &agent, &json!({})).await;
        let value = async || owner.get(&format!("/v1/agents/{agent}/core-memory/blocks/human")).await.expect(200)["value"].clone();
        say(&owner, &own, r#"[[call:memory_insert {"label": "human", "new_string": "tea"}]]"#).await;
        assert_eq!(value().await, "Sam");
        let prompt = async |id: &str| owner.post(&of(id, "/recompile"), &json!({})).await.expect(200).as_str().unwrap().to_owned();
        assert!(prompt(&own).await.contains("<value>\nSam\ntea\n</value>"));
        say(&owner, &shared, r#"[[call:memory_insert {"label": "human", "new_string": "milk"}]]"#).await;
        assert_eq!(value().await, "Sam\nmilk");
        // The other keeps its old prompt until it is compiled again, and its own block then still.
        let system = async |id: &str| owner.get(&of(id, "/messages?order=asc&limit=1")).await.expect(200)[0]["content"].as_str().unwrap().to_owned();
        assert!(system(&shared).await.contains("<value>\nSam\n</value>"));
        let asked = owner.post(&of(&shared, "/recompile?dry_run=true"), &json!({})).await.expect(200);
        assert!(asked.as_str().unwrap().contains("Sam\nmilk") && !system(&shared).await.contains("milk"));
        prompt(&shared).await;
        assert!(system(&shared).await.contains("Sam\nmilk") && !prompt(&own).await.contains("milk"));
        let blocks = owner.get(&of(&own, "")).await.expect(200)["isolated_block_ids"].clone();
        let block = format!("/v1/blocks/{}", blocks[0].as_str().unwrap());
        assert_eq!(owner.get(&block).await.expect(200)["value"], "Sam\ntea");
        // Another agent that shows it loses it with the conversation.
        let other = owner.create_agent(&json!({"block_ids": [blocks[0]]})).await;
        let other_prompt = async || {
            let first = owner.get(&format!("/v1/agents/{other}/messages?order=asc&limit=1")).await.expect(200);
            first[0]["content"].as_str().unwrap().to_owned()
        };
        assert!(other_prompt().await.contains("Sam\ntea"));
        owner.delete(&of(&own, "")).await.expect(200);
        owner.get(&block).await.refused(404, "not_found");
        assert!(!other_prompt().await.contains("Sam\ntea"));
    }

    async fn what_an_agent_forgets_its_conversations_forget_as_well(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let id = begin(&owner, &agent, &json!({})).await;
        say(&owner, &id, "one").await;
        owner.patch(&format!("/v1/agents/{agent}/reset-messages"), &json!({})).await.expect(200);
        assert_eq!(said(&owner, &id).await, [""; 0]);
        let context = owner.get(&of(&id, "")).await.expect(200)["in_context_message_ids"].clone();
        let messages = owner.get(&of(&id, "/messages?order=asc")).await.expect(200);
        assert_eq!(context, json!(column(&messages, "id")));
        assert_eq!(column(&messages, "message_type"), ["system_message"]);
        say(&owner, &id, "two").await;
        assert_eq!(said(&owner, &id).await, ["two", "Echo: two"]);
    }

    async fn a_fork_has_heard_the_same_and_goes_its_own_way(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let id = begin(&owner, &agent, &json!({"summary": "first"})).await;
        say(&owner, &id, "one").await;
        owner.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": "beside"})).await.expect(200);
        for (path, heard) in [
            (of(&id, "/fork"), "one"),
            (of(&agent, "/fork"), "beside"),
            (format!("/v1/conversations/default/fork?agent_id={agent}"), "beside"),
        ] {
            let fork = owner.post(&path, &json!({})).await.expect(200);
            assert_eq!((keys(&fork).as_str(), &fork["summary"], &fork["agent_id"]), (CONVERSATION, &json!(null), &json!(agent)));
            let fork = fork["id"].as_str().unwrap();
            let list = owner.get(&of(fork, "/messages?order=asc")).await.expect(200);
            assert_eq!(column(&list, "message_type")[..2], ["system_message", "user_message"]);
            assert!(list[0]["content"].as_str().unwrap().contains(fork));
            say(&owner, fork, "own").await;
            assert_eq!(said(&owner, fork).await, [heard, &format!("Echo: {heard}"), "own", "Echo: own"]);
            let shown = owner.get(&of(fork, "")).await.expect(200);
            assert_eq!(shown["in_context_message_ids"].as_array().unwrap().len(), 5);
        }
        assert_eq!(said(&owner, &id).await, ["one", "Echo: one"]);
    }

    async fn compacting_shortens_what_the_model_sees_and_forgets_nothing(engine: Engine) {
        let server = Gatelet::on(engine).await;
        let owner = server.owner();
        let agent = owner.create_agent(&json!({})).await;
        let (id, other) = (begin(&owner, &agent, &json!({})).await, begin(&owner, &agent, &json!({})).await);
        owner.post(&of(&id, "/compact"), &json!({})).await.refused(400, "invalid_request");
        for number in 0..5 {
            say(&owner, &id, &format!("number {number}")).await;
        }
        owner.post(&of(&id, "/compact"), &json!({"compaction_settings": {"mode": "other"}})).await.refused(422, "validation_failed");
        let compacted = owner.post(&of(&id, "/compact"), &json!({})).await.expect(200);
        assert_eq!(keys(&compacted), "summary num_messages_before num_messages_after");
        let after = compacted["num_messages_after"].as_u64().unwrap();
        assert_eq!(compacted["num_messages_before"], 11);
        assert!((3..11).contains(&after) && compacted["summary"].as_str().unwrap().contains("number 0"), "{compacted}");
        let shown = owner.get(&of(&id, "")).await.expect(200);
        assert_eq!(shown["in_context_message_ids"].as_array().unwrap().len() as u64, after);
        let everything = said(&owner, &id).await;
        assert_eq!((everything.len(), everything.last()), (11, compacted["summary"].as_str().map(str::to_owned).as_ref()));
        assert_eq!(say(&owner, &id, "on").await["messages"][0]["content"], "Echo: on");
        let all = owner.post(&of(&id, "/compact"), &json!({"compaction_settings": {"mode": "all"}})).await.expect(200);
        assert_eq!(all["num_messages_after"], 2);
        assert_eq!(owner.get(&of(&other, "")).await.expect(200)["in_context_message_ids"].as_array().unwrap().len(), 1);
        // An agent's default conversation is shortened in the same way.
        for number in 0..2 {
            owner.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": format!("{number}")})).await.expect(200);
        }
        let by_agent = owner.post(&format!("/v1/agents/{agent}/summarize"), &json!({})).await.expect(200);
        let state = owner.get(&format!("/v1/agents/{agent}")).await.expect(200);
        assert_eq!(state["message_ids"].as_array().unwrap().len() as u64, by_agent["num_messages_after"].as_u64().unwrap());
    }
}

#[tokio::test]
async fn lists_filter_order_and_page() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let (agent, other) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
    let mut ids = Vec::new();
    for summary in ["alpha one", "beta", "alpha two"] {
        ids.push(begin(&owner, &agent, &json!({"summary": summary})).await);
    }
    let foreign = begin(&owner, &other, &json!({})).await;
    say(&owner, &ids[0], "x").await;
    for (query, expected) in [
        (format!("agent_id={agent}"), vec![&ids[2], &ids[1], &ids[0]]),
        (format!("agent_id={agent}&order=asc"), vec![&ids[0], &ids[1], &ids[2]]),
        (format!("agent_id={agent}&limit=1"), vec![&ids[2]]),
        (format!("agent_id={agent}&limit=1&after={}", ids[2]), vec![&ids[1]]),
        (format!("agent_id={agent}&after={}", ids[0]), vec![]),
        ("summary_search=alpha".to_owned(), vec![&ids[2], &ids[0]]),
        ("summary_search=Alpha".to_owned(), vec![]),
        (String::new(), vec![&foreign, &ids[2], &ids[1], &ids[0]]),
        (format!("agent_id={agent}&order_by=last_message_at&limit=1"), vec![&ids[0]]),
        (format!("agent_id={agent}&order_by=last_run_completion&limit=1"), vec![&ids[0]]),
        (format!("agent_id={NOBODY}"), vec![]),
    ] {
        let list = owner.get(&format!("/v1/conversations/?{query}")).await.expect(200);
        assert_eq!(column(&list, "id").iter().collect::<Vec<_>>(), expected, "{query}");
    }
    owner.get("/v1/conversations/?order_by=name").await.refused(422, "validation_failed");
    owner.post("/v1/conversations/", &json!({})).await.refused(422, "validation_failed");
    let gone = owner.post(&format!("/v1/conversations/?agent_id={NOBODY}"), &json!({})).await;
    assert_eq!(gone.expect(404)["detail"], "Agent not found");
    owner.get("/v1/conversations/default").await.refused(422, "validation_failed");
}

#[tokio::test]
async fn a_page_reaches_the_conversations_of_its_agent_and_no_other() {
    let server = Gatelet::ephemeral().await;
    let owner = server.owner();
    let (agent, other) = (owner.create_agent(&json!({})).await, owner.create_agent(&json!({})).await);
    let (own, foreign) = (begin(&owner, &agent, &json!({})).await, begin(&owner, &other, &json!({})).await);
    let unknown = NOBODY.replace("agent", "conv");
    let page = server.stranger().page(&owner.create_token(&agent, &["read_messages", "write_messages"]).await);
    say(&page, &own, "hello").await;
    assert_eq!(said(&page, &own).await, ["hello", "Echo: hello"]);
    let mine = begin(&page, &agent, &json!({"summary": "mine"})).await;
    page.patch(&of(&mine, ""), &json!({"summary": "renamed"})).await.expect(200);
    page.post(&of(&mine, "/fork"), &json!({})).await.expect(200);
    assert_eq!(
        page.get(&format!("/v1/conversations/?agent_id={agent}")).await.expect(200).as_array().unwrap().len(),
        3
    );
    for (id, rest) in [(&foreign, "FOREIGN"), (&unknown, "UNKNOWN")] {
        for answer in [
            page.get(&of(id, "")).await,
            page.get(&of(id, "/messages")).await,
            page.post(&of(id, "/messages"), &json!({"input": "x"})).await,
            page.post(&of(id, "/cancel"), &json!({})).await,
            page.post(&of(id, "/stream"), &json!({})).await,
            page.post(&of(id, "/compact"), &json!({})).await,
        ] {
            answer.refused(404, "not_found");
            assert!(!answer.text.contains(&other), "{rest}: {}", answer.text);
        }
    }
    page.delete(&of(&own, "")).await.refused(403, "operation_not_available");
    page.get(&format!("/v1/conversations/?agent_id={other}")).await.refused(403, "agent_not_in_policy");
    page.patch(&of(&own, ""), &json!({"model": "a/b"})).await.refused(403, "field_not_granted");
}
