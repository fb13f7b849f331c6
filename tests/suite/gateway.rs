//! The gateway before a recording upstream: what the upstream hears, what the client hears, and what becomes of both when
//! the other one misbehaves.

mod answers;
mod failures;
mod headers;
mod matrix;
mod ownership;
mod projects;
mod redaction;
mod refusals;
mod requests;
mod second_ids;
mod streams;
mod tls;
mod upstreams;
mod wire;

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Client, Gatelet, Program, TlsFront, USER_AGENT, Upstream};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];
const SOON: Duration = Duration::from_secs(30);

/// A gateway, one agent of the upstream, and two who want something of it.
struct Scene {
    upstream: Upstream,
    server: Gatelet,
    agent: String,
    /// A page whose token grants everything on the agent.
    page: Client,
    owner: Client,
}

async fn scene() -> Scene {
    scene_with(Program::ephemeral()).await
}

async fn scene_with(program: Program) -> Scene {
    let upstream = Upstream::start().await;
    let server = upstream.before(program).start_alone().await;
    assert_eq!(server.banner["mode"], "gateway");
    let agent = upstream.agent();
    let owner = server.owner().with("user-agent", USER_AGENT);
    let page = page(&server, &owner.create_token(&agent, &ALL).await);
    assert!(upstream.seen().is_empty(), "nothing is asked before there is a request: {:?}", upstream.seen());
    Scene { upstream, server, agent, page, owner }
}

/// The same, with the upstream behind TLS and these protocols.
async fn scene_over(protocols: &[&str]) -> (Scene, TlsFront) {
    let upstream = Upstream::start().await;
    let front = TlsFront::before(&upstream, protocols).await;
    let server = front.before_program(Program::ephemeral()).start_alone().await;
    let agent = upstream.agent();
    let owner = server.owner().with("user-agent", USER_AGENT);
    let page = page(&server, &owner.create_token(&agent, &ALL).await);
    (Scene { upstream, server, agent, page, owner }, front)
}

/// The page that holds a token.
fn page(server: &Gatelet, token: &str) -> Client {
    server.stranger().page(token).with("user-agent", USER_AGENT)
}

/// Sends bytes and reads all that comes back until the connection ends.
async fn exchange(server: &Gatelet, request: &[u8]) -> String {
    let mut stream = connect(server).await;
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(SOON, stream.read_to_end(&mut answer));
    assert!(reading.await.is_ok(), "no answer to {}", String::from_utf8_lossy(request));
    String::from_utf8_lossy(&answer).into_owned()
}

async fn connect(server: &Gatelet) -> TcpStream {
    TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap()
}
