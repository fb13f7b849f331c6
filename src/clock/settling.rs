//! The time by which records may be deleted for good.
//!
//! A wall clock can be set to anything; the time measured since (the monotonic clock) cannot. The settled time is the
//! wall clock as far as measuring confirms it: when the wall clock steps ahead, the settled time goes on at the pace of
//! the monotonic clock, and catches up only after as much time has been measured as the step was long. So a clock that
//! runs ahead, for less time than it is ahead, causes no early deletion. When the wall clock steps back, the settled
//! time is never ahead of it.

use std::time::Duration;

use super::Millis;

/// The largest difference that does not count as a step: leap seconds, and the time between reading two clocks.
pub(super) const TOLERANCE: Millis = 1_000;

/// The largest difference between the clocks of two processes that does not count as wrong. It exceeds the interval at
/// which processes record their time.
pub(super) const AGREEMENT: Millis = 3 * 60_000;

/// Differences below the tolerance are corrected at one part in this number.
const SLEW: Millis = 64;

/// What the wall clock did, compared with the monotonic clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Noticed {
    /// It stepped back by this number of milliseconds.
    Back(Millis),
    /// It stepped ahead by this number of milliseconds.
    Ahead(Millis),
    /// It has been this number of milliseconds ahead for so long that it is trusted.
    Settled(Millis),
    /// Another process's clock is this number of milliseconds behind.
    Disagreement(Millis),
}

/// The record of the time that processes share, and leave for those that start later.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record {
    /// Its settled time.
    pub settled_at: Millis,
    /// Its wall clock at that moment.
    pub seen_at: Millis,
}

/// Follows both clocks from one observation to the next.
#[derive(Debug)]
pub(super) struct Settling {
    wall: Millis,
    monotonic: Duration,
    settled: Millis,
    /// How far the wall clock was ahead when that was noticed; 0 if it is trusted.
    lead: Millis,
    /// How much time must still be measured before it is trusted.
    wait: Millis,
    disagrees: bool,
}

impl Settling {
    pub(super) fn begin(wall: Millis, monotonic: Duration) -> Self {
        Self { wall, monotonic, settled: wall, lead: 0, wait: 0, disagrees: false }
    }

    pub(super) fn record(&self) -> Record {
        Record { settled_at: self.settled, seen_at: self.wall }
    }

    pub(super) fn observe(&mut self, wall: Millis, monotonic: Duration) -> Option<Noticed> {
        let elapsed = Millis::try_from(monotonic.saturating_sub(self.monotonic).as_millis()).unwrap_or(Millis::MAX);
        // In whole milliseconds, so that no fraction is lost, no matter how often this is called.
        self.monotonic = self.monotonic.saturating_add(Duration::from_millis(elapsed.unsigned_abs()));
        let step = wall.saturating_sub(self.wall.saturating_add(elapsed));
        self.wall = wall;
        self.wait = self.wait.saturating_sub(elapsed).max(0);
        self.settled = self.settled.saturating_add(elapsed).min(wall);
        let lead = wall.saturating_sub(self.settled);
        if self.lead == 0 && lead <= TOLERANCE {
            self.settled += lead.min(elapsed / SLEW);
        }
        if step < -TOLERANCE {
            if lead <= TOLERANCE {
                (self.lead, self.wait) = (0, 0);
            } else {
                (self.lead, self.wait) = (lead, self.wait.min(lead));
            }
            return Some(Noticed::Back(-step));
        }
        let more = lead.saturating_sub(self.lead);
        if more > TOLERANCE {
            self.lead = lead;
            self.wait = self.wait.saturating_add(more);
            return Some(Noticed::Ahead(more));
        }
        if self.lead > 0 && self.wait == 0 {
            self.settled = wall;
            self.lead = 0;
            return Some(Noticed::Settled(lead));
        }
        None
    }

