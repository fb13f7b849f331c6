//! Instants in Letta's formats.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::{
    clock,
    error::ApiError,
    mock::validation::body::{Fields, Location, Read},
    request::input::Query,
};

/// An instant, serialized with microseconds and `Z`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub(in crate::mock) struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Now.
    pub(in crate::mock) fn now() -> Self {
        Self(clock::now())
    }

    /// Parses an instant in RFC 3339.
    pub(in crate::mock) fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|instant| Self(instant.to_utc()))
    }

    /// Parses an instant in one of the formats that Letta accepts: RFC 3339, the same without a zone (UTC), or a day
    /// (its beginning).
    pub(in crate::mock) fn read_loosely(text: &str) -> Option<Self> {
        let naive = || text.replacen(' ', "T", 1).parse::<NaiveDateTime>().ok();
        let day = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN));
        let instant = Self::parse(text).or_else(|| naive().or_else(day).map(|naive| Self(naive.and_utc())))?;
        // Responses show microseconds, and an instant from a response must compare equal to the stored one.
        DateTime::from_timestamp_micros(instant.0.timestamp_micros()).map(Self)
    }

    /// Reads a query parameter.
    pub(in crate::mock) fn of_query(query: &Query, name: &'static str) -> Result<Option<Self>, ApiError> {
        let read = |text: &str| {
            Self::read_loosely(text)
                .ok_or_else(|| ApiError::validation(MALFORMED.0, &["query", name], MALFORMED.1, &text.into()))
        };
        query.first(name).map(read).transpose()
    }

    /// Reads a field in RFC 3339.
    pub(super) fn of_field(fields: &Fields<'_>, name: &str) -> Result<Option<Self>, ApiError> {
        let Some(text) = fields.optional::<&str>(name)? else { return Ok(None) };
        let problem = "Input should be a valid datetime or date";
        let malformed = || fields.at(name).refuse("datetime_from_date_parsing", problem, &text.into());
        Self::parse(text).ok_or_else(malformed).map(Some)
    }

    /// As search results show it: microseconds, and the zone as an offset.
    pub(in crate::mock) fn with_offset(self) -> String {
        self.0.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
    }

    /// The instant `millis` milliseconds later.
    pub(super) fn after_millis(self, millis: i64) -> Self {
        Self(self.0.checked_add_signed(TimeDelta::milliseconds(millis)).unwrap_or(self.0))
    }

    /// As messages show it: whole seconds.
    pub(in crate::mock) fn message_date(self) -> String {
        clock::format_message_date(self.0)
    }

    /// As the compiled system prompt shows it.
    pub(in crate::mock) fn prompt_date(self) -> String {
        self.0.format("%Y-%m-%d %I:%M:%S %p UTC%z").to_string()
    }

    /// The time since then in milliseconds; never negative, even if the clock goes back.
    pub(in crate::mock) fn elapsed_millis(self) -> i64 {
        (clock::now() - self.0).num_milliseconds().max(0)
    }

    /// The last microsecond of the day that begins at this instant.
    pub(in crate::mock) fn end_of_day(self) -> Self {
        const ALMOST_A_DAY: TimeDelta = TimeDelta::microseconds(86_399_999_999);
        Self(self.0.checked_add_signed(ALMOST_A_DAY).unwrap_or(self.0))
    }

    /// Nanoseconds since the Unix epoch; `None` if that exceeds an `i64`.
    pub(in crate::mock) fn nanos(self) -> Option<i64> {
        self.0.timestamp_nanos_opt()
    }

    /// The time since then in nanoseconds.
    pub(super) fn elapsed_nanos(self) -> i64 {
        (clock::now() - self.0).num_nanoseconds().unwrap_or_default().max(0)
    }
}

/// The error of Letta's validation for a text that is not an instant.
const MALFORMED: (&str, &str) =
    ("datetime_from_date_parsing", "Input should be a valid datetime or date, invalid character in year");

impl<'a> Read<'a> for Timestamp {
    fn read(value: &'a Value, location: &Location) -> Result<Self, ApiError> {
        let instant = Self::read_loosely(<&str>::read(value, location)?);
        instant.ok_or_else(|| location.refuse(MALFORMED.0, MALFORMED.1, value))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(instant: DateTime<Utc>) -> Self {
        Self(instant)
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
        assert_eq!(instant.with_offset(), "2026-11-23T16:25:46.500000+00:00");
        assert_eq!(serde_json::from_str::<Timestamp>("\"2026-11-23T16:25:46.500000Z\"").unwrap(), instant);
    }

    #[test]
    fn instants_are_read_in_every_form_that_letta_takes() {
        let seconds = |text| Timestamp::read_loosely(text).map(Timestamp::message_date);
        for (text, expected) in [
            ("2026-11-23T17:25:46+01:00", Some("2026-11-23T16:25:46+00:00")),
            ("2026-11-23T16:25:46.123456789Z", Some("2026-11-23T16:25:46+00:00")),
            ("2026-11-23T16:25:46", Some("2026-11-23T16:25:46+00:00")),
            ("2026-11-23 16:25:46.5", Some("2026-11-23T16:25:46+00:00")),
            ("2026-11-23", Some("2026-11-23T00:00:00+00:00")),
            ("2026-13-23", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(seconds(text).as_deref(), expected, "{text}");
        }
    }
}
