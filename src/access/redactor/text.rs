//! Removes members from JSON text while copying it.

use std::ops::Range;

use memchr::memchr;

use super::secrets::{Blank, Kind};

/// A response that should be JSON is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a response is not JSON")]
pub struct NotJson;

/// A member that must be removed.
struct SecretMember {
    /// The place of its value.
    value: Range<usize>,
    /// What replaces the value.
    blank: &'static [u8],
}

/// Copies JSON with blanks as the values of the members that [`find`] finds; `None` if it finds none.
pub(crate) fn without(
    text: &[u8],
    harmless: &[Range<usize>],
    blank_of: impl Fn(&[u8], Kind) -> Option<Blank>,
) -> Result<Option<Vec<u8>>, NotJson> {
    let found = find(text, harmless, blank_of)?;
    if found.is_empty() {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(text.len() + found.len() * Blank::MOST_BYTES);
    let mut copied = 0;
    for SecretMember { value, blank } in found {
        out.extend_from_slice(&text[copied..value.start]);
        out.extend_from_slice(blank);
        copied = value.end;
    }
    out.extend_from_slice(&text[copied..]);
    Ok(Some(out))
}

/// Finds the members of JSON for whose name and kind of value `blank_of` gives a blank, unless they are blank already. The
/// `harmless` places, which are in order, are skipped.
fn find(
    text: &[u8],
    mut harmless: &[Range<usize>],
    blank_of: impl Fn(&[u8], Kind) -> Option<Blank>,
) -> Result<Vec<SecretMember>, NotJson> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(distance) = memchr(b'"', &text[at..]) {
        let begin = at + distance;
        while let Some((_, later)) = harmless.split_first().filter(|(first, _)| first.end <= begin) {
            harmless = later;
        }
        if let Some(first) = harmless.first().filter(|first| first.contains(&begin)) {
            at = first.end;
            continue;
        }
        let end = end_of_string(text, begin).ok_or(NotJson)?;
        at = end;
        // In JSON only the name of a member is a string before a colon.
        let colon = after_space(text, end);
        if text.get(colon) != Some(&b':') {
            continue;
        }
        at = after_space(text, colon + 1);
        let blank = with_name(&text[begin..end], |name| blank_of(name, Kind::of_text(text.get(at))))?;
        let Some(blank) = blank.map(Blank::text) else { continue };
        if !text[at..].starts_with(blank) {
            let value = at..end_of_value(text, at)?;
            at = value.end;
            found.push(SecretMember { value, blank });
        }
    }
    Ok(found)
}

/// Calls `decide` with a quoted name, unescaped.
fn with_name<T>(quoted: &[u8], decide: impl FnOnce(&[u8]) -> T) -> Result<T, NotJson> {
    let inner = &quoted[1..quoted.len() - 1];
    if memchr(b'\\', inner).is_some() {
        let name: String = serde_json::from_slice(quoted).map_err(|_| NotJson)?;
        return Ok(decide(name.as_bytes()));
    }
    Ok(decide(inner))
}

fn after_space(text: &[u8], at: usize) -> usize {
    let space = text.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    at + space
}

/// The place after the string that begins here; `None` if it does not end. Prose has more escapes than quotation marks, so
/// this searches for quotation marks and then checks whether they are escaped.
pub(crate) fn end_of_string(text: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin + 1;
    loop {
        at += memchr(b'"', text.get(at..)?)?;
        let backslashes = text[begin + 1..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        at += 1;
        if backslashes % 2 == 0 {
            return Some(at);
        }
    }
}

/// The place after the value that begins here.
fn end_of_value(text: &[u8], begin: usize) -> Result<usize, NotJson> {
    let (mut at, mut depth) = (begin, 0_usize);
    loop {
        match text.get(at).ok_or(NotJson)? {
            b'"' => at = end_of_string(text, at).ok_or(NotJson)?,
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
