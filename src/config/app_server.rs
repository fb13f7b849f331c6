//! The settings of App Servers.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Secret, duration};

/// The App Server of certain projects.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NamedAppServer {
    /// Its name in `/readyz`.
    pub name: String,
    /// The projects it serves.
    pub projects: Vec<String>,
    /// Where it listens: `ws://` or `wss://`, host, port and path.
    pub url: String,
    /// Its capability token.
    pub token: Option<Secret>,
    /// A file that holds this token.
    pub token_file: Option<PathBuf>,
    /// A file that holds the secret with which bearers are signed for it.
    pub jwt_secret_file: Option<PathBuf>,
    /// A file of PEM certificates to trust in addition to the system's; replaces `upstream.ca_file`.
    pub ca_file: Option<PathBuf>,
}

/// What all App Servers have in common, and the limits on sockets. Each process counts for itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AppServerSettings {
    /// Whether client tokens reach agents that reflect on what pages write.
    pub reflection: ReflectionRule,
    /// Sockets of a client token that may be open; 0 for no limit.
    pub sockets_per_token: u32,
    /// Messages of a client token per minute, pings included; 0 for no limit.
    pub frames_per_minute: u32,
    /// Inputs of a client token per minute: each is a turn of the agent; 0 for no limit.
    pub inputs_per_minute: u32,
    /// Bytes that the sockets of a client token may receive per minute; 0 for no limit.
    pub bytes_per_minute: u32,
    /// Conversations that one socket may have open.
    pub runtimes_per_socket: usize,
    /// The largest message of a page, in bytes.
    pub frame_bytes: usize,
    /// How often an open socket is pinged.
    #[serde(with = "duration")]
    pub ping_interval: Duration,
    /// How long the App Server's socket stays for a turn whose page is gone.
    #[serde(with = "duration")]
    pub turn_grace: Duration,
}

/// What happens to client tokens of an agent for which the App Server starts sub-agents that read what pages write.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReflectionRule {
    /// They do not reach the agent.
    Refuse,
    /// They do.
    Allow,
}

impl Default for AppServerSettings {
    fn default() -> Self {
        Self {
            reflection: ReflectionRule::Refuse,
            sockets_per_token: 16,
            frames_per_minute: 600,
            inputs_per_minute: 60,
            bytes_per_minute: 64 * 1024 * 1024,
            runtimes_per_socket: 8,
            frame_bytes: 8 * 1024 * 1024,
            ping_interval: Duration::from_secs(20),
            turn_grace: Duration::from_mins(15),
        }
    }
}
