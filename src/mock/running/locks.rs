//! One lock for each agent that is being spoken to, so that plain requests to one agent are answered one after the other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

/// The locks that someone holds or waits for.
#[derive(Debug, Default)]
pub(in crate::mock) struct Locks {
    by_agent: Mutex<HashMap<String, Weak<Lock<()>>>>,
}

impl Locks {
    /// Waits until it is this caller's turn, first come, first served.
    pub(in crate::mock) async fn of(&self, agent_id: &str) -> OwnedMutexGuard<()> {
        self.find(agent_id).lock_owned().await
    }

    /// Takes the lock, if nobody holds it.
    pub(in crate::mock) fn try_take(&self, agent_id: &str) -> Option<OwnedMutexGuard<()>> {
        self.find(agent_id).try_lock_owned().ok()
    }

    fn find(&self, agent_id: &str) -> Arc<Lock<()>> {
        /// Beyond this many, those that nobody holds are forgotten.
        const MANY: usize = 1_024;
        let mut by_agent = self.by_agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = by_agent.get(agent_id).and_then(Weak::upgrade) {
            return lock;
        }
        if by_agent.len() >= MANY {
            by_agent.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::new(Lock::new(()));
        by_agent.insert(agent_id.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_agent_is_spoken_to_by_one_at_a_time_and_others_do_not_wait() {
        let locks = Locks::default();
        let held = locks.of("a").await;
        let _other = locks.of("b").await;
        assert!(locks.try_take("a").is_none());
        drop(held);
        assert!(locks.try_take("a").is_some());
    }
}
