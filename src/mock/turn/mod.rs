//! The turn engine. A turn is asked for by one route or another, and is always the same: the responder is asked until it
//! is done, and one transaction stores everything that was said and done, and how it ended.
//!
//! A turn that needs no time is stored before anybody hears of it. One that takes longer stores its run first, so that it
//! can be found; then neither a lock nor a connection is held until its end, so a client that reads slowly or not at all
//! keeps nothing but its own stream waiting.

mod agent_loop;
mod agent_messages;
mod approval;
mod commit;
mod cost;
mod engine;
mod event_sink;
mod input;
mod lease;
mod recovery;
mod replay;
mod request;
mod sleeptime;
mod sse;

pub(super) use commit::{cancel_elsewhere, give_up_question, store_effects};
pub(super) use engine::{Ended, Turn, message_agents};
pub(super) use input::Incoming;
pub(super) use recovery::{resume, take_up};
pub(super) use replay::{ReplayOptions, replay};
pub(super) use request::{ClientTool, Delivery, SendRequest, TurnRequest, idempotency_key};
