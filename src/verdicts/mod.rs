//! Verdicts: what a client does wrong, as far as the journal of its requests shows it.
//!
//! The journal shows each request twice, once it is known who asked for what, and once its response has ended. Each rule is a
//! function of these and of a bounded memory, so what was found does not depend on how many entries the journal keeps. No rule
//! knows more than the wire, besides that a turn has begun. Time is that of the real clock.

mod approvals;
mod conversations;
mod coverage;
mod finding;
mod judge;
mod ledger;
mod plain;
mod reading;
mod recent;
mod refusals;
mod rules;
mod seen;
mod sends;
mod tokens;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use self::judge::Judge;
pub use self::rules::{Row, Rule, Severity};
pub(crate) use self::{
    coverage::{Use, text as coverage_text, words},
    ledger::{Closed, Ledger, Prepared},
};
use crate::{
    clock,
    journal::{Entry, Journal, Mark, Observer},
};

/// The verdicts on the clients of a namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Verdicts(Arc<State>);

#[derive(Debug)]
struct State {
    namespace: Box<str>,
    judge: Mutex<Judge>,
    ledger: Ledger,
}

impl Verdicts {
    /// Judges every request of a journal from now on. What is forgotten is noted in the ledger.
    pub(crate) fn on(journal: &Journal, ledger: Ledger) -> Self {
        let state = State { namespace: journal.namespace().into(), judge: Mutex::default(), ledger };
        let verdicts = Self(Arc::new(state));
        journal.observe_with(Arc::clone(&verdicts.0) as Arc<dyn Observer>);
        verdicts
    }

    /// The findings of at least this severity, what is allowed, and what tokens were used for.
    pub(crate) fn to_json(&self, least: Severity) -> Value {
        let judge = self.lock();
        let still = judge.still(clock::real_now().timestamp_micros(), false);
        json!({
            "findings": judge.findings.to_json(still, least),
            "allowed": judge.findings.allowed_to_json(),
            "coverage": judge.coverage.to_json(),
        })
    }

    /// Allows a rule to be broken.
    pub(crate) fn allow(&self, rule: Rule, reason: String) {
        self.lock().findings.allow(rule, reason);
    }

    /// A new world has begun: what was pending in the old one is over, what was found stays.
    pub(crate) fn begin_world(&self) {
        self.lock().forget_pending();
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.close(None);
    }

    /// Forgets everything. The ledger keeps what was found, and of the last world what was `prepared`.
    pub(crate) fn close(&self, prepared: Option<Prepared>) {
        let mut judge = self.lock();
        if self.0.ledger.is_kept() {
            self.0.ledger.add(Self::closed(&self.0.namespace, &judge, prepared.unwrap_or_default()));
        }
        *judge = Judge::default();
    }

    /// What the ledger would keep now.
    pub(crate) fn so_far(&self, prepared: Prepared) -> Closed {
        Self::closed(&self.0.namespace, &self.lock(), prepared)
    }

    fn closed(namespace: &str, judge: &Judge, prepared: Prepared) -> Closed {
        Closed {
            namespace: namespace.into(),
            findings: judge.findings.all(judge.still(clock::real_now().timestamp_micros(), true)),
            allowed: judge.findings.allowed().clone(),
            uses: judge.coverage.by_name(),
            prepared,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Judge> {
        self.0.lock()
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for State {
    fn asked(&self, entry: &Entry) -> Vec<Mark> {
        self.lock().asked(entry)
    }

    fn ended(&self, entry: &Entry) -> Vec<Mark> {
        self.lock().ended(entry)
    }
}
