//! Projects: an agent is of the project that the upstream says, and what nothing proves is not there.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ALL, page};
use crate::harness::{Answer, Client, Engine, NOBODY, ORIGIN, Program, Scripted, USER_AGENT, Upstream};

#[tokio::test]
async fn a_token_reaches_only_agents_of_its_project() {
    let upstream = Upstream::start().await;
    let program = upstream.before(Program::on(Engine::Sqlite).await);
    let any = program.run(&["keys", "create", "--name", "any"]).await.ok();
    let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
    let server = program.start().await;
    let (any, red) = (server.stranger().bearer(&any), server.stranger().bearer(&red));
    let of = |project: Value| upstream.agent_with(&json!({"project_id": project}));
    let (red_agent, blue_agent, null_agent, default_agent) =
        (of(json!("red")), of(json!("blue")), of(Value::Null), of(json!("default")));
    let unnamed = upstream.agent_with(&json!({}));
    let agents = [&red_agent, &blue_agent, &null_agent, &default_agent, &unnamed];
    let entries: Vec<Value> = agents.iter().map(|id| json!({"type": "agent", "id": id, "access": ALL})).collect();
    let policy = json!({"hostname": ORIGIN, "policy": entries});
    let token = async |owner: &Client| page(&server, &owner.create_token_with(&policy).await);
    let of_default = token(&any).await;
    let of_red = token(&red).await;
    let of_blue = token(&any.with("x-project-id", "blue")).await;
    let red_key = red.with("user-agent", USER_AGENT);
    for (who, client, reached) in [
        ("a token of no project named", &of_default, vec![&null_agent, &default_agent, &unnamed]),
        ("a token of red", &of_red, vec![&red_agent]),
        ("a token of blue", &of_blue, vec![&blue_agent]),
        ("a key limited to red", &red_key, vec![&red_agent]),
    ] {
        for agent in agents {
            for path in [
                format!("/v1/agents/{agent}"),
                format!("/v1/agents/{agent}/messages"),
                format!("/v1/runs/{}", upstream.run(agent)),
                format!("/v1/conversations/{}/messages", upstream.conversation(agent)),
                format!("/v1/conversations/default/messages?agent_id={agent}"),
                format!("/v1/runs/?agent_id={agent}"),
            ] {
                let outcome = client.get(&path).await.outcome();
                let expected = if reached.contains(&agent) { "200" } else { "404 not_found" };
                assert_eq!(outcome, expected, "{who}: {path}");
                assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{who}: {path}");
                upstream.forget();
            }
        }
    }
    let without_id = |answer: &Answer, id: &str| {
        let mut body = answer.expect(404);
        body["request_id"] = Value::Null;
        body.to_string().replace(id, "ID")
    };
    let (hidden, missing) =
        (red_key.get(&format!("/v1/agents/{blue_agent}")).await, red_key.get(&format!("/v1/agents/{NOBODY}")).await);
    assert_eq!(without_id(&hidden, &blue_agent), without_id(&missing, NOBODY), "not yours and not there are the same");
}

#[tokio::test]
async fn project_headers_pass_for_keys_that_may_use_the_project() {
    let upstream = Upstream::start().await;
    let program = upstream.before(Program::on(Engine::Sqlite).await);
    let any = program.run(&["keys", "create", "--name", "any"]).await.ok();
    let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
    let server = program.start().await;
    let agent = upstream.agent_with(&json!({"project_id": "red"}));
    let path = format!("/v1/agents/{agent}");
    for (key, header, expected) in [
        (&any, None, "200"),
        (&any, Some("blue"), "200"),
        (&red, None, "200"),
        (&red, Some("red"), "200"),
        (&red, Some("blue"), "404 not_found"),
    ] {
        let mut client = server.stranger().bearer(key).with("user-agent", USER_AGENT);
        if let Some(project) = header {
            client = client.with("x-project-id", project);
        }
        assert_eq!(client.get(&path).await.outcome(), expected, "{header:?}");
        if expected == "200" {
            assert_eq!(upstream.take_passed().header("x-project-id"), header);
        } else {
            assert!(upstream.seen().is_empty());
        }
        upstream.forget();
    }
}

