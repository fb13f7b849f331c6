//! Extracts a few fields from a JSON text while it arrives.
//!
//! A look-up needs a few ids of a thing, but its owner decides how large the rest is: a description, a memory, the result
//! of a run. Only the fields that look-ups need are kept, so the rest takes no memory, and no size makes a look-up fail.

use memchr::memchr2;
use serde_json::Value;

/// The fields that are kept.
const FIELDS: &[&[u8]] = &[b"agent_id", b"file_id", b"files", b"has_more", b"id", b"next_cursor", b"project_id"];

/// How deep containers are kept: a page holds a list, which holds objects.
const MAX_DEPTH: usize = 3;

/// The longest string that is kept, in bytes. Ids and the names of projects are shorter. A longer string becomes an empty
/// one, which is not a valid id.
const MAX_STRING_BYTES: usize = 512;

/// The largest output, in bytes: far more than a list of a hundred things takes.
const MAX_OUTPUT_BYTES: usize = 256 * 1024;

/// The state of an extraction.
#[derive(Debug)]
pub(super) struct FieldExtractor {
    output: Vec<u8>,
    /// The lists and objects around the current position that are kept.
    containers: Vec<Container>,
    /// The depth within a value that is skipped; 0 outside of one.
    skipped_depth: usize,
    /// Whether the next value is kept.
    is_value_kept: bool,
    /// The current field's name, cut where it is longer than all of [`FIELDS`].
    name: Vec<u8>,
    token: Token,
}

/// A list or an object that is kept.
#[derive(Debug)]
struct Container {
    /// The byte that closes it.
    end: u8,
    is_empty: bool,
    expects_name: bool,
}

/// The token that the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Token {
    Nothing,
    /// A number, `true`, `false` or `null`.
    Word,
    String {
        part: StringPart,
        /// Whether a backslash escapes the next byte.
        is_escaped: bool,
    },
}

/// What a string is.
#[derive(Clone, Copy, Debug)]
enum StringPart {
    /// The name of a field.
    Name,
    /// A value that is kept, from this position of the output on.
    Kept(usize),
    /// A value that is dropped. If it is started, the output contains its opening quote.
    Dropped { is_started: bool },
}

