//! JSON as Letta's server reads it: what Python's `json.loads` accepts beyond RFC 8259.
//!
//! Clients rely on it: `"🎉".slice(0, 1)` in JavaScript is half a surrogate pair, which `JSON.stringify` writes as an
//! escape, and Python's `json.dumps` writes `NaN`. Only text that is not standard JSON is rewritten as such (RFC 8259) and
//! parsed once more, so that tolerance costs nothing otherwise:
//!
//! - UTF-16 and UTF-32, and a byte order mark in any encoding (RFC 4627, section 3, tells them apart);
//! - surrogates without their other half, escaped or encoded, become U+FFFD;
//! - `NaN`, `Infinity` and `-Infinity` become `null`, as Letta writes them.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use serde::de::DeserializeOwned;

/// U+FFFD in UTF-8.
const REPLACEMENT: &[u8; 3] = b"\xef\xbf\xbd";

/// Parses JSON.
///
/// # Errors
/// Those of the first parse, when Python does not accept the text either; otherwise those of the second.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    read(bytes, |bytes| serde_json::from_slice(bytes))
}

/// Parses JSON with `parse` and, if that fails, parses its equivalent in standard JSON.
///
/// # Errors
/// Those of `parse`.
pub fn read<T, E>(bytes: &[u8], parse: impl Fn(&[u8]) -> Result<T, E>) -> Result<T, E> {
    parse(bytes).or_else(|error| match standard(bytes) {
        Cow::Owned(rewritten) => parse(&rewritten),
        Cow::Borrowed(_) => Err(error),
    })
}

/// Parses a WebSocket message, which is UTF-8, with `parse`; if that fails, with the surrogates replaced that have no other
/// half, because browsers write them. Python's other additions are not accepted.
///
/// # Errors
/// Those of `parse`.
pub fn read_message<T, E>(bytes: &[u8], parse: impl Fn(&[u8]) -> Result<T, E>) -> Result<T, E> {
    parse(bytes).or_else(|error| match rewrite(bytes, Words::Left) {
        Some(rewritten) => parse(&rewritten),
        None => Err(error),
    })
}

/// The equivalent in standard JSON; borrowed if there is nothing to rewrite.
fn standard(bytes: &[u8]) -> Cow<'_, [u8]> {
    match utf8(bytes) {
        Cow::Borrowed(text) => rewrite(text, Words::Replaced).map_or(Cow::Borrowed(text), Cow::Owned),
        Cow::Owned(text) => Cow::Owned(rewrite(&text, Words::Replaced).unwrap_or(text)),
    }
}

/// JSON in UTF-8, without a byte order mark.
fn utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    // Every JSON text begins with two ASCII characters, so the positions of zero bytes show the encoding.
    let pattern: [u8; 4] = std::array::from_fn(|index| bytes.get(index).copied().unwrap_or(1));
    match pattern {
        [0xef, 0xbb, 0xbf, _] => Cow::Owned(bytes[3..].to_vec()),
        [0xff, 0xfe, 0, 0] => utf32(&bytes[4..], u32::from_le_bytes),
        [0, 0, 0xfe, 0xff] => utf32(&bytes[4..], u32::from_be_bytes),
        [0xff, 0xfe, ..] => utf16(&bytes[2..], u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(&bytes[2..], u16::from_be_bytes),
        [_, 0, 0, 0] => utf32(bytes, u32::from_le_bytes),
        [0, 0, 0, _] => utf32(bytes, u32::from_be_bytes),
        [_, 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, ..] => utf16(bytes, u16::from_be_bytes),
        _ => Cow::Borrowed(bytes),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Cow<'_, [u8]> {
    let (units, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Cow::Borrowed(bytes);
    }
    let units: Vec<u16> = units.iter().map(|bytes| unit(*bytes)).collect();
    Cow::Owned(String::from_utf16_lossy(&units).into_bytes())
}

fn utf32(bytes: &[u8], unit: fn([u8; 4]) -> u32) -> Cow<'_, [u8]> {
    let (units, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Cow::Borrowed(bytes);
    }
    let text: String =
        units.iter().map(|bytes| char::from_u32(unit(*bytes)).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Cow::Owned(text.into_bytes())
}

/// What becomes of the words for numbers that JSON does not have.
#[derive(Clone, Copy, PartialEq)]
enum Words {
    /// They become `null`.
    Replaced,
    /// They stay, to be refused.
    Left,
}

/// Replaces lone surrogates and, where wanted, numbers that JSON does not have; `None` if there are none.
fn rewrite(text: &[u8], words: Words) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut copied, mut at) = (0, 0);
    let mut replace = |range: std::ops::Range<usize>, by: &[u8]| {
        out.extend_from_slice(&text[copied..range.start]);
        out.extend_from_slice(by);
        copied = range.end;
    };
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = string(text, at + 1, &mut replace),
            b'N' | b'I' | b'-' if words == Words::Replaced => {
                let word =
                    [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| text[at..].starts_with(word));
                if let Some(word) = word {
                    replace(at..at + word.len(), b"null");
                }
                at += word.map_or(1, <[u8]>::len);
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(&text[copied..]);
    Some(out)
}