#[tokio::test]
async fn an_agent_whose_project_is_not_proven_is_not_there() {
    let upstream = Upstream::start().await;
    let server = upstream.gateway().await;
    let other = upstream.agent();
    for (why, status, answer) in [
        ("another agent's state", 200, json!({"id": other, "project_id": null})),
        ("no id", 200, json!({"project_id": null})),
        ("a list", 200, json!([])),
        ("it is gone", 404, json!({"detail": "not found"})),
        ("its id is refused", 422, json!({"detail": "x"})),
    ] {
        let agent = upstream.agent();
        upstream.answer("GET", &format!("/v1/agents/{agent}"), Scripted::Json(status, answer));
        let page = page(&server, &server.owner().create_token(&agent, &ALL).await);
        let outcome = page.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": "x"})).await.outcome();
        assert_eq!(outcome, "404 not_found", "{why}");
    }
    assert!(upstream.passed().is_empty());
}

#[tokio::test]
async fn what_means_nothing_to_an_operation_proves_nothing() {
    let upstream = Upstream::start().await;
    let program = upstream.before(Program::on(Engine::Sqlite).await);
    let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
    let server = program.start().await;
    let red = server.stranger().bearer(&red).with("user-agent", USER_AGENT);
    let own = upstream.agent_with(&json!({"project_id": "red"}));
    let foreign = upstream.agent_with(&json!({"project_id": "blue"}));
    let (of_own, of_foreign) = (upstream.conversation(&own), upstream.conversation(&foreign));
    let block = format!("/v1/blocks/block-{}", &NOBODY[6..]);
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    for (method, path, body) in [
        (&get, "/v1/agents/".into(), Value::Null),
        (&post, "/v1/agents/".into(), json!({"name": "x"})),
        (&get, "/v1/providers/".into(), Value::Null),
        (&get, format!("/v1/agents/?agent_id={own}"), Value::Null),
        (&get, format!("/v1/agents/?agent_ids={own}"), Value::Null),
        (&get, format!("/v1/agents/?conversation_id={of_own}"), Value::Null),
        (&get, format!("/v1/agents/?conversation_id={own}"), Value::Null),
        (&post, format!("/v1/agents/messages/search?agent_id={own}"), json!({"query": "x"})),
        (&delete, format!("{block}?agent_id={own}"), Value::Null),
        (&get, format!("/v1/providers/?agent_id={own}"), Value::Null),
        (&get, format!("/v1/messages/?agent_id={own}"), Value::Null),
        (&get, format!("/v1/runs/?agent_id={own}&agent_ids={foreign}"), Value::Null),
        (&get, format!("/v1/runs/?agent_id={own}&conversation_id={of_foreign}"), Value::Null),
        (&get, format!("/v1/conversations/default/messages?conversation_id={own}"), Value::Null),
        (&get, format!("/v1/conversations/{of_foreign}/messages?agent_id={own}"), Value::Null),
    ] {
        let body = (!body.is_null()).then_some(&body);
        assert_eq!(red.send(method.clone(), &path, body).await.outcome(), "404 not_found", "{method} {path}");
        assert!(upstream.passed().is_empty(), "{method} {path}: {:?}", upstream.passed());
    }
    // A client token whose policy covers both is as limited.
    let entry = |id: &str| json!({"type": "agent", "id": id, "access": ALL});
    let policy = json!({"hostname": ORIGIN, "policy": [entry(&own), entry(&foreign)]});
    let page = page(&server, &red.create_token_with(&policy).await);
    for (query, expected) in [
        (format!("conversation_id={of_own}"), "200"),
        (format!("conversation_id={of_foreign}"), "404 not_found"),
        (format!("agent_id={own}&conversation_id={of_foreign}"), "404 not_found"),
        (format!("agent_ids={own}&agent_ids={foreign}"), "404 not_found"),
    ] {
        upstream.forget();
        assert_eq!(page.get(&format!("/v1/runs/?{query}")).await.outcome(), expected, "{query}");
        assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{query}");
    }
}

