//! Instants as Letta writes them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};

use crate::clock;

/// An instant that is written with microseconds and `Z`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub(in crate::mock) struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Now.
    pub(in crate::mock) fn now() -> Self {
        Self(clock::now())
    }

    /// An instant given in RFC 3339.
    pub(in crate::mock) fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|instant| Self(instant.to_utc()))
    }

    /// As messages carry it: whole seconds.
    pub(in crate::mock) fn message_date(self) -> String {
        clock::format_message_date(self.0)
    }

    /// As the compiled system prompt carries it.
    pub(in crate::mock) fn prompt_date(self) -> String {
        self.0.format("%Y-%m-%d %I:%M:%S %p UTC%z").to_string()
    }

    /// How much time has passed since then, in milliseconds; never negative, whatever the clock does.
    pub(in crate::mock) fn elapsed_millis(self) -> i64 {
        (clock::now() - self.0).num_milliseconds().max(0)
    }

    /// How much time has passed since then, in nanoseconds.
    pub(in crate::mock) fn elapsed_nanos(self) -> i64 {
        (clock::now() - self.0).num_nanoseconds().unwrap_or_default().max(0)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&clock::format_micros(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_letta_does() {
        let instant = Timestamp::parse("2026-11-23T17:25:46.5+01:00").unwrap();
        assert_eq!(serde_json::to_string(&instant).unwrap(), "\"2026-11-23T16:25:46.500000Z\"");
        assert_eq!(instant.message_date(), "2026-11-23T16:25:46+00:00");
        assert_eq!(instant.prompt_date(), "2026-11-23 04:25:46 PM UTC+0000");
        assert_eq!(serde_json::from_str::<Timestamp>("\"2026-11-23T16:25:46.500000Z\"").unwrap(), instant);
    }
}
