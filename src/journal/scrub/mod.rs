//! Removes credentials from everything that the journal keeps.
//!
//! A credential is known by its form (an API key, a client token, or a JWS without its prefix) wherever it stands, also
//! percent-encoded or with JSON escapes; others, such as the keys of model providers, by the name of the member that holds
//! them. Texts may be cut: a credential begins with its prefix, so its beginning alone is recognized too.

mod cut_json;

use std::{borrow::Cow, sync::LazyLock};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use memchr::{memchr2, memmem};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use uuid::Uuid;

use super::entry::SentBody;
use crate::credentials::client_token;

/// What replaces the secret part of a credential, or the value of a secret member.
const REMOVED: &str = "...";

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
pub(super) fn text(text: &str) -> Cow<'_, str> {
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
pub(super) fn has_credential(text: &str) -> bool {
    matches!(replaced(text), Cow::Owned(_))
}

/// Where the secret parts of the credentials in a text begin and end.
pub(super) fn secret_parts(text: &str) -> Vec<(usize, usize)> {
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
        if is_prefix && end > kept {
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
fn decode(text: &str) -> Option<String> {
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

/// A path and query without credentials. A client token in the path becomes its id, if it has one.
pub(super) fn target(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut out = String::with_capacity(path_and_query.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        match token_id(segment) {
            Some(id) => out.push_str(&id.to_string()),
            None => out.push_str(&text(segment)),
        }
    }
    for (index, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        out.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret(&percent_decode_str(name).decode_utf8_lossy()) => {
                out.push_str(&text(name));
                out.push('=');
                out.push_str(REMOVED);
            }
            _ => out.push_str(&text(pair)),
        }
    }
    // A credential that an unusual character splits.
    match text(&out) {
        Cow::Owned(clean) => clean,
        Cow::Borrowed(_) => out,
    }
}

/// The id of a client token, read from its text without verifying it: only for showing which one was named.
pub(crate) fn token_id(token: &str) -> Option<Uuid> {
    let payload = token.strip_prefix(client_token::PREFIX)?.split('.').nth(1)?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    claims.get("jti")?.as_str()?.parse().ok()
}

/// A request's body without credentials, and the value if it is JSON. `is_cut`: whether these are only its first bytes.
pub(super) fn body(bytes: &[u8], is_cut: bool) -> (Option<SentBody>, Value) {
    let sent = match str::from_utf8(bytes) {
        Ok(sent) => sent,
        Err(error) if is_cut && error.error_len().is_none() => {
            str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        // A file.
        Err(_) => return (None, Value::Null),
    };
    if sent.trim_ascii().is_empty() {
        return (None, Value::Null);
    }
    let parsed = if is_cut { cut_json::closed(sent) } else { serde_json::from_str(sent).ok() };
    if let Some(mut value) = parsed {
        json(&mut value);
        if let Ok(written) = serde_json::value::to_raw_value(&value) {
            return (Some(SentBody::Json(written)), value);
        }
    }
    (Some(SentBody::Text(before_secrets(&text(sent)).into())), Value::Null)
}

/// The part of a text that is almost JSON before the first member with the name of a secret.
fn before_secrets(text: &str) -> &str {
    let mut at = 0;
    while let Some(found) = text[at..].find('"') {
        let begin = at + found + 1;
        let Some(length) = text[begin..].find('"') else { break };
        let end = begin + length;
        let is_member = text[end + 1..].trim_ascii_start().starts_with(':');
        if is_member && is_secret(&decode(&text[begin..end]).map_or(text[begin..end].into(), Cow::Owned)) {
            return &text[..=end];
        }
        // The second quote may be the first one of a name.
        at = end;
    }
    text
}

/// Removes the credentials from JSON.
fn json(value: &mut Value) {
    match value {
        Value::String(string) => {
            if let Cow::Owned(clean) = text(string) {
                *string = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(json),
        Value::Object(members) => {
            if members.keys().any(|name| matches!(text(name), Cow::Owned(_))) {
                *members =
                    std::mem::take(members).into_iter().map(|(name, value)| (text(&name).into(), value)).collect();
            }
            for (name, value) in members {
                if is_secret(name) { blank(value) } else { json(value) }
            }
        }
        _ => {}
    }
}

/// Blanks every value in a secret member. The names in it stay: which variables a tool gets is no secret.
fn blank(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::Object(members) => members.values_mut().for_each(blank),
        Value::Null | Value::Bool(_) => {}
        leaf => *leaf = REMOVED.into(),
    }
}

/// Whether a member of this name holds a secret. The guard's redaction removes more: there, to a client token all is secret
/// that is not its agent's.
fn is_secret(name: &str) -> bool {
    const ENDS: [&str; 11] = [
        "secret",
        "secrets",
        "password",
        "token",
        "api_key",
        "access_key",
        "secret_key",
        "_enc",
        "auth_header",
        "custom_headers",
        "environment_variables",
    ];
    let name = name.to_ascii_lowercase().replace('-', "_");
    matches!(&*name, "env" | "authorization" | "apikey" | "x_bare_password")
        || ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests;
