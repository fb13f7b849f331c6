//! Plain types with their parsing rules. No I/O, and no use of any other module of ours.

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
