//! How a test asks for a clock, in a call or in a seed.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{ClockSettings, Expiry, Micros, TimerMode};

/// What is to be set of a clock; the rest stays as it is. Written as an object, or as an instant alone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClockRequest {
    /// The time. Setting it freezes the clock, unless told otherwise.
    pub now: Option<Micros>,
    /// Whether time stands still.
    pub frozen: Option<bool>,
    /// How pauses pass. Freezing the clock makes them virtual, unless told otherwise.
    pub timers: Option<TimerMode>,
    /// What `expires_at` means.
    pub expiry: Option<Expiry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, deserialize_with = "instant")]
    now: Option<Micros>,
    frozen: Option<bool>,
    timers: Option<TimerMode>,
    expiry: Option<Expiry>,
}

impl ClockRequest {
    /// The settings that a clock gets that has these now.
    #[must_use]
    pub fn apply_to(&self, current: ClockSettings) -> ClockSettings {
        let is_frozen = self.frozen.unwrap_or(current.is_frozen || self.now.is_some());
        let timers = match self.timers {
            Some(timers) => timers,
            None if is_frozen && !current.is_frozen && current.timers == TimerMode::Real => TimerMode::Virtual,
            None => current.timers,
        };
        ClockSettings {
            now: self.now.unwrap_or(current.now),
            is_frozen,
            timers,
            expiry: self.expiry.unwrap_or(current.expiry),
        }
    }
}

/// Reads an instant: RFC 3339, the same without a zone (UTC), or a day (its beginning). Years 1 to 9999.
#[must_use]
pub fn parse_instant(text: &str) -> Option<Micros> {
    let naive = || text.replacen(' ', "T", 1).parse::<NaiveDateTime>().ok();
    let day = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN));
    let instant = DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|instant| instant.to_utc())
        .or_else(|| naive().or_else(day).map(|naive| naive.and_utc()))?;
    let range = NaiveDate::from_ymd_opt(1, 1, 1)?..NaiveDate::from_ymd_opt(10_000, 1, 1)?;
    range.contains(&instant.date_naive()).then(|| instant.timestamp_micros())
}

impl<'de> Deserialize<'de> for ClockRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClockVisitor)
    }
}

struct ClockVisitor;

impl<'de> Visitor<'de> for ClockVisitor {
    type Value = ClockRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an instant, or an object with now, frozen, timers and expiry")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ClockRequest, E> {
        read_instant(text).map(|now| ClockRequest { now: Some(now), ..ClockRequest::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ClockRequest, A::Error> {
        let Fields { now, frozen, timers, expiry } = Fields::deserialize(MapAccessDeserializer::new(map))?;
        Ok(ClockRequest { now, frozen, timers, expiry })
    }
}

fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Micros>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| read_instant(&text)).transpose()
}

fn read_instant<E: Error>(text: &str) -> Result<Micros, E> {
    parse_instant(text)
        .ok_or_else(|| E::custom(format!("'{text}' is not an instant; write it as 2026-01-05T09:00:00Z")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn setting_the_time_freezes_the_clock_unless_told_otherwise() {
        let current = ClockSettings { now: 5, is_frozen: false, timers: TimerMode::Real, expiry: Expiry::AsMeant };
        let frozen =
            ClockSettings { now: 1_767_603_600_000_000, is_frozen: true, timers: TimerMode::Virtual, ..current };
        for (written, expected) in [
            (json!("2026-01-05T09:00:00Z"), frozen),
            (json!({"now": "2026-01-05 09:00:00"}), frozen),
            (
                json!({"now": "2026-01-05T10:00:00+01:00", "timers": "instant"}),
                ClockSettings { timers: TimerMode::Instant, ..frozen },
            ),
            (json!({"now": "2026-01-05T09:00:00Z", "frozen": false}), ClockSettings { now: frozen.now, ..current }),
            (json!({"frozen": true}), ClockSettings { is_frozen: true, timers: TimerMode::Virtual, ..current }),
            (json!({"expiry": "literal"}), ClockSettings { expiry: Expiry::Literal, ..current }),
            (json!({}), current),
        ] {
            let request: ClockRequest = serde_json::from_value(written.clone()).unwrap();
            assert_eq!(request.apply_to(current), expected, "{written}");
        }
        for wrong in [json!("soon"), json!({"now": 5}), json!({"nwo": "2026-01-05"}), json!({"now": "99999-01-01"})] {
            assert!(serde_json::from_value::<ClockRequest>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
