//! How much one client may take: requests and streams of a token, the size of a request, the time that it may need, and
//! what is held for it.

mod ended;
#[cfg(target_os = "linux")]
mod memory;
mod quotas;
mod sizes;
mod slow;
mod unread;

use serde_json::json;

use crate::harness::{Client, Gatelet, Program, USER_AGENT, Upstream, token_request};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];
const OTHERS: usize = 5;

/// A server in one of the two modes, with an agent.
struct Stage {
    name: &'static str,
    /// The gateway's upstream.
    upstream: Option<Upstream>,
    server: Gatelet,
    owner: Client,
    agent: String,
    /// More agents: in the mock, an agent streams one turn at a time.
    others: Vec<String>,
}

/// The mock and the gateway, with these settings.
async fn stages(settings: &[(&str, &str)]) -> [Stage; 2] {
    let program = || settings.iter().fold(Program::ephemeral(), |program, (name, value)| program.env(name, value));
    let server = program().start_alone().await;
    let owner = server.owner();
    let agent = owner.create_agent(&json!({"name": "a"})).await;
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(owner.create_agent(&json!({"name": "b"})).await);
    }
    let mock = Stage { name: "mock", upstream: None, server, owner, agent, others };
    let upstream = Upstream::start().await;
    let server = upstream.before(program()).start_alone().await;
    let owner = server.owner().with("user-agent", USER_AGENT);
    let agent = upstream.agent();
    let others = (0..OTHERS).map(|_| upstream.agent()).collect();
    [mock, Stage { name: "gateway", upstream: Some(upstream), server, owner, agent, others }]
}

impl Stage {
    /// A new token that grants everything on every agent.
    async fn token(&self) -> String {
        let mut request = token_request(&self.agent, &ALL);
        for agent in &self.others {
            let entry = token_request(agent, &ALL)["policy"][0].clone();
            request["policy"].as_array_mut().unwrap().push(entry);
        }
        self.owner.create_token_with(&request).await
    }

    /// A page with a token.
    fn page_of(&self, token: &str) -> Client {
        self.server.stranger().page(token).with("user-agent", USER_AGENT)
    }

    /// A page with a new token.
    async fn page(&self) -> Client {
        self.page_of(&self.token().await)
    }

    /// How many requests the upstream has seen.
    fn passed(&self) -> usize {
        self.upstream.as_ref().map_or(0, |upstream| upstream.passed().len())
    }
}
