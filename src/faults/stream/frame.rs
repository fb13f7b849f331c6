//! The frames of a stream: which position each has, and what can be wrong with one.

use std::ops::Range;

use memchr::memmem;
use serde_json::Value;

use crate::faults::{definition::Corruption, position::Position};

/// How many bytes a huge frame has more than it should.
const HUGE: usize = 1024 * 1024;
/// The type of a message that no version of Letta has.
const UNKNOWN_TYPE: &str = "gatelet_unknown_message";

/// A frame.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) kind: Kind,
}

/// What a frame is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A ping, which is not counted.
    Ping,
    /// A comment, which is not counted.
    Comment,
    /// A message of this type.
    Typed(String),
    /// The end marker.
    Done,
    /// A body that is no stream.
    Whole,
    Other,
}

/// Counts the frames of a stream.
#[derive(Debug, Default)]
pub(super) struct Counter {
    frames: u64,
    /// By type.
    types: Vec<(String, u64)>,
}

impl Frame {
    /// A frame of a stream of events.
    pub(super) fn of_stream(bytes: &[u8]) -> Self {
        let frame = Self { bytes: bytes.to_vec(), kind: Kind::Other };
        let kind = match frame.data() {
            None => Kind::Comment,
            Some(data) => match &bytes[data] {
                b"[DONE]" => Kind::Done,
                data => match serde_json::from_slice::<Value>(data)
                    .ok()
                    .and_then(|value| value.get("message_type").and_then(Value::as_str).map(str::to_owned))
                {
                    Some(kind) if kind == "ping" => Kind::Ping,
                    Some(kind) => Kind::Typed(kind),
                    None => Kind::Other,
                },
            },
        };
        Self { kind, ..frame }
    }

    /// A body that is no stream.
    pub(super) fn of_body(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), kind: Kind::Whole }
    }

    /// Where its data is.
    fn data(&self) -> Option<Range<usize>> {
        if self.kind == Kind::Whole {
            return Some(0..self.bytes.len());
        }
        let begin = if self.bytes.starts_with(b"data:") { 0 } else { memmem::find(&self.bytes, b"\ndata:")? + 1 };
        let begin = begin + b"data:".len();
        let begin = begin + usize::from(self.bytes.get(begin) == Some(&b' '));
        let length = memchr::memchr2(b'\n', b'\r', &self.bytes[begin..]).unwrap_or(self.bytes.len() - begin);
        Some(begin..begin + length)
    }

    /// The id of the run in its data.
    pub(super) fn run_id(&self) -> Option<String> {
        let value: Value = serde_json::from_slice(&self.bytes[self.data()?]).ok()?;
        value.get("run_id").and_then(Value::as_str).map(str::to_owned)
    }

    /// Makes it wrong. Returns whether that is possible.
    pub(super) fn corrupt(&mut self, how: Corruption) -> bool {
        let Some(range) = self.data() else { return false };
        let data = &self.bytes[range.clone()];
        let corrupted = match how {
            Corruption::Utf8 => with_inserted(data, b"\xc3\x28"),
            Corruption::Json => memchr::memchr(b':', data).map(|at| {
                let mut corrupted = data.to_vec();
                corrupted[at] = b'=';
                corrupted
            }),
            Corruption::CutJson => (data.len() > 1).then(|| data[..floor_boundary(data, data.len() / 2)].to_vec()),
            Corruption::UnknownType => with_type(data),
            Corruption::ExtraField => {
                with_member(data, "gatelet_extra", &serde_json::json!({"nested": [1, null, "x"]}))
            }
            Corruption::Huge => with_member(data, "gatelet_padding", &"x".repeat(HUGE).into()),
        };
        let Some(corrupted) = corrupted else { return false };
        self.bytes.splice(range, corrupted);
        true
    }

    /// Its beginning: so many bytes.
    pub(super) fn beginning(&self, bytes: usize) -> Vec<u8> {
        self.bytes[..bytes.min(self.bytes.len())].to_vec()
    }

    /// Its beginning up to within a character of several bytes. One is inserted if it has none.
    pub(super) fn beginning_in_character(&self) -> Vec<u8> {
        let range = self.data().unwrap_or(0..self.bytes.len());
        if let Some(at) = self.bytes[range.clone()].iter().position(|byte| !byte.is_ascii()) {
            return self.bytes[..=range.start + at].to_vec();
        }
        let at = range.start + first_text(&self.bytes[range.clone()]).unwrap_or(range.len() / 2);
        let mut beginning = self.bytes[..at].to_vec();
        beginning.push("é".as_bytes()[0]);
        beginning
    }
}

impl Counter {
    /// Whether no frame was counted.
    pub(super) fn is_first(&self) -> bool {
        self.frames == 0
    }

    /// Counts a frame. Pings and comments are not counted.
    pub(super) fn count(&mut self, kind: &Kind) {
        self.frames += 1;
        if let Kind::Typed(name) = kind {
            match self.types.iter_mut().find(|(known, _)| known == name) {
                Some((_, count)) => *count += 1,
                None => self.types.push((name.clone(), 1)),
            }
        }
    }

    /// Whether the frame that was counted last is at a position.
    pub(super) fn is_at(&self, kind: &Kind, position: &Position) -> bool {
        match (position, kind) {
            (Position::Frame(frame), _) => *frame == self.frames,
            (Position::Typed(wanted, nth), Kind::Typed(name)) => {
                wanted == name && self.types.iter().any(|(known, count)| known == name && count == nth)
            }
            // A body that is no stream is one frame.
            (Position::Done, Kind::Done | Kind::Whole) => true,
            _ => false,
        }
    }
}

