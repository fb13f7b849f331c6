//! Tools that a text names, and the arguments that it gives them as far as their schemas can be followed.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::CallRequest;
use crate::mock::{
    budget::{Budget, Overspent, value_weight},
    records::{SPEAKING_TOOL, SPOKEN_ARGUMENT},
    tools::{builtin::MULTI_AGENT, set::Tool},
};

/// The calls that a text asks for by naming tools: of the first that it names, and of others that it says to call; each
/// once, or as often as it says.
pub(super) fn named_calls(text: &str, tools: &[Tool], budget: &Budget) -> Result<Vec<CallRequest>, Overspent> {
    let named = tools.iter().filter_map(|tool| Some((find_name(text, &tool.name)?, tool)));
    let mut named: Vec<(usize, &Tool)> = named.collect();
    named.sort_by_key(|(place, _)| *place);
    let mut index = 0;
    named.retain(|(place, _)| {
        index += 1;
        index == 1 || is_called(&text[..*place])
    });
    let mut calls = Vec::new();
    for (index, (place, tool)) in named.iter().enumerate() {
        let begin = place + tool.name.len();
        let end = named.get(index + 1).map_or(text.len(), |(next, _)| *next);
        let said = &text[begin..end];
        match (named.len(), times(said)) {
            (1, None) => calls.push(CallRequest::new(&tool.name, read(text, begin, tool, budget)?)),
            (_, None) => calls.push(CallRequest::new(&tool.name, read(said, 0, tool, budget)?)),
            (_, Some((count, rest))) => {
                let several = read_several(&rest, count, tool, budget)?;
                calls.extend(several.into_iter().map(|given| CallRequest::new(&tool.name, given)));
            }
        }
    }
    Ok(calls)
}

static TIMES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:(once)|(twice)|(\d{1,2}|two|three|four|five|six|seven|eight|nine|ten)\s+times)\b").ok()
});

/// How often a text says that something is to be done, and the text without that.
fn times(text: &str) -> Option<(usize, String)> {
    const WORDS: [&str; 9] = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
    const MOST: usize = 20;
    let found = TIMES.as_ref()?.captures(text)?;
    let count = match (found.get(1), found.get(2), found.get(3)) {
        (Some(_), ..) => 1,
        (_, Some(_), _) => 2,
        (.., Some(count)) => {
            let count = count.as_str().to_lowercase();
            let word = WORDS.iter().position(|word| *word == count).map(|place| place + 2);
            word.or(count.parse().ok()).filter(|count| (1..=MOST).contains(count))?
        }
        _ => return None,
    };
    let place = found.get(0)?.range();
    Some((count, format!("{}{}", &text[..place.start], &text[place.end..])))
}

/// Whether what stands before a name says to call it.
fn is_called(before: &str) -> bool {
    let before = last_words(before);
    let before = before.strip_suffix(" the").unwrap_or(&before);
    let mut words = before.rsplit(|character: char| character.is_whitespace());
    let calls = matches!(words.next(), Some("call" | "use" | "run" | "invoke"));
    calls && !words.next().is_some_and(|word| word == "not" || word == "never" || word.ends_with("n't"))
}

/// The end of what stands before a name, in lower case. A name may stand there thousands of times.
fn last_words(before: &str) -> String {
    const LOOKED_AT: usize = 64;
    let before = before.trim_end_matches(['`', '"', '\'']).trim_end();
    let begin = (before.len().saturating_sub(LOOKED_AT)..=before.len()).find(|place| before.is_char_boundary(*place));
    before[begin.unwrap_or_default()..].to_lowercase()
}

/// Where a text names a tool. A name that could be any word counts only where it is called a tool.
fn find_name(text: &str, name: &str) -> Option<usize> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == '-';
    let telling = name.contains(['_', '-']) || name.chars().any(|character| character.is_ascii_digit());
    text.match_indices(name).map(|(place, _)| place).find(|place| {
        let (before, after) = (&text[..*place], &text[place + name.len()..]);
        let whole = !before.chars().next_back().is_some_and(is_part) && !after.chars().next().is_some_and(is_part);
        let before = last_words(before);
        let called = ["call", "use", "run", "invoke", "call the", "use the", "run the", "invoke the", "tool"];
        let called = called.iter().any(|word| before == *word || before.ends_with(&format!(" {word}")));
        let after = after.trim_start_matches(['`', '"', '\'']).trim_start();
        whole && (telling || called || after.starts_with("tool") || after.starts_with('('))
    })
}

/// The arguments that a text gives to a tool that it names; `end`: where the name ends.
pub(super) fn read(text: &str, end: usize, tool: &Tool, budget: &Budget) -> Result<Map<String, Value>, Overspent> {
    object_in(&text[end..]).map_or_else(|| read_members(text, end, tool, 0, budget), Ok)
}

