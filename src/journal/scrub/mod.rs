//! Removes credentials from everything that the journal keeps.
//!
//! Those of Gatelet are known by their form, others, such as the keys of model providers, by the name of the member that
//! holds them.

mod cut_json;

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use uuid::Uuid;

use super::entry::SentBody;
pub(super) use crate::credentials::in_text::{has_credential, secret_parts, without_credentials as text};
use crate::credentials::{
    client_token,
    in_text::{REMOVED, decode},
};

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
pub(super) fn json(value: &mut Value) {
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
