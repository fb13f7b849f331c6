//! Whether a text surely holds nothing to be removed, found out by one search for the names of secrets. Most texts do, and
//! need not be taken apart.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{Kind, blank_of};

/// How the names of what is removed look in JSON: whole names, and the beginnings and ends of families of names.
const MARKS: &[&str] = &[
    "\"secrets\"",
    "\"tool_exec_environment_variables\"",
    "\"source_code\"",
    "\"model_endpoint\"",
    "\"embedding_endpoint\"",
    "\"azure_endpoint\"",
    "\"error_data\"",
    "\"api_key\"",
    "\"api_key_enc\"",
    "\"access_key\"",
    "\"access_key_enc\"",
    "\"auth_token\"",
    "\"auth_header\"",
    "\"custom_headers\"",
    "\"server_url\"",
    "\"value_enc\"",
    "\"base_url\"",
    "\"embedding\"",
    "\"callback_",
    "\"managed_group\"",
    "\"multi_agent_group\"",
    "\"identities\"",
    "\"identity_ids\"",
    "\"group_ids\"",
    "\"run_ids\"",
    "\"sender_id\"",
    "\"group_id\"",
    "\"identity_id\"",
    "_agent_id\"",
    "agent_ids\"",
    // An ASCII character in disguise: it may stand in a name.
    "\\u00",
];

static SEARCH: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(MARKS).ok());

/// Whether nothing is to be removed from JSON that begins between two values and is whole, or ends between two.
pub(super) fn is_clean(text: &[u8]) -> bool {
    let Some(search) = &*SEARCH else { return false };
    search.find_iter(text).all(|found| is_harmless(MARKS[found.pattern().as_usize()], &text[found.end()..]))
}

/// Whether what follows a mark shows that nothing is to be removed there.
fn is_harmless(mark: &str, rest: &[u8]) -> bool {
    // Of a family of names, the rest of the name is not looked at.
    let name = mark.strip_prefix('"').and_then(|mark| mark.strip_suffix('"'));
    let is_whole_or_end = mark.ends_with('"');
    let rest = rest.trim_ascii_start();
    match rest.split_first() {
        Some((b':', value)) if is_whole_or_end => {
            let value = value.trim_ascii_start();
            let nothing = [&b"null"[..], b"[]", b"\"\""].iter().any(|nothing| value.starts_with(nothing));
            let kind = Kind::of_text(value.first());
            nothing || !value.is_empty() && name.is_some_and(|name| blank_of(name.as_bytes(), kind).is_none())
        }
        // No name of a member, unless the colon is yet to come.
        Some(_) => is_whole_or_end,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::SECRETS, *};

    /// What is added to the names of secrets must be searched for as well.
    #[test]
    fn every_name_of_a_secret_is_searched_for() {
        let literals: Vec<&str> = SECRETS.split("b\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(literals.len() > 25, "{literals:?}");
        for literal in literals {
            let name = format!("\"{literal}\"");
            assert!(MARKS.iter().any(|mark| name.contains(mark)), "{literal}");
        }
    }

    #[test]
    fn what_is_empty_or_no_member_is_clean() {
        for (text, expected) in [
            (r#"{"id":"1","sender_id":null,"run_ids": [] , "secrets":[]}"#, true),
            (r#"{"sender_id":"agent-1"}"#, false),
            (r#"{"sender_id" : "agent-1"}"#, false),
            (r#"{"text":"\"sender_id\":\"agent-1\" and \\"}"#, true),
            (r#"["sender_id", "run_ids"]"#, true),
            (r#"{"a":"sender_id"}"#, true),
            (r#"{"embedding":"openai/x","x":1}"#, true),
            (r#"{"embedding":[0.1]}"#, false),
            (r#"{"callback_status_code":200}"#, false),
            (r#"{"main_agent_id":"agent-2"}"#, false),
            (r#"{"main_agent_id":null}"#, true),
            (r#"{"agent_id":"agent-2"}"#, true),
            (r#"{"\u0073ecrets":[1]}"#, false),
            ("data: {\"api_key\"\n", false),
            ("data: {\"message_type\":\"ping\"}\n\n", true),
        ] {
            assert_eq!(is_clean(text.as_bytes()), expected, "{text}");
        }
    }
}