/// The text cannot be extracted from.
#[derive(Debug, thiserror::Error)]
#[error("the response to a look-up is {0}")]
pub(super) struct Unreadable(&'static str);

const NOT_JSON: Unreadable = Unreadable("not JSON");

impl FieldExtractor {
    pub(super) fn new() -> Self {
        let (output, containers, name) = (Vec::new(), Vec::new(), Vec::new());
        Self { output, containers, skipped_depth: 0, is_value_kept: true, name, token: Token::Nothing }
    }

    /// Reads the next piece of the text.
    ///
    /// # Errors
    /// When the text is not JSON, or the output becomes too large.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Unreadable> {
        while let Some(&byte) = bytes.first() {
            let count = match self.token {
                Token::String { part, is_escaped } => self.read_string(part, is_escaped, bytes),
                Token::Word if !matches!(byte, b',' | b':' | b'"' | b'[' | b']' | b'{' | b'}') => self.read_word(byte),
                Token::Word | Token::Nothing => {
                    self.token = Token::Nothing;
                    self.begin(byte)?
                }
            };
            bytes = &bytes[count..];
        }
        if self.output.len() > MAX_OUTPUT_BYTES { Err(Unreadable("too large")) } else { Ok(()) }
    }

    /// The extracted fields.
    ///
    /// # Errors
    /// When the text is not JSON, or is incomplete.
    pub(super) fn finish(self) -> Result<Value, Unreadable> {
        let is_whole =
            self.containers.is_empty() && self.skipped_depth == 0 && !matches!(self.token, Token::String { .. });
        serde_json::from_slice(&self.output).ok().filter(|_| is_whole).ok_or(NOT_JSON)
    }

    /// Reads a byte between tokens, or the first byte of one. Returns how many bytes were read.
    fn begin(&mut self, byte: u8) -> Result<usize, Unreadable> {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' => self.begin_string(),
            _ if self.skipped_depth > 0 => match byte {
                b'[' | b'{' => self.skipped_depth += 1,
                b']' | b'}' => self.skipped_depth -= 1,
                _ => {}
            },
            b'[' | b'{' if self.is_value_kept && self.containers.len() < MAX_DEPTH => {
                self.begin_value();
                self.output.push(byte);
                let is_object = byte == b'{';
                let end = if is_object { b'}' } else { b']' };
                self.containers.push(Container { end, is_empty: true, expects_name: is_object });
                self.is_value_kept = true;
            }
            b'[' | b'{' => {
                self.keep_scalar(b"null");
                self.skipped_depth = 1;
            }
            b']' | b'}' => {
                self.containers.pop().filter(|container| container.end == byte).ok_or(NOT_JSON)?;
                self.output.push(byte);
                self.is_value_kept = true;
            }
            b',' => {
                let container = self.containers.last_mut().ok_or(NOT_JSON)?;
                container.expects_name = container.end == b'}';
                self.is_value_kept = true;
            }
            b':' => {
                let container =
                    self.containers.last_mut().filter(|container| container.expects_name).ok_or(NOT_JSON)?;
                container.expects_name = false;
                self.is_value_kept = FIELDS.contains(&self.name.as_slice());
            }
            _ => {
                self.keep_scalar(&[byte]);
                self.token = Token::Word;
            }
        }
        Ok(1)
    }

    fn begin_string(&mut self) {
        let is_name = self.containers.last().is_some_and(|container| container.expects_name);
        let part = if self.skipped_depth > 0 || (!is_name && !self.is_value_kept) {
            StringPart::Dropped { is_started: false }
        } else if is_name {
            self.name.clear();
            StringPart::Name
        } else {
            self.begin_value();
            self.output.push(b'"');
            StringPart::Kept(self.output.len())
        };
        self.token = Token::String { part, is_escaped: false };
    }

    /// Reads more of a string, up to the next quote or backslash. Returns how many bytes were read.
    fn read_string(&mut self, mut part: StringPart, is_escaped: bool, bytes: &[u8]) -> usize {
        let special = if is_escaped { None } else { memchr2(b'"', b'\\', bytes) };
        let count = match special {
            _ if is_escaped => 1,
            Some(0) => 1,
            Some(position) => position,
            None => bytes.len(),
        };
        let read = &bytes[..count];
        let ends = special == Some(0) && read == b"\"";
        match part {
            StringPart::Name if !ends => {
                // No kept field has a name this long, so a longer one may be cut.
                let room = 32_usize.saturating_sub(self.name.len());
                self.name.extend_from_slice(&read[..count.min(room)]);
            }
            StringPart::Kept(start) if !ends && self.output.len() - start + count > MAX_STRING_BYTES => {
                self.output.truncate(start);
                part = StringPart::Dropped { is_started: true };
            }
            StringPart::Kept(_) => self.output.extend_from_slice(read),
            StringPart::Dropped { is_started: true } if ends => self.output.push(b'"'),
            StringPart::Name | StringPart::Dropped { .. } => {}
        }
        let is_escaped = special == Some(0) && read == b"\\";
        self.token = if ends { Token::Nothing } else { Token::String { part, is_escaped } };
        count
    }

    fn read_word(&mut self, byte: u8) -> usize {
        if self.is_value_kept {
            self.output.push(byte);
        }
        1
    }

    /// Writes a value, if the next one is kept.
    fn keep_scalar(&mut self, value: &[u8]) {
        if self.is_value_kept {
            self.begin_value();
            self.output.extend_from_slice(value);
        }
    }

    /// Writes what precedes a value: a comma, and the name of its field.
    fn begin_value(&mut self) {
        let Some(container) = self.containers.last_mut() else { return };
        if !container.is_empty {
            self.output.push(b',');
        }
        container.is_empty = false;
        if container.end == b'}' {
            self.output.push(b'"');
            self.output.extend_from_slice(&self.name);
            self.output.extend_from_slice(b"\":");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn extract<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Value, Unreadable> {
        let mut extractor = FieldExtractor::new();
        pieces.into_iter().try_for_each(|piece| extractor.read(piece))?;
        extractor.finish()
    }

    /// The expected result for a parsed value.
    fn expected(value: &Value, depth: usize) -> Value {
        match value {
            Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => Value::Null,
            Value::Array(items) => items.iter().map(|item| expected(item, depth + 1)).collect(),
            Value::Object(fields) => {
                let kept = fields.iter().filter(|(name, _)| FIELDS.contains(&name.as_bytes()));
                Value::Object(
                    kept.map(|(name, value)| (name.clone(), expected(value, depth + 1))).collect::<Map<_, _>>(),
                )
            }
            Value::String(text) if value.to_string().len() - 2 > MAX_STRING_BYTES => json!(text[..0]),
            _ => value.clone(),
        }
    }

    #[test]
    fn only_the_listed_fields_are_kept() {
        let state = json!({"description": "x", "id": "agent-1", "metadata": {"id": "x", "project_id": ["y"]},
            "message_ids": ["a"], "project_id": null, "tags": [], "blocks": [{"id": "z"}], "hidden": false, "limit": -1.5e3});
        assert_eq!(extract([state.to_string().as_bytes()]).unwrap(), json!({"id": "agent-1", "project_id": null}));
        let page = json!({"files": [{"file_id": "f", "visible_content": "x"}, {"file_id": "g"}], "has_more": true, "next_cursor": "c"});
        let output = json!({"files": [{"file_id": "f"}, {"file_id": "g"}], "has_more": true, "next_cursor": "c"});
        assert_eq!(extract([page.to_string().as_bytes()]).unwrap(), output);
        for whole in [json!(["a", "b\"\\ü"]), json!([]), json!({}), json!(null), json!(12), json!("x")] {
            assert_eq!(extract([whole.to_string().as_bytes()]).unwrap(), whole);
        }
    }

    #[test]
    fn a_name_with_an_escape_or_other_case_is_not_kept() {
        for text in [r#"{"\u0069d":"x"}"#, r#"{"ID":"x"}"#, r#"{"id ":"x"}"#, r#"{"i\"d":"x"}"#] {
            assert_eq!(extract([text.as_bytes()]).unwrap(), json!({}), "{text}");
        }
    }

    #[test]
    fn large_values_take_no_memory() {
        let mut extractor = FieldExtractor::new();
        extractor.read(br#"[{"id":"a","text":""#).unwrap();
        for _ in 0..64 {
            extractor.read(&b"x".repeat(64 * 1024)).unwrap();
        }
        extractor.read(br#"","embedding":["#).unwrap();
        for _ in 0..64 {
            extractor.read(&b"[1.5,".repeat(1024)).unwrap();
            extractor.read(&b"0],".repeat(1024)).unwrap();
        }
        extractor.read(br#"0],"agent_id":"b"}]"#).unwrap();
        assert!(extractor.output.capacity() < 1024, "{}", extractor.output.capacity());
        assert_eq!(extractor.finish().unwrap(), json!([{"id": "a", "agent_id": "b"}]));
    }

    #[test]
    fn malformed_and_too_large_texts_are_refused() {
        for text in ["", "<html>", "{", "[1", "{} {}", "]", "{]", "[1}", "\"x", "{\"a\":[}", ",", ":"] {
            assert!(extract([text.as_bytes()]).is_err(), "{text}");
        }
        let many = format!("[{}]", vec!["\"agent-123e4567-e89b-42d3-8456-426614174000\""; 10_000].join(","));
        assert!(extract(many.as_bytes().chunks(1000)).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["[a-z\"\\\\\n üé{}\\[\\],:]{0,8}", "[a\"]{500,520}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        let name = prop_oneof!["id", "project_id", "files", "[a-z\"\\\\]{0,6}", "[a-z]{30,40}"];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((name.clone(), inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_how_the_text_is_split(value in any_json(), is_spaced: bool, size in 1_usize..40) {
            let text = if is_spaced { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            prop_assert_eq!(extract(text.as_bytes().chunks(size)).unwrap(), expected(&value, 0));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in "[\\[\\]{}:,\"\\\\ ida1]{0,30}", size in 1_usize..9) {
            let _ = extract(bytes.as_bytes().chunks(size));
        }
    }
}
