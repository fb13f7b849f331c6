//! A cache of look-ups, whose entries expire.
//!
//! Concurrent requests for the same key wait for one look-up and share its result. Only successful results are kept.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

/// Results by key.
#[derive(Debug)]
pub(super) struct LookupCache<T, E> {
    entries: Cache<String, Entry<T, Arc<E>>>,
    lifetime: Duration,
}

#[derive(Clone, Debug)]
struct Entry<T, E> {
    created: Instant,
    result: Result<T, E>,
}

impl<T, E> Entry<T, E> {
    /// Whether this may be used at `now`.
    fn is_fresh(&self, now: Instant, lifetime: Duration) -> bool {
        self.result.is_ok() && now.saturating_duration_since(self.created) < lifetime
    }
}

impl<T: Clone, E> LookupCache<T, E> {
    /// A cache of at most `capacity` entries.
    pub(super) fn new(capacity: usize, lifetime: Duration) -> Self {
        Self { entries: Cache::new(capacity), lifetime }
    }

    /// The cached result for a key, or else the result of `look_up`, which is shared with all callers that wait for it.
    ///
    /// # Errors
    /// Those of `look_up`, shared likewise.
    pub(super) async fn get_or_look_up(
        &self,
        key: &str,
        look_up: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, Arc<E>> {
        let requested = Instant::now();
        match self.entries.get(key) {
            Some(entry) if entry.is_fresh(requested, self.lifetime) => entry.result,
            // Boxed, because most requests find an entry, and their futures stay small.
            _ => Box::pin(self.look_up(key, requested, look_up)).await,
        }
    }

    async fn look_up(
        &self,
        key: &str,
        requested: Instant,
        look_up: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, Arc<E>> {
        loop {
            match self.entries.get_value_or_guard_async(key).await {
                // A concurrent call has looked it up.
                Ok(entry) if entry.created >= requested || entry.is_fresh(requested, self.lifetime) => {
                    return entry.result;
                }
                Ok(expired) => drop(self.entries.remove_if(key, |entry| entry.created <= expired.created)),
                // If this future is dropped during the look-up, one of the waiting calls takes over.
                Err(guard) => {
                    let result = look_up().await.map_err(Arc::new);
                    let is_error = result.is_err();
                    // Waiting calls receive errors as well.
                    let _ = guard.insert(Entry { created: Instant::now(), result: result.clone() });
                    if is_error {
                        self.entries.remove_if(key, |entry| entry.result.is_err());
                    }
                    return result;
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
    async fn concurrent_calls_share_one_look_up_and_only_successes_are_kept() {
        let cache = LookupCache::new(10, LIFETIME);
        for (key, result) in [("present", Ok(1)), ("absent", Err("not found"))] {
            let look_ups = Cell::new(0);
            let response = Notify::new();
            let look_up = async || {
                look_ups.set(look_ups.get() + 1);
                response.notified().await;
                result
            };
            let mut all = pin!(join_all((0..5).map(|_| cache.get_or_look_up(key, look_up))));
            assert!(poll!(all.as_mut()).is_pending());
            response.notify_one();
            let shared = result.map_err(Arc::new);
            assert_eq!(all.await, vec![shared.clone(); 5]);
            assert_eq!(look_ups.get(), 1, "{key}");
            response.notify_one();
            assert_eq!(cache.get_or_look_up(key, look_up).await, shared);
            assert_eq!(look_ups.get(), if result.is_ok() { 1 } else { 2 }, "{key}");
        }
    }

    #[tokio::test]
    async fn an_expired_entry_is_looked_up_again() {
        let cache = LookupCache::new(10, Duration::ZERO);
        for round in 0..3 {
            assert_eq!(cache.get_or_look_up("thing", async || Ok::<_, ()>(round)).await, Ok(round));
        }
    }

    #[tokio::test]
    async fn a_waiting_call_takes_over_from_a_dropped_one() {
        let cache = LookupCache::new(10, LIFETIME);
        let mut dropped =
            Box::pin(cache.get_or_look_up("thing", async || std::future::pending::<Result<i32, ()>>().await));
        assert!(poll!(dropped.as_mut()).is_pending());
        let mut waiting = pin!(cache.get_or_look_up("thing", async || Ok(2)));
        assert!(poll!(waiting.as_mut()).is_pending());
        drop(dropped);
        assert_eq!(waiting.await, Ok(2));
    }
}
