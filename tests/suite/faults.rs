//! What happens to those who are served while the database fails: nothing acknowledged is lost, every refusal says why, and
//! the service goes on by itself.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::harness::{Client, Cluster, Engine, Gatelet, ORIGIN, Program, column, eventually};

const TOKENS: &str = "/v1/client-side-access-tokens";

/// How soon the service goes on.
const SOON: Duration = Duration::from_secs(5);

/// Says why a test cannot run here. In CI every test must.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is to see it")]
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("SKIPPED: {why}");
}

/// What one client was told, and what came of the rest.
#[derive(Default)]
struct Told {
    agent: String,
    /// Texts that were sent, and whether that was acknowledged.
    texts: Vec<(String, bool)>,
    revoked: Vec<String>,
    refusals: Vec<(u16, String)>,
}

impl Told {
    /// Status and body of an answer to something that changes what is stored.
    async fn ask(&mut self, owner: &Client, method: Method, path: &str, body: &Value) -> Option<Value> {
        let answer = owner.request(method, path).json(body).send().await.expect("the server answers");
        let status = answer.status();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        if status.is_success() {
            return Some(body);
        }
        self.refusals.push((status.as_u16(), body["code"].as_str().unwrap_or_default().to_owned()));
        None
    }

    /// Does one thing after the other for as long as it is to.
    async fn work(mut self, owner: Client, number: usize, goes_on: Arc<AtomicBool>, successes: Arc<AtomicU32>) -> Self {
        let padding = "x".repeat(2_000);
        for round in 0.. {
            if !goes_on.load(Ordering::Relaxed) {
                break;
            }
            let done = match round % 3 {
                0 | 1 => {
                    let text = format!("{number}-{round} {padding}");
                    let path = format!("/v1/agents/{}/messages{}", self.agent, ["", "/async"][round % 3]);
                    let done = self.ask(&owner, Method::POST, &path, &json!({"input": text})).await.is_some();
                    self.texts.push((text, done));
                    done
                }
                _ => self.revoke(&owner).await,
            };
            successes.fetch_add(u32::from(done), Ordering::Relaxed);
        }
        self
    }

    /// Issues a token and revokes it.
    async fn revoke(&mut self, owner: &Client) -> bool {
        let policy = json!([{"type": "agent", "id": self.agent, "access": ["read_agent"]}]);
        let body = json!({"policy": policy, "hostname": ORIGIN});
        let Some(issued) = self.ask(owner, Method::POST, TOKENS, &body).await else { return false };
        let token = issued["token"].as_str().unwrap().to_owned();
        let path = format!("{TOKENS}/{token}");
        let done = self.ask(owner, Method::DELETE, &path, &Value::Null).await.is_some();
        self.revoked.extend(done.then_some(token));
        done
    }

    /// Checks that what was acknowledged is there, and nothing is there twice.
    async fn check(&self, owner: &Client, stranger: &Client) {
        let runs = format!("/v1/runs/?active=true&agent_id={}", self.agent);
        eventually("all is answered", Duration::from_secs(30), || async {
            owner.get(&runs).await.expect(200).as_array().unwrap().iter().all(|run| run["background"] == false)
        })
        .await;
        let messages =
            format!("/v1/agents/{}/messages?limit=1000&include_return_message_types=user_message", self.agent);
        let heard = column(&owner.get(&messages).await.expect(200), "content");
        for (text, is_acknowledged) in &self.texts {
            let times = heard.iter().filter(|heard| *heard == text).count();
            assert!(times == 1 || (times == 0 && !is_acknowledged), "{} {is_acknowledged}: {times}", &text[..8]);
        }
        for token in &self.revoked {
            stranger.page(token).get("/v1/agents/").await.refused(401, "token_revoked");
        }
    }
}

/// What the server's log says of failures, each once.
fn causes(server: &Gatelet) -> String {
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("cause") || line.contains("\"WARN\""));
    let messages =
        lines.map(|line| line.get(28..).unwrap_or(line).chars().filter(|sign| !sign.is_ascii_digit()).collect());
    messages.collect::<BTreeSet<String>>().into_iter().take(20).collect::<Vec<_>>().join("\n")
}

/// Clients who change what is stored, one agent each.
struct Load {
    clients: JoinSet<Told>,
    goes_on: Arc<AtomicBool>,
    successes: Arc<AtomicU32>,
}

impl Load {
    async fn of(count: usize, owner: &Client) -> Self {
        let (goes_on, successes) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
        let mut clients = JoinSet::new();
        for number in 0..count {
            let told = Told { agent: owner.create_agent(&json!({})).await, ..Told::default() };
            clients.spawn(told.work(owner.clone(), number, Arc::clone(&goes_on), Arc::clone(&successes)));
        }
        Self { clients, goes_on, successes }
    }

