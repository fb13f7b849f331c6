//! The requests that a page in a browser sends, one for each token.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};

use crate::Failure;

/// What is sent, and where.
#[derive(Args, Clone, Debug)]
pub(crate) struct Workload {
    /// The server to measure
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// Where the fake Letta server listens; it runs in this process
    #[arg(long)]
    pub(crate) upstream: SocketAddr,
    /// The server's processes
    #[arg(long, value_delimiter = ',')]
    pub(crate) pids: Vec<u32>,
    /// A file of lines `AGENT TOKEN`
    #[arg(long)]
    pub(crate) tokens: PathBuf,
    #[arg(long, value_enum, default_value_t = Kind::List)]
    pub(crate) operation: Kind,
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
}

/// What a page does.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// `GET /v1/agents/{agent_id}/messages`
    List,
    /// `POST /v1/agents/{agent_id}/messages`
    Send,
    /// `POST /v1/agents/{agent_id}/messages/stream`; the fake server reads from the message how to answer
    #[value(skip)]
    Stream { frames: u32, gap: u32 },
}

/// The origin of the page; tokens are bound to it.
const ORIGIN: &str = "https://app.example";

impl Workload {
    /// All requests, in the order of the tokens.
    pub(crate) fn requests(&self) -> Result<Vec<Vec<u8>>, Failure> {
        let tokens = std::fs::read_to_string(&self.tokens)?;
        let requests: Vec<Vec<u8>> = tokens
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(agent, token)| self.request(agent, token))
            .collect();
        if requests.is_empty() { Err("there are no tokens".into()) } else { Ok(requests) }
    }

    fn request(&self, agent: &str, token: &str) -> Vec<u8> {
        let (method, rest, body) = match self.operation {
            Kind::List => ("GET", "?limit=20&order=desc", String::new()),
            Kind::Send => ("POST", "", MESSAGE.to_owned()),
            Kind::Stream { frames, gap } => ("POST", "/stream", format!(r#"{{"input":"{frames} {gap}"}}"#)),
        };
        let content = match self.operation {
            Kind::List => String::new(),
            Kind::Send | Kind::Stream { .. } => {
                format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
            }
        };
        let Self { target, .. } = self;
        format!(
            "{method} /v1/agents/{agent}/messages{rest} HTTP/1.1\r\nhost: {target}\r\nconnection: keep-alive\r\n\
            authorization: Bearer {token}\r\naccept: application/json\r\n{content}\
            user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
            Safari/537.36\r\nx-stainless-lang: js\r\nx-stainless-package-version: 1.0.0\r\n\
            x-stainless-runtime: browser:chrome\r\nx-stainless-retry-count: 0\r\norigin: {ORIGIN}\r\n\
            sec-fetch-site: cross-site\r\nsec-fetch-mode: cors\r\nsec-fetch-dest: empty\r\nreferer: {ORIGIN}/\r\n\
            accept-encoding: gzip, deflate, br, zstd\r\naccept-language: en-US,en;q=0.9\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

const MESSAGE: &str =
    r#"{"messages":[{"role":"user","content":"What did we decide about the launch date yesterday?"}],"max_steps":10}"#;
