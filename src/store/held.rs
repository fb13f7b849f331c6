//! Which tasks hold a transaction. Such a task must not ask for a second connection: when every connection of the pool
//! is held by a task that waits for another connection, none of them can go on. Debug builds panic at the attempt.

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use tokio::task::{self, Id};

static HOLDERS: LazyLock<Mutex<HashSet<Id>>> = LazyLock::new(Mutex::default);

/// Lives as long as its transaction is open.
#[derive(Debug)]
pub struct Held(Option<Id>);

impl Held {
    /// Notes that the current task holds a transaction.
    pub(super) fn new() -> Self {
        if !cfg!(debug_assertions) {
            return Self(None);
        }
        let holder = task::try_id();
        if let Some(holder) = holder {
            HOLDERS.lock().unwrap_or_else(PoisonError::into_inner).insert(holder);
        }
        Self(holder)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(holder) = &self.0 {
            HOLDERS.lock().unwrap_or_else(PoisonError::into_inner).remove(holder);
        }
    }
}

/// Panics in debug builds when the current task holds a transaction.
pub(super) fn check_free() {
    if cfg!(debug_assertions)
        && let Some(task) = task::try_id()
    {
        let holds = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner).contains(&task);
        debug_assert!(!holds, "a task that holds a transaction asks for a second connection");
    }
}
