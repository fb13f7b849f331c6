//! The ids of agent files: each is unique there, and says what it is the id of.

use std::collections::HashSet;

use super::import::{corrupted, items};
use crate::{error::ApiError, mock::validation::body::Fields};

/// The lists of a file, and how the ids of their items begin.
const LISTS: [(&str, &str); 7] = [
    ("agents", "agent"),
    ("groups", "group"),
    ("blocks", "block"),
    ("files", "file"),
    ("sources", "source"),
    ("tools", "tool"),
    ("mcp_servers", "mcp_server"),
];

/// Checks that every id is a word for its kind and a number, and that no two are equal, as Letta does.
pub(in crate::mock) fn check(file: &Fields<'_>) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for (list, prefix) in LISTS {
        for item in items(file, list)? {
            check_one(&item, prefix, &mut seen)?;
        }
    }
    for agent in items(file, "agents")? {
        for message in items(&agent, "messages")? {
            check_one(&message, "message", &mut seen)?;
        }
    }
    Ok(())
}

fn check_one<'f>(item: &Fields<'f>, prefix: &str, seen: &mut HashSet<&'f str>) -> Result<(), ApiError> {
    let id: &str = item.required("id").map_err(corrupted)?;
    let number = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    if number.is_none_or(|number| number.parse::<i64>().is_err()) {
        let rule = format!("an id here is '{prefix}-' and a number");
        return Err(corrupted(item.at("id").breaks_rule(&rule, &id.into())));
    }
    if !seen.insert(id) {
        return Err(corrupted(item.at("id").breaks_rule("another item of the file has this id", &id.into())));
    }
    Ok(())
}
