//! Letta's App Server: which of its WebSocket protocol a client token may use.
//!
//! `commands` and `messages` are the two tables of the protocol, inbound and outbound; what is in neither does not exist.
//! `frame` applies them: it checks and rebuilds each frame of a page, and cuts each frame of the server. It is pure and
//! synchronous. `servers` are the App Servers of the settings, `session` is the life of a client's socket, and `control` is
//! the socket on which the gate itself asks.

mod bearer;
mod closing;
pub mod commands;
mod connection;
mod context;
mod control;
mod counters;
mod cuts;
pub mod fields;
pub mod frame;
mod io;
pub mod messages;
mod options;
mod resident;
mod servers;
mod session;
mod upstream;

pub use commands::Command;
pub(crate) use context::NewSocket;
pub use frame::{
    Answer, Checked, Close, Frame, Limits, Lookup, Outbound, Reflection, ServerInfo, SocketState, Stamp, outbound,
};
pub use messages::Message;
pub use options::AppServerError;
pub(crate) use resident::Resident;
pub use servers::AppServers;

/// The version of the protocol that the tables decide about.
pub const PROTOCOL: &str = "0.34.12";

#[cfg(test)]
mod tests;