    /// Continues from where the last process stopped. The time in between was not measured.
    pub(super) fn resume(&mut self, last: Record) -> Option<Noticed> {
        self.doubt_beyond(last.settled_at);
        let behind = last.seen_at.saturating_sub(self.wall);
        if behind > TOLERANCE {
            return Some(Noticed::Back(behind));
        }
        (self.lead > 0).then_some(Noticed::Ahead(self.lead))
    }

    /// Takes the last record of another running process into account. Nothing is deleted that is not due by the slower
    /// of the two clocks.
    pub(super) fn hear(&mut self, other: Record) -> Option<Noticed> {
        let ahead = self.wall.saturating_sub(other.seen_at);
        let disagreed = std::mem::replace(&mut self.disagrees, ahead > AGREEMENT);
        if !self.disagrees {
            return None;
        }
        // The record may be this old.
        self.doubt_beyond(other.settled_at.saturating_add(AGREEMENT).min(self.settled));
        (!disagreed).then_some(Noticed::Disagreement(ahead))
    }

    fn doubt_beyond(&mut self, settled: Millis) {
        self.settled = settled.min(self.wall);
        let lead = self.wall.saturating_sub(self.settled);
        self.lead = if lead > TOLERANCE { lead } else { 0 };
        self.wait = self.lead;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Millis = 1_000;
    const MINUTE: Millis = 60 * SECOND;
    const HOUR: Millis = 60 * MINUTE;
    const START: Millis = 1_795_000_000_000;

    /// A process that reads both clocks every second of true time.
    struct Process {
        settling: Settling,
        truth: Millis,
        started: Millis,
        offset: Millis,
    }

    impl Process {
        fn start(truth: Millis, offset: Millis) -> Self {
            Self { settling: Settling::begin(truth + offset, Duration::ZERO), truth, started: truth, offset }
        }

        fn run(&mut self, time: Millis) -> Vec<Noticed> {
            let end = self.truth + time;
            let mut noticed = Vec::new();
            while self.truth < end {
                self.truth = end.min(self.truth + SECOND);
                let monotonic = Duration::from_millis((self.truth - self.started).unsigned_abs());
                noticed.extend(self.settling.observe(self.truth + self.offset, monotonic));
            }
            noticed
        }

        fn step(&mut self, by: Millis) -> Vec<Noticed> {
            self.offset += by;
            self.run(SECOND)
        }

        fn settled(&self) -> Millis {
            self.settling.record().settled_at
        }
    }

    #[test]
    fn a_clock_that_goes_right_is_believed() {
        let mut process = Process::start(START, 0);
        assert_eq!(process.run(26 * HOUR), []);
        assert_eq!(process.settled(), process.truth);
    }

    #[test]
    fn a_step_ahead_is_believed_after_as_much_time_has_been_measured() {
        let mut process = Process::start(START, 0);
        assert_eq!(process.step(HOUR), [Noticed::Ahead(HOUR)]);
        assert_eq!(process.run(58 * MINUTE), []);
        assert_eq!(process.settled(), process.truth);
        assert_eq!(process.run(2 * MINUTE), [Noticed::Settled(HOUR)]);
        assert_eq!(process.settled(), process.truth + HOUR);
        // Two steps at once have to wait for both.
        process.step(HOUR);
        process.run(30 * MINUTE);
        assert_eq!(process.step(HOUR), [Noticed::Ahead(HOUR)]);
        assert_eq!(process.run(89 * MINUTE), []);
        assert_eq!(process.run(2 * MINUTE), [Noticed::Settled(2 * HOUR)]);
    }

    #[test]
    fn a_clock_that_is_put_right_again_was_never_believed() {
        let mut process = Process::start(START, 0);
        process.step(HOUR);
        process.run(MINUTE);
        assert_eq!(process.step(-HOUR), [Noticed::Back(HOUR)]);
        assert_eq!(process.settled(), process.truth);
        assert_eq!(process.run(HOUR), [], "said once");
        assert_eq!(process.settled(), process.truth);
    }

    #[test]
    fn a_clock_that_goes_back_takes_the_settled_time_along() {
        let mut process = Process::start(START, 0);
        assert_eq!(process.step(-HOUR), [Noticed::Back(HOUR)]);
        assert_eq!(process.settled(), process.truth - HOUR);
        assert_eq!(process.step(HOUR), [Noticed::Ahead(HOUR)]);
        process.run(HOUR);
        assert_eq!(process.settled(), process.truth);
    }

    #[test]
    fn many_small_steps_are_a_large_one() {
        let mut process = Process::start(START, 0);
        let noticed: Vec<Noticed> = (0..100).flat_map(|_| process.step(900)).collect();
        assert!(
            noticed.len() > 40 && noticed.iter().all(|noticed| matches!(noticed, Noticed::Ahead(_))),
            "{noticed:?}"
        );
        assert!(process.settled() <= process.truth + 2 * SECOND);
    }

    #[test]
    fn a_process_goes_on_from_where_the_last_one_stopped() {
        let mut last = Process::start(START, 0);
        last.run(HOUR);
        let left = last.settling.record();
        // Either its clock is ahead, or it was off for an hour. It cannot tell, so it waits.
        let mut ahead = Process::start(last.truth, HOUR);
        assert_eq!(ahead.settling.resume(left), Some(Noticed::Ahead(HOUR)));
        assert_eq!(ahead.run(MINUTE), []);
        assert_eq!(ahead.settled(), ahead.truth);
        // It is stopped, the clock is corrected, and another process starts.
        let left = ahead.settling.record();
        let mut right = Process::start(ahead.truth + SECOND, 0);
        assert_eq!(right.settling.resume(left), Some(Noticed::Back(HOUR - SECOND)));
        assert_eq!(right.run(HOUR), []);
        assert_eq!(right.settled(), right.truth);
    }

    #[test]
    fn of_two_processes_the_one_whose_clock_is_behind_is_believed() {
        let (mut right, mut ahead) = (Process::start(START, 0), Process::start(START, 48 * HOUR));
        assert_eq!(ahead.settling.resume(right.settling.record()), Some(Noticed::Ahead(48 * HOUR)));
        let mut noticed = Vec::new();
        for _ in 0..72 * 60 {
            right.run(MINUTE);
            noticed.extend(right.settling.hear(ahead.settling.record()));
            noticed.extend(ahead.settling.hear(right.settling.record()));
            noticed.extend(ahead.run(MINUTE));
            assert!(ahead.settled() <= right.truth + AGREEMENT + MINUTE);
            assert!(right.settled() == right.truth);
        }
        assert!(matches!(noticed[..], [Noticed::Disagreement(_)]), "said once: {noticed:?}");
        // A process that runs alone trusts its clock eventually.
        ahead.run(49 * HOUR);
        assert_eq!(ahead.settled(), ahead.truth + 48 * HOUR);
    }

    #[test]
    fn processes_that_were_all_off_do_not_keep_each_other_waiting() {
        let left = Record { settled_at: START - 24 * HOUR, seen_at: START - 24 * HOUR };
        let mut processes = [Process::start(START, 0), Process::start(START, SECOND)];
        for process in &mut processes {
            process.settling.resume(left);
        }
        for _ in 0..25 * 60 {
            let [one, other] = &mut processes;
            one.run(MINUTE);
            other.run(MINUTE);
            assert_eq!(one.settling.hear(other.settling.record()), None);
            assert_eq!(other.settling.hear(one.settling.record()), None);
        }
        assert!(processes.iter().all(|process| process.settled() == process.truth + process.offset));
    }

    proptest! {
        #[test]
        fn a_fault_shorter_than_it_is_large_has_nothing_forgotten_early(
            steps in proptest::collection::vec((2 * MINUTE..1_000 * HOUR, 1_i64..120), 1..6),
        ) {
            let mut process = Process::start(START, 0);
            for (ahead, seconds) in steps {
                process.step(ahead);
                process.run(seconds.min(ahead / SECOND - 2) * SECOND);
                prop_assert!(process.settled() <= process.truth + TOLERANCE);
                process.step(-ahead);
                prop_assert!(process.settled() <= process.truth + TOLERANCE);
            }
        }
    }
}
