//! The clock of a world: real until it is set, then real with an offset, or frozen.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::Backwards;

/// An instant in microseconds since the Unix epoch, without leap seconds (POSIX time).
pub type Micros = i64;

/// A difference that does not count: the time between reading a clock and setting it.
const MOMENT: Micros = 5_000_000;

/// The wall clock of the operating system.
#[must_use]
pub fn real_now() -> Micros {
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(now.as_micros()).unwrap_or(Micros::MAX)
}

/// How the pauses of the mock pass: between the tokens of a model, between pings.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerMode {
    /// They take the time that they say.
    #[default]
    Real,
    /// They end when the clock is advanced.
    Virtual,
    /// They take no time.
    Instant,
}

/// What `expires_at` of a request that creates a token means in a world whose clock was set.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// The caller counts by the real clock: the lifetime is what is left by it, and begins now by the world's clock.
    #[default]
    AsMeant,
    /// An instant of the world's clock.
    Literal,
}

/// The settings of a clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockSettings {
    /// The time now.
    pub now: Micros,
    /// Whether time stands still until the clock is advanced.
    pub is_frozen: bool,
    /// How pauses pass.
    pub timers: TimerMode,
    /// What `expires_at` means.
    pub expiry: Expiry,
}

/// Whether the clock of any world of this process was ever set.
static IS_ANY_SET: AtomicBool = AtomicBool::new(false);

/// Whether the clock of any world of this process was ever set. Only debug builds ask.
pub(super) fn is_any_clock_set() -> bool {
    IS_ANY_SET.load(Ordering::Relaxed)
}

#[derive(Debug)]
pub(super) struct Time {
    state: Mutex<TimeState>,
    /// Whether the clock was never set, so that most readings take no lock.
    is_real: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct TimeState {
    /// Added to the real time.
    offset: Micros,
    frozen_at: Option<Micros>,
    began_at: Micros,
    timers: TimerMode,
    expiry: Expiry,
}

/// A clock as a snapshot keeps it. One that follows the real time goes on doing so; any other goes on from where it was.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedTime {
    now_us: Micros,
    offset_us: Micros,
    is_frozen: bool,
    is_real: bool,
    timers: TimerMode,
    expiry: Expiry,
}

impl Default for Time {
    fn default() -> Self {
        let began_at = real_now();
        let state =
            TimeState { offset: 0, frozen_at: None, began_at, timers: TimerMode::Real, expiry: Expiry::AsMeant };
        Self { state: Mutex::new(state), is_real: AtomicBool::new(true) }
    }
}

impl TimeState {
    fn now(&self) -> Micros {
        self.frozen_at.unwrap_or_else(|| real_now().saturating_add(self.offset))
    }

    fn move_to(&mut self, now: Micros) {
        self.offset = now.saturating_sub(real_now());
        if let Some(frozen_at) = &mut self.frozen_at {
            *frozen_at = now;
        }
    }
}

impl SavedTime {
    pub(super) fn now(&self) -> Micros {
        self.now_us
    }
}

impl Time {
    pub(super) fn restore(saved: &SavedTime) -> Self {
        let SavedTime { now_us, offset_us, is_frozen, is_real, timers, expiry } = *saved;
        let follows_real_time = is_real || (!is_frozen && offset_us.abs() < MOMENT);
        let mut state =
            TimeState { offset: offset_us, frozen_at: is_frozen.then_some(now_us), began_at: now_us, timers, expiry };
        if !follows_real_time {
            state.move_to(now_us);
        }
        state.began_at = state.now();
        Self { state: Mutex::new(state), is_real: AtomicBool::new(is_real) }
    }

    pub(super) fn save(&self) -> SavedTime {
        let is_real = self.is_real();
        let state = self.state();
        let TimeState { offset, frozen_at, timers, expiry, .. } = *state;
        let now_us = if is_real { real_now() } else { state.now() };
        SavedTime { now_us, offset_us: offset, is_frozen: frozen_at.is_some(), is_real, timers, expiry }
    }

    pub(super) fn is_real(&self) -> bool {
        self.is_real.load(Ordering::Acquire)
    }

    pub(super) fn now(&self) -> Micros {
        if self.is_real() { real_now() } else { self.state().now() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        let state = self.state();
        Duration::from_micros(u64::try_from(state.now().saturating_sub(state.began_at)).unwrap_or(0))
    }

    pub(super) fn timer_mode(&self) -> TimerMode {
        if self.is_real() { TimerMode::Real } else { self.state().timers }
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.state().frozen_at.is_some()
    }

    pub(super) fn settings(&self) -> ClockSettings {
        let state = self.state();
        let TimeState { frozen_at, timers, expiry, .. } = *state;
        ClockSettings { now: state.now(), is_frozen: frozen_at.is_some(), timers, expiry }
    }

    pub(super) fn set(&self, settings: ClockSettings) -> Result<(), Backwards> {
        let mut state = self.state();
        // Settings that were read a moment ago do not turn a clock back that goes on.
        let now = state.now();
        let moved = if settings.now < now && state.frozen_at.is_none() && now - settings.now < MOMENT {
            now
        } else {
            settings.now
        };
        if moved < now {
            return Err(Backwards);
        }
        self.apply(&mut state, ClockSettings { now: moved, ..settings });
        Ok(())
    }

    pub(super) fn begin(&self, settings: ClockSettings) {
        let mut state = self.state();
        self.apply(&mut state, settings);
        state.began_at = settings.now;
    }

    fn apply(&self, state: &mut TimeState, settings: ClockSettings) {
        let ClockSettings { now, is_frozen, timers, expiry } = settings;
        state.frozen_at = is_frozen.then_some(now);
        state.move_to(now);
        state.timers = timers;
        state.expiry = expiry;
        self.is_real.store(false, Ordering::Release);
        IS_ANY_SET.store(true, Ordering::Relaxed);
    }

    /// Moves the clock ahead.
    pub(super) fn move_to(&self, now: Micros) -> Result<(), Backwards> {
        let mut state = self.state();
        if now < state.now() {
            return Err(Backwards);
        }
        state.move_to(now);
        self.is_real.store(false, Ordering::Release);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, TimeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
