//! Masked recordings as templates: what they are filled with, and where an answer does not fit.
//!
//! `tests/data/README.md` says what stands for what.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Where an answer differs from a recording, and how.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Difference {
    /// The member, without the indices of lists.
    pub(super) place: String,
    pub(super) recorded: String,
    pub(super) answered: String,
}

/// How an answer differs that has the same elements, or keys, as the recording.
pub(super) const IN_ANOTHER_ORDER: &str = "in another order";

/// The ids that names stand for, learnt as they come.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

/// What a text of a template stands for.
enum Slot<'a> {
    /// An id: its name, and which part of a stored message it is.
    Id(&'a str, Option<u8>),
    /// A time of this form.
    Time(&'a str),
    Text,
    Number,
    /// A list of so many numbers.
    Numbers(usize),
    /// Itself.
    Literal,
}

fn slot(template: &str) -> Slot<'_> {
    let Some(inner) = template.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else { return Slot::Literal };
    if let Some(form) = inner.strip_prefix("time ") {
        return Slot::Time(form);
    }
    if let Some(count) = inner.strip_suffix(" numbers") {
        return Slot::Numbers(count.parse().unwrap());
    }
    match (inner, inner.split_once(" part ")) {
        ("text", _) => Slot::Text,
        ("number", _) => Slot::Number,
        (_, Some((name, part))) => Slot::Id(name, Some(part.parse().unwrap())),
        _ if inner.contains('#') => Slot::Id(inner, None),
        _ => Slot::Literal,
    }
}

