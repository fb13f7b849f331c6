//! One lock for each agent, so that requests without a stream to the same agent are processed one after the other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// The locks of agents that are held or waited for in this process.
#[derive(Debug, Default)]
pub(in crate::mock) struct AgentLocks {
    by_agent: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
}

impl AgentLocks {
    /// Waits for an agent's lock, first come, first served.
    pub(in crate::mock) async fn acquire(&self, agent_id: &str) -> OwnedMutexGuard<()> {
        self.find(agent_id).lock_owned().await
    }

    /// Takes an agent's lock if it is free.
    pub(in crate::mock) fn try_acquire(&self, agent_id: &str) -> Option<OwnedMutexGuard<()>> {
        self.find(agent_id).try_lock_owned().ok()
    }

    fn find(&self, agent_id: &str) -> Arc<AsyncMutex<()>> {
        /// With this many entries, those of free locks are removed.
        const MAX_ENTRIES: usize = 1_024;
        let mut by_agent = self.by_agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = by_agent.get(agent_id).and_then(Weak::upgrade) {
            return lock;
        }
        if by_agent.len() >= MAX_ENTRIES {
            by_agent.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::new(AsyncMutex::new(()));
        by_agent.insert(agent_id.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_excludes_others_of_the_same_agent_only() {
        let locks = AgentLocks::default();
        let held = locks.acquire("a").await;
        let _other = locks.acquire("b").await;
        assert!(locks.try_acquire("a").is_none());
        drop(held);
        assert!(locks.try_acquire("a").is_some());
    }
}
