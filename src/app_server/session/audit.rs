//! The log of what clients do on their sockets: a line for each socket and for each frame of a page. It has names and
//! rulings, never texts or URLs.

use std::time::Instant;

use tracing::info;

use crate::{
    access::Caller,
    app_server::{
        Command,
        counters::Ruling,
        frame::{Close, Frame},
    },
    error::Code,
};

/// The log of one socket.
#[derive(Debug)]
pub(super) struct Audit {
    socket: String,
    /// The fingerprint of a client token, or the id of an API key.
    caller: String,
    opened: Instant,
}

impl Audit {
    /// Logs that a socket was opened.
    pub(super) fn opened(socket: String, caller: &Caller, app_server: &str) -> Self {
        let caller = match caller {
            Caller::ClientToken(token) => token.fingerprint.to_string(),
            Caller::ApiKey { key, .. } => key.id.to_string(),
        };
        info!(socket, caller, app_server, "A socket was opened");
        Self { socket, caller, opened: Instant::now() }
    }

    /// Logs what became of a frame.
    pub(super) fn frame(&self, frame: &Frame, ruling: Ruling, code: Option<Code>) {
        let (agent, conversation) = frame.names();
        info!(
            socket = self.socket,
            caller = self.caller,
            command = frame.command().map_or("other", Command::name),
            agent,
            conversation,
            ruling = ruling.word(),
            code = code.map(Code::word),
            "A frame was {}",
            ruling.word()
        );
    }

    /// Logs that the client's side was closed: with a code, or by the client.
    pub(super) fn closed(&self, close: Option<Close>, why: &'static str) {
        info!(
            socket = self.socket,
            caller = self.caller,
            close.code = close.map(|close| close.code),
            close.reason = close.map(|close| close.reason),
            why,
            duration_ms = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX),
            "A socket was closed"
        );
    }

    /// Logs that the App Server's side stayed until a turn had ended.
    pub(super) fn outlived(&self, why: &'static str) {
        info!(
            socket = self.socket,
            caller = self.caller,
            why,
            "The App Server's socket was closed after its page had gone"
        );
    }
}

/// Logs a socket that was opened only to tell why it is refused.
pub(super) fn refused(socket: &str, close: Close) {
    info!(socket, close.code = close.code, close.reason = close.reason, "A socket was refused");
}