impl Names {
    /// Whether a name has a value.
    pub(super) fn know(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Gives a name its value.
    pub(super) fn learn(&mut self, name: &str, id: &str) {
        self.0.insert(name.to_owned(), id.to_owned());
    }

    /// A text with all names in it replaced; none: one is not known.
    pub(super) fn fill(&self, text: &str) -> Option<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            match after.split_once('}') {
                Some((name, behind)) if name.contains('#') && !name.contains([' ', '"']) => {
                    filled.push_str(self.0.get(name)?);
                    rest = behind;
                }
                _ => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        Some(filled)
    }

    /// Adds to `found` where an answer does not fit a template.
    pub(super) fn compare(&mut self, template: &Value, answer: &Value, place: &str, found: &mut Vec<Difference>) {
        match (template, answer) {
            (Value::Object(template), Value::Object(answer)) => self.compare_members(template, answer, place, found),
            (Value::Array(template), Value::Array(answer)) => self.compare_elements(template, answer, place, found),
            _ if self.fits(template, answer) => {}
            _ => found.push(difference(place, expectation(template), shown(place, answer))),
        }
    }

    /// Elements are compared with those of the same kind, so that one too many is one difference.
    fn compare_elements(&mut self, template: &[Value], answer: &[Value], place: &str, found: &mut Vec<Difference>) {
        // Where texts are masked, their order is all there is to go by.
        let masked =
            template.iter().any(|element| element.as_str().is_some_and(|text| !matches!(slot(text), Slot::Literal)));
        let of = |element: &Value| if masked { String::new() } else { kind(element) };
        let (kinds, others): (Vec<String>, Vec<String>) =
            (template.iter().map(of).collect(), answer.iter().map(of).collect());
        let place = format!("{place}[]");
        let pairs = if reordered(&kinds, &others) {
            found.push(difference(&place, "elements in this order".into(), IN_ANOTHER_ORDER.into()));
            kinds
                .iter()
                .enumerate()
                .map(|(at, kind)| (at, others.iter().position(|other| other == kind).unwrap()))
                .collect()
        } else {
            aligned(&kinds, &others)
        };
        for (at, kind) in kinds.iter().enumerate().filter(|(at, _)| !pairs.iter().any(|(paired, _)| paired == at)) {
            found.push(difference(&place, described(kind, &template[at]), "absent".into()));
        }
        for (at, kind) in others.iter().enumerate().filter(|(at, _)| !pairs.iter().any(|(_, paired)| paired == at)) {
            found.push(difference(&place, "absent".into(), described(kind, &answer[at])));
        }
        for (at, other) in pairs {
            self.compare(&template[at], &answer[other], &place, found);
        }
    }

    fn compare_members(
        &mut self,
        template: &Map<String, Value>,
        answer: &Map<String, Value>,
        place: &str,
        found: &mut Vec<Difference>,
    ) {
        let keys: Vec<String> = template.keys().map(|key| self.key(key, answer)).collect();
        for (key, expected) in keys.iter().zip(template.values()) {
            match answer.get(key) {
                Some(value) => self.compare(expected, value, &format!("{place}.{key}"), found),
                None => {
                    let place = format!("{place}.{}", shown_text(key).trim_matches('"'));
                    found.push(difference(&place, expectation(expected), "absent".into()));
                }
            }
        }
        for (key, value) in answer {
            if !keys.contains(key) {
                let place = format!("{place}.{}", shown_text(key).trim_matches('"'));
                found.push(difference(&place, "absent".into(), shown(&place, value)));
            }
        }
        let ours = answer.keys().filter(|key| keys.contains(key));
        if !ours.eq(keys.iter().filter(|key| answer.contains_key(*key))) {
            found.push(difference(place, "keys in this order".into(), IN_ANOTHER_ORDER.into()));
        }
    }

    /// A key of a template; if it is an id that is not known yet, the first id of the answer that it can be.
    fn key(&mut self, key: &str, answer: &Map<String, Value>) -> String {
        if let Slot::Id(name, None) = slot(key)
            && !self.know(name)
        {
            let _ = answer.keys().find(|candidate| self.bind(name, candidate));
        }
        self.fill(key).unwrap_or_else(|| key.to_owned())
    }

    fn fits(&mut self, template: &Value, answer: &Value) -> bool {
        let Value::String(text) = template else {
            // 1 and 1.0 are the same number.
            return template == answer || (template.is_number() && template.as_f64() == answer.as_f64());
        };
        match (slot(text), answer) {
            (Slot::Number, answer) => answer.as_f64().is_some_and(|number| number > 0.0),
            (Slot::Numbers(count), Value::Array(list)) => list.len() == count && list.iter().all(Value::is_number),
            (Slot::Text, Value::String(answer)) => !answer.is_empty(),
            (Slot::Time(form), Value::String(answer)) => {
                let digits = answer.chars().map(|character| if character.is_ascii_digit() { '9' } else { character });
                digits.eq(form.chars())
            }
            (Slot::Id(name, Some(part)), Value::String(answer)) => {
                self.0.get(name).is_some_and(|message| *answer == part_of(message, part))
            }
            (Slot::Id(name, None), Value::String(answer)) => self.bind(name, answer),
            (Slot::Literal, Value::String(answer)) => answer == text,
            _ => false,
        }
    }

    /// Whether an id can be what a name stands for: it has the form, and is the one that the name has stood for so far.
    fn bind(&mut self, name: &str, id: &str) -> bool {
        if let Some(known) = self.0.get(name) {
            return known == id;
        }
        let kind = name.split('#').next().unwrap_or_default();
        let well_formed = match kind {
            "uuid" => is_uuid(id),
            "call" => !id.is_empty(),
            _ => id.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_uuid),
        };
        let taken = self.0.iter().any(|(other, value)| value == id && other.starts_with(&format!("{kind}#")));
        if well_formed && !taken {
            self.learn(name, id);
        }
        well_formed && !taken
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::parse_str(text).is_ok()
}

/// The id of a part of a stored message: the message's uuid with its last seven bits replaced.
fn part_of(message: &str, part: u8) -> String {
    let uuid = message.trim_start_matches("message-");
    let (head, last) = uuid.split_at(uuid.len() - 2);
    let last = u8::from_str_radix(last, 16).unwrap_or_default();
    format!("{head}{:02x}", (last & 0x80) | part)
}

fn difference(place: &str, recorded: String, answered: String) -> Difference {
    Difference { place: place.to_owned(), recorded, answered }
}

/// What kind of element this is: what tells it from its neighbours, as far as that is the same for every run.
fn kind(element: &Value) -> String {
    let element = ["data", "function"].iter().find_map(|key| element.get(key)).unwrap_or(element);
    ["message_type", "handle", "name", "label", "role"]
        .iter()
        .find_map(|key| element.get(key).and_then(Value::as_str))
        .or(element.as_str().filter(|text| shown_text(text).starts_with('"')))
        .unwrap_or_default()
        .to_owned()
}

fn described(kind: &str, element: &Value) -> String {
    if kind.is_empty() { expectation(element) } else { format!("\"{kind}\"") }
}

/// Whether two lists have the same kinds, each once, in different orders.
fn reordered(kinds: &[String], others: &[String]) -> bool {
    let (mut sorted, mut others_sorted) = (kinds.to_vec(), others.to_vec());
    sorted.sort();
    others_sorted.sort();
    sorted == others_sorted && kinds != others && sorted.windows(2).all(|pair| pair[0] != pair[1])
}

/// The longest common subsequence, as pairs of indices.
fn aligned(kinds: &[String], others: &[String]) -> Vec<(usize, usize)> {
    let mut lengths = vec![vec![0_usize; others.len() + 1]; kinds.len() + 1];
    for at in (0..kinds.len()).rev() {
        for other in (0..others.len()).rev() {
            lengths[at][other] = if kinds[at] == others[other] {
                lengths[at + 1][other + 1] + 1
            } else {
                lengths[at + 1][other].max(lengths[at][other + 1])
            };
        }
    }
    let (mut pairs, mut at, mut other) = (Vec::new(), 0, 0);
    while at < kinds.len() && other < others.len() {
        if kinds[at] == others[other] {
            pairs.push((at, other));
            (at, other) = (at + 1, other + 1);
        } else if lengths[at + 1][other] >= lengths[at][other + 1] {
            at += 1;
        } else {
            other += 1;
        }
    }
    pairs
}

/// What a template expects, in words.
fn expectation(template: &Value) -> String {
    let Value::String(text) = template else { return shown("", template) };
    match slot(text) {
        Slot::Id(name, part) => {
            let kind = name.split('#').next().unwrap_or_default();
            let part = part.map(|part| format!(", part {part}")).unwrap_or_default();
            format!("id ({kind}{part})")
        }
        Slot::Time(form) => format!("time {form}"),
        Slot::Text => "text".to_owned(),
        Slot::Number => "number".to_owned(),
        Slot::Numbers(length) => format!("{length} numbers"),
        Slot::Literal => shown("", template),
    }
}

/// A value in words: the same words for every run.
fn shown(place: &str, value: &Value) -> String {
    let measured = ["_tokens", "_ns", "_ms"].iter().any(|unit| place.ends_with(unit));
    match value {
        Value::Number(number) if measured && number.as_f64() != Some(0.0) => "number".to_owned(),
        Value::String(text) => shown_text(text),
        Value::Array(list) if list.is_empty() => "[]".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    }
}

fn shown_text(text: &str) -> String {
    if text.strip_prefix("req-").is_some_and(|id| id.len() == 32) {
        return "id (req)".to_owned();
    }
    let word = |character: char| character.is_ascii_alphanumeric() || "_./:-".contains(character);
    let uuid = text.len().checked_sub(36).and_then(|at| text.split_at_checked(at)).filter(|(_, tail)| is_uuid(tail));
    if let Some((kind, _)) = uuid.filter(|(kind, _)| kind.chars().all(word)) {
        let kind = kind.trim_end_matches('-');
        return format!("id ({})", if kind.is_empty() { "uuid" } else { kind });
    }
    if chrono::DateTime::parse_from_rfc3339(text).is_ok() {
        let form: String = text.chars().map(|each| if each.is_ascii_digit() { '9' } else { each }).collect();
        return format!("time {form}");
    }
    if text.len() <= 40 && text.chars().all(word) { format!("\"{text}\"") } else { "text".to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "message-6bbde75b-5b29-4412-8aec-d435b35caa75";

    fn differences(template: &Value, answer: &Value) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        Names::default().compare(template, answer, "", &mut found);
        found.into_iter().map(|each| (each.place, each.recorded, each.answered)).collect()
    }

    #[test]
    fn what_fits_is_no_difference() {
        let template = json!({
            "id": "{message#1}", "otid": "{message#1 part 1}", "again": ["{message#1}"], "at": "{time 9999-99-99T99:99:99Z}",
            "text": "{text}", "count": "{number}", "vector": "{2 numbers}", "word": "end_turn", "nothing": null, "one": 1.0,
        });
        let answer = json!({
            "id": ID, "otid": "6bbde75b-5b29-4412-8aec-d435b35caa01", "again": [ID], "at": "2026-11-23T16:30:57Z",
            "text": "hello", "count": 3, "vector": [0, 0.5], "word": "end_turn", "nothing": null, "one": 1,
        });
        assert_eq!(differences(&template, &answer), []);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let other = ID.replace("6b", "7b");
        for (template, answer, place, recorded, answered) in [
            (json!(["{message#1}", "{message#1}"]), json!([ID, other]), "[]", "id (message)", "id (message)"),
            (json!(["{message#1}", "{message#2}"]), json!([ID, ID]), "[]", "id (message)", "id (message)"),
            (json!({"a": 1}), json!({}), ".a", "1", "absent"),
            (json!({}), json!({"a": "b c"}), ".a", "absent", "text"),
            (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}), "", "keys in this order", "in another order"),
            (json!([1]), json!([1, 2]), "[]", "absent", "2"),
            (json!([{"name": "a"}]), json!([{"name": "b"}, {"name": "a"}]), "[]", "absent", "\"b\""),
            (json!(["a", "b"]), json!(["b", "a"]), "[]", "elements in this order", "in another order"),
            (json!({"a": "{text}"}), json!({"a": ""}), ".a", "text", "\"\""),
            (json!("{number}"), json!(0), "", "number", "0"),
            (json!("{time 9999}"), json!("999"), "", "time 9999", "\"999\""),
            (json!("end_turn"), json!("error"), "", "\"end_turn\"", "\"error\""),
        ] {
            let expected = vec![(place.to_owned(), recorded.to_owned(), answered.to_owned())];
            assert_eq!(differences(&template, &answer), expected, "{template} {answer}");
        }
    }
}
