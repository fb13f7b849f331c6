//! Values that are a word, a number, a pair or an object.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// A value that has several forms; each type says which.
pub(super) trait Shape: Sized {
    const EXPECTED: &'static str;

    fn word(_word: &str) -> Option<Self> {
        None
    }

    fn number(_number: u64) -> Option<Self> {
        None
    }

    fn pair(_first: usize, _second: usize) -> Option<Self> {
        None
    }

    fn object<'de, D: Deserializer<'de>>(_object: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(format!("must be {}", Self::EXPECTED)))
    }
}

struct ShapeVisitor<T>(PhantomData<T>);

pub(super) fn shaped<'de, T: Shape, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(ShapeVisitor(PhantomData))
}

impl<'de, T: Shape> Visitor<'de> for ShapeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        let word = if value { "true" } else { "false" };
        T::word(word).ok_or_else(|| E::custom(format!("must be {}", T::EXPECTED)))
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<T, E> {
        T::word(word).ok_or_else(|| E::custom(format!("'{word}' must be {}", T::EXPECTED)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::number(number).ok_or_else(|| E::custom(format!("must be {}", T::EXPECTED)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        let pair = (items.next_element()?, items.next_element()?, items.next_element::<usize>()?);
        let found = if let (Some(first), Some(second), None) = pair { T::pair(first, second) } else { None };
        found.ok_or_else(|| de::Error::custom(format!("must be {}", T::EXPECTED)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::object(MapAccessDeserializer::new(map))
    }
}
