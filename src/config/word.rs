//! Settings that are one of a few words, and may also be written as a flag or a number.

use serde::{Deserialize, Deserializer};

/// What is written, as a word in lower case; empty if it is of another type.
pub(super) fn written_word<'de, D: Deserializer<'de>>(deserializer: D) -> String {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Flag(bool),
        Number(u8),
        Text(String),
    }
    match Written::deserialize(deserializer) {
        Ok(Written::Flag(flag)) => flag.to_string(),
        Ok(Written::Number(number)) => number.to_string(),
        Ok(Written::Text(text)) => text.to_ascii_lowercase(),
        Err(_) => String::new(),
    }
}
