//! The references among the tables of a seed, and the order of application that they require.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::{mistake::Mistake, read::Entry, tables::Table};

/// Checks all refs and brings the tables into an order in which each follows those that it refers to. Tables that do not
/// depend on each other are ordered by their kind, then as they are written, so that it does not matter how a seed groups
/// them.
pub(super) fn in_order(entries: Vec<Entry>) -> Result<Vec<Entry>, Mistake> {
    let by_ref = by_ref(&entries)?;
    let mut waits_for = vec![0_usize; entries.len()];
    let mut needed_by = vec![Vec::new(); entries.len()];
    for (index, entry) in entries.iter().enumerate() {
        for (pointer, text, table) in entry.references() {
            match by_ref.get(text) {
                Some(found) if entries[*found].table == table => {
                    waits_for[index] += 1;
                    needed_by[*found].push(index);
                }
                Some(found) => {
                    let problem = format!("\"{text}\" is {}, not {}", entries[*found].row.one, table.row().one);
                    return Err(entry.mistake(&pointer, &problem));
                }
                None if is_id(text, table) => {}
                None => return Err(entry.mistake(&pointer, &unknown(text, table, &entries))),
            }
        }
    }
    let rank = |index: usize| (entries[index].table, index);
    let mut ready: BTreeSet<(Table, usize)> =
        waits_for.iter().enumerate().filter(|(_, count)| **count == 0).map(|(index, _)| rank(index)).collect();
    let mut order = Vec::new();
    while let Some((_, index)) = ready.pop_first() {
        order.push(index);
        for dependent in &needed_by[index] {
            waits_for[*dependent] -= 1;
            if waits_for[*dependent] == 0 {
                ready.insert(rank(*dependent));
            }
        }
    }
    if let Some(index) = waits_for.iter().position(|count| *count > 0) {
        return Err(entries[index].mistake("", "its references lead back to itself; leave one of them out"));
    }
    let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| entries[index].take()).collect())
}

fn by_ref(entries: &[Entry]) -> Result<HashMap<&str, usize>, Mistake> {
    let mut by_ref: HashMap<&str, usize> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(reference) = entry.reference.as_deref() else { continue };
        if let Some(first) = by_ref.insert(reference, index) {
            let first = &entries[first];
            let problem = format!("{} in {} has the same ref; every ref is unique", first.named(), first.place());
            return Err(entry.mistake("/ref", &problem));
        }
    }
    Ok(by_ref)
}

/// Whether a text is the id of something that the world already has.
fn is_id(text: &str, table: Table) -> bool {
    let id = text.strip_prefix(table.row().id_prefix).and_then(|rest| rest.strip_prefix('-'));
    id.is_some_and(|id| Uuid::try_parse(id).is_ok())
}

fn unknown(text: &str, table: Table, entries: &[Entry]) -> String {
    const MOST: usize = 10;
    let known = entries.iter().filter(|entry| entry.table == table).filter_map(|entry| entry.reference.as_deref());
    let known: Vec<String> = known.take(MOST).map(|reference| format!("\"{reference}\"")).collect();
    let one = table.row().one;
    match known.as_slice() {
        [] => format!("\"{text}\" is not the ref of {one} in this seed"),
        known => format!("\"{text}\" is not the ref of {one} in this seed; those are {}", known.join(", ")),
    }
}
