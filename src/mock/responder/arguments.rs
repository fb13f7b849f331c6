//! Tools that a text names, and the arguments that it gives them as far as their schemas can be followed.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::Asked;
use crate::mock::toolbox::Tool;

/// The call that a text asks for by naming a tool: the first that it names.
pub(super) fn named_call(text: &str, tools: &[Tool]) -> Option<Asked> {
    let named = tools.iter().filter_map(|tool| Some((find_name(text, &tool.name)?, tool)));
    let (place, tool) = named.min_by_key(|(place, tool)| (*place, std::cmp::Reverse(tool.name.len())))?;
    Some(Asked::new(&tool.name, read(text, place + tool.name.len(), tool)))
}

/// Where a text names a tool. A name that could be any word counts only where it is called a tool.
fn find_name(text: &str, name: &str) -> Option<usize> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == '-';
    let telling = name.contains(['_', '-']) || name.chars().any(|character| character.is_ascii_digit());
    text.match_indices(name).map(|(place, _)| place).find(|place| {
        let (before, after) = (&text[..*place], &text[place + name.len()..]);
        let whole = !before.chars().next_back().is_some_and(is_part) && !after.chars().next().is_some_and(is_part);
        let before = before.trim_end_matches(['`', '"', '\'']).trim_end().to_lowercase();
        let called = ["call", "use", "run", "invoke", "call the", "use the", "run the", "invoke the", "tool"];
        let called = called.iter().any(|word| before == *word || before.ends_with(&format!(" {word}")));
        let after = after.trim_start_matches(['`', '"', '\'']).trim_start();
        whole && (telling || called || after.starts_with("tool") || after.starts_with('('))
    })
}

/// The arguments that a text gives to a tool that it names; `end`: where the name ends.
pub(super) fn read(text: &str, end: usize, tool: &Tool) -> Map<String, Value> {
    if let Some(given) = object_in(&text[end..]) {
        return given;
    }
    let mut arguments = Map::new();
    for (name, schema) in tool.properties() {
        if let Some(value) = given_by_name(text, name, schema) {
            arguments.insert(name.clone(), value);
        }
    }
    let mut loose = Loose::of(&text[end..], &arguments);
    for (name, schema) in tool.properties() {
        if !arguments.contains_key(name) {
            let required = tool.requires(name);
            let said = loose.take(schema).or_else(|| loose.about(schema));
            if let Some(value) = said.or_else(|| required.then(|| missing(text, schema))) {
                arguments.insert(name.clone(), value);
            }
        }
    }
    // In the order of the schema.
    tool.properties().filter_map(|(name, _)| Some((name.clone(), arguments.remove(name)?))).collect()
}

/// The JSON object that a text holds.
fn object_in(text: &str) -> Option<Map<String, Value>> {
    let object = text.find('{').map(|begin| &text[begin..])?;
    match serde_json::Deserializer::from_str(object).into_iter::<Value>().next() {
        Some(Ok(Value::Object(object))) => Some(object),
        _ => None,
    }
}

/// `name = value`, `name: value`, `name value`, where the name may be written with spaces and the value in quotes.
fn given_by_name(text: &str, name: &str, schema: &Value) -> Option<Value> {
    let name = regex::escape(name).replace('_', "[_ ]");
    let pattern = format!(
        r#"(?i)\b{name}\b["'`]?\s*(?:=|:|\bis\b|\bto\b|\bof\b)?\s*("[^"]*"|'[^']*'|`[^`]*`|\[[^\]]*\]|[^\s,;]+)"#
    );
    let found = Regex::new(&pattern).ok()?;
    let value = found.captures(text)?.get(1)?.as_str();
    convert(unquoted(value), schema)
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
        "number" => text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from),
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
static QUOTES: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#""([^"]+)"|'([^']+)'|`([^`]+)`"#).ok());
static OBJECT_OF: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b(?:for|in|at|of|about|with|on|to)\s+(?:the\s+)?([^.,;!?\n]+)").ok());

/// What a text holds that no argument has by name, in the order in which it stands there.
struct Loose {
    text: String,
    numbers: Vec<String>,
    quotes: Vec<String>,
    /// What the tool is asked about: what follows the first "for", "in" and their like.
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
        let about = OBJECT_OF.as_ref().and_then(|pattern| pattern.captures(text));
        let about = about.and_then(|found| found.get(1)).map(|found| found.as_str().trim().to_owned());
        let about = about.filter(|about| !about.is_empty() && taken.is_empty());
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
fn missing(text: &str, schema: &Value) -> Value {
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|words| words.first()) {
        return first.clone();
    }
    match kind(schema) {
        "integer" => json!(0),
        "number" => json!(0.0),
        "boolean" => json!(false),
        "array" => json!([]),
        "object" => json!({}),
        _ => json!(text.trim()),
    }
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
            tool("notify", &json!({"urgent": {"type": "boolean"}, "tags": {"type": "array"}}), &json!(["urgent"])),
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
            (r#"get_weather "Rome""#, "get_weather", json!({"city": "Rome"})),
            ("Run the notify tool, urgent is yes", "notify", json!({"urgent": true})),
            ("Run notify", "notify", json!({"urgent": false})),
            (r#"use notify with tags ["a", "b"]"#, "notify", json!({"urgent": false, "tags": ["a", "b"]})),
            ("first get_weather for Rome, then roll_dice", "get_weather", json!({"city": "Rome"})),
        ] {
            let asked = named_call(text, &tools()).unwrap();
            assert_eq!((asked.name.as_str(), Value::Object(asked.arguments)), (name, expected), "{text}");
        }
    }

    #[test]
    fn a_text_that_names_no_tool_calls_none() {
        for text in ["", "roll the dice", "roll_dices", "my_roll_dice", "notify me", "What is the weather?"] {
            assert_eq!(named_call(text, &tools()), None, "{text}");
        }
    }
}
