//! Which tasks hold a transaction. One that does must not ask for a second connection: once every connection of a pool
//! is held by a task that waits for another one, all of them wait in vain. Debug builds fail where that is tried.

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

use tokio::task::{self, Id};

static HOLDERS: LazyLock<Mutex<HashSet<Id>>> = LazyLock::new(Mutex::default);

/// Kept with a transaction, as long as it is open.
#[derive(Debug)]
pub struct Held(Option<Id>);

impl Held {
    /// The current task holds a transaction now.
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

/// Fails in debug builds when the current task holds a transaction.
pub(super) fn check_free() {
    if cfg!(debug_assertions)
        && let Some(task) = task::try_id()
    {
        let holds = HOLDERS.lock().unwrap_or_else(PoisonError::into_inner).contains(&task);
        debug_assert!(!holds, "a task that holds a transaction asks for a second connection");
    }
}
