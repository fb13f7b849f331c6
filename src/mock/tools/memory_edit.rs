//! The changes that memory tools make to a block.

use serde_json::{Map, Value};

use crate::mock::budget::{Budget, Overspent};

/// A change of a block's value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::mock) enum Edit {
    /// Inserts a text after a line; `None` for the end.
    Insert { text: String, line: Option<usize> },
    /// Replaces a text. With `once`, it must occur only once.
    Replace { old: String, new: String, once: bool },
    /// Replaces the whole value.
    Rethink(String),
}

/// The memory tools.
pub(super) const TOOLS: &[&str] =
    &["memory_insert", "memory_replace", "memory_rethink", "core_memory_append", "core_memory_replace", VOICE_TOOL];

/// The memory tool of a voice agent's sleeptime agent, and the label of the block that it changes.
const VOICE_TOOL: &str = "rethink_user_memory";
const VOICE_LABEL: &str = "human";

impl Edit {
    /// Reads a call: the label of the block and the change, or what is wrong with the arguments.
    pub(super) fn of_call(tool: &str, arguments: &Map<String, Value>) -> Result<(String, Self), String> {
        let text = |name: &str| match arguments.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("{tool}: {name} must be a string")),
            None => Err(format!("{tool}: {name} is missing")),
        };
        let label = if tool == VOICE_TOOL { VOICE_LABEL.to_owned() } else { text("label")? };
        let edit = match tool {
            "memory_insert" => {
                let line = match arguments.get("insert_line") {
                    None | Some(Value::Null) => None,
                    Some(line) => match line.as_i64() {
                        Some(-1) => None,
                        Some(line) => Some(usize::try_from(line).map_err(|_| bad_line(tool, line))?),
                        None => return Err(format!("{tool}: insert_line must be an integer")),
                    },
                };
                Self::Insert { text: text("new_string")?, line }
            }
            "memory_replace" => Self::Replace { old: text("old_string")?, new: text("new_string")?, once: true },
            "memory_rethink" | VOICE_TOOL => Self::Rethink(text("new_memory")?),
            "core_memory_append" => Self::Insert { text: text("content")?, line: None },
            "core_memory_replace" => {
                Self::Replace { old: text("old_content")?, new: text("new_content")?, once: false }
            }
            _ => return Err(format!("{tool} does not change memory")),
        };
        Ok((label, edit))
    }

    /// The value after the change, or why the change is impossible.
    ///
    /// # Errors
    /// If the value exceeds the budget.
    pub(in crate::mock) fn apply(&self, value: &str, budget: &Budget) -> Result<Result<String, String>, Overspent> {
        budget.charge(match self {
            Self::Rethink(text) => text.len(),
            Self::Insert { text, .. } => value.len().saturating_add(text.len()).saturating_add(1),
            Self::Replace { old, .. } if old.is_empty() => 0,
            Self::Replace { old, new, .. } => {
                let places = value.matches(old.as_str()).count();
                (value.len() - places * old.len()).saturating_add(places.saturating_mul(new.len()))
            }
        })?;
        Ok(self.change(value))
    }

    fn change(&self, value: &str) -> Result<String, String> {
        match self {
            Self::Rethink(text) => Ok(text.clone()),
            Self::Insert { text, line: None } if value.is_empty() => Ok(text.clone()),
            Self::Insert { text, line: None } => Ok(format!("{value}\n{text}")),
            Self::Insert { text, line: Some(line) } => {
                let mut lines: Vec<&str> = if value.is_empty() { Vec::new() } else { value.split('\n').collect() };
                if *line > lines.len() {
                    return Err(format!(
                        "the block has {} lines, so nothing can be inserted after line {line}",
                        lines.len()
                    ));
                }
                lines.insert(*line, text);
                Ok(lines.join("\n"))
            }
            Self::Replace { old, new, once } => match value.matches(old.as_str()).count() {
                _ if old.is_empty() => Err("the text to replace must not be empty".to_owned()),
                0 => Err(format!("the block does not contain '{old}'")),
                many @ 2.. if *once => Err(format!("the block contains '{old}' {many} times; use a longer passage")),
                _ => Ok(value.replace(old.as_str(), new)),
            },
        }
    }
}

