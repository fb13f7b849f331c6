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
    pub(crate) prepared: Prepared,
}

/// What a test prepared, by id, and whether it was used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    /// Replies that were added at run time.
    pub(crate) replies: BTreeMap<String, bool>,
    /// Replies of the script, with which every namespace begins.
    pub(crate) script: BTreeMap<String, bool>,
    /// Faults.
    pub(crate) faults: BTreeMap<String, bool>,
}

impl Prepared {
    fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.script.is_empty() && self.faults.is_empty()
    }
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
        let is_empty = closed.findings.is_empty() && closed.uses.is_empty() && closed.prepared.is_empty();
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
