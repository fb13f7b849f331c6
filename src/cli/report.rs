//! What a command did to its mock, for a person who reads it at a glance: the rules that it broke, what it prepared and did not
//! use, and what its tokens did not need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::verdicts::{Closed, Rule, Severity, Use, coverage_text, words};

/// How many entries of a rule, unused things and agents are shown.
const MOST_SHOWN: usize = 5;

/// What makes a command fail that has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum FailOn {
    /// A verdict that is an error.
    Error,
    /// A verdict that is an error or a warning.
    Warn,
    /// A reply or a fault that was never used.
    Unused,
}

/// What was found in all namespaces.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// By rule, errors first.
    broken: Vec<Broken>,
    /// The rules that were broken where that is allowed, and how often.
    allowed: BTreeMap<Rule, u64>,
    /// What was not used, as `namespace/id`; of the script, which all namespaces share, as `script/id`.
    replies: BTreeSet<String>,
    faults: BTreeSet<String>,
    uses: BTreeMap<String, Use>,
}

/// A rule that was broken where that is not allowed.
#[derive(Debug)]
struct Broken {
    rule: Rule,
    count: u64,
    /// The first time in words.
    sentence: String,
    /// The journal's entries, as `namespace/id`.
    evidence: Vec<String>,
}

impl Report {
    pub(super) fn of(all: Vec<Closed>) -> Self {
        let mut report = Self::default();
        let mut script: BTreeMap<String, bool> = BTreeMap::new();
        for Closed { namespace, findings, allowed, uses, prepared } in all {
            for finding in findings {
                if allowed.contains_key(&finding.rule) {
                    *report.allowed.entry(finding.rule).or_default() += finding.count;
                    continue;
                }
                let evidence = finding.evidence.iter().map(|id| format!("{namespace}/{id}"));
                match report.broken.iter_mut().find(|broken| broken.rule == finding.rule) {
                    Some(broken) => {
                        broken.count += finding.count;
                        broken.evidence.extend(evidence);
                    }
                    None => report.broken.push(Broken {
                        rule: finding.rule,
                        count: finding.count,
                        evidence: evidence.collect(),
                        sentence: finding.sentence,
                    }),
                }
            }
            for (name, used) in uses {
                report.uses.entry(name).or_default().join(used);
            }
            let unused = |all: BTreeMap<String, bool>| {
                let unused = all.into_iter().filter(|(_, is_used)| !is_used);
                unused.map(|(id, _)| format!("{namespace}/{id}")).collect::<Vec<_>>()
            };
            report.replies.extend(unused(prepared.replies));
            report.faults.extend(unused(prepared.faults));
            for (id, is_used) in prepared.script {
                *script.entry(id).or_default() |= is_used;
            }
        }
        let unused = script.into_iter().filter(|(_, is_used)| !is_used);
        report.replies.extend(unused.map(|(id, _)| format!("script/{id}")));
        report.broken.sort_by_key(|broken| (std::cmp::Reverse(broken.rule.row().severity), broken.rule));
        report
    }

    /// Whether it has what makes a command fail.
    pub(super) fn fails(&self, fail_on: FailOn) -> bool {
        let has = |least: Severity| self.broken.iter().any(|broken| broken.rule.row().severity >= least);
        match fail_on {
            FailOn::Error => has(Severity::Error),
            FailOn::Warn => has(Severity::Warn),
            FailOn::Unused => !self.replies.is_empty() || !self.faults.is_empty(),
        }
    }

    /// The lines after the first one of a summary; nothing if there is nothing to say.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Broken { rule, count, sentence, evidence } in &self.broken {
            let row = rule.row();
            let times = if *count == 1 { String::new() } else { format!(" ({count} times)") };
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {:5} {}{times}: {sentence}", row.severity.word(), row.name);
            if row.severity > Severity::Info {
                let _ = write!(text, "\n        {}", row.fix);
                let _ = write!(text, "\n        entries: {}", shown(evidence));
            }
        }
        for (rule, count) in &self.allowed {
            let times = if *count == 1 { "once".into() } else { format!("{count} times") };
            let _ = write!(text, "\n  allowed {}, {times}", rule.row().name);
        }
        for (what, ids) in [("replies", &self.replies), ("faults", &self.faults)] {
            if !ids.is_empty() {
                let _ = write!(text, "\n  unused {what}: {}", shown(ids));
            }
        }
        if self.together().spare() != crate::model::AccessSet::default() {
            let spare = words(self.together().spare()).join(", ");
            let _ = write!(text, "\n  policy: tokens were granted {spare}, and no request needed it; enough is");
            for line in coverage_text(&self.uses).lines().take(MOST_SHOWN) {
                let _ = write!(text, "\n        {line}");
            }
            let access = json!(words(self.together().used));
            let _ = write!(text, "\n        \"access\": {access}");
        }
        text
    }

    /// Adds the same to a summary in JSON.
    pub(super) fn add_to(&self, summary: &mut Value) {
        let broken = self.broken.iter().map(|Broken { rule, count, sentence, evidence }| {
            let row = rule.row();
            json!({"rule": row.name, "severity": row.severity, "count": count, "sentence": sentence, "fix": row.fix,
                "evidence": evidence})
        });
        summary["verdicts"] = broken.collect();
        summary["allowed"] = self.allowed.keys().map(|rule| rule.row().name).collect();
        summary["unused"] = json!({"replies": self.replies, "faults": self.faults});
        let together = self.together();
        summary["policy"] = json!({"used": words(together.used), "over_granted": words(together.spare())});
    }

    fn together(&self) -> Use {
        self.uses.values().fold(Use::default(), |mut together, used| {
            together.join(*used);
            together
        })
    }
}

/// The first of a list, and how many more there are.
fn shown<'a>(all: impl IntoIterator<Item = &'a String>) -> String {
    let mut all = all.into_iter();
    let first: Vec<&str> = all.by_ref().take(MOST_SHOWN).map(String::as_str).collect();
    match all.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
