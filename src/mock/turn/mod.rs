//! The turn engine. A turn is asked for by one route or another, and is always the same: a run is made, the responder is
//! asked until it is done, and one transaction stores everything that was said and how it ended.
//!
//! Between the first and the last of these no lock and no connection is held, so a client that reads slowly or not at all
//! keeps nothing but its own stream waiting.

mod commit;
mod engine;
mod locks;
mod outlet;
mod registry;
mod request;
mod sweep;

pub(super) use commit::cancel_elsewhere;
pub(super) use engine::{Ended, Turn};
pub(super) use locks::Locks;
pub(super) use registry::Registry;
pub(super) use request::{Incoming, SendRequest, TurnRequest};
pub(super) use sweep::resume;
