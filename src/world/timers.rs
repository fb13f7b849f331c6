//! The timers of a world whose clock was set.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use super::{
    Backwards,
    time::{Micros, Time, TimerMode},
};

/// How long advancing waits for the tasks whose timers have fired, in real time.
const SETTLING: Duration = Duration::from_secs(2);

/// At most this many timers are reported as fired, so that a response stays readable.
const MOST_REPORTED: usize = 1_000;

/// What waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// A pause of a model, in a run.
    Pause,
    /// The time after which a silent stream sends a ping.
    Ping,
    /// A client token's response that ends at its expiry.
    TokenExpiry,
}

/// A timer that waits, or has fired.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pending {
    /// When it is due, in microseconds since the Unix epoch.
    pub due: Micros,
    /// What waits.
    pub kind: TimerKind,
    /// The run or token that it belongs to.
    pub id: Box<str>,
}

/// What an advance of the clock did.
#[derive(Clone, Debug)]
pub struct Advanced {
    /// The timers that fired, in order.
    pub fired: Vec<Pending>,
    /// Whether all tasks whose timers fired wait again or have ended.
    pub settled: bool,
    /// The tasks that do not, if any.
    pub unsettled: Vec<Pending>,
}

#[derive(Debug, Default)]
pub(super) struct Timers(Arc<TimersState>);

#[derive(Debug, Default)]
struct TimersState {
    queue: Mutex<Queue>,
    /// Notified when the last busy task waits again.
    settled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// By due time, then in the order in which they began.
    waiting: BTreeMap<(Micros, u64), Timer>,
    next: u64,
    busy: BTreeMap<u64, Pending>,
}

#[derive(Debug)]
struct Timer {
    pending: Pending,
    wake: oneshot::Sender<BusyTask>,
}

/// Which timers are looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kinds {
    AllButPings,
    All,
}

/// A task that works because its timer fired.
#[derive(Debug)]
pub(super) struct BusyTask {
    timers: Arc<TimersState>,
    number: u64,
}

/// A timer's place in the queue, given up when the task stops waiting.
struct Place<'a> {
    timers: &'a TimersState,
    key: (Micros, u64),
}

impl Timers {
    /// Waits for a pause. It takes as long as the mode says, also if that changes meanwhile.
    pub(super) async fn pause(&self, time: &Time, length: Duration, kind: TimerKind, id: &str) {
        let due = time.now().saturating_add(Micros::try_from(length.as_micros()).unwrap_or(Micros::MAX));
        loop {
            match time.timer_mode() {
                TimerMode::Instant => return tokio::task::yield_now().await,
                TimerMode::Real => return tokio::time::sleep(left(due, time.now()).min(length)).await,
                TimerMode::Virtual if due <= time.now() => return,
                TimerMode::Virtual => self.wait(due, kind, id).await,
            }
        }
    }

    /// Waits until the clock shows an instant, whether it goes on by itself or is advanced, or until it is woken early.
    pub(super) async fn wall(&self, time: &Time, due: Micros, kind: TimerKind, id: &str, is_early: impl Fn() -> bool) {
        loop {
            let now = time.now();
            if due <= now || is_early() {
                return;
            }
            let is_frozen = time.is_frozen();
            tokio::select! {
                () = self.wait(due, kind, id) => {}
                () = tokio::time::sleep(left(due, now)), if !is_frozen => {}
            }
        }
    }

    async fn wait(&self, due: Micros, kind: TimerKind, id: &str) {
        let (wake, woken) = oneshot::channel();
        let place = {
            let mut queue = self.queue();
            let key = (due, queue.next);
            queue.next += 1;
            queue.waiting.insert(key, Timer { pending: Pending { due, kind, id: id.into() }, wake });
            Place { timers: &self.0, key }
        };
        super::set_busy(None);
        if let Ok(busy) = woken.await {
            // The task is not woken for a ping or an expiry in a way that it could tell the end of.
            super::set_busy(matches!(kind, TimerKind::Pause).then_some(busy));
        }
        drop(place);
    }

    /// Wakes what is due, and all if timers no longer wait for the clock.
    pub(super) fn release(&self, now: Micros, mode: TimerMode) {
        while self.fire_next(if mode == TimerMode::Virtual { now } else { Micros::MAX }, Kinds::All).is_some() {}
    }

