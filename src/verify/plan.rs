//! What is to be verified, and comparing the journal with it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    expectation::{Expectation, Subject},
    matcher::Malformed,
    placement::{Stuck, place},
    report::{Missing, Report},
};
use crate::{
    error::{ApiError, Code},
    journal::{Entry, Journal, Phase},
};

/// How many expectations there may be.
const MOST_EXPECTATIONS: usize = 100;

/// How many regular expressions they may have together: each may take a megabyte.
const MOST_REGEXES: usize = 100;

/// How long a verification may wait.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The body of a call.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Request {
    expect: Vec<Value>,
    order: Option<Order>,
    phase: Option<CountedFrom>,
    after: Option<Cursor>,
    within: Option<String>,
    nothing_else: bool,
}

/// How the entries must be ordered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// In any order: each expectation counts every entry that meets it.
    #[default]
    Any,
    /// The entries that meet an expectation come in the order of the expectations; others may come between.
    #[serde(rename = "in_order")]
    Sequence,
    /// The same, and there are no others.
    Exactly,
}

/// From which phase on an entry counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum CountedFrom {
    /// As soon as the request arrives.
    #[default]
    Received,
    /// Once the response has ended.
    Finished,
}

/// A cursor of the journal.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Cursor {
    Number(u64),
    Text(String),
}

/// What is to be verified.
#[derive(Debug)]
pub(crate) struct Plan {
    expectations: Vec<Expectation>,
    order: Order,
    counted_from: CountedFrom,
    after: u64,
    within: Duration,
    nothing_else: bool,
}

/// What the journal shows.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// For each expectation the entries that meet it.
    Verified(Vec<Vec<u64>>),
    /// What is missing.
    Failed(Box<Report>),
}

/// One entry, compared with every expectation.
struct Row {
    id: u64,
    /// Whether it has reached the phase from which on it counts.
    counts: bool,
    meets: Arc<[bool]>,
}

/// What was found out about entries that do not change any more, so that waiting costs little.
#[derive(Default)]
struct Finished(HashMap<u64, Arc<[bool]>>);

/// Why expectations are not met.
struct Shortfall {
    matched: Vec<Vec<u64>>,
    missing: Vec<Missing>,
    unexpected: Vec<u64>,
}

impl Plan {
    /// Reads what is to be verified.
    ///
    /// # Errors
    /// 422 with the place of the mistake.
    pub(crate) fn new(request: Request) -> Result<Self, ApiError> {
        let Request { expect, order, phase, after, within, nothing_else } = request;
        let order = order.unwrap_or_default();
        let nothing_else = nothing_else || order == Order::Exactly;
        if expect.is_empty() && !nothing_else {
            return Err(invalid("/expect", "must have an expectation, unless nothing_else is true"));
        }
        if expect.len() > MOST_EXPECTATIONS {
            return Err(invalid("/expect", &format!("must have at most {MOST_EXPECTATIONS} expectations")));
        }
        let mut expectations = Vec::with_capacity(expect.len());
        let mut regexes = 0;
        for (index, value) in expect.into_iter().enumerate() {
            let refused = |Malformed { at, rule }| invalid(&format!("/expect/{index}{at}"), &rule);
            let expectation = Expectation::parse(value).map_err(refused)?;
            regexes += expectation.regexes();
            if regexes > MOST_REGEXES {
                return Err(invalid("/expect", &format!("must have at most {MOST_REGEXES} regular expressions")));
            }
            expectations.push(expectation);
        }
        let after = match after {
            None => 0,
            Some(Cursor::Number(after)) => after,
            Some(Cursor::Text(after)) => {
                after.parse().map_err(|_| invalid("/after", "must be a cursor, the next of an earlier call"))?
            }
        };
        let within = within.map_or(Ok(Duration::ZERO), |within| {
            let within = humantime::parse_duration(&within).ok().filter(|within| *within <= LONGEST_WAIT);
            within.ok_or_else(|| invalid("/within", "must be a duration of at most 60s, such as 2s"))
        })?;
        Ok(Self { expectations, order, counted_from: phase.unwrap_or_default(), after, within, nothing_else })
    }

