//! Matchers of JSON values.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

/// How large a compiled expression may be, in bytes.
const MOST_REGEX_BYTES: usize = 1024 * 1024;

/// What a value must be. A value that does not exist is `None`.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    /// This value.
    Equals(Value),
    /// A text that matches; of a number or a switch its JSON.
    Matches(Regex),
    /// A text with this part, a list with such an item, or an object with such members.
    Contains(Value),
    /// Whether there is one.
    Exists(bool),
}

/// Why a matcher is malformed, and where in it: a JSON pointer.
pub(super) struct Malformed {
    pub(super) at: String,
    pub(super) rule: String,
}

impl Matcher {
    /// Reads the matchers of one value: an object of matchers, which must all match, or a plain value, which must be equal.
    ///
    /// # Errors
    /// When a matcher is unknown or has a value that it does not take.
    pub(super) fn parse(value: Value) -> Result<Vec<Self>, Malformed> {
        let Value::Object(members) = value else { return Ok(vec![Self::Equals(value)]) };
        if members.is_empty() {
            let rule = "must have a matcher: equals, matches, contains or exists".into();
            return Err(Malformed { at: String::new(), rule });
        }
        members
            .into_iter()
            .map(|(name, value)| {
                let at = format!("/{}", escaped(&name));
                Self::one(&name, value).map_err(|rule| Malformed { at, rule })
            })
            .collect()
    }

    fn one(name: &str, value: Value) -> Result<Self, String> {
        Ok(match (name, value) {
            ("equals", value) => Self::Equals(value),
            ("contains", value) => Self::Contains(value),
            ("exists", Value::Bool(exists)) => Self::Exists(exists),
            ("exists", _) => return Err("must be true or false".into()),
            ("matches", Value::String(pattern)) => {
                let regex = RegexBuilder::new(&pattern).size_limit(MOST_REGEX_BYTES).build();
                Self::Matches(regex.map_err(|error| {
                    // The first lines show the pattern, which the caller has.
                    let error = error.to_string();
                    let problem = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    format!("is not a regular expression that is accepted: {problem}")
                })?)
            }
            ("matches", _) => return Err("must be a regular expression, as a string".into()),
            _ => {
                return Err("is not a matcher; use equals, matches, contains or exists. An object is compared \
                            with {\"equals\": {...}}"
                    .into());
            }
        })
    }

    /// Whether a value is what it must be.
    pub(super) fn accepts(&self, found: Option<&Value>) -> bool {
        match (self, found) {
            (Self::Exists(exists), found) => found.is_some() == *exists,
            (_, None) => false,
            (Self::Equals(expected), Some(found)) => is_equal(expected, found),
            (Self::Contains(part), Some(found)) => contains(found, part),
            (Self::Matches(regex), Some(Value::String(found))) => regex.is_match(found),
            (Self::Matches(regex), Some(found @ (Value::Number(_) | Value::Bool(_)))) => {
                regex.is_match(&found.to_string())
            }
            (Self::Matches(_), Some(_)) => false,
        }
    }

    /// What is expected, for the JSON of a report.
    pub(super) fn expected(&self) -> Value {
        match self {
            Self::Equals(expected) => expected.clone(),
            Self::Matches(regex) => regex.as_str().into(),
            Self::Contains(part) => part.clone(),
            Self::Exists(true) => "to exist".into(),
            Self::Exists(false) => "not to exist".into(),
        }
    }
}

/// Such as `matches "^Hello"`, for people.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(expected) => write!(f, "{}", short(expected)),
            Self::Matches(regex) => write!(f, "matches {}", short(&regex.as_str().into())),
            Self::Contains(part) => write!(f, "contains {}", short(part)),
            Self::Exists(true) => f.write_str("exists"),
            Self::Exists(false) => f.write_str("does not exist"),
        }
    }
}

/// Numbers are equal by value: `1` and `1.0`.
fn is_equal(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(expected), Value::Number(found)) => {
            expected == found || expected.as_f64().is_some_and(|expected| Some(expected) == found.as_f64())
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| is_equal(expected, found))
        }
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len() && has_members(found, expected, is_equal)
        }
        _ => expected == found,
    }
}

