//! What processes have used, as the kernel counts it.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// A moment, and the CPU time used until then.
pub(crate) struct Mark {
    at: Instant,
    server: Duration,
    own: Duration,
    all: Duration,
}

/// What was used between two marks.
pub(crate) struct Usage {
    pub(crate) seconds: f64,
    pub(crate) server_seconds: f64,
    own_seconds: f64,
    all_seconds: f64,
}

impl Mark {
    /// Now, for a server of these processes.
    pub(crate) fn now(server: &[u32]) -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            server: cpu_time(server)?,
            own: cpu_time(&[std::process::id()])?,
            all: busy_time()?,
        })
    }

    pub(crate) fn until(&self, end: &Self) -> Usage {
        Usage {
            seconds: (end.at - self.at).as_secs_f64(),
            server_seconds: end.server.saturating_sub(self.server).as_secs_f64(),
            own_seconds: end.own.saturating_sub(self.own).as_secs_f64(),
            all_seconds: end.all.saturating_sub(self.all).as_secs_f64(),
        }
    }
}

impl Usage {
    /// Adds the shares of a core to these figures: the server's, this process's, and everybody else's.
    pub(crate) fn beside(&self, mut figures: Value) -> Value {
        let others = self.all_seconds - self.server_seconds - self.own_seconds;
        figures["server_core"] = json!(self.server_seconds / self.seconds);
        figures["generator_core"] = json!(self.own_seconds / self.seconds);
        figures["others_core"] = json!(others / self.seconds);
        figures
    }
}

/// The CPU time of all threads of all these processes.
///
/// Threads that have ended are not in it; servers of this kind keep theirs.
fn cpu_time(pids: &[u32]) -> io::Result<Duration> {
    let mut total = 0;
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // The first number is the time on a CPU, in nanoseconds.
            let figures = fs::read_to_string(thread?.path().join("schedstat"))?;
            let time = figures.split(' ').next().and_then(|time| time.parse::<u64>().ok());
            total += time.ok_or_else(|| io::Error::other("schedstat has no time"))?;
        }
    }
    Ok(Duration::from_nanos(total))
}

/// The time for which all cores were busy, or taken away by the machine beneath this one.
fn busy_time() -> io::Result<Duration> {
    let figures = fs::read_to_string("/proc/stat")?;
    let mut fields = figures.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let mut ticks = 0;
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of the first two.
    for is_busy in [true, true, true, false, false, true, true, true] {
        let value = fields.next().and_then(|value| value.parse::<u64>().ok());
        let value = value.ok_or_else(|| io::Error::other("/proc/stat has no times"))?;
        ticks += if is_busy { value } else { 0 };
    }
    // The kernel tells user space 100 a second, whatever it counts.
    Ok(Duration::from_millis(ticks * 10))
}
