//! Whether JSON surely holds nothing to be removed, found out from its colons: each has the name of a member before it. Most
//! texts are clean, and need not be taken apart.

use memchr::{memchr_iter, memrchr};

use super::{Kind, blank_of};

/// Whether nothing is to be removed from JSON, or events that hold JSON, that begin and end between two values. Where it
/// takes more to find out, false.
pub(super) fn is_clean(text: &[u8]) -> bool {
    memchr_iter(b':', text).all(|colon| {
        let (before, value) = (text[..colon].trim_ascii_end(), text[colon + 1..].trim_ascii_start());
        // Outside of texts only a name has a colon behind it, and inside of texts a quotation mark has a backslash.
        let Some(before) = before.strip_suffix(b"\"") else { return true };
        if before.ends_with(b"\\") {
            return is_escaped(before);
        }
        let Some(begin) = memrchr(b'"', before) else { return false };
        let name = &before[begin + 1..];
        let is_plain = !before[..begin].ends_with(b"\\") && !name.contains(&b'\\');
        is_plain && !value.is_empty() && (is_nothing(value) || blank_of(name, Kind::of_text(value.first())).is_none())
    })
}

fn is_nothing(value: &[u8]) -> bool {
    [&b"null"[..], b"[]", b"\"\""].iter().any(|nothing| value.starts_with(nothing))
}

/// Whether what follows these bytes has a backslash before it that is none itself.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

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
