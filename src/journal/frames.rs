//! The events of a stream, as they went over the wire.

use std::collections::HashMap;

use memchr::memmem;
use serde::Serialize;
use serde_json::Value;

use super::scrub;

/// About what a frame takes besides its text, in bytes.
const FRAME_OVERHEAD: usize = 64;

/// The frames of one response that are kept: the first ones, up to a bound.
#[derive(Debug, Default)]
pub(super) struct Frames {
    kept: Vec<Frame>,
    bytes: usize,
    is_full: bool,
}

#[derive(Debug)]
struct Frame {
    ms: u64,
    bytes: usize,
    text: Box<str>,
}

/// A frame as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FrameView {
    /// Its number in the stream, from 0.
    n: usize,
    /// When it was handed over, in milliseconds after the request arrived.
    ms: u64,
    /// Its length, with the blank line that ends it.
    bytes: usize,
    /// The type of message in it, else the name of its event; `done` for the end, `comment` for a comment.
    r#type: Option<String>,
    /// Its data: JSON where it is JSON, else text.
    data: Value,
}

impl Frames {
    /// Keeps a frame if there is room; a frame after one that was not kept is not kept either. Returns how many bytes it
    /// takes.
    pub(super) fn keep(&mut self, ms: u64, frame: &[u8], bound: usize) -> usize {
        let size = frame.len() + FRAME_OVERHEAD;
        self.is_full |= self.bytes + size > bound;
        if self.is_full {
            return 0;
        }
        let text = String::from_utf8_lossy(frame);
        let text = scrub::text(text.trim_end_matches(['\n', '\r'])).into();
        self.kept.push(Frame { ms, bytes: frame.len(), text });
        self.bytes += size;
        size
    }

    /// The frames as they are shown. A text that is streamed in pieces may have a credential in several of them.
    pub(super) fn view(&self) -> Vec<FrameView> {
        let view = |(n, frame): (usize, &Frame)| {
            let (r#type, data) = read(&frame.text);
            FrameView { n, ms: frame.ms, bytes: frame.bytes, r#type, data }
        };
        let mut views: Vec<FrameView> = self.kept.iter().enumerate().map(view).collect();
        remove_split_credentials(&mut views);
        views
    }
}

/// The type and the data of an event (HTML standard, section 9.2.6).
fn read(text: &str) -> (Option<String>, Value) {
    let (mut event, mut data, mut comment) = (None, None::<String>, None);
    // Lines end in a line feed, a carriage return, or both.
    for line in text.split("\r\n").flat_map(|part| part.split(['\r', '\n'])) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => comment = Some(value),
            "event" => event = Some(value.to_owned()),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    let Some(data) = data else {
        return match comment {
            Some(comment) => (event.or(Some("comment".into())), comment.into()),
            None => (event, Value::Null),
        };
    };
    if data == "[DONE]" {
        return (event.or(Some("done".into())), data.into());
    }
    match serde_json::from_str::<Value>(&data) {
        Ok(value) => {
            let kind = value.get("message_type").and_then(Value::as_str).map(str::to_owned);
            (kind.or(event), value)
        }
        Err(_) => (event, data.into()),
    }
}

/// Removes credentials of which each frame has a piece: the strings at one place of consecutive frames are read as one text.
fn remove_split_credentials(views: &mut [FrameView]) {
    let mut texts: HashMap<String, String> = HashMap::new();
    for view in &*views {
        each_string(&view.data, &mut String::new(), &mut |place, piece| {
            texts.entry(place.to_owned()).or_default().push_str(piece);
        });
    }
    texts.retain(|_, text| scrub::has_credential(text));
    if texts.is_empty() {
        return;
    }
    let places: HashMap<String, Vec<(usize, usize)>> =
        texts.into_iter().map(|(place, text)| (place, scrub::secret_parts(&text))).collect();
    let mut read: HashMap<String, usize> = HashMap::new();
    for view in views {
        each_string_mut(&mut view.data, &mut String::new(), &mut |place, piece| {
            let Some(secrets) = places.get(place) else { return };
            let begin = read.entry(place.to_owned()).or_default();
            let end = *begin + piece.len();
            if secrets.iter().any(|(from, to)| *from < end && *begin < *to) {
                "...".clone_into(piece);
            }
            *begin = end;
        });
    }
}

fn each_string(value: &Value, place: &mut String, visit: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(place, text),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| {
            at(place, &index.to_string(), |place| each_string(item, place, visit));
        }),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            at(place, name, |place| each_string(member, place, visit));
        }),
        _ => {}
    }
}

fn each_string_mut(value: &mut Value, place: &mut String, visit: &mut impl FnMut(&str, &mut String)) {
    match value {
        Value::String(text) => visit(place, text),
        Value::Array(items) => items.iter_mut().enumerate().for_each(|(index, item)| {
            at(place, &index.to_string(), |place| each_string_mut(item, place, visit));
        }),
        Value::Object(members) => members.iter_mut().for_each(|(name, member)| {
            at(place, name, |place| each_string_mut(member, place, visit));
        }),
        _ => {}
    }
}

