//! Doing something at an exact time: timers are a millisecond coarse, and a core that sleeps is slow to wake.

use std::{
    collections::BinaryHeap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;

/// Who waits for what time, the earliest at the top.
static WAITING: Mutex<BinaryHeap<Waiting>> = Mutex::new(BinaryHeap::new());

struct Waiting {
    at: Instant,
    is_due: oneshot::Sender<()>,
}

/// Waits until a time, while [`keep`] runs.
pub(crate) async fn until(at: Instant) {
    let (is_due, due) = oneshot::channel();
    waiting().push(Waiting { at, is_due });
    // The sender is kept until it is due.
    let _ = due.await;
}

/// Keeps the core awake and wakes everybody in time.
pub(crate) async fn keep() {
    loop {
        while let Some(due) = pop() {
            // Who waited may have gone.
            let _ = due.is_due.send(());
        }
        tokio::task::yield_now().await;
    }
}

fn pop() -> Option<Waiting> {
    let mut waiting = waiting();
    if waiting.peek()?.at <= Instant::now() { waiting.pop() } else { None }
}

fn waiting() -> MutexGuard<'static, BinaryHeap<Waiting>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at.cmp(&self.at)
    }
}
