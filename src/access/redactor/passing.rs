//! Removes secrets from JSON, and from events that hold JSON, while they pass in pieces of any size.
//!
//! Secrets are overwritten, so the length does not change and nothing is held back, except the first bytes of a value that
//! may turn out to be shorter than its blank. What is not JSON passes unchanged, except for what looks like a secret in
//! JSON; a secret that does not end does not pass at all.

use std::{
    mem,
    ops::Range,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use memchr::{memchr, memchr2};

use super::{
    clean::is_clean,
    secrets::{Blank, Kind, blank_of},
};
use crate::request::body::{Body, BodyError};

/// The longest name that is compared, with an escape for each character; no secret has a longer one.
const MOST_NAME_BYTES: usize = 6 * 48;

/// Overwrites secrets in what passes.
#[derive(Debug, Default)]
pub struct Passing {
    state: PassingState,
    /// The beginning of the string that was read last, which may be the name of a member.
    name: Vec<u8>,
    /// The beginning of a value, to be read again with the next piece.
    held: Vec<u8>,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, Default)]
enum PassingState {
    /// Anything.
    #[default]
    Between,
    /// The rest of a string.
    Text {
        /// Whether its next byte has a backslash before it.
        is_escaped: bool,
    },
    /// A colon, if the string was the name of a member.
    AfterText,
    /// The value of the member with that name.
    Value,
    /// The rest of a value that is overwritten.
    Secret(Secret),
}

impl Passing {
    /// The next piece, redacted.
    pub fn push(&mut self, piece: Bytes) -> Bytes {
        let begins_between = matches!(self.state, PassingState::Between) && self.held.is_empty();
        // No JSON string continues after the end of a line, and no name ends in a bracket.
        let ends_between = || piece.ends_with(b"\n") && piece.trim_ascii_end().ends_with(b"}");
        if begins_between && ends_between() && is_clean(&piece) {
            return piece;
        }
        let piece = if self.held.is_empty() {
            piece
        } else {
            let mut held = mem::take(&mut self.held);
            held.extend_from_slice(&piece);
            held.into()
        };
        let mut secrets = Vec::new();
        let end = self.read(&piece, &mut secrets);
        self.held.extend_from_slice(&piece[end..]);
        if secrets.is_empty() {
            return piece.slice(..end);
        }
        let mut text = piece[..end].to_vec();
        for (place, blank) in secrets {
            text[place.clone()].fill(b' ');
            text[place.start..place.start + blank.len()].copy_from_slice(blank);
        }
        text.into()
    }

    /// What passes after the last piece: spaces in place of a truncated value.
    pub fn end(&mut self) -> Bytes {
        vec![b' '; mem::take(&mut self.held).len()].into()
    }

