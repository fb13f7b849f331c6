//! The answer to a look-up, read while it arrives.
//!
//! What a thing holds may be as large as its owner made it: a description, a memory, the result of a run. Whose it is takes
//! a few ids. Only those fields are kept that look-ups read, so the size of the rest decides neither what an answer costs
//! nor whether it can be read.

use memchr::memchr2;
use serde_json::Value;

/// The fields that look-ups read.
const READ: &[&[u8]] = &[b"agent_id", b"file_id", b"files", b"has_more", b"id", b"next_cursor", b"project_id"];

/// The deepest that look-ups read: an object of the list that a page holds.
const DEEPEST: usize = 3;

/// The longest text that is kept; ids and the names of projects are shorter. A longer one is kept as an empty text, which
/// is no id of anything.
const LONGEST_TEXT: usize = 512;

/// The most that is kept: far more than a list of a hundred things takes.
const MOST_KEPT: usize = 256 * 1024;

/// What is kept of one JSON text.
#[derive(Debug)]
pub(super) struct Digest {
    kept: Vec<u8>,
    /// The lists and objects that are open and kept.
    open: Vec<Open>,
    /// How many lists and objects are open within a value that is passed over.
    passed_over: usize,
    /// Whether the value that comes is to be kept.
    is_wanted: bool,
    /// The name of the field that is read, as far as it can matter.
    name: Vec<u8>,
    token: Token,
}

/// A list or an object of which something is kept.
#[derive(Debug)]
struct Open {
    end: u8,
    is_empty: bool,
    expects_name: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Token {
    Nothing,
    /// A number or a word.
    Word,
    Text {
        part: Part,
        /// Whether the byte before was a backslash that escapes this one.
        is_escaped: bool,
    },
}

/// What a text is.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// The name of a field.
    Name,
    /// A value that is kept, from this place on.
    Kept(usize),
    /// A value of which nothing more is kept. It was begun if it was to be.
    Dropped { was_begun: bool },
}