    fn successes(&self) -> u32 {
        self.successes.load(Ordering::Relaxed)
    }

    /// Waits until so many more things have been acknowledged.
    async fn succeeds(&self, what: &str, count: u32, within: Duration) {
        let before = self.successes();
        eventually(what, within, || async { self.successes() >= before + count }).await;
    }

    async fn end(self) -> Vec<Told> {
        self.goes_on.store(false, Ordering::Relaxed);
        self.clients.join_all().await
    }
}

/// A small file system of its own in memory, which only root may make.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None: this user may not mount anything.
    fn mount(size: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "gatelet-test"]).arg(folder.path());
        let mounted = mount.output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        skip(&format!("a small disk cannot be mounted here, which takes root: {mounted:?}"));
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.path().join("filler")).unwrap();
        for size in [64 * 1024, 4 * 1024, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may still be ending.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

async fn start_on(disk: &SmallDisk) -> (Program, Gatelet) {
    let url = format!("sqlite://{}", disk.path().join("gatelet.db").display());
    let program = Program::on(Engine::Sqlite).await.database_url(&url);
    let server = program.start().await;
    (program, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_would_be_stored_and_nothing_else() {
    let Some(disk) = SmallDisk::mount("24m") else { return };
    let (program, mut server) = start_on(&disk).await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({})).await;
    let page = server.stranger().page(&owner.create_token(&agent, &["read_agent"]).await);
    let load = Load::of(4, &owner).await;
    for round in 0..2 {
        load.succeeds("the load goes on", 20, Duration::from_secs(30)).await;
        disk.fill();
        // What the write-ahead log has room for is still stored.
        eventually("writing is refused", Duration::from_secs(20), || async {
            let refused = owner.post(TOKENS, &crate::harness::token_request(&agent, &["read_agent"])).await;
            refused.status == 507
        })
        .await;
        let refused = owner.post("/v1/blocks/", &json!({"label": "a", "value": "x".repeat(4_000)})).await;
        let sentence = refused.refused(507, "store_full");
        assert!(sentence.contains("disk") && refused.header("retry-after").is_some(), "{sentence}");
        // Who reads, and who checks tokens, needs no room.
        for _ in 0..20 {
            assert_eq!(owner.get(&format!("/v1/agents/{agent}")).await.expect(200)["id"], agent.as_str());
            page.get(&format!("/v1/agents/{agent}")).await.expect(200);
            page.get("/v1/agents/").await.refused(403, "operation_not_available");
        }
        assert_eq!(server.stranger().get("/healthz").await.status, 200);
        disk.make_room();
        load.succeeds(&format!("writing goes on, round {round}"), 1, SOON).await;
    }

    let told = load.end().await;
    for told in &told {
        let refusals = &told.refusals;
        let expected = |(status, code): &(u16, String)| (*status, code.as_str()) == (507, "store_full");
        assert!(refusals.iter().all(expected), "{refusals:?}: {}", causes(&server));
        told.check(&owner, &server.stranger()).await;
    }
    assert!(told.iter().any(|told| !told.refusals.is_empty()), "nobody was refused");
    // All of it was durable.
    server.kill().await;
    let server = program.start().await;
    for told in &told {
        told.check(&owner.at(server.url()), &server.stranger()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_loses_nothing_and_is_used_again_at_once() {
    let Some(mut cluster) = Cluster::private().await else {
        skip("PostgreSQL's programs are not installed, so none can be restarted");
        return;
    };
    let url = cluster.create_database().await;
    let program = Program::on(Engine::Postgres).await.database_url(&url);
    let key = program.run(&["keys", "create", "--name", "test"]).await.ok();
    let mut server = program.start().await;
    let owner = server.stranger().bearer(&key);
    let load = Load::of(6, &owner).await;
    for signal in ["INT", "QUIT", "INT"] {
        load.succeeds("the load goes on", 30, Duration::from_secs(30)).await;
        cluster.restart(signal);
        eventually("PostgreSQL is gone", Duration::from_secs(10), || async { !cluster.is_up().await }).await;
        eventually("PostgreSQL is back", Duration::from_secs(30), || cluster.is_up()).await;
        load.succeeds(&format!("the service goes on after {signal}"), 1, SOON).await;
    }
    let told = load.end().await;
    for told in &told {
        let refusals = &told.refusals;
        let expected = |(status, code): &(u16, String)| (*status, code.as_str()) == (503, "store_unavailable");
        assert!(refusals.iter().all(expected), "{refusals:?}: {}", causes(&server));
        told.check(&owner, &server.stranger()).await;
    }
    server.kill().await;
    let server = program.start().await;
    for told in &told {
        told.check(&owner.at(server.url()), &server.stranger()).await;
    }
}
