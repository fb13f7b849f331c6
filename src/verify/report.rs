//! What a verification that failed says: what is missing, which entries came near, and why they do not do.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    fmt::Write,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    expectation::{Expectation, Judgement, Subject, times_said},
    matcher::short,
};
use crate::{
    error::{ApiError, Code},
    journal::Entry,
};

/// How many near misses an expectation shows.
const NEAREST: usize = 3;

/// How many entries are looked at closely for an expectation, by what they cost least to be compared by.
const CONSIDERED: usize = 30;

/// How many entries the text shows as unexpected.
const MOST_SHOWN: usize = 10;

/// The criterion of entries that are only in the wrong place.
const ORDER: &str = "order";

/// An expectation that is not met.
#[derive(Debug)]
pub(super) struct Missing {
    /// Its place in the list.
    pub(super) expected: usize,
    /// How many entries meet its criteria.
    pub(super) found: usize,
    /// Where the order is broken: the entry that was placed last, and the one that does not fit behind it.
    pub(super) order: Option<(Option<u64>, Option<u64>)>,
}

/// What a verification that failed says.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    matched: Vec<Vec<u64>>,
    missing: Vec<MissingView>,
    unexpected: Vec<u64>,
    /// The whole report, for a terminal.
    text: String,
}

#[derive(Debug, Serialize)]
struct MissingView {
    expected: usize,
    found: usize,
    /// How often it is expected.
    times: String,
    nearest: Vec<Near>,
}

/// An entry that came near.
#[derive(Debug, Serialize)]
struct Near {
    entry: u64,
    /// The request, for people.
    request: String,
    /// How many criteria it meets.
    score: usize,
    criteria: Vec<Judgement>,
}

impl Report {
    /// A report. `visit` visits the entries that were compared.
    pub(super) fn new(
        expectations: &[Expectation],
        matched: Vec<Vec<u64>>,
        missing: Vec<Missing>,
        unexpected: Vec<u64>,
        visit: impl Fn(&mut dyn FnMut(&Entry)),
    ) -> Self {
        let mut entries = 0;
        let mut requests = BTreeMap::new();
        let mut rough: Vec<Vec<(usize, u64)>> = missing.iter().map(|_| Vec::new()).collect();
        visit(&mut |entry| {
            entries += 1;
            if unexpected.contains(&entry.id) && requests.len() < MOST_SHOWN {
                requests.insert(entry.id, request(entry));
            }
            let subject = Subject::new(entry);
            for (missing, rough) in missing.iter().zip(&mut rough) {
                rough.push((expectations[missing.expected].rough_score(&subject), entry.id));
            }
        });
        for rough in &mut rough {
            rough.sort_unstable_by(|one, other| other.cmp(one));
            rough.truncate(CONSIDERED);
        }
        let considered: Vec<HashSet<u64>> =
            rough.iter().map(|rough| rough.iter().map(|(_, id)| *id).collect()).collect();
        let mut near: Vec<Vec<Near>> = missing.iter().map(|_| Vec::new()).collect();
        visit(&mut |entry| {
            let subject = Subject::new(entry);
            for (index, missing) in missing.iter().enumerate() {
                if considered[index].contains(&entry.id) {
                    near[index].extend(Near::of(&expectations[missing.expected], missing, &subject));
                }
            }
        });
        let missing = missing.into_iter().zip(near).map(|(missing, mut nearest)| {
            nearest.sort_by_key(|near| Reverse((near.score, near.entry)));
            nearest.truncate(NEAREST);
            let times = times_said(&expectations[missing.expected].times);
            (missing.order, MissingView { expected: missing.expected, found: missing.found, times, nearest })
        });
        let (orders, missing): (Vec<_>, Vec<_>) = missing.unzip();
        let text = text(expectations, &missing, &orders, &unexpected, &requests, entries);
        Self { matched, missing, unexpected, text }
    }

    /// The report as a refusal: 417.
    pub(crate) fn into_error(self) -> ApiError {
        let sentence = self.text.lines().next().unwrap_or_default().to_owned();
        let mut error = ApiError::new(Code::VerificationFailed, sentence).with("verified", false);
        if let Ok(Value::Object(parts)) = serde_json::to_value(self) {
            for (name, part) in parts {
                error = error.with(&name, part);
            }
        }
        error
    }
}

