//! One expectation: criteria on a request, and how often it is expected.

use std::{cell::OnceCell, fmt, ops::RangeInclusive};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::matcher::{Malformed, Matcher, escaped, short};
use crate::journal::{Entry, Filter, check_header};

/// How many criteria an expectation may have.
const MOST_CRITERIA: usize = 50;

/// A request that is expected.
#[derive(Debug)]
pub(super) struct Expectation {
    /// The criteria, those that cost least first.
    criteria: Vec<Criterion>,
    /// How often it is expected.
    pub(super) times: RangeInclusive<usize>,
}

#[derive(Debug)]
enum Criterion {
    /// One of the journal's filter.
    Field { name: String, value: Value, filter: Box<Filter> },
    /// On a header, by its name in lower case.
    Header { name: String, matchers: Vec<Matcher> },
    /// On the value at a JSON pointer into the body.
    Body { pointer: String, matchers: Vec<Matcher> },
}

/// An entry while it is compared: its body is parsed at most once, and only if a criterion needs it.
pub(super) struct Subject<'a> {
    pub(super) entry: &'a Entry,
    body: OnceCell<Option<Value>>,
}

/// What one criterion says about an entry.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Judgement {
    /// The criterion, such as `agent` or `body/messages/0/content`.
    pub(super) name: String,
    /// Whether it is met.
    pub(super) ok: bool,
    /// What is expected, if it is not met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected: Option<Value>,
    /// What the entry has, if that is not what is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found: Option<Value>,
    /// What is expected, for people.
    #[serde(skip)]
    pub(super) said: String,
}

impl<'a> Subject<'a> {
    pub(super) fn new(entry: &'a Entry) -> Self {
        Self { entry, body: OnceCell::new() }
    }

    /// The body: JSON, or a text as a string.
    fn body(&self) -> Option<&Value> {
        let parse = || {
            let body = self.entry.sent.body.as_ref()?;
            Some(body.json().unwrap_or_else(|| body.text().into()))
        };
        self.body.get_or_init(parse).as_ref()
    }
}

impl Expectation {
    /// Reads an expectation.
    ///
    /// # Errors
    /// What is wrong with it, and where in it.
    pub(super) fn parse(value: Value) -> Result<Self, Malformed> {
        let Value::Object(mut members) = value else {
            return Err(Malformed { at: String::new(), rule: "must be an object".into() });
        };
        let times = members.remove("times").map_or(Ok(1..=usize::MAX), |times| parse_times(&times))?;
        let body = matchers_of(&mut members, "body", |pointer| {
            if pointer.is_empty() || pointer.starts_with('/') {
                Ok(pointer)
            } else {
                Err(format!("must be a JSON pointer, such as /{pointer}"))
            }
        })?;
        let headers = matchers_of(&mut members, "headers", |name| {
            let name = name.to_ascii_lowercase();
            check_header(&name).map(|()| name)
        })?;
        let fields = members.into_iter().map(|(name, value)| field(name, value));
        let mut criteria = fields.collect::<Result<Vec<_>, _>>()?;
        criteria.extend(headers.into_iter().map(|(name, matchers)| Criterion::Header { name, matchers }));
        criteria.extend(body.into_iter().map(|(pointer, matchers)| Criterion::Body { pointer, matchers }));
        if criteria.len() > MOST_CRITERIA {
            let rule = format!("must have at most {MOST_CRITERIA} criteria");
            return Err(Malformed { at: String::new(), rule });
        }
        Ok(Self { criteria, times })
    }

    /// How many regular expressions it has.
    pub(super) fn regexes(&self) -> usize {
        let matchers = self.criteria.iter().flat_map(Criterion::matchers);
        matchers.filter(|matcher| matches!(matcher, Matcher::Matches(_))).count()
    }

    /// Whether an entry meets every criterion.
    pub(super) fn is_met_by(&self, subject: &Subject<'_>) -> bool {
        self.criteria.iter().all(|criterion| criterion.is_met_by(subject))
    }