    /// Wakes the timers of one thing.
    pub(super) fn wake(&self, kind: TimerKind, id: &str) {
        let mut queue = self.queue();
        let is_meant = |timer: &Timer| timer.pending.kind == kind && *timer.pending.id == *id;
        let keys: Vec<_> = queue.waiting.iter().filter(|(_, timer)| is_meant(timer)).map(|(key, _)| *key).collect();
        // Dropping the sender wakes the task.
        for key in keys {
            queue.waiting.remove(&key);
        }
    }

    pub(super) fn pending(&self) -> Vec<Pending> {
        self.queue().waiting.values().map(|timer| timer.pending.clone()).collect()
    }

    pub(super) async fn advance(&self, time: &Time, to: Micros) -> Result<Advanced, Backwards> {
        if to < time.now() {
            return Err(Backwards);
        }
        let mut fired = Vec::new();
        let deadline = tokio::time::Instant::now() + SETTLING;
        let mut settled = self.settle(deadline).await;
        // A silent stream sends one ping, however far the clock is advanced.
        for kinds in [Kinds::AllButPings, Kinds::All] {
            while let Some(due) = self.next_due(kinds).filter(|due| *due <= to) {
                // A clock that goes on may have passed it by itself.
                let now = if kinds == Kinds::All { to } else { due };
                let _ = time.move_to(now.max(time.now()));
                if let Some(pending) = self.fire_next(due, kinds) {
                    if fired.len() < MOST_REPORTED {
                        fired.push(pending);
                    }
                    settled = self.settle(deadline).await;
                }
            }
            let _ = time.move_to(to.max(time.now()));
        }
        let unsettled = if settled { Vec::new() } else { self.queue().busy.values().cloned().collect() };
        Ok(Advanced { fired, settled, unsettled })
    }

    fn next_due(&self, kinds: Kinds) -> Option<Micros> {
        self.queue().first(kinds).map(|(due, _)| due)
    }

    /// Wakes the first timer that is due.
    fn fire_next(&self, now: Micros, kinds: Kinds) -> Option<Pending> {
        let mut queue = self.queue();
        let key = queue.first(kinds).filter(|(due, _)| *due <= now)?;
        let (Timer { pending, wake }, number) = (queue.waiting.remove(&key)?, key.1);
        queue.busy.insert(number, pending.clone());
        drop(queue);
        // A task that is gone drops the mark at once.
        let _ = wake.send(BusyTask { timers: Arc::clone(&self.0), number });
        Some(pending)
    }

    async fn settle(&self, deadline: tokio::time::Instant) -> bool {
        loop {
            let settled = self.0.settled.notified();
            if self.queue().busy.is_empty() {
                return true;
            }
            if tokio::time::timeout_at(deadline, settled).await.is_err() {
                return self.queue().busy.is_empty();
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue()
    }
}

impl Queue {
    fn first(&self, kinds: Kinds) -> Option<(Micros, u64)> {
        let is_included = |timer: &Timer| kinds == Kinds::All || timer.pending.kind != TimerKind::Ping;
        self.waiting.iter().find(|(_, timer)| is_included(timer)).map(|(key, _)| *key)
    }
}

impl TimersState {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BusyTask {
    /// A task that this one spawns.
    pub(super) fn another(&self) -> Self {
        let mut queue = self.timers.queue();
        let number = queue.next;
        queue.next += 1;
        if let Some(pending) = queue.busy.get(&self.number).cloned() {
            queue.busy.insert(number, pending);
        }
        Self { timers: Arc::clone(&self.timers), number }
    }
}

impl Drop for BusyTask {
    fn drop(&mut self) {
        let mut queue = self.timers.queue();
        queue.busy.remove(&self.number);
        if queue.busy.is_empty() {
            drop(queue);
            self.timers.settled.notify_waiters();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.timers.queue().waiting.remove(&self.key);
    }
}

/// The time from `now` to `due`.
fn left(due: Micros, now: Micros) -> Duration {
    Duration::from_micros(u64::try_from(due.saturating_sub(now)).unwrap_or(0))
}
