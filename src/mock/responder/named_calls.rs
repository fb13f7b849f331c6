//! Finds the tools that a text names, and how often it says to call them.

use std::sync::LazyLock;

use regex::Regex;

use super::{
    CallRequest,
    arguments::{self, from_text},
};
use crate::mock::{
    budget::{Budget, Overspent},
    tools::set::CallableTool,
};

/// The calls that a text requests by naming tools: of the first tool that it names, and of all others that it says to call.
/// A text may also say how many times.
pub(super) fn named_calls(text: &str, tools: &[CallableTool], budget: &Budget) -> Result<Vec<CallRequest>, Overspent> {
    let named = tools.iter().filter_map(|tool| Some((position_of(text, &tool.name)?, tool)));
    let mut named: Vec<(usize, &CallableTool)> = named.collect();
    named.sort_by_key(|(position, _)| *position);
    let mut index = 0;
    named.retain(|(position, _)| {
        index += 1;
        index == 1 || is_called(&text[..*position])
    });
    let mut calls = Vec::new();
    for (index, (position, tool)) in named.iter().enumerate() {
        let name_end = position + tool.name.len();
        let end = named.get(index + 1).map_or(text.len(), |(next, _)| *next);
        let rest = &text[name_end..end];
        match (named.len(), times(rest)) {
            (1, None) => calls.push(CallRequest::new(&tool.name, from_text(text, name_end, tool, budget)?)),
            (_, None) => calls.push(CallRequest::new(&tool.name, from_text(rest, 0, tool, budget)?)),
            (_, Some((count, rest))) => {
                let all = arguments::of_several_calls(&rest, count, tool, budget)?;
                calls.extend(all.into_iter().map(|arguments| CallRequest::new(&tool.name, arguments)));
            }
        }
    }
    Ok(calls)
}

static TIMES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:(once)|(twice)|(\d{1,2}|two|three|four|five|six|seven|eight|nine|ten)\s+times)\b").ok()
});

/// How many times a text says to do something ("twice", "3 times"), and the text without those words.
fn times(text: &str) -> Option<(usize, String)> {
    const WORDS: [&str; 9] = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    const MAX: usize = 20;
    let captures = TIMES.as_ref()?.captures(text)?;
    let count = match (captures.get(1), captures.get(2), captures.get(3)) {
        (Some(_), ..) => 1,
        (_, Some(_), _) => 2,
        (.., Some(count)) => {
            let count = count.as_str().to_lowercase();
            let word = WORDS.iter().position(|word| *word == count).map(|position| position + 2);
            word.or(count.parse().ok()).filter(|count| (1..=MAX).contains(count))?
        }
        _ => return None,
    };
    let range = captures.get(0)?.range();
    Some((count, format!("{}{}", &text[..range.start], &text[range.end..])))
}

/// Whether the text before a tool's name says to call it.
fn is_called(before: &str) -> bool {
    let before = last_words(before);
    let before = before.strip_suffix(" the").unwrap_or(&before);
    let mut words = before.rsplit(|character: char| character.is_whitespace());
    let calls = matches!(words.next(), Some("call" | "use" | "run" | "invoke"));
    calls && !words.next().is_some_and(|word| word == "not" || word == "never" || word.ends_with("n't"))
}

/// The end of the text before a tool's name, in lower case. It is short, since a text may contain a name thousands of times.
fn last_words(before: &str) -> String {
    const LENGTH: usize = 64;
    let before = before.trim_end_matches(['`', '"', '\'']).trim_end();
    let begin =
        (before.len().saturating_sub(LENGTH)..=before.len()).find(|position| before.is_char_boundary(*position));
    before[begin.unwrap_or_default()..].to_lowercase()
}

