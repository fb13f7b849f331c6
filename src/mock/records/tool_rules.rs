//! Tool rules: their fields, and the errors for those that are malformed.

use serde_json::{Map, Value};

use super::object;
use crate::{
    error::ApiError,
    mock::validation::body::{Expect, Fields, one_of},
};

/// The types of rules, each with its own fields: name, type, whether it is required.
type Own = &'static [(&'static str, Expect, bool)];
const TYPES: &[(&str, Own)] = &[
    ("run_first", &[("args", Expect::Object, false)]),
    ("exit_loop", &[]),
    ("continue_loop", &[]),
    ("constrain_child_tools", &[("children", Expect::Texts, true)]),
    ("parent_last_tool", &[("children", Expect::Texts, true)]),
    (
        "conditional",
        &[
            ("default_child", Expect::Text, false),
            ("child_output_mapping", Expect::Object, true),
            ("require_output_mapping", Expect::Flag, false),
        ],
    ),
    ("required_before_exit", &[]),
    ("max_count_per_step", &[("max_count_limit", Expect::Integer, true)]),
    ("requires_approval", &[]),
];

/// The rules of a request, without exact repetitions.
pub(in crate::mock) fn read(fields: &Fields<'_>) -> Result<Option<Vec<Value>>, ApiError> {
    let Some(rules) = fields.optional::<Vec<Fields<'_>>>("tool_rules")? else { return Ok(None) };
    let mut read = Vec::new();
    for rule in &rules {
        let rule = Value::Object(read_one(rule)?);
        if !read.contains(&rule) {
            read.push(rule);
        }
    }
    Ok(Some(read))
}

fn read_one(rule: &Fields<'_>) -> Result<Map<String, Value>, ApiError> {
    let words: Vec<&str> = TYPES.iter().map(|(word, _)| *word).collect();
    let kind = rule.value("type").unwrap_or(&Value::Null);
    let kind = one_of(kind, &rule.at("type"), &words)?;
    let tool_name: &str = rule.required("tool_name")?;
    let prompt_template: Option<&str> = rule.optional("prompt_template")?;
    let mut read = object! {"tool_name": tool_name, "type": kind, "prompt_template": prompt_template};
    let own = TYPES.iter().find(|(word, _)| *word == kind).map_or(&[] as Own, |(_, own)| own);
    for (name, expect, required) in own {
        rule.check(&[(name, *expect)])?;
        let value = rule.value(name);
        if *required && value.is_none() {
            return Err(rule.at(name).missing(&Value::Object(rule.map().clone())));
        }
        read.insert((*name).to_owned(), value.cloned().unwrap_or(default(*expect)));
    }
    if kind == "constrain_child_tools" {
        read.insert("child_arg_nodes".into(), rule.value("child_arg_nodes").cloned().unwrap_or_default());
    }
    Ok(read)
}

fn default(expect: Expect) -> Value {
    if matches!(expect, Expect::Flag) { Value::Bool(false) } else { Value::Null }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(rules: &Value) -> Result<Option<Vec<Value>>, ApiError> {
        read(&Fields::of_body(&json!({"tool_rules": rules})).unwrap())
    }

    #[test]
    fn rules_get_their_defaults_and_repetitions_are_stored_once() {
        let exit = json!({"type": "exit_loop", "tool_name": "a"});
        assert_eq!(
            rules(&json!([exit, exit])).unwrap().unwrap(),
            [json!({"tool_name": "a", "type": "exit_loop", "prompt_template": null})]
        );
        assert_eq!(rules(&json!(null)).unwrap(), None);
        assert_eq!(rules(&json!([])).unwrap(), Some(Vec::new()));
    }

    #[test]
    fn malformed_rules_are_refused() {
        for rule in [
            json!(1),
            json!({"tool_name": "a"}),
            json!({"type": "exit_loop"}),
            json!({"type": "other", "tool_name": "a"}),
            json!({"type": 5, "tool_name": "a"}),
            json!({"type": "exit_loop", "tool_name": 5}),
            json!({"type": "max_count_per_step", "tool_name": "a"}),
            json!({"type": "max_count_per_step", "tool_name": "a", "max_count_limit": "x"}),
            json!({"type": "constrain_child_tools", "tool_name": "a", "children": "b"}),
        ] {
            assert!(rules(&json!([rule])).is_err(), "{rule}");
        }
    }
}