fn bad_line(tool: &str, line: i64) -> String {
    format!("{tool}: insert_line must be -1 or more, not {line}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edited(tool: &str, arguments: &Value, value: &str) -> Result<String, String> {
        let (label, edit) = Edit::of_call(tool, arguments.as_object().unwrap())?;
        assert_eq!(label, "human");
        edit.apply(value, &Budget::new(1_000)).unwrap()
    }

    #[test]
    fn a_value_grows_no_further_than_it_may() {
        for (edit, expected) in [
            (Edit::Replace { old: "a".into(), new: "bb".into(), once: false }, 20),
            (Edit::Insert { text: "bbb".into(), line: None }, 14),
            (Edit::Insert { text: "bbb".into(), line: Some(0) }, 14),
            (Edit::Rethink("b".repeat(20)), 20),
        ] {
            let value = "a".repeat(10);
            assert!(edit.apply(&value, &Budget::new(expected - 1)).is_err(), "{edit:?}");
            assert_eq!(edit.apply(&value, &Budget::new(expected)).unwrap().unwrap().len(), expected, "{edit:?}");
        }
    }

    #[test]
    fn each_tool_changes_a_block_in_its_way() {
        for (tool, arguments, before, after) in [
            ("memory_insert", json!({"label": "human", "new_string": "b"}), "a", "a\nb"),
            ("memory_insert", json!({"label": "human", "new_string": "b", "insert_line": -1}), "", "b"),
            ("memory_insert", json!({"label": "human", "new_string": "b", "insert_line": 0}), "a\nc", "b\na\nc"),
            ("memory_insert", json!({"label": "human", "new_string": "b", "insert_line": 1}), "a\nc", "a\nb\nc"),
            ("memory_insert", json!({"label": "human", "new_string": "b", "insert_line": null}), "a", "a\nb"),
            ("memory_replace", json!({"label": "human", "old_string": "tea", "new_string": "milk"}), "tea!", "milk!"),
            ("memory_rethink", json!({"label": "human", "new_memory": "new"}), "old", "new"),
            ("core_memory_append", json!({"label": "human", "content": "b"}), "a", "a\nb"),
            ("core_memory_replace", json!({"label": "human", "old_content": "a", "new_content": ""}), "aba", "b"),
        ] {
            assert_eq!(edited(tool, &arguments, before).as_deref(), Ok(after), "{tool} {arguments}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for (tool, arguments, expected) in [
            ("memory_insert", json!({"new_string": "b"}), "label is missing"),
            ("memory_insert", json!({"label": 1, "new_string": "b"}), "label must be a string"),
            ("memory_insert", json!({"label": "human"}), "new_string is missing"),
            ("memory_insert", json!({"label": "human", "new_string": "b", "insert_line": 5}), "line 5"),
            ("memory_insert", json!({"label": "human", "new_string": "b", "insert_line": -2}), "insert_line"),
            ("memory_insert", json!({"label": "human", "new_string": "b", "insert_line": "x"}), "integer"),
            ("memory_replace", json!({"label": "human", "old_string": "a", "new_string": ""}), "2 times"),
            ("memory_replace", json!({"label": "human", "old_string": "x", "new_string": ""}), "does not contain"),
            ("core_memory_replace", json!({"label": "human", "old_content": "", "new_content": "x"}), "empty"),
            ("send_message", json!({"label": "human"}), "does not change memory"),
        ] {
            let problem = edited(tool, &arguments, "aba").unwrap_err();
            assert!(problem.contains(expected), "{tool} {arguments}: {problem}");
        }
    }
}
