//! MCP servers, in both generations of their API.

pub(super) mod legacy;
pub(super) mod servers;
