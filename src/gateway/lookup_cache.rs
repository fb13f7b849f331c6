//! What was looked up, remembered for a while.
//!
//! Requests that ask the same at the same time wait for one look-up and share what comes of it. Only what was found is
//! remembered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

/// Things by their names, each for so long. `E` is why a look-up gave nothing.
#[derive(Debug)]
pub(super) struct LookupCache<T, E> {
    known: Cache<String, Known<T, Arc<E>>>,
    lifetime: Duration,
}

#[derive(Clone, Debug)]
struct Known<T, F> {
    learnt: Instant,
    found: Result<T, F>,
}

impl<T, F> Known<T, F> {
    /// Whether this is still so at that time.
    fn is_fresh(&self, at: Instant, lifetime: Duration) -> bool {
        self.found.is_ok() && at.saturating_duration_since(self.learnt) < lifetime
    }
}

impl<T: Clone, E> LookupCache<T, E> {
    /// Room for `capacity` things.
    pub(super) fn new(capacity: usize, lifetime: Duration) -> Self {
        Self { known: Cache::new(capacity), lifetime }
    }

    /// What is known by this name, or what `find` finds, for everyone who asks meanwhile.
    ///
    /// # Errors
    /// When `find` finds nothing; several may get the same error.
    pub(super) async fn get_or_find(&self, name: &str, find: impl AsyncFnOnce() -> Result<T, E>) -> Result<T, Arc<E>> {
        let asked = Instant::now();
        match self.known.get(name) {
            Some(known) if known.is_fresh(asked, self.lifetime) => known.found,
            // What most requests need is known, so the rest takes no place in their futures.
            _ => Box::pin(self.find(name, asked, find)).await,
        }
    }

    async fn find(&self, name: &str, asked: Instant, find: impl AsyncFnOnce() -> Result<T, E>) -> Result<T, Arc<E>> {
        loop {
            match self.known.get_value_or_guard_async(name).await {
                // Somebody else has found out meanwhile.
                Ok(known) if known.learnt >= asked || known.is_fresh(asked, self.lifetime) => return known.found,
                Ok(old) => drop(self.known.remove_if(name, |present| present.learnt <= old.learnt)),
                // Should this be dropped here, one of those who wait goes on in its place.
                Err(mine) => {
                    let found = find().await.map_err(Arc::new);
                    let is_nothing = found.is_err();
                    // For those who wait, also when it is nothing.
                    let _ = mine.insert(Known { learnt: Instant::now(), found: found.clone() });
                    if is_nothing {
                        self.known.remove_if(name, |present| present.found.is_err());
                    }
                    return found;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, pin::pin};

    use futures_util::{future::join_all, poll};
    use tokio::sync::Notify;

    use super::*;

    const LIFETIME: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn those_who_ask_at_once_share_one_look_up_and_only_what_was_found_is_remembered() {
        let memory = LookupCache::new(10, LIFETIME);
        for (name, found) in [("there", Ok(1)), ("not there", Err("nothing"))] {
            let looked_up = Cell::new(0);
            let answered = Notify::new();
            let look_up = async || {
                looked_up.set(looked_up.get() + 1);
                answered.notified().await;
                found
            };
            let mut all = pin!(join_all((0..5).map(|_| memory.get_or_find(name, look_up))));
            assert!(poll!(all.as_mut()).is_pending());
            answered.notify_one();
            let shared = found.map_err(Arc::new);
            assert_eq!(all.await, vec![shared.clone(); 5]);
            assert_eq!(looked_up.get(), 1, "{name}");
            answered.notify_one();
            assert_eq!(memory.get_or_find(name, look_up).await, shared);
            assert_eq!(looked_up.get(), if found.is_ok() { 1 } else { 2 }, "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_too_old_is_looked_up_again() {
        let memory = LookupCache::new(10, Duration::ZERO);
        for round in 0..3 {
            assert_eq!(memory.get_or_find("thing", async || Ok::<_, ()>(round)).await, Ok(round));
        }
    }

    #[tokio::test]
    async fn somebody_who_waits_goes_on_for_who_has_left() {
        let memory = LookupCache::new(10, LIFETIME);
        let mut leaves =
            Box::pin(memory.get_or_find("thing", async || std::future::pending::<Result<i32, ()>>().await));
        assert!(poll!(leaves.as_mut()).is_pending());
        let mut waits = pin!(memory.get_or_find("thing", async || Ok(2)));
        assert!(poll!(waits.as_mut()).is_pending());
        drop(leaves);
        assert_eq!(waits.await, Ok(2));
    }
}
