//! JSON that is written piece by piece, by someone who knows of some pieces that no secret is in them.

use std::{io, iter, ops::Range};

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

    /// Writes pieces that nobody looks through: together they begin and end outside of any string, and no member in them
    /// has a name that secrets have.
    pub fn push_harmless(&mut self, pieces: &[&str]) {
        self.harmlessly(|text| pieces.iter().for_each(|piece| text.extend_from_slice(piece.as_bytes())));
    }

    /// Writes a piece of which only some places are looked through; these are in order.
    pub fn push_marked(&mut self, piece: &str, places: &[Range<usize>]) {
        let begin = self.text.len();
        self.push(piece);
        let ends = places.iter().map(|place| place.end);
        let starts = places.iter().map(|place| place.start);
        for (from, to) in iter::once(0).chain(ends).zip(starts.chain([piece.len()])) {
            self.mark_harmless(begin + from..begin + to);
        }
    }

    /// The same as [`Self::push_harmless`] of what `write` appends.
    pub fn harmlessly(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.text.len();
        write(&mut self.text);
        self.mark_harmless(begin..self.text.len());
    }

    fn mark_harmless(&mut self, place: Range<usize>) {
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

    /// Writes a member after another.
    pub fn push_member(&mut self, name: &str, value: &str) {
        for piece in [",\"", name, "\":", value] {
            self.push(piece);
        }
    }

    /// Its first byte.
    pub fn first_mut(&mut self) -> Option<&mut u8> {
        self.text.first_mut()
    }

    /// All of it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
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
