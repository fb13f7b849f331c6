//! The ids in agent files, such as `block-0`: unique in their file, with a prefix that names the kind of thing.

use std::collections::{HashMap, HashSet};

use super::reading::{invalid_file, items};
use crate::{error::ApiError, mock::validation::body::Fields};

/// The lists of a file, and the prefixes of their items' ids.
const LISTS: [(&str, &str); 7] = [
    ("agents", "agent"),
    ("groups", "group"),
    ("blocks", "block"),
    ("files", "file"),
    ("sources", "source"),
    ("tools", "tool"),
    ("mcp_servers", "mcp_server"),
];

/// Checks, as Letta does, that every id is the prefix of its kind and a number, and that no id occurs twice.
pub(super) fn check(file: &Fields<'_>) -> Result<(), ApiError> {
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
    let id: &str = item.required("id").map_err(invalid_file)?;
    let number = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
    if number.is_none_or(|number| number.parse::<i64>().is_err()) {
        let rule = format!("an id in this list is '{prefix}-' and a number");
        return Err(invalid_file(item.at("id").breaks_rule(&rule, &id.into())));
    }
    if !seen.insert(id) {
        return Err(invalid_file(item.at("id").breaks_rule("another item of the file has this id", &id.into())));
    }
    Ok(())
}

/// Assigns local ids to things of one kind, in the order in which they are added.
#[derive(Debug)]
pub(super) struct LocalIds {
    prefix: &'static str,
    by_id: HashMap<String, String>,
}

impl LocalIds {
    pub(super) fn new(prefix: &'static str) -> Self {
        Self { prefix, by_id: HashMap::new() }
    }

    /// The local id of a thing, which is added if it is new.
    pub(super) fn of(&mut self, id: &str) -> String {
        self.add(id).0
    }

    /// The local id of a thing, if it was added before.
    pub(super) fn find(&self, id: &str) -> Option<&String> {
        self.by_id.get(id)
    }

    /// The local id of a thing, and whether it is new.
    pub(super) fn add(&mut self, id: &str) -> (String, bool) {
        if let Some(local_id) = self.by_id.get(id) {
            return (local_id.clone(), false);
        }
        let local_id = format!("{}-{}", self.prefix, self.by_id.len());
        self.by_id.insert(id.to_owned(), local_id.clone());
        (local_id, true)
    }
}
