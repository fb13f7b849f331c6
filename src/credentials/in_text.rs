//! Finds credentials in texts, and removes them: clients put them into any part of a request.
//!
//! A credential is known by its form (an API key, a client token, or a JWS without its prefix) wherever it stands, also
//! percent-encoded or with JSON escapes. Texts may be cut: a credential begins with its prefix, so its beginning alone is
//! recognized too.

use std::{borrow::Cow, sync::LazyLock};

use memchr::{memchr2, memmem};
use percent_encoding::percent_decode_str;

/// What replaces the secret part of a credential.
pub(crate) const REMOVED: &str = "...";

/// How often a text is decoded to find a credential that is encoded more than once.
const DECODINGS: usize = 4;

/// What both prefixes have in common.
const TAIL: &[u8] = b"k-let-";
/// `{"` in base64, with which every header of a JWS begins.
const HEAD: &[u8] = b"eyJ";

// Every request is searched several times; a finder is not made for each text.
static TAIL_FINDER: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(TAIL));
static HEAD_FINDER: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(HEAD));

/// A text without credentials. A text that has an encoded one comes back decoded.
pub(crate) fn without_credentials(text: &str) -> Cow<'_, str> {
    let mut clean = replaced(text);
    if memchr2(b'%', b'\\', text.as_bytes()).is_none() {
        return clean;
    }
    let mut decoded = clean.to_string();
    for _ in 0..DECODINGS {
        let Some(next) = decode(&decoded) else { break };
        decoded = next;
        if let Cow::Owned(without) = replaced(&decoded) {
            decoded.clone_from(&without);
            clean = Cow::Owned(without);
        }
    }
    clean
}

/// Replaces the credentials that are not encoded; borrowed if there are none.
fn replaced(text: &str) -> Cow<'_, str> {
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    let bytes = text.as_bytes();
    while let Some((kept, end)) = next_credential(bytes, at) {
        // Already replaced.
        if &text[kept..end] != REMOVED {
            out.push_str(&text[copied..kept]);
            out.push_str(REMOVED);
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Whether a text has a credential that is not encoded.
pub(crate) fn has_credential(text: &str) -> bool {
    matches!(replaced(text), Cow::Owned(_))
}

/// Where the secret parts of the credentials in a text begin and end.
pub(crate) fn secret_parts(text: &str) -> Vec<(usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(|| {
        let found = next_credential(text.as_bytes(), at)?;
        at = found.1;
        Some(found)
    })
    .collect()
}

/// The next credential from `at` on: where its secret part begins and ends.
fn next_credential(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let prefixed = next_prefixed(text, at);
    // A JWS matters only if it stands before the next prefix, which covers the JWS behind it.
    let before = prefixed.map_or(text.len(), |(kept, _)| kept);
    next_jws(text, at, before).or(prefixed)
}

fn next_prefixed(text: &[u8], mut at: usize) -> Option<(usize, usize)> {
    while let Some(found) = TAIL_FINDER.find(&text[at..]) {
        let kept = at + found + TAIL.len();
        let is_prefix = (at + found).checked_sub(1).is_some_and(|first| matches!(text[first], b's' | b'c'));
        let end = kept + run(&text[kept..], is_of_credential);
        if is_prefix {
            return Some((kept, end));
        }
        at = kept;
    }
    None
}

/// A JWS in compact form that is not behind a prefix, between `at` and `before`.
fn next_jws(text: &[u8], mut at: usize, before: usize) -> Option<(usize, usize)> {
    const MOST_HARMLESS: usize = 8;
    let is_of_segment = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    while let Some(found) = HEAD_FINDER.find(text.get(at..before)?) {
        let kept = at + found + HEAD.len();
        let header = kept + run(&text[kept..], is_of_segment);
        if text.get(header) == Some(&b'.') {
            let end = header + 1 + run(&text[header + 1..], |byte| is_of_segment(byte) || byte == b'.');
            if end - header > MOST_HARMLESS {
                return Some((kept, end));
            }
        }
        at = header;
    }
    None
}

fn run(text: &[u8], is_of: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !is_of(*byte)).unwrap_or(text.len())
}

/// The characters of API keys and client tokens, and of their percent-encoding.
fn is_of_credential(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'=' | b'%')
}

/// A text with its percent-encoding and its JSON escapes of ASCII characters decoded once; `None` if it has neither.
pub(crate) fn decode(text: &str) -> Option<String> {
    let percent = percent_decode_str(text).decode_utf8_lossy();
    let mut rest = &*percent;
    let mut out = String::with_capacity(rest.len());
    while let Some(at) = memmem::find(rest.as_bytes(), b"\\u00") {
        out.push_str(&rest[..at]);
        let digits = rest.get(at + 4..at + 6).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits.filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 6..];
            }
            None => {
                out.push_str(&rest[at..at + 4]);
                rest = &rest[at + 4..];
            }
        }
    }
    out.push_str(rest);
    (out != text).then_some(out)
}