/// How deep objects within arguments are filled in.
const DEEPEST: usize = 8;

/// The same, of a text without JSON.
fn read_members(
    text: &str,
    end: usize,
    tool: &Tool,
    depth: usize,
    budget: &Budget,
) -> Result<Map<String, Value>, Overspent> {
    let mut arguments = Map::new();
    for (name, schema) in tool.properties() {
        let said = match (tool.name.as_str(), name.as_str()) {
            (SPEAKING_TOOL, SPOKEN_ARGUMENT) => quoted_answer(text, end),
            (tool, "message") if MULTI_AGENT.contains(&tool) => Some(message_to_agents(&text[end..])),
            _ => None,
        };
        let given = said.map(Value::from).or_else(|| given_by_name(text, name, schema));
        if let Some(value) = given.or_else(|| id_in(text, end, name)) {
            keep(&mut arguments, name, value, budget)?;
        }
    }
    let mut loose = Loose::of(&text[end..], &arguments);
    for (name, schema) in tool.properties() {
        if !arguments.contains_key(name) {
            let required = tool.requires(name);
            let said = match loose.take(schema).or_else(|| loose.about(schema)) {
                None if required => Some(missing(text, schema, depth, budget)?),
                said => said,
            };
            if let Some(value) = said {
                keep(&mut arguments, name, value, budget)?;
            }
        }
    }
    // In the order of the schema.
    Ok(tool.properties().filter_map(|(name, _)| Some((name.clone(), arguments.swap_remove(name)?))).collect())
}

fn keep(arguments: &mut Map<String, Value>, name: &str, value: Value, budget: &Budget) -> Result<(), Overspent> {
    budget.charge(name.len() + value_weight(&value))?;
    arguments.insert(name.to_owned(), value);
    Ok(())
}

/// The arguments of several calls of a tool: each takes the next of what is said.
fn read_several(text: &str, count: usize, tool: &Tool, budget: &Budget) -> Result<Vec<Map<String, Value>>, Overspent> {
    let mut objects = objects_in(text).into_iter();
    let mut named: Vec<Vec<Value>> = Vec::new();
    for (name, schema) in tool.properties() {
        let given = all_given_by_name(text, name, schema);
        budget.charge(given.iter().map(value_weight).sum())?;
        named.push(given);
    }
    let mut loose = Loose::of(text, &Map::new());
    let read = |index: usize| {
        if let Some(object) = objects.next() {
            return Ok(object);
        }
        let mut arguments = Map::new();
        for ((name, schema), given) in tool.properties().zip(&named) {
            let given = given.get(index).or(given.last()).cloned();
            let said = match given.or_else(|| loose.take(schema)).or_else(|| loose.about(schema)) {
                None if tool.requires(name) => Some(missing(text, schema, 0, budget)?),
                said => said,
            };
            if let Some(value) = said {
                keep(&mut arguments, name, value, budget)?;
            }
        }
        Ok(arguments)
    };
    (0..count).map(read).collect()
}

/// The JSON objects that a text holds.
fn objects_in(text: &str) -> Vec<Map<String, Value>> {
    let mut objects = Vec::new();
    let mut ahead = text;
    while let Some(begin) = ahead.find('{') {
        let mut values = serde_json::Deserializer::from_str(&ahead[begin..]).into_iter::<Value>();
        let Some(Ok(Value::Object(object))) = values.next() else { break };
        ahead = &ahead[begin + values.byte_offset()..];
        objects.push(object);
    }
    objects
}

/// The JSON object that a text holds.
fn object_in(text: &str) -> Option<Map<String, Value>> {
    let object = text.find('{').map(|begin| &text[begin..])?;
    match serde_json::Deserializer::from_str(object).into_iter::<Value>().next() {
        Some(Ok(Value::Object(object))) => Some(object),
        _ => None,
    }
}

/// What a text quotes that is to be said by a tool; `end`: where it names the tool. It is what stands behind the word for
/// it, else the first quote behind the tool's name, else the last before.
fn quoted_answer(text: &str, end: usize) -> Option<String> {
    let by_name = name_and_value(SPOKEN_ARGUMENT)?;
    let named = by_name.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str()));
    let mut named = named.filter(|value| value.starts_with(['"', '\'', '`'])).map(unquoted);
    if let Some(named) = named.find(|value| !value.is_empty() && *value != SPEAKING_TOOL) {
        return Some(named.to_owned());
    }
    let quotes = QUOTES.as_ref()?.captures_iter(text);
    let quotes = quotes.filter_map(|found| found.iter().skip(1).flatten().next());
    let quotes: Vec<_> = quotes.filter(|quote| quote.as_str() != SPEAKING_TOOL).collect();
    let found = quotes.iter().find(|quote| quote.start() >= end).or(quotes.last());
    found.map(|quote| quote.as_str().to_owned())
}

