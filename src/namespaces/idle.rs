//! Upkeep of all namespaces in memory: those that were idle for too long go, and expired tokens are purged.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::info;

use super::{directory::State, index::Gone, namespace::Namespace};
use crate::clock::Millis;

/// How often namespaces are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The number of rounds after which expired tokens are purged, and how many at a time.
const PURGE_EVERY: u32 = 60;
const PURGE_BATCH: i64 = 1_000;

/// Starts the upkeep. It ends with the directory.
pub(super) fn start(state: &Arc<State>) {
    tokio::spawn(run(Arc::downgrade(state)));
}

async fn run(state: Weak<State>) {
    let mut rounds: u32 = 0;
    loop {
        tokio::time::sleep(INTERVAL).await;
        rounds = rounds.wrapping_add(1);
        let Some(state) = state.upgrade() else { return };
        for namespace in state.all() {
            if namespace.is_persistent() {
                continue;
            }
            if is_due(&namespace) {
                expire(&state, &namespace);
            } else if rounds.is_multiple_of(PURGE_EVERY) {
                purge(&namespace, state.builder.retention()).await;
            }
        }
    }
}

fn is_due(namespace: &Namespace) -> bool {
    namespace.definition.idle_ttl.is_some_and(|ttl| namespace.idle_for() > ttl)
}

fn expire(state: &State, namespace: &Namespace) {
    // A namespace that is being changed is in use.
    let Ok(change) = Arc::clone(&namespace.change).try_lock_owned() else { return };
    if is_due(namespace) {
        info!(namespace = namespace.name(), "Deleting a namespace that was not used for longer than its idle_ttl");
        state.remove(namespace.name(), &change, Gone::Idle);
    }
}

/// Deletes what has expired long ago. A failure keeps it for the next time.
async fn purge(namespace: &Namespace, retention: Duration) {
    let app = namespace.app();
    app.guard.quotas.forget_idle();
    let retention = Millis::try_from(retention.as_millis()).unwrap_or(Millis::MAX);
    let horizon = app.tokens.clock.now_millis().saturating_sub(retention);
    app.feed.forget_expired(horizon);
    let _ = app.store.purge_expired(horizon, PURGE_BATCH).await;
}