#[tokio::test]
async fn what_an_operation_reads_from_its_body_cannot_be_proven_by_the_query() {
    let upstream = Upstream::start().await;
    let program = upstream.before(Program::on(Engine::Sqlite).await);
    let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
    let server = program.start().await;
    let red = server.stranger().bearer(&red).with("user-agent", USER_AGENT);
    let own = upstream.agent_with(&json!({"project_id": "red"}));
    let foreign = upstream.agent_with(&json!({"project_id": "blue"}));
    for rest in ["messages", "stream", "compact"] {
        let path = format!("/v1/conversations/default/{rest}?agent_id={own}");
        let outcome = red.post(&path, &json!({"agent_id": foreign, "input": "x"})).await.outcome();
        assert_eq!(outcome, "404 not_found", "{rest}");
    }
}

/// What a limited key's path names beside an agent of its project.
#[tokio::test]
async fn a_limited_key_reaches_only_things_of_its_project() {
    let upstream = Upstream::start().await;
    let program = upstream.before(Program::on(Engine::Sqlite).await);
    let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
    let any = program.run(&["keys", "create", "--name", "any"]).await.ok();
    let server = program.start().await;
    let red = server.stranger().bearer(&red).with("user-agent", USER_AGENT);
    let any = server.stranger().bearer(&any).with("user-agent", USER_AGENT);
    let own = upstream.agent_with(&json!({"project_id": "red"}));
    let foreign = upstream.agent_with(&json!({"project_id": "blue"}));
    let uuid = || uuid::Uuid::new_v4().to_string();
    let (get, modify, delete) = (Method::GET, Method::PATCH, Method::DELETE);
    let thing = |collection: &str, prefix: &str, project: Value, users: Value| {
        let id = format!("{prefix}-{}", uuid());
        let path = format!("/v1/{collection}/{id}");
        upstream.answer("GET", &path, Scripted::Json(200, json!({"id": id, "project_id": project})));
        upstream.answer("GET", &format!("{path}/agents"), Scripted::Json(200, users));
        id
    };
    let (both, nobody) = (json!([{"id": own}, {"id": foreign}]), json!([]));
    let (mine, theirs) = (json!([own]), json!([{"id": foreign, "project_id": "blue"}]));
    let full = json!(vec![json!({"id": own, "project_id": "red"}); 100]);
    let mut cases = Vec::new();
    for (collection, prefix, attach) in [
        ("blocks", "block", "core-memory/blocks/attach"),
        ("blocks", "block", "core-memory/blocks/detach"),
        ("identities", "identity", "identities/attach"),
        ("archives", "archive", "archives/attach"),
        ("archives", "archive", "archives/detach"),
        ("folders", "source", "folders/attach"),
        ("folders", "source", "sources/detach"),
    ] {
        for (project, users, is_own) in [
            (json!("red"), &nobody, true),
            (json!("blue"), &mine, false),
            (json!("default"), &mine, false),
            // Without a project those tell that use it, if there are any.
            (Value::Null, &mine, true),
            (Value::Null, &both, false),
            (Value::Null, &theirs, false),
            (Value::Null, &nobody, false),
            (Value::Null, &full, false),
            (Value::Null, &json!({"agents": []}), false),
            (Value::Null, &json!([{"name": "x"}]), false),
        ] {
            let why = format!("project {project}, used by {}", users.to_string().chars().take(150).collect::<String>());
            let id = thing(collection, prefix, project, users.clone());
            cases.push((why, modify.clone(), format!("{attach}/{id}"), is_own));
        }
        cases.push(("not there".into(), modify.clone(), format!("{attach}/{prefix}-{}", uuid()), false));
    }
    for (project, is_own) in [(json!("red"), true), (json!("blue"), false), (Value::Null, true)] {
        let id = thing("tools", "tool", project.clone(), nobody.clone());
        // In Letta, a tool of no project is everybody's.
        cases.push((format!("project {project}"), modify.clone(), format!("tools/attach/{id}"), is_own));
    }
    let (passage, file, scheduled) = (format!("passage-{}", uuid()), format!("file-{}", uuid()), uuid());
    upstream.passages(&own, &[&passage]);
    upstream.files(&own, &[&[&file]]);
    let answer = json!({"id": scheduled, "agent_id": own});
    upstream.answer("GET", &format!("/v1/agents/{own}/schedule/{scheduled}"), Scripted::Json(200, answer));
    for (method, rest, is_own) in [
        (&delete, format!("archival-memory/{passage}"), true),
        (&delete, format!("archival-memory/passage-{}", uuid()), false),
        (&modify, format!("files/{file}/open"), true),
        (&modify, format!("files/file-{}/open", uuid()), false),
        (&get, format!("schedule/{scheduled}"), true),
        (&delete, format!("schedule/{scheduled}"), true),
        (&delete, format!("schedule/{}", uuid()), false),
        // Names among what the agent has.
        (&get, "core-memory/blocks/human".into(), true),
        (&modify, "tools/approval/roll_dice".into(), true),
        // Nothing proves whose a message is.
        (&modify, format!("messages/message-{}", uuid()), false),
    ] {
        cases.push(("by the agent".into(), method.clone(), rest, is_own));
    }
    for (why, method, rest, is_own) in cases {
        let path = format!("/v1/agents/{own}/{rest}");
        upstream.forget();
        let expected = if is_own { "200" } else { "404 not_found" };
        assert_eq!(red.send(method.clone(), &path, None).await.outcome(), expected, "{method} {rest}: {why}");
        assert_eq!(upstream.passed().len(), usize::from(is_own), "{method} {rest}: {why}");
        // Who is not limited is not asked anything.
        upstream.forget();
        any.send(method, &path, None).await;
        assert_eq!((upstream.passed().len(), upstream.look_ups().len()), (1, 0), "{rest}: {why}");
    }
    // What the query names counts as well, where it means something to the operation.
    for (query, expected) in [
        (format!("conversation_id={}", upstream.conversation(&own)), "200"),
        (format!("conversation_id={}", upstream.conversation(&foreign)), "404 not_found"),
        (format!("conversation_id={foreign}"), "404 not_found"),
        ("conversation_id=default".into(), "200"),
    ] {
        let path = format!("/v1/agents/{own}/messages?{query}");
        assert_eq!(red.get(&path).await.outcome(), expected, "{query}");
    }
}