static LISTS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[[^\]]*\]").ok());

/// What a text says to other agents: what it quotes outside of lists, which are of tags; else all of it.
fn message_to_agents(text: &str) -> String {
    let said = LISTS.as_ref().map_or(text.into(), |lists| lists.replace_all(text, ""));
    quoted_answer(&said, 0).unwrap_or_else(|| said.trim().to_owned())
}

/// The id that a text holds for an argument such as `other_agent_id`: behind the tool's name, else before.
fn id_in(text: &str, end: usize, name: &str) -> Option<Value> {
    let kind = name.strip_suffix("_id")?.rsplit('_').next()?;
    let pattern = format!(r"\b{}-[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}\b", regex::escape(kind));
    let pattern = Regex::new(&pattern).ok()?;
    let found = pattern.find_at(text, end).or_else(|| pattern.find(text))?;
    Some(found.as_str().into())
}

/// The texts of a list that is written as JSON or as Python does.
pub(super) fn list_of_texts(text: &str) -> Option<Value> {
    convert(text, &json!({"type": "array", "items": {"type": "string"}}))
}

/// `name = value`, `name: value`, `name value`, where the name may be written with spaces and the value in quotes.
fn given_by_name(text: &str, name: &str, schema: &Value) -> Option<Value> {
    given(&name_and_value(name)?, text, schema).next()
}

/// What a pattern for a name finds. A name that ends its sentence gives nothing.
fn given<'t>(pattern: &'t Regex, text: &'t str, schema: &'t Value) -> impl Iterator<Item = Value> + 't {
    let values = pattern.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str()));
    let said = values
        .map(|value| (unquoted(value), value))
        .filter(|(inner, value)| !inner.is_empty() || value.starts_with(['"', '\'', '`']));
    said.filter_map(|(inner, _)| convert(inner, schema))
}

/// The same wherever a text says so.
fn all_given_by_name(text: &str, name: &str, schema: &Value) -> Vec<Value> {
    let Some(pattern) = name_and_value(name) else { return Vec::new() };
    given(&pattern, text, schema).collect()
}

fn name_and_value(name: &str) -> Option<Regex> {
    let name = regex::escape(name).replace('_', "[_ ]");
    let pattern = format!(
        r#"(?i)\b{name}\b["'`]?\s*(?:=|:|\bis\b|\bto\b|\bof\b)?\s*("[^"]*"|'[^']*'|`[^`]*`|\[[^\]]*\]|[^\s,;]+)"#
    );
    Regex::new(&pattern).ok()
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\'', '`'] {
        if let Some(inside) = value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)) {
            return inside;
        }
    }
    value.trim_end_matches(['.', '!', '?', ')'])
}

/// A text as a value of a schema; none: it cannot be one.
fn convert(text: &str, schema: &Value) -> Option<Value> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().find(|word| word.as_str().is_some_and(|word| word.eq_ignore_ascii_case(text))).cloned();
    }
    match kind(schema) {
        "integer" => text.parse::<i64>().ok().map(Value::from),
        "number" => text
            .trim_start_matches(['$', '€', '£'])
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map(Value::from),
        "boolean" => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true.into()),
            "false" | "no" | "off" => Some(false.into()),
            _ => None,
        },
        "array" => match serde_json::from_str(text) {
            Ok(Value::Array(items)) => Some(Value::Array(items)),
            _ => {
                let items = text.trim_start_matches('[').trim_end_matches(']').split(',');
                let item = schema.get("items").unwrap_or(&Value::Null);
                Some(items.filter_map(|text| convert(unquoted(text.trim()), item)).collect())
            }
        },
        "object" => serde_json::from_str(text).ok().filter(Value::is_object),
        _ => Some(text.into()),
    }
}

/// The type of a schema's values; of several, the first that is not null.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("string")
        }
        _ => match schema.get("anyOf").and_then(Value::as_array) {
            Some(options) => options.iter().map(kind).find(|kind| *kind != "null").unwrap_or("string"),
            None => "string",
        },
    }
}

static NUMBERS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"-?\b\d+(?:\.\d+)?\b").ok());
static QUOTES: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#""([^"]+)"|\B'(.+?)'\B|`([^`]+)`"#).ok());
static PREPOSITION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b(?:for|in|at|of|about|with|on|to)\s+(?:the\s+)?").ok());

/// What a text holds that no argument has by name, in the order in which it stands there.
struct Loose {
    text: String,
    numbers: Vec<String>,
    quotes: Vec<String>,
    /// What the tool is asked about: what follows the first "for", "in" or their like, unless that is a number.
    about: Option<String>,
}