/// The position at which a text names a tool. A name that is an ordinary word counts only next to "call", "tool" and the
/// like.
fn position_of(text: &str, name: &str) -> Option<usize> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == '-';
    let is_distinctive = name.contains(['_', '-']) || name.chars().any(|character| character.is_ascii_digit());
    text.match_indices(name).map(|(position, _)| position).find(|position| {
        let (before, after) = (&text[..*position], &text[position + name.len()..]);
        let is_whole = !before.chars().next_back().is_some_and(is_part) && !after.chars().next().is_some_and(is_part);
        let before = last_words(before);
        let called = ["call", "use", "run", "invoke", "call the", "use the", "run the", "invoke the", "tool"];
        let called = called.iter().any(|word| before == *word || before.ends_with(&format!(" {word}")));
        let after = after.trim_start_matches(['`', '"', '\'']).trim_start();
        is_whole && (is_distinctive || called || after.starts_with("tool") || after.starts_with('('))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mock::tools::base_tools::MULTI_AGENT;

    fn tool(name: &str, properties: &Value, required: &Value) -> CallableTool {
        let parameters = json!({"type": "object", "properties": properties, "required": required});
        CallableTool { name: name.into(), parameters: parameters.as_object().unwrap().clone(), stored: None }
    }

    fn tools() -> Vec<CallableTool> {
        vec![
            tool("roll_dice", &json!({"num_sides": {"type": "integer"}}), &json!(["num_sides"])),
            tool(
                "get_weather",
                &json!({"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}),
                &json!(["city"]),
            ),
            tool(
                "order",
                &json!({"item": {"type": "object", "required": ["sku", "price"], "properties": {
                    "sku": {"type": "string"}, "price": {"type": "number"}}}}),
                &json!(["item"]),
            ),
            tool("notify", &json!({"urgent": {"type": "boolean"}, "tags": {"type": "array"}}), &json!(["urgent"])),
            tool("find", &json!({"pattern": {"type": "string"}, "include": {"type": "string"}}), &json!(["pattern"])),
        ]
    }

    #[test]
    fn a_tool_that_a_text_names_is_called_with_the_arguments_of_the_text() {
        for (text, name, expected) in [
            ("Use roll_dice with num_sides=16", "roll_dice", json!({"num_sides": 16})),
            ("please roll_dice, num sides: 20.", "roll_dice", json!({"num_sides": 20})),
            ("roll_dice 6", "roll_dice", json!({"num_sides": 6})),
            ("roll_dice", "roll_dice", json!({"num_sides": 0})),
            (r#"call roll_dice {"num_sides": 4, "extra": []} now"#, "roll_dice", json!({"num_sides": 4, "extra": []})),
            ("get_weather for Paris, please", "get_weather", json!({"city": "Paris"})),
            ("get_weather city 'New York' in Celsius", "get_weather", json!({"city": "New York", "unit": "celsius"})),
            ("Use ONLY the find tool to search for `a-1`.", "find", json!({"pattern": "a-1"})),
            (r#"get_weather "Rome""#, "get_weather", json!({"city": "Rome"})),
            ("Run the notify tool, urgent is yes", "notify", json!({"urgent": true})),
            ("Run notify", "notify", json!({"urgent": false})),
            ("Use the order tool: SKU 'A-1', price $9.5", "order", json!({"item": {"sku": "A-1", "price": 9.5}})),
            ("get_weather for 3 days in Rome", "get_weather", json!({"city": "Rome"})),
            (r#"use notify with tags ["a", "b"]"#, "notify", json!({"urgent": false, "tags": ["a", "b"]})),
            ("first get_weather for Rome, then roll_dice", "get_weather", json!({"city": "Rome"})),
        ] {
            let calls = named_calls(text, &tools(), &Budget::new(1_000_000)).unwrap();
            let calls: Vec<(&str, Value)> =
                calls.iter().map(|call| (call.name.as_str(), json!(call.arguments))).collect();
            assert_eq!(calls, [(name, expected)], "{text}");
        }
    }

    #[test]
    fn the_speaking_tool_says_what_the_text_quotes() {
        let speaking = [tool("send_message", &json!({"message": {"type": "string"}}), &json!(["message"]))];
        for (text, expected) in [
            ("This is an automated test message. Call the send_message tool with the message 'Teapot'", "Teapot"),
            ("This is a test message. Respond to the message with 'Teapot' by using send_message.", "Teapot"),
            ("Answer \"I'm a teapot.\" with the `send_message` tool and say no more", "I'm a teapot."),
            ("Call `send_message` and say `Tea`, please", "Tea"),
            ("The user said 'Hi'. Use send_message to answer 'Ho' and nothing else", "Ho"),
            ("Use send_message exactly once, message: \"Tea\"", "Tea"),
            (r#"send_message {"message": "JSON"} and not 'this'"#, "JSON"),
        ] {
            let calls = named_calls(text, &speaking, &Budget::new(1_000_000)).unwrap();
            let messages: Vec<_> = calls.iter().map(|call| call.arguments.get("message")).collect();
            assert_eq!(messages, [Some(&json!(expected))], "{text}");
        }
    }

    #[test]
    fn messages_to_agents_take_the_id_and_the_quote_of_a_text() {
        let id = "agent-0f0e0d0c-0b0a-4908-8706-050403020100";
        let to_one = json!({"message": {"type": "string"}, "other_agent_id": {"type": "string"}});
        let tags = json!({"type": "array", "items": {"type": "string"}});
        let tagged = json!({"message": {"type": "string"}, "match_all": tags, "match_some": tags});
        let [waiting, by_tags, _] = MULTI_AGENT;
        let tools = [
            tool(waiting, &to_one, &json!(["message", "other_agent_id"])),
            tool(by_tags, &tagged, &json!(["message", "match_all", "match_some"])),
        ];
        for (text, expected) in [
            (
                format!(
                    "Use the {waiting} tool to send a message to agent {id}. Include the word 'banana' in your message."
                ),
                json!([[waiting, {"message": "banana", "other_agent_id": id}]]),
            ),
            (
                format!("Tell {id} the news: call {waiting} now"),
                json!([[waiting, {"message": "now", "other_agent_id": id}]]),
            ),
            (
                format!("{waiting} other_agent_id: none, message: 'Hi'"),
                json!([[waiting, {"message": "Hi", "other_agent_id": "none"}]]),
            ),
            (
                format!(r#"Use {by_tags} with match_all ["a", "b"], match_some ['c'] and say "Hi there""#),
                json!([[by_tags, {"message": "Hi there", "match_all": ["a", "b"], "match_some": ["c"]}]]),
            ),
        ] {
            let calls = named_calls(&text, &tools, &Budget::new(1_000_000)).unwrap();
            let calls: Value = calls.into_iter().map(|call| json!([call.name, call.arguments])).collect();
            assert_eq!(calls, expected, "{text}");
        }
    }

    #[test]
    fn several_calls_take_the_values_of_a_text_in_order() {
        for (text, expected) in [
            (
                "Call the roll_dice tool EXACTLY three times: with num_sides=6, num_sides=12, and num_sides=20.",
                json!([["roll_dice", {"num_sides": 6}], ["roll_dice", {"num_sides": 12}], ["roll_dice", {"num_sides": 20}]]),
            ),
            (
                "Call get_weather 2 times, for 'New York' and 'L'Aquila', and also call the roll_dice tool once with a 16-sided die",
                json!([["get_weather", {"city": "New York"}], ["get_weather", {"city": "L'Aquila"}], ["roll_dice", {"num_sides": 16}]]),
            ),
            (
                r#"roll_dice twice: {"num_sides": 4} {"num_sides": 8}"#,
                json!([["roll_dice", {"num_sides": 4}], ["roll_dice", {"num_sides": 8}]]),
            ),
            ("roll_dice 6, but do not use get_weather", json!([["roll_dice", {"num_sides": 6}]])),
            ("roll_dice 99 times", json!([["roll_dice", {"num_sides": 99}]])),
        ] {
            let calls = named_calls(text, &tools(), &Budget::new(1_000_000)).unwrap();
            let calls: Value = calls.into_iter().map(|call| json!([call.name, call.arguments])).collect();
            assert_eq!(calls, expected, "{text}");
        }
    }

    #[test]
    fn a_text_that_names_no_tool_calls_none() {
        for text in ["", "roll the dice", "roll_dices", "my_roll_dice", "notify me", "What is the weather?"] {
            assert_eq!(named_calls(text, &tools(), &Budget::new(0)), Ok(Vec::new()), "{text}");
        }
    }
}