impl Near {
    /// How near an entry came; `None` if it meets nothing, or everything.
    fn of(expectation: &Expectation, missing: &Missing, subject: &Subject<'_>) -> Option<Self> {
        let mut criteria = expectation.judge(subject);
        let score = criteria.iter().filter(|judgement| judgement.ok).count();
        if score == 0 && !criteria.is_empty() {
            return None;
        }
        if score == criteria.len() {
            // It meets all criteria, so only its place can be wrong.
            let (previous, next) = missing.order?;
            let expected = match previous {
                Some(previous) => format!("next after entry {previous}"),
                None => "first".into(),
            };
            let found = next.map_or("nothing".into(), |next| format!("entry {next} in its place"));
            criteria.push(Judgement {
                name: ORDER.into(),
                ok: false,
                expected: Some(expected.clone().into()),
                found: Some(found.into()),
                said: expected,
            });
        }
        Some(Self { entry: subject.entry.id, request: request(subject.entry), score, criteria })
    }

    /// The first criterion that it does not meet.
    fn first_failure(&self) -> Option<&Judgement> {
        self.criteria.iter().find(|judgement| !judgement.ok)
    }
}

/// Such as `StreamMessage POST /v1/agents/agent-1/messages/stream -> 403 origin_mismatch`.
fn request(entry: &Entry) -> String {
    let mut text = entry.operation.map_or(String::new(), |operation| format!("{} ", operation.row().name));
    // Writing to a String cannot fail.
    let _ = write!(text, "{} {}", entry.method, entry.target);
    if let Some(status) = entry.status() {
        let _ = write!(text, " -> {status}");
    }
    if let Some(code) = entry.code() {
        let _ = write!(text, " {code}");
    }
    text
}

fn text(
    expectations: &[Expectation],
    missing: &[MissingView],
    orders: &[Option<(Option<u64>, Option<u64>)>],
    unexpected: &[u64],
    requests: &BTreeMap<u64, String>,
    entries: usize,
) -> String {
    let mut lines = vec![headline(expectations.len(), missing.len(), unexpected.len(), entries)];
    for (view, order) in missing.iter().zip(orders) {
        let MissingView { expected, found, times, nearest } = view;
        lines.push(String::new());
        lines.push(format!("expected [{expected}]  {}", expectations[*expected]));
        let found = match (found, order) {
            (found, Some(_)) if *found > 0 => format!("{found}, but not in this order"),
            (0, _) => "none".into(),
            (found, _) => found.to_string(),
        };
        lines.push(format!("              {times}; found {found}"));
        for near in nearest {
            let met = format!("meets {} of {}", near.score, near.criteria.len());
            lines.push(format!("  entry {:<5} {} ({met})", near.entry, near.request));
            if let Some(Judgement { name, said, found, .. }) = near.first_failure() {
                let is_of_filter = !name.starts_with("body") && !name.starts_with("headers/");
                let found = match found {
                    None | Some(Value::Null) => "nothing".into(),
                    Some(Value::String(found)) if is_of_filter => found.clone(),
                    Some(found) => short(found),
                };
                let comma = if name == ORDER { ": expected" } else { "" };
                let end = if name == ORDER { "," } else { ":" };
                lines.push(format!("              {name}{comma} {said}{end} found {found}"));
            }
        }
    }
    if !unexpected.is_empty() {
        lines.push(String::new());
        lines.push("unexpected".into());
        lines.extend(requests.iter().map(|(id, request)| format!("  entry {id:<5} {request}")));
        if unexpected.len() > requests.len() {
            lines.push(format!("  and {} more", unexpected.len() - requests.len()));
        }
    }
    lines.join("\n")
}

fn headline(expectations: usize, missing: usize, unexpected: usize, entries: usize) -> String {
    let plural = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let mut problems = Vec::new();
    if missing > 0 {
        let verb = if missing == 1 { "is" } else { "are" };
        problems.push(format!("{missing} of {} {verb} not met", plural(expectations, "expectation", "expectations")));
    }
    if unexpected > 0 {
        problems.push(plural(unexpected, "entry is unexpected", "entries are unexpected"));
    }
    let among = plural(entries, "entry", "entries");
    format!("Verification failed among {among}: {}.", problems.join(", and "))
}

/// The response to a verification that succeeded.
pub(crate) fn verified(matched: &[Vec<u64>]) -> Value {
    json!({"verified": true, "matched": matched})
}
