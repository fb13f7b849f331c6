//! JSON without some of its members, taken out while the text is copied.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::Blank;

/// What should be JSON is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an answer is not JSON")]
pub struct NotJson;

/// Copies JSON, with a blank in the place of each member for which `blank_of` gives one when told the member's name and
/// whether its value is a list; none: it has no such member. Where it is `harmless`, it is not looked at; these places are
/// in order.
pub(super) fn without(
    text: &[u8],
    mut harmless: &[Range<usize>],
    blank_of: impl Fn(&str, bool) -> Option<Blank>,
) -> Result<Option<Vec<u8>>, NotJson> {
    let mut out = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(distance) = memchr(b'"', &text[at..]) {
        let begin = at + distance;
        while let Some((_, later)) = harmless.split_first().filter(|(first, _)| first.end <= begin) {
            harmless = later;
        }
        if let Some(first) = harmless.first().filter(|first| first.contains(&begin)) {
            at = first.end;
            continue;
        }
        let end = end_of_string(text, begin)?;
        at = end;
        // In JSON only the name of a member is a string before a colon.
        let colon = after_space(text, end);
        if text.get(colon) != Some(&b':') {
            continue;
        }
        at = after_space(text, colon + 1);
        let blank = with_name(&text[begin..end], |name| blank_of(name, text.get(at) == Some(&b'[')))?;
        let blank = match blank {
            Some(Blank::Null) => b"null".as_slice(),
            Some(Blank::List) => b"[]".as_slice(),
            None => continue,
        };
        // What is blank already may stay.
        if !text[at..].starts_with(blank) {
            if out.is_empty() {
                out.reserve(text.len());
            }
            out.extend_from_slice(&text[copied..at]);
            out.extend_from_slice(blank);
            at = end_of_value(text, at)?;
            copied = at;
        }
    }
    if copied == 0 {
        return Ok(None);
    }
    out.extend_from_slice(&text[copied..]);
    Ok(Some(out))
}

/// Tells `decide` the name that a quoted text is.
fn with_name<T>(quoted: &[u8], decide: impl FnOnce(&str) -> T) -> Result<T, NotJson> {
    let inner = &quoted[1..quoted.len() - 1];
    if inner.contains(&b'\\') {
        let name: String = serde_json::from_slice(quoted).map_err(|_| NotJson)?;
        return Ok(decide(&name));
    }
    std::str::from_utf8(inner).map(decide).map_err(|_| NotJson)
}

fn after_space(text: &[u8], at: usize) -> usize {
    let space = text.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    at + space
}

/// The place after the string that begins here.
fn end_of_string(text: &[u8], begin: usize) -> Result<usize, NotJson> {
    let mut at = begin + 1;
    loop {
        let rest = text.get(at..).ok_or(NotJson)?;
        let distance = memchr2(b'"', b'\\', rest).ok_or(NotJson)?;
        at += distance;
        if text[at] == b'"' {
            return Ok(at + 1);
        }
        // Whatever is escaped ends no string.
        at += 2;
    }
}

/// The place after the value that begins here.
fn end_of_value(text: &[u8], begin: usize) -> Result<usize, NotJson> {
    let (mut at, mut depth) = (begin, 0_usize);
    loop {
        match text.get(at).ok_or(NotJson)? {
            b'"' => at = end_of_string(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1).ok_or(NotJson)?;
                at += 1;
            }
            b',' | b':' if depth == 0 => return Err(NotJson),
            byte if depth == 0 && !byte.is_ascii_whitespace() => {
                let length = text[at..]
                    .iter()
                    .take_while(|byte| !matches!(byte, b',' | b'}' | b']') && !byte.is_ascii_whitespace());
                return Ok(at + length.count());
            }
            _ => at += 1,
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}
