//! Files: received, stored in folders, and attached to agents.

pub(in crate::mock) mod attachments;
pub(in crate::mock) mod store;
pub(in crate::mock) mod upload;
