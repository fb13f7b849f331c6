//! What a request names twice, and what it names without saying whose it is. Of a parameter that stands twice one reader
//! takes the first value and another the last, so neither is looked at.

use gatelet::access::{
    Grant, Operation,
    grant::{AgentSource, Field, Rule},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Client, Engine, Gatelet, Program, Scripted, USER_AGENT, Upstream},
    matrix::path,
};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

/// An agent and another, each with a conversation and a run, kept by the mock or by an upstream.
struct World {
    server: Gatelet,
    upstream: Option<Upstream>,
    /// A page with everything on the agent.
    page: Client,
    agent: String,
    other: String,
    conversation: String,
    foreign: String,
    run: String,
}

impl World {
    async fn of_mock() -> Self {
        let server = Gatelet::ephemeral().await;
        let owner = server.owner();
        let body = json!({"name": "a", "memory_blocks": [{"label": "human", "value": "x"}]});
        let (agent, other) = (owner.create_agent(&body).await, owner.create_agent(&body).await);
        let id = |answer: Answer| answer.expect(200)["id"].as_str().unwrap().to_owned();
        let conversation =
            async |agent: &str| id(owner.post(&format!("/v1/conversations/?agent_id={agent}"), &json!({})).await);
        let run = async |agent: &str| {
            id(owner.post(&format!("/v1/agents/{agent}/messages/async"), &json!({"input": "x"})).await)
        };
        run(&other).await;
        let page = server.stranger().page(&owner.create_token(&agent, &ALL).await);
        let (conversation, foreign) = (conversation(&agent).await, conversation(&other).await);
        Self { upstream: None, page, run: run(&agent).await, conversation, foreign, agent, other, server }
    }

    async fn of_upstream() -> Self {
        let upstream = Upstream::start().await;
        // A token's quota is not what is asked about here.
        let program = upstream.before(Program::ephemeral()).env("GATELET_LIMITS__REQUESTS_PER_MINUTE", "0");
        let server = program.start_alone().await;
        let (agent, other) = (upstream.agent(), upstream.agent());
        upstream.block("human", &[&agent]);
        upstream.answer("GET", "/v1/archives/", Scripted::Json(200, json!([])));
        let token = server.owner().create_token(&agent, &ALL).await;
        let page = server.stranger().page(&token).with("user-agent", USER_AGENT);
        let (conversation, foreign) = (upstream.conversation(&agent), upstream.conversation(&other));
        let run = upstream.run(&agent);
        Self { upstream: Some(upstream), page, run, conversation, foreign, agent, other, server }
    }

    async fn both() -> [Self; 2] {
        let (mock, upstream) = tokio::join!(Self::of_mock(), Self::of_upstream());
        [mock, upstream]
    }

    fn mode(&self) -> &str {
        self.server.banner["mode"].as_str().unwrap()
    }

    /// The targets that the upstream was asked for since this was asked last, look-ups aside.
    fn take_passed(&self) -> Vec<String> {
        let Some(upstream) = &self.upstream else { return Vec::new() };
        let passed = upstream.passed().iter().map(|seen| seen.target().to_owned()).collect();
        upstream.forget();
        passed
    }

    /// Two values of a parameter: the caller's own, and one that leads elsewhere.
    fn values(&self, field: &Field) -> Vec<[&str; 2]> {
        match field.rule {
            Rule::SameAgent => vec![[&self.agent, &self.other]],
            Rule::OwnConversation => vec![[&self.conversation, &self.foreign], [&self.conversation, "default"]],
            Rule::Include => vec![["agent.tools", "agent.secrets"]],
            _ => vec![["1", "2"]],
        }
    }
}

/// Every query parameter of every operation that a client token reaches.
fn parameters() -> impl Iterator<Item = (Operation, AgentSource, &'static Field)> {
    let open = Operation::ALL.iter().filter_map(|operation| match operation.grant() {
        Grant::Client(grant) => Some((*operation, grant)),
        _ => None,
    });
    open.flat_map(|(operation, grant)| {
        grant.query.iter().copied().flatten().map(move |field| (operation, grant.agent, field))
    })
}

