//! How an agent's context is stored: the ids as one list and what they cost as another, which is shorter than a list of both.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::agent::ContextEntry;

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
        Stored::Columns(_) => Err(D::Error::custom("as many ids as tokens are expected")),
        Stored::Entries(entries) => Ok(entries),
    }
}
