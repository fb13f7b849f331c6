//! Reading JSON that this program has written itself, in the order in which it wrote it. Whatever is otherwise is left to
//! a parser.

use memchr::{memchr, memchr2};

use crate::access::end_of_string;

/// What is left of a text.
pub(super) struct Scan<'a>(pub(super) &'a str);

impl<'a> Scan<'a> {
    /// Passes over this text, which must come next.
    #[inline]
    pub(super) fn literal(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Passes over this text if it comes next.
    #[inline]
    pub(super) fn skips(&mut self, text: &str) -> bool {
        self.literal(text).is_some()
    }

    /// A string that has no escapes, without its quotes.
    #[inline]
    pub(super) fn plain(&mut self) -> Option<&'a str> {
        self.literal("\"")?;
        let end = memchr2(b'"', b'\\', self.0.as_bytes()).filter(|end| self.0.as_bytes()[*end] == b'"')?;
        let (plain, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(plain)
    }

    /// A string with its quotes, or null.
    #[inline]
    pub(super) fn text_or_null(&mut self) -> Option<&'a str> {
        if self.0.starts_with('"') { self.text() } else { self.null() }
    }

    /// A string with its quotes.
    #[inline]
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        bytes.first().filter(|first| **first == b'"')?;
        self.take(end_of_string(bytes, 0)?)
    }

    /// A member's value; `name` is how the member begins.
    #[inline]
    pub(super) fn member(&mut self, name: &str) -> Option<&'a str> {
        self.literal(name)?;
        self.value()
    }

    /// A text, a number or a word.
    pub(super) fn simple(&mut self) -> Option<&'a str> {
        if matches!(self.0.as_bytes().first()?, b'{' | b'[') { None } else { self.value() }
    }

    /// A list of texts.
    pub(super) fn texts(&mut self) -> Option<()> {
        self.literal("[")?;
        while !self.skips("]") {
            self.text()?;
            self.skips(",");
        }
        Some(())
    }

    /// A value of any kind.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        let bytes = self.0.as_bytes();
        let (mut at, mut depth) = (0, 0_usize);
        loop {
            match bytes.get(at)? {
                b'"' => at = end_of_string(bytes, at)?,
                b'{' | b'[' => {
                    depth += 1;
                    at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    at += 1;
                }
                b',' | b':' if depth > 0 => at += 1,
                // A number or a word.
                _ => at += bytes[at..].iter().position(|byte| matches!(byte, b',' | b'}' | b']'))?.max(1),
            }
            if depth == 0 {
                return self.take(at);
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

    #[inline]
    fn null(&mut self) -> Option<&'a str> {
        self.0.starts_with("null").then(|| self.take(4))?
    }

    /// So many bytes.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) -> Option<&'a str> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    /// Passes over everything up to and including a byte.
    #[inline]
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
