//! Several upstreams: each serves its projects, with its own credential, and knows nothing of the others'.

use reqwest::Method;
use serde_json::{Value, json};

use super::{ALL, SOON, page};
use crate::harness::{Client, Engine, Gatelet, NOBODY, ORIGIN, Program, Scripted, USER_AGENT, Upstream, eventually};

/// Three Letta servers: one of project red alone, one of blue and green, one of all others.
struct Scene {
    red: Upstream,
    shared: Upstream,
    others: Upstream,
    server: Gatelet,
    /// The holder of a key that is limited to no project.
    any: Client,
    program: Program,
}

/// An entry of the configuration file.
fn entry(name: &str, projects: &[&str], url: &str, rest: &str) -> String {
    format!("[[upstreams]]\nname = {name:?}\nprojects = {projects:?}\nurl = {url:?}\n{rest}\n")
}

fn configured(program: Program, text: &str) -> Program {
    let file = program.folder().join("gatelet.toml");
    std::fs::write(&file, text).unwrap();
    program.env("GATELET_CONFIG", file.to_str().unwrap())
}

async fn scene() -> Scene {
    let (red, shared, others) = tokio::join!(Upstream::start(), Upstream::start(), Upstream::start());
    let program = Program::on(Engine::Sqlite).await;
    let key_file = program.folder().join("shared-key");
    std::fs::write(&key_file, "key-of-shared\n").unwrap();
    let text = [
        format!("upstream_url = {:?}\nupstream_api_key = \"key-of-others\"\n", others.url()),
        entry("red-server", &["red"], &red.url(), "api_key = \"key-of-red\""),
        entry(
            "shared-server",
            &["blue", "green"],
            &shared.url(),
            &format!("api_key_file = \"{}\"", key_file.display()),
        ),
    ];
    let program = configured(program, &text.concat());
    let any = program.run(&["keys", "create", "--name", "any"]).await.ok();
    let server = program.start().await;
    assert_eq!(server.banner["mode"], "gateway");
    let any = server.stranger().bearer(&any).with("user-agent", USER_AGENT);
    Scene { red, shared, others, server, any, program }
}

