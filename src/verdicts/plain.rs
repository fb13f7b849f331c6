//! Rules that one request shows by itself.

use super::{finding::Found, rules::Rule, seen::Seen};

pub(super) fn asked(seen: &Seen<'_>, found: &mut Vec<Found>) {
    let entry = seen.entry;
    if entry.sent.has_credential_in_target {
        let sentence = format!("Entry {} has a credential in its path or query.", entry.id);
        found.push(Found::new(Rule::TokenInTarget, seen, [entry.id], sentence));
    }
    if !entry.sent.dropped_fields.is_empty() {
        let fields: Vec<&str> = entry.sent.dropped_fields.iter().take(10).map(String::as_str).collect();
        let sentence = format!("Entry {} sends what Letta does not know: {}.", entry.id, fields.join(", "));
        found.push(Found::new(Rule::FieldsDropped, seen, [entry.id], sentence));
    }
}

pub(super) fn ended(seen: &Seen<'_>, found: &mut Vec<Found>) {
    let entry = seen.entry;
    let origin = entry.sent.origin.as_deref();
    match entry.code() {
        Some("api_key_in_browser") => {
            let sentence =
                format!("Entry {} sends an API key from the page {}.", entry.id, origin.unwrap_or("of a browser"));
            found.push(Found::new(Rule::ApiKeyInBrowser, seen, [entry.id], sentence));
        }
        Some("origin_missing" | "origin_mismatch") => {
            let bound = entry.caller.origin_bound.as_deref().unwrap_or("another origin");
            let sent = origin.map_or("names no origin".to_owned(), |origin| format!("comes from {origin}"));
            let sentence = format!("Entry {} {sent}, and its token is bound to {bound}.", entry.id);
            found.push(Found::new(Rule::OriginRefused, seen, [entry.id], sentence));
        }
        _ => {}
    }
}