    /// Reads a piece up to the place from which it must be read again; notes the places of secrets with their blanks.
    fn read(&mut self, text: &[u8], secrets: &mut Vec<(Range<usize>, &'static [u8])>) -> usize {
        let mut at = 0;
        while at < text.len() {
            match self.state {
                PassingState::Between => match memchr(b'"', &text[at..]) {
                    Some(distance) => {
                        at += distance + 1;
                        self.name.clear();
                        self.state = PassingState::Text { is_escaped: false };
                    }
                    None => return text.len(),
                },
                PassingState::Text { is_escaped } => at = self.read_text(text, at, is_escaped),
                PassingState::AfterText => {
                    at = after_space(text, at);
                    match text.get(at) {
                        Some(b':') => {
                            at += 1;
                            self.state = PassingState::Value;
                        }
                        Some(_) => self.state = PassingState::Between,
                        None => {}
                    }
                }
                PassingState::Value => {
                    at = after_space(text, at);
                    let Some(first) = text.get(at) else { return at };
                    let Some(blank) = self.blank(*first) else {
                        self.state = PassingState::Between;
                        continue;
                    };
                    if [&b"null"[..], b"[]", b"\"\""].iter().any(|nothing| text[at..].starts_with(nothing)) {
                        self.state = PassingState::Between;
                        continue;
                    }
                    let mut secret = Secret::default();
                    let end = secret.end(text, at);
                    let place = at..end.unwrap_or(text.len());
                    if end.is_none() && place.len() < Blank::MOST_BYTES {
                        return at;
                    }
                    at = place.end;
                    let blank = fitting(blank, *first, place.len());
                    secrets.push((place, blank));
                    self.state = if end.is_some() { PassingState::Between } else { PassingState::Secret(secret) };
                }
                PassingState::Secret(mut secret) => {
                    let end = secret.end(text, at);
                    let place = at..end.unwrap_or(text.len());
                    at = place.end;
                    secrets.push((place, b""));
                    self.state = if end.is_some() { PassingState::Between } else { PassingState::Secret(secret) };
                }
            }
        }
        at
    }

    /// Reads the rest of a string, which in JSON is on one line; returns the place after it.
    fn read_text(&mut self, text: &[u8], begin: usize, is_escaped: bool) -> usize {
        let mut from = begin;
        loop {
            let end = memchr2(b'"', b'\n', &text[from..]).map(|distance| from + distance);
            let rest = &text[begin..end.unwrap_or(text.len())];
            let next_is_escaped = ends_in_escape(rest, is_escaped);
            let (state, after) = match end {
                None => (PassingState::Text { is_escaped: next_is_escaped }, text.len()),
                Some(end) if text[end] == b'\n' => (PassingState::Between, end + 1),
                Some(end) if next_is_escaped => {
                    from = end + 1;
                    continue;
                }
                Some(end) => (PassingState::AfterText, end + 1),
            };
            let room = (MOST_NAME_BYTES + 1).saturating_sub(self.name.len());
            self.name.extend_from_slice(&rest[..rest.len().min(room)]);
            self.state = state;
            return after;
        }
    }

    /// What replaces the value that begins with this byte, if it is a secret.
    fn blank(&self, first: u8) -> Option<Blank> {
        let kind = Kind::of_text(Some(&first));
        if self.name.len() > MOST_NAME_BYTES {
            return None;
        }
        if memchr(b'\\', &self.name).is_none() {
            return blank_of(&self.name, kind);
        }
        let name: String = serde_json::from_slice(&[b"\"", &self.name[..], b"\""].concat()).ok()?;
        blank_of(name.as_bytes(), kind)
    }
}

/// The blank, or something as empty that fits into the room.
fn fitting(blank: Blank, first: u8, room: usize) -> &'static [u8] {
    let blank = blank.text();
    match first {
        _ if blank.len() <= room => blank,
        b'"' if room > 1 => b"\"\"",
        b'[' if room > 1 => b"[]",
        b'{' if room > 1 => b"{}",
        _ if room > 0 => b"0",
        _ => b"",
    }
}

/// The state of reading a value that is overwritten.
#[derive(Clone, Copy, Debug, Default)]
struct Secret {
    depth: usize,
    is_text: bool,
    is_escaped: bool,
    /// Whether it is a number or a word.
    is_plain: bool,
}

