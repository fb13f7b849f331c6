//! Rules on what follows a refusal.

use super::{
    finding::Found,
    recent::Recent,
    rules::Rule,
    seen::{Key, REACTION, SECOND, Seen, key},
};

/// How many refusals are remembered.
const MOST: usize = 256;
/// How much earlier than it was told a client may come: clocks and timers are not exact.
const TOLERANCE: i64 = SECOND / 10;
/// Within what time the same request is a repetition.
const REPETITION: i64 = 10 * SECOND;

#[derive(Debug)]
pub(super) struct Refusals {
    /// By what must wait, since when and for how long.
    waits: Recent<Key, Wait>,
    /// By the whole request, its last refusal.
    refused: Recent<Key, Refused>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    id: u64,
    since: i64,
    since_in_world: i64,
    lasts: i64,
    target: Key,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    id: u64,
    at: i64,
    status: u16,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { waits: Recent::of(MOST), refused: Recent::of(MOST) }
    }
}

impl Refusals {
    pub(super) fn asked(&mut self, seen: &Seen<'_>, found: &mut Vec<Found>) {
        let Some(caller) = seen.caller.filter(|_| !self.waits.is_empty()) else { return };
        for concerned in [of_caller(caller), of_target(seen)] {
            let Some(&Wait { id, since, since_in_world, lasts, target }) = self.waits.get(&concerned) else { continue };
            let by_real_clock = seen.arrived - since;
            // Limits follow the clock of the namespace, which a test may have advanced.
            let elapsed = by_real_clock.max(seen.arrived_in_world - since_in_world);
            if elapsed >= lasts - TOLERANCE {
                self.waits.remove(&concerned);
                continue;
            }
            let is_retry = seen.attempt > 0 && seen.target() == target;
            if !is_retry && by_real_clock < REACTION {
                continue;
            }
            let shown =
                |micros: i64| format!("{:.1} s", f64::from(i32::try_from(micros / 1_000).unwrap_or(i32::MAX)) / 1e3);
            let sentence = format!(
                "Entry {id} was refused with Retry-After: {}, and entry {} follows after {}.",
                lasts / SECOND,
                seen.entry.id,
                shown(by_real_clock)
            );
            found.push(Found::new(Rule::RetryAfterIgnored, seen, [id, seen.entry.id], sentence));
            return;
        }
    }

    pub(super) fn ended(&mut self, seen: &Seen<'_>, found: &mut Vec<Found>) {
        let (Some(caller), Some(answer)) = (seen.caller, &seen.entry.answer) else { return };
        let Some(status) = answer.status.filter(|status| *status >= 400) else { return };
        if let Some(ms) = answer.retry_after_ms.filter(|ms| *ms > 0) {
            // The quota concerns every request of the token, all else only the same one.
            let is_quota = seen.entry.decision.steps.last().is_some_and(|step| step.asked == "quota");
            let concerned = if is_quota { of_caller(caller) } else { of_target(seen) };
            let wait = Wait {
                id: seen.entry.id,
                since: seen.ended(),
                since_in_world: seen.arrived_in_world,
                lasts: i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000),
                target: seen.target(),
            };
            // One that comes too early is told to wait anew; the client was told before.
            let still = self.waits.get(&concerned).is_some_and(|told| seen.arrived - told.since < told.lasts);
            if !still {
                self.waits.insert(concerned, wait);
            }
        }
        if is_final(status) && !matches!(answer.code, Some("origin_missing" | "origin_mismatch" | "api_key_in_browser"))
        {
            self.check_repetition(seen, status, found);
        }
    }

    fn check_repetition(&mut self, seen: &Seen<'_>, status: u16, found: &mut Vec<Found>) {
        let now = Refused { id: seen.entry.id, at: seen.ended(), status };
        let whole = seen.whole();
        let Some(before) = self.refused.get(&whole).copied() else {
            self.refused.insert(whole, now);
            return;
        };
        let since = seen.arrived - before.at;
        if before.status == status && since < REACTION && seen.attempt == 0 {
            return;
        }
        self.refused.insert(whole, now);
        if before.status == status && (0..=REPETITION).contains(&since) {
            let sentence = format!(
                "Entry {} was refused with {status}, and entry {} sends the same again and gets the same.",
                before.id, now.id
            );
            found.push(Found::new(Rule::RetriedRefusal, seen, [before.id, now.id], sentence));
        }
    }
}

fn of_caller(caller: Key) -> Key {
    key(("caller", caller))
}

/// An API key serves many users: only what concerns the same conversation and operation is the same client.
fn of_target(seen: &Seen<'_>) -> Key {
    key(("target", seen.target()))
}

/// Whether no repetition mends a refusal. What is not there may appear, and a conflict pass.
fn is_final(status: u16) -> bool {
    matches!(status, 400 | 403 | 405 | 413 | 414 | 415 | 422)
}
