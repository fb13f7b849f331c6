//! How the parts of a fault are written that are a word, a number or an object.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    definition::{At, Coalesce, Length, Partial, Pings, Sizes, Span, Storm, Token},
    shape::{Shape, shaped},
};

/// The longest pause of a fault.
const LONGEST: Duration = Duration::from_hours(1);

impl Span {
    fn parse(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(time) if time <= LONGEST => Ok(Self(time)),
            Ok(_) => Err("a pause is at most 1h".into()),
            Err(_) => Err(format!("'{text}' is not a length of time such as 200ms or 5s")),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_signed = text.starts_with(['+', '-']) && text.len() <= 7;
        match text.parse() {
            Ok(difference) if is_signed && difference != 0 => Ok(Self(difference)),
            _ => Err(de::Error::custom("must be a difference in bytes with its sign, such as \"+10\" or \"-10\"")),
        }
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:+}", self.0))
    }
}

macro_rules! shapes {
    ($($name:ty),+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                shaped(deserializer)
            }
        }
    )+};
}

shapes!(Partial, Pings, Sizes, Coalesce, Token);

impl Shape for Partial {
    const EXPECTED: &'static str = "a number of bytes, or \"in_character\"";

    fn word(word: &str) -> Option<Self> {
        (word == "in_character").then_some(Self::InCharacter)
    }

    fn number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().map(Self::Bytes)
    }
}

impl Serialize for Partial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => bytes.serialize(serializer),
            Self::InCharacter => "in_character".serialize(serializer),
        }
    }
}

impl Shape for Pings {
    const EXPECTED: &'static str = "\"none\", or an object with every and count";

    fn word(word: &str) -> Option<Self> {
        (word == "none").then_some(Self::None)
    }

    fn object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        Storm::deserialize(object).map(Self::Storm)
    }
}

impl Serialize for Pings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => "none".serialize(serializer),
            Self::Storm(storm) => storm.serialize(serializer),
        }
    }
}

impl Shape for Sizes {
    const EXPECTED: &'static str = "a number of bytes, or the smallest and the largest as [1, 40]";

    fn number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().map(|bytes| Self(bytes, bytes))
    }

    fn pair(first: usize, second: usize) -> Option<Self> {
        Some(Self(first, second))
    }
}

impl Serialize for Sizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(first, second) = self;
        if first == second { first.serialize(serializer) } else { [first, second].serialize(serializer) }
    }
}

impl Shape for Coalesce {
    const EXPECTED: &'static str = "true, or how many frames are sent as one piece";

    fn word(word: &str) -> Option<Self> {
        (word == "true").then_some(Self::All)
    }

    fn number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().map(Self::Frames)
    }
}

impl Serialize for Coalesce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => true.serialize(serializer),
            Self::Frames(count) => count.serialize(serializer),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RevokeAt {
    revoke: At,
}

impl Shape for Token {
    const EXPECTED: &'static str =
        "expire, revoke, stale, quota, store_away, or an object {\"revoke\": {\"at\": ...}} for the middle of a stream";

    fn word(word: &str) -> Option<Self> {
        Some(match word {
            "expire" => Self::Expire,
            "revoke" => Self::Revoke,
            "stale" => Self::Stale,
            "quota" => Self::Quota,
            "store_away" => Self::StoreAway,
            _ => return None,
        })
    }

    fn object<'de, D: Deserializer<'de>>(object: D) -> Result<Self, D::Error> {
        RevokeAt::deserialize(object).map(|RevokeAt { revoke }| Self::RevokeAt(revoke.at))
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let word = match self {
            Self::Expire => "expire",
            Self::Revoke => "revoke",
            Self::Stale => "stale",
            Self::Quota => "quota",
            Self::StoreAway => "store_away",
            Self::RevokeAt(at) => return RevokeAt { revoke: At { at: at.clone() } }.serialize(serializer),
        };
        word.serialize(serializer)
    }
}
