//! Every setting, with its default. `config/gatelet.example.toml` shows them all; a test keeps it equal.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::{AppServerSettings, ControlSettings, NamedAppServer, Secret, duration, word::written_word};

/// All settings.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// `sqlite://FILE` or `postgres://...`; `None` for `sqlite://gatelet.db`.
    pub database_url: Option<Secret>,
    /// Keep everything in memory and nothing on disk.
    #[serde(deserialize_with = "figment::util::bool_from_str_or_int")]
    pub ephemeral: bool,
    /// What to do with a client token's request that carries neither Origin nor a usable Referer.
    pub origin_missing: OriginMissing,
    /// An API key to accept, at least 20 characters beginning with `sk-let-`. Better given by the environment.
    pub bootstrap_api_key: Option<Secret>,
    /// The key that seals signing keys, 32 bytes in base64url; `gatelet keygen` makes one. Better given by the
    /// environment or a file.
    pub master_key: Option<Secret>,
    /// A file that holds the master key.
    pub master_key_file: Option<PathBuf>,
    /// The Letta server behind Gatelet: scheme and authority. `None` starts the mock.
    pub upstream_url: Option<String>,
    /// Gatelet's own credential for it. Better given by the environment or a file.
    pub upstream_api_key: Option<Secret>,
    /// A file that holds this credential.
    pub upstream_api_key_file: Option<PathBuf>,
    /// The Letta servers of certain projects; all others use `upstream_url`. Only in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<NamedUpstream>,
    /// The App Server behind Gatelet: `ws://` or `wss://`, host, port and path.
    pub app_server_url: Option<String>,
    /// Its capability token. Better given by the environment or a file.
    pub app_server_token: Option<Secret>,
    /// A file that holds this token.
    pub app_server_token_file: Option<PathBuf>,
    /// A file that holds the secret with which bearers are signed for it.
    pub app_server_jwt_secret_file: Option<PathBuf>,
    /// The App Servers of certain projects; all others use `app_server_url`. Only in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub app_servers: Vec<NamedAppServer>,
    /// The address to serve metrics on; `None` to neither collect nor serve them.
    pub metrics_listen: Option<SocketAddr>,
    /// The format of log lines; `None` for pretty on a terminal and JSON otherwise.
    pub log_format: Option<LogFormat>,
    /// Which log lines are written, in the syntax of tracing-subscriber's `EnvFilter`.
    pub log: String,
    /// How long requests and streams may take to finish after a signal to stop.
    #[serde(with = "duration")]
    pub shutdown_grace: Duration,
    /// How the server stops.
    pub shutdown: Shutdown,
    /// Client tokens: how they are issued and kept current.
    pub tokens: Tokens,
    /// What client tokens may do beyond the default.
    pub client_tokens: ClientTokens,
    /// API keys.
    pub api_keys: ApiKeys,
    /// The database.
    pub store: StoreSettings,
    /// Limits on what a client may send.
    pub limits: Limits,
    /// The connections of all upstreams.
    pub upstream: UpstreamSettings,
    /// What all App Servers have in common.
    pub app_server: AppServerSettings,
    /// The mock.
    pub mock: MockSettings,
    /// The control API, with which tests set up and examine a mock.
    pub control: ControlSettings,
}

impl Settings {
    /// Whether there is a real server behind Gatelet, so that nothing is mocked.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.upstream_url.is_some() || !self.upstreams.is_empty() || self.has_app_server()
    }

    /// Whether an App Server is behind Gatelet.
    #[must_use]
    pub fn has_app_server(&self) -> bool {
        self.app_server_url.is_some() || !self.app_servers.is_empty()
    }
}

/// What to do with a client token's request that names no origin.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OriginMissing {
    /// Refuse it.
    Deny,
    /// Accept it: scripts and servers send no Origin.
    Allow,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines, one object a line.
    Json,
}

/// How the server stops.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// How long to accept connections after a signal, while `/readyz` already returns 503.
    #[serde(with = "duration")]
    pub delay: Duration,
}

/// Client tokens: how they are issued and kept current.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// The longest a token may live.
    #[serde(with = "duration")]
    pub max_lifetime: Duration,
    /// How long revocations may go unread before client tokens get 503.
    #[serde(with = "duration")]
    pub max_staleness: Duration,
    /// How long expired tokens and their revocations are kept.
    #[serde(with = "duration")]
    pub retention: Duration,
    /// How many verified tokens are remembered.
    pub cache_capacity: usize,
    /// What happens to a response in progress when its token expires.
    pub stream_at_expiry: StreamAtExpiry,
}

/// What happens to a response in progress when its token expires. A revoked token ends it in any case.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamAtExpiry {
    /// It is completed.
    Finish,
    /// It is cut off.
    Cut,
}

