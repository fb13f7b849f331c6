//! The turn engine. All requests to agents become turns: the agent loop calls the responder and tools until the turn ends, and
//! one transaction stores its messages, effects and result.
//!
//! A turn that takes no time is stored before its client sees any of it. A turn that takes longer stores its run first, so
//! that it can be found. It then holds neither a database lock nor a connection until its end, so a slow client delays only
//! its own stream.

mod agent_loop;
mod agent_messages;
mod approval;
mod backoff;
mod commit;
mod cost;
mod engine;
mod event_sink;
mod input;
mod lease;
mod output;
mod recovery;
mod replay;
mod request;
mod sleeptime;
mod sse;

pub(super) use commit::{cancel_elsewhere, deny_pending, store_effects};
pub(super) use engine::{Ended, Turn, message_agents, resume_all};
pub(super) use input::read_initial_messages;
pub(super) use recovery::recover;
pub(super) use replay::{ReplayOptions, replay};
pub(super) use request::{SendRequest, idempotency_key};
pub(super) use sse::{failed_stream, ping};
