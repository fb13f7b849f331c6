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
