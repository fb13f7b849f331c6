//! The parts of a request (headers, query, body), and how long it waits for others.

pub mod body;
pub mod headers;
pub mod input;
pub mod json;
pub mod waits;
