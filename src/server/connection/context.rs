//! The data that the tasks of one connection share.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Context,
};

use super::{response_lifetimes::ResponseLifetimes, state::ConnectionState};
use crate::http::{ResponseLifetime, Surface};

/// The context of a connection.
pub(super) struct ConnectionContext {
    pub(super) surface: Surface,
    pub(super) state: Arc<ConnectionState>,
    in_flight: Mutex<InFlight>,
}

/// The responses of an HTTP/1.1 connection that are not written yet. Pipelined ones are written one after the other.
#[derive(Debug, Default)]
struct InFlight {
    /// The token lifetimes of responses that are not watched yet.
    new_lifetimes: Vec<ResponseLifetime>,
    /// Whether all watched responses are written.
    is_flushed: bool,
}

impl ConnectionContext {
    pub(super) fn new(surface: Surface, state: Arc<ConnectionState>) -> Self {
        Self { surface, state, in_flight: Mutex::default() }
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a response of HTTP/1.1.
    pub(super) fn begin_response(&self, lifetime: Option<ResponseLifetime>) {
        self.state.begin_response();
        let mut in_flight = self.in_flight();
        if !self.state.write_progress.is_blocked() {
            in_flight.new_lifetimes.clear();
            in_flight.is_flushed = true;
        }
        in_flight.new_lifetimes.extend(lifetime);
    }

    /// Whether the token of an HTTP/1.1 response in flight has ended. Called only when the connection waits for something:
    /// most responses are written by then, and never need a future of their own.
    pub(super) fn has_expired_response(
        &self,
        response_lifetimes: &mut ResponseLifetimes,
        context: &mut Context<'_>,
    ) -> bool {
        let mut in_flight = self.in_flight();
        let is_blocked = self.state.write_progress.is_blocked();
        if mem::take(&mut in_flight.is_flushed) {
            response_lifetimes.clear();
        }
        if !is_blocked && self.state.is_handed_over() {
            in_flight.new_lifetimes.clear();
            response_lifetimes.clear();
        }
        for lifetime in in_flight.new_lifetimes.drain(..) {
            response_lifetimes.add(lifetime, &self.surface);
        }
        drop(in_flight);
        response_lifetimes.has_ended(context)
    }
}
