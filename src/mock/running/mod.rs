//! The turns that run in this process: which they are, what they have said, and how fast.

mod event_log;
mod locks;
mod pace;
mod registry;

pub(super) use event_log::{EventLog, StoredEvents};
pub(super) use locks::Locks;
pub(super) use pace::Pace;
pub use pace::Tempo;
pub(super) use registry::{Busy, Registration, Registry};