    /// Compares the journal with the expectations, and waits for `within` until they are met.
    pub(crate) async fn verify(&self, journal: &Journal) -> Verdict {
        let deadline = Instant::now() + self.within;
        let mut finished = Finished::default();
        let mut changes = journal.changes();
        loop {
            // What changes from here on is noticed.
            changes.borrow_and_update();
            let visit = |seen: &mut dyn FnMut(&Entry)| journal.visit(self.after, seen);
            if let Ok(matched) = self.compare(&self.rows(visit, &mut finished)) {
                return Verdict::Verified(matched);
            }
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return self.verdict(visit);
            }
        }
    }

    /// Compares the entries that `visit` visits with the expectations.
    pub(super) fn verdict(&self, visit: impl Fn(&mut dyn FnMut(&Entry))) -> Verdict {
        match self.compare(&self.rows(&visit, &mut Finished::default())) {
            Ok(matched) => Verdict::Verified(matched),
            Err(Shortfall { matched, missing, unexpected }) => {
                Verdict::Failed(Box::new(Report::new(&self.expectations, matched, missing, unexpected, visit)))
            }
        }
    }

    fn rows(&self, visit: impl Fn(&mut dyn FnMut(&Entry)), finished: &mut Finished) -> Vec<Row> {
        let mut rows = Vec::new();
        visit(&mut |entry| {
            let is_finished = entry.phase == Phase::Finished;
            let counts = self.counted_from == CountedFrom::Received || is_finished;
            let compare = || {
                let subject = Subject::new(entry);
                self.expectations.iter().map(|expectation| expectation.is_met_by(&subject)).collect()
            };
            let meets: Arc<[bool]> = match finished.0.get(&entry.id) {
                Some(known) => Arc::clone(known),
                None => compare(),
            };
            if is_finished {
                finished.0.insert(entry.id, Arc::clone(&meets));
            }
            rows.push(Row { id: entry.id, counts, meets });
        });
        rows
    }

    fn compare(&self, rows: &[Row]) -> Result<Vec<Vec<u64>>, Shortfall> {
        let matched: Vec<Vec<u64>> = (0..self.expectations.len())
            .map(|index| rows.iter().filter(|row| row.counts && row.meets[index]).map(|row| row.id).collect())
            .collect();
        let others = rows.iter().filter(|row| self.nothing_else && !row.meets.contains(&true));
        let unexpected: Vec<u64> = others.map(|row| row.id).collect();
        if self.order == Order::Any {
            let short = matched.iter().zip(&self.expectations).enumerate();
            let short = short.filter(|(_, (found, expectation))| !expectation.times.contains(&found.len()));
            let missing: Vec<Missing> =
                short.map(|(expected, (found, _))| Missing { expected, found: found.len(), order: None }).collect();
            return if missing.is_empty() && unexpected.is_empty() {
                Ok(matched)
            } else {
                Err(Shortfall { matched, missing, unexpected })
            };
        }
        let sequence: Vec<&Row> = rows.iter().filter(|row| row.counts && row.meets.contains(&true)).collect();
        let times: Vec<_> = self.expectations.iter().map(|expectation| expectation.times.clone()).collect();
        match place(sequence.len(), &times, |expectation, item| sequence[item].meets[expectation]) {
            Ok(ends) if unexpected.is_empty() => {
                let begins = [0].into_iter().chain(ends.iter().copied());
                let runs = begins.zip(&ends).map(|(begin, end)| &sequence[begin..*end]);
                Ok(runs.map(|run| run.iter().map(|row| row.id).collect()).collect())
            }
            Ok(_) => Err(Shortfall { matched, missing: Vec::new(), unexpected }),
            Err(Stuck { expectation, placed }) => {
                let next = sequence.get(placed).map(|row| row.id);
                let previous = placed.checked_sub(1).map(|last| sequence[last].id);
                let found = matched.get(expectation).map_or(0, Vec::len);
                let missing = if expectation < self.expectations.len() {
                    vec![Missing { expected: expectation, found, order: Some((previous, next)) }]
                } else {
                    Vec::new()
                };
                // After the last expectation's, an entry that meets an earlier one comes too late or once too often.
                let mut unexpected = unexpected;
                unexpected.extend(next.filter(|_| missing.is_empty()));
                unexpected.sort_unstable();
                Err(Shortfall { matched, missing, unexpected })
            }
        }
    }
}

fn invalid(at: &str, rule: &str) -> ApiError {
    let name = at.trim_start_matches('/');
    ApiError::new(Code::ControlInvalid, format!("{name} {rule}.")).at(at)
}