/// Not the JSON that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("a look-up was answered with {0}")]
pub(super) struct Unreadable(&'static str);

const NOT_JSON: Unreadable = Unreadable("something that is not JSON");

impl Digest {
    pub(super) fn new() -> Self {
        let (kept, open, name) = (Vec::new(), Vec::new(), Vec::new());
        Self { kept, open, passed_over: 0, is_wanted: true, name, token: Token::Nothing }
    }

    /// Reads on.
    ///
    /// # Errors
    /// When this cannot be JSON, or when there is too much to keep.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Unreadable> {
        while let Some(&byte) = bytes.first() {
            let count = match self.token {
                Token::Text { part, is_escaped } => self.text(part, is_escaped, bytes),
                Token::Word if !matches!(byte, b',' | b':' | b'"' | b'[' | b']' | b'{' | b'}') => self.word(byte),
                Token::Word | Token::Nothing => {
                    self.token = Token::Nothing;
                    self.begin(byte)?
                }
            };
            bytes = &bytes[count..];
        }
        if self.kept.len() > MOST_KEPT { Err(Unreadable("more than can be kept")) } else { Ok(()) }
    }

    /// What was kept.
    ///
    /// # Errors
    /// When this was not JSON, or not all of it.
    pub(super) fn finish(self) -> Result<Value, Unreadable> {
        let is_whole = self.open.is_empty() && self.passed_over == 0 && !matches!(self.token, Token::Text { .. });
        serde_json::from_slice(&self.kept).ok().filter(|_| is_whole).ok_or(NOT_JSON)
    }

    /// Reads what stands between tokens, or begins one. Returns how many bytes were read.
    fn begin(&mut self, byte: u8) -> Result<usize, Unreadable> {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' => self.begin_text(),
            _ if self.passed_over > 0 => match byte {
                b'[' | b'{' => self.passed_over += 1,
                b']' | b'}' => self.passed_over -= 1,
                _ => {}
            },
            b'[' | b'{' if self.is_wanted && self.open.len() < DEEPEST => {
                self.separate();
                self.kept.push(byte);
                let is_object = byte == b'{';
                let end = if is_object { b'}' } else { b']' };
                self.open.push(Open { end, is_empty: true, expects_name: is_object });
                self.is_wanted = true;
            }
            b'[' | b'{' => {
                self.keep_instead(b"null");
                self.passed_over = 1;
            }
            b']' | b'}' => {
                self.open.pop().filter(|open| open.end == byte).ok_or(NOT_JSON)?;
                self.kept.push(byte);
                // What follows in an object has a name first.
                self.is_wanted = true;
            }
            b',' => {
                let open = self.open.last_mut().ok_or(NOT_JSON)?;
                open.expects_name = open.end == b'}';
                self.is_wanted = true;
            }
            b':' => {
                let open = self.open.last_mut().filter(|open| open.expects_name).ok_or(NOT_JSON)?;
                open.expects_name = false;
                self.is_wanted = READ.contains(&self.name.as_slice());
            }
            _ => {
                self.keep_instead(&[byte]);
                self.token = Token::Word;
            }
        }
        Ok(1)
    }

    fn begin_text(&mut self) {
        let is_name = self.open.last().is_some_and(|open| open.expects_name);
        let part = if self.passed_over > 0 || (!is_name && !self.is_wanted) {
            Part::Dropped { was_begun: false }
        } else if is_name {
            self.name.clear();
            Part::Name
        } else {
            self.separate();
            self.kept.push(b'"');
            Part::Kept(self.kept.len())
        };
        self.token = Token::Text { part, is_escaped: false };
    }

    /// Reads on in a text, up to what may end it. Returns how many bytes were read.
    fn text(&mut self, mut part: Part, is_escaped: bool, bytes: &[u8]) -> usize {
        let special = if is_escaped { None } else { memchr2(b'"', b'\\', bytes) };
        let count = match special {
            _ if is_escaped => 1,
            Some(0) => 1,
            Some(plain) => plain,
            None => bytes.len(),
        };
        let read = &bytes[..count];
        let ends = special == Some(0) && read == b"\"";
        match part {
            Part::Name if !ends => {
                // Longer than any that is read, it is none of them, wherever it is cut.
                let room = 32_usize.saturating_sub(self.name.len());
                self.name.extend_from_slice(&read[..count.min(room)]);
            }
            Part::Kept(start) if !ends && self.kept.len() - start + count > LONGEST_TEXT => {
                self.kept.truncate(start);
                part = Part::Dropped { was_begun: true };
            }
            Part::Kept(_) => self.kept.extend_from_slice(read),
            Part::Dropped { was_begun: true } if ends => self.kept.push(b'"'),
            Part::Name | Part::Dropped { .. } => {}
        }
        let is_escaped = special == Some(0) && read == b"\\";
        self.token = if ends { Token::Nothing } else { Token::Text { part, is_escaped } };
        count
    }

    fn word(&mut self, byte: u8) -> usize {
        if self.is_wanted {
            self.kept.push(byte);
        }
        1
    }

    /// Keeps this for the value that comes, if one is wanted.
    fn keep_instead(&mut self, value: &[u8]) {
        if self.is_wanted {
            self.separate();
            self.kept.extend_from_slice(value);
        }
    }

    /// Writes what stands before a value that is kept: a comma, and its name.
    fn separate(&mut self) {
        let Some(open) = self.open.last_mut() else { return };
        if !open.is_empty {
            self.kept.push(b',');
        }
        open.is_empty = false;
        if open.end == b'}' {
            self.kept.push(b'"');
            self.kept.extend_from_slice(&self.name);
            self.kept.extend_from_slice(b"\":");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn digest<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Value, Unreadable> {
        let mut digest = Digest::new();
        pieces.into_iter().try_for_each(|piece| digest.read(piece))?;
        digest.finish()
    }

    /// The same of a value that is in memory.
    fn expected(value: &Value, depth: usize) -> Value {
        match value {
            Value::Array(_) | Value::Object(_) if depth >= DEEPEST => Value::Null,
            Value::Array(items) => items.iter().map(|item| expected(item, depth + 1)).collect(),
            Value::Object(fields) => {
                let read = fields.iter().filter(|(name, _)| READ.contains(&name.as_bytes()));
                Value::Object(
                    read.map(|(name, value)| (name.clone(), expected(value, depth + 1))).collect::<Map<_, _>>(),
                )
            }
            Value::String(text) if value.to_string().len() - 2 > LONGEST_TEXT => json!(text[..0]),
            _ => value.clone(),
        }
    }

    #[test]
    fn what_is_read_is_kept_and_nothing_else() {
        let state = json!({"description": "x", "id": "agent-1", "metadata": {"id": "x", "project_id": ["y"]},
            "message_ids": ["a"], "project_id": null, "tags": [], "blocks": [{"id": "z"}], "hidden": false, "limit": -1.5e3});
        assert_eq!(digest([state.to_string().as_bytes()]).unwrap(), json!({"id": "agent-1", "project_id": null}));
        let page = json!({"files": [{"file_id": "f", "visible_content": "x"}, {"file_id": "g"}], "has_more": true, "next_cursor": "c"});
        let kept = json!({"files": [{"file_id": "f"}, {"file_id": "g"}], "has_more": true, "next_cursor": "c"});
        assert_eq!(digest([page.to_string().as_bytes()]).unwrap(), kept);
        for whole in [json!(["a", "b\"\\ü"]), json!([]), json!({}), json!(null), json!(12), json!("x")] {
            assert_eq!(digest([whole.to_string().as_bytes()]).unwrap(), whole);
        }
    }

    #[test]
    fn a_name_that_is_written_otherwise_is_not_read() {
        for text in [r#"{"\u0069d":"x"}"#, r#"{"ID":"x"}"#, r#"{"id ":"x"}"#, r#"{"i\"d":"x"}"#] {
            assert_eq!(digest([text.as_bytes()]).unwrap(), json!({}), "{text}");
        }
    }

    #[test]
    fn what_is_large_takes_no_room() {
        let mut digest = Digest::new();
        digest.read(br#"[{"id":"a","text":""#).unwrap();
        for _ in 0..64 {
            digest.read(&b"x".repeat(64 * 1024)).unwrap();
        }
        digest.read(br#"","embedding":["#).unwrap();
        for _ in 0..64 {
            digest.read(&b"[1.5,".repeat(1024)).unwrap();
            digest.read(&b"0],".repeat(1024)).unwrap();
        }
        digest.read(br#"0],"agent_id":"b"}]"#).unwrap();
        assert!(digest.kept.capacity() < 1024, "{}", digest.kept.capacity());
        assert_eq!(digest.finish().unwrap(), json!([{"id": "a", "agent_id": "b"}]));
    }

    #[test]
    fn what_is_not_json_or_too_much_is_no_answer() {
        for text in ["", "<html>", "{", "[1", "{} {}", "]", "{]", "[1}", "\"x", "{\"a\":[}", ",", ":"] {
            assert!(digest([text.as_bytes()]).is_err(), "{text}");
        }
        let many = format!("[{}]", vec!["\"agent-123e4567-e89b-42d3-8456-426614174000\""; 10_000].join(","));
        assert!(digest(many.as_bytes().chunks(1000)).is_err());
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
        fn wherever_it_is_cut_the_same_is_kept(value in any_json(), is_spaced: bool, size in 1_usize..40) {
            let text = if is_spaced { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            prop_assert_eq!(digest(text.as_bytes().chunks(size)).unwrap(), expected(&value, 0));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in "[\\[\\]{}:,\"\\\\ ida1]{0,30}", size in 1_usize..9) {
            let _ = digest(bytes.as_bytes().chunks(size));
        }
    }
}
