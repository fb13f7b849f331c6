//! Which requests a fault concerns, and which of them it hits.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    access::{DEFAULT_CONVERSATION, Operation},
    journal::{CallerKind, Entry, token_id},
};

/// Which requests a fault concerns: those that have all that is given.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<Operations>,
    /// An agent, by its id, its ref in the seed, or its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<CallerWord>,
    /// A client token, by its id or its ref in the seed.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "token")]
    pub(super) token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) conversation: Option<String>,
}

/// A client token itself is never kept.
fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| token_id(&text).map_or(text, |id| id.to_string())))
}

/// Which of the requests that it concerns a fault hits: without any of these, all.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Occasion {
    /// By their numbers, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nth: Option<Vec<u64>>,
    /// The first so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<u64>,
    /// One of so many: the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) every: Option<u64>,
    /// Each with this probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) probability: Option<f64>,
    /// `false`: only first attempts. `true`: each attempt counts as a request. `None`: attempts share their fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry: Option<bool>,
}

/// Who sends requests.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CallerWord {
    ClientToken,
    ApiKey,
}

/// Several operations.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operations(Vec<OperationPattern>);

/// An operation by its name, or all with a method and a path.
#[derive(Clone, Debug, PartialEq)]
enum OperationPattern {
    Named(Operation),
    Path { method: String, path: String },
}

/// What is known of a request.
pub(super) struct Seen<'a> {
    pub(super) entry: &'a Entry,
    pub(super) caller: CallerKind,
    pub(super) jti: Option<&'a str>,
    pub(super) conversation: Option<&'a str>,
    /// Whether it names a thing of an agent that was not looked up.
    pub(super) has_unknown_agent: bool,
    /// The name of the agent, if it was looked up.
    pub(super) agent_name: Option<&'a str>,
}

/// Whether a fault concerns a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Concern {
    No,
    /// If the agent is the one, or has the name.
    ByName,
    Yes,
}

impl Place {
    pub(super) fn concerns(&self, seen: &Seen<'_>) -> Concern {
        let Self { operation, agent, caller, token, conversation } = self;
        let fits = operation.as_ref().is_none_or(|operations| operations.have(seen.entry))
            && caller.is_none_or(|caller| match caller {
                CallerWord::ClientToken => seen.caller == CallerKind::ClientToken,
                CallerWord::ApiKey => seen.caller == CallerKind::ApiKey,
            })
            && token.as_ref().is_none_or(|token| {
                seen.jti == Some(token) || seen.entry.refs.get("token").is_some_and(|name| **name == **token)
            })
            && conversation.as_ref().is_none_or(|wanted| match seen.conversation {
                // Letta takes an agent's id for its default conversation.
                None => wanted == DEFAULT_CONVERSATION,
                Some(id) => wanted == id || wanted == DEFAULT_CONVERSATION && id.starts_with("agent-"),
            });
        match agent {
            _ if !fits => Concern::No,
            None => Concern::Yes,
            Some(agent) if seen.entry.concerns(agent) || seen.agent_name == Some(agent) => Concern::Yes,
            Some(_) if seen.has_unknown_agent => Concern::ByName,
            Some(_) if seen.agent_name.is_none() && !seen.entry.agents.is_empty() => Concern::ByName,
            Some(_) => Concern::No,
        }
    }
}

impl Operations {
    fn have(&self, entry: &Entry) -> bool {
        self.0.iter().any(|pattern| match pattern {
            OperationPattern::Named(operation) => entry.operation == Some(*operation),
            OperationPattern::Path { method, path } => {
                *entry.method == **method && is_like(entry.target.split('?').next().unwrap_or_default(), path)
            }
        })
    }
}

/// Whether a path is like a pattern, in which `*` stands for any text.
fn is_like(path: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

impl OperationPattern {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((method, path)) = text.split_once(' ') {
            let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
            if is_method && path.starts_with('/') && !path.contains(['?', ' ']) {
                return Ok(Self::Path { method: method.into(), path: path.into() });
            }
            return Err(format!("'{text}' must be a method and a path, such as \"POST /v1/agents/*/messages*\""));
        }
        let found = Operation::ALL.iter().find(|operation| operation.row().name == text);
        found.map(|operation| Self::Named(*operation)).ok_or_else(|| {
            format!("'{text}' is no operation; 'gatelet operations' lists them, and a method with a path works as well")
        })
    }
}

impl<'de> Deserialize<'de> for OperationPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for OperationPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Named(operation) => operation.row().name.serialize(serializer),
            Self::Path { method, path } => serializer.collect_str(&format_args!("{method} {path}")),
        }
    }
}

impl<'de> Deserialize<'de> for Operations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Operations;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the name of an operation, a method and a path, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Operations, E> {
                OperationPattern::parse(text).map(|pattern| Operations(vec![pattern])).map_err(E::custom)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Operations, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(items)).map(Operations)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for Operations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [only] => only.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl Occasion {
    /// Whether the fault hits the request with this number among those that it concerns, from 1. `chance` is drawn for
    /// this request.
    pub(super) fn hits(&self, number: u64, chance: f64) -> bool {
        self.nth.as_ref().is_none_or(|nth| nth.contains(&number))
            && self.first.is_none_or(|first| number <= first)
            && self.every.is_none_or(|every| number.is_multiple_of(every))
            && self.probability.is_none_or(|probability| chance < probability)
    }

    /// Whether it hits each request that it concerns, and whose turn it is.
    pub(super) fn is_certain(&self) -> bool {
        self.probability.is_none()
    }

    /// How many more requests it can hit after `matched` of those that it concerns; `None` for any number.
    pub(super) fn left(&self, matched: u64) -> Option<u64> {
        if let Some(first) = self.first {
            return Some(first.saturating_sub(matched));
        }
        let nth = self.nth.as_ref()?;
        let mut left: Vec<u64> = nth.iter().copied().filter(|number| *number > matched).collect();
        left.sort_unstable();
        left.dedup();
        Some(left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, path, expected) in [
            ("/v1/agents/*/messages*", "/v1/agents/a/messages", true),
            ("/v1/agents/*/messages*", "/v1/agents/a/messages/stream", true),
            ("/v1/agents/*/messages*", "/v1/agents/messages", false),
            ("/v1/agents/*/messages", "/v1/agents/a/messages/stream", false),
            ("/v1/agents/", "/v1/agents/", true),
            ("/v1/agents/", "/v1/agents/a", false),
            ("*", "/anything", true),
            ("/a*a", "/a", false),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/acb", false),
        ] {
            assert_eq!(is_like(path, pattern), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn an_occasion_says_which_requests_are_hit() {
        let occasion = |json: &str| serde_json::from_str::<Occasion>(json).unwrap();
        for (json, hit, left) in [
            ("{}", "yyyyyy", None),
            (r#"{"nth": [1, 3, 3]}"#, "y.y...", Some(2)),
            (r#"{"first": 2}"#, "yy....", Some(2)),
            (r#"{"every": 3}"#, "..y..y", None),
        ] {
            let occasion = occasion(json);
            let hits: String = (1..=6).map(|number| if occasion.hits(number, 0.5) { 'y' } else { '.' }).collect();
            assert_eq!((&*hits, occasion.left(0)), (hit, left), "{json}");
        }
        assert_eq!(occasion(r#"{"nth": [1, 3]}"#).left(1), Some(1));
        assert_eq!(occasion(r#"{"first": 2}"#).left(5), Some(0));
    }
}
