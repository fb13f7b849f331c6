//! JSON that is written piece by piece, by someone who knows of some pieces that no secret is in them.

use std::{io, ops::Range};

/// JSON that is written already. What a client token must not see is still in it.
#[derive(Debug, Default)]
pub struct Written {
    pub(crate) text: Vec<u8>,
    /// The places of harmless pieces, in their order and apart from each other.
    pub(crate) harmless: Vec<Range<usize>>,
}

impl Written {
    /// Nothing yet, with room for so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), harmless: Vec::new() }
    }

    /// Writes a piece.
    pub fn push(&mut self, piece: &str) {
        self.text.extend_from_slice(piece.as_bytes());
    }

    /// Lets `write` append a piece that nobody looks through: it begins and ends outside of any string, and no member in it
    /// has a name that secrets have.
    pub fn harmlessly(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.text.len();
        write(&mut self.text);
        let place = begin..self.text.len();
        match self.harmless.last_mut() {
            Some(last) if last.end == place.start => last.end = place.end,
            _ => self.harmless.push(place),
        }
    }

    /// Writes JSON after JSON.
    pub fn append(&mut self, other: &Self) {
        let begin = self.text.len();
        self.text.extend_from_slice(&other.text);
        self.harmless.extend(other.harmless.iter().map(|range| range.start + begin..range.end + begin));
    }

    /// Its first byte.
    pub fn first_mut(&mut self) -> Option<&mut u8> {
        self.text.first_mut()
    }
}

impl From<Vec<u8>> for Written {
    fn from(text: Vec<u8>) -> Self {
        Self { text, harmless: Vec::new() }
    }
}

/// What is written this way is looked through.
impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
