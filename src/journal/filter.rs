//! Which entries are asked for.

use std::str::FromStr;

use http::StatusCode;
use serde_json::Value;

use super::{
    entry::{CallerKind, Entry, Phase},
    scrub,
};
use crate::access::{Operation, Outcome};

/// What entries must have in common. Empty, it matches every entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    operation: Option<Operation>,
    agent: Option<String>,
    caller: Option<CallerKind>,
    token: Option<String>,
    origin: Option<String>,
    status: Option<Statuses>,
    code: Option<String>,
    outcome: Option<Outcome>,
    phase: Option<Phase>,
    text: Option<String>,
}

/// One status, or all of a class.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Statuses {
    One(u16),
    Class(u16),
}

impl Filter {
    /// Adds a criterion. Returns whether there is one of this name.
    ///
    /// # Errors
    /// What the value must be.
    pub(crate) fn add(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "operation" => self.operation = Some(operation(value)?),
            "agent" => self.agent = Some(value.to_owned()),
            "caller" => self.caller = Some(word(value, &CallerKind::ALL, CallerKind::word)?),
            "token" => self.token = Some(scrub::token_id(value).map_or(value.to_owned(), |id| id.to_string())),
            "origin" => self.origin = Some(value.to_owned()),
            "status" => self.status = Some(value.parse()?),
            "code" => self.code = Some(value.to_owned()),
            "outcome" => self.outcome = Some(word(value, &Outcome::ALL, Outcome::word)?),
            "phase" => self.phase = Some(word(value, &Phase::ALL, Phase::word)?),
            "text" => self.text = Some(value.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether an entry has all of it, as far as it is complete.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let Self { operation, agent, caller, token, origin, status, code, outcome, phase, text } = self;
        operation.is_none_or(|operation| entry.operation == Some(operation))
            && agent.as_ref().is_none_or(|agent| entry.concerns(agent))
            && caller.is_none_or(|kind| entry.caller.kind == kind)
            && token.as_ref().is_none_or(|token| entry.caller.jti.as_deref() == Some(token))
            && origin.as_ref().is_none_or(|origin| entry.sent.origin.as_deref() == Some(origin))
            && status.is_none_or(|statuses| entry.status().is_some_and(|status| statuses.have(status)))
            && code.as_ref().is_none_or(|code| entry.code() == Some(code))
            && outcome.is_none_or(|outcome| entry.decision.outcome == Some(outcome))
            && phase.is_none_or(|phase| entry.phase == phase)
            && text.as_ref().is_none_or(|text| has_text(entry, text))
    }
}

impl Statuses {
    fn have(self, status: u16) -> bool {
        match self {
            Self::One(one) => status == one,
            Self::Class(class) => status / 100 == class,
        }
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(class) = text.strip_suffix("xx").and_then(|class| class.parse().ok()).filter(|class| *class < 10) {
            return Ok(Self::Class(class));
        }
        let status = text.parse::<StatusCode>().map_err(|_| "must be a status such as 403, or a class such as 4xx")?;
        Ok(Self::One(status.as_u16()))
    }
}

fn operation(name: &str) -> Result<Operation, String> {
    let found = Operation::ALL.iter().find(|operation| operation.row().name == name);
    found.copied().ok_or_else(|| "must be the name of an operation; 'gatelet operations' lists them".to_owned())
}

fn word<T: Copy>(value: &str, all: &[T], word_of: impl Fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().copied().find(|one| word_of(*one) == value);
    found.ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|one| word_of(*one)).collect();
        format!("must be one of {}", words.join(", "))
    })
}

/// Whether the body has a text, as it was sent or in one of its strings.
fn has_text(entry: &Entry, text: &str) -> bool {
    let Some(body) = &entry.sent.body else { return false };
    if body.text().contains(text) {
        return true;
    }
    let is_escaped = text.chars().any(|char| matches!(char, '"' | '\\') || char.is_control());
    is_escaped && body.json().is_some_and(|body| has_string(&body, text))
}

fn has_string(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(items) => items.iter().any(|item| has_string(item, text)),
        Value::Object(members) => members.values().any(|member| has_string(member, text)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::entry::{Answer, Identified, Sent};

    fn filter(query: &str) -> Result<Filter, String> {
        let mut filter = Filter::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            assert!(filter.add(&name, &value).map_err(|problem| format!("{name} {problem}"))?, "{name}");
        }
        Ok(filter)
    }

    #[test]
    fn every_criterion_counts() {
        let body = json!({"messages": [{"content": "Say \"hi\"\n"}]}).to_string();
        let entry = Entry {
            phase: Phase::Answering,
            operation: Some(Operation::StreamMessage),
            agents: vec!["agent-1".into()],
            refs: [("agent", "helper".into())].into(),
            caller: Identified { kind: CallerKind::ClientToken, jti: Some("jti-1".into()), ..Identified::default() },
            sent: Sent {
                origin: Some("https://app.example".into()),
                body: scrub::body(body.as_bytes(), false).0,
                ..Sent::default()
            },
            answer: Some(Answer { status: Some(403), code: Some("origin_mismatch"), ..Answer::default() }),
            decision: crate::journal::Decision {
                outcome: Some(Outcome::Denied),
                ..crate::journal::Decision::default()
            },
            ..Entry::default()
        };
        for matching in [
            "",
            "operation=StreamMessage",
            "agent=agent-1",
            "agent=helper",
            "caller=client_token&token=jti-1",
            "origin=https://app.example",
            "status=403",
            "status=4xx&code=origin_mismatch",
            "outcome=denied&phase=answering",
            "text=Say",
            "text=Say+%22hi%22%0A",
        ] {
            assert!(filter(matching).unwrap().matches(&entry), "{matching}");
        }
        for other in [
            "operation=SendMessage",
            "agent=agent-2",
            "caller=none",
            "caller=api_key&token=jti-1",
            "token=jti-2",
            "origin=https://app.example:8443",
            "status=404",
            "status=5xx",
            "code=not_found",
            "outcome=admitted",
            "phase=received",
            "text=Say+%22ho%22",
        ] {
            assert!(!filter(other).unwrap().matches(&entry), "{other}");
        }
    }

    #[test]
    fn a_value_that_no_entry_can_have_is_refused() {
        for (query, expected) in [
            ("operation=Stream", "operation must be the name of an operation; 'gatelet operations' lists them"),
            ("caller=page", "caller must be one of client_token, api_key, none"),
            ("status=40", "status must be a status such as 403, or a class such as 4xx"),
            ("outcome=refused", "outcome must be one of admitted, denied"),
            ("phase=done", "phase must be one of received, decided, answering, finished"),
        ] {
            assert_eq!(filter(query).unwrap_err(), expected);
        }
    }
}
