//! What the handlers share.

use std::time::Duration;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    documents::View,
    mcp::McpTool,
    model_handles::Models,
    responder::Responder,
    turn::{Locks, Registry},
};
use crate::{access::Permit, store::Store};

/// What the handlers share.
pub(super) struct State {
    pub(super) store: Store,
    /// What stands in for the model.
    pub(super) responder: Responder,
    /// Which models agents may have.
    pub(super) models: Models,
    /// After this long without an event the client of a stream gets a sign of life.
    pub(super) ping_interval: Duration,
    /// The tools of MCP servers.
    pub(super) mcp_tools: Vec<McpTool>,
    /// The turns that run in this process.
    pub(super) turns: Registry,
    /// One lock for each agent that is being spoken to.
    pub(super) locks: Locks,
    /// Everything that runs beside requests.
    pub(super) tasks: TaskTracker,
    /// Cancelled when the process is about to end.
    pub(super) closing: CancellationToken,
}

impl State {
    /// The store as a caller sees it.
    pub(super) fn view<'a>(&'a self, permit: &'a Permit) -> View<'a> {
        View::new(&self.store, permit)
    }
}
