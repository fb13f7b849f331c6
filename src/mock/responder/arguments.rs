//! Reads the arguments of a tool from a text, guided by the tool's schema.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::mock::{
    budget::{Budget, Overspent, value_weight},
    records::{SPEAKING_TOOL, SPOKEN_ARGUMENT},
    tools::{base_tools::MULTI_AGENT, set::CallableTool},
};

/// The arguments of a tool from a text that names it: a JSON object after the name, or values found by the names and types of
/// the parameters. `name_end` is where the tool's name ends.
pub(super) fn from_text(
    text: &str,
    name_end: usize,
    tool: &CallableTool,
    budget: &Budget,
) -> Result<Map<String, Value>, Overspent> {
    match objects_in(&text[name_end..]).next() {
        Some(object) => Ok(object),
        None => from_words(text, name_end, tool, 0, budget),
    }
}

/// The greatest depth of nested objects that are read.
const MAX_DEPTH: usize = 8;

/// The arguments of a tool from a text without JSON.
fn from_words(
    text: &str,
    name_end: usize,
    tool: &CallableTool,
    depth: usize,
    budget: &Budget,
) -> Result<Map<String, Value>, Overspent> {
    let mut arguments = Map::new();
    for (name, schema) in tool.properties() {
        let message = match (tool.name.as_str(), name.as_str()) {
            (SPEAKING_TOOL, SPOKEN_ARGUMENT) => quoted_message(text, name_end),
            (tool, "message") if MULTI_AGENT.contains(&tool) => Some(message_to_agents(&text[name_end..])),
            _ => None,
        };
        let by_name = || values_by_name(&name_and_value(name)?, text, schema).next();
        let value = message.map(Value::from).or_else(by_name).or_else(|| id_in(text, name_end, name));
        if let Some(value) = value {
            insert(&mut arguments, name, value, budget)?;
        }
    }
    let mut unnamed = UnnamedValues::of(&text[name_end..], &arguments);
    for (name, schema) in tool.properties() {
        if !arguments.contains_key(name) {
            let value = match unnamed.take(schema).or_else(|| unnamed.take_subject(schema)) {
                None if tool.requires(name) => Some(default_value(text, schema, depth, budget)?),
                value => value,
            };
            if let Some(value) = value {
                insert(&mut arguments, name, value, budget)?;
            }
        }
    }
    // In the order of the schema.
    Ok(tool.properties().filter_map(|(name, _)| Some((name.clone(), arguments.swap_remove(name)?))).collect())
}

fn insert(arguments: &mut Map<String, Value>, name: &str, value: Value, budget: &Budget) -> Result<(), Overspent> {
    budget.charge(name.len() + value_weight(&value))?;
    arguments.insert(name.to_owned(), value);
    Ok(())
}

/// The arguments of several calls of a tool. Each call takes the next value of the text for each parameter.
pub(super) fn of_several_calls(
    text: &str,
    count: usize,
    tool: &CallableTool,
    budget: &Budget,
) -> Result<Vec<Map<String, Value>>, Overspent> {
    let mut objects = objects_in(text);
    let mut named: Vec<Vec<Value>> = Vec::new();
    for (name, schema) in tool.properties() {
        let pattern = name_and_value(name);
        let values: Vec<Value> = pattern.iter().flat_map(|pattern| values_by_name(pattern, text, schema)).collect();
        budget.charge(values.iter().map(value_weight).sum())?;
        named.push(values);
    }
    let mut unnamed = UnnamedValues::of(text, &Map::new());
    let read = |index: usize| {
        if let Some(object) = objects.next() {
            return Ok(object);
        }
        let mut arguments = Map::new();
        for ((name, schema), values) in tool.properties().zip(&named) {
            let by_name = values.get(index).or(values.last()).cloned();
            let value = match by_name.or_else(|| unnamed.take(schema)).or_else(|| unnamed.take_subject(schema)) {
                None if tool.requires(name) => Some(default_value(text, schema, 0, budget)?),
                value => value,
            };
            if let Some(value) = value {
                insert(&mut arguments, name, value, budget)?;
            }
        }
        Ok(arguments)
    };
    (0..count).map(read).collect()
}

/// The JSON objects in a text, up to the first brace that begins none.
fn objects_in(text: &str) -> impl Iterator<Item = Map<String, Value>> + '_ {
    let mut unread = text;
    std::iter::from_fn(move || {
        let begin = unread.find('{')?;
        let mut values = serde_json::Deserializer::from_str(&unread[begin..]).into_iter::<Value>();
        let Some(Ok(Value::Object(object))) = values.next() else {
            unread = "";
            return None;
        };
        unread = &unread[begin + values.byte_offset()..];
        Some(object)
    })
}

/// The quoted text that a tool should say: the quote after the parameter's name, else the first quote after the tool's name,
/// else the last quote before it. `name_end` is where the tool's name ends.
fn quoted_message(text: &str, name_end: usize) -> Option<String> {
    let by_name = name_and_value(SPOKEN_ARGUMENT)?;
    let named = by_name.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str()));
    let mut named = named.filter(|value| value.starts_with(['"', '\'', '`'])).map(unquoted);
    if let Some(named) = named.find(|value| !value.is_empty() && *value != SPEAKING_TOOL) {
        return Some(named.to_owned());
    }
    let quotes = QUOTES.as_ref()?.captures_iter(text);
    let quotes = quotes.filter_map(|found| found.iter().skip(1).flatten().next());
    let quotes: Vec<_> = quotes.filter(|quote| quote.as_str() != SPEAKING_TOOL).collect();
    let found = quotes.iter().find(|quote| quote.start() >= name_end).or(quotes.last());
    found.map(|quote| quote.as_str().to_owned())
}

