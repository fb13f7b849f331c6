//! Strict JSON for the bodies of client tokens: a duplicate key is refused, because parsers differ in which value they
//! read (RFC 8259, section 4). So is a body with too many values: an empty list takes three bytes to send and fifty in
//! memory.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{
    error::{ApiError, Code},
    request::{input, json},
};

const DUPLICATE: &str = "duplicate key ";

/// The most values in one body, those in lists and objects included. They take about ten megabytes of memory.
const MOST_VALUES: usize = 100_000;
const TOO_MANY: &str = "too many values";

/// `serde_json` takes an object with this key for raw JSON text: what is stored would not be what was checked.
const RAW_VALUE: &str = "$serde_json::private::RawValue";
const RESERVED: &str = "reserved key";

/// Parses one JSON value with no duplicate keys at any depth.
///
/// # Errors
/// 400 naming a key that is duplicate or reserved; 413 when there are too many values; 422 when it is not JSON.
pub fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    json::read(bytes, read).map_err(|error| refused(&error))
}

fn refused(error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    if let Some(key) = text.strip_prefix(DUPLICATE) {
        let sentence = format!("The body names the key {key} more than once; send each key once.");
        ApiError::new(Code::InvalidRequest, sentence)
    } else if text.starts_with(RESERVED) {
        ApiError::new(Code::InvalidRequest, format!("The body names the key \"{RAW_VALUE}\", which is reserved."))
    } else if text.starts_with(TOO_MANY) {
        ApiError::new(Code::BodyTooLarge, format!("Send a body of at most {MOST_VALUES} JSON values."))
    } else {
        input::bad_json(error)
    }
}

/// Parses one message of a WebSocket: standard JSON in UTF-8, besides that half of a surrogate pair, which JavaScript
/// writes as an escape, becomes U+FFFD.
///
/// # Errors
/// As [`parse`].
pub fn parse_message(bytes: &[u8]) -> Result<Value, ApiError> {
    json::read_message(bytes, read).map_err(|error| refused(&error))
}

fn read(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(&Cell::new(MOST_VALUES)).deserialize(&mut deserializer)?;
    deserializer.end().map(|()| value)
}

/// Reads a value and counts it.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.0.set(self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom(TOO_MANY))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if key == RAW_VALUE {
                return Err(A::Error::custom(RESERVED));
            }
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("{DUPLICATE}{}", Value::from(key))));
            }
            let value = entries.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duplicate_key_is_refused_at_any_depth() {
        for (text, key) in [
            (r#"{"a":1,"a":2}"#, "\"a\""),
            (r#"[{"x":{"a":1,"b":2,"a":3}}]"#, "\"a\""),
            (r#"{"a":1,"\u0061":2}"#, "\"a\""),
            (r#"{"a":NaN,"a":2}"#, "\"a\""),
            // Two keys for one parser and the same key for another.
            (r#"{"\ud83c":1,"\ud83d":2}"#, "\"\u{fffd}\""),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::InvalidRequest, "{text}");
            assert!(error.message().contains(key), "{}", error.message());
        }
    }

    #[test]
    fn so_many_values_and_no_more() {
        for unit in ["[]", "{}", "1", "{\"a\":1}"] {
            let of = |count: usize| format!("[{}]", vec![unit; count].join(","));
            let values = if unit.contains('a') { 2 } else { 1 };
            assert!(parse(of((MOST_VALUES - 1) / values).as_bytes()).is_ok(), "{unit}");
            assert_eq!(parse(of(MOST_VALUES).as_bytes()).unwrap_err().code(), Code::BodyTooLarge, "{unit}");
        }
    }

    #[test]
    fn a_key_that_would_be_read_as_something_else_is_refused() {
        for text in
            [r#"{"$serde_json::private::RawValue":"1"}"#, r#"[{"a":1,"$serde_json::private\u003a:RawValue":{}}]"#]
        {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), Code::InvalidRequest, "{text}");
            assert!(error.message().contains("reserved"), "{}", error.message());
        }
    }

    #[test]
    fn a_number_means_the_same_when_it_is_written_anew() {
        for text in
            ["118446744073709551616", "2.2250738585072011e-308", "9007199254740993.0", "-0.0", "18446744073709551615"]
        {
            let value = parse(text.as_bytes()).unwrap();
            assert_eq!(value.as_f64(), text.parse().ok(), "{text}");
            assert_eq!(parse(value.to_string().as_bytes()).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let deep = "[".repeat(100_000);
        for text in ["{nope", "", "1 2", "{\"a\":}", "\u{feff}{", &deep] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().code(), Code::ValidationFailed, "{text:.20}");
        }
    }

    #[test]
    fn a_message_is_standard_json_but_for_half_a_character() {
        assert_eq!(parse_message(br#"{"a":"\ud83c"}"#).unwrap(), serde_json::json!({"a": "\u{fffd}"}));
        for text in
            [&b"{\"a\":NaN}"[..], b"\xef\xbb\xbf{}", b"[Infinity]", b"{\0}\0", b"\"\xff\"", br#"{"a":1,"\u0061":2}"#]
        {
            assert!(parse_message(text).is_err(), "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn a_value_that_is_accepted_is_what_serde_json_reads(text in "[\\[\\]{}:,\"a-c0-9. \\\\-]{0,24}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
