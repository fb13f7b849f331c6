//! Tools: base tools, the tools of agents and turns, and their execution.

pub(in crate::mock) mod agent_tools;
pub(in crate::mock) mod arguments;
pub(in crate::mock) mod base_tools;
pub(in crate::mock) mod execute;
pub(in crate::mock) mod file_search;
pub(in crate::mock) mod mcp;
pub(in crate::mock) mod mcp_schema;
pub(in crate::mock) mod memory_edit;
pub(in crate::mock) mod set;
