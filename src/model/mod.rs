//! Plain types with their parsing rules: no I/O, and no dependency on other modules of the crate.

pub mod access;
pub mod agent_id;
pub mod origin;
pub mod policy;
pub mod project;

pub use access::{Access, AccessSet};
pub use agent_id::AgentId;
pub use origin::Hostname;
pub use policy::{Policy, PolicyEntry};
pub use project::Project;
