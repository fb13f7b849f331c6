//! What a client token is shown of an answer: as a value, as text, and in pieces that pass.

use bytes::Bytes;
use gatelet::access::{Passing, grant::Redaction, redact, redact_written};
use serde_json::Value;

/// Names of every kind that the table of secrets has, and what such a member may still be.
const SECRETS: &[&str] = &[
    "secrets",
    "tool_exec_environment_variables",
    "source_code",
    "api_key",
    "error_data",
    "managed_group",
    "callback_url",
    "callback_error",
];
/// The same where only a text is one, and where only a list is.
const SECRET_TEXTS: &[&str] = &["sender_id", "group_id", "manager_agent_id"];
const SECRET_LISTS: &[&str] = &["identities", "agent_ids", "run_ids", "embedding"];

/// The longest blank.
const BLANK: usize = 4;

pub(crate) fn is_accepted(bytes: &[u8]) -> bool {
    // The first byte says where the pieces end.
    let (size, text) = bytes.split_first().map_or((1, bytes), |(size, text)| (usize::from(*size).max(1), text));
    let passed = pass(text, size);
    assert_eq!(passed.len(), text.len());
    assert_eq!(passed, pass(text, usize::MAX), "pieces of {size} bytes make a difference");
    assert_eq!(pass(&passed, size), passed, "what has passed passes again");
    let written = redact_written(text.to_vec().into(), Redaction::Secrets, None);
    let Ok(answer) = serde_json::from_slice::<Value>(text) else { return false };
    // A name that is there twice is one member of a value and two of a text.
    if serde_json::to_vec(&answer).is_ok_and(|again| count_of_names(&again) != count_of_names(text)) {
        return false;
    }
    let mut expected = answer;
    redact(&mut expected, Redaction::Secrets, None);
    tells_no_secret(&expected, false);

    let written = written.expect("JSON can be redacted");
    assert!(written.len() <= text.len() + BLANK * count_of_names(text));
    assert_eq!(serde_json::from_slice::<Value>(&written).expect("what is redacted is JSON"), expected);

    let passed = serde_json::from_slice::<Value>(&passed).expect("what has passed is JSON");
    tells_no_secret(&passed, true);
    is_as_redacted(&passed, &expected);
    true
}

/// What passes of a text in pieces of this size.
fn pass(text: &[u8], size: usize) -> Vec<u8> {
    let mut passing = Passing::default();
    let mut passed: Vec<u8> = text.chunks(size).flat_map(|piece| passing.push(Bytes::copy_from_slice(piece))).collect();
    passed.extend(passing.end());
    passed
}

/// How many colons there are: at least one for each member.
fn count_of_names(json: &[u8]) -> usize {
    memchr::memchr_iter(b':', json).count()
}

/// Nothing stands under a secret's name; `is_short`: or what says as little where there is no room for a blank.
fn tells_no_secret(value: &Value, is_short: bool) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| tells_no_secret(item, is_short)),
        Value::Object(members) => {
            for (name, value) in members {
                let is_secret = SECRETS.contains(&name.as_str())
                    || (value.is_string() && SECRET_TEXTS.contains(&name.as_str()))
                    || (value.is_array() && SECRET_LISTS.contains(&name.as_str()));
                assert!(!is_secret || is_nothing(value, is_short), "{name}: {value}");
                tells_no_secret(value, is_short);
            }
        }
        _ => {}
    }
}

fn is_nothing(value: &Value, is_short: bool) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => is_short && members.is_empty(),
        Value::Number(number) => is_short && number.as_u64() == Some(0),
        Value::Bool(_) => false,
    }
}

/// What has passed differs from what is redacted as a value in nothing but how a blank is written.
fn is_as_redacted(passed: &Value, redacted: &Value) {
    match (passed, redacted) {
        (Value::Array(passed), Value::Array(redacted)) if passed.len() == redacted.len() => {
            passed.iter().zip(redacted).for_each(|(passed, redacted)| is_as_redacted(passed, redacted));
        }
        (Value::Object(passed), Value::Object(redacted)) if passed.len() == redacted.len() => {
            for ((name, passed), (other, redacted)) in passed.iter().zip(redacted) {
                assert_eq!(name, other);
                is_as_redacted(passed, redacted);
            }
        }
        (passed, redacted) => {
            let is_blank = is_nothing(passed, true) && is_nothing(redacted, false);
            assert!(passed == redacted || is_blank, "{passed} is not {redacted}");
        }
    }
}
