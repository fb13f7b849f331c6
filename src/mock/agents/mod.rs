//! Agents: creating them, their memory and system prompt, their conversations, and agent files.

pub(in crate::mock) mod compaction;
pub(in crate::mock) mod create;
pub(in crate::mock) mod directories;
pub(in crate::mock) mod file;
pub(in crate::mock) mod insert;
pub(in crate::mock) mod legacy;
pub(in crate::mock) mod memory;
pub(in crate::mock) mod prompt;
pub(in crate::mock) mod sleeptime;
pub(in crate::mock) mod thread;
