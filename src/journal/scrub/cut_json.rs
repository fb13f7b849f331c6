//! JSON of which only the beginning is known.

use serde_json::Value;

/// The value that the beginning of a JSON text has: what is incomplete is left out, but a string is kept as far as it goes.
/// `None` if it does not begin as JSON.
pub(super) fn closed(text: &str) -> Option<Value> {
    let mut scanner = Scanner::default();
    for (index, byte) in text.bytes().enumerate() {
        scanner.scan(index, byte);
    }
    let (end, depth, closes_string) = scanner.end();
    let mut whole = text.get(..end)?.to_owned();
    if closes_string {
        whole.push('"');
    }
    whole.extend(scanner.containers[..depth].iter().rev().map(|container| char::from(container.close)));
    serde_json::from_str(&whole).ok()
}

#[derive(Default)]
struct Scanner {
    containers: Vec<Container>,
    string: Option<Text>,
    /// Whether a number or a word such as `true` has begun.
    in_scalar: bool,
    /// Where the text may be cut, and how many containers are open there.
    safe: (usize, usize),
}

struct Container {
    close: u8,
    /// Whether a value may follow: always in a list, in an object after the colon.
    takes_value: bool,
}

struct Text {
    /// Whether it is the value of something, not a name.
    is_value: bool,
    /// Where the last complete character or escape ends.
    complete: usize,
    /// How many bytes of an escape are missing; of `\uXXXX` 4 after the `u`.
    escape: u8,
    /// Whether the next byte says which escape it is.
    is_escaped: bool,
}

impl Scanner {
    fn scan(&mut self, index: usize, byte: u8) {
        if let Some(string) = &mut self.string {
            if string.is_escaped {
                string.is_escaped = false;
                string.escape = if byte == b'u' { 4 } else { 0 };
            } else if string.escape > 0 {
                string.escape -= 1;
            } else if byte == b'\\' {
                string.is_escaped = true;
            } else if byte == b'"' {
                let is_value = string.is_value;
                self.string = None;
                if is_value {
                    self.safe = (index + 1, self.containers.len());
                }
                return;
            }
            if !string.is_escaped && string.escape == 0 {
                string.complete = index + 1;
            }
            return;
        }
        if self.in_scalar && (byte.is_ascii_whitespace() || matches!(byte, b',' | b'}' | b']')) {
            self.in_scalar = false;
            self.safe = (index, self.containers.len());
        }
        match byte {
            b'"' => {
                let is_value = self.containers.last().is_none_or(|container| container.takes_value);
                self.string = Some(Text { is_value, complete: index + 1, escape: 0, is_escaped: false });
            }
            b'{' | b'[' => {
                self.containers.push(Container { close: byte + 2, takes_value: byte == b'[' });
                self.safe = (index + 1, self.containers.len());
            }
            b'}' | b']' => {
                self.containers.pop();
                self.safe = (index + 1, self.containers.len());
            }
            b':' => self.takes_value(true),
            b',' => self.takes_value(false),
            byte if byte.is_ascii_whitespace() => {}
            _ => self.in_scalar = true,
        }
    }

    fn takes_value(&mut self, takes: bool) {
        if let Some(container) = self.containers.last_mut().filter(|container| container.close == b'}') {
            container.takes_value = takes;
        }
    }

    /// Where the text is cut, how many containers are closed there, and whether a string is closed first.
    fn end(&self) -> (usize, usize, bool) {
        match &self.string {
            Some(string) if string.is_value => (string.complete, self.containers.len(), true),
            _ => (self.safe.0, self.safe.1, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_beginning_is_closed() {
        for (text, expected) in [
            ("{", json!({})),
            (r#"{"a"#, json!({})),
            (r#"{"a":"#, json!({})),
            (r#"{"a":"b"#, json!({"a": "b"})),
            (r#"{"a":"b\"#, json!({"a": "b"})),
            (r#"{"a":"b\u00"#, json!({"a": "b"})),
            (r#"{"a":"b\"c"#, json!({"a": "b\"c"})),
            (r#"{"a":1"#, json!({})),
            (r#"{"a":1,"#, json!({"a": 1})),
            ("[1, 23, tr", json!([1, 23])),
            (r#"[{"a": [true"#, json!([{"a": []}])),
            (r#"[{"a": [true ], "b"#, json!([{"a": [true]}])),
            (r#""abc"#, json!("abc")),
            (r#"{"a": {"b": "c"}, "d": ["e", "f"#, json!({"a": {"b": "c"}, "d": ["e", "f"]})),
        ] {
            assert_eq!(closed(text), Some(expected), "{text}");
        }
        for text in ["", "abc", "}{", "[}", "{]"] {
            assert_eq!(closed(text), None, "{text}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a:,\"\\\\{}\\[\\] é]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(("[a\"\\\\é]{0,3}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_beginning_of_a_list_or_object_is_json(value in any_json(), cut in 0_usize..400) {
            let text = json!([value]).to_string();
            let mut cut = cut.clamp(1, text.len());
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            prop_assert!(closed(&text[..cut]).is_some(), "{}", &text[..cut]);
        }
    }
}