/// No client token reaches these operations, so the table lists none of their parameters. Letta takes any conversation
/// for them, whosever it is.
#[tokio::test]
async fn a_limited_key_exports_no_conversation_of_another_project() {
    let upstream = Upstream::start().await;
    let program = upstream.before(Program::on(Engine::Sqlite).await);
    let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
    let server = program.start().await;
    let red = server.stranger().bearer(&red).with("user-agent", USER_AGENT);
    let own = upstream.agent_with(&json!({"project_id": "red"}));
    let foreign = upstream.agent_with(&json!({"project_id": "blue"}));
    let (of_own, of_foreign) = (upstream.conversation(&own), upstream.conversation(&foreign));
    for operation in ["export", "context"] {
        for (query, expected) in [
            ("limit=1".to_owned(), "200"),
            ("conversation_id=default".into(), "200"),
            (format!("conversation_id={of_own}"), "200"),
            (format!("conversation_id={of_foreign}"), "404 not_found"),
            (format!("conversation_id=conv-{}", &NOBODY[6..]), "404 not_found"),
            (format!("conversation_id={foreign}"), "404 not_found"),
        ] {
            upstream.forget();
            let path = format!("/v1/agents/{own}/{operation}?{query}");
            assert_eq!(red.get(&path).await.outcome(), expected, "{path}");
            assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{path}");
        }
    }
}
