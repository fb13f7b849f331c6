//! Finds out quickly whether JSON has nothing to be removed, from its colons: each follows the name of a member. Most texts
//! are clean and need no further parsing.

use memchr::memchr_iter;

use super::secrets::{Kind, blank_of};

/// Whether JSON, or events that hold JSON, that begin and end between two values have nothing to be removed. False if that
/// cannot be decided quickly.
pub(crate) fn is_clean(text: &[u8]) -> bool {
    memchr_iter(b':', text).all(|colon| {
        let (before, value) = (text[..colon].trim_ascii_end(), text[colon + 1..].trim_ascii_start());
        // Outside of strings only a name has a colon after it, and inside of strings a quotation mark has a backslash.
        let Some(before) = before.strip_suffix(b"\"") else { return true };
        if before.ends_with(b"\\") {
            return is_escaped(before);
        }
        let Some(begin) = before.iter().rposition(|byte| matches!(byte, b'"' | b'\\')) else { return false };
        let name = &before[begin + 1..];
        let is_plain = before[begin] == b'"' && !before[..begin].ends_with(b"\\") && !value.is_empty();
        is_plain
            && (!may_be_secret(name) || is_nothing(value) || blank_of(name, Kind::of_text(value.first())).is_none())
    })
}

/// The names of members that may have to be removed; families of names follow by their beginning or end.
const NAMES: &[&str] = &[
    "secrets",
    "tool_exec_environment_variables",
    "source_code",
    "model_endpoint",
    "embedding_endpoint",
    "azure_endpoint",
    "error_data",
    "api_key",
    "api_key_enc",
    "access_key",
    "access_key_enc",
    "auth_token",
    "auth_header",
    "custom_headers",
    "server_url",
    "value_enc",
    "base_url",
    "embedding",
    "callback_url",
    "managed_group",
    "multi_agent_group",
    "identities",
    "identity_ids",
    "group_ids",
    "run_ids",
    "sender_id",
    "group_id",
    "identity_id",
];
const BEGINNING: &[u8] = b"callback_";
const ENDS: [&[u8]; 2] = [b"_agent_id", b"agent_ids"];

/// For each first letter the lengths of the names, as bits.
static LENGTHS: [u64; 32] = {
    let (mut lengths, mut at) = ([0; 32], 0);
    while at < NAMES.len() {
        lengths[place(NAMES[at].as_bytes()[0])] |= 1 << NAMES[at].len();
        at += 1;
    }
    lengths[place(BEGINNING[0])] |= u64::MAX << BEGINNING.len();
    lengths
};

const fn place(first: u8) -> usize {
    (first & 31) as usize
}

/// Whether a name may be that of a secret, which few are.
fn may_be_secret(name: &[u8]) -> bool {
    let [Some(first), Some(last)] = [name.first(), name.last()] else { return false };
    name.len() > 63
        || (LENGTHS[place(*first)] >> name.len()) & 1 == 1
        || (matches!(last, b'd' | b's') && ENDS.iter().any(|end| name.ends_with(end)))
}

fn is_nothing(value: &[u8]) -> bool {
    [&b"null"[..], b"[]", b"\"\""].iter().any(|nothing| value.starts_with(nothing))
}

/// Whether what follows these bytes is escaped by an unescaped backslash.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::redactor::secrets::SECRETS;

    /// A new name of a secret must be added here as well.
    #[test]
    fn every_name_of_a_secret_may_be_one() {
        let literals: Vec<&str> = SECRETS.split("b\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(literals.len() > 25, "{literals:?}");
        for literal in literals {
            let family = literal.as_bytes();
            let is_known = NAMES.contains(&literal) || family == BEGINNING || ENDS.contains(&family);
            assert!(is_known && may_be_secret(literal.as_bytes()), "{literal}");
        }
    }

    #[test]
    fn what_is_empty_or_no_member_is_clean() {
        for (text, expected) in [
            (r#"{"id":"1","sender_id":null,"run_ids": [] , "secrets":[]}"#, true),
            (r#"{"sender_id":"agent-1"}"#, false),
            (r#"{"sender_id" : "agent-1"}"#, false),
            (r#"{"text":"\"sender_id\":\"agent-1\" and \\"}"#, true),
            (r#"{"text":"12:30"}"#, true),
            (r#"["sender_id", "run_ids"]"#, true),
            (r#"{"a":"sender_id"}"#, true),
            (r#"{"embedding":"openai/x","x":1}"#, true),
            (r#"{"embedding":[0.1]}"#, false),
            (r#"{"callback_status_code":200}"#, false),
            (r#"{"callback_\"x":200}"#, false),
            (r#"{"callback_\\":200}"#, false),
            (r#"{"x\"_agent_id":"agent-2"}"#, false),
            (r#"{"main_agent_id":"agent-2"}"#, false),
            (r#"{"main_agent_id":null}"#, true),
            (r#"{"agent_id":"agent-2"}"#, true),
            (r#"{"\u0073ecrets":[1]}"#, false),
            ("data: {\"message_type\":\"ping\"}\n\n", true),
            ("data: {\"api_key\":", false),
            ("\":", false),
        ] {
            assert_eq!(is_clean(text.as_bytes()), expected, "{text}");
        }
    }
}