fn contains(found: &Value, part: &Value) -> bool {
    match (found, part) {
        (Value::String(found), Value::String(part)) => found.contains(part.as_str()),
        (Value::Array(found), Value::Array(parts)) => {
            parts.iter().all(|part| found.iter().any(|found| contains_item(found, part)))
        }
        (Value::Array(found), part) => found.iter().any(|found| contains_item(found, part)),
        (Value::Object(found), Value::Object(part)) => {
            has_members(found, part, |expected, found| contains_item(found, expected))
        }
        _ => false,
    }
}

/// Within lists and objects texts must be equal, objects and lists contain.
fn contains_item(found: &Value, part: &Value) -> bool {
    is_equal(part, found) || (!found.is_string() && contains(found, part))
}

fn has_members(
    found: &Map<String, Value>,
    expected: &Map<String, Value>,
    is_same: impl Fn(&Value, &Value) -> bool,
) -> bool {
    expected.iter().all(|(name, expected)| found.get(name).is_some_and(|found| is_same(expected, found)))
}

/// A reference token of a JSON pointer (RFC 6901, section 3).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A value as JSON, cut where it is too long for a line.
pub(super) fn short(value: &Value) -> String {
    const MOST: usize = 100;
    let text = value.to_string();
    if text.chars().count() <= MOST {
        return text;
    }
    format!("{}...", text.chars().take(MOST).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_matcher_accepts_what_it_says() {
        for (matchers, found, accepted) in [
            (json!("hi"), Some(json!("hi")), true),
            (json!("hi"), Some(json!("hi!")), false),
            (json!(1), Some(json!(1.0)), true),
            (json!(null), Some(json!(null)), true),
            (json!(null), None, false),
            (json!([1]), Some(json!([1])), true),
            (json!({"equals": {"a": 1}}), Some(json!({"a": 1.0})), true),
            (json!({"equals": {"a": 1}}), Some(json!({"a": 1, "b": 2})), false),
            (json!({"equals": "hi"}), None, false),
            (json!({"matches": "^H"}), Some(json!("Hi")), true),
            (json!({"matches": "^H"}), Some(json!("Oh")), false),
            (json!({"matches": "^4"}), Some(json!(42)), true),
            (json!({"matches": ""}), Some(json!([])), false),
            (json!({"contains": "ell"}), Some(json!("Hello")), true),
            (json!({"contains": "a"}), Some(json!(["a", "b"])), true),
            (json!({"contains": "a"}), Some(json!(["ab"])), false),
            (json!({"contains": ["b", "a"]}), Some(json!(["a", "b", "c"])), true),
            (json!({"contains": {"role": "user"}}), Some(json!([{"role": "user", "content": "x"}])), true),
            (json!({"contains": {"a": {"b": 1}}}), Some(json!({"a": {"b": 1, "c": 2}, "d": 3})), true),
            (json!({"contains": {"a": "x"}}), Some(json!({"a": "xy"})), false),
            (json!({"contains": 1}), Some(json!(1)), false),
            (json!({"exists": true}), Some(json!(null)), true),
            (json!({"exists": true}), None, false),
            (json!({"exists": false}), None, true),
            (json!({"matches": "^H", "contains": "llo"}), Some(json!("Hello")), true),
            (json!({"matches": "^H", "contains": "x"}), Some(json!("Hello")), false),
        ] {
            let Ok(parsed) = Matcher::parse(matchers.clone()) else { unreachable!("{matchers}") };
            let accepts = parsed.iter().all(|matcher| matcher.accepts(found.as_ref()));
            assert_eq!(accepts, accepted, "{matchers} {found:?}");
        }
    }

    #[test]
    fn a_malformed_matcher_is_refused_with_its_place() {
        for (matcher, at) in [
            (json!({}), ""),
            (json!({"equal": 1}), "/equal"),
            (json!({"a/b": 1}), "/a~1b"),
            (json!({"matches": 1}), "/matches"),
            (json!({"matches": "("}), "/matches"),
            (json!({"matches": "(((a{100}){100}){100})"}), "/matches"),
            (json!({"exists": 1}), "/exists"),
        ] {
            let Err(malformed) = Matcher::parse(matcher.clone()) else { unreachable!("{matcher} is accepted") };
            assert_eq!(malformed.at, at, "{matcher}: {}", malformed.rule);
        }
    }
}
