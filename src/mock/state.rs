//! What the handlers share.

use std::time::Duration;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    budget::Budget,
    models::catalogue::Models,
    models::reasoning::Reasoning,
    responder::Responder,
    running::{Locks, Registry, Tempo},
    storage::View,
    tools::mcp::McpTool,
};
use crate::{access::Permit, store::Store};

/// How often a turn may say what its request says, whatever that is.
const ECHOES: usize = 4;

/// What each of many requests that are made together may produce at least.
const LEAST_SHARE: usize = 32 * 1024;

/// What the handlers share.
pub(super) struct State {
    pub(super) store: Store,
    /// What stands in for the model.
    pub(super) responder: Responder,
    /// Whether agents reason before they answer.
    pub(super) reasoning: Reasoning,
    /// Which models agents may have.
    pub(super) models: Models,
    /// How long models take.
    pub(super) tempo: Tempo,
    /// After this long without an event the client of a stream gets a sign of life.
    pub(super) ping_interval: Duration,
    /// How many bytes a turn may produce.
    pub(super) turn_bytes: usize,
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

    /// What a request of so many bytes may produce: what the settings say, and room to say itself again. Requests that are
    /// made together share what the settings say.
    pub(super) fn budget(&self, request_bytes: usize, sharers: usize) -> Budget {
        let share = (self.turn_bytes / sharers.max(1)).max(LEAST_SHARE.min(self.turn_bytes));
        Budget::new(share.max(request_bytes.saturating_mul(ECHOES)))
    }

    /// What an answer may be made of.
    pub(super) fn answer_budget(&self) -> Budget {
        Budget::of_answer(self.store.most_read())
    }
}
