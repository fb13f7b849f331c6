//! Places in a stream: which frame.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::shape::{Shape, shaped};

/// A frame of a stream, counted from 1 and without pings.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Position {
    /// By its number; 0 is the head, before the first frame.
    Frame(u64),
    /// The nth of a type, from 1.
    Typed(String, u64),
    /// The end marker, `[DONE]`.
    Done,
}

/// The end marker's name among the types.
const DONE: &str = "done";
/// The type of the message with the usage.
const USAGE: &str = "usage_statistics";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    frame: Option<u64>,
    r#type: Option<String>,
    nth: Option<u64>,
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        shaped(deserializer)
    }
}

impl Shape for Position {
    const EXPECTED: &'static str =
        "{\"frame\": n}, {\"type\": \"assistant_message\", \"nth\": n}, \"stop_reason\", \"usage\" or \"done\"";

    fn word(word: &str) -> Option<Self> {
        match word {
            "stop_reason" => Some(Self::Typed(word.into(), 1)),
            "usage" => Some(Self::Typed(USAGE.into(), 1)),
            DONE => Some(Self::Done),
            _ => None,
        }
    }

    fn object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        match Written::deserialize(object)? {
            Written { frame: Some(frame), r#type: None, nth: None } => Ok(Self::Frame(frame)),
            Written { nth: Some(0), .. } => Err(de::Error::custom("nth counts from 1")),
            Written { frame: None, r#type: Some(name), nth } => Ok(Self::Typed(name, nth.unwrap_or(1))),
            _ => Err(de::Error::custom(format!("must be {}", Self::EXPECTED))),
        }
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Frame(frame) => serde_json::json!({"frame": frame}).serialize(serializer),
            Self::Typed(name, 1) if name == "stop_reason" => name.serialize(serializer),
            Self::Typed(name, 1) if name == USAGE => "usage".serialize(serializer),
            Self::Typed(name, nth) => serde_json::json!({"type": name, "nth": nth}).serialize(serializer),
            Self::Done => DONE.serialize(serializer),
        }
    }
}

/// As a journal entry names it.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "frame {frame}"),
            Self::Typed(name, 1) => f.write_str(name),
            Self::Typed(name, nth) => write!(f, "{name} {nth}"),
            Self::Done => f.write_str(DONE),
        }
    }
}
