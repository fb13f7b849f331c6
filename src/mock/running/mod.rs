//! The turns that run in this process: a registry of them, their events, their locks, and their simulated latency.

mod event_log;
mod latency;
mod locks;
mod registry;

pub(super) use event_log::{EventLog, StoredEvents};
pub use latency::ModelLatency;
pub(super) use latency::Pacer;
pub(super) use locks::AgentLocks;
pub(super) use registry::{Busy, Registration, Registry};
