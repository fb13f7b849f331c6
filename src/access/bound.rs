//! Limits the size of a field in a client token's body.

use std::io::{self, Write};

use serde_json::Value;

/// The most bytes of JSON that one byte of a string becomes: an escape such as `\u0000`.
const LONGEST_ESCAPE: usize = 6;

/// Whether a value, written as JSON, takes more than `most` bytes.
pub(super) fn takes_more(value: &Value, most: usize) -> bool {
    match value {
        // Always shorter than the smallest limit.
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) if text.len() < most / LONGEST_ESCAPE => false,
        _ => most != usize::MAX && serde_json::to_writer(Room(most), value).is_err(),
    }
}

/// A writer that keeps nothing and fails after this many bytes.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_takes_what_it_takes_as_json() {
        for value in [json!("x".repeat(98)), json!(vec!["x"; 25]), json!({"k": "x".repeat(92)}), json!("\0".repeat(16))]
        {
            let length = value.to_string().len();
            assert!((98..=101).contains(&length), "{length}");
            assert!(takes_more(&value, length - 1) && !takes_more(&value, length), "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_not_written_fits(text in "[a\\x00\"é]{0,40}", most in 8_usize..100) {
            prop_assert_eq!(takes_more(&json!(text), most), json!(text).to_string().len() > most);
        }
    }
}
