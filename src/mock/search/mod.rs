//! Search over what is stored: messages and archival memory.

pub(in crate::mock) mod archival;
pub(in crate::mock) mod messages;
