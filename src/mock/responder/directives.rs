//! Directives: what a text may say in double brackets, so that a call of an SDK alone can provoke whatever a model does.
//!
//! | directive | what the answer does |
//! | --- | --- |
//! | `[[call:NAME {json}]]` | calls a tool; several calls follow one another, or come at once where the agent allows it |
//! | `[[error:STATUS]]` | fails as if the model's provider had answered with this HTTP status |
//! | `[[reason:TEXT]]` | thinks this before it speaks |
//! | `[[long:WORDS]]` | is so many words long |
//! | `[[slow:MS]]` | pauses so many milliseconds before each piece |
//! | `[[refuse]]` | declines |

use std::time::Duration;

use serde_json::{Deserializer, Map, Value};

use super::{CallRequest, understood};

/// What a text asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Directives {
    pub(super) calls: Vec<CallRequest>,
    /// A status of the provider.
    pub(super) failure: Option<u16>,
    pub(super) thought: Option<String>,
    /// How many words the answer has.
    pub(super) length: Option<usize>,
    pub(super) pace: Duration,
    pub(super) refuses: bool,
    /// The text without its directives; as it is when it has none, or nothing else.
    pub(super) rest: String,
}

/// The longest answer that can be asked for, in words.
const MOST_WORDS: usize = 100_000;
/// The longest pause that can be asked for.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

impl Directives {
    /// Reads a text. What is in brackets and no directive is text.
    pub(super) fn of(text: &str) -> Self {
        let mut found = Self::default();
        let mut rest = String::new();
        let head = understood(text);
        let mut ahead = head;
        while let Some(begin) = ahead.find("[[") {
            let (before, from) = ahead.split_at(begin);
            rest.push_str(before);
            match found.take(&from[2..]) {
                Some(after) => ahead = after,
                None => {
                    rest.push_str("[[");
                    ahead = &from[2..];
                }
            }
        }
        rest.push_str(ahead);
        rest.push_str(&text[head.len()..]);
        let stripped = rest.trim();
        let rest = if found == Self::default() || stripped.is_empty() { text } else { stripped };
        rest.clone_into(&mut found.rest);
        found
    }

    /// Takes one directive in; what follows it. None: it is none.
    fn take<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(call) = text.strip_prefix("call:") {
            let (asked, after) = read_call(call)?;
            self.calls.push(asked);
            return Some(after);
        }
        let (inside, after) = text.split_once("]]")?;
        match inside.split_once(':') {
            None if inside == "refuse" => self.refuses = true,
            Some(("error", status)) => {
                let status = status.trim().parse().ok().filter(|status| (400..600).contains(status))?;
                self.failure = Some(status);
            }
            Some(("reason", thought)) => self.thought = Some(thought.trim().to_owned()),
            Some(("long", words)) => self.length = Some(words.trim().parse::<usize>().ok()?.min(MOST_WORDS)),
            Some(("slow", millis)) => {
                self.pace = Duration::from_millis(millis.trim().parse().ok()?).min(LONGEST_PAUSE);
            }
            _ => return None,
        }
        Some(after)
    }
}

/// `NAME {json}]]`, where the arguments may be left out and may hold brackets themselves.
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
    fn directives_are_taken_out_of_the_text() {
        let found = Directives::of("Hello [[reason: I think]] there [[slow:20]][[long:7]][[refuse]] ");
        assert_eq!(found.rest, "Hello  there");
        assert_eq!((found.thought.as_deref(), found.length, found.refuses), (Some("I think"), Some(7), true));
        assert_eq!(found.pace, Duration::from_millis(20));
    }

    #[test]
    fn calls_are_read_to_the_end_of_their_json() {
        let found = Directives::of(r#"[[call:a {"x": "]] {[[", "y": [[1]]}]] and [[call:b]] and [[call:c {}]]"#);
        let expected = [call("a", &json!({"x": "]] {[[", "y": [[1]]})), call("b", &json!({})), call("c", &json!({}))];
        assert_eq!(found.calls, expected);
        assert_eq!(found.rest, "and  and");
    }

    #[test]
    fn what_is_no_directive_is_text() {
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
            assert_eq!(Directives::of(text), Directives { rest: text.into(), ..Directives::default() }, "{text}");
        }
    }

    #[test]
    fn a_text_of_nothing_but_directives_is_quoted_as_it_is() {
        let found = Directives::of("[[error:429]]");
        assert_eq!((found.failure, found.rest.as_str()), (Some(429), "[[error:429]]"));
    }

    #[test]
    fn what_is_asked_for_has_bounds() {
        let found = Directives::of("[[long:99999999]] [[slow:99999999]]");
        assert_eq!((found.length, found.pace), (Some(MOST_WORDS), LONGEST_PAUSE));
        assert!(Directives::of(&"[[".repeat(100_000)).calls.is_empty());
    }
}
