//! What was found, within bounds.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    rules::{Rule, Severity},
    seen::{Key, Seen, key},
};
use crate::journal::{CallerKind, Identified, Mark};

/// How many findings of a rule are kept, and how many entries of each.
const MOST_FINDINGS: usize = 50;
const MOST_EVIDENCE: usize = 20;

/// A rule that a client broke.
#[derive(Clone, Debug)]
pub(super) struct Found {
    rule: Rule,
    who: Who,
    evidence: Vec<u64>,
    sentence: String,
}

/// Who broke it.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
struct Who {
    kind: CallerKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Box<str>>,
}

/// A rule that one caller broke, once or several times.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    who: Who,
    /// The first time in words.
    pub(crate) sentence: String,
    /// The ids of the journal's entries that show it, the first ones.
    pub(crate) evidence: Vec<u64>,
    /// How often.
    pub(crate) count: u64,
}

/// All findings of a namespace.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    places: HashMap<Key, usize>,
    of_rule: BTreeMap<Rule, usize>,
    /// The rules that are allowed to be broken, each with the reason.
    allowed: BTreeMap<Rule, String>,
}

impl Found {
    pub(super) fn new(rule: Rule, seen: &Seen<'_>, evidence: impl Into<Vec<u64>>, sentence: String) -> Self {
        Self::of(rule, &seen.entry.caller, evidence, sentence)
    }

    pub(super) fn of(rule: Rule, who: &Identified, evidence: impl Into<Vec<u64>>, sentence: String) -> Self {
        let who = Who { kind: who.kind, jti: who.jti.clone(), key: who.key.clone() };
        Self { rule, who, evidence: evidence.into(), sentence }
    }
}

impl From<Found> for Finding {
    fn from(found: Found) -> Self {
        let Found { rule, who, mut evidence, sentence } = found;
        evidence.truncate(MOST_EVIDENCE);
        Self { rule, who, sentence, evidence, count: 1 }
    }
}

impl Finding {
    pub(crate) fn severity(&self) -> Severity {
        self.rule.row().severity
    }

    fn to_json(&self, allowed: Option<&String>) -> Value {
        let row = self.rule.row();
        json!({
            "rule": row.name,
            "severity": row.severity,
            "sentence": self.sentence,
            "fix": row.fix,
            "count": self.count,
            "evidence": self.evidence,
            "caller": self.who,
            "docs": format!("docs/verdicts.md#{}", row.name),
            "allowed": allowed,
        })
    }
}

impl Findings {
    /// Adds what was found. Returns the remarks for the entries that show it.
    pub(super) fn add(&mut self, found: Vec<Found>) -> Vec<Mark> {
        let mut marks = Vec::new();
        for found in found {
            let word = found.rule.row().name;
            marks.extend(found.evidence.iter().map(|id| (*id, word)));
            let place = key((found.rule, &found.who));
            if let Some(known) = self.places.get(&place).and_then(|index| self.found.get_mut(*index)) {
                known.count += 1;
                for id in found.evidence {
                    if known.evidence.len() < MOST_EVIDENCE && !known.evidence.contains(&id) {
                        known.evidence.push(id);
                    }
                }
                continue;
            }
            let count = self.of_rule.entry(found.rule).or_default();
            if *count < MOST_FINDINGS {
                *count += 1;
                self.places.insert(place, self.found.len());
                self.found.push(found.into());
            }
        }
        marks
    }

    pub(super) fn allow(&mut self, rule: Rule, reason: String) {
        self.allowed.insert(rule, reason);
    }

    pub(super) fn allowed(&self) -> &BTreeMap<Rule, String> {
        &self.allowed
    }

    /// All findings and those that are `still` true, errors first.
    pub(super) fn all(&self, still: Vec<Found>) -> Vec<Finding> {
        let mut all: Vec<Finding> = self.found.iter().cloned().chain(still.into_iter().map(Finding::from)).collect();
        all.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
        all
    }

    /// The findings of at least this severity, as they are shown.
    pub(super) fn to_json(&self, still: Vec<Found>, least: Severity) -> Value {
        let all = self.all(still);
        let shown = all.iter().filter(|finding| finding.severity() >= least);
        shown.map(|finding| finding.to_json(self.allowed.get(&finding.rule))).collect()
    }

    pub(super) fn allowed_to_json(&self) -> Value {
        let allowed = self.allowed.iter();
        allowed.map(|(rule, reason)| json!({"rule": rule.row().name, "reason": reason})).collect()
    }
}
