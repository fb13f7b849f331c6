//! JSON that is written piece by piece, with the pieces marked that cannot contain a secret.

use std::{io, ops::Range};

/// JSON that is already written, but not yet redacted.
#[derive(Debug, Default)]
pub struct Written {
    pub(crate) text: Vec<u8>,
    /// The places of harmless pieces, in order, never adjacent.
    pub(crate) harmless: Vec<Range<usize>>,
}

impl Written {
    /// An empty text with room for this many bytes.
    #[must_use]
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), harmless: Vec::new() }
    }

    /// Writes a piece.
    pub fn push(&mut self, piece: &str) {
        self.text.extend_from_slice(piece.as_bytes());
    }

    /// Lets `write` append a piece that is not searched for secrets: it begins and ends outside of any string, and no member
    /// in it has the name of a secret.
    pub(crate) fn harmlessly(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.text.len();
        write(&mut self.text);
        let place = begin..self.text.len();
        match self.harmless.last_mut() {
            Some(last) if last.end == place.start => last.end = place.end,
            _ => self.harmless.push(place),
        }
    }

    /// Appends other JSON with its marks.
    pub fn append(&mut self, other: &Self) {
        let begin = self.text.len();
        self.text.extend_from_slice(&other.text);
        self.harmless.extend(other.harmless.iter().map(|range| range.start + begin..range.end + begin));
    }

    /// The first byte.
    pub(crate) fn first_mut(&mut self) -> Option<&mut u8> {
        self.text.first_mut()
    }
}

impl From<Vec<u8>> for Written {
    fn from(text: Vec<u8>) -> Self {
        Self { text, harmless: Vec::new() }
    }
}

/// What is written this way is searched for secrets.
impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
