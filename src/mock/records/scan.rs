//! Reading JSON that this program has written itself, in the order in which it wrote it. Whatever is otherwise is left to
//! a parser.

use memchr::{memchr, memchr2};

/// What is left of a text.
pub(super) struct Scan<'a>(pub(super) &'a str);

impl<'a> Scan<'a> {
    /// Passes over this text, which must come next.
    pub(super) fn literal(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Passes over this text if it comes next.
    pub(super) fn skips(&mut self, text: &str) -> bool {
        self.literal(text).is_some()
    }

    /// A string that has no escapes, without its quotes.
    pub(super) fn plain(&mut self) -> Option<&'a str> {
        self.literal("\"")?;
        let end = memchr2(b'"', b'\\', self.0.as_bytes()).filter(|end| self.0.as_bytes()[*end] == b'"')?;
        let (plain, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(plain)
    }

    /// A string with its quotes, or null.
    pub(super) fn text_or_null(&mut self) -> Option<&'a str> {
        if self.0.starts_with('"') { self.text() } else { self.null() }
    }

    /// A string with its quotes.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        if bytes.first() != Some(&b'"') {
            return None;
        }
        let mut at = 1;
        loop {
            at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                break;
            }
            // Whatever is escaped ends no string.
            at += 2;
        }
        let (text, rest) = self.0.split_at(at + 1);
        self.0 = rest;
        Some(text)
    }

    /// A member's value; `name` is how the member begins.
    pub(super) fn member(&mut self, name: &str) -> Option<&'a str> {
        self.literal(name)?;
        self.value()
    }

    /// The same of a member that may be missing, and is null then.
    pub(super) fn member_or_null(&mut self, name: &str) -> Option<&'a str> {
        if self.skips(name) { self.value() } else { Some("null") }
    }

    /// A value of any kind.
    fn value(&mut self) -> Option<&'a str> {
        let begin = self.0;
        let mut depth = 0_usize;
        loop {
            match self.0.as_bytes().first()? {
                b'"' => {
                    self.text()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.0 = &self.0[1..];
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.0 = &self.0[1..];
                }
                b',' | b':' if depth > 0 => self.0 = &self.0[1..],
                _ => {
                    let end = self.0.bytes().position(|byte| matches!(byte, b',' | b'}' | b']'))?;
                    self.0 = self.0.get(end.max(1)..)?;
                }
            }
            if depth == 0 {
                return begin.get(..begin.len() - self.0.len());
            }
        }
    }

    /// A list before a member whose name begins with a letter: `next` is how that begins. Inside a string a quotation mark
    /// comes after a backslash, so that a comma and a quotation mark without one stand between members or values.
    pub(super) fn list_before(&mut self, next: &str) -> Option<&'a str> {
        let list = self.0;
        self.literal("[")?;
        loop {
            self.past(b']')?;
            if self.0.starts_with(next) {
                return list.get(..list.len() - self.0.len());
            }
        }
    }

    fn null(&mut self) -> Option<&'a str> {
        let null = self.0.get(..4).filter(|text| *text == "null")?;
        self.0 = &self.0[4..];
        Some(null)
    }

    /// Passes over everything up to and including a byte.
    pub(super) fn past(&mut self, byte: u8) -> Option<()> {
        self.0 = &self.0[memchr(byte, self.0.as_bytes())? + 1..];
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for value in [
            "null",
            "true",
            "-1.5e3",
            r#""""#,
            r#""a\"b\\""#,
            "[]",
            "{}",
            r#"[1,"]",{"a":[null,"}"]}]"#,
            r#"{"a":"\\","b":{}}"#,
        ] {
            let text = format!(r#","name":{value},"next":1}}"#);
            let mut scan = Scan(&text);
            assert_eq!((scan.member(r#","name":"#), scan.0), (Some(value), r#","next":1}"#));
        }
        for broken in ["", "\"a", "[1", "]", r#"{"a":1"#, "1"] {
            assert_eq!(Scan(broken).value(), None, "{broken}");
        }
    }

    #[test]
    fn a_list_ends_before_the_member_after_it() {
        let list = r#"["a]","],","],\"next\":[","b"]"#;
        let text = format!(r#"{list},"next":[]"#);
        let mut scan = Scan(&text);
        assert_eq!((scan.list_before(r#","next":"#), scan.0), (Some(list), r#","next":[]"#));
    }
}