/// Skips a string whose first character is at `at`, replacing lone surrogates; returns the place after it.
fn string(text: &[u8], mut at: usize, replace: &mut impl FnMut(std::ops::Range<usize>, &[u8])) -> usize {
    let end = |at: usize| memchr2(b'"', b'\\', &text[at..]).map_or(text.len(), |found| at + found);
    loop {
        let stop = end(at);
        encoded_surrogates(text, at..stop, replace);
        if text.get(stop) != Some(&b'\\') {
            return stop + 1;
        }
        let Some(unit) = escaped_unit(text, stop) else {
            at = (stop + 2).min(text.len());
            continue;
        };
        let pairs = matches!(unit, 0xd800..0xdc00) && matches!(escaped_unit(text, stop + 6), Some(0xdc00..0xe000));
        at = stop + if pairs { 12 } else { 6 };
        if !pairs && matches!(unit, 0xd800..0xe000) {
            replace(stop..at, REPLACEMENT);
        }
    }
}

/// The UTF-16 code unit that `\uXXXX` at `at` writes.
fn escaped_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let value = |sum: u16, digit: &u8| Some(sum << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?);
    digits.iter().try_fold(0, value)
}

/// Surrogates in UTF-8, which only careless encoders write: `ED A0..BF 80..BF`.
fn encoded_surrogates(
    text: &[u8],
    range: std::ops::Range<usize>,
    replace: &mut impl FnMut(std::ops::Range<usize>, &[u8]),
) {
    let mut at = range.start;
    while let Some(found) = memchr(0xed, &text[at..range.end]) {
        at += found;
        let is_surrogate = matches!(text[at..range.end], [_, 0xa0..=0xbf, 0x80..=0xbf, ..]);
        if is_surrogate {
            replace(at..at + 3, REPLACEMENT);
        }
        at += if is_surrogate { 3 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_python_reads_is_read() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let utf32 = |text: &str| text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect::<Vec<u8>>();
        for (sent, value) in [
            (br#""\ud83c""#.to_vec(), json!("\u{fffd}")),
            (br#""a\uDF89b""#.to_vec(), json!("a\u{fffd}b")),
            (br#""\ud83c\ud83c\udf89\udf89""#.to_vec(), json!("\u{fffd}\u{1f389}\u{fffd}")),
            (br#""\ud83c\n""#.to_vec(), json!("\u{fffd}\n")),
            (br#"["\\ud83c", "\ud83c"]"#.to_vec(), json!(["\\ud83c", "\u{fffd}"])),
            (br#"{"\ud83c": 1}"#.to_vec(), json!({"\u{fffd}": 1})),
            (b"\"a\xed\xa0\xbcb\"".to_vec(), json!("a\u{fffd}b")),
            (b"[NaN, -Infinity, Infinity, -1, \"NaN\"]".to_vec(), json!([null, null, null, -1, "NaN"])),
            (b"\xef\xbb\xbf{\"a\": \"\xc3\xa9\"}".to_vec(), json!({"a": "é"})),
            (utf16("[\"é🎉\"]", u16::to_le_bytes), json!(["é🎉"])),
            (utf16("\u{feff}[\"é🎉\"]", u16::to_be_bytes), json!(["é🎉"])),
            (utf16("1", u16::to_be_bytes), json!(1)),
            (utf32("{\"é\": \"🎉\"}"), json!({"é": "🎉"})),
            (utf32("\u{feff}[]"), json!([])),
        ] {
            assert_eq!(from_slice::<Value>(&sent).ok(), Some(value), "{}", sent.escape_ascii());
        }
    }

    #[test]
    fn what_python_refuses_stays_refused() {
        for text in [
            "",
            "{nope",
            "nan",
            "inf",
            "[NaN",
            "\"\\ud83",
            "\"\\ud83c",
            "\"\\u",
            "\"\\",
            "[1,]",
            "1 2",
            "\"\n\"",
            "'a'",
        ] {
            assert!(from_slice::<Value>(text.as_bytes()).is_err(), "{text}");
        }
        for bytes in [&b"\"\xff\""[..], b"\xff\xfe[", b"[\0]", b"\"\xed\xa0\""] {
            assert!(from_slice::<Value>(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn standard_json_is_not_touched(text in "[\\[\\]{}:,\"a-cI N0-9. \\\\uDd8é-]{0,24}") {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                prop_assert_eq!(from_slice::<Value>(standard(text.as_bytes()).as_ref()).unwrap(), value);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop_oneof![
            any::<u8>(), prop::sample::select(b"\"\\uDd8cN\xed\xa0\0".to_vec())
        ], 0..32)) {
            let _ = from_slice::<Value>(&bytes);
        }
    }
}
