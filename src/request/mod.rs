//! The parts of a request (headers, query, body), and how long it waits for others.

pub(crate) mod body;
pub(crate) mod closed;
pub(crate) mod headers;
pub mod input;
pub mod json;
pub(crate) mod toml;
pub(crate) mod waits;