impl Loose {
    fn of(text: &str, taken: &Map<String, Value>) -> Self {
        let is_free = |found: &String| {
            !taken.values().any(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned) == *found)
        };
        let all = |pattern: &Option<Regex>| -> Vec<String> {
            let Some(pattern) = pattern else { return Vec::new() };
            let found = pattern.captures_iter(text).filter_map(|captures| {
                let inner = captures.iter().skip(1).flatten().next().or(captures.get(0));
                inner.map(|found| found.as_str().to_owned())
            });
            found.filter(is_free).collect()
        };
        let mut places = PREPOSITION.iter().flat_map(|pattern| pattern.find_iter(text));
        let about = places.find_map(|place| {
            let part = text[place.end()..].split(['.', ',', ';', '!', '?', '\n']).next()?.trim();
            // What is quoted is found as such.
            let is_other = |first: char| first.is_ascii_digit() || matches!(first, '"' | '\'' | '`');
            let quotes = QUOTES.as_ref().is_some_and(|pattern| pattern.is_match(part));
            (!part.is_empty() && !part.starts_with(is_other) && !quotes).then(|| part.to_owned())
        });
        let about = about.filter(|_| taken.is_empty());
        Self { text: text.to_lowercase(), numbers: all(&NUMBERS), quotes: all(&QUOTES), about }
    }

    /// The first that fits a schema; it fits no other after that.
    fn take(&mut self, schema: &Value) -> Option<Value> {
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            let in_text = |word: &&Value| word.as_str().is_some_and(|word| self.text.contains(&word.to_lowercase()));
            return words.iter().find(in_text).cloned();
        }
        let from = match kind(schema) {
            "integer" | "number" => &mut self.numbers,
            "string" => &mut self.quotes,
            _ => return None,
        };
        let place = from.iter().position(|text| convert(text, schema).is_some())?;
        convert(&from.remove(place), schema)
    }

    /// What the tool is asked about, for the first argument that can be any text.
    fn about(&mut self, schema: &Value) -> Option<Value> {
        if kind(schema) != "string" || schema.get("enum").is_some() {
            return None;
        }
        self.about.take().map(Value::from)
    }
}

/// What a required argument is when a text does not say: the whole text, or as little as its schema takes.
fn missing(text: &str, schema: &Value, depth: usize, budget: &Budget) -> Result<Value, Overspent> {
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|words| words.first()) {
        return Ok(first.clone());
    }
    Ok(match kind(schema) {
        "integer" => json!(0),
        "number" => json!(0.0),
        "boolean" => json!(false),
        "array" => json!([]),
        // One with members of its own is told by them.
        "object" => match schema.as_object().filter(|_| depth < DEEPEST) {
            Some(schema) => {
                let described = Tool { name: String::new(), parameters: schema.clone(), servers: None };
                Value::Object(read_members(text, 0, &described, depth + 1, budget)?)
            }
            None => json!({}),
        },
        _ => json!(text.trim()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, properties: &Value, required: &Value) -> Tool {
        let parameters = json!({"type": "object", "properties": properties, "required": required});
        Tool { name: name.into(), parameters: parameters.as_object().unwrap().clone(), servers: None }
    }

    fn tools() -> Vec<Tool> {
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
    fn a_tool_is_called_that_a_text_names_with_what_it_says() {
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
                calls.iter().map(|asked| (asked.name.as_str(), json!(asked.arguments))).collect();
            assert_eq!(calls, [(name, expected)], "{text}");
        }
    }

    #[test]
    fn what_is_to_be_said_is_what_is_quoted() {
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
            let said: Vec<_> = calls.iter().map(|asked| asked.arguments.get("message")).collect();
            assert_eq!(said, [Some(&json!(expected))], "{text}");
        }
    }

    #[test]
    fn agents_are_named_by_their_ids_and_told_what_is_quoted() {
        let id = "agent-0f0e0d0c-0b0a-4908-8706-050403020100";
        let other = json!({"message": {"type": "string"}, "other_agent_id": {"type": "string"}});
        let tags = json!({"type": "array", "items": {"type": "string"}});
        let tagged = json!({"message": {"type": "string"}, "match_all": tags, "match_some": tags});
        let tools = [
            tool(MULTI_AGENT[0], &other, &json!(["message", "other_agent_id"])),
            tool(MULTI_AGENT[1], &tagged, &json!(["message", "match_all", "match_some"])),
        ];
        let [waiting, by_tags, _] = MULTI_AGENT;
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
            let calls: Value = calls.into_iter().map(|asked| json!([asked.name, asked.arguments])).collect();
            assert_eq!(calls, expected, "{text}");
        }
    }

    #[test]
    fn several_calls_take_what_is_said_one_after_the_other() {
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
            let calls: Value = calls.into_iter().map(|asked| json!([asked.name, asked.arguments])).collect();
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