/// A name with its first letter encoded, which means the same.
fn encoded(name: &str) -> String {
    format!("%{:02X}{}", name.as_bytes()[0], &name[1..])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_takes_one_value_is_given_once() {
    for world in World::both().await {
        let (mut scalars, mut lists) = (0, 0);
        for (operation, source, field) in parameters() {
            let row = operation.row();
            let base = path(row.template, &world.agent, &world.run);
            let base = base.split('?').next().unwrap();
            // Whatever it says, the rest of the request is the caller's own.
            let binding = match source {
                AgentSource::Query if field.name != "agent_id" => format!("&agent_id={}", world.agent),
                _ => String::new(),
            };
            for [own, foreign] in world.values(field) {
                for (first, second) in [(own, foreign), (foreign, own), (own, own), (own, ""), ("", own)] {
                    for name in [field.name, &encoded(field.name)] {
                        let target = format!("{base}?{}={first}&{name}={second}{binding}", field.name);
                        let answer = world.page.send(row.method.clone(), &target, None).await;
                        let passed = world.take_passed();
                        if field.is_list {
                            lists += 1;
                            assert!(!answer.text.contains("more than once"), "{target}: {}", answer.text);
                            if field.rule == Rule::SameAgent && [first, second].contains(&&*world.other) {
                                answer.refused(403, "agent_not_in_policy");
                                assert!(passed.is_empty(), "{passed:?}");
                            }
                            continue;
                        }
                        scalars += 1;
                        let sentence = answer.refused(400, "invalid_request");
                        assert!(sentence.contains(&format!(" {} ", field.name)), "{target}: {sentence}");
                        assert!(passed.is_empty(), "{target}: {passed:?}");
                    }
                }
            }
        }
        assert!(scalars > 1000 && lists > 80, "{}: {scalars}, {lists}", world.mode());
    }
}

/// What passes arrives as it was looked at, in one spelling; what Letta does not know does not arrive.
#[tokio::test]
async fn an_upstream_hears_the_parameters_that_were_looked_at() {
    let world = World::of_upstream().await;
    let (agent, conversation) = (&world.agent, &world.conversation);
    for (sent, heard) in [
        (format!("?%61gent_id={agent}&limit=5"), format!("?agent_id={agent}&limit=5")),
        (
            format!("?agent_id={agent}&statuses=a%20b&statuses=c+d"),
            format!("?agent_id={agent}&statuses=a+b&statuses=c+d"),
        ),
        (
            format!("?conversation%5Fid={conversation}&unheard_of=1&unheard_of=2"),
            format!("?conversation_id={conversation}"),
        ),
        // None of these is the parameter that it resembles.
        (
            format!("?agent_id={agent}&agent_ids[]={0}&Agent_Id={0}&+agent_id={0}&agent_id%00={0}", world.other),
            format!("?agent_id={agent}"),
        ),
        (format!("?agent_id={agent}&order=asc;agent_id={}", world.other), {
            format!("?agent_id={agent}&order=asc%3Bagent_id%3D{}", world.other)
        }),
    ] {
        world.page.get(&format!("/v1/runs/{sent}")).await.expect(200);
        assert_eq!(world.take_passed(), [format!("/v1/runs/{heard}")], "{sent}");
    }
}

/// Every agent has a default conversation. Named alone, it would be everybody's.
#[tokio::test(flavor = "multi_thread")]
async fn the_default_conversation_is_that_of_an_agent_named_beside_it() {
    for world in World::both().await {
        let World { agent, other, conversation, .. } = &world;
        let (get, post) = (Method::GET, Method::POST);
        let hello = |extra: Value| {
            let mut body = json!({"input": "x", "streaming": false});
            body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            body
        };
        let (mine, theirs, nobodys) = (json!({"agent_id": agent}), json!({"agent_id": other}), json!({"agent_id": ""}));
        let refused = "403 agent_not_in_policy";
        let named_in_query = |path: &str| {
            [
                (path.to_owned(), refused),
                (format!("{path}?agent_id="), refused),
                (format!("{path}?agent_id={other}"), refused),
                (format!("{path}?agent_id={agent}"), ""),
            ]
        };
        let mut cases = vec![
            (&get, "/v1/runs/?conversation_id=default".to_owned(), Value::Null, refused),
            (&get, "/v1/runs/?conversation_id=default&agent_id=".into(), Value::Null, refused),
            (&get, "/v1/runs/?conversation_id=default&agent_ids=".into(), Value::Null, refused),
            (&get, format!("/v1/runs/?conversation_id=default&agent_id={other}"), Value::Null, refused),
            (
                &get,
                format!("/v1/runs/?agent_ids={agent}&agent_ids={other}&conversation_id=default"),
                Value::Null,
                refused,
            ),
            (&get, format!("/v1/runs/?conversation_id=default&agent_id={agent}"), Value::Null, ""),
            (&get, format!("/v1/runs/?agent_ids={agent}&conversation_id=default"), Value::Null, ""),
            (&get, format!("/v1/runs/?conversation_id={conversation}"), Value::Null, ""),
            (&get, format!("/v1/agents/{agent}/messages?conversation_id=default"), Value::Null, ""),
            (&get, format!("/v1/conversations/{agent}/messages"), Value::Null, ""),
        ];
        for (method, path) in [(&get, "messages"), (&post, "cancel"), (&post, "fork")] {
            let named = named_in_query(&format!("/v1/conversations/default/{path}"));
            cases.extend(named.map(|(path, expected)| (method, path, Value::Null, expected)));
        }
        for path in ["messages", "compact", "stream"] {
            let target = format!("/v1/conversations/default/{path}");
            for (extra, expected) in
                [(json!({}), refused), (nobodys.clone(), refused), (theirs.clone(), refused), (mine.clone(), "")]
            {
                let body = if path == "messages" { hello(extra) } else { extra };
                cases.push((&post, target.clone(), body, expected));
            }
            // Letta reads the agent from the body here.
            cases.push((&post, format!("{target}?agent_id={agent}"), hello(json!({})), refused));
        }
        for (method, path, body, expected) in cases {
            let body = (!body.is_null()).then_some(&body);
            let outcome = world.page.send(method.clone(), &path, body).await.outcome();
            let passed = world.take_passed();
            if expected.is_empty() {
                assert!(!["401", "403", "404"].contains(&&outcome[..3]), "{method} {path}: {outcome}");
                assert_eq!(passed.len(), usize::from(world.upstream.is_some()), "{method} {path}: {passed:?}");
            } else {
                assert_eq!(outcome, expected, "{method} {path}: {body:?}");
                assert!(passed.is_empty(), "{method} {path}: {passed:?}");
            }
        }
    }
}

/// The request by which one page read the runs of every agent of its project.
#[tokio::test]
async fn runs_of_default_conversations_are_listed_for_their_agent_only() {
    let world = World::of_mock().await;
    let page = world.server.stranger().page(&world.server.owner().create_token(&world.agent, &["read_messages"]).await);
    for (first, second) in [("default", &*world.conversation), (&world.conversation, "default")] {
        let path = format!("/v1/runs/?conversation_id={first}&conversation_id={second}");
        page.get(&path).await.refused(400, "invalid_request");
    }
    let own = page.get(&format!("/v1/runs/?conversation_id=default&agent_id={}", world.agent)).await.expect(200);
    let agents: Vec<&Value> = own.as_array().unwrap().iter().map(|run| &run["agent_id"]).collect();
    assert_eq!(agents, [&world.agent]);
}

/// A key that is limited to a project is held to the same where several projects share an upstream.
#[tokio::test]
async fn a_limited_key_names_each_thing_once_and_says_whose_it_is() {
    let upstream = Upstream::start().await;
    let program = upstream.before(Program::on(Engine::Sqlite).await);
    let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
    let any = program.run(&["keys", "create", "--name", "any"]).await.ok();
    let server = program.start().await;
    let key = |key: &str| server.stranger().bearer(key).with("user-agent", USER_AGENT);
    let (red, any) = (key(&red), key(&any));
    let own = upstream.agent_with(&json!({"project_id": "red"}));
    let foreign = upstream.agent_with(&json!({"project_id": "blue"}));
    let (of_own, of_foreign) = (upstream.conversation(&own), upstream.conversation(&foreign));
    let run = upstream.run(&own);
    let mut asked = 0;
    let names = |rule| matches!(rule, Rule::SameAgent | Rule::OwnConversation);
    let open =
        parameters().filter(|(_, _, field)| names(field.rule) && !field.is_list).map(|(operation, source, field)| {
            let binding = if source == AgentSource::Query { format!("&agent_ids={own}") } else { String::new() };
            (operation.row(), field.name, binding)
        });
    // Letta takes a conversation for these, too, which no client token reaches.
    let closed = [Operation::ExportAgent, Operation::RetrieveAgentContextWindow];
    let closed = closed.map(|operation| (operation.row(), "conversation_id", String::new()));
    for (row, name, binding) in open.chain(closed) {
        let base = path(row.template, &own, &run);
        let base = base.split('?').next().unwrap();
        let [mine, theirs] = if name == "agent_id" { [&own, &foreign] } else { [&of_own, &of_foreign] };
        let values = [
            (&**mine, &**theirs),
            (theirs, mine),
            (mine, mine),
            (mine, "default"),
            ("default", mine),
            (mine, ""),
            ("", mine),
        ];
        for (first, second) in values {
            let target = format!("{base}?{name}={first}&{name}={second}{binding}");
            upstream.forget();
            let sentence = red.send(row.method.clone(), &target, None).await.refused(400, "invalid_request");
            assert!(sentence.contains(name), "{sentence}");
            assert!(upstream.seen().is_empty(), "{target}: {:?}", upstream.seen());
            asked += 1;
        }
        // Who is limited to nothing may ask as it likes.
        upstream.forget();
        let target = format!("{base}?{name}={mine}&{name}={theirs}");
        any.send(row.method.clone(), &target, None).await;
        assert_eq!(upstream.take_passed().target(), target);
    }
    assert!(asked > 50, "{asked}");
    for (path, expected) in [
        ("/v1/runs/?conversation_id=default".to_owned(), "404 not_found"),
        ("/v1/runs/?conversation_id=default&agent_id=".into(), "404 not_found"),
        (format!("/v1/runs/?conversation_id=default&agent_id={foreign}"), "404 not_found"),
        (format!("/v1/runs/?conversation_id=default&agent_ids={own}&agent_ids={foreign}"), "404 not_found"),
        (format!("/v1/runs/?conversation_id=default&agent_id={own}"), "200"),
        (format!("/v1/runs/?conversation_id=default&agent_ids={own}"), "200"),
        (format!("/v1/agents/{own}/messages?conversation_id=default"), "200"),
        ("/v1/conversations/default/messages".into(), "404 not_found"),
        (format!("/v1/conversations/default/messages?agent_id={own}"), "200"),
        (format!("/v1/conversations/default/messages?agent_id={foreign}"), "404 not_found"),
    ] {
        upstream.forget();
        assert_eq!(red.get(&path).await.outcome(), expected, "{path}");
        assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{path}");
    }
}

/// Two headers may name the project, one for each generation of the SDK.
#[tokio::test]
async fn headers_that_name_different_projects_are_refused() {
    let upstream = Upstream::start().await;
    let (gateway, mock) = tokio::join!(upstream.gateway(), Gatelet::ephemeral());
    for server in [&gateway, &mock] {
        for (headers, expected) in [
            (vec![("x-project-id", "red"), ("x-project-id", "blue")], "400 invalid_request"),
            (vec![("x-project", "red"), ("x-project", "blue")], "400 invalid_request"),
            (vec![("x-project-id", "red"), ("x-project", "blue")], "400 invalid_request"),
            (vec![("x-project", "blue"), ("x-project-id", "red")], "400 invalid_request"),
            (vec![("x-project-id", "red"), ("x-project-id", "red"), ("x-project", "red")], "200"),
        ] {
            let owner = server.owner().with("user-agent", USER_AGENT);
            let owner = headers.iter().fold(owner, |client, (name, value)| client.with(name, value));
            upstream.forget();
            assert_eq!(owner.get("/v1/agents/").await.outcome(), expected, "{headers:?}");
            for seen in upstream.seen() {
                assert_eq!((seen.header("x-project-id"), seen.header("x-project")), (Some("red"), Some("red")));
            }
        }
    }
}

/// Of two media types, one reader takes the first and another the last.
#[tokio::test]
async fn a_body_has_one_media_type() {
    for world in World::both().await {
        let path = format!("/v1/agents/{}/messages", world.agent);
        for types in [["application/json", "text/plain"], ["text/plain", "application/json"], ["application/json"; 2]] {
            let request = world.page.request(Method::POST, &path).body(r#"{"input":"x"}"#);
            let request = types.iter().fold(request, |request, kind| request.header("content-type", *kind));
            Answer::read(request.send().await.unwrap()).await.refused(415, "unsupported_media_type");
            assert!(world.take_passed().is_empty());
        }
    }
}