fn at(place: &mut String, name: &str, visit: impl FnOnce(&mut String)) {
    let length = place.len();
    place.push('/');
    place.push_str(name);
    visit(place);
    place.truncate(length);
}

/// Splits a stream of events at its blank lines.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    /// The beginning of the next frame.
    pending: Vec<u8>,
    /// How many bytes of it have no blank line.
    searched: usize,
}

impl Splitter {
    /// Takes the next bytes; `visit` gets every frame that ends in them, with its blank line.
    pub(crate) fn push(&mut self, chunk: &[u8], mut visit: impl FnMut(&[u8])) {
        if self.pending.is_empty() {
            let taken = Self::split(chunk, 0, &mut visit);
            self.pending.extend_from_slice(&chunk[taken..]);
        } else {
            self.pending.extend_from_slice(chunk);
            let taken = Self::split(&self.pending, self.searched, &mut visit);
            self.pending.drain(..taken);
        }
        // A blank line may begin in the last bytes.
        self.searched = self.pending.len().saturating_sub(3);
    }

    /// Takes what is left after the last blank line.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.searched = 0;
        std::mem::take(&mut self.pending)
    }

    /// Returns how many bytes the whole frames have.
    fn split(bytes: &[u8], searched: usize, visit: &mut impl FnMut(&[u8])) -> usize {
        let (mut begin, mut from) = (0, searched);
        while let Some(length) = blank_line(&bytes[from..]) {
            let end = from + length;
            visit(&bytes[begin..end]);
            (begin, from) = (end, end);
        }
        begin
    }
}

/// Where the first blank line ends.
fn blank_line(bytes: &[u8]) -> Option<usize> {
    let ends =
        ["\n\n", "\r\n\r\n", "\n\r\n", "\r\r"].map(|end| memmem::find(bytes, end.as_bytes()).map(|at| at + end.len()));
    ends.into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOUND: usize = 10_000;

    #[test]
    fn a_stream_is_split_wherever_its_chunks_end() {
        let stream = "data: {\"a\":1}\n\nevent: ping\r\ndata: x\r\n\r\n: comment\n\ndata: [DONE]\n\n";
        for size in 1..=stream.len() {
            let (mut splitter, mut frames) = (Splitter::default(), Vec::new());
            for chunk in stream.as_bytes().chunks(size) {
                splitter.push(chunk, |frame| frames.push(String::from_utf8(frame.to_vec()).unwrap()));
            }
            let expected =
                ["data: {\"a\":1}\n\n", "event: ping\r\ndata: x\r\n\r\n", ": comment\n\n", "data: [DONE]\n\n"];
            assert_eq!(frames, expected, "chunks of {size}");
        }
    }

    #[test]
    fn a_frame_is_shown_with_its_type_and_data() {
        let mut frames = Frames::default();
        for (ms, frame) in [
            "data: {\"message_type\":\"ping\",\"key\":\"sk-let-0123456789\"}\n\n",
            "event: error\ndata: {\"error\":1}\n\n",
            "data: a\ndata: b\n\n",
            ": keepalive\n\n",
            "data: [DONE]\n\n",
        ]
        .iter()
        .enumerate()
        {
            frames.keep(ms as u64, frame.as_bytes(), BOUND);
        }
        let expected = json!([
            {"n": 0, "ms": 0, "bytes": 57, "type": "ping", "data": {"message_type": "ping", "key": "sk-let-..."}},
            {"n": 1, "ms": 1, "bytes": 32, "type": "error", "data": {"error": 1}},
            {"n": 2, "ms": 2, "bytes": 17, "type": null, "data": "a\nb"},
            {"n": 3, "ms": 3, "bytes": 13, "type": "comment", "data": "keepalive"},
            {"n": 4, "ms": 4, "bytes": 14, "type": "done", "data": "[DONE]"},
        ]);
        assert_eq!(serde_json::to_value(frames.view()).unwrap(), expected);
    }

    #[test]
    fn a_credential_in_pieces_is_removed_from_every_piece() {
        let mut frames = Frames::default();
        let pieces = ["Echo: it is s", "k-let-", "0123", "456", "789 and no", " more"];
        for piece in pieces {
            let data = json!({"message_type": "assistant_message", "content": piece, "id": "message-1"});
            frames.keep(0, format!("data: {data}\n\n").as_bytes(), BOUND);
        }
        let shown = frames.view();
        let shown: Vec<&str> = shown.iter().map(|frame| frame.data["content"].as_str().unwrap()).collect();
        assert_eq!(shown, ["Echo: it is s", "k-let-", "...", "...", "...", " more"]);
    }

    #[test]
    fn only_the_first_frames_are_kept() {
        let mut frames = Frames::default();
        let sizes = [100, 100, 10].map(|length| frames.keep(0, &vec![b'x'; length], 300));
        assert_eq!((sizes, frames.view().len()), ([164, 0, 0], 1));
    }
}
