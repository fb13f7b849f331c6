//! The turns that run in this process: a registry of them, their events, their locks, their simulated latency, and the
//! conversations that sockets have subscribed to.

mod event_log;
mod latency;
mod locks;
mod registry;
mod runtimes;

pub(super) use event_log::{EventLog, StoredEvents};
pub use latency::ModelLatency;
pub(super) use latency::Pacer;
pub(super) use locks::AgentLocks;
pub(super) use registry::{Busy, Registration, Registry};
pub(super) use runtimes::{Accepted, Queued, Runtime, Runtimes, Subscriber};
