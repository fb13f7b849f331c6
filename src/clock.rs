//! The only reader of the wall clock. Everything that is stored or signed counts milliseconds since the Unix epoch, so
//! both engines keep the same instant and a re-signed token is byte for byte the one that was issued.

use chrono::{DateTime, SecondsFormat, Utc};

/// An instant in milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted (as POSIX time).
pub type Millis = i64;

/// Now, in microseconds. Letta's own timestamps carry microseconds.
#[must_use]
pub fn now() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    let now = Utc::now();
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

/// Now, in milliseconds.
#[must_use]
pub fn now_millis() -> Millis {
    now().timestamp_millis()
}

/// `2026-11-23T16:23:19.765Z`: how token expiries go over the wire.
#[must_use]
pub fn format_millis(millis: Millis) -> String {
    DateTime::from_timestamp_millis(millis).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `2026-11-23T16:23:19.765515Z`: how Letta writes `created_at` and its kin.
#[must_use]
pub fn format_micros(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// `2026-11-23T16:25:46+00:00`: how Letta writes a message's `date`.
#[must_use]
pub fn format_message_date(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, false)
}
