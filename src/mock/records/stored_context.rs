//! How an agent's context is stored: the ids as one list, which is what goes over the wire, and what they cost as another.

use std::fmt;

use serde::{
    Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use super::context::ContextEntry;

#[derive(Serialize)]
struct Columns<'a> {
    ids: Vec<&'a str>,
    tokens: Vec<i64>,
}

pub(super) fn serialize<S: Serializer>(context: &[ContextEntry], serializer: S) -> Result<S::Ok, S::Error> {
    let (ids, tokens) = context.iter().map(|entry| (entry.id.as_str(), entry.tokens)).unzip();
    Columns { ids, tokens }.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ContextEntry>, D::Error> {
    deserializer.deserialize_any(Columnar)
}

struct Columnar;

impl<'de> Visitor<'de> for Columnar {
    type Value = Vec<ContextEntry>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ids and tokens")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut ids, mut tokens) = (Vec::<String>::new(), Vec::<i64>::new());
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "ids" => ids = map.next_value()?,
                "tokens" => tokens = map.next_value()?,
                _ => return Err(A::Error::unknown_field(&name, &["ids", "tokens"])),
            }
        }
        if ids.len() != tokens.len() {
            return Err(A::Error::custom("as many ids as tokens are expected"));
        }
        Ok(ids.into_iter().zip(tokens).map(|(id, tokens)| ContextEntry { id, tokens }).collect())
    }

    /// As it was stored before: a list of entries.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut context = Vec::new();
        while let Some(entry) = list.next_element()? {
            context.push(entry);
        }
        Ok(context)
    }
}
