//! The state that all handlers of the mock share.

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    budget::Budget,
    models::catalogue::Models,
    models::reasoning::Reasoning,
    responder::Responder,
    running::{AgentLocks, ModelLatency, Registry, Runtimes},
    storage::View,
    tools::mcp::McpTool,
};
use crate::{access::Permit, store::Store};

/// A turn may repeat the content of its request this many times, however large that is.
const MAX_ECHOES: usize = 4;

/// The smallest share of a budget, in bytes, when many requests that arrive together share it.
const MIN_SHARE: usize = 32 * 1024;

/// What all handlers share.
pub(super) struct State {
    pub(super) store: Store,
    /// Stands in for the model.
    pub(super) responder: Arc<Responder>,
    /// Whether agents reason before they reply.
    pub(super) reasoning: Reasoning,
    /// The models that agents may have.
    pub(super) models: Models,
    pub(super) latency: ModelLatency,
    /// After this long without an event, a stream sends a ping.
    pub(super) ping_interval: Duration,
    /// How many bytes a turn may produce.
    pub(super) turn_bytes: usize,
    /// The tools of MCP servers.
    pub(super) mcp_tools: Vec<McpTool>,
    /// The turns that run in this process.
    pub(super) turns: Registry,
    pub(super) locks: AgentLocks,
    /// The conversations that sockets of the App Server's protocol have subscribed to.
    pub(super) runtimes: Runtimes,
    /// All tasks that outlive the request that spawned them.
    pub(super) tasks: TaskTracker,
    /// Cancelled when the process is about to stop.
    pub(super) closing: CancellationToken,
}

impl State {
    /// The store as a caller sees it.
    pub(super) fn view<'a>(&'a self, permit: &'a Permit) -> View<'a> {
        View::new(&self.store, permit)
    }

    /// The budget of a turn whose request has `request_bytes`: `turn_bytes`, divided among the `sharers` requests that
    /// arrived together, but at least enough to repeat the request.
    pub(super) fn budget(&self, request_bytes: usize, sharers: usize) -> Budget {
        let share = (self.turn_bytes / sharers.max(1)).max(MIN_SHARE.min(self.turn_bytes));
        Budget::new(share.max(request_bytes.saturating_mul(MAX_ECHOES)))
    }

    /// The budget of a response that is made of stored data.
    pub(super) fn response_budget(&self) -> Budget {
        Budget::of_response(self.store.most_read())
    }
}
