//! Plain types with their parsing rules: no I/O, and no dependency on other modules of the crate.

mod access;
mod agent_id;
mod origin;
mod policy;
mod project;

pub use access::{Access, AccessSet};
pub use agent_id::AgentId;
pub use origin::Hostname;
pub use policy::{Policy, PolicyEntry};
pub use project::Project;