/// What client tokens may do beyond the default.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTokens {
    /// Abilities of the message body that no access word covers.
    pub allow: Vec<ClientTokenAllowance>,
}

/// An ability of the message body that a deployment may grant to client tokens.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientTokenAllowance {
    /// Tools that the page itself runs.
    ClientTools,
    /// Decisions on human-in-the-loop approvals.
    Approvals,
}

/// API keys.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeys {
    /// Accept API keys from browsers. A server key in a browser is a leaked key.
    #[serde(deserialize_with = "figment::util::bool_from_str_or_int")]
    pub allow_browsers: bool,
}

/// The database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// The largest number of connections.
    pub max_connections: u32,
    /// How long one statement may run.
    #[serde(with = "duration")]
    pub statement_timeout: Duration,
}

/// Limits on what a client may send. Each process counts for itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests per minute of a client token; 0 for no limit, `None` for the mode's default.
    #[serde(deserialize_with = "optional_count")]
    pub requests_per_minute: Option<u32>,
    /// Concurrent streams and turns of a client token; 0 for no limit, `None` for the mode's default.
    #[serde(deserialize_with = "optional_count")]
    pub streams_per_token: Option<u32>,
    /// Concurrent request bodies of more than 64 KiB of a client token; 0 for no limit, `None` for the mode's default.
    #[serde(deserialize_with = "optional_count")]
    pub large_bodies_per_token: Option<u32>,
    /// Bytes of responses held in memory for a client token; 0 for no limit.
    pub response_bytes_per_token: usize,
    /// The largest body, in bytes.
    pub body_bytes: usize,
    /// The largest body of an operation that uploads a file, in bytes.
    pub upload_bytes: usize,
    /// How long a body may pause between two pieces.
    #[serde(with = "duration")]
    pub body_timeout: Duration,
    /// The lowest average rate of a body, after a grace period of `body_timeout`, in bytes per second; 0 for no limit.
    pub body_bytes_per_second: u32,
    /// How long a client may take to read the next 64 KiB of a response, or the rest of it.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// The longest request target, path and query, in bytes.
    pub target_bytes: usize,
    /// How many header fields a request may have.
    pub header_count: usize,
    /// The largest size of all header fields together, in bytes.
    pub header_bytes: usize,
    /// How long the head of a request may take to arrive.
    #[serde(with = "duration")]
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
}

impl Limits {
    /// How many requests a minute a gateway accepts from a client token by default.
    pub(crate) const GATEWAY_REQUESTS_PER_MINUTE: u32 = 600;

    /// Requests per minute for each client token. A gateway has a limit by default, because a request may cost money.
    #[must_use]
    pub fn requests_per_minute(&self, is_gateway: bool) -> Option<NonZeroU32> {
        NonZeroU32::new(self.requests_per_minute.unwrap_or(if is_gateway {
            Self::GATEWAY_REQUESTS_PER_MINUTE
        } else {
            0
        }))
    }

    /// Streams for each client token.
    #[must_use]
    pub fn streams_per_token(&self, is_gateway: bool) -> Option<NonZeroU32> {
        NonZeroU32::new(self.streams_per_token.unwrap_or(if is_gateway { 8 } else { 0 }))
    }

    /// Concurrent large bodies for each client token.
    #[must_use]
    pub fn large_bodies_per_token(&self, is_gateway: bool) -> Option<NonZeroU32> {
        NonZeroU32::new(self.large_bodies_per_token.unwrap_or(if is_gateway { 8 } else { 0 }))
    }
}

/// The Letta server of certain projects. A server of a single project whose URL no other upstream has is assumed to
/// store nothing of other projects.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NamedUpstream {
    /// Its name in `/readyz`.
    pub name: String,
    /// The projects it serves.
    pub projects: Vec<String>,
    /// Its scheme and authority.
    pub url: String,
    /// Gatelet's own credential there.
    pub api_key: Option<Secret>,
    /// A file that holds this credential.
    pub api_key_file: Option<PathBuf>,
    /// A file of PEM certificates to trust in addition to the system's; replaces `upstream.ca_file`.
    pub ca_file: Option<PathBuf>,
}

/// The connections of all upstreams.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamSettings {
    /// A file of PEM certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// How long connecting may take, the TLS handshake included.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long the head of a response may take. Without streaming, a model may think for minutes before it.
    #[serde(with = "duration")]
    pub first_byte_timeout: Duration,
    /// How long a response may pause between two frames.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
}

