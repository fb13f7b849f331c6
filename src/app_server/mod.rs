//! Letta's App Server: which of its WebSocket protocol a client token may use.
//!
//! `commands` and `messages` are the two tables of the protocol, inbound and outbound; what is in neither does not exist.
//! `frame` applies them: it checks and rebuilds each frame of a page, and cuts each frame of the server. It is pure and
//! synchronous; the sockets are elsewhere.

pub mod commands;
mod cuts;
pub mod fields;
pub mod frame;
pub mod messages;

pub use commands::Command;
pub use frame::{
    Answer, Checked, Close, Frame, Limits, Lookup, Outbound, Reflection, ServerInfo, SocketState, Stamp, outbound,
};
pub use messages::Message;

/// The version of the protocol that the tables decide about.
pub const PROTOCOL: &str = "0.34.12";

#[cfg(test)]
mod tests;