    /// How many criteria an entry meets, without those on its body.
    pub(super) fn rough_score(&self, subject: &Subject<'_>) -> usize {
        let cheap = self.criteria.iter().filter(|criterion| !matches!(criterion, Criterion::Body { .. }));
        cheap.filter(|criterion| criterion.is_met_by(subject)).count()
    }

    /// What each criterion says about an entry.
    pub(super) fn judge(&self, subject: &Subject<'_>) -> Vec<Judgement> {
        self.criteria.iter().map(|criterion| criterion.judge(subject)).collect()
    }
}

/// Such as `operation StreamMessage, body/messages/0/content matches "^Hello"`.
impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.criteria.is_empty() {
            return f.write_str("any request");
        }
        for (index, criterion) in self.criteria.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{} {}", criterion.name(), criterion.said())?;
        }
        Ok(())
    }
}

impl Criterion {
    fn is_met_by(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Field { filter, .. } => filter.matches(subject.entry),
            Self::Header { .. } | Self::Body { .. } => {
                let found = self.found(subject);
                self.matchers().iter().all(|matcher| matcher.accepts(found.as_ref()))
            }
        }
    }

    fn judge(&self, subject: &Subject<'_>) -> Judgement {
        let (name, ok) = (self.name(), self.is_met_by(subject));
        if ok {
            return Judgement { name, ok, expected: None, found: None, said: String::new() };
        }
        let expected = match self {
            Self::Field { value, .. } => value.clone(),
            Self::Header { .. } | Self::Body { .. } => {
                let found = self.found(subject);
                let refused = self.matchers().iter().find(|matcher| !matcher.accepts(found.as_ref()));
                refused.map_or(Value::Null, Matcher::expected)
            }
        };
        let found = Some(self.found(subject).unwrap_or(Value::Null));
        Judgement { name, ok, expected: Some(expected), found, said: self.said() }
    }

    fn name(&self) -> String {
        match self {
            Self::Field { name, .. } => name.clone(),
            Self::Header { name, .. } => format!("headers/{}", escaped(name)),
            Self::Body { pointer, .. } => format!("body{pointer}"),
        }
    }

    fn matchers(&self) -> &[Matcher] {
        match self {
            Self::Field { .. } => &[],
            Self::Header { matchers, .. } | Self::Body { matchers, .. } => matchers,
        }
    }

    /// What is expected, for people.
    fn said(&self) -> String {
        match self {
            Self::Field { value: Value::String(value), .. } => value.clone(),
            Self::Field { value, .. } => short(value),
            Self::Header { matchers, .. } | Self::Body { matchers, .. } => {
                matchers.iter().map(Matcher::to_string).collect::<Vec<_>>().join(" and ")
            }
        }
    }

    /// What an entry has; `None` if it has no such thing.
    fn found(&self, subject: &Subject<'_>) -> Option<Value> {
        let entry = subject.entry;
        match self {
            Self::Header { name, .. } => entry.sent.headers.get(name.as_str()).map(|value| json!(value)),
            Self::Body { pointer, .. } => subject.body()?.pointer(pointer).cloned(),
            Self::Field { name, .. } => match name.as_str() {
                "operation" => entry.operation.map(|operation| operation.row().name.into()),
                "agent" => match (entry.refs.get("agent"), &entry.agents[..]) {
                    (Some(name), _) => Some(json!(name)),
                    (None, []) => None,
                    (None, [agent]) => Some(json!(agent)),
                    (None, agents) => Some(json!(agents)),
                },
                "caller" => Some(entry.caller.kind.word().into()),
                "token" => entry.caller.jti.as_ref().map(|id| json!(id)),
                "origin" => entry.sent.origin.as_ref().map(|origin| json!(origin)),
                "status" => entry.status().map(Value::from),
                "code" => entry.code().map(Value::from),
                "outcome" => entry.decision.outcome.map(|outcome| outcome.word().into()),
                "phase" => Some(entry.phase.word().into()),
                "text" => entry.sent.body.as_ref().map(|body| body.text().into()),
                _ => None,
            },
        }
    }
}

