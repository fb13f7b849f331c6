//! JSON that is written piece by piece, with the pieces marked that cannot contain a secret.

use std::{io, iter, ops::Range};

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

    /// Writes pieces that are not searched for secrets: together they begin and end outside of any string, and no member
    /// in them has the name of a secret.
    pub(crate) fn push_harmless(&mut self, pieces: &[&str]) {
        self.harmlessly(|text| pieces.iter().for_each(|piece| text.extend_from_slice(piece.as_bytes())));
    }

    /// Writes a piece of which only these places, in order, are searched for secrets.
    pub(crate) fn push_marked(&mut self, piece: &str, places: &[Range<usize>]) {
        let begin = self.text.len();
        self.push(piece);
        let ends = places.iter().map(|place| place.end);
        let starts = places.iter().map(|place| place.start);
        for (from, to) in iter::once(0).chain(ends).zip(starts.chain([piece.len()])) {
            self.mark_harmless(begin + from..begin + to);
        }
    }

    /// As [`Self::push_harmless`], for what `write` appends.
    pub(crate) fn harmlessly(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
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

    /// Appends other JSON with its marks.
    pub fn append(&mut self, other: &Self) {
        let begin = self.text.len();
        self.text.extend_from_slice(&other.text);
        self.harmless.extend(other.harmless.iter().map(|range| range.start + begin..range.end + begin));
    }

    /// Writes a member after at least one other.
    pub(crate) fn push_member(&mut self, name: &str, value: &str) {
        for piece in [",\"", name, "\":", value] {
            self.push(piece);
        }
    }

    /// The first byte.
    pub(crate) fn first_mut(&mut self) -> Option<&mut u8> {
        self.text.first_mut()
    }

    /// The whole text.
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