/// Where the first text in JSON begins.
fn first_text(json: &[u8]) -> Option<usize> {
    let content = memmem::find(json, b"\"content\":\"").map(|at| at + b"\"content\":\"".len());
    content.or_else(|| memmem::find(json, b":\"").map(|at| at + 2))
}

fn with_inserted(json: &[u8], inserted: &[u8]) -> Option<Vec<u8>> {
    let at = first_text(json)?;
    Some([&json[..at], inserted, &json[at..]].concat())
}

/// An object with one more member, at its end.
fn with_member(json: &[u8], name: &str, value: &Value) -> Option<Vec<u8>> {
    let end = json.iter().rposition(|byte| *byte == b'}')?;
    let is_empty = !json[..end].contains(&b':');
    let member = format!("{}\"{name}\":{value}", if is_empty { "" } else { "," });
    Some([&json[..end], member.as_bytes(), &json[end..]].concat())
}

/// Messages with a type that is not known: the first that has one.
fn with_type(json: &[u8]) -> Option<Vec<u8>> {
    const MEMBER: &[u8] = b"\"message_type\":\"";
    let at = memmem::find(json, MEMBER)? + MEMBER.len();
    let length = memchr::memchr(b'"', &json[at..])?;
    Some([&json[..at], UNKNOWN_TYPE.as_bytes(), &json[at + length..]].concat())
}

/// The last place, up to `at`, that is not within a character.
fn floor_boundary(bytes: &[u8], at: usize) -> usize {
    (0..=at).rev().find(|at| bytes.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &str = "data: {\"message_type\":\"assistant_message\",\"content\":\"Hi\",\"run_id\":\"run-1\"}\n\n";

    #[test]
    fn a_frame_is_known_by_its_type() {
        for (frame, kind) in [
            (FRAME, Kind::Typed("assistant_message".into())),
            ("data: {\"id\":\"ping-1\",\"message_type\":\"ping\"}\n\n", Kind::Ping),
            ("data: [DONE]\n\n", Kind::Done),
            ("data:[DONE]\r\n\r\n", Kind::Done),
            (": ping\n\n", Kind::Comment),
            ("event: error\ndata: {\"message_type\":\"error_message\"}\n\n", Kind::Typed("error_message".into())),
            ("data: {\"choices\":[]}\n\n", Kind::Other),
        ] {
            assert_eq!(Frame::of_stream(frame.as_bytes()).kind, kind, "{frame}");
        }
        assert_eq!(Frame::of_stream(FRAME.as_bytes()).run_id().as_deref(), Some("run-1"));
    }

    #[test]
    fn each_corruption_does_one_thing() {
        use Corruption::{CutJson, ExtraField, Huge, Json, UnknownType, Utf8};
        for (how, is_utf8, is_json) in [
            (Utf8, false, false),
            (Json, true, false),
            (CutJson, true, false),
            (UnknownType, true, true),
            (ExtraField, true, true),
            (Huge, true, true),
        ] {
            for whole in [false, true] {
                let mut frame = Frame::of_stream(FRAME.as_bytes());
                if whole {
                    frame = Frame::of_body(FRAME[6..].trim_end().as_bytes());
                }
                assert!(frame.corrupt(how), "{how:?}");
                assert!(whole || frame.bytes.ends_with(b"\n\n"), "{how:?}");
                let data = &frame.bytes[frame.data().unwrap()];
                assert_eq!(std::str::from_utf8(data).is_ok(), is_utf8, "{how:?}");
                assert_eq!(serde_json::from_slice::<Value>(data).is_ok(), is_json, "{how:?}");
            }
        }
        assert!(!Frame::of_stream(b"data: [DONE]\n\n").corrupt(ExtraField));
        assert!(!Frame::of_stream(b": ping\n\n").corrupt(Utf8));
    }

    #[test]
    fn half_a_character_is_no_utf_8() {
        for content in ["Hi", "H\u{e9}", ""] {
            let frame = Frame::of_stream(FRAME.replace("Hi", content).as_bytes());
            let half = frame.beginning_in_character();
            let error = std::str::from_utf8(&half).unwrap_err();
            assert_eq!((error.valid_up_to(), error.error_len()), (half.len() - 1, None), "{content}");
        }
    }

    #[test]
    fn a_position_is_reached_once() {
        let mut counter = Counter::default();
        let typed = |name: &str| Kind::Typed(name.into());
        let kinds = [typed("a"), typed("b"), typed("a"), Kind::Done];
        let reached = |position: &Position| {
            let mut counter = Counter::default();
            let mut at = Vec::new();
            for (index, kind) in kinds.iter().enumerate() {
                counter.count(kind);
                at.extend(counter.is_at(kind, position).then_some(index + 1));
            }
            at
        };
        for (position, expected) in [
            (Position::Frame(2), vec![2]),
            (Position::Frame(9), vec![]),
            (Position::Typed("a".into(), 1), vec![1]),
            (Position::Typed("a".into(), 2), vec![3]),
            (Position::Done, vec![4]),
        ] {
            assert_eq!(reached(&position), expected, "{position}");
        }
        counter.count(&Kind::Whole);
        assert!(counter.is_at(&Kind::Whole, &Position::Done) && counter.is_at(&Kind::Whole, &Position::Frame(1)));
    }
}
