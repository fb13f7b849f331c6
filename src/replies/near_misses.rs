//! Why no reply fits: the replies that come nearest, and what does not fit in each.

use std::{cmp::Reverse, fmt::Write};

use serde::Serialize;
use serde_json::Value;

use super::{
    criteria::{Facts, Situation, excerpt},
    listing::{Entry, Listing},
};

/// How many replies are shown.
const MOST_SHOWN: usize = 5;
/// How many are looked at, besides those that the text may fit, where nobody waits for the report.
const MOST_LOOKED_AT: usize = 64;

/// How near a reply comes: how many criteria fail, how many fit, and its position. The nearest is the smallest.
type Rank = (usize, Reverse<usize>, usize);

/// The replies that come nearest.
#[derive(Debug)]
pub(crate) struct NearMisses {
    /// Them, the nearest first.
    pub(crate) nearest: Vec<NearMiss>,
    /// How many replies there are.
    of: usize,
}

/// A reply that does not fit.
#[derive(Debug, Serialize)]
pub(crate) struct NearMiss {
    id: String,
    criteria: Vec<Judged>,
}

/// What became of a criterion.
#[derive(Debug, Serialize)]
struct Judged {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Value>,
}

impl NearMisses {
    /// Those of a listing. `is_thorough`: all replies are looked at, also where there are many.
    pub(super) fn of(listing: &Listing, situation: &Situation<'_>, is_thorough: bool) -> Self {
        let candidates = listing.candidates(situation.facts.text);
        let mut nearest: Vec<(Rank, &Entry)> = Vec::with_capacity(MOST_SHOWN + 1);
        for (position, entry) in listing.entries().iter().enumerate() {
            let criteria = &entry.reply.criteria;
            let may_fit = candidates.has(position);
            if position >= MOST_LOOKED_AT && !may_fit && !is_thorough {
                continue;
            }
            // What requires a text that the user did not say cannot fit.
            let fits = criteria
                .iter()
                .filter(|criterion| (may_fit || !criterion.is_of_text()) && criterion.fits(situation))
                .count();
            let rank = (criteria.len() - fits + usize::from(entry.is_used_up()), Reverse(fits), position);
            if nearest.len() == MOST_SHOWN && nearest.last().is_some_and(|(last, _)| *last <= rank) {
                continue;
            }
            let at = nearest.partition_point(|(other, _)| *other < rank);
            nearest.insert(at, (rank, entry));
            nearest.truncate(MOST_SHOWN);
        }
        let nearest = nearest.into_iter().map(|(_, entry)| NearMiss::of(entry, situation)).collect();
        Self { nearest, of: listing.entries().len() }
    }

    /// The report, for people.
    pub(crate) fn text(&self, facts: &Facts<'_>) -> String {
        let mut text = format!(
            "No reply fits what the agent {:?} is to say to {:?}, and unmatched is \"refuse\". ",
            facts.agent,
            excerpt(facts.text)
        );
        if self.nearest.is_empty() {
            text.push_str("There are no replies. ");
        } else if self.of > self.nearest.len() {
            let _ = writeln!(text, "The nearest of {} replies:", self.of);
        } else {
            text.push_str("The nearest:\n");
        }
        for miss in &self.nearest {
            let failed = miss.criteria.iter().filter(|judged| !judged.ok).map(Judged::sentence);
            let _ = writeln!(text, "- {}: {}", miss.id, failed.collect::<Vec<_>>().join("; "));
        }
        text.push_str("Add a reply with POST /_gatelet/v1/ns/-/replies, or set unmatched to \"echo\".");
        text
    }
}

impl NearMiss {
    fn of(entry: &Entry, situation: &Situation<'_>) -> Self {
        let judge = |criterion: &super::criteria::Criterion| {
            let ok = criterion.fits(situation);
            Judged {
                name: criterion.name(),
                ok,
                expected: (!ok).then(|| criterion.expected()),
                found: (!ok).then(|| criterion.found(situation)),
            }
        };
        let mut criteria: Vec<Judged> = entry.reply.criteria.iter().map(judge).collect();
        if entry.is_used_up() {
            let (expected, found) = (entry.reply.times.map(Value::from), Some(entry.hits().into()));
            criteria.push(Judged { name: "times", ok: false, expected, found });
        }
        if situation.facts.is_sleeptime && !entry.reply.names_agent() {
            let expected = Some("the name of this sleeptime agent".into());
            criteria.push(Judged { name: "agent", ok: false, expected, found: Some(Value::Null) });
        }
        Self { id: entry.reply.id.clone(), criteria }
    }
}

impl Judged {
    fn sentence(&self) -> String {
        let shown = |value: &Option<Value>| value.as_ref().unwrap_or(&Value::Null).to_string();
        let (expected, found) = (shown(&self.expected), shown(&self.found));
        match self.name {
            "user" => format!("user: {expected} does not match {found}"),
            "text" | "tool_result" => format!("{}: {expected} is not in {found}", self.name),
            "times" => format!("times: it was used {found} of {expected} times"),
            name => format!("{name}: expected {expected}, found {found}"),
        }
    }
}