static LISTS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[[^\]]*\]").ok());

/// The message to other agents in the text after the tool's name: its first quote, else the whole text. Lists in the text
/// are tags, so they are left out.
fn message_to_agents(text: &str) -> String {
    let text = LISTS.as_ref().map_or(text.into(), |lists| lists.replace_all(text, ""));
    quoted_message(&text, 0).unwrap_or_else(|| text.trim().to_owned())
}

/// The id in a text for a parameter such as `other_agent_id`: the first after the tool's name, else the first of all.
fn id_in(text: &str, name_end: usize, name: &str) -> Option<Value> {
    let kind = name.strip_suffix("_id")?.rsplit('_').next()?;
    let pattern = format!(r"\b{}-[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}\b", regex::escape(kind));
    let pattern = Regex::new(&pattern).ok()?;
    let found = pattern.find_at(text, name_end).or_else(|| pattern.find(text))?;
    Some(found.as_str().into())
}

/// A list of strings in the notation of JSON or Python.
pub(super) fn string_list(text: &str) -> Option<Value> {
    convert(text, &json!({"type": "array", "items": {"type": "string"}}))
}

/// All values that a text gives a parameter by its name: `name = value`, `name: value`, `name is value`, `name value`. The
/// name may be written with spaces, the value in quotes. A name at the end of a sentence has no value.
///
/// `pattern` is the parameter's [`name_and_value`].
fn values_by_name<'t>(pattern: &'t Regex, text: &'t str, schema: &'t Value) -> impl Iterator<Item = Value> + 't {
    let values = pattern.captures_iter(text).filter_map(|captures| Some(captures.get(1)?.as_str()));
    let values = values
        .map(|value| (unquoted(value), value))
        .filter(|(inner, value)| !inner.is_empty() || value.starts_with(['"', '\'', '`']));
    values.filter_map(|(inner, _)| convert(inner, schema))
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

/// Converts a text to a value of a schema, if it can be one.
fn convert(text: &str, schema: &Value) -> Option<Value> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().find(|word| word.as_str().is_some_and(|word| word.eq_ignore_ascii_case(text))).cloned();
    }
    match type_of(schema) {
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

/// The type of a schema. Of several types, the first that is not `null`.
fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(word)) => word,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("string")
        }
        _ => match schema.get("anyOf").and_then(Value::as_array) {
            Some(options) => options.iter().map(type_of).find(|kind| *kind != "null").unwrap_or("string"),
            None => "string",
        },
    }
}

static NUMBERS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"-?\b\d+(?:\.\d+)?\b").ok());
static QUOTES: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#""([^"]+)"|\B'(.+?)'\B|`([^`]+)`"#).ok());
static PREPOSITION: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\b(?:for|in|at|of|about|with|on|to)\s+(?:the\s+)?").ok());

/// The values in a text that no parameter has by its name, in order.
struct UnnamedValues {
    text: String,
    numbers: Vec<String>,
    quotes: Vec<String>,
    /// The words after the first "for", "in" or the like that no number follows.
    subject: Option<String>,
}

impl UnnamedValues {
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
        let mut prepositions = PREPOSITION.iter().flat_map(|pattern| pattern.find_iter(text));
        let subject = prepositions.find_map(|preposition| {
            let part = text[preposition.end()..].split(['.', ',', ';', '!', '?', '\n']).next()?.trim();
            // Quoted values are found as such.
            let is_other = |first: char| first.is_ascii_digit() || matches!(first, '"' | '\'' | '`');
            let has_quotes = QUOTES.as_ref().is_some_and(|pattern| pattern.is_match(part));
            (!part.is_empty() && !part.starts_with(is_other) && !has_quotes).then(|| part.to_owned())
        });
        let subject = subject.filter(|_| taken.is_empty());
        Self { text: text.to_lowercase(), numbers: all(&NUMBERS), quotes: all(&QUOTES), subject }
    }

    /// Takes the first value that conforms to a schema. A word of an `enum` is not taken, and serves several parameters.
    fn take(&mut self, schema: &Value) -> Option<Value> {
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            let in_text = |word: &&Value| word.as_str().is_some_and(|word| self.text.contains(&word.to_lowercase()));
            return words.iter().find(in_text).cloned();
        }
        let from = match type_of(schema) {
            "integer" | "number" => &mut self.numbers,
            "string" => &mut self.quotes,
            _ => return None,
        };
        let index = from.iter().position(|text| convert(text, schema).is_some())?;
        convert(&from.remove(index), schema)
    }

    /// Takes the subject, for the first parameter that can be any text.
    fn take_subject(&mut self, schema: &Value) -> Option<Value> {
        if type_of(schema) != "string" || schema.get("enum").is_some() {
            return None;
        }
        self.subject.take().map(Value::from)
    }
}

/// The value of a required parameter that a text does not mention: the whole text, or the smallest value of its type.
fn default_value(text: &str, schema: &Value, depth: usize, budget: &Budget) -> Result<Value, Overspent> {
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|words| words.first()) {
        return Ok(first.clone());
    }
    Ok(match type_of(schema) {
        "integer" => json!(0),
        "number" => json!(0.0),
        "boolean" => json!(false),
        "array" => json!([]),
        "object" => match schema.as_object().filter(|_| depth < MAX_DEPTH) {
            Some(schema) => {
                let object = CallableTool { name: String::new(), parameters: schema.clone(), stored: None };
                Value::Object(from_words(text, 0, &object, depth + 1, budget)?)
            }
            None => json!({}),
        },
        _ => json!(text.trim()),
    })
}
