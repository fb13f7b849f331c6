//! What the gate remembers about one socket of a page.

use std::sync::Arc;

use super::lookup::{Answer, Lookup};
use crate::credentials::ClientToken;

/// The limits of one socket that its frames are checked against.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most runtimes that may be open.
    pub runtimes: usize,
    /// Whether agents are reached whatever their reflection settings.
    pub allow_reflection: bool,
}

/// One socket of a page: whose it is, which runtimes it has open, and which responses it expects. Everything in it is
/// bounded.
#[derive(Debug)]
pub struct SocketState {
    token: Arc<ClientToken>,
    limits: Limits,
}

impl SocketState {
    /// A socket that was just accepted.
    #[must_use]
    pub fn new(token: Arc<ClientToken>, limits: Limits) -> Self {
        Self { token, limits }
    }

    /// The token that opened the socket.
    #[must_use]
    pub fn token(&self) -> &ClientToken {
        &self.token
    }

    /// Whether the policy has any word with which this protocol can be used. If not, the socket is closed with 4403.
    #[must_use]
    pub fn is_of_use(&self) -> bool {
        let _ = self.limits;
        false
    }

    /// Notes what a lookup found.
    pub fn learn(&mut self, lookup: &Lookup, answer: Answer) {
        let _ = (lookup, answer);
    }

    /// Whether a turn is in progress or queued in one of the open runtimes: the upstream socket must stay until it ends,
    /// or the conversation is stuck.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        false
    }
}
