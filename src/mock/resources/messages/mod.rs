//! Messages: sent, listed, and found.

pub(super) mod agent;
pub(super) mod all;
pub(super) mod completions;
pub(super) mod conversation;
pub(super) mod list;
pub(super) mod send;
