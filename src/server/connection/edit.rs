//! Changes the bytes of a response below HTTP, as a fault of a test says.

use bytes::Bytes;
use memchr::memmem;

use crate::faults::wire::{Change, Edit};

/// What stands where the length of a chunk should.
const NO_NUMBER: &[u8] = b"zz";

/// Changes one response in the bytes that are written.
#[derive(Debug)]
pub(super) struct Editor {
    mark: Bytes,
    change: Change,
    /// Whether the head has passed.
    is_past_head: bool,
    /// What is not passed on yet.
    held: Vec<u8>,
}

impl Editor {
    pub(super) fn new(edit: Edit) -> Self {
        let Edit { mark, change } = edit;
        Self { mark, change, is_past_head: false, held: Vec::new() }
    }

    /// Takes written bytes and appends what is to be sent to `out`. Returns whether the change is made.
    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        self.held.extend_from_slice(bytes);
        if !self.is_past_head && !self.pass_head(out) {
            return false;
        }
        match self.change {
            Change::Length(_) => {}
            Change::Chunk => {
                let Some(end) = memmem::find(&self.held, b"\r\n") else { return false };
                out.extend_from_slice(NO_NUMBER);
                self.held.drain(..end);
            }
        }
        out.append(&mut self.held);
        true
    }

    /// Passes the head on. It is written at once, but the end of another response may be written before it.
    fn pass_head(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(mark) = memmem::find(&self.held, &self.mark) else { return false };
        let Some(length) = memmem::find(&self.held[mark..], b"\r\n\r\n") else { return false };
        let end = mark + length + 4;
        let begin = memmem::rfind(&self.held[..mark], b"HTTP/1.1 ").unwrap_or(0);
        if let Change::Length(difference) = self.change {
            self.change_length(begin, end, difference);
        }
        let end = memmem::find(&self.held[mark..], b"\r\n\r\n").map_or(end, |length| mark + length + 4);
        out.extend(self.held.drain(..end.min(self.held.len())));
        self.is_past_head = true;
        true
    }

    fn change_length(&mut self, begin: usize, end: usize, difference: i64) {
        const NAME: &[u8] = b"\r\ncontent-length: ";
        let head = self.held[begin..end].to_ascii_lowercase();
        let Some(at) = memmem::find(&head, NAME).map(|at| begin + at + NAME.len()) else { return };
        let length = memchr::memchr(b'\r', &self.held[at..]).unwrap_or(0);
        let declared = std::str::from_utf8(&self.held[at..at + length]).ok().and_then(|text| text.parse::<i64>().ok());
        let Some(declared) = declared else { return };
        let changed = declared.saturating_add(difference).max(0).to_string();
        self.held.splice(at..at + length, changed.into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &[u8] = b"end of another\r\n";
    const SIZED: &[u8] =
        b"HTTP/1.1 200 OK\r\nx-request-id: req-1\r\nContent-Length: 12\r\nx: y\r\n\r\n{\"a\":\"1234\"}";
    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-request-id: req-1\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

    #[test]
    fn one_response_is_changed_wherever_its_bytes_are_cut() {
        let sized = |length: &str| {
            String::from_utf8(SIZED.to_vec()).unwrap().replace("Length: 12", &format!("Length: {length}")).into_bytes()
        };
        let chunked = String::from_utf8(CHUNKED.to_vec()).unwrap().replace("\r\n3\r\n", "\r\nzz\r\n").into_bytes();
        for (change, response, expected) in [
            (Change::Length(10), SIZED, sized("22")),
            (Change::Length(-10), SIZED, sized("2")),
            (Change::Length(-100), SIZED, sized("0")),
            (Change::Chunk, CHUNKED, chunked),
        ] {
            let written = [BEFORE, response].concat();
            for size in 1..=written.len() {
                let edit = Edit { mark: Bytes::from_static(b"req-1"), change };
                let (mut editor, mut out, mut is_done) = (Editor::new(edit), Vec::new(), false);
                for piece in written.chunks(size) {
                    if is_done {
                        out.extend_from_slice(piece);
                    } else {
                        is_done = editor.pass(piece, &mut out);
                    }
                }
                assert!(is_done, "{change:?} in pieces of {size}");
                let expected = [BEFORE, &*expected].concat();
                assert_eq!(String::from_utf8(out).unwrap(), String::from_utf8(expected).unwrap(), "{change:?} {size}");
            }
        }
    }
}