/// The mock.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MockSettings {
    /// Whether agents send a reasoning message before they reply.
    pub reasoning: MockReasoning,
    /// Which models of Letta's providers agents may have.
    pub models: MockModels,
    /// How long a model takes for the first token of a step.
    #[serde(with = "duration")]
    pub first_token: Duration,
    /// How long it takes from one token to the next.
    #[serde(with = "duration")]
    pub token_interval: Duration,
    /// A TOML file with scripted replies.
    pub script: Option<PathBuf>,
    /// What the mock begins with; only in memory.
    pub seed: Option<PathBuf>,
    /// How long a stream may be silent before it sends a ping.
    #[serde(with = "duration")]
    pub ping_interval: Duration,
    /// The largest output of a turn, in bytes: texts, calls, tool returns, changes of memory.
    pub turn_bytes: usize,
    /// The largest amount of stored data that one response reads, in bytes.
    pub answer_bytes: usize,
    /// The tools of MCP servers. The mock does not connect to them.
    pub mcp_tools: Vec<McpToolSettings>,
}

/// Whether agents reason before they reply. `true` stands for `always`, `false` for `never`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MockReasoning {
    /// Agents whose models reason.
    Auto,
    /// All agents.
    Always,
    /// No agents.
    Never,
}

impl<'de> Deserialize<'de> for MockReasoning {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match written_word(deserializer).as_str() {
            "auto" => Ok(Self::Auto),
            "always" | "true" | "yes" | "on" | "1" => Ok(Self::Always),
            "never" | "false" | "no" | "off" | "0" => Ok(Self::Never),
            _ => Err(D::Error::custom("write it as auto, always or never")),
        }
    }
}

/// Which models of Letta's providers agents, archives and folders may have.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MockModels {
    /// All of them.
    Open,
    /// Those that `GET /v1/models/` and `/v1/models/embedding` list.
    Closed,
}

/// A tool of an MCP server.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct McpToolSettings {
    /// The server's name.
    pub server: String,
    /// The tool's name.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// The JSON schema of its arguments.
    #[serde(default)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// What every call returns; `None` for a text that says how it was called.
    #[serde(default)]
    pub result: Option<serde_json::Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8283)),
            database_url: None,
            ephemeral: false,
            origin_missing: OriginMissing::Deny,
            bootstrap_api_key: None,
            master_key: None,
            master_key_file: None,
            upstream_url: None,
            upstream_api_key: None,
            upstream_api_key_file: None,
            upstreams: Vec::new(),
            app_server_url: None,
            app_server_token: None,
            app_server_token_file: None,
            app_server_jwt_secret_file: None,
            app_servers: Vec::new(),
            metrics_listen: None,
            log_format: None,
            log: "info".into(),
            shutdown_grace: Duration::from_secs(10),
            shutdown: Shutdown::default(),
            tokens: Tokens::default(),
            client_tokens: ClientTokens::default(),
            api_keys: ApiKeys::default(),
            store: StoreSettings::default(),
            limits: Limits::default(),
            upstream: UpstreamSettings::default(),
            app_server: AppServerSettings::default(),
            mock: MockSettings::default(),
            control: ControlSettings::default(),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { delay: Duration::ZERO }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            max_lifetime: Duration::from_hours(30 * 24),
            max_staleness: Duration::from_secs(10),
            retention: Duration::from_hours(24),
            cache_capacity: 50_000,
            stream_at_expiry: StreamAtExpiry::Finish,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { max_connections: 10, statement_timeout: Duration::from_secs(5) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_minute: None,
            streams_per_token: None,
            large_bodies_per_token: None,
            response_bytes_per_token: 64 * 1024 * 1024,
            body_bytes: 8 * 1024 * 1024,
            upload_bytes: 100 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            body_bytes_per_second: 1024,
            write_timeout: Duration::from_secs(30),
            target_bytes: 8 * 1024,
            header_count: 64,
            header_bytes: 32 * 1024,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
        }
    }
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_mins(10),
            idle_timeout: Duration::from_mins(5),
        }
    }
}

impl Default for MockSettings {
    fn default() -> Self {
        Self {
            reasoning: MockReasoning::Auto,
            models: MockModels::Open,
            first_token: Duration::ZERO,
            token_interval: Duration::ZERO,
            script: None,
            seed: None,
            ping_interval: Duration::from_secs(20),
            turn_bytes: 4 * 1024 * 1024,
            answer_bytes: 8 * 1024 * 1024,
            mcp_tools: Vec::new(),
        }
    }
}

/// An optional number. In the environment it is written as text.
fn optional_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u32),
        Text(String),
    }
    let problem = || D::Error::custom("write it as a whole number; 0 switches the limit off");
    match Option::deserialize(deserializer).map_err(|_| problem())? {
        None => Ok(None),
        Some(Written::Number(number)) => Ok(Some(number)),
        Some(Written::Text(text)) => text.parse().map(Some).map_err(|_| problem()),
    }
}