/// A criterion of the journal's filter.
fn field(name: String, value: Value) -> Result<Criterion, Malformed> {
    let malformed = |rule: String| Malformed { at: format!("/{}", escaped(&name)), rule };
    let text = match &value {
        Value::String(text) => text.clone(),
        Value::Number(number) if name == "status" => number.to_string(),
        _ => return Err(malformed("must be a string".into())),
    };
    let mut filter = Filter::default();
    match filter.add(&name, &text) {
        Ok(true) => Ok(Criterion::Field { name, value, filter: Box::new(filter) }),
        Ok(false) => Err(malformed(
            "is no criterion; use operation, agent, caller, token, origin, status, code, outcome, phase, text, body, \
             headers or times"
                .into(),
        )),
        Err(rule) => Err(malformed(rule)),
    }
}

/// The matchers on the parts of something, each under the name of its part.
fn matchers_of(
    members: &mut Map<String, Value>,
    name: &str,
    part: impl Fn(String) -> Result<String, String>,
) -> Result<Vec<(String, Vec<Matcher>)>, Malformed> {
    let parts = match members.remove(name) {
        None => return Ok(Vec::new()),
        Some(Value::Object(parts)) => parts,
        Some(_) => {
            let rule = match name {
                "body" => "must be an object of JSON pointers and matchers, such as {\"/messages/0/content\": \"Hi\"}",
                _ => "must be an object of names and matchers, such as {\"x-stainless-retry-count\": \"0\"}",
            };
            return Err(Malformed { at: format!("/{name}"), rule: rule.into() });
        }
    };
    let parts = parts.into_iter().map(|(key, value)| {
        let at = format!("/{name}/{}", escaped(&key));
        let part = part(key).map_err(|rule| Malformed { at: at.clone(), rule })?;
        match Matcher::parse(value) {
            Ok(matchers) => Ok((part, matchers)),
            Err(Malformed { at: within, rule }) => Err(Malformed { at: at + &within, rule }),
        }
    });
    parts.collect()
}

/// Reads `2` or `{"min": 1, "max": 3}`.
fn parse_times(times: &Value) -> Result<RangeInclusive<usize>, Malformed> {
    let malformed = |at: &str| {
        let rule = "must be a number, or an object with min, max or both, such as {\"min\": 1, \"max\": 3}";
        Malformed { at: format!("/times{at}"), rule: rule.into() }
    };
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    match times {
        Value::Object(bounds) => {
            let bound = |name: &str| match bounds.get(name) {
                None => Ok(None),
                Some(value) => number(value).map(Some).ok_or_else(|| malformed(&format!("/{name}"))),
            };
            let (min, max) = (bound("min")?, bound("max")?);
            if bounds.is_empty() || bounds.keys().any(|name| name != "min" && name != "max") {
                return Err(malformed(""));
            }
            let times = min.unwrap_or(0)..=max.unwrap_or(usize::MAX);
            if times.is_empty() { Err(malformed("/max")) } else { Ok(times) }
        }
        other => number(other).map(|number| number..=number).ok_or_else(|| malformed("")),
    }
}

/// Such as `at least once`.
pub(super) fn times_said(times: &RangeInclusive<usize>) -> String {
    let count = |number: usize| match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        number => format!("{number} times"),
    };
    match (*times.start(), *times.end()) {
        (0, 0) => "never".into(),
        (min, max) if min == max => count(min),
        (0, usize::MAX) => "any number of times".into(),
        (min, usize::MAX) => format!("at least {}", count(min)),
        (0, max) => format!("at most {}", count(max)),
        (min, max) => format!("{min} to {max} times"),
    }
}
