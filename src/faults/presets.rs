//! Faults that stand for a kind of bad day.

use serde_json::{Map, Value, json};

use super::{definition::Definition, rules::read_definition};
use crate::request::closed::Mistake;

/// Their names, and what each is for.
const NAMES: [(&str, &str); 3] = [
    (
        "rough-network",
        "a slow and unsteady connection: small pieces, pauses of changing length, and a reset now and then",
    ),
    ("legal-but-nasty", "streams that the specification of server-sent events allows and parsers get wrong"),
    ("flaky-provider", "a model's provider that fails now and then, before the first frame or after some"),
];

/// What a preset stands for.
fn faults_of(name: &str) -> Option<Value> {
    let turns = json!(["SendMessage", "StreamMessage", "SendConversationMessage", "StreamConversation"]);
    let streams = json!(["StreamMessage", "StreamConversation", "SendConversationMessage", "StreamRun"]);
    Some(match name {
        "rough-network" => json!([
            {"do": {"slice": {"bytes": [1, 40]}, "frame_delay": "5ms", "jitter": "25ms"}},
            {"when": {"probability": 0.01}, "do": {"cut": {"at": {"frame": 1}, "how": "reset"}, "slice": {"bytes": [1, 40]}}},
        ]),
        "legal-but-nasty" => json!([
            {"where": {"operation": streams}, "do": {"slice": {"bytes": [1, 7]}, "lines": "crlf", "comments": true}},
            {"where": {"operation": streams}, "when": {"every": 2}, "do": {"coalesce": true, "lines": "cr", "comments": true}},
            {"where": {"operation": streams}, "when": {"every": 3},
             "do": {"pings": {"every": "1ms", "count": 20}, "corrupt": {"at": {"frame": 1}, "as": "extra_field"}}},
        ]),
        "flaky-provider" => json!([
            {"where": {"operation": streams}, "when": {"probability": 0.1},
             "do": {"error_event": {"at": {"frame": 1}, "status": 500}}},
            {"where": {"operation": turns}, "when": {"probability": 0.1}, "do": {"code": "llm_rate_limit"}},
            {"where": {"operation": turns}, "when": {"probability": 0.1}, "do": {"code": "llm_timeout", "delay": "1s"}},
        ]),
        _ => return None,
    })
}

/// Each preset with what it stands for.
pub(crate) fn all() -> Value {
    let preset = |(name, meaning)| json!({"preset": name, "meaning": meaning, "faults": faults_of(name)});
    NAMES.map(preset).into()
}

/// Reads a call for a preset. `where`, `when` and `priority` of the call replace those of its faults, `id` begins theirs.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn read(mut call: Map<String, Value>) -> Result<Vec<Definition>, Mistake> {
    let mistake = |at: &str, problem: String| Mistake { at: at.to_owned(), problem };
    let name = call.remove("preset").unwrap_or_default();
    let Some(name) = name.as_str().filter(|name| faults_of(name).is_some()) else {
        let names = NAMES.map(|(name, _)| name).join(", ");
        return Err(mistake("/preset", format!("must be one of {names}")));
    };
    let id = match call.remove("id") {
        None => name.to_owned(),
        Some(Value::String(id)) => id,
        Some(_) => return Err(mistake("/id", "must be a text".into())),
    };
    let known = ["where", "when", "priority"];
    if let Some(other) = call.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(mistake(&format!("/{other}"), "a preset takes id, where, when and priority only".into()));
    }
    let faults = faults_of(name).unwrap_or_default();
    let faults = faults.as_array().into_iter().flatten().filter_map(Value::as_object).enumerate();
    let read = |(index, fault): (usize, &Map<String, Value>)| {
        let mut fault = fault.clone();
        fault.extend(call.clone());
        fault.insert("id".into(), format!("{id}-{}", index + 1).into());
        read_definition(fault)
    };
    faults.map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_preset_follows_the_rules() {
        for (name, _) in NAMES {
            let call = json!({"preset": name, "where": {"caller": "client_token"}, "id": "mine"});
            let faults = read(call.as_object().unwrap().clone()).expect(name);
            assert_eq!(Some(faults.len()), faults_of(name).unwrap().as_array().map(Vec::len));
            assert_eq!(faults[0].id.as_deref(), Some("mine-1"));
        }
    }
}
