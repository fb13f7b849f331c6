//! Files: uploading, storing in folders, and attaching to agents.

pub(in crate::mock) mod attachments;
pub(in crate::mock) mod store;
pub(in crate::mock) mod upload;