impl Secret {
    /// The place after the value; `None` if it continues in the next piece.
    fn end(&mut self, text: &[u8], begin: usize) -> Option<usize> {
        for (at, byte) in text.iter().enumerate().skip(begin) {
            if self.is_text {
                if mem::take(&mut self.is_escaped) {
                    continue;
                }
                match byte {
                    b'\\' => self.is_escaped = true,
                    b'"' | b'\n' => {
                        self.is_text = false;
                        if self.depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b',' | b'}' | b']' if self.depth == 0 => return Some(at),
                _ if self.is_plain && byte.is_ascii_whitespace() => return Some(at),
                _ if self.is_plain => {}
                b'"' => self.is_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => self.is_plain = self.depth == 0,
            }
        }
        None
    }
}

/// Whether the byte after a part of a string is escaped by an unescaped backslash.
fn ends_in_escape(part: &[u8], is_escaped: bool) -> bool {
    let backslashes = part.iter().rev().take_while(|byte| **byte == b'\\').count();
    let before = usize::from(is_escaped && backslashes == part.len());
    (backslashes + before) % 2 == 1
}

fn after_space(text: &[u8], at: usize) -> usize {
    let space = text[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    at + space
}

/// A body from which secrets are removed while it passes.
#[must_use]
pub(crate) fn redact_in_passing(body: Body) -> Body {
    match body {
        Body::Empty => Body::Empty,
        Body::Whole(text) if is_clean(&text) => Body::Whole(text),
        Body::Whole(text) => {
            let mut passing = Passing::default();
            let passed = passing.push(text);
            let rest = passing.end();
            if rest.is_empty() { Body::Whole(passed) } else { [passed, rest].concat().into() }
        }
        body => Body::new(Redacted { body, passing: Passing::default(), has_ended: false }),
    }
}

struct Redacted {
    body: Body,
    passing: Passing,
    has_ended: bool,
}

impl http_body::Body for Redacted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        while !this.has_ended {
            let piece = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => this.passing.push(piece),
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.has_ended = true;
                    this.passing.end()
                }
            };
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.passing.held.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, held) = (self.body.size_hint(), self.passing.held.len() as u64);
        if held > 0 {
            let (lower, upper) = (hint.lower() + held, hint.upper().map(|upper| upper + held));
            hint = SizeHint::new();
            hint.set_lower(lower);
            if let Some(upper) = upper {
                hint.set_upper(upper);
            }
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(pieces: &[&[u8]]) -> Vec<u8> {
        let mut passing = Passing::default();
        let mut passed: Vec<u8> = pieces.iter().flat_map(|piece| passing.push(Bytes::copy_from_slice(piece))).collect();
        passed.extend(passing.end());
        passed
    }

    /// Texts, and what is left of them; spaces are ignored.
    const CASES: &[(&str, &str)] = &[
        (r#"{"id":"1","api_key":"canary","n":1}"#, r#"{"id":"1","api_key":null,"n":1}"#),
        (r#"{"run_ids": ["run-1", "run-2"]}"#, r#"{"run_ids":[]}"#),
        (r#"{"run_ids":null,"a":[]}"#, r#"{"run_ids":null,"a":[]}"#),
        (r#"{"\u0073ecrets" : [{"value":"]\"canary"}],"n":"\\"}"#, r#"{"\u0073ecrets":[],"n":"\\"}"#),
        (r#"{"api_key":{"a":[{"b":"}"}]}}"#, r#"{"api_key":null}"#),
        // There is no room for null.
        (r#"{"api_key":"","sender_id":"a"}"#, r#"{"api_key":"","sender_id":""}"#),
        (r#"{"callback_status_code":200}"#, r#"{"callback_status_code":0}"#),
        (r#"{"api_key":false,"x":true}"#, r#"{"api_key":null,"x":true}"#),
        ("data: {\"sender_id\":\"agent-1\"}\n\ndata: [DONE]\n\n", "data:{\"sender_id\":\"\"}\n\ndata:[DONE]\n\n"),
        // Not JSON: a secret without an end does not pass, and a string ends with its line.
        (r#"{"secrets":["canary","canary"#, r#"{"secrets":[]"#),
        ("\"\n{\"api_key\":\"canary\"}", "\"\n{\"api_key\":null}"),
        (r#"{"api_key":}"#, r#"{"api_key":}"#),
        (r#"["secrets","api_key"]"#, r#"["secrets","api_key"]"#),
    ];

    #[test]
    fn secrets_are_overwritten_wherever_the_pieces_end() {
        for (text, expected) in CASES {
            let check = |pieces: &[&[u8]]| {
                let passed = String::from_utf8(pass(pieces)).unwrap();
                assert_eq!(passed.replace(' ', ""), *expected, "{pieces:?}");
                assert_eq!(passed.len(), text.len());
            };
            let bytes = text.as_bytes();
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    check(&[&bytes[..first], &bytes[first..second], &bytes[second..]]);
                }
            }
            check(&bytes.chunks(1).collect::<Vec<_>>());
        }
    }

    proptest! {
        /// A text that is skipped would have passed unchanged.
        #[test]
        fn a_clean_text_is_one_from_which_nothing_is_removed(
            members in prop::collection::vec((prop::sample::select(vec![
                "secrets", "sender_id", "x_agent_id", "agent_ids", "callback_url", "embedding", "a", "\\u0061pi_key", "b\\\"",
            ]), prop::sample::select(vec![
                "null", "[]", "\"\"", "\"x\"", "[1]", "{\"api_key\":1}", "7", "\"\\\"api_key\\\":1\"", "[\"run_ids\"]",
            ])), 0..6),
            space in prop::sample::select(vec!["", " ", "\n"]),
        ) {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("\"{name}\"{space}:{space}{value}")).collect();
            let text = format!("{{{}}}", members.join(",")).into_bytes();
            if is_clean(&text) {
                prop_assert_eq!(pass(&[&text]), text);
            }
        }

        #[test]
        fn pieces_make_no_difference_and_the_length_stays(
            parts in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\\", "\"secrets\":", "\"sender_id\":", "\"a\"", "1", "nul", "l", " ", "\n",
            ]), 0..30),
            cuts in prop::collection::vec(0_usize..200, 0..6),
        ) {
            let text = parts.concat().into_bytes();
            let whole = pass(&[&text]);
            prop_assert_eq!(whole.len(), text.len());
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            prop_assert_eq!(pass(&pieces), whole);
        }
    }
}
