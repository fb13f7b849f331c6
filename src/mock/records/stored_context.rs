//! How an agent's context is stored: a list of ids, which is what clients see, and a list of tokens.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::{RawValue, to_raw_value};

use super::context::ContextEntry;

#[derive(Deserialize, Serialize)]
struct Columns<T> {
    ids: Vec<T>,
    tokens: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Columns(Columns<String>),
    /// As earlier versions stored it.
    Entries(Vec<ContextEntry>),
}

pub(super) fn serialize<S: Serializer>(context: &[ContextEntry], serializer: S) -> Result<S::Ok, S::Error> {
    let (ids, tokens) = context.iter().map(|entry| (entry.id.as_str(), entry.tokens)).unzip();
    Columns { ids, tokens }.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ContextEntry>, D::Error> {
    match Stored::deserialize(deserializer)? {
        Stored::Columns(Columns { ids, tokens }) if ids.len() == tokens.len() => {
            Ok(ids.into_iter().zip(tokens).map(|(id, tokens)| ContextEntry { id, tokens }).collect())
        }
        Stored::Columns(_) => Err(D::Error::custom("ids and tokens must have the same length")),
        Stored::Entries(entries) => Ok(entries),
    }
}

/// The ids alone, as one piece of JSON.
pub(super) fn deserialize_ids<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'a, RawValue>, D::Error> {
    #[derive(Deserialize)]
    struct Ids<'a> {
        #[serde(borrow)]
        ids: &'a RawValue,
    }
    let context = <&'de RawValue>::deserialize(deserializer)?.get();
    let ids = if context.starts_with('{') {
        serde_json::from_str(context).map(|Ids { ids }| Cow::Borrowed(ids))
    } else {
        serde_json::from_str::<Vec<ContextEntry>>(context)
            .and_then(|entries| to_raw_value(&entries.iter().map(|entry| &entry.id).collect::<Vec<_>>()))
            .map(Cow::Owned)
    };
    ids.map_err(D::Error::custom)
}
