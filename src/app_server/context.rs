//! What the socket of a client needs: its App Server, and what it shares with the others.

use std::{sync::Arc, time::Duration};

use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;

use super::{control::Control, counters::Counters, frame::Limits, upstream::Upstream};
use crate::access::{Feed, Guard, Permit, quota::ConcurrencyPermit};

/// One App Server.
#[derive(Debug)]
pub(super) struct AppServer {
    pub(super) name: String,
    pub(super) upstream: Arc<Upstream>,
    pub(super) control: Control,
}

/// The rules for the sockets of clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) limits: Limits,
    /// The largest message of a page, in bytes.
    pub(super) frame_bytes: usize,
    pub(super) ping_interval: Duration,
    pub(super) turn_grace: Duration,
    /// How long a client may take to read what is sent.
    pub(super) write_timeout: Duration,
    /// How long a large message may pause between two pieces.
    pub(super) body_timeout: Duration,
}

/// What a socket needs of the process.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) guard: Arc<Guard>,
    pub(super) feed: Feed,
    pub(super) counters: Counters,
    pub(super) rules: Rules,
    pub(super) stopping: CancellationToken,
}

/// A socket that a client is about to open.
#[derive(Debug)]
pub(crate) struct NewSocket {
    /// Its id in the log.
    pub(crate) id: String,
    /// The connection, once the response to the handshake is sent.
    pub(crate) connection: OnUpgrade,
    /// Whose it is.
    pub(crate) permit: Permit,
    /// The token's claim on the socket.
    pub(crate) socket_permit: Option<ConcurrencyPermit>,
}
