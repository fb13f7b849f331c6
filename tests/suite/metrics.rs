//! What an operator can read of a running server, and that nothing else can be read there.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Client, Engine, Gatelet, ORIGIN, Program, USER_AGENT, Upstream, eventually, head, run};

const SOON: Duration = Duration::from_secs(30);
const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

/// The samples of one reading, by name and labels as they are written.
#[derive(Debug)]
struct Reading {
    text: String,
    samples: BTreeMap<String, f64>,
}

impl Reading {
    async fn of(server: &Gatelet) -> Self {
        let (base, path) = address(server);
        let answer = Client::new(&base, false).get(&path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let media_type = answer.header("content-type").unwrap();
        assert_eq!(media_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let mut samples = BTreeMap::new();
        for line in answer.text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
        Self { text: answer.text, samples }
    }

    /// A sample's value; one that was never counted is zero.
    fn get(&self, name: &str) -> f64 {
        self.samples.get(name).copied().unwrap_or_default()
    }

    fn requests(&self, operation: &str, status: u16, code: &str) -> f64 {
        let labels = format!("operation=\"{operation}\",status=\"{status}\",code=\"{code}\"");
        self.get(&format!("gatelet_requests_total{{{labels}}}"))
    }

    /// Sum and count of a histogram.
    fn histogram(&self, name: &str, operation: &str) -> (f64, f64) {
        let part = |part| self.get(&format!("{name}_{part}{{operation=\"{operation}\"}}"));
        (part("sum"), part("count"))
    }
}

/// Where a server's metrics are: the listener's URL, and the path.
fn address(server: &Gatelet) -> (String, String) {
    let url = server.banner["metrics"].as_str().expect("there are metrics");
    let base = url.strip_suffix("/metrics").unwrap();
    (base.to_owned(), "/metrics".to_owned())
}

fn measured(program: Program) -> Program {
    program.argument("--metrics-listen").argument("127.0.0.1:0")
}

/// Splits a sample's name into the metric and its labels.
fn labels(sample: &str) -> (&str, Vec<(&str, &str)>) {
    let Some((metric, rest)) = sample.split_once('{') else { return (sample, Vec::new()) };
    let labels = rest.strip_suffix('}').unwrap().strip_suffix('"').unwrap().split("\",");
    (metric, labels.map(|label| label.split_once("=\"").unwrap()).collect())
}

#[tokio::test]
async fn without_an_address_there_are_no_metrics() {
    let server = Gatelet::ephemeral().await;
    assert!(server.banner.get("metrics").is_none(), "{}", server.banner);
    server.owner().get("/metrics").await.refused(404, "not_found");
}

#[tokio::test]
async fn metrics_have_a_listener_of_their_own() {
    let server = measured(Program::ephemeral()).start_alone().await;
    server.owner().get("/metrics").await.refused(404, "not_found");
    let (base, path) = address(&server);
    let reader = Client::new(&base, false);
    assert_eq!(reader.send(Method::HEAD, &path, None).await.status, 200);
    assert_eq!(reader.post(&path, &json!({})).await.status, 405);
    for other in ["/", "/healthz", "/v1/agents/", "/metrics/"] {
        assert_eq!(reader.bearer(server.key()).get(other).await.status, 404, "{other}");
    }
    let taken = base.trim_start_matches("http://");
    let problem = Program::ephemeral().env("GATELET_METRICS_LISTEN", taken).try_start().await.unwrap_err();
    assert!(problem.contains("cannot listen on"), "{problem}");
}

#[tokio::test]
async fn requests_are_counted_by_operation_status_and_code() {
    let server = measured(Program::on(Engine::Sqlite).await);
    let server = server.env("GATELET_LIMITS__REQUESTS_PER_MINUTE", "5").start_alone().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let page = server.stranger().page(&owner.create_token(&agent, &["read_agent"]).await);
    let path = format!("/v1/agents/{agent}");
    for _ in 0..3 {
        page.get(&path).await.expect(200);
    }
    page.send(Method::HEAD, &path, None).await;
    page.delete(&path).await.refused(403, "operation_not_available");
    page.get(&path).await.refused(429, "rate_limited");
    page.get("/v1/nothing").await.refused(429, "rate_limited");
    owner.get("/v1/nothing").await.refused(404, "not_found");
    server.stranger().get(&path).await.refused(401, "bearer_missing");
    owner.get("/v1/feeds").await.refused(501, "not_mocked");
    let reading = Reading::of(&server).await;
    for (operation, status, code, count) in [
        ("POST /v1/agents/", 200, "", 1.0),
        ("POST /v1/client-side-access-tokens", 201, "", 1.0),
        ("GET /v1/agents/{agent_id}", 200, "", 4.0),
        ("GET /v1/agents/{agent_id}", 401, "bearer_missing", 1.0),
        ("GET /v1/agents/{agent_id}", 429, "rate_limited", 1.0),
        ("DELETE /v1/agents/{agent_id}", 403, "operation_not_available", 1.0),
        ("GET /v1/feeds", 501, "not_mocked", 1.0),
        ("none", 429, "rate_limited", 1.0),
        ("none", 404, "not_found", 1.0),
    ] {
        assert!((reading.requests(operation, status, code) - count).abs() < 0.5, "{operation} {status}: {reading:?}");
    }
    assert_eq!(reading.samples.keys().filter(|name| name.starts_with("gatelet_requests_total")).count(), 9);
    let (sum, count) = reading.histogram("gatelet_overhead_seconds", "GET /v1/agents/{agent_id}");
    assert!((count - 6.0).abs() < 0.5 && sum > 0.0, "{reading:?}");
    assert!((reading.get("gatelet_rate_limited_total") - 2.0).abs() < 0.5, "{reading:?}");
    // The token was new to this server once, and remembered six times.
    assert!((reading.get("gatelet_token_cache_misses_total") - 1.0).abs() < 0.5, "{reading:?}");
    assert!((reading.get("gatelet_token_cache_hits_total") - 6.0).abs() < 0.5, "{reading:?}");
    let age = reading.get("gatelet_revocation_feed_age_seconds");
    assert!(age > 0.0 && age < 10.0, "{age}");
    assert!(reading.get("process_start_time_seconds") > 1.7e9);
    assert!(!reading.text.contains("gatelet_upstream_first_byte_seconds_count"), "{}", reading.text);
}

#[tokio::test]
async fn what_the_upstream_and_the_client_take_is_not_gatelets_own_time() {
    let upstream = Upstream::start().await;
    let server = measured(upstream.before(Program::ephemeral())).start_alone().await;
    let agent = upstream.agent();
    let token = server.owner().create_token(&agent, &ALL).await;
    let page = server.stranger().page(&token).with("user-agent", USER_AGENT);
    let (operation, path) = ("POST /v1/agents/{agent_id}/messages", format!("/v1/agents/{agent}/messages"));
    // The agent's project is looked up with this, which is no answer of the operation's.
    page.get(&format!("/v1/agents/{agent}")).await.expect(200);
    // The upstream takes its time.
    let pause = Duration::from_millis(400);
    let held = upstream.hold("POST", &path);
    let request = page.request(Method::POST, &path).json(&json!({"input": "x"}));
    let asking = tokio::spawn(request.send());
    held.asked().await;
    take_time(&server, pause).await;
    held.send([&head(200, &[("content-length", "2")])[..], b"{}"].concat());
    held.cut();
    assert_eq!(asking.await.unwrap().unwrap().status(), 200);
    // And so does the client.
    let mut socket = TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nOrigin: {ORIGIN}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    take_time(&server, pause).await;
    socket.write_all(b"}").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let reading = Reading::of(&server).await;
    let (took, count) = reading.histogram("gatelet_upstream_first_byte_seconds", operation);
    assert!((count - 2.0).abs() < 0.5 && took >= pause.as_secs_f64(), "{reading:?}");
    let (own, count) = reading.histogram("gatelet_overhead_seconds", operation);
    assert!((count - 2.0).abs() < 0.5 && own < pause.as_secs_f64(), "{reading:?}");
    let (_, passed) = reading.histogram("gatelet_upstream_first_byte_seconds", "GET /v1/agents/{agent_id}");
    assert!((passed - 1.0).abs() < 0.5, "a look-up is no answer: {reading:?}");
}

/// Lets time pass, in which the server is busy with something else.
async fn take_time(server: &Gatelet, time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        server.stranger().get("/healthz").await;
    }
}

#[tokio::test]
async fn open_streams_are_a_gauge() {
    let upstream = Upstream::start().await;
    let server = measured(upstream.before(Program::ephemeral())).start_alone().await;
    let agent = upstream.agent();
    let page = server.stranger().page(&server.owner().create_token(&agent, &ALL).await);
    let path = format!("/v1/agents/{agent}/messages/stream");
    let open = async |count: f64| {
        eventually("the gauge has moved", SOON, async || {
            (Reading::of(&server).await.get("gatelet_open_streams") - count).abs() < 0.5
        })
        .await;
    };
    open(0.0).await;
    let mut streams = Vec::new();
    for (client, count) in [(&page, 1.0), (&server.owner(), 2.0)] {
        let held = upstream.hold("POST", &path);
        held.begin_events();
        streams.push((client.request(Method::POST, &path).json(&json!({})).send().await.unwrap(), held));
        open(count).await;
    }
    let (key, held) = streams.pop().unwrap();
    held.end();
    key.text().await.unwrap();
    open(1.0).await;
    drop(streams);
    open(0.0).await;
}

#[tokio::test]
async fn labels_come_from_closed_sets_and_hold_nothing_of_a_request() {
    let upstream = Upstream::start().await;
    let server = measured(upstream.before(Program::ephemeral())).start_alone().await;
    let (agent, owner) = (upstream.agent(), server.owner());
    let (run_id, conversation) = (upstream.run(&agent), upstream.conversation(&agent));
    let token = owner.create_token(&agent, &ALL).await;
    let page = server.stranger().page(&token);
    for client in [&page, &owner, &page.with("authorization", &format!("Bearer {token}x")), &server.stranger()] {
        for path in [
            format!("/v1/agents/{agent}?canary=canary"),
            format!("/v1/runs/{run_id}"),
            format!("/v1/conversations/{conversation}"),
            format!("/v1/agents/{agent}/core-memory/blocks/canary"),
            format!("/v1/client-side-access-tokens/{token}"),
            "/v1/canary".to_owned(),
            "/v1//canary".to_owned(),
        ] {
            client.get(&path).await;
            client.send(Method::from_bytes(b"CANARY").unwrap(), &path, None).await;
        }
        client.post(&format!("/v1/agents/{agent}/messages"), &json!({"input": "canary"})).await;
        client.post(&format!("/v1/agents/{agent}/messages"), &json!({"system": "canary"})).await;
    }
    owner.delete(&format!("/v1/client-side-access-tokens/{token}")).await;
    let reading = Reading::of(&server).await;
    let secrets =
        [&token, server.key(), "upstream-password-canary", "canary", &agent, &run_id, &conversation, "CANARY"];
    for secret in secrets {
        assert!(!reading.text.contains(secret), "{secret}: {}", reading.text);
    }
    let table = run(&["operations", "--json"]).await.json();
    let mut operations: HashSet<String> = HashSet::from(["none".to_owned()]);
    for row in table.as_array().unwrap() {
        operations.insert(format!("{} {}", row["method"].as_str().unwrap(), row["path"].as_str().unwrap()));
    }
    let codes: HashSet<&str> = gatelet::error::Code::ALL.iter().map(|code| code.word()).chain([""]).collect();
    assert!(reading.samples.len() > 50, "{}", reading.text);
    for sample in reading.samples.keys() {
        for (label, value) in labels(sample).1 {
            let is_known = match label {
                "operation" => operations.contains(value),
                "status" => value.parse().is_ok_and(|status: u16| (100..600).contains(&status)),
                "code" => codes.contains(value),
                "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                _ => false,
            };
            assert!(is_known, "{sample}");
        }
    }
    // Requests that differ in nothing but their ids are one series.
    let before = reading.samples.len();
    for _ in 0..3 {
        owner.get(&format!("/v1/agents/{}", upstream.agent())).await.expect(200);
    }
    assert_eq!(Reading::of(&server).await.samples.len(), before);
}

#[tokio::test]
async fn the_text_is_what_prometheus_reads() {
    let server = measured(Program::ephemeral()).start_alone().await;
    let owner = server.owner();
    owner.create_agent(&json!({"name": "a"})).await;
    owner.get("/v1/agents/").await.expect(200);
    let reading = Reading::of(&server).await;
    assert!(reading.text.ends_with("\n# EOF\n"), "{}", reading.text);
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    for line in reading.text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name, kind).is_none(), "{name} twice");
            assert!(reading.text.contains(&format!("# HELP {name} ")), "{name}");
        }
    }
    let mut buckets: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (sample, value) in &reading.samples {
        let (metric, labels) = labels(sample);
        let suffixes = ["", "_total", "_sum", "_count", "_bucket"];
        let family = suffixes.iter().find_map(|suffix| types.get_key_value(metric.strip_suffix(suffix)?));
        let (family, kind) = family.unwrap_or_else(|| panic!("{metric} has no type"));
        let suffix = &metric[family.len()..];
        assert!(
            match *kind {
                "counter" => suffix == "_total",
                "gauge" => suffix.is_empty(),
                "histogram" => ["_sum", "_count", "_bucket"].contains(&suffix),
                _ => false,
            },
            "{sample} is no {kind}"
        );
        assert!(*value >= 0.0, "{sample} {value}");
        if suffix == "_bucket" {
            let operation = labels.iter().find(|(label, _)| *label == "operation").unwrap().1;
            buckets.entry(format!("{family}_count{{operation=\"{operation}\"}}")).or_default().push(*value);
        }
    }
    assert!(buckets.len() >= 2);
    for (count, buckets) in buckets {
        let largest = buckets.iter().copied().fold(0.0, f64::max);
        assert!((largest - reading.get(&count)).abs() < 0.5, "{count}: {}", reading.text);
    }
    assert_eq!(server.banner.get("mode"), Some(&Value::from("mock")));
}
