//! What was found in all namespaces of a process, also in those that are gone.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{coverage::Use, finding::Finding, rules::Rule};

/// How many namespaces that are gone are kept.
const MOST: usize = 10_000;

/// What was found in namespaces that are gone, or in worlds that were reset. Cheap to clone. It is empty unless somebody
/// wants it kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Pages>);

#[derive(Debug, Default)]
struct Pages {
    is_kept: AtomicBool,
    closed: Mutex<Vec<Closed>>,
}

/// What was found in a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) namespace: Box<str>,
    pub(crate) findings: Vec<Finding>,
    /// The rules that were allowed to be broken, each with the reason.
    pub(crate) allowed: BTreeMap<Rule, String>,
    /// What was granted and used, by agent.
    pub(crate) uses: BTreeMap<String, Use>,
    pub(crate) unused: Unused,
}

/// What a test prepared and did not use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unused {
    pub(crate) replies: Vec<String>,
    pub(crate) faults: Vec<String>,
}

impl Ledger {
    /// Keeps what is found from now on.
    pub(crate) fn keep(&self) {
        self.0.is_kept.store(true, Relaxed);
    }

    pub(super) fn is_kept(&self) -> bool {
        self.0.is_kept.load(Relaxed)
    }

    pub(super) fn add(&self, closed: Closed) {
        let is_empty = closed.findings.is_empty()
            && closed.uses.is_empty()
            && closed.unused.replies.is_empty()
            && closed.unused.faults.is_empty();
        let mut all = self.0.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_empty && all.len() < MOST {
            all.push(closed);
        }
    }

    /// What was found in the namespaces that are gone.
    pub(crate) fn closed(&self) -> Vec<Closed> {
        self.0.closed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
