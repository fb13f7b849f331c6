//! Namespaces that were idle for too long are deleted.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::info;

use super::{directory::State, index::Gone, namespace::Namespace};

/// How often namespaces are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Starts the upkeep. It ends with the directory.
pub(super) fn start(state: &Arc<State>) {
    tokio::spawn(run(Arc::downgrade(state)));
}

async fn run(state: Weak<State>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(state) = state.upgrade() else { return };
        for namespace in state.all() {
            if is_due(&namespace) {
                expire(&state, &namespace);
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
