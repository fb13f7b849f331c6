//! The bodies of client tokens: JSON without duplicate keys, as tolerant as Letta otherwise.

use std::{collections::HashSet, fmt};

use gatelet::{access::json::parse, error::Code, request::json};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, value::RawValue};

pub(crate) fn is_accepted(bytes: &[u8]) -> bool {
    let lenient = serde_json::from_slice::<Value>(bytes);
    match (parse(bytes), lenient) {
        (Ok(value), Ok(expected)) => {
            assert_eq!(value, expected);
            assert!(!has_duplicates(bytes));
            // It is sent upstream written anew: that must mean the same.
            let written = serde_json::to_vec(&value).expect("a value can be written");
            assert_eq!(parse(&written).expect("what was written can be read"), value);
            true
        }
        (Ok(value), Err(_)) => {
            let tolerant = json::from_slice::<Value>(bytes);
            assert_eq!(tolerant.expect("what was accepted is JSON for Letta"), value);
            let written = serde_json::to_vec(&value).expect("a value can be written");
            assert_eq!(parse(&written).expect("what was written can be read"), value);
            true
        }
        (Err(error), Ok(_)) => {
            assert_eq!(error.code(), Code::InvalidRequest);
            assert!(has_duplicates(bytes) || error.message().contains("reserved"), "{error}");
            false
        }
        (Err(error), Err(_)) => {
            assert!(matches!(error.code(), Code::InvalidRequest | Code::ValidationFailed));
            false
        }
    }
}

/// Whether an object of this JSON has a key twice, found without any of the parser under test.
fn has_duplicates(json: &[u8]) -> bool {
    match json.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {
            let entries: Entries = serde_json::from_slice(json).expect("this is JSON");
            let mut seen = HashSet::new();
            entries.0.iter().any(|(key, value)| !seen.insert(key) || has_duplicates(value.get().as_bytes()))
        }
        Some(b'[') => {
            let items: Vec<Box<RawValue>> = serde_json::from_slice(json).expect("this is JSON");
            items.iter().any(|item| has_duplicates(item.get().as_bytes()))
        }
        _ => false,
    }
}

/// An object's entries as they stand there.
struct Entries(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
