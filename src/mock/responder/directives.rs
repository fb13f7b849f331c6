//! Directives: commands in double brackets in a user's text, so that any behaviour of a model can be provoked through an SDK
//! alone.
//!
//! | directive | what the reply does |
//! | --- | --- |
//! | `[[call:NAME {json}]]` | calls a tool; several calls are made one per step, or in one step if the agent calls in parallel |
//! | `[[error:STATUS]]` | fails as if the model's provider had responded with this HTTP status |
//! | `[[reason:TEXT]]` | reasons with this text before it replies |
//! | `[[long:WORDS]]` | has this many words |
//! | `[[slow:MS]]` | pauses this many milliseconds before each event of the stream |
//! | `[[refuse]]` | declines |

use std::time::Duration;

use serde_json::{Deserializer, Map, Value};

use super::{CallRequest, interpreted};

/// The directives of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Directives {
    pub(super) calls: Vec<CallRequest>,
    /// The HTTP status with which the provider fails.
    pub(super) failure: Option<u16>,
    pub(super) reasoning: Option<String>,
    /// The length of the reply, in words.
    pub(super) length: Option<usize>,
    pub(super) event_delay: Duration,
    pub(super) refuses: bool,
    /// The text without its directives, or the whole text if it has nothing else.
    pub(super) rest: String,
}

/// The limit of `[[long:WORDS]]`.
const MAX_WORDS: usize = 100_000;
/// The limit of `[[slow:MS]]`.
const MAX_DELAY: Duration = Duration::from_mins(1);

impl Directives {
    /// Parses a text. Brackets that contain no directive remain text.
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut rest = String::new();
        let head = interpreted(text);
        let mut unread = head;
        while let Some(begin) = unread.find("[[") {
            let (before, from) = unread.split_at(begin);
            rest.push_str(before);
            match found.read_one(&from[2..]) {
                Some(after) => unread = after,
                None => {
                    rest.push_str("[[");
                    unread = &from[2..];
                }
            }
        }
        rest.push_str(unread);
        rest.push_str(&text[head.len()..]);
        let stripped = rest.trim();
        let rest = if found == Self::default() || stripped.is_empty() { text } else { stripped };
        rest.clone_into(&mut found.rest);
        found
    }

    /// Parses the directive whose opening brackets precede `text`, and returns the text after its closing brackets; `None` if
    /// it is not a directive.
    fn read_one<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(call) = text.strip_prefix("call:") {
            let (call, after) = read_call(call)?;
            self.calls.push(call);
            return Some(after);
        }
        let (inside, after) = text.split_once("]]")?;
        match inside.split_once(':') {
            None if inside == "refuse" => self.refuses = true,
            Some(("error", status)) => {
                let status = status.trim().parse().ok().filter(|status| (400..600).contains(status))?;
                self.failure = Some(status);
            }
            Some(("reason", text)) => self.reasoning = Some(text.trim().to_owned()),
            Some(("long", words)) => self.length = Some(words.trim().parse::<usize>().ok()?.min(MAX_WORDS)),
            Some(("slow", millis)) => {
                self.event_delay = Duration::from_millis(millis.trim().parse().ok()?).min(MAX_DELAY);
            }
            _ => return None,
        }
        Some(after)
    }
}

/// Parses `NAME {json}]]`. The arguments are optional, and may contain brackets.
fn read_call(text: &str) -> Option<(CallRequest, &str)> {
    let end = text.find(|character: char| !(character.is_alphanumeric() || "_-.:/".contains(character)))?;
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start();
    if let Some(after) = rest.strip_prefix("]]") {
        return Some((CallRequest::new(name, Map::new()), after));
    }
    let mut values = Deserializer::from_str(rest).into_iter::<Value>();
    let Some(Ok(Value::Object(arguments))) = values.next() else { return None };
    let after = rest[values.byte_offset()..].trim_start().strip_prefix("]]")?;
    Some((CallRequest::new(name, arguments), after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(name: &str, arguments: &Value) -> CallRequest {
        CallRequest::new(name, arguments.as_object().unwrap().clone())
    }

    #[test]
    fn directives_are_removed_from_the_text() {
        let found = Directives::parse("Hello [[reason: I think]] there [[slow:20]][[long:7]][[refuse]] ");
        assert_eq!(found.rest, "Hello  there");
        assert_eq!((found.reasoning.as_deref(), found.length, found.refuses), (Some("I think"), Some(7), true));
        assert_eq!(found.event_delay, Duration::from_millis(20));
    }

    #[test]
    fn calls_are_read_to_the_end_of_their_json() {
        let found = Directives::parse(r#"[[call:a {"x": "]] {[[", "y": [[1]]}]] and [[call:b]] and [[call:c {}]]"#);
        let expected = [call("a", &json!({"x": "]] {[[", "y": [[1]]})), call("b", &json!({})), call("c", &json!({}))];
        assert_eq!(found.calls, expected);
        assert_eq!(found.rest, "and  and");
    }

    #[test]
    fn brackets_without_a_directive_are_text() {
        for text in [
            "",
            "plain",
            "[[",
            "]]",
            "[[]]",
            "[[other]]",
            "[[error:200]]",
            "[[error:x]]",
            "[[slow:-1]]",
            "[[long:]]",
            "[[call:]]",
            "[[call:a",
            "[[call:a {]]",
            "[[call:a 5]]",
            "[[call:a {} x]]",
            "[[Refuse]]",
            "[[call:",
        ] {
            assert_eq!(Directives::parse(text), Directives { rest: text.into(), ..Directives::default() }, "{text}");
        }
    }

    #[test]
    fn a_text_of_nothing_but_directives_is_quoted_as_it_is() {
        let found = Directives::parse("[[error:429]]");
        assert_eq!((found.failure, found.rest.as_str()), (Some(429), "[[error:429]]"));
    }

    #[test]
    fn values_have_limits() {
        let found = Directives::parse("[[long:99999999]] [[slow:99999999]]");
        assert_eq!((found.length, found.event_delay), (Some(MAX_WORDS), MAX_DELAY));
        assert!(Directives::parse(&"[[".repeat(100_000)).calls.is_empty());
    }
}
