//! The time: that of the current world, which is the real one unless a test has set its clock. Everything that is stored or signed counts milliseconds since the Unix epoch, so
//! that both engines store the same instant, and a token that is signed again equals the one that was issued.
//!
//! A [`Clock`] tells two times: that of the wall clock, by which tokens and keys expire, and the settled time, by which
//! records are deleted for good.

mod settling;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Datelike, SecondsFormat, Timelike, Utc};

use settling::Settling;
pub use settling::{Noticed, Record};

use crate::world::{self, World};

/// An instant in milliseconds since 1970-01-01T00:00:00Z, without leap seconds (POSIX time).
pub type Millis = i64;

/// Where a clock reads the time.
pub trait Source: fmt::Debug + Send + Sync {
    /// The wall clock, which can be set.
    fn wall(&self) -> Millis;

    /// The monotonic clock: the time since some moment in this process's life, which cannot be set.
    fn monotonic(&self) -> Duration;
}

/// The time. Cheap to clone; all clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    source: Box<dyn Source>,
    settling: Mutex<Settling>,
}

/// The operating system's clocks.
#[derive(Debug)]
struct System {
    began: Instant,
}

impl Source for System {
    fn wall(&self) -> Millis {
        real_now_millis()
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}

/// The clock of a world.
impl Source for World {
    fn wall(&self) -> Millis {
        self.now().div_euclid(1_000)
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }
}

impl Clock {
    /// The operating system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::of(System { began: Instant::now() })
    }

    /// A clock that reads another source.
    #[must_use]
    pub fn of(source: impl Source + 'static) -> Self {
        let settling = Mutex::new(Settling::begin(source.wall(), source.monotonic()));
        Self(Arc::new(Parts { source: Box::new(source), settling }))
    }

    /// The wall clock, in milliseconds.
    #[must_use]
    pub fn now_millis(&self) -> Millis {
        self.0.source.wall()
    }

    /// The time since some moment, which never goes back.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.0.source.monotonic()
    }

    /// Compares the wall clock with the time measured since the last call.
    #[must_use]
    pub fn observe(&self) -> Option<Noticed> {
        let (wall, monotonic) = self.read();
        self.settling().observe(wall, monotonic)
    }

    /// The settled time, and the wall clock, when they were last observed.
    #[must_use]
    pub fn record(&self) -> Record {
        self.settling().record()
    }

    /// Continues from the record of the last process.
    #[must_use]
    pub fn resume(&self, last: Record) -> Option<Noticed> {
        self.settling().resume(last)
    }

    /// Takes the record of another running process into account.
    #[must_use]
    pub fn hear(&self, other: Record) -> Option<Noticed> {
        self.settling().hear(other)
    }

    /// Both clocks at one moment. They are read again if the process was suspended in between.
    fn read(&self) -> (Millis, Duration) {
        const ATTEMPTS: usize = 5;
        const MOMENT: Duration = Duration::from_millis(10);
        let source = &self.0.source;
        let mut before = source.monotonic();
        for _ in 0..ATTEMPTS {
            let wall = source.wall();
            let after = source.monotonic();
            if after.saturating_sub(before) < MOMENT {
                return (wall, after);
            }
            before = after;
        }
        (source.wall(), before)
    }

    fn settling(&self) -> MutexGuard<'_, Settling> {
        self.0.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Now, in microseconds. Letta's own timestamps carry microseconds.
#[must_use]
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(world::now()).unwrap_or_default()
}

/// Now, in milliseconds.
#[must_use]
pub fn now_millis() -> Millis {
    world::now().div_euclid(1_000)
}

/// An expiry that a request asks for, in milliseconds: where a test has set the clock, the caller may still count by the
/// real one.
#[must_use]
pub fn expiry_as_meant(expires_at: Millis) -> Millis {
    match world::current() {
        Some(world) if world.reads_expiry_as_meant() => {
            expires_at.saturating_add(world.clock_offset().div_euclid(1_000))
        }
        _ => expires_at,
    }
}

/// Now by the operating system's clock, whatever the current world says: for logs.
#[must_use]
pub fn real_now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(world::real_now()).unwrap_or_default()
}

/// Now by the operating system's clock, in milliseconds.
#[must_use]
pub fn real_now_millis() -> Millis {
    world::real_now().div_euclid(1_000)
}

/// Measures durations that are shown: by the world's clock where it was set, so that they are the same every time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    started: Instant,
    world: Option<DateTime<Utc>>,
}

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        let world = world::current().filter(|world| !world.is_real_time()).map(|_| now());
        Self { started: Instant::now(), world }
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match self.world {
            Some(started) => (now() - started).to_std().unwrap_or_default(),
            None => self.started.elapsed(),
        }
    }
}

/// `2026-11-23T16:23:19.765Z`: how token expiries go over the wire.
#[must_use]
pub fn format_millis(millis: Millis) -> String {
    DateTime::from_timestamp_millis(millis).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `2026-11-23T16:23:19.765515Z`: how Letta writes `created_at` and similar fields.
#[must_use]
pub fn format_micros(instant: DateTime<Utc>) -> String {
    let mut text = String::with_capacity(27);
    push_micros(&mut text, instant);
    text
}

/// Appends the same to a text. Every log line has a timestamp; writing digits by hand takes a tenth of the time.
pub fn push_micros(text: &mut String, instant: DateTime<Utc>) {
    let Some(year) = u32::try_from(instant.year()).ok().filter(|year| *year < 10_000) else {
        text.push_str(&instant.to_rfc3339_opts(SecondsFormat::Micros, true));
        return;
    };
    // Chrono represents a leap second as nanoseconds beyond 999,999,999.
    let micros = instant.nanosecond() / 1_000;
    let second = instant.second() + micros / 1_000_000;
    for (value, digits, after) in [
        (year, 4, '-'),
        (instant.month(), 2, '-'),
        (instant.day(), 2, 'T'),
        (instant.hour(), 2, ':'),
        (instant.minute(), 2, ':'),
        (second, 2, '.'),
        (micros % 1_000_000, 6, 'Z'),
    ] {
        let mut scale = 10_u32.pow(digits - 1);
        while scale > 0 {
            text.push(char::from(b"0123456789"[(value / scale % 10) as usize]));
            scale /= 10;
        }
        text.push(after);
    }
}

/// `Mon, 23 Nov 2026 16:25:46 GMT` (RFC 9110, section 5.6.7), from microseconds since the Unix epoch.
#[must_use]
pub fn format_http_date(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap_or_default().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `2026-11-23T16:25:46+00:00`: how Letta writes a message's `date`.
#[must_use]
pub fn format_message_date(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Secs, false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn microseconds_are_written_as_rfc_3339_has_them(
            seconds in -62_200_000_000_i64..260_000_000_000,
            nanos in 0_u32..2_000_000_000,
        ) {
            // Chrono accepts leap seconds only at the end of a minute.
            let instant = DateTime::from_timestamp(seconds, nanos % 1_000_000_000);
            let leap = DateTime::from_timestamp(seconds.div_euclid(60) * 60 + 59, nanos);
            for instant in [instant, leap].into_iter().flatten() {
                let expected = instant.to_rfc3339_opts(SecondsFormat::Micros, true);
                prop_assert_eq!(format_micros(instant), expected);
            }
        }
    }
}
