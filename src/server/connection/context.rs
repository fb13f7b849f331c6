//! What the tasks of one connection share.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Context,
};

use super::{lives::Lives, state::Pulse};
use crate::http::{Life, Surface};

/// What one connection serves, and its responses of HTTP/1.1.
pub(super) struct ServedConnection {
    pub(super) surface: Surface,
    pub(super) pulse: Arc<Pulse>,
    under_way: Mutex<UnderWay>,
}

/// The responses of an HTTP/1.1 connection that have not left it. Pipelined ones wait for each other.
#[derive(Debug, Default)]
struct UnderWay {
    /// The lives of those that are not watched over yet.
    added: Vec<Life>,
    /// Whether all that were watched over have left.
    has_left: bool,
}

impl ServedConnection {
    pub(super) fn new(surface: Surface, pulse: Arc<Pulse>) -> Self {
        Self { surface, pulse, under_way: Mutex::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A response of HTTP/1.1 begins, after whatever went before it.
    pub(super) fn begin_response(&self, life: Option<Life>) {
        self.pulse.begin_response();
        let mut under_way = self.under_way();
        if !self.pulse.backlog.is_blocked() {
            under_way.added.clear();
            under_way.has_left = true;
        }
        under_way.added.extend(life);
    }

    /// Whether a response of HTTP/1.1 has outlived its token. Asked when the connection waits for something: most responses
    /// have left by then, and cost nothing.
    pub(super) fn has_outlived(&self, lives: &mut Lives, context: &mut Context<'_>) -> bool {
        let mut under_way = self.under_way();
        let is_blocked = self.pulse.backlog.is_blocked();
        if mem::take(&mut under_way.has_left) {
            lives.clear();
        }
        if !is_blocked && self.pulse.is_whole() {
            under_way.added.clear();
            lives.clear();
        }
        for life in under_way.added.drain(..) {
            lives.add(life, &self.surface);
        }
        drop(under_way);
        lives.has_ended(context)
    }
}