impl Scene {
    fn all(&self) -> [(&Upstream, &'static str); 3] {
        [(&self.red, "key-of-red"), (&self.shared, "key-of-shared"), (&self.others, "key-of-others")]
    }

    /// The holder of a key that is limited to a project.
    async fn limited(&self, project: &str) -> Client {
        let key = self.program.run(&["keys", "create", "--name", project, "--project", project]).await.ok();
        self.server.stranger().bearer(&key).with("user-agent", USER_AGENT)
    }

    fn forget(&self) {
        for (upstream, _) in self.all() {
            upstream.forget();
        }
    }

    /// Checks that only this upstream was asked, always with its own credential.
    #[track_caller]
    fn asked_only(&self, asked: &Upstream, why: &str) {
        for (upstream, key) in self.all() {
            let seen = upstream.seen();
            assert_eq!(!seen.is_empty(), std::ptr::eq(upstream, asked), "{why}: {key}: {seen:?}");
            for seen in seen {
                assert_eq!(seen.header("authorization"), Some(format!("Bearer {key}").as_str()), "{why}");
                assert_eq!(seen.header("host"), Some(upstream.authority().as_str()), "{why}");
            }
        }
        self.forget();
    }
}

#[tokio::test]
async fn a_call_goes_to_the_upstream_of_its_project() {
    let scene = scene().await;
    for (project, upstream) in [
        (Some("red"), &scene.red),
        (Some("blue"), &scene.shared),
        (Some("green"), &scene.shared),
        (Some("default"), &scene.others),
        (Some("violet"), &scene.others),
        (None, &scene.others),
    ] {
        let why = format!("{project:?}");
        let agent = upstream.agent_with(&json!({"project_id": project}));
        let run = upstream.run(&agent);
        let key = project.map_or_else(|| scene.any.clone(), |project| scene.any.with("x-project-id", project));
        let page = page(&scene.server, &key.create_token(&agent, &ALL).await);
        let messages = format!("/v1/agents/{agent}/messages");
        for (client, method, path) in [
            (&key, Method::GET, "/v1/agents/".to_owned()),
            (&key, Method::POST, messages.clone()),
            (&key, Method::GET, format!("/v1/agents/{agent}")),
            (&page, Method::POST, messages),
            (&page, Method::GET, format!("/v1/agents/{agent}")),
            // The look-ups go there, too.
            (&page, Method::GET, format!("/v1/runs/{run}/messages")),
            (&page, Method::GET, format!("/v1/runs/?agent_id={agent}")),
        ] {
            let body = (method == Method::POST).then(|| json!({"input": "x"}));
            assert_eq!(client.send(method, &path, body.as_ref()).await.outcome(), "200", "{why}: {path}");
            scene.asked_only(upstream, &why);
        }
        if let Some(project) = project {
            let limited = scene.limited(project).await;
            assert_eq!(limited.get(&format!("/v1/agents/{agent}")).await.outcome(), "200", "{why}");
            scene.asked_only(upstream, &why);
        }
    }
}

#[tokio::test]
async fn what_was_learnt_of_one_upstream_is_not_known_of_another() {
    let scene = scene().await;
    let agent = scene.red.agent_with(&json!({"project_id": "red"}));
    let run = scene.red.run(&agent);
    let path = format!("/v1/runs/{run}/messages");
    let token = async |project: &str| {
        let key = scene.any.with("x-project-id", project);
        page(&scene.server, &key.create_token(&agent, &ALL).await)
    };
    let (of_red, of_blue) = (token("red").await, token("blue").await);
    of_red.get(&path).await.expect(200);
    // The same ids mean nothing, or something else, elsewhere.
    of_blue.get(&path).await.refused(404, "not_found");
    let other = scene.shared.agent_with(&json!({"project_id": "blue"}));
    let thing = json!({"id": run, "agent_id": other});
    scene.shared.answer("GET", &format!("/v1/runs/{run}"), Scripted::Json(200, thing));
    of_blue.get(&path).await.refused(404, "not_found");
    scene.forget();
    of_red.get(&path).await.expect(200);
    scene.asked_only(&scene.red, "red");
}

#[tokio::test]
async fn an_upstream_of_one_project_proves_the_project() {
    let scene = scene().await;
    let red = scene.limited("red").await;
    // Letta says nothing of projects here, or something else: the server is the project's.
    let agent = scene.red.agent_with(&json!({"project_id": "another"}));
    let id = &NOBODY[6..];
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    for (method, path) in [
        (&get, "/v1/agents/".to_owned()),
        (&post, "/v1/agents/".into()),
        (&get, "/v1/providers/".into()),
        (&post, "/v1/messages/search".into()),
        (&patch, format!("/v1/agents/{agent}/core-memory/blocks/attach/block-{id}")),
        (&patch, format!("/v1/agents/{agent}/archives/attach/archive-{id}")),
        (&delete, format!("/v1/agents/{agent}/archival-memory/passage-{id}")),
        (&delete, format!("/v1/blocks/block-{id}")),
        (&get, format!("/v1/runs/run-{id}")),
        (&get, "/v1/conversations/default/messages".into()),
    ] {
        let body = (*method == Method::POST).then(|| json!({"name": "x"}));
        let answer = red.send(method.clone(), &path, body.as_ref()).await;
        assert_ne!(answer.status, 502, "{path}");
        // It is passed on at once, and nothing is looked up first.
        assert_eq!(scene.red.seen().len(), 1, "{path}: {:?}", scene.red.seen());
        scene.asked_only(&scene.red, &path);
    }
    let page = page(&scene.server, &red.create_token(&agent, &ALL).await);
    page.get(&format!("/v1/agents/{agent}/messages")).await.expect(200);
    assert_eq!(scene.red.seen().len(), 1);
    // Whose things are within the project still has to be proven.
    let foreign = scene.red.run(&scene.red.agent());
    page.get(&format!("/v1/runs/{foreign}/messages")).await.refused(404, "not_found");
    // It is no proof of another project.
    red.with("x-project-id", "blue").get("/v1/agents/").await.refused(404, "not_found");
}

#[tokio::test]
async fn an_upstream_of_several_projects_proves_none() {
    let scene = scene().await;
    for (project, upstream) in [("blue", &scene.shared), ("violet", &scene.others)] {
        let limited = scene.limited(project).await;
        let own = upstream.agent_with(&json!({"project_id": project}));
        let foreign = upstream.agent_with(&json!({"project_id": "green"}));
        for (path, expected) in [
            ("/v1/agents/".to_owned(), "404 not_found"),
            (format!("/v1/agents/{own}"), "200"),
            (format!("/v1/agents/{foreign}"), "404 not_found"),
        ] {
            assert_eq!(limited.get(&path).await.outcome(), expected, "{project}: {path}");
            assert_eq!(upstream.passed().len(), usize::from(expected == "200"), "{project}: {path}");
            upstream.forget();
        }
    }
}

#[tokio::test]
async fn one_server_under_two_names_keeps_the_projects_of_both() {
    let upstream = Upstream::start().await;
    let program = Program::on(Engine::Sqlite).await;
    let same = upstream.url().replace("http://127", "HTTP://127") + "/";
    let text = [entry("a", &["red"], &upstream.url(), ""), entry("b", &["blue"], &same, "api_key = \"b\"")];
    let program = configured(program, &text.concat());
    let red = program.run(&["keys", "create", "--name", "red", "--project", "red"]).await.ok();
    let server = program.start().await;
    let red = server.stranger().bearer(&red).with("user-agent", USER_AGENT);
    red.get("/v1/agents/").await.refused(404, "not_found");
    let own = upstream.agent_with(&json!({"project_id": "red"}));
    red.get(&format!("/v1/agents/{own}")).await.expect(200);
    let foreign = upstream.agent_with(&json!({"project_id": "blue"}));
    red.get(&format!("/v1/agents/{foreign}")).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_project_that_no_upstream_serves_is_not_there() {
    let upstream = Upstream::start().await;
    let program = configured(Program::on(Engine::Sqlite).await, &entry("red", &["red"], &upstream.url(), ""));
    let any = program.run(&["keys", "create", "--name", "any"]).await.ok();
    let server = program.start().await;
    let any = server.stranger().bearer(&any).with("user-agent", USER_AGENT);
    any.with("x-project-id", "red").get("/v1/agents/").await.expect(200);
    upstream.forget();
    let page = page(&server, &any.create_token(NOBODY, &ALL).await);
    let run = format!("/v1/runs/run-{}", &NOBODY[6..]);
    for (client, path, project) in [
        (&any, "/v1/agents/", "default"),
        (&any.with("x-project-id", "blue"), "/v1/agents/", "blue"),
        (&page, &format!("/v1/agents/{NOBODY}"), "default"),
        (&page, &run, "default"),
    ] {
        let answer = client.get(path).await;
        let sentence = answer.refused(404, "not_found");
        assert!(sentence.contains(&format!("project {project} ")), "{path}: {sentence}");
    }
    let answer = page.get(&run).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    // What is Gatelet's own goes on.
    any.get("/v1/client-side-access-tokens").await.expect(200);
    let ready = server.stranger().get("/readyz").await.expect(200);
    assert_eq!(ready["checks"]["upstreams"], json!({"red": "ok"}));
}

#[tokio::test]
async fn each_upstream_is_reported_apart_and_fails_apart() {
    let scene = scene().await;
    let ready = async || scene.server.stranger().get("/readyz").await.expect(200)["checks"]["upstreams"].clone();
    assert_eq!(ready().await, json!({"default": "ok", "red-server": "ok", "shared-server": "ok"}));
    scene.red.answer("GET", "/v1/health/", Scripted::Reset);
    scene.red.answer("GET", "/v1/agents/", Scripted::Reset);
    let expected = json!({"default": "ok", "red-server": "unreachable", "shared-server": "ok"});
    eventually("the report is renewed", SOON, async || ready().await == expected).await;
    for (project, expected) in [("red", "502 upstream_unreachable"), ("blue", "200"), ("violet", "200")] {
        let key = scene.any.with("x-project-id", project);
        assert_eq!(key.get("/v1/agents/").await.outcome(), expected, "{project}");
    }
    for (_, key) in scene.all() {
        assert!(!scene.server.log().contains(key), "{key} is in the log");
    }
}

#[tokio::test]
async fn upstreams_that_contradict_each_other_refuse_the_start() {
    let url = "http://127.0.0.1:1";
    let red = entry("red", &["red"], url, "");
    for (text, words) in [
        (entry("", &["red"], url, ""), vec!["name", "1 to 64 characters"]),
        (entry("a b", &["red"], url, ""), vec!["name", "a b", "1 to 64 characters"]),
        (entry("default", &["red"], url, ""), vec!["name", "upstream_url"]),
        (red.clone() + &entry("red", &["blue"], url, ""), vec!["name", "\"red\"", "twice"]),
        (entry("red", &[], url, ""), vec!["projects", "\"red\"", "at least one"]),
        (entry("red", &["a/b"], url, ""), vec!["projects", "\"red\"", "\"a/b\""]),
        (entry("red", &["red", "red"], url, ""), vec!["projects", "\"red\"", "already"]),
        (red.clone() + &entry("blue", &["blue", "red"], url, ""), vec!["projects", "\"blue\"", "\"red\"", "already"]),
        (entry("red", &["red"], "letta.internal", ""), vec!["url", "\"red\"", "http://"]),
        (entry("red", &["red"], "http://a/b", ""), vec!["url", "\"red\"", "http://"]),
        (entry("red", &["red"], "http://user:canary@a", ""), vec!["url", "\"red\""]),
        (entry("red", &["red"], "http://a:99999", ""), vec!["url", "\"red\"", "http://"]),
        (entry("red", &["red"], "http://a:", ""), vec!["url", "\"red\"", "http://"]),
        (entry("red", &["red"], "http://a#b", ""), vec!["url", "\"red\"", "http://"]),
        (
            entry("red", &["red"], url, "api_key = \"canary\"\napi_key_file = \"/canary\""),
            vec!["api_key", "api_key_file", "\"red\""],
        ),
        (entry("red", &["red"], url, "api_key = \"canary \\u0001\""), vec!["api_key", "\"red\"", "ASCII"]),
        (entry("red", &["red"], url, "api_key = \"\""), vec!["api_key", "\"red\"", "ASCII"]),
        (
            entry("red", &["red"], url, "api_key_file = \"/nowhere/key\""),
            vec!["api_key_file", "\"red\"", "/nowhere/key"],
        ),
        (entry("red", &["red"], "https://a", "ca_file = \"/nowhere/ca\""), vec!["/nowhere/ca"]),
        (entry("red", &["red"], url, "api_kye = \"canary\""), vec!["api_kye", "gatelet.toml"]),
        (entry("red", &["red"], url, "api_key = 70071234"), vec!["api_key", "gatelet.toml"]),
    ] {
        let program = configured(Program::ephemeral(), &text);
        for refused in [program.run(&["config", "check"]).await, program.run(&["serve", "--ephemeral"]).await] {
            let sentence = refused.failed();
            for word in &words {
                assert!(sentence.contains(word), "{text}: {sentence}");
            }
            assert!(!sentence.contains("canary") && !sentence.contains("7007"), "{text}: {sentence}");
        }
    }
    let good = red + &entry("blue", &["blue", "green"], url, "api_key = \"x\"");
    let checked = configured(Program::ephemeral(), &good).run(&["config", "check"]).await;
    assert_eq!(checked.ok(), "the configuration is valid");
    let checked = configured(Program::ephemeral(), &good).run(&["config", "check", "--json"]).await;
    assert_eq!(checked.json()["valid"], Value::Bool(true));
}
